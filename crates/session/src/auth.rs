//! Asking auth whether a client is who it says it is.

use crate::AuthEnd;
use gatepost_channel::Inbox;
use gatepost_smtp::envelope::Login;
use gatepost_smtp::sasl;
use gatepost_wire::AuthToSession;
use gatepost_wire::auth::{Claim, Judged};
use std::time::Duration;

/// Longest wait for an answer: longer than auth takes itself, so that the answer is auth's.
const WAIT: Duration = Duration::from_secs(60);

/// The session's side of its conversation with auth.
#[derive(Debug)]
pub(crate) struct Auth {
    /// None once it has failed: an answer that comes too late would be taken for that to another question.
    end: Option<AuthEnd>,
}

impl Auth {
    /// Without an end nobody's login is known.
    pub(crate) fn new(end: Option<AuthEnd>) -> Self {
        Self { end }
    }

    /// Asks, and waits for the answer. A failure of ours is never a yes.
    pub(crate) fn judge(&mut self, claim: &sasl::Claim<'_>) -> Login {
        let sasl::Claim { mechanism, user, pass, acts_for, challenge: _ } = *claim;
        // RFC 4616 §2: to act for somebody else is another permission, which there is none of.
        if !acts_for.is_empty() && acts_for != user {
            return Login::Refused;
        }
        let Some(end) = &self.end else { return Login::Unknown };
        let asked = end.seq().set_timeout(WAIT).is_ok() && end.tell_secret(&Claim { mechanism, user, pass }).is_ok();
        match end.recv(&mut Inbox::of::<AuthToSession>()) {
            Ok(Judged { login }) if asked => login,
            _ => {
                self.end = None;
                Login::Unknown
            }
        }
    }
}
