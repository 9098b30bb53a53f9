//! A message whose content is complete: to the backend, and its answer to the client.

use super::{Session, SessionError, empty};
use crate::backend::{Asking, DeliveryError, Message};
use crate::identity::Client;
use crate::outcome::Outcome;
use crate::routes::Destination;
use crate::several::Answers;
use crate::shared::Shared;
use crate::spool::ContentFile;
use crate::submitted::header_of;
use crate::transaction::Transaction;
use crate::verdict;
use crate::violation::Violation;
use gatepost_policy::share::Origin;
use gatepost_smtp::names::HostName;
use gatepost_smtp::received::{Received, Said, With};
use gatepost_smtp::submission::{Header, Stamp};
use gatepost_wire::session::Answer;
use std::io;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

/// Seconds since 1970.
fn now() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

impl Session {
    /// The content is complete and the client has committed.
    pub(super) async fn commit(&mut self, transaction: &Transaction, length: u64) -> Result<(), SessionError> {
        let asked = Instant::now();
        let answers = if self.entry.is_leaving() {
            Answers::one(verdict::RECLAIMED.into())
        } else {
            self.deliver(transaction, length).await?
        };
        let waited = &mut self.running.waited;
        waited.backend = waited.backend.saturating_add(asked.elapsed());
        let Answers { results, each, all: outcome } = &answers;
        self.protocol.committed(outcome.verdict.code < 400);
        for outcome in results.iter().filter(|_| *each) {
            self.tell_slowly(&Answer::Recipient { verdict: outcome.verdict, text: outcome.text() }).await?;
        }
        // The answer first: until the client has it, it may send the message again (RFC 1047).
        let answered = self.tell_slowly(&Answer::Verdict { verdict: outcome.verdict, text: outcome.text() }).await;
        self.entry.end_delivery();
        let taken = outcome.verdict.code < 400;
        if taken {
            let origin = self.origin();
            self.shared.rates(|rates, now| rates.taken(origin, now));
        }
        self.delivered = self.delivered.saturating_add(u32::from(taken));
        let running = std::mem::take(&mut self.running);
        if taken || self.shared.log_limit.permits(self.open.counted()) {
            let limit = Some(&self.shared.log_limit).filter(|_| !taken);
            self.telling(running, transaction, length).all(&answers, limit).await;
        }
        if transaction.filed {
            empty(&mut self.file);
        }
        answered
    }

    async fn deliver(&mut self, transaction: &Transaction, length: u64) -> Result<Answers, SessionError> {
        let file = if transaction.filed { self.file.as_mut() } else { None };
        let (granted, filed) = file.as_ref().map_or((0, Ok(0)), |file| (file.granted(), file.length()));
        let (Some(inline), Ok(filed)) = (transaction.inline(), filed) else {
            return Ok(Answers::one(verdict::NO_SPACE.into()));
        };
        if filed > granted {
            return Err(Violation::Overgrown.into());
        }
        file.map(ContentFile::complete);
        let received = u64::try_from(inline.len()).unwrap_or(u64::MAX).saturating_add(filed);
        if received != length {
            return Err(Violation::Length { stated: length, received }.into());
        }
        if length > self.message_size() {
            return Ok(Answers::one(verdict::TOO_LARGE.into()));
        }
        let mut front = self.received(transaction);
        if let Some(login) = self.login.clone() {
            let file = self.file.as_mut().filter(|_| transaction.filed).map(|file| (file, filed));
            match header_of(inline, file) {
                Ok(header) => {
                    if let Some(refusal) = self.refused_as_author(&login, &header) {
                        return Ok(Answers::one(refusal.into()));
                    }
                    self.complete(transaction, &header, &mut front);
                }
                Err(e) => {
                    return Ok(Answers::one(Outcome::of_error(
                        &DeliveryError::File(e),
                        &self.shared.log_limit,
                        &self.open,
                    )));
                }
            }
        }
        // Every path from here on puts the file back: a session that kept its descriptor must not get a second file.
        let mut file = if transaction.filed { self.file.take() } else { None };
        let shared = Arc::clone(&self.shared);
        let id = shared.routes.of_transaction(transaction).unwrap_or_default();
        self.turn_to(id);
        let mut message = Message {
            received: &front,
            inline,
            file: file.as_mut().map(|file| (file, filed)),
            own_id: &shared.hostname,
            hops: shared.hops,
            have: Vec::new(),
            permit: self.entry.permit(),
        };
        let done = if shared.routes.at(id).route.answers_each() {
            let done = self.deliver_each(transaction, &mut message).await;
            done.unwrap_or_else(|e| {
                Answers::one(Outcome::of_error(&DeliveryError::File(e), &self.shared.log_limit, &self.open))
            })
        } else {
            let outcome = self.hand_over(transaction, &mut message).await.pop();
            Answers::one(outcome.unwrap_or(verdict::INTERNAL.into()))
        };
        if file.is_some() {
            self.file = file;
        }
        Ok(done)
    }

    /// Adds what RFC 6409 §8 demands of a submitted message and it lacks.
    fn complete(&mut self, transaction: &Transaction, header: &Header, out: &mut Vec<u8>) {
        let unique = format!("{}.{}", self.open.id, transaction.number);
        let stamp = Stamp { seconds: now(), unique: &unique, host: self.shared.hostname.as_bytes() };
        stamp.complete(header.has_date(), header.has_message_id(), out);
        self.running.message_id = (!header.has_message_id()).then(|| stamp.message_id());
    }

    /// Delivers to all who do not have it yet, and makes one answer of the backend's answers.
    async fn deliver_each(&mut self, transaction: &Transaction, message: &mut Message<'_>) -> io::Result<Answers> {
        let (shared, origin) = (Arc::clone(&self.shared), Origin::of(self.open.counted()));
        let delivery = shared.awaited.begin(origin, transaction, message).await?;
        let all_have = !message.have.contains(&false);
        let outcomes = if all_have { Vec::new() } else { self.hand_over(transaction, message).await };
        delivery.end(outcomes, message).await
    }

    /// One outcome for all, or as many as the backend was to answer.
    async fn hand_over(&mut self, transaction: &Transaction, message: &mut Message<'_>) -> Vec<Outcome> {
        let Shared { routes, spool, .. } = &*self.shared;
        let Destination { route, connections, texts, .. } = routes.at(self.connected);
        let client = Client::new(&self.open, &transaction.helo, self.names.now(), self.login.as_deref());
        let asking = Asking { connection: &mut self.connection, client, transaction, connections };
        let answers = message.have.iter().filter(|has| !**has).count().max(1);
        let outcomes = route.deliver(asking, message, spool).await.unwrap_or_else(|e| {
            let outcome = Outcome::of_error(&e, &self.shared.log_limit, &self.open);
            (0..answers).map(|_| outcome.clone()).collect()
        });
        outcomes.into_iter().map(|outcome| outcome.with_texts(*texts)).collect()
    }

    fn received(&mut self, transaction: &Transaction) -> Vec<u8> {
        let mut field = Vec::with_capacity(512);
        let recipient = match transaction.recipients() {
            [recipient] => Some(recipient.path()),
            _ => None,
        };
        Received {
            helo: &transaction.helo.name,
            address: self.open.client.ip(),
            said: match (self.open.user.zip(self.login.as_deref()), &self.login) {
                (Some((uid, name)), _) => Said::User(uid, name),
                (None, Some(_)) if self.shared.hide_client => Said::Nothing,
                _ => Said::All,
            },
            name: self.names.now().confirmed.known().map(HostName::as_str),
            by: &self.shared.hostname,
            with: With::new(
                transaction.helo.esmtp,
                transaction.tls.is_some(),
                transaction.smtputf8(),
                self.login.is_some(),
            ),
            tls: transaction.tls.map(|tls| (tls.version, tls.suite)),
            id: &format!("{}.{}", self.open.id, transaction.number),
            recipient,
            date: now(),
        }
        .write(&mut field);
        field
    }
}
