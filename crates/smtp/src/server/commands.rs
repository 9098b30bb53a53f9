//! Commands: what each verb does to the session.

use super::parameters::{self, Terms};
use super::transaction::Transaction;
use super::{Engine, Event, REFUSED_LINE_MAX, State, Step};
use crate::address::{Domain, Rules};
use crate::envelope::{CloseReason, HELO_MAX, Service};
use crate::keyword::Keyword;
use crate::replies::{self, Reply};
use crate::split;
use crate::verbs::{self, Verb};

/// Every sender may send this many recipients, so a larger RCPTMAX is not stated, RFC 5321 §4.5.3.1.8.
const RCPTMAX_COMMON: u16 = 100;

/// The line without blanks at its end, and without white space at its start where that is accepted.
fn trim_blanks(mut line: &[u8], leading: bool) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    if leading && line.first().is_some_and(u8::is_ascii_whitespace) { line.trim_ascii_start() } else { line }
}

/// As much of a refused command as may stand in a log.
pub(super) fn fit_for_log(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let (word, _) = split(line, memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len()));
    match verbs::find(word) {
        Some(row) if row.verb != Verb::Auth => split(line, REFUSED_LINE_MAX).0,
        _ => &[],
    }
}

impl Engine {
    /// Carries out one command line, given without its CRLF. `more`: input follows it.
    pub(super) fn command<'i>(&mut self, line: &[u8], more: bool) -> Step<'i> {
        // The third line of the PROXY protocol's signature, version 2.
        if line == [0] && self.helo.is_empty() {
            return self.close(replies::FOREIGN, CloseReason::ProxyHeader);
        }
        // For another parser on the way a NUL or a bare CR may end the line: what follows cannot be trusted.
        if memchr::memchr2(0, b'\r', line).is_some() {
            return self.close(replies::BARE_IN_LINE, CloseReason::Abuse);
        }
        let leniency = &self.settings.leniency;
        let line = trim_blanks(line, leniency.leading_spaces);
        // Nearly every line has no control at all, which is seen without a branch for each octet.
        let controls = line.iter().fold(false, |any, octet| any | octet.is_ascii_control());
        let clean = |octet: &u8| !octet.is_ascii_control() || *octet == b'\t' && leniency.tabs;
        if line.is_empty() || controls && !line.iter().all(clean) {
            return self.refuse(replies::BAD_LINE);
        }
        let (word, argument) = split(line, memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len()));
        let argument = argument.get(1..).unwrap_or_default();
        let spaced = leniency.extra_spaces && argument.first().is_some_and(u8::is_ascii_whitespace);
        let argument = if spaced { argument.trim_ascii_start() } else { argument };
        let Some(row) = verbs::find(word) else {
            // A header line: HTTP from a browser, or content after a refused DATA.
            return if word.ends_with(b":") {
                self.close(replies::FOREIGN, CloseReason::Abuse)
            } else {
                self.refuse(replies::UNKNOWN_VERB)
            };
        };
        if !row.argument.permits(argument) {
            return self.refuse(replies::BAD_ARGUMENT);
        }
        match row.verb {
            Verb::Helo => self.helo_or_ehlo(argument, false),
            Verb::Ehlo => self.helo_or_ehlo(argument, true),
            Verb::Mail => self.mail_from(argument),
            Verb::Rcpt => self.rcpt_to(argument),
            Verb::Data => self.data(),
            Verb::Bdat => self.bdat(argument),
            Verb::Rset => self.rset(),
            Verb::Noop => self.no_operation(replies::OK),
            Verb::Help => self.no_operation(replies::HELP),
            Verb::Vrfy => self.vrfy(argument),
            Verb::Quit => self.close(replies::BYE, CloseReason::Quit),
            Verb::StartTls => self.start_tls(more),
            Verb::Auth => self.auth(argument),
            Verb::Disabled => self.refuse(replies::DISABLED),
            Verb::Foreign => self.close(replies::FOREIGN, CloseReason::Abuse),
            Verb::Proxy => self.close(replies::FOREIGN, CloseReason::ProxyHeader),
        }
    }

    /// Drops the transaction, if there is one, and only then tells the shell.
    fn drop_transaction<'i>(&mut self) -> Step<'i> {
        match self.transaction.take() {
            Some(_) => Step::Yield(Event::Reset),
            None => Step::On,
        }
    }

    fn helo_or_ehlo<'i>(&mut self, argument: &[u8], esmtp: bool) -> Step<'i> {
        self.tallies.ehlos = self.tallies.ehlos.saturating_add(1);
        if self.tallies.ehlos > self.settings.limits.ehlos {
            return self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse);
        }
        let rules = Rules { underscores: false, ..Rules::widest(false) };
        let fits = argument.len() <= HELO_MAX
            && argument.iter().all(|octet| matches!(octet, b' '..=b'~'))
            && (self.settings.leniency.odd_helo || Domain::parse(argument, &rules).is_ok());
        if !fits {
            return self.refuse(replies::BAD_HELO);
        }
        self.helo.clear();
        self.helo.extend_from_slice(argument);
        self.esmtp = esmtp;
        if esmtp {
            self.say_extensions()
        } else {
            self.say_hostname(b' ')
        }
        self.drop_transaction()
    }

    fn say_hostname(&mut self, separator: u8) {
        self.begin(250, separator);
        self.output.extend_from_slice(self.settings.hostname.as_bytes());
        self.finish_reply(false);
    }

    /// RFC 5321 §4.1.1.1. Extensions that depend on the backend come first, those that are always there last.
    fn say_extensions(&mut self) {
        let Terms { size_max, eight_bit, smtputf8, dsn, prdr, .. } = self.terms();
        let recipients = self.recipients_max();
        let hidden = self.settings.hidden;
        let offered = [
            (eight_bit, Keyword::EightBitMime),
            (dsn, Keyword::Dsn),
            (smtputf8, Keyword::SmtpUtf8),
            (prdr, Keyword::Prdr),
            (self.can_start_tls(), Keyword::StartTls),
            (true, Keyword::Pipelining),
            (true, Keyword::Chunking),
            (true, Keyword::EnhancedStatusCodes),
            (recipients < RCPTMAX_COMMON, Keyword::Limits),
            (true, Keyword::Size),
        ];
        let shown = || offered.iter().filter(|(offered, keyword)| *offered && !hidden.has(*keyword));
        let last = shown().next_back().map(|(_, keyword)| *keyword);
        // Whoever has to log in must be told how, so this is not hidden from anyone.
        let login = self.offers_auth();
        self.say_hostname(if login || last.is_some() { b'-' } else { b' ' });
        if login {
            self.say_mechanisms(if last.is_some() { '-' } else { ' ' });
        }
        for (_, keyword) in shown() {
            let (name, separator) = (keyword.name(), if Some(*keyword) == last { ' ' } else { '-' });
            match keyword {
                Keyword::Limits => self.append(format_args!("250{separator}{name} RCPTMAX={recipients}\r\n")),
                Keyword::Size if size_max < u64::MAX => {
                    self.append(format_args!("250{separator}{name} {size_max}\r\n"))
                }
                _ => self.append(format_args!("250{separator}{name}\r\n")),
            }
        }
    }

    fn can_start_tls(&self) -> bool {
        self.settings.starttls && self.tls.is_none()
    }

    /// Recipients in one transaction: the fewer of ours and the backend's.
    fn recipients_max(&self) -> u16 {
        let offered = self.offer.map_or(u16::MAX, |offer| offer.recipients);
        self.settings.recipients.min(offered).max(1)
    }

    /// Largest message, octets: the smaller of ours and the backend's.
    pub(super) fn size_max(&self) -> u64 {
        let stated = |size: u64| if size == 0 { u64::MAX } else { size };
        stated(self.settings.message_size).min(self.offer.map_or(u64::MAX, |offer| stated(offer.size)))
    }

    fn terms(&self) -> Terms<'_> {
        let offer = self.offer;
        let leniency = &self.settings.leniency;
        let eight_bit = offer.is_some_and(|offer| offer.eight_bit);
        Terms {
            leniency,
            rules: Rules {
                smtputf8: false,
                odd_dots: leniency.odd_dots,
                underscores: leniency.underscores,
                final_dot: leniency.final_dot,
                local_part_max: self.settings.limits.local_part,
                path_max: self.settings.limits.path,
            },
            esmtp: self.esmtp,
            size_max: self.size_max(),
            eight_bit,
            smtputf8: eight_bit && offer.is_some_and(|offer| offer.smtputf8),
            dsn: offer.is_some_and(|offer| offer.dsn),
            prdr: offer.is_some_and(|offer| offer.prdr),
            auth: self.settings.service == Service::Submission,
        }
    }

    fn mail_from<'i>(&mut self, argument: &[u8]) -> Step<'i> {
        let submits = self.settings.service == Service::Submission;
        if (submits || self.settings.tls_required) && self.tls.is_none() {
            return self.refuse(replies::TLS_REQUIRED);
        }
        if submits && !self.authenticated {
            return self.refuse(replies::AUTH_REQUIRED);
        }
        if self.helo.is_empty() && !self.settings.leniency.no_helo {
            return self.refuse(replies::HELO_FIRST);
        }
        if self.transaction.is_some() {
            return self.refuse(replies::NESTED_MAIL);
        }
        match parameters::mail(argument, &self.terms()) {
            Err(reply) => self.refuse(reply),
            Ok(mail) => {
                self.transaction = Some(Transaction::new(mail));
                self.impure = None;
                self.state = State::MailAsked;
                Step::Yield(Event::Mail)
            }
        }
    }

    fn rcpt_to<'i>(&mut self, argument: &[u8]) -> Step<'i> {
        let most = self.recipients_max();
        let Some(transaction) = &mut self.transaction else { return self.refuse(replies::MAIL_FIRST) };
        if transaction.chunked() {
            return self.refuse(replies::CHUNKS_BEGUN);
        }
        transaction.tried = true;
        let smtputf8 = transaction.mail.parameters.smtputf8;
        let full = transaction.accepted >= most;
        let rcpt = match parameters::rcpt(argument, smtputf8, &self.terms()) {
            Err(reply) => return self.refuse(reply),
            Ok(rcpt) => rcpt,
        };
        if full {
            return self.surplus_recipient();
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.rcpt = Some(rcpt);
        }
        self.state = State::RcptAsked;
        Step::Yield(Event::Rcpt)
    }

    /// RFC 5321 §4.5.3.1.10: not an error, since senders send the rest in another transaction. It is abuse only beyond a limit.
    fn surplus_recipient<'i>(&mut self) -> Step<'i> {
        self.tallies.surplus_recipients = self.tallies.surplus_recipients.saturating_add(1);
        if self.tallies.surplus_recipients > self.settings.limits.surplus_recipients {
            return self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse);
        }
        self.say(replies::TOO_MANY_RECIPIENTS);
        Step::On
    }

    fn rset<'i>(&mut self) -> Step<'i> {
        self.tallies.resets = self.tallies.resets.saturating_add(1);
        if self.tallies.resets > self.settings.limits.resets {
            return self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse);
        }
        self.say(replies::OK);
        self.drop_transaction()
    }

    /// A command that changes nothing.
    fn no_operation<'i>(&mut self, reply: Reply) -> Step<'i> {
        self.tallies.noops = self.tallies.noops.saturating_add(1);
        if self.tallies.noops > self.settings.limits.noops {
            return self.close(replies::TOO_MANY_ERRORS, CloseReason::Abuse);
        }
        self.say(reply);
        Step::On
    }

    /// RFC 5321 §3.5.3 and §7.3: the same reply to everyone, so that it reveals nothing. The transaction stays as it is.
    fn vrfy<'i>(&mut self, argument: &[u8]) -> Step<'i> {
        let declared = argument.to_ascii_uppercase().ends_with(b" SMTPUTF8") && self.terms().smtputf8;
        if argument.is_ascii() || declared { self.no_operation(replies::VRFY) } else { self.refuse(replies::NOT_UTF8) }
    }

    fn start_tls<'i>(&mut self, more: bool) -> Step<'i> {
        if self.tls.is_some() {
            return self.refuse(replies::TLS_ALREADY);
        }
        if !self.settings.starttls {
            return self.refuse(replies::DISABLED);
        }
        if self.transaction.is_some() {
            return self.refuse(replies::TLS_IN_TRANSACTION);
        }
        if more {
            // CVE-2011-0411: commands sent in clear after STARTTLS would be carried out as if they had come through TLS.
            return self.close(replies::TLS_TYPED_AHEAD, CloseReason::Abuse);
        }
        self.say(replies::START_TLS);
        self.state = State::Handshake;
        Step::Yield(Event::StartTls)
    }
}
