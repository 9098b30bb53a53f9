//! What the log is told of a transaction: an event for each recipient, with what the client heard.

use crate::log_limit::LogLimit;
use crate::outcome::Outcome;
use crate::several::Answers;
use crate::transaction::{Recipient, Transaction};
use gatepost_smtp::header;
use gatepost_smtp::names::{Found, HostName};
use gatepost_wire::auth::LOGIN_MAX;
use gatepost_wire::event::{self, MESSAGE_ID_MAX, NoName, SAID_MAX};
use gatepost_wire::link::Open;
use std::sync::Arc;
use std::time::Duration;

/// Octets of a header in which a Message-ID is looked for.
const HEADER_MAX: usize = 32 * 1024;

/// How often an event is tried again that the observer has no room for, in all of a transaction, and after which time.
const TRIES: u32 = 100;
const WAIT: Duration = Duration::from_millis(5);

/// How long others were waited for in a transaction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waited {
    pub(crate) client: Duration,
    pub(crate) backend: Duration,
}

/// What all events of a transaction have in common.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    pub(crate) open: Open,
    /// The client's confirmed name.
    pub(crate) name: Found<HostName>,
    /// Who it has logged in as, or whose program it is.
    pub(crate) login: Option<Arc<str>>,
    pub(crate) transaction: &'a Transaction,
    /// The Message-ID that its content was given, because it had none.
    pub(crate) message_id: Option<Vec<u8>>,
    /// Octets of content.
    pub(crate) size: u64,
    /// From when it was heard of: with its first recipient.
    pub(crate) took: Duration,
    /// What of that was waiting.
    pub(crate) waited: Waited,
}

impl Telling<'_> {
    /// An event for each recipient. One that the observer has no room for is tried again, for a moment: whoever calls waits, nobody
    /// else. `limit`: by whom lines of what came to nothing are limited, of which the first is granted.
    pub(crate) async fn all(self, answers: &Answers, limit: Option<&LogLimit>) {
        let mut tries = TRIES;
        for (index, recipient) in self.transaction.recipients().iter().enumerate() {
            if index > 0 && limit.is_some_and(|limit| !limit.permits(self.open.counted())) {
                continue;
            }
            loop {
                let mut told = tries == 0;
                let result = answers.results.get(index).unwrap_or(&answers.all);
                let heard = if answers.each { result } else { &answers.all };
                self.recipient(recipient, index == 0, (heard, result), |event| match told {
                    true => gatepost_log::tell(*event),
                    false => told = gatepost_log::try_tell(*event),
                });
                if told {
                    break;
                }
                tries = tries.saturating_sub(1);
                tokio::time::sleep(WAIT).await;
            }
        }
    }

    /// As [`Telling::all`], without waiting.
    pub(crate) fn now(&self, outcome: &Outcome, limit: &LogLimit) {
        for (index, recipient) in self.transaction.recipients().iter().enumerate() {
            if index == 0 || limit.permits(self.open.counted()) {
                self.recipient(recipient, index == 0, (outcome, outcome), |event| gatepost_log::tell(*event));
            }
        }
    }

    /// What became of the message for `recipient`: what the client heard of it, and what the backend said, which differs where
    /// one answer stands for several recipients.
    pub(crate) fn recipient(
        &self,
        recipient: &Recipient,
        first: bool,
        (heard, result): (&Outcome, &Outcome),
        see: impl FnOnce(&event::Recipient<'_>),
    ) {
        let Self { open, transaction, .. } = self;
        let (text, said) = (heard.heard(), result.backend_said());
        let content = transaction.inline().unwrap_or_default();
        let header = content.get(..HEADER_MAX).unwrap_or(content);
        see(&event::Recipient {
            session: open.id,
            transaction: transaction.number,
            first,
            client: open.client,
            name: self.name.known().map(|name| name.as_str().as_bytes()),
            no_name: NoName::of(&self.name),
            login: self.login.as_deref().map(|login| cut(login.as_bytes(), LOGIN_MAX)),
            helo: &transaction.helo.name,
            from: transaction.reverse_path(),
            to: recipient.path(),
            size: self.size,
            tls: transaction.tls,
            message_id: self
                .message_id
                .as_deref()
                .or_else(|| header::value(header, b"message-id"))
                .map(|id| cut(id, MESSAGE_ID_MAX)),
            reply: heard.verdict.code,
            enhanced: heard.verdict.enhanced,
            reason: heard.verdict.reason,
            heard: cut(text.as_bytes(), SAID_MAX),
            backend: result.backend().unwrap_or_default(),
            said: said.as_deref().map(|text| cut(text.as_bytes(), SAID_MAX)),
            failure: result.failure().or(heard.failure()).map(|text| cut(text.as_bytes(), SAID_MAX)),
            took_ms: milliseconds(self.took),
            client_ms: milliseconds(self.waited.client),
            backend_ms: milliseconds(self.waited.backend),
        });
    }
}

fn cut(text: &[u8], max: usize) -> &[u8] {
    text.get(..max).unwrap_or(text)
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
