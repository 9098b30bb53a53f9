//! Asking auth whether a client is who it says it is.

use crate::AuthEnd;
use gatepost_channel::Inbox;
use gatepost_smtp::envelope::Login;
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_smtp::sasl;
use gatepost_smtp::server::Said;
use gatepost_wire::AuthToSession;
use gatepost_wire::auth::{Answered, Asked, Begin, Claim, Response};
use std::time::Duration;

/// Longest wait for an answer: longer than auth takes itself, so that the answer is auth's.
const WAIT: Duration = Duration::from_secs(60);
/// Longest wait for what can be offered.
const OFFER_WAIT: Duration = Duration::from_secs(15);

/// The session's side of its conversation with auth.
#[derive(Debug)]
pub(crate) struct Auth {
    /// None once it has failed: an answer that comes too late would be taken for that to another question.
    end: Option<AuthEnd>,
}

/// What auth says to what the client said.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The client must answer this.
    Challenge(Vec<u8>),
    /// Whether it is who it says it is.
    Judged(Login),
}

impl Auth {
    /// Without an end nobody's login is known.
    pub(crate) fn new(end: Option<AuthEnd>) -> Self {
        Self { end }
    }

    /// By which mechanisms the client can log in: auth says it before anything else. Where it does not, those that any source has, by
    /// which nobody can log in then.
    pub(crate) fn offer(&mut self) -> Mechanisms {
        let said = self.end.as_ref().map(|end| {
            end.seq().set_timeout(OFFER_WAIT).is_ok().then(|| match end.recv(&mut Inbox::of::<AuthToSession>()) {
                Ok(Answered::Offer(mechanisms)) => Some(mechanisms),
                _ => None,
            })
        });
        said.flatten().flatten().unwrap_or_else(|| {
            self.end = None;
            Mechanisms::PASSWORD
        })
    }

    /// Asks, and waits for the answer. A failure of ours is never a yes.
    pub(crate) fn judge(&mut self, said: &Said<'_>) -> Reply {
        let asked = match said {
            // RFC 4616 §2: to act for somebody else is another permission, which there is none of.
            Said::Claim(sasl::Claim { user, acts_for, .. }) if !acts_for.is_empty() && acts_for != user => {
                return Reply::Judged(Login::Refused);
            }
            Said::Claim(sasl::Claim { mechanism, user, pass, .. }) => {
                Asked::Claim(Claim { mechanism: *mechanism, user, pass })
            }
            Said::Response(sasl::Response { mechanism, first: true, octets }) => {
                Asked::Begin(Begin { mechanism: *mechanism, binding: None, response: octets })
            }
            Said::Response(sasl::Response { octets, .. }) => Asked::Response(Response { response: octets }),
        };
        let Some(end) = &self.end else { return Reply::Judged(Login::Unknown) };
        let asked = end.seq().set_timeout(WAIT).is_ok() && end.tell_secret(&asked).is_ok();
        match end.recv(&mut Inbox::of::<AuthToSession>()) {
            Ok(Answered::Judged(login)) if asked => Reply::Judged(login),
            Ok(Answered::Challenge(challenge)) if asked && matches!(said, Said::Response(_)) => {
                Reply::Challenge(challenge.to_vec())
            }
            _ => {
                self.end = None;
                Reply::Judged(Login::Unknown)
            }
        }
    }
}
