//! What a checked configuration says.

use crate::networks::NetworkFile;
use crate::profile::Profile;
use crate::tables::{TableFile, Tables};
use gatepost_smtp::envelope::Service;
use gatepost_smtp::server::Leniency;
use gatepost_wire::line::Level;
use gatepost_wire::network::Network;
use gatepost_wire::rate::{MailRates, Rate};
use gatepost_wire::slice::{About, Connect, Dialect, EarlyTalk, Identity, ListRule, TlsMode};
use gatepost_wire::terms::Terms;
use std::iter;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// All of it. A value from [`Config::load`] holds together; one put together by hand is its maker's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Our full name: banner, EHLO, Received.
    pub hostname: String,
    /// Directory for content files; absolute.
    pub spool: PathBuf,
    /// Which users the roles become.
    pub users: Users,
    /// `[[listen]]`, one at least and 255 at most.
    pub listen: Vec<Listen>,
    /// `[tls]`.
    pub tls: Tls,
    /// `[relay]`.
    pub relay: Relay,
    /// `[backend]`.
    pub backend: Backend,
    /// `[[route]]`: recipients whose mail goes elsewhere. `ROUTES_MAX` at most.
    pub routes: Vec<Route>,
    /// `[senders]`, `[recipients]` and `[helo]`.
    pub tables: Tables,
    /// `[smtp]`: where sessions are lenient.
    pub smtp: Leniency,
    /// `[[network]]`: what is different for some.
    pub networks: Vec<ForNetworks>,
    /// `[admission]`.
    pub admission: Admission,
    /// `[submission]`; none where no listener is for submission.
    pub submission: Option<Submission>,
    /// `[names]`.
    pub names: Names,
    /// `[rates]`.
    pub rates: Rates,
    /// `[limits]`.
    pub limits: Limits,
    /// `[log]`.
    pub log: Log,
    /// `listen` in `[metrics]`: where the counters are read. 16 at most.
    pub metrics: Vec<Connect>,
    /// `[jail]`.
    pub jail: Jail,
}

impl Config {
    /// `[backend]`, then that of each route.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        iter::once(&self.backend).chain(self.routes.iter().map(|route| &route.backend))
    }

    /// Where all of them listen, in this order.
    pub fn places(&self) -> impl Iterator<Item = &Connect> {
        self.backends().flat_map(|backend| &backend.connect)
    }

    /// Where logins come from, if mail is submitted by people.
    #[must_use]
    pub fn logins(&self) -> Option<&AuthSource> {
        self.submission.as_ref()?.auth.as_ref()
    }

    /// Where that is asked for by the dialer.
    #[must_use]
    pub fn logins_at(&self) -> Option<&Connect> {
        match self.logins()? {
            AuthSource::Dovecot(connect) => Some(connect),
            AuthSource::Passwd(_) | AuthSource::Checkpassword(_) => None,
        }
    }

    /// The program that is asked about logins.
    #[must_use]
    pub fn login_program(&self) -> Option<&Checkpassword> {
        match self.logins()? {
            AuthSource::Checkpassword(program) => Some(program),
            AuthSource::Passwd(_) | AuthSource::Dovecot(_) => None,
        }
    }
}

/// User ids: not root's; the last leaves room for as many as there are roles.
pub(crate) const USER_IDS: RangeInclusive<u64> = 1..=0xffff_fff0;

/// Where the roles' users come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// Accounts whose names begin so: `gatepost` for `gatepost-listen` and the others.
    Named(String),
    /// User ids from this one on; no accounts needed. Never 0.
    From(u32),
}

impl Default for Users {
    fn default() -> Self {
        Self::Named("gatepost".to_owned())
    }
}

/// Listeners and pairs are told apart by one octet between processes.
pub(crate) const COUNT_MAX: usize = 255;

/// One `[[listen]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where it listens, unless a socket for it is inherited.
    pub address: SocketAddr,
    /// An IPv6 address takes IPv6 alone (`IPV6_V6ONLY`, RFC 3493 §5.3). False: `[::]` takes IPv4 too.
    pub v6only: bool,
    /// Whether and when it speaks TLS.
    pub tls: TlsMode,
    /// What it is for.
    pub service: Service,
    /// Peers that must send a PROXY header. None of them may relay by its own address.
    pub proxy_from: Vec<Network>,
}

impl Default for Listen {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 25);
        Self { address, v6only: false, tls: TlsMode::StartTls, service: Service::Relay, proxy_from: Vec::new() }
    }
}

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// Certificates with their keys; one without names, the default, is among them if there are any. 255 at most.
    pub pairs: Vec<Pair>,
    /// Refuse MAIL before TLS.
    pub required: bool,
    /// Oldest version spoken.
    pub minimum: TlsVersion,
}

/// A certificate chain and its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Server names it is for, lower case; none: the default.
    pub names: Vec<String>,
    /// PEM file; absolute.
    pub certificate: PathBuf,
    /// PEM file; absolute.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// `[relay]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Relay {
    /// Domains mail is taken for, lower case, those of `domains_file` included; a leading dot covers subdomains.
    pub domains: Vec<String>,
    /// The file that more of them were read from.
    pub domains_file: Option<PathBuf>,
    /// A constant database of more of them. Read anew when it is replaced.
    pub domains_cdb: Option<TableFile<Vec<u8>>>,
    /// Networks whose clients may send anywhere.
    pub clients: Vec<Network>,
    /// A file with more of them. Read anew when it is replaced.
    pub clients_file: Option<NetworkFile>,
}

/// Octets of the largest file of rules.
pub const RULES_MAX: usize = 4 * 1024 * 1024;

/// `[admission]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Compiled rules of tcprules, [`RULES_MAX`] octets at most: who may connect, relay, and send how much. Read anew when it is
    /// replaced.
    pub rules: Option<PathBuf>,
    /// What becomes of a client that speaks before the greeting; never of one that begins with TLS.
    pub early_talk: EarlyTalk,
    /// Wait before the greeting.
    pub pause: Duration,
    /// DNS lists, [`LISTS_MAX`](gatepost_wire::names::LISTS_MAX) at most; those about HELO names last.
    pub lists: Vec<List>,
    /// Whose lists weigh so much is told to come again; 0: nobody.
    pub defer_at: u32,
    /// Whose lists weigh so much is refused; 0: nobody.
    pub refuse_at: u32,
}

/// One `[[admission.list]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// What it counts for.
    pub rule: ListRule,
    /// What it is asked about.
    pub about: About,
}

impl Admission {
    /// The lists that are asked before the greeting.
    pub fn before_greeting(&self) -> impl Iterator<Item = &List> {
        self.lists.iter().take_while(|list| list.about != About::Helo)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            rules: None,
            early_talk: EarlyTalk::Refuse,
            pause: Duration::ZERO,
            lists: Vec::new(),
            defer_at: 0,
            refuse_at: 0,
        }
    }
}

/// `[backend]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// What stands behind us.
    pub profile: Profile,
    /// Where, in the order of trying; one at least, but none for a queue program.
    pub connect: Vec<Connect>,
    /// The queue program, if that is what stands behind us.
    pub queue: Option<Queue>,
    /// What it speaks: the profile's.
    pub dialect: Dialect,
    /// How it learns who the client is: the profile's way unless given.
    pub identity: Identity,
    /// TLS with it, if any.
    pub tls: Option<BackendTls>,
    /// Prove at start that it refuses to relay for a stranger.
    pub relay_proof: bool,
    /// Wait for its answer to the end of content; below ten minutes.
    pub reply_timeout: Duration,
    /// The text of its refusals goes to the client; else there is our own.
    pub texts: bool,
    /// Connections to all its places at once, or queue programs: the profile's number unless given. Clients share them by network.
    pub connections: u32,
}

impl Backend {
    /// What stands at `connect`, by what its profile says of it.
    #[must_use]
    pub fn new(profile: Profile, connect: Connect) -> Self {
        Self {
            profile,
            dialect: profile.dialect(),
            identity: profile.identities(&connect).first().copied().unwrap_or(Identity::None),
            connect: vec![connect],
            queue: None,
            tls: None,
            relay_proof: profile.can_be_asked(),
            reply_timeout: REPLY_TIMEOUT,
            texts: true,
            connections: profile.connections(),
        }
    }
}

/// Most of `[[route]]`.
pub(crate) const ROUTES_MAX: usize = 32;

/// One `[[route]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Domains whose mail goes there, lower case; a leading dot covers subdomains. Mail is taken for them, as for those of
    /// `[relay]`. Of two entries that cover a domain the longer one counts.
    pub domains: Vec<String>,
    /// Whole addresses whose mail goes there, lower case; of domains that mail is taken for anyway.
    pub recipients: Vec<String>,
    /// Where.
    pub backend: Backend,
}

/// TLS with the backend. There is always a certificate that is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendTls {
    /// When it begins; never [`TlsMode::Off`].
    pub mode: TlsMode,
    /// PEM file of the authorities that the certificate must come from; absolute.
    pub ca: PathBuf,
    /// The name that the certificate must be for, lower case; none: the address that is connected to.
    pub name: Option<String>,
    /// Our own certificate, if the backend asks for one.
    pub pair: Option<Pair>,
}

/// A queue program and by whom it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its file; absolute.
    pub program: PathBuf,
    /// Where it runs: the qmail home; absolute.
    pub home: PathBuf,
    /// Its real user: by it qmail-queue knows that mail comes from the network.
    pub user: ProgramUser,
    /// Its effective user, whose the queue is.
    pub owner: ProgramUser,
}

/// By whom a program is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramUser {
    /// The role's own, as the others have theirs: the default where users are numbers.
    Own,
    /// This account.
    Account(String),
    /// This id, user and group alike; never 0.
    Id(u32),
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// JSON, an object a line; otherwise text, as the journal wants it where it is the reader.
    pub json: bool,
    /// What is written: this and what matters more.
    pub level: Level,
    /// Of addresses only the network and the domain are written.
    pub cut: bool,
    /// To syslog's socket instead of standard error.
    pub syslog: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { json: false, level: Level::Info, cut: false, syslog: false }
    }
}

/// One `[[network]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForNetworks {
    /// For clients in these.
    pub networks: Vec<Network>,
    /// And in those of this file. Read anew when it is replaced.
    pub file: Option<NetworkFile>,
    /// What is different for them. Of all networks that a client is in, the longest counts.
    pub terms: Terms,
}

/// `[rates]`: of one IPv4 address or IPv6 /64; the network around it has four times as much. None: as much as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// New connections.
    pub connections: Option<Rate>,
    /// Mail.
    pub mail: MailRates,
}

/// `[submission]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Where logins come from; none: only programs of this machine submit.
    pub auth: Option<AuthSource>,
    /// The socket for programs of this machine.
    pub socket: Option<PathBuf>,
    /// Accounts of this machine that may send from any address.
    pub trusted_users: Vec<String>,
    /// The addresses in From and Sender must be permitted to the login too.
    pub check_from: bool,
    /// Received says nothing of the client.
    pub hide_client: bool,
}

/// Where logins come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthSource {
    /// A file of lines `LOGIN:HASH`; absolute.
    Passwd(PathBuf),
    /// Dovecot's auth socket for clients.
    Dovecot(Connect),
    /// A program that knows them.
    Checkpassword(Checkpassword),
}

/// A program with checkpassword's interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpassword {
    /// Its path, absolute, and its arguments.
    pub command: Vec<String>,
    /// By whom it is run.
    pub user: ProgramUser,
}

/// `[names]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Name servers, in the order in which they are asked; none: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// The longest that a greeting waits for the client's name.
    pub wait: Duration,
}

impl Default for Names {
    fn default() -> Self {
        Self { servers: Vec::new(), wait: Duration::from_secs(2) }
    }
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_DATA of a session, octets.
    pub data: u64,
    /// Sessions at once.
    pub sessions: u32,
    /// Sessions at once from one IPv4 address or IPv6 /64.
    pub sessions_per_address: u32,
    /// Offences of one address before it is slowed down: see `gatepost_policy::conduct::Offence`. 0: not counted.
    pub offences: u32,
    /// Largest message, octets.
    pub message_size: u64,
    /// Octets of all content files together, `message_size` at least. Clients share them by network.
    pub spool_size: u64,
    /// Octets that content files leave free on the spool's file system, for the others who write there.
    pub spool_free: u64,
    /// Recipients in one transaction.
    pub recipients: u16,
    /// `Received` fields in a message; one with more is in a loop, RFC 5321 §6.3.
    pub hops: u32,
    /// Wait for a command, RFC 5321 §4.5.3.2.7.
    pub command_timeout: Duration,
    /// Longest silence within content. RFC 5321 §4.5.3.2.5 has a client wait 3 minutes with each block, §4.5.3.2.7 a server 5.
    pub content_timeout: Duration,
    /// Octets a second that content must have, on the average of five minutes; 0: any. A sender over HF radio or a satellite
    /// modem has 300; without a bound, one octet in each `content_timeout` holds a session as long as `session_time`.
    pub minimum_rate: u32,
    /// Longest life of a session.
    pub session_time: Duration,
    /// Longest wait, at the end of gatepost, for transactions that are under way.
    pub drain: Duration,
}

/// Default of `limits.message_size`.
const MESSAGE_SIZE: u64 = 50 << 20;

impl Limits {
    /// Default of `spool_size` for messages of `message_size` octets: twenty of the largest.
    pub(crate) fn spool_size(message_size: u64) -> u64 {
        message_size.saturating_mul(20)
    }

    /// Default of `spool_free` for messages of `message_size` octets: two of the largest. Postfix takes mail as long as there is
    /// room for one and a half (`smtpd_check_queue`).
    pub(crate) fn spool_free(message_size: u64) -> u64 {
        message_size.saturating_mul(2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            data: 1 << 20,
            sessions: 1000,
            sessions_per_address: 20,
            offences: 30,
            message_size: MESSAGE_SIZE,
            spool_size: Self::spool_size(MESSAGE_SIZE),
            spool_free: Self::spool_free(MESSAGE_SIZE),
            recipients: 1000,
            hops: 100,
            command_timeout: Duration::from_secs(300),
            content_timeout: Duration::from_secs(300),
            minimum_rate: 100,
            session_time: Duration::from_secs(3600),
            drain: Duration::from_secs(60),
        }
    }
}

/// Default of `backend.reply_timeout`: an answer that comes later finds the client gone, and its second copy on the
/// way (RFC 5321 §4.5.3.2.6 gives the client ten minutes).
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(540);

/// Default of `backend.ca`: the system's own authorities, where Debian and its like have them.
pub(crate) const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Default of `spool`.
pub(crate) const SPOOL: &str = "/var/spool/gatepost";

/// `[jail]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Jail {
    /// Steps of confinement that may be missing, each named by the user and logged at every start.
    pub relax: Vec<Relax>,
}

/// A step of confinement that can be given up by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relax {
    /// Namespaces of the roles' own.
    Namespaces,
    /// Landlock, for kernels without it.
    Landlock,
    /// A user id for each role.
    DistinctUsers,
}

impl Relax {
    /// All of them, in the order of their names' mention in messages.
    pub const ALL: [Self; 3] = [Self::Namespaces, Self::Landlock, Self::DistinctUsers];

    /// The word in `jail.relax`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Landlock => "landlock",
            Self::DistinctUsers => "distinct-users",
        }
    }
}
