//! AUTH: the checker that the admin named says yes or no.

use super::message::now;
use super::{Door, Say};
use gatepost_qmail::auth::{self, REFUSAL_DELAY};
use gatepost_qmail::replies;
use gatepost_qmail::spp::Phase;
use gatepost_wire::door::{Auth, Mechanism, Then};
use std::time::Duration;

impl Door {
    /// A challenge for CRAM-MD5. Kept here: what the session says it was is not believed.
    pub(super) fn challenge(&mut self) -> Say {
        let host = self.programs.auth_host.as_deref().unwrap_or(self.environment.local_name());
        self.challenge = auth::challenge(std::process::id(), now(), host);
        Say { lines: self.challenge.clone(), then: Then::Go }
    }

    pub(super) fn auth(&mut self, auth: &Auth<'_>) -> Say {
        let challenge = std::mem::take(&mut self.challenge);
        let (method, challenge) = match auth.mechanism {
            Mechanism::Plain => ("plain", &b""[..]),
            Mechanism::Login => ("login", &b""[..]),
            Mechanism::CramMd5 => ("cram", challenge.as_slice()),
        };
        if let Err(refusal) = self.ask_plugins(Phase::Auth) {
            return refusal;
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
            return Say::go();
        }
        if reply == replies::AUTH_FAILED {
            // As in the patches: guessing takes time.
            std::thread::sleep(Duration::from_secs(u64::from(REFUSAL_DELAY)));
        }
        Say::refused(&reply)
    }
}
