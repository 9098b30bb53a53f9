//! What each role is told at birth: its slice of the configuration and nothing more. Written by the launcher into a
//! sealed memory file, read once before the jail closes, trusted because root wrote it.

use crate::codec::{Reader, WireError, Writer};
use std::net::SocketAddr;

/// A value that the launcher writes and one role reads.
pub trait Slice: Sized {
    /// Appends the value.
    fn write(&self, w: &mut Writer<'_>);
    /// Reads it back.
    ///
    /// # Errors
    /// [`WireError`] when launcher and role disagree on the format.
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError>;

    /// The value as octets.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut Writer(&mut bytes));
        bytes
    }

    /// The value from all of `bytes`.
    ///
    /// # Errors
    /// As [`Slice::read`]; [`WireError::Trailing`] when something is left.
    fn from_bytes(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader(bytes);
        let value = Self::read(&mut r)?;
        if r.is_empty() { Ok(value) } else { Err(WireError::Trailing) }
    }
}

fn list<T>(w: &mut Writer<'_>, items: &[T], mut write: impl FnMut(&mut Writer<'_>, &T)) {
    w.u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
    for item in items {
        write(w, item);
    }
}

fn unlist<'a, T>(
    r: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let n = r.u32()?;
    (0..n).map(|_| read(r)).collect()
}

/// Whether and when a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Off,
    /// When the client asks by STARTTLS (RFC 3207).
    StartTls,
    /// From the first octet (RFC 8314 §3).
    Implicit,
}

impl TlsMode {
    fn write(self, w: &mut Writer<'_>) {
        w.u8(match self {
            TlsMode::Off => 0,
            TlsMode::StartTls => 1,
            TlsMode::Implicit => 2,
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        match r.u8()? {
            0 => Ok(TlsMode::Off),
            1 => Ok(TlsMode::StartTls),
            2 => Ok(TlsMode::Implicit),
            _ => Err(WireError::Value("tls mode")),
        }
    }
}

/// For the listener: how much of each to admit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSlice {
    /// TLS mode of each `[[listen]]`, by index.
    pub listeners: Vec<TlsMode>,
    /// Our name in the 421 that an unadmitted client hears.
    pub hostname: String,
    /// Sessions at once.
    pub sessions: u32,
    /// Sessions at once from one IPv4 address or IPv6 /64.
    pub sessions_per_address: u32,
    /// Offences of one address before it has to wait; 0: not counted.
    pub offences: u32,
}

impl Slice for ListenerSlice {
    fn write(&self, w: &mut Writer<'_>) {
        list(w, &self.listeners, |w, mode| mode.write(w));
        w.bytes16(self.hostname.as_bytes());
        w.u32(self.sessions);
        w.u32(self.sessions_per_address);
        w.u32(self.offences);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            listeners: unlist(r, TlsMode::read)?,
            hostname: r.text16()?,
            sessions: r.u32()?,
            sessions_per_address: r.u32()?,
            offences: r.u32()?,
        })
    }
}

/// Public half of a certificate pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Server names for which it is chosen (lower case, without trailing dot); none: the default pair.
    pub names: Vec<String>,
    /// Certificates in DER, the leaf first.
    pub certificates: Vec<Vec<u8>>,
}

impl Chain {
    pub(crate) fn write(&self, w: &mut Writer<'_>) {
        list(w, &self.names, |w, name| w.bytes16(name.as_bytes()));
        list(w, &self.certificates, |w, der| w.bytes32(der));
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { names: unlist(r, Reader::text16)?, certificates: unlist(r, |r| Ok(r.bytes32()?.to_vec()))? })
    }
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
    /// Where to be lenient, as `gatepost_smtp::server::Leniency` has it in bits.
    pub leniency: u16,
    /// Wait for a command, seconds.
    pub command_timeout: u32,
    /// Longest silence within content, seconds.
    pub content_timeout: u32,
    /// Octets a second that content must have on the average of minutes; 0: any.
    pub minimum_rate: u32,
    /// Longest life of a session, seconds.
    pub session_time: u32,
}

impl Slice for NurserySlice {
    fn write(&self, w: &mut Writer<'_>) {
        list(w, &self.listeners, |w, mode| mode.write(w));
        w.bytes16(self.hostname.as_bytes());
        list(w, &self.chains, |w, chain| chain.write(w));
        w.bool(self.tls_required);
        w.bool(self.tls13_only);
        w.u32(self.sessions);
        w.u64(self.data);
        w.u64(self.message_size);
        w.u16(self.recipients);
        w.u16(self.leniency);
        w.u32(self.command_timeout);
        w.u32(self.content_timeout);
        w.u32(self.minimum_rate);
        w.u32(self.session_time);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            listeners: unlist(r, TlsMode::read)?,
            hostname: r.text16()?,
            chains: unlist(r, Chain::read)?,
            tls_required: r.bool()?,
            tls13_only: r.bool()?,
            sessions: r.u32()?,
            data: r.u64()?,
            message_size: r.u64()?,
            recipients: r.u16()?,
            leniency: r.u16()?,
            command_timeout: r.u32()?,
            content_timeout: r.u32()?,
            minimum_rate: r.u32()?,
            session_time: r.u32()?,
        })
    }
}

/// For the keyholder: the private keys, by index. The launcher wipes its copy.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyholderSlice {
    /// PEM text of each key, in the order of the chains.
    pub keys: Vec<Vec<u8>>,
}

impl std::fmt::Debug for KeyholderSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyholderSlice({} keys)", self.keys.len())
    }
}

impl Slice for KeyholderSlice {
    fn write(&self, w: &mut Writer<'_>) {
        list(w, &self.keys, |w, key| w.bytes32(key));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { keys: unlist(r, |r| Ok(r.bytes32()?.to_vec()))? })
    }
}

/// What the backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dialect {
    Smtp,
    Lmtp,
    /// One message there, one answer back; nothing can be asked before.
    Qmqp,
    /// Nothing: messages go to the queue role, which runs a program.
    Queue,
}

impl Dialect {
    fn write(self, w: &mut Writer<'_>) {
        w.u8(match self {
            Dialect::Smtp => 0,
            Dialect::Lmtp => 1,
            Dialect::Qmqp => 2,
            Dialect::Queue => 3,
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        match r.u8()? {
            0 => Ok(Dialect::Smtp),
            1 => Ok(Dialect::Lmtp),
            2 => Ok(Dialect::Qmqp),
            3 => Ok(Dialect::Queue),
            _ => Err(WireError::Value("dialect")),
        }
    }
}

/// How the backend is told who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Identity {
    None,
    Xclient,
    ProxyV2,
}

/// Where a backend listens, as handoff sees it from inside its jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connect {
    /// A path inside handoff's root.
    Unix(String),
    /// An address.
    Tcp(SocketAddr),
}

/// For handoff: what may be relayed, and to whom it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoffSlice {
    /// Our name: towards the backend and in Received.
    pub hostname: String,
    /// Relay domains, lower case; a leading dot covers subdomains.
    pub domains: Vec<String>,
    /// Take mail for any domain: only `gatepost try`, whose backend is a sink or proves that it refuses strangers.
    pub any_domain: bool,
    /// Networks that may relay anywhere, as `address/prefix`.
    pub clients: Vec<String>,
    /// What the backend speaks.
    pub dialect: Dialect,
    /// How it learns who the client is.
    pub identity: Identity,
    /// Where it is, tried in order.
    pub connect: Vec<Connect>,
    /// Prove at start that it refuses to relay for a stranger.
    pub relay_proof: bool,
    /// Wait for its answer to the end of content, seconds.
    pub reply_timeout: u32,
    /// Largest message, octets.
    pub message_size: u64,
    /// Recipients in one transaction.
    pub recipients: u16,
    /// `Received` fields in a message; one with more is in a loop.
    pub hops: u32,
    /// Directory for content files, as handoff sees it; empty: none are kept, because no client will be served.
    pub spool: String,
}

impl Slice for HandoffSlice {
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes16(self.hostname.as_bytes());
        list(w, &self.domains, |w, domain| w.bytes16(domain.as_bytes()));
        w.bool(self.any_domain);
        list(w, &self.clients, |w, net| w.bytes16(net.as_bytes()));
        self.dialect.write(w);
        w.u8(match self.identity {
            Identity::None => 0,
            Identity::Xclient => 1,
            Identity::ProxyV2 => 2,
        });
        list(w, &self.connect, |w, connect| match connect {
            Connect::Unix(path) => {
                w.u8(0);
                w.bytes16(path.as_bytes());
            }
            Connect::Tcp(address) => {
                w.u8(1);
                w.socket_addr(*address);
            }
        });
        w.bool(self.relay_proof);
        w.u32(self.reply_timeout);
        w.u64(self.message_size);
        w.u16(self.recipients);
        w.u32(self.hops);
        w.bytes16(self.spool.as_bytes());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            hostname: r.text16()?,
            domains: unlist(r, Reader::text16)?,
            any_domain: r.bool()?,
            clients: unlist(r, Reader::text16)?,
            dialect: Dialect::read(r)?,
            identity: match r.u8()? {
                0 => Identity::None,
                1 => Identity::Xclient,
                2 => Identity::ProxyV2,
                _ => return Err(WireError::Value("identity")),
            },
            connect: unlist(r, |r| match r.u8()? {
                0 => Ok(Connect::Unix(r.text16()?)),
                1 => Ok(Connect::Tcp(r.socket_addr()?)),
                _ => Err(WireError::Value("connect")),
            })?,
            relay_proof: r.bool()?,
            reply_timeout: r.u32()?,
            message_size: r.u64()?,
            recipients: r.u16()?,
            hops: r.u32()?,
            spool: r.text16()?,
        })
    }
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

impl Slice for ReceiverSlice {
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes16(self.maildir.as_bytes());
        w.bytes16(self.socket_dir.as_bytes());
        w.bytes16(self.hostname.as_bytes());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { maildir: r.text16()?, socket_dir: r.text16()?, hostname: r.text16()? })
    }
}

/// For the queue role. Its effective user and its group are those of its birth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSlice {
    /// The queue program's absolute path.
    pub program: String,
    /// Where it runs: the qmail home.
    pub home: String,
    /// Its real user, by whom qmail-queue knows mail from the network.
    pub real_uid: u32,
    /// Messages at once.
    pub at_once: u32,
}

impl Slice for QueueSlice {
    fn write(&self, w: &mut Writer<'_>) {
        w.bytes16(self.program.as_bytes());
        w.bytes16(self.home.as_bytes());
        w.u32(self.real_uid);
        w.u32(self.at_once);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { program: r.text16()?, home: r.text16()?, real_uid: r.u32()?, at_once: r.u32()? })
    }
}

/// How far confinement could go when the process was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Started by root: an own uid each, all namespaces.
    Root,
    /// Started by an ordinary user: one uid, everything inside user namespaces.
    User,
}

/// What every role is told about itself before its own slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    /// What it is confined by.
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
    /// A directory to mount the new root on; any will do.
    pub anchor: String,
    /// Directories shown inside the new root: `(outside path, name inside, writable)`. None: the root is empty.
    pub binds: Vec<(String, String, bool)>,
    /// TCP port that the role may connect to, for landlock.
    pub connect_ports: Vec<u16>,
    /// The role's own slice, still encoded.
    pub slice: Vec<u8>,
}

impl Slice for Birth {
    fn write(&self, w: &mut Writer<'_>) {
        w.bool(self.ground == Ground::Root);
        w.bool(self.namespaces);
        w.bool(self.landlock);
        w.u64(self.data);
        w.u64(self.open_files);
        w.u64(self.processes);
        w.u64(self.file_size);
        w.u32(self.uid);
        w.u32(self.gid);
        list(w, &self.groups, |w, gid| w.u32(*gid));
        w.bytes16(self.anchor.as_bytes());
        list(w, &self.binds, |w, (outside, inside, writable)| {
            w.bytes16(outside.as_bytes());
            w.bytes16(inside.as_bytes());
            w.bool(*writable);
        });
        list(w, &self.connect_ports, |w, port| w.u16(*port));
        w.bytes32(&self.slice);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            ground: if r.bool()? { Ground::Root } else { Ground::User },
            namespaces: r.bool()?,
            landlock: r.bool()?,
            data: r.u64()?,
            open_files: r.u64()?,
            processes: r.u64()?,
            file_size: r.u64()?,
            uid: r.u32()?,
            gid: r.u32()?,
            groups: unlist(r, Reader::u32)?,
            anchor: r.text16()?,
            binds: unlist(r, |r| Ok((r.text16()?, r.text16()?, r.bool()?)))?,
            connect_ports: unlist(r, Reader::u16)?,
            slice: r.bytes32()?.to_vec(),
        })
    }
}
