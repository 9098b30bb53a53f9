//! Commands: what each verb does to the session.

use super::verbs::{self, Verb};
use super::{Engine, Question, State, Turn, address};
use crate::replies;
use gatepost_smtp::envelope::CloseReason;

impl Engine {
    /// Obeys one command line, its end cut off.
    pub(super) fn command<'i>(&mut self, line: &[u8]) -> Option<Turn<'i>> {
        let (verb, argument) = verbs::parse(line);
        match verb {
            Some(Verb::Helo) => self.helo(argument, false),
            Some(Verb::Ehlo) => self.helo(argument, true),
            Some(Verb::Mail) => self.mail(argument),
            Some(Verb::Rcpt) => self.rcpt(argument),
            Some(Verb::Data) => self.data(),
            Some(Verb::Rset) => self.rset(),
            Some(Verb::Noop) => self.idle_talk(replies::OK),
            Some(Verb::Vrfy) => self.idle_talk(replies::VRFY),
            Some(Verb::Help) => self.idle_talk(replies::HELP),
            Some(Verb::Quit) => self.quit(),
            Some(Verb::Auth) => self.auth(argument),
            Some(Verb::StartTls) => self.start_tls(argument),
            None => self.refuse(replies::UNIMPLEMENTED),
        }
    }

    fn ask<'i>(&mut self, question: Question, turn: Turn<'i>) -> Option<Turn<'i>> {
        self.state = State::Asked(question);
        Some(turn)
    }

    fn helo<'i>(&mut self, argument: &[u8], esmtp: bool) -> Option<Turn<'i>> {
        let limit = self.settings.limits.ehlos;
        if self.tallies.ehlos.one_more(limit) {
            return self.close_for_abuse();
        }
        self.transaction = None;
        self.argument.clear();
        self.argument.extend_from_slice(argument);
        self.esmtp = esmtp;
        self.ask(Question::Helo, Turn::Helo)
    }

    /// The usual reply to HELO and EHLO.
    pub(super) fn say_helo(&mut self) {
        if !self.esmtp {
            return self.say_greeting(b"250 ", b"");
        }
        self.say_greeting(b"250-", b"");
        if !self.settings.speaks_patched() {
            return self.say_line(&[b"250-PIPELINING\r\n250 8BITMIME"]);
        }
        if self.settings.starttls && !self.tls {
            self.say_line(&[b"250-STARTTLS"]);
        }
        self.say_line(&[b"250-PIPELINING\r\n250-8BITMIME"]);
        let mechanisms: Vec<&str> = self.mechanisms_offered().collect();
        let size = self.settings.databytes.to_string();
        if mechanisms.is_empty() {
            self.say_line(&[b"250 SIZE ", size.as_bytes()]);
        } else {
            self.say_line(&[b"250-SIZE ", size.as_bytes()]);
            self.say_line(&[b"250 AUTH ", mechanisms.join(" ").as_bytes()]);
        }
    }

    fn mail<'i>(&mut self, argument: &[u8]) -> Option<Turn<'i>> {
        if self.settings.tls_first && !self.tls {
            return self.refuse(replies::TLS_FIRST);
        }
        if !self.authenticated && self.settings.auth.is_some_and(|offer| offer.mandatory) {
            return self.refuse(replies::AUTH_REQUIRED);
        }
        if address::parse(argument, &mut self.address).is_err() {
            return self.refuse(replies::SYNTAX);
        }
        let limit = self.settings.limits.mails;
        if self.tallies.mails.one_more(limit) {
            return self.close_for_abuse();
        }
        let most = self.settings.databytes;
        if most > 0
            && self.settings.speaks_patched()
            && address::declared_size(argument).is_some_and(|declared| declared > most)
        {
            self.say(replies::TOO_LARGE);
            return None;
        }
        // Before the answer: recipients of a refused MAIL must not join the transaction before it.
        self.transaction = None;
        self.argument.clear();
        self.argument.extend_from_slice(argument);
        self.ask(Question::Mail, Turn::Mail)
    }

    fn rcpt<'i>(&mut self, argument: &[u8]) -> Option<Turn<'i>> {
        let limits = self.settings.limits;
        let refusal = match &self.transaction {
            None => Some(replies::MAIL_FIRST),
            Some(transaction) if transaction.accepted >= limits.recipients => Some(replies::TOO_MANY_RECIPIENTS),
            Some(_) => None,
        };
        if let Some(reply) = refusal {
            if self.tallies.surplus_recipients.one_more(limits.surplus_recipients) {
                return self.close(replies::OUT_OF_MEMORY, CloseReason::Limit);
            }
            self.say(reply);
            return None;
        }
        if address::parse(argument, &mut self.address).is_err() {
            self.say(replies::SYNTAX);
            return self.recipient_refused();
        }
        self.ask(Question::Rcpt, Turn::Rcpt)
    }

    /// Its reply is said. Not an error: where senders pipeline, one refusal brings many.
    pub(super) fn recipient_refused<'i>(&mut self) -> Option<Turn<'i>> {
        let limit = self.settings.limits.refused_recipients;
        if self.tallies.refused_recipients.one_more(limit) { self.close_for_abuse() } else { None }
    }

    fn data<'i>(&mut self) -> Option<Turn<'i>> {
        match &self.transaction {
            None => self.refuse(replies::MAIL_FIRST),
            Some(transaction) if transaction.accepted == 0 => self.refuse(replies::RCPT_FIRST),
            Some(_) => self.ask(Question::Data, Turn::Data),
        }
    }

    /// The parent must know only if there was something to drop.
    fn rset<'i>(&mut self) -> Option<Turn<'i>> {
        let limit = self.settings.limits.resets;
        if self.tallies.resets.one_more(limit) {
            return self.close_for_abuse();
        }
        self.tallies.errors.forget();
        self.say(replies::FLUSHED);
        self.transaction.take().map(|_| Turn::Reset)
    }

    /// A command that changes nothing.
    fn idle_talk<'i>(&mut self, reply: replies::Reply) -> Option<Turn<'i>> {
        let limit = self.settings.limits.noops;
        if self.tallies.noops.one_more(limit) {
            return self.close_for_abuse();
        }
        self.say(reply);
        None
    }

    fn quit<'i>(&mut self) -> Option<Turn<'i>> {
        self.say_greeting(b"221 ", b"");
        self.end(CloseReason::Quit);
        Some(Turn::Close(CloseReason::Quit))
    }

    fn start_tls<'i>(&mut self, argument: &[u8]) -> Option<Turn<'i>> {
        if self.tls || !self.settings.starttls {
            return self.refuse(replies::UNIMPLEMENTED);
        }
        if !argument.is_empty() {
            return self.refuse(replies::TLS_ARGUMENT);
        }
        self.ask(Question::StartTls, Turn::StartTls)
    }
}
