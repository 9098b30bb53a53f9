//! Accepting and listening.

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, Shutdown, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, connect,
    getpeername, getsockname, getsockopt, listen, recv, send, setsockopt, shutdown, socket, sockopt,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

/// A listening TCP socket, non-blocking. `v6only`: an IPv6 address takes IPv6 alone (RFC 3493 §5.3); without it `[::]`
/// takes IPv4 too, whatever sysctl net.ipv6.bindv6only says. Of no effect on an IPv4 address.
///
/// # Errors
/// EADDRINUSE, EACCES for a low port without privilege, EADDRNOTAVAIL; EAFNOSUPPORT: see [`is_without_ipv6`].
pub fn listen_tcp(address: SocketAddr, v6only: bool, backlog: i32) -> io::Result<OwnedFd> {
    let fd = bound_tcp(address, v6only)?;
    listen_again(fd.as_fd(), backlog)?;
    Ok(fd)
}

/// Listens on a bound socket, for example one that shutdown(2) has ended: it keeps its address.
///
/// # Errors
/// EADDRINUSE: somebody else listens there meanwhile.
pub fn listen_again(socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    Ok(listen(&socket, Backlog::new(backlog)?)?)
}

/// A bound TCP socket, non-blocking, for [`listen_again`]; for who must tell the one's errors from the other's.
///
/// # Errors
/// As [`listen_tcp`].
pub fn bind_tcp(address: SocketAddr, v6only: bool) -> io::Result<OwnedFd> {
    bound_tcp(address, v6only)
}

/// Whether [`listen_tcp`] could bind this now. Nothing listens meanwhile, so that no client is taken and dropped.
///
/// # Errors
/// As [`listen_tcp`].
pub fn can_bind(address: SocketAddr, v6only: bool) -> io::Result<()> {
    bound_tcp(address, v6only).map(drop)
}

fn bound_tcp(address: SocketAddr, v6only: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &v6only)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

/// Whether an IPv6 socket takes IPv6 alone.
///
/// # Errors
/// Not an IPv6 socket.
pub fn is_v6only(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(nix::sys::socket::getsockopt(&fd, sockopt::Ipv6V6Only)?)
}

/// True for the error of a kernel that was started without IPv6.
#[must_use]
pub fn is_without_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Takes one waiting connection: non-blocking, closed on exec, with the peer's address (IPv4-mapped made IPv4).
///
/// # Errors
/// WouldBlock when none waits; EMFILE, ENFILE, ECONNABORTED.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    accept_with(listener, libc::SOCK_NONBLOCK)
}

/// As [`accept`], but the connection blocks: it is a program's that knows nothing else. The listener must not block.
///
/// # Errors
/// As [`accept`].
pub fn accept_blocking(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    accept_with(listener, 0)
}

fn accept_with(listener: BorrowedFd<'_>, flags: i32) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut storage = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or_default();
    // SAFETY: storage is large enough for any address and length says so; the result is checked before it is owned.
    let fd = unsafe {
        libc::accept4(listener.as_raw_fd(), storage.as_mut_ptr().cast(), &raw mut length, flags | libc::SOCK_CLOEXEC)
    };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us; nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: zeroed at first and then filled by the kernel: initialised either way.
    let storage = unsafe { storage.assume_init() };
    // SAFETY: the pointer is to a whole sockaddr_storage and length is what the kernel wrote.
    let address = unsafe {
        <SockaddrStorage as nix::sys::socket::SockaddrLike>::from_raw((&raw const storage).cast(), Some(length))
    };
    let address = address.as_ref().and_then(socket_addr).ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((fd, address))
}

/// Takes one waiting connection of any family, whoever the peer is: non-blocking, closed on exec.
///
/// # Errors
/// WouldBlock when none waits; EMFILE, ENFILE, ECONNABORTED.
pub fn accept_any(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let fd = nix::sys::socket::accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
    // SAFETY: the kernel has just made it for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A TCP connection that comes from an address of the caller's choice, any port of it. Used by tests: one machine plays
/// many clients.
///
/// # Errors
/// EADDRNOTAVAIL when `from` is not an address of this machine; connect(2)'s.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(from, 0)))?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(fd)
}

/// A connection that may not be made yet.
#[derive(Debug)]
pub struct Connecting {
    /// The socket: a stream, non-blocking, closed on exec.
    pub socket: OwnedFd,
    /// It is connected. Else wait until it can be written to, then ask [`connected`].
    pub done: bool,
}

/// Begins to connect to `to` by TCP, without waiting. What is written is sent at once.
///
/// # Errors
/// socket(2)'s and connect(2)'s.
pub fn begin_tcp(to: SocketAddr) -> io::Result<Connecting> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let connecting = begin(family, &SockaddrStorage::from(to))?;
    set_nodelay(&connecting.socket)?;
    Ok(connecting)
}

/// Begins to connect to the unix socket at `path`.
///
/// # Errors
/// socket(2)'s and connect(2)'s; WouldBlock while its backlog is full; ENAMETOOLONG beyond 107 octets.
pub fn begin_unix(path: &Path) -> io::Result<Connecting> {
    begin(AddressFamily::Unix, &UnixAddr::new(path)?)
}

pub(crate) fn begin(family: AddressFamily, to: &dyn nix::sys::socket::SockaddrLike) -> io::Result<Connecting> {
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    match connect(socket.as_raw_fd(), to) {
        Ok(()) => Ok(Connecting { socket, done: true }),
        Err(Errno::EINPROGRESS) => Ok(Connecting { socket, done: false }),
        Err(e) => Err(e.into()),
    }
}

/// What became of a [`Connecting`] that can be written to.
///
/// # Errors
/// Why there is no connection.
pub fn connected(socket: BorrowedFd<'_>) -> io::Result<()> {
    match getsockopt(&socket, sockopt::SocketError)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Reads from a stream socket without waiting, whether or not it is non-blocking. 0: its end.
///
/// # Errors
/// WouldBlock when there is nothing; ENOTSOCK, ENOTCONN.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// What has come and is not read yet, as far as there is room; it stays where it is. 0: the end.
///
/// # Errors
/// WouldBlock when there is nothing; ENOTSOCK, ENOTCONN.
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // By recvmsg(2): the listener may not call recvfrom(2).
    let mut places = [io::IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    Ok(nix::sys::socket::recvmsg::<()>(socket.as_raw_fd(), &mut places, None, flags)?.bytes)
}

/// Writes to a stream socket as much as can be written without waiting, whether or not it is non-blocking.
///
/// # Errors
/// WouldBlock when that is nothing; EPIPE (never SIGPIPE), ENOTSOCK, ENOTCONN.
pub fn transmit(socket: BorrowedFd<'_>, octets: &[u8]) -> io::Result<usize> {
    Ok(send(socket.as_raw_fd(), octets, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL)?)
}

/// The address a connection came to, or a listener listens on.
///
/// # Errors
/// ENOTSOCK, or not an internet socket.
pub fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    socket_addr(&address).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Both addresses of a connected internet socket, ours first, IPv4-mapped ones made IPv4. None: `fd` is something else,
/// or the peer has gone already.
#[must_use]
pub fn connection(fd: BorrowedFd<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let peer: SockaddrStorage = getpeername(fd.as_raw_fd()).ok()?;
    Some((local_addr(fd).ok()?, socket_addr(&peer)?))
}

/// IPv4 addresses of this machine's interfaces that are up, in the kernel's order.
///
/// # Errors
/// ENOMEM, no descriptors left.
pub fn own_ipv4() -> io::Result<Vec<Ipv4Addr>> {
    let up = nix::net::if_::InterfaceFlags::IFF_UP;
    let all = nix::ifaddrs::getifaddrs()?;
    Ok(all.filter(|i| i.flags.contains(up)).filter_map(|i| Some(i.address?.as_sockaddr_in()?.ip())).collect())
}

/// The number of an interface, the scope of its link-local addresses.
///
/// # Errors
/// ENODEV: there is none of that name.
pub fn interface(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

/// The name of the interface by which the peer of a connection has come, where its address is link-local.
#[must_use]
pub fn interface_of_peer(fd: BorrowedFd<'_>) -> Option<String> {
    let address: SockaddrStorage = getpeername(fd.as_raw_fd()).ok()?;
    let scope = address.as_sockaddr_in6()?.scope_id();
    nix::net::if_::if_indextoname(scope).ok()?.into_string().ok()
}

/// Sends what is written at once: the first reply after a TLS handshake must not wait for an acknowledgement.
///
/// # Errors
/// None on a TCP socket.
pub fn set_nodelay(fd: impl AsFd) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::TcpNoDelay, &true)?)
}

/// Takes IP options off a connection: a source route would let who sends it be anybody.
///
/// # Errors
/// None on a TCP socket.
pub fn clear_ip_options(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: no option value is read, as its length is 0.
    let rc =
        unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, std::ptr::null(), 0) };
    if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Says that nothing more will be sent along a connection; the peer can still send.
///
/// # Errors
/// ENOTCONN when the peer is gone, ENOTSOCK.
pub fn finish(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(fd.as_raw_fd(), Shutdown::Write)?)
}

/// Whether the descriptor is a listening stream socket.
#[must_use]
pub fn is_listening(fd: BorrowedFd<'_>) -> bool {
    nix::sys::socket::getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false)
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(IpAddr::V4(v4.ip()), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(IpAddr::V6(v6.ip()).to_canonical(), v6.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn q4_a_connection_tells_both_its_addresses_and_a_pipe_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, peer) = listener.accept().unwrap();
        assert_eq!(connection(served.as_fd()), Some((listener.local_addr().unwrap(), peer)));
        assert_eq!(connection(client.as_fd()), Some((peer, listener.local_addr().unwrap())));
        assert_eq!(connection(listener.as_fd()), None);
        let (pipe, _end) = io::pipe().unwrap();
        assert_eq!(connection(pipe.as_fd()), None);
    }

    #[test]
    fn issue_10_one_ipv6_socket_takes_both_families_unless_told_otherwise() {
        for v6only in [false, true] {
            let fd = listen_tcp("[::]:0".parse().unwrap(), v6only, 8).unwrap();
            assert_eq!(is_v6only(fd.as_fd()).unwrap(), v6only);
            let port = local_addr(fd.as_fd()).unwrap().port();
            assert!(TcpStream::connect(("::1", port)).is_ok());
            assert_eq!(TcpStream::connect(("127.0.0.1", port)).is_ok(), !v6only);
            // What listens is not bound a second time, and asking takes no client of it.
            assert_eq!(
                can_bind(SocketAddr::new("::".parse().unwrap(), port), true).unwrap_err().kind(),
                io::ErrorKind::AddrInUse
            );
        }
        let away = can_bind("192.0.2.77:0".parse().unwrap(), false).unwrap_err();
        assert_eq!(away.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn q4_the_loopback_is_one_of_our_addresses() {
        assert!(own_ipv4().unwrap().contains(&Ipv4Addr::LOCALHOST));
    }
}
