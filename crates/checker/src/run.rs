//! One question, one program: in a process of its own.

use gatepost_program::{End, Ended, Inherited, Says, Surroundings, check_password};
use gatepost_role::RoleError;
use gatepost_wire::check::{Check, Found};
use gatepost_wire::slice::CheckerSlice;
use std::ffi::{CStr, CString};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use zeroize::Zeroizing;

/// A question, out of its frame.
pub(crate) struct Question {
    pub(crate) number: u32,
    pub(crate) client: SocketAddr,
    /// Name, password and an empty timestamp, each with its NUL.
    secret: Zeroizing<Vec<u8>>,
}

impl Question {
    /// None: a NUL would make others of the name and the password.
    pub(crate) fn of(check: &Check<'_>) -> Option<Self> {
        let Check { number, client, user, pass } = *check;
        let secret = Zeroizing::new([user, b"\0", pass, b"\0\0"].concat());
        (!user.contains(&0) && !pass.contains(&0)).then_some(Self { number, client, secret })
    }
}

/// What a program came to, with lines for the log.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) found: Found,
    /// What it said.
    said: Vec<String>,
    /// Why it is neither yes nor no.
    failure: Option<String>,
}

impl Ran {
    /// Lines that there are for the log: [`gatepost_program::LINES_MAX`] and one at most.
    pub(crate) fn lines(&self) -> u8 {
        u8::try_from(self.said.len()).unwrap_or(u8::MAX).saturating_add(self.failure.is_some().into())
    }

    /// Writes them.
    pub(crate) fn write(&self) {
        for line in &self.said {
            tracing::warn!("{line}");
        }
        if let Some(line) = &self.failure {
            tracing::error!("{line}");
        }
    }
}

/// What each question's program is run with.
#[derive(Debug)]
pub(crate) struct Command {
    args: Vec<CString>,
    limits: Inherited,
    patience: Duration,
}

impl Command {
    /// As the slice says, with so long for each program.
    ///
    /// # Errors
    /// A path with a NUL, or limits that cannot be read.
    pub(crate) fn new(slice: &CheckerSlice, patience: Duration) -> Result<Self, RoleError> {
        let args: Result<_, _> = slice.command.iter().map(|word| CString::new(word.as_str())).collect();
        let args = args.map_err(RoleError::given("path of the checkpassword program"))?;
        let limits = Inherited::read().map_err(RoleError::system("read limits"))?;
        Ok(Self { args, limits, patience })
    }

    /// Runs the program and waits for its end.
    pub(crate) fn run(&self, question: &Question) -> Ran {
        let args: Vec<&CStr> = self.args.iter().map(CString::as_c_str).collect();
        let env = environment(question.client);
        let ran = self.run_with(&args, &env, &question.secret);
        let (ended, said) = match ran {
            Ok((ended, said)) => (Ok(ended), said),
            Err(e) => (Err(e), Vec::new()),
        };
        let (found, why) = judge(&ended);
        let program = self.args.first().map(|path| path.to_string_lossy()).unwrap_or_default();
        Ran {
            found,
            said: said.iter().map(|line| format!("checkpassword program {program} says: {line}")).collect(),
            failure: why.map(|why| format!("checkpassword program {program}: {why}; its client hears 454")),
        }
    }

    /// How it ended, and what it said on its descriptor 2.
    fn run_with(&self, args: &[&CStr], env: &[CString], secret: &[u8]) -> io::Result<(Ended, Vec<String>)> {
        let says = Says::new()?;
        let around = Surroundings { env, directory: c"/", limits: &self.limits, stderr: Some(says.stderr()) };
        let ended = check_password(args, &around, secret, self.patience)?;
        Ok((ended, says.lines()))
    }
}

/// By checkpassword's interface: only exit status 0 is a yes. With a sentence where it says neither yes nor no.
fn judge(ended: &io::Result<Ended>) -> (Found, Option<String>) {
    let why = match ended {
        Ok(Ended::Ran(End::Exit(0))) => return (Found::Right, None),
        Ok(Ended::Ran(End::Exit(1))) => return (Found::Wrong, None),
        Ok(Ended::Ran(End::Exit(2))) => "it is misused (exit status 2): are its arguments complete?".to_owned(),
        Ok(Ended::Ran(End::Exit(111))) => "it has a temporary failure (exit status 111)".to_owned(),
        Ok(Ended::Ran(End::Exit(status))) => format!("it ends with status {status}, which has no meaning"),
        Ok(Ended::Ran(End::Signal(signal))) => format!("it is ended by signal {signal}"),
        Ok(Ended::Ran(End::Unknown)) => "it has ended, and how is not known".to_owned(),
        Ok(Ended::TimedOut) => "it does not end in time, and is killed".to_owned(),
        Ok(Ended::NotExecuted(e)) => format!("cannot be run: {e}"),
        Err(e) => format!("there is no process for it: {e}"),
    };
    (Found::Unknown, Some(why))
}

/// What a UCSPI server says of the client, and nothing else (P11): all of it from the address that the kernel gave.
fn environment(client: SocketAddr) -> Vec<CString> {
    let pairs = [
        "PROTO=TCP".to_owned(),
        format!("TCPREMOTEIP={}", client.ip().to_canonical()),
        format!("TCPREMOTEPORT={}", client.port()),
    ];
    pairs.into_iter().filter_map(|pair| CString::new(pair).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_program::LINES_MAX;
    use std::io::ErrorKind;

    fn asked(user: &[u8], pass: &[u8]) -> Option<Question> {
        Question::of(&Check { number: 7, client: "192.0.2.9:4713".parse().unwrap(), user, pass })
    }

    #[test]
    fn issue_15_only_exit_status_0_of_a_checkpassword_program_is_a_yes() {
        for status in 0..=255 {
            let expected = match status {
                0 => Found::Right,
                1 => Found::Wrong,
                _ => Found::Unknown,
            };
            assert_eq!(judge(&Ok(Ended::Ran(End::Exit(status)))).0, expected, "{status}");
        }
        for signal in [1, 9, 11, 13, 15] {
            assert_eq!(judge(&Ok(Ended::Ran(End::Signal(signal)))).0, Found::Unknown, "{signal}");
        }
        for ended in
            [Ok(Ended::TimedOut), Ok(Ended::NotExecuted(ErrorKind::NotFound.into())), Err(ErrorKind::Other.into())]
        {
            assert_eq!(judge(&ended).0, Found::Unknown, "{ended:?}");
        }
    }

    #[test]
    fn issue_15_a_nul_makes_no_other_name_or_password() {
        assert_eq!(*asked(b"joe", b"x y").unwrap().secret, b"joe\0x y\0\0");
        for (user, pass) in [(&b"joe\0x"[..], &b"y"[..]), (b"joe", b"x\0"), (b"\0", b"")] {
            assert!(asked(user, pass).is_none(), "{user:?} {pass:?}");
        }
    }

    /// The rows that a program decides by how it behaves.
    #[test]
    fn issue_15_a_checkpassword_program_hears_what_djb_s_hears() {
        let script = r#"s=$(tr '\0' '|' <&3); [ "$s" = "joe|x y||" ] && [ "$TCPREMOTEIP:$TCPREMOTEPORT:$PROTO" = 192.0.2.9:4713:TCP ]"#;
        let question = asked(b"joe", b"x y").unwrap();
        for (script, milliseconds, expected, lines) in [
            (script, 10_000, Found::Right, 0),
            ("exit 1", 10_000, Found::Wrong, 0),
            ("echo no >&2; echo never >&2; exit 1", 10_000, Found::Wrong, 2),
            ("exit 111", 10_000, Found::Unknown, 1),
            ("yes no | head -100 >&2; exit 111", 10_000, Found::Unknown, LINES_MAX + 1),
            // It ends without having read what it was told.
            ("exit 0", 10_000, Found::Right, 0),
            ("kill -9 $$", 10_000, Found::Unknown, 1),
            ("cat <&3; exec sleep 600", 300, Found::Unknown, 1),
        ] {
            let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
            let patience = Duration::from_millis(milliseconds);
            let command = Command::new(&CheckerSlice { command, uid: 0 }, patience).unwrap();
            let ran = command.run(&question);
            assert_eq!((ran.found, usize::from(ran.lines())), (expected, lines), "{script}");
        }
        let command = CheckerSlice { command: vec!["/nonexistent/checkpassword".to_owned()], uid: 0 };
        assert_eq!(Command::new(&command, Duration::from_secs(10)).unwrap().run(&question).found, Found::Unknown);
    }

    #[test]
    fn issue_15_what_a_checkpassword_program_leaves_behind_has_no_descriptor_of_ours() {
        let ours = std::fs::read_link("/proc/self/fd/2").unwrap();
        // It says more than is told, and more than a pipe takes, and is waited for by nobody who reads.
        let script = format!(
            "echo 'no such user' >&2; head -c 200000 /dev/zero >&2 2>/dev/null; sleep 600 & \
             for n in 0 1 2; do [ $(readlink /proc/$!/fd/$n) != '{}' ] || exit 1; done; kill $!",
            ours.display()
        );
        let command = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
        let command = Command::new(&CheckerSlice { command, uid: 0 }, Duration::from_secs(10)).unwrap();
        assert_eq!(command.run(&asked(b"joe", b"x y").unwrap()).found, Found::Right);
        let args: Vec<&CStr> = command.args.iter().map(CString::as_c_str).collect();
        let (_, said) = command.run_with(&args, &[], b"").unwrap();
        assert_eq!(said.first().map(String::as_str), Some("no such user"));
    }
}
