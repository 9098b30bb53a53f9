//! Asking auth whether a client is who it says it is.

use crate::AuthEnd;
use gatepost_channel::Inbox;
use gatepost_smtp::envelope::{Login, Mechanism};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_smtp::sasl;
use gatepost_smtp::server::Said;
use gatepost_wire::AuthToSession;
use gatepost_wire::auth::{Answered, Asked, BINDING_LENGTH, Begin, Claim, Response};
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
    /// What it offers, once it has said it.
    offered: Mechanisms,
    /// What the client's TLS connection is bound by.
    binding: Option<[u8; BINDING_LENGTH]>,
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
        Self { end, offered: Mechanisms::PASSWORD, binding: None }
    }

    /// Hears by which mechanisms a client can log in: auth says it before anything else. Where it does not, those that any source has
    /// are offered, by which nobody can log in then.
    pub(crate) fn learn(&mut self) {
        let Some(end) = &self.end else { return };
        let timed = end.seq().set_timeout(OFFER_WAIT).is_ok();
        match end.recv(&mut Inbox::of::<AuthToSession>()) {
            Ok(Answered::Offer(mechanisms)) if timed => self.offered = mechanisms,
            _ => self.end = None,
        }
    }

    /// TLS is spoken: what that connection is bound by, if by anything.
    pub(crate) fn bind(&mut self, binding: Option<[u8; BINDING_LENGTH]>) {
        self.binding = binding;
    }

    /// What can be offered now.
    pub(crate) fn offer(&self) -> Mechanisms {
        if self.binding.is_some() { self.offered } else { self.offered.without(Mechanism::ScramSha256Plus) }
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
            Said::Response(sasl::Response { mechanism, first: true, octets }) => Asked::Begin(Begin {
                mechanism: *mechanism,
                binding: self.binding.as_ref().map(<[u8; BINDING_LENGTH]>::as_slice),
                response: octets,
            }),
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
