//! One answer for several recipients: who already has a message that the client is going to send again.
//!
//! An LMTP server answers for each recipient (RFC 2033 §4.2), an SMTP client hears one answer for all. Where the results differ the
//! client is told to come again, and here is kept what is needed for that.
//!
//! | results of a transaction | the client hears | remembered |
//! |---|---|---|
//! | all delivered | 250 | who is in an entry of this message is told now: no longer remembered |
//! | all refused for good | 5yz, the first one's | the same |
//! | all refused for now | 4yz, the first one's | nothing new |
//! | they differ | 451 | an entry: who has it, who is refused for good |
//! | they differ, and the client said PRDR | each result | who is told is no longer remembered |
//!
//! | while an entry of this client network and envelope exists | |
//! |---|---|
//! | RCPT whose state in it differs from that of the transaction's first | 452: it comes in a transaction of its own |
//! | RCPT for one who has it | 250, without asking the backend: it may be full by that very message |
//! | content: the same, and each recipient was one of that message | not sent to who has it, who counts as delivered; sent to all others |
//! | content: anything else | sent to all |
//! | our answer does not arrive, the process ends, the entry is displaced or too old | sent to all: a duplicate, never a loss |
//!
//! So a message is skipped only for a recipient who has it octet for octet, from the same client network and with the same
//! reverse-path and parameters, and who was not yet reported; and a recipient is refused for good only by what the backend says
//! about that content.

use crate::share::{Network, Origin};
use std::collections::BTreeMap;

/// A digest of 256 bits, made by whoever asks: two things with the same one are taken for the same.
pub type Digest = [u8; 32];

/// Seconds after which an entry is of no more use: longer than a sender tries again (RFC 5321 §4.5.4.1).
pub const AGE_MAX: u64 = 6 * 24 * 3600;
/// Entries of one source: each costs a comparison for a recipient.
const OF_SOURCE_MAX: usize = 64;
/// Octets that an entry takes without its recipients.
const ENTRY: usize = 192;

/// What became of a message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// The backend has taken it.
    Delivered,
    /// Not now, or nobody knows.
    Deferred,
    /// Refused for good.
    Refused,
}

/// The status that all share; `None`: they differ. Nobody at all: [`DeliveryStatus::Deferred`].
pub fn shared(statuses: impl IntoIterator<Item = DeliveryStatus>) -> Option<DeliveryStatus> {
    let mut statuses = statuses.into_iter();
    let first = statuses.next().unwrap_or(DeliveryStatus::Deferred);
    statuses.all(|status| status == first).then_some(first)
}

/// Where a message is from: a network of clients (IPv4 /24, IPv6 /48), and all of the envelope but its recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    network: Network,
    envelope: Digest,
}

impl Source {
    /// `envelope`: of the reverse-path and the parameters of MAIL.
    #[must_use]
    pub fn new(client: Origin, envelope: Digest) -> Self {
        let [_, network, _] = client.path();
        Self { network, envelope }
    }
}

/// A recipient of a message that is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecipientState {
    /// Has it; the client does not know.
    Delivered,
    /// Refused for good; the client does not know.
    Refused,
    /// Neither, or the client was told.
    Open,
}

#[derive(Debug)]
struct Entry {
    /// Seconds, when it last changed.
    at: u64,
    /// All recipients that the message had, each once, in order.
    recipients: Vec<(Digest, RecipientState)>,
}

impl Entry {
    fn octets(&self) -> usize {
        ENTRY.saturating_add(self.recipients.len().saturating_mul(size_of::<(Digest, RecipientState)>()))
    }

    fn find(&self, recipient: &Digest) -> Option<RecipientState> {
        let at = self.recipients.binary_search_by_key(recipient, |(known, _)| *known).ok()?;
        self.recipients.get(at).map(|(_, state)| *state)
    }

    fn state(&self, recipient: &Digest) -> RecipientState {
        self.find(recipient).unwrap_or(RecipientState::Open)
    }

    fn set(&mut self, recipient: &Digest, state: RecipientState) {
        match self.recipients.binary_search_by_key(recipient, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, known)) = self.recipients.get_mut(at) {
                    *known = state;
                }
            }
            Err(at) => self.recipients.insert(at, (*recipient, state)),
        }
    }

    fn is_over(&self) -> bool {
        self.recipients.iter().all(|(_, state)| *state == RecipientState::Open)
    }
}

/// Messages that are awaited again, in bounded memory. When that is used up, the network that has most of it loses its oldest entry.
#[derive(Debug)]
pub struct PartialDeliveries {
    entries: BTreeMap<(Source, Digest), Entry>,
    octets: usize,
    octets_max: usize,
}

impl PartialDeliveries {
    /// An empty one that takes `octets` at most.
    #[must_use]
    pub fn new(octets: usize) -> Self {
        Self { entries: BTreeMap::new(), octets: 0, octets_max: octets }
    }

    /// No message is awaited from anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn of(&self, source: Source, now: u64) -> impl Iterator<Item = &Entry> {
        let all = (source, [0; 32])..=(source, [u8::MAX; 32]);
        self.entries.range(all).map(|(_, entry)| entry).filter(move |entry| is_fresh(entry, now))
    }

    /// A message from there is awaited.
    #[must_use]
    pub fn awaits(&self, source: Source, now: u64) -> bool {
        self.of(source, now).next().is_some()
    }

    /// Both recipients may be in one transaction: in each awaited message from there they have the same state.
    #[must_use]
    pub fn agree(&self, source: Source, first: &Digest, other: &Digest, now: u64) -> bool {
        self.of(source, now).all(|entry| entry.state(first) == entry.state(other))
    }

    /// The recipient has an awaited message from there: another one may be refused to it, but this one must not be.
    #[must_use]
    pub fn has_one(&self, source: Source, recipient: &Digest, now: u64) -> bool {
        self.of(source, now).any(|entry| entry.state(recipient) == RecipientState::Delivered)
    }

    /// For each recipient of a message, whether it has it already.
    #[must_use]
    pub fn have(&self, source: Source, content: &Digest, recipients: &[Digest], now: u64) -> Vec<bool> {
        let entry = self.entries.get(&(source, *content)).filter(|entry| is_fresh(entry, now));
        // With a recipient that the earlier message did not have it is another message, however much alike they are.
        let again = entry.filter(|entry| recipients.iter().all(|recipient| entry.find(recipient).is_some()));
        let has = |recipient| again.is_some_and(|entry| entry.state(recipient) == RecipientState::Delivered);
        recipients.iter().map(has).collect()
    }

    /// The client is about to hear one answer to a message, the status that is given back; `None`: they differ, so it must come again.
    pub fn one_answer(
        &mut self,
        source: Source,
        content: &Digest,
        statuses: &[(Digest, DeliveryStatus)],
        now: u64,
    ) -> Option<DeliveryStatus> {
        let shared = shared(statuses.iter().map(|(_, status)| *status));
        match shared {
            Some(DeliveryStatus::Deferred) => {}
            Some(DeliveryStatus::Delivered | DeliveryStatus::Refused) => self.told(source, content, statuses),
            None => self.remember(source, content, statuses, now),
        }
        shared
    }

    /// The client is about to hear these statuses, or the one that they share.
    pub fn told(&mut self, source: Source, content: &Digest, statuses: &[(Digest, DeliveryStatus)]) {
        let key = (source, *content);
        let Some(mut entry) = self.remove(&key) else { return };
        for (recipient, status) in statuses {
            if *status != DeliveryStatus::Deferred && entry.find(recipient).is_some() {
                entry.set(recipient, RecipientState::Open);
            }
        }
        self.insert(key, entry);
    }

    fn remember(&mut self, source: Source, content: &Digest, statuses: &[(Digest, DeliveryStatus)], now: u64) {
        let key = (source, *content);
        let known = self.remove(&key).filter(|entry| is_fresh(entry, now));
        let mut entry = known.unwrap_or(Entry { at: now, recipients: Vec::with_capacity(statuses.len()) });
        entry.at = now;
        for wanted in [DeliveryStatus::Deferred, DeliveryStatus::Refused, DeliveryStatus::Delivered] {
            // Somebody who was named twice has it if one of both was delivered.
            for (recipient, _) in statuses.iter().filter(|(_, status)| *status == wanted) {
                let state = match wanted {
                    DeliveryStatus::Delivered => RecipientState::Delivered,
                    DeliveryStatus::Refused => RecipientState::Refused,
                    DeliveryStatus::Deferred => RecipientState::Open,
                };
                entry.set(recipient, state);
            }
        }
        self.insert(key, entry);
        self.entries.retain(|_, entry| {
            let fresh = is_fresh(entry, now);
            if !fresh {
                self.octets = self.octets.saturating_sub(entry.octets());
            }
            fresh
        });
        while self.of(source, now).count() > OF_SOURCE_MAX {
            self.displace(|(known, _)| known == &source);
        }
        while self.octets > self.octets_max {
            let most = self.largest();
            self.displace(|(known, _)| Some(known.network) == most);
        }
    }

    /// The network that takes most.
    fn largest(&self) -> Option<Network> {
        let mut sums: BTreeMap<Network, usize> = BTreeMap::new();
        for ((source, _), entry) in &self.entries {
            let sum = sums.entry(source.network).or_default();
            *sum = sum.saturating_add(entry.octets());
        }
        sums.into_iter().max_by_key(|(_, octets)| *octets).map(|(network, _)| network)
    }

    /// Removes the oldest of those.
    fn displace(&mut self, of: impl Fn(&(Source, Digest)) -> bool) {
        let oldest = self.entries.iter().filter(|(key, _)| of(key)).min_by_key(|(_, entry)| entry.at);
        match oldest.map(|(key, _)| *key) {
            Some(key) => drop(self.remove(&key)),
            // Not reached: whoever asks has seen one. An empty map fits all the same.
            None => {
                self.entries.clear();
                self.octets = 0;
            }
        }
    }

    fn remove(&mut self, key: &(Source, Digest)) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.octets = self.octets.saturating_sub(entry.octets());
        Some(entry)
    }

    fn insert(&mut self, key: (Source, Digest), entry: Entry) {
        if !entry.is_over() {
            self.octets = self.octets.saturating_add(entry.octets());
            self.entries.insert(key, entry);
        }
    }

    /// Octets taken.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }
}

fn is_fresh(entry: &Entry, now: u64) -> bool {
    now.saturating_sub(entry.at) <= AGE_MAX
}
