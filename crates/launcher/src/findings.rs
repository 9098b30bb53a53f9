//! What was found of the system that a start is built on: facts, and everything that was looked at with what follows from it.

use gatepost_sys::process;
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::collections::BTreeMap;

/// What follows from one thing that was looked at; the last is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// As it should be, with advice.
    Note,
    /// It serves, but somebody should look.
    Look,
    /// It will not serve.
    Fault,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: String,
    /// What was found, or a sentence that says what is wrong and what to do.
    pub text: String,
    /// What follows from it.
    pub level: Level,
}

/// Facts about the system that the start is built on.
#[derive(Debug, Clone)]
pub struct Fitness {
    /// Started by root, or not.
    pub ground: Ground,
    /// User and group of each role that is needed and has them, where root gives them.
    pub ids: BTreeMap<Role, (u32, u32)>,
    /// Real user of the queue role.
    pub queue_user: u32,
    /// Supplementary groups that handoff needs to reach its backend.
    pub backend_groups: Vec<u32>,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

impl Fitness {
    /// Before anything was looked at.
    pub(crate) fn unseen() -> Self {
        let user = process::effective_ids().0;
        Self {
            ground: if user == 0 { Ground::Root } else { Ground::User },
            ids: BTreeMap::new(),
            queue_user: user,
            backend_groups: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The sentences of what is not fit.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.sentences(Level::Fault)
    }

    /// The sentences of what serves, but should be looked at.
    #[must_use]
    pub fn looks(&self) -> Vec<String> {
        self.sentences(Level::Look)
    }

    fn sentences(&self, level: Level) -> Vec<String> {
        self.findings.iter().filter(|f| f.level == level).map(|f| format!("{}: {}", f.subject, f.text)).collect()
    }

    /// User and group of `role`. None: this start has none for it, which is a fault where the role is needed. Root's own never stand
    /// in for them.
    #[must_use]
    pub(crate) fn ids_of(&self, role: Role) -> Option<(u32, u32)> {
        match self.ground {
            Ground::Root => self.ids.get(&role).copied(),
            Ground::User => Some(process::effective_ids()),
        }
    }

    /// What was looked at, which is good or keeps gatepost from serving.
    pub(crate) fn note(&mut self, subject: impl Into<String>, result: Result<String, String>) {
        let level = if result.is_ok() { Level::Good } else { Level::Fault };
        let (Ok(text) | Err(text)) = result;
        self.add(subject, level, text);
    }

    /// What was looked at, and what follows from it.
    pub(crate) fn add(&mut self, subject: impl Into<String>, level: Level, text: impl Into<String>) {
        self.findings.push(Finding { subject: subject.into(), text: text.into(), level });
    }
}

/// What is wrong where `role` is to run and has no user.
pub(crate) fn nobody(role: Role) -> String {
    format!("no user and group are known for the {}", role.name())
}
