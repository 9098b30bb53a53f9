//! STARTTLS: the parent is the keyholder. Keys are read after the session has been forked: no page of its memory has ever held
//! one (P5).

use super::{Offence, Parent, Say};
use crate::SessionEnd;
use crate::home::{self, Control};
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_qmail::replies;
use gatepost_smtp::envelope::Tls;
use gatepost_tls::TlsError;
use gatepost_tls::pair::Pair;
use gatepost_tls::recognise::Party;
use gatepost_tls::sign::{Budget, Keys};
use gatepost_wire::parent::{Answer, PAIRS_MAX};
use gatepost_wire::sign::{Signature, TO_SIGN_MAX};
use gatepost_wire::slice::Chain;
use gatepost_wire::{FRAME_MAX, KeyholderToSession, SessionToKeyholder};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// Certificate and key in one file, as the patches have it.
const PEM: &str = "servercert.pem";
/// Directories by name, each with such a file, for clients that ask for that name.
const BY_NAME: &str = "servercerts";
/// Longest wait for a session in its handshake: more than the session gives its client.
const HANDSHAKE_TIME: Duration = Duration::from_secs(330);

/// Why TLS cannot be had now. For the admin.
#[derive(Debug)]
enum Unavailable {
    File(String, io::Error),
    Pair(String, TlsError),
    /// Its chain does not fit a message.
    TooLong(String),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, e) => write!(f, "{path}: {e}"),
            Self::Pair(path, e) => e.about(path, path).fmt(f),
            Self::TooLong(path) => write!(f, "{path}: more certificates than a handshake carries; keep the chain"),
        }
    }
}

impl Parent {
    /// Reads the pairs, if TLS is to be offered: what can't be used must not be offered, or a sender that insists on TLS comes
    /// back for ever. False: it can't be had.
    pub(super) fn prepare_tls(&mut self) -> bool {
        if !self.offers_tls {
            return true;
        }
        match self.pairs() {
            Ok(pairs) => self.pairs = Some(pairs),
            Err(why) => self.record.warn(&format_args!("{why}; STARTTLS is not offered")),
        }
        self.pairs.is_some()
    }

    /// Hands out the chains and signs until the handshake is over, one way or the other.
    pub(super) fn start_tls(&mut self, session: &SessionEnd) -> Result<(), Offence> {
        let (chains, keys) = match self.pairs.take().map_or_else(|| self.pairs(), Ok) {
            Ok(pairs) => pairs,
            Err(why) => {
                self.record.warn(&why);
                let Say { lines, then } = Say::refused(&replies::TLS_UNAVAILABLE);
                self.record.refusal(&lines);
                return Ok(session.tell(&Answer::Reply { lines: &lines, then })?);
            }
        };
        self.allowance.signed();
        for chain in chains {
            session.tell(&Answer::Chain(chain))?;
        }
        let (ours, theirs) = End::<KeyholderToSession, SessionToKeyholder>::pair().map_err(ChannelError::from)?;
        // From here on the client expects records of TLS.
        self.shaking = true;
        session.tell_with(&Answer::Sign, &[theirs.as_fd()])?;
        drop(theirs);
        self.sign(&ours, &keys)
    }

    fn sign(&mut self, session: &End<KeyholderToSession, SessionToKeyholder>, keys: &Keys) -> Result<(), Offence> {
        let mut budget = Budget::default();
        session.seq().set_timeout(HANDSHAKE_TIME).map_err(ChannelError::from)?;
        let mut inbox = Inbox::new(TO_SIGN_MAX.saturating_add(64));
        loop {
            let (sign, fds) = match session.recv_with(&mut inbox) {
                Ok(asked) => asked,
                // Shaken or not: the session goes on, or is gone, which its other channel tells.
                Err(ChannelError::Closed) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            match keys.answer(&mut budget, &sign, fds.len()) {
                Ok(signature) => session.tell(&Signature(&signature))?,
                Err(error) => {
                    self.record.warn(&error);
                    return Ok(());
                }
            }
        }
    }

    /// The pair for everyone, and one for each name that has a directory.
    fn pairs(&self) -> Result<(Vec<Chain>, Keys), Unavailable> {
        let mut chains = Vec::new();
        let mut pems = Vec::new();
        let mut add = |path: &Path, names: &[&str]| {
            let shown = path.display().to_string();
            let failed = |e| Unavailable::Pair(shown.clone(), e);
            let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
            let pem = home::read(path).and_then(|pem| pem.ok_or_else(missing));
            let pem = pem.map_err(|e| Unavailable::File(shown.clone(), e))?;
            let pair = Pair::load(&pem, &pem, names.iter().copied()).map_err(failed)?;
            // Some room for what stands around it in a frame.
            if pair.chain.certificates.iter().map(Vec::len).sum::<usize>() > FRAME_MAX - 1024 {
                return Err(Unavailable::TooLong(shown));
            }
            chains.push(pair.chain);
            pems.push(pem);
            Ok(())
        };
        let control = Control::new();
        add(&control.path(PEM), &[])?;
        let names = std::fs::read_dir(control.path(BY_NAME)).into_iter().flatten().flatten();
        for entry in names.take(PAIRS_MAX - 1) {
            // One that cannot be used must not take TLS away from all others.
            let name = entry.file_name();
            if let Some(name) = name.to_str()
                && let Err(why) = add(&entry.path().join(PEM), &[name])
            {
                self.record.warn(&why);
            }
        }
        let keys = Keys::load(Party::Server, pems).map_err(|e| Unavailable::Pair(PEM.to_owned(), e))?;
        Ok((chains, keys))
    }

    pub(super) fn encrypted(&mut self, facts: Option<Tls>) {
        self.encrypted = true;
        self.tls = facts;
        // What was said in clear is forgotten, RFC 3207 §4.2, and who said so may not relay by it any more.
        self.helo = None;
        self.user = None;
        if let Some(environment) = self.before_auth.take() {
            self.environment = environment;
        }
        self.forget_transaction();
        self.record.tls(self.cipher().map(String::from_utf8_lossy).as_deref().unwrap_or_default());
    }

    /// OpenSSL's name of the cipher, for the Received field; None in clear.
    pub(super) fn cipher(&self) -> Option<&'static [u8]> {
        match (self.encrypted, self.tls) {
            (false, _) => None,
            // A superserver's affair.
            (true, None) => Some(b"TLS"),
            (true, Some(facts)) => {
                let named = CIPHERS.iter().find(|(suite, _)| *suite == facts.suite);
                Some(named.map_or(&b"TLS"[..], |(_, name)| name.as_bytes()))
            }
        }
    }
}

/// Suites and what OpenSSL calls them: log tools know its names.
const CIPHERS: [(u16, &str); 9] = [
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (0xc02f, "ECDHE-RSA-AES128-GCM-SHA256"),
    (0xc030, "ECDHE-RSA-AES256-GCM-SHA384"),
    (0xcca8, "ECDHE-RSA-CHACHA20-POLY1305"),
    (0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305"),
];
