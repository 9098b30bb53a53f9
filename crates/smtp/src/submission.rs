//! What a submission server does with a header, RFC 6409 §8: it adds Date and Message-ID where they are missing, and finds out whose
//! message it says it is. No other octet is changed.

use crate::mailboxes;
use crate::received::date;
use crate::split;
use memchr::memchr;

/// Octets of a field's name with white space behind it. What is longer is no field that anybody looks for.
const NAME_MAX: usize = 256;
/// Octets of the value of From and of Sender.
const VALUE_MAX: usize = 64 * 1024;

/// What missing fields are made from.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Seconds since 1970.
    pub seconds: u64,
    /// What makes the Message-ID unlike every other of this second and host: letters, digits and dots.
    pub unique: &'a str,
    /// The name of this host.
    pub host: &'a [u8],
}

impl Stamp<'_> {
    /// A new Message-ID, in its angle brackets.
    #[must_use]
    pub fn message_id(&self) -> Vec<u8> {
        [format!("<{:x}.{}@", self.seconds, self.unique).as_bytes(), self.host, b">"].concat()
    }

    /// Appends a Date field and a Message-ID field, each unless it is there.
    pub fn complete(&self, has_date: bool, has_message_id: bool, out: &mut Vec<u8>) {
        let fields =
            [(has_date, "Date", date(self.seconds).into_bytes()), (has_message_id, "Message-ID", self.message_id())];
        for (_, name, value) in fields.iter().filter(|(there, ..)| !there) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A field whose values are kept.
#[derive(Debug, Default)]
struct Kept {
    /// How many of that name there are.
    count: u32,
    /// Of the last.
    value: Vec<u8>,
}

/// A field that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    From,
    Sender,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first line.
    Begin,
    /// Within what may be a field's name; it is held.
    Name,
    /// Within a field's value.
    Value(Field),
    /// Within a line that is no field.
    Malformed,
    Body,
}

/// Reads a header as a stream, up to the empty line.
#[derive(Debug)]
pub struct Header {
    place: Place,
    /// The octet before was the LF of a line.
    line_start: bool,
    held: Vec<u8>,
    from: Kept,
    sender: Kept,
    has_date: bool,
    has_message_id: bool,
    /// A line in it is no field and no part of one, or a value is too long: others may read another header.
    malformed: bool,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            place: Place::Begin,
            line_start: true,
            held: Vec::new(),
            from: Kept::default(),
            sender: Kept::default(),
            has_date: false,
            has_message_id: false,
            malformed: false,
        }
    }
}

impl Header {
    /// The body has begun: what follows is not read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.place == Place::Body
    }

    /// There is a Date field.
    #[must_use]
    pub fn has_date(&self) -> bool {
        self.has_date
    }

    /// There is a Message-ID field.
    #[must_use]
    pub fn has_message_id(&self) -> bool {
        self.has_message_id
    }

    /// Takes a piece of canonical content.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !self.is_over() && !rest.is_empty() {
            let end = memchr(b'\n', rest).map_or(rest.len(), |at| at.saturating_add(1));
            let (piece, later) = split(rest, end);
            rest = later;
            self.take(piece);
        }
    }

    /// Takes a piece of one line.
    fn take(&mut self, piece: &[u8]) {
        let ends = piece.last() == Some(&b'\n');
        if std::mem::replace(&mut self.line_start, ends) {
            match (piece.first(), self.place) {
                // Of a field, if there is one before.
                (Some(b' ' | b'\t'), Place::Value(_) | Place::Malformed) => {}
                (Some(b' ' | b'\t'), _) => self.place = Place::Malformed,
                _ => {
                    self.held.clear();
                    self.place = Place::Name;
                }
            }
        }
        match self.place {
            Place::Name => self.take_name(piece, ends),
            Place::Value(field) => self.take_value(field, piece),
            Place::Malformed => self.malformed = true,
            Place::Begin | Place::Body => {}
        }
    }

    fn take_name(&mut self, piece: &[u8], ends: bool) {
        let colon = memchr(b':', piece);
        let (name, value) = split(piece, colon.unwrap_or(piece.len()));
        self.held.extend_from_slice(name.get(..NAME_MAX).unwrap_or(name));
        if ends && colon.is_none() && self.held == b"\r\n" {
            self.place = Place::Body;
            return;
        }
        // White space may come before the colon, RFC 5322 §4.5.
        let name = self.held.trim_ascii_end();
        let sound = !name.is_empty() && name.iter().all(u8::is_ascii_graphic) && self.held.len() < NAME_MAX;
        if colon.is_none() && !ends && self.held.len() < NAME_MAX {
            return;
        }
        if colon.is_none() || !sound {
            (self.place, self.malformed) = (Place::Malformed, true);
            return;
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        self.has_date |= is("date");
        self.has_message_id |= is("message-id");
        let field = if is("from") {
            Field::From
        } else if is("sender") {
            Field::Sender
        } else {
            Field::Other
        };
        self.place = Place::Value(field);
        if let Some(kept) = self.kept(field) {
            kept.count = kept.count.saturating_add(1);
            kept.value.clear();
        }
        self.take_value(field, value.get(1..).unwrap_or_default());
    }

    fn take_value(&mut self, field: Field, piece: &[u8]) {
        let Some(kept) = self.kept(field) else { return };
        if kept.value.len().saturating_add(piece.len()) > VALUE_MAX {
            self.malformed = true;
        } else {
            kept.value.extend_from_slice(piece);
        }
    }

    fn kept(&mut self, field: Field) -> Option<&mut Kept> {
        match field {
            Field::From => Some(&mut self.from),
            Field::Sender => Some(&mut self.sender),
            Field::Other => None,
        }
    }

    /// Every address that the message says it is from: those of its one From field, and that of its Sender field where it has one
    /// (RFC 5322 §3.6.2). None: others might find another author in it, because there is no From or more than one, more than one
    /// Sender, no address or one without a domain, a list that can't be read without a guess, or a line in the header that is no field.
    #[must_use]
    pub fn authors(&self) -> Option<Vec<Vec<u8>>> {
        if self.malformed || self.from.count != 1 || self.sender.count > 1 {
            return None;
        }
        let list = |kept: &Kept, most: usize| {
            let list = mailboxes::of_list(&kept.value).ok()?;
            let sound = |address: &Vec<u8>| {
                let at = address.iter().rposition(|octet| *octet == b'@');
                at.is_some_and(|at| at > 0 && at.saturating_add(1) < address.len())
            };
            (!list.is_empty() && list.len() <= most && list.iter().all(sound)).then_some(list)
        };
        let mut authors = list(&self.from, usize::MAX)?;
        if self.sender.count > 0 {
            authors.extend(list(&self.sender, 1)?);
        }
        Some(authors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(content: &str, cuts: &[usize]) -> Header {
        let mut header = Header::default();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([content.len()]) {
            let cut = cut.clamp(from, content.len());
            header.push(&content.as_bytes()[from..cut]);
            from = cut;
        }
        header
    }

    fn authors(content: &str) -> Option<String> {
        header(content, &[]).authors().map(|list| String::from_utf8(list.join(&b' ')).unwrap())
    }

    #[test]
    fn issue_15_whose_message_it_says_it_is() {
        let long = format!("From: {} <a@b.test>\r\n\r\n", "x".repeat(VALUE_MAX));
        for (content, expected) in [
            ("From: a@b.test\r\n\r\nFrom: c@d.test\r\n", Some("a@b.test")),
            ("from : A B <a@b.test>\r\n", Some("a@b.test")),
            ("From: c@d.test <a@b.test>\r\n", None),
            ("From: a@b.test <a@b.test>\r\n", Some("a@b.test")),
            ("From: a@b.test\r\nSender: c@d.test <a@b.test>\r\n", None),
            ("To: c@d.test\r\nFROM:\r\n a@b.test\r\n (x@y.test)\r\n\r\n", Some("a@b.test")),
            ("From: a@b.test, C <c@d.test>\r\n\r\n", Some("a@b.test c@d.test")),
            ("From: Us: a@b.test, c@d.test;\r\n\r\n", Some("a@b.test c@d.test")),
            ("From: a@b.test\r\nSender: c@d.test\r\n\r\n", Some("a@b.test c@d.test")),
            ("From: \"c@d.test\" <a@b.test>\r\n\r\n", Some("a@b.test")),
            // None, and several.
            ("To: a@b.test\r\n\r\n", None),
            ("\r\nFrom: a@b.test\r\n", None),
            ("From: a@b.test\r\nFrom: c@d.test\r\n\r\n", None),
            ("From: a@b.test\r\nfrom\t: a@b.test\r\n\r\n", None),
            ("From: a@b.test\r\nSender: a@b.test\r\nSender: c@d.test\r\n\r\n", None),
            ("From: a@b.test\r\nSender: a@b.test, c@d.test\r\n\r\n", None),
            ("From: a@b.test\r\nSender:\r\n\r\n", None),
            // No address.
            ("From:\r\n\r\n", None),
            ("From: <>\r\n\r\n", None),
            ("From: nobody:;\r\n\r\n", None),
            ("From: joe\r\n\r\n", None),
            ("From: @b.test\r\n\r\n", None),
            ("From: a@\r\n\r\n", None),
            ("From: a@b.test c@d.test\r\n\r\n", None),
            ("From: <a@b.test\r\n\r\n", None),
            // What some take for the end of the header, and others do not.
            ("From: a@b.test\r\nno field\r\nFrom: c@d.test\r\n\r\n", None),
            ("From: a@b.test\r\n: x\r\n\r\n", None),
            ("From joe Mon 12:00\r\nFrom: a@b.test\r\n\r\n", None),
            (" x: y\r\nFrom: a@b.test\r\n\r\n", None),
            ("Fr\u{f6}m: x\r\nFrom: a@b.test\r\n\r\n", None),
            (&long, None),
        ] {
            assert_eq!(authors(content).as_deref(), expected, "{content:.80}");
        }
    }

    #[test]
    fn issue_15_only_what_is_missing_is_added() {
        const STAMP: Stamp<'_> = Stamp { seconds: 0, unique: "ab.1", host: b"mx.test" };
        const DATE: &str = "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n";
        const ID: &str = "Message-ID: <0.ab.1@mx.test>\r\n";
        for (content, added) in [
            ("Subject: s\r\n\r\nDate: x\r\nMessage-ID: y\r\n", [DATE, ID].concat()),
            ("\r\nx", [DATE, ID].concat()),
            ("", [DATE, ID].concat()),
            ("DATE: x\r\n\r\n", ID.to_owned()),
            ("message-id : x\r\n\r\n", DATE.to_owned()),
            ("Message-ID:\r\n x\r\nDate: y\r\n\r\n", String::new()),
            ("X-Date: x\r\nMessage-ID-X: x\r\nSubject: a\r\n Date: x\r\n\r\n", [DATE, ID].concat()),
            ("Resent-Date: x\r\nResent-Message-ID: y\r\n\r\n", [DATE, ID].concat()),
        ] {
            let header = header(content, &[]);
            let mut out = Vec::new();
            STAMP.complete(header.has_date(), header.has_message_id(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), added, "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn issue_15_a_header_is_read_the_same_in_any_pieces(
            lines in proptest::collection::vec("(From|from|Sender|Date|Message-ID|X|)[ \t]{0,2}:? ?(a@b.test|<c@d.test>|x y|)", 0..8),
            padded in 0_usize..600, cuts in proptest::collection::vec(0_usize..900, 0..6),
        ) {
            let content = format!("{}\r\nFrom{}: e@f.test\r\n\r\nbody\r\n", lines.join("\r\n"), " ".repeat(padded));
            let mut cuts = cuts;
            cuts.sort_unstable();
            let (whole, pieces) = (header(&content, &[]), header(&content, &cuts));
            prop_assert_eq!(whole.authors(), pieces.authors());
            prop_assert_eq!((whole.has_date(), whole.has_message_id()), (pieces.has_date(), pieces.has_message_id()));
            prop_assert!(whole.is_over() && pieces.is_over());
        }
    }
}
