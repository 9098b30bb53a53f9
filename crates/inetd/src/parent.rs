//! The parent: handoff, dialer and keyholder of one connection.

use crate::child::{BEGUN, lacking};
use crate::error::InetdError;
use crate::peer::Peer;
use gatepost_channel::{AsyncEnd, ChannelError, End, Inbox};
use gatepost_config::{Config, Log, TlsMode};
use gatepost_handoff::{RunQueue, Single as Handoff};
use gatepost_jail::Beside;
use gatepost_launcher::plan::Plan;
use gatepost_launcher::single::{self, Single};
use gatepost_log::Shown;
use gatepost_role::RoleError;
use gatepost_rules::Rules;
use gatepost_rules::access::{Access, Permit};
use gatepost_smtp::envelope::Service;
use gatepost_smtp::keyword::Keywords;
use gatepost_smtp::replies;
use gatepost_sys::landlock::Use;
use gatepost_sys::process::{self, ProcessId};
use gatepost_sys::signal::{Notice, Signals};
use gatepost_tls::recognise::Party;
use gatepost_tls::sign::{Budget, Keys};
use gatepost_wire::link::{Open, SessionId, Start, Weights};
use gatepost_wire::queue::{Done, Submit};
use gatepost_wire::sign::{Signature, TO_SIGN_MAX};
use gatepost_wire::slice::{KeyholderSlice, QueueSlice, SingleSlice, Slice};
use gatepost_wire::terms as wire;
use gatepost_wire::{HandoffToSession, KeyholderToSession, SessionToHandoff, SessionToKeyholder};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::Interest;
use tokio::runtime::Runtime;
use tokio::task::JoinError;

/// Bits of a process id, pid_max.
const PID_BITS: u32 = 22;
/// How long a session may take to end that has closed its channel without a word.
const LINGER: Duration = Duration::from_secs(1);

/// What the parent has of its session.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) session: ProcessId,
    pub(crate) handoff: End<HandoffToSession, SessionToHandoff>,
    pub(crate) keyholder: End<KeyholderToSession, SessionToKeyholder>,
    pub(crate) setup: PipeWriter,
    pub(crate) report: PipeReader,
    pub(crate) drain: PipeWriter,
}

/// What holds for the connection.
#[derive(Debug)]
pub(crate) struct Terms {
    open: Open,
    single: Single,
    tls: TlsMode,
    hidden: Keywords,
}

impl Terms {
    /// By the configuration at `path`.
    ///
    /// # Errors
    /// Its mistakes, or what of the system does not fit it.
    pub(crate) fn read(path: &Path, peer: Peer) -> Result<Self, InetdError> {
        let config = Config::load(path).map_err(|faults| InetdError::Configuration(faults.to_string()))?;
        let Log { json, level, cut, .. } = config.log;
        gatepost_log::show(Shown { json, level, cut });
        let plan = Plan::from(config);
        let listener = peer.listener(&plan.config.listen);
        let listen = plan.config.listen.get(usize::from(listener));
        let tls = listen.map_or(TlsMode::Off, |listen| listen.tls);
        if listen.is_some_and(|listen| listen.service == Service::Submission) {
            let why =
                "its [[listen]] is for submission, for which gatepost serve is needed: nobody checks passwords here";
            return Err(InetdError::Unfit(vec![why.into()]));
        }
        let ip = peer.client.ip();
        if listen.is_some_and(|listen| listen.proxy_from.iter().any(|network| network.contains(ip))) {
            return Err(InetdError::Balanced(ip));
        }
        let single = single::single(&plan).map_err(InetdError::Unfit)?;
        let access = match &plan.config.admission.rules {
            None => Access::Granted(Permit::default()),
            Some(path) => Rules::open(path).map_or(Access::Unknown, |rules| rules.access(ip)),
        };
        let terms = match access {
            Access::Granted(Permit { relay, message_size }) => plan.config.terms(ip).with(relay, message_size),
            Access::Denied => {
                let reply =
                    (tls != TlsMode::Implicit).then(|| replies::DENIED.instead_of_greeting(&single.handoff.hostname));
                return Err(InetdError::Denied { ip, reply });
            }
            Access::Unknown => return Err(InetdError::Unfit(vec!["the rules in [admission] can't be read".into()])),
        };
        let wire::Terms { relay, exempt, message_size, hidden, .. } = terms;
        let (id, Peer { client, local }) = (session_id(), peer);
        // Nobody asks lists here.
        let (service, listed) = (Service::Relay, Weights::default());
        let open = Open { id, client, local, listener, relay, message_size, exempt, service, user: None, listed };
        Ok(Self { open, single, tls, hidden })
    }

    /// The client can read a reply now: its first octet need not be TLS's.
    pub(crate) fn is_in_clear(&self) -> bool {
        self.tls != TlsMode::Implicit
    }

    /// Our name.
    pub(crate) fn hostname(&self) -> &str {
        &self.single.handoff.hostname
    }
}

/// Unique on this machine: the second and our process.
fn session_id() -> SessionId {
    let second = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    SessionId((second << PID_BITS) | u64::from(std::process::id()))
}

impl Parent {
    /// Enters the jail, has the backend prove that it does not relay, and lets the session begin.
    ///
    /// # Errors
    /// Why nobody is served. The session has not begun, and ends with this process at the latest.
    pub(crate) fn begin(self, terms: Terms) -> Result<Serving, InetdError> {
        let Terms { open, single, tls, hidden } = terms;
        let Single {
            session,
            parent,
            handoff,
            keys: KeyholderSlice { keys, client_keys },
            content,
            connect_ports,
            queue,
        } = single;
        let load = |party, pems| Keys::load(party, pems).map_err(|e| InetdError::Unfit(vec![e.to_string()]));
        let (keys, client_keys) = (load(Party::Server, keys)?, load(Party::Client, client_keys)?);
        let program = queue.as_ref().map(Program::boxed).transpose()?;
        let handoff = Handoff::new(&handoff, client_keys, program)?;
        let signals = Signals::all().map_err(InetdError::system("receive signals"))?;
        let beside = Beside {
            account: (parent.uid, parent.gid, parent.groups),
            session: session.uid,
            directories: vec![(content, Use::Files)],
            connect_ports,
            file_size: parent.file_size,
            landlock: parent.landlock,
        };
        let (runtime, unmet) = match queue {
            None => {
                let (entered, unmet) = beside.enter()?;
                let runtime = gatepost_role::runtime()?;
                entered.seal()?;
                (runtime, unmet)
            }
            Some(queue) => {
                let unmet = beside.stay_outside(queue.real_uid)?;
                // So that the audit knows why there is no filter.
                process::set_comm(c"gp-queue");
                (gatepost_role::runtime()?, unmet)
            }
        };
        runtime.block_on(handoff.prove())?;
        let Open { id, listener, service, .. } = open;
        let start = Start { id, listener, tls: tls != TlsMode::Off, stress: false, pause: 0, hidden, service };
        let slice = SingleSlice { start, setup: session };
        let octets = slice.to_bytes().map_err(|e| InetdError::Unfit(vec![e.to_string()]))?;
        let Self { session, handoff: channel, keyholder, mut setup, mut report, drain } = self;
        setup.write_all(&octets).map_err(InetdError::system("tell the session its setup"))?;
        drop(setup);
        let mut said = Vec::new();
        report.read_to_end(&mut said).map_err(InetdError::system("hear the session"))?;
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        match said.split_first() {
            Some((&BEGUN, without)) => note(open.id, &lacking(&unmet), &text(without)),
            Some((_, why)) => return Err(InetdError::Session(text(why))),
            None => return Err(InetdError::Session("it has ended without a word".to_owned())),
        }
        Ok(Serving { runtime, open, handoff, keys, signals, session, channel, keyholder, drain })
    }
}

/// The queue program, run by this process.
#[derive(Debug)]
struct Program(gatepost_queue::Here);

impl Program {
    fn boxed(slice: &QueueSlice) -> Result<Box<dyn RunQueue>, RoleError> {
        Ok(Box::new(Self(gatepost_queue::Here::new(slice)?)))
    }
}

impl RunQueue for Program {
    fn run(&self, message: &[Submit<'_>], content: OwnedFd) -> Done {
        self.0.run(message, content)
    }
}

/// Logs what the two processes could not give up here.
fn note(id: SessionId, parent: &str, session: &str) {
    for (who, without) in [("parent", parent), ("session", session)] {
        if !without.is_empty() {
            tracing::info!("session={id} {who} without={without}");
        }
    }
}

/// A session that has begun, and all that serves it.
#[derive(Debug)]
pub(crate) struct Serving {
    runtime: Runtime,
    open: Open,
    handoff: Handoff,
    keys: Keys,
    signals: Signals,
    session: ProcessId,
    channel: End<HandoffToSession, SessionToHandoff>,
    keyholder: End<KeyholderToSession, SessionToKeyholder>,
    drain: PipeWriter,
}

impl Serving {
    /// Serves to the end; gives the exit status. A session that has broken the rules is killed by the kernel when this process
    /// ends, which is at once.
    pub(crate) fn serve(self) -> u8 {
        let Self { runtime, open, handoff, keys, signals, session, channel, keyholder, drain } = self;
        runtime.block_on(async {
            let id = open.id;
            let signing = tokio::spawn(sign(id, keys, keyholder));
            let end = tokio::spawn(await_end(signals, session, drain));
            let served = handoff.serve(open, channel.into_seq().into_fd()).await;
            signing.abort();
            match served {
                Ok(Some(_)) => {}
                // It has died, or broken the rules and is still there.
                Ok(None) => return ended(id, tokio::time::timeout(LINGER, end).await.ok()),
                Err(e) => return tracing::error!("session={id} {e}"),
            }
            // What it has said last may still be on its way to the client.
            ended(id, Some(end.await));
        });
        0
    }
}

/// A crash is told. The end of its time by the kernel's timer is none.
fn ended(id: SessionId, end: Option<Result<process::End, JoinError>>) {
    if let Some(Ok(end @ process::End::Signal(signal))) = end
        && !end.is_timer()
    {
        tracing::warn!("session={id} was killed by signal {signal}");
    }
}

/// Signs for the session: one handshake, counted.
async fn sign(id: SessionId, keys: Keys, session: End<KeyholderToSession, SessionToKeyholder>) {
    let Ok(session) = AsyncEnd::new(session) else { return tracing::error!("session={id} no signatures") };
    let mut budget = Budget::default();
    let mut inbox = Inbox::new(TO_SIGN_MAX.saturating_add(64));
    loop {
        let answer = match session.recv_with(&mut inbox).await {
            Ok((question, descriptors)) => keys.answer(&mut budget, &question, descriptors.len()),
            Err(ChannelError::Closed) => return,
            Err(e) => return tracing::warn!("session={id} signature refused: {e}"),
        };
        match answer {
            Ok(signature) => {
                if session.tell(&Signature(&signature)).await.is_err() {
                    return;
                }
            }
            Err(e) => return tracing::warn!("session={id} signature refused: {e}"),
        }
    }
}

/// Waits for the end of the session's process. TERM is passed on: by the end of `drain`.
async fn await_end(signals: Signals, session: ProcessId, drain: PipeWriter) -> process::End {
    let mut drain = Some(drain);
    let Ok(signals) = gatepost_channel::watch(signals, Interest::READABLE) else { return process::await_end(session) };
    loop {
        if let Some(end) = process::reap_one(session) {
            return end;
        }
        let Ok(mut guard) = signals.readable().await else { return process::await_end(session) };
        match signals.get_ref().next() {
            Ok(Some(Notice::Terminate)) => drop(drain.take()),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => guard.clear_ready(),
        }
    }
}
