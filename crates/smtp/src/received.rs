//! One `Received` field, RFC 5321 §4.4, without a product name.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::address::{Domain, Rules};

/// Longest line before it is folded, octets, RFC 5322 §2.1.1.
const LINE_MAX: usize = 78;

/// The protocol, RFC 3848 and RFC 6531 §4.3; an `A` at the end: the client has logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum With {
    Smtp,
    Esmtp,
    Esmtps,
    Utf8Smtp,
    Utf8Smtps,
    EsmtpA,
    EsmtpsA,
    Utf8SmtpA,
    Utf8SmtpsA,
}

impl With {
    /// The keyword for a session. HELO within TLS has none; ESMTPS names the more important of the two.
    #[must_use]
    pub fn new(esmtp: bool, tls: bool, smtputf8: bool, login: bool) -> Self {
        match (esmtp, tls, smtputf8) {
            (_, false, true) if login => With::Utf8SmtpA,
            (_, true, true) if login => With::Utf8SmtpsA,
            (_, true, false) if login => With::EsmtpsA,
            (_, false, false) if login => With::EsmtpA,
            (_, false, true) => With::Utf8Smtp,
            (_, true, true) => With::Utf8Smtps,
            (_, true, false) => With::Esmtps,
            (true, false, false) => With::Esmtp,
            (false, false, false) => With::Smtp,
        }
    }

    /// As registered with IANA.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            With::Smtp => "SMTP",
            With::Esmtp => "ESMTP",
            With::Esmtps => "ESMTPS",
            With::Utf8Smtp => "UTF8SMTP",
            With::Utf8Smtps => "UTF8SMTPS",
            With::EsmtpA => "ESMTPA",
            With::EsmtpsA => "ESMTPSA",
            With::Utf8SmtpA => "UTF8SMTPA",
            With::Utf8SmtpsA => "UTF8SMTPSA",
        }
    }
}

/// What is said of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// Its name, its address and its HELO.
    All,
    /// The user of this machine whose program it is: his number, and what he is called.
    User(u32, &'a str),
    /// Nothing, as with many submission servers: where somebody is is not for all to see whom he writes to.
    Nothing,
}

/// The facts of one `Received`. Whatever is not printable ASCII in them becomes `?`.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The argument of HELO or EHLO, hostile.
    pub helo: &'a [u8],
    /// The client.
    pub address: IpAddr,
    /// Its name, if it is known and verified.
    pub name: Option<&'a str>,
    /// What is said of the client.
    pub said: Said<'a>,
    /// Our host name.
    pub by: &'a str,
    /// The protocol.
    pub with: With,
    /// TLS version and cipher suite code points, for a comment.
    pub tls: Option<(u16, u16)>,
    /// The id in our log.
    pub id: &'a str,
    /// The forward-path, if there is exactly one.
    pub recipient: Option<&'a [u8]>,
    /// Seconds since 1970, UTC.
    pub date: u64,
}

impl Received<'_> {
    /// Appends the field to `out`: folded, with its CRLF.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut field = Fold { out, column: 0 };
        let by = || format!("Received: by {}", cleaned(self.by.as_bytes()));
        match self.said {
            Said::User(uid, name) => {
                field.first(&by());
                field.word(&format!("(from uid {uid}, {})", cleaned(name.as_bytes())));
            }
            Said::Nothing => field.first(&by()),
            Said::All => self.write_client(&mut field),
        }
        self.write_rest(field);
    }

    fn write_client(&self, field: &mut Fold<'_>) {
        let literal = match self.address.to_canonical() {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        };
        let info = match self.name {
            Some(name) => format!("({} {literal})", cleaned(name.as_bytes())),
            None => format!("({literal})"),
        };
        let helo = cleaned(self.helo);
        let rules = Rules { underscores: false, ..Rules::widest(false) };
        if helo.as_bytes() == self.helo && Domain::parse(self.helo, &rules).is_ok() {
            field.first(&format!("Received: from {helo}"));
            field.word(&info);
        } else {
            // Where the grammar has a domain, only a domain is written.
            field.first(&format!("Received: from {literal}"));
            field.word(&info);
            field.word(&format!("(helo {})", if helo.is_empty() { "none" } else { &helo }));
        }
        field.line(&format!("by {}", cleaned(self.by.as_bytes())));
    }

    fn write_rest(&self, mut field: Fold<'_>) {
        field.word(&format!("with {}", self.with.keyword()));
        if let Some((version, suite)) = self.tls {
            field.word(&format!("({} {})", version_name(version), suite_name(suite)));
        }
        if !self.id.is_empty() {
            field.word(&format!("id {}", cleaned(self.id.as_bytes())));
        }
        if let Some(recipient) = self.recipient.filter(|recipient| self.may_show(recipient)) {
            field.word("for <");
            field.out.extend_from_slice(recipient);
            field.out.push(b'>');
            field.column = field.column.saturating_add(recipient.len());
        }
        field.out.push(b';');
        field.line(&date(self.date));
        field.out.extend_from_slice(b"\r\n");
    }

    /// A recipient is written only if it is unambiguous: no controls, and UTF-8 only in a header that may be UTF-8.
    fn may_show(&self, recipient: &[u8]) -> bool {
        let utf8 = matches!(self.with, With::Utf8Smtp | With::Utf8Smtps | With::Utf8SmtpA | With::Utf8SmtpsA)
            && std::str::from_utf8(recipient).is_ok();
        !recipient.is_empty() && !recipient.iter().any(u8::is_ascii_control) && (recipient.is_ascii() || utf8)
    }
}

struct Fold<'o> {
    out: &'o mut Vec<u8>,
    column: usize,
}

impl Fold<'_> {
    /// Of any length: a field name alone on its line is legal, but some parsers fail on it.
    fn first(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.column = text.len();
    }

    fn word(&mut self, text: &str) {
        if self.column.saturating_add(text.len()) >= LINE_MAX {
            return self.line(text);
        }
        self.out.push(b' ');
        self.out.extend_from_slice(text.as_bytes());
        self.column = self.column.saturating_add(text.len()).saturating_add(1);
    }

    fn line(&mut self, text: &str) {
        self.out.extend_from_slice(b"\r\n\t");
        self.out.extend_from_slice(text.as_bytes());
        self.column = text.len().saturating_add(8);
    }
}

/// Text without octets that could end a comment, a field or a word; 255 of them at most.
fn cleaned(text: &[u8]) -> Cow<'_, str> {
    let safe = |octet: &u8| matches!(octet, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'+' | b'=' | b'@' | b'/');
    let text = text.get(..255).unwrap_or(text);
    match std::str::from_utf8(text) {
        Ok(clean) if text.iter().all(safe) => Cow::Borrowed(clean),
        _ => text.iter().map(|octet| if safe(octet) { char::from(*octet) } else { '?' }).collect(),
    }
}

/// The name of a TLS version, by its code point.
#[must_use]
pub fn version_name(version: u16) -> &'static str {
    match version {
        0x0303 => "TLSv1.2",
        0x0304 => "TLSv1.3",
        _ => "TLS",
    }
}

/// The name of a cipher suite, by its code point: of those that may be negotiated here, else its number.
#[must_use]
pub fn suite_name(suite: u16) -> String {
    const SUITES: [(u16, &str); 9] = [
        (0x1301, "TLS_AES_128_GCM_SHA256"),
        (0x1302, "TLS_AES_256_GCM_SHA384"),
        (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
        (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ];
    match SUITES.iter().find(|(number, _)| *number == suite) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("0x{suite:04X}"),
    }
}

/// A second in UTC, as fields of headers show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Its day of the week, three letters.
    pub weekday: &'static str,
    /// From 1970 to 9999.
    pub year: u64,
    /// Three letters.
    pub month: &'static str,
    /// From 1.
    pub day: u64,
    /// From 0 to 23.
    pub hour: u64,
    /// From 0 to 59.
    pub minute: u64,
    /// From 0 to 59.
    pub second: u64,
}

impl Moment {
    /// So many seconds after the beginning of 1970. Times after the year 9999 are its last second.
    #[must_use]
    pub fn of(seconds: u64) -> Self {
        const LAST: u64 = 253_402_300_799;
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let seconds = seconds.min(LAST);
        let (days, clock) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let name = |names: &[&'static str], at: u64| {
            usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
        };
        Self {
            weekday: name(&DAYS, days % 7),
            year,
            month: name(&MONTHS, month - 1),
            day,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
        }
    }
}

/// RFC 5322 §3.3 in UTC. Times after the year 9999 are shown as its last second.
#[must_use]
pub fn date(seconds: u64) -> String {
    let Moment { weekday, year, month, day, hour, minute, second } = Moment::of(seconds);
    let mut text = String::with_capacity(32);
    // A String takes whatever is written.
    let _ = write!(text, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000");
    text
}

/// Year, month from 1 and day from 1 of a day counted from 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin on 1 March here, so that the leap day is the last day; there are 719468 days from 0000-03-01 to 1970-01-01.
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Received<'_> = Received {
        helo: b"client.test",
        address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)),
        name: None,
        said: Said::All,
        by: "mx.example.org",
        with: With::Esmtp,
        tls: None,
        id: "1a2b",
        recipient: None,
        date: 1_700_000_000,
    };

    #[test]
    fn issue_15_of_a_user_of_this_machine_nothing_else_is_said() {
        let local = Received { said: Said::User(1000, "joe"), ..FACTS };
        assert!(
            written(&local).starts_with("Received: by mx.example.org (from uid 1000, joe) with ESMTP id 1a2b;\r\n\t"),
            "{}",
            written(&local)
        );
    }

    #[test]
    fn issue_15_a_client_that_is_hidden_is_not_in_it() {
        let hidden = Received { said: Said::Nothing, with: With::EsmtpsA, name: Some("host.test"), ..FACTS };
        assert_eq!(
            written(&hidden),
            "Received: by mx.example.org with ESMTPSA id 1a2b;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
    }

    fn written(received: &Received<'_>) -> String {
        let mut out = Vec::new();
        received.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_long_name_does_not_leave_the_field_name_alone_on_its_line() {
        let helo = [&[b'a'; 63][..], b".test"].concat();
        let field = written(&Received { helo: &helo, ..FACTS });
        assert!(field.starts_with("Received: from aaa"), "{field}");
    }

    #[test]
    fn p10_a_field_as_rfc_5321_has_it() {
        assert_eq!(
            written(&FACTS),
            "Received: from client.test ([192.0.2.9])\r\n\tby mx.example.org with ESMTP id 1a2b;\r\n\
             \tTue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
        let full = Received {
            name: Some("host.test"),
            address: "2001:db8::9".parse().unwrap(),
            with: With::Esmtps,
            tls: Some((0x0304, 0x1302)),
            recipient: Some(b"u@ok.test"),
            ..FACTS
        };
        assert_eq!(
            written(&full),
            "Received: from client.test (host.test [IPv6:2001:db8::9])\r\n\
             \tby mx.example.org with ESMTPS (TLSv1.3 TLS_AES_256_GCM_SHA384) id 1a2b\r\n\tfor <u@ok.test>;\r\n\
             \tTue, 14 Nov 2023 22:13:20 +0000\r\n"
        );
    }

    #[test]
    fn p11_a_hostile_helo_stays_in_its_comment() {
        for (helo, shown) in [
            (&b"a b"[..], "from [192.0.2.9] ([192.0.2.9]) (helo a?b)\r\n"),
            (b"x) by evil.test (", "from [192.0.2.9] ([192.0.2.9]) (helo x??by?evil.test??)\r\n"),
            (b"a\r\nX: y", "from [192.0.2.9] ([192.0.2.9]) (helo a??X:?y)\r\n"),
            (b"\\", "from [192.0.2.9] ([192.0.2.9]) (helo ?)\r\n"),
            (b"", "from [192.0.2.9] ([192.0.2.9]) (helo none)\r\n"),
            (b"under_score.test", "from [192.0.2.9] ([192.0.2.9]) (helo under_score.test)\r\n"),
            (b"[192.0.2.77]", "from [192.0.2.77] ([192.0.2.9])\r\n"),
            (b"[x:(y]", "from [192.0.2.9] ([192.0.2.9]) (helo [x:?y])\r\n"),
        ] {
            let field = written(&Received { helo, ..FACTS });
            assert!(field.starts_with(&format!("Received: {shown}")), "{field}");
        }
    }

    #[test]
    fn a_recipient_is_shown_only_where_it_may_be() {
        for (recipient, with, shown) in [
            (&b"u@ok.test"[..], With::Smtp, true),
            (b"\xc3\xa9@ok.test", With::Esmtp, false),
            (b"\xc3\xa9@ok.test", With::Utf8Smtp, true),
            (b"\xff@ok.test", With::Utf8Smtp, false),
            (b"u\r\nX: y", With::Smtp, false),
            (b"", With::Smtp, false),
        ] {
            let mut out = Vec::new();
            Received { recipient: Some(recipient), with, ..FACTS }.write(&mut out);
            assert_eq!(out.windows(5).any(|window| window == b"for <"), shown, "{}", recipient.escape_ascii());
        }
    }

    #[test]
    fn keywords_are_the_registered_ones() {
        for (tls, utf8, keyword) in
            [(true, false, "ESMTPSA"), (false, false, "ESMTPA"), (true, true, "UTF8SMTPSA"), (false, true, "UTF8SMTPA")]
        {
            assert_eq!(With::new(true, tls, utf8, true).keyword(), keyword);
        }
        for (esmtp, tls, utf8, keyword) in [
            (false, false, false, "SMTP"),
            (true, false, false, "ESMTP"),
            (true, true, false, "ESMTPS"),
            (false, true, false, "ESMTPS"),
            (true, false, true, "UTF8SMTP"),
            (true, true, true, "UTF8SMTPS"),
        ] {
            assert_eq!(With::new(esmtp, tls, utf8, false).keyword(), keyword);
        }
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        for (seconds, shown) in [
            (0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (86_399, "Thu, 01 Jan 1970 23:59:59 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 +0000"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 +0000"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 +0000"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 +0000"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 +0000"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ] {
            assert_eq!(date(seconds), shown);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = civil(0);
        for day in 1..=200_000 {
            let (year, month, today) = civil(day);
            let next = [(before.0, before.1, before.2 + 1), (before.0, before.1 + 1, 1), (before.0 + 1, 1, 1)];
            assert!(next.contains(&(year, month, today)), "{before:?} {year}-{month}-{today}");
            assert!((1..=12).contains(&month) && (1..=31).contains(&today));
            before = (year, month, today);
        }
    }
}
