//! Where an octet is.
//!
//! Not by the crate memchr where a program serves one connection and ends: before its first look it asks the processor what that can
//! do (CPUID), which a virtual machine's hypervisor answers nine times, ten microseconds each.

use crate::split;

/// Octets that are compared at once; every x86-64 and every ARM processor has registers of this length.
const AT_ONCE: usize = 16;

/// Where `octet` is first.
#[must_use]
pub fn first(octet: u8, text: &[u8]) -> Option<usize> {
    position(text, |other| other == octet)
}

/// Where `one` or `other` is first.
#[must_use]
pub fn first_of(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    position(text, |octet| (octet == one) | (octet == other))
}

/// Where `octet` is last.
#[must_use]
pub fn last(octet: u8, text: &[u8]) -> Option<usize> {
    text.iter().rposition(|other| *other == octet)
}

fn position(text: &[u8], is: impl Fn(u8) -> bool) -> Option<usize> {
    let has = |octets: &[u8]| octets.iter().fold(false, |has, octet| has | is(*octet));
    let without = text.chunks_exact(AT_ONCE).take_while(|octets| !has(octets)).count().saturating_mul(AT_ONCE);
    let (_, rest) = split(text, without);
    rest.iter().position(|octet| is(*octet)).map(|at| at.saturating_add(without))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_14_each_place_of_each_length_is_found() {
        for length in 0..70 {
            let mut text = vec![b'x'; length];
            assert_eq!((first(b'\n', &text), first_of(b'\r', b'\n', &text), last(b'\n', &text)), (None, None, None));
            for at in 0..length {
                text[at..].fill(b'\n');
                assert_eq!(first(b'\n', &text), memchr::memchr(b'\n', &text));
                assert_eq!(first_of(b'\n', b'\r', &text), Some(at));
                assert_eq!(first_of(b'\r', b'\n', &text), Some(at));
                text[at..].fill(b'x');
                text[at] = b'\n';
                assert_eq!((first(b'\n', &text), last(b'\n', &text)), (Some(at), Some(at)));
                text[at] = b'x';
            }
        }
    }
}
