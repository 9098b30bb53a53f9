//! What was heard a moment ago, each for a time, and no more of it than fits: for one more the oldest goes. The caller says the time, by
//! any clock that does not go back.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Values by key, each until a time `T`.
#[derive(Debug)]
pub struct Recent<K, V, T> {
    most: usize,
    entries: HashMap<K, Entry<V, T>>,
    /// Keys by age, the oldest first.
    order: BTreeMap<u64, K>,
    next: u64,
}

#[derive(Debug)]
struct Entry<V, T> {
    value: V,
    until: T,
    place: u64,
}

impl<K: Clone + Eq + Hash, V, T: Copy + PartialOrd> Recent<K, V, T> {
    /// Of `most` values at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, entries: HashMap::new(), order: BTreeMap::new(), next: 0 }
    }

    /// The value of `key`, and until when it is good, unless that is over.
    #[must_use]
    pub fn get(&self, key: &K, now: T) -> Option<(&V, T)> {
        self.entries.get(key).filter(|entry| entry.until > now).map(|entry| (&entry.value, entry.until))
    }

    /// Keeps `value` until then, in the place of an earlier one.
    pub fn put(&mut self, key: K, value: V, until: T) {
        if let Some(before) = self.entries.remove(&key) {
            self.order.remove(&before.place);
        }
        while self.entries.len() >= self.most {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.entries.remove(&oldest);
        }
        self.next = self.next.saturating_add(1);
        self.order.insert(self.next, key.clone());
        self.entries.insert(key, Entry { value, until, place: self.next });
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_until_its_time() {
        let mut recent = Recent::new(2);
        recent.put('a', 1, 10);
        assert_eq!(recent.get(&'a', 9), Some((&1, 10)));
        assert_eq!(recent.get(&'a', 10), None);
        recent.put('a', 2, 20);
        assert_eq!(recent.get(&'a', 10), Some((&2, 20)));
        recent.clear();
        assert_eq!(recent.get(&'a', 0), None);
    }

    #[test]
    fn p6_the_number_of_values_has_an_end_and_the_oldest_goes_first() {
        let (most, mut recent) = (100, Recent::new(100));
        for n in 0..most * 3 {
            recent.put(n, n, 1);
            // Heard again and again: one entry all the same, and not the oldest any more.
            recent.put(0, 0, 1);
            assert!(recent.entries.len() <= most && recent.order.len() == recent.entries.len());
        }
        let known = |n| recent.get(&n, 0).is_some();
        assert!(known(0) && known(most * 3 - 1) && !known(1) && !known(most));
    }
}
