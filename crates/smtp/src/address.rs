//! Mailboxes and paths: RFC 5321 §4.1.2 and §4.1.3, with RFC 6531 §3.3.
//!
//! An accepted address is kept as it was written, octet for octet, so that what was checked is what is forwarded; only a source
//! route and, by [`Rules::final_dot`], the dot after the domain are left out. An address that two parsers could read differently
//! (comments, controls, invisible characters, a second `@`) is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest domain, octets, RFC 5321 §4.5.3.1.2.
pub const DOMAIN_MAX: usize = 255;
/// Longest label of an ASCII domain, octets, RFC 1035 §2.3.4.
pub const LABEL_MAX: usize = 63;

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadAddress {
    /// Not in the grammar, or ambiguous.
    Syntax,
    /// A local part alone, where only `postmaster` may stand so.
    NoDomain,
    /// Longer than the limit.
    TooLong,
    /// Octets above 0x7F where SMTPUTF8 was not asked for.
    NotAscii,
}

impl std::fmt::Display for BadAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadAddress::Syntax => "not a valid address",
            BadAddress::NoDomain => "address without a domain",
            BadAddress::TooLong => "address too long",
            BadAddress::NotAscii => "address needs SMTPUTF8",
        })
    }
}

impl std::error::Error for BadAddress {}

/// How to read an address.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// RFC 6531: UTF-8 may stand where ASCII letters may.
    pub smtputf8: bool,
    /// Two dots in a row, or a last dot, in an unquoted local part (`a..b@`, `a.@`): mobile carriers issued such addresses. A dot
    /// at the start is never accepted.
    pub odd_dots: bool,
    /// `_` in a domain.
    pub underscores: bool,
    /// One dot behind a domain name (`a@b.test.`), as DNS writes the root: it is cut off.
    pub final_dot: bool,
    /// Longest local part, octets, quotes counted.
    pub local_part_max: usize,
    /// Longest path, octets, brackets and source route not counted.
    pub path_max: usize,
}

impl Rules {
    /// Everything that a session may pass on, whatever its settings. What a session corrects itself is not accepted here.
    #[must_use]
    pub const fn widest(smtputf8: bool) -> Self {
        Self { smtputf8, odd_dots: true, underscores: true, final_dot: false, local_part_max: 1024, path_max: 1024 }
    }
}

/// A domain or an address literal, borrowed from its mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain<'a> {
    /// A domain name as written; never ends in a dot.
    Name(&'a [u8]),
    /// What stands between `[` and `]`.
    Literal(&'a [u8]),
}

impl<'a> Domain<'a> {
    /// Reads one domain or literal, which must be all of the text.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &'a [u8], rules: &Rules) -> Result<Self, BadAddress> {
        if text.len() > DOMAIN_MAX {
            return Err(BadAddress::TooLong);
        }
        if let Some(inner) = text.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")) {
            return if is_literal(inner) { Ok(Domain::Literal(inner)) } else { Err(BadAddress::Syntax) };
        }
        if text.split(|&octet| octet == b'.').all(|label| is_label(label, rules)) {
            Ok(Domain::Name(text))
        } else {
            Err(BadAddress::Syntax)
        }
    }

    /// The address of an IPv4 or IPv6 literal.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Domain::Literal(inner) => literal_ip(inner),
            Domain::Name(_) => None,
        }
    }
}

/// `local-part@domain`, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    text: Box<[u8]>,
    /// Where the `@` is.
    at: usize,
}

impl Mailbox {
    /// Reads one mailbox, which must be all of the text.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &[u8], rules: &Rules) -> Result<Self, BadAddress> {
        let at = local_part_len(text, rules)?;
        // Not after a literal: only a domain name can end in a dot.
        let dotted = rules.final_dot && text.ends_with(b".") && !text.ends_with(b"].");
        let text = text.strip_suffix(b".").filter(|_| dotted).unwrap_or(text);
        let domain = match text.get(at) {
            Some(b'@') => text.get(at + 1..).unwrap_or_default(),
            Some(_) => return Err(BadAddress::Syntax),
            None => return Err(BadAddress::NoDomain),
        };
        Domain::parse(domain, rules)?;
        if at > rules.local_part_max || text.len() > rules.path_max {
            return Err(BadAddress::TooLong);
        }
        Ok(Self { text: text.into(), at })
    }

    /// All of it, as written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The local part as written, quotes included.
    #[must_use]
    pub fn local_part(&self) -> &[u8] {
        self.text.get(..self.at).unwrap_or_default()
    }

    /// The domain or literal.
    #[must_use]
    pub fn domain(&self) -> Domain<'_> {
        let text = self.text.get(self.at.saturating_add(1)..).unwrap_or_default();
        match text.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")) {
            Some(inner) => Domain::Literal(inner),
            None => Domain::Name(text),
        }
    }
}

/// Where replies and bounces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a bounce, not to be bounced again.
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads what is between the brackets of MAIL, by [`Rules::widest`].
    ///
    /// # Errors
    /// It is neither empty nor a mailbox.
    pub fn parse(path: &[u8], smtputf8: bool) -> Result<Self, BadAddress> {
        Self::parse_with(path, &Rules::widest(smtputf8))
    }

    /// As [`ReversePath::parse`], by these rules.
    ///
    /// # Errors
    /// It is neither empty nor a mailbox.
    pub(crate) fn parse_with(path: &[u8], rules: &Rules) -> Result<Self, BadAddress> {
        if path.is_empty() {
            return Ok(ReversePath::Null);
        }
        check_characters(path, rules)?;
        Ok(ReversePath::Mailbox(Mailbox::parse(without_route(path, rules)?, rules)?))
    }

    /// The path without its brackets; empty for the null reverse-path.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            ReversePath::Null => &[],
            ReversePath::Mailbox(mailbox) => mailbox.as_bytes(),
        }
    }
}

/// Where the message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>`, upper and lower case as written: the postmaster of this host, RFC 5321 §4.5.1.
    Postmaster([u8; 10]),
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Reads what is between the brackets of RCPT, by [`Rules::widest`].
    ///
    /// # Errors
    /// It is neither a mailbox nor `postmaster`.
    pub fn parse(path: &[u8], smtputf8: bool) -> Result<Self, BadAddress> {
        Self::parse_with(path, &Rules::widest(smtputf8))
    }

    /// As [`ForwardPath::parse`], by these rules.
    ///
    /// # Errors
    /// It is neither a mailbox nor `postmaster`.
    pub(crate) fn parse_with(path: &[u8], rules: &Rules) -> Result<Self, BadAddress> {
        if path.eq_ignore_ascii_case(b"postmaster") {
            return path.try_into().map(ForwardPath::Postmaster).map_err(|_| BadAddress::Syntax);
        }
        check_characters(path, rules)?;
        Ok(ForwardPath::Mailbox(Mailbox::parse(without_route(path, rules)?, rules)?))
    }

    /// The path without its brackets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            ForwardPath::Postmaster(word) => word,
            ForwardPath::Mailbox(mailbox) => mailbox.as_bytes(),
        }
    }

    /// The mailbox, unless it is the host's own postmaster.
    #[must_use]
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ForwardPath::Postmaster(_) => None,
            ForwardPath::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

/// Splits `text`, which begins with `<`, at the end of the bracketed path: what is inside the brackets, and what follows them.
/// A `>` inside quotes doesn't end it.
#[must_use]
pub fn split_brackets(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"<")?;
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.iter().position(|&octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return true,
            _ => {}
        }
        false
    })?;
    let (path, rest) = inner.split_at_checked(end)?;
    Some((path, rest.get(1..)?))
}

/// What is refused by every set of rules, anywhere in an address: controls, invalid UTF-8, invisible characters, and characters
/// that another parser may convert to `.`, `@` or a bracket.
fn check_characters(path: &[u8], rules: &Rules) -> Result<(), BadAddress> {
    if path.is_ascii() {
        return Ok(());
    }
    if !rules.smtputf8 {
        return Err(BadAddress::NotAscii);
    }
    let text = std::str::from_utf8(path).map_err(|_| BadAddress::Syntax)?;
    if text.chars().any(is_deceptive) { Err(BadAddress::Syntax) } else { Ok(()) }
}

/// C1 controls, soft hyphen, zero-width and bidirectional marks, separators, tags, other forms of ASCII, IDNA's other dots.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{1680}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2024}'..='\u{2026}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}'
        | '\u{3002}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe50}'..='\u{fe6f}' | '\u{feff}'
        | '\u{ff00}'..='\u{ff61}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{10ffff}')
}

/// RFC 5321 §4.1.1.3 and appendix C: `@a,@b:` before a mailbox is checked, then ignored.
fn without_route<'a>(path: &'a [u8], rules: &Rules) -> Result<&'a [u8], BadAddress> {
    if path.first() != Some(&b'@') {
        return Ok(path);
    }
    // A literal contains colons, too.
    let mut literal = false;
    let colon = path.iter().position(|&octet| {
        match octet {
            b'[' => literal = true,
            b']' => literal = false,
            _ => {}
        }
        octet == b':' && !literal
    });
    let (route, rest) = colon.and_then(|at| path.split_at_checked(at)).ok_or(BadAddress::Syntax)?;
    for hop in route.split(|&octet| octet == b',') {
        Domain::parse(hop.strip_prefix(b"@").ok_or(BadAddress::Syntax)?, rules)?;
    }
    rest.get(1..).ok_or(BadAddress::Syntax)
}

/// RFC 5322 §3.2.3, with RFC 6531 §3.3.
fn is_atext(octet: u8, rules: &Rules) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet) || rules.smtputf8 && !octet.is_ascii()
}

/// Octets of the local part that `text` begins with.
fn local_part_len(text: &[u8], rules: &Rules) -> Result<usize, BadAddress> {
    if text.first() == Some(&b'"') {
        return quoted_len(text, rules);
    }
    let len = text.iter().position(|&octet| !is_atext(octet, rules) && octet != b'.').unwrap_or(text.len());
    let local = text.get(..len).unwrap_or_default();
    let odd = local.last() == Some(&b'.') || local.windows(2).any(|pair| pair == b"..");
    if local.is_empty() || local.first() == Some(&b'.') || odd && !rules.odd_dots {
        return Err(BadAddress::Syntax);
    }
    Ok(len)
}

/// Octets of the quoted string that `text` begins with, quotes included.
fn quoted_len(text: &[u8], rules: &Rules) -> Result<usize, BadAddress> {
    let mut escaped = false;
    for (at, &octet) in text.iter().enumerate().skip(1) {
        let plain = matches!(octet, b' '..=b'~') || rules.smtputf8 && !octet.is_ascii();
        match octet {
            _ if !plain => return Err(BadAddress::Syntax),
            // A backslash may quote ASCII only (RFC 5321): before other characters it would quote a part of one.
            _ if escaped && !octet.is_ascii() => return Err(BadAddress::Syntax),
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(at + 1),
            _ => {}
        }
    }
    Err(BadAddress::Syntax)
}

fn is_label(label: &[u8], rules: &Rules) -> bool {
    let inside = |octet: u8| {
        octet.is_ascii_alphanumeric()
            || octet == b'-'
            || octet == b'_' && rules.underscores
            || !octet.is_ascii() && rules.smtputf8
    };
    // The limit applies to the A-label, whose length is not known from a U-label; the domain as a whole is bounded.
    let fits = label.len() <= LABEL_MAX || !label.is_ascii();
    fits && !label.is_empty()
        && label.iter().all(|&octet| inside(octet))
        && label.first() != Some(&b'-')
        && label.last() != Some(&b'-')
}

/// RFC 5321 §4.1.3: IPv4, `IPv6:`, or a tag of its own.
fn is_literal(inner: &[u8]) -> bool {
    if literal_ip(inner).is_some() {
        return true;
    }
    let Some(colon) = inner.iter().position(|&octet| octet == b':') else { return false };
    let (tag, content) = crate::split(inner, colon);
    let content = content.get(1..).unwrap_or_default();
    let tag_fits = tag.iter().all(|&octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && tag.last().is_some_and(u8::is_ascii_alphanumeric)
        && !tag.eq_ignore_ascii_case(b"ipv6");
    tag_fits && !content.is_empty() && content.iter().all(|&octet| matches!(octet, b'!'..=b'Z' | b'^'..=b'~'))
}

fn literal_ip(inner: &[u8]) -> Option<IpAddr> {
    match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case(b"ipv6:") => {
            std::str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => std::str::from_utf8(inner).ok()?.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text.as_bytes(), &Rules::widest(true)).unwrap()
    }

    #[test]
    fn a_mailbox_is_cut_at_the_right_at() {
        for (text, local, domain) in [
            ("a@b.test", "a", Domain::Name(b"b.test")),
            ("\"a@b\"@c.test", "\"a@b\"", Domain::Name(b"c.test")),
            ("\"a\\\"@b\"@c.test", "\"a\\\"@b\"", Domain::Name(b"c.test")),
            ("a@[192.0.2.1]", "a", Domain::Literal(b"192.0.2.1")),
            ("a@[IPv6:::1]", "a", Domain::Literal(b"IPv6:::1")),
            ("é@bücher.test", "é", Domain::Name("bücher.test".as_bytes())),
        ] {
            let mailbox = mailbox(text);
            assert_eq!(mailbox.local_part(), local.as_bytes());
            assert_eq!(mailbox.domain(), domain);
            assert_eq!(mailbox.as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn literals_are_addresses_where_they_can_be() {
        for (text, ip) in [
            ("a@[192.0.2.1]", Some("192.0.2.1")),
            ("a@[IPv6:2001:db8::1]", Some("2001:db8::1")),
            ("a@[iPV6:::ffff:192.0.2.1]", Some("::ffff:192.0.2.1")),
            ("a@[x-tag:192.0.2.1]", None),
            ("a@192.0.2.1", None),
        ] {
            assert_eq!(mailbox(text).domain().ip(), ip.map(|ip| ip.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn why_an_address_is_refused() {
        use BadAddress::{NoDomain, NotAscii, Syntax, TooLong};
        let long = format!("a@{}bb", "a.".repeat(127));
        for (text, smtputf8, why) in [
            ("", false, Syntax),
            ("a", false, NoDomain),
            ("\"a\"", false, NoDomain),
            ("a b@c", false, Syntax),
            ("é@c", false, NotAscii),
            ("a@é", false, NotAscii),
            ("@é:a@b", false, NotAscii),
            ("a\u{200b}@c", true, Syntax),
            ("a@b\u{3002}c", true, Syntax),
            ("\u{fe64}a@b", true, Syntax),
            ("\"a\u{1}b\"@c", true, Syntax),
            ("\"a\r\nb\"@c", true, Syntax),
            ("\"a\\\0\"@c", true, Syntax),
            ("a\nb@c", true, Syntax),
            ("a@b\n", true, Syntax),
            ("\"a\\é\"@c", true, Syntax),
            (&long[..], false, TooLong),
        ] {
            let path = ForwardPath::parse(text.as_bytes(), smtputf8);
            assert_eq!(path, Err(why), "{text:?}");
        }
        assert!(ForwardPath::parse(&long.as_bytes()[..long.len() - 1], false).is_ok(), "255 octets are a domain");
        assert!(ForwardPath::parse(b"\xff@c", true).is_err());
    }

    #[test]
    fn limits_count_octets_without_the_route() {
        let rules = Rules { local_part_max: 5, path_max: 9, ..Rules::widest(false) };
        for (text, fits) in
            [("12345@abc", true), ("123456@ab", false), ("1234@abcde", false), ("@route.test:12345@abc", true)]
        {
            assert_eq!(ForwardPath::parse_with(text.as_bytes(), &rules).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn brackets_end_outside_of_quotes() {
        for (text, parts) in [
            ("<a@b> X", Some(("a@b", " X"))),
            ("<>", Some(("", ""))),
            ("<\"a>b\"@c>", Some(("\"a>b\"@c", ""))),
            ("<\"a\\\">b\"@c>d", Some(("\"a\\\">b\"@c", "d"))),
            ("<\"a>b", None),
            ("<a", None),
            ("a>", None),
            ("", None),
        ] {
            let parts = parts.map(|(path, rest): (&str, &str)| (path.as_bytes(), rest.as_bytes()));
            assert_eq!(split_brackets(text.as_bytes()), parts, "{text}");
        }
    }
}
