//! A session's surroundings: handoff and keyholder in threads, a client to be scripted.

use crate::serve::Session;
use crate::{HandoffEnd, NewSession, SessionExit, Shared};
use gatepost_channel::{End, Inbox, messages};
use gatepost_shell::{Ends, KeyholderEnd, Monotonic};
use gatepost_smtp::envelope::{CloseReason, Offer, Reason, Service, Tls, Verdict};
use gatepost_smtp::keyword::Keywords;
use gatepost_smtp::server::Leniency;
use gatepost_smtp::text::Text;
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process::{self, Fork};
use gatepost_tls::recognise::Party;
use gatepost_tls::sign::Keys;
use gatepost_wire::link::SessionId;
use gatepost_wire::link::{close_reason, has_delivered};
use gatepost_wire::session::{Answer, Ask};
use gatepost_wire::sign::Signature;
use gatepost_wire::slice::{Chain, NurserySlice, TlsMode};
use gatepost_wire::{FRAME_MAX, HandoffToSession, KeyholderToSession, SessionToHandoff, SessionToKeyholder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeWriter, Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for anything that must happen: only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What handoff heard, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Mail {
        helo: String,
        esmtp: bool,
        tls: Option<Tls>,
        from: String,
    },
    Rcpt(String),
    Spool,
    Grow,
    /// The content it was told of, inline and in the file.
    Commit {
        length: u64,
        inline: Vec<u8>,
        file: Vec<u8>,
    },
    Reset,
    Bye(CloseReason),
}

/// How handoff behaves.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    /// None: it is dead already.
    pub(crate) offer: Option<Offer>,
    pub(crate) inline_max: u32,
    /// Verdicts on recipients by address; 250 for those not named.
    pub(crate) recipients: Vec<(&'static str, Verdict)>,
    pub(crate) commit: Verdict,
    /// Before it, for each recipient.
    pub(crate) each: Vec<(Verdict, Text)>,
    /// In place of a file.
    pub(crate) spool: Option<Verdict>,
    /// To the question whether there is room.
    pub(crate) mail: Verdict,
    /// Octets that a file may have, and may have more each time.
    pub(crate) room: u64,
    /// In place of more.
    pub(crate) grow: Option<Verdict>,
    /// What is wrong with it, if anything.
    pub(crate) flaw: Option<Flaw>,
    /// When it tells the session to leave.
    pub(crate) leave: Option<Leave>,
    /// Met twice before the first recipient is answered.
    pub(crate) meet: Option<Arc<Barrier>>,
}

/// What handoff has just said or heard when it tells a session to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    AfterOffer,
    /// Before it answers.
    AtRcpt,
    AfterRcpt,
    AtContent,
    /// It refuses, as it must from then on.
    AtCommit,
}

/// Ways for handoff to fail its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Closes the channel instead of answering RCPT.
    GoneAtRcpt,
    GoneAtSpool,
    GoneAtCommit,
    /// Answers RCPT with a file.
    FileForRcpt,
    /// Answers a request for a file without one.
    NoFile,
    /// Gives a file that cannot be written.
    ReadOnlyFile,
}

/// The answer to a commit of a session that was told to leave.
pub(crate) const LEFT: Verdict = Verdict { code: 421, enhanced: (4, 3, 2), reason: Reason::Reclaimed };
pub(crate) const OK: Verdict = Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok };

impl Default for Behaviour {
    fn default() -> Self {
        let offer = Offer { size: 50 << 20, eight_bit: true, smtputf8: true, dsn: false, prdr: false, recipients: 100 };
        Self {
            offer: Some(offer),
            inline_max: 64 << 10,
            recipients: Vec::new(),
            commit: OK,
            each: Vec::new(),
            spool: None,
            mail: OK,
            room: 1 << 20,
            grow: None,
            flaw: None,
            leave: None,
            meet: None,
        }
    }
}

type Asks = End<HandoffToSession, SessionToHandoff>;

/// Acts as handoff until the session is gone. Gives what it heard, and how many frames that took.
pub(crate) fn handoff(end: Asks, behaviour: Behaviour) -> JoinHandle<(Vec<Heard>, usize)> {
    match behaviour.offer {
        Some(offer) => {
            let scarce = behaviour.mail.code >= 400;
            end.tell(&Answer::Offer { offer, inline_max: behaviour.inline_max, scarce }).unwrap();
            if behaviour.leave == Some(Leave::AfterOffer) {
                end.tell(&Answer::Leave).unwrap();
            }
        }
        None => return std::thread::spawn(|| (Vec::new(), 0)),
    }
    std::thread::spawn(move || {
        let mut fake = FakeHandoff { behaviour, heard: Vec::new(), inline: Vec::new(), file: None };
        let mut inbox = Inbox::default();
        let mut frames = 0;
        while end.fill(&mut inbox).is_ok() {
            frames += 1;
            let last = messages::<SessionToHandoff>(&inbox).last();
            // Handoff ends a session that sends many small ones.
            let goes_on = matches!(last, Some(Ok(Ask::Content(_))));
            assert!(!goes_on || inbox.bytes().len() >= FRAME_MAX - 64, "a frame of {} octets", inbox.bytes().len());
            for ask in messages::<SessionToHandoff>(&inbox) {
                if !fake.answer(&end, ask.unwrap()) {
                    return (fake.heard, frames);
                }
            }
        }
        (fake.heard, frames)
    })
}

struct FakeHandoff {
    behaviour: Behaviour,
    heard: Vec<Heard>,
    inline: Vec<u8>,
    file: Option<File>,
}

impl FakeHandoff {
    /// False: enough of it.
    fn answer(&mut self, end: &Asks, ask: Ask<'_>) -> bool {
        let flaw = self.behaviour.flaw;
        match ask {
            Ask::Mail(mail) => {
                (self.inline, self.file) = (Vec::new(), None);
                let (helo, from) = (text(mail.helo), text(mail.reverse_path));
                self.heard.push(Heard::Mail { helo, esmtp: mail.esmtp, tls: mail.tls, from });
            }
            Ask::Rcpt(_) if flaw == Some(Flaw::GoneAtRcpt) => return false,
            Ask::Rcpt(_) if flaw == Some(Flaw::FileForRcpt) => {
                end.tell(&Answer::Spool { octets: self.behaviour.room }).unwrap()
            }
            Ask::Rcpt(_) if self.behaviour.leave == Some(Leave::AtRcpt) => end.tell(&Answer::Leave).unwrap(),
            Ask::Rcpt(rcpt) => {
                if let Some(meet) = self.behaviour.meet.take() {
                    meet.wait();
                    meet.wait();
                }
                let to = text(rcpt.forward_path);
                let verdict = self.behaviour.recipients.iter().find(|(name, _)| *name == to).map_or(OK, |(_, v)| *v);
                self.heard.push(Heard::Rcpt(to));
                end.tell(&Answer::plain(verdict)).unwrap();
                if self.behaviour.leave == Some(Leave::AfterRcpt) {
                    end.tell(&Answer::Leave).unwrap();
                }
            }
            Ask::Content(octets) => {
                if self.inline.is_empty() && self.behaviour.leave == Some(Leave::AtContent) {
                    end.tell(&Answer::Leave).unwrap();
                }
                assert!(self.file.is_none(), "inline content after a file");
                self.inline.extend_from_slice(octets);
            }
            Ask::Spool if flaw == Some(Flaw::GoneAtSpool) => return false,
            Ask::Spool if flaw == Some(Flaw::NoFile) => {
                end.tell(&Answer::Spool { octets: self.behaviour.room }).unwrap()
            }
            Ask::Spool => {
                self.heard.push(Heard::Spool);
                if let Some(refusal) = self.behaviour.spool {
                    end.tell(&Answer::plain(refusal)).unwrap();
                    return true;
                }
                let (theirs, ours) = nameless_file(flaw == Some(Flaw::ReadOnlyFile));
                end.tell_with(&Answer::Spool { octets: self.behaviour.room }, &[theirs.as_fd()]).unwrap();
                self.file = Some(ours);
            }
            Ask::Commit { .. } if flaw == Some(Flaw::GoneAtCommit) => return false,
            Ask::Commit { .. } if self.behaviour.leave == Some(Leave::AtCommit) => {
                end.tell(&Answer::Leave).unwrap();
                end.tell(&Answer::plain(LEFT)).unwrap();
            }
            Ask::Commit { length } => {
                let mut file = Vec::new();
                if let Some(mut written) = self.file.take() {
                    written.rewind().unwrap();
                    written.read_to_end(&mut file).unwrap();
                }
                self.heard.push(Heard::Commit { length, inline: std::mem::take(&mut self.inline), file });
                for (verdict, text) in &self.behaviour.each {
                    end.tell(&Answer::Recipient { verdict: *verdict, text: text.clone() }).unwrap();
                }
                // A session whose client does not read may be gone before it hears.
                return end.tell(&Answer::plain(self.behaviour.commit)).is_ok();
            }
            Ask::Room => end.tell(&Answer::plain(self.behaviour.mail)).unwrap(),
            Ask::Grow => {
                self.heard.push(Heard::Grow);
                let answer = self.behaviour.grow.map_or(Answer::Spool { octets: self.behaviour.room }, Answer::plain);
                end.tell(&answer).unwrap();
            }
            Ask::Reset => self.heard.push(Heard::Reset),
            Ask::Bye(reason) => self.heard.push(Heard::Bye(reason)),
            // For the log alone: other tests look at it.
            Ask::Refused(_) | Ask::Detail(_) => {}
        }
        true
    }
}

/// A file without a name: the writer's descriptor and the reader's.
fn nameless_file(read_only: bool) -> (File, File) {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("gatepost-session-{}-{number}", std::process::id()));
    let writer = File::options().write(true).create_new(true).open(&path).unwrap();
    let reader = File::open(&path).unwrap();
    let writer = if read_only { File::open(&path).unwrap() } else { writer };
    std::fs::remove_file(path).unwrap();
    (writer, reader)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// A certificate and its key, made once.
pub(crate) struct Identity {
    pub(crate) der: Vec<u8>,
    key: String,
}

pub(crate) fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["mx.example.org".to_owned()]).unwrap();
        Identity { der: made.cert.der().to_vec(), key: made.signing_key.serialize_pem() }
    })
}

/// Acts as the keyholder until the session is gone. Gives the number of signatures.
fn keyholder(end: End<KeyholderToSession, SessionToKeyholder>) -> JoinHandle<usize> {
    std::thread::spawn(move || {
        let keys = Keys::load(Party::Server, vec![identity().key.clone().into_bytes()]).unwrap();
        let mut inbox = Inbox::new(2048);
        let mut count = 0;
        while let Ok(sign) = end.recv(&mut inbox) {
            let signature = keys.sign(sign.pair, sign.scheme, sign.message).unwrap();
            end.tell(&Signature(&signature)).unwrap();
            count += 1;
        }
        count
    })
}

pub(crate) fn slice(mode: TlsMode) -> NurserySlice {
    NurserySlice {
        listeners: vec![mode],
        hostname: "mx.example.org".to_owned(),
        chains: vec![Chain { names: Vec::new(), certificates: vec![identity().der.clone()] }],
        tls_required: false,
        tls13_only: false,
        sessions: 10,
        data: 1 << 20,
        message_size: 50 << 20,
        recipients: 100,
        leniency: Leniency::default(),
        command_timeout: 300,
        content_timeout: 300,
        minimum_rate: 100,
        session_time: 3600,
    }
}

/// A session over TCP, served by a thread of its own.
pub(crate) struct Rig {
    pub(crate) client: TcpStream,
    pub(crate) drain: Option<PipeWriter>,
    session: Box<dyn FnOnce() -> SessionExit>,
    handoff: JoinHandle<(Vec<Heard>, usize)>,
    keyholder: JoinHandle<usize>,
}

/// All that is known of a session when it is over.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) reason: CloseReason,
    pub(crate) delivered: bool,
    pub(crate) heard: Vec<Heard>,
    pub(crate) frames: usize,
    pub(crate) signatures: usize,
}

impl Rig {
    pub(crate) fn new(mode: TlsMode, behaviour: Behaviour) -> Self {
        Self::with(slice(mode), behaviour)
    }

    pub(crate) fn with(slice: NurserySlice, behaviour: Behaviour) -> Self {
        Self::served(slice, behaviour, false, None)
    }

    /// One whose greeting waits for so long.
    pub(crate) fn paused(mode: TlsMode, behaviour: Behaviour, pause: Duration) -> Self {
        Self::served_after(pause, slice(mode), behaviour, false, None)
    }

    /// A session under stress.
    pub(crate) fn stressed() -> Self {
        Self::served(slice(TlsMode::Off), Behaviour::default(), true, None)
    }

    /// A session in a process of its own that may have `data` octets more than it began with. Only where nothing else
    /// runs, see [`alone`].
    pub(crate) fn forked(slice: NurserySlice, data: u64) -> Self {
        Self::served(slice, Behaviour::default(), false, Some(data))
    }

    fn served(slice: NurserySlice, behaviour: Behaviour, stress: bool, data: Option<u64>) -> Self {
        Self::served_after(Duration::ZERO, slice, behaviour, stress, data)
    }

    fn served_after(
        pause: Duration,
        slice: NurserySlice,
        behaviour: Behaviour,
        stress: bool,
        data: Option<u64>,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_nodelay(true).unwrap();
        let served = listener.accept().unwrap().0;
        served.set_nonblocking(true).unwrap();
        let (handoff_end, handoff_peer) = HandoffEnd::pair().unwrap();
        let (keyholder_end, keyholder_peer) = KeyholderEnd::pair().unwrap();
        let (drained, drain) = io::pipe().unwrap();
        let new = NewSession {
            id: SessionId(0xabc),
            listener: 0,
            stress,
            pause,
            hidden: Keywords::default(),
            client: Ends::of_socket(served.into()),
            handoff: handoff_end,
            keyholder: (slice.listeners[0] != TlsMode::Off).then_some(keyholder_end),
            service: Service::Relay,
            auth: None,
        };
        let life = move || {
            let shared = Shared::new(slice).unwrap();
            crate::warm::up(&shared);
            if let Some(data) = data {
                use_up_free_memory();
                limits::set(Limit::Data, vm_data() + data).unwrap();
                assert!(Vec::<u8>::new().try_reserve(usize::try_from(data).unwrap() + (256 << 10)).is_err());
            }
            Session::new(new, drained, &shared, Monotonic).run()
        };
        let session: Box<dyn FnOnce() -> SessionExit> = if data.is_none() {
            let session = std::thread::spawn(life);
            Box::new(|| session.join().unwrap())
        } else {
            if process::fork().unwrap() == Fork::Child {
                drop((client, handoff_peer, keyholder_peer, drain));
                process::exit(life().status());
            }
            drop(life);
            Box::new(reap)
        };
        Self {
            client,
            drain: Some(drain),
            session,
            handoff: handoff(handoff_peer, behaviour),
            keyholder: keyholder(keyholder_peer),
        }
    }

    /// Hangs up and waits for all of them.
    pub(crate) fn end(self) -> Outcome {
        let Self { client, drain, session, handoff, keyholder } = self;
        drop(client);
        let SessionExit { reason, delivered } = session();
        drop(drain);
        let (heard, frames) = handoff.join().unwrap();
        Outcome { reason, delivered, heard, frames, signatures: keyholder.join().unwrap() }
    }
}

/// Waits for the one forked session.
fn reap() -> SessionExit {
    loop {
        match process::reap().unwrap() {
            Some((_, process::End::Exit(status))) => {
                return SessionExit { reason: close_reason(status).unwrap(), delivered: has_delivered(status) };
            }
            Some((_, process::End::Unknown)) => panic!("no child of ours"),
            Some((_, process::End::Signal(signal))) => panic!("killed by signal {signal}"),
            None => std::thread::yield_now(),
        }
    }
}

/// Takes what the allocator has left over, so that the limit counts from here, give or take one step of its heap.
fn use_up_free_memory() {
    let begun = vm_data();
    while vm_data() == begun {
        std::mem::forget(vec![0_u8; 1024]);
    }
}

/// What RLIMIT_DATA counts, octets.
fn vm_data() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Runs `body` in this test's own process: a fork would else share the descriptors of the tests beside it.
pub(crate) fn alone(name: &str, body: fn()) {
    const INSIDE: &str = "GATEPOST_TEST_ALONE";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let name = format!("tests::{name}");
    let mut again = Command::new(std::env::current_exe().unwrap());
    let output = again.args(["--exact", &name, "--test-threads=1"]).env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(" 1 passed"), "{said}");
}

/// A client that speaks SMTP along any stream.
pub(crate) struct Client<S> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(octets.as_ref()).unwrap();
        self.stream.get_mut().flush().unwrap();
    }

    /// The next reply, all its lines.
    pub(crate) fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let from = reply.len();
            self.stream.read_line(&mut reply).unwrap();
            if reply.len() == from || reply.as_bytes().get(from + 3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Sends a line and gives the reply.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.reply()
    }

    /// Sends a line, whose reply must begin with `reply`.
    pub(crate) fn expect(&mut self, line: &str, reply: &str) {
        let said = self.ask(line);
        assert!(said.starts_with(reply), "{line}: {said:?} instead of {reply}");
    }

    /// The next reply must begin with `reply`.
    pub(crate) fn hear(&mut self, reply: &str) {
        let said = self.reply();
        assert!(said.starts_with(reply), "{said:?} instead of {reply}");
    }

    /// Up to the first recipient.
    pub(crate) fn envelope(&mut self) {
        self.expect("EHLO client.example", "250-mx.example.org");
        self.expect("MAIL FROM:<a@client.example>", "250 2.1.0");
        self.expect("RCPT TO:<b@example.org>", "250 2.1.5");
    }

    /// The other side says nothing more and closes.
    pub(crate) fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is a close too, when it had unread octets of ours.
        let _ = self.stream.read_to_end(&mut rest);
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }

    pub(crate) fn into_inner(self) -> S {
        assert!(self.stream.buffer().is_empty());
        self.stream.into_inner()
    }
}

/// The client's stream of a rig, in clear.
pub(crate) fn client(rig: &Rig) -> Client<TcpStream> {
    Client::new(rig.client.try_clone().unwrap())
}
