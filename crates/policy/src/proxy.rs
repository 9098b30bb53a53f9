//! The header of the PROXY protocol, versions 1 and 2, by which a load balancer tells for whom it connects
//! (haproxy.org/download/2.9/doc/proxy-protocol.txt). It comes before anything else, from peers that the configuration names.
//!
//! Octets are asked for one certain piece at a time, so that none behind the header is read: that is the client's.

use proxy_header::{ParseConfig, ProxyHeader};
use std::fmt;
use std::net::SocketAddr;

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins.
const WORD: &[u8] = b"PROXY ";
/// Octets of the shortest line of version 1, `PROXY UNKNOWN`, with its CRLF.
const LINE_MIN: usize = 15;
/// Octets of the longest, §2.1.
const LINE_MAX: usize = 107;
/// Octets of version 2 before its addresses: signature, command, family, length.
const FIXED: usize = 16;
/// Octets of a header: addresses have up to 216, and no load balancer fills this with what comes behind them.
pub const HEADER_MAX: usize = 2048;
/// The type of a checksum, §2.2.4.
const CRC32C: u8 = 0x03;

/// For whom the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// A client at `from`, who connected to `to`. IPv4-mapped IPv6 is IPv4.
    Client {
        /// Its address and port.
        from: SocketAddr,
        /// Where it connected to.
        to: SocketAddr,
    },
    /// The peer itself, such as its health check (LOCAL), or somebody whom it does not name (UNKNOWN, a unix socket).
    Peer,
}

/// Why a connection has no header that can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// It does not begin with one.
    Missing,
    /// Longer than the protocol has it, or than [`HEADER_MAX`].
    TooLong,
    /// A field that the protocol does not have, or not there.
    Malformed,
    /// Its checksum is another.
    Checksum,
    /// It is about datagrams.
    Datagram,
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no PROXY header",
            Self::TooLong => "a PROXY header that is too long",
            Self::Malformed => "a malformed PROXY header",
            Self::Checksum => "a PROXY header with a wrong checksum",
            Self::Datagram => "a PROXY header about datagrams",
        })
    }
}

impl std::error::Error for BadHeader {}

/// A header as far as it has come.
#[derive(Debug, Default)]
pub struct Header(Vec<u8>);

impl Header {
    /// Octets that certainly belong to the header and have not come yet; at least one before [`Header::push`] has given an end.
    #[must_use]
    pub fn want(&self) -> usize {
        let have = self.0.len();
        match self.0.first() {
            None => LINE_MIN,
            Some(b'P') if have < LINE_MIN => LINE_MIN.saturating_sub(have),
            Some(b'P') => 1,
            Some(_) if have < FIXED => FIXED.saturating_sub(have),
            Some(_) => FIXED.saturating_add(self.length()).saturating_sub(have),
        }
    }

    /// What version 2 says that follows its fixed part; 0 before that has come.
    fn length(&self) -> usize {
        match self.0.get(14..FIXED) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        }
    }

    /// Takes [`Header::want`] octets or fewer. None: more is needed.
    ///
    /// # Errors
    /// The connection must be closed.
    pub fn push(&mut self, octets: &[u8]) -> Result<Option<Arrival>, BadHeader> {
        let (octets, _) = octets.split_at_checked(self.want()).unwrap_or((octets, &[]));
        self.0.extend_from_slice(octets);
        let header = self.0.as_slice();
        if begins(header, WORD) {
            match header.iter().position(|octet| *octet == b'\n') {
                Some(end) if end.saturating_add(1) == header.len() => line(header).map(Some),
                // No line is so short that something could have come behind it: see LINE_MIN.
                Some(_) => Err(BadHeader::Malformed),
                None if header.len() >= LINE_MAX => Err(BadHeader::TooLong),
                None => Ok(None),
            }
        } else if !begins(header, SIGNATURE) {
            Err(BadHeader::Missing)
        } else if self.length() > HEADER_MAX {
            Err(BadHeader::TooLong)
        } else if self.want() > 0 {
            Ok(None)
        } else {
            binary(header).map(Some)
        }
    }
}

/// What begins like a header, where nobody has said that one would come.
#[must_use]
pub fn is_header(octets: &[u8]) -> bool {
    octets.len() >= WORD.len() && (begins(octets, WORD) || begins(octets, SIGNATURE))
}

/// One is the beginning of the other.
fn begins(header: &[u8], with: &[u8]) -> bool {
    header.iter().zip(with).all(|(a, b)| a == b)
}

/// Version 1, §2.1: single spaces, and ports without sign or leading zero, which the library lets pass.
fn line(header: &[u8]) -> Result<Arrival, BadHeader> {
    let line = header.strip_suffix(b"\r\n").ok_or(BadHeader::Malformed)?;
    let words: Vec<&[u8]> = line.split(|octet| *octet == b' ').collect();
    if words.get(1) == Some(&&b"UNKNOWN"[..]) {
        return Ok(Arrival::Peer);
    }
    let [_, _, _, _, ports @ ..] = words.as_slice() else { return Err(BadHeader::Malformed) };
    let is_port = |port: &&[u8]| port.iter().all(u8::is_ascii_digit) && (*port == b"0" || !port.starts_with(b"0"));
    if ports.len() != 2 || !ports.iter().all(is_port) {
        return Err(BadHeader::Malformed);
    }
    of_library(header)
}

/// Version 2, §2.2.
fn binary(header: &[u8]) -> Result<Arrival, BadHeader> {
    let (Some(&command), Some(&family)) = (header.get(12), header.get(13)) else { return Err(BadHeader::Malformed) };
    match command {
        // LOCAL: what follows is skipped, whatever it is.
        0x20 => return Ok(Arrival::Peer),
        0x21 => {}
        _ => return Err(BadHeader::Malformed),
    }
    let addresses = match family {
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        0x12 | 0x22 | 0x32 => return Err(BadHeader::Datagram),
        _ => return Err(BadHeader::Malformed),
    };
    let more = header.get(FIXED..).and_then(|rest| rest.get(addresses..)).ok_or(BadHeader::Malformed)?;
    // Of an unknown family nothing behind the length has a meaning.
    if family != 0 {
        check_values(header, more)?;
    }
    of_library(header)
}

/// Walks through what follows the addresses: type, length, value. A checksum must be right.
fn check_values(header: &[u8], mut rest: &[u8]) -> Result<(), BadHeader> {
    while let [kind, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, later) = more.split_at_checked(length).ok_or(BadHeader::Malformed)?;
        if *kind == CRC32C {
            let stated: [u8; 4] = value.try_into().map_err(|_| BadHeader::Malformed)?;
            let at = header.len().saturating_sub(more.len());
            let zeroed = header
                .iter()
                .enumerate()
                .map(|(place, octet)| if (at..at.saturating_add(4)).contains(&place) { 0 } else { *octet });
            if crc32c(zeroed) != u32::from_be_bytes(stated) {
                return Err(BadHeader::Checksum);
            }
        }
        rest = later;
    }
    if rest.is_empty() { Ok(()) } else { Err(BadHeader::Malformed) }
}

fn of_library(header: &[u8]) -> Result<Arrival, BadHeader> {
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    let (parsed, length) = ProxyHeader::parse(header, config).map_err(|_| BadHeader::Malformed)?;
    if length != header.len() {
        return Err(BadHeader::Malformed);
    }
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Ok(match parsed.proxied_address() {
        Some(address) => Arrival::Client { from: canonical(address.source), to: canonical(address.destination) },
        None => Arrival::Peer,
    })
}

/// RFC 3720 §B.4: the polynomial 1EDC6F41, reflected.
fn crc32c(octets: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !octets.fold(!0_u32, |crc, octet| (0..8).fold(crc ^ u32::from(octet), step))
}
