//! Who is admitted, who waits, who has to leave, and that counting never drifts. Fairness of slots is in `law`.
#![allow(clippy::unwrap_used)] // Functions shared by tests, too.

use gatepost_policy::admission::{Admission, Admitted, Limits, Refusal, SlotClaim, WAITING_MAX};
use gatepost_policy::conduct::{Ending, Offence, REFUSED, SLOW_PAUSE, Sanction};
use gatepost_policy::networks::Networks;
use gatepost_policy::share::Action;
use gatepost_wire::rate::Rate;
use gatepost_wire::terms::{NetworksSlice, Terms, TermsFor};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Names its clients by counting them.
struct Clients {
    admission: Admission,
    last: u64,
    networks: Networks,
}

impl Clients {
    fn new(sessions: u32, sessions_per_address: u32) -> Self {
        Self::exempting(sessions, sessions_per_address, &[])
    }

    fn exempting(sessions: u32, sessions_per_address: u32, exempt: &[&str]) -> Self {
        let networks = exempt.iter().map(|network| network.parse().unwrap()).collect();
        let different = vec![TermsFor { networks, terms: Terms { exempt: true, ..Terms::default() } }];
        let networks = Networks::new(NetworksSlice { relay: Vec::new(), different });
        let limits = Limits { sessions, sessions_per_address, offences: 30, connections: None };
        Self { admission: Admission::new(limits), last: 0, networks }
    }

    fn admit(&mut self, ip: IpAddr, now: u64) -> Result<Admitted, Refusal> {
        self.last += 1;
        self.admission.admit(self.last, ip, &self.networks.terms(ip), now)
    }

    /// A slot that is free.
    fn enter(&mut self, client: &str, now: u64) -> SlotClaim {
        let admitted = self.admit(ip(client), now).unwrap();
        assert!(admitted.waits.is_none(), "{client} waits");
        admitted.claim
    }

    fn actions(&mut self) -> Vec<Action<u64>> {
        std::iter::from_fn(|| self.admission.poll()).collect()
    }
}

#[test]
fn one_address_gets_its_share_and_no_more() {
    // Each row: the address that holds two slots, then one that must count as the same, then one that must not.
    for (holder, same, other) in [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::1"),
        ("0.0.0.1", "::ffff:0.0.0.1", "::1"),
    ] {
        let mut clients = Clients::new(100, 2);
        let first = clients.enter(holder, 0);
        let second = clients.enter(holder, 0);
        // As many wait for one of these to end, and no more.
        let waiting: Vec<SlotClaim> = (0..2).map(|_| clients.admit(ip(same), 0).unwrap().claim).collect();
        let first_queued = clients.last - 1;
        assert_eq!(clients.admit(ip(same), 0), Err(Refusal::Address), "{same}");
        assert!(clients.admit(ip(other), 0).unwrap().waits.is_none(), "{other}");
        assert_eq!((clients.actions(), clients.admission.sessions(), clients.admission.waiting()), (vec![], 3, 2));
        clients.admission.release(first, 0);
        assert_eq!(clients.actions(), [Action::Grant(first_queued)], "{same} after a release");
        assert_eq!((clients.admission.sessions(), clients.admission.waiting()), (3, 1));
        for claim in waiting.into_iter().chain([second]) {
            clients.admission.release(claim, 0);
        }
        assert_eq!((clients.admission.sessions(), clients.admission.waiting()), (1, 0));
        assert!(clients.admit(ip(same), 0).unwrap().waits.is_none());
    }
}

#[test]
fn p13_a_newcomer_waits_for_the_oldest_session_of_the_fullest_address() {
    let mut clients = Clients::new(5, 5);
    let mut held: Vec<SlotClaim> =
        ["10.0.0.1", "10.0.0.1", "10.0.1.1", "10.0.0.1", "192.0.2.1"].map(|client| clients.enter(client, 0)).into();
    let newcomer = clients.admit(ip("2001:db8::1"), 1).unwrap();
    assert!(newcomer.waits.is_some());
    assert_eq!(clients.actions(), [Action::Reclaim(1)]);
    // It delivers a message, so that the next oldest has to leave instead.
    clients.admission.stays(1, 2);
    assert_eq!(clients.actions(), [Action::Reclaim(2)]);
    clients.admission.may_end(1);
    assert_eq!(clients.actions(), []);
    assert_eq!(clients.admission.ended(held.remove(1), Ending::default(), 3), None);
    assert_eq!(clients.actions(), [Action::Grant(6)]);
    // Whoever has most waits for what becomes free, and for a while only.
    let heavy = clients.admit(ip("10.0.0.1"), 4).unwrap();
    assert!(heavy.waits.is_some());
    assert_eq!((clients.actions(), clients.admission.waiting()), (vec![], 1));
    clients.admission.release(heavy.claim, 5);
    assert_eq!((clients.admission.sessions(), clients.admission.waiting()), (5, 0));
}

#[test]
fn p13_so_many_wait_and_no_more() {
    let mut clients = Clients::new(1, 1000);
    let _held = clients.enter("10.0.0.1", 0);
    for _ in 0..WAITING_MAX {
        assert!(clients.admit(ip("10.0.0.1"), 0).unwrap().waits.is_some());
    }
    assert_eq!(clients.admit(ip("10.0.0.1"), 0), Err(Refusal::Full));
    assert!(clients.admit(ip("192.0.2.1"), 0).unwrap().waits.is_some(), "instead of one of the heavier network");
    assert_eq!((clients.actions().len(), clients.admission.waiting()), (1, WAITING_MAX));
}

#[test]
fn p13_places_to_wait_for_ones_address_are_shared_too() {
    let mut clients = Clients::new(1000, 20);
    let heavy = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
    let mut claims = Vec::new();
    for n in 0..13 {
        for _ in 0..40 {
            claims.extend(clients.admit(heavy(n), 0).map(|admitted| admitted.claim));
        }
    }
    assert_eq!(clients.admission.waiting(), WAITING_MAX);
    clients.actions();
    for _ in 0..20 {
        assert!(clients.admit(ip("192.0.2.1"), 0).unwrap().waits.is_none());
    }
    assert!(clients.admit(ip("192.0.2.1"), 0).unwrap().waits.is_some());
    let actions = clients.actions();
    assert!(matches!(actions[..], [Action::Refuse(_)]), "one of the heavier network is refused: {actions:?}");
    for claim in claims {
        clients.admission.release(claim, 0);
    }
    assert_eq!((clients.admission.sessions(), clients.admission.waiting()), (20, 1));
}

#[test]
fn p13_conduct_decides_who_is_slowed_down_and_who_turned_away() {
    let abuse = Ending { offence: Some(Offence::Abuse), ..Ending::default() };
    for exempt in [&[][..], &["192.0.2.0/24"]] {
        let mut clients = Clients::exempting(100, 20, exempt);
        let offend = |clients: &mut Clients| {
            let claim = clients.enter("192.0.2.1", 0);
            clients.admission.ended(claim, abuse, 0)
        };
        let sanctions: Vec<Sanction> = (0..22).filter_map(|_| offend(&mut clients)).collect();
        let next = clients.admit(ip("192.0.2.1"), 1);
        if exempt.is_empty() {
            assert_eq!(sanctions, [Sanction::Slow, Sanction::Refused(REFUSED)]);
            assert_eq!(next, Err(Refusal::Penalty(REFUSED - 1)));
            assert_eq!(clients.admit(ip("192.0.2.1"), REFUSED).unwrap().pause, SLOW_PAUSE);
            assert_eq!(clients.admit(ip("192.0.2.2"), 1).unwrap().pause, 0, "a neighbour");
        } else {
            assert_eq!((sanctions, next.unwrap().pause), (vec![], 0));
        }
    }
}

#[test]
fn issue_12_connections_have_a_rate_but_for_those_who_are_exempt_and_those_who_get_none() {
    let mut clients = Clients::exempting(2, 100, &["198.51.100.0/24"]);
    clients.admission = Admission::new(Limits {
        sessions: 2,
        sessions_per_address: 100,
        offences: 30,
        connections: Some(Rate { count: 3, seconds: 60 }),
    });
    // Its own slots are all that there are: a third waits, and a fourth is one too many.
    let claims: Vec<SlotClaim> = (0..3).map(|_| clients.admit(ip("192.0.2.1"), 0).unwrap().claim).collect();
    assert_eq!(clients.admit(ip("192.0.2.1"), 0), Err(Refusal::Rate));
    for claim in claims {
        clients.admission.release(claim, 0);
    }
    assert_eq!(clients.admit(ip("192.0.2.1"), 0), Err(Refusal::Rate));
    let claim = clients.admit(ip("192.0.2.1"), 20_000).unwrap().claim;
    clients.admission.release(claim, 20_000);
    for _ in 0..100 {
        let claim = clients.admit(ip("198.51.100.1"), 0).unwrap().claim;
        clients.admission.release(claim, 0);
    }
}

#[test]
fn issue_12_stress_is_told_once_and_once_when_it_is_over() {
    let mut clients = Clients::new(8, 8);
    let mut claims = Vec::new();
    let mut told = Vec::new();
    for step in [1, 1, 1, 1, 1, 1, 1, -1, 1, -1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1] {
        if step > 0 {
            claims.push(clients.enter("10.0.0.1", 0));
        } else {
            clients.admission.release(claims.pop().unwrap(), 0);
        }
        told.extend(clients.admission.stress_has_changed().map(|begins| (begins, clients.admission.slots())));
    }
    assert_eq!(told, [(true, (7, 8)), (false, (4, 8))]);
}

#[test]
fn times_at_the_edge_do_not_overflow() {
    let mut clients = Clients::new(10, 10);
    let crash = Ending { crashed: true, ..Ending::default() };
    for now in [u64::MAX, u64::MAX - 1, 0, u64::MAX] {
        if let Ok(admitted) = clients.admit(ip("192.0.2.1"), now) {
            clients.admission.ended(admitted.claim, crash, now);
        }
    }
    assert_eq!(clients.admission.sessions(), 0);
}

#[test]
fn p6_newcomers_are_under_stress_beyond_three_quarters_of_the_slots() {
    for (slots, first) in [(1, None), (3, None), (4, Some(4)), (8, Some(7)), (10, Some(9)), (1000, Some(751))] {
        let mut clients = Clients::new(slots, slots);
        let mut claims = Vec::new();
        let found = (1..=slots).find(|_| {
            claims.push(clients.enter("10.0.0.1", 0));
            clients.admission.is_stressed()
        });
        assert_eq!(found, first, "{slots} slots");
        for claim in claims {
            clients.admission.release(claim, 0);
        }
        assert!(!clients.admission.is_stressed());
    }
}

proptest! {
    /// Against a plain count of the claims held.
    #[test]
    fn counts_never_drift(
        sessions in 1_u32..40,
        per_address in 1_u32..6,
        steps in proptest::collection::vec((0_u8..4, 0_u8..4, 0_u8..4, 0_u64..20_000), 0..300),
    ) {
        let mut clients = Clients::new(sessions, per_address);
        // Of each client that holds a slot or waits: its id, its address, its claim.
        let mut all: Vec<(u64, Ipv4Addr, SlotClaim)> = Vec::new();
        let mut waiting: Vec<u64> = Vec::new();
        let mut now = 0;
        for (what, net, host, pause) in steps {
            now += pause;
            let client = Ipv4Addr::new(10, net, 0, host);
            if what < 2 {
                let mine = all.iter().filter(|(_, at, _)| *at == client).count();
                match clients.admit(IpAddr::V4(client), now) {
                    Ok(Admitted { claim, waits, .. }) => {
                        prop_assert!(waits.is_some() || mine < 2 * per_address as usize);
                        all.push((clients.last, client, claim));
                        if waits.is_some() {
                            waiting.push(clients.last);
                        }
                    }
                    Err(Refusal::Address) => prop_assert_eq!(mine, 2 * per_address as usize),
                    Err(Refusal::Full) => prop_assert!(waiting.len() >= WAITING_MAX),
                    Err(Refusal::Penalty(left)) => prop_assert!(left > 0),
                    Err(Refusal::Rate) => prop_assert!(false, "none is set"),
                }
            } else if !all.is_empty() {
                let (id, _, claim) = all.swap_remove(usize::from(host) % all.len());
                waiting.retain(|waits| *waits != id);
                clients.admission.ended(claim, Ending { crashed: what == 3 && net == 0, ..Ending::default() }, now);
            }
            for action in clients.actions() {
                match action {
                    Action::Grant(id) => waiting.retain(|waits| *waits != id),
                    Action::Reclaim(id) => {
                        let at = all.iter().position(|(held, ..)| *held == id).unwrap();
                        clients.admission.release(all.swap_remove(at).2, now);
                    }
                    Action::Refuse(_) => prop_assert!(false, "never so many"),
                }
            }
            // What was given back has been granted meanwhile.
            for action in clients.actions() {
                if let Action::Grant(id) = action {
                    waiting.retain(|waits| *waits != id);
                }
            }
            prop_assert_eq!(clients.admission.waiting(), waiting.len());
            prop_assert_eq!(clients.admission.sessions() as usize, all.len() - waiting.len());
            prop_assert!(clients.admission.sessions() <= sessions.into());
        }
        for (_, _, claim) in all {
            clients.admission.release(claim, now);
        }
        prop_assert_eq!((clients.admission.sessions(), clients.admission.waiting()), (0, 0));
    }
}
