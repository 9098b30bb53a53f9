//! The answer to an ask, and what the log says of it.

use crate::backend::{DeliveryError, Failure};
use crate::content::ContentError;
use crate::transaction::Transaction;
use crate::verdict::{self, Stage};
use gatepost_policy::ledger::Fate;
use gatepost_qmail::qmqp;
use gatepost_smtp::client::Reply;
use gatepost_smtp::envelope::{Class, Verdict};
use gatepost_smtp::text::Text;
use gatepost_wire::link::{Open, SessionId};
use gatepost_wire::queue::Done;
use std::io::ErrorKind;

/// The answer to an ask, and where it is from.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The code of the backend's reply, where that decided.
    backend: Option<u16>,
    /// Why there is no reply, or why the message must not be sent.
    failure: Option<String>,
    /// The text of a backend that has no codes: qmail's own `qp` number is in it.
    text: Option<String>,
    /// What the backend says of its refusal.
    pub(crate) said: Text,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, backend: None, failure: None, text: None, said: Text::none() }
    }
}

impl From<qmqp::Answer> for Outcome {
    fn from(answer: qmqp::Answer) -> Self {
        let refused = answer.class != Class::Accepted;
        Self {
            text: Some(answer.to_string()),
            said: if refused { Text::of([answer.text.as_slice()], false) } else { Text::none() },
            ..verdict::of_class(answer.class).into()
        }
    }
}

impl From<Done> for Outcome {
    fn from(done: Done) -> Self {
        let text = format!("qp {} {:?}", done.pid, done.end);
        Self { text: Some(text), ..verdict::of_class(done.class).into() }
    }
}

impl From<ContentError> for Outcome {
    fn from(e: ContentError) -> Self {
        Self { failure: Some(e.to_string()), ..e.verdict().into() }
    }
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Self {
        let said = if let Failure::Client(reply) = failure { verdict::text(reply, false) } else { Text::none() };
        Self { failure: Some(failure.to_string()), said, ..verdict::of_failure(failure).into() }
    }
}

impl Outcome {
    /// What became of the message.
    pub(crate) fn fate(&self) -> Fate {
        match self.verdict.code {
            ..400 => Fate::Delivered,
            400..500 => Fate::Later,
            _ => Fate::Never,
        }
    }

    /// What the backend replied. `utf8`: the client said SMTPUTF8.
    pub(crate) fn of_reply(stage: Stage, reply: &Reply, utf8: bool) -> Self {
        Self { said: verdict::text(reply, utf8), ..Self::of_backend(verdict::of_reply(stage, reply), reply) }
    }

    /// `verdict`, because of several results.
    pub(crate) fn of_several(verdict: Verdict, results: String) -> Self {
        Self { failure: Some(results), ..verdict.into() }
    }

    /// `verdict`, because of what the backend replied.
    pub(crate) fn of_backend(verdict: Verdict, reply: &Reply) -> Self {
        Self { backend: Some(reply.code), ..verdict.into() }
    }

    /// The backend gave no answer, or was not asked. What the operator has to know is logged at once.
    pub(crate) fn of_error(error: &DeliveryError, session: SessionId) -> Self {
        match error {
            DeliveryError::Unsent(e) | DeliveryError::Broken(e) => (*e).into(),
            DeliveryError::File(e) if e.kind() == ErrorKind::StorageFull => verdict::NO_SPACE.into(),
            DeliveryError::File(e) => {
                tracing::error!("session={session} content file: {e}");
                verdict::INTERNAL.into()
            }
            DeliveryError::Before(failure) => failure.into(),
            DeliveryError::After(failure) => {
                if !matches!(failure, Failure::Closing(_)) {
                    tracing::warn!("session={session} possible duplicate: {failure}");
                }
                failure.into()
            }
        }
    }

    /// Writes the line for a transaction. What the client wrote comes last, between quotes that it cannot end.
    pub(crate) fn log(&self, open: &Open, transaction: &Transaction, octets: u64) {
        let Verdict { code, enhanced: (class, subject, detail), reason } = self.verdict;
        tracing::info!(
            "session={}.{} client={} to={} refused={} octets={octets} reply={code} {class}.{subject}.{detail} \
             reason={reason:?} backend={} said=\"{}\" failure=\"{}\" helo=\"{}\" from=\"{}\"",
            open.id,
            transaction.number,
            open.client,
            transaction.recipients().len(),
            transaction.refused,
            self.backend.unwrap_or_default(),
            self.text.clone().unwrap_or_else(|| logged(&self.said)),
            self.failure.as_deref().unwrap_or_default(),
            transaction.helo.name.escape_ascii(),
            transaction.reverse_path().escape_ascii(),
        );
    }
}

/// A text as far as a line of the log has room for it.
fn logged(text: &Text) -> String {
    const LONGEST: usize = 500;
    text.to_string().chars().take(LONGEST).collect()
}
