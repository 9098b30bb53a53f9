//! Where to listen: host and port of the command line, or sockets that a service manager hands over.

use crate::say::Fatal;
use gatepost_config::host_files;
use gatepost_jail::NOBODY;
use gatepost_resolver::Resolver;
use gatepost_smtp::names::{Found, HostName};
use gatepost_sys::{confine, fds, net, process};
use gatepost_ucspi::tcpserver::options::{Families, Options, port_number};
use gatepost_ucspi::tcpserver::peer::{Family, unspecified, wildcard};
use gatepost_ucspi::tcpserver::services;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// A listening socket, and how addresses of its connections are shown.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) fd: OwnedFd,
    pub(crate) family: Family,
    pub(crate) local: SocketAddr,
}

/// The port's text follows.
const UNABLE_PORT: &[u8] = b"unable to figure out port number for ";
/// A longer one is as long as the system permits, which is this unless sysctl net.core.somaxconn says otherwise.
const BACKLOG_MAX: i32 = 4096;
const SERVICES: &str = "/etc/services";

/// The port's number.
pub(crate) fn port(text: &[u8]) -> Result<u16, Fatal> {
    let number = match port_number(text) {
        Some(number) => number.ok(),
        None => services::port(&std::fs::read(SERVICES).unwrap_or_default(), text),
    };
    number.ok_or_else(|| Fatal::new(&[UNABLE_PORT, text]))
}

/// The sockets of this command line, listening.
pub(crate) fn open(options: &Options) -> Result<Vec<Socket>, Fatal> {
    let port = port(&options.port)?;
    let inherited = inherited(options.families)?;
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    let (bound, address) = match wildcard(&options.host) {
        true => every_address(port, options.families),
        false => {
            let address = SocketAddr::new(resolve(&options.host, options.families)?, port);
            bind(scoped(address, options.interface.as_deref())?, options.families)
        }
    }?;
    let backlog = i32::try_from(options.backlog).unwrap_or(BACKLOG_MAX).min(BACKLOG_MAX);
    net::listen_again(bound.as_fd(), backlog).map_err(|e| Fatal::system("unable to listen", &e))?;
    Ok(vec![Socket::new(bound, address, options.families)?])
}

impl Socket {
    fn new(fd: OwnedFd, address: SocketAddr, families: Families) -> Result<Self, Fatal> {
        let local = net::local_addr(fd.as_fd()).map_err(|e| Fatal::system("unable to get local address", &e))?;
        let family = match (address.is_ipv6(), families) {
            // Who says -4 has used the IPv6 build, which sets its variables all the same.
            (false, Families::V4) => Family::Dual,
            (false, _) => Family::V4,
            (true, Families::V6) => Family::V6,
            (true, _) => Family::Dual,
        };
        Ok(Self { fd, family, local })
    }
}

/// Both families unless one is asked for, or the kernel has only one.
fn every_address(port: u16, families: Families) -> Result<(OwnedFd, SocketAddr), Fatal> {
    let any = |v6| SocketAddr::new(unspecified(v6), port);
    if families == Families::V4 {
        return bind(any(false), families);
    }
    match net::bind_tcp(any(true), false) {
        Err(e) if families == Families::Any && net::is_without_ipv6(&e) => bind(any(false), families),
        bound => bound.map(|fd| (fd, any(true))).map_err(|e| failed(&e)),
    }
}

/// A link-local address with its interface.
fn scoped(mut address: SocketAddr, interface: Option<&[u8]>) -> Result<SocketAddr, Fatal> {
    if let (SocketAddr::V6(v6), Some(name)) = (&mut address, interface) {
        let text = std::str::from_utf8(name).unwrap_or_default();
        let scope = net::interface(text).map_err(|_| Fatal::new(&[b"there is no interface ", name]))?;
        v6.set_scope_id(scope);
    }
    Ok(address)
}

fn bind(address: SocketAddr, families: Families) -> Result<(OwnedFd, SocketAddr), Fatal> {
    // `-6` shows IPv4 in its mapped form, and so it listens.
    let address = match address.ip() {
        IpAddr::V4(ip) if families == Families::V6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        _ => address,
    };
    net::bind_tcp(address, false).map(|fd| (fd, address)).map_err(|e| failed(&e))
}

fn failed(error: &io::Error) -> Fatal {
    Fatal::system("unable to bind", error)
}

/// The address of a host. A name is looked up by a process of its own that is nobody: answers of DNS are a stranger's octets.
fn resolve(host: &[u8], families: Families) -> Result<IpAddr, Fatal> {
    let text = std::str::from_utf8(host).unwrap_or_default();
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    let none = || Fatal::new(&[b"no IP address for ", host]);
    let temporary = |e: &io::Error| {
        Fatal::system(&format!("temporarily unable to figure out IP address for {}", String::from_utf8_lossy(host)), e)
    };
    let name = HostName::parse(host).ok_or_else(none)?;
    let found = process::apart(|| look_up(&name)).map_err(|e| temporary(&e))?;
    let mut all = std::str::from_utf8(&found).unwrap_or_default().lines();
    if all.next() != Some("found") {
        return Err(temporary(&io::ErrorKind::TimedOut.into()));
    }
    let wanted = |ip: &IpAddr| families != Families::V4 || ip.is_ipv4();
    let all: Vec<IpAddr> = all.filter_map(|line| line.parse().ok()).filter(wanted).collect();
    // The original knows IPv4 alone, so that comes first.
    all.iter().find(|ip| ip.is_ipv4()).or_else(|| all.first()).copied().ok_or_else(none)
}

/// `found` and addresses, a line each; nothing: not known now.
fn look_up(name: &HostName) -> Vec<u8> {
    let read = |path| std::fs::read(path).unwrap_or_default();
    let servers = host_files::name_servers(&read(host_files::RESOLV_CONF));
    let hosts = host_files::hosts(&read(host_files::HOSTS));
    if process::effective_ids().0 == 0 && confine::become_user(NOBODY.0, NOBODY.1, &[]).is_err() {
        return Vec::new();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let found = runtime.block_on(async { Resolver::new(servers, hosts).addresses(name).await });
    let lines = |all: Vec<IpAddr>| all.iter().map(|ip| format!("{ip}\n")).collect::<String>();
    match found {
        found if found.known().is_some() => format!("found\n{}", found.known().cloned().map(lines).unwrap_or_default()),
        Found::None => "found\n".to_owned(),
        _ => String::new(),
    }
    .into_bytes()
}

/// Sockets of LISTEN_FDS, where they are meant for this process.
fn inherited(families: Families) -> Result<Vec<Socket>, Fatal> {
    let refused = |e: &io::Error| Fatal::system("unable to take the sockets of LISTEN_FDS", e);
    let numbers = sd_notify::listen_fds().map_err(|e| refused(&e))?;
    let sockets = numbers.map(|number| {
        let fd = fds::inherited(number).map_err(|e| refused(&e))?;
        if !net::is_listening(fd.as_fd()) {
            return Err(refused(&io::ErrorKind::InvalidInput.into()));
        }
        let set = fds::set_cloexec(&fd, true).and_then(|()| fds::set_nonblocking(fd.as_fd(), true));
        set.map_err(|e| refused(&e))?;
        let v6 = net::is_v6only(fd.as_fd()).is_ok();
        Socket::new(fd, SocketAddr::new(unspecified(v6), 0), families)
    });
    sockets.collect()
}
