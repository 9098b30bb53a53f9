//! Orders from the launcher, new sessions from the listener, one task for each session.

use crate::backend::Failure;
use crate::routes::DestinationId;
use crate::session;
use crate::shared::Shared;
use crate::{ListenerEnd, SessionEnd};
use gatepost_channel::{ChannelError, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_policy::share::Origin;
use gatepost_role::{AsyncControl, Heard, Phase, RoleError, SHORT_FRAME, Special, Step};
use gatepost_shell::KeyholderEnd;
use gatepost_wire::WireError;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::link::{HandoffOrder, Left, Open};
use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Longest wait for the backend's proof before sessions may come without it, to be refused temporarily.
const START: Duration = Duration::from_secs(1);
/// First and longest pause between two attempts to have the backend prove that it does not relay.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Longest wait for sessions to end when there are no descriptors for more. No listener waits so long for an answer.
const THIN_OUT: Duration = Duration::from_millis(500);
/// How often they are counted meanwhile.
const THIN_OUT_TURN: Duration = Duration::from_millis(5);

/// What can happen.
enum Event {
    /// A backend was asked for its proof, after this pause.
    Asked(DestinationId, Duration, Result<(), Failure>),
    /// All have been asked for [`START`].
    Slow,
    /// A peer is gone, or is linked anew.
    Unlinked,
    /// The last session of a drain is over.
    Drained,
}

/// The role. Whatever can happen is waited for by a task of one set, which ends when it has. Sessions are begun by the task of their
/// listener's link, and end by themselves: each wake-up of this one would cost every session a turn of the runtime.
struct Handoff {
    shared: Arc<Shared>,
    control: AsyncControl,
    events: JoinSet<Event>,
    /// Links that are not read yet.
    links: Vec<ListenerEnd>,
    /// Links are read: sessions may come.
    open: bool,
    /// Backends that have not passed their proof: see [`Report::Unproved`].
    unproved: u64,
    sessions: Arc<Sessions>,
}

/// Serves until drained.
///
/// # Errors
/// [`RoleError`].
pub(crate) async fn serve(control: ControlEnd, shared: Arc<Shared>) -> Result<(), RoleError> {
    let control = AsyncControl::new(Role::Handoff, control)?;
    let (events, links) = (JoinSet::new(), Vec::new());
    let unproved = shared.routes.all().fold(0, |unproved, (id, _)| unproved | bit(id));
    let sessions = Arc::default();
    let mut handoff = Handoff { shared, control, events, links, open: false, unproved, sessions };
    while !handoff.sessions.are_drained() {
        let event = async {
            match handoff.events.join_next().await {
                Some(event) => event.unwrap_or(Event::Unlinked),
                None => pending().await,
            }
        };
        match handoff.control.order_or(event).await? {
            Heard::Order(step) => handoff.follow(step)?,
            Heard::Other(Event::Asked(id, pause, proved)) => handoff.asked(id, pause, proved).await?,
            Heard::Other(Event::Slow) => handoff.slow().await?,
            Heard::Other(Event::Unlinked | Event::Drained) => {}
        }
    }
    Ok(())
}

impl Handoff {
    fn follow(&mut self, step: Step<OwnedFd>) -> Result<(), RoleError> {
        let watching = RoleError::system("watch a link");
        match step {
            Step::Link(Role::Queue, fd) => {
                let unexpected = || RoleError::Peer(Role::Queue, "linked, but the backend is no queue program".into());
                let queue = self.shared.routes.at(DestinationId::Backend).route.queue().ok_or_else(unexpected)?;
                self.watch(queue.link(fd).map_err(watching)?);
            }
            Step::Link(Role::Dialer, fd) => self.watch(self.shared.dialer.link(fd).map_err(watching)?),
            Step::Link(Role::Resolver, fd) => self.watch(self.shared.resolver.link(fd).map_err(watching)?),
            Step::Link(Role::Auth, fd) => self.watch(self.shared.logins.link(fd).map_err(watching)?),
            Step::Link(Role::Keyholder, fd) => self.shared.signer.connect(KeyholderEnd::from_fd(fd)),
            Step::Link(_, fd) => {
                let link = ListenerEnd::from_fd(fd).map_err(watching)?;
                if self.open {
                    self.events.spawn(begin_sessions(self.shared.clone(), self.sessions.clone(), link));
                } else {
                    self.links.push(link);
                }
            }
            Step::Special(Special::Tables(memory)) => self.shared.renew_tables(memory)?,
            // The listener answers him.
            Step::Special(Special::Admin(order, _)) => {
                if let Order::Forgive(address) = order {
                    self.shared.rates(|rates, now| rates.forgive(Origin::of(address.to_canonical()), now));
                }
            }
            Step::Begin => {
                for (id, _) in self.shared.routes.all() {
                    self.events.spawn(ask(self.shared.clone(), id, Duration::ZERO));
                }
                self.events.spawn(async {
                    tokio::time::sleep(START).await;
                    Event::Slow
                });
            }
            Step::Drain => {
                let sessions = self.sessions.clone();
                sessions.drain();
                self.events.spawn(async move {
                    sessions.drained.notified().await;
                    Event::Drained
                });
            }
            Step::Special(_) => {}
            Step::Noted => self.shared.tell_gauges(),
        }
        Ok(())
    }

    /// Waits for the end of a link beside everything else.
    fn watch(&mut self, link: impl Future<Output = ()> + Send + 'static) {
        self.events.spawn(async {
            link.await;
            Event::Unlinked
        });
    }

    /// What came of asking a backend to prove that it does not relay. Until it has, no session gets a connection to it.
    async fn asked(
        &mut self,
        id: DestinationId,
        pause: Duration,
        proved: Result<(), Failure>,
    ) -> Result<(), RoleError> {
        match proved {
            Ok(()) => {
                self.unproved &= !bit(id);
                if self.control.phase() == Phase::Starting && self.shared.routes.at(id).route.refuses_logins() {
                    self.control.report(Report::NoLogins).await?;
                }
                self.shared.set_away(false);
                if self.unproved == 0 {
                    self.control.ready().await?;
                    self.begin();
                } else if self.open {
                    self.tell_unproved().await?;
                }
            }
            Err(failure) if failure.is_final() => return Err(RoleError::Backend(failure.to_string())),
            Err(failure) => {
                let (first, longest) = PAUSE;
                // The first attempt may come before the keyholder is linked: that is no trouble with the backend.
                if !pause.is_zero() {
                    if pause == first {
                        self.warn(id, &failure.to_string());
                    }
                    self.wait().await?;
                }
                self.events.spawn(ask(self.shared.clone(), id, pause.saturating_mul(2).clamp(first, longest)));
            }
        }
        Ok(())
    }

    /// Says why a backend cannot be asked yet.
    fn warn(&self, id: DestinationId, why: &str) {
        let alone = self.shared.routes.all().count() == 1;
        let so = if alone { "clients are told to come again (421)" } else { "mail for it has to come again (4yz)" };
        let name = &self.shared.routes.at(id).name;
        tracing::warn!("{name} cannot be asked yet whether it relays for strangers, so {so}: {why}");
    }

    /// Backends have been waited for long enough.
    async fn slow(&mut self) -> Result<(), RoleError> {
        if !self.open {
            let ids: Vec<DestinationId> = self.shared.routes.all().map(|(id, _)| id).collect();
            for id in ids.into_iter().filter(|id| self.unproved & bit(*id) != 0) {
                self.warn(id, "it has not answered yet");
            }
        }
        self.wait().await
    }

    /// Sessions may come, but until a backend has passed its proof they hear that they are to come again: at once, or with mail for it
    /// where another backend is there.
    async fn wait(&mut self) -> Result<(), RoleError> {
        if !self.open && self.control.phase() == Phase::Starting {
            let all = self.shared.routes.all().fold(0, |all, (id, _)| all | bit(id));
            self.shared.set_away(self.unproved == all);
            self.tell_unproved().await?;
            self.control.waiting().await?;
            self.begin();
        }
        Ok(())
    }

    /// Tells the launcher which backends have not passed their proof.
    async fn tell_unproved(&mut self) -> Result<(), RoleError> {
        match self.control.phase() {
            Phase::Starting => self.control.report(Report::Unproved(self.unproved)).await,
            _ => Ok(()),
        }
    }

    /// Sessions may come.
    fn begin(&mut self) {
        self.open = true;
        for link in self.links.drain(..) {
            self.events.spawn(begin_sessions(self.shared.clone(), self.sessions.clone(), link));
        }
    }
}

/// A backend in [`Report::Unproved`].
fn bit(id: DestinationId) -> u64 {
    let number = match id {
        DestinationId::Backend => 0,
        DestinationId::Route(index) => index.saturating_add(1),
    };
    u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or_default()
}

/// How many sessions there are. Whoever drains is told when there are none.
#[derive(Debug, Default)]
struct Sessions {
    count: AtomicUsize,
    drains: AtomicBool,
    drained: Notify,
}

impl Sessions {
    fn drain(&self) {
        self.drains.store(true, Ordering::Relaxed);
    }

    fn are_drained(&self) -> bool {
        self.drains.load(Ordering::Relaxed) && self.count.load(Ordering::Relaxed) == 0
    }

    /// Waits until half of them are over, at most [`THIN_OUT`]: those whose client has gone end at once when there is time for them.
    async fn thin_out(&self) {
        let half = self.count.load(Ordering::Relaxed) / 2;
        let thinned = async {
            while self.count.load(Ordering::Relaxed) > half {
                tokio::time::sleep(THIN_OUT_TURN).await;
            }
        };
        let _ = tokio::time::timeout(THIN_OUT, thinned).await;
    }

    /// One more, as long as what is given exists.
    fn enter(self: &Arc<Self>) -> Counted {
        self.count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(self))
    }
}

/// One of [`Sessions`].
#[derive(Debug)]
struct Counted(Arc<Sessions>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        if self.0.are_drained() {
            self.0.drained.notify_one();
        }
    }
}

/// Begins the sessions that a listener announces, and has told those that must leave, until the link ends.
async fn begin_sessions(shared: Arc<Shared>, sessions: Arc<Sessions>, link: ListenerEnd) -> Event {
    let mut inbox = Inbox::new(SHORT_FRAME);
    let end = loop {
        let (order, fds) = match link.recv_with(&mut inbox).await {
            Ok(order) => order,
            // The one that it announced ends at once: nobody has the other end of its channel.
            Err(e) if e.is_out_of_descriptors() => {
                tracing::error!("sessions end more slowly than they begin: one is ended for want of a descriptor");
                sessions.thin_out().await;
                continue;
            }
            Err(e) => break e,
        };
        match (order, <[OwnedFd; 1]>::try_from(fds)) {
            (HandoffOrder::Open(open), Ok([fd])) => begin(&shared, &sessions, open, fd),
            (HandoffOrder::Open(_), Err(_)) => break WireError::Value("descriptors").into(),
            (HandoffOrder::Leave(id), _) => {
                if let Err(e) = link.tell(&Left { id, told: shared.sessions.leave(id) }).await {
                    break e;
                }
            }
        }
    };
    // A listener that is being replaced: the sessions that it has begun go on.
    if !matches!(end, ChannelError::Closed) {
        tracing::error!("listener: {end}");
    }
    Event::Unlinked
}

fn begin(shared: &Arc<Shared>, sessions: &Arc<Sessions>, open: Open, fd: OwnedFd) {
    match SessionEnd::from_fd(fd) {
        Ok(end) => {
            let (shared, counted) = (shared.clone(), sessions.enter());
            tokio::spawn(async move {
                session::serve(shared, open, end).await;
                drop(counted);
            });
        }
        Err(e) => tracing::error!("session={} no channel: {e}", open.id),
    }
}

/// Has a backend prove that it does not relay, after a pause.
async fn ask(shared: Arc<Shared>, id: DestinationId, pause: Duration) -> Event {
    tokio::time::sleep(pause).await;
    let proved = shared.routes.at(id).route.prove().await;
    Event::Asked(id, pause, proved)
}
