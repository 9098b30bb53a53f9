//! Certificates and their keys: do they belong together, for whom and until when, and which old senders can use them.

use crate::apart::apart;
use crate::findings::{Fitness, Level};
use crate::pair_files::{DAY, hours_left, load_authorities, load_pair};
use crate::plan::{PairSource, Plan, client_pair};
use gatepost_config::TlsVersion;
use gatepost_sys::as_owner;
use gatepost_tls::KeyKind;
use gatepost_tls::chain::Side;
use gatepost_tls::pair::{Pair, Term};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl Fitness {
    pub(super) fn look_at_pairs(&mut self, plan: &Plan) {
        if !plan.speaks_tls() {
            return;
        }
        let mut kinds = Vec::new();
        for (index, source) in plan.pairs().into_iter().enumerate() {
            // The first is for all who ask for no other, by our own name therefore.
            let for_all = if index == 0 { Some(plan.config.hostname.as_str()) } else { None };
            kinds.extend(self.look_at_pair(source, Side::Server, for_all));
        }
        if let Some(advice) = old_senders(&kinds, plan.config.tls.minimum == TlsVersion::V1_3) {
            self.add("TLS with old senders", Level::Note, advice);
        }
    }

    /// What TLS with each backend is verified by, and our own certificate for it.
    pub(super) fn look_at_backend_tls(&mut self, plan: &Plan) {
        for backend in plan.config.backends() {
            let Some(tls) = &backend.tls else { continue };
            let found = load_authorities(&tls.ca).map(|roots| match roots.len() {
                1 => "one authority".to_owned(),
                n => format!("{n} authorities"),
            });
            self.note(format!("backend.ca {}", tls.ca.display()), found);
            if let Some(pair) = client_pair(backend) {
                self.look_at_pair(pair, Side::Client, None);
            }
        }
    }

    /// Whether others may read the keys.
    pub(super) fn look_at_keys(&mut self, plan: &Plan) {
        let pairs = plan.pairs().into_iter().filter(|_| plan.speaks_tls()).chain(plan.client_pairs());
        for source in pairs {
            if let PairSource::Files(gatepost_config::Pair { key, .. }) = source {
                self.look_at_key(key);
            }
        }
    }

    fn look_at_key(&mut self, key: &Path) {
        match secret_file(key) {
            Ok(()) => self.add(format!("key {}", key.display()), Level::Good, "not readable by others"),
            Err(why) => self.add(format!("key {}", key.display()), Level::Fault, why),
        }
    }

    /// The kind of its key, if it can be used.
    fn look_at_pair(&mut self, source: PairSource<'_>, side: Side, for_all: Option<&str>) -> Option<KeyKind> {
        let PairSource::Files(gatepost_config::Pair { certificate, key, .. }) = source else {
            self.add("certificate", Level::Good, "self-signed, made for this run");
            return None;
        };
        self.look_at_key(key);
        let subject = format!("certificate {}", certificate.display());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let seen = apart(|| {
            let (pair, _) = load_pair(source)?;
            let first = [kind_name(pair.kind), if pair.is_leaf_alone() { LEAF_ALONE } else { "" }, &about(&pair, now)];
            Ok([first.map(str::to_owned).to_vec(), complaints(&pair, side, for_all, now)].concat().join("\n"))
        });
        let text = match seen {
            Ok(text) => text,
            Err(why) => {
                self.add(subject, Level::Fault, why);
                return None;
            }
        };
        let mut lines = text.lines();
        let kind = lines.next().and_then(|name| KINDS.iter().find(|(_, known)| *known == name));
        let is_leaf_alone = lines.next() == Some(LEAF_ALONE);
        let about = lines.next().unwrap_or_default();
        self.add(subject.clone(), Level::Good, format!("belongs to its key: {about}"));
        for complaint in lines {
            self.add(subject.clone(), Level::Look, complaint);
        }
        if is_leaf_alone {
            let (level, advice) = leaf_alone(side);
            self.add(subject, level, advice);
        }
        kind.map(|(kind, _)| *kind)
    }
}

/// What a process apart says of a certificate that is alone in its file and has not signed itself.
const LEAF_ALONE: &str = "alone";

/// What that means for who verifies it.
fn leaf_alone(side: Side) -> (Level, &'static str) {
    match side {
        // Whether a root signed it cannot be seen. All public authorities have intermediate certificates, which senders don't.
        Side::Server => (
            Level::Look,
            "is alone in its file: senders that verify (MTA-STS, DANE-TA) don't find the certificate that signed it; \
             append that one, be it a root of your own, or use the file with the whole chain, often called fullchain.pem",
        ),
        // A backend may well have the authority that signed ours.
        Side::Client => {
            (Level::Note, "is alone in its file: a backend that verifies it needs the certificate that signed it")
        }
    }
}

const KINDS: [(KeyKind, &str); 4] =
    [(KeyKind::P256, "ecdsa-256"), (KeyKind::P384, "ecdsa-384"), (KeyKind::Ed25519, "ed25519"), (KeyKind::Rsa, "rsa")];

fn kind_name(kind: KeyKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name)
}

/// What it is, and how long it lasts.
fn about(pair: &Pair, now: u64) -> String {
    let days = pair.validity.not_after.saturating_sub(now) / DAY;
    let bits = pair.rsa_bits().map(|bits| format!(" of {bits} bits")).unwrap_or_default();
    let chain = match pair.chain.certificates.len().saturating_sub(1) {
        0 => "alone in its file".to_owned(),
        1 => "with one more of its chain".to_owned(),
        more => format!("with {more} more of its chain"),
    };
    format!("{}{bits}, {days} days left, {chain}", pair.kind.name())
}

/// What is wrong with a certificate that belongs to its key. It encrypts all the same, and most senders do not look: no
/// reason not to start.
fn complaints(pair: &Pair, side: Side, for_all: Option<&str>, now: u64) -> Vec<String> {
    let term = match pair.validity.at(now) {
        Term::NotYet => Some("is not valid yet: senders that verify will not use it; is the clock right?".to_owned()),
        Term::Expired => Some("has expired: renew it, senders that verify will not use it".to_owned()),
        Term::Current => hours_left(pair.validity, pair.is_self_signed(), now).map(|hours| match hours {
            ..48 => format!("expires in {hours} hours: renew it"),
            _ => format!("expires in {} days: renew it", hours / 24),
        }),
    };
    // A pair of its own names must have them all; the first without any must have ours.
    let wanted = pair.chain.names.iter().map(String::as_str);
    let wanted = wanted.chain(for_all.filter(|_| pair.chain.names.is_empty()));
    let missing = wanted.filter(|name| !pair.certifies(name)).map(|name| {
        let names = pair.certified_names();
        let names = if names.is_empty() { "no DNS name".to_owned() } else { names.join(", ") };
        format!("is for {names}, not for {name}: senders that verify will not use it")
    });
    let weak = pair.weaknesses(side, now).into_iter().map(|weakness| weakness.to_string());
    term.into_iter().chain(missing).chain(weak).map(|text| text.replace('\n', " ")).collect()
}

/// Which senders that still exist find no cipher suite or no version in common with these pairs. They send in clear then.
///
/// Windows Server 2012 R2 (Exchange 2013 and 2016 on it) has TLS 1.2, and AES-GCM with ECDHE only for ECDSA keys; its suites
/// for RSA keys are CBC, which gatepost does not speak.
fn old_senders(kinds: &[KeyKind], tls13_only: bool) -> Option<String> {
    let has = |wanted: &[KeyKind]| kinds.iter().any(|kind| wanted.contains(kind));
    let (ecdsa, rsa) = (has(&[KeyKind::P256, KeyKind::P384]), has(&[KeyKind::Rsa]));
    if kinds.is_empty() {
        return None;
    }
    if tls13_only {
        return Some(
            "minimum = \"1.3\": senders that have TLS 1.2 alone (Exchange on Windows Server 2019 and before) send in clear; \
             minimum = \"1.2\" serves them"
                .to_owned(),
        );
    }
    let advice = match (ecdsa, rsa) {
        (true, true) => return None,
        (true, false) => {
            "only ECDSA keys: senders that know RSA alone, such as old appliances and OpenSSL before 1.0, send in clear; an RSA \
             certificate beside the ECDSA one serves them: [[tls.pair]] certificate = \"...\", key = \"...\""
        }
        (false, true) => {
            "only RSA keys: Exchange on Windows Server 2012 R2 has no cipher suite in common with them and sends in clear; \
             an ECDSA certificate beside the RSA one serves it: [[tls.pair]] certificate = \"...\", key = \"...\""
        }
        (false, false) => {
            "only Ed25519 keys: most senders cannot use them and send in clear; an ECDSA certificate serves them: \
             [[tls.pair]] certificate = \"...\", key = \"...\""
        }
    };
    Some(advice.to_owned())
}

pub(super) fn secret_file(path: &Path) -> Result<(), String> {
    let seen: Metadata = as_owner::metadata(path).map_err(|e| format!("cannot look at it: {e}"))?;
    if seen.mode() & 0o007 != 0 {
        return Err(format!("may be read or changed by everybody; run: chmod 0600 {}", path.display()));
    }
    if seen.mode() & 0o020 != 0 {
        return Err(format!("may be changed by its group; run: chmod 0600 {}", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_10_pairs_that_leave_old_senders_out_are_told() {
        use KeyKind::{Ed25519, P256, P384, Rsa};
        for (kinds, tls13_only, words) in [
            (&[Rsa][..], false, Some("only RSA keys: Exchange on Windows Server 2012 R2")),
            (&[Rsa, P256], false, None),
            (&[P384], false, Some("only ECDSA keys: senders that know RSA alone")),
            (&[P256, P384, Rsa], false, None),
            (&[Ed25519], false, Some("only Ed25519")),
            (&[Ed25519, Rsa], false, Some("only RSA")),
            (&[Rsa, P256], true, Some("minimum = \"1.2\" serves them")),
            (&[], true, None),
        ] {
            let said = old_senders(kinds, tls13_only);
            assert_eq!(said.is_some(), words.is_some(), "{kinds:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(words.unwrap_or_default()), "{kinds:?}");
        }
    }
}
