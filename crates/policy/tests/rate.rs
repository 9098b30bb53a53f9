//! Rates: what an address and its network may, to the number; and that nobody locks himself or somebody else out.
//!
//! | promise | test |
//! |---|---|
//! | exact | `issue_12_a_rate_is_exact_*`, `issue_12_nobody_exceeds_his_rate` |
//! | memory | `p6_what_is_remembered_of_rates_is_bounded` |
//! | who is forgotten | `p13_strangers_neither_lock_out_nor_free_anybody` |
//! | habits of honest senders | `issue_12_a_monitor_*`, `issue_12_hundreds_of_hosts_*`, `p13_a_newcomer_among_*` |
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Functions shared by tests, too.

use gatepost_policy::rate::{ADDRESSES_MAX, SITE, Used, UsedByLogin};
use gatepost_policy::share::Origin;
use gatepost_wire::rate::Rate;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MINUTE: u64 = 60_000;

fn rate(count: u32, seconds: u32) -> Option<Rate> {
    Some(Rate { count, seconds })
}

fn origin(text: &str) -> Origin {
    Origin::of(text.parse().unwrap())
}

/// The `n`-th host of a /24.
fn host(n: u32) -> Origin {
    Origin::of(IpAddr::V4(Ipv4Addr::from_bits(0xc000_0200 | n)))
}

/// The `n`-th host of a /48, each in a /64 of its own.
fn host6(n: u32) -> Origin {
    Origin::of(IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_0001 << 80 | u128::from(n) << 64)))
}

fn take(used: &mut Used, origin: Origin, now: u64) -> bool {
    let may = used.may(origin, now);
    if may {
        used.count(origin, now);
    }
    may
}

/// How often it happens of so many times that it is tried at once.
fn taken(used: &mut Used, origin: Origin, times: u32, now: u64) -> u32 {
    u32::try_from((0..times).filter(|_| take(used, origin, now)).count()).unwrap()
}

#[test]
fn issue_12_a_rate_is_exact_for_an_address() {
    let mut used = Used::new(rate(7, 60));
    assert_eq!(taken(&mut used, origin("192.0.2.1"), 100, 0), 7);
    // One comes back in a seventh of a minute, and not a millisecond sooner.
    assert!(!take(&mut used, origin("192.0.2.1"), MINUTE / 7));
    assert!(take(&mut used, origin("192.0.2.1"), MINUTE / 7 + 1));
    assert_eq!(taken(&mut used, origin("::ffff:192.0.2.1"), 100, MINUTE + MINUTE / 7 + 1), 7);
    assert_eq!(taken(&mut used, origin("2001:db8::1"), 5, 0), 5);
    assert_eq!(taken(&mut used, origin("2001:db8::ffff:1"), 5, 0), 2, "the same /64");
    assert_eq!(taken(&mut used, origin("2001:db8:0:1::1"), 9, 0), 7, "another");
    let mut used = Used::new(None);
    assert_eq!(taken(&mut used, origin("192.0.2.1"), 100_000, 0), 100_000);
    assert_eq!(used.remembered(), [0, 0]);
}

#[test]
fn issue_12_a_rate_is_exact_for_a_network() {
    for host in [host as fn(u32) -> Origin, host6] {
        // Each once, each as often as it can, and all in turns.
        let mut used = Used::new(rate(10, 60));
        assert_eq!((0..200).filter(|n| take(&mut used, host(*n), 0)).count(), 40);
        let mut used = Used::new(rate(10, 60));
        assert_eq!((0..200).map(|n| taken(&mut used, host(n), 100, 0)).sum::<u32>(), 40);
        let mut used = Used::new(rate(10, 60));
        assert_eq!((0..10_000).filter(|n| take(&mut used, host(n % 200), 0)).count(), 40);
        // Over an hour, however they press.
        let all = (0..36_000_u64).filter(|n| take(&mut used, host(u32::try_from(n % 200).unwrap()), n * 100)).count();
        assert!((2390..=2440).contains(&all), "{all}");
    }
}

#[test]
fn issue_12_a_monitor_that_connects_and_closes_has_its_rate_for_ever() {
    // Within its rate it is never refused; beyond it, it has exactly the rate, and no pause is longer than one token takes.
    for (every, longest) in [(5_000, 0), (2_000, 0), (1_000, 2_000), (10, 2_000)] {
        let mut used = Used::new(rate(30, 60));
        let (mut last, mut pause) = (0, 0);
        for now in (0..60 * MINUTE).step_by(every) {
            if take(&mut used, host(1), now) {
                last = now;
            } else {
                pause = pause.max(now - last);
            }
        }
        assert!(pause <= longest, "every {every} ms: {pause} ms without");
    }
}

#[test]
fn issue_12_hundreds_of_hosts_of_one_provider_all_get_their_turns() {
    // More than the network may, to the second the same every minute: without precedence the same ones would be refused each time.
    for (host, crowds) in [(host as fn(u32) -> Origin, &[241_u64, 256][..]), (host6, &[241, 400, 700])] {
        for hosts in crowds.iter().copied() {
            let mut used = Used::new(rate(60, 60));
            let mut last = vec![0_u64; usize::try_from(hosts).unwrap()];
            let mut longest = 0;
            for minute in 0..120 {
                for n in 0..hosts {
                    let now = minute * MINUTE + n * MINUTE / hosts;
                    let (place, n) = (usize::try_from(n).unwrap(), u32::try_from(n).unwrap());
                    longest = longest.max(now - last[place]);
                    if take(&mut used, host(n), now) {
                        last[place] = now;
                    }
                }
            }
            // Not much longer than the turns of all take.
            let turns = hosts.div_ceil(60 * SITE) + 3;
            assert!(longest <= turns * MINUTE, "{hosts} hosts: {} s without", longest / 1000);
        }
    }
}

#[test]
fn p13_a_newcomer_among_neighbours_that_take_all_they_can_is_served() {
    for neighbours in [1, 4, 10, 50] {
        let mut used = Used::new(rate(20, 60));
        let mut served = 0;
        for now in (0..10 * MINUTE).step_by(100) {
            for n in 0..neighbours {
                let _ = take(&mut used, host(n), now);
            }
            // One that comes once a minute.
            if now % MINUTE == 50 * 100 && take(&mut used, host(200), now) {
                served += 1;
            }
        }
        assert!(served >= 9, "{neighbours} neighbours: {served} of 10");
    }
}

#[test]
fn issue_12_good_conduct_is_forgiven_and_gives_the_network_its_part_back() {
    let mut used = Used::new(rate(5, 3600));
    for _ in 0..100 {
        assert_eq!(taken(&mut used, host(1), 5, 0), 5);
        assert!(!take(&mut used, host(1), 0));
        used.forgive(host(1), 0);
    }
    assert_eq!(taken(&mut used, host(2), 9, 0), 5, "what was forgiven is not counted for the network");
}

#[test]
fn p6_what_is_remembered_of_rates_is_bounded() {
    let mut used = Used::new(rate(2, 60));
    for n in 0..100_000_u32 {
        let _ = take(&mut used, Origin::of(IpAddr::V4(Ipv4Addr::from_bits(n.wrapping_mul(0x9e37_79b1)))), u64::from(n));
        assert!(used.remembered().iter().all(|remembered| *remembered <= ADDRESSES_MAX));
    }
}

/// Anybody in other networks.
fn stranger() -> impl Strategy<Value = u32> {
    (0_u32..1 << 30).prop_map(|bits| bits | 0x4000_0000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn p13_strangers_neither_lock_out_nor_free_anybody(
        strangers in prop::collection::vec(stranger(), 1..64), spread in 1_u32..3, times in 20_000_u32..40_000,
    ) {
        let mut used = Used::new(rate(4, 3600));
        // The heaviest there is; and one that has done nothing.
        prop_assert_eq!(taken(&mut used, host(1), 9, 0), 4);
        // Each stranger takes a little less.
        let mut takes = std::collections::HashMap::new();
        for n in 0..times {
            let place = usize::try_from(n).unwrap() % strangers.len();
            let client = strangers[place].wrapping_add((n / spread) << 8) & 0x7fff_ffff | 0x4000_0000;
            let took = takes.entry(client).or_insert(0);
            if *took < 3 && take(&mut used, Origin::of(IpAddr::V4(Ipv4Addr::from_bits(client))), 1) {
                *took += 1;
            }
        }
        prop_assert!(!used.may(host(1), 1), "the heaviest is not forgotten");
        prop_assert!(used.may(host(2), 1), "and whoever has done nothing may");
    }

    #[test]
    fn issue_12_nobody_exceeds_his_rate(
        count in 1_u32..20, seconds in 1_u32..100,
        steps in prop::collection::vec((0_u32..40, 0_u64..3000), 1..400),
    ) {
        let mut used = Used::new(rate(count, seconds));
        let period = u64::from(seconds) * 1000;
        let mut log: Vec<(u32, u64)> = Vec::new();
        let mut now = 0;
        for (n, pause) in steps {
            now += pause;
            if take(&mut used, host(n), now) {
                log.push((n, now));
            }
        }
        // In any span of time: what a bucket holds, and what comes back meanwhile.
        for (first, (_, from)) in log.iter().enumerate() {
            for (_, to) in &log[first..] {
                let back = (to - from) * u64::from(count) / period;
                let within = || log[first..].iter().filter(|(_, at)| at <= to);
                let site = u64::try_from(within().count()).unwrap();
                prop_assert!(site <= SITE * u64::from(count) + (to - from) * SITE * u64::from(count) / period + 1);
                let one = u64::try_from(within().filter(|(n, _)| *n == log[first].0).count()).unwrap();
                prop_assert!(one <= u64::from(count) + back + 1);
            }
        }
    }
}

#[test]
fn issue_15_the_rate_of_a_login_is_exact_and_comes_back_evenly() {
    let mut used = UsedByLogin::new(rate(3, 60));
    let mut taken = |login: &str, times: u32, now: u64| {
        (0..times).filter(|_| used.may(login, now).then(|| used.count(login, now)).is_some()).count()
    };
    assert_eq!(taken("joe", 10, 0), 3);
    assert_eq!(taken("ann", 1, 0), 1, "another login");
    assert_eq!(taken("joe", 10, MINUTE / 3 - 1), 0);
    assert_eq!(taken("joe", 10, MINUTE / 3), 1);
    assert_eq!(taken("joe", 10, 10 * MINUTE), 3, "a bucket holds no more than the rate");
    let mut free = UsedByLogin::new(None);
    assert!((0..1000).all(|_| free.may("joe", 0).then(|| free.count("joe", 0)).is_some()));
}
