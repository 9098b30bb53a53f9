//! `tcprulescheck rules.cdb`: what the rules say of the peer that the environment names.

use crate::{Rules, say};
use gatepost_ucspi::lines::{Says, raw};
use gatepost_ucspi::rules::{Instruction, Peer, Rule};
use std::ffi::OsString;
use std::io;
use std::path::Path;

const SAYS: Says = Says::of("tcprulescheck");

/// A whole run. `arguments` are those behind argv\[0\], `variable` reads the environment: TCPREMOTEIP (0.0.0.0 without one),
/// TCPREMOTEHOST, TCPREMOTEINFO. Returns the exit status: 0, 100 for a wrong command line, 111 for trouble with the file.
pub fn run(mut arguments: impl Iterator<Item = OsString>, variable: impl Fn(&str) -> Option<OsString>) -> u8 {
    let Some(cdb) = arguments.next() else {
        say(io::stderr(), &SAYS.usage("rules.cdb"));
        return 100;
    };
    let [ip, host, info] = ["TCPREMOTEIP", "TCPREMOTEHOST", "TCPREMOTEINFO"].map(variable);
    let peer = Peer {
        ip: ip.as_ref().map_or(b"0.0.0.0", |ip| raw(ip)),
        host: host.as_ref().map(|host| raw(host)),
        info: info.as_ref().map(|info| raw(info)),
    };
    match Rules::open(Path::new(&cdb)).and_then(|rules| rules.find(&peer)) {
        Ok(rule) => {
            say(io::stdout(), &shown(rule.as_ref()));
            0
        }
        Err(e) => {
            say(io::stderr(), &SAYS.failed(&[b"unable to read ", raw(&cdb)], &e));
            111
        }
    }
}

/// What is printed. Nothing behind a denial counts.
fn shown(rule: Option<&Rule>) -> Vec<u8> {
    let Some(rule) = rule else { return b"default:\nallow connection\n".to_vec() };
    let mut text = [b"rule ", rule.key.as_slice(), b":\n"].concat();
    for instruction in rule.instructions() {
        match instruction {
            Instruction::Deny => {
                text.extend_from_slice(b"deny connection\n");
                return text;
            }
            Instruction::Set(variable) => {
                for part in [b"set environment variable ", variable, b"\n"] {
                    text.extend_from_slice(part);
                }
            }
        }
    }
    text.extend_from_slice(b"allow connection\n");
    text
}
