//! What an address has to bear for its conduct, and that nobody pays for his neighbour for long.
#![allow(clippy::unwrap_used)] // Functions shared by tests, too.

use gatepost_policy::conduct::{
    ADDRESSES_MAX, CRASH_DECAY, CRASH_FIRST, CRASH_LONGEST, CREDIT, Conduct, Ending, Offence, REFUSED, SLOW, Sanction,
    Standing,
};
use gatepost_policy::share::Origin;
use std::net::{IpAddr, Ipv4Addr};

const CRASH: Ending = Ending { delivered: false, offence: None, crashed: true };
const MAIL: Ending = Ending { delivered: true, offence: None, crashed: false };

fn origin(text: &str) -> Origin {
    Origin::of(text.parse().unwrap())
}

fn numbered(n: u32) -> Origin {
    Origin::of(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n)))
}

fn offends(offence: Offence) -> Ending {
    Ending { offence: Some(offence), ..Ending::default() }
}

/// Sessions of one client, one every `pause` milliseconds, that end in `offence`, until it is slowed down.
fn sessions_until_slow(offence: Offence, pause: u64) -> Option<u64> {
    let mut conduct = Conduct::new(30);
    (1..=1000).find(|n| conduct.ended(origin("192.0.2.1"), offends(offence), n * pause) == Some(Sanction::Slow))
}

#[test]
fn p13_sessions_that_end_badly_all_the_time_slow_their_address_down() {
    for (offence, pause, expected) in [
        (Offence::Abuse, 0, Some(11)),
        (Offence::Abuse, 9_000, Some(14)),
        (Offence::Abuse, 31_000, None),
        (Offence::TlsFailed, 0, Some(31)),
        (Offence::TlsFailed, 5_000, Some(60)),
        (Offence::TlsFailed, 10_000, None),
    ] {
        assert_eq!(sessions_until_slow(offence, pause), expected, "{offence:?} every {pause} ms");
    }
    let mut uncounted = Conduct::new(0);
    for _ in 0..100 {
        assert_eq!(uncounted.ended(origin("192.0.2.1"), offends(Offence::Abuse), 0), None);
    }
}

/// Eleven sessions that end in abuse.
fn overflow(conduct: &mut Conduct, at: &str, now: u64) -> Sanction {
    let sanctions: Vec<Sanction> =
        (0..11).filter_map(|_| conduct.ended(origin(at), offends(Offence::Abuse), now)).collect();
    assert_eq!(sanctions.len(), 1, "{sanctions:?}");
    *sanctions.first().unwrap()
}

#[test]
fn p13_an_address_is_slow_before_it_is_turned_away_and_never_for_longer() {
    let mut conduct = Conduct::new(30);
    let at = "2001:db8::1";
    assert_eq!(conduct.standing(origin(at), 0), Standing::Good);
    assert_eq!(overflow(&mut conduct, at, 0), Sanction::Slow);
    assert_eq!(conduct.standing(origin("2001:db8::2"), 1), Standing::Slow, "one /64 is one client");
    assert_eq!(conduct.standing(origin("2001:db8:0:1::1"), 1), Standing::Good);
    let mut now = 1;
    for _ in 0..20 {
        assert_eq!(overflow(&mut conduct, at, now), Sanction::Refused(REFUSED));
        assert_eq!(conduct.standing(origin(at), now), Standing::Refused(REFUSED));
        now += REFUSED;
        assert_eq!(conduct.standing(origin(at), now), Standing::Slow);
    }
    assert_eq!(conduct.standing(origin(at), now + SLOW - 1), Standing::Slow);
    assert_eq!(conduct.standing(origin(at), now + SLOW), Standing::Good);
    assert_eq!(overflow(&mut conduct, at, now + SLOW), Sanction::Slow, "it begins anew");
}

#[test]
fn p13_who_delivers_mail_has_credit_and_is_forgiven() {
    let mut conduct = Conduct::new(30);
    let at = "192.0.2.1";
    overflow(&mut conduct, at, 0);
    overflow(&mut conduct, at, 0);
    assert_eq!(conduct.standing(origin(at), 0), Standing::Refused(REFUSED));
    // A session that had begun before.
    conduct.ended(origin(at), MAIL, 1);
    assert_eq!(conduct.standing(origin(at), 1), Standing::Good);
    // Whatever a neighbour does now, it is not turned away.
    for _ in 0..50 {
        assert_eq!(overflow(&mut conduct, at, 2), Sanction::Slow);
        assert_eq!(conduct.standing(origin(at), 2), Standing::Slow);
    }
    // Offences are forgiven, too: ten, a message, ten more.
    conduct.ended(origin(at), MAIL, 3);
    for n in 0..100 {
        let ending = if n % 10 == 0 { MAIL } else { offends(Offence::Abuse) };
        assert_eq!(conduct.ended(origin(at), ending, 3), None);
    }
    assert_eq!(overflow(&mut conduct, at, 3 + CREDIT), Sanction::Slow);
    assert_eq!(overflow(&mut conduct, at, 3 + CREDIT), Sanction::Refused(REFUSED), "no credit any more");
}

#[test]
fn p8_a_crash_costs_its_client_twice_as_long_each_time_but_not_one_with_credit() {
    let mut conduct = Conduct::new(30);
    let mut now = 5;
    for expected in [10, 20, 40, 80, 160, 320, 600, 600, 600] {
        let length = expected * 1000;
        assert_eq!(conduct.ended(origin("192.0.2.1"), CRASH, now), Some(Sanction::Refused(length)));
        assert_eq!(conduct.standing(origin("192.0.2.1"), now + length - 1), Standing::Refused(1));
        assert_eq!(conduct.standing(origin("::ffff:192.0.2.1"), now), Standing::Refused(length));
        assert_eq!(conduct.standing(origin("192.0.2.2"), now), Standing::Good, "a neighbour pays nothing");
        now += length;
    }
    assert_eq!(conduct.standing(origin("192.0.2.1"), now), Standing::Good);
    conduct.ended(origin("192.0.2.3"), MAIL, now);
    for _ in 0..9 {
        assert_eq!(conduct.ended(origin("192.0.2.3"), CRASH, now), Some(Sanction::Refused(CRASH_FIRST)));
    }
    // A message does not end what a crash has begun.
    conduct.ended(origin("192.0.2.1"), CRASH, now);
    conduct.ended(origin("192.0.2.1"), MAIL, now);
    assert_eq!(conduct.standing(origin("192.0.2.1"), now), Standing::Refused(CRASH_LONGEST));
}

#[test]
fn p8_the_memory_of_crashes_decays_step_by_step() {
    let mut conduct = Conduct::new(30);
    let mut crash = |now| match conduct.ended(origin("2001:db8::1"), CRASH, now) {
        Some(Sanction::Refused(length)) => length,
        other => unreachable!("{other:?}"),
    };
    let first = crash(0);
    let second = crash(first);
    assert_eq!((first, second), (CRASH_FIRST, 2 * CRASH_FIRST));
    let quiet = first + second + CRASH_DECAY - 1;
    assert_eq!(crash(quiet), 4 * CRASH_FIRST);
    let quiet = quiet + 4 * CRASH_FIRST + 2 * CRASH_DECAY;
    assert_eq!(crash(quiet), 2 * CRASH_FIRST);
    let quiet = quiet + 2 * CRASH_FIRST + 100 * CRASH_DECAY;
    assert_eq!(crash(quiet), CRASH_FIRST);
}

#[test]
fn p6_what_is_remembered_is_bounded_and_the_worst_is_not_forgotten() {
    let mut conduct = Conduct::new(30);
    for _ in 0..10 {
        conduct.ended(numbered(0), offends(Offence::Abuse), 0);
    }
    for _ in 0..7 {
        conduct.ended(origin("192.0.2.1"), CRASH, 0);
    }
    conduct.ended(origin("192.0.2.2"), MAIL, 1);
    for n in 1..u32::try_from(3 * ADDRESSES_MAX).unwrap() {
        for ending in [offends(Offence::Abuse), CRASH] {
            conduct.ended(numbered(n), ending, 1);
        }
        assert!(conduct.remembered().into_iter().all(|count| count <= ADDRESSES_MAX));
    }
    assert!(matches!(conduct.standing(origin("192.0.2.1"), 1), Standing::Refused(_)));
    assert_eq!(conduct.ended(numbered(0), offends(Offence::Abuse), 1), Some(Sanction::Slow));
    for n in 1..u32::try_from(3 * ADDRESSES_MAX).unwrap() {
        conduct.ended(numbered(n), MAIL, u64::from(n));
        assert!(conduct.remembered().into_iter().all(|count| count <= ADDRESSES_MAX));
    }
}
