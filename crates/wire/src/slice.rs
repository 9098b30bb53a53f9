//! What each role is given when it starts: its slice of the configuration and nothing else. Written by the launcher into a
//! sealed memory file, read once before the jail is entered, trusted because root wrote it.

use crate::codec::{Reader, Value, WireError, read_all};
use crate::declare::{codes, fields, foreign, tagged};
use crate::line::Level;
use crate::link::Start;
use crate::network::Network;
use crate::rate::{MailRates, Rate};
use crate::tables::TablesSlice;
use gatepost_smtp::data::BareLf;
use gatepost_smtp::enumeration;
use gatepost_smtp::envelope::Service;
use gatepost_smtp::names::HostName;
use gatepost_smtp::server::Leniency;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// A value that the launcher writes and one role reads. Of any size.
pub trait Slice: for<'a> Value<'a> {
    /// The value as octets.
    ///
    /// # Errors
    /// [`WireError::Long`] for a list or text of more than 4 GiB.
    fn to_bytes(&self) -> Result<Vec<u8>, WireError> {
        let mut bytes = Vec::new();
        self.write(&mut bytes, "slice")?;
        Ok(bytes)
    }

    /// The value from all of `bytes`.
    ///
    /// # Errors
    /// [`WireError`] when launcher and role disagree on the format.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        read_all(bytes)
    }
}

impl<T: for<'a> Value<'a>> Slice for T {}

enumeration! {
    /// Whether and when a listener speaks TLS.
    pub enum TlsMode {
        /// Never.
        Off,
        /// When the client asks by STARTTLS (RFC 3207).
        StartTls,
        /// From the first octet (RFC 8314 §3).
        Implicit,
    }

    /// What becomes of a client that speaks before the greeting.
    pub enum EarlyTalk {
        /// 554, and no session.
        Refuse,
        /// It is logged.
        Log,
        /// Nothing: nobody looks.
        Off,
    }

    /// What a DNS list is asked about.
    pub enum About {
        /// The client's address.
        Address,
        /// Its name, where that leads back to it.
        Name,
        /// What it says in HELO or EHLO.
        Helo,
    }

    /// What the backend speaks.
    #[allow(missing_docs)]
    pub enum Dialect {
        Smtp,
        Lmtp,
        /// One message is sent and one answer comes back; nothing can be asked before.
        Qmqp,
        /// No protocol: messages go to the queue role, which runs a program.
        Queue,
    }

    /// How the backend is told who the client is.
    #[allow(missing_docs)]
    pub enum Identity {
        None,
        Xclient,
        ProxyV2,
    }

    /// How far a process can be confined.
    pub enum Ground {
        /// gatepost was started by root: a uid for each role, all namespaces.
        Root,
        /// gatepost was started by an ordinary user: one uid, everything inside user namespaces.
        User,
    }

    /// How lines of the log are written.
    pub enum LogForm {
        /// The level as a word. Who reads it puts the time in front.
        Text,
        /// The level as the journal wants it: sd-daemon(3), `<N>` in front.
        Journal,
        /// One JSON object a line (RFC 8259), with the time in milliseconds since 1970.
        Json,
    }

    /// What a directory may be used for, inside a jail.
    pub enum Access {
        /// Making, writing, reading and removing files.
        Files,
        /// Reaching sockets in it; nothing can be written.
        Sockets,
        /// Files and sockets, made, renamed and removed.
        FilesAndSockets,
    }
}

codes! { About Access BareLf Dialect EarlyTalk Ground Identity LogForm TlsMode }

tagged! {
    /// Where a backend listens.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Connect {
        /// A unix socket's absolute path, 107 octets at most: in the configuration on the host, in the dialer's slice in its root.
        0 => Unix(path: PathBuf),
        /// An address and port.
        1 => Tcp(address: SocketAddr),
    }
}

tagged! {
    /// Where logins come from.
    #[derive(Clone, PartialEq, Eq)]
    pub enum LoginSource {
        /// The passwd file as it is.
        0 => Passwd(lines: Vec<u8>),
        /// Dovecot's auth socket, by the dialer.
        1 => Dovecot,
        /// A checkpassword program, by the checker.
        2 => Checker,
    }
}

/// Most connections to all backends at once: each may cost handoff a megabyte, and its RLIMIT_DATA has room for so many.
pub const CONNECTIONS_MAX: u32 = 150;

foreign! { KeyholderSlice { keys: Vec<Vec<u8>>, client_keys: Vec<Vec<u8>>, } }

/// The leniencies that are on or off, in the order of their names, then the two for a bare LF.
impl Value<'_> for Leniency {
    const MAX: usize = usize::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        let mut leniency = *self;
        for name in Self::names() {
            leniency.switch(name).is_some_and(|on| *on).write(out, field)?;
        }
        self.lf_in_data.write(out, field)?;
        self.lf_in_chunks.write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        let mut leniency = Self::default();
        for name in Self::names() {
            let on = bool::read(r, name)?;
            if let Some(place) = leniency.switch(name) {
                *place = on;
            }
        }
        leniency.lf_in_data = BareLf::read(r, field)?;
        leniency.lf_in_chunks = BareLf::read(r, field)?;
        Ok(leniency)
    }
}

/// For the keyholder: the private keys, by index. The launcher wipes its copy.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyholderSlice {
    /// PEM text of each key, in the order of the chains.
    pub keys: Vec<Vec<u8>>,
    /// PEM text of the keys by which handoff shows who it is.
    pub client_keys: Vec<Vec<u8>>,
}

impl std::fmt::Debug for KeyholderSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyholderSlice({} keys)", self.keys.len().saturating_add(self.client_keys.len()))
    }
}

fields! {
    /// For the listener: what to admit.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ListenerSlice {
        /// TLS mode of each `[[listen]]`, by index.
        pub listeners: Vec<TlsMode>,
        /// What each is for, by index.
        pub services: Vec<Service>,
        /// Our name in the 421 that an unadmitted client hears.
        pub hostname: String,
        /// Sessions at once.
        pub sessions: u32,
        /// Sessions at once from one IPv4 address or IPv6 /64.
        pub sessions_per_address: u32,
        /// Offences of one address before it is slowed down; 0: not counted.
        pub offences: u32,
        /// New connections of one address; none: as many as it likes.
        pub connections: Option<Rate>,
        /// Peers of each `[[listen]]`, by index, that must send a PROXY header.
        pub proxy_from: Vec<Vec<Network>>,
        /// What is found out of a client before its greeting.
        pub screen: Screen,
    }

    /// What is found out of a client before its greeting.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Screen {
        /// What becomes of a client that speaks before the greeting; never of one that begins with TLS.
        pub early_talk: EarlyTalk,
        /// Wait before the greeting, milliseconds.
        pub pause: u32,
        /// Connections that wait at once, for their PROXY header or their greeting.
        pub waiting: u32,
        /// The DNS lists that are asked before the greeting, in the order of the resolver's, where they are the first.
        pub lists: Vec<ListRule>,
        /// Whose lists weigh so much is told to come again; 0: nobody.
        pub defer_at: u32,
        /// Whose lists weigh so much is refused; 0: nobody.
        pub refuse_at: u32,
        /// Networks whose clients may relay: like those who may by their [`Terms`](crate::terms::Terms), and the exempt, they are not
        /// tested.
        pub untested: Vec<Network>,
    }

    /// The DNS lists that are asked about what a client says in HELO or EHLO.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct HeloLists {
        /// The place of the first of them in [`ResolverSlice::lists`], where they are the last.
        pub first: u8,
        /// All of them.
        pub rules: Vec<ListRule>,
        /// As in [`Screen`], of all lists together.
        pub defer_at: u32,
        /// The same.
        pub refuse_at: u32,
    }

    /// What a DNS list counts for.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ListRule {
        /// Its zone, for replies and log.
        pub zone: HostName,
        /// How much.
        pub weight: u32,
        /// It speaks for those that it lists: its weight counts down.
        pub allows: bool,
        /// Which of its answers count; none: all that can.
        pub codes: Vec<CodeRange>,
    }

    /// Answers of a DNS list: addresses, both ends included.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct CodeRange {
        /// The first.
        pub first: u32,
        /// The last.
        pub last: u32,
    }

    /// Public half of a certificate pair.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Chain {
        /// Server names for which it is chosen (lower case, without trailing dot); none: the default pair.
        pub names: Vec<String>,
        /// Certificates in DER, the leaf first.
        pub certificates: Vec<Vec<u8>>,
    }

    /// For the nursery and the sessions forked from it. Holds nothing secret.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NurserySlice {
        /// TLS mode of each `[[listen]]`, by index.
        pub listeners: Vec<TlsMode>,
        /// Our name: banner, EHLO, 221.
        pub hostname: String,
        /// Certificate chains; a chain's index is the keyholder's key index.
        pub chains: Vec<Chain>,
        /// Refuse MAIL before TLS (530).
        pub tls_required: bool,
        /// TLS 1.3 only.
        pub tls13_only: bool,
        /// Sessions at once: the nursery's own bound on processes.
        pub sessions: u32,
        /// RLIMIT_DATA of a session, octets.
        pub data: u64,
        /// Largest message, octets.
        pub message_size: u64,
        /// Recipients in one transaction.
        pub recipients: u16,
        /// What deviations from the grammar are accepted.
        pub leniency: Leniency,
        /// Wait for a command, seconds.
        pub command_timeout: u32,
        /// Longest silence within content, seconds.
        pub content_timeout: u32,
        /// Octets a second that content must have on the average of minutes; 0: any.
        pub minimum_rate: u32,
        /// Longest life of a session, seconds.
        pub session_time: u32,
    }

    /// For the auth role: where logins come from.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct AuthSlice {
        /// The source.
        pub source: LoginSource,
    }

    /// TLS towards the backend.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct BackendTls {
        /// Whether and when.
        pub mode: TlsMode,
        /// The authorities that a certificate must come from, in DER.
        pub roots: Vec<Vec<u8>>,
        /// The name that it must be for; empty: the backend's address.
        pub name: String,
        /// A certificate of our own, in DER, the leaf first; none: an empty list. The keyholder has its key.
        pub certificates: Vec<Vec<u8>>,
        /// The key's place in [`KeyholderSlice::client_keys`].
        pub key: u8,
    }

    /// For handoff: what may be relayed, and where to.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct HandoffSlice {
        /// Our name: towards the backend and in Received.
        pub hostname: String,
        /// Relay domains, lower case; a leading dot covers subdomains. Beside those of the routes.
        pub domains: Vec<String>,
        /// Take mail for any domain: only `gatepost try`, whose backend is a sink or proves that it refuses strangers.
        pub any_domain: bool,
        /// Networks that may relay anywhere.
        pub clients: Vec<Network>,
        /// Accounts that may send from any address.
        pub trusted: Vec<String>,
        /// What a login may not have as its reverse-path it may not have in From and Sender either.
        pub check_from: bool,
        /// Received says nothing of clients that have logged in.
        pub hide_client: bool,
        /// Where mail goes that no route takes.
        pub backend: BackendSlice,
        /// Where other mail goes.
        pub routes: Vec<RouteSlice>,
        /// What is refused, as it is at the start.
        pub tables: TablesSlice,
        /// Largest message, octets.
        pub message_size: u64,
        /// All content files together, octets.
        pub spool_size: u64,
        /// What they leave free on the spool's file system, octets.
        pub spool_free: u64,
        /// Recipients in one transaction.
        pub recipients: u16,
        /// `Received` fields in a message; one with more is in a loop.
        pub hops: u32,
        /// The longest that a greeting waits for the client's name, milliseconds.
        pub names_wait: u32,
        /// What the clients of one address may send in a time.
        pub rates: MailRates,
        /// DNS lists that are asked about HELO names.
        pub helo_lists: HeloLists,
        /// Directory for content files, as handoff sees it; empty: none are kept, because no client will be served.
        pub spool: String,
    }

    /// One `[backend]`, or that of a `[[route]]`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct BackendSlice {
        /// What it speaks.
        pub dialect: Dialect,
        /// How it is told who the client is.
        pub identity: Identity,
        /// TLS with it.
        pub tls: BackendTls,
        /// Where it is, tried in order; the dialer connects to it. For the log and to verify a certificate.
        pub connect: Vec<Connect>,
        /// Prove at start that it refuses to relay for a stranger.
        pub relay_proof: bool,
        /// Ask then as well whether it relays for who has logged in, whom it is told.
        pub logins: bool,
        /// Wait for its answer to the end of content, seconds.
        pub reply_timeout: u32,
        /// Connections to all its places at once; of all backends together [`CONNECTIONS_MAX`] at most.
        pub connections: u32,
        /// The text of its refusals goes to the client.
        pub texts: bool,
    }

    /// One `[[route]]`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct RouteSlice {
        /// Domains whose mail goes there, as in [`HandoffSlice::domains`].
        pub domains: Vec<String>,
        /// Whole addresses whose mail goes there, lower case.
        pub recipients: Vec<String>,
        /// Where.
        pub backend: BackendSlice,
    }

    /// For the dialer: the backends.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DialerSlice {
        /// Where each listens, as the dialer sees it: first those of `[backend]`, then those of each route.
        pub connect: Vec<Connect>,
        /// Where the source of logins listens, which auth alone may ask for.
        pub logins: Option<Connect>,
    }

    /// For the resolver: whom to ask, and what needs no asking. Given anew when it changes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ResolverSlice {
        /// Name servers, in the order in which they are asked.
        pub servers: Vec<SocketAddr>,
        /// The lines of the hosts file.
        pub hosts: Vec<HostsEntry>,
        /// The DNS lists that may be asked, those about HELO names last.
        pub lists: Vec<ListZone>,
    }

    /// A DNS list (RFC 5782).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ListZone {
        /// Below which name its answers stand.
        pub zone: HostName,
        /// What it is asked about.
        pub about: About,
    }

    /// For the embedded receiver of `gatepost try`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ReceiverSlice {
        /// The Maildir, as the receiver sees it.
        pub maildir: String,
        /// Directory in which it makes its socket `lmtp`, as the receiver sees it.
        pub socket_dir: String,
        /// Our name in its greeting.
        pub hostname: String,
    }

    /// A line of the hosts file.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct HostsEntry {
        /// The address.
        pub address: IpAddr,
        /// Its names, the first being the one that it is called by.
        pub names: Vec<HostName>,
    }

    /// For the observer.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct ObserverSlice {
        /// How lines are written.
        pub form: LogForm,
        /// What is written: this and what matters more.
        pub level: Level,
        /// Of addresses only the network and the domain are written.
        pub cut: bool,
        /// The launcher's process id, where lines go to syslog; otherwise 0.
        pub syslog: u32,
    }

    /// For the queue role. Its effective user and its group are those of its [`Setup`].
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct QueueSlice {
        /// The queue program's absolute path.
        pub program: String,
        /// Where it runs: the qmail home.
        pub home: String,
        /// Its real user, by which qmail-queue recognises mail from the network.
        pub real_uid: u32,
        /// Messages at once.
        pub at_once: u32,
    }

    /// For the checker. Its user and its group are those of its [`Setup`].
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CheckerSlice {
        /// The program's absolute path, and its arguments.
        pub command: Vec<String>,
        /// Its user.
        pub uid: u32,
    }

    /// A directory of the host that a role sees in its root.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Directory {
        /// Where it is on the host.
        pub outside: PathBuf,
        /// Its name in the role's root: one component.
        pub inside: String,
        /// What it may be used for.
        pub access: Access,
    }

    /// What every role is given about itself, with its own slice.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Setup {
        /// How far it can be confined.
        pub ground: Ground,
        /// It was made in namespaces of its own. False only when the configuration relaxes it.
        pub namespaces: bool,
        /// Refuse to go on when the kernel has no landlock. False only when the configuration relaxes it.
        pub landlock: bool,
        /// RLIMIT_DATA, octets, set already before exec; verified.
        pub data: u64,
        /// RLIMIT_NOFILE.
        pub open_files: u64,
        /// RLIMIT_NPROC; 0 but for the nursery.
        pub processes: u64,
        /// RLIMIT_FSIZE, octets.
        pub file_size: u64,
        /// The user it becomes.
        pub uid: u32,
        /// The group it becomes.
        pub gid: u32,
        /// Supplementary groups it keeps: the backend's socket directory may need one. Usually none.
        pub groups: Vec<u32>,
        /// A directory to mount the new root on.
        pub anchor: PathBuf,
        /// Directories that are mounted inside the new root. None: the root is empty.
        pub directories: Vec<Directory>,
        /// TCP port that the role may connect to, for landlock.
        pub connect_ports: Vec<u16>,
        /// The role's own slice, still encoded.
        pub slice: Vec<u8>,
    }

    /// For the session of a process that serves one connection, which is forked before all of this is known.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SingleSlice {
        /// As the listener would begin it.
        pub start: Start,
        /// As for the nursery: its ids and limits are the session's, and so is its slice.
        pub setup: Setup,
    }
}

impl std::fmt::Debug for LoginSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passwd(lines) => write!(f, "Passwd({} octets)", lines.len()),
            Self::Dovecot => f.write_str("Dovecot"),
            Self::Checker => f.write_str("Checker"),
        }
    }
}

impl CodeRange {
    /// Whether it is one of these.
    #[must_use]
    pub fn contains(&self, code: u32) -> bool {
        (self.first..=self.last).contains(&code)
    }
}

impl BackendTls {
    /// No TLS.
    pub const OFF: Self =
        Self { mode: TlsMode::Off, roots: Vec::new(), name: String::new(), certificates: Vec::new(), key: 0 };
}

/// What a `[[route]]` with these domains and recipients is called.
#[must_use]
pub fn route_name(domains: &[String], recipients: &[String]) -> String {
    let mut all = domains.iter().chain(recipients);
    let first = all.next().map_or("", String::as_str);
    match all.count() {
        0 => format!("the route of {first}"),
        more => format!("the route of {first} and {more} more"),
    }
}

impl HandoffSlice {
    /// `[backend]`, then that of each route.
    pub fn backends(&self) -> impl Iterator<Item = &BackendSlice> {
        std::iter::once(&self.backend).chain(self.routes.iter().map(|route| &route.backend))
    }
}
