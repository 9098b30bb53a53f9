//! The jailed session: octets between client and engine, questions between engine and door.

mod ask;
pub(crate) mod client;
mod patience;

use crate::DoorEnd;
use ask::{Door, DoorLost, Tls};
use client::{Ends, Line, later};
use gatepost_jail::{Alone, JailedSession};
use gatepost_qmail::engine::{Answer, AuthAsk, Engine, Event, Phase, Settings, exit_status};
use gatepost_qmail::replies;
use gatepost_session::{KeyholderEnd, Signer};
use gatepost_smtp::envelope::{CloseReason, Then};
use gatepost_sys::process::ProcessId;
use gatepost_wire::door::{ARGUMENT_MAX, Ask, Auth};
use patience::Patience;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Octets read from the client at once. Only what is read is touched.
const READ: usize = 16 * 1024;
/// A handshake takes no longer than this, and no longer than `timeoutsmtpd`. Its 4 kB take a modem's line minutes.
const HANDSHAKE_TIME: Duration = Duration::from_secs(300);
/// After the last reply to a client that is not through: how long it may go on talking before the connection is closed
/// over it, which would take the reply away again (RFC 1122 §4.2.2.13).
const LINGER_TIME: Duration = Duration::from_secs(2);
/// RLIMIT_DATA of a session, octets, unless we were given less: the `ulimit -d 1024` of 2001.
const DATA: u64 = 1024 * 1024;
/// How long the kernel lets a session live beyond the time after which it ends by itself.
const GRACE: Duration = Duration::from_secs(60);
/// Whom a session becomes that root started: nobody, who owns nothing.
const NOBODY: (u32, u32) = (65_534, 65_534);

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
    /// The door's process.
    pub(crate) door: ProcessId,
    pub(crate) settings: Settings,
    /// TLS from the first octet on.
    pub(crate) implicit_tls: bool,
    pub(crate) superserver: Option<Superserver>,
    /// Wait for each read and each write (`timeoutsmtpd`).
    pub(crate) timeout: Duration,
    /// Octets a second that content must have; None: any.
    pub(crate) minimum_rate: Option<u32>,
    /// No session lasts longer.
    pub(crate) session_time: Duration,
    /// Wait before the greeting, and whether who speaks meanwhile is dropped.
    pub(crate) greet_delay: Duration,
    pub(crate) drop_early: bool,
}

/// What a session is born with.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) client: Ends,
    pub(crate) door: DoorEnd,
    pub(crate) terms: Terms,
    /// Said before the greeting, by plugins.
    pub(crate) prelude: Vec<u8>,
}

impl Birth {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = vec![self.door.as_fd()];
        all.extend(self.client.descriptors());
        let superserver = self.terms.superserver.iter();
        all.extend(superserver.flat_map(|s| [s.control.as_fd()].into_iter().chain(s.inside.descriptors())));
        all
    }
}

/// Why a session ends without a last word.
enum Cut {
    ClientGone,
    /// The client does not read.
    Late,
    Tls,
    Door,
}

impl From<io::Error> for Cut {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::TimedOut { Cut::Late } else { Cut::ClientGone }
    }
}

impl From<DoorLost> for Cut {
    fn from(_: DoorLost) -> Self {
        Cut::Door
    }
}

/// What the engine wants next.
enum Next {
    Read,
    Flush,
    StartTls,
    Close(CloseReason),
}

struct Session {
    line: Line,
    engine: Engine,
    door: Door,
    superserver: Option<Superserver>,
    patience: Patience,
    timeout: Duration,
    end: Instant,
    /// Octets of content given so far.
    length: u64,
}

/// The forked child from its first moment to its exit status.
pub(crate) fn begin(birth: Birth) -> u8 {
    let keep = birth.descriptors();
    let alone = Alone {
        door: birth.terms.door,
        keep: &keep,
        account: Some(NOBODY),
        data: DATA,
        file_size: birth.client.file_size(),
        life: birth.terms.session_time.saturating_add(GRACE),
    };
    match alone.enter() {
        Ok((jailed, unmet)) => {
            // One word each: the log line parts its words by spaces.
            let walls: Vec<String> = unmet.iter().map(|wall| wall.what.replace(' ', "-")).collect();
            let text = walls.join(",");
            let _ = birth.door.tell(&Ask::Jail { entered: true, text: text.as_bytes() });
            serve(jailed, birth)
        }
        Err(e) => {
            let _ = birth.door.tell(&Ask::Jail { entered: false, text: e.to_string().as_bytes() });
            let mut line = Line::new(birth.client);
            let _ = line.write(format!("{}\r\n", replies::INTERNAL).as_bytes(), LINGER_TIME);
            1
        }
    }
}

/// Serves one client to the end; gives the exit status that qmail-smtpd would have.
fn serve(_: JailedSession, birth: Birth) -> u8 {
    let Birth { client, door, terms, prelude } = birth;
    let mut session = Session {
        line: Line::new(client),
        engine: Engine::new(terms.settings),
        door: Door::new(door),
        superserver: terms.superserver,
        patience: Patience::new(terms.timeout, terms.minimum_rate),
        timeout: terms.timeout,
        end: later(terms.session_time),
        length: 0,
    };
    let waits = !terms.greet_delay.is_zero() && !terms.implicit_tls;
    let early = waits && session.line.speaks_within(terms.greet_delay) && terms.drop_early;
    let status = session.run(&prelude, terms.implicit_tls, early);
    // The process ends with all it has: taking it apart first would only cost time.
    std::mem::forget(session);
    status
}

impl Session {
    fn run(&mut self, prelude: &[u8], implicit_tls: bool, early: bool) -> u8 {
        let (why, status) = match self.talk(prelude, implicit_tls, early) {
            Ok(farewell) => {
                self.part(farewell);
                (farewell, exit_status(farewell))
            }
            Err(Cut::ClientGone) => (CloseReason::ClientGone, 1),
            Err(Cut::Late) => (CloseReason::Timeout, 1),
            Err(Cut::Tls) => (CloseReason::TlsFailed, 1),
            Err(Cut::Door) => (CloseReason::Internal, 1),
        };
        self.door.bye(why);
        status
    }

    fn talk(&mut self, prelude: &[u8], implicit_tls: bool, early: bool) -> Result<CloseReason, Cut> {
        if implicit_tls {
            self.start_tls(true)?;
        }
        self.line.write(prelude, self.timeout)?;
        if early {
            let refusal = format!("{}\r\n", replies::EARLY_TALKER);
            self.engine.answer(&Answer { lines: refusal.as_bytes(), then: Then::Close });
        } else {
            self.engine.answer(&Answer::GO);
        }
        let mut buffer = vec![0; READ];
        let mut input = &[][..];
        loop {
            match self.advance(&mut input) {
                Next::Read => input = self.hear(&mut buffer)?,
                Next::Flush => self.flush()?,
                Next::StartTls => {
                    self.start_tls(false)?;
                    input = &[];
                }
                Next::Close(farewell) => {
                    self.flush()?;
                    return Ok(farewell);
                }
            }
        }
    }

    /// Sends what has gathered and waits for the client as long as patience lasts.
    fn hear<'b>(&mut self, buffer: &'b mut [u8]) -> Result<&'b [u8], Cut> {
        self.flush()?;
        self.patience.wait_for(self.engine.phase() == Phase::Content);
        let begun = Instant::now();
        // Also for a client that always has something to say: then no read ever waits.
        if begun >= self.end {
            self.engine.expire();
            return Ok(&[]);
        }
        let deadline = later(self.patience.left()).min(self.end);
        match self.line.read(buffer, deadline) {
            Ok(0) => Err(Cut::ClientGone),
            Ok(octets) => {
                self.patience.spend(begun.elapsed(), octets);
                Ok(buffer.get(..octets).unwrap_or_default())
            }
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                if Instant::now() >= self.end {
                    self.engine.expire()
                } else {
                    self.engine.timeout()
                }
                Ok(&[])
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Feeds the engine and does what it asks for.
    fn advance(&mut self, input: &mut &[u8]) -> Next {
        macro_rules! ask {
            ($ask:expr) => {
                self.door.ask(&$ask).map(|(lines, then)| {
                    self.engine.answer(&Answer { lines, then });
                })
            };
        }
        loop {
            let (used, event) = self.engine.read(input);
            *input = input.get(used..).unwrap_or_default();
            let told = match event {
                Event::Starved => return Next::Read,
                Event::Flush => return Next::Flush,
                Event::StartTls => return Next::StartTls,
                Event::Close(farewell) => return Next::Close(farewell),
                Event::Content(octets) => {
                    let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
                    self.length = self.length.saturating_add(length);
                    self.door.content(octets)
                }
                Event::Abandon(why) => {
                    self.length = 0;
                    self.door.tell_now(&Ask::Abandon(why))
                }
                Event::Reset => self.door.tell(&Ask::Reset),
                Event::Auth(AuthAsk::Challenge) => self.door.ask(&Ask::Challenge).map(|(text, then)| match then {
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
        }
    }

    fn start_tls(&mut self, implicit: bool) -> Result<(), Cut> {
        let negotiated = match self.superserver.take() {
            Some(superserver) => {
                self.say_ready(implicit)?;
                File::from(superserver.control).write_all(b"y").map_err(|_| Cut::Tls)?;
                self.line.move_to(superserver.inside);
                None
            }
            None => match self.door.start_tls()? {
                Tls::Refused(_) if implicit => return Err(Cut::Tls),
                Tls::Refused(lines) => {
                    self.engine.answer(&Answer { lines: &lines, then: Then::Refused });
                    return Ok(());
                }
                Tls::Ready(chains, end) => {
                    self.say_ready(implicit)?;
                    let signer = Signer::default();
                    signer.connect(KeyholderEnd::from_fd(end));
                    let config = gatepost_tls::server::config(&chains, false, Box::new(signer.clone()));
                    let config = config.map_err(|_| Cut::Tls)?;
                    let negotiated = self.line.start_tls(config, later(HANDSHAKE_TIME.min(self.timeout)).min(self.end));
                    // The door waits for the end of this channel before it hears anything else.
                    signer.disconnect();
                    Some(negotiated.map_err(|_| Cut::Tls)?)
                }
            },
        };
        // At once: until the door knows it, its last word for a session that dies would go out in clear.
        self.door.tell_now(&Ask::Encrypted(negotiated))?;
        self.engine.tls_established();
        Ok(())
    }

    fn say_ready(&mut self, implicit: bool) -> Result<(), Cut> {
        if !implicit {
            self.engine.answer(&Answer::GO);
        }
        self.flush()
    }

    /// Sends all replies that have gathered.
    fn flush(&mut self) -> Result<(), Cut> {
        let output = self.engine.output();
        if output.is_empty() {
            return Ok(());
        }
        let octets = output.len();
        self.line.write(output, self.timeout)?;
        self.engine.sent(octets);
        Ok(())
    }

    /// Closes so that the last reply arrives.
    fn part(&mut self, farewell: CloseReason) {
        self.line.finish(LINGER_TIME);
        if farewell == CloseReason::Quit {
            return;
        }
        let deadline = later(LINGER_TIME);
        let mut rest = vec![0; READ];
        while self.line.read(&mut rest, deadline).is_ok_and(|octets| octets > 0) {}
    }
}

/// What of a name the door hears: GATEPOST_LINE may let a longer one in, and nobody looks at that much of it.
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
            let frame = Frame::of(&Ask::Helo(sayable(&name)));
            let heard = Messages::<Ask<'_>>::one(frame.bytes()).unwrap();
            assert_eq!(heard, Ask::Helo(&name[..length.min(ARGUMENT_MAX)]));
        }
    }
}
