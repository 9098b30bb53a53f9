//! The listener between a launcher, a nursery, a keyholder and a handoff of the test's own.

mod auth;
mod incoming;
mod keys;
mod screen;
mod slots;

use crate::serve;
use crate::slot_waits::Waits;
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_smtp::envelope::{CloseReason, Reason, Service, Verdict};
use gatepost_smtp::keyword::Keywords;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::link::{self, Ended, HandoffOrder, Left, NurseryOrder, Open, OpenKey, SessionId, Start};
use gatepost_wire::session::{Answer, Ask};
use gatepost_wire::slice::{EarlyTalk, ListenerSlice, Screen, Slice, TlsMode};
use gatepost_wire::terms::{NetworksSlice, TermsFor};
use gatepost_wire::{
    HandoffToListener, HandoffToSession, KeyholderToSession, LauncherToRole, ListenerToHandoff, ListenerToKeyholder,
    ListenerToNursery, Nothing, NurseryToListener, RoleToLauncher, SessionToHandoff, SessionToKeyholder, sign,
};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::task::LocalSet;

type Launcher = End<LauncherToRole, RoleToLauncher>;
type Nursery = End<NurseryToListener, ListenerToNursery>;
type Handoff = End<HandoffToListener, ListenerToHandoff>;
type Keyholder = End<Nothing, ListenerToKeyholder>;

/// Longest wait for anything that must happen: only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

fn slice(sessions: u32, per_address: u32) -> ListenerSlice {
    ListenerSlice {
        listeners: vec![TlsMode::Off, TlsMode::StartTls, TlsMode::Implicit],
        services: vec![Service::Relay; 2],
        hostname: "mx.example.org".to_owned(),
        sessions,
        sessions_per_address: per_address,
        offences: 30,
        connections: None,
        proxy_from: Vec::new(),
        screen: Screen {
            early_talk: EarlyTalk::Off,
            pause: 0,
            waiting: 64,
            lists: Vec::new(),
            defer_at: 0,
            refuse_at: 0,
            untested: Vec::new(),
        },
    }
}

/// A listener that runs in a thread, and all that it is linked to.
struct Fixture {
    launcher: Launcher,
    listener: Option<JoinHandle<Result<(), String>>>,
    addresses: Vec<SocketAddr>,
}

impl Fixture {
    fn new(slice: ListenerSlice) -> Self {
        Self::with(slice, Waits::default())
    }

    fn with(slice: ListenerSlice, waits: Waits) -> Self {
        let (launcher, control) = End::<LauncherToRole, RoleToLauncher>::pair().unwrap();
        launcher.seq().set_timeout(PATIENCE).unwrap();
        let listener = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().unwrap();
            LocalSet::new()
                .block_on(&runtime, serve(control, slice, crate::unasked::watch().unwrap(), waits))
                .map_err(|e| e.to_string())
        });
        Self { launcher, listener: Some(listener), addresses: Vec::new() }
    }

    /// One listening socket for each TLS mode, all links, and open.
    fn open(slice: ListenerSlice) -> (Self, Nursery, Handoff, Keyholder) {
        Self::open_with(slice, Waits { slot: Duration::from_millis(1), ..Waits::default() })
    }

    fn open_with(slice: ListenerSlice, waits: Waits) -> (Self, Nursery, Handoff, Keyholder) {
        let mut fixture = Self::with(slice, waits);
        let (nursery, handoff, keyholder) =
            (fixture.link(Role::Nursery), fixture.link(Role::Handoff), fixture.link(Role::Keyholder));
        for index in 0..3 {
            fixture.socket(index);
        }
        fixture.go();
        (fixture, nursery, handoff, keyholder)
    }

    fn link<Out: gatepost_wire::Direction, In: gatepost_wire::Direction>(&self, role: Role) -> End<Out, In> {
        let (ours, theirs) = End::<Out, In>::pair().unwrap();
        ours.seq().set_timeout(PATIENCE).unwrap();
        self.launcher.tell_with(&Order::Peer(role), &[theirs.as_fd()]).unwrap();
        ours
    }

    fn socket(&mut self, index: u8) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        self.addresses.push(listener.local_addr().unwrap());
        self.launcher.tell_with(&Order::Socket(index), &[listener.as_fd()]).unwrap();
    }

    fn go(&self) {
        self.launcher.tell(&Order::Go).unwrap();
        assert_eq!(self.launcher.recv(&mut Inbox::new(64)).unwrap(), Report::Ready);
    }

    /// What is different for some networks, from the next connection on.
    fn networks(&self, different: Vec<TermsFor>) {
        let mut memory = gatepost_sys::process::memory().unwrap();
        memory.write_all(&NetworksSlice { relay: Vec::new(), different }.to_bytes().unwrap()).unwrap();
        let memory = gatepost_sys::process::seal(memory).unwrap();
        self.launcher.tell_with(&Order::Networks, &[memory.as_fd()]).unwrap();
    }

    fn connect(&self, socket: usize) -> TcpStream {
        let client = TcpStream::connect(self.addresses[socket]).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// From an address of a /16 of its own, `block` and `host` being its second and fourth octets.
    fn connect_from(&self, block: u8, host: u8) -> TcpStream {
        let from = Ipv4Addr::new(127, block, 0, host);
        let client = TcpStream::from(gatepost_sys::net::connect_from(from.into(), self.addresses[0]).unwrap());
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    fn drain(self) -> Result<(), String> {
        self.launcher.tell(&Order::Drain).unwrap();
        self.outcome()
    }

    /// How the listener ends, having been told already.
    fn outcome(mut self) -> Result<(), String> {
        self.listener.take().unwrap().join().unwrap()
    }
}

fn start(nursery: &Nursery) -> (Start, Vec<OwnedFd>) {
    match nursery.recv_with(&mut Inbox::new(64)).unwrap() {
        (NurseryOrder::Start(start), fds) => (start, fds),
        (other, _) => panic!("a session should begin, not {other:?}"),
    }
}

fn opened(handoff: &Handoff) -> (Open, Vec<OwnedFd>) {
    match handoff.recv_with(&mut Inbox::new(256)).unwrap() {
        (HandoffOrder::Open(open), fds) => (open, fds),
        (other, _) => panic!("a session should begin, not {other:?}"),
    }
}

/// The session that handoff is to tell to leave; those that begin before are passed over.
fn leave(handoff: &Handoff) -> SessionId {
    loop {
        if let (HandoffOrder::Leave(id), _) = handoff.recv_with(&mut Inbox::new(256)).unwrap() {
            return id;
        }
    }
}

fn ended(nursery: &Nursery, id: SessionId, how: link::End) {
    nursery.tell(&Ended { id, how }).unwrap();
}

fn all_of(client: &mut TcpStream) -> String {
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    said
}

/// Waits until the listener has followed all orders: it follows one after the other, and a fresh link ends the one before.
fn settle(fixture: &Fixture, keyholder: &Keyholder) -> Keyholder {
    let fresh = fixture.link(Role::Keyholder);
    assert!(matches!(keyholder.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
    fresh
}

#[test]
fn p4_handoff_learns_from_the_listener_who_the_client_is() {
    let (fixture, nursery, handoff, keyholder) = Fixture::open(slice(10, 10));
    for (socket, tls) in [(0, false), (1, true), (2, true)] {
        let client = fixture.connect(socket);
        let (open, fds) = opened(&handoff);
        assert_eq!(open.client, client.local_addr().unwrap());
        assert_eq!(open.local, fixture.addresses[socket]);
        assert_eq!(usize::from(open.listener), socket);
        let handoff_end = End::<HandoffToSession, SessionToHandoff>::from_fd(fds.into_iter().next().unwrap());
        let (begun, fds) = start(&nursery);
        assert_eq!(
            begun,
            Start {
                id: open.id,
                listener: open.listener,
                tls,
                stress: false,
                pause: 0,
                hidden: Keywords::default(),
                service: Service::Relay,
            }
        );
        assert_eq!(fds.len(), if tls { 3 } else { 2 });
        let mut fds = fds.into_iter();
        let served = TcpStream::from(fds.next().unwrap());
        assert_eq!(served.peer_addr().unwrap(), client.local_addr().unwrap());
        assert!(served.nodelay().unwrap());

        let session = End::<SessionToHandoff, HandoffToSession>::from_fd(fds.next().unwrap());
        session.tell(&Ask::Reset).unwrap();
        assert_eq!(handoff_end.recv(&mut Inbox::new(64)).unwrap(), Ask::Reset);
        let verdict = Answer::plain(Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok });
        handoff_end.tell(&verdict).unwrap();
        assert_eq!(session.recv(&mut Inbox::new(64)).unwrap(), verdict);

        if tls {
            let session = End::<SessionToKeyholder, KeyholderToSession>::from_fd(fds.next().unwrap());
            session.tell(&sign::Sign { pair: 0, scheme: 0x0403, message: b"m" }).unwrap();
            let (key, key_fds) = keyholder.recv_with(&mut Inbox::new(64)).unwrap();
            assert_eq!(key, OpenKey { id: open.id, client: open.client.ip() });
            let keys = End::<KeyholderToSession, SessionToKeyholder>::from_fd(key_fds.into_iter().next().unwrap());
            assert_eq!(keys.recv(&mut Inbox::new(64)).unwrap().message, b"m");
        }
    }
    drop(nursery);
    assert_eq!(fixture.drain(), Ok(()));
}

#[test]
fn session_ids_differ_and_grow() {
    let (fixture, nursery, _handoff, _keyholder) = Fixture::open(slice(100, 100));
    let clients: Vec<TcpStream> = (0..20).map(|_| fixture.connect(0)).collect();
    let ids: Vec<u64> = clients.iter().map(|_| start(&nursery).0.id.0).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert_eq!(SessionId(ids[0]).to_string().len(), 10);
}

#[test]
fn p6_a_client_over_its_limit_hears_421_and_one_whose_session_has_ended_frees_its_slot() {
    let (fixture, nursery, _handoff, _keyholder) = Fixture::open(slice(10, 1));
    let _first = fixture.connect(0);
    let (begun, fds) = start(&nursery);
    drop(fds);
    assert!(all_of(&mut fixture.connect(0)).starts_with("421 4.7.0 mx.example.org "));
    // Whoever expects TLS records gets none of our words.
    assert_eq!(all_of(&mut fixture.connect(2)), "");
    ended(&nursery, begun.id, link::End::Exit(0));
    let (_client, begun_again) = eventually_admitted(&fixture, &nursery, "421 4.7.0 ");
    assert!(begun_again.id.0 > begun.id.0);
}

#[test]
fn p8_a_crash_earns_its_client_a_penalty_and_a_kill_from_outside_does_not() {
    for (signal, penalty) in [(11, true), (31, true), (6, true), (9, false), (14, false), (15, false)] {
        let (fixture, nursery, _handoff, keyholder) = Fixture::open(slice(10, 1));
        let _client = fixture.connect(0);
        let id = start(&nursery).0.id;
        ended(&nursery, id, link::End::Signal(signal));
        // What a nursery says and a connection travel by different ways.
        let keyholder = settle(&fixture, &keyholder);
        let _keyholder = settle(&fixture, &keyholder);
        if penalty {
            let refusal = all_of(&mut fixture.connect(0));
            assert!(refusal.starts_with("421 4.7.0 mx.example.org not now"), "{refusal}");
        } else {
            eventually_admitted(&fixture, &nursery, "421 4.7.0 ");
        }
    }
}

#[test]
fn p6_sessions_that_begin_when_slots_are_scarce_are_told() {
    let (fixture, nursery, _handoff, _keyholder) = Fixture::open(slice(9, 9));
    let _clients: Vec<TcpStream> = (0..8).map(|_| fixture.connect(0)).collect();
    let stress: Vec<bool> = (0..8).map(|_| start(&nursery).0.stress).collect();
    assert_eq!(stress, [false, false, false, false, false, false, false, true]);
}

#[test]
fn a_missing_role_is_a_421_and_not_silence() {
    for missing in [Role::Nursery, Role::Handoff, Role::Keyholder] {
        let mut fixture = Fixture::new(slice(10, 1));
        let mut nursery = None;
        if missing != Role::Nursery {
            nursery = Some(fixture.link::<NurseryToListener, ListenerToNursery>(Role::Nursery));
        }
        let _handoff =
            (missing != Role::Handoff).then(|| fixture.link::<HandoffToListener, ListenerToHandoff>(Role::Handoff));
        let _keyholder =
            (missing != Role::Keyholder).then(|| fixture.link::<Nothing, ListenerToKeyholder>(Role::Keyholder));
        fixture.socket(0);
        fixture.socket(1);
        fixture.go();
        // The slot is free again each time, or the second would be refused for another reason.
        for _ in 0..3 {
            assert!(all_of(&mut fixture.connect(1)).starts_with("421 4.3.0 mx.example.org "), "{missing:?}");
        }
        // Without TLS no keyholder is needed.
        if let (Role::Keyholder, Some(nursery)) = (missing, nursery) {
            let _client = fixture.connect(0);
            assert!(!start(&nursery).0.tls);
        }
    }
}

#[test]
fn issue_9_who_spoke_first_hears_all_the_same_why_he_is_turned_away() {
    let mut fixture = Fixture::new(slice(10, 1));
    fixture.socket(0);
    let mut client = fixture.connect(0);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    // Accepted only now, with octets waiting; no nursery is there.
    fixture.go();
    assert!(all_of(&mut client).starts_with("421 4.3.0 "), "and an end of file, not a reset");
}

#[test]
fn the_sessions_of_a_nursery_that_is_gone_are_over() {
    let (fixture, nursery, _handoff, _keyholder) = Fixture::open(slice(10, 1));
    let _client = fixture.connect(0);
    start(&nursery);
    drop(nursery);
    eventually(|| {
        let said = all_of(&mut fixture.connect(0));
        said.starts_with("421 4.3.0 ").then_some(())
    });
    let nursery = fixture.link(Role::Nursery);
    eventually_admitted(&fixture, &nursery, "421 4.3.0 ");
}

#[test]
fn a_replaced_nursery_gets_no_more_sessions_and_is_heard_to_its_end() {
    let (fixture, old, _handoff, keyholder) = Fixture::open(slice(10, 2));
    let (_a, _b) = (fixture.connect(0), fixture.connect(0));
    let (first, second) = (start(&old).0.id, start(&old).0.id);
    let new: Nursery = fixture.link(Role::Nursery);
    // It hears that no more will come, and may still speak.
    assert_eq!(old.recv(&mut Inbox::new(64)).unwrap(), NurseryOrder::Retire);
    // Its sessions still count, and the new one cannot end them.
    ended(&new, first, link::End::Exit(0));
    let _keyholder = settle(&fixture, &keyholder);
    assert!(all_of(&mut fixture.connect(0)).starts_with("421 4.7.0 "));
    ended(&old, first, link::End::Exit(0));
    let (_c, third) = eventually_admitted(&fixture, &new, "421 4.7.0 ");
    // Nor can the old one end the new one's.
    ended(&old, third.id, link::End::Exit(0));
    ended(&old, second, link::End::Exit(0));
    eventually_admitted(&fixture, &new, "421 4.7.0 ");
    assert!(all_of(&mut fixture.connect(0)).starts_with("421 4.7.0 "));
}

#[test]
fn p6_a_nursery_that_is_behind_holds_accept_back_and_loses_nobody() {
    // More than the queue of a link holds; the backlog of the socket takes the rest.
    let many = queue_of_a_link() + 50;
    let (fixture, nursery, handoff, _keyholder) = Fixture::open(slice(10_000, 10_000));
    let reader = std::thread::spawn(move || (0..many).map(|_| opened(&handoff).0.id).collect::<Vec<SessionId>>());
    let address = fixture.addresses[0];
    let clients = std::thread::spawn(move || -> Vec<TcpStream> {
        (0..many).map(|_| TcpStream::connect(address).unwrap()).collect()
    });
    let begun: Vec<SessionId> = (0..many).map(|_| start(&nursery).0.id).collect();
    assert_eq!(begun, reader.join().unwrap());
    for mut client in clients.join().unwrap() {
        // The nursery has dropped them, unread: no 421 came before.
        assert_eq!(all_of(&mut client), "");
    }
}

#[test]
fn drain_accepts_nobody_and_waits_for_sessions_under_way() {
    let (fixture, nursery, _handoff, _keyholder) = Fixture::open(slice(10, 10));
    let _client = fixture.connect(0);
    let id = start(&nursery).0.id;
    fixture.launcher.tell(&Order::Drain).unwrap();
    eventually(|| TcpStream::connect(fixture.addresses[0]).is_err().then_some(()));
    // Connections that came in before the order was followed.
    let waiting = || gatepost_sys::wait::readable(&[nursery.as_fd()], Some(Duration::ZERO)).unwrap()[0];
    while waiting() {
        ended(&nursery, start(&nursery).0.id, link::End::Exit(5));
    }
    assert!(!fixture.listener.as_ref().unwrap().is_finished());
    ended(&nursery, id, link::End::Exit(5));
    assert_eq!(fixture.outcome(), Ok(()));
}

#[test]
fn issue_13_a_listener_that_is_told_to_cut_ends_with_sessions_under_way() {
    let (fixture, nursery, _handoff, _keyholder) = Fixture::open(slice(10, 10));
    let _client = fixture.connect(0);
    start(&nursery);
    fixture.launcher.tell(&Order::Drain).unwrap();
    eventually(|| TcpStream::connect(fixture.addresses[0]).is_err().then_some(()));
    assert!(!fixture.listener.as_ref().unwrap().is_finished());
    fixture.launcher.tell(&Order::Cut).unwrap();
    assert_eq!(fixture.outcome(), Ok(()));
}

#[test]
fn orders_that_make_no_sense_end_the_role() {
    let odd = [Order::Peer(Role::Listener), Order::Peer(Role::Receiver), Order::Cut];
    for order in odd {
        let fixture = Fixture::new(slice(1, 1));
        let (_ours, theirs) = End::<Nothing, Nothing>::pair().unwrap();
        fixture.launcher.tell_with(&order, &[theirs.as_fd()]).unwrap();
        assert!(fixture.outcome().is_err(), "{order:?}");
    }
    for order in [Order::Peer(Role::Nursery), Order::Socket(0)] {
        let fixture = Fixture::new(slice(1, 1));
        fixture.launcher.tell(&order).unwrap();
        assert!(fixture.outcome().is_err(), "{order:?} without a descriptor");
    }
    let fixture = Fixture::new(slice(1, 1));
    let Fixture { launcher, listener, .. } = fixture;
    drop(launcher);
    assert!(listener.unwrap().join().unwrap().is_err());
}

/// Messages that a link takes before its sender must wait.
fn queue_of_a_link() -> usize {
    let (ours, _theirs) = End::<ListenerToNursery, NurseryToListener>::pair().unwrap();
    ours.seq().set_nonblocking(true).unwrap();
    let start = NurseryOrder::Start(Start {
        id: SessionId(1),
        listener: 0,
        tls: false,
        stress: false,
        pause: 0,
        hidden: Keywords::default(),
        service: Service::Relay,
    });
    (0..100_000).take_while(|_| ours.tell_with(&start, &[ours.as_fd(), ours.as_fd()]).is_ok()).count()
}

/// Tries until it succeeds.
fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(done) = attempt() {
            return done;
        }
        std::thread::yield_now();
    }
    panic!("never");
}

/// Connects until one connection gets a session; those before it hear `refusal`. What a nursery says and a connection
/// travel by different ways, so the first may still be refused.
fn eventually_admitted(fixture: &Fixture, nursery: &Nursery, refusal: &str) -> (TcpStream, Start) {
    eventually(|| {
        let mut client = fixture.connect(0);
        let ready = gatepost_sys::wait::readable(&[nursery.as_fd(), client.as_fd()], Some(PATIENCE)).unwrap();
        if ready[0] {
            return Some((client, start(nursery).0));
        }
        let said = all_of(&mut client);
        assert!(said.starts_with(refusal), "{said:?}");
        None
    })
}
