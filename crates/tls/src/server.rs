//! The session's side: a TLS server without a private key.

use crate::error::TlsError;
use crate::exchange;
use crate::kind::KeyKind;
use crate::pair;
pub use crate::remote::AskSignature;
use crate::remote::certified;
use gatepost_wire::slice::Chain;
use rustls::crypto::ring;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SignatureScheme};
use std::sync::Arc;

/// Nothing is registered for SMTP; these are what senders that use ALPN at all say.
const ALPN: [&str; 2] = ["smtp", "esmtp"];

/// A server configuration whose signatures are made by `ask`. A chain's index is its pair's number.
///
/// TLS 1.2 and 1.3, or 1.3 alone, where the exchange of keys that withstands quantum computers comes first. No tickets and no
/// stored sessions: the processes that could share them share nothing. No early data (it can be replayed), no client certificates.
/// A client that names protocols by ALPN and none of ours is no sender of mail but a browser that somebody led here: no handshake
/// (ALPACA).
///
/// # Errors
/// [`TlsError`] when there is no chain or one that cannot be read; a pair that [`pair::Pair::load`] accepted can.
pub fn config(chains: &[Chain], tls13_only: bool, ask: Box<dyn AskSignature>) -> Result<Arc<ServerConfig>, TlsError> {
    let resolver = Certificates::new(chains, Arc::from(ask))?;
    let versions: &[_] = if tls13_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let mut provider = ring::default_provider();
    provider.kx_groups.insert(0, exchange::X25519_MLKEM768);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(|e| TlsError::Settings(e.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = ALPN.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// Goes once through what each handshake will go through, so that a forked process finds it done.
pub fn rehearse(config: &ServerConfig) {
    exchange::rehearse();
    // The one that most clients of today use: its share, thrown away.
    for group in config.crypto_provider().kx_groups.iter().skip(1).take(1) {
        drop(group.start());
    }
}

/// All pairs, to choose one from when a client has said what it wants.
#[derive(Debug)]
struct Certificates {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    names: Vec<String>,
    kind: KeyKind,
    certified: Arc<CertifiedKey>,
}

impl Certificates {
    fn new(chains: &[Chain], ask: Arc<dyn AskSignature>) -> Result<Self, TlsError> {
        if chains.is_empty() {
            return Err(TlsError::NoPair);
        }
        let entries = chains.iter().enumerate().map(|(index, chain)| Entry::new(index, chain, &ask));
        match entries.collect() {
            Ok(entries) => Ok(Self { entries }),
            Err(TlsError::ManyPairs(_)) => Err(TlsError::ManyPairs(chains.len())),
            Err(other) => Err(other),
        }
    }
}

impl Entry {
    fn new(index: usize, chain: &Chain, ask: &Arc<dyn AskSignature>) -> Result<Self, TlsError> {
        let pair = u8::try_from(index).map_err(|_| TlsError::ManyPairs(index))?;
        let (kind, certified) = certified(pair, &chain.certificates, ask)?;
        Ok(Self { names: chain.names.clone(), kind, certified: Arc::new(certified) })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let entries = self.entries.iter().map(|entry| (entry.names.as_slice(), entry.kind));
        let index = choose(entries, hello.server_name(), hello.signature_schemes())?;
        self.entries.get(index).map(|entry| Arc::clone(&entry.certified))
    }
}

/// How well a pair fits what the client asked for; the least is best.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Name,
    Wildcard,
    /// Not by name, but it is a default pair. A client that asks for a name we do not have gets one too: senders that
    /// do not verify must not fail (RFC 7672 §8.1 and common practice).
    Default,
    /// Not even that. Better than no handshake, which would make most senders fall back to clear text.
    Last,
}

/// The index of the pair for a client that asks for `asked` and offers `schemes`: the best fit whose key can sign by
/// one of these, the first of equals. So an ECDSA and an RSA pair with the same names serve new clients and old ones.
fn choose<'a>(
    entries: impl Iterator<Item = (&'a [String], KeyKind)>,
    asked: Option<&str>,
    schemes: &[SignatureScheme],
) -> Option<usize> {
    let asked = asked.and_then(|text| pair::name(text).ok());
    entries
        .enumerate()
        .filter(|(_, (_, kind))| kind.choose(schemes).is_some())
        .min_by_key(|(_, (names, _))| fit(names, asked.as_deref()))
        .map(|(index, _)| index)
}

fn fit(names: &[String], asked: Option<&str>) -> Fit {
    if names.is_empty() {
        return Fit::Default;
    }
    let Some(asked) = asked else { return Fit::Last };
    let parent = asked.split_once('.').map(|(_, parent)| parent);
    if names.iter().any(|name| name == asked) {
        Fit::Name
    } else if names.iter().any(|name| name.strip_prefix("*.").is_some_and(|rest| Some(rest) == parent)) {
        Fit::Wildcard
    } else {
        Fit::Last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [SignatureScheme; 4] = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ED25519,
        SignatureScheme::RSA_PSS_SHA256,
    ];
    const OLD: [SignatureScheme; 1] = [SignatureScheme::RSA_PKCS1_SHA256];

    #[test]
    fn sni_chooses_the_pair_and_nobody_is_left_without() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let two = [
            (names(&[]), KeyKind::P256),
            (names(&["mx.example.org"]), KeyKind::P384),
            (names(&["*.example.net", "mx.example.org"]), KeyKind::Rsa),
            (names(&["a.example.net"]), KeyKind::Ed25519),
        ];
        let named = [(names(&["a.example"]), KeyKind::P256), (names(&["b.example"]), KeyKind::Rsa)];
        let (two, named) = (two.as_slice(), named.as_slice());
        type Row<'a> = (&'a [(Vec<String>, KeyKind)], Option<&'a str>, &'a [SignatureScheme], Option<usize>);
        let rows: [Row<'_>; 19] = [
            (two, None, &ALL, Some(0)),
            (two, Some("mx.example.org"), &ALL, Some(1)),
            (two, Some("MX.Example.ORG"), &ALL, Some(1)),
            (two, Some("mx.example.org."), &ALL, Some(1)),
            (two, Some("mx.example.org.."), &ALL, Some(0)),
            (two, Some("b.example.net"), &ALL, Some(2)),
            (two, Some("a.example.net"), &ALL, Some(3)),
            (two, Some("a.b.example.net"), &ALL, Some(0)),
            (two, Some("example.net"), &ALL, Some(0)),
            (two, Some("unknown.example"), &ALL, Some(0)),
            (two, Some("mx.example.org\0"), &ALL, Some(0)),
            (two, Some(""), &ALL, Some(0)),
            (two, Some("mx.example.org"), &OLD, Some(2)),
            (two, None, &OLD, Some(2)),
            (two, None, &[SignatureScheme::RSA_PKCS1_SHA1], None),
            (named, None, &ALL, Some(0)),
            (named, Some("b.example"), &ALL, Some(1)),
            (named, Some("a.example"), &OLD, Some(1)),
            (&[], Some("a.example"), &ALL, None),
        ];
        for (entries, asked, schemes, expected) in rows {
            let entries = entries.iter().map(|(names, kind)| (names.as_slice(), *kind));
            assert_eq!(choose(entries, asked, schemes), expected, "{asked:?} {schemes:?}");
        }
    }
}
