//! What all sessions of a nursery share: made once, before the first fork, and never written again.

use gatepost_shell::{Patience, Signer, Times};
use gatepost_smtp::server::{Limits, Settings};
use gatepost_tls::{ServerConfig, TlsError};
use gatepost_wire::link::SessionId;
use gatepost_wire::slice::{NurserySlice, TlsMode};
use std::sync::Arc;
use std::time::Duration;

/// Wait for a command or a handshake under stress, or for content: what slow but honest senders still manage.
const STRESS_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for the client to take what we send.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// Longest TLS handshake, all of it.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);

/// What a session may last beyond its time and that of content before the kernel ends it: the longest wait for handoff, a reply
/// that the client is slow to take, and then some.
const GRACE: Duration = Duration::from_secs(900);

/// The nursery's slice, ready for use. Holds nothing secret.
#[derive(Debug)]
pub struct Shared {
    listeners: Vec<TlsMode>,
    settings: Settings,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) signer: Signer,
    patience: Patience,
    session_time: Duration,
    /// The largest message at its slowest.
    content_time: Duration,
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
            leniency: slice.leniency,
            ..Settings::default()
        };
        Ok(Self {
            listeners: slice.listeners,
            settings,
            tls,
            signer,
            patience: Patience::new(
                Duration::from_secs(u64::from(slice.command_timeout)),
                Duration::from_secs(u64::from(slice.content_timeout)),
                slice.minimum_rate,
            ),
            session_time: Duration::from_secs(u64::from(slice.session_time)),
            content_time: Duration::from_secs(
                slice.message_size.checked_div(slice.minimum_rate.into()).unwrap_or_default(),
            ),
        })
    }

    /// TLS mode of the `listener`-th `[[listen]]`.
    pub(crate) fn mode(&self, listener: u8) -> TlsMode {
        self.listeners.get(usize::from(listener)).copied().unwrap_or(TlsMode::Off)
    }

    /// The engine's settings for one session. STARTTLS is offered only when a handshake can succeed.
    pub(crate) fn settings(&self, id: SessionId, starttls: bool, stress: bool) -> Settings {
        let limits = if stress { Limits::stress() } else { self.settings.limits };
        Settings { id: id.to_string(), starttls, limits, ..self.settings.clone() }
    }

    /// How long a client may take.
    pub(crate) fn times(&self, stress: bool) -> Times {
        Times {
            patience: if stress { self.patience.at_most(STRESS_TIMEOUT) } else { self.patience },
            write: WRITE_TIME,
            handshake: if stress { STRESS_TIMEOUT } else { HANDSHAKE_TIME },
            session: self.session_time,
            content: self.content_time,
        }
    }

    /// The longest that a session may last before the kernel ends it.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.session_time.saturating_add(self.content_time).saturating_add(GRACE)
    }

    /// Our name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.settings.hostname
    }
}
