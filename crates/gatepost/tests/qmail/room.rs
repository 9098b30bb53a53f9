//! A qmail home of a test's own, with a queue program that records what it is given, and sessions that are served from it.

use gatepost_testkit::client::Client;
use gatepost_testkit::facts::{command_line_in, status};
use gatepost_testkit::host::Host;
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{self, SOON};
use std::fmt;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// The program under test.
pub(crate) const GATEPOST: &str = env!("CARGO_BIN_EXE_gatepost");
/// What a session says of itself.
pub(crate) const ME: &str = "mx.example.org";
/// What tcpserver would have told it. The relay check is left to each test: qmail's own default is none.
pub(crate) const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("PROTO", "TCP"),
    ("TCPREMOTEIP", "192.0.2.7"),
    ("TCPREMOTEPORT", "4711"),
    ("TCPREMOTEHOST", "client.example.net"),
    ("TCPLOCALIP", "192.0.2.25"),
    ("TCPLOCALPORT", "25"),
    ("TCPLOCALHOST", ME),
    ("GATEPOST_OPENRELAY", "1"),
];

/// Says what it is, takes a number for itself, and notes what it got; last of all that this is all: a record without `done`
/// is a queue program that did not come to its end. BEFORE and AFTER are the test's.
const QUEUE: &str = r#"#!/bin/sh
new=queued/.$$
mkdir $new
echo $$ >$new/pid
n=0
until mv -T $new queued/$n 2>/dev/null; do
    n=$((n + 1))
    [ $n -lt 1000 ] || exit 99
done
d=queued/$n
cat /proc/$$/environ >$d/environ
{ pwd; cat /proc/self/status /proc/self/limits; } >$d/about
BEFORE
cat >$d/message || exit 53
cat <&1 >$d/envelope || exit 53
: >$d/done
AFTER
"#;

/// A qmail home. What is written there stays until the next run, for reading.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    /// Where its processes are seen by the pids that they have themselves.
    proc: PathBuf,
}

/// What a queue program was given.
pub(crate) struct Record {
    pub(crate) pid: u32,
    pub(crate) message: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
    /// Its environment, as `/proc` has it.
    pub(crate) environ: Vec<u8>,
    /// Its directory, its `status` and its `limits`, as `/proc` has them.
    pub(crate) about: String,
    /// It came to its end.
    pub(crate) done: bool,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (envelope, message) = (self.envelope.escape_ascii(), self.message.escape_ascii());
        write!(f, "Record {{ {}, done: {}, envelope: {envelope:.200}, message: {message:.500} }}", self.pid, self.done)
    }
}

impl Record {
    /// The final NUL came: qmail-queue would deliver this. Every part of an envelope has a letter, so two NULs in a row are
    /// nothing but its end, with one exception that is one: a null sender alone.
    pub(crate) fn is_complete(&self) -> bool {
        self.envelope.ends_with(b"\0\0")
    }

    /// A variable of its environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let mut all = self.environ.split(|octet| *octet == 0).map(String::from_utf8_lossy);
        all.find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }
}

impl Home {
    /// An empty home with `me`, and the queue program that takes everything.
    pub(crate) fn new(name: &str) -> Home {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("qmail").join(name);
        let _ = fs::remove_dir_all(&path);
        Home::make(path, PathBuf::from("/proc"))
    }

    /// As [`Home::new`] on a throw-away host.
    pub(crate) fn on(host: &Host, inside: &str) -> Home {
        Home::make(host.path(inside), host.path("/proc"))
    }

    fn make(path: PathBuf, proc: PathBuf) -> Home {
        for directory in ["control", "bin", "queued"] {
            fs::create_dir_all(path.join(directory)).unwrap();
        }
        // Whatever uid the queue program has.
        fs::set_permissions(path.join("queued"), fs::Permissions::from_mode(0o777)).unwrap();
        let home = Home { path, proc };
        home.control("me", "mx.example.org\n");
        home.queue("", "exit 0");
        home
    }

    /// Takes it away, where nobody is to read it any more.
    pub(crate) fn remove(&self) {
        // Somebody who comes late may be writing there.
        let _ = fs::remove_dir_all(&self.path);
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.path.join(inside)
    }

    /// Writes a control file.
    pub(crate) fn control(&self, name: &str, octets: impl AsRef<[u8]>) {
        let path = self.path("control").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, octets).unwrap();
    }

    /// Writes a program. By another process: a file that this one has open for writing may be open in a child that another
    /// test is about to start, and could not be executed.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        let text = self.path(&format!("{name}.text"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&text, script).unwrap();
        run(Command::new("install").args(["-m", "755"]).args([&text, &path])).expect_ok("install");
        path
    }

    /// Writes the queue program: shell lines before and after it has recorded everything.
    pub(crate) fn queue(&self, before: &str, after: &str) {
        self.program("bin/qmail-queue", &QUEUE.replace("BEFORE", before).replace("AFTER", after));
    }

    /// Gives all of it to a user, as a queue has one.
    pub(crate) fn owned_by(&self, uid: u32) {
        chown(self.path("queued"), Some(uid), Some(uid)).unwrap();
    }

    /// `gatepost qmail-smtpd` with this home and tcpserver's environment; descriptors are to be added.
    pub(crate) fn command(&self) -> Command {
        self.wrapped("")
    }

    /// The same, started by a line of shell such as `ulimit -d 1024`.
    pub(crate) fn wrapped(&self, line: &str) -> Command {
        let mut command = if line.is_empty() {
            let mut command = Command::new(GATEPOST);
            command.arg("qmail-smtpd");
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{line}\nexec \"$0\" qmail-smtpd \"$@\""), GATEPOST]);
            command
        };
        command.env_clear().envs(ENVIRONMENT.iter().copied()).env("QMAILHOME", &self.path).current_dir("/");
        command
    }

    /// Everything that its queue programs were given, once they have all ended, in their order.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut all = Vec::new();
        for number in 0.. {
            let path = self.path("queued").join(number.to_string());
            if !path.exists() {
                break;
            }
            all.push(wait::until("the queue program to end", SOON, || self.record(&path)));
        }
        all
    }

    /// What has been recorded there; none while its program still runs.
    fn record(&self, path: &Path) -> Option<Record> {
        let read = |name: &str| fs::read(path.join(name)).unwrap_or_default();
        let pid: u32 = String::from_utf8(read("pid")).unwrap().trim().parse().unwrap();
        // A zombie has no command line any more.
        if command_line_in(&self.proc, pid).is_some() {
            return None;
        }
        Some(Record {
            pid,
            message: read("message"),
            envelope: read("envelope"),
            environ: read("environ"),
            about: String::from_utf8_lossy(&read("about")).into_owned(),
            done: path.join("done").exists(),
        })
    }

    /// The records with a whole envelope: what qmail-queue would have delivered.
    pub(crate) fn delivered(&self) -> Vec<Record> {
        self.records().into_iter().filter(Record::is_complete).collect()
    }

    /// The one message that was delivered.
    pub(crate) fn only(&self) -> Record {
        let mut all = self.delivered();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// What came on the descriptor 2 of the last [`Home::serve`].
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Where descriptor 2 may go.
    pub(crate) fn log_file(&self) -> fs::File {
        fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap()
    }

    /// Starts a session on a TCP connection, and the client at its other end.
    pub(crate) fn serve(&self, command: &mut Command) -> (Client, Session) {
        let (ours, theirs) = tcp_pair();
        let theirs = OwnedFd::from(theirs);
        let child = command
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs)
            .stderr(self.log_file())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        // Its own copies of the descriptors would keep the connection open.
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        (Client::over(ours), Session(child))
    }
}

/// A process, and no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    status(pid).get("State").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// A session that has been started. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Session(Child);

impl Session {
    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn of(child: Child) -> Session {
        Session(child)
    }

    /// Its exit status, once it has ended; none when it does not in this time.
    pub(crate) fn wait_within(&mut self, within: Duration) -> Option<ExitStatus> {
        wait::poll(within, &mut || self.0.try_wait().unwrap())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(SOON).expect("the session ends")
    }

    /// Waits for its end, which must be with this status.
    pub(crate) fn ends(&mut self, code: i32) {
        let status = self.wait();
        assert_eq!(status.code(), Some(code), "{status}");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A certificate of that name and its key in one file, as `control/servercert.pem` has them.
pub(crate) fn certificate(name: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "30"]);
    command.args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")]);
    // The key comes first, then the certificate.
    run(command.args(["-keyout", "-", "-out", "-"])).expect_ok("openssl req").stdout
}

/// Both ends of a TCP connection over loopback.
pub(crate) fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, from) = listener.accept().unwrap();
    assert_eq!(from, ours.local_addr().unwrap(), "somebody else's connection");
    (ours, theirs)
}

/// Takes `pattern` off the beginning of `text`: `<t>` and `<p>` stand for digits, `<date>` for qmail's date.
pub(crate) fn strip<'t>(pattern: &[u8], mut text: &'t [u8]) -> Option<&'t [u8]> {
    let mut rest = pattern;
    while let Some(first) = rest.first() {
        let number = [&b"<t>"[..], b"<p>"].iter().find_map(|name| rest.strip_prefix(*name));
        if let Some(after) = number {
            (rest, text) = (after, digits(text)?);
        } else if let Some(after) = rest.strip_prefix(b"<date>") {
            (rest, text) = (after, date(text)?);
        } else {
            text = text.strip_prefix(std::slice::from_ref(first))?;
            rest = &rest[1..];
        }
    }
    Some(text)
}

/// True when all of `text` is as in `pattern`.
pub(crate) fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    strip(pattern, text).is_some_and(<[u8]>::is_empty)
}

fn digits(text: &[u8]) -> Option<&[u8]> {
    let count = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    (count > 0).then(|| &text[count..])
}

/// `2 Jan 2026 03:04:05 -0000`: the day alone has no zero before it.
fn date(text: &[u8]) -> Option<&[u8]> {
    let day = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let shape = b" Mmm 0000 00:00:00 -0000";
    let (rest, after) = text.get(day..)?.split_at_checked(shape.len())?;
    let fits = rest.iter().zip(shape).all(|(octet, as_in)| match as_in {
        b'0' => octet.is_ascii_digit(),
        b'M' => octet.is_ascii_uppercase(),
        b'm' => octet.is_ascii_lowercase(),
        other => octet == other,
    });
    (fits && (1..=2).contains(&day) && text[0] != b'0').then_some(after)
}
