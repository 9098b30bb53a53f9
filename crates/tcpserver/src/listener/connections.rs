//! The loop: connections in, facts and decisions out, ends of programs back.

use super::judge::{Judge, Judged, Rules};
use super::names::{self, Found};
use super::{JailedListener, Terms};
use crate::ListenerEnd;
use crate::address::Socket;
use crate::say::Fatal;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_resolver::Resolver;
use gatepost_sys::net;
use gatepost_ucspi::rules::Peer as Who;
use gatepost_ucspi::tcpserver::lines;
use gatepost_ucspi::tcpserver::peer::{Family, mapped};
use gatepost_ucspi::tcpserver::places::Places;
use gatepost_ucspi::words;
use gatepost_wire::ucspi::{Answer, Ask, Connection};
use gatepost_wire::{ListenerToRunner, RunnerToListener, WireError};
use std::collections::HashMap;
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Connections taken at once before anything else is looked at.
const BATCH: usize = 32;
/// Wait after an accept that failed for want of something, unless a connection ends before.
const PAUSE: Duration = Duration::from_millis(200);
/// Wait for the runner to take descriptors that are under way.
const CROWDED: Duration = Duration::from_millis(5);
/// How long a client stays that the limits patch refuses without a word: who comes again at once finds its place taken.
const SILENCE: Duration = Duration::from_secs(1);
/// EAGAIN: the runner could not send the rules just now.
const AGAIN: u16 = 11;

/// A connection that has a place.
#[derive(Debug)]
struct Taken {
    number: u32,
    socket: OwnedFd,
    family: Family,
    local: SocketAddr,
    remote: SocketAddr,
    found: Found,
    /// It was refused for this limit a moment ago.
    limit: Option<String>,
}

/// What has happened.
enum Event {
    Connections,
    Message,
    Known(Taken),
    Over,
}

/// The listener, serving.
pub(super) struct Listener {
    _jailed: JailedListener,
    terms: Terms,
    sockets: Vec<(AsyncFd<OwnedFd>, Family, SocketAddr)>,
    channel: AsyncEnd<ListenerToRunner, RunnerToListener>,
    resolver: Arc<Resolver>,
    places: Places,
    /// Connections with a place, and where each is from.
    active: HashMap<u32, IpAddr>,
    next: u32,
    rules: Rules,
    /// For whom the rules have to be looked at, and for whom the runner is looking.
    unjudged: Vec<Taken>,
    judging: Vec<Taken>,
    tasks: JoinSet<Taken>,
    begun: Instant,
    /// No connection is taken until then.
    pause: Option<Instant>,
    stopping: bool,
}

impl Listener {
    /// Must be called on the runtime.
    pub(super) fn new(jailed: JailedListener, mut terms: Terms, channel: ListenerEnd) -> Result<Self, Fatal> {
        let failed = |e: io::Error| Fatal::system("unable to wait for connections", &e);
        let sockets = std::mem::take(&mut terms.sockets).into_iter().map(|Socket { fd, family, local }| {
            gatepost_channel::watch(fd, Interest::READABLE).map(|fd| (fd, family, local))
        });
        Ok(Self {
            _jailed: jailed,
            sockets: sockets.collect::<io::Result<_>>().map_err(failed)?,
            channel: AsyncEnd::new(channel).map_err(failed)?,
            resolver: Arc::new(Resolver::new(terms.servers.clone(), Vec::new())),
            places: Places::new(terms.limits.clone()),
            active: HashMap::new(),
            next: 0,
            rules: Rules::None,
            unjudged: Vec::new(),
            judging: Vec::new(),
            tasks: JoinSet::new(),
            begun: Instant::now(),
            pause: None,
            stopping: false,
            terms,
        })
    }

    /// Serves until the runner is gone, or has said to stop and every program has ended.
    pub(super) async fn serve(mut self) -> Result<(), Fatal> {
        let mut inbox = Inbox::of::<RunnerToListener>();
        loop {
            if self.stopping && self.active.is_empty() {
                return Ok(());
            }
            let went_on = match self.event().await {
                Event::Connections => self.accept().await,
                Event::Known(taken) => self.known(taken).await,
                Event::Message => self.messages(&mut inbox).await,
                Event::Over => {
                    self.pause = None;
                    Ok(())
                }
            };
            let went_on = match went_on {
                Ok(()) => self.ask_for_rules().await,
                Err(e) => Err(e),
            };
            match went_on {
                Ok(()) => {}
                Err(ChannelError::Closed) => return Ok(()),
                Err(e) => return Err(Fatal::new(&[b"the listener's channel: ", e.to_string().as_bytes()])),
            }
        }
    }

    fn is_full(&self) -> bool {
        u64::try_from(self.active.len()).unwrap_or(u64::MAX) >= self.terms.limit
    }

    async fn event(&mut self) -> Event {
        let takes = !self.is_full() && self.pause.is_none();
        let (channel, sockets, tasks) = (&self.channel, &self.sockets, &mut self.tasks);
        let mut message = pin!(channel.readable());
        let mut pause = pin!(self.pause.map(sleep_until));
        poll_fn(|context| {
            if message.as_mut().poll(context).is_ready() {
                return Poll::Ready(Event::Message);
            }
            if let Poll::Ready(Some(Ok(taken))) = tasks.poll_join_next(context) {
                return Poll::Ready(Event::Known(taken));
            }
            if takes && sockets.iter().any(|(socket, ..)| socket.poll_read_ready(context).is_ready()) {
                return Poll::Ready(Event::Connections);
            }
            match pause.as_mut().as_pin_mut().map(|pause| pause.poll(context)) {
                Some(Poll::Ready(())) => Poll::Ready(Event::Over),
                _ => Poll::Pending,
            }
        })
        .await
    }

    async fn accept(&mut self) -> Result<(), ChannelError> {
        for at in 0..self.sockets.len() {
            for _ in 0..BATCH {
                if self.is_full() {
                    return Ok(());
                }
                let Some((socket, family, local)) = self.sockets.get(at) else { break };
                let (family, local) = (*family, *local);
                match socket.try_io(Interest::READABLE, |fd| net::accept_blocking(fd.as_fd())) {
                    Ok((socket, remote)) => self.take(socket, family, local, remote).await?,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    // It has gone before it was taken.
                    Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(e) => {
                        // Most likely there are no descriptors left. To try again at once would only burn processor time.
                        self.terms.say.warn(lines::note(&format!("no connection is taken for a moment: {e}")));
                        self.pause = Instant::now().checked_add(PAUSE);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a connection a place, or closes it.
    async fn take(
        &mut self,
        socket: OwnedFd,
        family: Family,
        bound: SocketAddr,
        remote: SocketAddr,
    ) -> Result<(), ChannelError> {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(refusal) = self.places.take(remote.ip(), now) {
            self.terms.say.detail(lines::refused(remote.ip(), &refusal.to_string()));
            return Ok(());
        }
        let number = self.number();
        self.active.insert(number, remote.ip());
        self.say_status();
        if !self.terms.keep_ip_options {
            let _ = net::clear_ip_options(&socket);
        }
        if !self.terms.delay {
            let _ = net::set_nodelay(&socket);
        }
        if !self.terms.banner.is_empty() {
            let _ = net::transmit(socket.as_fd(), &self.terms.banner);
        }
        let local = if bound.ip().is_unspecified() { net::local_addr(socket.as_fd()).unwrap_or(bound) } else { bound };
        let taken = Taken { number, socket, family, local, remote, found: Found::default(), limit: None };
        if !self.terms.looks_up() {
            return self.known(taken).await;
        }
        let (names, resolver) = (self.terms.names.clone(), Arc::clone(&self.resolver));
        self.tasks.spawn(async move {
            let found = names::find(&names, &resolver, taken.local, taken.remote).await;
            Taken { found, ..taken }
        });
        Ok(())
    }

    fn number(&mut self) -> u32 {
        while self.active.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    /// All that can be known about a connection is known.
    async fn known(&mut self, taken: Taken) -> Result<(), ChannelError> {
        if self.terms.rules {
            self.unjudged.push(taken);
            return Ok(());
        }
        self.hand_over(taken).await
    }

    /// One look at the rules for all who wait for one. Whoever comes while the runner looks needs another.
    async fn ask_for_rules(&mut self) -> Result<(), ChannelError> {
        if self.unjudged.is_empty() || !self.judging.is_empty() {
            return Ok(());
        }
        self.judging = std::mem::take(&mut self.unjudged);
        self.channel.tell(&Ask::Rules).await
    }

    async fn messages(&mut self, inbox: &mut Inbox) -> Result<(), ChannelError> {
        while self.channel.try_fill(inbox)? {
            let mut fds = inbox.take_fds();
            for answer in AsyncEnd::<ListenerToRunner, RunnerToListener>::messages(inbox) {
                match answer? {
                    Answer::Rules => {
                        let file = fds.pop().ok_or(WireError::Value("descriptors"))?;
                        let file = gatepost_rules::Rules::over(File::from(file));
                        self.rules = file.map_or_else(|e| Rules::Unreadable(words::number(&e)), Rules::File);
                        self.judge_all().await?;
                    }
                    Answer::SameRules => self.judge_all().await?,
                    Answer::NoRules { errno: AGAIN } => self.unjudged.append(&mut self.judging),
                    Answer::NoRules { errno } => {
                        self.rules = Rules::Unreadable(errno);
                        self.judge_all().await?;
                    }
                    Answer::Ended { number, pid, status } => {
                        let (pid, status) = (pid.cast_signed(), status.cast_signed());
                        self.release(number, &lines::end(pid, status));
                    }
                    Answer::NotStarted { number } => self.release(number, ""),
                    Answer::Stop => self.stop(),
                }
            }
        }
        Ok(())
    }

    fn release(&mut self, number: u32, line: &str) {
        let Some(ip) = self.active.remove(&number) else { return };
        self.places.give_back(ip);
        self.pause = None;
        if self.terms.say.all() {
            let now = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
            self.terms.say.detail(format!("{line}{}", lines::status(now, self.terms.limit)));
        }
    }

    fn say_status(&self) {
        if self.terms.say.all() {
            let now = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
            self.terms.say.detail(lines::status(now, self.terms.limit));
        }
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.sockets.clear();
    }

    async fn judge_all(&mut self) -> Result<(), ChannelError> {
        for taken in std::mem::take(&mut self.judging) {
            self.hand_over(taken).await?;
        }
        Ok(())
    }

    /// Judges a connection and gives it to the runner.
    async fn hand_over(&mut self, taken: Taken) -> Result<(), ChannelError> {
        let Taken { number, socket, family, local, remote, found, limit } = taken;
        let ip = if family == Family::V6 { mapped(remote.ip()) } else { remote.ip().to_string() };
        let (host, info) = (found.remote_host.as_deref(), found.info.as_deref());
        let judge = Judge {
            rules: &self.rules,
            missing_rules_allow: self.terms.missing_rules_allow,
            variables: &self.terms.patch,
            load: self.terms.load.as_ref(),
            held: self.places.held(remote.ip()),
        };
        let judged = match limit {
            Some(limit) => Judged::Limit(limit),
            None => judge.judge(&Who { ip: ip.as_bytes(), host, info }, &socket),
        };
        if let Judged::SilentLimit(limit) = judged {
            self.tasks.spawn(async move {
                tokio::time::sleep(SILENCE).await;
                Taken { number, socket, family, local, remote, found, limit: Some(limit) }
            });
            return Ok(());
        }
        let connection = Connection {
            number,
            local,
            remote,
            local_host: found.local_host.as_deref(),
            remote_host: host,
            info,
            decision: judged.decision(),
        };
        loop {
            match self.channel.tell_with(&Ask::Start(connection), &[socket.as_fd()]).await {
                Err(ChannelError::Io(e)) if gatepost_sys::seq::is_crowded(&e) => tokio::time::sleep(CROWDED).await,
                sent => return sent,
            }
        }
    }
}
