//! `user@[d.d.d.d]`: where that is this host, the bracket becomes localiphost, for senders and recipients, before any list is
//! asked.

use std::net::Ipv4Addr;

use crate::text::digits;

/// Longest address, octets: as it was said, and after the replacement. Beyond that the answer is 555.
pub(crate) const ADDRESS_MAX: usize = 899;

/// Replaces the literal after the last `@` if it is one of `local` or 0.0.0.0. Otherwise, and with anything behind the
/// bracket, the address is left alone. Octets count modulo 256, as in every qmail: `[383.0.0.1]` is 127.0.0.1, which can
/// only make one of our own addresses out of a foreign spelling, never the reverse.
pub fn replace(address: &mut Vec<u8>, local_host: &[u8], local: &[Ipv4Addr]) {
    let Some(at) = gatepost_smtp::find::last(b'@', address) else { return };
    let start = at.saturating_add(1);
    let Some(ip) = address.get(start..).and_then(bracketed) else { return };
    if ip.is_unspecified() || local.contains(&ip) {
        address.truncate(start);
        address.extend_from_slice(local_host);
    }
}

/// Whether an address is short enough.
#[must_use]
pub fn fits(address: &[u8]) -> bool {
    address.len() <= ADDRESS_MAX
}

fn bracketed(text: &[u8]) -> Option<Ipv4Addr> {
    let mut parts = text.strip_prefix(b"[")?.strip_suffix(b"]")?.split(|octet| *octet == b'.');
    let mut part = || {
        let text = parts.next()?;
        let (value, count, _) = digits(text);
        let [low, ..] = value.to_le_bytes();
        (count > 0 && count == text.len()).then_some(low)
    };
    let ip = Ipv4Addr::new(part()?, part()?, part()?, part()?);
    parts.next().is_none().then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOCAL: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 1)];

    #[test]
    fn a48_to_a50_own_literals() {
        for (address, replaced) in [
            ("a@[127.0.0.1]", true),
            ("a@[192.0.2.1]", true),
            ("a@[0.0.0.0]", true),
            ("a@[383.0.0.1]", true),
            ("a@[127.0.0.257]", true),
            ("a@[127.0.0.4294967297]", true),
            ("a@[127.0.0.1]x", false),
            ("a@[9.9.9.9]", false),
            ("a@[127.0.0]", false),
            ("a@[127.0.0.1.1]", false),
            ("a@[127.0.0.]", false),
            ("a@[127.0.0.+1]", false),
            ("a@[IPv6:::1]", false),
            ("a@127.0.0.1", false),
            ("[127.0.0.1]", false),
            ("a@[127.0.0.1]@b", false),
        ] {
            let mut octets = address.as_bytes().to_vec();
            replace(&mut octets, b"lip.example", &LOCAL);
            assert_eq!(octets, if replaced { b"a@lip.example" } else { address.as_bytes() }, "{address}");
        }
    }

    #[test]
    fn a19_a20_899_octets_fit() {
        assert!(fits(&[b'a'; 899]));
        assert!(!fits(&[b'a'; 900]));
    }

    proptest! {
        #[test]
        fn no_address_upsets_it(mut address in "[a@\\[\\]0-9.]{0,30}".prop_map(String::into_bytes)) {
            let before = address.clone();
            replace(&mut address, b"h", &LOCAL);
            prop_assert!(address == before || address.ends_with(b"@h"));
        }
    }
}
