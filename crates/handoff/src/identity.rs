//! Telling the backend who the client is: XCLIENT commands and the PROXY v2 header. Pure.
//!
//! A backend sees our own connection as local, and local clients may relay. So nothing is sent until it has confirmed that it
//! was told.

use crate::backend::Words;
use crate::transaction::Helo;
use gatepost_smtp::client::{Attribute, Extensions};
use gatepost_smtp::names::{ClientNames, Found, HostName};
use gatepost_smtp::xtext;
use gatepost_wire::link::Open;
use std::net::{IpAddr, SocketAddr};

/// Longest XCLIENT command, octets, line end included.
const COMMAND_MAX: usize = 512;
/// Octets of the longest ADDR with its value, and the space before it.
const ADDR_MAX: usize = " ADDR=IPV6:".len() + 39;
/// What is not known.
const UNAVAILABLE: &[u8] = b"[UNAVAILABLE]";

/// A client as the backend is to see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    /// Where it came from.
    pub(crate) address: SocketAddr,
    /// By which address shares count it.
    pub(crate) counted: IpAddr,
    /// Where it came to.
    pub(crate) local: SocketAddr,
    /// What it said of itself.
    pub(crate) helo: &'a Helo,
    /// What it is called.
    pub(crate) names: &'a ClientNames,
    /// Who it has logged in as.
    pub(crate) login: Option<&'a str>,
}

impl<'a> Client<'a> {
    /// The client of a session, which said `helo`.
    pub(crate) fn new(open: &Open, helo: &'a Helo, names: &'a ClientNames, login: Option<&'a str>) -> Self {
        Self { address: open.client, counted: open.counted(), local: open.local, helo, names, login }
    }
}

/// The XCLIENT commands for `client`, with only those attributes that the backend lists. Each has to be answered before the
/// next. `None`: it does not list ADDR, or LOGIN for one that has logged in, without which it is not
/// told who the client is.
pub(crate) fn xclient(client: &Client<'_>, words: &Words, extensions: &Extensions) -> Option<Vec<Vec<u8>>> {
    let listed = |attribute| extensions.xclient.is_some_and(|attributes| attributes.has(attribute));
    if !listed(Attribute::Addr) {
        return None;
    }
    let proto = if client.helo.esmtp { words.proto_ehlo } else { words.proto_helo };
    if client.login.is_some() && !listed(Attribute::Login) {
        return None;
    }
    let login = client.login.map_or_else(|| UNAVAILABLE.to_vec(), |login| login.as_bytes().to_vec());
    // A backend judges by the address as soon as it has it, so the address comes last. What it is told of a login ends with the
    // next XCLIENT (in Postfix), so that is last but one and always in one command with the address.
    let attributes: [(Attribute, &str, Vec<u8>); 9] = [
        (Attribute::Proto, "PROTO", proto.into()),
        (Attribute::Helo, "HELO", helo_value(&client.helo.name)),
        (Attribute::DestAddr, "DESTADDR", address(client.local.ip()).into_bytes()),
        (Attribute::DestPort, "DESTPORT", client.local.port().to_string().into_bytes()),
        (Attribute::ReverseName, "REVERSE_NAME", name_value(&client.names.reverse)),
        (Attribute::Port, "PORT", client.address.port().to_string().into_bytes()),
        (Attribute::Name, "NAME", name_value(&client.names.confirmed)),
        (Attribute::Login, "LOGIN", login),
        (Attribute::Addr, "ADDR", address(client.address.ip()).into_bytes()),
    ];
    let mut commands = Vec::new();
    let mut command = b"XCLIENT".to_vec();
    for (attribute, name, value) in attributes.iter().filter(|(attribute, ..)| listed(*attribute)) {
        let mut word = Vec::with_capacity(64);
        word.extend_from_slice(b" ");
        word.extend_from_slice(name.as_bytes());
        word.push(b'=');
        xtext::encode(value, &mut word);
        let room = match attribute {
            Attribute::Login => COMMAND_MAX - 2 - ADDR_MAX,
            _ => COMMAND_MAX - 2,
        };
        if command.len().saturating_add(word.len()) > room {
            command.extend_from_slice(b"\r\n");
            commands.push(std::mem::replace(&mut command, b"XCLIENT".to_vec()));
        }
        command.extend_from_slice(&word);
    }
    command.extend_from_slice(b"\r\n");
    commands.push(command);
    Some(commands)
}

/// A name attribute. Postfix defers a client whose name is temporarily unknown, whatever it does to one that has none.
fn name_value(name: &Found<HostName>) -> Vec<u8> {
    match name {
        Found::Known(name) => name.as_str().into(),
        Found::None => UNAVAILABLE.to_vec(),
        Found::Temporary => b"[TEMPUNAVAIL]".to_vec(),
    }
}

/// The HELO attribute; one that is too long for a command in xtext is not sent, because a part of it is another name.
fn helo_value(name: &[u8]) -> Vec<u8> {
    let mut coded = Vec::new();
    xtext::encode(name, &mut coded);
    if name.is_empty() || coded.len() > COMMAND_MAX - 32 { UNAVAILABLE.to_vec() } else { name.to_vec() }
}

fn address(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("IPV6:{ip}"),
    }
}

/// True when the client's HELO can be the argument of our EHLO after XCLIENT: a name or an address literal.
pub(crate) fn fits_ehlo(name: &[u8]) -> bool {
    !name.is_empty()
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

const PROXY_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const PROXY_V2: u8 = 0x21;

/// The PROXY v2 header for `client`: command PROXY, never LOCAL, by which a backend sees a connection of its own host.
pub(crate) fn proxy_v2(client: &Client<'_>) -> Vec<u8> {
    let mut header = PROXY_SIGNATURE.to_vec();
    header.push(PROXY_V2);
    let local = client.local.ip().to_canonical();
    match client.address.ip().to_canonical() {
        IpAddr::V4(source) => {
            // Both must be of one family; the client's address is the one that matters.
            let target = if let IpAddr::V4(ip) = local { ip } else { std::net::Ipv4Addr::UNSPECIFIED };
            header.extend_from_slice(&[0x11, 0, 12]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&target.octets());
        }
        IpAddr::V6(source) => {
            let target = if let IpAddr::V6(ip) = local { ip } else { std::net::Ipv6Addr::UNSPECIFIED };
            header.extend_from_slice(&[0x21, 0, 36]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&target.octets());
        }
    }
    header.extend_from_slice(&client.address.port().to_be_bytes());
    header.extend_from_slice(&client.local.port().to_be_bytes());
    header
}
