//! Messages that are to be queued, and their envelopes as they come in. Pure: messages of handoff's in, jobs out.

use gatepost_qmail::queue::Envelope;
use gatepost_wire::queue::Submit;
use std::net::SocketAddr;

/// Octets of one envelope: 65 535 recipients of 320 octets fit.
const ENVELOPE_MAX: usize = 24 * 1024 * 1024;

/// A message that is to be queued, but for its content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) ticket: u32,
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) envelope: Envelope,
}

/// What handoff must not send: it is broken, or not itself any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Not now.
    Untimely,
    /// An address that qmail-queue would not take.
    Address,
    /// An envelope without an end.
    Long,
}

/// The envelope that is being told.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    job: Option<Job>,
}

impl Incoming {
    /// Hears one message. A job is complete with its commit, and only then.
    pub(crate) fn hear(&mut self, submit: Submit<'_>) -> Result<Option<Job>, Violation> {
        match (submit, &mut self.job) {
            // One that was begun before and has no commit is none: handoff gave it up.
            (Submit::Begin { ticket, client, local, sender }, slot) => {
                let envelope = Envelope::new(sender).map_err(|_| Violation::Address)?;
                *slot = Some(Job { ticket, client, local, envelope });
                Ok(None)
            }
            (Submit::Recipient(recipient), Some(job)) => {
                job.envelope.recipient(recipient).map_err(|_| Violation::Address)?;
                if job.envelope.length() > ENVELOPE_MAX { Err(Violation::Long) } else { Ok(None) }
            }
            (Submit::Commit, slot @ Some(_)) => Ok(slot.take()),
            _ => Err(Violation::Untimely),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sender: &[u8]) -> Submit<'_> {
        let (client, local) = ("192.0.2.9:4713".parse().unwrap(), "203.0.113.1:25".parse().unwrap());
        Submit::Begin { ticket: 7, client, local, sender }
    }

    #[test]
    fn p1_a_job_is_complete_with_its_commit_and_not_before() {
        let mut incoming = Incoming::default();
        for _ in 0..2 {
            assert_eq!(incoming.hear(begin(b"given up")), Ok(None));
            assert_eq!(incoming.hear(Submit::Recipient(b"given up")), Ok(None));
            assert_eq!(incoming.hear(begin(b"a@b")), Ok(None));
            assert_eq!(incoming.hear(Submit::Recipient(b"c@d")), Ok(None));
            assert_eq!(incoming.hear(Submit::Recipient(b"e@f")), Ok(None));
            let job = incoming.hear(Submit::Commit).unwrap().unwrap();
            assert_eq!(
                (job.ticket, job.envelope.records().collect::<Vec<_>>().concat()),
                (7, b"Fa@b\0Tc@d\0Te@f\0".to_vec())
            );
        }
    }

    #[test]
    fn what_is_untimely_or_no_address_is_no_job() {
        let long = vec![b'a'; 1003];
        let table: [(&[Submit<'_>], Violation); 5] = [
            (&[Submit::Commit], Violation::Untimely),
            (&[Submit::Recipient(b"a")], Violation::Untimely),
            (&[begin(b"a\0Tevil")], Violation::Address),
            (&[begin(b"a"), Submit::Recipient(b"\0")], Violation::Address),
            (&[begin(b"a"), Submit::Recipient(&long)], Violation::Address),
        ];
        for (submits, violation) in table {
            let mut incoming = Incoming::default();
            let (last, first) = submits.split_last().unwrap();
            for submit in first {
                assert_eq!(incoming.hear(*submit), Ok(None));
            }
            assert_eq!(incoming.hear(*last), Err(violation), "{submits:?}");
        }
    }

    #[test]
    fn p6_an_envelope_has_an_end() {
        let mut incoming = Incoming::default();
        assert_eq!(incoming.hear(begin(b"")), Ok(None));
        let recipient = [b'a'; 1000];
        let over = (0..).find(|_| incoming.hear(Submit::Recipient(&recipient)).is_err()).unwrap();
        assert!(over * 1000 < ENVELOPE_MAX, "{over}");
    }
}
