//! Where qmail is unsafe by default the safe choice is ours. This is the whole list, each with the variable that brings the
//! old behaviour back; like every variable they may come from a run script or from tcpserver's rules, so for some clients only.

use crate::control::{Warning, odd_switch};
use crate::environment::Environment;
use crate::text::{digits, shown};

/// One deliberate difference.
#[derive(Debug, Clone, Copy)]
pub struct Switch {
    /// The variable.
    pub name: &'static str,
    /// Without it.
    pub default: &'static str,
    /// With it.
    pub does: &'static str,
    /// Why the default is what it is.
    pub why: &'static str,
}

/// All of them.
pub const TABLE: [Switch; 12] = [
    Switch {
        name: "GATEPOST_OPENRELAY",
        default: "without control/rcpthosts every address with a domain is put off with 451",
        does: "set, even to nothing: without control/rcpthosts every address is accepted, as by qmail-smtpd",
        why: "a file lost in a migration must not make an open relay, and must not bounce mail",
    },
    Switch {
        name: "GATEPOST_DATABYTES_ANY",
        default: "DATABYTES that doesn't begin with a digit is warned of and control/databytes holds",
        does: "set, even to nothing: such a DATABYTES cancels the limit, as in qmail-smtpd",
        why: "a typing error must not take a limit away; DATABYTES=0 still does",
    },
    Switch {
        name: "GATEPOST_BARELF",
        default: "refuse: a bare LF in content is answered with 451 and the connection closed, as by qmail-smtpd",
        does: "repair: a bare LF in content becomes a line end, and is never part of the end of the message; \
               ALLOW_BARELF of the liberal-lf patch means this too",
        why: "fixcrio and liberal-lf let LF.LF end a message, and what follows is run as commands: smuggling",
    },
    Switch {
        name: "GATEPOST_QREGEX",
        default: "an entry of control/badmailfrom is an address or an @host, as in qmail-smtpd without patches",
        does: "set, even to nothing: an entry that holds a character with a meaning in patterns, .+, or ! in front is a pattern of the \
               qregex patch, as it always is in control/badmailfromnorelay, badhelo and badrcptto, which only that patch has",
        why: "!bang@x in an old list would refuse everyone else",
    },
    Switch {
        name: "GATEPOST_LINE",
        default: "2048 octets, 12288 in the dialogue of AUTH",
        does: "that many octets a command line may have, 65536 at most; a longer one is 500, an endless one 421",
        why: "qmail-smtpd takes lines until its memory ends; RFC 5321 has 512, and no sender needs more",
    },
    Switch {
        name: "GATEPOST_RECIPIENTS",
        default: "10000",
        does: "that many recipients a message may have, then 452; 0: no limit but memory",
        why: "a list server sends what was left over in the next transaction, an attacker has no next",
    },
    Switch {
        name: "GATEPOST_ERRORS",
        default: "20",
        does: "that many commands refused for what they are, with none granted between them, then 421; 0: no limit",
        why: "a client that only makes errors is looking for something",
    },
    Switch {
        name: "GATEPOST_SESSION_TIME",
        default: "86400 seconds",
        does: "that many seconds a session may last, then 421; 0: no limit",
        why: "timeoutsmtpd is per read: an octet every twenty minutes would hold a slot for ever",
    },
    Switch {
        name: "GATEPOST_MINIMUM_RATE",
        default: "none: each single read may take as long as timeoutsmtpd says, as in qmail-smtpd",
        does: "that many octets a second content must have on average over five minutes, then 451; 0: none",
        why: "a slow line is not an attack; where slots are scarce a rate frees those that bring nothing",
    },
    Switch {
        name: "GATEPOST_AUTH_CLEAR",
        default: "where STARTTLS can be had AUTH is offered after it only; elsewhere as ever",
        does: "set, even to nothing: AUTH is offered without TLS too",
        why: "a password that could have been encrypted should have been",
    },
    Switch {
        name: "GATEPOST_RELAX",
        default: "a kernel with a part of landlock only (before Linux 6.12), or none, serves nobody: 421, and a log line",
        does: "landlock: the session goes without what is missing, and each log line says so in its field without",
        why: "a confinement that is missing must be somebody's decision",
    },
    Switch {
        name: "GATEPOST_LOG",
        default: "one line a session on fd 2, unless that is the client or a terminal",
        does: "on: on a terminal too; off: none",
        why: "qmail-smtpd says nothing, and a log is what its users miss most; but an init script's fd 2 is the console",
    },
];

/// A bare LF in content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BareLf {
    /// 451 and the end.
    #[default]
    Refuse,
    /// Becomes a line end, never the end of the message.
    Repair,
}

/// Octets of the longest command line that may be asked for: a session has one megabyte for everything.
pub const LINE_MAX: u32 = 65_536;

/// The switches of one connection. Limits: `None` is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switches {
    /// GATEPOST_OPENRELAY.
    pub open_relay: bool,
    /// GATEPOST_DATABYTES_ANY.
    pub databytes_any: bool,
    /// GATEPOST_BARELF, ALLOW_BARELF.
    pub bare_lf: BareLf,
    /// GATEPOST_QREGEX.
    pub qregex: bool,
    /// GATEPOST_LINE, octets with the line end, [`LINE_MAX`] at most.
    pub line: u32,
    /// GATEPOST_RECIPIENTS.
    pub recipients: Option<u32>,
    /// GATEPOST_ERRORS.
    pub errors: Option<u32>,
    /// GATEPOST_SESSION_TIME, seconds.
    pub session_time: Option<u32>,
    /// GATEPOST_MINIMUM_RATE, octets a second.
    pub minimum_rate: Option<u32>,
    /// GATEPOST_AUTH_CLEAR.
    pub auth_clear: bool,
    /// GATEPOST_RELAX: do without what the kernel has not of landlock.
    pub relax_landlock: bool,
    /// GATEPOST_LOG; `None`: where no terminal is.
    pub log: Option<bool>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            open_relay: false,
            databytes_any: false,
            bare_lf: BareLf::Refuse,
            qregex: false,
            line: 2048,
            recipients: Some(10_000),
            errors: Some(20),
            session_time: Some(86_400),
            minimum_rate: None,
            auth_clear: false,
            relax_landlock: false,
            log: None,
        }
    }
}

impl Switches {
    /// Reads them. What isn't understood is warned of and leaves the safe choice.
    #[must_use]
    pub fn read(environment: &Environment, warnings: &mut Vec<Warning>) -> Self {
        let safe = Self::default();
        let names = environment.iter().map(|(name, _)| name).filter(|name| name.starts_with(b"GATEPOST_"));
        let unknown = names.filter(|name| TABLE.iter().all(|switch| switch.name.as_bytes() != *name));
        warnings.extend(unknown.map(|name| Warning::NoSwitch { name: shown(name, 40) }));
        let mut limit = |name, default| match environment.get(name) {
            None => default,
            Some(value) => match digits(value) {
                (0, count, false) if count == value.len() && count > 0 => None,
                (number, count, false) if count == value.len() && count > 0 => Some(number),
                _ => {
                    warnings.push(odd_switch(name, value));
                    default
                }
            },
        };
        let line = limit("GATEPOST_LINE", Some(safe.line)).unwrap_or(LINE_MAX).min(LINE_MAX);
        let recipients = limit("GATEPOST_RECIPIENTS", safe.recipients);
        let (errors, time) = (limit("GATEPOST_ERRORS", safe.errors), limit("GATEPOST_SESSION_TIME", safe.session_time));
        let minimum_rate = limit("GATEPOST_MINIMUM_RATE", safe.minimum_rate);
        let bare_lf = match environment.get("GATEPOST_BARELF") {
            Some(b"repair") => BareLf::Repair,
            Some(b"refuse") => BareLf::Refuse,
            odd => {
                warnings.extend(odd.map(|value| odd_switch("GATEPOST_BARELF", value)));
                if environment.has("ALLOW_BARELF") { BareLf::Repair } else { BareLf::Refuse }
            }
        };
        let relax_landlock = environment.get("GATEPOST_RELAX").is_some_and(|value| {
            let known = value == b"landlock";
            if !known {
                warnings.push(odd_switch("GATEPOST_RELAX", value));
            }
            known
        });
        let log = match environment.get("GATEPOST_LOG") {
            None => None,
            Some(b"on") => Some(true),
            Some(b"off") => Some(false),
            Some(value) => {
                warnings.push(odd_switch("GATEPOST_LOG", value));
                None
            }
        };
        Self {
            open_relay: environment.has("GATEPOST_OPENRELAY"),
            databytes_any: environment.has("GATEPOST_DATABYTES_ANY"),
            bare_lf,
            qregex: environment.has("GATEPOST_QREGEX"),
            line,
            recipients,
            errors,
            session_time: time,
            minimum_rate,
            auth_clear: environment.has("GATEPOST_AUTH_CLEAR"),
            relax_landlock,
            log,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Switches, usize) {
        let mut warnings = Vec::new();
        let switches = Switches::read(&pairs.iter().copied().collect(), &mut warnings);
        (switches, warnings.len())
    }

    #[test]
    fn every_switch_of_the_table_is_heeded() {
        for (switch, value) in TABLE.iter().zip(["", "", "repair", "", "9", "9", "9", "9", "9", "", "landlock", "off"])
        {
            let (switches, warned) = read(&[(switch.name, value)]);
            assert_ne!(switches, Switches::default(), "{}", switch.name);
            assert_eq!(warned, 0, "{}", switch.name);
        }
    }

    #[test]
    fn a_typing_error_leaves_the_safe_choice_and_is_told() {
        for (name, value) in [
            ("GATEPOST_BARELF", "Repair"),
            ("GATEPOST_LINE", "many"),
            ("GATEPOST_LINE", "10k"),
            ("GATEPOST_RECIPIENTS", ""),
            ("GATEPOST_ERRORS", "4294967296"),
            ("GATEPOST_SESSION_TIME", "-1"),
            ("GATEPOST_RELAX", ""),
            ("GATEPOST_RELAX", "Landlock"),
            ("GATEPOST_LOG", "no"),
            ("GATEPOST_OPEN_RELAY", ""),
        ] {
            assert_eq!(read(&[(name, value)]), (Switches::default(), 1), "{name}={value}");
        }
    }

    #[test]
    fn p9_the_liberal_lf_patch_s_variable_means_repair() {
        assert_eq!(read(&[("ALLOW_BARELF", "")]).0.bare_lf, BareLf::Repair);
        assert_eq!(read(&[("ALLOW_BARELF", ""), ("GATEPOST_BARELF", "refuse")]).0.bare_lf, BareLf::Refuse);
    }

    #[test]
    fn nought_takes_a_limit_away() {
        assert_eq!(read(&[("GATEPOST_ERRORS", "0")]), (Switches { errors: None, ..Switches::default() }, 0));
        assert_eq!(read(&[("GATEPOST_LINE", "0")]), (Switches { line: LINE_MAX, ..Switches::default() }, 0));
    }
}
