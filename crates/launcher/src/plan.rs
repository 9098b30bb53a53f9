//! What is to be run: the checked facts of a configuration, and what no configuration says.

use gatepost_config::{Backend, Config, Pair, Relax, TlsMode};
use std::path::{Path, PathBuf};

/// Everything that the launcher needs to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration, or what `try` has in its place.
    pub config: Config,
    /// `try`: its directory lies wherever a newcomer stands, and may belong to him while root runs it; it takes mail for any
    /// domain.
    pub trial: Option<Trial>,
    /// The embedded receiver of `try`.
    pub receiver: Option<Receiver>,
    /// `gatepost check`: roles are started and ended again, and nothing is changed by it. Handoff keeps no content files.
    pub rehearsal: bool,
    /// Where admins may ask: the socket's path. As it was at the start; a reload changes nothing in it.
    pub admin: Option<PathBuf>,
}

/// The self-signed pair of `try`, good for its lifetime only. PEM texts.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The chain.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

/// The embedded receiver of `try`.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// The Maildir's directory.
    pub maildir: PathBuf,
    /// Directory of its socket; the backend's path is `lmtp` in it.
    pub socket_dir: PathBuf,
}

/// Where a certificate and its key come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PairSource<'a> {
    /// PEM files, read anew whenever a keyholder is started.
    Files(&'a Pair),
    /// The pair of `try`.
    Memory(&'a Trial),
}

/// The certificate by which handoff shows this backend who it is, with its key.
pub(crate) fn client_pair(backend: &Backend) -> Option<PairSource<'_>> {
    backend.tls.as_ref()?.pair.as_ref().map(PairSource::Files)
}

impl From<Config> for Plan {
    fn from(config: Config) -> Self {
        Self { config, trial: None, receiver: None, rehearsal: false, admin: None }
    }
}

impl Plan {
    /// Whether there is a key to sign with: a listener's, or that of a certificate of ours for a backend.
    #[must_use]
    pub(crate) fn needs_keyholder(&self) -> bool {
        self.speaks_tls() || self.client_pairs().next().is_some()
    }

    /// The socket where programs of this machine submit mail.
    #[must_use]
    pub(crate) fn submit_socket(&self) -> Option<&Path> {
        self.config.submission.as_ref().and_then(|submission| submission.socket.as_deref())
    }

    /// Whether any listener speaks TLS.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.config.listen.iter().any(|l| l.tls != TlsMode::Off)
    }

    /// Whether the configuration gives up a step of confinement (P7).
    pub(crate) fn relaxes(&self, step: Relax) -> bool {
        self.config.jail.relax.contains(&step)
    }

    /// The certificates by which handoff shows backends who it is, with their keys, in the order of the backends.
    pub(crate) fn client_pairs(&self) -> impl Iterator<Item = PairSource<'_>> {
        self.config.backends().filter_map(client_pair)
    }

    /// Certificates with their keys; the first is the default.
    pub(crate) fn pairs(&self) -> Vec<PairSource<'_>> {
        match &self.trial {
            Some(trial) => vec![PairSource::Memory(trial)],
            None => self.config.tls.pairs.iter().map(PairSource::Files).collect(),
        }
    }
}
