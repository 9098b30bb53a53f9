//! Replies as they are written, and how many may wait to be sent.

use super::{Engine, Refusal};
use crate::envelope::Verdict;
use crate::replies::{self, Reply};
use crate::text::Text;
use std::io::Write as _;

/// Octets of replies after which the shell must send them first: [`Event::Flush`](super::Event::Flush).
const OUTPUT_MAX: usize = 4096;

impl Engine {
    /// Replies not yet sent: 4 KiB and one reply at most, which has up to 5 KiB.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// The output is at its bound: it must be sent before more is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.output().len() >= OUTPUT_MAX
    }

    /// The first `n` octets of the output are sent.
    pub fn sent(&mut self, n: usize) {
        self.sent = self.sent.saturating_add(n);
        if self.sent >= self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent > OUTPUT_MAX {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(super) fn say(&mut self, reply: Reply) {
        let named = matches!(reply.code, 421 | 221) || reply == replies::GREETING;
        self.begin(reply.code, b' ');
        if !reply.enhanced.is_empty() {
            self.output.extend_from_slice(reply.enhanced.as_bytes());
            self.output.push(b' ');
        }
        if named {
            self.output.extend_from_slice(self.settings.hostname.as_bytes());
            self.output.push(b' ');
        }
        self.output.extend_from_slice(reply.text.as_bytes());
        self.finish_reply(reply.refuses());
        if reply.refuses() {
            let refusal = self.refusal.get_or_insert(Refusal { reply, count: 0, line: Vec::new() });
            refusal.count = refusal.count.saturating_add(1);
            refusal.reply = reply;
            refusal.line.clear();
        }
    }

    pub(super) fn say_verdict(&mut self, verdict: &Verdict) {
        let (class, subject, detail) = verdict.enhanced;
        self.begin(verdict.code, b' ');
        self.append(format_args!("{class}.{subject}.{detail} "));
        if verdict.code == 421 {
            self.output.extend_from_slice(self.settings.hostname.as_bytes());
            self.output.push(b' ');
        }
        self.output.extend_from_slice(verdict.reason.text().as_bytes());
        self.finish_reply(verdict.code >= 400);
    }

    /// A refusal in somebody else's words, with our id behind them.
    pub(super) fn say_text(&mut self, verdict: &Verdict, text: &Text) {
        let (class, subject, detail) = verdict.enhanced;
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let more = lines.peek().is_some();
            self.begin(verdict.code, if more { b'-' } else { b' ' });
            self.append(format_args!("{class}.{subject}.{detail} {line}"));
            self.finish_reply(!more);
        }
    }

    pub(super) fn begin(&mut self, code: u16, separator: u8) {
        self.append(format_args!("{code}"));
        self.output.push(separator);
    }

    pub(super) fn append(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory cannot fail.
        let _ = self.output.write_fmt(text);
    }

    pub(super) fn finish_reply(&mut self, refuses: bool) {
        if refuses && !self.settings.id.is_empty() {
            self.output.extend_from_slice(b" [");
            self.output.extend_from_slice(self.settings.id.as_bytes());
            self.output.push(b']');
        }
        self.output.extend_from_slice(b"\r\n");
    }
}
