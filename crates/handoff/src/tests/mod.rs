//! The role without its jail: real sockets, real channels, a session played by the test, a backend of testkit.

mod dialer;
mod failures;
mod fair;
mod hostile;
mod identity;
mod main_job;
mod proof;
mod protocol;
mod qmqp;
mod rates;
mod routes;
mod scripted;
mod serving;
mod several;
mod single;
mod submitted;
mod texts;
mod tls;

use crate::backend::Timeouts;
use crate::session;
use crate::shared::Shared;
use gatepost_channel::{AsyncEnd, ChannelError, End, Inbox, Outbox};
use gatepost_smtp::envelope::{Body, CloseReason, MailParameters, Offer, RcptParameters, Service, Verdict};
use gatepost_smtp::text::Text;
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_wire::link::{Open, SessionId, Weights};
use gatepost_wire::rate::MailRates;
use gatepost_wire::session::{Answer, Ask, Mail, Rcpt};
use gatepost_wire::slice::{BackendSlice, BackendTls, Connect, Dialect, HandoffSlice, HeloLists, Identity};
use gatepost_wire::tables::TablesSlice;
use gatepost_wire::{HandoffToSession, SessionToHandoff};
use std::fs;
use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// A wait that a test lets pass on purpose.
const SHORT: Duration = Duration::from_millis(60);

const LONG_TIMEOUTS: Timeouts = Timeouts {
    connect: LONG,
    greeting: LONG,
    envelope: LONG,
    data: LONG,
    block: LONG,
    end: LONG,
    rcpt: LONG,
    park: LONG,
    queue: LONG,
};

/// A directory that is removed with the fixture.
struct Fixture {
    directory: PathBuf,
    slice: HandoffSlice,
    timeouts: Timeouts,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Fixture {
    /// An SMTP backend on a unix socket that learns the client by XCLIENT; mail for ok.test.
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("gatepost-handoff-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        let spool = directory.join("content");
        fs::create_dir_all(&spool).unwrap();
        let slice = HandoffSlice {
            hostname: "mx.ok.test".to_owned(),
            domains: vec!["ok.test".to_owned()],
            any_domain: false,
            clients: vec!["198.51.100.0/24".parse().unwrap()],
            trusted: Vec::new(),
            check_from: false,
            hide_client: false,
            backend: BackendSlice {
                dialect: Dialect::Smtp,
                identity: Identity::Xclient,
                tls: BackendTls::OFF,
                connect: vec![Connect::Unix(directory.join("mta"))],
                relay_proof: false,
                logins: false,
                reply_timeout: 540,
                connections: 80,
                texts: true,
            },
            routes: Vec::new(),
            tables: TablesSlice::default(),
            message_size: 1_000_000,
            spool_size: 20_000_000,
            spool_free: 0,
            recipients: 100,
            hops: 100,
            names_wait: 0,
            rates: MailRates::default(),
            helo_lists: HeloLists::default(),
            spool: spool.to_str().unwrap().to_owned(),
        };
        Self { directory, slice, timeouts: LONG_TIMEOUTS }
    }

    fn with(mut self, change: impl FnOnce(&mut HandoffSlice)) -> Self {
        change(&mut self.slice);
        self
    }

    fn timeouts(mut self, change: impl FnOnce(&mut Timeouts)) -> Self {
        change(&mut self.timeouts);
        self
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("mta")
    }

    fn mta(&self) -> Mta {
        let speaks = if self.slice.backend.dialect == Dialect::Lmtp { Speaks::Lmtp } else { Speaks::Smtp };
        Mta::unix(&self.socket(), speaks)
    }

    fn shared(&self) -> Arc<Shared> {
        let shared = Arc::new(Shared::new(&self.slice, self.timeouts).unwrap());
        // Some ask for what needs neither a runtime nor a connection.
        if tokio::runtime::Handle::try_current().is_ok() {
            let places: Vec<Connect> = self.slice.backends().flat_map(|backend| backend.connect.clone()).collect();
            dialer::obliging(&shared, &places);
        }
        shared
    }

    /// Names in the spool: there must never be any once an ask is answered.
    fn spooled(&self) -> usize {
        fs::read_dir(&self.slice.spool).unwrap().count()
    }
}

/// Runs a test as the role runs: one thread, IO and time.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, test).await.expect("the test does not end") })
}

fn open() -> Open {
    Open {
        id: SessionId(0xabc),
        client: "192.0.2.9:4713".parse().unwrap(),
        local: "203.0.113.1:25".parse().unwrap(),
        listener: 0,
        relay: false,
        message_size: 0,
        exempt: false,
        service: Service::Relay,
        user: None,
        listed: Weights::default(),
    }
}

const MAIL: Mail<'static> =
    Mail { helo: b"client.test", esmtp: true, tls: None, reverse_path: b"a@b.test", parameters: MailParameters::NONE };

fn to(path: &str) -> Ask<'_> {
    Ask::Rcpt(Rcpt { forward_path: path.as_bytes(), parameters: RcptParameters::NONE })
}

/// A session, played by the test.
struct Session {
    end: AsyncEnd<SessionToHandoff, HandoffToSession>,
    /// The same end, for frames of several asks; whatever a test sends fits into the socket.
    frames: End<SessionToHandoff, HandoffToSession>,
    inbox: Inbox,
    offer: Option<Offer>,
    /// Of the last answer.
    text: Text,
    served: Option<JoinHandle<Option<CloseReason>>>,
}

impl Session {
    /// A session that handoff has just heard of.
    async fn begin(shared: &Arc<Shared>) -> Self {
        Self::begin_as(shared, open()).await
    }

    async fn begin_as(shared: &Arc<Shared>, open: Open) -> Self {
        let (theirs, ours) = End::pair().unwrap();
        let served = tokio::spawn(session::serve(shared.clone(), open, AsyncEnd::new(theirs).unwrap()));
        Self::over(ours, Some(served)).await
    }

    async fn over(
        end: End<SessionToHandoff, HandoffToSession>,
        served: Option<JoinHandle<Option<CloseReason>>>,
    ) -> Self {
        let frames = End::from_fd(end.as_fd().try_clone_to_owned().unwrap());
        let mut session = Self {
            end: AsyncEnd::new(end).unwrap(),
            frames,
            inbox: Inbox::default(),
            offer: None,
            text: Text::none(),
            served,
        };
        match session.answer().await {
            Ok(Answer::Offer { offer, inline_max: 131_072, .. }) => session.offer = Some(offer),
            other => panic!("first an offer, not {other:?}"),
        }
        session
    }

    async fn answer(&mut self) -> Result<Answer, ChannelError> {
        self.end.recv(&mut self.inbox).await
    }

    /// Sends asks in one frame.
    fn say(&self, asks: &[Ask<'_>]) {
        let mut outbox = Outbox::default();
        for ask in asks {
            assert!(outbox.push(ask).unwrap());
        }
        self.frames.flush(&mut outbox).unwrap();
    }

    /// Sends asks in one frame, the last of which is answered by a verdict.
    async fn ask(&mut self, asks: &[Ask<'_>]) -> Verdict {
        self.say(asks);
        match self.answer().await {
            Ok(Answer::Verdict { verdict, text }) => {
                self.text = text;
                verdict
            }
            other => panic!("a verdict is due, not {other:?}"),
        }
    }

    async fn mail_and(&mut self, path: &str) -> Verdict {
        self.ask(&[Ask::Mail(MAIL), to(path)]).await
    }

    async fn send(&mut self, content: &[u8]) -> Verdict {
        let commit = Ask::Commit { length: content.len() as u64 };
        if content.is_empty() {
            return self.ask(&[commit]).await;
        }
        self.ask(&[Ask::Content(content), commit]).await
    }

    /// Sends content through the session's file, the first octets inline.
    async fn spool(&mut self, inline: &[u8], content: &[u8]) -> Verdict {
        let file = self.file(inline).await;
        use std::io::Write;
        fs::File::from(file).write_all(content).unwrap();
        self.ask(&[Ask::Commit { length: (inline.len() + content.len()) as u64 }]).await
    }

    async fn file(&mut self, inline: &[u8]) -> OwnedFd {
        self.file_of(inline).await.0
    }

    /// The session's file, and how many octets it may have.
    async fn file_of(&mut self, inline: &[u8]) -> (OwnedFd, u64) {
        for piece in inline.chunks(gatepost_wire::session::CONTENT_MAX) {
            self.say(&[Ask::Content(piece)]);
        }
        self.say(&[Ask::Spool]);
        match self.end.recv_with(&mut self.inbox).await {
            Ok((Answer::Spool { octets }, mut fds)) => (fds.pop().expect("a descriptor comes with the answer"), octets),
            other => panic!("a file is due, not {other:?}"),
        }
    }

    /// Handoff has dropped the channel.
    async fn is_dropped(&mut self) -> bool {
        matches!(self.answer().await, Err(ChannelError::Closed))
    }

    /// Ends in good order; handoff's task is over then.
    async fn bye(mut self) {
        self.say(&[Ask::Bye(CloseReason::Quit)]);
        if let Some(served) = self.served.take() {
            served.await.unwrap();
        }
    }
}

const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nA line.\r\n.stuffed\r\n..\r\nThe last line.\r\n";
