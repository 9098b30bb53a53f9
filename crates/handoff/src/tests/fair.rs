//! What is scarce is shared by network (issue 9).

use super::*;
use gatepost_testkit::rogue::{Deed, Stage};

/// A session of a client at `ip`.
async fn session(shared: &Arc<Shared>, ip: &str) -> Session {
    Session::begin_as(shared, Open { client: format!("{ip}:4713").parse().unwrap(), ..open() }).await
}

/// Row 1: with one connection for all, each of two networks takes it from the other whenever it is not in use.
#[test]
fn p13_a_parked_connection_is_taken_back_and_its_envelope_sent_again() {
    for identity in [Identity::Xclient, Identity::None] {
        let scene = Scene::new().with(|slice| (slice.connections, slice.identity) = (1, identity));
        let mta = scene.mta();
        play(async {
            let shared = scene.shared();
            let mut first = session(&shared, "192.0.2.9").await;
            let mut second = session(&shared, "198.51.100.7").await;
            assert_eq!(first.mail_and("one@ok.test").await.code, 250);
            assert_eq!(first.ask(&[to("two@ok.test")]).await.code, 250);
            assert_eq!(second.mail_and("three@ok.test").await.code, 250);
            assert_eq!(first.send(LETTER).await.code, 250);
            assert_eq!(second.send(LETTER).await.code, 250);
            let taken: Vec<Vec<String>> = mta.taken().into_iter().map(|taken| taken.to).collect();
            assert_eq!(taken, [vec!["one@ok.test", "two@ok.test"], vec!["three@ok.test"]]);
            first.bye().await;
            second.bye().await;
        });
        assert_eq!(mta.connections(), 4, "no connection served two sessions, and none was opened in vain");
    }
}

/// A connection that is waited for is taken from nobody while a command is under way on it.
#[test]
fn p13_who_waits_too_long_for_a_connection_is_told_to_come_again() {
    let scene = Scene::new().with(|slice| slice.connections = 1).timeouts(|timeouts| timeouts.queue = SHORT);
    let mta = scene.mta();
    play(async {
        let shared = scene.shared();
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

/// A shared connection that waits for the next session is used by it, and closed when another network needs its place.
#[test]
fn p13_an_idle_connection_counts_and_goes_to_the_next_session() {
    let scene = Scene::new().with(|slice| (slice.connections, slice.identity) = (1, Identity::None));
    let mta = scene.mta();
    play(async {
        let shared = scene.shared();
        for ip in ["192.0.2.9", "198.51.100.7", "192.0.2.9"] {
            let mut session = session(&shared, ip).await;
            assert_eq!(session.mail_and("one@ok.test").await.code, 250);
            assert_eq!(session.send(LETTER).await.code, 250);
            session.bye().await;
        }
    });
    assert_eq!((mta.connections(), mta.count()), (1, 3));
}
