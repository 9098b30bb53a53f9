//! TLS towards a backend. Without a verified certificate there is no connection, and so a temporary failure.

use super::failure::Failure;
use super::socket::Socket;
use gatepost_shell::Signer;
use gatepost_tls::client::{self, AskSignature, ServerName};
use gatepost_tls::{ClientConfig, TlsError};
use gatepost_wire::slice::{BackendTls, Connect, TlsMode};
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;

/// When TLS begins, and what is verified.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(super) mode: TlsMode,
    /// There is none where TLS is off.
    verified: Option<Verified>,
}

#[derive(Debug)]
struct Verified {
    config: Arc<ClientConfig>,
    /// The name that the certificate must be for; `None`: the address of the backend.
    name: Option<ServerName<'static>>,
}

impl Tls {
    /// As the configuration says. `signer` signs with the key of our own certificate, if there is one.
    ///
    /// # Errors
    /// A name that is none, or no authority.
    pub(super) fn new(slice: &BackendTls, signer: &Signer) -> Result<Self, TlsError> {
        let BackendTls { mode, roots, name, certificates, key } = slice;
        if *mode == TlsMode::Off {
            return Ok(Self { mode: *mode, verified: None });
        }
        let parse = |name: &String| ServerName::try_from(name.clone()).map_err(|_| TlsError::Name(name.clone()));
        let name = Some(name).filter(|name| !name.is_empty()).map(parse).transpose()?;
        let signer: Arc<dyn AskSignature> = Arc::new(signer.clone());
        let own = Some(certificates).filter(|chain| !chain.is_empty()).map(|chain| (chain.as_slice(), *key, signer));
        Ok(Self { mode: *mode, verified: Some(Verified { config: client::config(roots, own)?, name }) })
    }

    /// Shakes hands on `socket`, which is a connection to the backend at `place`.
    ///
    /// # Errors
    /// The certificate is not valid for the name, or there is no TLS.
    pub(super) async fn connect(&self, place: &Connect, socket: Box<dyn Socket>) -> Result<Box<dyn Socket>, Failure> {
        let Some(Verified { config, name }) = &self.verified else {
            return Err(Failure::Tls("it is off".to_owned()));
        };
        let name = match (name, place) {
            (Some(name), _) => name.clone(),
            (None, Connect::Tcp(address)) => ServerName::IpAddress(address.ip().to_canonical().into()),
            (None, Connect::Unix(_)) => return Err(Failure::Tls("there is no name to verify".to_owned())),
        };
        match TlsConnector::from(Arc::clone(config)).connect(name, socket).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) => Err(broken(e, |e| Failure::Tls(format!("the connection broke in the handshake: {e}")))),
        }
    }
}

/// The failure for an error of a stream: what is TLS's says so, all else is `otherwise`.
pub(super) fn broken(error: io::Error, otherwise: impl FnOnce(io::Error) -> Failure) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(inner) => Failure::Tls(client::explain(inner)),
        None => otherwise(error),
    }
}
