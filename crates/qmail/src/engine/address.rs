//! Addresses, as qmail-smtpd finds them in the whole argument of MAIL and RCPT, and the one parameter that is believed.

use gatepost_smtp::find;

use super::verbs::skip_spaces;
use crate::literal::ADDRESS_MAX;
use crate::split;

/// An address is longer than [`ADDRESS_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Puts the address that `argument` holds into `address`: source route off, quotes and backslashes undone. Nothing else
/// is an error, and no address at all is the empty one.
pub(super) fn parse(argument: &[u8], address: &mut Vec<u8>) -> Result<(), TooLong> {
    let (text, terminator) = match find::first(b'<', argument) {
        Some(at) => (behind(argument, at), b'>'),
        None => (find::first(b':', argument).map_or(&[][..], |at| skip_spaces(behind(argument, at))), b' '),
    };
    let text = match (text.first(), find::first(b':', text)) {
        (Some(b'@'), Some(at)) => behind(text, at),
        (Some(b'@'), None) => &[],
        _ => text,
    };
    address.clear();
    let (mut escaped, mut quoted) = (false, false);
    for &octet in text {
        match octet {
            _ if escaped => {
                escaped = false;
                address.push(octet);
            }
            _ if octet == terminator && !quoted => break,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ => address.push(octet),
        }
    }
    if address.len() > ADDRESS_MAX { Err(TooLong) } else { Ok(()) }
}

/// The SIZE= among the parameters of MAIL, RFC 1870 §6: what it begins with in digits. The largest counts.
pub(super) fn declared_size(argument: &[u8]) -> Option<u64> {
    let parameters = behind(argument, find::first(b'>', argument)?);
    let sizes = parameters.split(|octet| *octet == b' ').filter_map(|word| {
        let (key, value) = word.split_at_checked(5)?;
        key.eq_ignore_ascii_case(b"SIZE=").then_some(value)
    });
    let number = |value: &[u8]| {
        let digits = value.iter().map_while(|octet| char::from(*octet).to_digit(10));
        digits.fold(0u64, |size, digit| size.saturating_mul(10).saturating_add(digit.into()))
    };
    sizes.map(number).max()
}

fn behind(text: &[u8], at: usize) -> &[u8] {
    split(text, at.saturating_add(1)).1
}

#[cfg(test)]
mod tests {
    use super::{declared_size, parse};

    #[test]
    fn addresses_are_found_as_qmail_finds_them() {
        for (argument, expected) in [
            ("", ""),
            ("a@b", ""),
            ("<a@b>", "a@b"),
            ("TO:a@b junk", "a@b"),
            ("TO:   a@b", "a@b"),
            ("TO:\ta@b", "\ta@b"),
            ("FROM:<>", ""),
            ("FROM:a@b X=<q@z>", "q@z"),
            ("FROM:< a@c >", " a@c "),
            ("FROM:<a@b", "a@b"),
            ("FROM:<@h1,@h2:a@d>", "a@d"),
            ("FROM:<@h1:@h2:a@d>", "@h2:a@d"),
            ("FROM:<@host>", ""),
            ("FROM:@h:a@d x", "a@d"),
            ("FROM:<\"a b\"@c>", "a b@c"),
            ("FROM:<\"a@b\"@c>", "a@b@c"),
            ("FROM:<\"x@y>", "x@y>"),
            ("FROM:<\"a\\\"b\"@c>", "a\"b@c"),
            ("FROM:<a\\>b@c>", "a>b@c"),
            ("FROM:<a@c\\", "a@c"),
            ("FROM:a\\ b c", "a b"),
            ("FROM:\u{fc}@b", "\u{fc}@b"),
        ] {
            let mut address = b"left over".to_vec();
            assert_eq!(parse(argument.as_bytes(), &mut address), Ok(()), "{argument}");
            assert_eq!(String::from_utf8_lossy(&address), expected, "{argument}");
        }
    }

    #[test]
    fn only_a_parameter_declares_a_size() {
        for (argument, expected) in [
            ("FROM:<a@b>", None),
            ("FROM:<a@b> SIZE=12", Some(12)),
            ("FROM:<a@b> BODY=8BITMIME size=12x", Some(12)),
            ("FROM:<a@b> SIZE=", Some(0)),
            ("FROM:<a@b> SIZE=99999999999999999999", Some(u64::MAX)),
            ("FROM:<a@b> SIZE=12 SIZE=3", Some(12)),
            ("FROM:<a@b> XSIZE=12", None),
            ("FROM:<SIZE=12@b>", None),
            ("FROM:a@b SIZE=12", None),
        ] {
            assert_eq!(declared_size(argument.as_bytes()), expected, "{argument}");
        }
    }
}
