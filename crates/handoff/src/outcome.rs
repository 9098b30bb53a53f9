//! The answer to an ask, and what the log says of it.

use crate::backend::{DeliveryError, Failure};
use crate::content::ContentError;
use crate::transaction::Transaction;
use crate::verdict;
use gatepost_qmail::qmqp;
use gatepost_smtp::envelope::Verdict;
use gatepost_wire::link::{Open, SessionId};
use gatepost_wire::queue::Done;

/// The answer to an ask, and where it is from.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// The code of the backend's reply, where that decided.
    backend: Option<u16>,
    /// Why there is no reply, or why the message must not be sent.
    failure: Option<String>,
    /// The text of a backend that has no codes: qmail's own `qp` number is in it.
    text: Option<String>,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, backend: None, failure: None, text: None }
    }
}

impl From<qmqp::Answer> for Outcome {
    fn from(answer: qmqp::Answer) -> Self {
        Self { text: Some(answer.to_string()), ..verdict::of_class(answer.class).into() }
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
        Self { failure: Some(failure.to_string()), ..verdict::of_failure(failure).into() }
    }
}

impl Outcome {
    /// The backend replied with `code`.
    pub(crate) fn of_backend(verdict: Verdict, code: u16) -> Self {
        Self { backend: Some(code), ..verdict.into() }
    }

    /// The backend gave no answer, or was not asked. What the operator has to know is logged at once.
    pub(crate) fn of_error(error: &DeliveryError, session: SessionId) -> Self {
        match error {
            DeliveryError::Unsent(e) | DeliveryError::Broken(e) => (*e).into(),
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
            self.text.as_deref().unwrap_or_default(),
            self.failure.as_deref().unwrap_or_default(),
            transaction.helo.name.escape_ascii(),
            transaction.reverse_path().escape_ascii(),
        );
    }
}
