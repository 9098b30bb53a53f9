//! What all sessions of a nursery share: made once, before the first fork, and never written again.

use crate::signer::Signer;
use gatepost_smtp::server::Settings;
use gatepost_tls::{ServerConfig, TlsError};
use gatepost_wire::link::SessionId;
use gatepost_wire::slice::{NurserySlice, TlsMode};
use std::sync::Arc;
use std::time::Duration;

/// The nursery's slice, ready for use. Holds nothing secret.
#[derive(Debug)]
pub struct Shared {
    listeners: Vec<TlsMode>,
    settings: Settings,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) signer: Signer,
    pub(crate) command_timeout: Duration,
    pub(crate) session_time: Duration,
}

impl Shared {
    /// Parses the certificate chains and fills in the settings.
    ///
    /// # Errors
    /// [`TlsError`] when a chain cannot be read: a mistake of whoever made the slice.
    pub fn new(slice: NurserySlice) -> Result<Self, TlsError> {
        let signer = Signer::default();
        let tls = if slice.chains.is_empty() {
            None
        } else {
            Some(gatepost_tls::server::config(&slice.chains, slice.tls13_only, Box::new(signer.clone()))?)
        };
        let settings = Settings {
            hostname: slice.hostname,
            message_size: slice.message_size,
            recipients: slice.recipients,
            tls_required: slice.tls_required,
            ..Settings::default()
        };
        Ok(Self {
            listeners: slice.listeners,
            settings,
            tls,
            signer,
            command_timeout: Duration::from_secs(u64::from(slice.command_timeout)),
            session_time: Duration::from_secs(u64::from(slice.session_time)),
        })
    }

    /// TLS mode of the `listener`-th `[[listen]]`.
    pub(crate) fn mode(&self, listener: u8) -> TlsMode {
        self.listeners.get(usize::from(listener)).copied().unwrap_or(TlsMode::Off)
    }

    /// The engine's settings for one session. STARTTLS is offered only when a handshake can succeed.
    pub(crate) fn settings(&self, id: SessionId, starttls: bool) -> Settings {
        Settings { id: id.to_string(), starttls, ..self.settings.clone() }
    }

    /// Our name.
    pub(crate) fn hostname(&self) -> &str {
        &self.settings.hostname
    }
}
