//! Running programs: to their end with a deadline, or as daemons that do not outlive the test.

use crate::wait;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Standard output, bad UTF-8 replaced.
    pub stdout: String,
    /// Standard error, bad UTF-8 replaced.
    pub stderr: String,
}

impl Ended {
    /// Exit status 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.status.success()
    }

    /// Both outputs.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Itself, when the program ended with status 0.
    ///
    /// # Panics
    /// With all it said otherwise.
    #[allow(clippy::must_use_candidate, clippy::return_self_not_must_use)] // Called for the check.
    pub fn expect_ok(self, what: &str) -> Self {
        assert!(self.ok(), "{what}: {}\n{}", self.status, self.said());
        self
    }
}

/// Runs `command` to its end, standard input empty.
///
/// # Panics
/// When it cannot be started or is not done within a minute.
pub fn run(command: &mut Command) -> Ended {
    run_within(command, Duration::from_secs(60))
}

/// As [`run`] with a deadline of its own.
///
/// # Panics
/// As [`run`].
pub fn run_within(command: &mut Command, within: Duration) -> Ended {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{shown}: {e}"));
    let stdout = Drain::of(child.stdout.take());
    let stderr = Drain::of(child.stderr.take());
    let status = wait::poll(within, &mut || child.try_wait().unwrap());
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (stdout.text(), stderr.text());
    match status {
        Some(status) => Ended { status, stdout, stderr },
        None => panic!("{shown}: not done within {within:?}\n{stdout}{stderr}"),
    }
}

/// Writes a program file, mode 755. Another process does it: a descriptor of this one would be in whatever other threads start
/// meanwhile, for a moment, and nobody can execute a file that is open for writing.
///
/// # Panics
/// When it cannot be written.
pub fn write_program(path: &Path, octets: &[u8]) {
    let write = "cat >\"$0\" && chmod 755 \"$0\"";
    let mut shell = Command::new("sh").args(["-c", write]).arg(path).stdin(Stdio::piped()).spawn().expect("sh");
    shell.stdin.take().expect("a pipe was asked for").write_all(octets).unwrap();
    assert!(shell.wait().unwrap().success(), "{}", path.display());
}

/// What comes out of a pipe, read on a thread of its own.
struct Drain {
    octets: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Drain {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Drain {
        let octets = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&octets);
        let thread = std::thread::spawn(move || {
            let mut pipe = pipe.expect("a pipe was asked for");
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = pipe.read(&mut some) {
                all.lock().unwrap().extend_from_slice(&some[..n]);
            }
        });
        Drain { octets, thread }
    }

    /// All of it, after the writer's end. A daemon that it left may keep the pipe open for ever, so reading ends after a second.
    fn text(self) -> String {
        wait::poll(Duration::from_secs(1), &mut || self.thread.is_finished().then_some(()));
        String::from_utf8_lossy(&self.octets.lock().unwrap()).into_owned()
    }
}

/// Sends a signal by name ("TERM", "KILL", "HUP") to a process of ours. False when it is gone already.
#[must_use]
pub fn signal(pid: u32, name: &str) -> bool {
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .expect("sh");
    status.success()
}

/// The only child of `pid`, once there is one.
#[must_use]
pub fn only_child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// A program that runs beside the test. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Wraps a started process, `carrier`, whose only child is the program itself.
    pub(crate) fn carried_by(mut carrier: Child, log: PathBuf) -> Self {
        let pid = wait::until("the program to start", wait::SOON, || {
            // A program that has ended already is reported by its status, not by its pid.
            only_child(carrier.id()).or_else(|| carrier.try_wait().unwrap().map(|_| 0))
        });
        Self { child: carrier, pid, log }
    }

    /// Its pid as this test sees it; 0 when it had ended before one could look.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// All it has written so far, both outputs.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its exit status once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When `within` has passed.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        match wait::poll(within, &mut || self.child.try_wait().unwrap()) {
            Some(status) => status,
            None => panic!("process {} has not ended within {within:?}; it said:\n{}", self.pid, self.said()),
        }
    }

    /// Waits until it has written `word`.
    ///
    /// # Panics
    /// When it has not in time, or has ended without.
    pub fn wait_said(&mut self, word: &str, within: Duration) {
        let found = wait::poll(within, &mut || {
            let ended = self.child.try_wait().unwrap().is_some();
            if self.said().contains(word) { Some(true) } else { ended.then_some(false) }
        });
        assert!(found == Some(true), "process {} did not say {word:?} but:\n{}", self.pid, self.said());
    }

    /// Sends it a signal by name. False when it is gone already.
    pub fn signal(&mut self, name: &str) -> bool {
        self.ended().is_none() && self.pid != 0 && signal(self.pid, name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.pid != 0 && !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = signal(self.pid, "KILL");
        }
        let _ = self.child.wait();
    }
}
