//! What `--help` says.

use super::long::{Long, TABLE};

const ABOUT: &str = "\
gatepost tcpserver [OPTIONS] HOST PORT PROGRAM [ARGUMENTS]

Runs PROGRAM for each connection to HOST and PORT, on its descriptors 0 and 1, as ucspi-tcp's tcpserver does. HOST 0: every
address of this machine. PORT: a number, a service's name, or 0 for any free port.

";

const OURS: &str = "
What the original can't:

";

const REST: &str = "
Sockets that a service manager hands over (LISTEN_FDS) are used in the place of HOST and PORT, and it is told when the server
is ready (NOTIFY_SOCKET). MAXCONNIP, MAXCONNC, MAXLOAD and DIEMSG, in the environment or set by a rule, are honoured as
the tcpserver-limits patch does. HUP opens the rules anew, and TERM ends the server; programs go on. Exit status 100: usage,
111: no server can be had.
";

/// The original's options, and `-C`: what is written, and what it does.
const SHORT: &[(&str, &str)] = &[
    ("-q -Q -v", "say nothing / errors / each connection too"),
    ("-c N -b N", "connections at once (40), backlog (20)"),
    ("-x CDB -X", "rules by tcprules; -X: without the file, everybody may connect"),
    ("-B TEXT", "sent first"),
    ("-u N -g N -U", "uid and gid of programs; -U: those of $UID and $GID"),
    ("-l NAME", "our name (TCPLOCALHOST), without a look-up"),
    ("-h -H  -p -P", "look the peer's name up or not; believe it only where its address is the peer's, or always"),
    ("-r -R  -t N", "ask the peer's host for the user (RFC 1413) or not; for N seconds (26)"),
    ("-o -O  -d -D", "leave IP options or take them away (-O); leave Nagle's algorithm (-d) or turn it off"),
    ("-1", "print the port"),
    ("-4 -6 -I IF", "IPv4 alone; IPv6 with IPv4 in its mapped form; the interface of link-local addresses"),
    ("-C N", "as --per-address"),
];

/// Every option: how it is written, and what it does.
pub fn options() -> impl Iterator<Item = (String, &'static str)> {
    let short = SHORT.iter().map(|(option, what)| ((*option).to_owned(), *what));
    short.chain(TABLE.iter().map(|long| (written(long), long.help)))
}

fn written(long: &Long) -> String {
    format!("--{}{}", long.name, long.value.map(|value| format!(" {value}")).unwrap_or_default())
}

/// All of it.
#[must_use]
pub fn text() -> String {
    let mut text = ABOUT.to_owned();
    for (option, what) in SHORT {
        text.push_str(&format!("  {option:<15} {what}\n"));
    }
    text.push_str(OURS);
    for long in TABLE {
        text.push_str(&format!("  {}\n      {}\n", written(long), long.help));
    }
    text + REST
}
