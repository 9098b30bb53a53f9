//! Dialogues with a backend that follows a script, octet for octet, and says so when we do not keep to it.

use super::*;
use crate::identity::{Client, proxy_v2};
use crate::transaction::Helo;
use Line::{Broken, Chunk, Close, Content, Do, Hear, HearMore, Octets, Say};
use gatepost_smtp::envelope::Reason;
use gatepost_smtp::names::ClientNames;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

/// One line of a script.
pub(super) enum Line {
    /// The backend says this.
    Say(&'static str),
    /// A command that begins so is heard, and nothing behind it.
    Hear(&'static str),
    /// As `Hear`, with more commands in the same write.
    HearMore(&'static str),
    /// Just these octets are read.
    Octets(Vec<u8>),
    /// Content up to its dot is heard.
    Content,
    /// BDAT, the last one, and its octets are heard.
    Chunk,
    /// Content is heard that ends without an end: no lone dot, or less than was said.
    Broken,
    /// The backend hangs up.
    Close,
    /// Something happens elsewhere.
    Do(Box<dyn FnOnce() + Send>),
}

/// A backend that takes one connection after the other and follows a script on each. Join it to hear what was not kept to.
pub(super) fn backend(path: &Path, scripts: Vec<Vec<Line>>) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for (number, script) in scripts.into_iter().enumerate() {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            perform(number, &stream, script);
        }
        listener.set_nonblocking(true).unwrap();
        let unwanted = listener.accept().unwrap_err();
        assert_eq!(unwanted.kind(), ErrorKind::WouldBlock, "no more connections than scripts");
    })
}

fn perform(number: usize, stream: &UnixStream, script: Vec<Line>) {
    let mut reader = Reader { stream, heard: Vec::new() };
    for (step, line) in script.into_iter().enumerate() {
        let at = format!("connection {number}, step {step}");
        match line {
            Say(text) => (&*stream).write_all(text.as_bytes()).unwrap(),
            Hear(start) | HearMore(start) => {
                let heard = String::from_utf8(reader.line(&at)).unwrap();
                assert!(heard.starts_with(start), "{at}: {heard:?} is not {start:?}");
                assert_eq!(reader.have_more(), matches!(line, HearMore(_)), "{at}: more behind {heard:?}");
            }
            Octets(expected) => {
                let heard = reader.octets(expected.len(), &at);
                assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{at}");
            }
            Content => loop {
                let line = reader.line(&at);
                assert!(!line.windows(8).any(|word| word == b"smuggled"), "{at}");
                if line == b".\r\n" {
                    break;
                }
            },
            Chunk => {
                let length = reader.chunk(&at);
                reader.octets(length, &at);
            }
            Broken => {
                let length = if reader.starts_with(b"BDAT ") { reader.chunk(&at) } else { usize::MAX };
                while reader.listen() {}
                let content = std::mem::take(&mut reader.heard);
                assert!(content.len() < length, "{at}: all of the content came");
                assert!(!content.windows(5).any(|end| end == b"\r\n.\r\n"), "{at}: the content ends");
                assert!(!content.windows(8).any(|word| word == b"smuggled"), "{at}");
            }
            Close => return,
            Do(action) => action(),
        }
    }
    // What is left is QUIT, or nothing: never a message.
    while reader.listen() {}
    let rest = reader.heard.escape_ascii().to_string();
    assert!(matches!(rest.as_str(), "" | "QUIT\\r\\n"), "connection {number} ends with {rest:?}");
}

struct Reader<'s> {
    stream: &'s UnixStream,
    heard: Vec<u8>,
}

impl Reader<'_> {
    /// Waits for more. False: there is none.
    fn listen(&mut self) -> bool {
        let mut piece = [0; 4096];
        let n = self.stream.read(&mut piece).unwrap_or(0);
        self.heard.extend_from_slice(&piece[..n]);
        n > 0
    }

    fn have_more(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        while self.listen() {}
        self.stream.set_nonblocking(false).unwrap();
        !self.heard.is_empty()
    }

    fn octets(&mut self, n: usize, at: &str) -> Vec<u8> {
        while self.heard.len() < n {
            assert!(self.listen(), "{at}: the connection ends after {:?}", self.heard.escape_ascii().to_string());
        }
        self.heard.drain(..n).collect()
    }

    fn starts_with(&mut self, start: &[u8]) -> bool {
        while self.heard.len() < start.len() && self.listen() {}
        self.heard.starts_with(start)
    }

    /// Hears the command that opens the only chunk: its length.
    fn chunk(&mut self, at: &str) -> usize {
        let line = String::from_utf8(self.line(at)).unwrap();
        let length = line.strip_prefix("BDAT ").and_then(|rest| rest.strip_suffix(" LAST\r\n"));
        length.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{at}: {line:?}"))
    }

    fn line(&mut self, at: &str) -> Vec<u8> {
        loop {
            if let Some(end) = self.heard.windows(2).position(|pair| pair == b"\r\n") {
                return self.octets(end + 2, at);
            }
            assert!(self.listen(), "{at}: the connection ends after {:?}", self.heard.escape_ascii().to_string());
        }
    }
}

const OPEN: &str = "220 mx.test ESMTP\r\n";
const LIST: &str = "250-mx.test\r\n250-XCLIENT ADDR\r\n250 SIZE 0\r\n";
const LIST_PIPELINING: &str = "250-mx.test\r\n250-XCLIENT ADDR\r\n250 PIPELINING\r\n";
const LIST_CHUNKING: &str = "250-mx.test\r\n250-XCLIENT ADDR\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
const OK: &str = "250 2.0.0 Ok\r\n";

/// Greeting, EHLO, XCLIENT, EHLO.
fn hello(list: &'static str) -> Vec<Line> {
    vec![
        Say(OPEN),
        Hear("EHLO mx.ok.test"),
        Say(list),
        Hear("XCLIENT ADDR=192.0.2.9\r\n"),
        Say(OPEN),
        Hear("EHLO client.test"),
        Say(list),
    ]
}

/// Hello, then MAIL and RCPT in one write, both accepted.
fn envelope(list: &'static str) -> Vec<Line> {
    let mut script = hello(list);
    script.extend(envelope_again());
    script
}

fn envelope_again() -> Vec<Line> {
    vec![HearMore("MAIL FROM:<a@b.test>"), Hear("RCPT TO:<user@ok.test>\r\n"), Say(OK), Say(OK)]
}

fn delivery() -> Vec<Line> {
    vec![Hear("DATA\r\n"), Say("354 go\r\n"), Content, Say(OK)]
}

fn join(parts: impl IntoIterator<Item = Vec<Line>>) -> Vec<Line> {
    parts.into_iter().flatten().collect()
}

/// Runs `test` against `scripts`.
fn against<F: Future<Output = ()>>(scripts: Vec<Vec<Line>>, test: impl FnOnce(Arc<Shared>) -> F) {
    let fixture = Fixture::new();
    let backend = backend(&fixture.socket(), scripts);
    run(async { test(fixture.shared()).await });
    backend.join().unwrap();
}

async fn deliver(session: &mut Session) -> Verdict {
    assert_eq!(session.mail_and("user@ok.test").await.code, 250);
    session.send(MESSAGE).await
}

#[test]
fn a_backend_without_pipelining_never_gets_two_commands_at_once() {
    let envelope = vec![Hear("MAIL"), Say(OK), Hear("RCPT"), Say(OK)];
    let again = vec![Hear("MAIL"), Say(OK), Hear("RCPT"), Say(OK)];
    let scripts = vec![join([hello(LIST), envelope, delivery(), again, delivery()])];
    against(scripts, async |shared| {
        let mut session = Session::begin(&shared).await;
        assert_eq!(deliver(&mut session).await.code, 250);
        assert_eq!(deliver(&mut session).await.code, 250);
        session.bye().await;
    });
}

/// RFC 5321 §3.2. What it says to HELO is not read as a list of extensions.
#[test]
fn issue_10_a_backend_that_knows_no_ehlo_is_greeted_by_helo() {
    for refusal in ["500 what\r\n", "502 5.5.1 no\r\n", "504 no\r\n", "550 no\r\n"] {
        let hello = vec![Say(OPEN), Hear("EHLO mx.ok.test\r\n"), Say(refusal), Hear("HELO mx.ok.test\r\n")];
        let list = vec![Say("250-old\r\n250-PIPELINING\r\n250-SIZE 9\r\n250 CHUNKING\r\n")];
        let mail = || vec![Hear("MAIL FROM:<a@b.test>\r\n"), Say(OK), Hear("RCPT TO:<user@ok.test>\r\n"), Say(OK)];
        let fixture = Fixture::new().with(|slice| slice.backend.identity = Identity::None);
        let script = join([hello, list, mail(), delivery(), mail(), delivery()]);
        let backend = backend(&fixture.socket(), vec![script]);
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            assert_eq!(deliver(&mut session).await.code, 250);
            assert_eq!(deliver(&mut session).await.code, 250);
            session.bye().await;
        });
        backend.join().unwrap();
    }
}

/// A backend that cannot be told who the client is takes no mail. LMTP has no HELO, and a refusal for now is no lack of EHLO.
#[test]
fn issue_10_helo_is_said_only_where_the_backend_need_not_know_the_client() {
    for (identity, dialect, refusal) in [
        (Identity::Xclient, Dialect::Smtp, "502 no\r\n"),
        (Identity::ProxyV2, Dialect::Smtp, "502 no\r\n"),
        (Identity::None, Dialect::Lmtp, "502 no\r\n"),
        (Identity::None, Dialect::Smtp, "421 no\r\n"),
        (Identity::None, Dialect::Smtp, "450 no\r\n"),
        (Identity::None, Dialect::Smtp, "554 no\r\n"),
    ] {
        let verb = if dialect == Dialect::Lmtp { "LHLO " } else { "EHLO " };
        let header = proxy_v2(&Client {
            address: open().client,
            counted: open().counted(),
            local: open().local,
            helo: &Helo::default(),
            names: &ClientNames::NONE,
            login: None,
        });
        let proxy = if identity == Identity::ProxyV2 { vec![Octets(header)] } else { Vec::new() };
        // The script ends with the refusal: it does not take a HELO.
        let script = join([proxy, vec![Say(OPEN), Hear(verb), Say(refusal)]]);
        let fixture =
            Fixture::new().with(|slice| (slice.backend.identity, slice.backend.dialect) = (identity, dialect));
        let backend = backend(&fixture.socket(), vec![script]);
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 451, "{identity:?} {dialect:?} {refusal}");
            session.bye().await;
        });
        backend.join().unwrap();
    }
}

#[test]
fn a_backend_with_pipelining_gets_the_envelope_in_one_write_but_nothing_behind_xclient() {
    let reset = vec![HearMore("RSET"), HearMore("MAIL"), Hear("RCPT"), Say(OK), Say(OK), Say(OK)];
    let scripts = vec![join([envelope(LIST_PIPELINING), reset, delivery()])];
    against(scripts, async |shared| {
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        session.say(&[Ask::Reset]);
        assert_eq!(deliver(&mut session).await.code, 250);
        session.bye().await;
    });
}

#[test]
fn a_refused_data_costs_the_transaction_and_not_the_connection() {
    for (said, code) in [("451 4.3.0 later\r\n", 451), ("554 5.5.1 no\r\n", 554), ("503 5.5.1 no\r\n", 451)] {
        let refused = vec![Hear("DATA"), Say(said)];
        let reset = vec![HearMore("RSET"), HearMore("MAIL"), Hear("RCPT"), Say(OK), Say(OK), Say(OK)];
        against(vec![join([envelope(LIST_PIPELINING), refused, reset, delivery()])], async |shared| {
            let mut session = Session::begin(&shared).await;
            assert_eq!(deliver(&mut session).await.code, code);
            assert_eq!(deliver(&mut session).await.code, 250);
            session.bye().await;
        });
    }
}

#[test]
fn a_kept_connection_that_is_gone_is_made_anew_and_nobody_notices() {
    for last_words in [vec![], vec![Say("421 4.4.2 idle\r\n")], vec![Say("250 odd\r\n")]] {
        let first = join([envelope(LIST_PIPELINING), delivery(), last_words, vec![Close]]);
        let second = join([envelope(LIST_PIPELINING), delivery()]);
        against(vec![first, second], async |shared| {
            let mut session = Session::begin(&shared).await;
            assert_eq!(deliver(&mut session).await.code, 250);
            assert_eq!(deliver(&mut session).await.code, 250);
            session.bye().await;
        });
    }
}

#[test]
fn a_kept_connection_that_breaks_within_content_is_made_anew_too() {
    let first = join([envelope(LIST_PIPELINING), vec![Hear("DATA"), Close]]);
    let second = join([envelope(LIST_PIPELINING), delivery()]);
    against(vec![first, second], async |shared| {
        let mut session = Session::begin(&shared).await;
        assert_eq!(deliver(&mut session).await.code, 250);
        session.bye().await;
    });
}

#[test]
fn p1_a_message_whose_end_was_sent_is_never_sent_again_by_us() {
    let dots = join([envelope(LIST_PIPELINING), vec![Hear("DATA"), Say("354 go\r\n"), Content, Close]]);
    let length = join([envelope(LIST_CHUNKING), vec![Chunk, Close]]);
    for first in [dots, length] {
        against(vec![first], async |shared| {
            let mut session = Session::begin(&shared).await;
            let verdict = deliver(&mut session).await;
            assert_eq!((verdict.code, verdict.enhanced, verdict.reason), (451, (4, 4, 2), Reason::BackendLost));
            session.bye().await;
        });
    }
}

#[test]
fn p1_a_reply_too_many_is_never_taken_for_the_answer_to_the_content() {
    let (sent, is_sent) = std::sync::mpsc::channel();
    let (answered, is_answered) = std::sync::mpsc::channel();
    let too_many = vec![
        HearMore("MAIL"),
        Hear("RCPT"),
        Say(OK),
        Say(OK),
        // Not before the two replies that were due are read, and before anything else is asked.
        Do(Box::new(move || is_answered.recv().unwrap())),
        Say("250 one too many\r\n"),
        Do(Box::new(move || sent.send(()).unwrap())),
    ];
    let first = join([hello(LIST_CHUNKING), too_many]);
    // On the next connection everything is in order, and the content is refused.
    let second = join([envelope(LIST_CHUNKING), vec![Chunk, Say("550 5.7.1 spam\r\n")]]);
    against(vec![first, second], async |shared| {
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        answered.send(()).unwrap();
        is_sent.recv().unwrap();
        let verdict = session.send(MESSAGE).await;
        assert_eq!((verdict.code, verdict.reason), (550, Reason::ContentRefused));
        session.bye().await;
    });
}

#[test]
fn p1_a_second_answer_to_content_however_late_is_not_taken_for_the_answer_to_the_next() {
    // It comes when the next envelope has been sent, so that each answer stands in the place of the one behind it: the one to RCPT would
    // be the one to the content.
    let late = vec![
        Chunk,
        Say(OK),
        HearMore("MAIL"),
        Hear("RCPT"),
        Say("250 2.0.0 the first message, once more\r\n"),
        Say(OK),
        Hear("DATA"),
        Say(OK),
    ];
    against(vec![join([envelope(LIST_CHUNKING), late])], async |shared| {
        let mut session = Session::begin(&shared).await;
        assert_eq!(deliver(&mut session).await.code, 250);
        let verdict = deliver(&mut session).await;
        assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendDown));
        session.bye().await;
    });
}

#[test]
fn p1_a_second_answer_to_content_that_is_there_already_closes_the_connection() {
    let twice = vec![Chunk, Say("250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n")];
    let midway = vec![Chunk, Say("250 2.0.0 Ok\r\n25")];
    for first in [twice, midway] {
        let second = join([envelope(LIST_CHUNKING), vec![Chunk, Say("550 5.7.1 spam\r\n")]]);
        against(vec![join([envelope(LIST_CHUNKING), first]), second], async |shared| {
            let mut session = Session::begin(&shared).await;
            assert_eq!(deliver(&mut session).await.code, 250);
            assert_eq!(deliver(&mut session).await.code, 550);
            session.bye().await;
        });
    }
}

#[test]
fn a_recipient_asked_for_on_a_connection_that_broke_gets_an_honest_answer() {
    let first = join([envelope(LIST_PIPELINING), vec![Hear("RCPT TO:<two@ok.test>"), Close]]);
    let again = vec![HearMore("MAIL"), HearMore("RCPT TO:<user@"), Hear("RCPT TO:<two@"), Say(OK), Say(OK)];
    let second = join([hello(LIST_PIPELINING), again, vec![Say("550 5.1.1 unknown\r\n")], delivery()]);
    against(vec![first, second], async |shared| {
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        let verdict = session.ask(&[to("two@ok.test")]).await;
        assert_eq!((verdict.code, verdict.reason), (550, Reason::RecipientRefused));
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
}

#[test]
fn p9_what_a_session_writes_after_its_commit_is_not_sent() {
    // The session keeps its descriptor and uses it when the file has been measured: while DATA is being answered.
    type Deed = fn(&std::fs::File);
    let appended: Deed = |mut file| file.write_all(b".\r\nMAIL FROM:<smuggled@b.test>\r\n").unwrap();
    let cut: Deed = |file| file.set_len(10).unwrap();
    for (deed, code) in [(appended, 250), (cut, 554)] {
        let (give, take) = std::sync::mpsc::channel::<std::fs::File>();
        let meddle = Do(Box::new(move || deed(&take.recv().unwrap())));
        let mut script = join([envelope(LIST_PIPELINING), vec![Hear("DATA"), meddle, Say("354 go\r\n")]]);
        if code == 250 {
            script.extend([Content, Say(OK)]);
        } else {
            script.push(Broken);
        }
        against(vec![script], async |shared| {
            let mut session = Session::begin(&shared).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let mut file = std::fs::File::from(session.file(b"").await);
            file.write_all(&MESSAGE.repeat(5000)).unwrap();
            give.send(file).unwrap();
            let verdict = session.ask(&[Ask::Commit { length: 5000 * MESSAGE.len() as u64 }]).await;
            assert_eq!(verdict.code, code);
            session.bye().await;
        });
    }
}

#[test]
fn p9_impurity_deep_in_a_file_breaks_the_connection_before_the_end_of_content() {
    for list in [LIST_PIPELINING, LIST_CHUNKING] {
        let data = if list == LIST_CHUNKING { vec![] } else { vec![Hear("DATA"), Say("354 go\r\n")] };
        against(vec![join([envelope(list), data, vec![Broken]])], async |shared| {
            let mut session = Session::begin(&shared).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let content = [&MESSAGE.repeat(5000)[..], b"x\n.\r\nMAIL FROM:<smuggled@b.test>\r\n"].concat();
            let verdict = session.spool(b"Subject: x\r\n\r\n", &content).await;
            assert_eq!((verdict.code, verdict.reason), (554, Reason::BadContent));
            session.bye().await;
        });
    }
}
