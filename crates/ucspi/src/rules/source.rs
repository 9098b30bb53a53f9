//! The source of rules, as tcprules(1) reads it: one rule a line, `ADDRESS:allow` or `ADDRESS:deny` and variables.
//!
//! What the original accepts is compiled to the same octets. What it refuses and the build with IPv6 accepts is compiled to that
//! build's. `ADDRESS/LENGTH`, which in both is a key that nobody is looked up by, is a network here.

use super::network::Network;
use crate::cdb;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::net::IpAddr;

/// The rules of a source.
#[derive(Debug, Default)]
pub struct Compiled {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    /// What will have no effect, though the source is well-formed.
    pub remarks: Vec<Remark>,
}

/// A line that isn't a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its number, from 1.
    pub line: usize,
    /// The line without blanks at its end.
    pub text: Vec<u8>,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Something that will have no effect, or another than it seems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Number of its line, from 1.
    pub line: usize,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    NoColon,
    EmptyRange,
    Repeated { key: Vec<u8>, first: usize },
    Never { key: Vec<u8> },
    Masked(Network),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.what {
            What::NoColon => f.write_str("ignored: there is no colon in it"),
            What::EmptyRange => f.write_str("makes no rule: the range is empty"),
            What::Repeated { key, first } => {
                write!(f, "never used: line {first} has a rule for {:?}", Shown(key))
            }
            What::Never { key } => write!(f, "never used: no connection is looked up as {:?}", Shown(key)),
            What::Masked(network) => write!(f, "means {network}"),
        }
    }
}

/// Octets in quotes, with escapes.
struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Compiled {
    /// Address and instructions of each rule, in the order of the source.
    pub fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.records.iter().map(|(key, data)| (key.as_slice(), data.as_slice()))
    }

    /// The whole file.
    ///
    /// # Errors
    /// It would be larger than 4 GiB.
    pub fn file(&self) -> io::Result<Vec<u8>> {
        cdb::make(self.records())
    }
}

/// Compiles a source.
///
/// # Errors
/// The first line that isn't a rule.
pub fn compile(source: &[u8]) -> Result<Compiled, Fault> {
    let mut compiled = Compiled::default();
    let (mut first, mut networks) = (HashMap::new(), BTreeSet::new());
    for (line, text) in (1..).zip(source.split(|octet| *octet == b'\n')) {
        let text = trimmed(text);
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let mut remark = |what| compiled.remarks.push(Remark { line, what });
        if !text.contains(&b':') {
            remark(What::NoColon);
            continue;
        }
        let parsed = parse(text).and_then(|rule| Ok((keys(rule.address)?, rule.data)));
        let (keys, data) = parsed.map_err(|why| Fault { line, text: text.to_vec(), why })?;
        if keys.is_empty() {
            remark(What::EmptyRange);
        }
        for key in keys {
            if let Key::Network(network, _) = key {
                networks.insert(network.listed());
            }
            if let Key::Network(network, true) = key {
                remark(What::Masked(network));
            }
            let (shown, key) = match key {
                Key::Network(network, _) => (network.to_string().into_bytes(), network.key()),
                Key::Plain(key) => (key.clone(), key),
            };
            if let Some(first) = first.get(&key) {
                remark(What::Repeated { key: shown, first: *first });
            } else if !key.starts_with(b"\n") && !can_be_looked_up(&key) {
                remark(What::Never { key: shown });
            }
            first.entry(key.clone()).or_insert(line);
            compiled.records.push((key, data.clone()));
        }
    }
    for family in networks.iter().map(|(family, _)| *family).collect::<BTreeSet<_>>() {
        let lengths = networks.iter().filter(|(other, _)| *other == family).map(|(_, length)| *length);
        compiled.records.push((family.to_vec(), lengths.collect()));
    }
    Ok(compiled)
}

fn trimmed(mut text: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = text.split_last() {
        text = rest;
    }
    text
}

struct Parsed<'a> {
    address: &'a [u8],
    data: Vec<u8>,
}

/// Takes a line apart. The original's address ends at the first colon, and that of its build with IPv6 at the first one behind
/// which `allow` or `deny` stands; where the original finds a rule, both find the same.
fn parse(text: &[u8]) -> Result<Parsed<'_>, &'static str> {
    let mut why = "there is no allow or deny behind the address";
    let colons = (0..text.len()).filter(|at| text.get(*at) == Some(&b':'));
    for (nth, at) in colons.enumerate() {
        let (Some(address), Some(rest)) = (text.get(..at), at.checked_add(1).and_then(|at| text.get(at..))) else {
            break;
        };
        if !rest.starts_with(b"allow") && !rest.starts_with(b"deny") {
            continue;
        }
        if nth > 0 && !is_ipv6_like(address) {
            why = "the address has a colon, and is none of IPv6";
            break;
        }
        return Ok(Parsed { address, data: instructions(rest)? });
    }
    Err(why)
}

/// Letters of an IPv6 address, of a beginning of one, or of a network, perhaps behind `INFO@`.
fn is_ipv6_like(address: &[u8]) -> bool {
    let address = address.rsplit(|octet| *octet == b'@').next().unwrap_or_default();
    address.iter().all(|octet| octet.is_ascii_hexdigit() || matches!(octet, b':' | b'.' | b'/' | b'-'))
}

/// `allow` or `deny`, and variables, as a compiled file has them.
fn instructions(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (mut data, mut rest) = match (text.strip_prefix(b"allow"), text.strip_prefix(b"deny")) {
        (Some(rest), _) => (Vec::new(), rest),
        (None, Some(rest)) => (b"D\0".to_vec(), rest),
        (None, None) => return Err("there is no allow or deny behind the address"),
    };
    while !rest.is_empty() {
        let variable =
            rest.strip_prefix(b",").ok_or("behind allow or deny, and each value, comes a comma or nothing")?;
        let (name, value) = split(variable, b'=').ok_or("a variable is NAME=\"VALUE\"")?;
        let (quote, value) = value.split_first().ok_or("a variable is NAME=\"VALUE\"")?;
        let (value, behind) = split(value, *quote).ok_or("the value's second quote is missing")?;
        for part in [b"+", name, b"=", value, b"\0"] {
            data.extend_from_slice(part);
        }
        rest = behind;
    }
    Ok(data)
}

/// What stands before and behind the first such octet.
fn split(text: &[u8], octet: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|other| *other == octet)?;
    Some((text.get(..at)?, text.get(at.checked_add(1)?..)?))
}

enum Key {
    Plain(Vec<u8>),
    /// The flag: bits were set that don't count.
    Network(Network, bool),
}

/// The keys that an address stands for.
fn keys(address: &[u8]) -> Result<Vec<Key>, &'static str> {
    if let Some(network) = Network::parse(address) {
        return Ok(vec![Key::Network(network, network.to_string().as_bytes() != address)]);
    }
    if address.contains(&b'=') || address.contains(&b'@') {
        return Ok(vec![Key::Plain(address.to_vec())]);
    }
    let Some((left, right)) = split(address, b'-') else { return Ok(vec![Key::Plain(address.to_vec())]) };
    // Only the component with the hyphen counts, and only the first hyphen.
    let start = left.iter().rposition(|octet| *octet == b'.').map_or(0, |at| at.saturating_add(1));
    let (before, from) = left.split_at_checked(start).unwrap_or_default();
    let end = right.iter().position(|octet| *octet == b'.').unwrap_or(right.len());
    let (to, behind) = right.split_at_checked(end).unwrap_or_default();
    let not = "on both sides of the hyphen there must be a number";
    let (from, to) = (number(from).ok_or(not)?, number(to).ok_or(not)?.min(255));
    let all = (from..=to).map(|component| Key::Plain([before, component.to_string().as_bytes(), behind].concat()));
    Ok(all.collect())
}

/// A number as the original reads it: none is 0, and one that is too long starts again from 0.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0'))))
    })
}

/// Whether there can be a peer for whom this key is looked up.
fn can_be_looked_up(key: &[u8]) -> bool {
    let whole = |ip: &[u8]| {
        let ip = std::str::from_utf8(ip).ok();
        ip.is_some_and(|text| text.parse::<IpAddr>().is_ok_and(|ip| ip.to_string() == text))
    };
    let name = |host: &[u8]| !host.is_empty() && !host.starts_with(b".");
    match key.iter().rposition(|octet| *octet == b'@').and_then(|at| key.get(at.checked_add(1)?..)) {
        Some(host) if host.starts_with(b"=") => name(host.get(1..).unwrap_or_default()),
        Some(ip) => whole(ip),
        None if key.is_empty() || key.starts_with(b"=") => true,
        None => whole(key) || is_beginning(key),
    }
}

/// The beginning of an address, with the dot or colon at its end.
fn is_beginning(key: &[u8]) -> bool {
    let Some(body) = key.strip_suffix(b".").or(key.strip_suffix(b":")) else { return false };
    if key.contains(&b':') {
        return body.iter().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f' | b':' | b'.'));
    }
    let component =
        |text: &[u8]| number(text).is_some_and(|number| number <= 255 && number.to_string().as_bytes() == text);
    body.split(|octet| *octet == b'.').all(component) && body.split(|octet| *octet == b'.').count() <= 3
}
