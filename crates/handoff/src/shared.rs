//! What all sessions share.

use crate::backend::{About, Dialer, RunQueue, Timeouts};
use crate::helo_lists::HeloLists;
use crate::log_limit::LogLimit;
use crate::logins::Logins;
use crate::memory::{self, Memory};
use crate::names::Resolver;
use crate::progress::ProgressCounts;
use crate::rates::Rates;
use crate::routes::Routes;
use crate::session_table::SessionTable;
use crate::several::Awaited;
use crate::spool::Spool;
use crate::turns::FrameTurns;
use gatepost_channel::Inbox;
use gatepost_policy::locals::Locals;
use gatepost_policy::relay::{Relay, RelayTable};
use gatepost_policy::tables::Tables;
use gatepost_role::RoleError;
use gatepost_shell::Signer;
use gatepost_smtp::envelope::Offer;
use gatepost_wire::gauge::Gauges;
use gatepost_wire::slice::{HandoffSlice, Slice as _};
use gatepost_wire::tables::TablesSlice;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for a signature. All sessions wait meanwhile: the keyholder needs a few milliseconds, unless it is being
/// started anew.
const SIGNATURE_WAIT: Duration = Duration::from_millis(500);

/// Tables that change while we run.
#[derive(Debug)]
pub(crate) struct InForce {
    /// What is refused, and from which addresses who has logged in may send.
    pub(crate) tables: Tables,
    /// Users of this machine, and from which addresses they may send.
    pub(crate) locals: Locals,
}

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Our own name.
    pub(crate) hostname: String,
    pub(crate) relay: Relay,
    /// Others when the launcher hands them over.
    tables: Mutex<Arc<InForce>>,
    pub(crate) routes: Routes,
    /// Who makes the connections to backends.
    pub(crate) dialer: Arc<Dialer>,
    /// Who knows what clients are called, and the longest that a greeting waits for that.
    pub(crate) resolver: Resolver,
    pub(crate) names_wait: Duration,
    /// DNS lists that are asked about HELO names.
    pub(crate) helo_lists: HeloLists,
    /// Where the channel to the keyholder is, which has the key of our certificate for backends.
    pub(crate) signer: Signer,
    pub(crate) spool: Spool,
    /// Largest message, octets.
    pub(crate) message_size: u64,
    /// Recipients in one transaction.
    recipients: u16,
    /// `Received` fields in a message; one with more is in a loop.
    pub(crate) hops: u32,
    /// Messages that are to come again.
    pub(crate) awaited: Awaited,
    /// What clients have sent lately, by the time since the beginning.
    rates: Mutex<Rates>,
    begun: Instant,
    /// How many sessions are how far.
    pub(crate) progress: Arc<ProgressCounts>,
    /// No backend at all has passed its proof, though sessions may come.
    away: AtomicBool,
    /// Lines about clients whose sessions come to nothing.
    pub(crate) log_limit: LogLimit,
    /// For envelopes and inline content.
    pub(crate) memory: Memory,
    pub(crate) turns: FrameTurns,
    pub(crate) sessions: Arc<SessionTable>,
    /// Who has logged in.
    pub(crate) logins: Arc<Logins>,
    /// From and Sender are held to the addresses of a login, too.
    pub(crate) check_from: bool,
    /// Received says nothing of who has logged in.
    pub(crate) hide_client: bool,
    /// A frame is read and done with before the next, so one buffer serves all sessions.
    pub(crate) inbox: Mutex<Inbox>,
}

/// Users without their accounts.
fn locals(slice: &HandoffSlice) -> Locals {
    let own = slice.domains.iter().filter(|domain| !domain.starts_with('.')).chain([&slice.hostname]);
    Locals::new([], slice.trusted.iter().cloned(), own.cloned())
}

impl InForce {
    /// `locals`: with any accounts.
    fn new(slice: TablesSlice, locals: &Locals) -> Result<Self, RoleError> {
        let account = |line: &String| {
            let (uid, name) = line.split_once(' ')?;
            Some((uid.parse().ok()?, name.to_owned()))
        };
        let locals = locals.renewed(slice.accounts.iter().filter_map(account));
        Ok(Self { tables: Tables::new(slice).map_err(RoleError::given("tables"))?, locals })
    }
}

impl Shared {
    /// From our slice of the configuration.
    ///
    /// # Errors
    /// A domain that is none; settings of TLS that can't be used.
    pub(crate) fn new(slice: &HandoffSlice, timeouts: Timeouts) -> Result<Self, RoleError> {
        Self::with(slice, timeouts, Dialer::default(), Signer::waiting(SIGNATURE_WAIT), None)
    }

    /// As [`Self::new`]. `dialer` makes the connections to backends, `signer` has the key of our certificate for backends, `queue` runs
    /// the queue program in this process.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn with(
        slice: &HandoffSlice,
        timeouts: Timeouts,
        dialer: Dialer,
        signer: Signer,
        queue: Option<Box<dyn RunQueue>>,
    ) -> Result<Self, RoleError> {
        let routed = slice.routes.iter().flat_map(|route| &route.domains);
        let relay = Relay {
            domains: RelayTable::new(slice.domains.iter().chain(routed)).map_err(RoleError::given("relay domain"))?,
            clients: slice.clients.clone(),
            any_domain: slice.any_domain,
        };
        let dialer = Arc::new(dialer);
        let about = About { hostname: &slice.hostname, first: 0, timeouts, dialer: &dialer, signer: &signer };
        let routes = Routes::new(slice, &about, queue)?;
        Ok(Self {
            hostname: slice.hostname.clone(),
            relay,
            tables: Mutex::new(Arc::new(InForce::new(slice.tables.clone(), &locals(slice))?)),
            routes,
            dialer,
            resolver: Resolver::default(),
            names_wait: Duration::from_millis(slice.names_wait.into()),
            helo_lists: HeloLists::new(&slice.helo_lists),
            signer,
            spool: Spool::new(slice),
            message_size: slice.message_size,
            recipients: slice.recipients,
            hops: slice.hops,
            awaited: Awaited::new(),
            rates: Mutex::new(Rates::new(slice.rates)),
            begun: Instant::now(),
            progress: Arc::default(),
            away: AtomicBool::new(false),
            log_limit: LogLimit::new(),
            memory: memory::of(memory::TOTAL),
            turns: FrameTurns::new(),
            sessions: Arc::default(),
            logins: Arc::default(),
            check_from: slice.check_from,
            hide_client: slice.hide_client,
            inbox: Mutex::new(Inbox::default()),
        })
    }

    /// Tells the observer how much there is now.
    pub(crate) fn tell_gauges(&self) {
        let [idle, transaction, delivering] = self.progress.count();
        let mut sums = [0_u64; 3];
        for (_, destination) in self.routes.all() {
            for (sum, count) in sums.iter_mut().zip(destination.connections.count()) {
                *sum = sum.saturating_add(count);
            }
        }
        let [connections, connections_max, waiting] = sums.map(|sum| u32::try_from(sum).unwrap_or(u32::MAX));
        gatepost_log::gauge(Gauges::Handoff { idle, transaction, delivering, connections, connections_max, waiting });
    }

    /// Whether nothing can be taken, because no backend at all has passed its proof.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Says so.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
    }

    /// Looks up, or notes, what clients have sent, at the present time.
    pub(crate) fn rates<T>(&self, rates: impl FnOnce(&mut Rates, u64) -> T) -> T {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        rates(&mut self.rates.lock().unwrap_or_else(PoisonError::into_inner), now)
    }

    /// Removes what a killed process has left in the spool, and makes sure that a content file can be made.
    ///
    /// # Errors
    /// It can't be made.
    pub(crate) fn prepare_spool(&self) -> Result<(), RoleError> {
        let ready = self.spool.clean().and_then(|removed| {
            if removed > 0 {
                tracing::warn!("removed {removed} content files that an earlier process has left");
            }
            self.spool.free().map(drop)
        });
        ready.map_err(RoleError::system(
            "keep content files in the directory content of the spool, which must be handoff's",
        ))
    }

    /// The tables that are in force.
    pub(crate) fn tables(&self) -> Arc<InForce> {
        Arc::clone(&self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other tables into force.
    ///
    /// # Errors
    /// They can't be read: the launcher has checked them.
    pub(crate) fn renew_tables(&self, memory: OwnedFd) -> Result<(), RoleError> {
        let octets = gatepost_role::octets(memory).map_err(RoleError::system("read the tables"))?;
        let slice = TablesSlice::from_bytes(&octets).map_err(RoleError::given("tables"))?;
        let tables = InForce::new(slice, &self.tables().locals)?;
        *self.tables.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(tables);
        Ok(())
    }

    /// What is offered to a client now.
    pub(crate) fn offer(&self) -> Offer {
        self.routes.offer(self.message_size, self.recipients)
    }
}
