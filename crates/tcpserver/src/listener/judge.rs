//! What becomes of a connection: rules, and the limits patch.

use gatepost_sys::net;
use gatepost_ucspi::rules::{Instruction, Peer, Rule};
use gatepost_ucspi::tcpserver::patch::{self, Patch};
use gatepost_ucspi::words;
use gatepost_wire::ucspi::ConnectionDecision;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

/// ENOENT of Linux (asm-generic/errno-base.h).
const NO_ENTRY: u16 = 2;

/// What stands in the place of the rules.
#[derive(Debug)]
pub(super) enum Rules {
    /// There are none.
    None,
    /// These.
    File(gatepost_rules::Rules),
    /// They can't be read, for this reason, as errno(3).
    Unreadable(u16),
}

/// A decision that owns its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    Serve,
    Deny,
    Limit(String),
    /// The same, and the client has heard nothing.
    SilentLimit(String),
    Unreadable(u16),
}

impl Judged {
    pub(super) fn decision(&self) -> ConnectionDecision<'_> {
        match self {
            Self::Serve => ConnectionDecision::Serve,
            Self::Deny => ConnectionDecision::Deny,
            Self::Limit(limit) | Self::SilentLimit(limit) => ConnectionDecision::Limit(limit.as_bytes()),
            Self::Unreadable(errno) => ConnectionDecision::Unreadable { errno: *errno },
        }
    }
}

/// The variables of the limits patch, as our environment has them.
#[derive(Debug)]
pub(super) struct Variables(Vec<(&'static str, Vec<u8>)>);

const PATCH: [&str; 4] = ["MAXLOAD", "MAXCONNIP", "MAXCONNC", "DIEMSG"];

/// What a connection is judged by.
pub(super) struct Judge<'a> {
    pub(super) rules: &'a Rules,
    pub(super) missing_rules_allow: bool,
    pub(super) variables: &'a Variables,
    pub(super) load: Option<&'a File>,
    /// Connections of its address and of its network, itself included.
    pub(super) held: (u32, u32),
}

impl Judge<'_> {
    /// Judges `peer`; who is over a limit of the limits patch hears DIEMSG.
    pub(super) fn judge(&self, peer: &Peer<'_>, socket: impl AsFd) -> Judged {
        let rule = match self.rules {
            Rules::None => None,
            Rules::Unreadable(NO_ENTRY) if self.missing_rules_allow => None,
            Rules::Unreadable(errno) => return Judged::Unreadable(*errno),
            Rules::File(rules) => match rules.find(peer) {
                Ok(rule) => rule,
                Err(e) => return Judged::Unreadable(words::number(&e)),
            },
        };
        if rule.as_ref().is_some_and(|rule| rule.instructions().any(|one| one == Instruction::Deny)) {
            return Judged::Deny;
        }
        self.patch(rule.as_ref(), socket)
    }

    fn patch(&self, rule: Option<&Rule>, socket: impl AsFd) -> Judged {
        let patch = Patch::read(|name| {
            let of_rule = rule.and_then(|rule| {
                let values = rule.instructions().filter_map(|one| match one {
                    Instruction::Set(text) => text.strip_prefix(name)?.strip_prefix(b"="),
                    Instruction::Deny => None,
                });
                values.last()
            });
            of_rule.or_else(|| self.variables.get(name))
        });
        if patch.is_empty() {
            return Judged::Serve;
        }
        let load = || self.load.map_or(0, |file| patch::load(&first(file).unwrap_or_default()));
        let Some(limit) = patch.refusal(load, self.held.0, self.held.1) else { return Judged::Serve };
        let Some(words) = patch.last_words() else { return Judged::SilentLimit(limit) };
        let _ = net::transmit(socket.as_fd(), &words);
        Judged::Limit(limit)
    }
}

impl Variables {
    pub(super) fn inherited() -> Self {
        Self(PATCH.iter().filter_map(|name| Some((*name, std::env::var_os(name)?.into_vec()))).collect())
    }

    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, value)| value.as_slice())
    }
}

fn first(file: &File) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; 64];
    let count = file.read_at(&mut octets, 0)?;
    octets.truncate(count);
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn issue_11_who_cannot_be_judged_is_not_served() {
        let directory = std::env::temp_dir().join(format!("gatepost-judge-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let whole = gatepost_ucspi::rules::source::compile(b"192.0.2.7:deny\n").unwrap().file().unwrap();
        let open = |name: &str, octets: &[u8]| {
            let path = directory.join(name);
            fs::write(&path, octets).unwrap();
            Rules::File(gatepost_rules::Rules::open(&path).unwrap())
        };
        let protocol_error = words::number(&io::ErrorKind::InvalidData.into());
        for (rules, missing_rules_allow, ip, expected) in [
            (Rules::None, false, "192.0.2.7", Judged::Serve),
            (open("a", &whole), false, "192.0.2.8", Judged::Serve),
            (open("a", &whole), true, "192.0.2.7", Judged::Deny),
            (Rules::Unreadable(NO_ENTRY), true, "192.0.2.7", Judged::Serve),
            (Rules::Unreadable(NO_ENTRY), false, "192.0.2.7", Judged::Unreadable(NO_ENTRY)),
            (Rules::Unreadable(13), true, "192.0.2.7", Judged::Unreadable(13)),
            (open("b", b"junk"), true, "192.0.2.8", Judged::Unreadable(protocol_error)),
        ] {
            let judge = Judge {
                rules: &rules,
                missing_rules_allow,
                variables: &Variables(Vec::new()),
                load: None,
                held: (1, 1),
            };
            let peer = Peer { ip: ip.as_bytes(), ..Peer::default() };
            let socket = File::open("/dev/null").unwrap();
            assert_eq!(judge.judge(&peer, &socket), expected, "{rules:?} {ip}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
