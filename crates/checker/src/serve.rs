//! Questions from auth, a process for each.

use crate::run::{Command, Question};
use gatepost_channel::Inbox;
use gatepost_jail::Outside;
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::share::Origin;
use gatepost_program::LINES_MAX;
use gatepost_role::{Event, Parent, RoleError, UNANSWERED};
use gatepost_sys::process::End as Ended;
use gatepost_sys::wipe;
use gatepost_wire::check::{AT_ONCE, Checked, Found, PATIENCE};
use gatepost_wire::control::Role;
use gatepost_wire::slice::CheckerSlice;
use gatepost_wire::{AuthToChecker, CheckerToAuth};
use std::net::SocketAddr;
use std::time::Instant;

/// How much clients may have written by what they cause (P14).
struct Lines {
    flood: Flood,
    begun: Instant,
}

impl Lines {
    fn new() -> Self {
        Self { flood: Flood::new(), begun: Instant::now() }
    }

    /// Whether what an attempt of this client's leads to is written.
    fn has_room(&self, client: SocketAddr) -> bool {
        self.flood.has_room(Origin::of(client.ip()), self.now())
    }

    /// So many lines there were about an attempt, written or not.
    fn count(&mut self, client: SocketAddr, lines: u8) {
        for _ in 0..lines {
            if let Line::Write(kept @ 1..) = self.flood.line(Origin::of(client.ip()), self.now()) {
                tracing::warn!(%client, kept, "checkpassword program: lines about attempts of this client were not written");
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

struct Checker {
    /// The question of a worker is its number and client. Its exit status is the number of lines that it had for the log.
    parent: Parent<CheckerToAuth, AuthToChecker, (u32, SocketAddr)>,
    command: Command,
    lines: Lines,
}

/// Serves until drained.
pub(crate) fn serve(outside: Outside, slice: &CheckerSlice) -> Result<(), RoleError> {
    let command = Command::new(slice, PATIENCE)?;
    let parent = Parent::new(Role::Checker, outside.control, Role::Auth)?;
    let mut checker = Checker { parent, command, lines: Lines::new() };
    let mut inbox = Inbox::of::<AuthToChecker>();
    while let Some(event) = checker.parent.wait()? {
        match event {
            Event::Linked => {}
            Event::Asked => {
                let question = checker.hear(&mut inbox)?;
                inbox.wipe();
                if let Some(question) = question {
                    checker.begin(&question);
                    drop(question);
                    wipe::stack();
                }
            }
            Event::Ended => checker.reap(),
        }
    }
    Ok(())
}

impl Checker {
    /// Hears one question of auth's.
    fn hear(&mut self, inbox: &mut Inbox) -> Result<Option<Question>, RoleError> {
        let Some(check) = self.parent.hear(|link| link.recv(inbox))? else { return Ok(None) };
        match Question::of(&check) {
            Some(question) => Ok(Some(question)),
            None => Err(self.parent.broken(&"a NUL in a name or password")),
        }
    }

    /// Starts a process for a question. It answers by itself.
    fn begin(&mut self, question: &Question) {
        let number = question.number;
        if self.parent.workers() >= AT_ONCE {
            return self.tell(Checked { number, found: Found::Unknown });
        }
        let client = question.client;
        let written = self.lines.has_room(client);
        let begun = self.parent.begin((number, client), |link| {
            let ran = self.command.run(question);
            if written {
                ran.write();
            }
            let checked = Checked { number, found: ran.found };
            if link.tell(&checked).is_ok() { ran.lines() } else { UNANSWERED }
        });
        if let Err(e) = begun {
            if written {
                tracing::error!("no process for a checkpassword program: {e}");
            }
            self.lines.count(client, 1);
            self.tell(Checked { number, found: Found::Unknown });
        }
    }

    /// Reaps who has ended; answers for who could not.
    fn reap(&mut self) {
        let lines = &mut self.lines;
        let silent = self.parent.reap(|(_, client), end| match end {
            Ended::Exit(status) if usize::from(status) <= LINES_MAX.saturating_add(1) => {
                lines.count(*client, status);
                true
            }
            end => {
                tracing::error!("who waited for the checkpassword program ended: {end:?}");
                false
            }
        });
        for (number, _) in silent {
            self.tell(Checked { number, found: Found::Unknown });
        }
    }

    fn tell(&self, checked: Checked) {
        if let Err(e) = self.parent.tell(&checked) {
            tracing::error!("auth: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p14_attempts_of_one_client_do_not_fill_the_log() {
        let mut lines = Lines::new();
        let (guesser, owner) = ("192.0.2.9:4713".parse().unwrap(), "198.51.100.1:4713".parse().unwrap());
        let written = (0..1000).filter(|_| {
            let written = lines.has_room(guesser);
            lines.count(guesser, 9);
            written
        });
        let written = written.count();
        assert!((12..=20).contains(&written), "{written} attempts with nine lines each");
        assert!(lines.has_room(owner));
        // Who causes none is written about whenever there is something.
        (0..1000).for_each(|_| lines.count(owner, 0));
        assert!(lines.has_room(owner));
    }
}
