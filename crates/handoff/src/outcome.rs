//! The answer to an ask, and what the log says of it.

use crate::backend::{DeliveryError, Failure, Wait};
use crate::content::ContentError;
use crate::log_limit::LogLimit;
use crate::verdict::{self, Stage};
use gatepost_policy::partial_deliveries::DeliveryStatus;
use gatepost_qmail::qmqp;
use gatepost_smtp::client;
use gatepost_smtp::envelope::{Class, Reason, Verdict};
use gatepost_smtp::replies::Reply;
use gatepost_smtp::text::Text;
use gatepost_wire::event::SAID_MAX;
use gatepost_wire::link::Open;
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
    /// What the backend says where the client does not hear it: its id for a message that it took, or qmail's own `qp` number.
    text: Option<String>,
    /// What the backend says of its refusal, or a rule of ours where that has more to say than its verdict.
    said: Text,
    /// A rule of ours says it.
    ours: bool,
    /// The client doesn't hear that.
    hidden: bool,
    /// The text of the session's own reply, where that decided.
    heard: Option<&'static str>,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Self {
            verdict,
            backend: None,
            failure: None,
            text: None,
            said: Text::none(),
            ours: false,
            hidden: false,
            heard: None,
        }
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
        let said = match failure {
            // Before the envelope it says 421 to us: it does not know yet for whom we come.
            Failure::Closing(Wait::Greeting, _) => Text::none(),
            Failure::Client(reply) | Failure::Closing(_, reply) => verdict::text(reply, false),
            _ => Text::none(),
        };
        Self { failure: Some(failure.to_string()), said, ..verdict::of_failure(failure).into() }
    }
}

impl Outcome {
    /// What became of the message.
    pub(crate) fn status(&self) -> DeliveryStatus {
        match self.verdict.code {
            ..400 => DeliveryStatus::Delivered,
            400..500 => DeliveryStatus::Deferred,
            _ => DeliveryStatus::Refused,
        }
    }

    /// What the backend replied. `utf8`: the client said SMTPUTF8.
    pub(crate) fn of_reply(stage: Stage, reply: &client::Reply, utf8: bool) -> Self {
        let text = (stage == Stage::Content && reply.is_positive()).then(|| logged(&reply.text(utf8)));
        Self { text, said: verdict::text(reply, utf8), ..Self::of_backend(verdict::of_reply(stage, reply), reply) }
    }

    /// `verdict`, by a rule of our own that says so.
    pub(crate) fn of_rule(verdict: Verdict, said: Text) -> Self {
        Self { said, ours: true, ..verdict.into() }
    }

    /// `verdict`, because of several results.
    pub(crate) fn of_several(verdict: Verdict, results: String) -> Self {
        Self { failure: Some(results), ..verdict.into() }
    }

    /// `verdict`, because of what the backend replied.
    pub(crate) fn of_backend(verdict: Verdict, reply: &client::Reply) -> Self {
        Self { backend: Some(reply.code), ..verdict.into() }
    }

    /// The backend gave no answer, or was not asked. What the operator has to know is logged at once.
    pub(crate) fn of_error(error: &DeliveryError, limit: &LogLimit, open: &Open) -> Self {
        let session = open.id;
        match error {
            DeliveryError::Unsent(e) | DeliveryError::Broken(e) => (*e).into(),
            DeliveryError::Reclaimed => verdict::RECLAIMED.into(),
            DeliveryError::File(e) if e.kind() == ErrorKind::StorageFull => verdict::NO_SPACE.into(),
            DeliveryError::File(e) => {
                if limit.permits(open.counted()) {
                    tracing::error!("session={session} content file: {e}; its message was refused with 451");
                }
                verdict::INTERNAL.into()
            }
            DeliveryError::Before(failure) => failure.into(),
            DeliveryError::After(failure) => {
                if !matches!(failure, Failure::Closing(..)) && limit.permits(open.counted()) {
                    tracing::warn!(
                        "session={session} possible duplicate: {failure}; its client sends again what the backend may have taken"
                    );
                }
                failure.into()
            }
        }
    }

    /// The session ended the transaction by this reply of its own.
    pub(crate) fn of_session(reply: Reply) -> Self {
        let verdict = Verdict { code: reply.code, enhanced: reply.enhanced_code(), reason: Reason::Session };
        Self { heard: Some(reply.text), ..verdict.into() }
    }

    /// The client heard nothing about the content: it went away, or took the transaction back.
    pub(crate) fn abandoned() -> Self {
        Verdict { code: 0, enhanced: (0, 0, 0), reason: Reason::Abandoned }.into()
    }

    /// The same, and the client hears the backend's text only if `texts` is true.
    pub(crate) fn with_texts(self, texts: bool) -> Self {
        Self { hidden: !texts, ..self }
    }

    /// The backend's text for the client, if it is to hear one.
    pub(crate) fn text(&self) -> Text {
        if self.hidden { Text::none() } else { self.said.clone() }
    }

    /// The text that the client heard.
    pub(crate) fn heard(&self) -> String {
        match self.heard {
            Some(text) => text.to_owned(),
            None if !self.hidden && !self.said.is_none() => logged(&self.said),
            None if self.verdict.code == 0 => String::new(),
            None => self.verdict.reason.text().to_owned(),
        }
    }

    /// The code of the backend's reply, where that decided.
    pub(crate) fn backend(&self) -> Option<u16> {
        self.backend
    }

    /// The text of the backend's reply.
    pub(crate) fn backend_said(&self) -> Option<String> {
        self.text.clone().or_else(|| (!self.said.is_none() && !self.ours).then(|| logged(&self.said)))
    }

    /// Why there is no reply of the backend's, or why the message must not be sent.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

/// A text in one line, as far as an event has room for it.
fn logged(text: &Text) -> String {
    let line = text.lines().collect::<Vec<_>>().join(" / ");
    line.chars()
        .scan(0, |octets, character| {
            *octets += character.len_utf8();
            (*octets <= SAID_MAX).then_some(character)
        })
        .collect()
}
