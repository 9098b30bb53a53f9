//! Rules of tcprules: which rule of a compiled file is a peer's, and what it says.
//!
//! One rule applies, the first that is found in this order: `info@ip`, `info@=host`, `ip`, `=host`, the beginnings of `ip` that end
//! in a dot or colon (longest first), networks (longest first), `=.suffix` of the host (longest first), `=` for any host that has
//! a name, and the empty key. Networks are gatepost's own: their keys are such that no other program's file has them, so
//! that old files keep their meaning.

mod network;
pub mod source;
#[cfg(test)]
mod tests;

use crate::cdb::{Cdb, ReadAt};
use network::Network;
use std::io;

/// Octets of the largest rule that is read. An environment may not be larger than a few of these (execve(2)).
const RULE_MAX: u32 = 1 << 20;

/// Who is looked up, as the environment has it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peer<'a> {
    /// TCPREMOTEIP.
    pub ip: &'a [u8],
    /// TCPREMOTEHOST, as DNS has spelled it: letters count.
    pub host: Option<&'a [u8]>,
    /// TCPREMOTEINFO.
    pub info: Option<&'a [u8]>,
}

/// A rule that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its address, as the source has it; a network without the bits that it doesn't look at.
    pub key: Vec<u8>,
    data: Vec<u8>,
}

/// One instruction of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// No connection.
    Deny,
    /// `NAME=VALUE`, as it stands.
    Set(&'a [u8]),
}

/// What the rules say of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleDecision {
    /// No rule is his: he may connect, and nothing is changed.
    NoRule,
    /// He may connect.
    Allow(Vec<Variable>),
    /// He may not.
    Deny,
}

/// A variable that a rule sets. Of several with one name the last counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Variable {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

impl Rule {
    /// In their order. Letters that aren't known are skipped, and so is what has no NUL at its end, as the original does it.
    pub fn instructions(&self) -> impl Iterator<Item = Instruction<'_>> {
        let ends = self.data.iter().rposition(|octet| *octet == 0).unwrap_or_default();
        let whole = self.data.get(..ends).unwrap_or_default();
        whole.split(|octet| *octet == 0).filter_map(|item| match item.split_first() {
            Some((b'D', _)) => Some(Instruction::Deny),
            Some((b'+', variable)) => Some(Instruction::Set(variable)),
            _ => None,
        })
    }
}

impl From<Option<Rule>> for RuleDecision {
    fn from(rule: Option<Rule>) -> Self {
        let Some(rule) = rule else { return RuleDecision::NoRule };
        let mut variables = Vec::new();
        for instruction in rule.instructions() {
            match instruction {
                Instruction::Deny => return RuleDecision::Deny,
                Instruction::Set(text) => {
                    let mut halves = text.splitn(2, |octet| *octet == b'=');
                    // One without `=` sets nothing, as in the original.
                    if let (Some(name), Some(value)) = (halves.next(), halves.next()) {
                        variables.push(Variable { name: name.to_vec(), value: value.to_vec() });
                    }
                }
            }
        }
        RuleDecision::Allow(variables)
    }
}

/// The rule for this peer.
///
/// # Errors
/// The file's, or `InvalidData` where it is damaged: nothing is known then, and the connection must be dropped.
pub fn find<R: ReadAt>(file: &Cdb<R>, peer: &Peer<'_>) -> io::Result<Option<Rule>> {
    for key in before_networks(peer) {
        if let Some(data) = file.get(&key, RULE_MAX)? {
            return Ok(Some(Rule { key, data }));
        }
    }
    if let Some(rule) = find_network(file, peer.ip)? {
        return Ok(Some(rule));
    }
    for key in after_networks(peer) {
        if let Some(data) = file.get(&key, RULE_MAX)? {
            return Ok(Some(Rule { key, data }));
        }
    }
    Ok(None)
}

fn before_networks<'a>(peer: &Peer<'a>) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    let Peer { ip, host, info } = *peer;
    let of_host = host.map(|host| [b"=", host].concat());
    let with_info = |rest: &[u8]| info.map(|info| [info, b"@", rest].concat());
    let exact = [with_info(ip), of_host.as_deref().and_then(with_info), Some(ip.to_vec()), of_host];
    let beginnings = (0..ip.len()).rev().filter_map(move |last| {
        ip.get(..=last).filter(|beginning| beginning.ends_with(b".") || beginning.ends_with(b":"))
    });
    exact.into_iter().flatten().chain(beginnings.map(<[u8]>::to_vec))
}

fn after_networks<'a>(peer: &Peer<'a>) -> impl Iterator<Item = Vec<u8>> + use<'a> {
    let host = peer.host;
    let suffixes = host
        .into_iter()
        .flat_map(|host| (0..host.len()).filter_map(|at| host.get(at..).filter(|suffix| suffix.starts_with(b"."))));
    let any_host = host.map(|_| b"=".to_vec());
    suffixes.map(|suffix| [b"=", suffix].concat()).chain(any_host).chain([Vec::new()])
}

fn find_network<R: ReadAt>(file: &Cdb<R>, ip: &[u8]) -> io::Result<Option<Rule>> {
    let Some(ip) = network::address(ip) else { return Ok(None) };
    // Which lengths there are: otherwise each peer of IPv6 would cost 128 look-ups.
    let Some(mut lengths) = file.get(network::lengths_key(ip), network::LENGTHS_MAX)? else { return Ok(None) };
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.dedup();
    for length in lengths {
        let network = Network::new(ip, length).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(data) = file.get(&network.key(), RULE_MAX)? {
            return Ok(Some(Rule { key: network.to_string().into_bytes(), data }));
        }
    }
    Ok(None)
}
