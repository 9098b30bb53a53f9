//! Hops: how many hosts and mailboxes a message has been through already, by its header.

use gatepost_smtp::find;

use crate::split;

/// A message with so many hops is looping.
const HOPS_MAX: u32 = 100;
/// Whatever begins a line of the header so, with a colon or without, is a hop.
const HOPS: [&[u8]; 2] = [b"received", b"delivered"];

/// Counts hops in content as it is stored, in any segmentation.
#[derive(Debug)]
pub(super) struct Hops {
    in_header: bool,
    /// Octets of this line, while it may still become a hop.
    start: usize,
    /// Which of [`HOPS`] it may still become.
    may_be: [bool; 2],
    count: u32,
}

impl Hops {
    pub(super) fn new() -> Self {
        Self { in_header: true, start: 0, may_be: [true; 2], count: 0 }
    }

    pub(super) fn too_many(&self) -> bool {
        self.count >= HOPS_MAX
    }

    /// Looks at the next octets of content.
    pub(super) fn push(&mut self, content: &[u8]) {
        let mut rest = content;
        while self.in_header {
            if self.may_be == [false; 2] {
                let Some(end) = find::first(b'\n', rest) else { return };
                rest = split(rest, end).1;
            }
            let Some((&octet, behind)) = rest.split_first() else { return };
            rest = behind;
            if octet == b'\n' {
                self.in_header = self.start > 0;
                (self.start, self.may_be) = (0, [true; 2]);
            } else {
                self.compare(octet);
            }
        }
    }

    fn compare(&mut self, octet: u8) {
        for (word, may_be) in HOPS.iter().zip(&mut self.may_be) {
            *may_be &= word.get(self.start) == Some(&octet.to_ascii_lowercase());
            if *may_be && word.len() == self.start.saturating_add(1) {
                self.count = self.count.saturating_add(1);
            }
        }
        self.start = self.start.saturating_add(1);
    }
}
