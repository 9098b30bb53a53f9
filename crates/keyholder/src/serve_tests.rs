//! The loop with real channels: the test is launcher, listener and sessions at once. The jail is not entered.

use super::*;
use gatepost_jail::ControlEnd;
use gatepost_tls::pair::Pair;
use gatepost_tls::recognise::Party;
use gatepost_tls::server::{AskSignature, config};
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::sign::{SIGNATURES_PER_SESSION, Sign};
use gatepost_wire::{Frame, LauncherToRole, RoleToLauncher};
use rustls::client::{ClientConfig, ClientConnection};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ServerConnection;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

type Announce = End<ListenerToKeyholder, Nothing>;
type Asker = End<SessionToKeyholder, KeyholderToSession>;

/// What a test waits at most for an answer that is due at once.
const PATIENCE: Duration = Duration::from_secs(20);

type Launcher = End<LauncherToRole, RoleToLauncher>;

struct Fixture {
    launcher: Launcher,
    keyholder: JoinHandle<Result<(), RoleError>>,
    chain: gatepost_wire::slice::Chain,
}

impl Fixture {
    /// A keyholder with one P-256 key that has not been told to go yet.
    fn new(most: usize) -> Fixture {
        Fixture::after(most, 4, |_| {})
    }

    /// One that finds these orders waiting, and looks at `batch` descriptors at once.
    fn after(most: usize, batch: usize, orders: impl FnOnce(&Launcher)) -> Fixture {
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = rcgen::CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
        let pem = key.serialize_pem();
        let chain = Pair::load(cert.pem().as_bytes(), pem.as_bytes(), [""; 0]).unwrap().chain;
        let load = |party| Keys::load(party, vec![pem.clone().into_bytes()]).unwrap();
        let keys = PerAsker { session: load(Party::Server), handoff: load(Party::Client) };
        let (control, launcher) = ControlEnd::pair().unwrap();
        launcher.seq().set_timeout(PATIENCE).unwrap();
        orders(&launcher);
        let epoll = Epoll::new(batch).unwrap();
        let keyholder = std::thread::spawn(move || serve(Control::new(Role::Keyholder, control), keys, epoll, most));
        Fixture { launcher, keyholder, chain }
    }

    /// One that serves, with a link to a listener.
    fn serving(most: usize) -> (Fixture, Announce) {
        let fixture = Fixture::new(most);
        let link = fixture.link();
        fixture.launcher.tell(&Order::Go).unwrap();
        assert_eq!(fixture.launcher.recv(&mut Inbox::new(64)).unwrap(), Report::Ready);
        (fixture, link)
    }

    fn link(&self) -> Announce {
        link(&self.launcher)
    }

    fn drained(self) {
        self.launcher.tell(&Order::Drain).unwrap();
        let end = self.launcher.recv(&mut Inbox::new(64));
        assert!(matches!(end, Err(ChannelError::Closed)), "instead of its end: {end:?}");
        self.keyholder.join().unwrap().unwrap();
    }
}

fn link(launcher: &Launcher) -> Announce {
    let (near, far) = Announce::pair().unwrap();
    launcher.tell_with(&Order::Peer(Role::Listener), &[far.as_fd()]).unwrap();
    near
}

fn announce(link: &Announce, id: u64) -> Asker {
    announce_of(link, id, Ipv4Addr::LOCALHOST)
}

fn announce_of(link: &Announce, id: u64, client: Ipv4Addr) -> Asker {
    let (near, far) = Asker::pair().unwrap();
    link.tell_with(&OpenKey { id: SessionId(id), client: client.into() }, &[far.as_fd()]).unwrap();
    near.seq().set_timeout(PATIENCE).unwrap();
    near
}

fn verify() -> Vec<u8> {
    [&[0x20; 64][..], b"TLS 1.3, server CertificateVerify\0", &[7; 32]].concat()
}

fn ask(asker: &Asker, message: &[u8]) -> Result<Vec<u8>, ChannelError> {
    asker.tell(&Sign { pair: 0, scheme: 0x0403, message })?;
    Ok(asker.recv(&mut Inbox::new(INBOX))?.0.to_vec())
}

fn is_served(asker: &Asker) {
    assert!(!ask(asker, &verify()).unwrap().is_empty());
}

/// The channel was closed from the other side, within the time that an answer takes.
fn is_closed(asker: &Asker, what: &str) {
    match asker.recv(&mut Inbox::new(INBOX)) {
        Err(ChannelError::Closed) => {}
        other => panic!("{what}: {other:?}"),
    }
}

#[derive(Debug)]
struct Remote(Mutex<Asker>);

impl AskSignature for Remote {
    fn sign(&self, pair: u8, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let asker = self.0.lock().unwrap();
        asker.tell(&Sign { pair, scheme, message })?;
        Ok(asker.recv(&mut Inbox::new(INBOX))?.0.to_vec())
    }
}

#[test]
fn p5_a_session_shakes_hands_with_a_key_in_another_room() {
    let (fixture, link) = Fixture::serving(8);
    let server = config(std::slice::from_ref(&fixture.chain), false, Box::new(Remote(Mutex::new(announce(&link, 1)))));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(fixture.chain.certificates[0].clone())).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mx.example.org").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(server.unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    drop((client, server));
    fixture.drained();
}

#[test]
fn p5_every_abuse_costs_its_own_channel_and_no_other() {
    let (fixture, link) = Fixture::serving(64);
    let bystander = announce(&link, 0);
    is_served(&bystander);
    let good = verify();
    let sign = Sign { pair: 0, scheme: 0x0403, message: &good };
    let mut two = Frame::of(&sign).unwrap();
    assert_eq!(two.push(&sign), Ok(true));
    let raw = |body: &[u8]| [&[1][..], &u16::try_from(body.len()).unwrap().to_le_bytes(), body].concat();
    let client = [&[0x20; 64][..], b"TLS 1.3, client CertificateVerify\0", &[7; 32]].concat();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("a chosen message", Frame::of(&Sign { message: b"I owe you", ..sign }).unwrap().bytes().to_vec()),
        ("a client's CertificateVerify", Frame::of(&Sign { message: &client, ..sign }).unwrap().bytes().to_vec()),
        ("a pair that is not there", Frame::of(&Sign { pair: 1, ..sign }).unwrap().bytes().to_vec()),
        ("a scheme of another key", Frame::of(&Sign { scheme: 0x0804, ..sign }).unwrap().bytes().to_vec()),
        ("two questions in one frame", two.bytes().to_vec()),
        ("no question", vec![1]),
        ("another version", vec![2]),
        ("a question that ends early", Frame::of(&sign).unwrap().bytes()[..20].to_vec()),
        ("an octet after the question", raw(&[0, 3, 4, 1, 0, 9, 9])),
        ("an empty message", raw(&[])),
        ("a length beyond the frame", vec![1, 255, 255, 0]),
        ("a message beyond its limit", raw(&[&[0, 3, 4, 1, 2][..], &[0x20; 513]].concat())),
        ("a frame beyond the buffer", vec![1; 2 * INBOX]),
        ("an empty frame", vec![]),
    ];
    for ((what, frame), id) in rows.iter().zip(1..) {
        let asker = announce(&link, id);
        asker.seq().send(frame, &[]).unwrap();
        is_closed(&asker, what);
    }
    let asker = announce(&link, 98);
    asker.tell_with(&sign, &[link.as_fd()]).unwrap();
    is_closed(&asker, "a descriptor");
    let asker = announce(&link, 99);
    for _ in 0..SIGNATURES_PER_SESSION {
        is_served(&asker);
    }
    asker.tell(&sign).unwrap();
    is_closed(&asker, "one signature more");
    is_served(&bystander);
    drop(bystander);
    fixture.drained();
}

/// What all keyholders of this program log.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Writes there.
struct Log;

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn offences_do_not_fill_the_log() {
    // No other test has sessions with these numbers. Of all threads, since tracing may keep in mind that the first thread that came to a
    // line wanted none.
    const MANY: Range<u64> = 0x1000_0000..0x1000_0000 + 1000;
    tracing::subscriber::set_global_default(tracing_subscriber::fmt().with_writer(|| Log).finish()).unwrap();
    let (fixture, link) = Fixture::serving(8);
    let offend = |id: u64, client: Ipv4Addr| {
        let asker = announce_of(&link, id, client);
        asker.seq().send(&[2], &[]).unwrap();
        is_closed(&asker, "another version");
    };
    for id in MANY {
        offend(id, Ipv4Addr::new(192, 0, 2, 9));
    }
    // What is not written about one client is no reason not to write about another.
    offend(MANY.end, Ipv4Addr::new(198, 51, 100, 1));
    fixture.drained();
    let lines = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    let of = |id: u64| lines.lines().filter(|line| line.contains(&format!("session={}", SessionId(id)))).count();
    let written: usize = MANY.map(of).sum();
    assert!((1..500).contains(&written), "{written} lines of one client:\n{lines}");
    assert_eq!(of(MANY.end), 1, "{lines}");
}

#[test]
fn p5_a_session_that_asks_without_listening_blocks_nobody() {
    let (fixture, link) = Fixture::serving(8);
    let full = announce(&link, 1);
    full.seq().set_nonblocking(true).unwrap();
    let good = verify();
    let sign = Sign { pair: 0, scheme: 0x0403, message: &good };
    let other = announce(&link, 2);
    let mut sent = 0;
    while full.tell(&sign).is_ok() && sent < 10_000 {
        sent += 1;
    }
    is_served(&other);
    drop((full, other));
    fixture.drained();
}

#[test]
fn p5_handoff_gets_signatures_of_a_client_and_does_not_keep_the_keyholder_from_its_end() {
    let (fixture, link) = Fixture::serving(8);
    let linked = || {
        let (near, far) = Asker::pair().unwrap();
        near.seq().set_timeout(PATIENCE).unwrap();
        fixture.launcher.tell_with(&Order::Peer(Role::Handoff), &[far.as_fd()]).unwrap();
        near
    };
    let client = [&[0x20; 64][..], b"TLS 1.3, client CertificateVerify\0", &[7; 32]].concat();
    let handoff = linked();
    for _ in 0..2 * SIGNATURES_PER_SESSION {
        assert!(!ask(&handoff, &client).unwrap().is_empty());
    }
    // A handoff that is owned gets nothing for a server, and loses its channel; a session gets nothing for a client.
    handoff.tell(&Sign { pair: 0, scheme: 0x0403, message: &verify() }).unwrap();
    is_closed(&handoff, "a server's CertificateVerify");
    let session = announce(&link, 1);
    session.tell(&Sign { pair: 0, scheme: 0x0403, message: &client }).unwrap();
    is_closed(&session, "a client's CertificateVerify");
    is_served(&announce(&link, 2));
    assert!(!ask(&linked(), &client).unwrap().is_empty());
    fixture.drained();
}

/// The listener may still hold its copy of the keyholder's end: a closed descriptor then stays in an epoll.
#[test]
fn a_channel_is_done_with_even_while_another_process_holds_a_copy() {
    let (fixture, link) = Fixture::serving(8);
    let (asker, copy) = Asker::pair().unwrap();
    link.tell_with(&OpenKey { id: SessionId(1), client: Ipv4Addr::LOCALHOST.into() }, &[copy.as_fd()]).unwrap();
    is_served(&asker);
    drop(asker);
    fixture.drained();
    drop(copy);
}

#[test]
fn more_sessions_than_places_do_without() {
    let (fixture, link) = Fixture::serving(2);
    let (first, second, third) = (announce(&link, 1), announce(&link, 2), announce(&link, 3));
    is_closed(&third, "a third of two");
    is_served(&first);
    is_served(&second);
    drop(first);
    // The place is free when the keyholder has seen the end of the first, which it may see after the announcement.
    assert!((0..10_000).any(|_| ask(&announce(&link, 4), &verify()).is_ok()));
    drop(second);
    fixture.drained();
}

#[test]
fn a_link_is_heard_after_go_only() {
    let fixture = Fixture::new(8);
    let link = fixture.link();
    let asker = announce(&link, 1);
    asker.tell(&Sign { pair: 0, scheme: 0x0403, message: &verify() }).unwrap();
    fixture.launcher.tell(&Order::Go).unwrap();
    let mut inbox = Inbox::new(INBOX);
    assert_eq!(fixture.launcher.recv(&mut inbox).unwrap(), Report::Ready);
    assert!(!asker.recv(&mut inbox).unwrap().0.is_empty());
    drop(asker);
    fixture.drained();
}

#[test]
fn sessions_outlive_their_listener_and_a_new_one_is_heard() {
    let (fixture, old) = Fixture::serving(8);
    let first = announce(&old, 1);
    is_served(&first);
    let new = fixture.link();
    let second = announce(&new, 2);
    is_served(&second);
    let third = announce(&old, 3);
    is_served(&third);
    drop(old);
    is_served(&first);
    drop((first, second, third));
    fixture.drained();
}

#[test]
fn a_listener_that_breaks_the_rules_takes_no_session_with_it() {
    let hostile: [(&str, &[u8], usize); 4] = [
        ("no descriptor", &[1, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8], 0),
        ("two descriptors", &[1, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8], 2),
        ("a message that ends early", &[1, 4, 0, 1, 2, 3, 4], 1),
        ("too long", &[1; 4096], 1),
    ];
    for (what, frame, fds) in hostile {
        let (fixture, link) = Fixture::serving(8);
        let asker = announce(&link, 1);
        is_served(&asker);
        link.seq().set_timeout(PATIENCE).unwrap();
        link.seq().send(frame, &vec![link.as_fd(); fds]).unwrap();
        assert!(matches!(link.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)), "{what}");
        is_served(&asker);
        is_served(&announce(&fixture.link(), 2));
        drop(asker);
        fixture.drained();
    }
}

#[test]
fn draining_ends_with_the_last_session_and_not_before() {
    let (fixture, link) = Fixture::serving(8);
    let old = announce(&link, 1);
    is_served(&old);
    // Announced before the order, perhaps not read before it.
    let young = announce(&link, 2);
    fixture.launcher.tell(&Order::Drain).unwrap();
    is_served(&young);
    drop(young);
    is_served(&old);
    assert!(!fixture.keyholder.is_finished());
    drop(old);
    fixture.keyholder.join().unwrap().unwrap();
    assert!(matches!(fixture.launcher.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
}

/// The order to drain may overtake the announcement of a session that was accepted before it.
#[test]
fn draining_serves_what_was_announced_and_not_yet_read() {
    let mut asker = None;
    let fixture = Fixture::after(8, 1, |launcher| {
        asker = Some(announce(&link(launcher), 1));
        launcher.tell(&Order::Go).unwrap();
        launcher.tell(&Order::Drain).unwrap();
    });
    is_served(asker.as_ref().unwrap());
    drop(asker);
    fixture.keyholder.join().unwrap().unwrap();
}

#[test]
fn a_keyholder_without_launcher_or_with_wrong_orders_ends() {
    let orders: [(&str, Option<Order>, bool); 6] = [
        ("launcher gone", None, false),
        ("a socket", Some(Order::Socket(0)), true),
        ("a link with another role", Some(Order::Peer(Role::Nursery)), true),
        ("a link without descriptor", Some(Order::Peer(Role::Listener)), false),
        ("a descriptor with Go", Some(Order::Go), true),
        ("a descriptor with Drain", Some(Order::Drain), true),
    ];
    for (what, order, with) in orders {
        let fixture = Fixture::new(8);
        let (spare, _far) = Announce::pair().unwrap();
        if let Some(order) = order {
            let fds = [spare.as_fd()];
            fixture.launcher.tell_with(&order, if with { &fds } else { &[] }).unwrap();
        }
        let expected_order = order.is_some();
        let Fixture { launcher, keyholder, .. } = fixture;
        let launcher = expected_order.then_some(launcher);
        match keyholder.join().unwrap() {
            Err(RoleError::Order(_)) if expected_order => {}
            Err(RoleError::LauncherGone) if !expected_order => {}
            other => panic!("{what}: {other:?}"),
        }
        drop(launcher);
    }
}
