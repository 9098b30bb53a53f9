//! What the shell answers about MAIL, RCPT and content, and what each answer does to the session.

use super::{Engine, State, Step, Tallies};
use crate::envelope::{CloseReason, Reason, Verdict};
use crate::replies;
use crate::text::Text;

impl Engine {
    /// Queues the reply to what was asked. Without effect when nothing is due.
    pub fn answer(&mut self, verdict: &Verdict) {
        self.answer_in(verdict, &Text::none());
    }

    /// Queues the reply to the content for one recipient, in the order of their RCPT; [`Engine::answer`] must follow the last one.
    /// Without effect unless the client said PRDR. Each is of one reply's size, so the shell must send them between two.
    pub fn answer_recipient(&mut self, verdict: &Verdict, text: &Text) {
        let Some(transaction) = self.transaction.as_mut().filter(|transaction| transaction.mail.parameters.prdr) else {
            return;
        };
        if !matches!(self.state, State::ContentAsked) {
            return;
        }
        if !std::mem::replace(&mut transaction.each, true) {
            self.say(replies::EACH_RECIPIENT);
        }
        // 421 would end the session within the replies.
        let closing = verdict.code == 421;
        let verdict = if closing { sound(&Verdict { code: 451, ..*verdict }) } else { sound(verdict) };
        if verdict.code < 300 {
            self.say(replies::RECIPIENT_OK);
        } else {
            self.refuse_in(&verdict, text, self.is_utf8());
        }
    }

    /// The client said SMTPUTF8.
    fn is_utf8(&self) -> bool {
        self.mail().is_some_and(|mail| mail.parameters.smtputf8)
    }

    /// A refusal in these words, if the client can read them; else in ours.
    fn refuse_in(&mut self, verdict: &Verdict, text: &Text, utf8: bool) {
        let readable = utf8 || text.as_str().is_ascii();
        let ours = verdict.code == 421 || verdict.reason == Reason::Internal;
        if ours || text.is_none() || !readable {
            self.say_verdict(verdict);
        } else {
            self.say_text(verdict, text);
        }
    }

    /// As [`Engine::answer`]; a refusal has this text, if it is one that the client can read.
    pub fn answer_in(&mut self, verdict: &Verdict, text: &Text) {
        let utf8 = self.is_utf8();
        let verdict = sound(verdict);
        let accepted = verdict.code < 300;
        match self.state {
            State::MailAsked => {
                self.state = State::Command;
                if accepted {
                    return self.say(replies::SENDER_OK);
                }
                self.transaction = None;
                self.count_refusal(&verdict);
            }
            State::RcptAsked => {
                self.state = State::Command;
                self.count_recipient(accepted, &verdict);
                if accepted {
                    return self.say(replies::RECIPIENT_OK);
                }
            }
            State::ContentAsked => {
                self.state = State::Command;
                self.transaction = None;
                if accepted {
                    // An error that a sender makes in each message adds up in a long session, but is no abuse.
                    self.tallies = Tallies::default();
                    return self.say(replies::OK);
                }
            }
            _ => return,
        }
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        self.refuse_in(&verdict, text, utf8);
        if verdict.code == 421 {
            let reason = match verdict.reason {
                Reason::Draining => CloseReason::Drained,
                Reason::Reclaimed => CloseReason::Reclaimed,
                Reason::ClientRefused => CloseReason::Abuse,
                _ => CloseReason::Internal,
            };
            self.end(reason);
        }
    }

    fn count_recipient(&mut self, accepted: bool, verdict: &Verdict) {
        if let Some(transaction) = &mut self.transaction {
            transaction.rcpt = None;
            if accepted {
                transaction.accepted = transaction.accepted.saturating_add(1);
            }
        }
        self.count_refusal(verdict);
    }

    fn count_refusal(&mut self, verdict: &Verdict) {
        let limits = &self.settings.limits;
        let (tally, limit) = match verdict.code {
            500.. => (&mut self.tallies.refused_recipients, limits.refused_recipients),
            400.. => (&mut self.tallies.surplus_recipients, limits.surplus_recipients),
            _ => return,
        };
        *tally = tally.saturating_add(1);
        if *tally > limit {
            let _: Step<'_> = self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse);
        }
    }
}

/// The verdict with a code that any client understands: 2yz becomes 250, and the enhanced class is that of the code.
fn sound(verdict: &Verdict) -> Verdict {
    let class = verdict.code / 100;
    let agrees = u16::from(verdict.enhanced.0) == class;
    match class {
        2 => Verdict { code: 250, enhanced: if agrees { verdict.enhanced } else { (2, 0, 0) }, ..*verdict },
        4 | 5 if agrees && verdict.code % 100 < 60 && verdict.enhanced.1 < 1000 && verdict.enhanced.2 < 1000 => {
            *verdict
        }
        5 => Verdict { code: 550, enhanced: (5, 0, 0), ..*verdict },
        _ => Verdict { code: 451, enhanced: (4, 3, 0), reason: Reason::Internal },
    }
}
