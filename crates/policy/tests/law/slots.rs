//! Slots of sessions.

use crate::{Random, SCENARIOS, address_in};
use gatepost_policy::admission::{Admission, Limits, SlotClaim};
use gatepost_policy::conduct::{Ending, Offence};
use gatepost_policy::share::Action;
use gatepost_wire::terms::Terms;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Sessions of attackers, some of whose messages are being delivered, and the listener that ends those it is told to.
struct Attack {
    admission: Admission,
    random: Random,
    now: u64,
    last: u64,
    latency: u64,
    /// Of 8 sessions that are to end, so many are delivering.
    delivering: u64,
    claims: BTreeMap<u64, SlotClaim>,
    /// Sessions that end at that time, and those that may be told to end again.
    ends: Vec<(u64, u64)>,
    again: Vec<(u64, u64)>,
    granted: Vec<u64>,
    newcomer: Option<u64>,
}

/// Ticks for which a delivery goes on.
const DELIVERY: u64 = 5;

impl Attack {
    fn connect(&mut self, ip: IpAddr) -> Option<u64> {
        self.last += 1;
        let admitted = self.admission.admit(self.last, ip, &Terms::default(), self.now).ok()?;
        if admitted.waits.is_none() {
            self.granted.push(self.last);
        }
        self.claims.insert(self.last, admitted.claim);
        self.obey();
        Some(self.last)
    }

    fn end(&mut self, id: u64) {
        let offence = (self.random.below(3) == 0).then_some(Offence::Abuse);
        let ending = Ending { delivered: self.random.below(9) == 0, offence, crashed: self.random.below(50) == 0 };
        if let Some(claim) = self.claims.remove(&id) {
            self.admission.ended(claim, ending, self.now);
        }
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(action) = self.admission.poll() {
            match action {
                Action::Grant(id) => self.granted.push(id),
                Action::Refuse(id) => {
                    if let Some(claim) = self.claims.remove(&id) {
                        self.admission.release(claim, self.now);
                    }
                }
                Action::Reclaim(id) if self.random.below(8) < self.delivering => {
                    self.admission.stays(id, self.now);
                    self.again.push((self.now + DELIVERY, id));
                }
                Action::Reclaim(id) => self.ends.push((self.now + self.random.between(1, self.latency), id)),
            }
        }
    }

    fn tick(&mut self, blocks: u64) {
        self.now += 1;
        let now = self.now;
        for (_, id) in self.ends.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            self.end(id);
        }
        for (_, id) in self.again.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            self.admission.may_end(id);
            self.obey();
        }
        for _ in 0..self.random.below(6) {
            let any = self.claims.keys().nth(usize::try_from(self.random.below(32)).unwrap()).copied();
            match (self.random.below(6), any) {
                (0, Some(id)) if Some(id) != self.newcomer => self.end(id),
                _ => {
                    let block = self.random.below(blocks);
                    let ip = address_in(block, &mut self.random);
                    self.connect(ip);
                }
            }
        }
    }
}

#[test]
fn p13_a_newcomer_gets_a_slot_within_the_time_of_one_ending() {
    let (mut longest, mut waited) = (0, 0);
    for seed in 0..SCENARIOS {
        let mut random = Random(seed);
        let sessions = random.between(4, 20);
        let blocks = random.between(1, (sessions - 2) / 2);
        let (latency, delivering) = (random.between(1, 9), random.below(4));
        let limits = Limits {
            sessions: u32::try_from(sessions).unwrap(),
            sessions_per_address: u32::try_from(random.between(1, 20)).unwrap(),
            offences: 30,
            connections: None,
        };
        let mut attack = Attack {
            admission: Admission::new(limits),
            random,
            now: 0,
            last: 0,
            latency,
            delivering,
            claims: BTreeMap::new(),
            ends: Vec::new(),
            again: Vec::new(),
            granted: Vec::new(),
            newcomer: None,
        };
        for _ in 0..sessions * 2 {
            attack.tick(blocks);
            assert!(attack.admission.sessions() <= sessions, "seed {seed}");
        }
        let newcomer = address_in(blocks + 1, &mut attack.random);
        attack.granted.clear();
        let begun = attack.now;
        let id = attack.connect(newcomer).unwrap_or_else(|| panic!("seed {seed}: turned away"));
        attack.newcomer = Some(id);
        // Where some are delivering, the law is that of those that are not; where all may be, of the end of a delivery.
        let most = if delivering == 0 { latency } else { latency + DELIVERY };
        while !attack.granted.contains(&id) {
            assert!(attack.now - begun <= most, "seed {seed}: waits for {} ticks", attack.now - begun);
            attack.tick(blocks);
            assert!(attack.claims.contains_key(&id), "seed {seed}: is refused after all");
        }
        longest = longest.max(attack.now - begun);
        waited += u64::from(attack.now > begun);
    }
    println!("slots: {waited} of {SCENARIOS} newcomers had to wait, the longest for {longest} ticks");
    assert!(waited > SCENARIOS / 4, "the slots were taken: {waited}");
}
