//! Queue programs: qmail-queue(8)'s interface, with a last octet that only a commit writes.

use crate::text::Text;
use crate::{End, Surroundings};
use gatepost_sys::program::{self, Lookup, Outcome, Program, Running};
use gatepost_sys::wait::{self, Want};
use gatepost_sys::{fds, signal};
use std::ffi::CStr;
use std::io::{self, ErrorKind, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// What ends each record of an envelope, and, once more, the envelope.
pub(crate) const ENVELOPE_RECORD_END: u8 = 0;
/// Octets of each custom error text that are kept; qmail's own reader looks at 255.
const TEXT_MAX: usize = 4096;
/// Octets of envelope collected for one write.
const ENVELOPE_PIECE: usize = 32 * 1024;
/// Where a queue program's custom error goes by the older convention; `ERROR_FD` in its environment says otherwise.
const ERROR_FD: i32 = 4;
/// Where it goes by notqmail's.
const NOTQMAIL_ERROR_FD: i32 = 6;
/// The highest number that `ERROR_FD` may ask for.
const ERROR_FD_MAX: i32 = 63;
/// Exit status of a queue program that did not get to read all: what an exit 0 is worth that came too early.
const READ_ERROR: u8 = 54;

/// How long a queue program is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// While it takes no octet of message or envelope.
    pub progress: Duration,
    /// After the commit, for its exit status.
    pub verdict: Duration,
    /// After an abandonment, for its end.
    pub exit: Duration,
}

impl Default for Patience {
    /// RFC 5321 §4.5.3.2.6 lets a client wait 10 minutes for the reply after its content.
    fn default() -> Self {
        Self { progress: Duration::from_secs(300), verdict: Duration::from_secs(570), exit: Duration::from_secs(5) }
    }
}

/// A queue program at work. Dropping it is [`QueueProgram::abandon`].
#[derive(Debug)]
pub struct QueueProgram {
    running: Option<Running>,
    message: Option<PipeWriter>,
    envelope: Option<PipeWriter>,
    texts: [Text; 2],
    patience: Patience,
    /// All that was to be written so far has been taken.
    whole: bool,
}

/// What a queue program's end means.
#[derive(Debug)]
pub enum Verdict {
    /// Exit status 0 after it was given everything: it has the message.
    Accepted,
    /// This exit status. 54, qmail-queue's read error, also stands for a 0 before everything was given.
    Exit(u8),
    /// It was killed by this signal.
    Crashed(u8),
    /// It has ended, and how is not known. The client must be told to come again.
    Lost,
    /// It was never run: no such file, not executable, no such working directory.
    NotExecuted(io::Error),
    /// It was not heard of in time and is left to itself. Whether it has the message is not known: the client must be
    /// told to come again.
    Late,
}

/// A queue program's end and what it said.
#[derive(Debug)]
pub struct Finished {
    /// What it means.
    pub verdict: Verdict,
    /// Its process id: the `qp` of the reply.
    pub pid: i32,
    /// What it wrote to descriptor 4, or where `ERROR_FD` says; 4 KiB at most, as it came.
    pub text4: Vec<u8>,
    /// What it wrote to descriptor 6; likewise.
    pub text6: Vec<u8>,
}

impl QueueProgram {
    /// Starts `command`, a path, without arguments.
    ///
    /// # Errors
    /// No process, descriptors or memory left. That it cannot be executed shows in the verdict.
    pub fn start(command: &CStr, around: &Surroundings<'_>, patience: Patience) -> io::Result<Self> {
        signal::ignore_broken_pipe()?;
        let (its_message, message) = io::pipe()?;
        let (its_envelope, envelope) = io::pipe()?;
        let (text6, its_text6) = io::pipe()?;
        let (text4, its_text4) = io::pipe()?;
        for ours in [&message, &envelope] {
            fds::set_nonblocking(ours.as_fd(), true)?;
        }
        let number = error_fd(around);
        let mut plan =
            vec![(0, its_message.as_fd()), (1, its_envelope.as_fd()), (NOTQMAIL_ERROR_FD, its_text6.as_fd())];
        let text6 = Text::new(text6, TEXT_MAX)?;
        let text4 = if number == NOTQMAIL_ERROR_FD {
            Text::silent()
        } else {
            plan.push((number, its_text4.as_fd()));
            Text::new(text4, TEXT_MAX)?
        };
        let running = program::start(&Program {
            file: command,
            lookup: Lookup::Path,
            args: &[command],
            env: around.env,
            directory: Some(around.directory),
            fds: &around.plan(&plan),
            limits: around.limits,
            own_group: false,
        })?;
        let (message, envelope) = (Some(message), Some(envelope));
        Ok(Self { running: Some(running), message, envelope, texts: [text4, text6], patience, whole: true })
    }

    /// Gives it more of the message. Waits for it as long as it takes octets, up to [`Patience::progress`] without.
    /// When it has closed its end, or takes nothing any more, the rest of the message is dropped here; the verdict tells.
    pub fn write_message(&mut self, octets: &[u8]) {
        if self.whole
            && let Some(pipe) = &self.message
        {
            self.whole = feed(pipe, octets, &mut self.texts, self.patience.progress);
        }
    }

    /// Ends the message, gives it the envelope and, last and alone, the octet that makes the envelope complete; then waits.
    ///
    /// `records` are `F` and the reverse-path, `T` and a forward-path, as often as needed, each with its one
    /// `ENVELOPE_RECORD_END` at its end. A record that has another shape is a mistake of ours, and nothing is queued.
    pub fn commit<R: AsRef<[u8]>>(mut self, records: impl IntoIterator<Item = R>) -> Finished {
        // The real program reads all of the message before it looks at the envelope.
        self.message = None;
        self.whole = self.whole && self.write_envelope(records);
        if self.whole
            && let Some(pipe) = &self.envelope
        {
            self.whole = feed(pipe, &[ENVELOPE_RECORD_END], &mut self.texts, self.patience.progress);
        }
        self.envelope = None;
        self.finish()
    }

    /// Lets go of it without a commit: it finds the envelope incomplete and queues nothing. Waits for its end for
    /// [`Patience::exit`], then leaves it to itself; never kills it, for it cleans up what it has written.
    pub fn abandon(mut self) {
        self.let_go();
    }

    /// Whether it still takes what it is given.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    fn write_envelope<R: AsRef<[u8]>>(&mut self, records: impl IntoIterator<Item = R>) -> bool {
        let Some(pipe) = &self.envelope else { return false };
        let mut waiting: Vec<u8> = Vec::new();
        for record in records {
            let record = record.as_ref();
            if record.iter().position(|o| *o == ENVELOPE_RECORD_END) != record.len().checked_sub(1) || record.len() < 2
            {
                return false;
            }
            waiting.extend_from_slice(record);
            if waiting.len() >= ENVELOPE_PIECE {
                if !feed(pipe, &waiting, &mut self.texts, self.patience.progress) {
                    return false;
                }
                waiting.clear();
            }
        }
        feed(pipe, &waiting, &mut self.texts, self.patience.progress)
    }

    fn finish(&mut self) -> Finished {
        let until = Instant::now().checked_add(self.patience.verdict);
        let mut outcome = None;
        let mut pid = 0;
        if let Some(mut running) = self.running.take() {
            pid = running.pid();
            outcome = wait_draining(&mut running, &mut self.texts, until);
        }
        let verdict = match outcome {
            Some(Outcome::Ran(End::Exit(0))) if self.whole => Verdict::Accepted,
            Some(Outcome::Ran(End::Exit(0))) => Verdict::Exit(READ_ERROR),
            Some(Outcome::Ran(End::Exit(status))) => Verdict::Exit(status),
            Some(Outcome::Ran(End::Signal(signal))) => Verdict::Crashed(signal),
            Some(Outcome::Ran(End::Unknown)) => Verdict::Lost,
            Some(Outcome::NotExecuted(e)) => Verdict::NotExecuted(e),
            None => Verdict::Late,
        };
        let [text4, text6] = std::mem::replace(&mut self.texts, [Text::silent(), Text::silent()]);
        Finished { verdict, pid, text4: text4.into_parts().0, text6: text6.into_parts().0 }
    }

    fn let_go(&mut self) {
        (self.message, self.envelope) = (None, None);
        if let Some(mut running) = self.running.take() {
            let until = Instant::now().checked_add(self.patience.exit);
            wait_draining(&mut running, &mut self.texts, until);
        }
    }
}

impl Drop for QueueProgram {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The number that the environment asks for, or the usual one.
fn error_fd(around: &Surroundings<'_>) -> i32 {
    let asked = around.variable("ERROR_FD=").and_then(|v| str::from_utf8(v).ok()?.parse().ok());
    asked.filter(|number| (3..=ERROR_FD_MAX).contains(number)).unwrap_or(ERROR_FD)
}

/// Writes all of `octets`, listening to `texts` meanwhile: a program that waits for us to hear its error would never read
/// on. False: its end is closed, or it took nothing for `progress`.
fn feed(mut pipe: &PipeWriter, mut octets: &[u8], texts: &mut [Text; 2], progress: Duration) -> bool {
    let mut until = Instant::now().checked_add(progress);
    while !octets.is_empty() {
        match pipe.write(octets) {
            Ok(taken) => {
                octets = octets.get(taken..).unwrap_or_default();
                until = Instant::now().checked_add(progress);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if is_over(until) || wait_and_drain((pipe.as_fd(), Want::Write), texts, until).is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// Waits for the program's end until `until`, and reads what it says. What it has left in its pipes is read even when
/// something that it started still holds them open.
fn wait_draining(running: &mut Running, texts: &mut [Text; 2], until: Option<Instant>) -> Option<Outcome> {
    loop {
        let waited = wait_and_drain((running.as_fd(), Want::Read), texts, until);
        if let Some(outcome) = running.ended() {
            texts.iter_mut().for_each(Text::drain);
            return Some(outcome);
        }
        if waited.is_err() || is_over(until) {
            return None;
        }
    }
}

fn is_over(until: Option<Instant>) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}

fn wait_and_drain(other: (BorrowedFd<'_>, Want), texts: &mut [Text; 2], until: Option<Instant>) -> io::Result<()> {
    let listening = texts.iter().filter_map(Text::fd).map(|fd| (fd, Want::Read));
    let all: Vec<_> = std::iter::once(other).chain(listening).collect();
    wait::ready(&all, until)?;
    texts.iter_mut().for_each(Text::drain);
    Ok(())
}
