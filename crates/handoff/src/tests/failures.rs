//! P1 against a backend that fails: at every stage, in every way, the client hears the truth in time.

use super::*;
use crate::backend::{DeliveryError, Failure};
use crate::outcome::Outcome;
use gatepost_smtp::envelope::Reason;
use gatepost_testkit::rogue::{Deed, Stage};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use tracing::span::{self, Attributes, Record};
use tracing::{Event, Metadata, Subscriber};

/// When the client hears of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Rcpt,
    Commit,
}

type Row = (Stage, Deed, At, u16, Reason);

fn rows() -> Vec<Row> {
    use At::{Commit, Rcpt};
    use Deed::{Answer, Close, Cut, Flood, Hang};
    use Stage::*;
    let mut rows = vec![
        (Greeting, Answer("220 late\r\n250 and more\r\n"), Rcpt, 451, Reason::BackendDown),
        (Greeting, Answer("554 5.3.2 go away\r\n"), Rcpt, 451, Reason::BackendDown),
        (Greeting, Answer("HTTP/1.1 400 Bad Request\r\n"), Rcpt, 451, Reason::BackendDown),
        (Hello, Answer("500 5.5.1 what\r\n"), Rcpt, 451, Reason::BackendDown),
        (Hello, Answer("250-mx\r\n251 mixed\r\n"), Rcpt, 451, Reason::BackendDown),
        (Xclient, Answer("501 5.5.4 bad\r\n"), Rcpt, 451, Reason::IdentityRefused),
        (Xclient, Answer("503 5.5.1 not now\r\n"), Rcpt, 451, Reason::IdentityRefused),
        (Xclient, Answer("550 5.7.0 not authorized\r\n"), Rcpt, 451, Reason::IdentityRefused),
        (Xclient, Answer("250 2.0.0 Ok\r\n"), Rcpt, 451, Reason::BackendDown),
        (Xclient, Answer("554 5.7.1 listed\r\n"), Rcpt, 554, Reason::ClientRefused),
        (Xclient, Answer("450 4.7.25 no name\r\n"), Rcpt, 450, Reason::ClientRefused),
        (HelloAgain, Answer("550 5.7.1 bad helo\r\n"), Rcpt, 550, Reason::ClientRefused),
        (Mail, Answer("550 5.1.8 no such domain\r\n"), Rcpt, 550, Reason::SenderRefused),
        (Mail, Answer("452 4.3.1 full\r\n"), Rcpt, 452, Reason::SenderRefused),
        (Mail, Answer("530 5.7.0 STARTTLS first\r\n"), Rcpt, 451, Reason::Internal),
        (Mail, Answer("354 odd\r\n"), Rcpt, 451, Reason::BackendDown),
        (Stage::Rcpt, Answer("550 5.1.1 unknown\r\n"), Rcpt, 550, Reason::RecipientRefused),
        (Stage::Rcpt, Answer("551 5.1.6 elsewhere\r\n"), Rcpt, 550, Reason::RecipientRefused),
        (Stage::Rcpt, Answer("450 4.2.0 greylisted\r\n"), Rcpt, 450, Reason::RecipientRefused),
        (Stage::Rcpt, Answer("452 4.2.2 full\r\n"), Rcpt, 452, Reason::RecipientRefused),
        (Stage::Rcpt, Answer("354 odd\r\n"), Rcpt, 451, Reason::BackendDown),
        (Stage::Rcpt, Answer("999 odd\r\n"), Rcpt, 451, Reason::BackendDown),
        (Data, Answer("250 2.0.0 Ok\r\n"), Commit, 451, Reason::BackendDown),
        (End, Answer("452 4.3.1 full\r\n"), Commit, 452, Reason::ContentRefused),
        (End, Answer("550 5.7.1 spam\r\n"), Commit, 550, Reason::ContentRefused),
        (End, Answer("554 5.6.0 virus\r\n"), Commit, 554, Reason::ContentRefused),
        (End, Answer("571 5.7.1 odd\r\n"), Commit, 554, Reason::ContentRefused),
        (End, Answer("354 odd\r\n"), Commit, 451, Reason::BackendDown),
        (End, Answer("ok\r\n"), Commit, 451, Reason::BackendDown),
        (Content, Answer("552 5.3.4 too large\r\n"), Commit, 552, Reason::ContentRefused),
        (Content, Close, Commit, 451, Reason::BackendLost),
    ];
    for stage in [Greeting, Hello, Xclient, HelloAgain, Mail, Stage::Rcpt, Data, End] {
        let at = if matches!(stage, Data | End) { Commit } else { Rcpt };
        rows.push((stage, Answer("421 4.3.2 closing\r\n"), at, 451, Reason::BackendDown));
        rows.push((stage, Answer("250 bare LF\n"), at, 451, Reason::BackendDown));
        rows.push((stage, Answer("2\0\r\n"), at, 451, Reason::BackendDown));
        rows.push((stage, Close, at, 451, Reason::BackendLost));
        rows.push((stage, Cut(0), at, 451, Reason::BackendLost));
        rows.push((stage, Cut(4), at, 451, Reason::BackendLost));
        rows.push((stage, Flood, at, 451, Reason::BackendDown));
        rows.push((stage, Hang, at, 451, Reason::BackendTimeout));
    }
    rows
}

fn shortened(stage: Stage, timeouts: &mut Timeouts) {
    match stage {
        Stage::Greeting | Stage::Hello | Stage::StartTls | Stage::Xclient | Stage::HelloAgain => {
            timeouts.greeting = SHORT
        }
        Stage::Mail | Stage::Rcpt | Stage::Reset => timeouts.envelope = SHORT,
        Stage::Data => timeouts.data = SHORT,
        // The next message has to be delivered within it too, on a busy machine.
        Stage::Content | Stage::End => timeouts.end = 20 * SHORT,
    }
}

#[test]
fn p1_every_failure_of_the_backend_at_every_stage_is_told_as_what_it_is() {
    let framings: [&[&str]; 3] = [
        &["PIPELINING", "XCLIENT ADDR PORT HELO PROTO NAME"],
        &["XCLIENT ADDR"],
        &["PIPELINING", "CHUNKING", "XCLIENT ADDR"],
    ];
    for extensions in framings {
        for (stage, deed, at, code, reason) in rows() {
            if stage == Stage::Data && extensions.contains(&"CHUNKING") {
                continue;
            }
            let what = format!("{extensions:?} {stage:?} {deed:?}");
            let fixture = Fixture::new().timeouts(|timeouts| {
                if deed == Deed::Hang {
                    shortened(stage, timeouts)
                }
            });
            let mta = fixture.mta();
            mta.offer(extensions);
            mta.misbehave(stage, deed);
            run(async {
                let mut session = Session::begin(&fixture.shared()).await;
                let mut verdict = session.mail_and("user@ok.test").await;
                if at == At::Commit {
                    assert_eq!(verdict.code, 250, "{what}");
                    verdict = session.send(&MESSAGE.repeat(50)).await;
                }
                assert_eq!((verdict.code, verdict.reason), (code, reason), "{what}");
                assert_eq!(u16::from(verdict.enhanced.0), code / 100, "{what}");
                if at == At::Rcpt {
                    session.say(&[Ask::Reset]);
                }
                // One failure costs one transaction: the session goes on as soon as the backend does.
                mta.behave();
                assert_eq!(session.mail_and("user@ok.test").await.code, 250, "{what}, afterwards");
                assert_eq!(session.send(MESSAGE).await.code, 250, "{what}, afterwards");
                session.bye().await;
            });
            let complete = usize::from(stage == Stage::End) + usize::from(stage == Stage::Content && code == 552);
            assert_eq!(mta.count(), 1 + complete, "{what}");
        }
    }
}

#[test]
fn a_backend_that_is_not_there_is_come_back_later() {
    let fixture = Fixture::new();
    let verdict = run(async { Session::begin(&fixture.shared()).await.mail_and("user@ok.test").await });
    assert_eq!((verdict.code, verdict.enhanced, verdict.reason), (451, (4, 3, 0), Reason::BackendDown));
}

#[test]
fn a_backend_that_drips_its_replies_is_understood() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Content) {
        mta.misbehave(stage, Deed::Drip(Duration::from_micros(100)));
    }
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
    });
    assert_eq!(mta.count(), 1);
}

#[test]
fn the_next_backend_is_tried_when_the_first_is_down() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    let fixture = fixture.with(|slice| {
        let nowhere = slice.spool.clone() + "/nobody";
        slice.backend.connect.insert(0, Connect::Unix(nowhere.into()));
    });
    run(async {
        let shared = fixture.shared();
        shared.routes.prove().await.unwrap();
        let mut session = Session::begin(&shared).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
    });
    assert_eq!(mta.count(), 1);
}

#[test]
fn a_backend_over_tcp_is_as_good() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mta = Mta::tcp(listener, Speaks::Smtp);
    let fixture = Fixture::new().with(|slice| slice.backend.connect = vec![Connect::Tcp(address)]);
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
    });
    assert_eq!(mta.count(), 1);
}

#[test]
fn p1_a_backend_that_uses_up_every_wait_does_not_outlast_the_client() {
    let drip = Deed::Drip(Duration::from_millis(2));
    let fixture = Fixture::new().timeouts(|timeouts| timeouts.rcpt = SHORT);
    let mta = fixture.mta();
    Stage::ALL
        .into_iter()
        .filter(|stage| *stage != Stage::Content)
        .for_each(|stage| mta.misbehave(stage, drip.clone()));
    let verdict = run(async { Session::begin(&fixture.shared()).await.mail_and("user@ok.test").await });
    assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendTimeout));

    let fixture = Fixture::new().timeouts(|timeouts| timeouts.end = SHORT);
    let mta = fixture.mta();
    mta.misbehave(Stage::Data, Deed::Hang);
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        let verdict = session.send(MESSAGE).await;
        assert_eq!((verdict.code, verdict.reason), (451, Reason::BackendTimeout));
    });
    assert_eq!(mta.count(), 0);
}

#[test]
fn a_backend_that_has_just_failed_is_asked_last() {
    let fixture = Fixture::new().timeouts(|timeouts| timeouts.greeting = SHORT);
    let slow = Mta::unix(&fixture.directory.join("slow"), Speaks::Smtp);
    let slow_socket = Connect::Unix(fixture.directory.join("slow"));
    let fixture = fixture.with(|slice| slice.backend.connect.insert(0, slow_socket));
    let good = fixture.mta();
    slow.misbehave(Stage::Greeting, Deed::Hang);
    run(async {
        let shared = fixture.shared();
        for _ in 0..3 {
            let mut session = Session::begin(&shared).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            session.bye().await;
        }
    });
    assert_eq!((slow.connections(), good.connections()), (1, 3));
}

#[test]
fn a_kept_connection_has_as_much_time_to_answer_as_a_new_one() {
    let fixture = Fixture::new().timeouts(|timeouts| timeouts.park = SHORT);
    let mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("one@ok.test").await.code, 250);
        // Each reply takes longer than the connection may rest.
        let drip = Deed::Drip(SHORT / 10);
        mta.misbehave(Stage::Rcpt, drip.clone());
        assert_eq!(session.ask(&[to("two@ok.test")]).await.code, 250);
        mta.misbehave(Stage::End, drip);
        assert_eq!(session.send(MESSAGE).await.code, 250);
    });
    assert_eq!(mta.count(), 1);
}

/// Counts lines.
struct Lines(AtomicUsize);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[test]
fn p13_failures_that_a_client_causes_are_not_all_in_the_log() {
    const MANY: usize = 5000;
    let fixture = Fixture::new();
    let shared = fixture.shared();
    let errors: [fn() -> DeliveryError; 2] =
        [|| DeliveryError::File(ErrorKind::PermissionDenied.into()), || DeliveryError::After(Failure::Lost(None))];
    for (host, error) in (1..).zip(errors) {
        let client = SocketAddr::from(([198, 51, 100, host], 4713));
        let lines = Arc::new(Lines(AtomicUsize::new(0)));
        tracing::subscriber::with_default(Arc::clone(&lines), || {
            for _ in 0..MANY {
                Outcome::of_error(&error(), &shared.log_limit, &Open { client, ..open() });
            }
        });
        let lines = lines.0.load(Ordering::Relaxed);
        assert!((1..MANY / 2).contains(&lines), "{lines}");
    }
}
