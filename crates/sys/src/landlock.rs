//! Landlock: restricts files, TCP, signals and abstract sockets, in addition to the filter. It needs no privilege.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockname, listen, socket,
};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// What a directory may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Making, writing, reading and removing files.
    Files,
    /// Reaching sockets in it.
    Sockets,
    /// Files and sockets, made, renamed and removed.
    FilesAndSockets,
}

/// How much of what was asked for the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// All that this program knows of.
    Fully,
    /// An older kernel: part of it.
    Partly,
    /// No landlock in this kernel.
    Not,
}

/// Denies all but the named directories and TCP ports to connect to, for good.
///
/// # Errors
/// A directory that does not exist, or the kernel's refusal.
pub fn restrict(directories: &[(PathBuf, Use)], connect_ports: &[u16]) -> io::Result<Enforced> {
    restrict_to(directories, connect_ports, Scope::from_all(ABI::V6))
}

/// As [`restrict`], but signals may be sent: the kernel sends one to a child whose parent ends by the right of that parent.
///
/// # Errors
/// As [`restrict`].
pub fn restrict_but_signals(directories: &[(PathBuf, Use)], connect_ports: &[u16]) -> io::Result<Enforced> {
    restrict_to(directories, connect_ports, Scope::AbstractUnixSocket.into())
}

fn restrict_to(
    directories: &[(PathBuf, Use)],
    connect_ports: &[u16],
    scope: landlock::BitFlags<Scope>,
) -> io::Result<Enforced> {
    let abi = ABI::V6;
    let build = || -> Result<RulesetStatus, Box<dyn std::error::Error + Send + Sync>> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(scope)?
            .create()?;
        for (path, purpose) in directories {
            rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, rights(*purpose)))?;
        }
        for port in connect_ports {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    Ok(match build().map_err(io::Error::other)? {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}

/// What landlock must put out of reach, to prove that it does: made before [`restrict`], tried after it.
#[derive(Debug)]
pub struct Trial {
    /// Keeps the name in use.
    _socket: OwnedFd,
    /// Abstract, chosen by the kernel.
    name: UnixAddr,
}

impl Trial {
    /// Makes an abstract socket outside of what will be restricted.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn prepare() -> io::Result<Self> {
        let socket = stream()?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        listen(&socket, Backlog::new(1)?)?;
        let name = getsockname(socket.as_raw_fd())?;
        Ok(Self { _socket: socket, name })
    }

    /// Whether an abstract socket from outside cannot be reached (landlock since Linux 6.12).
    #[must_use]
    pub fn abstract_sockets_are_out_of_reach(&self) -> bool {
        let reached = stream().map(|client| connect(client.as_raw_fd(), &self.name));
        reached.is_ok_and(|connected| connected == Err(Errno::EPERM))
    }
}

fn stream() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
}

/// Whether landlock refuses a TCP connection to a port that is not among `ports`, and a TCP port of one's own (since Linux
/// 6.7). Its answer comes before any of the network's.
#[must_use]
pub fn tcp_is_out_of_reach(ports: &[u16]) -> bool {
    let refused = |result: io::Result<()>| result.is_err_and(|e| e.raw_os_error() == Some(Errno::EACCES as i32));
    let Some(foreign) = (1..=u16::MAX).find(|port| !ports.contains(port)) else { return false };
    refused(TcpStream::connect((Ipv4Addr::LOCALHOST, foreign)).map(drop))
        && refused(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop))
}

fn rights(purpose: Use) -> landlock::BitFlags<AccessFs> {
    let files = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
    match purpose {
        Use::Files => files,
        Use::Sockets => AccessFs::ReadDir.into(),
        Use::FilesAndSockets => files | AccessFs::MakeSock | AccessFs::MakeDir | AccessFs::Refer,
    }
}
