//! What is used one after the other: signatures and look-ups.

use crate::{Random, SCENARIOS, client_in};
use gatepost_policy::fair_queue::{FairQueue, Reclaim, Turn};
use gatepost_policy::share::Origin;
use gatepost_policy::turns::Turns;
use std::collections::BTreeMap;

/// Handshakes: one signature is made at a time.
#[test]
fn p13_a_newcomer_waits_for_one_signature_of_each_network() {
    let mut longest = 0;
    for seed in 0..SCENARIOS {
        let mut random = Random(seed);
        let (blocks, cost) = (random.between(1, 12), random.between(1, 5));
        let (mut turns, mut now) = (Turns::new(), 0);
        let mut waiting: Vec<(u64, Origin)> = Vec::new();
        let mut serve = |waiting: &mut Vec<(u64, Origin)>, random: &mut Random| {
            for id in 0..random.below(4) {
                waiting.push((id, client_in(random.below(blocks), random)));
            }
            let next = turns.next(waiting.iter().enumerate().map(|(at, (_, origin))| (at, *origin)), now);
            let served = next.map(|at| waiting.remove(at));
            if let Some((_, origin)) = served {
                turns.spend(origin, cost * 1000, now);
            }
            // Nobody waits while it rests.
            now += cost + if waiting.is_empty() { random.below(4000) } else { 0 };
            served.map(|(id, _)| id)
        };
        for _ in 0..random.between(0, 40) {
            serve(&mut waiting, &mut random);
        }
        waiting.push((u64::MAX, client_in(blocks + 1, &mut random)));
        let waits = (1..).find(|_| serve(&mut waiting, &mut random) == Some(u64::MAX)).unwrap();
        assert!(waits <= blocks + 1, "seed {seed}: {waits} signatures with attackers in {blocks} networks");
        longest = longest.max(waits);
    }
    assert!(longest > 1, "some had to wait");
}

/// Milliseconds that a look-up may take while others wait.
const LONG: u64 = 1000;
/// The longest that one takes.
const LOOK_UP: u64 = 10_000;
/// Milliseconds from one look at the queue to the next.
const STEP: u64 = 100;

/// Look-ups of attackers, who have always more of them waiting than are served, and the newcomer's, number `u64::MAX`.
struct LookUps {
    queue: FairQueue<u64>,
    random: Random,
    blocks: u64,
    at_once: u64,
    now: u64,
    /// When each ends by itself.
    ends: BTreeMap<u64, Turn>,
}

impl LookUps {
    /// Some milliseconds, in which look-ups end, by themselves or because others wait, and others begin. Whether the newcomer's began.
    fn go_on(&mut self) -> bool {
        self.now += STEP;
        for n in 0..self.random.below(2 * self.at_once) {
            let _ = self.queue.push(client_in(self.random.below(self.blocks), &mut self.random), n, self.now);
        }
        let still = self.ends.split_off(&(self.now * 1000));
        for turn in std::mem::replace(&mut self.ends, still).into_values() {
            self.queue.ended(turn, self.now);
        }
        let mut begun = false;
        while let Some((turn, request)) = self.queue.next(self.now) {
            begun |= request == u64::MAX;
            let end = self.now + self.random.between(1, LOOK_UP);
            self.ends.insert(end * 1000 + self.ends.len() as u64, turn);
        }
        while let Reclaim::Turn(turn) = self.queue.reclaim(LONG, self.now) {
            self.ends.retain(|_, held| *held != turn);
            // As soon as it is told.
            self.ends.insert(self.now * 1000 + self.ends.len() as u64, turn);
        }
        begun
    }
}

#[test]
fn p13_a_newcomer_has_its_look_up_within_the_time_of_a_turn() {
    let (mut longest, mut at_once_served) = (0, 0);
    for seed in 0..SCENARIOS {
        let mut random = Random(seed);
        let at_once = random.between(3, 12);
        let blocks = random.between(1, (at_once - 1) / 2);
        let queue = FairQueue::new(4 * at_once as usize, at_once as usize);
        let warm_up = random.between(0, 40);
        let mut world = LookUps { queue, random, blocks, at_once, now: 0, ends: BTreeMap::new() };
        for _ in 0..warm_up {
            world.go_on();
        }
        let came = world.now;
        let newcomer = client_in(blocks + 1, &mut world.random);
        assert_eq!(
            world.queue.push(newcomer, u64::MAX, came).filter(|refused| *refused == u64::MAX),
            None,
            "seed {seed}"
        );
        let waited = (1..).find(|_| world.go_on()).unwrap() * STEP;
        assert!(
            waited <= LONG + 2 * STEP,
            "seed {seed}: {waited} ms with attackers in {blocks} networks, {at_once} at once"
        );
        longest = longest.max(waited);
        at_once_served += u64::from(waited <= STEP);
    }
    assert!(longest > LONG / 2, "some had to wait: {longest}");
    assert!(at_once_served < SCENARIOS, "{at_once_served}");
}
