//! Lines that wait for the log to take them, bounded in all and for each sender. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;

/// Octets of all lines that wait.
const TOTAL: usize = 512 * 1024;
/// Octets of one sender's lines that wait: whoever says much does not take the place of the others.
const OF_ONE: usize = 128 * 1024;

/// Lines that are written at once.
const AT_ONCE: usize = 64;

/// Lines in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    lines: VecDeque<(u64, Vec<u8>)>,
    /// Octets of the first line that have been written.
    written: usize,
    total: usize,
    by_sender: BTreeMap<u64, usize>,
    lost: u32,
}

impl Backlog {
    /// Adds a line, or counts it as lost when there is no room.
    pub(crate) fn push(&mut self, sender: u64, line: Vec<u8>) {
        let of_sender = self.by_sender.get(&sender).copied().unwrap_or_default();
        let length = line.len();
        if self.total.saturating_add(length) > TOTAL || of_sender.saturating_add(length) > OF_ONE {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        self.total = self.total.saturating_add(length);
        self.by_sender.insert(sender, of_sender.saturating_add(length));
        self.lines.push_back((sender, line));
    }

    /// Nothing waits to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What is to be written next.
    pub(crate) fn next(&self) -> Vec<IoSlice<'_>> {
        let lines = self.lines.iter().take(AT_ONCE).map(|(_, line)| line.as_slice());
        let mut slices: Vec<IoSlice<'_>> = lines.map(IoSlice::new).collect();
        if let (Some(first), Some((_, line))) = (slices.first_mut(), self.lines.front()) {
            *first = IoSlice::new(line.get(self.written..).unwrap_or_default());
        }
        slices
    }

    /// So much of it has been written.
    pub(crate) fn wrote(&mut self, octets: usize) {
        self.written = self.written.saturating_add(octets);
        while let Some((sender, line)) = self.lines.front() {
            let (sender, length) = (*sender, line.len());
            let Some(more) = self.written.checked_sub(length) else { return };
            self.written = more;
            self.lines.pop_front();
            self.forget(sender, length);
        }
    }

    fn forget(&mut self, sender: u64, length: usize) {
        self.total = self.total.saturating_sub(length);
        let left = self.by_sender.get(&sender).copied().unwrap_or_default().saturating_sub(length);
        if left == 0 {
            self.by_sender.remove(&sender);
        } else {
            self.by_sender.insert(sender, left);
        }
    }

    /// What is to be written next can't be.
    pub(crate) fn skip(&mut self) {
        let left = self.next().first().map_or(0, |line| line.len());
        self.wrote(left);
        self.lost = self.lost.saturating_add(1);
    }

    /// How many lines were lost, to be said now that everything else has been written. 0 at the next call.
    pub(crate) fn take_lost(&mut self) -> u32 {
        if self.lines.is_empty() { std::mem::take(&mut self.lost) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(backlog: &mut Backlog, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !backlog.is_empty() {
            let octets: Vec<u8> = backlog.next().iter().flat_map(|line| line.to_vec()).collect();
            let now = &octets[..step.min(octets.len())];
            out.extend_from_slice(now);
            backlog.wrote(now.len());
        }
        out
    }

    #[test]
    fn p14_lines_come_out_whole_and_in_order_however_they_are_written() {
        for step in [1, 2, 3, 7, 100] {
            let mut backlog = Backlog::default();
            for (sender, text) in [(1, "one\n"), (2, "two\n"), (1, "three\n")] {
                backlog.push(sender, text.as_bytes().to_vec());
            }
            assert_eq!(drain(&mut backlog, step), b"one\ntwo\nthree\n");
            assert_eq!((backlog.take_lost(), backlog.total, backlog.by_sender.len()), (0, 0, 0));
        }
    }

    #[test]
    fn p14_what_has_no_room_is_counted_and_one_sender_leaves_room_for_others() {
        let mut backlog = Backlog::default();
        let line = vec![b'x'; 1024];
        for _ in 0..200 {
            backlog.push(1, line.clone());
        }
        backlog.push(2, b"two\n".to_vec());
        for sender in 3..10 {
            for _ in 0..200 {
                backlog.push(sender, line.clone());
            }
        }
        assert!(backlog.total <= TOTAL);
        assert_eq!(backlog.take_lost(), 0, "not before the rest is written");
        let out = drain(&mut backlog, 5000);
        assert!(out.windows(4).any(|window| window == b"two\n"));
        assert_eq!(backlog.take_lost(), 200 * 8 - u32::try_from(out.len() / 1024).unwrap());
        assert_eq!(backlog.take_lost(), 0);
    }
}
