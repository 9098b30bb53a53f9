//! A running escape room on a host of its own, with a backend that writes everything down.

use crate::secret;
use crate::table::{Expect, Row};
use gatepost_sys::net;
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::name_server::{NameServer, Rcode, Said, nothing};
use gatepost_testkit::rogue::{Mta, Speaks, Taken};
use gatepost_testkit::run::Process;
use gatepost_testkit::{facts, wait};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const DIRECTORY: &str = "/var/lib/escape-room";
const BACKEND: &str = "127.0.0.1:2527";
pub(crate) const HONEST: &str = "127.0.0.1:2525";
const HOSTILE: &str = "127.0.0.1:2526";
const SUBMISSION: &str = "127.0.0.1:2587";
const HOSTILE_ANYWHERE: &str = "0.0.0.0:2526";
/// Two logins whose passwords are "secret" and "other", by hashes that take no time.
const PASSWD: &str = "joe@ok.test:$2b$05$ym.1.W2GyZLffGpp9WvzA.TqFXMEbJVAfOT8.QbBsKmbuEpgM9Qv2\n\
    ann@ok.test:$2b$04$abcdefghijklmnopqrstuu0HtfOlPbTiymk5tcV.3TsFPDd3SYZqu\n";
/// Where the escape room asks for names.
const NAME_SERVERS: [&str; 2] = ["127.0.0.53:53", "[::1]:53"];
/// Owner of the receiver's directories.
const RECEIVER: u32 = 61_005;
const HONEST_SENDER: &str = "honest@road.test";
/// No order takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of an order.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The line that it said; empty when it said nothing more.
    pub(crate) said: String,
    client: SocketAddr,
}

pub(crate) struct Room {
    host: Host,
    _names: [NameServer; 2],
    gatepost: Process,
    backend: Mta,
    clients: u32,
    key: rcgen::KeyPair,
    /// Logins are known to a program.
    checker: bool,
    /// Descriptors of each role before the first attempt.
    descriptors: BTreeMap<String, usize>,
}

impl Room {
    /// Opens one, and lets an honest message pass through it.
    pub(crate) fn open(test: &str) -> Option<Room> {
        Room::open_with(test, None)
    }

    /// As [`Room::open`], with a checkpassword program of this text.
    pub(crate) fn open_with(test: &str, checkpassword: Option<&str>) -> Option<Room> {
        let mut room = Room::furnish_with(test, &[], BACKEND, checkpassword)?;
        room.honest();
        room.wait_whole();
        room.descriptors = room.count_descriptors();
        Some(room)
    }

    /// Starts one in front of `backend`: the address of the one that writes everything down, or `receiver`.
    pub(crate) fn furnish(test: &str, needs: &[&str], backend: &str) -> Option<Room> {
        Room::furnish_with(test, needs, backend, None)
    }

    fn furnish_with(test: &str, needs: &[&str], backend: &str, checkpassword: Option<&str>) -> Option<Room> {
        let host = host::for_test(test, needs)?;
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["escape.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        host.directory(&format!("{DIRECTORY}/spool"), 0, 0o755);
        host.write(&format!("{DIRECTORY}/cert.pem"), &certificate.pem());
        host.write_with(&format!("{DIRECTORY}/key.pem"), &key.serialize_pem(), 0o600);
        host.write_with(&format!("{DIRECTORY}/passwd"), PASSWD, 0o600);
        if let Some(program) = checkpassword {
            host.write_with(&format!("{DIRECTORY}/checkpassword"), program, 0o755);
        }
        for directory in ["Maildir", "Maildir/tmp", "Maildir/new", "Maildir/cur", "lmtp"] {
            host.directory(&format!("{DIRECTORY}/{directory}"), RECEIVER, 0o755);
        }
        // They fail by TCP, so that each look-up asks both, by all ways that there are.
        let failing = Said { cut: true, ..nothing(Rcode::SERVFAIL, None) };
        let names = host.inside(|| NAME_SERVERS.map(|address| NameServer::at(address.parse().unwrap(), &[], &failing)));
        let mut command = host.command(crate::BINARY);
        command.args(["serve", DIRECTORY, backend, HONEST, HOSTILE_ANYWHERE, SUBMISSION]);
        let listening = if backend == "receiver" { BACKEND } else { backend };
        let backend = Mta::tcp(host.listen(listening), Speaks::Smtp);
        let mut gatepost = host.start("escape-room", &mut command);
        gatepost.wait_said("ready", wait::SOON);
        Some(Room {
            host,
            _names: names,
            gatepost,
            backend,
            clients: 0,
            key,
            checker: checkpassword.is_some(),
            descriptors: BTreeMap::new(),
        })
    }

    /// Processes of gatepost by name, the launcher first.
    pub(crate) fn roles(&self) -> Vec<(String, u32)> {
        let name = |pid: u32| facts::status(pid).get("Name").cloned();
        facts::tree(self.gatepost.pid()).into_iter().filter_map(|pid| Some((name(pid)?, pid))).collect()
    }

    fn count_descriptors(&self) -> BTreeMap<String, usize> {
        self.roles().into_iter().map(|(name, pid)| (name, facts::descriptors(pid).len())).collect()
    }

    /// Waits until there is one process of each role and nothing else: no session, no nursery that has been replaced.
    pub(crate) fn wait_whole(&self) {
        wait::holds("one process of each role, and no session", wait::SOON, || {
            let mut names: Vec<String> = self.roles().into_iter().skip(1).map(|(name, _)| name).collect();
            names.sort();
            // It is where there is a program to run.
            names.retain(|name| !(self.checker && name == "gp-checker"));
            names
                == [
                    "gp-auth",
                    "gp-dialer",
                    "gp-handoff",
                    "gp-keyholder",
                    "gp-listener",
                    "gp-nursery",
                    "gp-observer",
                    "gp-resolver",
                ]
        });
    }

    /// Kills the observer and waits until each of `roles` logs to the new one.
    pub(crate) fn replace_observer(&self, roles: &[&str]) {
        let logs = || -> Vec<Option<PathBuf>> {
            let pid = |role: &&str| self.roles().into_iter().find(|(name, _)| name == role).map(|(_, pid)| pid);
            roles.iter().map(|role| std::fs::read_link(format!("/proc/{}/fd/2", pid(role)?)).ok()).collect()
        };
        let before = logs();
        let observer = self.roles().into_iter().find(|(name, _)| name == "gp-observer").expect("an observer").1;
        assert!(gatepost_testkit::run::signal(observer, "KILL"));
        wait::holds("another log for each role", wait::SOON, || {
            logs().iter().zip(&before).all(|(now, before)| now.is_some() && now != before)
        });
    }

    /// Everything that gatepost has written to its log.
    pub(crate) fn said(&self) -> String {
        self.gatepost.said()
    }

    /// Writes a file of the host's.
    pub(crate) fn leave(&self, path: &str, text: &str) {
        self.host.write(path, text);
    }

    /// On the host's network.
    pub(crate) fn inside<T: Send>(&self, visit: impl FnOnce() -> T + Send) -> T {
        self.host.inside(visit)
    }

    /// Waits until gatepost has written this to its log.
    pub(crate) fn wait_said(&mut self, words: &str) {
        self.gatepost.wait_said(words, wait::SOON);
    }

    /// A connection from an address that none has come from before: a crash earns its client a penalty.
    pub(crate) fn connect(&mut self, to: &str) -> (TcpStream, SocketAddr) {
        self.clients += 1;
        let stream = self.connect_again(to);
        let address = stream.local_addr().unwrap();
        (stream, address)
    }

    /// One more from the address of the last.
    pub(crate) fn connect_again(&self, to: &str) -> TcpStream {
        let [_, a, b, c] = self.clients.to_be_bytes();
        let from = IpAddr::V4(Ipv4Addr::new(127, 1 + a, b, c));
        let to: SocketAddr = to.parse().unwrap();
        self.host.inside(|| TcpStream::from(net::connect_from(from, to).expect("a connection")))
    }

    /// A session like any other, with a message that arrives.
    pub(crate) fn honest(&mut self) {
        let (stream, address) = self.connect(HONEST);
        let mut client = Client::over(stream);
        client.hello("honest.test");
        if self.clients.is_multiple_of(8) {
            client.starttls("escape.test");
            client.ask("EHLO honest.test", 250);
        }
        client.deliver(HONEST_SENDER, "bob@ok.test", "Subject: honest\r\n\r\nhello\r\n");
        client.ask("QUIT", 221);
        let address = address.ip().to_string();
        let ours: Vec<Taken> = self.backend.taken().into_iter().filter(|taken| taken.peer == address).collect();
        assert_eq!(ours.len(), 1, "messages from {address}");
        assert_eq!((ours[0].from.as_str(), ours[0].to.join(" ").as_str()), (HONEST_SENDER, "bob@ok.test"));
    }

    /// Gives an owned session an order, and hears what came of it.
    pub(crate) fn order(&mut self, order: &str) -> Answer {
        self.order_while(HOSTILE, order, |_| ())
    }

    /// As [`Room::order`], where mail is submitted.
    pub(crate) fn order_to_submit(&mut self, order: &str) -> Answer {
        self.order_while(SUBMISSION, order, |_| ())
    }

    fn order_while(&mut self, to: &str, order: &str, meanwhile: impl FnOnce(&mut Room)) -> Answer {
        let (mut stream, client) = self.connect(to);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{order}\r\n").as_bytes()).unwrap();
        meanwhile(self);
        let mut said = String::new();
        match BufReader::new(&stream).read_line(&mut said) {
            Ok(_) => {}
            // When a process is killed with octets unread, its connection ends with a reset.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(e) => panic!("{order}: {e}"),
        }
        Answer { said: said.trim_end().to_owned(), client }
    }

    /// An owned session that stays until the stream is dropped.
    pub(crate) fn stay(&mut self, order: &str) -> TcpStream {
        let (mut stream, _) = self.connect(HOSTILE);
        stream.write_all(format!("{order}\r\n").as_bytes()).unwrap();
        let mut said = String::new();
        BufReader::new(&stream).read_line(&mut said).unwrap();
        assert_eq!(said, "stays\r\n");
        stream
    }

    /// The one session there is.
    pub(crate) fn session(&self) -> u32 {
        let sessions: Vec<u32> =
            self.roles().into_iter().filter(|(name, _)| name == "gp-session").map(|(_, pid)| pid).collect();
        assert_eq!(sessions.len(), 1);
        sessions[0]
    }

    /// The signal that the listener was told the session of `client` died by.
    fn signal_of(&self, client: SocketAddr) -> u8 {
        let mark = format!("client={client} signal=");
        wait::until(&format!("word of how the session of {client} died"), wait::SOON, || {
            let log = self.gatepost.said();
            let rest = &log[log.find(&mark)? + mark.len()..];
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })
    }

    /// Makes an attempt while an honest session is served, and holds everything against what must be.
    pub(crate) fn attempt(&mut self, row: &Row) {
        self.attempt_at(HOSTILE, row);
    }

    /// As [`Room::attempt`], where mail is submitted.
    pub(crate) fn attempt_to_submit(&mut self, row: &Row) {
        self.attempt_at(SUBMISSION, row);
    }

    fn attempt_at(&mut self, to: &str, row: &Row) {
        let what =
            if row.argument.is_empty() { row.name.to_owned() } else { format!("{}: {}", row.name, row.argument) };
        let begun = std::time::Instant::now();
        let (messages, lines) = (self.backend.count(), self.backend.lines().len());
        let answer = self.order_while(to, &what, Room::honest);
        match row.expect {
            Expect::Killed(signals) => {
                assert_eq!(answer.said, "", "{what}: the session lived to say it");
                let signal = self.signal_of(answer.client);
                assert!(signals.contains(&signal), "{what}: died by signal {signal}");
            }
            Expect::Says(words) => assert_eq!(answer.said, words, "{what}"),
            Expect::SaysOneOf(words) => assert!(words.contains(&answer.said.as_str()), "{what}: {}", answer.said),
            Expect::UpTo(most) => {
                let number: u64 = answer.said.parse().unwrap_or_else(|_| panic!("{what}: {}", answer.said));
                assert!((1..=most).contains(&number), "{what}: {number}");
            }
        }
        self.honest();
        let taken: Vec<Taken> = self.backend.taken().split_off(messages);
        let ours: Vec<&Taken> = taken.iter().filter(|taken| taken.from != HONEST_SENDER).collect();
        self.check_messages(&what, row, &answer, &ours);
        self.check_lines(&what, &self.backend.lines()[lines..]);
        self.wait_whole();
        wait::holds(&format!("{what}: nobody holds more than before"), wait::SOON, || {
            self.count_descriptors() == self.descriptors
        });
        println!("{what} -> {} ({} ms)", answer.said, begun.elapsed().as_millis());
    }

    /// What an owned session brought to the backend.
    fn check_messages(&self, what: &str, row: &Row, answer: &Answer, taken: &[&Taken]) {
        let loose = matches!(row.expect, Expect::SaysOneOf(_));
        let expected = if loose { usize::from(answer.said == "250 Ok") } else { row.messages };
        assert_eq!(taken.len(), expected, "{what}: messages at the backend");
        for message in taken {
            let client = answer.client.ip().to_string();
            assert_eq!(message.peer, client, "{what}: the client's address");
            assert_eq!(message.to, ["alice@ok.test"], "{what}: recipients");
            let received = message.content.split("\r\n").next().unwrap();
            let shown = format!("[{client}]");
            assert!(received.starts_with("Received: from ") && received.contains(&shown), "{what}: {received}");
            // A claimed address may appear in a comment, as what the client said, and never in place of the real one.
            let claim = received.replace("(helo", "");
            assert!(!claim.contains("([198.51.100.66])"), "{what}: {received}");
            assert!(loose || !message.content.contains("DOES NOT END"), "{what}");
        }
    }

    /// No command at the backend has text that only an owned session could have put there.
    fn check_lines(&self, what: &str, lines: &[String]) {
        for line in lines {
            assert!(!line.contains("INJECTED"), "{what}: the backend was told {line:?}");
            let claims = line.split(' ').filter(|word| word.starts_with("ADDR="));
            assert!(claims.clone().all(|word| word.starts_with("ADDR=127.")), "{what}: {line:?}");
            assert!(claims.count() == usize::from(line.starts_with("XCLIENT")), "{what}: {line:?}");
        }
    }

    /// What the private key looks like in memory.
    pub(crate) fn key_needles(&self) -> Vec<Vec<u8>> {
        secret::needles_of(&self.key.serialize_pem(), &self.key.serialize_der())
    }

    /// Tells gatepost to end, twice when there are sessions that do not end, and checks that nothing is left.
    pub(crate) fn close(mut self) {
        assert!(self.gatepost.signal("TERM"));
        wait::holds("draining", wait::SOON, || self.gatepost.said().contains("draining"));
        if self.roles().iter().any(|(name, _)| name == "gp-session") {
            assert!(self.gatepost.signal("TERM"));
        }
        assert!(self.gatepost.wait(wait::SOON).success());
        wait::holds("no process is left", wait::SOON, || self.host.processes().is_empty());
        let left = std::fs::read_dir(self.host.path(&format!("{DIRECTORY}/spool/content"))).unwrap().count();
        assert_eq!(left, 0, "content files are left");
    }
}
