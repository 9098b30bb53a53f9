//! Maps that remember clients and must not grow with their number.

use std::collections::BTreeMap;

/// Forgets half of the entries, those of the lowest rank. Looking at all of them is paid for by as many that are put in
/// before the next time.
pub(crate) fn forget_half<K: Ord, V>(map: &mut BTreeMap<K, V>, rank: impl Fn(&V) -> u64) {
    let mut ranks: Vec<u64> = map.values().map(&rank).collect();
    let half = ranks.len() / 2;
    if half == 0 {
        return;
    }
    let (_, limit, above) = ranks.select_nth_unstable(half);
    let limit = *limit;
    // Of those that are equal as many as there is room for.
    let mut room = above.iter().filter(|rank| **rank == limit).count().saturating_add(1);
    map.retain(|_, value| {
        let rank = rank(value);
        let keep = rank > limit || (rank == limit && room > 0);
        if rank == limit {
            room = room.saturating_sub(1);
        }
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_half_is_forgotten_whatever_is_equal() {
        for (ranks, left) in [
            (&[][..], &[][..]),
            (&[5], &[5]),
            (&[1, 2, 3, 4], &[3, 4]),
            (&[4, 4, 4, 4, 4], &[4, 4, 4]),
            (&[9, 1, 1, 1, 1, 1], &[9, 1, 1]),
            (&[1, 9, 9, 9, 9, 9], &[9, 9, 9]),
        ] {
            let mut map: BTreeMap<usize, u64> = ranks.iter().copied().enumerate().collect();
            forget_half(&mut map, |rank| *rank);
            assert_eq!(map.into_values().collect::<Vec<_>>(), left, "{ranks:?}");
        }
    }
}
