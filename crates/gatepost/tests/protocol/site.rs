//! A gatepost before a server that counts, as a row of the dialogues wants it.

use crate::gate::{CERTIFICATE, Gate, HOSTNAME, KEY};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{HERE, Host};
use gatepost_testkit::obliging::{EVERYTHING, Obliging};
use gatepost_testkit::wait::{SOON, holds};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

/// What handoff keeps free of a backend's SIZE for the header fields that it adds.
const ADDED: u64 = 2048;
/// What the dialogues' server can take unless a row says otherwise.
const SIZE: u64 = 10_000;

/// How clients reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In clear.
    Plain,
    /// STARTTLS comes first.
    Tls,
}

/// gatepost, its backend, and the host's address that clients connect to.
pub(crate) struct Site<'h> {
    host: &'h Host,
    /// The server behind.
    pub(crate) backend: Obliging,
    /// The gate itself.
    pub(crate) gate: Gate<'h>,
}

/// The configuration around a backend; `mode` is the listener's, `more` may add tables.
pub(crate) fn config(backend: &str, mode: &str, more: &str) -> String {
    // RLIMIT_NPROC counts a user's processes on the whole machine, whatever host they are on: no two tests share ids.
    static NEXT: AtomicU32 = AtomicU32::new(71_000);
    let users = NEXT.fetch_add(10, Ordering::Relaxed);
    let tls = if mode == "off" { String::new() } else { pair(more) };
    format!(
        "hostname = \"{HOSTNAME}\"\nusers = {users}\n[[listen]]\naddress = \"{HERE}:25\"\ntls = \"{mode}\"\n{tls}\n\
         [relay]\ndomains = [\"ok.test\"]\n[backend]\n{backend}\n[limits]\nsessions_per_address = 1000\noffences = 0\n"
    )
}

fn pair(more: &str) -> String {
    format!("[tls]\ncertificate = \"{CERTIFICATE}\"\nkey = \"{KEY}\"\n{more}")
}

impl<'h> Site<'h> {
    /// As the settings of a row want it; none when the configuration cannot say one of them.
    pub(crate) fn start(host: &'h Host, settings: &[String]) -> Option<Site<'h>> {
        let mut extensions: Vec<String> = EVERYTHING.iter().map(|&line| line.to_owned()).collect();
        let (mut mode, mut more) = ("starttls", "");
        replace(&mut extensions, "SIZE", Some(format!("SIZE {}", SIZE + ADDED)));
        for setting in settings {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            match name {
                "whole" => {}
                "tls-required" => more = "required = true",
                "no-starttls" => mode = "off",
                "no-8bit" => replace(&mut extensions, "8BITMIME", None),
                "no-utf8" => replace(&mut extensions, "SMTPUTF8", None),
                "no-dsn" => replace(&mut extensions, "DSN", None),
                "size" => {
                    let size = value.parse::<u64>().unwrap() + ADDED;
                    replace(&mut extensions, "SIZE", Some(format!("SIZE {size}")));
                }
                "rcptmax" => extensions.push(format!("LIMITS RCPTMAX={value}")),
                _ => return None,
            }
        }
        let extensions: Vec<&str> = extensions.iter().map(String::as_str).collect();
        Some(Self::before(host, &extensions, mode, more))
    }

    /// Before a server with these extensions.
    pub(crate) fn before(host: &'h Host, extensions: &[&str], mode: &str, more: &str) -> Site<'h> {
        host.directory("/run/backend", 0, 0o755);
        let socket = host.path("/run/backend/smtp");
        let _ = std::fs::remove_file(&socket);
        let backend = Obliging::unix(&socket, extensions);
        let lines = "profile = \"smtp\"\nconnect = \"unix:/run/backend/smtp\"";
        let gate = Gate::start(host, &config(lines, mode, more));
        Site { host, backend, gate }
    }

    /// A client that has been greeted, and is inside TLS if that is its way.
    pub(crate) fn client(&self, way: Way) -> Client {
        Self::greeted(self.host.connect(&format!("{HERE}:25")), way)
    }

    /// A client as [`Site::client`] gives it, and the port that it comes from.
    pub(crate) fn client_and_port(&self, way: Way) -> (Client, u16) {
        let stream = self.host.connect(&format!("{HERE}:25"));
        let port = stream.local_addr().unwrap().port();
        (Self::greeted(stream, way), port)
    }

    fn greeted(stream: TcpStream, way: Way) -> Client {
        let mut client = Client::over(stream);
        client.expect(220);
        if way == Way::Tls {
            client.starttls(HOSTNAME);
        }
        client
    }

    /// Waits until the session of the client at `port` has read all that was sent: what is sent next is another read.
    pub(crate) fn wait_read(&self, port: u16) {
        let table = self.host.path("/proc/1/net/tcp");
        let client = format!(":{port:04X} ");
        holds("the session to read", SOON, || {
            let text = std::fs::read_to_string(&table).unwrap();
            // Columns: number, local, remote, state, transmit:receive queue.
            let ours =
                |line: &&str| line.split_whitespace().nth(2).is_some_and(|to| client.trim_end().ends_with(&to[8..]));
            let queue = text.lines().skip(1).find(ours).and_then(|line| line.split_whitespace().nth(4));
            queue.is_none_or(|queue| queue.ends_with(":00000000"))
        });
    }

    /// TERM, its end, and that nothing of it died on the way.
    pub(crate) fn stop(self) {
        holds("its sessions to end", SOON, || self.gate.sessions().is_empty());
        let said = self.gate.process.said();
        assert!(!said.contains("signal"), "{said}");
        self.gate.stop();
    }
}

fn replace(extensions: &mut Vec<String>, keyword: &str, by: Option<String>) {
    extensions.retain(|line| line.split(' ').next() != Some(keyword));
    extensions.extend(by);
}
