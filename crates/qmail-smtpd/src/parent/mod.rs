//! The parent: the process that was started. It decides by qmail's control files and runs qmail's programs; of what the client
//! says it hears what the session tells, in bounded, typed messages, and holds each against the state it is in.

mod allowance;
mod auth;
mod envelope;
mod message;
mod plugins;
mod programs;
mod tls;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use programs::Programs;

use crate::SessionEnd;
use crate::record::Record;
use allowance::Allowance;
use envelope::Transaction;
use gatepost_channel::{ChannelError, Inbox, messages};
use gatepost_qmail::auth::SmtpAuth;
use gatepost_qmail::control::Home;
use gatepost_qmail::controls::Controls;
use gatepost_qmail::environment::Environment;
use gatepost_qmail::rcptcheck;
use gatepost_qmail::replies::{self, Reply};
use gatepost_qmail::text::shown;
use gatepost_smtp::envelope::Tls;
use gatepost_smtp::envelope::{CloseReason, Then};
use gatepost_sys::wait;
use gatepost_tls::sign::Keys;
use gatepost_wire::parent::{Answer, Ask, LINES_MAX};
use gatepost_wire::slice::Chain;
use gatepost_wire::{FRAME_MAX, WireError};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// After so much silence of the session the parent looks whether there still is a client: an owned session could otherwise
/// keep a place of tcpserver's for as long as a session may last.
const SILENCE: Duration = Duration::from_secs(60);

/// Why the parent has closed the channel. Whatever the session was about to say is not heard.
#[derive(Debug)]
pub(crate) enum Offence {
    /// The channel broke, or brought what is no message.
    Channel(ChannelError),
    /// A message that this state does not permit: an owned session.
    Untimely,
    /// It stays although its client has gone: an owned session.
    Deserted,
    /// It ended itself: what the standard library said of memory that ran out, or of a mistake of ours.
    Died(String),
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(e) => e.fmt(f),
            Self::Untimely => f.write_str("the session said what it must not say now"),
            Self::Deserted => f.write_str("the session did not end with its client"),
            Self::Died(text) => f.write_str(text),
        }
    }
}

impl From<ChannelError> for Offence {
    fn from(e: ChannelError) -> Self {
        Self::Channel(e)
    }
}

/// Lines and what then, on their way to the session.
#[derive(Debug)]
pub(crate) struct Say {
    lines: Vec<u8>,
    then: Then,
}

impl Say {
    /// Granted, in the session's own words.
    fn go() -> Self {
        Self { lines: Vec::new(), then: Then::Go }
    }

    fn line(reply: &Reply, then: Then) -> Self {
        Self { lines: format!("{reply}\r\n").into_bytes(), then }
    }

    fn granted(reply: &Reply) -> Self {
        Self::line(reply, Then::Go)
    }

    fn refused(reply: &Reply) -> Self {
        Self::line(reply, Then::Refused)
    }

    fn close(reply: &Reply) -> Self {
        Self::line(reply, Then::Close)
    }

    /// The same after lines that plugins printed. All of it is one answer, so the `usual` reply is said here too.
    fn after(mut self, mut printed: Vec<u8>, usual: &Reply) -> Self {
        if printed.is_empty() {
            return self;
        }
        if self.lines.is_empty() && self.then == Then::Go {
            self.lines = format!("{usual}\r\n").into_bytes();
        }
        printed.append(&mut self.lines);
        self.lines = printed;
        self
    }
}

/// Longest text of [`Offence::Died`], octets.
const DEATH_TEXT_MAX: usize = 400;
/// Messages that are looked at for it: the standard library writes in pieces.
const DEATH_TEXT_PIECES: usize = 16;

/// What a session said on its descriptor 2, which is the channel, beginning with what is in `inbox`. It ends then.
fn death_text(session: &SessionEnd, mut inbox: Inbox) -> String {
    let mut words = inbox.bytes().to_vec();
    for _ in 0..DEATH_TEXT_PIECES {
        if words.len() >= DEATH_TEXT_MAX || session.fill(&mut inbox).is_err() {
            break;
        }
        words.extend_from_slice(inbox.bytes());
    }
    words.truncate(DEATH_TEXT_MAX);
    let printable = |octet: &u8| if (b' '..=b'~').contains(octet) { char::from(*octet) } else { ' ' };
    words.iter().map(printable).collect::<String>().trim().to_owned()
}

/// What holds for the one connection.
#[derive(Debug)]
pub(crate) struct Parent {
    /// Where the lists lie.
    home: Box<dyn Home>,
    pub(crate) controls: Controls,
    /// As it was handed down, and as AUTH and plugins change it.
    pub(crate) environment: Environment,
    pub(crate) programs: Programs,
    pub(crate) plugins: plugins::Phases,
    pub(crate) record: Record,
    /// AUTH as it is offered; None: it is not.
    pub(crate) offer: Option<SmtpAuth>,
    /// TLS is to be offered, and the key is ours: set before the session is forked.
    pub(crate) offers_tls: bool,
    /// Chains and keys, read once the session was forked, until they are used.
    pairs: Option<(Vec<Chain>, Keys)>,
    helo: Option<Vec<u8>>,
    tls: Option<Tls>,
    encrypted: bool,
    /// A handshake has begun.
    shaking: bool,
    user: Option<Vec<u8>>,
    challenge: Vec<u8>,
    transaction: Option<Transaction>,
    unknown: gatepost_qmail::recipients::Unknown,
    close_reason: Option<CloseReason>,
    allowance: Allowance,
    /// The environment before AUTH: TLS forgets who the client was in clear.
    before_auth: Option<Environment>,
    silence: Duration,
}

impl Parent {
    pub(crate) fn new(
        home: impl Home + 'static,
        controls: Controls,
        environment: Environment,
        programs: Programs,
        record: Record,
    ) -> Self {
        Self {
            home: Box::new(home),
            plugins: plugins::Phases::new(controls.plugins.clone()),
            controls,
            environment,
            programs,
            record,
            offer: None,
            offers_tls: false,
            pairs: None,
            helo: None,
            tls: None,
            encrypted: false,
            shaking: false,
            user: None,
            challenge: Vec::new(),
            transaction: None,
            unknown: gatepost_qmail::recipients::Unknown::default(),
            close_reason: None,
            allowance: Allowance::default(),
            before_auth: None,
            silence: SILENCE,
        }
    }

    /// Hears the session until it says why it ends, or is gone.
    ///
    /// # Errors
    /// [`Offence`]: a broken channel, or an owned session. Nothing of it is queued.
    pub(crate) fn serve(&mut self, session: &SessionEnd, client: BorrowedFd<'_>) -> Result<(), Offence> {
        let mut inbox = Inbox::new(FRAME_MAX);
        session.seq().set_timeout(self.silence).map_err(ChannelError::from)?;
        // A superserver may drop the line in clear while the one in TLS goes on.
        let superserver = self.environment.has("SSLCTLFD");
        loop {
            match session.fill(&mut inbox) {
                Ok(()) => {}
                Err(ChannelError::WouldBlock) if !superserver && wait::hung_up(client) => {
                    return Err(Offence::Deserted);
                }
                Err(ChannelError::WouldBlock) => continue,
                Err(ChannelError::Closed) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
            for ask in messages::<gatepost_wire::SessionToParent>(&inbox) {
                let ask = match ask {
                    // No frame begins so: what the standard library says of an end.
                    Err(WireError::Version) => return Err(Offence::Died(death_text(session, inbox))),
                    ask => ask.map_err(ChannelError::from)?,
                };
                if self.hear(session, ask)? {
                    return Ok(());
                }
            }
        }
    }

    /// Hears one message; true when it was the last.
    fn hear(&mut self, session: &SessionEnd, ask: Ask<'_>) -> Result<bool, Offence> {
        if !self.allowance.spend(&ask) {
            return Err(Offence::Untimely);
        }
        let say = match ask {
            // Content comes in a state of its own.
            Ask::Content(octets) => return self.content(octets).map(|()| false),
            Ask::Commit { length } => self.commit(length)?,
            Ask::Abandon(why) => return self.abandon(why).map(|()| false),
            Ask::Bye(close_reason) => {
                self.close_reason = Some(close_reason);
                if close_reason == CloseReason::BareLf {
                    self.record.refusal(replies::STRAY_NEWLINE.line().as_bytes());
                }
                return Ok(true);
            }
            _ if self.in_content() => return Err(Offence::Untimely),
            // No line of a client's holds one. In an envelope it would end a command of whoever sends the message on
            // (qmail-remote does not look), and the next could name any recipient: relaying.
            Ask::Helo(text) | Ask::Mail(text) | Ask::Rcpt(text) if text.contains(&b'\n') => {
                return Err(Offence::Untimely);
            }
            Ask::Jail { entered, text } => {
                if !entered {
                    self.record.warn(&format_args!("session not begun: {}", String::from_utf8_lossy(text)));
                    // It tells the client so and ends. A process without a jail is asked nothing and gets nothing.
                    return Ok(true);
                }
                self.record.without(text);
                Say { lines: Vec::new(), then: if self.prepare_tls() { Then::Go } else { Then::Refused } }
            }
            Ask::Helo(name) => self.helo(name),
            Ask::Mail(address) => self.mail(address)?,
            Ask::Rcpt(address) => self.rcpt(address)?,
            Ask::Data => self.data()?,
            Ask::Reset => {
                self.forget_transaction();
                return Ok(false);
            }
            Ask::Challenge => self.challenge()?,
            Ask::Auth(auth) => self.auth(&auth)?,
            Ask::StartTls => return self.start_tls(session).map(|()| false),
            Ask::Encrypted(facts) => {
                self.encrypted(facts);
                return Ok(false);
            }
        };
        let say = if say.lines.len() > LINES_MAX { Say::close(&replies::INTERNAL) } else { say };
        if say.then != Then::Go {
            self.record.refusal(&say.lines);
        }
        session.tell(&Answer::Reply { lines: &say.lines, then: say.then })?;
        Ok(false)
    }

    /// What the session said at its end; None when it never did.
    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    /// Warns of programs that can't do what they are there for, before the first mail comes.
    pub(crate) fn look_at_programs(&self) {
        let checker = self.programs.checker.first().map(Vec::as_slice);
        let all = [Some(self.environment.queue_program()), rcptcheck::program(&self.environment), checker];
        for program in all.into_iter().flatten() {
            if let Some(why) = self.programs.ids_lost(program) {
                self.record.warn(&format_args!("{} is set-id and runs without its ids: {why}", shown(program, 200)));
            }
        }
    }

    /// A program failed, perhaps because of the limits that it has from a wrapper: told, once.
    fn suspect_limits(&mut self) {
        for (limit, octets) in std::mem::take(&mut self.programs.stay) {
            self.record.warn(&format_args!(
                "{limit:?} stays at {octets} octets for programs too, because it was set as a hard limit (ulimit without \
                 -S); sessions are limited without it, so it can go"
            ));
        }
    }

    /// The line to the client is in clear, so that the parent may have a last reply when the session cannot.
    pub(crate) fn in_clear(&self) -> bool {
        // With a superserver the line may have moved to other descriptors before the session could say so.
        !self.shaking && !self.encrypted && !self.environment.has("SSLCTLFD")
    }

    /// The transaction is over; what plugins said for it too.
    fn forget_transaction(&mut self) {
        self.transaction = None;
        self.plugins.reset();
    }

    /// RELAYCLIENT is set: by rules, by AUTH, or by a plugin.
    fn may_relay(&self) -> bool {
        self.environment.has("RELAYCLIENT")
    }
}
