//! How much mail the clients of one address, and whoever has logged in by one name, may send in a time. Who the client is, is what the
//! listener says; the login is what `auth` says.

use crate::verdict;
use gatepost_policy::rate::{Used, UsedByLogin};
use gatepost_policy::share::Origin;
use gatepost_smtp::envelope::Verdict;
use gatepost_wire::rate::MailRates;

/// What has been used of each rate.
#[derive(Debug)]
pub(crate) struct Rates {
    messages: Used,
    recipients: Used,
    refused: Used,
    by_login: UsedByLogin,
}

impl Rates {
    pub(crate) fn new(rates: MailRates) -> Self {
        let MailRates { messages, recipients, refused_recipients, login_recipients } = rates;
        Self {
            messages: Used::new(messages),
            recipients: Used::new(recipients),
            refused: Used::new(refused_recipients),
            by_login: UsedByLogin::new(login_recipients),
        }
    }

    /// Why the backend is not asked about one more recipient now; none: it is, and that is counted. `origin`: none for who is exempt.
    /// `first`: of its message, which is counted too.
    pub(crate) fn ask(
        &mut self,
        origin: Option<Origin>,
        login: Option<&str>,
        first: bool,
        now: u64,
    ) -> Option<Verdict> {
        let refusal = origin.and_then(|origin| self.refusal(origin, first, now));
        if refusal.is_some() {
            return refusal;
        }
        if login.is_some_and(|login| !self.by_login.may(login, now)) {
            return Some(verdict::LOGIN_RATE);
        }
        if let Some(origin) = origin {
            if first {
                self.messages.count(origin, now);
            }
            self.recipients.count(origin, now);
        }
        if let Some(login) = login {
            self.by_login.count(login, now);
        }
        None
    }

    fn refusal(&mut self, origin: Origin, first: bool, now: u64) -> Option<Verdict> {
        if !self.refused.may(origin, now) {
            return Some(verdict::REFUSAL_RATE);
        }
        if first && !self.messages.may(origin, now) {
            return Some(verdict::MESSAGE_RATE);
        }
        if !self.recipients.may(origin, now) {
            return Some(verdict::RECIPIENT_RATE);
        }
        None
    }

    /// A recipient was refused for good.
    pub(crate) fn refused(&mut self, origin: Origin, now: u64) {
        // Not beyond what the bucket holds: what is refused without asking costs nothing.
        if self.refused.may(origin, now) {
            self.refused.count(origin, now);
        }
    }

    /// A message was taken: its sender is no guesser of names. A list's dead recipients are forgiven with each living one.
    pub(crate) fn taken(&mut self, origin: Origin, now: u64) {
        self.refused.forgive(origin, now);
    }

    /// An admin forgives all that an address has used.
    pub(crate) fn forgive(&mut self, origin: Origin, now: u64) {
        for used in [&mut self.messages, &mut self.recipients, &mut self.refused] {
            used.forgive(origin, now);
        }
    }
}
