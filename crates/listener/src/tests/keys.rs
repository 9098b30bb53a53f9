//! The keyholder and sessions that ask nothing of it (issue 14).

use super::*;

type SessionEnd = End<SessionToKeyholder, KeyholderToSession>;
type KeyholderEnd = End<KeyholderToSession, SessionToKeyholder>;

/// A session that may start TLS, and its end of the channel to the keyholder.
fn may_ask(fixture: &Fixture, nursery: &Nursery) -> (TcpStream, SessionId, SessionEnd) {
    let client = fixture.connect(1);
    let (begun, mut fds) = start(nursery);
    (client, begun.id, SessionEnd::from_fd(fds.pop().unwrap()))
}

fn announced(keyholder: &Keyholder) -> (OpenKey, KeyholderEnd) {
    let (key, mut fds) = keyholder.recv_with(&mut Inbox::new(64)).unwrap();
    (key, KeyholderEnd::from_fd(fds.pop().unwrap()))
}

const QUESTION: sign::Sign<'static> = sign::Sign { pair: 0, scheme: 0x0403, message: b"m" };

#[test]
fn issue_14_the_keyholder_hears_of_a_session_when_it_asks_and_not_before() {
    let (fixture, nursery, _handoff, keyholder) = Fixture::open(slice(10, 10));
    let (_client, silent, silent_end) = may_ask(&fixture, &nursery);
    let (_client, gone, gone_end) = may_ask(&fixture, &nursery);
    let (_client, asking, asking_end) = may_ask(&fixture, &nursery);
    // One ends, and its end is closed first, as when its process ends.
    drop(gone_end);
    ended(&nursery, gone, link::End::Exit(0));
    asking_end.tell(&QUESTION).unwrap();
    let (key, keys) = announced(&keyholder);
    assert_eq!(key, OpenKey { id: asking, client: Ipv4Addr::LOCALHOST.into() });
    assert_eq!(keys.recv(&mut Inbox::new(64)).unwrap().message, b"m");
    // What follows goes to the keyholder, and the listener has no copy of either end.
    asking_end.tell(&QUESTION).unwrap();
    assert_eq!(keys.recv(&mut Inbox::new(64)).unwrap().message, b"m");
    drop(asking_end);
    assert!(matches!(keys.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
    // The one that was silent may still ask, also of a keyholder that has come since.
    let keyholder = settle(&fixture, &keyholder);
    silent_end.tell(&QUESTION).unwrap();
    assert_eq!(announced(&keyholder).0.id, silent);
    drop(fixture);
    assert!(matches!(keyholder.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)), "nothing else was announced");
}

#[test]
fn issue_9_a_listener_that_does_not_see_who_asks_for_signatures_ends() {
    // A runtime that is gone says so to whoever waits for its descriptors.
    let gone = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let keys = gone.block_on(async { crate::unasked::Keys::new(crate::unasked::watch().unwrap()).unwrap() });
    drop(gone);
    let (_launcher, control) = End::<LauncherToRole, RoleToLauncher>::pair().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = LocalSet::new()
        .block_on(&runtime, async { crate::follow(control, slice(10, 10), keys, Waits::default()).await });
    assert!(ended.unwrap_err().to_string().starts_with("cannot watch sessions"));
}

#[test]
fn issue_14_a_session_that_is_over_leaves_no_channel_behind() {
    let (fixture, nursery, _handoff, keyholder) = Fixture::open(slice(10, 10));
    let (_client, id, end) = may_ask(&fixture, &nursery);
    end.seq().set_timeout(PATIENCE).unwrap();
    ended(&nursery, id, link::End::Exit(0));
    assert!(matches!(end.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
    // Nor does a nursery that is gone.
    let (_client, _, end) = may_ask(&fixture, &nursery);
    end.seq().set_timeout(PATIENCE).unwrap();
    drop(nursery);
    assert!(matches!(end.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
    // And without a keyholder a question ends the channel.
    let nursery = fixture.link(Role::Nursery);
    let (_client, _, end) = may_ask(&fixture, &nursery);
    end.seq().set_timeout(PATIENCE).unwrap();
    drop(keyholder);
    end.tell(&QUESTION).unwrap();
    assert!(matches!(end.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
}

#[test]
fn p5_whatever_a_session_sends_its_channel_is_passed_on_once_and_the_keyholder_judges() {
    let (fixture, nursery, _handoff, keyholder) = Fixture::open(slice(20, 20));
    let own = |end: &SessionEnd| end.as_fd().try_clone_to_owned().unwrap();
    for what in 0..4 {
        let (_client, id, end) = may_ask(&fixture, &nursery);
        end.seq().set_timeout(PATIENCE).unwrap();
        match what {
            0 => end.seq().send(&[], &[]).unwrap(),
            1 => end.seq().finish().unwrap(),
            2 => end.seq().send(&[7; 4096], &[]).unwrap(),
            _ => end.seq().send(b"x", &[own(&end).as_fd()]).unwrap(),
        }
        if what < 2 {
            // Nothing to be judged.
            assert!(matches!(end.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)), "{what}");
        } else {
            assert_eq!(announced(&keyholder).0.id, id, "{what}");
        }
        ended(&nursery, id, link::End::Exit(0));
    }
    drop(fixture);
    assert!(matches!(keyholder.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
}
