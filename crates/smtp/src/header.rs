//! What a relay does with a header, as a stream: it counts the hops, removes forged results and changes no other octet.
//!
//! An `Authentication-Results` field from outside with our own authserv-id is forged (RFC 8601 §5). DKIM signatures over all other
//! fields still verify.

use memchr::memchr;

use crate::{octets, split};

/// Octets of a field that are held until it is known whether it stays. Only white space and comments can be so long: a result with
/// more of them before its authserv-id is removed.
const HELD_MAX: usize = 1024;

const RESULTS: &[u8] = b"authentication-results";
const RECEIVED: &[u8] = b"received";

/// The header is longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("header too long")
    }
}

impl std::error::Error for TooLong {}

/// The value of the first field of that name in the header at the start of `content`, without the white space around it; `name` in lower
/// case. A value that begins on a continued line is found, one that goes on there is cut (RFC 5322 §2.2.3).
#[must_use]
pub fn value<'c>(content: &'c [u8], name: &[u8]) -> Option<&'c [u8]> {
    let mut lines = content.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        let Some((field, value)) =
            line.iter().position(|octet| *octet == b':').and_then(|at| line.split_at_checked(at))
        else {
            continue;
        };
        if field.trim_ascii_end().eq_ignore_ascii_case(name) {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let mut continued = || lines.next().filter(|line| matches!(line.first(), Some(b' ' | b'\t')));
            let value = if value.is_empty() { continued().unwrap_or_default().trim_ascii() } else { value };
            return Some(value).filter(|value| !value.is_empty());
        }
    }
    None
}

#[derive(Debug)]
enum State {
    /// Within what may be the name of a field that is looked for; held.
    Name,
    /// Within a result; held until its authserv-id is known.
    Results(AuthservId),
    /// Within a field that stays.
    Pass,
    /// Within a field that is removed.
    Drop,
    Body,
}

/// Filters canonical content.
#[derive(Debug)]
pub struct Filter {
    own_id: Box<[u8]>,
    header_max: u64,
    state: State,
    held: Vec<u8>,
    /// The octet before was the LF of a line.
    line_start: bool,
    read: u64,
    hops: u32,
    removed: u32,
}

impl Filter {
    /// At the start of content. `own_id`: our authserv-id. `header_max`: octets a header may have.
    #[must_use]
    pub fn new(own_id: &str, header_max: u64) -> Self {
        Self {
            own_id: own_id.as_bytes().into(),
            header_max,
            state: State::Pass,
            held: Vec::new(),
            line_start: true,
            read: 0,
            hops: 0,
            removed: 0,
        }
    }

    /// `Received` fields so far.
    #[must_use]
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// Fields removed so far.
    #[must_use]
    pub fn removed(&self) -> u32 {
        self.removed
    }

    /// The body has begun: chunks pass as they are.
    #[must_use]
    pub fn in_body(&self) -> bool {
        matches!(self.state, State::Body)
    }

    /// Appends what stays of the header in `chunk` to `out`, and returns what follows the header: it is to be sent after `out`.
    ///
    /// # Errors
    /// The header is longer than its limit.
    pub fn push<'c>(&mut self, chunk: &'c [u8], out: &mut Vec<u8>) -> Result<&'c [u8], TooLong> {
        let mut rest = chunk;
        while !self.in_body() && !rest.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |at| at.saturating_add(1));
            let (piece, later) = split(rest, end);
            rest = later;
            self.read = self.read.saturating_add(octets(piece.len()));
            if self.read > self.header_max {
                return Err(TooLong);
            }
            self.take(piece, out);
        }
        Ok(rest)
    }

    /// Ends the content: appends what is still held.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_field(out);
        self.state = State::Body;
    }

    /// Takes a piece of one line: all of it, or up to the end of a chunk.
    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let continues = matches!(piece.first(), Some(b' ' | b'\t'));
        if std::mem::replace(&mut self.line_start, piece.last() == Some(&b'\n')) && !continues {
            self.end_field(out);
            self.state = State::Name;
        }
        match self.state {
            State::Pass | State::Body => out.extend_from_slice(piece),
            State::Drop => {}
            State::Name => {
                self.held.extend_from_slice(piece);
                self.read_name(out);
            }
            State::Results(_) => {
                self.held.extend_from_slice(piece);
                self.read_results(piece, out);
            }
        }
    }

    /// The field is complete, or another one begins.
    fn end_field(&mut self, out: &mut Vec<u8>) {
        if let State::Results(id) = &self.state {
            let forged = id.end(&self.own_id);
            self.decide(forged, out);
        }
        out.append(&mut self.held);
    }

    fn decide(&mut self, forged: bool, out: &mut Vec<u8>) {
        if forged {
            self.held.clear();
            self.removed = self.removed.saturating_add(1);
            self.state = State::Drop;
        } else {
            out.append(&mut self.held);
            self.state = State::Pass;
        }
    }

    /// Checks the part of the field's name that has arrived.
    fn read_name(&mut self, out: &mut Vec<u8>) {
        if self.held == b"\r\n" {
            out.append(&mut self.held);
            self.state = State::Body;
            return;
        }
        let colon = memchr(b':', &self.held);
        // White space may come before the colon, RFC 5322 §4.5.
        let name = split(&self.held, colon.unwrap_or(self.held.len())).0.trim_ascii_end();
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let begins = |known: &[u8]| known.get(..name.len()).is_some_and(is);
        // A name with more white space than is held: the result must not depend on the segmentation.
        let padded = colon.unwrap_or(self.held.len()) > HELD_MAX;
        match colon {
            _ if padded => {
                let forged = is(RESULTS);
                self.decide(forged, out);
            }
            Some(colon) if is(RESULTS) => {
                self.state = State::Results(AuthservId::default());
                let value = self.held.get(colon.saturating_add(1)..).unwrap_or_default().to_vec();
                self.read_results(&value, out);
            }
            Some(_) => {
                if is(RECEIVED) {
                    self.hops = self.hops.saturating_add(1);
                }
                self.decide(false, out);
            }
            None if self.line_start || !(begins(RESULTS) || begins(RECEIVED)) => self.decide(false, out),
            None => {}
        }
    }

    /// Reads on in a result.
    fn read_results(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let State::Results(id) = &mut self.state else { return };
        let whose = piece.iter().find_map(|&octet| id.push(octet, &self.own_id));
        if let Some(whose) = whose {
            self.decide(whose != Whose::Other, out);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Other,
    /// Not in the grammar of RFC 8601: parsers will disagree about its id.
    Nobody,
}

/// Reads `[CFWS] authserv-id`, RFC 8601 §2.2: a token or a quoted string, compared octet by octet.
#[derive(Debug, Clone, Copy, Default)]
struct AuthservId {
    place: Place,
    /// Octets read after the colon.
    read: usize,
    /// Comments open.
    depth: u32,
    /// After a backslash.
    escaped: bool,
    /// Octets of the id so far.
    length: usize,
    /// One of them differs from ours.
    differs: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Before,
    Token,
    Quoted,
}

impl AuthservId {
    fn push(&mut self, octet: u8, own: &[u8]) -> Option<Whose> {
        self.read = self.read.saturating_add(1);
        if self.read > HELD_MAX {
            return Some(Whose::Nobody);
        }
        let escaped = std::mem::take(&mut self.escaped);
        match self.place {
            Place::Before if self.depth > 0 => match octet {
                _ if escaped => {}
                b'\\' => self.escaped = true,
                b'(' => self.depth = self.depth.saturating_add(1),
                b')' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            },
            Place::Before => match octet {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'(' => self.depth = 1,
                b'"' => self.place = Place::Quoted,
                _ if is_special(octet) => return Some(Whose::Nobody),
                _ => {
                    self.place = Place::Token;
                    self.compare(octet, own);
                }
            },
            Place::Token if is_special(octet) => return Some(self.whose(own)),
            Place::Token => self.compare(octet, own),
            Place::Quoted => match octet {
                _ if escaped => self.compare(octet, own),
                b'\\' => self.escaped = true,
                b'"' => return Some(self.whose(own)),
                // Folding is not part of a quoted string.
                b'\r' | b'\n' => {}
                _ => self.compare(octet, own),
            },
        }
        None
    }

    /// Ends the field. True if its id is ours, or it is not in the grammar.
    fn end(&self, own: &[u8]) -> bool {
        self.place != Place::Token || self.whose(own) == Whose::Ours
    }

    fn compare(&mut self, octet: u8, own: &[u8]) {
        self.differs |= own.get(self.length).is_none_or(|ours| !ours.eq_ignore_ascii_case(&octet));
        self.length = self.length.saturating_add(1);
    }

    fn whose(&self, own: &[u8]) -> Whose {
        if !self.differs && self.length == own.len() { Whose::Ours } else { Whose::Other }
    }
}

/// What ends a token, RFC 2045 §5.1.
fn is_special(octet: u8) -> bool {
    octet <= b' ' || b"()<>@,;:\\\"/[]?=\x7f".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter_cut(content: &[u8], cuts: &[usize]) -> (Vec<u8>, u32, u32) {
        let mut filter = Filter::new("mx.example.org", 1 << 16);
        let mut out = Vec::new();
        let mut from = 0;
        for &cut in cuts.iter().chain([&content.len()]) {
            let cut = cut.clamp(from, content.len());
            let body = filter.push(&content[from..cut], &mut out).unwrap();
            out.extend_from_slice(body);
            from = cut;
        }
        filter.finish(&mut out);
        (out, filter.hops(), filter.removed())
    }

    const REST: &str = "Subject: x\r\n y\r\nDKIM-Signature: v=1\r\n\r\nAuthentication-Results: mx.example.org; a=b\r\n";

    /// What follows the colon, and whether the field is removed.
    const RESULTS_TABLE: &[(&str, bool)] = &[
        (" mx.example.org; spf=pass", true),
        ("mx.example.org;spf=pass", true),
        ("\tMX.Example.ORG 1; none", true),
        (" \"mx.example.org\"; none", true),
        (" \"mx\\.example.org\"; none", true),
        (" \"mx.exam\r\n\tple.org\"; none", false),
        (" (a (nested\\) comment) here) mx.example.org; none", true),
        ("\r\n mx.example.org;\r\n\tdkim=pass", true),
        (" mx.example.org", true),
        (" mx.example.org(comment); none", true),
        (" mx.example.org.evil.test; none", false),
        (" xmx.example.org; none", false),
        (" mx.example.or; none", false),
        (" other.test; spf=pass smtp.mailfrom=mx.example.org", false),
        (" (mx.example.org) other.test; none", false),
        (" \"\"; none", false),
        ("", true),
        (" (never closed mx.example.org; none", true),
        (" \"never closed; none", true),
        (" ;mx.example.org; none", true),
        (" =; none", true),
    ];

    #[test]
    fn p9_forged_results_of_our_own_go_and_nothing_else() {
        for name in ["Authentication-Results:", "AUTHENTICATION-results :", "authentication-results\t \t:"] {
            for (value, forged) in RESULTS_TABLE {
                let field = format!("{name}{value}\r\n");
                for before in ["", "From: a\r\n", "Received: x\r\n"] {
                    let content = format!("{before}{field}{REST}");
                    let kept = if *forged { format!("{before}{REST}") } else { content.clone() };
                    for cut in 0..content.len() {
                        let (out, _, removed) = filter_cut(content.as_bytes(), &[cut]);
                        assert_eq!(String::from_utf8_lossy(&out), kept, "{field:?} cut at {cut}");
                        assert_eq!(removed, u32::from(*forged), "{field:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn p9_results_hidden_behind_padding_go() {
        let long = "x".repeat(2000);
        let spaces = " ".repeat(2000);
        for field in [
            format!("Authentication-Results: ({long}) mx.example.org; none\r\n"),
            format!("Authentication-Results:{spaces}mx.example.org; none\r\n"),
            format!("Authentication-Results{spaces}: mx.example.org; none\r\n"),
            format!("Authentication-Results:{}mx.example.org; none\r\n", "\r\n ".repeat(600)),
            format!("Authentication-Results: ({long}) other.test; none\r\n"),
            format!("Authentication-Results{spaces}: other.test; none\r\n"),
        ] {
            let content = format!("{field}{REST}");
            for cut in [0, 1, 30, 1000, 1024, 1025, 1500] {
                assert_eq!(filter_cut(content.as_bytes(), &[cut]).0, REST.as_bytes(), "{}", &field[..40]);
            }
        }
    }

    #[test]
    fn names_that_only_look_alike_stay() {
        for field in [
            "X-Authentication-Results: mx.example.org; none\r\n",
            "Authentication-Results-X: mx.example.org; none\r\n",
            "ARC-Authentication-Results: i=1; mx.example.org; none\r\n",
            "Authentication-Result: mx.example.org; none\r\n",
            "Authentication-Results\r\n",
            " Authentication-Results: mx.example.org; none\r\n",
            "Authentication-Results mx.example.org: none\r\n",
        ] {
            for before in ["", "To: b\r\n"] {
                let content = format!("{before}{field}{REST}");
                let bytes: Vec<usize> = (0..content.len()).collect();
                assert_eq!(filter_cut(content.as_bytes(), &bytes).0, content.as_bytes(), "{field:?}");
            }
        }
    }

    #[test]
    fn counts_hops_in_the_header_only() {
        let header = "Received: from a\r\n\tby Received: b\r\nX-Received: c\r\nRECEIVED : d\r\nreceived:\r\n";
        let content = format!("{header}\r\nReceived: in the body\r\n");
        for cut in 0..content.len() {
            let (out, hops, _) = filter_cut(content.as_bytes(), &[cut]);
            assert_eq!((out.as_slice(), hops), (content.as_bytes(), 3));
        }
    }

    #[test]
    fn content_without_body_or_without_header_passes() {
        for content in ["", "\r\n", "\r\nbody\r\n", "Subject: x\r\n", "no field\r\n", "Recei", "Subject: x", "\r"] {
            let (out, ..) = filter_cut(content.as_bytes(), &[1]);
            assert_eq!(out, content.as_bytes());
        }
    }

    #[test]
    fn p6_a_header_has_an_end_and_holds_little() {
        let mut filter = Filter::new("mx.example.org", 1000);
        let mut out = Vec::new();
        assert!(filter.push(&[b'x'; 1000], &mut out).is_ok());
        assert_eq!(filter.push(b"x", &mut out), Err(TooLong));

        let mut filter = Filter::new("mx.example.org", 1 << 20);
        filter.push(b"Authentication-Results:", &mut out).unwrap();
        for _ in 0..100_000 {
            filter.push(b" ", &mut out).unwrap();
            assert!(filter.held.capacity() <= 4 * HELD_MAX);
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: [&str; 13] = [
            "Authentication-Results:",
            "Received:",
            "mx.example.org",
            "other.test;",
            "\r\n",
            "\r\n ",
            "(",
            ")",
            "\"",
            "\\",
            " ",
            "x",
            ":",
        ];
        let piece = prop::sample::select(&PIECES[..]);
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_segmentation_filters_alike(content in pieces(), mut cuts: Vec<prop::sample::Index>) {
            let whole = filter_cut(&content, &[]);
            let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(content.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(filter_cut(&content, &cuts), whole);
        }
    }
}
