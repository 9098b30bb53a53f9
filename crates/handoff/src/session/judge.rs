//! What our own rules say of a recipient, before the backend is asked.

use super::Session;
use crate::outcome::Outcome;
use crate::shared::InForce;
use crate::transaction::Recipient;
use crate::verdict;
use gatepost_policy::local_part;
use gatepost_policy::relay::{Judgement, is_literal_of};
use gatepost_policy::share::Origin;
use gatepost_policy::tables::{Address, Question};
use gatepost_smtp::envelope::{Service, Verdict};
use gatepost_smtp::submission::Header;
use std::io;

impl Session {
    /// Why a recipient is refused without asking the backend.
    pub(super) fn refusal(&mut self, recipient: &Recipient) -> Option<Verdict> {
        let (name, domain) = recipient.parts();
        let address = Address { local_part: name, domain };
        let relay = &self.shared.relay;
        let trusted = self.is_trusted();
        let listed = match domain.map_or(Ok(false), |domain| self.shared.tables().tables.takes(domain)) {
            Ok(listed) => listed,
            Err(e) => return Some(self.unsearched(&e)),
        };
        let judgement = relay.judge_as(name, domain, trusted, listed);
        // RFC 5321 §4.5.1: whoever knows nothing but our address can write to the postmaster.
        let literal = || domain.is_some_and(|domain| is_literal_of(domain, self.open.local.ip()));
        if judgement != Judgement::Allow && !(address.is_always_reachable() && literal()) {
            return Some(verdict::RELAY_DENIED);
        }
        if let Some(refusal) = self.refused_by_tables(address, trusted, listed) {
            return Some(refusal);
        }
        let offer = self.offer();
        let transaction = self.protocol.transaction()?;
        if transaction.sender().is_some_and(local_part::can_run) {
            return Some(verdict::BAD_SENDER);
        }
        let path = transaction.reverse_path().to_vec();
        if let Some(login) = &self.login
            && let Some(refusal) = self.refused_as(login, &path, verdict::NOT_YOURS)
        {
            return Some(refusal);
        }
        let transaction = self.protocol.transaction()?;
        let origin = Origin::of(self.open.counted());
        if transaction.recipients().len() >= usize::from(offer.recipients)
            || self.shared.awaited.parts(origin, transaction, recipient)
        {
            return Some(verdict::TOO_MANY);
        }
        let routes = &self.shared.routes;
        if routes.of_transaction(transaction).is_some_and(|id| id != routes.of(name, domain)) {
            return Some(verdict::OTHER_BACKEND);
        }
        if transaction.has_room_for(recipient) { None } else { Some(verdict::NO_SPACE) }
    }

    /// The client may send to any domain.
    fn is_trusted(&self) -> bool {
        self.open.relay || self.login.is_some() || self.shared.relay.is_client(self.open.client.ip())
    }

    /// Why lists have a recipient refused for what the client calls itself.
    pub(super) async fn listed(&mut self, recipient: &Recipient) -> Option<Outcome> {
        let (local_part, domain) = recipient.parts();
        let stranger = self.open.service == Service::Relay && !self.open.exempt && !self.is_trusted();
        if self.shared.helo_lists.is_empty() || !stranger || (Address { local_part, domain }).is_always_reachable() {
            return None;
        }
        let helo = self.protocol.transaction()?.helo.name.as_slice();
        self.of_helo.refusal(&self.shared, &self.open, helo).await
    }

    /// Why the backend is not asked about one more recipient of this client's now.
    pub(super) fn too_often(&mut self) -> Option<Verdict> {
        let origin = (!self.open.exempt).then(|| self.origin());
        let login = self.login.as_deref();
        let transaction = self.protocol.transaction()?;
        let refusal = self.shared.rates(|rates, now| rates.ask(origin, login, !transaction.measured, now));
        transaction.measured |= refusal.is_none();
        refusal
    }

    /// What the admin's tables say.
    fn refused_by_tables(&mut self, recipient: Address<'_>, trusted: bool, listed: bool) -> Option<Verdict> {
        let in_force = self.shared.tables();
        let own = listed || recipient.domain.is_some_and(|domain| self.shared.relay.domains.covers(domain));
        let transaction = self.protocol.transaction()?;
        let (helo, sender) = (transaction.helo.name.as_slice(), transaction.sender_address());
        match in_force.tables.judge(&Question { helo, sender, recipient, trusted, own }) {
            Ok(finding) => verdict::of_finding(finding),
            Err(e) => Some(self.unsearched(&e)),
        }
    }

    /// `refusal`, unless `login` may send from `address`, which is without brackets.
    pub(super) fn refused_as(&self, login: &str, address: &[u8], refusal: Verdict) -> Option<Verdict> {
        let InForce { tables, locals } = &*self.shared.tables();
        let may = match self.open.service {
            Service::Local => Ok(locals.permits(login, address)),
            Service::Relay | Service::Submission => tables.permitted().permits(login, address),
        };
        match may {
            Ok(true) => None,
            Ok(false) => Some(refusal),
            Err(e) => Some(self.unsearched(&e)),
        }
    }

    /// Why `login` may not send a message whose header says that it is from these authors.
    pub(super) fn refused_as_author(&self, login: &str, header: &Header) -> Option<Verdict> {
        if !self.shared.check_from || self.open.service != Service::Submission {
            return None;
        }
        let Some(authors) = header.authors() else { return Some(verdict::NOT_YOUR_FROM) };
        authors.iter().find_map(|author| self.refused_as(login, author, verdict::NOT_YOUR_FROM))
    }

    fn unsearched(&self, why: &io::Error) -> Verdict {
        if self.shared.log_limit.permits(self.open.counted()) {
            tracing::error!(
                "a table of [senders], [recipients], [helo], [submission] or [relay] can't be searched, so mail waits: {why}"
            );
        }
        verdict::INTERNAL
    }

    /// The recipient is refused no more: see [`crate::several`].
    pub(super) fn has_one(&mut self, recipient: &Recipient) -> bool {
        let origin = Origin::of(self.open.counted());
        let transaction = self.protocol.transaction();
        transaction.is_some_and(|transaction| self.shared.awaited.has_one(origin, transaction, recipient))
    }
}
