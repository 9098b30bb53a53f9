//! The loop: one thread, one epoll, one frame at a time.

use crate::offence::Offence;
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_policy::flood::{Flood, Line};
use gatepost_policy::share::Origin;
use gatepost_policy::turns::Turns;
use gatepost_role::{Control, Phase, RoleError, Step};
use gatepost_sys::epoll::Epoll;
use gatepost_tls::sign::{Budget, Keys, SignError};
use gatepost_wire::control::Role;
use gatepost_wire::event::Kept;
use gatepost_wire::link::{OpenKey, SessionId};
use gatepost_wire::sign::{Sign, Signature};
use gatepost_wire::{KeyholderToSession, ListenerToKeyholder, Nothing, SessionToKeyholder};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A link with a listener. More than one while a listener is being replaced.
type Link = End<Nothing, ListenerToKeyholder>;
/// A session's channel.
type SessionEnd = End<KeyholderToSession, SessionToKeyholder>;

/// The launcher's token; the others are counted from it and never used again, so that an event that is still in hand
/// for a channel just closed can not be taken for another's.
const CONTROL: u64 = 0;
/// Room for one frame; the longest that anybody here may send is a question.
const INBOX: usize = 1024;

/// Serves until drained. `most`: sessions at once.
pub(crate) fn serve(control: Control, keys: PerAsker, epoll: Epoll, most: usize) -> Result<(), RoleError> {
    let mut keyholder = Keyholder {
        control,
        epoll,
        keys,
        signed: 0,
        links: BTreeMap::new(),
        sessions: BTreeMap::new(),
        handoff: None,
        most,
        last: CONTROL,
        inbox: Inbox::new(INBOX),
        flood: Flood::new(),
        turns: Turns::new(),
        begun: Instant::now(),
    };
    keyholder.watch(keyholder.control.as_fd(), CONTROL)?;
    keyholder.run()
}

/// The keys that each may have signatures of.
pub(crate) struct PerAsker {
    pub(crate) session: Keys,
    pub(crate) handoff: Keys,
}

/// A session that may ask.
struct Asker {
    id: SessionId,
    client: IpAddr,
    end: SessionEnd,
    budget: Budget,
}

struct Keyholder {
    control: Control,
    epoll: Epoll,
    keys: PerAsker,
    /// Signatures made so far.
    signed: u64,
    links: BTreeMap<u64, Link>,
    sessions: BTreeMap<u64, Asker>,
    /// Handoff's channel, for connections to a backend that asks for a certificate.
    handoff: Option<(u64, SessionEnd)>,
    most: usize,
    last: u64,
    inbox: Inbox,
    /// Owned sessions of one client must not be able to fill a log, nor to keep out of it what is said about another's (P14).
    flood: Flood,
    turns: Turns,
    begun: Instant,
}

impl Keyholder {
    fn run(&mut self) -> Result<(), RoleError> {
        let mut ready = Vec::new();
        loop {
            // A session that the listener has announced, but that has not been read yet, is work under way as well:
            // the end is only reached when a look at everything finds nothing.
            let last_look = self.control.phase() == Phase::Draining && self.sessions.is_empty();
            let timeout = last_look.then_some(Duration::ZERO);
            self.epoll.wait(timeout, &mut ready).map_err(RoleError::system("wait for channels"))?;
            if last_look && ready.is_empty() {
                tracing::info!(signatures = self.signed, "keyholder drained");
                return Ok(());
            }
            for token in &ready {
                match *token {
                    CONTROL => self.obey()?,
                    token if self.links.contains_key(&token) => self.hear(token),
                    token => self.serve_handoff(token),
                }
            }
            self.serve_one(&ready);
        }
    }

    /// Answers one of the sessions that ask: of all that wait the one whose network has used least. The others are
    /// reported again at once, so a newcomer waits for one signature whoever keeps this process busy (P13).
    fn serve_one(&mut self, ready: &[u64]) {
        let asking = ready.iter().filter_map(|token| {
            let client = Origin::of(self.sessions.get(token)?.client);
            Some(((*token, client), client))
        });
        let Some((token, client)) = self.turns.next(asking, self.now()) else { return };
        let started = Instant::now();
        self.answer(token);
        let used = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.turns.spend(client, used, self.now());
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn watch(&self, end: BorrowedFd<'_>, token: u64) -> Result<(), RoleError> {
        self.epoll.add(end, token).map_err(RoleError::system("watch a channel"))
    }

    /// Follows one order. Links that come before `Go` are kept, not heard.
    fn obey(&mut self) -> Result<(), RoleError> {
        match self.control.order()? {
            Step::Link(Role::Handoff, fd) => {
                let (token, end) = (self.next(), SessionEnd::from_fd(fd));
                end.seq().set_nonblocking(true).map_err(RoleError::system("watch a channel"))?;
                self.watch(end.as_fd(), token)?;
                self.handoff = Some((token, end));
            }
            Step::Link(_, fd) => {
                let (token, link) = (self.next(), Link::from_fd(fd));
                if self.control.phase() != Phase::Waiting {
                    self.watch(link.as_fd(), token)?;
                }
                self.links.insert(token, link);
            }
            Step::Begin => {
                for (token, link) in &self.links {
                    self.watch(link.as_fd(), *token)?;
                }
                self.control.ready()?;
            }
            Step::Drain | Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    /// One announcement of a listener.
    fn hear(&mut self, token: u64) {
        let Some(link) = self.links.get(&token) else { return };
        match link.recv_with(&mut self.inbox) {
            Ok((open, mut fds)) => match (fds.pop(), fds.is_empty()) {
                (Some(fd), true) => self.admit(open, fd),
                _ => self.forget(token, Some("a session without its one descriptor")),
            },
            // Its end is no news when it was replaced, and the launcher's to see when it was not.
            Err(ChannelError::Closed) => self.forget(token, None),
            Err(ChannelError::WouldBlock) => {}
            // Its session finds that nobody has the other end of its channel.
            Err(e) if e.is_out_of_descriptors() => {}
            Err(e) => self.forget(token, Some(&e.to_string())),
        }
    }

    /// A listener that breaks the rules is not heard again. The sessions it announced are none the worse.
    fn forget(&mut self, token: u64, why: Option<&str>) {
        if let Some(link) = self.links.remove(&token) {
            let _ = self.epoll.remove(link.as_fd());
        }
        if let Some(why) = why {
            tracing::error!(why, "link with listener dropped");
        }
    }

    /// A session that is not admitted finds its channel closed and does without TLS.
    fn admit(&mut self, OpenKey { id, client }: OpenKey, fd: OwnedFd) {
        if self.sessions.len() >= self.most {
            return self.complain(id, client, "all places taken", false);
        }
        let end = SessionEnd::from_fd(fd);
        let token = self.next();
        let watched = end.seq().set_nonblocking(true).and_then(|()| self.epoll.add(end.as_fd(), token));
        match watched {
            Ok(()) => drop(self.sessions.insert(token, Asker { id, client, end, budget: Budget::default() })),
            Err(e) => self.complain(id, client, &format!("cannot be watched: {e}"), true),
        }
    }

    /// One question of a session. It may be owned: whatever is wrong costs it the channel, and nobody else anything.
    fn answer(&mut self, token: u64) {
        let Some(Asker { end, budget, .. }) = self.sessions.get_mut(&token) else { return };
        let keys = &self.keys.session;
        let answered = answer(end, &mut self.inbox, |sign, fds| keys.answer(budget, sign, fds));
        let Err(offence) = answered.map(|signed| self.signed = self.signed.saturating_add(signed)) else { return };
        let Some(Asker { id, client, end, .. }) = self.sessions.remove(&token) else { return };
        let _ = self.epoll.remove(end.as_fd());
        if let Some(offence) = offence {
            self.complain(id, client, &offence.to_string(), offence.is_ours());
        }
    }

    /// One question of handoff, if it is handoff that asks. It may be owned, and loses its channel then.
    fn serve_handoff(&mut self, token: u64) {
        let Some((_, end)) = self.handoff.as_ref().filter(|(handoff, _)| *handoff == token) else { return };
        let keys = &self.keys.handoff;
        match answer(end, &mut self.inbox, |sign, fds| keys.answer_any(sign, fds)) {
            Ok(signed) => self.signed = self.signed.saturating_add(signed),
            Err(offence) => {
                let _ = self.epoll.remove(end.as_fd());
                self.handoff = None;
                if let Some(offence) = offence {
                    tracing::error!("handoff: no signature: {offence}");
                }
            }
        }
    }

    fn complain(&mut self, session: SessionId, client: IpAddr, why: &str, ours: bool) {
        let Line::Write(kept) = self.flood.line(Origin::of(client), self.now()) else { return };
        if kept > 0 {
            gatepost_log::tell(Kept { client, lines: kept });
        }
        if ours {
            tracing::error!(%session, why, "no signature");
        } else {
            tracing::warn!(%session, why, "signature refused");
        }
    }

    fn next(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

/// Reads a question, if there is one, and answers it. How many signatures that were.
///
/// # Errors
/// Why the channel must be closed; none: it is closed.
fn answer(
    end: &SessionEnd,
    inbox: &mut Inbox,
    sign: impl FnOnce(&Sign<'_>, usize) -> Result<Vec<u8>, SignError>,
) -> Result<u64, Option<Offence>> {
    match end.recv_with(inbox) {
        Ok((question, fds)) => {
            let signature = sign(&question, fds.len()).map_err(|e| Some(Offence::Sign(e)))?;
            end.tell(&Signature(&signature)).map(|()| 1).map_err(|e| match e {
                // As many answers as a session may have always fit.
                ChannelError::WouldBlock => Some(Offence::NotReading),
                ChannelError::Unsendable(e) => Some(Offence::Unsendable(e)),
                _ => None,
            })
        }
        Err(ChannelError::WouldBlock) => Ok(0),
        Err(ChannelError::Hostile(e)) => Err(Some(Offence::Frame(e))),
        Err(ChannelError::Closed | ChannelError::Io(_) | ChannelError::Unsendable(_)) => Err(None),
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
