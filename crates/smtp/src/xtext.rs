//! xtext, RFC 3461 §4: the encoding of arbitrary octets in ENVID, ORCPT and XCLIENT.

/// Appends `plain` in xtext: `+`, `=` and all outside 0x21..=0x7E become `+` and two upper-case hex digits.
pub fn encode(plain: &[u8], out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
    for &octet in plain {
        if octet.is_ascii_graphic() && octet != b'+' && octet != b'=' {
            out.push(octet);
        } else {
            out.extend_from_slice(&[b'+', digit(octet >> 4), digit(octet & 15)]);
        }
    }
}

/// The octets that `coded` stands for; `None` when it isn't xtext. Lower-case hex digits are refused, as in the grammar.
#[must_use]
pub fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| hex(digit).filter(|_| !digit.is_ascii_lowercase());
    let mut plain = Vec::with_capacity(coded.len());
    let mut rest = coded.iter().copied();
    while let Some(octet) = rest.next() {
        plain.push(match octet {
            b'+' => nibble(rest.next()?)? << 4 | nibble(rest.next()?)?,
            b'=' => return None,
            _ if octet.is_ascii_graphic() => octet,
            _ => return None,
        });
    }
    Some(plain)
}

/// The octets that a sender most likely meant by `coded`, where it is not quite xtext; `None` if it has octets outside
/// 0x21..=0x7E. Hex digits may be in lower case if they stand for printable ASCII. `=`, and a `+` without two such digits, stand
/// for themselves, because `user+be` is more often an address with a tag than an encoded octet. What is xtext is read as by
/// [`decode`].
#[must_use]
pub(crate) fn decode_loose(coded: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(coded.len());
    let mut rest = coded;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if !octet.is_ascii_graphic() {
            return None;
        }
        match pair(after).filter(|_| octet == b'+') {
            Some((decoded, after)) => {
                plain.push(decoded);
                rest = after;
            }
            None => plain.push(octet),
        }
    }
    Some(plain)
}

/// The octet that two hex digits at the start of `text` stand for in loose xtext, and what is behind them.
fn pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = text.split_at_checked(2)?;
    let octet = hex(*digits.first()?)? << 4 | hex(*digits.last()?)?;
    let meant = !digits.iter().any(u8::is_ascii_lowercase) || matches!(octet, b' '..=b'~');
    meant.then_some((octet, after))
}

/// The value of a hex digit.
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodes_as_others_do() {
        let table: &[(&[u8], &[u8])] = &[
            (b"user+x@b.test", b"user+2Bx@b.test"),
            (b"a=b", b"a+3Db"),
            (b"a b", b"a+20b"),
            (b"[192.0.2.7]", b"[192.0.2.7]"),
            (b"\xc3\xa9", b"+C3+A9"),
            (b"IPV6:2001:db8::1", b"IPV6:2001:db8::1"),
        ];
        for (plain, coded) in table {
            let mut out = Vec::new();
            encode(plain, &mut out);
            assert_eq!(out, *coded);
            assert_eq!(decode(coded).as_deref(), Some(*plain));
        }
    }

    #[test]
    fn refuses_what_is_not_xtext() {
        for bad in [&b"a=b"[..], b"a b", b"+", b"+4", b"+4g", b"+4x", b"+c3", b"\xc3", b"a\0", b"a\r\n"] {
            assert_eq!(decode(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn issue_10_loose_xtext_is_read_as_it_is_meant() {
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"user+2btag@b.test", Some(b"user+tag@b.test")),
            (b"user+2Btag@b.test", Some(b"user+tag@b.test")),
            (b"a=b=c", Some(b"a=b=c")),
            (b"a+3db", Some(b"a=b")),
            (b"user+tag", Some(b"user+tag")),
            (b"user+", Some(b"user+")),
            (b"user+4", Some(b"user+4")),
            (b"+4x+41", Some(b"+4xA")),
            (b"++41", Some(b"+A")),
            (b"user+be@b.test", Some(b"user+be@b.test")),
            (b"user+0a", Some(b"user+0a")),
            (b"user+BE=", Some(b"user\xbe=")),
            (b"", Some(b"")),
            (b"a b", None),
            (b"a\tb", None),
            (b"\xc3\xa9", None),
        ];
        for (coded, plain) in table {
            assert_eq!(decode_loose(coded).as_deref(), *plain, "{}", coded.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_is_xtext_is_read_alike_by_both(coded in "([!-*,-<>-~]|\\+[0-9A-F]{2}){0,20}") {
            prop_assert_eq!(decode_loose(coded.as_bytes()), decode(coded.as_bytes()));
        }

        #[test]
        fn loose_xtext_mended_is_xtext(coded in "[!-~]{0,20}") {
            let mut mended = Vec::new();
            let plain = decode_loose(coded.as_bytes()).unwrap();
            encode(&plain, &mut mended);
            prop_assert_eq!(decode(&mended), Some(plain));
        }

        #[test]
        fn round_trip(plain: Vec<u8>) {
            let mut coded = Vec::new();
            encode(&plain, &mut coded);
            prop_assert_eq!(decode(&coded), Some(plain));
        }
    }
}
