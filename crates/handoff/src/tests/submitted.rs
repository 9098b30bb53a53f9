//! Issue 15: messages of who has logged in: whose they say they are, what is added to them, and what is not said of their sender.

use super::*;
use gatepost_smtp::envelope::Reason;
use gatepost_wire::auth::{LoggedIn, Noted};
use gatepost_wire::link::SessionId;
use gatepost_wire::rate::Rate;
use gatepost_wire::tables::TableSlice;
use gatepost_wire::{AuthToHandoff, HandoffToAuth};

const LOGIN_TOO: [&str; 2] = ["XCLIENT ADDR LOGIN", "CHUNKING"];

/// joe may send from joe@ok.test and from joe.test.
fn fixture(extensions: &[&str], change: impl FnOnce(&mut HandoffSlice)) -> (Fixture, Mta) {
    let fixture = Fixture::new().with(|slice| {
        slice.tables.permitted = TableSlice { entries: vec!["joe joe@ok.test @joe.test".to_owned()], cdb: Vec::new() };
        change(slice);
    });
    let mta = fixture.mta();
    mta.offer(extensions);
    (fixture, mta)
}

/// A session for submission, whose client auth says is joe.
async fn joe(shared: &Arc<Shared>) -> Session {
    joe_from(shared, open()).await
}

async fn joe_from(shared: &Arc<Shared>, open: Open) -> Session {
    let open = Open { service: Service::Submission, ..open };
    let session = Session::begin_as(shared, open).await;
    let (ours, theirs) = End::<AuthToHandoff, HandoffToAuth>::pair().unwrap();
    let link = shared.logins.link(theirs.as_fd().try_clone_to_owned().unwrap()).unwrap();
    drop(theirs);
    let heard = tokio::spawn(link);
    let auth = AsyncEnd::<AuthToHandoff, HandoffToAuth>::new(ours).unwrap();
    auth.tell(&LoggedIn { id: open.id, login: b"joe" }).await.unwrap();
    assert_eq!(auth.recv(&mut Inbox::new(64)).await.unwrap(), Noted { id: open.id, noted: true });
    drop(auth);
    heard.await.unwrap();
    session
}

async fn mail(session: &mut Session, from: &[u8], to_whom: &str) -> Verdict {
    session.ask(&[Ask::Mail(Mail { reverse_path: from, ..MAIL }), to(to_whom)]).await
}

#[test]
fn issue_15_the_header_is_held_to_who_has_logged_in() {
    for check_from in [true, false] {
        let (fixture, mta) = fixture(&LOGIN_TOO, |slice| slice.check_from = check_from);
        run(async {
            let mut session = joe(&fixture.shared()).await;
            assert_eq!(mail(&mut session, b"ann@ok.test", "user@ok.test").await.reason, Reason::NotYourAddress);
            session.say(&[Ask::Reset]);
            let mut taken = 0;
            for (header, is_his) in [
                ("From: joe@ok.test\r\n", true),
                ("From: Joe <x@joe.test>, JOE@ok.test\r\n", true),
                ("From: joe@ok.test\r\nSender: y@joe.test\r\n", true),
                ("From: ann@ok.test\r\n", false),
                ("From: joe@ok.test, ann@ok.test\r\n", false),
                ("From: joe@ok.test\r\nSender: ann@ok.test\r\n", false),
                ("From: joe@ok.test\r\nFrom: ann@ok.test\r\n", false),
                ("From: joe@ok.test (\r\n", false),
                ("Subject: nobody's\r\n", false),
            ] {
                let content = format!("{header}\r\nbody\r\n");
                for (inline, filed) in [(content.as_str(), ""), (&content[..3], &content[3..]), ("", content.as_str())]
                {
                    assert_eq!(mail(&mut session, b"joe@ok.test", "user@ok.test").await.code, 250);
                    let heard = match filed {
                        "" => session.send(inline.as_bytes()).await,
                        filed => session.spool(inline.as_bytes(), filed.as_bytes()).await,
                    };
                    let expected = match is_his || !check_from {
                        true => (250, Reason::Ok),
                        false => (553, Reason::NotYourFrom),
                    };
                    assert_eq!((heard.code, heard.reason), expected, "{header} inline {}", inline.len());
                    taken += usize::from(heard.code == 250);
                    assert_eq!(mta.count(), taken, "{header}");
                }
            }
            session.bye().await;
        });
    }
}

#[test]
fn issue_15_date_and_message_id_are_added_where_they_are_missing() {
    let body = "x\r\n".repeat(60_000);
    for extensions in [&LOGIN_TOO[..], &LOGIN_TOO[..1]] {
        let (fixture, mta) = fixture(extensions, |slice| slice.hide_client = true);
        run(async {
            let mut session = joe(&fixture.shared()).await;
            for (number, (header, date, id)) in [
                ("Subject: s\r\n", true, true),
                ("Date: today\r\n", false, true),
                ("Message-ID: <a@b.test>\r\n", true, false),
                ("Message-Id: <a@b.test>\r\nX: y\r\nDATE: today\r\n", false, false),
            ]
            .into_iter()
            .flat_map(|case| [case, case])
            .enumerate()
            {
                let content = format!("{header}\r\n{}", if number % 2 == 0 { "body\r\n" } else { &body });
                assert_eq!(mail(&mut session, b"joe@ok.test", "user@ok.test").await.code, 250);
                let heard = match content.split_at_checked(100_000) {
                    Some((inline, filed)) => session.spool(inline.as_bytes(), filed.as_bytes()).await,
                    None => session.send(content.as_bytes()).await,
                };
                assert_eq!(heard.code, 250, "{heard:?}");
                let taken = mta.taken();
                let got = &taken.last().unwrap().content;
                let front = got.strip_suffix(&content).unwrap_or_else(|| panic!("changed: {:.600}", got));
                assert!(front.starts_with("Received: by mx.ok.test with ESMTPA id 0000000abc."), "{front}");
                assert!(!front.contains("192.0.2.9") && !front.contains("client.test"), "{front}");
                let ours = format!(".0000000abc.{}@mx.ok.test>\r\n", number + 1);
                assert_eq!((front.contains("\r\nDate: "), front.contains(&ours)), (date, id), "{front}");
                assert_eq!(front.lines().count(), 2 + usize::from(date) + usize::from(id), "{front}");
            }
            session.bye().await;
            // Mail that is relayed is nobody's to complete, and its client is shown.
            let mut session = Session::begin(&fixture.shared()).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            assert_eq!(session.send(b"Subject: s\r\n\r\nx\r\n").await.code, 250);
            let taken = mta.taken();
            let got = &taken.last().unwrap().content;
            assert!(got.starts_with("Received: from client.test ([192.0.2.9])") && !got.contains("\nDate:"), "{got}");
        });
    }
}

#[test]
fn issue_15_a_login_has_a_rate_of_its_own_wherever_it_comes_from() {
    let (fixture, _mta) = fixture(&LOGIN_TOO, |slice| {
        slice.rates.login_recipients = Some(Rate { count: 4, seconds: 86_400 });
    });
    run(async {
        let shared = fixture.shared();
        let mut answers = Vec::new();
        for (n, exempt) in [(1, false), (2, false), (3, true)] {
            let client = format!("192.0.{n}.1:4713").parse().unwrap();
            let mut session = joe_from(&shared, Open { client, exempt, id: SessionId(n), ..open() }).await;
            for to_whom in ["a@ok.test", "b@ok.test"] {
                let verdict = match to_whom {
                    "a@ok.test" => mail(&mut session, b"joe@ok.test", to_whom).await,
                    _ => session.ask(&[to(to_whom)]).await,
                };
                answers.push((verdict.code, verdict.reason));
            }
            session.bye().await;
        }
        let (taken, late) = ((250, Reason::Ok), (450, Reason::LoginRate));
        assert_eq!(answers, [taken, taken, taken, taken, late, late]);
        // Nobody else's mail pays for it.
        let mut stranger = Session::begin(&shared).await;
        assert_eq!(stranger.mail_and("user@ok.test").await.code, 250);
        stranger.bye().await;
    });
}
