//! The loop: one thread, one epoll, any number of connections in the making.

use crate::attempt::{Attempt, Next};
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_role::{Control, Phase, RoleError, Step};
use gatepost_sys::epoll::{Epoll, Until};
use gatepost_wire::control::Role;
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::slice::{Connect, DialerSlice};
use gatepost_wire::{Direction, FromDialer, ToDialer};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// A link with handoff or auth. More than one with each while it is being replaced.
struct Link {
    end: End<FromDialer, ToDialer>,
    /// The places that it may ask for, counted from the first of them.
    places: Range<usize>,
    /// Answers for which it had no room. Until it has read them it is not heard, so there are no more than it had asked for.
    unsent: VecDeque<(Dialed, Option<OwnedFd>)>,
    /// It is watched for room, and not for requests.
    full: bool,
}

/// The launcher's token; the others are counted from it and never used again, so that an event that is still in hand for a
/// descriptor just closed can't be taken for another's.
const CONTROL: u64 = 0;
/// What handoff is told of an error that has no number of its own.
const EIO: u16 = 5;
const EINVAL: u16 = 22;
const EAGAIN: u16 = 11;
const ETIMEDOUT: u16 = 110;

/// Serves until drained. `most`: connections in the making at once.
pub(crate) fn serve(control: Control, slice: DialerSlice, epoll: Epoll, most: usize) -> Result<(), RoleError> {
    let DialerSlice { connect: mut places, logins } = slice;
    let backends = places.len();
    places.extend(logins);
    let mut dialer = Dialer {
        control,
        places,
        backends,
        epoll,
        most,
        links: BTreeMap::new(),
        attempts: BTreeMap::new(),
        last: CONTROL,
        inbox: Inbox::new(ToDialer::FRAME_MAX),
    };
    dialer.watch(dialer.control.as_fd(), CONTROL)?;
    dialer.run()
}

struct Dialer {
    control: Control,
    /// Handoff's backends, then what auth may ask for.
    places: Vec<Connect>,
    backends: usize,
    epoll: Epoll,
    most: usize,
    links: BTreeMap<u64, Link>,
    attempts: BTreeMap<u64, Attempt>,
    last: u64,
    inbox: Inbox,
}

impl Dialer {
    fn run(&mut self) -> Result<(), RoleError> {
        let mut ready = Vec::new();
        loop {
            // Requests that have not been read yet are work under way as well.
            let unsent = self.links.values().any(|link| !link.unsent.is_empty());
            let last_look = self.control.phase() == Phase::Draining && self.attempts.is_empty() && !unsent;
            let wait = if last_look { Some(Duration::ZERO) } else { self.next_due() };
            self.epoll.wait(wait, &mut ready).map_err(RoleError::system("wait for channels"))?;
            if last_look && ready.is_empty() {
                return Ok(());
            }
            for token in &ready {
                match *token {
                    CONTROL => self.obey()?,
                    token if self.links.contains_key(&token) => self.hear(token)?,
                    token => self.proceed(token, Attempt::finish)?,
                }
            }
            self.tick()?;
        }
    }

    fn watch(&self, end: BorrowedFd<'_>, token: u64) -> Result<(), RoleError> {
        self.epoll.add(end, token).map_err(RoleError::system("watch a channel"))
    }

    /// How long nothing has to be done unless a descriptor tells of it.
    fn next_due(&self) -> Option<Duration> {
        let due = self.attempts.values().map(Attempt::due).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Does what is due.
    fn tick(&mut self) -> Result<(), RoleError> {
        if self.attempts.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let due: Vec<u64> = self.attempts.iter().filter(|(_, a)| a.due() <= now).map(|(token, _)| *token).collect();
        let places = std::mem::take(&mut self.places);
        let done = due.into_iter().try_for_each(|token| self.proceed(token, |attempt| attempt.at(now, &places)));
        self.places = places;
        done
    }

    fn obey(&mut self) -> Result<(), RoleError> {
        match self.control.order()? {
            Step::Link(role @ (Role::Handoff | Role::Auth), fd) => {
                let places = if role == Role::Auth { self.backends..self.places.len() } else { 0..self.backends };
                let (token, end): (_, End<FromDialer, ToDialer>) = (self.next(), End::from_fd(fd));
                // Neither is waited for: the other could not be served meanwhile.
                let quick = end.seq().set_nonblocking(true);
                quick.map_err(RoleError::system("watch a channel"))?;
                self.watch(end.as_fd(), token)?;
                self.links.insert(token, Link { end, places, unsent: VecDeque::new(), full: false });
            }
            Step::Begin => self.control.ready()?,
            Step::Link(..) | Step::Drain | Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    /// One request of handoff's or auth's, which may be owned.
    fn hear(&mut self, token: u64) -> Result<(), RoleError> {
        let Some(link) = self.links.get(&token) else { return Ok(()) };
        if !link.unsent.is_empty() {
            return self.go_on(token);
        }
        let places = link.places.clone();
        match link.end.recv_with(&mut self.inbox) {
            Ok((dial, fds)) if fds.is_empty() => self.begin(token, &places, dial),
            Err(ChannelError::WouldBlock) => Ok(()),
            // It is gone, or it broke the rules and is not heard again.
            Ok(_) | Err(_) => {
                self.forget(token);
                Ok(())
            }
        }
    }

    /// Ends a link, and what was asked for on it.
    fn forget(&mut self, token: u64) {
        if let Some(link) = self.links.remove(&token) {
            let _ = self.epoll.remove(link.end.as_fd());
        }
        // Nobody has a copy of a socket that is not connected: closing it is enough for the epoll.
        self.attempts.retain(|_, attempt| attempt.link != token);
    }

    fn begin(&mut self, link: u64, places: &Range<usize>, dial: Dial) -> Result<(), RoleError> {
        let Dial { number, backend, patience } = dial;
        let place = usize::try_from(backend).ok().and_then(|backend| places.start.checked_add(backend));
        let Some(place) = place.filter(|place| places.contains(place)) else {
            return self.refuse(link, number, EINVAL);
        };
        if self.taken(places) >= self.share(places) {
            return self.refuse(link, number, EAGAIN);
        }
        let mut attempt = Attempt::new(link, number, place, Duration::from_millis(patience.into()));
        match attempt.begin(&self.places) {
            Next::Done(made) => self.answer(link, number, made),
            Next::Wait => {
                let token = self.next();
                if let Some(socket) = &attempt.socket {
                    let watching = RoleError::system("watch a connection");
                    self.epoll.add_until(socket.as_fd(), token, Until::Writable).map_err(watching)?;
                }
                self.attempts.insert(token, attempt);
                Ok(())
            }
        }
    }

    /// Descriptors of connections to these places: in the making, or not taken yet.
    fn taken(&self, places: &Range<usize>) -> usize {
        let made = self.links.values().filter(|link| link.places == *places).map(|link| link.unsent.len());
        let in_the_making = self.attempts.values().filter(|attempt| places.contains(&attempt.place)).count();
        made.fold(in_the_making, usize::saturating_add)
    }

    /// How many of them there may be: whoever owns auth must not be able to keep handoff from its backends.
    fn share(&self, places: &Range<usize>) -> usize {
        let of_auth = if self.backends < self.places.len() { self.most.div_ceil(4) } else { 0 };
        if places.start < self.backends { self.most.saturating_sub(of_auth) } else { of_auth }
    }

    /// Takes a step with a connection.
    fn proceed(&mut self, token: u64, step: impl FnOnce(&mut Attempt) -> Next) -> Result<(), RoleError> {
        let Some(attempt) = self.attempts.get_mut(&token) else { return Ok(()) };
        let watched = attempt.socket.is_some();
        let next = step(attempt);
        let (link, number) = (attempt.link, attempt.number);
        match next {
            Next::Wait => {
                if let (false, Some(socket)) = (watched, &attempt.socket) {
                    let watching = RoleError::system("watch a connection");
                    self.epoll.add_until(socket.as_fd(), token, Until::Writable).map_err(watching)?;
                }
                Ok(())
            }
            Next::Done(made) => {
                self.attempts.remove(&token);
                if let (true, Ok(socket)) = (watched, &made) {
                    // Handoff will have a copy, which would go on to be reported.
                    let _ = self.epoll.remove(socket.as_fd());
                }
                self.answer(link, number, made)
            }
        }
    }

    fn answer(&mut self, link: u64, number: u32, made: io::Result<OwnedFd>) -> Result<(), RoleError> {
        match made {
            Ok(socket) => self.tell(link, Dialed::Connected { number }, Some(socket)),
            Err(e) => self.refuse(link, number, errno(&e)),
        }
    }

    fn refuse(&mut self, link: u64, number: u32, errno: u16) -> Result<(), RoleError> {
        self.tell(link, Dialed::Failed { number, errno }, None)
    }

    /// Answers at once, or when there is room for it.
    fn tell(&mut self, token: u64, dialed: Dialed, connection: Option<OwnedFd>) -> Result<(), RoleError> {
        let Some(link) = self.links.get_mut(&token) else { return Ok(()) };
        link.unsent.push_back((dialed, connection));
        // Behind others it waits for the room that they wait for.
        if link.unsent.len() > 1 { Ok(()) } else { self.go_on(token) }
    }

    /// Sends as many answers as there is room for, and hears the link when there are no more.
    fn go_on(&mut self, token: u64) -> Result<(), RoleError> {
        let Some(link) = self.links.get_mut(&token) else { return Ok(()) };
        while let Some((dialed, connection)) = link.unsent.front_mut() {
            let fds: Vec<BorrowedFd<'_>> = connection.iter().map(AsFd::as_fd).collect();
            match link.end.tell_with(dialed, &fds) {
                Ok(()) => drop(link.unsent.pop_front()),
                Err(ChannelError::WouldBlock) => {
                    link.full = true;
                    let watched = self.epoll.change(link.end.as_fd(), token, Until::Writable);
                    return watched.map_err(RoleError::system("watch a channel"));
                }
                // ETOOMANYREFS: handoff has to read first what is under way.
                Err(ChannelError::Io(e)) if connection.is_some() => {
                    *dialed = Dialed::Failed { number: dialed.number(), errno: errno(&e) };
                    *connection = None;
                }
                // It is gone, and needs no answer.
                Err(_) => {
                    self.forget(token);
                    return Ok(());
                }
            }
        }
        if std::mem::take(&mut link.full) {
            let watched = self.epoll.change(link.end.as_fd(), token, Until::Readable);
            watched.map_err(RoleError::system("watch a channel"))?;
        }
        Ok(())
    }

    fn next(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

fn errno(e: &io::Error) -> u16 {
    let made_here = if e.kind() == io::ErrorKind::TimedOut { ETIMEDOUT } else { EIO };
    e.raw_os_error().and_then(|errno| u16::try_from(errno).ok()).unwrap_or(made_here)
}
