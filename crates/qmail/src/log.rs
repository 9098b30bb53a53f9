//! The session's one line: what qmail-smtpd never says. Words of `key=value` in a fixed order, hostile text cleaned, of
//! bounded length; beside what qmail's log tools expect, not instead.

use crate::text::shown;
use gatepost_smtp::envelope::CloseReason;
use std::fmt;

/// Octets of a name or an address that are shown.
const NAME_MAX: usize = 128;
/// Recipients that are shown.
const RECIPIENTS_MAX: usize = 3;

/// The word for it in the line.
#[must_use]
pub fn word(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Quit | CloseReason::Dismissed => "quit",
        CloseReason::ClientGone => "gone",
        CloseReason::Timeout => "timeout",
        CloseReason::Limit | CloseReason::Abuse => "limit",
        CloseReason::BareLf => "bare-lf",
        CloseReason::TlsFailed => "tls",
        CloseReason::Configuration => "controls",
        CloseReason::ProxyHeader => "proxy",
        CloseReason::Refused => "refused",
        CloseReason::Internal | CloseReason::Drained | CloseReason::Reclaimed | CloseReason::Away => "internal",
    }
}

/// The last transaction.
#[derive(Debug, Clone, Default)]
pub struct Transaction<'a> {
    /// The sender.
    pub from: &'a [u8],
    /// The recipients that were accepted, or the first of them.
    pub to: &'a [&'a [u8]],
    /// How many were accepted.
    pub accepted: u32,
    /// How many were refused.
    pub refused: u32,
    /// Octets of content, as stored.
    pub octets: u64,
    /// The queue program's pid, when it was started.
    pub qp: Option<u32>,
}

/// The line.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// The process that reads the client, as tcpserver's `end` line names it.
    pub pid: u32,
    /// TCPREMOTEIP.
    pub ip: &'a [u8],
    /// TCPREMOTEHOST, if there is one.
    pub host: Option<&'a [u8]>,
    /// The argument of the last HELO or EHLO.
    pub helo: Option<&'a [u8]>,
    /// The user who logged in.
    pub user: Option<&'a [u8]>,
    /// TLS version and cipher.
    pub tls: Option<&'a [u8]>,
    /// Messages that were queued.
    pub messages: u32,
    /// The last transaction, if there was one.
    pub transaction: Option<Transaction<'a>>,
    /// The last reply that was not positive, or the one to the message.
    pub verdict: &'a str,
    /// What could not be had of its jail: cleaned words with commas between.
    pub without: &'a str,
    /// Why it ended.
    pub end: CloseReason,
    /// Milliseconds from the connection to its end.
    pub duration: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |text: &[u8]| shown(text, NAME_MAX);
        write!(f, "gatepost: session {} ip={}", self.pid, name(self.ip))?;
        for (key, value) in [("host", self.host), ("helo", self.helo), ("user", self.user), ("tls", self.tls)] {
            if let Some(value) = value {
                write!(f, " {key}={}", name(value))?;
            }
        }
        if let Some(transaction) = &self.transaction {
            write!(f, " from=<{}>", name(transaction.from))?;
            for recipient in transaction.to.iter().take(RECIPIENTS_MAX) {
                write!(f, " to=<{}>", name(recipient))?;
            }
            write!(
                f,
                " accepted={} refused={} octets={}",
                transaction.accepted, transaction.refused, transaction.octets
            )?;
            if let Some(qp) = transaction.qp {
                write!(f, " qp={qp}")?;
            }
        }
        // The verdict has spaces, so it is quoted; a quote within it would end it early.
        let verdict: String = self.verdict.chars().filter(|c| (' '..='~').contains(c) && *c != '"').take(260).collect();
        let (end, messages, duration) = (word(self.end), self.messages, self.duration);
        write!(f, " verdict=\"{verdict}\" messages={messages} end={end} ms={duration}")?;
        if self.without.is_empty() { Ok(()) } else { write!(f, " without={}", self.without) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line<'a>() -> Line<'a> {
        Line {
            without: "",
            pid: 4711,
            ip: b"192.0.2.7",
            host: Some(b"client.example.net"),
            helo: Some(b"client"),
            user: None,
            tls: Some(b"TLSv1.3"),
            messages: 1,
            transaction: None,
            verdict: "250 ok 1 qp 2",
            end: CloseReason::Quit,
            duration: 12,
        }
    }

    #[test]
    fn who_from_to_verdict_and_why_it_ended() {
        let to: &[&[u8]] = &[b"a@x", b"b@x", b"c@x", b"d@x"];
        let transaction = Transaction { from: b"s@y", to, accepted: 40, refused: 1, octets: 1234, qp: Some(2) };
        assert_eq!(
            Line { transaction: Some(transaction), ..line() }.to_string(),
            "gatepost: session 4711 ip=192.0.2.7 host=client.example.net helo=client tls=TLSv1.3 from=<s@y> to=<a@x> \
             to=<b@x> to=<c@x> accepted=40 refused=1 octets=1234 qp=2 verdict=\"250 ok 1 qp 2\" messages=1 end=quit ms=12"
        );
        assert_eq!(
            Line { host: None, helo: None, tls: None, verdict: "", end: CloseReason::ClientGone, ..line() }.to_string(),
            "gatepost: session 4711 ip=192.0.2.7 verdict=\"\" messages=1 end=gone ms=12"
        );
    }

    #[test]
    fn p11_a_verdict_cannot_end_its_quotes() {
        let shown = Line { verdict: "554 a\" end=quit\r\nx", ..line() }.to_string();
        assert!(shown.contains(" verdict=\"554 a end=quitx\" messages=1 end=quit"), "{shown}");
    }

    proptest! {
        #[test]
        fn p6_p11_one_line_and_not_a_long_one(texts: [Vec<u8>; 5], verdict: String, times in 0_usize..2000) {
            let [helo, user, from, to, host] = texts.map(|text| text.repeat(times));
            let many = vec![to.as_slice(); 50];
            let transaction = Transaction { from: &from, to: &many, ..Transaction::default() };
            let shown = Line {
                helo: Some(&helo),
                user: Some(&user),
                host: Some(&host),
                transaction: Some(transaction),
                verdict: &verdict,
                ..line()
            }
            .to_string();
            prop_assert!(shown.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
            prop_assert!(shown.len() < 2000, "{}", shown.len());
            prop_assert!(shown.ends_with("end=quit ms=12"));
        }
    }
}
