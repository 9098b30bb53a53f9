//! Orders, links, drain: the role as the launcher and the listener see it.

use super::*;
use gatepost_role::RoleError;
use gatepost_testkit::rogue::{Deed, Stage};
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::link::HandoffOrder;
use gatepost_wire::{HandoffToListener, LauncherToRole, ListenerToHandoff, RoleToLauncher};
use tokio::task::JoinHandle;

type Launcher = AsyncEnd<LauncherToRole, RoleToLauncher>;
type Listener = End<ListenerToHandoff, HandoffToListener>;

struct Started {
    launcher: Launcher,
    serving: JoinHandle<Result<(), RoleError>>,
}

impl Started {
    fn start(fixture: &Fixture) -> Self {
        let (theirs, ours) = End::pair().unwrap();
        let shared = fixture.shared();
        shared.prepare_spool().unwrap();
        let serving = tokio::spawn(crate::serve::serve(theirs, shared));
        Self { launcher: AsyncEnd::new(ours).unwrap(), serving }
    }

    async fn listener(&self) -> Listener {
        let (ours, theirs) = Listener::pair().unwrap();
        self.launcher.tell_with(&Order::Peer(Role::Listener), &[theirs.as_fd()]).await.unwrap();
        ours
    }

    async fn go(&self) {
        self.launcher.tell(&Order::Go).await.unwrap();
        assert_eq!(self.launcher.recv(&mut Inbox::new(64)).await.unwrap(), Report::Ready);
    }

    async fn session(listener: &Listener) -> Session {
        let (ours, theirs) = End::<SessionToHandoff, HandoffToSession>::pair().unwrap();
        listener.tell_with(&HandoffOrder::Open(open()), &[theirs.as_fd()]).unwrap();
        drop(theirs);
        Session::over(ours, None).await
    }

    async fn end(self) -> Result<(), RoleError> {
        self.serving.await.unwrap()
    }
}

#[test]
fn it_is_ready_when_the_backend_has_proved_itself_and_then_serves() {
    let fixture = Fixture::new().with(|slice| slice.backend.relay_proof = true);
    let mta = fixture.mta();
    run(async {
        let role = Started::start(&fixture);
        let listener = role.listener().await;
        role.go().await;
        assert!(mta.lines().contains(&"RCPT TO:<relay-test@[192.0.2.3]>".to_owned()));
        let mut session = Started::session(&listener).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        role.launcher.tell(&Order::Drain).await.unwrap();
        session.bye().await;
        role.end().await.unwrap();
    });
    assert_eq!(mta.count(), 1);
}

#[test]
fn p7_it_does_not_start_before_a_backend_that_relays() {
    let fixture = Fixture::new().with(|slice| slice.backend.relay_proof = true);
    let mta = fixture.mta();
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    let ended = run(async {
        let role = Started::start(&fixture);
        role.launcher.tell(&Order::Go).await.unwrap();
        role.end().await
    });
    let Err(RoleError::Backend(why)) = ended else { panic!("{ended:?}") };
    assert!(why.contains("relays for a stranger"), "{why}");
}

#[test]
fn it_waits_for_a_backend_that_comes_up_later() {
    let fixture = Fixture::new();
    run(async {
        let role = Started::start(&fixture);
        role.launcher.tell(&Order::Go).await.unwrap();
        // A first attempt has failed once this thread has yielded so often; if not, the test is only milder.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let _mta = fixture.mta();
        assert_eq!(role.launcher.recv(&mut Inbox::new(64)).await.unwrap(), Report::Ready);
    });
}

#[test]
fn a_drain_ends_with_the_last_session_and_no_sooner() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let role = Started::start(&fixture);
        let listener = role.listener().await;
        role.go().await;
        let mut first = Started::session(&listener).await;
        let second = Started::session(&listener).await;
        role.launcher.tell(&Order::Drain).await.unwrap();
        second.bye().await;
        assert_eq!(first.mail_and("user@ok.test").await.code, 250);
        assert_eq!(first.send(MESSAGE).await.code, 250);
        assert!(!role.serving.is_finished());
        first.bye().await;
        role.end().await.unwrap();
    });
    assert_eq!(mta.count(), 1);
}

#[test]
fn a_drain_without_sessions_ends_at_once() {
    let fixture = Fixture::new();
    let _mta = fixture.mta();
    run(async {
        let role = Started::start(&fixture);
        role.go().await;
        role.launcher.tell(&Order::Drain).await.unwrap();
        role.end().await.unwrap();
    });
}

#[test]
fn sessions_outlive_the_link_they_came_by() {
    let fixture = Fixture::new();
    let _mta = fixture.mta();
    run(async {
        let role = Started::start(&fixture);
        let old = role.listener().await;
        role.go().await;
        let mut session = Started::session(&old).await;
        let new = role.listener().await;
        drop(old);
        let other = Started::session(&new).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        other.bye().await;
    });
}

#[test]
fn issue_8_a_listener_that_breaks_the_rules_is_not_heard_again_and_its_sessions_go_on() {
    for descriptors in [0, 2] {
        let fixture = Fixture::new();
        let _mta = fixture.mta();
        run(async {
            let role = Started::start(&fixture);
            let listener = role.listener().await;
            role.go().await;
            let mut session = Started::session(&listener).await;
            let (spare, _) = Listener::pair().unwrap();
            listener.tell_with(&HandoffOrder::Open(open()), &vec![spare.as_fd(); descriptors]).unwrap();
            // Its link is closed by handoff, at the latest when a second message is refused.
            while listener.tell(&HandoffOrder::Open(open())).is_ok() {
                tokio::task::yield_now().await;
            }
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let other = role.listener().await;
            Started::session(&other).await.bye().await;
        });
    }
}

#[test]
fn it_ends_when_the_launcher_is_gone() {
    let fixture = Fixture::new();
    run(async {
        let Started { launcher, serving } = Started::start(&fixture);
        drop(launcher);
        assert!(matches!(serving.await.unwrap(), Err(RoleError::LauncherGone)));
    });
}

#[test]
fn what_a_killed_process_left_in_the_spool_is_removed_and_nothing_else() {
    let fixture = Fixture::new();
    let spool = std::path::Path::new(&fixture.slice.spool);
    fs::write(spool.join("content-0123456789abcdef"), "left").unwrap();
    fs::write(spool.join("README"), "stays").unwrap();
    fixture.shared().prepare_spool().unwrap();
    let names: Vec<_> = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["README"]);
    let missing = fixture.directory.join("missing").display().to_string();
    let fixture = Fixture::new().with(|slice| slice.spool = missing);
    let refused = fixture.shared().prepare_spool();
    assert!(matches!(refused, Err(RoleError::System { .. })));
}

/// The listener needs a slot: a session that is told delivers nothing any more; one whose message is on the way is left alone.
#[test]
fn p13_a_session_leaves_unless_its_message_is_being_delivered() {
    let mut fixture = Fixture::new();
    fixture.timeouts.end = std::time::Duration::from_secs(2);
    let mta = fixture.mta();
    run(async {
        let role = Started::start(&fixture);
        let listener = role.listener().await;
        role.go().await;
        let listener = AsyncEnd::new(listener).unwrap();
        let leave = async |id: SessionId| {
            listener.tell(&HandoffOrder::Leave(id)).await.unwrap();
            let left = listener.recv(&mut Inbox::new(64)).await.unwrap();
            assert_eq!(left.id, id);
            left.told
        };
        let begin = async |id| {
            let (ours, theirs) = End::<SessionToHandoff, HandoffToSession>::pair().unwrap();
            listener.tell_with(&HandoffOrder::Open(Open { id, ..open() }), &[theirs.as_fd()]).await.unwrap();
            Session::over(ours, None).await
        };
        assert!(leave(SessionId(1)).await, "one that there is not is gone");

        let id = SessionId(2);
        let mut session = begin(id).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        assert!(leave(id).await);
        assert_eq!(session.answer().await.unwrap(), Answer::Leave);
        assert!(leave(id).await, "told twice is told");
        // It has committed before it heard.
        assert_eq!(session.send(MESSAGE).await, crate::verdict::RECLAIMED);
        session.bye().await;
        assert_eq!(mta.count(), 0);

        // The backend has all of the message and does not say what becomes of it.
        mta.misbehave(Stage::End, Deed::Hang);
        let id = SessionId(3);
        let mut session = begin(id).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        session.say(&[Ask::Content(MESSAGE), Ask::Commit { length: MESSAGE.len() as u64 }]);
        while !mta.lines().iter().any(|line| line.starts_with("DATA") || line.starts_with("BDAT")) {
            tokio::task::yield_now().await;
        }
        assert!(!leave(id).await);
        assert!(matches!(session.answer().await.unwrap(), Answer::Verdict { verdict, .. } if verdict.code == 451));
        while !leave(id).await {
            tokio::task::yield_now().await;
        }
        assert_eq!(session.answer().await.unwrap(), Answer::Leave);
        session.bye().await;
    });
}
