use super::*;
use crate::SOCKET;
use gatepost_channel::Inbox;
use gatepost_role::SHORT_FRAME;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::{LauncherToRole, RoleToLauncher};
use std::io::{BufRead, BufReader};
use std::thread::JoinHandle;

type Launcher = gatepost_channel::End<LauncherToRole, RoleToLauncher>;

/// A receiver on a thread, without its jail.
struct Trial {
    dir: PathBuf,
    launcher: Launcher,
    thread: Option<JoinHandle<Result<(), RoleError>>>,
}

impl Trial {
    fn begin(name: &str, most: usize) -> Self {
        let dir = std::env::temp_dir().join(format!("receiver-socket-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        // Left behind by one that was killed.
        drop(UnixListener::bind(dir.join(SOCKET)));
        let maildir = Maildir::open(&dir.join("Maildir"), "mx.test").unwrap();
        let server = Server::bind(dir.join(SOCKET), "mx.test".into(), maildir, most).unwrap();
        let (launcher, control) = Launcher::pair().unwrap();
        let thread = std::thread::spawn(move || server.serve(Control::new(Role::Receiver, control)));
        launcher.tell(&Order::Go).unwrap();
        assert_eq!(launcher.recv(&mut Inbox::new(SHORT_FRAME)).unwrap(), Report::Ready);
        Self { dir, launcher, thread: Some(thread) }
    }

    fn connect(&self) -> Peer {
        let stream = UnixStream::connect(self.dir.join(SOCKET)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Peer(BufReader::new(stream))
    }

    fn end(mut self) {
        self.launcher.tell(&Order::Drain).unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap();
        assert!(!self.dir.join(SOCKET).exists(), "the socket is gone");
    }

    fn messages(&self) -> Vec<String> {
        let files = fs::read_dir(self.dir.join("Maildir/new")).unwrap();
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    fn unfinished(&self) -> usize {
        fs::read_dir(self.dir.join("Maildir/tmp")).unwrap().count()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Peer(BufReader<UnixStream>);

impl Peer {
    fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    /// The next reply of one line, or the last line of a longer one.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    fn expect(&mut self, codes: &[&str]) {
        for code in codes {
            let reply = self.hear();
            assert!(reply.starts_with(code), "{code} expected, heard {reply:?}");
        }
    }

    fn expect_last(&mut self, codes: &[&str]) {
        self.expect(codes);
        assert_eq!(self.hear(), "", "the connection goes on");
    }
}

const ENVELOPE: &str = "MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n";

#[test]
fn p1_a_message_is_there_when_its_250_is() {
    let trial = Trial::begin("one", 8);
    let mode = fs::metadata(trial.dir.join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    let mut peer = trial.connect();
    peer.expect(&["220"]);
    peer.say("LHLO g\r\n");
    peer.expect(&["250"]);
    peer.say(ENVELOPE);
    peer.expect(&["250", "250", "354"]);
    peer.say("Subject: hello\r\n\r\nworld\r\n");
    assert_eq!(trial.messages(), [""; 0]);
    peer.say(".\r\n");
    peer.expect(&["250"]);
    assert_eq!(trial.messages(), ["Return-Path: <a@x.test>\nDelivered-To: b@y.test\nSubject: hello\n\nworld\n"]);
    peer.say("QUIT\r\n");
    peer.expect_last(&["221"]);
    trial.end();
}

#[test]
fn many_connections_each_with_a_message_half_way() {
    let trial = Trial::begin("many", 64);
    let mut peers: Vec<Peer> = (0..40).map(|_| trial.connect()).collect();
    for peer in &mut peers {
        peer.say(&format!("LHLO g\r\n{ENVELOPE}"));
    }
    for (i, peer) in peers.iter_mut().enumerate() {
        peer.expect(&["220", "250", "250", "250", "354"]);
        peer.say(&format!("number {i}\r\n"));
    }
    for peer in peers.iter_mut().rev() {
        peer.say(".\r\n");
        peer.expect(&["250"]);
    }
    let mut all = trial.messages();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
    assert_eq!(trial.unfinished(), 0);
    drop(peers);
    trial.end();
}

#[test]
fn beyond_the_most_a_connection_waits_for_another_s_end() {
    let trial = Trial::begin("most", 1);
    let mut first = trial.connect();
    first.expect(&["220"]);
    let mut second = trial.connect();
    second.say("QUIT\r\n");
    first.say("NOOP\r\n");
    first.expect(&["250"]);
    second.0.get_ref().set_nonblocking(true).unwrap();
    let early = second.0.fill_buf().unwrap_err().kind();
    assert_eq!(early, ErrorKind::WouldBlock, "not greeted before there is room");
    second.0.get_ref().set_nonblocking(false).unwrap();
    drop(first);
    second.expect(&["220", "221"]);
    trial.end();
}

#[test]
fn p6_a_peer_that_does_not_read_is_not_read_from() {
    let trial = Trial::begin("mute", 8);
    let mut mute = trial.connect();
    mute.0.get_ref().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let flood = "NOOP\r\n".repeat(4096);
    let mut sent = 0_usize;
    // Ends once both sides of the socket are full: commands stay where they are until replies are taken.
    while let Ok(n) = mute.0.get_mut().write(flood.as_bytes()) {
        sent += n;
        assert!(sent < 64 << 20, "everything is taken, replies or not");
    }
    let mut other = trial.connect();
    other.expect(&["220"]);
    other.say("QUIT\r\n");
    other.expect(&["221"]);
    // It goes on when replies are read.
    let whole = sent / "NOOP\r\n".len();
    mute.expect(&["220"]);
    for _ in 0..whole {
        assert!(mute.hear().starts_with("250"));
    }
    drop(mute);
    trial.end();
}

#[test]
fn p1_a_peer_that_dies_half_way_leaves_nothing() {
    let trial = Trial::begin("dies", 8);
    let mut peer = trial.connect();
    peer.say(&format!("LHLO g\r\n{ENVELOPE}"));
    peer.expect(&["220", "250", "250", "250", "354"]);
    peer.say("half a mess");
    assert_eq!(trial.unfinished(), 1);
    drop(peer);
    // Connections are served in order: when the next one is, the dead one is cleared away.
    let mut next = trial.connect();
    next.expect(&["220"]);
    next.say("NOOP\r\n");
    next.expect(&["250"]);
    assert_eq!((trial.unfinished(), trial.messages().len()), (0, 0));
    drop(next);
    trial.end();
}

#[test]
fn draining_finishes_the_message_under_way_and_closes_the_idle() {
    let mut trial = Trial::begin("drain", 8);
    let mut idle = trial.connect();
    idle.expect(&["220"]);
    let mut busy = trial.connect();
    busy.say(&format!("LHLO g\r\n{ENVELOPE}"));
    busy.expect(&["220", "250", "250", "250", "354"]);
    trial.launcher.tell(&Order::Drain).unwrap();
    idle.expect_last(&["421"]);
    busy.say("x\r\n.\r\n");
    busy.expect_last(&["250", "421"]);
    trial.thread.take().unwrap().join().unwrap().unwrap();
    assert_eq!(trial.messages().len(), 1);
}

#[test]
fn without_its_launcher_it_ends() {
    let mut trial = Trial::begin("orphan", 8);
    let (spare, _) = Launcher::pair().unwrap();
    drop(std::mem::replace(&mut trial.launcher, spare));
    let end = trial.thread.take().unwrap().join().unwrap();
    assert!(matches!(end, Err(RoleError::LauncherGone)), "{end:?}");
    assert!(!trial.dir.join(SOCKET).exists());
}
