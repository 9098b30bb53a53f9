//! Where mail for each recipient goes: to `[backend]`, or to the backend of a `[[route]]`.
//!
//! A transaction has one backend, because a message that two have taken in part has no answer. It is that of the first
//! recipient; the others are told to come separately (452, RFC 5321 §4.5.3.1.10).

use crate::backend::{About, Connections, Failure, Route, RunQueue, Timeouts, offer};
use crate::transaction::Transaction;
use gatepost_policy::relay::{DomainFault, RelayTable};
use gatepost_role::RoleError;
use gatepost_smtp::envelope::Offer;
use gatepost_wire::known::KnownBackend;
use gatepost_wire::slice::{BackendSlice, HandoffSlice, route_name};
use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

/// One backend with all its places.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) route: Route,
    /// Connections to it, which clients share.
    pub(crate) connections: Arc<Connections>,
    /// The text of its refusals goes to the client.
    pub(crate) texts: bool,
    /// What it is called.
    pub(crate) name: String,
}

/// Which destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DestinationId {
    /// `[backend]`.
    #[default]
    Backend,
    /// That of the `[[route]]` with this index.
    Route(usize),
}

/// A `[[route]]`.
#[derive(Debug)]
struct Routed {
    domains: RelayTable,
    /// Whole addresses, lower case.
    recipients: BTreeSet<Vec<u8>>,
    destination: Destination,
}

/// All destinations.
#[derive(Debug)]
pub(crate) struct Routes {
    backend: Destination,
    /// The relay domains that are no route's.
    domains: RelayTable,
    routes: Vec<Routed>,
}

impl Routes {
    /// From our slice of the configuration. `timeouts` has the wait for `[backend]`'s last answer, each route its own. `queue` runs
    /// the queue program here; none: the queue role does.
    ///
    /// # Errors
    /// A domain that is none; settings of TLS that can't be used.
    pub(crate) fn new(
        slice: &HandoffSlice,
        about: &About<'_>,
        queue: Option<Box<dyn RunQueue>>,
    ) -> Result<Self, RoleError> {
        let mut first = about.first;
        let mut destination = |name, backend: &BackendSlice, timeouts: Timeouts, queue| {
            let about = About { first, timeouts, ..*about };
            first = first.saturating_add(backend.connect.len());
            let route = Route::new(backend, &about, queue).map_err(RoleError::given("TLS towards the backend"))?;
            let connections = Connections::new(backend.connections, timeouts.queue);
            Ok::<_, RoleError>(Destination { route, connections, texts: backend.texts, name })
        };
        let backend = destination("the backend".to_owned(), &slice.backend, about.timeouts, queue)?;
        let mut routes = Vec::with_capacity(slice.routes.len());
        for route in &slice.routes {
            let name = route_name(&route.domains, &route.recipients);
            let end = Duration::from_secs(route.backend.reply_timeout.into());
            routes.push(Routed {
                domains: table(&route.domains)?,
                recipients: route.recipients.iter().map(|address| address.to_ascii_lowercase().into()).collect(),
                destination: destination(name, &route.backend, Timeouts { end, ..about.timeouts }, None)?,
            });
        }
        Ok(Self { backend, domains: table(&slice.domains)?, routes })
    }

    /// All of them, `[backend]` first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (DestinationId, &Destination)> {
        let routes =
            self.routes.iter().enumerate().map(|(index, route)| (DestinationId::Route(index), &route.destination));
        iter::once((DestinationId::Backend, &self.backend)).chain(routes)
    }

    /// The one with that `id`.
    pub(crate) fn at(&self, id: DestinationId) -> &Destination {
        match id {
            DestinationId::Backend => None,
            DestinationId::Route(index) => self.routes.get(index),
        }
        .map_or(&self.backend, |route| &route.destination)
    }

    /// Where mail for this forward-path goes: as its whole address says, else the longest entry that covers its domain, else to
    /// `[backend]`.
    pub(crate) fn of(&self, local_part: &[u8], domain: Option<&[u8]>) -> DestinationId {
        let (Some(domain), false) = (domain, self.routes.is_empty()) else { return DestinationId::Backend };
        let address = [local_part, b"@", domain].concat().to_ascii_lowercase();
        if let Some(index) = self.routes.iter().position(|route| route.recipients.contains(&address)) {
            return DestinationId::Route(index);
        }
        let own = self.domains.longest(domain);
        let covering = self.routes.iter().enumerate().filter_map(|(index, route)| {
            let longest = route.domains.longest(domain)?;
            Some((longest, index))
        });
        match covering.max() {
            Some((longest, index)) if own.is_none_or(|own| longest >= own) => DestinationId::Route(index),
            _ => DestinationId::Backend,
        }
    }

    /// Where this transaction's message goes; none as long as it has no recipient.
    pub(crate) fn of_transaction(&self, transaction: &Transaction) -> Option<DestinationId> {
        let (local_part, domain) = transaction.recipients().first()?.parts();
        Some(self.of(local_part, domain))
    }

    /// Has all prove that they do not relay for a stranger, where they can be asked.
    ///
    /// # Errors
    /// The first final failure; else the last one.
    pub(crate) async fn prove(&self) -> Result<(), Failure> {
        let mut proved = Ok(());
        for (_, destination) in self.all() {
            match destination.route.prove().await {
                Err(failure) if failure.is_final() => return Err(failure),
                Err(failure) => proved = Err(failure),
                Ok(()) => {}
            }
        }
        proved
    }

    /// What is known of all backends, where that can be told to another process.
    pub(crate) fn known(&self) -> Option<Vec<KnownBackend>> {
        let each: Option<Vec<_>> = self.all().map(|(_, destination)| destination.route.known()).collect();
        each.map(|each| each.concat())
    }

    /// Takes for known what another process has learned. False: the backends have to be asked.
    #[must_use]
    pub(crate) fn recall(&self, known: &[KnownBackend]) -> bool {
        let left = self.all().try_fold(known, |known, (_, destination)| destination.route.recall(known));
        left.is_some_and(<[KnownBackend]>::is_empty)
    }

    /// What all known backends can do, within our own limits: where a recipient goes isn't known when EHLO is answered.
    pub(crate) fn offer(&self, size: u64, recipients: u16) -> Offer {
        let listed = self.all().flat_map(|(_, destination)| destination.route.listed());
        // LMTP answers for each recipient: see `crate::several`. Elsewhere one answer is for all, with PRDR as without.
        let prdr = self.all().any(|(_, destination)| destination.route.answers_each());
        Offer { prdr, ..offer(listed, size, recipients) }
    }
}

fn table(domains: &[String]) -> Result<RelayTable, RoleError> {
    RelayTable::new(domains).map_err(RoleError::given::<DomainFault>("relay domain"))
}
