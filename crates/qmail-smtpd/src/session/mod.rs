//! The jailed session: octets between client and engine, questions between engine and parent.

mod ask;

use crate::ParentEnd;
use ask::{Parent, ParentLost, Tls};
use gatepost_jail::{Alone, JailedSession, NOBODY};
use gatepost_qmail::engine::{Answer, AuthAsk, Engine, Event, Phase, Settings, exit_status};
use gatepost_qmail::replies;
use gatepost_shell::{
    Clock, Dialogue, Ends, Interruption, KeyholderEnd, Lost, Monotonic, Next, Output, Shell, Signer, Times,
};
use gatepost_smtp::envelope::{CloseReason, Then};
use gatepost_sys::fds;
use gatepost_sys::process::{self, ProcessId};
use gatepost_wire::parent::{ARGUMENT_MAX, Ask, Auth};
use std::fs::File;
use std::io::{Stderr, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Octets of the longest file of replies.
const TRANSCRIPT_MAX: u64 = 1 << 20;
/// RLIMIT_DATA of a session, octets, unless we were given less: the `ulimit -d 1024` of 2001.
const DATA: u64 = 1024 * 1024;
/// Longest wait for a client to take the word that it is not served.
const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// How long the kernel lets a session live beyond the time after which it ends by itself.
const GRACE: Duration = Duration::from_secs(60);

/// Descriptors of a TLS superserver (UCSPI-TLS): it holds the key and speaks TLS, on a word from us.
#[derive(Debug)]
pub(crate) struct Superserver {
    pub(crate) control: OwnedFd,
    /// Where it speaks in clear, made ready before the jail, which lets nobody set up a socket.
    pub(crate) inside: Ends,
}

/// What holds for a session from its first octet to its last.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The parent's process.
    pub(crate) parent: ProcessId,
    pub(crate) settings: Settings,
    /// TLS from the first octet on.
    pub(crate) implicit_tls: bool,
    pub(crate) superserver: Option<Superserver>,
    /// What the client may take.
    pub(crate) times: Times,
    /// Wait before the greeting, and whether who speaks meanwhile is dropped.
    pub(crate) greet_delay: Duration,
    pub(crate) drop_early: bool,
    /// Serve only with all of landlock.
    pub(crate) landlock: bool,
}

/// What a session starts with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) client: Ends,
    pub(crate) parent: ParentEnd,
    pub(crate) terms: Terms,
    /// Said before the greeting, by plugins.
    pub(crate) prelude: Vec<u8>,
}

impl Start {
    fn descriptors<'a>(&'a self, stderr: &'a Stderr) -> Vec<BorrowedFd<'a>> {
        let mut all = vec![self.parent.as_fd(), stderr.as_fd()];
        all.extend(self.client.descriptors());
        let superserver = self.terms.superserver.iter();
        all.extend(superserver.flat_map(|s| [s.control.as_fd()].into_iter().chain(s.inside.descriptors())));
        all
    }

    /// Octets that may be written, where replies go into a file: somebody tries it out by hand.
    fn file_size(&self) -> u64 {
        if fds::is_file(self.client.output()) { TRANSCRIPT_MAX } else { 0 }
    }
}

/// The engine, and those who answer it.
struct Qmail {
    engine: Engine,
    parent: Parent,
    superserver: Option<Superserver>,
    implicit_tls: bool,
    /// Octets of content given so far.
    length: u64,
}

/// The forked child from its first moment to its exit status.
pub(crate) fn begin(start: Start) -> u8 {
    // What the standard library says before it ends a process, of memory that has run out, is no message and is logged.
    let _ = fds::make_stderr(&start.parent);
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(std::io::stderr(), "{panic}");
        // Not abort(3): the system call filter would kill us in it.
        process::exit(1)
    }));
    let stderr = std::io::stderr();
    let keep = start.descriptors(&stderr);
    let alone = Alone {
        parent: start.terms.parent,
        keep: &keep,
        account: Some(NOBODY),
        data: DATA,
        file_size: start.file_size(),
        life: start.terms.times.session.saturating_add(GRACE),
        landlock: start.terms.landlock,
    };
    match alone.enter() {
        Ok((jailed, unmet)) => {
            // One word each: the log line parts its words by spaces.
            let lacking: Vec<String> = unmet.iter().map(|part| part.what.replace(' ', "-")).collect();
            serve(jailed, start, lacking.join(",").as_bytes())
        }
        Err(e) => {
            let _ = start.parent.tell(&Ask::Jail { entered: false, text: e.to_string().as_bytes() });
            let times = Times { write: REFUSAL_TIME, ..start.terms.times };
            let mut shell = Shell::new(start.client, times, Monotonic, None);
            let _ = shell.send(&mut format!("{}\r\n", replies::INTERNAL).as_bytes());
            1
        }
    }
}

/// Serves one client to the end; gives the exit status that qmail-smtpd would have. `without`: what the jail could not have.
fn serve(_: JailedSession, start: Start, without: &[u8]) -> u8 {
    let Start { client, parent, terms, prelude } = start;
    let mut shell = Shell::new(client, terms.times, Monotonic, None);
    let mut parent = Parent::new(parent);
    let begun = parent.ask(&Ask::Jail { entered: true, text: without }).map(|(_, then)| then);
    let mut settings = terms.settings;
    // Everything but the offer stays as it would be with TLS: SIZE is said, and no password goes in clear.
    settings.patched |= settings.starttls;
    settings.starttls &= matches!(begun, Ok(Then::Go));
    let mut engine = Engine::new(settings);
    if begun.is_err() {
        engine.fail();
    }
    let mut qmail =
        Qmail { engine, parent, superserver: terms.superserver, implicit_tls: terms.implicit_tls, length: 0 };
    let waits = !terms.greet_delay.is_zero() && !terms.implicit_tls;
    let early = waits && shell.speaks_within(terms.greet_delay) && terms.drop_early;
    let closed = talk(&mut shell, &mut qmail, &prelude, early);
    if let Ok(reason) = closed {
        // Who was silent for all of timeoutsmtpd is not in the midst of sending, and qmail-smtpd's place is free at once.
        shell.close(!matches!(reason, CloseReason::Quit | CloseReason::Timeout));
    }
    let (Ok(reason) | Err(Lost(reason))) = closed;
    qmail.parent.bye(reason);
    // The process ends with all it has: taking it apart first would only cost time.
    std::mem::forget((shell, qmail));
    exit_status(reason)
}

/// From the first octet to the last reply. `early`: who spoke before the greeting is not served.
fn talk(shell: &mut Shell<Monotonic>, qmail: &mut Qmail, prelude: &[u8], early: bool) -> Result<CloseReason, Lost> {
    if qmail.implicit_tls {
        qmail.start_tls(shell)?;
    }
    shell.send(&mut { prelude })?;
    if early {
        let refusal = format!("{}\r\n", replies::EARLY_TALKER);
        qmail.engine.answer(&Answer { lines: refusal.as_bytes(), then: Then::Close });
    } else {
        qmail.engine.answer(&Answer::GO);
    }
    shell.serve(qmail)
}

impl Output for Qmail {
    fn output(&self) -> &[u8] {
        self.engine.output()
    }

    fn sent(&mut self, octets: usize) {
        self.engine.sent(octets);
    }
}

impl Dialogue for Qmail {
    fn advance(&mut self, input: &[u8]) -> (usize, Next) {
        macro_rules! ask {
            ($ask:expr) => {
                self.parent.ask(&$ask).map(|(lines, then)| {
                    self.engine.answer(&Answer { lines, then });
                })
            };
        }
        let mut rest = input;
        let next = loop {
            let (used, event) = self.engine.read(rest);
            rest = rest.get(used..).unwrap_or_default();
            let told = match event {
                Event::Starved => break Next::Read,
                Event::Flush => break Next::Flush,
                Event::StartTls => break Next::StartTls,
                Event::Close(reason) => break Next::Close(reason),
                Event::Content(octets) => {
                    let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
                    self.length = self.length.saturating_add(length);
                    self.parent.content(octets)
                }
                Event::Abandon(why) => {
                    self.length = 0;
                    self.parent.tell_now(&Ask::Abandon(why))
                }
                Event::Reset => self.parent.tell(&Ask::Reset),
                Event::Auth(AuthAsk::Challenge) => self.parent.ask(&Ask::Challenge).map(|(text, then)| match then {
                    Then::Go => self.engine.challenge(text),
                    refused => self.engine.answer(&Answer { lines: text, then: refused }),
                }),
                Event::Helo { name, .. } => ask!(Ask::Helo(sayable(name))),
                Event::Mail { address, .. } => ask!(Ask::Mail(address)),
                Event::Rcpt { address } => ask!(Ask::Rcpt(address)),
                Event::Data => ask!(Ask::Data),
                Event::Commit => ask!(Ask::Commit { length: std::mem::take(&mut self.length) }),
                Event::Auth(AuthAsk::Check { mechanism, user, pass, challenge }) => {
                    ask!(Ask::Auth(Auth { mechanism, user, password: pass, challenge }))
                }
            };
            if told.is_err() {
                self.engine.fail();
            }
        };
        (input.len().saturating_sub(rest.len()), next)
    }

    fn in_content(&self) -> bool {
        self.engine.phase() == Phase::Content
    }

    fn interrupt(&mut self, why: Interruption) {
        match why {
            Interruption::Timeout => self.engine.timeout(),
            Interruption::SessionTime | Interruption::Drain => self.engine.expire(),
            // Nobody has any for this dialogue.
            Interruption::Notice => {}
        }
    }

    fn start_tls<C: Clock>(&mut self, shell: &mut Shell<C>) -> Result<(), Lost> {
        let negotiated = match self.superserver.take() {
            Some(superserver) => {
                self.say_ready(shell)?;
                File::from(superserver.control).write_all(b"y").map_err(|_| Lost(CloseReason::TlsFailed))?;
                shell.move_to(superserver.inside);
                None
            }
            None => match self.parent.start_tls()? {
                Tls::Refused(_) if self.implicit_tls => return Err(Lost(CloseReason::TlsFailed)),
                Tls::Refused(lines) => {
                    self.engine.answer(&Answer { lines: &lines, then: Then::Refused });
                    return Ok(());
                }
                Tls::Ready(chains, end) => {
                    self.say_ready(shell)?;
                    let signer = Signer::default();
                    signer.connect(KeyholderEnd::from_fd(end));
                    let config = gatepost_tls::server::config(&chains, false, Box::new(signer.clone()));
                    let negotiated = shell.handshake(config.map_err(|_| Lost(CloseReason::TlsFailed))?);
                    // The parent waits for the end of this channel before it hears anything else.
                    signer.disconnect();
                    Some(negotiated?)
                }
            },
        };
        // At once: until the parent knows it, its last reply for a session that dies would go out in clear.
        self.parent.tell_now(&Ask::Encrypted(negotiated))?;
        self.engine.tls_established();
        Ok(())
    }
}

impl Qmail {
    fn say_ready<C: Clock>(&mut self, shell: &mut Shell<C>) -> Result<(), Lost> {
        if !self.implicit_tls {
            self.engine.answer(&Answer::GO);
        }
        shell.send(self)
    }
}

impl From<ParentLost> for Lost {
    fn from(_: ParentLost) -> Self {
        Self(CloseReason::Internal)
    }
}

/// What of a name the parent hears: GATEPOST_LINE may let a longer one in, and nobody looks at that much of it.
fn sayable(name: &[u8]) -> &[u8] {
    name.get(..ARGUMENT_MAX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_qmail::switches::LINE_MAX;
    use gatepost_wire::{Frame, Messages};

    #[test]
    fn p6_the_longest_line_that_may_be_asked_for_is_no_offence() {
        for length in [0, ARGUMENT_MAX, ARGUMENT_MAX + 1, usize::try_from(LINE_MAX).unwrap()] {
            let name = vec![b'x'; length];
            let frame = Frame::of(&Ask::Helo(sayable(&name))).unwrap();
            let heard = Messages::<Ask<'_>>::one(frame.bytes()).unwrap();
            assert_eq!(heard, Ask::Helo(&name[..length.min(ARGUMENT_MAX)]));
        }
    }
}
