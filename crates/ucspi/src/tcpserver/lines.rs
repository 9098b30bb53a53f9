//! What tcpserver writes to descriptor 2, octet for octet. Parsers in the field know these lines, so nothing is added to one: what
//! is new stands on lines of its own.

use super::peer::Peer;
use crate::lines::Says;
use std::net::IpAddr;

/// Octets of a field at most; what is longer is cut, and three dots are added.
const FIELD_MAX: usize = 100;

/// Connections now, and as many as there may be.
#[must_use]
pub fn status(now: u32, limit: u64) -> String {
    format!("tcpserver: status: {now}/{limit}\n")
}

/// The end of a process, with its wait status as wait(2) gives it.
#[must_use]
pub fn end(pid: i32, status: i32) -> String {
    format!("tcpserver: end {pid} status {status}\n")
}

/// The program's name before each line.
pub const SAYS: Says = Says::of("tcpserver");

/// A connection that is dropped, and why.
#[must_use]
pub fn dropped(parts: &[&[u8]]) -> Vec<u8> {
    SAYS.warning(&[b"dropping connection, ", &parts.concat()])
}

/// What the original has no line for.
#[must_use]
pub fn note(what: &str) -> String {
    format!("tcpserver: note: {what}\n")
}

/// A connection that gets no process at all.
#[must_use]
pub fn refused(ip: IpAddr, why: &str) -> String {
    format!("tcpserver: refused {ip}: {why}\n")
}

/// The lines of a connection's process, to be written by that process, which knows its id.
#[derive(Debug)]
pub struct Process {
    /// Before and after the id on the first line, and after it on the second, whose beginning is in the middle.
    parts: [Vec<u8>; 3],
}

/// What the second line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It is served.
    Ok,
    /// It is not; with what the limits patch adds to the line.
    Deny(Option<&'a str>),
    /// Neither: it is dropped, for which there is another line.
    Nothing,
}

impl Process {
    /// For this connection.
    #[must_use]
    pub fn new(peer: &Peer<'_>, outcome: Outcome<'_>) -> Self {
        let mut middle = format!(" from {}\n", peer.shown(peer.remote.ip())).into_bytes();
        let mut last = Vec::new();
        let verdict: &[u8] = match outcome {
            Outcome::Nothing => return Self { parts: [b"tcpserver: pid ".to_vec(), middle, last] },
            Outcome::Ok => b"ok ",
            Outcome::Deny(_) => b"deny ",
        };
        middle.extend_from_slice(b"tcpserver: ");
        middle.extend_from_slice(verdict);
        last.push(b' ');
        field(&mut last, peer.local_host.unwrap_or_default());
        address(&mut last, peer, peer.local.ip());
        last.extend_from_slice(peer.local.port().to_string().as_bytes());
        last.push(b' ');
        field(&mut last, peer.remote_host.unwrap_or_default());
        address(&mut last, peer, peer.remote.ip());
        field(&mut last, peer.info.unwrap_or_default());
        last.push(b':');
        last.extend_from_slice(peer.remote.port().to_string().as_bytes());
        if let Outcome::Deny(Some(limit)) = outcome {
            last.push(b' ');
            last.extend_from_slice(limit.as_bytes());
        }
        last.push(b'\n');
        Self { parts: [b"tcpserver: pid ".to_vec(), middle, last] }
    }

    /// What stands before, between and after the id, which is on both lines.
    #[must_use]
    pub fn into_parts(self) -> [Vec<u8>; 3] {
        self.parts
    }

    /// The lines, `pid` being the process's id in decimal. In pieces, so that who writes them needs no memory of its own.
    #[must_use]
    pub fn pieces<'a>(&'a self, pid: &'a [u8]) -> [&'a [u8]; 5] {
        let [first, middle, last] = &self.parts;
        [first, pid, middle, if last.is_empty() { b"" } else { pid }, last]
    }
}

/// `:address:`.
fn address(line: &mut Vec<u8>, peer: &Peer<'_>, ip: IpAddr) {
    line.push(b':');
    line.extend_from_slice(peer.shown(ip).as_bytes());
    line.push(b':');
}

/// What a peer may have chosen, without anything that could be taken for something else.
fn field(line: &mut Vec<u8>, text: &[u8]) {
    let shown = text.iter().take(FIELD_MAX).map(|octet| match octet {
        b'%' | b':' => b'?',
        33..=126 => *octet,
        _ => b'?',
    });
    line.extend(shown);
    // Of exactly as many octets, too: the original looks no further than it shows.
    if text.len() >= FIELD_MAX {
        line.extend_from_slice(b"...");
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::Family;
    use super::*;

    fn said(peer: &Peer<'_>, outcome: Outcome<'_>) -> String {
        String::from_utf8(Process::new(peer, outcome).pieces(b"9113").concat()).unwrap()
    }

    #[test]
    fn issue_11_lines_are_the_originals() {
        let mut peer = Peer {
            family: Family::V4,
            local: "127.0.0.1:40859".parse().unwrap(),
            remote: "127.0.0.1:33238".parse().unwrap(),
            local_host: Some(b"my host:%x"),
            remote_host: Some(b"\x80\x7f~!"),
            info: Some(b"a\nb"),
            interface: None,
        };
        let first = "tcpserver: pid 9113 from 127.0.0.1\n";
        let rest = " my?host??x:127.0.0.1:40859 ??~!:127.0.0.1:a?b:33238";
        assert_eq!(said(&peer, Outcome::Ok), format!("{first}tcpserver: ok 9113{rest}\n"));
        assert_eq!(said(&peer, Outcome::Deny(None)), format!("{first}tcpserver: deny 9113{rest}\n"));
        let limit = Outcome::Deny(Some("MAXCONNIP:2"));
        assert_eq!(said(&peer, limit), format!("{first}tcpserver: deny 9113{rest} MAXCONNIP:2\n"));
        assert_eq!(said(&peer, Outcome::Nothing), first);
        (peer.local_host, peer.remote_host, peer.info) = (None, None, None);
        assert!(said(&peer, Outcome::Ok).ends_with("ok 9113 :127.0.0.1:40859 :127.0.0.1::33238\n"));
        (peer.family, peer.remote) = (Family::Dual, "[2001:db8::9]:1".parse().unwrap());
        assert!(said(&peer, Outcome::Ok).ends_with(" :2001:db8::9::1\n"));
        for (length, dots) in [(99, false), (100, true), (150, true)] {
            let name = vec![b'x'; length];
            let line = said(&Peer { local_host: Some(&name), ..peer }, Outcome::Ok);
            assert_eq!(line.contains(&format!("ok 9113 {}...:", "x".repeat(100))), dots, "{line}");
        }
    }
}
