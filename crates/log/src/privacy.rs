//! What is left of an event where `[log] privacy = "cut"`: who talked to whom cannot be read from it, how much and whether it went
//! well can. A table; what is not in it is written whole.

use gatepost_wire::event::Datum;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Only the network is written: IPv4 /24, IPv6 /48.
    Network,
    /// Only the domain is written.
    Domain,
    /// It is left out: a stranger or a backend may have written an address into it.
    Out,
}

#[rustfmt::skip]
const FIELDS: [(&str, Cut); 11] = [
    ("client",     Cut::Network),
    ("name",       Cut::Out),
    ("login",      Cut::Domain),
    ("helo",       Cut::Out),
    ("from",       Cut::Domain),
    ("to",         Cut::Domain),
    ("message_id", Cut::Out),
    ("heard",      Cut::Out),
    ("said",       Cut::Out),
    ("failure",    Cut::Out),
    ("line",       Cut::Out),
];

/// What is left of the value of field `name`.
pub(crate) fn cut<'a>(name: &str, datum: Datum<'a>) -> Datum<'a> {
    let Some((_, cut)) = FIELDS.iter().find(|(field, _)| *field == name) else { return datum };
    match (cut, datum) {
        (Cut::Network, Datum::Word(word)) => network(&word).map_or(Datum::Absent, |text| Datum::Word(text.into())),
        (Cut::Domain, Datum::Text(path)) => domain(&path),
        _ => Datum::Absent,
    }
}

fn network(text: &str) -> Option<String> {
    let ip = text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse::<IpAddr>()).ok()?;
    Some(match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    })
}

/// The null reverse-path is left as it is.
fn domain(path: &[u8]) -> Datum<'static> {
    let Some(at) = path.iter().rposition(|octet| *octet == b'@') else {
        return if path.is_empty() { Datum::Text(Vec::new().into()) } else { Datum::Absent };
    };
    let mut text = b"*".to_vec();
    text.extend_from_slice(path.get(at..).unwrap_or_default());
    Datum::Text(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::event::Event;

    #[test]
    fn issue_13_a_cut_field_names_nobody() {
        let text = |text: &'static str| Datum::Text(text.as_bytes().into());
        let word = |word: &'static str| Datum::Word(word.into());
        for (name, whole, left) in [
            ("client", word("192.0.2.77:25"), word("192.0.2.0/24")),
            ("client", word("[2001:db8:1:2::3]:25"), word("2001:db8:1::/48")),
            ("client", word("192.0.2.77"), word("192.0.2.0/24")),
            ("client", word("?"), Datum::Absent),
            ("from", text(""), text("")),
            ("from", text("anna@example.org"), text("*@example.org")),
            ("to", text("\"a@b\"@example.org"), text("*@example.org")),
            ("to", text("postmaster"), Datum::Absent),
            ("said", text("5.1.1 <anna@example.org> unknown"), Datum::Absent),
            ("reply", Datum::Number(250), Datum::Number(250)),
        ] {
            assert_eq!(cut(name, whole.clone()), left, "{name} {whole:?}");
        }
    }

    #[test]
    fn issue_13_the_table_names_fields_that_there_are() {
        let fields: Vec<&str> = Event::TABLE.iter().flat_map(|row| row.fields).map(|(name, _)| *name).collect();
        assert!(FIELDS.iter().all(|(name, _)| fields.contains(name)));
    }
}
