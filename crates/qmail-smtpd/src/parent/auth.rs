//! AUTH: the checker that the admin named says yes or no.

use super::message::now;
use super::{Offence, Parent, Say};
use gatepost_qmail::auth::{self, REFUSAL_DELAY};
use gatepost_qmail::replies;
use gatepost_qmail::spp::Phase;
use gatepost_smtp::envelope::{Mechanism, Then};
use gatepost_wire::parent::Auth;
use std::time::Duration;

impl Parent {
    /// A challenge for CRAM-MD5. Kept here: what the session says it was is not believed.
    pub(super) fn challenge(&mut self) -> Result<Say, Offence> {
        if !self.takes(Mechanism::CramMd5) {
            return Err(Offence::Untimely);
        }
        let host = self.programs.auth_host.as_deref().unwrap_or(self.environment.local_name());
        self.challenge = auth::challenge(std::process::id(), now(), host);
        Ok(Say { lines: self.challenge.clone(), then: Then::Go })
    }

    /// AUTH is offered by this mechanism, and nobody has logged in yet.
    fn takes(&self, mechanism: Mechanism) -> bool {
        self.user.is_none()
            && self.offer.is_some_and(|offer| match mechanism {
                Mechanism::Plain | Mechanism::Login => offer.plain,
                Mechanism::CramMd5 => offer.cram,
                _ => false,
            })
    }

    pub(super) fn auth(&mut self, auth: &Auth<'_>) -> Result<Say, Offence> {
        // The session has looked at all of this. An owned one has not: SMTPAUTH=- would be void, and an LDAP behind the
        // checker takes an empty password for an anonymous bind, which succeeds (RFC 4513 §5.1.2).
        let no_challenge = auth.mechanism == Mechanism::CramMd5 && self.challenge.is_empty();
        if !self.takes(auth.mechanism) || no_challenge || auth.user.is_empty() || auth.password.is_empty() {
            return Err(Offence::Untimely);
        }
        let challenge = std::mem::take(&mut self.challenge);
        let (method, challenge) = match auth.mechanism {
            Mechanism::Plain => ("plain", &b""[..]),
            Mechanism::Login => ("login", &b""[..]),
            Mechanism::CramMd5 => ("cram", challenge.as_slice()),
            // Taken above for none that has no password.
            _ => return Err(Offence::Untimely),
        };
        if let Err(refusal) = self.ask_plugins(Phase::Auth) {
            return Ok(refusal);
        }
        let reply = match auth::input(auth.user, auth.password, challenge) {
            Some(secret) => auth::verdict(self.programs.password(&self.environment, &secret)),
            None => replies::AUTH_FAILED,
        };
        if reply == replies::AUTH_OK {
            self.before_auth = Some(self.environment.clone());
            auth::authenticated(&mut self.environment, auth.user, method);
            self.user = Some(auth.user.to_vec());
            self.record.user(auth.user);
            return Ok(Say::go());
        }
        if reply == replies::AUTH_FAILED {
            // As in the patches: guessing takes time.
            std::thread::sleep(Duration::from_secs(u64::from(REFUSAL_DELAY)));
        }
        Ok(Say::refused(&reply))
    }
}
