//! Many clients at chosen addresses of a host, and the good client beside them. The server listens at port 25.

use crate::client::Client;
use crate::host::{HERE, HERE6, Host};
use gatepost_sys::net::connect_from;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait of the good client for a reply: far above what it should need, far below what made it give up.
pub const GOOD_PATIENCE: Duration = Duration::from_secs(10);

/// Lets every address of 10/8 and of 2001:db8:a000::/36 be a client's.
///
/// # Panics
/// When the host's routes can't be set.
pub fn open_networks(host: &Host) {
    // A route makes an IPv4 address one of ours; for IPv6 binding to one needs leave as well.
    let routes = "ip route add local 10.0.0.0/8 dev lo && ip -6 route add local 2001:db8:a000::/36 dev lo";
    host.shell(&format!("{routes} && echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind")).expect_ok("ip");
}

/// IPv4 address `n` of block `block`: 10.block.0.0/16.
#[must_use]
pub fn v4(block: u8, n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, block, high, low))
}

/// An address of the IPv6 /64 `n` of one /48.
#[must_use]
pub fn v6(n: u16) -> IpAddr {
    v6_of(0, n)
}

/// An address of the IPv6 /48 `site` of one /40.
#[must_use]
pub fn v6_of(site: u8, n: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xa000 | u16::from(site), n, 0, 0, 0, 1))
}

/// A connection to the server from `ip`, on the thread's own network.
fn connect(ip: IpAddr) -> io::Result<TcpStream> {
    let server = if ip.is_ipv4() { format!("{HERE}:25") } else { format!("[{HERE6}]:25") };
    let server: SocketAddr = server.parse().map_err(io::Error::other)?;
    connect_from(ip, server).map(TcpStream::from)
}

/// One attacking connection.
#[derive(Debug)]
pub struct Attacker(TcpStream);

impl Attacker {
    /// Connects from `ip`. None when the connection is not even taken.
    ///
    /// # Panics
    /// When the socket takes no options.
    #[must_use]
    pub fn connect(host: &Host, ip: IpAddr) -> Option<Attacker> {
        host.inside(|| Self::connect_here(ip))
    }

    /// As [`Attacker::connect`], by a thread that is inside the host's network.
    pub(crate) fn connect_here(ip: IpAddr) -> Option<Attacker> {
        let stream = connect(ip).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Attacker(stream))
    }

    /// Sends; an error means that the server has ended it, which is its good right.
    pub fn send(&mut self, octets: &[u8]) {
        let _ = self.0.write_all(octets);
    }

    /// Sends what the connection takes without a wait; false when the server has ended it.
    pub(crate) fn send_some(&mut self, octets: &[u8]) -> bool {
        let _ = self.0.set_nonblocking(true);
        let sent = self.0.write(octets);
        let _ = self.0.set_nonblocking(false);
        sent.is_ok() || sent.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }

    /// Ends the way to the server, and goes on hearing.
    pub(crate) fn end_own_side(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// How many octets have come, without a wait; None when the server has ended it.
    pub(crate) fn heard(&mut self) -> Option<usize> {
        let _ = self.0.set_nonblocking(true);
        let (mut space, mut heard) = ([0; 4096], 0);
        let heard = loop {
            match self.0.read(&mut space) {
                Ok(0) => break None,
                Ok(octets) => heard += octets,
                Err(e) => break (e.kind() == ErrorKind::WouldBlock).then_some(heard),
            }
        };
        let _ = self.0.set_nonblocking(false);
        heard
    }

    /// The server has ended it.
    pub fn is_over(&mut self) -> bool {
        self.heard().is_none()
    }

    /// Reads until as many reply lines have come that end a reply; what they were. Fewer when the server has hung up.
    pub fn replies(&mut self, count: usize) -> Vec<String> {
        let mut text = Vec::new();
        let mut space = [0; 16 * 1024];
        loop {
            let whole = String::from_utf8_lossy(&text).into_owned();
            let last = |line: &&str| line.len() > 3 && line.as_bytes()[3] == b' ';
            let found: Vec<String> = whole.split_inclusive("\r\n").filter(last).map(str::to_owned).collect();
            if found.len() >= count {
                return found;
            }
            match self.0.read(&mut space) {
                Ok(n) if n > 0 => text.extend_from_slice(&space[..n]),
                _ => return found,
            }
        }
    }
}

/// Why a good message was not taken.
#[derive(Debug)]
pub struct Unserved {
    /// The sender would not try again: a reply of 5yz.
    pub for_good: bool,
    why: String,
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A whole session of somebody who has nothing to do with the attack: greeting, EHLO, MAIL, RCPT, DATA, a message with this
/// subject, QUIT.
///
/// # Errors
/// The first reply that was not the one of a server that takes mail, or its absence in [`GOOD_PATIENCE`].
pub fn send_good_mail(host: &Host, from: IpAddr, to: &str, subject: &str) -> Result<(), Unserved> {
    let failed = |at: &str, e: io::Error| Unserved { for_good: false, why: format!("{at}: {e}") };
    let mut client = Client::over(host.inside(|| connect(from)).map_err(|e| failed("connect", e))?);
    client.set_patience(GOOD_PATIENCE);
    let steps: [(&str, String, u16); 5] = [
        ("EHLO", "EHLO good.test".to_owned(), 250),
        ("MAIL", "MAIL FROM:<good@good.test>".to_owned(), 250),
        ("RCPT", format!("RCPT TO:<{to}>"), 250),
        ("DATA", "DATA".to_owned(), 354),
        ("content", format!("Subject: {subject}\r\n\r\nmail\r\n."), 250),
    ];
    let greeting = client.try_reply().map_err(|e| failed("greeting", e))?;
    let expect = |at: &str, reply: crate::client::Reply, code| {
        let unserved = || Unserved { for_good: reply.class() == 5, why: format!("{at}: {reply}") };
        (reply.code == code).then_some(()).ok_or_else(unserved)
    };
    expect("greeting", greeting, 220)?;
    for (at, line, code) in steps {
        expect(at, client.try_ask(&line).map_err(|e| failed(at, e))?, code)?;
    }
    let _ = client.try_ask("QUIT");
    Ok(())
}

/// As [`send_good_mail`], with any subject and the reason as a sentence.
///
/// # Errors
/// As there.
pub fn good_mail(host: &Host, from: IpAddr, to: &str) -> Result<(), String> {
    send_good_mail(host, from, to, "good").map_err(|unserved| unserved.to_string())
}
