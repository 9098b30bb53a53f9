//! One `Received` field, RFC 5321 §4.4: what this hop knows, and no product name.

use std::net::IpAddr;

use crate::address::{Domain, Rules};

/// Lines are folded before they grow beyond this, RFC 5322 §2.1.1.
const LINE_MAX: usize = 78;

/// The protocol, RFC 3848 and RFC 6531 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum With {
    Smtp,
    Esmtp,
    Esmtps,
    Utf8Smtp,
    Utf8Smtps,
}

impl With {
    /// What a session amounts to. HELO under TLS has no keyword of its own; ESMTPS says the more important half.
    #[must_use]
    pub fn new(esmtp: bool, tls: bool, smtputf8: bool) -> Self {
        match (esmtp, tls, smtputf8) {
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
        }
    }
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
    /// Us.
    pub by: &'a str,
    /// How.
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
        let literal = match self.address.to_canonical() {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        };
        // What isn't a domain can't stand where a domain must: it goes into the comment, cleaned.
        let named = Domain::parse(self.helo, &Rules { underscores: false, ..Rules::widest(false) }).is_ok();
        let helo = cleaned(self.helo);
        let info = match self.name {
            Some(name) => format!("{} {literal}", cleaned(name.as_bytes())),
            None => literal.clone(),
        };
        let mut field = Fold { out, column: 0 };
        field.first("Received:");
        if named {
            field.word(&format!("from {helo}"));
            field.word(&format!("({info})"));
        } else {
            field.word(&format!("from {literal}"));
            field.word(&format!("(helo {})", if helo.is_empty() { "none" } else { helo.as_str() }));
        }
        field.line(&format!("by {}", cleaned(self.by.as_bytes())));
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

    /// A recipient is shown if it can't be mistaken for anything else: no controls, UTF-8 only where the header may be.
    fn may_show(&self, recipient: &[u8]) -> bool {
        let utf8 = matches!(self.with, With::Utf8Smtp | With::Utf8Smtps) && std::str::from_utf8(recipient).is_ok();
        !recipient.is_empty() && !recipient.iter().any(u8::is_ascii_control) && (recipient.is_ascii() || utf8)
    }
}

struct Fold<'o> {
    out: &'o mut Vec<u8>,
    column: usize,
}

impl Fold<'_> {
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

/// Text that can end neither a comment nor a field nor a word.
fn cleaned(text: &[u8]) -> String {
    let safe = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:[]+=@/".contains(&octet);
    text.iter().take(255).map(|&octet| if safe(octet) { char::from(octet) } else { '?' }).collect()
}

fn version_name(version: u16) -> &'static str {
    match version {
        0x0303 => "TLSv1.2",
        0x0304 => "TLSv1.3",
        _ => "TLS",
    }
}

/// Names of the suites that may be negotiated here.
fn suite_name(suite: u16) -> String {
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

/// RFC 5322 §3.3 in UTC. Times after the year 9999 are shown as its last second.
#[must_use]
pub fn date(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = seconds.min(LAST);
    let (days, clock) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
    };
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} +0000",
        name(&DAYS, days % 7),
        name(&MONTHS, month - 1),
        clock / 3600,
        clock / 60 % 60,
        clock % 60
    )
}

/// Year, month from 1 and day from 1 of a day counted from 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin on 1 March here, so that the odd day comes last; 719468 days lie between 0000-03-01 and 1970-01-01.
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
