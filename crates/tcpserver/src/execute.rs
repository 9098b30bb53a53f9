//! One program: its environment, its lines, its new process.

use crate::rules::Rules;
use crate::say::Say;
use crate::{DENIED, FAILED};
use gatepost_sys::net;
use gatepost_sys::process::ProcessId;
use gatepost_sys::starts::{self, Program, Start, Starts};
use gatepost_sys::vfork::{Borrowed, Confinement, Image, Starter, Strings};
use gatepost_ucspi::rules::{self, Variable};
use gatepost_ucspi::tcpserver::environment::{Changes, Inherited};
use gatepost_ucspi::tcpserver::lines::{self, Outcome, Process};
use gatepost_ucspi::tcpserver::peer::{Family, Peer};
use gatepost_ucspi::words;
use gatepost_wire::ucspi::{Connection, ConnectionDecision};
use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// What is the same for each program.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) say: Say,
    /// TCPLOCALHOST of the command line.
    pub(crate) local_host: Option<Vec<u8>>,
    pub(crate) family: Family,
    pub(crate) inherited: Inherited,
    name: Vec<u8>,
    files: Vec<CString>,
    args: Strings,
    confinement: Confinement,
    starter: Starter,
    /// Where programs need no more than what this process is already: several are started at once.
    starts: Option<Starts>,
}

/// Where a program is looked for when there is no PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// What becomes of a connection, with all that is said of it.
enum Decision {
    Execute(Vec<Variable>),
    Deny,
    Drop(io::Error),
}

impl Programs {
    pub(crate) fn new(
        words: &[Vec<u8>],
        (say, local_host, family): (Say, Option<Vec<u8>>, Family),
        inherited: Inherited,
        confinement: Confinement,
    ) -> io::Result<Self> {
        let name = words.first().cloned().unwrap_or_default();
        let args = words.iter().cloned().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let files = files(&name, inherited.get(b"PATH").unwrap_or(DEFAULT_PATH));
        let (starts, starter) = (starts(&files, &args, &confinement)?, Starter::new()?);
        let args = Strings::new(args.iter().map(CString::as_c_str));
        Ok(Self { say, local_host, family, inherited, name, files, args, confinement, starter, starts })
    }

    /// Says why the program could not be executed by that process, which has ended, where it could not.
    pub(crate) fn say_failure(&mut self, pid: ProcessId) {
        if let Some(why) = self.starts.as_mut().and_then(|starts| starts.failure(pid)) {
            self.say.warn(not_run(&self.name, &why));
        }
    }

    /// Makes the process of a connection, which executes the program, or says why not and ends.
    ///
    /// # Errors
    /// No process can be made.
    pub(crate) fn start(
        &mut self,
        connection: &Connection<'_>,
        socket: BorrowedFd<'_>,
        rules: Option<&Rules>,
    ) -> io::Result<ProcessId> {
        let interface = is_link_local(connection.remote.ip()).then(|| net::interface_of_peer(socket)).flatten();
        let peer = Peer {
            family: self.family_of(connection),
            local: connection.local,
            remote: connection.remote,
            local_host: self.local_host.as_deref().or(connection.local_host),
            remote_host: connection.remote_host,
            info: connection.info,
            interface: interface.as_deref().map(str::as_bytes),
        };
        let decision = decide(connection.decision, &peer, rules);
        let limit = match connection.decision {
            ConnectionDecision::Limit(limit) => std::str::from_utf8(limit).ok(),
            _ => None,
        };
        let process = Process::new(
            &peer,
            match &decision {
                Decision::Execute(_) => Outcome::Ok,
                Decision::Deny => Outcome::Deny(limit),
                Decision::Drop(_) => Outcome::Nothing,
            },
        );
        let variables: &[Variable] = if let Decision::Execute(variables) = &decision { variables } else { &[] };
        let variables = variables.iter().map(|variable| (variable.name.as_slice(), variable.value.as_slice()));
        let changes = Changes::of(&peer, variables);
        let env = self.inherited.with(&changes);
        if let (Decision::Execute(_), Some(starts)) = (&decision, &mut self.starts) {
            let env = Strings::new(env);
            let said = self.say.all().then(|| process.into_parts());
            return starts.start(Start { env, said }, socket);
        }
        let env = Borrowed::new(env);
        let image = Image {
            files: &self.files,
            args: &self.args,
            env: &env,
            connection: socket,
            confinement: &self.confinement,
        };
        let (say, name) = (self.say, &self.name);
        self.starter.run(&mut |pid| {
            say.pieces(process.pieces(starts::decimal(pid as isize, &mut [0; 10])));
            match &decision {
                Decision::Deny => DENIED,
                Decision::Drop(why) => {
                    say.warn(lines::dropped(&[
                        b"unable to read ",
                        rules_path(rules),
                        b": ",
                        words::of(why).as_bytes(),
                    ]));
                    FAILED
                }
                Decision::Execute(_) => {
                    let why = image.execute();
                    say.warn(not_run(name, &why));
                    FAILED
                }
            }
        })
    }

    /// A connection from an address of IPv6 can only have come to a socket of IPv6.
    fn family_of(&self, connection: &Connection<'_>) -> Family {
        match self.family {
            Family::V4 if connection.remote.is_ipv6() => Family::Dual,
            family => family,
        }
    }
}

fn not_run(name: &[u8], why: &io::Error) -> Vec<u8> {
    lines::dropped(&[b"unable to run ", name, b": ", words::of(why).as_bytes()])
}

/// For programs that are confined no further: what confines them takes more than the few calls that a start beside others may make.
fn starts(files: &[CString], args: &[CString], confinement: &Confinement) -> io::Result<Option<Starts>> {
    if !starts::POSSIBLE || !confinement.is_none_but_group() {
        return Ok(None);
    }
    let args = Strings::new(args.iter().map(CString::as_c_str));
    Starts::new(Program { files: files.to_vec(), args, own_group: confinement.own_group }).map(Some)
}

/// Of IPv6, fe80::/10: such an address means something by its interface alone.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn rules_path(rules: Option<&Rules>) -> &[u8] {
    rules.map(Rules::path).unwrap_or_default()
}

/// What the listener has judged, unless the rules, as read here, say that there is no connection.
fn decide(decision: ConnectionDecision<'_>, peer: &Peer<'_>, rules: Option<&Rules>) -> Decision {
    match decision {
        ConnectionDecision::Deny | ConnectionDecision::Limit(_) => return Decision::Deny,
        ConnectionDecision::Unreadable { errno } => {
            return Decision::Drop(io::Error::from_raw_os_error(i32::from(errno)));
        }
        ConnectionDecision::Serve => {}
    }
    let Some(rules) = rules else { return Decision::Execute(Vec::new()) };
    let ip = peer.shown(peer.remote.ip());
    let who = rules::Peer { ip: ip.as_bytes(), host: peer.remote_host, info: peer.info };
    match rules.judge(&who) {
        Ok(rules::RuleDecision::NoRule) => Decision::Execute(Vec::new()),
        Ok(rules::RuleDecision::Allow(variables)) => Decision::Execute(variables),
        Ok(rules::RuleDecision::Deny) => Decision::Deny,
        Err(why) => Decision::Drop(why),
    }
}

/// The files that a program's name may mean, in the order of PATH; an empty directory there is the working directory.
fn files(name: &[u8], path: &[u8]) -> Vec<CString> {
    if name.contains(&b'/') {
        return CString::new(name).into_iter().collect();
    }
    let directories = path.split(|octet| *octet == b':').map(|directory| match directory {
        b"" => b".".as_slice(),
        directory => directory,
    });
    directories.filter_map(|directory| CString::new([directory, b"/", name].concat()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The listener judges first, but it is the runner that starts programs.
    #[test]
    fn issue_11_the_runner_believes_no_listener_whom_the_rules_contradict() {
        let directory = std::env::temp_dir().join(format!("gatepost-decision-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("cdb");
        let whole = gatepost_ucspi::rules::source::compile(b"192.0.2.7:deny\n192.0.2.:allow,A=\"1\"\n").unwrap();
        let whole = whole.file().unwrap();
        let decided = |octets: &[u8], decision, ip: [u8; 4]| {
            std::fs::write(&path, octets).unwrap();
            let mut rules = Rules::new(path.as_os_str().as_encoded_bytes().to_vec(), false);
            rules.look().unwrap();
            let (local, remote) = (([192, 0, 2, 1], 25).into(), (ip, 1025).into());
            let (family, local_host, remote_host) = (Family::V4, None, None);
            let peer = Peer { family, local, remote, local_host, remote_host, info: None, interface: None };
            match decide(decision, &peer, Some(&rules)) {
                Decision::Execute(variables) => format!("execute {}", variables.len()),
                Decision::Deny => "deny".to_owned(),
                Decision::Drop(why) => format!("drop: {}", words::of(&why)),
            }
        };
        assert_eq!(decided(&whole, ConnectionDecision::Serve, [192, 0, 2, 8]), "execute 1");
        assert_eq!(decided(&whole, ConnectionDecision::Serve, [198, 51, 100, 1]), "execute 0");
        assert_eq!(decided(&whole, ConnectionDecision::Serve, [192, 0, 2, 7]), "deny");
        assert_eq!(decided(&whole, ConnectionDecision::Deny, [192, 0, 2, 8]), "deny");
        assert_eq!(decided(&whole[..2050], ConnectionDecision::Serve, [192, 0, 2, 8]), "drop: protocol error");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn issue_11_a_program_is_looked_for_as_the_original_does() {
        let found = |name: &str, path: &str| -> Vec<String> {
            files(name.as_bytes(), path.as_bytes()).iter().map(|file| file.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(found("x", "/a::/b"), ["/a/x", "./x", "/b/x"]);
        assert_eq!(found("./x", "/a"), ["./x"]);
        assert_eq!(found("x", ""), ["./x"]);
    }
}
