//! What is to be run: the checked facts of a configuration, or of `gatepost try`.

pub use gatepost_config::{Queue, QueueUser};
use gatepost_smtp::server::Leniency;
use gatepost_wire::network::Network;
use gatepost_wire::slice::{Dialect, Identity, TlsMode};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that the launcher needs to know. Where it comes from, a file or `try`, makes no difference from here on.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Our name.
    pub hostname: String,
    /// Directory of the content files; jails are built on it.
    pub spool: PathBuf,
    /// Whose processes these are.
    pub users: Users,
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// Certificates with their keys; the first is the default.
    pub pairs: Vec<PairSource>,
    /// Refuse MAIL before TLS.
    pub tls_required: bool,
    /// TLS 1.3 only.
    pub tls13_only: bool,
    /// Where sessions are lenient.
    pub leniency: Leniency,
    /// Relay domains.
    pub domains: Vec<String>,
    /// Any domain: `try` only.
    pub any_domain: bool,
    /// Networks that may relay anywhere.
    pub clients: Vec<Network>,
    /// The MTA behind.
    pub backend: Backend,
    /// Limits.
    pub limits: Limits,
    /// What the configuration relaxes, by name.
    pub relax: Relax,
    /// The embedded receiver of `try`.
    pub receiver: Option<Receiver>,
    /// `try`: its directory lies wherever a newcomer stands, and may belong to him while root runs it.
    pub trial: bool,
    /// `gatepost check`: roles are started and ended again, and nothing is changed by it. Handoff keeps no content files.
    pub rehearsal: bool,
}

/// Whose processes these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// Accounts with this prefix: `gatepost` for gatepost-listen and the others.
    Accounts(String),
    /// Uids and gids from this number on; no accounts needed.
    From(u32),
}

/// One `[[listen]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// An IPv6 address takes IPv6 alone.
    pub v6only: bool,
    /// Whether it speaks TLS.
    pub tls: TlsMode,
}

/// Where a certificate and its key come from.
#[derive(Debug, Clone)]
pub enum PairSource {
    /// PEM files, read anew whenever a keyholder is started.
    Files {
        /// Server names for which it is chosen.
        names: Vec<String>,
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// PEM texts: the self-signed pair of `try`, good for its lifetime only.
    Memory {
        /// The chain.
        certificate: Vec<u8>,
        /// The private key.
        key: Vec<u8>,
    },
}

/// The MTA behind.
#[derive(Debug, Clone)]
pub struct Backend {
    /// What it speaks.
    pub dialect: Dialect,
    /// How it learns who the client is.
    pub identity: Identity,
    /// Where it is, tried in order.
    pub connect: Vec<Connect>,
    /// The queue program, where messages go to one.
    pub queue: Option<Queue>,
    /// Prove at start that it refuses to relay for a stranger.
    pub relay_proof: bool,
    /// Wait for its answer to the end of content, seconds.
    pub reply_timeout: u32,
}

/// Where a backend listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// A socket's absolute path.
    Unix(PathBuf),
    /// An address.
    Tcp(SocketAddr),
}

/// Limits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// RLIMIT_DATA of a session, octets.
    pub data: u64,
    /// Sessions at once.
    pub sessions: u32,
    /// Sessions at once from one address.
    pub sessions_per_address: u32,
    /// Offences of one address before it has to wait; 0: not counted.
    pub offences: u32,
    /// Largest message, octets.
    pub message_size: u64,
    /// Recipients in one transaction.
    pub recipients: u16,
    /// `Received` fields in a message; one with more is in a loop.
    pub hops: u32,
    /// Wait for a command, seconds.
    pub command_timeout: u32,
    /// Longest silence within content, seconds.
    pub content_timeout: u32,
    /// Octets a second that content must have on the average of minutes; 0: any.
    pub minimum_rate: u32,
    /// Longest session, seconds.
    pub session_time: u32,
}

/// Confinement that may be missing because the configuration says so. Logged at each start (P7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relax {
    /// Namespaces: then roles are only chrooted.
    pub namespaces: bool,
    /// Landlock.
    pub landlock: bool,
    /// An own uid for each role.
    pub distinct_users: bool,
}

/// The embedded receiver of `try`.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// The Maildir's directory.
    pub maildir: PathBuf,
    /// Directory of its socket; the backend's path is `lmtp` in it.
    pub socket_dir: PathBuf,
}

impl Plan {
    /// Whether any listener speaks TLS, so that a keyholder is needed.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        self.listen.iter().any(|l| l.tls != TlsMode::Off)
    }
}
