//! HELO, MAIL and RCPT: who may send to whom, in qmail-smtpd's order.

use super::{Offence, Parent, Say};
use gatepost_program::QueueProgram;
use gatepost_qmail::queue::{Envelope, EnvelopeError};
use gatepost_qmail::recipients::{Refusal, max_rcpt};
use gatepost_qmail::replies::{self, Reply};
use gatepost_qmail::text::{VALUE_MAX, clean};
use gatepost_qmail::{literal, rcptcheck};
use gatepost_smtp::envelope::Then;
use std::io;
use std::time::Duration;

/// Octets of one envelope at most, where no `ulimit -d` or softlimit ends it before (CVE-1999-0144): ten thousand of the longest
/// addresses.
const ENVELOPE_MAX: usize = 10 * 1024 * 1024;

/// From MAIL to its end.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(super) sender: Vec<u8>,
    /// Said to each recipient, because of the sender (badmailfrom) or of HELO (badhelo).
    denied: Option<Reply>,
    pub(super) envelope: Envelope,
    /// Said when the content has ended: an address that no queue program takes.
    pub(super) doomed: Option<Reply>,
    pub(super) accepted: u32,
    pub(super) content: Option<Content>,
}

/// From 354 to the end of content.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) queue: QueueProgram,
    pub(super) length: u64,
}

impl Parent {
    pub(super) fn helo(&mut self, name: &[u8]) -> Say {
        self.forget_transaction();
        self.helo = Some(name.to_vec());
        self.record.helo(name);
        match self.plugins_on_helo(name) {
            // Lines in front of EHLO's keywords would be taken for keywords; what was printed is the answer.
            Ok(passed) => Say { lines: passed.printed, then: Then::Go },
            Err(refusal) => refusal,
        }
    }

    pub(super) fn mail(&mut self, address: &[u8]) -> Result<Say, Offence> {
        // The session has said so to its client; an owned one would not.
        if self.user.is_none() && self.offer.is_some_and(|offer| offer.mandatory) {
            return Err(Offence::Untimely);
        }
        self.forget_transaction();
        Ok(self.begin_transaction(address).unwrap_or_else(|refusal| refusal))
    }

    fn begin_transaction(&mut self, address: &[u8]) -> Result<Say, Say> {
        let mut sender = address.to_vec();
        self.localise(&mut sender)?;
        if sender.is_empty() && self.controls.reject_null_senders && !self.may_relay() {
            return Err(Say::close(&replies::NULL_SENDER));
        }
        if self.environment.has("FORCEAUTHMAILFROM") && self.user.as_ref().is_some_and(|user| *user != sender) {
            return Err(Say::refused(&replies::AUTH_OTHER_SENDER));
        }
        let passed = self.plugins_on_mail(&sender)?;
        let sender = passed.address.unwrap_or(sender);
        let envelope = Envelope::new(&sender).map_err(|e| Say::refused(&e.reply()))?;
        let denied = self.denied(&sender, passed.bypass).map_err(unreadable)?;
        self.record.sender(&sender);
        self.transaction = Some(Transaction { sender, denied, envelope, doomed: None, accepted: 0, content: None });
        Ok(Say::go().after(passed.printed, &replies::OK))
    }

    /// badmailfrom, unless a plugin bypasses it, and badhelo.
    fn denied(&self, sender: &[u8], bypass: bool) -> io::Result<Option<Reply>> {
        let (home, relay) = (&*self.home, self.may_relay());
        let denied = if bypass { None } else { self.controls.judge_sender(home, sender, relay)? };
        match (denied, &self.helo) {
            (None, Some(helo)) => self.controls.judge_helo(home, helo, relay),
            (denied, _) => Ok(denied),
        }
    }

    pub(super) fn rcpt(&mut self, address: &[u8]) -> Result<Say, Offence> {
        if self.transaction.is_none() {
            return Err(Offence::Untimely);
        }
        let mut recipient = address.to_vec();
        if let Err(refusal) = self.localise(&mut recipient) {
            return Ok(refusal);
        }
        let (recipient, printed) = match self.judge(recipient) {
            Ok(accepted) => accepted,
            Err(say) => {
                self.record.refused();
                return Ok(say);
            }
        };
        Ok(self.take(recipient).after(printed, &replies::OK))
    }

    /// In qmail's order: badmailfrom, rcpthosts; then the patches. Gives the recipient as plugins rewrote it, and what they printed.
    fn judge(&mut self, recipient: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>), Say> {
        let (denied, sender, accepted) = match &self.transaction {
            Some(t) => (t.denied.clone(), t.sender.clone(), t.accepted),
            None => (None, Vec::new(), 0),
        };
        if let Some(reply) = denied {
            return Err(Say::refused(&reply));
        }
        if let Some(reply) = max_rcpt(accepted, self.controls.max_rcpt) {
            return Err(Say::refused(&reply));
        }
        let allowed = self.may_relay() || self.controls.rcpthosts.admit(&*self.home, &recipient).map_err(unreadable)?;
        let passed = self.plugins_on_rcpt(&recipient, accepted, allowed)?;
        // A plugin's rewriting is the admin's word and is not judged again, as in qmail-spp.
        if !allowed && !passed.bypass && !self.may_relay() {
            return Err(Say::refused(&self.controls.rcpthosts.refusal()));
        }
        let recipient = passed.address.unwrap_or(recipient);
        let denied = self.controls.judge_recipient(&*self.home, &recipient, self.may_relay());
        if let Some(reply) = denied.map_err(unreadable)? {
            return Err(Say::refused(&reply));
        }
        self.known_here(&recipient)?;
        self.checked(&sender, &recipient)?;
        let wait = self.controls.tarpit.wait(accepted);
        std::thread::sleep(Duration::from_secs(u64::from(wait)));
        Ok((recipient, passed.printed))
    }

    /// validrcptto and brtlimit.
    fn known_here(&mut self, recipient: &[u8]) -> Result<(), Say> {
        if self.may_relay() {
            return Ok(());
        }
        let Some(valid) = &self.controls.valid_rcpt_to else { return Ok(()) };
        if valid.knows(&*self.home, recipient).map_err(unreadable)? {
            return Ok(());
        }
        Err(turned_down(&self.unknown.refuse(self.controls.invalid_limit)))
    }

    /// RCPTCHECK.
    fn checked(&mut self, sender: &[u8], recipient: &[u8]) -> Result<(), Say> {
        let Some(program) = rcptcheck::program(&self.environment) else { return Ok(()) };
        let asking = rcptcheck::asking(&self.environment, sender, recipient);
        match rcptcheck::verdict(self.programs.check(program, &asking)) {
            Some(refusal) => {
                if refusal.reply == replies::NO_CHECK {
                    self.suspect_limits();
                }
                Err(turned_down(&refusal))
            }
            None => Ok(()),
        }
    }

    /// Puts the recipient into the envelope.
    fn take(&mut self, mut recipient: Vec<u8>) -> Say {
        let Some(transaction) = &mut self.transaction else { return Say::refused(&replies::MAIL_FIRST) };
        if let Some(suffix) = self.environment.relay_client() {
            recipient.extend_from_slice(suffix);
        }
        if transaction.envelope.length().saturating_add(recipient.len()) > ENVELOPE_MAX {
            return Say::refused(&replies::TOO_MANY_RECIPIENTS);
        }
        match transaction.envelope.recipient(&recipient) {
            Ok(()) => {}
            // Only RELAYCLIENT can make one too long; qmail says so when the queue program has.
            Err(e @ EnvelopeError::Address) => transaction.doomed = Some(e.reply()),
            Err(e @ EnvelopeError::Memory) => return Say::refused(&e.reply()),
        }
        transaction.accepted = transaction.accepted.saturating_add(1);
        self.record.accepted(&recipient);
        Say::go()
    }

    /// What a program hears of an address is cleaned (P11). Where one is asked, an address that this would change is not
    /// taken: the answer would be about another one, and the queue would get one that nobody has looked at.
    fn can_be_asked_about(&self, address: &[u8]) -> bool {
        let asked = self.controls.plugins.is_some() || rcptcheck::program(&self.environment).is_some();
        !asked || clean(address, VALUE_MAX) == address
    }

    /// `[our address]` becomes our name, for senders and recipients, before any list is asked.
    fn localise(&self, address: &mut Vec<u8>) -> Result<(), Say> {
        if let Some(host) = self.controls.local_host.as_deref().filter(|_| address.ends_with(b"]")) {
            let ours = gatepost_sys::net::own_ipv4().map_err(|_| Say::close(&replies::IP_ME))?;
            literal::replace(address, host, &ours);
        }
        if literal::fits(address) && self.can_be_asked_about(address) {
            Ok(())
        } else {
            Err(Say::refused(&replies::SYNTAX))
        }
    }
}

/// A table that cannot be read or is corrupt: fail closed, as qmail does.
fn unreadable(_: io::Error) -> Say {
    Say::close(&replies::CONTROLS)
}

fn turned_down(refusal: &Refusal) -> Say {
    Say::line(&refusal.reply, if refusal.close { Then::Close } else { Then::Refused })
}
