//! A session's life: what the engine asks of its shell, of handoff and of the keyholder.

use crate::auth::{Auth, Reply};
use crate::handoff::{Committed, Handoff, HandoffError};
use crate::shared::Shared;
use crate::{AuthEnd, HandoffEnd};
use gatepost_jail::{JailedSession, SessionSeal};
use gatepost_shell::{Clock, Dialogue, Ends, Interruption, KeyholderEnd, Lost, Monotonic, Next, Output, Shell, Signer};
use gatepost_smtp::envelope::{CloseReason, Login, Service};
use gatepost_smtp::keyword::Keywords;
use gatepost_smtp::replies;
use gatepost_smtp::server::{Engine, Event, Phase, Settings};
use gatepost_tls::ServerConfig;
use gatepost_wire::link::{SessionId, Start, StartDescriptors, exit_status};
use gatepost_wire::session::{Mail, Rcpt};
use gatepost_wire::slice::TlsMode;
use std::io::{PipeReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// What a session begins with.
#[derive(Debug)]
pub struct NewSession {
    /// Its name.
    pub id: SessionId,
    /// Index of the `[[listen]]` that its client came in by.
    pub listener: u8,
    /// Slots are scarce: this client is not waited for long.
    pub stress: bool,
    /// Time before the greeting.
    pub pause: Duration,
    /// Keywords that EHLO does not show.
    pub hidden: Keywords,
    /// The client: a connected, non-blocking TCP socket, or what inetd gives.
    pub client: Ends,
    /// Towards handoff.
    pub handoff: HandoffEnd,
    /// Towards the keyholder, where TLS is spoken.
    pub keyholder: Option<KeyholderEnd>,
    /// What the client came for.
    pub service: Service,
    /// Towards auth, where mail is submitted.
    pub auth: Option<AuthEnd>,
}

impl NewSession {
    /// From a `Start` and its descriptors; None when they do not fit it.
    pub(crate) fn of(start: Start, fds: Vec<OwnedFd>) -> Option<Self> {
        let StartDescriptors { client, handoff, keyholder, auth } = StartDescriptors::from_list(&start, fds)?;
        Some(Self {
            id: start.id,
            listener: start.listener,
            stress: start.stress,
            pause: Duration::from_millis(start.pause.into()),
            hidden: start.hidden,
            client: Ends::of_socket(client),
            handoff: HandoffEnd::from_fd(handoff),
            keyholder: keyholder.map(KeyholderEnd::from_fd),
            service: start.service,
            auth: auth.map(AuthEnd::from_fd),
        })
    }

    /// There will be no session: says so, as far as the send buffer of a fresh connection takes it, and closes.
    pub fn turn_away(self, hostname: &str) {
        let _ = (&self.client).write(replies::FAILED.instead_of_greeting(hostname).as_bytes());
        let _ = gatepost_sys::net::finish(self.client.output());
    }
}

/// A forked session from its first moment to its exit status.
pub(crate) fn live(
    shared: &Shared,
    new: NewSession,
    drained: PipeReader,
    seal: &SessionSeal,
    life: impl FnOnce(JailedSession, NewSession, PipeReader, &Shared) -> SessionExit,
) -> u8 {
    match seal.close(shared.life()) {
        Ok(jailed) => life(jailed, new, drained, shared).status(),
        Err(failure) => {
            // The only line that a session ever logs: it has not read an octet yet.
            tracing::error!(session = %new.id, %failure, "session not begun");
            new.turn_away(shared.hostname());
            exit_status(CloseReason::Internal, false)
        }
    }
}

/// Serves one client to the end, in a process that has nothing else to do: asking handoff and the keyholder blocks.
/// `drained` is at its end when gatepost goes down.
pub fn serve(_: JailedSession, new: NewSession, drained: PipeReader, shared: &Shared) -> SessionExit {
    let mut session = Session::new(new, drained, shared, Monotonic);
    let exit = session.run();
    // The process ends with all it has: taking it apart first would only cost time.
    std::mem::forget(session);
    exit
}

/// What a session's exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionExit {
    /// Why it was closed.
    pub reason: CloseReason,
    /// The backend took a message.
    pub delivered: bool,
}

impl SessionExit {
    /// The exit status.
    #[must_use]
    pub const fn status(self) -> u8 {
        exit_status(self.reason, self.delivered)
    }
}

/// One client.
pub(crate) struct Session<'s, C> {
    shell: Shell<C>,
    smtp: Smtp<'s>,
    /// TLS comes before the greeting.
    implicit_tls: bool,
    /// Time before either.
    pause: Duration,
}

impl<'s, C: Clock> Session<'s, C> {
    /// [`serve`] comes to this, with the proof of being jailed and the process's own clock.
    pub(crate) fn new(new: NewSession, drained: PipeReader, shared: &'s Shared, clock: C) -> Self {
        let NewSession { id, listener, stress, pause, hidden, client, handoff, keyholder, service, auth } = new;
        if service == Service::Submission {
            gatepost_sys::wipe::freed();
        }
        let implicit_tls = shared.mode(listener) == TlsMode::Implicit;
        let tls = Tls::new(shared, keyholder);
        let settings = shared.settings(id, tls.is_some() && !implicit_tls, stress);
        let engine = Engine::new(Settings { hidden, service, ..settings });
        Self {
            shell: Shell::new(client, shared.times(stress), clock, Some(drained)),
            smtp: Smtp {
                engine,
                handoff: Handoff::new(handoff),
                auth: Auth::new(auth),
                tls,
                submits: service == Service::Submission,
                offered: false,
                committed: false,
            },
            implicit_tls,
            pause,
        }
    }

    /// From the greeting to the last octet.
    pub(crate) fn run(&mut self) -> SessionExit {
        let closed = self.talk();
        let (Ok(reason) | Err(Lost(reason))) = closed;
        self.smtp.tell_refusals();
        self.smtp.handoff.bye(reason, self.shell.fault());
        if closed.is_ok() {
            // After QUIT nothing more is to come.
            self.shell.close(reason != CloseReason::Quit);
        }
        SessionExit { reason, delivered: self.smtp.handoff.has_delivered() }
    }

    fn talk(&mut self) -> Result<CloseReason, Lost> {
        let Self { shell, smtp, implicit_tls, pause } = self;
        let goes_on = shell.pause(smtp, *pause)?;
        if *implicit_tls {
            if !goes_on {
                // Before TLS nothing can be said.
                return Err(Lost(CloseReason::Reclaimed));
            }
            smtp.start_tls(shell)?;
        }
        if goes_on {
            smtp.engine.greet();
        }
        shell.serve(smtp)
    }
}

/// What a handshake needs. Of what all sessions share nothing is written before: each page that is has to be copied for this session.
struct Tls<'s> {
    config: &'s Arc<ServerConfig>,
    signer: &'s Signer,
    keyholder: KeyholderEnd,
}

impl<'s> Tls<'s> {
    /// None without a keyholder or a certificate.
    fn new(shared: &'s Shared, keyholder: Option<KeyholderEnd>) -> Option<Self> {
        Some(Self { config: shared.tls.as_ref()?, signer: &shared.signer, keyholder: keyholder? })
    }
}

/// The engine, and those who answer it.
struct Smtp<'s> {
    engine: Engine,
    handoff: Handoff,
    auth: Auth,
    tls: Option<Tls<'s>>,
    /// Its client has to log in.
    submits: bool,
    /// The engine knows what can be honoured.
    offered: bool,
    /// Answers to a commit are due.
    committed: bool,
}

/// How far the answers to a commit are passed on.
enum Report {
    /// None is due.
    Done,
    /// What there is must be sent first.
    Full,
}

impl Output for Smtp<'_> {
    fn output(&self) -> &[u8] {
        self.engine.output()
    }

    fn sent(&mut self, octets: usize) {
        self.engine.sent(octets);
    }
}

impl Dialogue for Smtp<'_> {
    fn advance(&mut self, input: &[u8]) -> (usize, Next) {
        if !input.is_empty() {
            self.learn_offer();
        }
        let mut rest = input;
        let mut long = false;
        let next = loop {
            match self.report() {
                Ok(Report::Done) => {}
                Ok(Report::Full) => break Next::Flush,
                Err(_) => self.engine.fail(),
            }
            // Not before the client has the answer: the session may have lasted long enough.
            if long {
                break Next::GoOn;
            }
            let (used, event) = self.engine.read(rest);
            rest = rest.get(used..).unwrap_or_default();
            long = matches!(event, Event::Auth | Event::Rcpt | Event::ContentEnd { .. });
            self.tell_refusals();
            let asked = match event {
                Event::Starved => break Next::Read,
                Event::Flush => break Next::Flush,
                Event::StartTls => break Next::StartTls,
                Event::Close(reason) => break Next::Close(reason),
                Event::Auth => {
                    self.login();
                    Ok(())
                }
                Event::Mail => self.mail(),
                Event::Rcpt => self.rcpt(),
                Event::Content(octets) => self.handoff.content(octets),
                Event::ContentEnd { length } => self.commit(length),
                Event::Reset => self.handoff.reset(),
            };
            match asked {
                Ok(()) => {}
                Err(HandoffError::Reclaimed) => self.engine.reclaim(),
                Err(HandoffError::Away) => self.engine.away(),
                Err(_) => self.engine.fail(),
            }
        };
        (input.len().saturating_sub(rest.len()), next)
    }

    fn in_content(&self) -> bool {
        self.engine.phase() == Phase::Content
    }

    fn interrupt(&mut self, why: Interruption) {
        match why {
            Interruption::Timeout | Interruption::SessionTime => self.engine.timeout(),
            Interruption::Drain => self.engine.drain(),
            Interruption::Notice => self.hear(),
        }
    }

    fn take_secret(&mut self) -> bool {
        self.engine.take_secret()
    }

    fn notice(&self) -> Option<BorrowedFd<'_>> {
        self.handoff.may_tell().then(|| self.handoff.as_fd())
    }

    fn start_tls<C: Clock>(&mut self, shell: &mut Shell<C>) -> Result<(), Lost> {
        shell.send(self)?;
        let Tls { config, signer, keyholder } = self.tls.take().ok_or(Lost(CloseReason::TlsFailed))?;
        signer.connect(keyholder);
        let negotiated = shell.handshake(Arc::clone(config));
        signer.disconnect();
        let negotiated = negotiated?;
        self.engine.tls_established(negotiated.version, negotiated.suite);
        if self.submits {
            self.auth.bind(shell.binding());
            self.engine.set_mechanisms(self.auth.offer());
        }
        Ok(())
    }
}

impl Smtp<'_> {
    /// What the engine has refused by itself is told to handoff, which tells the log.
    fn tell_refusals(&mut self) {
        if let Some(refusal) = self.engine.take_refusal() {
            let ends = self.engine.take_ended_by().is_some();
            self.handoff.refused(&refusal, ends);
        }
    }

    fn login(&mut self) {
        match self.engine.said().map(|said| self.auth.judge(&said)) {
            Some(Reply::Challenge(challenge)) => self.engine.challenge(&challenge),
            Some(Reply::Judged(login)) => self.engine.judge(login),
            None => self.engine.judge(Login::Unknown),
        }
    }

    fn mail(&mut self) -> Result<(), HandoffError> {
        let Some(mail) = self.engine.mail() else { return Ok(()) };
        let verdict = self.handoff.mail(&Mail {
            helo: self.engine.helo(),
            esmtp: self.engine.esmtp(),
            tls: self.engine.tls(),
            reverse_path: mail.reverse_path.as_bytes(),
            parameters: mail.parameters.borrowed(),
        })?;
        self.engine.answer(&verdict);
        Ok(())
    }

    fn rcpt(&mut self) -> Result<(), HandoffError> {
        let Some(rcpt) = self.engine.rcpt() else { return Ok(()) };
        let parameters = rcpt.parameters.borrowed();
        let (verdict, text) = self.handoff.rcpt(&Rcpt { forward_path: rcpt.forward_path.as_bytes(), parameters })?;
        self.engine.answer_in(&verdict, &text);
        Ok(())
    }

    fn commit(&mut self, length: u64) -> Result<(), HandoffError> {
        match self.handoff.commit(length)? {
            Some((verdict, text)) => self.engine.answer_in(&verdict, &text),
            None => self.committed = true,
        }
        Ok(())
    }

    /// Passes on the answers to a commit, as far as there is room for them.
    fn report(&mut self) -> Result<Report, HandoffError> {
        while self.committed {
            if self.engine.is_full() {
                return Ok(Report::Full);
            }
            let answer = self.handoff.next_answer();
            self.committed = matches!(answer, Ok(Committed::Recipient(_)));
            match answer? {
                Committed::Recipient((verdict, text)) => self.engine.answer_recipient(&verdict, &text),
                Committed::All((verdict, text)) => self.engine.answer_in(&verdict, &text),
            }
        }
        Ok(Report::Done)
    }

    /// Handoff has something to say: its offer, or that the slot is needed. When it is gone the next question tells.
    fn hear(&mut self) {
        if self.offered {
            if let Err(HandoffError::Reclaimed) = self.handoff.hear() {
                self.engine.reclaim();
            }
        } else {
            self.learn_offer();
        }
    }

    /// Handoff has made its offer by the time the client has said its first word, and EHLO is not answered without.
    fn learn_offer(&mut self) {
        if self.offered {
            return;
        }
        self.offered = true;
        if self.submits {
            self.auth.learn();
            self.engine.set_mechanisms(self.auth.offer());
        }
        match self.handoff.offer() {
            Ok(offer) => self.engine.set_offer(offer),
            Err(HandoffError::Away) => self.engine.away(),
            Err(_) => self.engine.fail(),
        }
    }
}
