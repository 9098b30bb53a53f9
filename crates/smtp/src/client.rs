//! The replies of a backend, read as hostile input: bounded, lines ended by CRLF only, text cleaned before it is used.

pub use crate::xtext;

use memchr::memchr;

use crate::split;
use crate::text::{Text, printable};

/// Longest line of a reply, octets with its CRLF. RFC 5321 §4.5.3.1.5 has 512; some backends send longer ones.
pub const LINE_MAX: usize = 1024;
/// Lines of one reply.
pub const LINES_MAX: usize = 64;
/// Octets of one reply.
pub const REPLY_MAX: usize = 8 * 1024;

/// Why what a backend sent is not a reply. Nothing that it sends after this can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadReply {
    /// The line does not begin with a number from 200 to 599 that is followed by a space, a hyphen or the line end.
    Code,
    /// Lines of one reply with different codes.
    Mixed,
    /// Longer than the limits.
    TooLong,
    /// A bare CR, bare LF or NUL.
    Framing,
}

impl std::fmt::Display for BadReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadReply::Code => "reply without a valid code",
            BadReply::Mixed => "reply with several codes",
            BadReply::TooLong => "reply too long",
            BadReply::Framing => "reply with bare CR, bare LF or NUL",
        })
    }
}

impl std::error::Error for BadReply {}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// RFC 2034, when it is there and its class agrees with the code.
    pub enhanced: Option<(u8, u16, u16)>,
    /// The text of each line, at least one: printable UTF-8, see [`printable`].
    pub lines: Vec<String>,
}

impl Reply {
    /// 2yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz.
    #[must_use]
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// What it says, without enhanced codes. `utf8`: the client said SMTPUTF8.
    #[must_use]
    pub fn text(&self, utf8: bool) -> Text {
        Text::of(self.lines.iter().map(|line| without_code(line, self.code).as_bytes()), utf8)
    }
}

/// Collects replies from a stream in any segmentation.
#[derive(Debug, Default)]
pub struct ReplyReader {
    line: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
    size: usize,
}

impl ReplyReader {
    /// At the start of a reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads up to the end of one reply: octets consumed, and the reply if it is complete. Octets left over are then an
    /// unsolicited reply, unless commands were pipelined.
    ///
    /// # Errors
    /// It is not a reply: close the connection.
    pub fn push(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), BadReply> {
        let mut rest = input;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).map(|at| at.saturating_add(1));
            let (piece, later) = split(rest, end.unwrap_or(rest.len()));
            rest = later;
            self.size = self.size.saturating_add(piece.len());
            if self.line.len().saturating_add(piece.len()) > LINE_MAX || self.size > REPLY_MAX {
                return Err(BadReply::TooLong);
            }
            self.line.extend_from_slice(piece);
            if end.is_some()
                && let Some(reply) = self.line_complete()?
            {
                return Ok((input.len().saturating_sub(rest.len()), Some(reply)));
            }
        }
        Ok((input.len(), None))
    }

    fn line_complete(&mut self) -> Result<Option<Reply>, BadReply> {
        let line = self.line.strip_suffix(b"\r\n").ok_or(BadReply::Framing)?;
        if line.iter().any(|octet| matches!(octet, b'\r' | 0)) {
            return Err(BadReply::Framing);
        }
        let (code, more, text) = cut(line).ok_or(BadReply::Code)?;
        if self.code.is_some_and(|first| first != code) {
            return Err(BadReply::Mixed);
        }
        if self.lines.len() >= LINES_MAX {
            return Err(BadReply::TooLong);
        }
        self.code = Some(code);
        self.lines.push(printable(text));
        self.line.clear();
        if more {
            return Ok(None);
        }
        let lines = std::mem::take(&mut self.lines);
        *self = Self { line: std::mem::take(&mut self.line), ..Self::default() };
        let enhanced = lines.first().and_then(|text| enhanced(text, code));
        Ok(Some(Reply { code, enhanced, lines }))
    }
}

/// Code, whether more lines follow, text.
fn cut(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    if !(200..600).contains(&code) {
        return None;
    }
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

/// A line without the enhanced code that it begins with.
fn without_code(line: &str, code: u16) -> &str {
    if enhanced(line, code).is_none() { line } else { line.split_once(' ').map_or("", |(_, rest)| rest) }
}

/// RFC 2034 §4.
fn enhanced(text: &str, code: u16) -> Option<(u8, u16, u16)> {
    let word = text.split(' ').next()?;
    let mut parts = word.split('.');
    let mut part = |digits: usize| {
        let part = parts.next()?;
        let plain = !part.is_empty() && part.len() <= digits && part.bytes().all(|octet| octet.is_ascii_digit());
        plain.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (class, subject, detail) = (part(1)?, part(3)?, part(3)?);
    let whole = parts.next().is_none() && class == code / 100;
    whole.then_some((u8::try_from(class).ok()?, subject, detail))
}

/// The attributes of XCLIENT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Attribute {
    Name,
    Addr,
    Port,
    Proto,
    Helo,
    Login,
    DestAddr,
    DestPort,
    ReverseName,
    Session,
    Ttl,
    Timeout,
}

impl Attribute {
    /// All of them, and how they are written.
    pub const TABLE: [(&'static str, Attribute); 12] = [
        ("NAME", Attribute::Name),
        ("ADDR", Attribute::Addr),
        ("PORT", Attribute::Port),
        ("PROTO", Attribute::Proto),
        ("HELO", Attribute::Helo),
        ("LOGIN", Attribute::Login),
        ("DESTADDR", Attribute::DestAddr),
        ("DESTPORT", Attribute::DestPort),
        ("REVERSE_NAME", Attribute::ReverseName),
        ("SESSION", Attribute::Session),
        ("TTL", Attribute::Ttl),
        ("TIMEOUT", Attribute::Timeout),
    ];

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of XCLIENT attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(u16);

impl Attributes {
    /// It is in the set: it may be sent.
    #[must_use]
    pub fn has(self, attribute: Attribute) -> bool {
        self.0 & attribute.bit() != 0
    }
}

/// The extensions of a backend, from its reply to EHLO or LHLO. An extension that it does not list must not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions {
    /// SIZE; `Some(0)` where it states no limit.
    pub size: Option<u64>,
    /// 8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// DSN.
    pub dsn: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// PIPELINING.
    pub pipelining: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// XCLIENT and its attributes.
    pub xclient: Option<Attributes>,
    /// LIMITS RCPTMAX, RFC 9422.
    pub rcptmax: Option<u32>,
}

impl Extensions {
    /// Reads them from a reply to EHLO or LHLO. The first line is the name of the host.
    #[must_use]
    pub fn from_ehlo(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        if !reply.is_positive() {
            return extensions;
        }
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "SIZE" => extensions.size = Some(words.next().and_then(|size| size.parse().ok()).unwrap_or(0)),
                "8BITMIME" => extensions.eight_bit = true,
                "SMTPUTF8" => extensions.smtputf8 = true,
                "DSN" => extensions.dsn = true,
                "CHUNKING" => extensions.chunking = true,
                "PIPELINING" => extensions.pipelining = true,
                "ENHANCEDSTATUSCODES" => extensions.enhanced_status_codes = true,
                "STARTTLS" => extensions.starttls = true,
                "XCLIENT" => {
                    let known = words
                        .filter_map(|word| Attribute::TABLE.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)));
                    extensions.xclient = Some(Attributes(known.fold(0, |set, (_, attribute)| set | attribute.bit())));
                }
                "LIMITS" => {
                    let rcptmax = |word: &str| {
                        let (name, value) = word.split_once('=')?;
                        name.eq_ignore_ascii_case("RCPTMAX").then(|| value.parse().ok()).flatten()
                    };
                    extensions.rcptmax = words.find_map(rcptmax);
                }
                _ => {}
            }
        }
        extensions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<(usize, Option<Reply>), BadReply> {
        ReplyReader::new().push(text)
    }

    fn reply(text: &str) -> Reply {
        read(text.as_bytes()).unwrap().1.unwrap()
    }

    #[test]
    fn reads_one_reply_and_leaves_the_rest() {
        let mut reader = ReplyReader::new();
        assert_eq!(reader.push(b"250-a\r\n25"), Ok((9, None)));
        let (taken, one) = reader.push(b"0 b\r\n354 c\r\n").unwrap();
        assert_eq!((taken, one.unwrap().lines), (5, vec!["a".to_owned(), "b".to_owned()]));
        let (taken, two) = reader.push(b"354 c\r\n").unwrap();
        let two = two.unwrap();
        assert_eq!((taken, two.code, two.is_intermediate()), (7, 354, true));
    }

    #[test]
    fn classes_and_enhanced_codes() {
        for (text, code, enhanced) in [
            ("250 2.1.5 Ok\r\n", 250, Some((2, 1, 5))),
            ("250 2.1.5\r\n", 250, Some((2, 1, 5))),
            ("250\r\n", 250, None),
            ("250 \r\n", 250, None),
            ("550 2.1.5 lies about its class\r\n", 550, None),
            ("550 5.1.1.1 x\r\n", 550, None),
            ("550 5.1 x\r\n", 550, None),
            ("550 5.1234.1 x\r\n", 550, None),
            ("550 5.-1.1 x\r\n", 550, None),
            ("550 5.+1.1 x\r\n", 550, None),
            ("550 5.999.999 x\r\n", 550, Some((5, 999, 999))),
            ("451-4.3.0 a\r\n451 4.4.4 b\r\n", 451, Some((4, 3, 0))),
        ] {
            let reply = reply(text);
            assert_eq!((reply.code, reply.enhanced), (code, enhanced), "{text:?}");
            let classes = [reply.is_positive(), reply.is_intermediate(), reply.is_transient(), reply.is_permanent()];
            assert_eq!(classes.iter().position(|class| *class), Some(usize::from(code / 100) - 2));
        }
    }

    #[test]
    fn p11_text_is_cleaned() {
        let reply = read(b"550 a\x1b[2Jb\t\xc3\xa9\x7f\xc3\r\n").unwrap().1.unwrap();
        assert_eq!(reply.lines, ["a?[2Jb?\u{e9}??"]);
        assert_eq!(reply.text(false).as_str(), "a?[2Jb????");
    }

    #[test]
    fn issue_12_the_text_of_a_reply_is_without_its_codes() {
        for (said, text) in [
            ("550 5.1.1 <u@ok.test>: unknown\r\n", "<u@ok.test>: unknown"),
            ("550-5.7.1 listed\r\n550 5.7.1 see https://bl.test/\r\n", "listed\nsee https://bl.test/"),
            ("550-5.7.1\r\n550 5.7.1 \r\n", ""),
            ("550 4.7.1 of another class\r\n", "4.7.1 of another class"),
            ("550 5.1.1.1 is no code\r\n", "5.1.1.1 is no code"),
            ("550\r\n", ""),
        ] {
            assert_eq!(reply(said).text(false).as_str(), text, "{said:?}");
        }
    }

    #[test]
    fn p1_what_is_no_reply_is_no_250() {
        for (text, why) in [
            (&b"\r\n"[..], BadReply::Code),
            (b"25\r\n", BadReply::Code),
            (b"2500 x\r\n", BadReply::Code),
            (b"250_x\r\n", BadReply::Code),
            (b"+50 x\r\n", BadReply::Code),
            (b"199 x\r\n", BadReply::Code),
            (b"600 x\r\n", BadReply::Code),
            (b" 250 x\r\n", BadReply::Code),
            (b"\xd9\xa2\xd9\xa5 x\r\n", BadReply::Code),
            (b"250 x\n", BadReply::Framing),
            (b"250 x\r\r\n", BadReply::Framing),
            (b"250 x\ry\r\n", BadReply::Framing),
            (b"250 x\0\r\n", BadReply::Framing),
            (b"250-x\r\n550 y\r\n", BadReply::Mixed),
        ] {
            assert_eq!(read(text), Err(why), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn p6_replies_are_bounded() {
        let line = |length: usize| [b"250 ", &b"x".repeat(length - 6)[..], b"\r\n"].concat();
        assert!(read(&line(LINE_MAX)).unwrap().1.is_some());
        assert_eq!(read(&line(LINE_MAX + 1)), Err(BadReply::TooLong));
        assert_eq!(read(&b"x".repeat(LINE_MAX + 1)), Err(BadReply::TooLong));

        let lines = |count: usize| [b"250-x\r\n".repeat(count - 1), b"250 x\r\n".to_vec()].concat();
        assert_eq!(read(&lines(LINES_MAX)).unwrap().1.unwrap().lines.len(), LINES_MAX);
        assert_eq!(read(&lines(LINES_MAX + 1)), Err(BadReply::TooLong));

        let long = format!("250-{}\r\n", "x".repeat(994));
        assert_eq!(read(long.repeat(9).as_bytes()), Err(BadReply::TooLong));
    }

    #[test]
    fn extensions_are_what_is_listed() {
        let dovecot = reply(
            "250-mail.test\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250-PIPELINING\r\n\
             250 XCLIENT ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT\r\n",
        );
        let extensions = Extensions::from_ehlo(&dovecot);
        assert!(extensions.eight_bit && extensions.chunking && extensions.pipelining);
        assert!(extensions.enhanced_status_codes && !extensions.smtputf8 && !extensions.dsn);
        assert_eq!(extensions.size, None);
        let xclient = extensions.xclient.unwrap();
        assert!(xclient.has(Attribute::Addr) && xclient.has(Attribute::Ttl) && !xclient.has(Attribute::Name));

        let other = reply(
            "250-m.test says SIZE 5\r\n250-size 1000\r\n250-Dsn\r\n250-STARTTLS\r\n250-limits mailmax=3 RcptMax=7\r\n250-XCLIENT\r\n250 SMTPUTF8\r\n",
        );
        let extensions = Extensions::from_ehlo(&other);
        assert_eq!((extensions.size, extensions.rcptmax), (Some(1000), Some(7)));
        assert!(extensions.dsn && extensions.smtputf8 && extensions.starttls && !extensions.pipelining);
        assert_eq!(extensions.xclient, Some(Attributes::default()));

        assert_eq!(Extensions::from_ehlo(&reply("250-m\r\n250 SIZE\r\n")).size, Some(0));
        assert_eq!(Extensions::from_ehlo(&reply("250 SIZE 5\r\n")), Extensions::default());
        assert_eq!(Extensions::from_ehlo(&reply("502-m\r\n502 DSN\r\n")), Extensions::default());
        for (_, attribute) in Attribute::TABLE {
            assert!(!Attributes::default().has(attribute));
        }
    }
}
