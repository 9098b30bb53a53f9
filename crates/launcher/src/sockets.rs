//! Listening sockets: inherited ones first (LISTEN_FDS, sd_listen_fds(3)), the rest bound here.
//!
//! A socket that somebody else opened and that nobody here accepts from takes connections all the same, and lets them wait
//! for ever. So every inherited socket must be one of the configuration, or nothing starts.

use crate::descriptors;
use crate::error::LauncherError;
use gatepost_config::Listen;
use gatepost_sys::{fds, net};
use gatepost_wire::resume;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// Connections that may wait in the kernel while all slots are taken.
const BACKLOG: i32 = 1024;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Its address as the configuration has it.
    address: SocketAddr,
    /// It takes IPv6 alone. False for IPv4.
    v6only: bool,
    /// Somebody else opened it, and keeps it open.
    inherited: bool,
    /// The socket.
    pub(crate) fd: OwnedFd,
}

impl Socket {
    fn bind(wanted: &Listen) -> Result<Self, LauncherError> {
        let fd = net::listen_tcp(wanted.address, wanted.v6only, BACKLOG);
        let fd = fd.map_err(|e| LauncherError::Bind(wanted.address, e))?;
        Ok(Self { address: wanted.address, v6only: wanted.v6only, inherited: false, fd })
    }

    fn inherit(fd: OwnedFd) -> io::Result<Self> {
        fds::set_cloexec(&fd, true)?;
        fds::set_nonblocking(fd.as_fd(), true)?;
        let address = net::local_addr(fd.as_fd())?;
        let v6only = address.is_ipv6() && net::is_v6only(fd.as_fd())?;
        if net::is_listening(fd.as_fd()) {
            Ok(Self { address, v6only, inherited: true, fd })
        } else {
            Err(io::Error::other("it is not listening; write Accept=no in the socket unit"))
        }
    }

    /// One that an earlier program in this process has left.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn adopt(left: &resume::Socket) -> io::Result<Self> {
        let resume::Socket { address, v6only, inherited, fd } = *left;
        Ok(Self { address, v6only, inherited, fd: descriptors::kept(fd)? })
    }

    /// What the next program in this process has to know of it.
    pub(crate) fn leave(&self) -> resume::Socket {
        let Self { address, v6only, inherited, ref fd } = *self;
        resume::Socket { address, v6only, inherited, fd: descriptors::number(fd) }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// No descriptors left.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, ..*self })
    }

    /// Sees to it that it listens. True: it did not, and does again. Whoever has it can end it by shutdown(2) for all others who have
    /// it, so that its clients are refused.
    ///
    /// # Errors
    /// It does not, and cannot be bound anew either.
    pub(crate) fn mend(&mut self) -> Result<bool, LauncherError> {
        if net::is_listening(self.fd.as_fd()) {
            return Ok(false);
        }
        // In place where that can be: systemd may hold it too, and the port that was given for port 0 is in no configuration.
        if net::listen_again(self.fd.as_fd(), BACKLOG).is_err() {
            let again = net::listen_tcp(self.address, self.v6only, BACKLOG);
            self.fd = again.map_err(|e| LauncherError::Bind(self.address, e))?;
            self.inherited = false;
        }
        Ok(true)
    }

    /// What is wrong with it as the socket of `wanted`, which has its address.
    fn misfit(&self, wanted: &Listen) -> Option<String> {
        // `[::]` alone hears another family than its own.
        if !self.address.ip().is_unspecified() || self.v6only == wanted.v6only {
            return None;
        }
        let (address, port) = (self.address, self.address.port());
        Some(match (self.inherited, self.v6only) {
            (true, true) => format!(
                "the inherited socket {address} takes IPv6 only, and [[listen]] means both families: write \
                 BindIPv6Only=both in the socket unit, or v6only = true in [[listen]]"
            ),
            (true, false) => format!(
                "the inherited socket {address} takes IPv4 too, and [[listen]] means IPv6 only: take out v6only = true \
                 (or the [[listen]] for 0.0.0.0:{port}), or write BindIPv6Only=ipv6-only in the socket unit"
            ),
            (false, _) => {
                format!("{address} is open for other families than [[listen]] means now: this needs a restart")
            }
        })
    }
}

/// One socket for each listener, in the order of the configuration. Of those that are `ready` our own that are not wanted
/// any more are closed.
///
/// # Errors
/// Every inherited socket that no `[[listen]]` wants; an address that cannot be bound.
pub(crate) fn open(listen: &[Listen], mut ready: Vec<Socket>) -> Result<Vec<Socket>, LauncherError> {
    let taken: Vec<Option<Socket>> = listen
        .iter()
        .map(|l| ready.iter().position(|socket| socket.address == l.address).map(|at| ready.swap_remove(at)))
        .collect();
    let misfits = taken.iter().zip(listen).filter_map(|(socket, wanted)| socket.as_ref()?.misfit(wanted));
    let unwanted = ready.iter().filter(|socket| socket.inherited).map(|socket| {
        format!(
            "the inherited socket {0} is in no [[listen]], and whoever connects there would wait for ever: write \
             [[listen]] address = \"{0}\", or take ListenStream={0} out of the socket unit",
            socket.address
        )
    });
    let faults: Vec<String> = misfits.chain(unwanted).collect();
    if !faults.is_empty() {
        return Err(LauncherError::Unfit(faults));
    }
    taken.into_iter().zip(listen).map(|(socket, wanted)| socket.map_or_else(|| Socket::bind(wanted), Ok)).collect()
}

/// The sockets that systemd handed over.
///
/// # Errors
/// A descriptor that was announced but is not open or not a listening internet socket.
pub(crate) fn inherited() -> Result<Vec<Socket>, LauncherError> {
    let failed = |e| LauncherError::System("take the sockets that LISTEN_FDS announces", e);
    let numbers = sd_notify::listen_fds().map_err(failed)?;
    let all = numbers.map(|number| {
        let socket = fds::inherited(number).and_then(Socket::inherit);
        socket.map_err(|e| failed(io::Error::new(e.kind(), format!("descriptor {number}: {e}"))))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::slice::TlsMode;

    fn listen(address: &str, v6only: bool) -> Listen {
        Listen { address: address.parse().unwrap(), v6only, tls: TlsMode::Off, ..Listen::default() }
    }

    /// A socket as systemd hands it over, on a free port; the address without the port, and the port.
    fn handed_over(ip: &str, v6only: bool) -> (Socket, u16) {
        let fd = net::listen_tcp(format!("{ip}:0").parse().unwrap(), v6only, 8).unwrap();
        let socket = Socket::inherit(fd).unwrap();
        let port = socket.address.port();
        (socket, port)
    }

    fn refusal(listen: &[Listen], ready: Vec<Socket>) -> String {
        open(listen, ready).unwrap_err().to_string()
    }

    #[test]
    fn issue_10_an_inherited_socket_serves_its_own_address_and_the_others_are_bound() {
        let (socket, port) = handed_over("[::]", false);
        let all = [listen("127.0.0.1:0", false), listen(&format!("[::]:{port}"), false)];
        let open = open(&all, vec![socket]).unwrap();
        assert_eq!(open.iter().map(|socket| socket.inherited).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn issue_10_an_inherited_socket_that_nobody_serves_is_named() {
        let (one, first) = handed_over("127.0.0.1", false);
        let (other, second) = handed_over("[::1]", false);
        let said = refusal(&[listen("127.0.0.1:0", false)], vec![one, other]);
        for address in [format!("127.0.0.1:{first}"), format!("[::1]:{second}")] {
            assert!(said.contains(&format!("inherited socket {address} is in no [[listen]]")), "{said}");
        }
    }

    #[test]
    fn issue_10_families_must_be_those_of_the_configuration() {
        for v6only in [false, true] {
            let (socket, port) = handed_over("[::]", v6only);
            let said = refusal(&[listen(&format!("[::]:{port}"), !v6only)], vec![socket]);
            assert!(said.contains("BindIPv6Only="), "{said}");
        }
    }

    #[test]
    fn issue_9_a_socket_that_was_shut_down_listens_again() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut sockets = open(&[listen(address, false)], Vec::new()).unwrap();
            let at = net::local_addr(sockets[0].fd.as_fd()).unwrap();
            // Port 0 would be given another number.
            let fixed = listen(&at.to_string(), false);
            sockets.clear();
            let mut sockets = open(&[fixed], Vec::new()).unwrap();
            assert!(!sockets[0].mend().unwrap(), "nothing is wrong with it");
            let given = std::net::TcpStream::from(sockets[0].try_clone().unwrap().fd);
            // What the listener's filter lets through does nothing.
            given.shutdown(std::net::Shutdown::Write).unwrap();
            assert!(!sockets[0].mend().unwrap());
            given.shutdown(std::net::Shutdown::Both).unwrap();
            assert_eq!(std::net::TcpStream::connect(at).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            assert!(sockets[0].mend().unwrap());
            std::net::TcpStream::connect(at).unwrap();
            assert!(!sockets[0].mend().unwrap());
        }
    }

    #[test]
    fn issue_10_a_reload_closes_what_is_listed_no_more_and_moves_no_socket_to_another_address() {
        let before = open(&[listen("127.0.0.1:0", false)], Vec::new()).unwrap();
        let gone = net::local_addr(before[0].fd.as_fd()).unwrap();
        let after = open(&[listen("[::1]:0", false)], before).unwrap();
        assert!(net::local_addr(after[0].fd.as_fd()).unwrap().is_ipv6());
        assert_eq!(std::net::TcpStream::connect(gone).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
