//! qmail-spp: the admin's plugins at each step.

use super::{Parent, Programs, Say};
use gatepost_qmail::environment::Environment;
use gatepost_qmail::replies::{self, Reply};
use gatepost_qmail::spp::{self, Facts, Outcome, Phase, Plugin, Plugins, Run};
use gatepost_smtp::envelope::Then;
use std::ops::ControlFlow;

/// Plugins, and what they have said so far in this session.
#[derive(Debug)]
pub(crate) struct Phases {
    plugins: Option<Plugins>,
    session: spp::Session,
    /// RCPTs of the transaction, granted or not.
    named: u32,
}

/// A phase that lets the command take its course.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Lines for the client, each with its CRLF, before the reply.
    pub(crate) printed: Vec<u8>,
    /// What a plugin made of the address.
    pub(crate) address: Option<Vec<u8>>,
    /// The built-in check is not to be made.
    pub(crate) bypass: bool,
}

/// A phase that does not.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) lines: Vec<u8>,
    pub(crate) then: Then,
    /// What is wrong with a plugin, for the log.
    pub(crate) warning: Option<String>,
}

impl Phases {
    pub(super) fn new(plugins: Option<Plugins>) -> Self {
        Self { plugins, session: spp::Session::default(), named: 0 }
    }

    /// Runs the plugins of a phase, one after the other, as long as they let it go on.
    pub(crate) fn ask(
        &mut self,
        phase: Phase,
        facts: Facts<'_>,
        environment: &mut Environment,
        programs: &Programs,
    ) -> Result<Passed, Stopped> {
        let Some(plugins) = &self.plugins else { return Ok(Passed::default()) };
        spp::variables(facts, environment);
        if let [first, rest @ ..] = self.session.put_off(phase).as_slice() {
            let lines = lines(rest.iter().chain([first]));
            return Err(Stopped { lines, then: Then::Refused, warning: None });
        }
        if !self.session.is_running() {
            return Ok(Passed::default());
        }
        let mut run = Run::new(&mut self.session, phase);
        let mut outcome = Outcome::Pass;
        for plugin in plugins.of(phase) {
            let (command, shell) = match plugin {
                Plugin::Path(path) => (path, false),
                Plugin::Shell(line) => (line, true),
            };
            let (output, ended) = programs.plugin(command, shell, environment);
            if let ControlFlow::Break(decided) = run.plugin(plugin, &output, ended, environment) {
                outcome = decided;
                break;
            }
        }
        let printed = lines(run.printed.iter());
        let stopped = |reply: Option<&Reply>, then| {
            let lines = [printed.clone(), lines(reply.into_iter())].concat();
            Stopped { lines, then, warning: None }
        };
        match outcome {
            Outcome::Fail(reply) => Err(stopped(Some(&reply), Then::Refused)),
            Outcome::Broken(why) => {
                Err(Stopped { warning: Some(why), ..stopped(Some(&replies::PLUGIN_FAILURE), Then::Refused) })
            }
            Outcome::Close(reply) => Err(stopped(reply.as_ref(), Then::Leave)),
            Outcome::Pass | Outcome::Bypass => {
                Ok(Passed { printed, address: run.address, bypass: outcome == Outcome::Bypass })
            }
        }
    }

    /// The transaction is over.
    pub(super) fn reset(&mut self) {
        self.session.reset();
        self.named = 0;
    }
}

fn lines<'a>(replies: impl Iterator<Item = &'a Reply>) -> Vec<u8> {
    replies.flat_map(|reply| format!("{reply}\r\n").into_bytes()).collect()
}

impl Parent {
    fn ask_about(&mut self, phase: Phase, facts: Facts<'_>) -> Result<Passed, Say> {
        self.plugins.ask(phase, facts, &mut self.environment, &self.programs).map_err(|stopped| {
            if let Some(why) = stopped.warning {
                self.record.warn(&why);
                self.suspect_limits();
            }
            Say { lines: stopped.lines, then: stopped.then }
        })
    }

    pub(super) fn ask_plugins(&mut self, phase: Phase) -> Result<Passed, Say> {
        self.ask_about(phase, Facts::Nothing)
    }

    pub(super) fn plugins_on_helo(&mut self, name: &[u8]) -> Result<Passed, Say> {
        self.plugins.session.renamed();
        self.ask_about(Phase::Helo, Facts::Helo(name))
    }

    pub(super) fn plugins_on_mail(&mut self, sender: &[u8]) -> Result<Passed, Say> {
        self.ask_about(Phase::Mail, Facts::Mail(sender))
    }

    pub(super) fn plugins_on_rcpt(&mut self, recipient: &[u8], accepted: u32, allowed: bool) -> Result<Passed, Say> {
        self.plugins.named = self.plugins.named.saturating_add(1);
        let named = self.plugins.named;
        self.ask_about(Phase::Rcpt, Facts::Rcpt { recipient, accepted, named, allowed })
    }

    /// What plugins want in the header, and what they printed.
    pub(super) fn plugins_on_data(&mut self) -> Result<(Vec<u8>, Vec<u8>), Say> {
        let passed = self.ask_plugins(Phase::Data)?;
        let headers = self.plugins.session.headers();
        Ok((headers.flat_map(|line| [line, b"\n"].concat()).collect(), passed.printed))
    }
}
