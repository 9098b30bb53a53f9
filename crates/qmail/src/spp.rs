//! qmail-spp: programs of the admin's that are asked at each step of a session, and what they may say.
//!
//! `control/smtpplugins` lists them in sections. Each is started with its stdin closed and [`variables`] in its environment;
//! what it prints, once it has ended, goes to [`Run::plugin`]. Plugins are believed, but they repeat what clients said: all that
//! comes from them is cleaned, so that no word of theirs makes a second line in a reply, a header or an environment.

use std::ops::ControlFlow;

use crate::control::Warning;
use crate::environment::Environment;
use crate::literal::fits;
use crate::program::Ended;
use crate::replies::Reply;
use crate::text::{VALUE_MAX, clean, shown};

/// Octets of a plugin's output that are read; more is a failure.
pub const OUTPUT_MAX: usize = 16_384;
/// Headers and variables that plugins may set for one message; what comes after is dropped.
const EFFECTS_MAX: usize = 100;

/// The steps of a session, in the order of the file's sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the greeting.
    Connection,
    /// At HELO and EHLO.
    Helo,
    /// At AUTH.
    Auth,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Rcpt,
    /// At DATA.
    Data,
}

/// Sections are told apart by their first letter.
const SECTIONS: [(u8, Phase); 6] = [
    (b'c', Phase::Connection),
    (b'h', Phase::Helo),
    (b'a', Phase::Auth),
    (b'm', Phase::Mail),
    (b'r', Phase::Rcpt),
    (b'd', Phase::Data),
];

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plugin {
    /// A program without arguments; relative to qmail's home.
    Path(Vec<u8>),
    /// A command for `/bin/sh -c`: the admin's own text, to which nothing of a client's is added.
    Shell(Vec<u8>),
}

impl Plugin {
    /// As the file names it, for the reply that tells of a failure.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Path(text) | Self::Shell(text) => text,
        }
    }
}

/// `control/smtpplugins`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plugins {
    list: Vec<(Phase, Plugin)>,
}

impl Plugins {
    /// Reads the file. Lines of an unknown section are passed over, as qmail-spp does, and warned of.
    #[must_use]
    pub fn parse(octets: &[u8], warnings: &mut Vec<Warning>) -> Self {
        let mut this = Self::default();
        let mut phase = None;
        for (line, entry) in crate::list::entries("smtpplugins", octets, warnings) {
            match entry.split_first() {
                Some((b'[', name)) => {
                    let letter = name.first();
                    phase = SECTIONS.iter().find(|(known, _)| Some(known) == letter).map(|(_, phase)| *phase);
                }
                _ if phase.is_none() => {
                    warnings.push(Warning::Plugin { line, why: "it stands in no section that there is" });
                }
                Some((b':', command)) => this.list.extend(phase.map(|phase| (phase, Plugin::Shell(command.to_vec())))),
                _ => this.list.extend(phase.map(|phase| (phase, Plugin::Path(entry)))),
            }
        }
        this
    }

    /// Those of a phase, in order.
    pub fn of(&self, phase: Phase) -> impl Iterator<Item = &Plugin> {
        self.list.iter().filter(move |(known, _)| *known == phase).map(|(_, plugin)| plugin)
    }
}

/// What a plugin may know of a phase, beside what earlier phases told.
#[derive(Debug, Clone, Copy)]
pub enum Facts<'a> {
    /// Connection, AUTH, DATA.
    Nothing,
    /// The argument of HELO or EHLO: SMTPHELOHOST.
    Helo(&'a [u8]),
    /// The sender: SMTPMAILFROM.
    Mail(&'a [u8]),
    /// A recipient.
    Rcpt {
        /// SMTPRCPTTO.
        recipient: &'a [u8],
        /// SMTPRCPTCOUNT: recipients accepted in this transaction.
        accepted: u32,
        /// SMTPRCPTCOUNTALL: recipients named in it, this one too.
        named: u32,
        /// SMTPRCPTHOSTSOK, 1 or 0: whether rcpthosts or RELAYCLIENT would let it pass.
        allowed: bool,
    },
}

/// Puts the facts into the environment; they stay there for later phases and the queue program, as in qmail-spp.
pub fn variables(facts: Facts<'_>, environment: &mut Environment) {
    match facts {
        Facts::Nothing => {}
        Facts::Helo(helo) => environment.set_hostile("SMTPHELOHOST", helo),
        Facts::Mail(sender) => environment.set_hostile("SMTPMAILFROM", sender),
        Facts::Rcpt { recipient, accepted, named, allowed } => {
            environment.set_hostile("SMTPRCPTTO", recipient);
            environment.set("SMTPRCPTCOUNT", accepted.to_string());
            environment.set("SMTPRCPTCOUNTALL", named.to_string());
            environment.set("SMTPRCPTHOSTSOK", if allowed { "1" } else { "0" });
        }
    }
}

/// One line of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Print(Vec<u8>),
    Error(Vec<u8>),
    Reject(Vec<u8>),
    Drop,
    Always,
    Next,
    Bypass,
    Header(Vec<u8>),
    Address(Vec<u8>),
    Set(String, Vec<u8>),
    Unset(String),
    Later(Phase, Vec<u8>),
}

impl Word {
    /// `None` for what means nothing: passed over, as in qmail-spp.
    fn parse(line: &[u8]) -> Option<Self> {
        let (verb, text) = line.split_first()?;
        Some(match verb {
            b'P' => Self::Print(text.to_vec()),
            b'E' => Self::Error(text.to_vec()),
            b'R' => Self::Reject(text.to_vec()),
            b'D' => Self::Drop,
            b'A' => Self::Always,
            b'N' => Self::Next,
            b'O' => Self::Bypass,
            b'H' => Self::Header(header(text)?),
            b'C' => Self::Address(clean(text, VALUE_MAX)),
            b'S' => {
                let equals = gatepost_smtp::find::first(b'=', text)?;
                let (name, value) = text.split_at_checked(equals)?;
                Self::Set(variable(name)?, clean(value.get(1..)?, VALUE_MAX))
            }
            b'U' => Self::Unset(variable(text)?),
            b'L' => match text.split_first()? {
                (b'M', text) => Self::Later(Phase::Mail, text.to_vec()),
                (b'R', text) => Self::Later(Phase::Rcpt, text.to_vec()),
                (b'D', text) => Self::Later(Phase::Data, text.to_vec()),
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// A header line, or a continuation of one: cleaned, with a field name in front or a blank.
fn header(text: &[u8]) -> Option<Vec<u8>> {
    let line: Vec<u8> =
        text.iter().filter(|octet| !octet.is_ascii_control() || **octet == b'\t').take(998).copied().collect();
    let name = line.iter().position(|octet| *octet == b':').and_then(|colon| line.get(..colon)).unwrap_or_default();
    let continues = line.starts_with(b" ") || line.starts_with(b"\t");
    (continues || (!name.is_empty() && name.iter().all(u8::is_ascii_graphic))).then_some(line)
}

/// A name that may be set: a plugin that echoes a client must not reach the dynamic linker of what runs next.
fn variable(name: &[u8]) -> Option<String> {
    let word = !name.is_empty() && name.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'_');
    let name = std::str::from_utf8(name).ok().filter(|_| word)?;
    (!name.starts_with("LD_") && !["PATH", "IFS", "ENV", "BASH_ENV"].contains(&name)).then(|| name.to_owned())
}

/// A reply in a plugin's words; without a code of its own it gets `code`.
fn reply(code: u16, text: &[u8]) -> Reply {
    Reply::said(text).unwrap_or_else(|| Reply::quoting(code, text))
}

/// What one session has heard from plugins so far.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// `A` was said: no plugin runs any more.
    stopped: bool,
    /// When it was said, until when it is put off, and what.
    later: Vec<(Phase, Phase, Reply)>,
    /// When it was said, and the line.
    headers: Vec<(Phase, Vec<u8>)>,
}

impl Session {
    /// Errors that were put off until this phase: said instead of running its plugins, and the command fails.
    #[must_use]
    pub fn put_off(&self, phase: Phase) -> Vec<Reply> {
        self.later.iter().filter(|(_, until, _)| *until == phase).map(|(.., reply)| reply.clone()).collect()
    }

    /// Whether plugins still run.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.stopped
    }

    /// Lines for the header of the message, without line ends, in order; they follow our Received.
    pub fn headers(&self) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().map(|(_, line)| line.as_slice())
    }

    /// At RSET, MAIL and the end of a message: what was said about the client holds for its next message, too.
    pub fn reset(&mut self) {
        self.forget(|said| matches!(said, Phase::Mail | Phase::Rcpt | Phase::Data));
    }

    /// At HELO: the client has another name now, and what was said about the old one is void.
    pub fn renamed(&mut self) {
        self.forget(|said| !matches!(said, Phase::Connection | Phase::Auth));
    }

    fn forget(&mut self, void: impl Fn(Phase) -> bool) {
        self.later.retain(|(said, ..)| !void(*said));
        self.headers.retain(|(said, _)| !void(*said));
    }
}

/// How a phase has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The command takes its usual course.
    Pass,
    /// It is accepted without the built-in check: rcpthosts, badmailfrom.
    Bypass,
    /// It fails with this.
    Fail(Reply),
    /// It fails with [`crate::replies::PLUGIN_FAILURE`], because of this, which is for the log.
    Broken(String),
    /// The connection ends with exit 0, with this as its last reply or with none.
    Close(Option<Reply>),
}

/// One phase on its way through its plugins.
#[derive(Debug)]
pub struct Run<'s> {
    session: &'s mut Session,
    phase: Phase,
    /// Lines that plugins have the client told besides, in order, before the reply.
    pub printed: Vec<Reply>,
    /// What a plugin made of the sender or the recipient, of at most `crate::literal::ADDRESS_MAX` octets.
    pub address: Option<Vec<u8>>,
}

impl<'s> Run<'s> {
    /// Begins a phase.
    pub fn new(session: &'s mut Session, phase: Phase) -> Self {
        Self { session, phase, printed: Vec::new(), address: None }
    }

    /// One plugin has ended after printing `output`. Variables are set and unset in `environment` at once, for the next one
    /// to see. `Break` ends the phase; after the last plugin's `Continue` it is [`Outcome::Pass`].
    pub fn plugin(
        &mut self,
        plugin: &Plugin,
        output: &[u8],
        ended: Ended,
        environment: &mut Environment,
    ) -> ControlFlow<Outcome> {
        let why = match ended {
            Ended::NotForked => Some("fork() failed"),
            Ended::Lost => Some("wait_pid() failed"),
            Ended::Killed(_) => Some("child crashed"),
            Ended::NOT_EXECUTED => Some("can't execute"),
            Ended::Exited(_) if output.len() > OUTPUT_MAX => Some("too much output"),
            Ended::Exited(_) => None,
        };
        if let Some(why) = why {
            return ControlFlow::Break(Outcome::Broken(failure(plugin, why)));
        }
        for line in output.split(|octet| *octet == b'\n') {
            if let Some(word) = Word::parse(line) {
                self.word(word, environment)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The first word that decides ends the plugin's say, and the phase.
    fn word(&mut self, word: Word, environment: &mut Environment) -> ControlFlow<Outcome> {
        match word {
            Word::Error(text) => return ControlFlow::Break(Outcome::Fail(reply(554, &text))),
            Word::Reject(text) => return ControlFlow::Break(Outcome::Close(Some(reply(554, &text)))),
            Word::Drop => return ControlFlow::Break(Outcome::Close(None)),
            Word::Always => {
                self.session.stopped = true;
                return ControlFlow::Break(Outcome::Pass);
            }
            Word::Next => return ControlFlow::Break(Outcome::Pass),
            Word::Bypass => return ControlFlow::Break(Outcome::Bypass),
            Word::Print(text) => capped(&mut self.printed, reply(250, &text)),
            Word::Header(line) => capped(&mut self.session.headers, (self.phase, line)),
            Word::Later(phase, text) => capped(&mut self.session.later, (self.phase, phase, reply(554, &text))),
            Word::Address(address) => {
                let variable = match self.phase {
                    Phase::Mail => Some("SMTPMAILFROM"),
                    Phase::Rcpt => Some("SMTPRCPTTO"),
                    _ => None,
                };
                if let Some(variable) = variable.filter(|_| fits(&address)) {
                    environment.set_hostile(variable, &address);
                    self.address = Some(address);
                }
            }
            Word::Set(name, value) => {
                let room = environment.has(&name) || environment.iter().count() < 1000;
                if room {
                    environment.set(&name, value);
                }
            }
            Word::Unset(name) => environment.unset(&name),
        }
        ControlFlow::Continue(())
    }
}

fn capped<T>(list: &mut Vec<T>, item: T) {
    if list.len() < EFFECTS_MAX {
        list.push(item);
    }
}

fn failure(plugin: &Plugin, why: &str) -> String {
    format!("plugin {}: {why}", shown(plugin.name(), 200))
}

#[cfg(test)]
#[path = "spp_tests.rs"]
mod tests;
