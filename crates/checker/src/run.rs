//! One question, one program: in a process of its own.

use gatepost_program::{End, Ended, Inherited, Surroundings, check_password};
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
    client: SocketAddr,
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

    /// Runs the program and waits for what it says.
    pub(crate) fn run(&self, question: &Question) -> Found {
        let args: Vec<&CStr> = self.args.iter().map(CString::as_c_str).collect();
        let env = environment(question.client);
        let around = Surroundings { env: &env, directory: c"/", limits: &self.limits, stderr: None };
        let ended = check_password(&args, &around, &question.secret, self.patience);
        let (found, why) = judge(&ended);
        if let Some(why) = why {
            let program = self.args.first().map(|path| path.to_string_lossy()).unwrap_or_default();
            tracing::error!("checkpassword program {program}: {why}; its client hears 454");
        }
        found
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
        for (script, milliseconds, expected) in [
            (script, 10_000, Found::Right),
            ("exit 1", 10_000, Found::Wrong),
            ("exit 111", 10_000, Found::Unknown),
            // It ends without having read what it was told.
            ("exit 0", 10_000, Found::Right),
            ("kill -9 $$", 10_000, Found::Unknown),
            ("cat <&3; exec sleep 600", 300, Found::Unknown),
        ] {
            let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
            let patience = Duration::from_millis(milliseconds);
            let command = Command::new(&CheckerSlice { command, uid: 0 }, patience).unwrap();
            assert_eq!(command.run(&question), expected, "{script}");
        }
        let command = CheckerSlice { command: vec!["/nonexistent/checkpassword".to_owned()], uid: 0 };
        assert_eq!(Command::new(&command, Duration::from_secs(10)).unwrap().run(&question), Found::Unknown);
    }
}
