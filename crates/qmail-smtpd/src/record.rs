//! What the parent remembers of its session, for the one line in the log.

use gatepost_qmail::environment::Environment;
use gatepost_qmail::log::{Line, Transaction};
use gatepost_qmail::replies::Reply;
use gatepost_qmail::text::shown;
use gatepost_smtp::envelope::CloseReason;
use std::fmt::Display;
use std::time::Instant;

/// Recipients whose names are kept.
const NAMES: usize = 3;

/// One session, as the log will have it.
#[derive(Debug)]
pub(crate) struct Record {
    begun: Instant,
    /// Where lines go; nowhere when descriptor 2 is the client, or GATEPOST_LOG=off.
    logs: bool,
    helo: Option<Vec<u8>>,
    user: Option<Vec<u8>>,
    tls: Option<String>,
    from: Option<Vec<u8>>,
    to: Vec<Vec<u8>>,
    accepted: u32,
    refused: u32,
    octets: u64,
    qp: Option<u32>,
    messages: u32,
    verdict: String,
    /// What the session's jail is without.
    without: String,
}

impl Record {
    pub(crate) fn new(logs: bool) -> Self {
        Self {
            begun: Instant::now(),
            logs,
            helo: None,
            user: None,
            tls: None,
            from: None,
            to: Vec::new(),
            accepted: 0,
            refused: 0,
            octets: 0,
            qp: None,
            messages: 0,
            verdict: String::new(),
            without: String::new(),
        }
    }

    pub(crate) fn helo(&mut self, name: &[u8]) {
        self.helo = Some(name.to_vec());
    }

    pub(crate) fn user(&mut self, user: &[u8]) {
        self.user = Some(user.to_vec());
    }

    pub(crate) fn tls(&mut self, cipher: &str) {
        self.tls = Some(cipher.to_owned());
    }

    /// A transaction begins.
    pub(crate) fn sender(&mut self, sender: &[u8]) {
        self.from = Some(sender.to_vec());
        self.to.clear();
        (self.accepted, self.refused, self.octets, self.qp) = (0, 0, 0, None);
    }

    pub(crate) fn accepted(&mut self, recipient: &[u8]) {
        self.accepted = self.accepted.saturating_add(1);
        if self.to.len() < NAMES {
            self.to.push(recipient.to_vec());
        }
    }

    pub(crate) fn refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    /// What the client was told instead of what it wanted; the last of it is shown.
    pub(crate) fn refusal(&mut self, lines: &[u8]) {
        if let Some(last) = String::from_utf8_lossy(lines).lines().last() {
            last.clone_into(&mut self.verdict);
        }
    }

    /// A message has come to its end.
    pub(crate) fn message(&mut self, octets: u64, reply: &Reply, qp: Option<u32>) {
        (self.octets, self.qp) = (octets, qp);
        self.messages = self.messages.saturating_add(u32::from(reply.is_positive()));
        self.verdict = reply.to_string();
    }

    /// What the session's jail is without: words with commas between.
    pub(crate) fn without(&mut self, parts: &[u8]) {
        self.without = shown(parts, 200);
    }

    /// Something that the admin should know.
    pub(crate) fn warn(&self, what: &dyn Display) {
        if self.logs {
            say(&format_args!("gatepost: {what}"));
        }
    }

    /// The line.
    pub(crate) fn close(&self, environment: &Environment, end: CloseReason) {
        if !self.logs {
            return;
        }
        let to: Vec<&[u8]> = self.to.iter().map(Vec::as_slice).collect();
        let transaction = self.from.as_deref().map(|from| Transaction {
            from,
            to: &to,
            accepted: self.accepted,
            refused: self.refused,
            octets: self.octets,
            qp: self.qp,
        });
        let line = Line {
            pid: std::process::id(),
            ip: environment.remote_ip(),
            host: environment.get("TCPREMOTEHOST"),
            helo: self.helo.as_deref(),
            user: self.user.as_deref(),
            tls: self.tls.as_deref().map(str::as_bytes),
            messages: self.messages,
            transaction,
            verdict: &self.verdict,
            without: &self.without,
            end,
            duration: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        say(&line);
    }
}

/// One line to descriptor 2. A log that is gone must not end a session.
fn say(line: &dyn Display) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_last_refusal_or_what_became_of_the_message() {
        let mut record = Record::new(false);
        record.refusal(b"250-a plugin's words\r\n553 no\r\n");
        assert_eq!(record.verdict, "553 no");
        // A plugin may close without a word.
        record.refusal(b"");
        assert_eq!(record.verdict, "553 no");
        record.message(7, &gatepost_qmail::replies::OK, Some(1));
        assert_eq!((record.verdict.as_str(), record.messages), ("250 ok", 1));
    }
}
