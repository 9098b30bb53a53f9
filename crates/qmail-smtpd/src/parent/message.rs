//! DATA to its end: the queue program at work, and the one place where an envelope becomes complete.

use super::envelope::Content;
use super::{Offence, Parent, Say};
use gatepost_program::Verdict;
use gatepost_qmail::program::Ended;
use gatepost_qmail::queue::{self, CustomText};
use gatepost_qmail::received::Received;
use gatepost_qmail::replies::{self, Reply};
use gatepost_qmail::text::shown;
use gatepost_smtp::envelope::Abandoned;
use std::time::{SystemTime, UNIX_EPOCH};

impl Parent {
    pub(super) fn in_content(&self) -> bool {
        self.transaction.as_ref().is_some_and(|t| t.content.is_some())
    }

    pub(super) fn data(&mut self) -> Result<Say, Offence> {
        if self.transaction.as_ref().is_none_or(|t| t.accepted == 0) {
            return Err(Offence::Untimely);
        }
        let (headers, printed) = match self.plugins_on_data() {
            Ok(passed) => passed,
            Err(refusal) => {
                self.forget_transaction();
                return Ok(refusal);
            }
        };
        let program = self.environment.queue_program();
        // It would fail, or leave files that nobody may send on.
        if let Some(why) = self.programs.ids_lost(program) {
            self.record.warn(&format_args!("queue program {}: {why}", shown(program, 200)));
            self.forget_transaction();
            return Ok(Say::refused(&replies::QQ_EXEC));
        }
        let mut queue = match self.programs.queue(program, &self.environment) {
            Ok(queue) => queue,
            Err(e) => {
                self.record.warn(&format_args!("queue program {} cannot be started: {e}", shown(program, 200)));
                self.forget_transaction();
                return Ok(Say::refused(&replies::QQT_FAILURE));
            }
        };
        let mut front = Vec::new();
        self.received().write(&mut front);
        front.extend_from_slice(&headers);
        queue.write_message(&front);
        if let Some(transaction) = &mut self.transaction {
            transaction.content = Some(Content { queue, length: 0 });
        }
        Ok(Say::go().after(printed, &replies::GO_AHEAD))
    }

    fn received(&self) -> Received<'_> {
        Received {
            host: self.environment.remote_host(),
            helo: self.helo.as_deref(),
            info: self.user.as_deref().or_else(|| self.environment.get("TCPREMOTEINFO")),
            ip: self.environment.remote_ip(),
            local: self.environment.local_name(),
            cipher: self.cipher(),
            authenticated: self.user.is_some(),
            date: now(),
        }
    }

    pub(super) fn content(&mut self, octets: &[u8]) -> Result<(), Offence> {
        let content = self.transaction.as_mut().and_then(|t| t.content.as_mut()).ok_or(Offence::Untimely)?;
        content.length = content.length.saturating_add(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        // The session stops at the limit. One that does not is owned.
        if self.controls.databytes != 0 && content.length > u64::from(self.controls.databytes) {
            return Err(Offence::Untimely);
        }
        content.queue.write_message(octets);
        Ok(())
    }

    /// The only way to a complete envelope. The transaction is over, whatever comes of it.
    pub(super) fn commit(&mut self, length: u64) -> Result<Say, Offence> {
        let transaction = self.transaction.take().ok_or(Offence::Untimely)?;
        self.plugins.reset();
        let content = transaction.content.ok_or(Offence::Untimely)?;
        if content.length != length {
            return Err(Offence::Untimely);
        }
        if let Some(reply) = transaction.doomed {
            content.queue.abandon();
            self.record.message(length, &reply, None);
            return Ok(Say::refused(&reply));
        }
        let finished = content.queue.commit(transaction.envelope.records());
        let text = CustomText { fd4: &finished.text4, fd6: &finished.text6 };
        let pid = u32::try_from(finished.pid).unwrap_or_default();
        let reply = match finished.verdict {
            Verdict::Accepted => queue::verdict(Ended::Exited(0), true, text, now(), pid),
            Verdict::Exit(status) => queue::verdict(Ended::Exited(status), true, text, now(), pid),
            Verdict::Crashed(signal) => queue::verdict(Ended::Killed(signal.into()), true, text, now(), pid),
            Verdict::Lost => queue::verdict(Ended::Lost, true, text, now(), pid),
            Verdict::NotExecuted(e) => {
                let program = shown(self.environment.queue_program(), 200);
                self.record.warn(&format_args!("queue program {program}: {e}"));
                queue::verdict(Ended::NOT_EXECUTED, true, text, now(), pid)
            }
            Verdict::Late => replies::QQ_TIMEOUT,
        };
        self.record.message(length, &reply, Some(pid));
        if reply.is_positive() {
            self.allowance.delivered();
        } else if reply.line().starts_with('4') {
            self.suspect_limits();
        }
        Ok(answer(&reply))
    }

    pub(super) fn abandon(&mut self, why: Abandoned) -> Result<(), Offence> {
        let transaction = self.transaction.take().ok_or(Offence::Untimely)?;
        self.plugins.reset();
        let content = transaction.content.ok_or(Offence::Untimely)?;
        let reply = match why {
            Abandoned::TooLarge => replies::TOO_LARGE,
            Abandoned::Loop => replies::LOOPING,
        };
        self.record.message(content.length, &reply, None);
        content.queue.abandon();
        Ok(())
    }
}

fn answer(reply: &Reply) -> Say {
    if reply.is_positive() { Say::granted(reply) } else { Say::refused(reply) }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}
