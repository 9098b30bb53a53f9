//! The role: orders from the launcher, requests from handoff and listener, and whether name servers and DNS lists answer.

use crate::Resolver;
use crate::lists::Lists;
use crate::lookup::QUESTIONS_MAX;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_policy::fair_queue::{FairQueue, Reclaim, Turn};
use gatepost_policy::share::Origin;
use gatepost_role::{AsyncControl, Heard, Phase, RoleError, SHORT_FRAME, Special, Step, unless};
use gatepost_smtp::names::ClientNames;
use gatepost_wire::control::{Report, Role};
use gatepost_wire::names::{Ask, AskHelo, AskList, Listed, Listing, LookUp, LookedUp, NamesNews};
use gatepost_wire::slice::{ResolverSlice, Slice};
use gatepost_wire::{Direction, HandoffToResolver, ListenerToResolver, ResolverToHandoff, ResolverToListener};
use std::collections::HashMap;
use std::fs::File;
use std::future::pending;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Link = AsyncEnd<ResolverToHandoff, HandoffToResolver>;
type ListLink = AsyncEnd<ResolverToListener, ListenerToResolver>;

/// Shortest pause between two probes, of which the second follows a question that no server has answered; the pause as long as none
/// answers a probe.
const PAUSE: Duration = Duration::from_secs(5);

/// Longest wait for the lists' first proof, before the role says that it is ready.
const PROOF: Duration = Duration::from_secs(3);
/// Time between two looks at which lists are to be proved.
const PROOF_PAUSE: Duration = Duration::from_secs(30);

/// Look-ups under way at once: one has one question under way at a time.
const AT_ONCE: usize = QUESTIONS_MAX;
/// Requests that wait; of more, one of the network of which most wait is answered "temporary" at once.
const WAITING_MAX: usize = 1024;
/// Milliseconds after which a look-up ends, answered "temporary", when others wait for its turn: a client whose name servers don't answer
/// would take all the time of one (P13). Longer than the first round of questions, so that a second server is asked.
const TURN: u64 = 1000;

/// Octets of the largest slice: hosts are of one file, of a mebibyte.
const SLICE_MAX: u64 = 4 * 1024 * 1024;

/// What can happen.
enum Event {
    /// A request, or the end of a link.
    Asked(Arc<Link>, Result<Ask, ChannelError>),
    /// The same of a list.
    AskedList(Arc<ListLink>, Result<AskList, ChannelError>),
    /// A look-up is over and its answer sent.
    Answered(Turn),
    /// A look-up may have had its turn for long enough.
    Due,
    /// Somebody has been told that names have changed.
    Told,
    /// Whether a name server answers.
    Probed(Result<(), String>),
    /// Lists have been proved.
    Proved,
}

/// A request, and where its answer goes.
enum Request {
    Names { link: Arc<Link>, number: u32 },
    Helo { link: Arc<Link>, ask: AskHelo },
    List { link: Arc<ListLink>, ask: AskList },
}

impl Request {
    /// Looks up what is wanted, until `end` at most. Waits while the other end reads nothing. It may be gone: then nobody wants the
    /// answer.
    async fn serve(self, client: IpAddr, resolver: &Resolver, lists: &Lists, end: oneshot::Receiver<()>) {
        let ended = async { drop(end.await) };
        match self {
            Self::Names { link, number } => {
                let found = unless(ended, resolver.client_for_a_while(client)).await;
                let (names, good) = found.unwrap_or((ClientNames::TEMPORARY, Duration::ZERO));
                let good = u32::try_from(good.as_secs()).unwrap_or(u32::MAX);
                let _ = link.tell(&NamesNews::LookedUp(LookedUp::new(number, names, good))).await;
            }
            Self::Helo { link, ask } => {
                let listed = unless(ended, lists.ask_helo(resolver, &ask)).await;
                let _ = link.tell(&NamesNews::Listed(listed.unwrap_or(left_out(ask.number)))).await;
            }
            Self::List { link, ask } => {
                let number = ask.number;
                let listed = unless(ended, lists.ask(resolver, ask)).await;
                let _ = link.tell(&listed.unwrap_or(left_out(number))).await;
            }
        }
    }

    /// Nothing is looked up.
    async fn refuse(self) {
        match self {
            Self::Names { link, number } => {
                let temporary = LookedUp::new(number, ClientNames::TEMPORARY, 0);
                let _ = link.tell(&NamesNews::LookedUp(temporary)).await;
            }
            Self::Helo { link, ask } => {
                let _ = link.tell(&NamesNews::Listed(left_out(ask.number))).await;
            }
            Self::List { link, ask } => {
                let _ = link.tell(&left_out(ask.number)).await;
            }
        }
    }
}

fn left_out(number: u32) -> Listed {
    Listed { number, listing: Listing::LeftOut, text: Vec::new() }
}

struct Service {
    control: AsyncControl,
    resolver: Arc<Resolver>,
    lists: Arc<Lists>,
    slice: ResolverSlice,
    queue: FairQueue<(IpAddr, Request)>,
    /// Ends a look-up that has a turn.
    ends: HashMap<Turn, oneshot::Sender<()>>,
    /// That [`Event::Due`] comes.
    is_due: bool,
    events: JoinSet<Event>,
    /// Who keeps answers for a while, and hears when they are good no more.
    handoffs: Vec<Weak<Link>>,
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
        lists: Arc::new(Lists::new(&slice.lists)),
        slice,
        queue: FairQueue::new(WAITING_MAX, AT_ONCE),
        ends: HashMap::new(),
        is_due: false,
        events: JoinSet::new(),
        handoffs: Vec::new(),
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
            Heard::Other(Ok(Event::AskedList(link, asked))) => service.asked_list(link, asked),
            Heard::Other(Ok(Event::Proved)) => service.prove_later(),
            Heard::Other(Ok(Event::Answered(turn))) => service.answered(turn),
            Heard::Other(Ok(Event::Due)) => {
                service.is_due = false;
                service.reclaim();
            }
            Heard::Other(Ok(Event::Probed(probed))) => service.probed(probed).await?,
            // No task is cancelled, and a panic ends the process.
            Heard::Other(Ok(Event::Told) | Err(_)) => {}
        }
    }
    Ok(())
}

impl Service {
    fn follow(&mut self, step: Step<OwnedFd>) -> Result<(), RoleError> {
        match step {
            Step::Link(Role::Handoff, fd) => {
                let link = Arc::new(Link::from_fd(fd).map_err(RoleError::system("watch a link"))?);
                self.handoffs.retain(|link| link.strong_count() > 0);
                self.handoffs.push(Arc::downgrade(&link));
                self.events.spawn(next(link));
            }
            Step::Link(Role::Listener, fd) => {
                let link = ListLink::from_fd(fd).map_err(RoleError::system("watch a link"))?;
                self.events.spawn(next_of_lists(Arc::new(link)));
            }
            Step::Special(Special::Names(memory)) => self.renew(memory)?,
            // Whoever does not read is not waited for.
            Step::Special(Special::Admin(_, admin)) => {
                let _ = File::from(admin)
                    .write(format!("{}{}", self.resolver.describe(), self.lists.describe()).as_bytes());
            }
            Step::Begin => {
                let (resolver, lists) = (Arc::clone(&self.resolver), Arc::clone(&self.lists));
                self.events.spawn(async move {
                    let probed = resolver.probe().await;
                    // What is not proved by then is left out until it is. The proofs go on.
                    let proofs = tokio::spawn(Arc::clone(&lists).prove(Arc::clone(&resolver)));
                    if timeout(PROOF, proofs).await.is_err() {
                        lists.overdue(&resolver);
                    }
                    Event::Probed(probed)
                });
                self.prove_later();
            }
            Step::Link(..) | Step::Special(_) | Step::Noted | Step::Drain => {}
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
            for link in self.handoffs.iter().filter_map(Weak::upgrade) {
                self.events.spawn(async move {
                    // It may be gone.
                    let _ = link.tell(&NamesNews::Changed).await;
                    Event::Told
                });
            }
        }
        Ok(())
    }

    fn asked(&mut self, link: Arc<Link>, asked: Result<Ask, ChannelError>) {
        match asked {
            Ok(ask) => {
                let refused = match ask {
                    Ask::LookUp(LookUp { number, client }) => {
                        self.wants(client, Request::Names { link: Arc::clone(&link), number })
                    }
                    Ask::Helo(ask) => self.wants(ask.client, Request::Helo { link: Arc::clone(&link), ask }),
                };
                self.events.spawn(after(refused, next(link)));
            }
            // It is being replaced.
            Err(ChannelError::Closed) => {}
            Err(e) => tracing::error!("handoff: {e}"),
        }
    }

    fn asked_list(&mut self, link: Arc<ListLink>, asked: Result<AskList, ChannelError>) {
        match asked {
            Ok(ask) => {
                let refused = self.wants(ask.client, Request::List { link: Arc::clone(&link), ask });
                self.events.spawn(after(refused, next_of_lists(link)));
            }
            // It is being replaced.
            Err(ChannelError::Closed) => {}
            Err(e) => tracing::error!("listener: {e}"),
        }
    }

    /// Begins look-ups, of which this is one, if not now then later. The one that is given back has no turn.
    fn wants(&mut self, client: IpAddr, request: Request) -> Option<Request> {
        let refused = self.queue.push(Origin::of(client), (client, request), self.now());
        self.begin();
        refused.map(|(_, refused)| refused)
    }

    /// Proves lists after a while, those of which it is time then.
    fn prove_later(&mut self) {
        if self.lists.is_empty() {
            return;
        }
        let (resolver, lists) = (Arc::clone(&self.resolver), Arc::clone(&self.lists));
        self.events.spawn(async move {
            sleep(PROOF_PAUSE).await;
            lists.prove(resolver).await;
            Event::Proved
        });
    }

    fn answered(&mut self, turn: Turn) {
        self.ends.remove(&turn);
        self.queue.ended(turn, self.now());
        self.begin();
    }

    /// Begins as many look-ups as there may be.
    fn begin(&mut self) {
        while let Some((turn, (client, request))) = self.queue.next(self.now()) {
            let (resolver, lists) = (Arc::clone(&self.resolver), Arc::clone(&self.lists));
            let (end, ended) = oneshot::channel();
            self.ends.insert(turn, end);
            self.events.spawn(async move {
                request.serve(client, &resolver, &lists, ended).await;
                Event::Answered(turn)
            });
        }
        self.reclaim();
    }

    /// Ends look-ups for those who wait: now, or when one has had its turn for long enough.
    fn reclaim(&mut self) {
        loop {
            match self.queue.reclaim(TURN, self.now()) {
                Reclaim::Nothing => return,
                // Its answer is being sent when nobody listens.
                Reclaim::Turn(turn) => drop(self.ends.remove(&turn).map(|end| end.send(()))),
                Reclaim::At(time) => {
                    if !std::mem::replace(&mut self.is_due, true) {
                        let pause = sleep(Duration::from_millis(time.saturating_sub(self.now())));
                        self.events.spawn(async move {
                            pause.await;
                            Event::Due
                        });
                    }
                    return;
                }
            }
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
        if self.control.phase() == Phase::Starting && !self.lists.are_proved() {
            self.control.report(Report::NoLists).await?;
        }
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

/// Reads on when who has no turn has been told so: a task for each would be memory without end while the other end reads nothing.
async fn after(refused: Option<Request>, next: impl Future<Output = Event>) -> Event {
    if let Some(refused) = refused {
        refused.refuse().await;
    }
    next.await
}

async fn next(link: Arc<Link>) -> Event {
    let mut inbox = Inbox::new(HandoffToResolver::FRAME_MAX);
    let asked = link.recv(&mut inbox).await;
    Event::Asked(link, asked)
}

async fn next_of_lists(link: Arc<ListLink>) -> Event {
    let mut inbox = Inbox::new(SHORT_FRAME);
    let asked = link.recv(&mut inbox).await;
    Event::AskedList(link, asked)
}

async fn probe(resolver: Arc<Resolver>) -> Event {
    Event::Probed(resolver.probe().await)
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
