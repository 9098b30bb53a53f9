//! The role: orders from the launcher, sessions from the listener, one task for each session.

use crate::checker::CheckerLink;
use crate::judge::{Attempt, Exchange, Judge, Opening, Turn};
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_role::{AsyncControl, DialerLink, Heard, Phase, RoleError, SHORT_FRAME, Step};
use gatepost_smtp::envelope::Login;
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_wire::auth::{Answered, Asked, Offers};
use gatepost_wire::control::Role;
use gatepost_wire::link::OpenAuth;
use gatepost_wire::{AuthToListener, AuthToSession, ListenerToAuth, SessionToAuth};
use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;
use zeroize::Zeroizing;

type ListenerLink = AsyncEnd<AuthToListener, ListenerToAuth>;
type SessionEnd = AsyncEnd<AuthToSession, SessionToAuth>;

/// Messages of one session: more than the engine allows a client.
const MESSAGES_MAX: u32 = 64;
/// Longest wait for a client's next response: its program makes it, not its user.
const RESPONSE_WAIT: Duration = Duration::from_secs(60);

/// What can happen.
enum Event {
    /// A new session, or the end of a link.
    Opened(ListenerLink, Result<(OpenAuth, OwnedFd), ChannelError>),
    /// Handoff, the dialer or the checker is gone, or is linked anew.
    Unlinked,
    /// A session is over.
    Ended,
}

struct Service {
    control: AsyncControl,
    judge: Arc<Judge>,
    dialer: Arc<DialerLink>,
    checker: Arc<CheckerLink>,
    events: JoinSet<Event>,
    sessions: usize,
}

/// Serves until drained: sessions that are under way may still log in.
///
/// # Errors
/// [`RoleError`].
pub(crate) async fn serve(
    control: ControlEnd,
    dialer: Arc<DialerLink>,
    checker: Arc<CheckerLink>,
    judge: Judge,
) -> Result<(), RoleError> {
    let control = AsyncControl::new(Role::Auth, control)?;
    let judge = Arc::new(judge);
    let checking = tokio::spawn(Arc::clone(&judge).check_all());
    let mut service = Service { control, judge, dialer, checker, events: JoinSet::new(), sessions: 0 };
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
            Step::Link(Role::Dialer, fd) => {
                let answers = self.dialer.link(fd).map_err(watching)?;
                self.events.spawn(async move {
                    answers.await;
                    Event::Unlinked
                });
            }
            Step::Link(Role::Checker, fd) => {
                let answers = self.checker.link(fd).map_err(watching)?;
                self.events.spawn(async move {
                    answers.await;
                    Event::Unlinked
                });
            }
            Step::Link(_, fd) => {
                let link = ListenerLink::from_fd(fd).map_err(watching)?;
                // A listener that is gone already asks for nothing.
                let _ = link.tell(&Offers { mechanisms: self.judge.offers_to_all() }).await;
                self.events.spawn(next(link));
            }
            Step::Begin => self.control.ready().await?,
            // The loop sees a drain.
            Step::Drain | Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    fn opened(&mut self, link: ListenerLink, opened: Result<(OpenAuth, OwnedFd), ChannelError>) {
        let (open, session) = match opened {
            Ok(opened) => opened,
            // The listener is being replaced: the sessions that it has begun go on.
            Err(ChannelError::Closed) => return,
            // Its session finds that nobody has the other end of its channel.
            Err(e) if e.is_out_of_descriptors() => {
                self.events.spawn(next(link));
                return;
            }
            Err(e) => return tracing::error!("listener: {e}"),
        };
        self.events.spawn(next(link));
        match SessionEnd::from_fd(session) {
            Ok(end) => {
                self.sessions = self.sessions.saturating_add(1);
                let judge = Arc::clone(&self.judge);
                self.events.spawn(async move {
                    if let Err(e) = answer(&judge, open, end).await
                        && let Some(kept) = judge.may_log(open.client)
                    {
                        tracing::warn!(session = %open.id, kept, "its channel with auth is closed: {e}");
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

/// What a session asks, of its own.
enum Question {
    Claim(Attempt),
    Begin(Opening),
    Response(Zeroizing<Vec<u8>>),
}

/// Answers a session until it is gone. It may be owned: whatever is wrong costs it the channel, and nobody else anything.
async fn answer(judge: &Judge, open: OpenAuth, end: SessionEnd) -> Result<(), String> {
    let offered = judge.offer().await;
    if !open.offered && end.tell(&Answered::Offer(offered)).await.is_err() {
        return Ok(());
    }
    let mut inbox = Inbox::of::<SessionToAuth>();
    let mut exchange = None;
    let mut logged_in = false;
    for _ in 0..MESSAGES_MAX {
        let (asked, going) = ask(&end, &mut inbox, exchange.take()).await;
        inbox.wipe();
        let question = match asked {
            Ok(question) => question,
            Err(ChannelError::Closed) => return Ok(()),
            Err(e) => return Err(e.to_string()),
        };
        if logged_in {
            return Err("it has a login, and asks for another".to_owned());
        }
        let turn = match question {
            Question::Claim(attempt) => {
                drop(going);
                if !offered.has(attempt.mechanism) || !Mechanisms::PASSWORD.has(attempt.mechanism) {
                    return Err(format!("{} was not offered", attempt.mechanism.name()));
                }
                match judge.claim(open, attempt, gone(&end)).await {
                    Some(login) => Turn::Judged(login),
                    None => return Ok(()),
                }
            }
            Question::Begin(opening) => {
                drop(going);
                if !offered.has(opening.mechanism) || Mechanisms::PASSWORD.has(opening.mechanism) {
                    return Err(format!("{} was not offered", opening.mechanism.name()));
                }
                judge.begin(open, opening).await
            }
            Question::Response(response) => match going {
                Some(going) => judge.respond(open, going, &response).await,
                // It had to give way, or its client was too late.
                None => Turn::Judged(Login::Unknown),
            },
        };
        // Which calls leave a copy there is up to the compiler: what reads a frame, or makes what Dovecot or a program is told.
        gatepost_sys::wipe::stack();
        let told = match turn {
            Turn::Challenge(challenge, going) => {
                exchange = Some(going);
                end.tell(&Answered::Challenge(&challenge)).await
            }
            Turn::Judged(login) => {
                logged_in = login == Login::Accepted;
                end.tell(&Answered::Judged(login)).await
            }
        };
        if told.is_err() {
            return Ok(());
        }
    }
    Err(format!("more than {MESSAGES_MAX} messages"))
}

/// Waits for what the session asks next. A dialogue that is under way ends when that takes too long, or its place is needed.
async fn ask(
    end: &SessionEnd,
    inbox: &mut Inbox,
    exchange: Option<Exchange>,
) -> (Result<Question, ChannelError>, Option<Exchange>) {
    if let Some(going) = exchange
        && let Some(Ok(asked)) = going.unless_told(timeout(RESPONSE_WAIT, hear(end, inbox))).await
    {
        return (asked, Some(going));
    }
    (hear(end, inbox).await, None)
}

/// Waits until a session that has asked is gone, or asks again before its answer, after which it is owed none.
async fn gone(end: &SessionEnd) {
    let mut inbox = Inbox::of::<SessionToAuth>();
    // What was readable before may have been read since.
    while end.readable().await.is_ok() && end.try_fill(&mut inbox).is_ok_and(|filled| !filled) {}
    inbox.wipe();
}

async fn hear(end: &SessionEnd, inbox: &mut Inbox) -> Result<Question, ChannelError> {
    Ok(match end.recv(inbox).await? {
        Asked::Claim(claim) => Question::Claim(Attempt::of(&claim)),
        Asked::Begin(begin) => Question::Begin(Opening::of(&begin)),
        Asked::Response(response) => Question::Response(Zeroizing::new(response.response.to_vec())),
    })
}
