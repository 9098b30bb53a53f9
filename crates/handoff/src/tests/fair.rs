//! What is scarce is shared by network (issue 9).

use super::*;
use crate::memory;
use crate::violation::SMALL_MAX;
use gatepost_testkit::rogue::{Deed, Stage};
use gatepost_wire::session::CONTENT_MAX;

/// A session of a client at `ip`.
async fn session(shared: &Arc<Shared>, ip: &str) -> Session {
    Session::begin_as(shared, Open { client: format!("{ip}:4713").parse().unwrap(), ..open() }).await
}

/// Row 1: with one connection for all, each of two networks takes it from the other whenever it is not in use.
#[test]
fn p13_a_parked_connection_is_taken_back_and_its_envelope_sent_again() {
    for identity in [Identity::Xclient, Identity::None] {
        let fixture = Fixture::new().with(|slice| (slice.backend.connections, slice.backend.identity) = (1, identity));
        let mta = fixture.mta();
        run(async {
            let shared = fixture.shared();
            let mut first = session(&shared, "192.0.2.9").await;
            let mut second = session(&shared, "198.51.100.7").await;
            assert_eq!(first.mail_and("one@ok.test").await.code, 250);
            assert_eq!(first.ask(&[to("two@ok.test")]).await.code, 250);
            assert_eq!(second.mail_and("three@ok.test").await.code, 250);
            assert_eq!(first.send(MESSAGE).await.code, 250);
            assert_eq!(second.send(MESSAGE).await.code, 250);
            let taken: Vec<Vec<String>> = mta.taken().into_iter().map(|taken| taken.to).collect();
            assert_eq!(taken, [vec!["one@ok.test", "two@ok.test"], vec!["three@ok.test"]]);
            first.bye().await;
            second.bye().await;
        });
        assert_eq!(mta.connections(), 4, "no connection served two sessions, and none was opened in vain");
    }
}

/// A client that asks about one recipient more whenever its connection has been closed does not have the backend asked about all the
/// others each time; with the content it is told all of them.
#[test]
fn p13_an_envelope_is_not_sent_again_for_each_recipient() {
    let fixture = Fixture::new().timeouts(|timeouts| timeouts.park = SHORT);
    let mta = fixture.mta();
    let asked = || mta.lines().iter().filter(|line| line.starts_with("RCPT")).count();
    run(async {
        let shared = fixture.shared();
        let mut session = session(&shared, "192.0.2.9").await;
        assert_eq!(session.mail_and("0@ok.test").await.code, 250);
        for number in 1..70 {
            assert_eq!(session.ask(&[to(&format!("{number}@ok.test"))]).await.code, 250);
        }
        for number in 70..80 {
            tokio::time::sleep(4 * SHORT).await;
            assert_eq!(session.ask(&[to(&format!("{number}@ok.test"))]).await.code, 250);
        }
        assert!(asked() <= 80 + 200, "{} questions for 80 recipients", asked());
        assert!(mta.connections() > 5, "the connection was closed in between");
        // Another on the connection that holds a part.
        assert_eq!(session.ask(&[to("80@ok.test")]).await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
    let all: Vec<String> = (0..=80).map(|number| format!("{number}@ok.test")).collect();
    assert_eq!(mta.taken().into_iter().map(|taken| taken.to).collect::<Vec<_>>(), [all]);
}

/// A connection that is waited for is taken from nobody while a command is under way on it.
#[test]
fn p13_who_waits_too_long_for_a_connection_is_told_to_come_again() {
    let fixture =
        Fixture::new().with(|slice| slice.backend.connections = 1).timeouts(|timeouts| timeouts.queue = SHORT);
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let first = session(&shared, "192.0.2.9").await;
        mta.misbehave(Stage::Rcpt, Deed::Hang);
        first.say(&[Ask::Mail(MAIL), to("one@ok.test")]);
        while !mta.lines().iter().any(|line| line.starts_with("RCPT")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut second = session(&shared, "198.51.100.7").await;
        let verdict = second.mail_and("two@ok.test").await;
        assert_eq!((verdict.code, verdict.enhanced), (451, (4, 3, 2)));
        assert_eq!(mta.connections(), 1);
    });
}

/// A shared connection that waits for the next session is used by it, and closed when another network needs a connection.
#[test]
fn p13_an_idle_connection_counts_and_goes_to_the_next_session() {
    let fixture =
        Fixture::new().with(|slice| (slice.backend.connections, slice.backend.identity) = (1, Identity::None));
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        for ip in ["192.0.2.9", "198.51.100.7", "192.0.2.9"] {
            let mut session = session(&shared, ip).await;
            assert_eq!(session.mail_and("one@ok.test").await.code, 250);
            assert_eq!(session.send(MESSAGE).await.code, 250);
            session.bye().await;
        }
    });
    assert_eq!((mta.connections(), mta.count()), (1, 3));
}

/// Row 3: one network fills the memory with unfinished content; a small message of another has room, and a transaction of the
/// first network is told to come again.
#[test]
fn p13_unfinished_content_of_one_network_leaves_room_for_others() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let mut shared = Arc::into_inner(fixture.shared()).unwrap();
        shared.memory = memory::of(256 << 10);
        let shared = Arc::new(shared);
        let mut attackers = Vec::new();
        for number in 0..20 {
            let mut attacker = session(&shared, &format!("192.0.2.{number}")).await;
            if attacker.mail_and("one@ok.test").await.code == 250 {
                attacker.say(&[Ask::Content(&[b'x'; CONTENT_MAX])]);
                attackers.push(attacker);
            }
        }
        for number in 0..3 {
            let mut good = session(&shared, &format!("198.51.100.{number}")).await;
            assert_eq!(good.mail_and("two@ok.test").await.code, 250);
            assert_eq!(good.send(MESSAGE).await.code, 250);
            good.bye().await;
        }
        let mut codes = Vec::new();
        for attacker in &mut attackers {
            codes.push(attacker.ask(&[Ask::Commit { length: CONTENT_MAX as u64 }]).await.code);
        }
        assert!(codes.contains(&452), "{codes:?}");
        assert!(codes.iter().all(|code| [250, 452].contains(code)), "{codes:?}");
    });
    assert!(mta.count() > 3);
}

/// Row 15: messages without an octet kept handoff busy and cost the session nothing.
#[test]
fn issue_9_content_without_an_octet_ends_the_session() {
    let fixture = Fixture::new();
    let _mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let mut owned = session(&shared, "192.0.2.9").await;
        assert_eq!(owned.mail_and("one@ok.test").await.code, 250);
        owned.say(&[Ask::Content(b"")]);
        assert!(owned.is_dropped().await);
    });
}

/// Row 15: content in many small frames costs handoff as much as in full ones, and brings it less.
#[test]
fn issue_9_content_in_many_small_frames_ends_the_session() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let mut owned = session(&shared, "192.0.2.9").await;
        for accepted in [true, false] {
            assert_eq!(owned.mail_and("one@ok.test").await.code, 250);
            for _ in 0..SMALL_MAX {
                owned.say(&[Ask::Content(b"x\r\n")]);
            }
            if accepted {
                assert_eq!(owned.ask(&[Ask::Commit { length: u64::from(3 * SMALL_MAX) }]).await.code, 250);
            }
        }
        owned.say(&[Ask::Content(b"x\r\n")]);
        assert!(owned.is_dropped().await);
    });
    assert_eq!(mta.count(), 1);
}
