//! Hostile text on its way to a log, an environment or a program: without what could end a line, and not longer than told.

/// Octets that one value of an environment may have: the longest envelope address that qmail-queue takes.
pub const VALUE_MAX: usize = 1002;

/// For an environment or a program, P11: control octets are dropped (NUL and LF among them), 8-bit ones kept as qmail keeps
/// them, and beyond `max` octets it is cut.
#[must_use]
pub fn clean(text: &[u8], max: usize) -> Vec<u8> {
    text.iter().filter(|octet| !octet.is_ascii_control()).take(max).copied().collect()
}

/// For a log line: printable ASCII without a space, everything else as `?`; what is longer than `max` ends in `...`.
#[must_use]
pub fn shown(text: &[u8], max: usize) -> String {
    let mut line: String =
        text.iter().take(max).map(|&octet| if octet.is_ascii_graphic() { char::from(octet) } else { '?' }).collect();
    if text.len() > max {
        line.push_str("...");
    }
    line
}

/// What follows the last `@`, or `None` without any.
#[must_use]
pub fn domain(address: &[u8]) -> Option<&[u8]> {
    gatepost_smtp::find::last(b'@', address).and_then(|at| address.get(at.saturating_add(1)..))
}

/// Decimal digits at the very start, as qmail's `scan_ulong` and 32 bits of storage make them: value modulo 2^32, how many
/// digits there were, whether it wrapped.
#[must_use]
pub fn digits(text: &[u8]) -> (u32, usize, bool) {
    let mut value = 0_u32;
    let mut count = 0_usize;
    let mut wrapped = false;
    for digit in text.iter().map_while(|octet| char::from(*octet).to_digit(10)) {
        wrapped |= value.checked_mul(10).and_then(|tens| tens.checked_add(digit)).is_none();
        value = value.wrapping_mul(10).wrapping_add(digit);
        count = count.saturating_add(1);
    }
    (value, count, wrapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_what_could_end_a_line_is_dropped() {
        assert_eq!(clean(b"a\r\nb\0c\x7f\xfc", 99), b"abc\xfc");
        assert_eq!(clean(&[b'a'; 2000], VALUE_MAX).len(), VALUE_MAX);
        assert_eq!(shown(b"a b\r\n\xfc", 99), "a?b???");
        assert_eq!(shown(b"abcdef", 3), "abc...");
    }

    #[test]
    fn digits_wrap_at_32_bits_and_stop_at_the_first_other_octet() {
        for (text, expected) in [
            (&b"10 bytes"[..], (10, 2, false)),
            (b"0x10", (0, 1, false)),
            (b"-5", (0, 0, false)),
            (b"", (0, 0, false)),
            (b"4294967295", (u32::MAX, 10, false)),
            (b"4294967296", (0, 10, true)),
            (b"4294967306", (10, 10, true)),
            (b"18446744073709551626", (10, 20, true)),
        ] {
            assert_eq!(digits(text), expected, "{}", text.escape_ascii());
        }
    }
}
