//! Handoff's side: a TLS client towards a backend, which verifies whom it talks to.

use crate::error::TlsError;
use crate::pair;
pub use crate::remote::AskSignature;
use crate::remote::certified;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::CertificateDer;
pub use rustls_pki_types::ServerName;
use std::sync::Arc;

/// A chain in DER, the leaf first, the number of its key, and who signs with that.
pub type Certificate<'a> = (&'a [Vec<u8>], u8, Arc<dyn AskSignature>);

/// A client configuration that accepts certificates of the authorities `roots` (DER) alone, for the name that a connection
/// is made to. `own` is shown to a server that asks for a certificate.
///
/// TLS 1.2 and 1.3; 1.3 alone with a certificate of our own, because the keyholder recognises no other signature of a client.
/// No resumption: the certificate is verified on every connection.
///
/// # Errors
/// [`TlsError`]: a chain that cannot be read, or no authority.
pub fn config(roots: &[Vec<u8>], own: Option<Certificate<'_>>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().map(|der| CertificateDer::from(der.as_slice())));
    if store.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let versions: &[_] = if own.is_some() { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(|e| TlsError::Settings(e.to_string()))?
        .with_root_certificates(store);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key, ask)) => {
            builder.with_client_cert_resolver(Arc::new(Own(Arc::new(certified(key, chain, &ask)?.1))))
        }
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The authorities in a PEM file, in DER. Those of a kind that cannot be used are left out.
///
/// # Errors
/// [`TlsError`]: not PEM, or no usable certificate in it.
pub fn roots(pem: &[u8]) -> Result<Vec<Vec<u8>>, TlsError> {
    let mut certificates = pair::certificates(pem)?;
    certificates.retain(|der| webpki::anchor_from_trusted_cert(der).is_ok());
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(certificates.iter().map(|der| der.to_vec()).collect())
}

/// What went wrong in a handshake or on a connection, as part of a sentence about the server: printable ASCII without double
/// quotes.
#[must_use]
pub fn explain(error: &Error) -> String {
    let what = match error {
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is from none of the authorities in `ca`"
            }
            // What `openssl req -x509` makes unless told otherwise.
            CertificateError::Other(e) if e.0.to_string().contains("CaUsedAsEndEntity") => {
                "its certificate is that of an authority: make it one of a server, by basicConstraints=CA:FALSE"
            }
            _ => "its certificate is not valid",
        },
        Error::AlertReceived(_) => "it refuses the connection, perhaps for want of a certificate of ours",
        Error::InvalidMessage(_) => "it does not speak TLS",
        _ => "no connection by TLS",
    };
    // It may quote what is in the certificate, which is anybody's.
    let plain = |c: char| match c {
        '"' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    format!("{what} ({})", error.to_string().chars().map(plain).collect::<String>())
}

/// Our certificate, for whoever asks for one that it can verify.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
