//! QMQP from the client's side: one netstring of netstrings there, one netstring back. The content's length is known before,
//! so that it is streamed between [`Request::head`] and [`Request::tail`].

use crate::text::clean;
use gatepost_smtp::envelope::Class;
use std::fmt;

/// Octets of one address that qmail-qmqpd takes.
pub(crate) const ADDRESS_MAX: usize = 999;
/// Octets of a reply that are read; what is longer is no reply.
pub const REPLY_MAX: usize = 1000;

/// What surrounds the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Before it.
    pub head: Vec<u8>,
    /// After it. The message exists for the server only when its last octet, the comma, has arrived: written on commit.
    pub tail: Vec<u8>,
}

impl Request {
    /// For `length` octets of content with LF line ends. `None` when an address is longer than `ADDRESS_MAX` or holds a
    /// NUL, for which the server would refuse the message as a whole, or when the sum is beyond 64 bits.
    #[must_use]
    pub fn new<'a>(length: u64, sender: &'a [u8], recipients: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut tail = vec![b','];
        for address in std::iter::once(sender).chain(recipients) {
            if address.len() > ADDRESS_MAX || address.contains(&0) {
                return None;
            }
            tail.extend_from_slice(format!("{}:", address.len()).as_bytes());
            tail.extend_from_slice(address);
            tail.push(b',');
        }
        let inner = format!("{length}:");
        let around = u64::try_from(inner.len().checked_add(tail.len())?).ok()?;
        let total = length.checked_add(around)?;
        tail.push(b',');
        Some(Self { head: format!("{total}:{inner}").into_bytes(), tail })
    }
}

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its letter: `K`, `Z` or `D`.
    pub class: Class,
    /// Its text, without control octets, at most 254 octets.
    pub text: Vec<u8>,
}

/// As a log shows it: its letter and its text, escaped, so that it can stand between quotes.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.class {
            Class::Accepted => 'K',
            Class::Temporary => 'Z',
            Class::Permanent => 'D',
        };
        write!(f, "{letter}{}", self.text.escape_ascii())
    }
}

/// How far the octets that have arrived go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// More is needed. At the end of the connection that is a broken reply too.
    More,
    /// A whole answer; what follows it doesn't matter.
    Done(Answer),
    /// Not an answer: the message may or may not be queued, so it is deferred.
    Broken,
}

/// Reads an answer from all octets that have arrived so far.
#[must_use]
pub fn answer(arrived: &[u8]) -> Progress {
    let digits = arrived.iter().take_while(|octet| octet.is_ascii_digit()).count();
    // Four digits are enough for REPLY_MAX, and a nought in front is no length.
    if digits > 4 || (digits > 1 && arrived.starts_with(b"0")) {
        return Progress::Broken;
    }
    let Some((length, rest)) = arrived.split_at_checked(digits) else { return Progress::Broken };
    let Some((colon, rest)) = rest.split_first() else { return Progress::More };
    let length = length
        .iter()
        .fold(0_usize, |sum, digit| sum.saturating_mul(10).saturating_add(usize::from(digit.saturating_sub(b'0'))));
    if digits == 0 || *colon != b':' || length == 0 || length > REPLY_MAX {
        return Progress::Broken;
    }
    let Some((content, end)) = rest.split_at_checked(length) else { return Progress::More };
    match (end.first(), content.split_first()) {
        (None, _) => Progress::More,
        (Some(b','), Some((letter, text))) => {
            let class = match letter {
                b'K' => Class::Accepted,
                b'Z' => Class::Temporary,
                b'D' => Class::Permanent,
                _ => return Progress::Broken,
            };
            Progress::Done(Answer { class, text: clean(text, crate::replies::TEXT_MAX) })
        }
        _ => Progress::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a91_a_request_is_a_netstring_of_netstrings() {
        let request = Request::new(6, b"a@b", [&b"c@d"[..], b""]).unwrap();
        let all = [&request.head[..], b"hello\n", &request.tail].concat();
        assert_eq!(all, b"24:6:hello\n,3:a@b,3:c@d,0:,,");
        let inner = all.strip_prefix(b"24:").and_then(|rest| rest.strip_suffix(b",")).unwrap();
        assert_eq!(inner.len(), 24);
        assert!(Request::new(u64::MAX, b"", []).is_none());
    }

    #[test]
    fn a92_addresses_that_would_cost_the_message_are_not_sent() {
        assert!(Request::new(1, &[b'a'; 999], []).is_some());
        assert!(Request::new(1, &[b'a'; 1000], []).is_none());
        assert!(Request::new(1, b"", [&b"a\0b"[..]]).is_none());
    }

    #[test]
    fn answers() {
        let done = |class, text: &[u8]| Progress::Done(Answer { class, text: text.to_vec() });
        for (octets, progress) in [
            (&b"23:Kok 1795313256 qp 18322,"[..], done(Class::Accepted, b"ok 1795313256 qp 18322")),
            (
                b"50:Dmail server permanently rejected message (#5.3.0),",
                done(Class::Permanent, b"mail server permanently rejected message (#5.3.0)"),
            ),
            (b"1:Z,and more", done(Class::Temporary, b"")),
            (b"8:Da\r\n250b,", done(Class::Permanent, b"a250b")),
            (b"", Progress::More),
            (b"23", Progress::More),
            (b"23:Kok", Progress::More),
            (b"1:K", Progress::More),
            (b"1:K;", Progress::Broken),
            (b"0:,", Progress::Broken),
            (b"01:K,", Progress::Broken),
            (b"3:Xok,", Progress::Broken),
            (b":K,", Progress::Broken),
            (b"x", Progress::Broken),
            (b"1001:K", Progress::Broken),
            (b"99999", Progress::Broken),
        ] {
            assert_eq!(answer(octets), progress, "{}", octets.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn p1_an_answer_is_the_same_however_it_arrives(octets in "[0-9]{0,3}[:;]?[KZDx]?[ -~\\n]{0,20},?".prop_map(String::into_bytes)) {
            let whole = answer(&octets);
            for end in 0..octets.len() {
                let part = answer(&octets[..end]);
                prop_assert!(part == Progress::More || part == whole, "{part:?} {whole:?}");
            }
        }

        #[test]
        fn no_octets_upset_it(octets: Vec<u8>) {
            if let Progress::Done(answer) = answer(&octets) {
                prop_assert!(!answer.text.iter().any(u8::is_ascii_control));
            }
        }
    }
}
