//! P13: a stranger costs only himself. The law of `policy::share` for each thing that is shared, in simulations without a clock
//! (issue 9): with attackers in k networks, at any pace, a client from a network that holds nothing is served within t. What k
//! and t are is told in SECURITY.md.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // Functions shared by tests, too.

mod slots;
mod turns;

use gatepost_policy::share::{Action, Answer, Origin, Shares, WhenFull};
use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Between `low` and `high`, both included.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

/// Some client of block number `block`: an IPv4 /16, or an IPv6 /40 for every third.
fn client_in(block: u64, random: &mut Random) -> Origin {
    Origin::of(address_in(block, random))
}

fn address_in(block: u64, random: &mut Random) -> IpAddr {
    let block = u32::try_from(block).unwrap();
    let inside = u32::try_from(random.below(1 << 12)).unwrap();
    if block % 3 == 2 {
        let bits = (0x2001_0db8_u128 << 96) | (u128::from(block) << 88) | (u128::from(inside) << 64) | 1;
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits((10 << 24) + (block << 16) + inside))
    }
}

/// Scenarios of each law.
const SCENARIOS: u64 = 10_000;

/// One resource, its attackers, and the owner who ends what he is told to end some ticks later.
struct World {
    shares: Shares<u64>,
    random: Random,
    now: u64,
    last: u64,
    /// Ticks that the owner needs to end a holding.
    latency: u64,
    /// Longest time for which a holding may not be taken back, ticks.
    busy: u64,
    /// Holdings of attackers, and until when each may not be taken back.
    held: BTreeMap<u64, u64>,
    ending: BTreeMap<u64, u64>,
    granted: Vec<u64>,
    refused: Vec<u64>,
}

impl World {
    fn claim(&mut self, origin: Origin, when_full: WhenFull) -> (u64, Answer) {
        self.last += 1;
        let answer = self.shares.claim(self.last, origin, 1, when_full, self.now);
        (self.last, answer)
    }

    /// Lets a tick pass.
    fn tick(&mut self) {
        self.now += 1;
        let over: Vec<u64> = self.ending.iter().filter(|(_, at)| **at <= self.now).map(|(id, _)| *id).collect();
        for id in over {
            self.ending.remove(&id);
            self.shares.release(id, self.now);
        }
        let free_again: Vec<u64> = self.held.iter().filter(|(_, at)| **at == self.now).map(|(id, _)| *id).collect();
        for id in free_again {
            self.shares.hold(id, true);
        }
        self.obey();
    }

    /// Carries out what is to be done.
    fn obey(&mut self) {
        while let Some(action) = self.shares.poll() {
            match action {
                Action::Grant(id) => {
                    self.granted.push(id);
                    self.held.insert(id, 0);
                }
                Action::Refuse(id) => self.refused.push(id),
                Action::Reclaim(id) => {
                    assert!(self.held.get(&id).is_none_or(|at| *at <= self.now), "{id} may not be taken back");
                    self.held.remove(&id);
                    self.ending.insert(id, self.now + self.random.between(1, self.latency));
                }
            }
        }
    }

    /// One of `blocks` attackers does something.
    fn attack(&mut self, blocks: u64) {
        let any = self.held.keys().nth(usize::try_from(self.random.below(64)).unwrap()).copied();
        match (self.random.below(8), any) {
            (0, Some(id)) => self.shares.moved(id, self.now),
            (1, Some(id)) => {
                self.held.remove(&id);
                self.shares.release(id, self.now);
            }
            (2, Some(id)) if self.busy > 0 && self.held[&id] <= self.now => {
                self.shares.hold(id, false);
                let until = self.now + self.random.between(1, self.busy);
                self.held.insert(id, until);
            }
            _ => {
                let block = self.random.below(blocks);
                let origin = client_in(block, &mut self.random);
                let when_full = if self.random.below(2) == 0 { WhenFull::Reclaim } else { WhenFull::Queue };
                let (id, answer) = self.claim(origin, when_full);
                if answer == Answer::Granted {
                    self.held.insert(id, 0);
                }
            }
        }
        self.obey();
    }
}

/// Connections to the backend: each is in use for a while, and may be taken back when it is not.
#[test]
fn p13_a_newcomer_gets_a_connection_within_the_time_of_one_ending() {
    let mut longest = 0;
    for seed in 0..SCENARIOS {
        let mut random = Random(seed);
        let capacity = random.between(4, 20);
        let blocks = random.between(1, (capacity - 2) / 2);
        let (latency, busy) = (random.between(1, 9), random.below(3) * random.below(9));
        let spare = seed % 2 == 1;
        let shares = Shares::new(capacity, usize::try_from(blocks + random.between(1, 12)).unwrap());
        let mut world = World {
            shares: if spare { shares.of_what_is_spare(random.below(9), random.below(99)) } else { shares },
            random,
            now: 0,
            last: 0,
            latency,
            busy,
            held: BTreeMap::new(),
            ending: BTreeMap::new(),
            granted: Vec::new(),
            refused: Vec::new(),
        };
        for _ in 0..capacity * 2 {
            for _ in 0..world.random.below(6) {
                world.attack(blocks);
            }
            world.tick();
            assert!(world.shares.used() <= capacity, "seed {seed}");
        }
        // A client of a block that holds nothing. What it does when all is taken is that of the resource: where holdings can be busy it queues.
        let newcomer = client_in(blocks + 1, &mut world.random);
        let when_full = if busy == 0 { WhenFull::Reclaim } else { WhenFull::Queue };
        world.granted.clear();
        let (id, answer) = world.claim(newcomer, when_full);
        world.obey();
        let begun = world.now;
        let mut served = answer == Answer::Granted;
        assert_ne!(answer, Answer::Refused, "seed {seed}");
        while !served {
            // A network all of whose holdings are being ended, for what is spare is taken from equals, too, comes first once.
            let most = (latency + busy) * if spare { 2 } else { 1 };
            assert!(world.now - begun <= most, "seed {seed}: waits for {} ticks", world.now - begun);
            for _ in 0..world.random.below(6) {
                world.attack(blocks);
            }
            world.tick();
            served = world.granted.contains(&id);
            assert!(!world.refused.contains(&id), "seed {seed}: is refused after all");
        }
        longest = longest.max(world.now - begun);
    }
    assert!(longest > 0, "some had to wait: units were taken back");
}

/// Connections to the backend, of which each of more networks than there are units has one and uses it all the time.
#[test]
fn p13_a_newcomer_has_its_turn_among_any_number_of_networks() {
    for seed in 0..SCENARIOS {
        let mut random = Random(seed);
        let capacity = random.between(1, 8);
        let blocks = capacity + random.below(8);
        let (age, turn, latency) = (random.between(2, 9), random.between(9, 30), random.between(1, 3));
        let mut world = World {
            shares: Shares::new(capacity, 64).of_what_is_spare(age, turn),
            random,
            now: 0,
            last: 0,
            latency,
            busy: 0,
            held: BTreeMap::new(),
            ending: BTreeMap::new(),
            granted: Vec::new(),
            refused: Vec::new(),
        };
        let mut owners = BTreeMap::new();
        let mut newcomer = None;
        let joins = world.random.below(turn);
        for tick in 0.. {
            // Whoever of them has no unit wants one again, at once.
            for block in 0..blocks {
                if !owners.values().any(|owner| *owner == block) {
                    let origin = client_in(block, &mut world.random);
                    let (id, answer) = world.claim(origin, WhenFull::Queue);
                    if answer == Answer::Granted {
                        world.held.insert(id, 0);
                        world.granted.push(id);
                    }
                    owners.insert(id, block);
                }
            }
            if tick == joins {
                let origin = client_in(blocks + 1, &mut world.random);
                let (id, answer) = world.claim(origin, WhenFull::Queue);
                newcomer = (answer != Answer::Granted).then_some(id);
                assert_ne!(answer, Answer::Refused, "seed {seed}");
            }
            for id in world.held.keys().copied().collect::<Vec<_>>() {
                world.shares.moved(id, world.now);
                world.shares.hold(id, true);
            }
            world.obey();
            world.tick();
            world.shares.look(world.now);
            world.obey();
            owners.retain(|id, _| world.held.contains_key(id) || !world.granted.contains(id));
            let served = newcomer.is_none_or(|id| world.granted.contains(&id));
            if tick >= joins && served {
                break;
            }
            // Those that came before it have their turns first.
            let rounds = blocks.div_ceil(capacity) + 1;
            assert!(tick <= joins + rounds * (turn + latency + 1), "seed {seed}: waits since {joins}");
        }
    }
}

/// Memory: a part of any size is granted at once, from what others have parked.
#[test]
fn p13_a_newcomer_gets_memory_at_once() {
    let mut taken = 0;
    for seed in 0..SCENARIOS {
        let mut random = Random(seed);
        let need = random.between(1, 8);
        let total = need * random.between(4, 20);
        let blocks = random.between(1, (total / need - 1) / 2);
        let mut shares = Shares::new(total, 1);
        let mut parts = Vec::new();
        for id in 0..total * 3 {
            let (origin, amount) = (client_in(random.below(blocks), &mut random), random.between(1, need));
            if shares.claim(id, origin, amount, WhenFull::Reclaim, id) != Answer::Refused {
                parts.push(id);
            }
            while let Some(action) = shares.poll() {
                if let Action::Reclaim(id) = action {
                    shares.release(id, 0);
                }
            }
            if random.below(9) == 0 && !parts.is_empty() {
                let at = usize::try_from(random.next() % parts.len() as u64).unwrap();
                shares.release(parts.swap_remove(at), id);
            }
            assert!(shares.used() <= total);
        }
        taken += u64::from(shares.free() < need);
        let newcomer = client_in(blocks + 1, &mut random);
        let mut granted = shares.claim(u64::MAX, newcomer, need, WhenFull::Reclaim, total * 3) == Answer::Granted;
        while let Some(action) = shares.poll() {
            match action {
                Action::Reclaim(id) => shares.release(id, total * 3),
                Action::Grant(id) => granted |= id == u64::MAX,
                Action::Refuse(_) => {}
            }
        }
        assert!(granted, "seed {seed}: {need} of {total} with attackers in {blocks} networks");
    }
    assert!(taken > SCENARIOS / 2, "the memory was used up: {taken}");
}

/// Disk: as memory, and somebody else writes to the same file system. What is granted leaves the floor free, and a newcomer has
/// its piece at once, from files that are emptied for it.
#[test]
fn p13_a_newcomer_gets_disk_at_once() {
    let mut taken = 0;
    for seed in 0..SCENARIOS {
        let mut random = Random(seed);
        let piece = random.between(1, 8);
        let disk = piece * random.between(12, 40);
        let (floor, most_of_others) = (random.below(disk / 4), disk / 4);
        let total = random.between(disk / 2, disk * 2);
        let sure = total.min(disk - floor - most_of_others);
        let blocks = random.between(1, (sure / piece - 1) / 2);
        let (mut shares, mut files) = (Shares::new(total, 1), Vec::new());
        let claim = |shares: &mut Shares<u64>, id: u64, origin: Origin, amount: u64, others: u64| {
            let before = shares.used();
            let left = disk.saturating_sub(others + before + floor);
            shares.resize(total.min(before + left));
            let mut granted = shares.claim(id, origin, amount, WhenFull::Reclaim, id) == Answer::Granted;
            while let Some(action) = shares.poll() {
                match action {
                    Action::Reclaim(id) => shares.release(id, 0),
                    Action::Grant(granted_id) => granted |= granted_id == id,
                    Action::Refuse(_) => {}
                }
            }
            let after = shares.used();
            assert!(after <= before.max(disk.saturating_sub(others + floor)), "seed {seed}: below the floor");
            assert!(after <= total, "seed {seed}: {after} of {total}");
            granted
        };
        for id in 0..disk * 3 {
            let (origin, amount) = (client_in(random.below(blocks), &mut random), random.between(1, piece));
            let others = random.below(most_of_others + 1);
            if claim(&mut shares, id, origin, amount, others) {
                files.push(id);
            }
            if random.below(9) == 0 && !files.is_empty() {
                let at = usize::try_from(random.next() % files.len() as u64).unwrap();
                shares.release(files.swap_remove(at), id);
            }
        }
        taken += u64::from(shares.used() + piece > sure);
        let newcomer = client_in(blocks + 1, &mut random);
        let others = random.below(most_of_others + 1);
        let granted = claim(&mut shares, u64::MAX, newcomer, piece, others);
        assert!(granted, "seed {seed}: {piece} of {sure} with attackers in {blocks} networks");
    }
    assert!(taken > SCENARIOS / 2, "the disk was used up: {taken}");
}

#[test]
fn p13_networks_that_all_want_more_end_up_with_equal_shares() {
    for (capacity, blocks) in [(12, 3), (40, 7), (100, 10), (64, 31)] {
        let mut random = Random(capacity);
        let mut shares = Shares::new(capacity, 4);
        let mut last = 0;
        // The first block takes everything before the others come.
        for turn in 0..capacity * 20 {
            let block = if turn < capacity { 0 } else { random.below(blocks) };
            last += 1;
            let _ = shares.claim(last, client_in(block, &mut random), 1, WhenFull::Reclaim, turn);
            while let Some(action) = shares.poll() {
                if let Action::Reclaim(id) = action {
                    shares.release(id, turn);
                }
            }
        }
        let held: Vec<u64> = (0..blocks).map(|block| shares.held_around(client_in(block, &mut random))).collect();
        let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
        assert!(most - least <= 1, "{capacity} units: {held:?}");
        assert_eq!(held.iter().sum::<u64>(), capacity);
    }
}

#[test]
fn p13_units_are_taken_where_most_are_held_and_least_has_moved() {
    let origin = |text: &str| Origin::of(text.parse().unwrap());
    let mut shares = Shares::new(7, 4);
    // The block 10.1/16 holds most; in it 10.1.2/24; in that 10.1.2.9.
    let holders = ["10.2.0.1", "10.2.0.2", "10.1.1.1", "10.1.2.1", "10.1.2.9", "10.1.2.9", "10.1.2.9"];
    for (id, holder) in (1..).zip(holders) {
        assert_eq!(shares.claim(id, origin(holder), 1, WhenFull::Reclaim, id), Answer::Granted);
    }
    shares.moved(5, 20);
    // The one of 10.1.2.9 that has moved least is number 6.
    assert_eq!(shares.claim(10, origin("2001:db8::1"), 1, WhenFull::Reclaim, 21), Answer::Waiting);
    assert_eq!((shares.poll(), shares.poll()), (Some(Action::Reclaim(6)), None));
    shares.release(6, 22);
    assert_eq!(shares.poll(), Some(Action::Grant(10)));
    // Whoever holds most takes nothing from others, nor from himself.
    assert_eq!(shares.claim(11, origin("10.1.2.9"), 1, WhenFull::Reclaim, 23), Answer::Refused);
    // 10.2/16 with its third unit holds what 10.1/16 is left with; a fourth would be more.
    assert_eq!(shares.claim(12, origin("10.2.0.3"), 1, WhenFull::Reclaim, 23), Answer::Waiting);
    assert_eq!((shares.poll(), shares.poll()), (Some(Action::Reclaim(7)), None));
    shares.release(7, 23);
    assert_eq!(shares.poll(), Some(Action::Grant(12)));
    assert_eq!(shares.claim(14, origin("10.2.0.3"), 1, WhenFull::Reclaim, 23), Answer::Refused);
    assert_eq!(shares.claim(13, origin("10.2.0.3"), 1, WhenFull::Queue, 23), Answer::Waiting);
    assert_eq!(shares.poll(), None);
    // One that waits is served when something ends by itself.
    shares.release(1, 24);
    assert_eq!(shares.poll(), Some(Action::Grant(13)));
}

#[test]
fn p13_what_may_not_be_taken_back_yet_is_taken_when_it_may() {
    let origin = |text: &str| Origin::of(text.parse().unwrap());
    let mut shares = Shares::new(2, 4);
    for id in [1, 2] {
        assert_eq!(shares.claim(id, origin("10.0.0.1"), 1, WhenFull::Reclaim, 0), Answer::Granted);
        shares.hold(id, false);
    }
    assert_eq!(shares.claim(3, origin("10.1.0.1"), 1, WhenFull::Reclaim, 1), Answer::Refused);
    assert_eq!(shares.claim(4, origin("10.1.0.1"), 1, WhenFull::Queue, 1), Answer::Waiting);
    assert_eq!(shares.poll(), None);
    shares.hold(2, true);
    assert_eq!(shares.poll(), Some(Action::Reclaim(2)));
    shares.hold(1, true);
    assert_eq!(shares.poll(), None, "one is enough");
    // The client has gone before it was served: nobody else loses anything.
    shares.release(4, 2);
    shares.release(2, 3);
    assert_eq!((shares.poll(), shares.free(), shares.waiting()), (None, 1, 0));
}

#[test]
fn p13_amounts_are_taken_back_whole_or_not_at_all() {
    let origin = |text: &str| Origin::of(text.parse().unwrap());
    let mut shares = Shares::new(100, 4);
    for id in 1..=10 {
        assert_eq!(shares.claim(id, origin("10.0.0.1"), 10, WhenFull::Reclaim, id), Answer::Granted);
    }
    assert_eq!(shares.claim(20, origin("10.1.0.1"), 101, WhenFull::Queue, 11), Answer::Refused, "more than there is");
    assert_eq!(shares.claim(21, origin("10.1.0.1"), 60, WhenFull::Reclaim, 11), Answer::Refused, "would hold more");
    assert_eq!(shares.poll(), None, "and nobody was told to end");
    assert_eq!(shares.claim(22, origin("10.1.0.1"), 25, WhenFull::Reclaim, 12), Answer::Waiting);
    let told: Vec<_> = std::iter::from_fn(|| shares.poll()).collect();
    assert_eq!(told, [1, 2, 3].map(Action::Reclaim));
    for id in [1, 2] {
        shares.release(id, 13);
        assert_eq!(shares.poll(), None);
    }
    shares.release(3, 14);
    assert_eq!(shares.poll(), Some(Action::Grant(22)));
    assert_eq!(shares.free(), 5);
}

#[test]
fn p13_a_queue_full_of_one_network_has_room_for_another() {
    let origin = |text: &str| Origin::of(text.parse().unwrap());
    let mut shares = Shares::new(1, 2);
    assert_eq!(shares.claim(1, origin("10.0.0.1"), 1, WhenFull::Queue, 0), Answer::Granted);
    shares.hold(1, false);
    for id in [2, 3] {
        assert_eq!(shares.claim(id, origin("10.0.0.1"), 1, WhenFull::Queue, 0), Answer::Waiting);
    }
    assert_eq!(shares.claim(4, origin("10.0.0.2"), 1, WhenFull::Queue, 0), Answer::Waiting, "another address");
    assert_eq!((shares.poll(), shares.poll()), (Some(Action::Refuse(3)), None), "the last of the fullest");
    assert_eq!(shares.claim(5, origin("10.0.0.1"), 1, WhenFull::Queue, 0), Answer::Refused);
    shares.release(1, 1);
    assert_eq!(shares.poll(), Some(Action::Grant(2)), "the first come of equals");
}

/// What its holder does not need goes to whoever waits, but not from the light to the heavy.
#[test]
fn p13_what_is_spare_is_taken_back_between_equals_and_within_an_address() {
    let origin = |text: &str| Origin::of(text.parse().unwrap());
    for (held, waits, expected) in [
        (&["10.0.0.1", "10.1.0.1"][..], "10.2.0.1", Some(1)),
        (&["10.0.0.1", "10.1.0.1"], "10.1.0.1", Some(2)),
        (&["10.0.0.1", "10.0.0.1"], "10.0.0.1", Some(1)),
        (&["10.0.0.1", "10.0.1.1"], "10.0.0.2", Some(1)),
    ] {
        for spare in [false, true] {
            let mut shares = Shares::new(2, 1);
            if spare {
                shares = shares.of_what_is_spare(10, 100);
            }
            for (id, ip) in (1..).zip(held) {
                assert_eq!(shares.claim(id, origin(ip), 1, WhenFull::Queue, id), Answer::Granted);
            }
            assert_eq!(shares.claim(9, origin(waits), 1, WhenFull::Queue, 9), Answer::Waiting);
            assert_eq!(shares.poll(), None, "nothing is spare yet");
            shares.look(12);
            assert_eq!(shares.poll(), expected.filter(|_| spare).map(Action::Reclaim), "{held:?} {waits}");
        }
    }
    // One network has all but one in use: it does not get the one that a lighter network has parked.
    let mut shares = Shares::new(3, 1).of_what_is_spare(0, 0);
    for (id, ip) in [(1, "10.0.0.1"), (2, "10.0.0.2"), (3, "10.1.0.1")] {
        shares.claim(id, origin(ip), 1, WhenFull::Queue, id);
        shares.hold(id, id == 3);
    }
    assert_eq!(shares.claim(9, origin("10.0.0.3"), 1, WhenFull::Queue, 9), Answer::Waiting);
    assert_eq!(shares.poll(), None);
}

/// The name of a claim; counts how often two are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted(u64);

thread_local! {
    static COMPARED: Cell<u64> = const { Cell::new(0) };
}

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARED.set(COMPARED.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Clients of one block that all wait for what their neighbour holds: each promise to one moves all others back, and the work grew with
/// the square of their number. 500 connections a second, and the listener took no others.
#[test]
fn p13_a_claim_costs_little_however_many_of_one_network_wait() {
    const WAITING: u16 = 256;
    let at = |site: u8, n: u16| {
        Origin::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | u32::from(site) << 16 | u32::from(n))))
    };
    let mut shares = Shares::new(4 * u64::from(WAITING), WAITING.into());
    for n in 0..4 * WAITING {
        assert_eq!(shares.claim(Counted(n.into()), at(0, 0), 1, WhenFull::Queue, 0), Answer::Granted);
    }
    let mut most = 0;
    for n in 0..WAITING {
        COMPARED.set(0);
        assert_eq!(
            shares.claim(Counted((5 * WAITING + n).into()), at(0, 256 + n), 1, WhenFull::Queue, 1),
            Answer::Waiting
        );
        most = most.max(COMPARED.get());
    }
    while let Some(Action::Reclaim(id)) = shares.poll() {
        COMPARED.set(0);
        shares.release(id, 2);
        most = most.max(COMPARED.get());
    }
    assert!(most < 100 * u64::from(WAITING), "{most} comparisons for one claim");
}
