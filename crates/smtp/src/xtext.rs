//! xtext, RFC 3461 §4: how ENVID, ORCPT and XCLIENT carry any octet in one word.

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

/// The octets that `coded` stands for; `None` when it isn't xtext. Lower-case hex digits are refused, as by the grammar.
#[must_use]
pub fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
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

    proptest! {
        #[test]
        fn round_trip(plain: Vec<u8>) {
            let mut coded = Vec::new();
            encode(&plain, &mut coded);
            prop_assert_eq!(decode(&coded), Some(plain));
        }
    }
}
