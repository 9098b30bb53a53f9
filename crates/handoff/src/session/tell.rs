//! What the log is told of a session and its transactions.

use super::{Running, Session, SessionError};
use crate::outcome::Outcome;
use crate::protocol::Refusal;
use crate::telling::Telling;
use crate::transaction::{Recipient, Transaction};
use gatepost_smtp::envelope::{CloseReason, Verdict};
use gatepost_wire::event::{self, NoName};
use gatepost_wire::link::Open;

impl Session {
    pub(super) fn tell_end(&self, ended: Result<CloseReason, SessionError>) {
        let Open { id: session, client, .. } = self.open;
        let (end, detail) = match ended {
            Ok(why @ CloseReason::ProxyHeader) => {
                tracing::warn!(
                    "session={session} client={client}: a PROXY header, but proxy_from of its [[listen]] does not name it"
                );
                (why, None)
            }
            Ok(why) => (why, self.protocol.detail().map(|detail| String::from_utf8_lossy(detail).into_owned())),
            // It ended before it said why: by a signal, or with its nursery.
            Err(SessionError::Gone(e)) => (CloseReason::Internal, Some(e.to_string())),
            // Our own code never does this: somebody has taken over the session.
            Err(SessionError::Hostile(violation)) => {
                let violation = violation.to_string();
                gatepost_log::tell(event::Owned { session, client, violation: violation.as_bytes() });
                (CloseReason::Abuse, Some(violation))
            }
        };
        gatepost_log::tell(event::Session {
            session,
            client,
            name: self.names.confirmed().known().map(|name| name.as_str().as_bytes()),
            no_name: NoName::of(self.names.confirmed()),
            transactions: self.protocol.transactions(),
            messages: self.delivered,
            end,
            why: detail.as_deref().map(str::as_bytes),
            seconds: u32::try_from(self.begun.elapsed().as_secs()).unwrap_or(u32::MAX),
        });
    }

    pub(super) fn telling<'a>(&self, running: Running, transaction: &'a Transaction, size: u64) -> Telling<'a> {
        let (took, name, login) = (running.took(), self.names.confirmed().clone(), self.login.clone());
        let Running { waited, message_id, .. } = running;
        Telling { open: self.open, name, login, transaction, message_id, size, took, waited }
    }

    /// A transaction that ended without a commit: the session refused it, or the client took it back or went away.
    pub(super) fn tell_dropped(&mut self, transaction: &Transaction) {
        let ended_by = self.protocol.take_ended_by().map(Outcome::of_session);
        let mut running = std::mem::take(&mut self.running);
        let refused = running.content_refused.take().or(ended_by);
        if !transaction.recipients().is_empty() && self.shared.log_limit.permits(self.open.counted()) {
            let outcome = refused.unwrap_or_else(Outcome::abandoned);
            let filed = if transaction.filed { self.filed() } else { 0 };
            self.telling(running, transaction, transaction.came().saturating_add(filed))
                .now(&outcome, &self.shared.log_limit);
        }
    }

    /// One that was refused is told at once: it is no part of the transaction.
    pub(super) fn tell_refused_recipient(&mut self, recipient: &Recipient, outcome: &Outcome) {
        let (took, waited) = (self.running.took(), self.running.waited);
        let (open, login) = (self.open, self.login.clone());
        if let Some(transaction) = self.protocol.transaction() {
            let name = self.names.confirmed().clone();
            let telling = Telling { open, name, login, transaction, message_id: None, size: 0, took, waited };
            telling.recipient(recipient, false, (outcome, outcome), |event| gatepost_log::tell(*event));
        }
    }

    pub(super) fn tell_refused(&self, refusal: &Refusal) {
        let Refusal { reply, count, line } = refusal;
        self.tell_refusal(&Outcome::of_session(*reply).verdict, reply.text, *count, line);
    }

    pub(super) fn tell_refusal(&self, verdict: &Verdict, heard: &str, count: u32, line: &[u8]) {
        if self.shared.log_limit.permits(self.open.counted()) {
            gatepost_log::tell(event::Refused {
                session: self.open.id,
                client: self.open.client,
                reply: verdict.code,
                enhanced: verdict.enhanced,
                heard: heard.as_bytes(),
                count,
                line,
            });
        }
    }
}
