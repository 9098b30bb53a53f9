//! The role: orders from the launcher, sessions from the listener, one task for each session.

use crate::judge::{Attempt, Judge};
use crate::passwd::Passwd;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_role::{AsyncControl, Heard, Phase, RoleError, SHORT_FRAME, Step};
use gatepost_smtp::envelope::Login;
use gatepost_wire::auth::Judged;
use gatepost_wire::control::Role;
use gatepost_wire::link::OpenAuth;
use gatepost_wire::{AuthToSession, ListenerToAuth, Nothing, SessionToAuth};
use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::task::JoinSet;

type ListenerLink = AsyncEnd<Nothing, ListenerToAuth>;
type SessionEnd = AsyncEnd<AuthToSession, SessionToAuth>;

/// Attempts of one session: more than the engine allows a client.
const ATTEMPTS_MAX: u32 = 32;

/// What can happen.
enum Event {
    /// A new session, or the end of a link.
    Opened(ListenerLink, Result<(OpenAuth, OwnedFd), ChannelError>),
    /// Handoff is gone, or is linked anew.
    Unlinked,
    /// A session is over.
    Ended,
}

struct Service {
    control: AsyncControl,
    judge: Arc<Judge>,
    events: JoinSet<Event>,
    sessions: usize,
}

/// Serves until drained: sessions that are under way may still log in.
///
/// # Errors
/// [`RoleError`].
pub(crate) async fn serve(control: ControlEnd, passwd: Passwd) -> Result<(), RoleError> {
    let control = AsyncControl::new(Role::Auth, control)?;
    let judge = Arc::new(Judge::new(passwd));
    let checking = tokio::spawn(Arc::clone(&judge).check_all());
    let mut service = Service { control, judge, events: JoinSet::new(), sessions: 0 };
    while !(service.control.phase() == Phase::Draining && service.sessions == 0) {
        let event = async {
            match service.events.join_next().await {
                Some(event) => event,
                None => pending().await,
            }
        };
        match service.control.order_or(event).await? {
            Heard::Order(step) => service.follow(step).await?,
            Heard::Other(Ok(Event::Opened(link, opened))) => service.opened(link, opened),
            Heard::Other(Ok(Event::Unlinked)) => {}
            // No task is cancelled, and a panic ends the process.
            Heard::Other(Ok(Event::Ended) | Err(_)) => service.sessions = service.sessions.saturating_sub(1),
        }
    }
    checking.abort();
    Ok(())
}

impl Service {
    async fn follow(&mut self, step: Step<OwnedFd>) -> Result<(), RoleError> {
        let watching = RoleError::system("watch a link");
        match step {
            Step::Link(Role::Handoff, fd) => {
                let noted = self.judge.link(fd).map_err(watching)?;
                self.events.spawn(async move {
                    noted.await;
                    Event::Unlinked
                });
            }
            Step::Link(_, fd) => {
                let link = ListenerLink::from_fd(fd).map_err(watching)?;
                self.events.spawn(next(link));
            }
            Step::Begin => self.control.ready().await?,
            // What is ordered of other roles, and a drain, which the loop sees.
            _ => {}
        }
        Ok(())
    }

    fn opened(&mut self, link: ListenerLink, opened: Result<(OpenAuth, OwnedFd), ChannelError>) {
        let (open, session) = match opened {
            Ok(opened) => opened,
            // The listener is being replaced: the sessions that it has begun go on.
            Err(ChannelError::Closed) => return,
            Err(e) => return tracing::error!("listener: {e}"),
        };
        self.events.spawn(next(link));
        match SessionEnd::from_fd(session) {
            Ok(end) => {
                self.sessions = self.sessions.saturating_add(1);
                let judge = Arc::clone(&self.judge);
                self.events.spawn(async move {
                    if let Err(e) = answer(judge, open, end).await {
                        tracing::warn!(session = %open.id, "its channel with auth is closed: {e}");
                    }
                    Event::Ended
                });
            }
            Err(e) => tracing::error!(session = %open.id, "cannot be watched: {e}"),
        }
    }
}

async fn next(link: ListenerLink) -> Event {
    let mut inbox = Inbox::new(SHORT_FRAME);
    let opened = link.recv_with_one(&mut inbox).await;
    Event::Opened(link, opened)
}

/// Answers a session until it is gone. It may be owned: whatever is wrong costs it the channel, and nobody else anything.
async fn answer(judge: Arc<Judge>, open: OpenAuth, end: SessionEnd) -> Result<(), String> {
    let mut inbox = Inbox::of::<SessionToAuth>();
    let mut logged_in = false;
    for _ in 0..ATTEMPTS_MAX {
        let attempt = match end.recv(&mut inbox).await {
            Ok(claim) => Attempt::of(&claim),
            Err(ChannelError::Closed) => return Ok(()),
            Err(e) => return Err(e.to_string()),
        };
        inbox.wipe();
        if logged_in {
            return Err("it has a login, and asks for another".to_owned());
        }
        let login = judge.judge(open, attempt).await;
        logged_in = login == Login::Accepted;
        if end.tell(&Judged { login }).await.is_err() {
            return Ok(());
        }
    }
    Err(format!("more than {ATTEMPTS_MAX} attempts"))
}
