//! Many clients at chosen addresses, and the good client beside them.

use crate::gate::{self, starttls};
use gatepost_sys::net::connect_from;
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{HERE6, Host};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest wait of the good client for a reply: far above what it should need, far below what made it give up.
pub(crate) const GOOD_PATIENCE: Duration = Duration::from_secs(10);

/// One attack at a time: each of them is as much as a small machine can bear.
static ALONE: Mutex<()> = Mutex::new(());
thread_local! {
    /// Held until the test's thread ends.
    static TURN: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Waits until no other attack is under way, then lets every address of 10/8 and of 2001:db8:a000::/36 be a client's.
pub(crate) fn open_networks(host: &Host) {
    TURN.with(|turn| *turn.borrow_mut() = Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner)));
    // A route makes an IPv4 address one of ours; for IPv6 binding to one needs leave as well.
    let routes = "ip route add local 10.0.0.0/8 dev lo && ip -6 route add local 2001:db8:a000::/36 dev lo";
    host.shell(&format!("{routes} && echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind")).expect_ok("ip");
}

/// IPv4 address `n` of block `block`: 10.block.0.0/16.
pub(crate) fn v4(block: u8, n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, block, high, low))
}

/// An address of the IPv6 /64 `n` of one /48.
pub(crate) fn v6(n: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xa000, n, 0, 0, 0, 1))
}

/// An address of the IPv6 /48 `site` of one /40.
pub(crate) fn v6_of(site: u8, n: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xa000 | u16::from(site), n, 0, 0, 0, 1))
}

/// As [`gate::config`], for attackers who do not wait for their greeting and have a session all the same.
pub(crate) fn config(backend: &str, more: &str) -> String {
    gate::config(backend, &format!("{more}\n\n[admission]\nearly_talk = \"off\""))
}

/// One attacking connection.
pub(crate) struct Attacker(TcpStream);

impl Attacker {
    /// Connects from `ip`. None when the connection is not even taken.
    pub(crate) fn connect(host: &Host, ip: IpAddr) -> Option<Attacker> {
        let to: SocketAddr = if ip.is_ipv4() { starttls() } else { format!("[{HERE6}]:25") }.parse().unwrap();
        let stream = TcpStream::from(host.inside(|| connect_from(ip, to)).ok()?);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Attacker(stream))
    }

    /// Sends; an error means that the server has ended it, which is its good right.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        let _ = self.0.write_all(octets);
    }

    /// The server has ended it.
    pub(crate) fn is_over(&mut self) -> bool {
        let _ = self.0.set_nonblocking(true);
        let mut space = [0; 4096];
        let over = loop {
            match self.0.read(&mut space) {
                Ok(1..) => {}
                Ok(0) => break true,
                Err(e) => break e.kind() != std::io::ErrorKind::WouldBlock,
            }
        };
        let _ = self.0.set_nonblocking(false);
        over
    }

    /// Reads until as many reply lines have come that end a reply; what they were. Fewer when the server has hung up.
    pub(crate) fn replies(&mut self, count: usize) -> Vec<String> {
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

/// A whole session of somebody who has nothing to do with it: the replies to greeting, EHLO, MAIL, RCPT, DATA and the end.
pub(crate) fn good_mail(host: &Host, from: IpAddr, to: &str) -> Result<(), String> {
    let server: SocketAddr = starttls().parse().unwrap();
    let stream = host.inside(|| connect_from(from, server)).map_err(|e| format!("connect: {e}"))?;
    let mut client = Client::over(TcpStream::from(stream));
    client.set_patience(GOOD_PATIENCE);
    let failed = |at: &str, e: std::io::Error| format!("{at}: {e}");
    let greeting = client.try_reply().map_err(|e| failed("greeting", e))?;
    if greeting.code != 220 {
        return Err(format!("greeting: {greeting}"));
    }
    let steps: [(&str, String, u16); 5] = [
        ("EHLO", "EHLO good.test".to_owned(), 250),
        ("MAIL", "MAIL FROM:<good@good.test>".to_owned(), 250),
        ("RCPT", format!("RCPT TO:<{to}>"), 250),
        ("DATA", "DATA".to_owned(), 354),
        ("content", "Subject: good\r\n\r\nmail\r\n.".to_owned(), 250),
    ];
    for (at, line, code) in steps {
        let reply = client.try_ask(&line).map_err(|e| failed(at, e))?;
        if reply.code != code {
            return Err(format!("{at}: {reply}"));
        }
    }
    let _ = client.try_ask("QUIT");
    Ok(())
}
