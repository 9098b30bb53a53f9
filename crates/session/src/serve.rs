//! A session's life: octets between client and engine, questions between engine and handoff.

use crate::handoff::{Handoff, HandoffError};
use crate::line::{Line, Negotiated};
use crate::patience::{Patience, Timer};
use crate::shared::Shared;
use crate::signer::Signer;
use crate::{HandoffEnd, KeyholderEnd, exit};
use gatepost_jail::{JailedSession, SessionSeal};
use gatepost_smtp::envelope::CloseReason;
use gatepost_smtp::replies;
use gatepost_smtp::server::{Engine, Event, Phase};
use gatepost_tls::ServerConfig;
use gatepost_wire::link::{SessionId, Start, exit_status};
use gatepost_wire::session::{Mail, Rcpt};
use gatepost_wire::slice::TlsMode;
use std::future::poll_fn;
use std::io::{self, PipeReader, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::time::Instant;

/// One read from the client at most. Only what is read is touched, so large content pays for it and nobody else.
const READ: usize = 64 * 1024;
/// Longest wait for the client to take what we send.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Longest TLS handshake, all of it.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);
/// When the timer first goes off, if only to be set again: no deadline but a session's end is shorter, so that in most
/// sessions it is set once. Setting it back, not forth, makes the runtime wake itself.
const FIRST_LOOK: Duration = HANDSHAKE_TIME;
/// What a session may last beyond its time before the kernel ends it: the longest wait for handoff, a reply that the client
/// is slow to take, and then some.
const GRACE: Duration = Duration::from_secs(900);
/// After a reply that the client has not asked for: how long, and for how many octets, it may go on talking before the
/// connection is closed over it, which would take the reply away again (RFC 1122 §4.2.2.13).
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 256 * 1024;

/// What a session is born with.
#[derive(Debug)]
pub struct SessionBirth {
    /// Its name.
    pub id: SessionId,
    /// Index of the `[[listen]]` that its client came in by.
    pub listener: u8,
    /// Slots are scarce: little patience with this client.
    pub stress: bool,
    /// The client: a connected, non-blocking TCP socket.
    pub client: OwnedFd,
    /// Towards handoff.
    pub handoff: HandoffEnd,
    /// Towards the keyholder, where TLS is spoken.
    pub keyholder: Option<KeyholderEnd>,
}

impl SessionBirth {
    /// From a `Start` and its descriptors; None when they do not fit it.
    pub(crate) fn of(start: Start, fds: Vec<OwnedFd>) -> Option<Self> {
        let mut fds = fds.into_iter();
        let (client, handoff, keyholder) = (fds.next()?, fds.next()?, fds.next());
        if fds.next().is_some() || start.tls != keyholder.is_some() {
            return None;
        }
        Some(Self {
            id: start.id,
            listener: start.listener,
            stress: start.stress,
            client,
            handoff: HandoffEnd::from_fd(handoff),
            keyholder: keyholder.map(KeyholderEnd::from_fd),
        })
    }

    /// There will be no session: says so, as far as the send buffer of a fresh connection takes it, and closes.
    pub(crate) fn turn_away(self, hostname: &str) {
        let mut client = TcpStream::from(self.client);
        let replies::Reply { code, enhanced, text } = replies::FAILED;
        let _ = client.write(format!("{code} {enhanced} {hostname} {text}\r\n").as_bytes());
        let _ = client.shutdown(Shutdown::Write);
    }
}

/// A forked session from its first moment to its exit status.
pub(crate) fn live(
    shared: &Shared,
    birth: SessionBirth,
    drained: PipeReader,
    seal: &SessionSeal,
    life: impl AsyncFnOnce(JailedSession, SessionBirth, PipeReader, &Shared) -> CloseReason,
) -> u8 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let failure = match (runtime, seal.close(shared.session_time.saturating_add(GRACE))) {
        (Ok(runtime), Ok(jailed)) => {
            let farewell = runtime.block_on(life(jailed, birth, drained, shared));
            // The process ends with all it has: taking the runtime apart first would only cost time.
            std::mem::forget(runtime);
            return exit_status(farewell);
        }
        (Err(e), _) => e.to_string(),
        (_, Err(e)) => e.to_string(),
    };
    // The only line that a session ever logs: it has not read an octet yet.
    tracing::error!(session = %birth.id, failure, "session not begun");
    birth.turn_away(shared.hostname());
    exit::INTERNAL
}

/// Serves one client to the end. Must run on a current-thread runtime with IO and time, in a process that has nothing
/// else to do: asking handoff and the keyholder blocks. `drained` is at its end when gatepost goes down.
pub async fn serve(_: JailedSession, birth: SessionBirth, drained: PipeReader, shared: &Shared) -> CloseReason {
    let (farewell, session) = attend(birth, drained, shared).await;
    // The process ends with all it has: taking it apart first would only cost time.
    std::mem::forget(session);
    farewell
}

/// [`serve`] without the proof of being jailed, and with what is left of the session.
pub(crate) async fn attend(
    birth: SessionBirth,
    drained: PipeReader,
    shared: &Shared,
) -> (CloseReason, Option<Session<tokio::net::TcpStream>>) {
    let SessionBirth { id, listener, stress, client, handoff, keyholder } = birth;
    let implicit = shared.mode(listener) == TlsMode::Implicit;
    let tls = Tls::new(shared, keyholder);
    let mut engine = Engine::new(shared.settings(id, tls.is_some() && !implicit, stress));
    let client = TcpStream::from(client);
    if !implicit {
        // Before the runtime has the socket, which would first wait for it to become writable.
        engine.greet();
        let sent = (&client).write(engine.output()).unwrap_or_default();
        engine.sent(sent);
    }
    let ends = tokio::net::TcpStream::from_std(client).and_then(|client| Ok((client, Drain::new(drained)?)));
    match ends {
        Ok((client, drain)) => {
            let mut session = Session::new(client, engine, handoff, tls, drain, shared, stress);
            (session.run(implicit).await, Some(session))
        }
        Err(_) => (CloseReason::Internal, None),
    }
}

/// What a handshake needs.
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    signer: Signer,
}

impl Tls {
    /// None without a keyholder or a certificate.
    pub(crate) fn new(shared: &Shared, keyholder: Option<KeyholderEnd>) -> Option<Self> {
        let (config, keyholder) = (shared.tls.as_ref()?, keyholder?);
        shared.signer.connect(keyholder);
        Some(Self { config: Arc::clone(config), signer: shared.signer.clone() })
    }
}

/// The news that gatepost is going down: the end of a pipe that nobody ever writes into.
pub(crate) struct Drain {
    pipe: AsyncFd<PipeReader>,
    seen: bool,
}

impl Drain {
    #[allow(deprecated)] // Objected to for types that may give their descriptor away; a PipeReader owns its own.
    pub(crate) fn new(pipe: PipeReader) -> io::Result<Self> {
        Ok(Self { pipe: AsyncFd::with_interest(pipe, Interest::READABLE)?, seen: false })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.seen {
            // An error of the runtime is taken as the news: better a session too few than one that cannot be drained.
            let _ = ready!(self.pipe.poll_read_ready(cx));
            self.seen = true;
        }
        Poll::Ready(())
    }
}

/// What a wait for the client came to.
enum Heard {
    Octets,
    /// It took too long.
    Late,
    /// Nothing yet, and gatepost is going down.
    Drain,
}

/// Why a session ends without a last word.
enum Cut {
    ClientGone,
    /// The client does not read.
    Late,
    Tls,
}

impl From<io::Error> for Cut {
    fn from(_: io::Error) -> Self {
        Cut::ClientGone
    }
}

/// What the engine wants from us next.
enum Next {
    /// Send what has gathered, then go on with the same input.
    Flush,
    Read,
    StartTls,
    Close(CloseReason),
}

/// One client.
pub(crate) struct Session<S> {
    line: Line<S>,
    engine: Engine,
    handoff: Handoff,
    tls: Option<Tls>,
    drain: Drain,
    patience: Patience,
    timer: Timer,
    /// No session lasts longer.
    end: Instant,
    offered: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) fn new(
        client: S,
        engine: Engine,
        handoff: HandoffEnd,
        tls: Option<Tls>,
        drain: Drain,
        shared: &Shared,
        stress: bool,
    ) -> Self {
        let now = Instant::now();
        let end = now.checked_add(shared.session_time).unwrap_or(now);
        Self {
            line: Line::Plain(client),
            engine,
            handoff: Handoff::new(handoff),
            tls,
            drain,
            patience: Patience::new(shared.command_timeout(stress)),
            timer: Timer::new(later(FIRST_LOOK).min(end)),
            end,
            offered: false,
        }
    }

    /// From the greeting to the last octet.
    pub(crate) async fn run(&mut self, implicit_tls: bool) -> CloseReason {
        let farewell = match self.talk(implicit_tls).await {
            Ok(farewell) => {
                self.handoff.bye(farewell);
                self.part(farewell).await;
                return farewell;
            }
            Err(Cut::ClientGone) => CloseReason::ClientGone,
            Err(Cut::Late) => CloseReason::Timeout,
            Err(Cut::Tls) => CloseReason::TlsFailed,
        };
        self.handoff.bye(farewell);
        farewell
    }

    async fn talk(&mut self, implicit_tls: bool) -> Result<CloseReason, Cut> {
        if implicit_tls {
            self.handshake().await?;
            self.engine.greet();
        }
        // Not zeroed: memory that no client fills is memory that no session has.
        let mut space = Box::new_uninit_slice(READ);
        let mut buffer = ReadBuf::uninit(&mut space);
        loop {
            self.flush().await?;
            buffer.clear();
            match self.read(&mut buffer).await? {
                Heard::Octets => {}
                Heard::Late => self.engine.timeout(),
                Heard::Drain => self.engine.drain(),
            }
            let mut input = buffer.filled();
            if !input.is_empty() {
                self.learn_offer();
            }
            loop {
                match self.advance(&mut input) {
                    Next::Read => break,
                    Next::Flush => self.flush().await?,
                    Next::StartTls => {
                        self.flush().await?;
                        self.handshake().await?;
                        break;
                    }
                    Next::Close(farewell) => {
                        self.flush().await?;
                        return Ok(farewell);
                    }
                }
            }
        }
    }

    /// Feeds the engine and does what it asks for.
    fn advance(&mut self, input: &mut &[u8]) -> Next {
        loop {
            let (used, event) = self.engine.read(input);
            *input = input.get(used..).unwrap_or_default();
            let asked = match event {
                Event::Starved => return Next::Read,
                Event::Flush => return Next::Flush,
                Event::StartTls => return Next::StartTls,
                Event::Close(farewell) => return Next::Close(farewell),
                Event::Mail => self.mail(),
                Event::Rcpt => self.rcpt(),
                Event::Content(octets) => self.handoff.content(octets),
                Event::ContentEnd { length } => self.handoff.commit(length).map(|verdict| self.engine.answer(&verdict)),
                Event::Reset => self.handoff.reset(),
            };
            if asked.is_err() {
                self.engine.fail();
            }
        }
    }

    fn mail(&mut self) -> Result<(), HandoffError> {
        let Some(mail) = self.engine.mail() else { return Ok(()) };
        self.handoff.mail(&Mail {
            helo: self.engine.helo(),
            esmtp: self.engine.esmtp(),
            tls: self.engine.tls(),
            reverse_path: mail.reverse_path.as_bytes(),
            parameters: mail.parameters.borrowed(),
        })
    }

    fn rcpt(&mut self) -> Result<(), HandoffError> {
        let Some(rcpt) = self.engine.rcpt() else { return Ok(()) };
        let parameters = rcpt.parameters.borrowed();
        let verdict = self.handoff.rcpt(&Rcpt { forward_path: rcpt.forward_path.as_bytes(), parameters })?;
        self.engine.answer(&verdict);
        Ok(())
    }

    /// Handoff has made its offer by the time the client has said its first word, and EHLO is not answered without.
    fn learn_offer(&mut self) {
        if self.offered {
            return;
        }
        self.offered = true;
        match self.handoff.offer() {
            Ok(offer) => self.engine.set_offer(offer),
            Err(_) => self.engine.fail(),
        }
    }

    async fn handshake(&mut self) -> Result<(), Cut> {
        let tls = self.tls.take().ok_or(Cut::Tls)?;
        let deadline = later(HANDSHAKE_TIME).min(self.end);
        let negotiated = self.timer.within(deadline, self.line.start_tls(&tls.config)).await;
        tls.signer.disconnect();
        match negotiated {
            Some(Ok(Negotiated { version, suite })) => {
                self.engine.tls_established(version, suite);
                self.patience.answered();
                Ok(())
            }
            Some(Err(_)) | None => Err(Cut::Tls),
        }
    }

    /// Waits for the client as long as patience lasts.
    async fn read(&mut self, buffer: &mut ReadBuf<'_>) -> Result<Heard, Cut> {
        let content = self.engine.phase() == Phase::Content;
        self.patience.wait_for(content);
        let begun = Instant::now();
        let deadline = begun.checked_add(self.patience.left()).unwrap_or(begun).min(self.end);
        let Self { line, drain, timer, .. } = self;
        let heard = poll_fn(|cx| {
            if let Poll::Ready(read) = line.poll_read(cx, buffer) {
                return Poll::Ready(read.map(|()| Heard::Octets));
            }
            // In the middle of content is no safe point: the client would not know whether it was taken.
            if drain.poll(cx).is_ready() && !content {
                return Poll::Ready(Ok(Heard::Drain));
            }
            timer.poll(deadline, cx).map(|()| Ok(Heard::Late))
        })
        .await?;
        let octets = buffer.filled().len();
        match heard {
            Heard::Octets if octets == 0 => Err(Cut::ClientGone),
            heard => {
                self.patience.spend(begun.elapsed(), octets);
                Ok(heard)
            }
        }
    }

    /// Sends all replies that have gathered.
    async fn flush(&mut self) -> Result<(), Cut> {
        if self.engine.output().is_empty() {
            return Ok(());
        }
        let deadline = later(WRITE_TIME);
        let Self { line, engine, .. } = self;
        let send = poll_fn(|cx| {
            while !engine.output().is_empty() {
                match ready!(line.poll_write(cx, engine.output()))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    sent => engine.sent(sent),
                }
            }
            line.poll_flush(cx)
        });
        self.timer.within(deadline, send).await.ok_or(Cut::Late)??;
        self.patience.answered();
        Ok(())
    }

    /// Closes so that the last reply arrives.
    async fn part(&mut self, farewell: CloseReason) {
        let deadline = later(LINGER_TIME);
        let line = &mut self.line;
        let closed = self.timer.within(deadline, poll_fn(|cx| line.poll_shutdown(cx))).await;
        // After QUIT nothing more is to come.
        if farewell == CloseReason::Quit || !matches!(closed, Some(Ok(()))) {
            return;
        }
        let mut space = Box::new_uninit_slice(READ);
        let mut rest = ReadBuf::uninit(&mut space);
        let mut left = LINGER_OCTETS;
        let listen = poll_fn(|cx| {
            while left > 0 {
                rest.clear();
                let read = ready!(line.poll_read(cx, &mut rest));
                let octets = rest.filled().len();
                if read.is_err() || octets == 0 {
                    break;
                }
                left = left.saturating_sub(octets);
            }
            Poll::Ready(())
        });
        let _ = self.timer.within(deadline, listen).await;
    }
}

/// The moment `wait` from now.
fn later(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or(now)
}
