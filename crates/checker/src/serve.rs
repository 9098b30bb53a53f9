//! Orders from the launcher, questions from auth, a process for each. Blocking: one loop over descriptors.

use crate::run::{Command, Question};
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_jail::Outside;
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::share::Origin;
use gatepost_program::LINES_MAX;
use gatepost_role::{Control, Phase, RoleError, Step, UNANSWERED, Workers};
use gatepost_sys::process::End as Ended;
use gatepost_sys::signal::{self, Signals};
use gatepost_sys::wipe;
use gatepost_wire::check::{AT_ONCE, Checked, Found, PATIENCE};
use gatepost_wire::control::Role;
use gatepost_wire::slice::CheckerSlice;
use gatepost_wire::{AuthToChecker, CheckerToAuth};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

type AuthLink = End<CheckerToAuth, AuthToChecker>;

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
    control: Control,
    command: Command,
    /// The newest link with auth.
    link: Option<AuthLink>,
    /// Number and client of each question under way. A worker's exit status is the number of lines that it had for the log.
    workers: Workers<(u32, SocketAddr)>,
    lines: Lines,
}

/// Serves until drained.
pub(crate) fn serve(outside: Outside, slice: &CheckerSlice) -> Result<(), RoleError> {
    let system = RoleError::system;
    let command = Command::new(slice, PATIENCE)?;
    // An auth that is gone is told nothing; that must not end us.
    signal::ignore_broken_pipe().map_err(system("ignore SIGPIPE"))?;
    let signals = Signals::children().map_err(system("receive signals"))?;
    let control = Control::new(Role::Checker, outside.control);
    let mut checker = Checker { control, command, link: None, workers: Workers::default(), lines: Lines::new() };
    let mut inbox = Inbox::of::<AuthToChecker>();
    while !(checker.control.phase() == Phase::Draining && checker.workers.is_empty()) {
        let mut fds: Vec<BorrowedFd<'_>> = vec![checker.control.as_fd(), signals.as_fd()];
        fds.extend(checker.link.as_ref().map(AsFd::as_fd));
        let ready = gatepost_sys::wait::readable(&fds, None).map_err(system("wait"))?;
        if ready.get(1) == Some(&true) {
            while let Ok(Some(_)) = signals.next() {}
            checker.reap();
        }
        // The launcher's word first: a link that it has replaced is not read any more.
        if ready.first() == Some(&true) {
            checker.order()?;
        } else if ready.get(2) == Some(&true) {
            let question = checker.hear(&mut inbox)?;
            inbox.wipe();
            if let Some(question) = question {
                checker.begin(&question);
                drop(question);
                wipe::stack();
            }
        }
    }
    Ok(())
}

impl Checker {
    /// Follows one order.
    fn order(&mut self) -> Result<(), RoleError> {
        match self.control.order()? {
            Step::Link(_, fd) => {
                self.workers.relink();
                self.link = Some(AuthLink::from_fd(fd));
            }
            Step::Begin => self.control.ready()?,
            Step::Drain | Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    /// Hears one question of auth's. After one that breaks the rules nothing it says can be believed, and only the launcher can link
    /// us anew: so that ends us.
    fn hear(&mut self, inbox: &mut Inbox) -> Result<Option<Question>, RoleError> {
        let Some(link) = &self.link else { return Ok(None) };
        match link.recv(inbox) {
            Ok(check) => match Question::of(&check) {
                Some(question) => Ok(Some(question)),
                None => Err(RoleError::Peer(Role::Auth, "a NUL in a name or password".to_owned())),
            },
            Err(ChannelError::Closed) => {
                self.link = None;
                Ok(None)
            }
            Err(e) => Err(RoleError::Peer(Role::Auth, e.to_string())),
        }
    }

    /// Starts a process for a question. It answers by itself.
    fn begin(&mut self, question: &Question) {
        let number = question.number;
        if self.workers.len() >= AT_ONCE {
            return self.tell(Checked { number, found: Found::Unknown });
        }
        let client = question.client;
        let written = self.lines.has_room(client);
        let begun = self.workers.begin((number, client), || {
            let ran = self.command.run(question);
            if written {
                ran.write();
            }
            let checked = Checked { number, found: ran.found };
            let told = self.link.as_ref().is_some_and(|link| link.tell(&checked).is_ok());
            if told { ran.lines() } else { UNANSWERED }
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
        let silent = self.workers.reap(|(_, client), end| match end {
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
        if let Some(link) = &self.link
            && let Err(e) = link.tell(&checked)
        {
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
