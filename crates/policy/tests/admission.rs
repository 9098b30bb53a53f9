//! Who is admitted, who waits, and that counting never drifts.
#![allow(clippy::unwrap_used)] // Functions shared by tests, too.

use gatepost_policy::admission::{
    Admission, Limits, Offence, PENALTIES_MAX, PENALTY_DECAY, PENALTY_FIRST, PENALTY_LONGEST, Refusal, Ticket,
    blames_peer,
};
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn admission(sessions: u32, sessions_per_address: u32) -> Admission {
    Admission::new(Limits { sessions, sessions_per_address, offences: 30 })
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
        let mut admission = admission(100, 2);
        let first = admission.admit(ip(holder), 0).unwrap();
        let second = admission.admit(ip(holder), 0).unwrap();
        assert_eq!(admission.admit(ip(same), 0), Err(Refusal::Address), "{same}");
        assert!(admission.admit(ip(other), 0).is_ok(), "{other}");
        admission.release(first);
        assert!(admission.admit(ip(same), 0).is_ok(), "{same} after a release");
        admission.release(second);
        assert_eq!(admission.sessions(), 2);
    }
}

#[test]
fn one_network_cannot_take_the_last_tenth() {
    for (crowd, elsewhere) in [
        ((0..=255).map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))).collect::<Vec<_>>(), "192.0.3.1"),
        ((0..256).map(|n| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, n, 0, 0, 0, 1))).collect(), "2001:db8:2::1"),
    ] {
        let mut admission = admission(100, 20);
        let mut admitted = 0;
        for client in crowd.iter().cycle().take(10_000) {
            match admission.admit(*client, 0) {
                Ok(_) => admitted += 1,
                Err(refusal) => assert_eq!(refusal, Refusal::Full),
            }
        }
        assert_eq!(admitted, 90, "{crowd:?}");
        assert!(admission.admit(ip(elsewhere), 0).is_ok());
        assert_eq!(admission.admit(ip(elsewhere), 0), Err(Refusal::Full), "a second one is no newcomer");
    }
}

#[test]
fn newcomers_fill_the_last_slot_and_then_all_is_full() {
    let mut admission = admission(30, 20);
    let tickets: Vec<Ticket> =
        (0..30).map(|n| admission.admit(IpAddr::V4(Ipv4Addr::new(10, 0, n, 1)), 0).unwrap()).collect();
    assert_eq!(admission.admit(ip("198.51.100.1"), 0), Err(Refusal::Full));
    for ticket in tickets {
        admission.release(ticket);
    }
    assert_eq!(admission.sessions(), 0);
    assert!(admission.admit(ip("198.51.100.1"), 0).is_ok());
}

#[test]
fn a_small_gatepost_has_no_reserve() {
    let mut admission = admission(3, 3);
    for _ in 0..3 {
        assert!(admission.admit(ip("127.0.0.1"), 0).is_ok());
    }
    assert_eq!(admission.admit(ip("127.0.0.1"), 0), Err(Refusal::Address));
    assert_eq!(admission.admit(ip("192.0.2.1"), 0), Err(Refusal::Full));
}

/// Admits at `now` and lets that session crash.
fn crash(admission: &mut Admission, client: &str, now: u64) -> u64 {
    let ticket = admission.admit(ip(client), now).unwrap();
    admission.crashed(ticket, now)
}

#[test]
fn p8_a_crash_costs_its_client_twice_as_long_each_time() {
    let mut admission = admission(100, 20);
    let mut now = 5;
    for expected in [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600] {
        let length = crash(&mut admission, "192.0.2.1", now);
        assert_eq!(length, expected * 1000);
        assert_eq!(admission.admit(ip("192.0.2.1"), now + length - 1), Err(Refusal::Penalty(1)));
        assert_eq!(admission.admit(ip("::ffff:192.0.2.1"), now), Err(Refusal::Penalty(length)));
        assert!(admission.admit(ip("192.0.2.2"), now).is_ok(), "a neighbour pays nothing");
        now += length;
    }
    assert_eq!(admission.penalties(), 1);
}

#[test]
fn p8_a_penalty_decays_step_by_step() {
    let mut admission = admission(100, 20);
    let first = crash(&mut admission, "2001:db8::1", 0);
    let second = crash(&mut admission, "2001:db8::2", first);
    assert_eq!((first, second), (PENALTY_FIRST, 2 * PENALTY_FIRST), "one /64 is one client");
    let quiet = first + second + PENALTY_DECAY - 1;
    assert_eq!(crash(&mut admission, "2001:db8::1", quiet), 4 * PENALTY_FIRST);
    let quiet = quiet + 4 * PENALTY_FIRST + 2 * PENALTY_DECAY;
    assert_eq!(crash(&mut admission, "2001:db8::1", quiet), 2 * PENALTY_FIRST);
    let quiet = quiet + 2 * PENALTY_FIRST + 100 * PENALTY_DECAY;
    assert_eq!(crash(&mut admission, "2001:db8::1", quiet), PENALTY_FIRST);
}

#[test]
fn p8_sessions_that_crash_together_each_count() {
    let mut admission = admission(100, 20);
    let tickets: Vec<Ticket> = (0..20).map(|_| admission.admit(ip("192.0.2.1"), 0).unwrap()).collect();
    let lengths: Vec<u64> = tickets.into_iter().map(|ticket| admission.crashed(ticket, 0)).collect();
    assert_eq!(lengths.first(), Some(&PENALTY_FIRST));
    assert_eq!(lengths.last(), Some(&PENALTY_LONGEST));
    assert_eq!(admission.sessions(), 0);
}

#[test]
fn p6_penalties_are_bounded_and_never_cost_a_count() {
    let mut admission = admission(100, 20);
    let held = admission.admit(ip("10.0.0.1"), 0).unwrap();
    crash(&mut admission, "10.0.0.1", 0);
    for n in 0..u32::try_from(PENALTIES_MAX + 100).unwrap() {
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n));
        let ticket = admission.admit(client, 1).unwrap();
        admission.crashed(ticket, 1);
        assert!(admission.penalties() <= PENALTIES_MAX);
        assert_eq!(admission.admit(client, 2), Err(Refusal::Penalty(PENALTY_FIRST - 1)), "the newest is in force");
    }
    assert_eq!(admission.sessions(), 1);
    admission.release(held);
    assert_eq!(admission.sessions(), 0);
}

#[test]
fn p6_the_longest_penalties_outlive_a_flood_of_short_ones() {
    let mut admission = admission(100, 20);
    let mut now = 0;
    for _ in 0..6 {
        now += crash(&mut admission, "192.0.2.1", now);
    }
    crash(&mut admission, "192.0.2.1", now);
    for n in 0..u32::try_from(PENALTIES_MAX + 100).unwrap() {
        let ticket = admission.admit(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n)), now).unwrap();
        admission.crashed(ticket, now);
    }
    assert!(matches!(admission.admit(ip("192.0.2.1"), now), Err(Refusal::Penalty(_))));
}

#[test]
fn p8_only_signals_of_the_clients_making_blame_it() {
    for (name, signal, expected) in [
        ("HUP", 1, false),
        ("INT", 2, false),
        ("ILL", 4, true),
        ("TRAP", 5, true),
        ("ABRT", 6, true),
        ("BUS", 7, true),
        ("FPE", 8, true),
        ("KILL", 9, false),
        ("SEGV", 11, true),
        ("PIPE", 13, false),
        ("TERM", 15, false),
        ("XCPU", 24, true),
        ("XFSZ", 25, true),
        ("SYS", 31, true),
    ] {
        assert_eq!(blames_peer(signal), expected, "{name}");
    }
}

#[test]
fn p10_refusals_are_temporary_and_name_nobody() {
    for (refusal, status) in
        [(Refusal::Full, "4.3.2"), (Refusal::Address, "4.7.0"), (Refusal::Penalty(12_345), "4.7.0")]
    {
        let reply = refusal.reply("mx.example.org");
        assert!(reply.starts_with(&format!("421 {status} mx.example.org ")), "{reply}");
        assert!(reply.ends_with("\r\n") && reply.len() < 200 && !reply.to_lowercase().contains("gatepost"), "{reply}");
    }
}

#[test]
fn times_at_the_edge_do_not_overflow() {
    let mut admission = admission(10, 10);
    for now in [u64::MAX, u64::MAX - 1, 0, u64::MAX] {
        if let Ok(ticket) = admission.admit(ip("192.0.2.1"), now) {
            admission.crashed(ticket, now);
        }
    }
    assert_eq!(admission.sessions(), 0);
}

#[test]
fn p6_newcomers_are_under_stress_beyond_three_quarters_of_the_slots() {
    for (slots, first) in [(1, None), (3, None), (4, Some(4)), (8, Some(7)), (10, Some(9)), (1000, Some(751))] {
        let mut admission = admission(slots, slots);
        let mut tickets = Vec::new();
        let found = (1..=slots).find(|n| {
            // Each from a network of its own: nothing is kept back from them.
            let bits = 0x0a00_0000 + (n << 8);
            tickets.push(admission.admit(IpAddr::V4(Ipv4Addr::from_bits(bits)), 0).unwrap());
            admission.is_stressed()
        });
        assert_eq!(found, first, "{slots} slots");
        for ticket in tickets {
            admission.release(ticket);
        }
        assert!(!admission.is_stressed());
    }
}

/// Sessions of one client, one every `pause` milliseconds, that end in `offence`, until it gets a penalty.
fn offences_until_a_penalty(offence: Offence, pause: u64) -> Option<u32> {
    let mut admission = admission(10, 10);
    (1..=1000).find(|n| {
        let now = u64::from(*n) * pause;
        let ticket = admission.admit(ip("192.0.2.1"), now).unwrap();
        admission.offended(ticket, offence, now).is_some()
    })
}

#[test]
fn p6_sessions_that_end_badly_all_the_time_earn_a_penalty() {
    for (offence, pause, expected) in [
        (Offence::Abuse, 0, Some(11)),
        (Offence::Abuse, 9_000, Some(14)),
        (Offence::Abuse, 31_000, None),
        (Offence::TlsFailed, 0, Some(31)),
        (Offence::TlsFailed, 5_000, Some(60)),
        (Offence::TlsFailed, 10_000, None),
    ] {
        assert_eq!(offences_until_a_penalty(offence, pause), expected, "{offence:?} every {pause} ms");
    }
    let mut uncounted = Admission::new(Limits { sessions: 10, sessions_per_address: 10, offences: 0 });
    for _ in 0..100 {
        let ticket = uncounted.admit(ip("192.0.2.1"), 0).unwrap();
        assert_eq!(uncounted.offended(ticket, Offence::Abuse, 0), None);
    }
    let mut admission = admission(10, 10);
    let length = (0..11).find_map(|_| {
        let ticket = admission.admit(ip("192.0.2.1"), 0).unwrap();
        admission.offended(ticket, Offence::Abuse, 0)
    });
    assert_eq!(length, Some(PENALTY_FIRST));
    assert_eq!(admission.admit(ip("192.0.2.1"), 1), Err(Refusal::Penalty(PENALTY_FIRST - 1)));
    assert_eq!((admission.sessions(), admission.offenders()), (0, 0));
    assert!(admission.admit(ip("192.0.2.2"), 1).is_ok(), "another's affair");
}

#[test]
fn p6_offences_are_bounded_and_the_worst_is_not_forgotten() {
    let mut admission = admission(10, 10);
    let mut offend = |bits: u32| {
        let ticket = admission.admit(IpAddr::V4(Ipv4Addr::from_bits(bits)), 0).unwrap();
        let penalty = admission.offended(ticket, Offence::Abuse, 0);
        (penalty, admission.offenders())
    };
    for _ in 0..10 {
        assert_eq!(offend(1), (None, 1));
    }
    for n in 0..5000 {
        assert!(offend(0x0a00_0000 + n).1 <= PENALTIES_MAX);
    }
    assert_eq!(offend(1).0, Some(PENALTY_FIRST));
}

proptest! {
    /// Against a plain count of the tickets held.
    #[test]
    fn counts_never_drift(
        sessions in 1_u32..40,
        per_address in 1_u32..6,
        steps in proptest::collection::vec((0_u8..3, 0_u8..4, 0_u8..4, 0_u64..20_000), 0..300),
    ) {
        let mut admission = admission(sessions, per_address);
        let mut held: Vec<(Ipv4Addr, Ticket)> = Vec::new();
        let mut now = 0;
        for (what, net, host, pause) in steps {
            now += pause;
            let client = Ipv4Addr::new(10, 0, net, host);
            if what < 2 {
                let mine = held.iter().filter(|(at, _)| *at == client).count();
                let neighbours = held.iter().any(|(at, _)| at.octets()[2] == net);
                let slots = if neighbours { sessions - sessions / 10 } else { sessions } as usize;
                match admission.admit(IpAddr::V4(client), now) {
                    Ok(ticket) => {
                        prop_assert!(mine < per_address as usize && held.len() < slots);
                        held.push((client, ticket));
                    }
                    Err(Refusal::Address) => prop_assert_eq!(mine, per_address as usize),
                    Err(Refusal::Full) => prop_assert!(held.len() >= slots),
                    Err(Refusal::Penalty(left)) => prop_assert!(left > 0 && left <= PENALTY_LONGEST),
                }
            } else if !held.is_empty() {
                let (_, ticket) = held.swap_remove(usize::from(host) % held.len());
                if net == 0 {
                    admission.crashed(ticket, now);
                } else {
                    admission.release(ticket);
                }
            }
            prop_assert_eq!(admission.sessions() as usize, held.len());
        }
        let mut left: HashMap<Ipv4Addr, u32> = HashMap::new();
        for (client, ticket) in held {
            *left.entry(client).or_default() += 1;
            admission.release(ticket);
        }
        prop_assert!(left.values().all(|n| *n <= per_address));
        prop_assert_eq!(admission.sessions(), 0);
    }
}
