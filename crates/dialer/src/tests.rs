//! The loop with real channels: the test is launcher, handoff and backends at once. The jail is not entered.

use crate::serve::serve;
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_role::{Control, RoleError};
use gatepost_sys::epoll::Epoll;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::slice::{Connect, DialerSlice};
use gatepost_wire::{Frame, FromDialer, LauncherToRole, RoleToLauncher, ToDialer};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

type Handoff = End<ToDialer, FromDialer>;

/// What a test waits at most for an answer that is due at once.
const PATIENCE: Duration = Duration::from_secs(20);
const EINVAL: u16 = 22;
const EAGAIN: u16 = 11;
const ECONNREFUSED: u16 = 111;
const ETIMEDOUT: u16 = 110;

struct Fixture {
    launcher: End<LauncherToRole, RoleToLauncher>,
    dialer: JoinHandle<Result<(), RoleError>>,
}

impl Fixture {
    fn new(backends: Vec<Connect>, most: usize) -> (Self, Handoff) {
        Self::with(backends, None, most)
    }

    fn with(backends: Vec<Connect>, logins: Option<Connect>, most: usize) -> (Self, Handoff) {
        let (control, launcher) = ControlEnd::pair().unwrap();
        launcher.seq().set_timeout(PATIENCE).unwrap();
        let epoll = Epoll::new(4).unwrap();
        let slice = DialerSlice { connect: backends, logins };
        let dialer = std::thread::spawn(move || serve(Control::new(Role::Dialer, control), slice, epoll, most));
        let fixture = Self { launcher, dialer };
        let handoff = fixture.link(Role::Handoff);
        fixture.launcher.tell(&Order::Go).unwrap();
        assert_eq!(fixture.launcher.recv(&mut Inbox::new(64)).unwrap(), Report::Ready);
        (fixture, handoff)
    }

    fn link(&self, role: Role) -> Handoff {
        let (handoff, end) = Handoff::pair().unwrap();
        handoff.seq().set_timeout(PATIENCE).unwrap();
        self.launcher.tell_with(&Order::Peer(role), &[end.as_fd()]).unwrap();
        handoff
    }

    fn drained(self) {
        self.launcher.tell(&Order::Drain).unwrap();
        let end = self.launcher.recv(&mut Inbox::new(64));
        assert!(matches!(end, Err(ChannelError::Closed)), "instead of its end: {end:?}");
        self.dialer.join().unwrap().unwrap();
    }
}

fn ask(handoff: &Handoff, number: u32, backend: usize, patience: Duration) {
    handoff.tell(&Dial::new(number, backend, patience)).unwrap();
}

fn answer(handoff: &Handoff) -> (Dialed, Vec<OwnedFd>) {
    handoff.recv_with(&mut Inbox::new(64)).unwrap()
}

fn failed(handoff: &Handoff) -> (u32, u16) {
    match answer(handoff) {
        (Dialed::Failed { number, errno }, fds) if fds.is_empty() => (number, errno),
        other => panic!("instead of a failure: {other:?}"),
    }
}

fn connected(handoff: &Handoff) -> (u32, OwnedFd) {
    match answer(handoff) {
        (Dialed::Connected { number }, mut fds) if fds.len() == 1 => (number, fds.remove(0)),
        other => panic!("instead of a connection: {other:?}"),
    }
}

/// A unix socket with no room in its backlog beyond one connection, and that connection.
fn full(name: &str) -> (PathBuf, UnixListener, Vec<UnixStream>) {
    let path = std::env::temp_dir().join(format!("gatepost-dialer-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    // The backlog that the standard library asks for, whatever the system makes of it.
    let mut waiting = Vec::new();
    while let Ok(connecting) = gatepost_sys::net::begin_unix(&path) {
        waiting.push(UnixStream::from(connecting.socket));
    }
    (path, listener, waiting)
}

#[test]
fn issue_9_each_request_gets_its_connection_which_nobody_else_has() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = std::env::temp_dir().join(format!("gatepost-dialer-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let unix = UnixListener::bind(&path).unwrap();
    let (fixture, handoff) =
        Fixture::new(vec![Connect::Unix(path.clone()), Connect::Tcp(tcp.local_addr().unwrap())], 8);

    ask(&handoff, 7, 0, PATIENCE);
    let (number, fd) = connected(&handoff);
    assert_eq!(number, 7);
    let mut near = UnixStream::from(fd);
    assert_eq!(near.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock, "it is non-blocking");
    near.write_all(b"x").unwrap();
    let (mut far, _) = unix.accept().unwrap();
    far.read_exact(&mut [0; 1]).unwrap();
    drop(near);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0, "the dialer has kept a copy");

    ask(&handoff, 8, 1, PATIENCE);
    let (number, fd) = connected(&handoff);
    assert_eq!(number, 8);
    let near = TcpStream::from(fd);
    assert!(near.nodelay().unwrap());
    let (mut far, _) = tcp.accept().unwrap();
    drop(near);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0, "the dialer has kept a copy");
    let _ = std::fs::remove_file(&path);
    fixture.drained();
}

#[test]
fn issue_9_only_the_configured_places_can_be_named() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (fixture, handoff) = Fixture::new(vec![Connect::Tcp(gone)], 8);
    for (number, backend) in [(1, 1), (2, 255), (3, usize::MAX)] {
        ask(&handoff, number, backend, PATIENCE);
        assert_eq!(failed(&handoff), (number, EINVAL));
    }
    ask(&handoff, 4, 0, PATIENCE);
    assert_eq!(failed(&handoff), (4, ECONNREFUSED));
    fixture.drained();
}

#[test]
fn issue_9_a_slow_backend_keeps_nobody_from_another_and_has_an_end() {
    let (path, listener, waiting) = full("slow");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (fixture, handoff) =
        Fixture::new(vec![Connect::Unix(path.clone()), Connect::Tcp(tcp.local_addr().unwrap())], 3);
    ask(&handoff, 1, 0, PATIENCE);
    ask(&handoff, 2, 0, Duration::from_millis(50));
    ask(&handoff, 3, 1, PATIENCE);
    assert_eq!(connected(&handoff).0, 3);
    assert_eq!(failed(&handoff), (2, ETIMEDOUT));
    // Whoever asks for more than may be under way hears so at once.
    for number in 4..7 {
        ask(&handoff, number, 0, PATIENCE);
    }
    assert_eq!(failed(&handoff), (6, EAGAIN));
    // With room in the backlog the others get theirs.
    drop(waiting);
    listener.set_nonblocking(true).unwrap();
    let mut got = Vec::new();
    while got.len() < 3 {
        while listener.accept().is_ok() {}
        got.push(connected(&handoff).0);
    }
    got.sort_unstable();
    assert_eq!(got, [1, 4, 5]);
    let _ = std::fs::remove_file(&path);
    fixture.drained();
}

#[test]
fn issue_9_a_handoff_that_breaks_the_rules_or_goes_takes_its_requests_along() {
    let (path, listener, waiting) = full("rules");
    let (fixture, first) = Fixture::new(vec![Connect::Unix(path.clone())], 1);
    ask(&first, 1, 0, PATIENCE);
    let frame = Frame::of(&Dial::new(2, 0, PATIENCE)).unwrap();
    first.seq().send(frame.bytes(), &[listener.as_fd()]).unwrap();
    let end = first.recv(&mut Inbox::new(64));
    assert!(matches!(end, Err(ChannelError::Closed)), "a request with a descriptor: {end:?}");

    let second = fixture.link(Role::Handoff);
    ask(&second, 1, 0, PATIENCE);
    drop(second);

    let third = fixture.link(Role::Handoff);
    third.seq().send(&[9, 9, 9], &[]).unwrap();
    assert!(matches!(third.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));

    let last = fixture.link(Role::Handoff);
    drop((waiting, listener));
    ask(&last, 5, 0, PATIENCE);
    assert_eq!(failed(&last), (5, ECONNREFUSED), "the one request that may be under way is this one's");
    let _ = std::fs::remove_file(&path);
    fixture.drained();
}

#[test]
fn p13_an_owned_auth_keeps_nobody_from_the_backends() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let (path, listener, waiting) = full("auth");
    let places = vec![Connect::Tcp(backend.local_addr().unwrap())];
    let (fixture, handoff) = Fixture::with(places, Some(Connect::Unix(path.clone())), 8);
    // As many connections in the making as it can get.
    let greedy = fixture.link(Role::Auth);
    for number in 0..8 {
        ask(&greedy, number, 0, PATIENCE);
    }
    for number in 2..8 {
        assert_eq!(failed(&greedy), (number, EAGAIN));
    }
    // As many questions as the dialer reads, and no answer is read.
    let unread = fixture.link(Role::Auth);
    unread.seq().set_nonblocking(true).unwrap();
    let mut asked = 0;
    for _ in 0..2 {
        // Until nothing more is taken: the second time after the dialer has had a turn, which the answer below is the proof of.
        while unread.tell(&Dial::new(asked, 1, PATIENCE)).is_ok() {
            asked += 1;
        }
        ask(&handoff, asked, 0, PATIENCE);
        assert_eq!(connected(&handoff).0, asked);
    }
    // When it reads, it has all of its answers, and is heard again.
    unread.seq().set_nonblocking(false).unwrap();
    for number in 0..asked {
        assert_eq!(failed(&unread), (number, EINVAL));
    }
    ask(&unread, asked, 1, PATIENCE);
    assert_eq!(failed(&unread), (asked, EINVAL));
    drop((waiting, listener, greedy));
    let _ = std::fs::remove_file(&path);
    fixture.drained();
}

#[test]
fn issue_15_handoff_and_auth_can_ask_for_their_own_places_only() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let logins = TcpListener::bind("127.0.0.1:0").unwrap();
    let (fixture, handoff) =
        Fixture::with(vec![Connect::Tcp(gone)], Some(Connect::Tcp(logins.local_addr().unwrap())), 8);
    let auth = fixture.link(Role::Auth);
    ask(&auth, 1, 0, PATIENCE);
    assert_eq!(connected(&auth).0, 1);
    ask(&auth, 2, 1, PATIENCE);
    assert_eq!(failed(&auth), (2, EINVAL));
    ask(&handoff, 3, 0, PATIENCE);
    assert_eq!(failed(&handoff), (3, ECONNREFUSED));
    ask(&handoff, 4, 1, PATIENCE);
    assert_eq!(failed(&handoff), (4, EINVAL), "the source of logins is auth's");
    fixture.drained();
}
