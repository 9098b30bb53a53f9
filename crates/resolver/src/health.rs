//! Whether a DNS list can be believed. Lists die, are sold, list the whole world when they end, or don't serve the name servers that ask
//! them, and say so by an answer that a careless reader takes for a listing. Pure: the caller says the time, in milliseconds of a
//! clock that does not go back.

use gatepost_smtp::names::Found;
use gatepost_wire::event::ListTrouble;
use gatepost_wire::names::CODES_MAX;
use std::net::{IpAddr, Ipv4Addr};

/// Time between two proofs of a list that is well, and of one that is left out, milliseconds.
const PROOFS: (u64, u64) = (3_600_000, 60_000);
/// Questions in a row without an answer after which a list is left out.
const FAILURES: u32 = 5;
/// The same trouble is told again after this time, milliseconds.
const TOLD: u64 = 3_600_000;

/// What one answer of a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It does not list what was asked.
    Unlisted,
    /// It does.
    Codes(Vec<Ipv4Addr>),
    /// It is of no use; with the last octet of 127.255.255.x.
    Trouble(ListTrouble, u8),
}

/// Judges one answer.
pub(crate) fn heard(found: &Found<Vec<IpAddr>>) -> Heard {
    let addresses = match found {
        Found::Temporary => return Heard::Trouble(ListTrouble::Silent, 0),
        Found::None => return Heard::Unlisted,
        Found::Known(addresses) => addresses,
    };
    let mut codes = Vec::new();
    for address in addresses.iter().take(CODES_MAX) {
        match address {
            IpAddr::V4(ip) => match ip.octets() {
                [127, 255, 255, code] => return Heard::Trouble(ListTrouble::Refusing, code),
                [127, ..] => codes.push(*ip),
                _ => return Heard::Trouble(ListTrouble::Foreign, 0),
            },
            IpAddr::V6(_) => return Heard::Trouble(ListTrouble::Foreign, 0),
        }
    }
    if codes.is_empty() { Heard::Unlisted } else { Heard::Codes(codes) }
}

/// Something to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The list is of no use, or for [`ListTrouble::ListsNothing`] perhaps.
    Trouble(ListTrouble, u8),
    /// It is again.
    Recovered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    Unproved,
    Well,
    Out,
}

/// What is known of one list.
#[derive(Debug)]
pub(crate) struct Health {
    state: State,
    failures: u32,
    /// When it is to be proved.
    next: u64,
    told: Option<(ListTrouble, u64)>,
}

impl Health {
    /// Of a list that was not asked yet: it is left out until it is proved.
    pub(crate) fn new() -> Self {
        Self { state: State::Unproved, failures: 0, next: 0, told: None }
    }

    /// What it says counts.
    pub(crate) fn is_well(&self) -> bool {
        self.state == State::Well
    }

    /// What it says counts, and it lists what every list does.
    pub(crate) fn is_proved(&self) -> bool {
        self.is_well() && self.told.is_none()
    }

    /// Whether what it says counts, and why not.
    pub(crate) fn describe(&self) -> String {
        match (self.state, self.told) {
            (State::Unproved, _) => "has not been asked yet, and is left out until it was".to_owned(),
            (State::Well, Some((why, _))) => format!("counts: {why:?}"),
            (State::Well, None) => "counts".to_owned(),
            (State::Out, Some((why, _))) => format!("left out: {why:?}"),
            (State::Out, None) => "left out".to_owned(),
        }
    }

    /// It is time to prove it.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.next
    }

    /// What it said of a client.
    pub(crate) fn answered(&mut self, heard: &Heard, now: u64) -> Option<Change> {
        match heard {
            Heard::Unlisted | Heard::Codes(_) => {
                self.failures = 0;
                None
            }
            Heard::Trouble(ListTrouble::Silent, _) if self.failures.saturating_add(1) < FAILURES => {
                self.failures = self.failures.saturating_add(1);
                None
            }
            Heard::Trouble(why, code) => self.leave_out(*why, *code, now),
        }
    }

    /// What it said of what no list lists, and of what every list does (RFC 5782 §5).
    pub(crate) fn proved(&mut self, never: &Heard, always: &Heard, now: u64) -> Option<Change> {
        match (never, always) {
            (Heard::Trouble(why, code), _) | (_, Heard::Trouble(why, code)) => self.leave_out(*why, *code, now),
            (Heard::Codes(_), _) => self.leave_out(ListTrouble::ListsAll, 0, now),
            (Heard::Unlisted, always) => {
                let before = std::mem::replace(&mut self.state, State::Well);
                self.failures = 0;
                self.next = now.saturating_add(PROOFS.0);
                if *always == Heard::Unlisted {
                    return self.tell(ListTrouble::ListsNothing, 0, now);
                }
                self.told = None;
                (before == State::Out).then_some(Change::Recovered)
            }
        }
    }

    /// Its first proof has no end yet. It goes on, and what comes of it counts.
    pub(crate) fn overdue(&mut self, now: u64) -> Option<Change> {
        if self.state == State::Unproved { self.leave_out(ListTrouble::Silent, 0, now) } else { None }
    }

    fn leave_out(&mut self, why: ListTrouble, code: u8, now: u64) -> Option<Change> {
        self.state = State::Out;
        self.failures = 0;
        self.next = now.saturating_add(PROOFS.1);
        self.tell(why, code, now)
    }

    fn tell(&mut self, why: ListTrouble, code: u8, now: u64) -> Option<Change> {
        let told = self.told.is_some_and(|(last, at)| last == why && now < at.saturating_add(TOLD));
        if told {
            return None;
        }
        self.told = Some((why, now));
        Some(Change::Trouble(why, code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(codes: &[&str]) -> Found<Vec<IpAddr>> {
        Found::Known(codes.iter().map(|code| code.parse().unwrap()).collect())
    }

    const LISTED: &str = "127.0.0.2";

    fn well() -> Health {
        let mut health = Health::new();
        assert!(!health.is_well() && health.is_due(0), "it is proved before it counts");
        assert_eq!(health.proved(&Heard::Unlisted, &heard(&codes(&[LISTED])), 0), None);
        assert!(health.is_well() && !health.is_due(PROOFS.0 - 1) && health.is_due(PROOFS.0));
        assert!(health.is_proved());
        health
    }

    #[test]
    fn issue_12_a_list_without_an_answer_in_time_is_told_and_may_still_answer() {
        let mut health = Health::new();
        assert_eq!(health.overdue(3_000), Some(Change::Trouble(ListTrouble::Silent, 0)));
        assert!(!health.is_well() && !health.is_due(3_000 + PROOFS.1 - 1));
        assert_eq!(health.proved(&Heard::Unlisted, &heard(&codes(&[LISTED])), 4_000), Some(Change::Recovered));
        assert!(health.is_proved());
        // One that is proved owes nothing.
        assert_eq!(health.overdue(5_000), None);
        assert!(health.is_well());
    }

    #[test]
    fn issue_12_only_127_is_a_listing_and_an_error_code_is_none() {
        let ip = |text: &str| text.parse().unwrap();
        for (found, right) in [
            (Found::None, Heard::Unlisted),
            (Found::Temporary, Heard::Trouble(ListTrouble::Silent, 0)),
            (codes(&[LISTED]), Heard::Codes(vec![ip(LISTED)])),
            (codes(&["127.0.0.2", "127.0.0.10"]), Heard::Codes(vec![ip("127.0.0.2"), ip("127.0.0.10")])),
            // Typing error, public resolver, too many questions; among others as well.
            (codes(&["127.255.255.252"]), Heard::Trouble(ListTrouble::Refusing, 252)),
            (codes(&["127.255.255.254"]), Heard::Trouble(ListTrouble::Refusing, 254)),
            (codes(&["127.0.0.2", "127.255.255.255"]), Heard::Trouble(ListTrouble::Refusing, 255)),
            // Somebody else's web server: the domain was sold.
            (codes(&["192.0.2.80"]), Heard::Trouble(ListTrouble::Foreign, 0)),
            (codes(&["127.0.0.2", "192.0.2.80"]), Heard::Trouble(ListTrouble::Foreign, 0)),
        ] {
            assert_eq!(heard(&found), right, "{found:?}");
        }
    }

    #[test]
    fn issue_12_a_list_is_left_out_until_it_is_proved_again() {
        let (listed, silent) = (heard(&codes(&[LISTED])), heard(&Found::Temporary));
        for (heard, times) in [
            (silent.clone(), FAILURES),
            (Heard::Trouble(ListTrouble::Refusing, 254), 1),
            (Heard::Trouble(ListTrouble::Foreign, 0), 1),
        ] {
            let mut health = well();
            for _ in 1..times {
                assert_eq!(health.answered(&heard, 1), None);
                assert!(health.is_well());
            }
            assert!(matches!(health.answered(&heard, 1), Some(Change::Trouble(..))));
            assert!(!health.is_well());
            // Told once, however often it is found again.
            assert_eq!(health.proved(&heard, &listed, 1 + PROOFS.1), None);
            assert!(!health.is_well());
            assert_eq!(health.proved(&Heard::Unlisted, &listed, 2 * PROOFS.1), Some(Change::Recovered));
            assert!(health.is_well());
        }
        // An answer in between: it is not dead.
        let mut health = well();
        for _ in 0..10 * FAILURES {
            assert_eq!(health.answered(&silent, 1), None);
            assert_eq!(health.answered(&Heard::Unlisted, 1), None);
        }
        assert!(health.is_well());
    }

    #[test]
    fn issue_12_a_list_that_lists_everybody_lists_nobody() {
        let listed = heard(&codes(&[LISTED]));
        let mut health = Health::new();
        assert_eq!(health.proved(&listed, &listed, 0), Some(Change::Trouble(ListTrouble::ListsAll, 0)));
        assert!(!health.is_well());
        // One without the usual entry is used, and that is said once an hour.
        let mut health = Health::new();
        let nothing = Some(Change::Trouble(ListTrouble::ListsNothing, 0));
        assert_eq!(health.proved(&Heard::Unlisted, &Heard::Unlisted, 0), nothing);
        assert!(health.is_well() && !health.is_proved());
        assert_eq!(health.proved(&Heard::Unlisted, &Heard::Unlisted, TOLD - 1), None);
        assert_eq!(health.proved(&Heard::Unlisted, &Heard::Unlisted, TOLD), nothing);
        assert_eq!(health.proved(&Heard::Unlisted, &listed, 2 * TOLD), None);
        assert!(health.is_proved());
    }
}
