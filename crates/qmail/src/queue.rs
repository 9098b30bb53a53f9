//! qmail-queue's interface, from the caller's side: the envelope that goes to its fd 1, and what its end means to the client.
//!
//! Addresses are checked before they are written. qmail-queue itself, told something wrong, exits with its files left behind
//! for 36 hours, so that a client could fill the disk.

use std::collections::TryReserveError;

use crate::program::Ended;
use crate::replies::{self, Reply};

/// Octets of one address, without its letter.
pub(crate) const ADDRESS_MAX: usize = 1002;

/// Octets of one piece of an envelope.
const PIECE: usize = 8 * 1024;
/// Octets of memory that must be left when an envelope has grown: what running the queue program takes besides.
const RESERVE: usize = 96 * 1024;

/// An envelope without the NUL at its end. Until qmail-queue has read that there is no message: only a commit writes it, and
/// whoever is killed before leaves nothing in the queue.
///
/// It grows in pieces. One block that doubles would need three times its size for a moment, and the process that holds it may
/// live under the `ulimit -d` of its wrapper (CVE-1999-0144).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Whole records in each.
    pieces: Vec<Vec<u8>>,
    length: usize,
}

/// Why an address can't join an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeError {
    /// qmail-queue takes no such address: too long, or with a NUL.
    Address,
    /// There is no memory for it.
    Memory,
}

impl EnvelopeError {
    /// What the client is told.
    #[must_use]
    pub fn reply(self) -> Reply {
        match self {
            Self::Address => replies::QQ_ADDRESS,
            // The sender brings the rest in its next transaction.
            Self::Memory => replies::TOO_MANY_RECIPIENTS,
        }
    }
}

impl Envelope {
    /// Begins one: `F`, the sender, NUL.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn new(sender: &[u8]) -> Result<Self, EnvelopeError> {
        let mut this = Self { pieces: Vec::new(), length: 0 };
        this.add(b'F', sender)?;
        Ok(this)
    }

    /// Adds `T`, a recipient, NUL.
    ///
    /// # Errors
    /// [`EnvelopeError`]; the envelope is as before.
    pub fn recipient(&mut self, recipient: &[u8]) -> Result<(), EnvelopeError> {
        self.add(b'T', recipient)
    }

    /// What goes to fd 1 before the last NUL: records, each with the NUL at its end.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().flat_map(|piece| piece.split_inclusive(|octet| *octet == 0))
    }

    /// Octets of all records.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    fn add(&mut self, letter: u8, address: &[u8]) -> Result<(), EnvelopeError> {
        // A NUL would end the address and begin another. The dialect's parser stops at it; this does not rely on that.
        if address.len() > ADDRESS_MAX || address.contains(&0) {
            return Err(EnvelopeError::Address);
        }
        let octets = address.len().saturating_add(2);
        if self.pieces.last().is_none_or(|piece| piece.capacity().saturating_sub(piece.len()) < octets) {
            self.grow().map_err(|_| EnvelopeError::Memory)?;
        }
        let piece = self.pieces.last_mut().ok_or(EnvelopeError::Memory)?;
        piece.push(letter);
        piece.extend_from_slice(address);
        piece.push(0);
        self.length = self.length.saturating_add(octets);
        Ok(())
    }

    /// Adds an empty piece.
    fn grow(&mut self) -> Result<(), TryReserveError> {
        let mut piece = Vec::new();
        piece.try_reserve_exact(PIECE)?;
        self.pieces.try_reserve(1)?;
        Vec::<u8>::new().try_reserve_exact(RESERVE)?;
        self.pieces.push(piece);
        Ok(())
    }
}

/// What a queue program wrote on its two custom-error descriptors, as far as it was read.
#[derive(Debug, Clone, Copy, Default)]
pub struct CustomText<'a> {
    /// fd 4: the toaster's and simscan's convention, exit 82 or 88. ERROR_FD may name another descriptor for it.
    pub fd4: &'a [u8],
    /// fd 6: notqmail's convention, exit 82.
    pub fd6: &'a [u8],
}

impl CustomText<'_> {
    /// `D` is for good, any other letter for now. At least three octets, or there is no text.
    fn reply(&self, status: u8) -> Option<Reply> {
        let text = match status {
            82 if self.fd6.len() >= 3 => self.fd6,
            82 | 88 if self.fd4.len() >= 3 => self.fd4,
            _ => return None,
        };
        let (letter, text) = text.split_first()?;
        Some(Reply::quoting(if *letter == b'D' { 554 } else { 451 }, text))
    }
}

/// Exit statuses and what the client is told, 0 aside.
const STATUSES: [(std::ops::RangeInclusive<u8>, Reply); 21] = [
    (11..=11, replies::QQ_ADDRESS),
    (31..=31, replies::QQ_REJECTED),
    (12..=40, replies::QQ_PERMANENT),
    (51..=51, replies::QQ_MEMORY),
    (52..=52, replies::QQ_TIMEOUT),
    (53..=53, replies::QQ_WRITE),
    (54..=54, replies::QQ_READ),
    (55..=55, replies::QQ_CONFIGURATION),
    (56..=56, replies::QQ_NETWORK),
    (61..=61, replies::QQ_HOME),
    (62..=66, replies::QQ_FILES),
    (71..=71, replies::QQ_DEFERRED),
    (72..=72, replies::QQ_CONNECT_TIMEOUT),
    (73..=73, replies::QQ_CONNECT_REFUSED),
    (74..=74, replies::QQ_COMMUNICATION),
    (81..=81, replies::QQ_BUG),
    (91..=91, replies::QQ_BUG),
    (115..=115, replies::QQ_ADDRESS),
    (120..=120, replies::QQ_EXEC),
    // The rest, in the order of the table: the first that holds the status is the answer.
    (0..=0, replies::QQ_READ),
    (0..=u8::MAX, replies::QQ_TEMPORARY),
];

/// What the client is told when the queue program has ended. `committed`: it was given a whole envelope. Exit 0 without that
/// is what qmail-smtpd makes of its own write errors: status 54. `time` and `pid` are for `250 ok TIME qp PID`, which log
/// tools match with the queue's own lines.
#[must_use]
pub fn verdict(ended: Ended, committed: bool, text: CustomText<'_>, time: u64, pid: u32) -> Reply {
    match ended {
        Ended::Exited(0) if committed => Reply::quoting(250, format!("ok {time} qp {pid}").as_bytes()),
        Ended::Exited(status) => text.reply(status).unwrap_or_else(|| of_status(status)),
        Ended::Killed(_) => replies::QQ_CRASHED,
        Ended::NotForked => replies::QQT_FAILURE,
        Ended::Lost => replies::QQ_WAITPID,
    }
}

fn of_status(status: u8) -> Reply {
    let found = STATUSES.into_iter().find(|(statuses, _)| statuses.contains(&status));
    found.map_or(replies::QQ_TEMPORARY, |(_, reply)| reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(ended: Ended, text: CustomText<'_>) -> String {
        verdict(ended, true, text, 1_795_313_256, 18_322).line().to_owned()
    }

    #[test]
    fn a11_a15_envelopes() {
        let mut envelope = Envelope::new(b"").unwrap();
        envelope.recipient(b"").unwrap();
        assert_eq!(envelope.records().collect::<Vec<_>>(), [b"F\0", b"T\0"]);
        let mut envelope = Envelope::new(b"a@b").unwrap();
        envelope.recipient(b"c@d").unwrap();
        envelope.recipient(b"c@d").unwrap();
        assert_eq!(envelope.records().collect::<Vec<_>>(), [b"Fa@b\0", b"Tc@d\0", b"Tc@d\0"]);
        assert_eq!(envelope.length(), 15);
    }

    #[test]
    fn issue_10_records_are_whole_whatever_piece_they_are_in() {
        let mut envelope = Envelope::new(&[b's'; 900]).unwrap();
        let recipients: Vec<Vec<u8>> = (0..500).map(|number| vec![b'r'; 1 + (number * 37) % ADDRESS_MAX]).collect();
        recipients.iter().for_each(|recipient| envelope.recipient(recipient).unwrap());
        let records: Vec<_> = envelope.records().skip(1).map(|record| &record[1..record.len() - 1]).collect();
        assert_eq!(records, recipients);
        assert_eq!(envelope.length(), envelope.records().map(<[u8]>::len).sum::<usize>());
    }

    #[test]
    fn a100_a103_what_would_leave_files_behind_is_refused_before() {
        assert!(Envelope::new(&[b'a'; 1002]).is_ok());
        assert_eq!(Envelope::new(&[b'a'; 1003]), Err(EnvelopeError::Address));
        let mut envelope = Envelope::new(b"a").unwrap();
        let before = envelope.clone();
        assert_eq!(envelope.recipient(&[b'a'; 1003]), Err(EnvelopeError::Address));
        assert_eq!(envelope.recipient(b"a\0\0Tevil"), Err(EnvelopeError::Address));
        assert_eq!(envelope, before);
    }

    #[test]
    fn a74_to_a78_every_status_has_its_reply() {
        let none = CustomText::default();
        for (statuses, line) in [
            (vec![0], "250 ok 1795313256 qp 18322"),
            (vec![11, 115], "554 envelope address too long for qq (#5.1.3)"),
            (vec![31], "554 mail server permanently rejected message (#5.3.0)"),
            (vec![12, 30, 32, 40], "554 qq permanent problem (#5.3.0)"),
            (vec![51], "451 qq out of memory (#4.3.0)"),
            (vec![52], "451 qq timeout (#4.3.0)"),
            (vec![53], "451 qq write error or disk full (#4.3.0)"),
            (vec![54], "451 qq read error (#4.3.0)"),
            (vec![55], "451 qq unable to read configuration (#4.3.0)"),
            (vec![56], "451 qq trouble making network connection (#4.3.0)"),
            (vec![61], "451 qq trouble in home directory (#4.3.0)"),
            (vec![62, 63, 66], "451 qq trouble creating files in queue (#4.3.0)"),
            (vec![71], "451 mail server temporarily rejected message (#4.3.0)"),
            (vec![72], "451 connection to mail server timed out (#4.4.1)"),
            (vec![73], "451 connection to mail server rejected (#4.4.1)"),
            (vec![74], "451 communication with mail server failed (#4.4.2)"),
            (vec![81, 91], "451 qq internal bug (#4.3.0)"),
            (vec![120], "451 unable to exec qq (#4.3.0)"),
            (vec![1, 10, 41, 50, 57, 60, 67, 82, 88, 100, 111, 127, 255], "451 qq temporary problem (#4.3.0)"),
        ] {
            for status in statuses {
                assert_eq!(said(Ended::Exited(status), none), line, "{status}");
            }
        }
        assert_eq!(said(Ended::Killed(9), none), "451 qq crashed (#4.3.0)");
        assert_eq!(said(Ended::NotForked, none), "451 qqt failure (#4.3.0)");
        assert_eq!(said(Ended::Lost, none), "451 qq waitpid surprise (#4.3.0)");
    }

    #[test]
    fn p1_no_250_without_a_whole_envelope() {
        let reply = verdict(Ended::Exited(0), false, CustomText::default(), 1, 1);
        assert_eq!(reply, replies::QQ_READ);
    }

    #[test]
    fn a79_to_a82_custom_text() {
        let long = [&b"D"[..], &[b'a'; 400]].concat();
        let cut = format!("554 {}", "a".repeat(254));
        for (status, fd4, fd6, line) in [
            (82, &b""[..], &b"Dgo away (#5.7.1)"[..], "554 go away (#5.7.1)"),
            (82, b"", b"Zlater (#4.3.0)", "451 later (#4.3.0)"),
            (82, b"", b"Xodd", "451 odd"),
            (82, b"", b"Dx", "451 qq temporary problem (#4.3.0)"),
            (82, b"", &long, &cut),
            (82, b"", b"Dline1\r\n250 inj", "554 line1250 inj"),
            (31, b"", b"Dmine", "554 mail server permanently rejected message (#5.3.0)"),
            (82, b"Dfour", b"", "554 four"),
            (88, b"Dfour", b"", "554 four"),
            (88, b"", b"Dsix", "451 qq temporary problem (#4.3.0)"),
            (82, b"Dfour", b"Dsix", "554 six"),
        ] {
            assert_eq!(said(Ended::Exited(status), CustomText { fd4, fd6 }), line);
        }
    }

    proptest! {
        #[test]
        fn a81_no_text_makes_a_second_line(status: u8, fd4: Vec<u8>, fd6: Vec<u8>) {
            let line = said(Ended::Exited(status), CustomText { fd4: &fd4, fd6: &fd6 });
            prop_assert!(line.bytes().all(|octet| (b' '..=b'~').contains(&octet)) && line.len() <= 4 + 254);
            prop_assert!(status == 0 || !line.starts_with('2'));
        }
    }
}
