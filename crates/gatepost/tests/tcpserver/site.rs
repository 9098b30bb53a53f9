//! A host on which both programs do the same, one after the other, on the same port.

use gatepost_testkit::host::{self, Host};
use gatepost_testkit::run::{Ended, Process, run};
use gatepost_testkit::wait::{self, SOON};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitStatus;
use std::time::Duration;

/// The program under test, by a link of the original's name.
const OURS: &str = "/tmp/gatepost/tcpserver";
/// Debian's.
const ORIGINAL: &str = "/usr/bin/tcpserver";
/// Debian's with IPv6.
const IPV6_BUILD: &str = "/tmp/gatepost/tcpserver-ipv6";
/// Where they listen.
pub(crate) const PORT: u16 = 2525;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Original,
    Ours,
    /// Debian's other build; linked by the test that wants it.
    Ipv6Build,
}

impl Which {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Which::Original => ORIGINAL,
            Which::Ours => OURS,
            Which::Ipv6Build => IPV6_BUILD,
        }
    }
}

/// A host with both programs; None, with the reason on standard error, where there can be none.
pub(crate) fn site(test: &str, needs: &[&str]) -> Option<Host> {
    let host = host::for_test(test, &[&["tcpserver", "tcprules"], needs].concat())?;
    let line = format!("mkdir -p /tmp/gatepost && ln -s {} {OURS}", env!("CARGO_BIN_EXE_gatepost"));
    host.shell(&line).expect_ok("link");
    Some(host)
}

/// Does the same with both, and compares what comes of it.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, mut act: impl FnMut(Which) -> T) -> T {
    let original = act(Which::Original);
    let ours = act(Which::Ours);
    assert_eq!(ours, original, "{what}: ours, and the original's");
    ours
}

/// Runs a command line to its end: status, standard output, standard error.
pub(crate) fn ends(host: &Host, which: Which, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Ended { status, stdout, stderr } = run(host.command(which.path()).args(arguments));
    (status.code(), stdout, stderr)
}

/// A server.
pub(crate) struct Server<'h> {
    host: &'h Host,
    process: Process,
    which: Which,
}

impl<'h> Server<'h> {
    /// Starts `tcpserver LINE`, as a line of shell; `before` comes before it. It listens when this returns.
    pub(crate) fn start(host: &'h Host, which: Which, before: &str, line: &str) -> Server<'h> {
        let server = Self::begin(host, which, before, line);
        wait::holds("tcpserver to listen", SOON, || server.port().is_some());
        server
    }

    /// As [`Server::start`], without waiting.
    pub(crate) fn begin(host: &'h Host, which: Which, before: &str, line: &str) -> Server<'h> {
        let name = format!("{which:?}");
        host.shell(&format!("rm -f /tmp/{name}.port /tmp/{name}.err")).expect_ok("rm");
        let line = format!(
            "ulimit -c 0; cd /tmp; {before}\nexec {} -1 {line} >/tmp/{name}.port 2>/tmp/{name}.err",
            which.path()
        );
        let process = host.start("tcpserver", host.command("sh").args(["-c", &line]));
        Server { host, process, which }
    }

    /// The port that it has said.
    pub(crate) fn port(&self) -> Option<u16> {
        self.host.read(&format!("/tmp/{:?}.port", self.which)).trim().parse().ok()
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ours: the jailed process, its first child.
    pub(crate) fn listener(&self) -> u32 {
        gatepost_testkit::run::only_child(self.pid()).expect("a listener")
    }

    /// What it has said on descriptor 2, masked.
    pub(crate) fn said(&self) -> String {
        mask(&self.raw())
    }

    /// The same as it is.
    pub(crate) fn raw(&self) -> String {
        self.host.read(&format!("/tmp/{:?}.err", self.which))
    }

    /// Waits until it has said something so many times.
    pub(crate) fn wait_said(&self, word: &str, times: usize) {
        let probe = || (self.raw().matches(word).count() >= times).then_some(());
        assert!(
            wait::poll(SOON, &mut { probe }).is_some(),
            "{:?} did not say {word:?} {times} times but:\n{}",
            self.which,
            self.raw()
        );
    }

    pub(crate) fn connect(&self) -> TcpStream {
        self.connect_to("127.0.0.1")
    }

    pub(crate) fn connect_to(&self, ip: &str) -> TcpStream {
        let stream =
            self.host.connect(&std::net::SocketAddr::new(ip.parse().unwrap(), self.port().unwrap()).to_string());
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// A client that says `words` and nothing more: what it hears until the end.
    pub(crate) fn hear(&self, words: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(words.as_bytes()).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        rest(&mut stream)
    }

    pub(crate) fn signal(&mut self, name: &str) -> ExitStatus {
        assert!(self.process.signal(name), "{:?} is gone", self.which);
        self.process.wait(SOON)
    }

    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        self.process.wait(within)
    }

    pub(crate) fn signal_only(&mut self, name: &str) {
        assert!(self.process.signal(name), "{:?} is gone", self.which);
    }
}

/// A connection from an address of loopback, made on the host.
pub(crate) fn connect_from(host: &Host, from: [u8; 4]) -> TcpStream {
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], PORT));
    let stream: TcpStream = host.inside(|| gatepost_sys::net::connect_from(from.into(), to)).unwrap().into();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// What comes until the end of a connection.
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A program that has not read everything resets the connection when it ends.
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// Process ids and clients' ports, masked; lines that the original doesn't have, left out.
pub(crate) fn mask(said: &str) -> String {
    let ours = ["tcpserver: note: ", "tcpserver: refused "];
    let lines = said.lines().filter(|line| !ours.iter().any(|prefix| line.starts_with(prefix)));
    lines.map(|line| masked(line) + "\n").collect()
}

fn masked(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let verb = words.get(1).cloned().unwrap_or_default();
    if ["pid", "ok", "deny", "end"].contains(&verb.as_str()) && words[2].parse::<u32>().is_ok() {
        words[2] = "PID".to_owned();
        if ["ok", "deny"].contains(&verb.as_str())
            && let Some((start, port)) = words[4].clone().rsplit_once(':')
            && port.parse::<u16>().is_ok()
        {
            words[4] = format!("{start}:PORT");
        }
    }
    words.join(" ")
}

/// A program's environment as `env` prints it, masked and in order.
pub(crate) fn environment(text: &str) -> Vec<String> {
    let skipped = ["_=", "PWD=", "OLDPWD=", "SHLVL="];
    let mut all: Vec<String> = text
        .lines()
        .filter(|line| !skipped.iter().any(|prefix| line.starts_with(prefix)))
        .map(|line| match line.split_once('=') {
            Some((name @ ("TCPREMOTEPORT" | "TCP6REMOTEPORT"), _)) => format!("{name}=PORT"),
            _ => line.to_owned(),
        })
        .collect();
    all.sort();
    all
}
