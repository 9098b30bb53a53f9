//! The role: orders from the launcher, requests from handoff, and whether any name server answers.

use crate::Resolver;
use crate::desk::Desk;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_role::{AsyncControl, Heard, Phase, RoleError, SHORT_FRAME, Step};
use gatepost_smtp::names::ClientNames;
use gatepost_wire::control::{Report, Role};
use gatepost_wire::names::{LookUp, LookedUp};
use gatepost_wire::slice::{ResolverSlice, Slice};
use gatepost_wire::{HandoffToResolver, ResolverToHandoff};
use std::fs::File;
use std::future::pending;
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Link = AsyncEnd<ResolverToHandoff, HandoffToResolver>;

/// Shortest pause between two probes, of which the second follows a question that no server has answered; the pause as long as none
/// answers a probe.
const PAUSE: Duration = Duration::from_secs(5);

/// Octets of the largest slice: hosts are of one file, of a mebibyte.
const SLICE_MAX: u64 = 4 * 1024 * 1024;

/// What can happen.
enum Event {
    /// A request, or the end of a link.
    Asked(Arc<Link>, Result<LookUp, ChannelError>),
    /// A look-up is over and its answer sent.
    Answered {
        /// Of the look-up.
        client: IpAddr,
        took: Duration,
    },
    /// Who had no turn has been told so.
    Refused,
    /// Whether a name server answers.
    Probed(Result<(), String>),
}

/// A request, and where its answer goes.
struct Request {
    link: Arc<Link>,
    number: u32,
}

impl Request {
    /// Waits while handoff reads nothing. It may be gone: then nobody wants the answer.
    async fn answer(self, names: ClientNames) {
        let _ = self.link.tell(&LookedUp::new(self.number, names)).await;
    }
}

struct Service {
    control: AsyncControl,
    resolver: Arc<Resolver>,
    slice: ResolverSlice,
    desk: Desk<Request>,
    events: JoinSet<Event>,
    /// What the launcher was told last; before that it takes for granted that names work.
    works: bool,
    begun: Instant,
}

/// Serves until drained. Whoever asks has ended before.
///
/// # Errors
/// [`RoleError`].
pub(crate) async fn serve(control: ControlEnd, slice: ResolverSlice) -> Result<(), RoleError> {
    let mut service = Service {
        control: AsyncControl::new(Role::Resolver, control)?,
        resolver: Arc::new(Resolver::new(slice.servers.clone(), slice.hosts.clone())),
        slice,
        desk: Desk::default(),
        events: JoinSet::new(),
        works: true,
        begun: Instant::now(),
    };
    while service.control.phase() != Phase::Draining {
        let event = async {
            match service.events.join_next().await {
                Some(event) => event,
                None => pending().await,
            }
        };
        match service.control.order_or(event).await? {
            Heard::Order(step) => service.follow(step)?,
            Heard::Other(Ok(Event::Asked(link, asked))) => service.asked(link, asked),
            Heard::Other(Ok(Event::Answered { client, took })) => service.answered(client, took),
            Heard::Other(Ok(Event::Probed(probed))) => service.probed(probed).await?,
            // No task is cancelled, and a panic ends the process.
            Heard::Other(Ok(Event::Refused) | Err(_)) => {}
        }
    }
    Ok(())
}

impl Service {
    fn follow(&mut self, step: Step<OwnedFd>) -> Result<(), RoleError> {
        match step {
            Step::Link(Role::Handoff, fd) => {
                let link = Link::from_fd(fd).map_err(RoleError::system("watch a link"))?;
                self.events.spawn(next(Arc::new(link)));
            }
            Step::Names(memory) => self.renew(memory)?,
            Step::Begin => {
                self.events.spawn(probe(Arc::clone(&self.resolver)));
            }
            Step::Link(..)
            | Step::Socket(..)
            | Step::Lines(_)
            | Step::Rules(_)
            | Step::Networks(_)
            | Step::Tables(_)
            | Step::Admin(..)
            | Step::Cut
            | Step::Noted
            | Step::Drain => {}
        }
        Ok(())
    }

    /// `/etc/resolv.conf` or `/etc/hosts` has changed.
    fn renew(&mut self, memory: OwnedFd) -> Result<(), RoleError> {
        let mut octets = Vec::new();
        // Not more than it ever is; and File alone would ask for its length and place, which needs more system calls.
        File::from(memory)
            .take(SLICE_MAX)
            .read_to_end(&mut octets)
            .map_err(RoleError::system("read the new name servers"))?;
        let slice = ResolverSlice::from_bytes(&octets).map_err(RoleError::given("name servers"))?;
        if slice != self.slice {
            tracing::info!("names now come from {:?} and {} lines of hosts", slice.servers, slice.hosts.len());
            self.resolver.replace(slice.servers.clone(), slice.hosts.clone());
            self.slice = slice;
        }
        Ok(())
    }

    fn asked(&mut self, link: Arc<Link>, asked: Result<LookUp, ChannelError>) {
        match asked {
            Ok(LookUp { number, client }) => {
                self.events.spawn(next(Arc::clone(&link)));
                if let Some(refused) = self.desk.wants(client, Request { link, number }, self.now()) {
                    self.events.spawn(async move {
                        refused.answer(ClientNames::TEMPORARY).await;
                        Event::Refused
                    });
                }
                self.begin();
            }
            // It is being replaced.
            Err(ChannelError::Closed) => {}
            Err(e) => tracing::error!("handoff: {e}"),
        }
    }

    fn answered(&mut self, client: IpAddr, took: Duration) {
        self.desk.ended(client, milliseconds(took), self.now());
        self.begin();
    }

    /// Begins as many look-ups as there may be.
    fn begin(&mut self) {
        while let Some((client, request)) = self.desk.next(self.now()) {
            let resolver = Arc::clone(&self.resolver);
            self.events.spawn(async move {
                let begun = Instant::now();
                request.answer(resolver.client(client).await).await;
                Event::Answered { client, took: begun.elapsed() }
            });
        }
    }

    /// Tells the launcher and the log when it has become different whether names work. Never a reason not to serve: mail is taken
    /// without names.
    async fn probed(&mut self, probed: Result<(), String>) -> Result<(), RoleError> {
        let works = probed.is_ok();
        match &probed {
            Err(why) if self.works => {
                tracing::warn!("no name server answers, so clients have no names until one does: {why}");
                self.control.report(Report::NoNames).await?;
            }
            Ok(()) if !self.works => {
                tracing::info!("a name server answers again");
                self.control.report(Report::Names).await?;
            }
            _ => {}
        }
        self.works = works;
        self.control.ready().await?;
        let resolver = Arc::clone(&self.resolver);
        self.events.spawn(async move {
            let pause = sleep(PAUSE);
            if works {
                resolver.doubted().await;
                pause.await;
            } else {
                // Sooner when there are other servers.
                let _ = timeout(PAUSE, resolver.doubted()).await;
            }
            probe(resolver).await
        });
        Ok(())
    }

    fn now(&self) -> u64 {
        milliseconds(self.begun.elapsed())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn next(link: Arc<Link>) -> Event {
    let mut inbox = Inbox::new(SHORT_FRAME);
    let asked = link.recv(&mut inbox).await;
    Event::Asked(link, asked)
}

async fn probe(resolver: Arc<Resolver>) -> Event {
    Event::Probed(resolver.probe().await)
}
