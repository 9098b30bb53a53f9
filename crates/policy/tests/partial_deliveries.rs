//! Issue 12, point 8: whatever is tried again, split and lost, nobody who is told that a message was taken goes without it, and
//! nobody gets it twice but where something was lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // Functions shared by tests, too.

use gatepost_policy::partial_deliveries::{AGE_MAX, DeliveryStatus, Digest, PartialDeliveries, Source};
use gatepost_policy::share::Origin;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MEMORY: usize = 1 << 16;

fn digest(number: u8) -> Digest {
    let mut digest = [0; 32];
    digest[7] = number;
    digest
}

fn source(network: u8, envelope: u8) -> Source {
    Source::new(Origin::of([192, 0, network, 9].into()), digest(envelope))
}

/// Choices; at its end the first one for ever, so that every run ends.
struct Tape<'t>(std::slice::Iter<'t, u8>);

impl Tape<'_> {
    fn below(&mut self, bound: u8) -> u8 {
        self.0.next().copied().unwrap_or_default() % bound
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == n - 1
    }
}

/// A message that its sender has not got rid of.
struct Message {
    source: Source,
    content: Digest,
    pending: BTreeSet<u8>,
}

/// A server that does with its partial deliveries what handoff does, in front of mailboxes.
struct World<'t> {
    partial: PartialDeliveries,
    tape: Tape<'t>,
    now: u64,
    /// Whether anything may be lost.
    losses: bool,
    /// Copies of a content that a recipient has.
    copies: BTreeMap<(Digest, u8), u32>,
    /// Messages to a recipient that were reported as taken, and as refused for good.
    taken: BTreeMap<(Digest, u8), u32>,
    refused: BTreeMap<(Digest, u8), u32>,
    /// What each mailbox says, once its tape says nothing new.
    mailboxes: BTreeMap<u8, DeliveryStatus>,
    transactions: u32,
}

impl World<'_> {
    fn backend(&mut self, content: Digest, recipient: u8) -> DeliveryStatus {
        let status = match self.tape.below(5) {
            1 => DeliveryStatus::Deferred,
            2 => DeliveryStatus::Refused,
            3 => DeliveryStatus::Delivered,
            _ => self.mailboxes[&recipient],
        };
        if status == DeliveryStatus::Delivered {
            *self.copies.entry((content, recipient)).or_default() += 1;
        }
        status
    }

    /// One transaction to some of those that are pending; what remains pending is left in the message.
    fn attempt(&mut self, message: &mut Message, wanted: &[u8]) {
        self.transactions += 1;
        self.now += 60;
        let mut recipients: Vec<u8> = Vec::new();
        for recipient in wanted {
            let first = recipients.first().map(|first| digest(*first));
            if first.is_none_or(|first| self.partial.agree(message.source, &first, &digest(*recipient), self.now)) {
                recipients.push(*recipient);
            }
        }
        let ids: Vec<Digest> = recipients.iter().map(|recipient| digest(*recipient)).collect();
        let have = self.partial.have(message.source, &message.content, &ids, self.now);
        let mut statuses = Vec::new();
        for (recipient, has) in recipients.iter().zip(have) {
            if self.losses && self.tape.one_in(40) {
                // The process is killed: its partial deliveries are gone, and the client hears nothing.
                self.partial = PartialDeliveries::new(MEMORY);
                return;
            }
            let status = if has { DeliveryStatus::Delivered } else { self.backend(message.content, *recipient) };
            statuses.push((digest(*recipient), status));
        }
        let each = self.tape.one_in(8);
        let told: Vec<DeliveryStatus> = if each {
            self.partial.told(message.source, &message.content, &statuses);
            statuses.iter().map(|(_, status)| *status).collect()
        } else {
            let answer = self.partial.one_answer(message.source, &message.content, &statuses, self.now);
            statuses.iter().map(|_| answer.unwrap_or(DeliveryStatus::Deferred)).collect()
        };
        if self.losses && self.tape.one_in(20) {
            return;
        }
        for (recipient, status) in recipients.iter().zip(told) {
            let reports = match status {
                DeliveryStatus::Deferred => continue,
                DeliveryStatus::Delivered => &mut self.taken,
                DeliveryStatus::Refused => &mut self.refused,
            };
            *reports.entry((message.content, *recipient)).or_default() += 1;
            message.pending.remove(recipient);
        }
        assert!(self.partial.octets() <= MEMORY);
    }

    /// What a client sends now: all that is pending in its order, or a part.
    fn choice(&mut self, message: &Message) -> Vec<u8> {
        let mut all: Vec<u8> = message.pending.iter().copied().collect();
        let turn = usize::from(self.tape.below(4)) % all.len();
        all.rotate_left(turn);
        if self.tape.one_in(3) {
            all.truncate(1 + usize::from(self.tape.below(4)));
        }
        all
    }
}

fn story<'t>(tape: &'t [u8], losses: bool, envelopes: &[(u8, u8, u8)]) -> World<'t> {
    let mut world = World {
        partial: PartialDeliveries::new(MEMORY),
        tape: Tape(tape.iter()),
        now: 1000,
        losses,
        copies: BTreeMap::new(),
        taken: BTreeMap::new(),
        refused: BTreeMap::new(),
        mailboxes: BTreeMap::new(),
        transactions: 0,
    };
    for recipient in 0..6 {
        let status = if world.tape.below(2) == 0 { DeliveryStatus::Delivered } else { DeliveryStatus::Refused };
        world.mailboxes.insert(recipient, status);
    }
    let mut messages: Vec<Message> = envelopes
        .iter()
        .map(|&(network, envelope, content)| {
            let pending = (0..6).filter(|_| world.tape.below(4) > 0).chain([0]).collect();
            Message { source: source(network, envelope), content: digest(content), pending }
        })
        .collect();
    // Each message's retries come one after the other, those of several messages in any order.
    while !messages.is_empty() {
        let at = usize::from(world.tape.below(8)) % messages.len();
        let mut message = messages.swap_remove(at);
        let wanted = world.choice(&message);
        world.attempt(&mut message, &wanted);
        if !message.pending.is_empty() {
            messages.push(message);
        }
        assert!(world.transactions < 2000, "a message is never got rid of");
    }
    world
}

/// Two of the same sender, one of another with the content of the first, one from elsewhere with the same, and one of another
/// content.
const ENVELOPES: [(u8, u8, u8); 5] = [(1, 1, 1), (1, 1, 2), (1, 2, 3), (2, 1, 4), (2, 1, 5)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn issue_12_without_a_loss_each_gets_one_copy_of_what_was_taken(tape in prop::collection::vec(any::<u8>(), 0..400)) {
        let world = story(&tape, false, &ENVELOPES);
        for (what, copies) in &world.copies {
            prop_assert_eq!(world.taken.get(what).copied(), Some(*copies), "{:?}", what);
            prop_assert!(!world.refused.contains_key(what), "{:?}", what);
        }
        prop_assert!(world.taken.keys().all(|what| world.copies.contains_key(what)));
    }

    #[test]
    fn p1_whatever_is_lost_what_was_taken_is_there(tape in prop::collection::vec(any::<u8>(), 0..400)) {
        let world = story(&tape, true, &ENVELOPES);
        for (what, times) in &world.taken {
            prop_assert!(world.copies.get(what).is_some_and(|copies| copies >= times), "{:?}", what);
        }
    }

    /// As much alike as messages can be that are not the same: only the network or the envelope differs.
    #[test]
    fn p1_a_message_that_only_looks_like_another_is_not_swallowed(tape in prop::collection::vec(any::<u8>(), 0..400)) {
        let world = story(&tape, true, &[(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 1)]);
        for (what, times) in &world.taken {
            prop_assert!(world.copies.get(what).is_some_and(|copies| copies >= times), "{:?}", what);
        }
    }
}

const A: u8 = 1;
const B: u8 = 2;
const C: u8 = 3;

fn statuses(statuses: &[(u8, DeliveryStatus)]) -> Vec<(Digest, DeliveryStatus)> {
    statuses.iter().map(|(recipient, status)| (digest(*recipient), *status)).collect()
}

/// A has it, B is refused for good, C has to wait.
fn awaited() -> PartialDeliveries {
    let mut partial = PartialDeliveries::new(MEMORY);
    let all = statuses(&[(A, DeliveryStatus::Delivered), (B, DeliveryStatus::Refused), (C, DeliveryStatus::Deferred)]);
    assert_eq!(partial.one_answer(source(1, 1), &digest(9), &all, 0), None);
    partial
}

#[test]
fn issue_12_only_the_same_message_is_skipped() {
    let partial = awaited();
    let has = |source, content, recipients: &[u8], now| {
        let ids: Vec<Digest> = recipients.iter().map(|recipient| digest(*recipient)).collect();
        partial.have(source, &digest(content), &ids, now)
    };
    let same = source(1, 1);
    for (what, source, content, recipients, now, skipped) in [
        ("the same", same, 9, &[A, B, C][..], 60, &[true, false, false][..]),
        ("split", same, 9, &[A], 60, &[true]),
        (
            "another address of the network",
            Source::new(Origin::of([192, 0, 1, 200].into()), digest(1)),
            9,
            &[A],
            60,
            &[true],
        ),
        ("another network", source(2, 1), 9, &[A], 60, &[false]),
        ("another reverse-path", source(1, 2), 9, &[A], 60, &[false]),
        ("other content", same, 8, &[A], 60, &[false]),
        ("one recipient more", same, 9, &[A, 7], 60, &[false, false]),
        ("too late", same, 9, &[A], AGE_MAX + 1, &[false]),
    ] {
        assert_eq!(has(source, content, recipients, now), skipped, "{what}");
    }
}

#[test]
fn issue_12_recipients_are_split_by_their_standing_while_a_message_is_awaited() {
    let mut partial = awaited();
    let agree = |partial: &PartialDeliveries, source, a, b, now| partial.agree(source, &digest(a), &digest(b), now);
    for (a, b, together) in [(A, A, true), (A, B, false), (B, A, false), (A, C, false), (B, C, false), (C, 7, true)] {
        assert_eq!(agree(&partial, source(1, 1), a, b, 60), together, "{a} {b}");
        assert!(agree(&partial, source(1, 2), a, b, 60) && agree(&partial, source(2, 1), a, b, 60));
        assert!(agree(&partial, source(1, 1), a, b, AGE_MAX + 1));
    }
    assert!(partial.has_one(source(1, 1), &digest(A), 60) && !partial.has_one(source(1, 1), &digest(B), 60));

    // Who is told counts no more; the last one ends it.
    let told = |partial: &mut PartialDeliveries, recipient, status| {
        partial.one_answer(source(1, 1), &digest(9), &statuses(&[(recipient, status)]), 120)
    };
    assert_eq!(told(&mut partial, A, DeliveryStatus::Delivered), Some(DeliveryStatus::Delivered));
    assert_eq!(partial.have(source(1, 1), &digest(9), &[digest(A)], 120), [false], "a message of its own by now");
    assert!(agree(&partial, source(1, 1), A, C, 120) && !agree(&partial, source(1, 1), A, B, 120));
    assert_eq!(told(&mut partial, C, DeliveryStatus::Deferred), Some(DeliveryStatus::Deferred));
    assert!(partial.awaits(source(1, 1), 120));
    assert_eq!(told(&mut partial, B, DeliveryStatus::Refused), Some(DeliveryStatus::Refused));
    assert!(!partial.awaits(source(1, 1), 120) && partial.octets() == 0);
}

#[test]
fn p13_partial_deliveries_are_bounded_and_a_network_that_has_most_of_them_displaces_its_own() {
    let mut partial = awaited();
    for number in 0..20_000_u64 {
        let mut content = [0; 32];
        content[..8].copy_from_slice(&number.to_le_bytes());
        let from = Source::new(Origin::of([203, 0, 113, 9].into()), content);
        let mixed = statuses(&[(A, DeliveryStatus::Delivered), (B, DeliveryStatus::Refused)]);
        assert_eq!(partial.one_answer(from, &content, &mixed, number), None);
        assert!(partial.octets() <= MEMORY);
    }
    assert!(partial.awaits(source(1, 1), 0), "somebody else's is still there");
    // One source alone: each of its recipients is compared with each of its entries.
    let mut partial = PartialDeliveries::new(1 << 24);
    for number in 0..100 {
        let mixed = statuses(&[(A, DeliveryStatus::Delivered), (B, DeliveryStatus::Refused)]);
        assert_eq!(partial.one_answer(source(1, 1), &digest(number), &mixed, u64::from(number)), None);
    }
    let kept = (0..100).filter(|number| partial.have(source(1, 1), &digest(*number), &[digest(A)], 100) == [true]);
    assert_eq!(kept.collect::<Vec<u8>>(), (36..100).collect::<Vec<u8>>());
    // A message to more than there is room for is not remembered at all.
    let mut partial = PartialDeliveries::new(1000);
    let many: Vec<_> = (0..100)
        .map(|n| (digest(n), if n == 0 { DeliveryStatus::Refused } else { DeliveryStatus::Delivered }))
        .collect();
    assert_eq!(partial.one_answer(source(1, 1), &digest(1), &many, 0), None);
    assert_eq!((partial.octets(), partial.awaits(source(1, 1), 0)), (0, false));
}
