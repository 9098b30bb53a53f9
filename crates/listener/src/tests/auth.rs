//! Sessions that have auth's offer from the listener (issue 15).

use super::*;
use gatepost_smtp::envelope::Mechanism;
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_wire::auth::{Answered, Offers};
use gatepost_wire::link::OpenAuth;
use gatepost_wire::{AuthToListener, AuthToSession, ListenerToAuth, SessionToAuth};

type Auth = End<AuthToListener, ListenerToAuth>;
type SessionEnd = End<SessionToAuth, AuthToSession>;

/// What auth and the next session hear of each other.
fn submits(fixture: &Fixture, auth: &Auth, nursery: &Nursery) -> (OpenAuth, SessionEnd) {
    let _client = fixture.connect(0);
    let (open, _fds) = auth.recv_with(&mut Inbox::new(64)).unwrap();
    (open, SessionEnd::from_fd(start(nursery).1.pop().unwrap()))
}

#[test]
fn issue_15_a_session_has_the_offer_while_auth_checks_a_password() {
    let (fixture, nursery, _handoff, _keyholder) =
        Fixture::open(ListenerSlice { services: vec![Service::Submission; 3], ..slice(100, 100) });
    let auth: Auth = fixture.link(Role::Auth);
    let (open, _) = submits(&fixture, &auth, &nursery);
    assert!(!open.offered, "nothing was said yet");

    let mechanisms = Mechanisms::PASSWORD.with(Mechanism::ScramSha256);
    auth.tell(&Offers { mechanisms: Some(mechanisms) }).unwrap();
    // What auth says and a connection travel by different ways.
    let session = eventually(|| {
        let (open, session) = submits(&fixture, &auth, &nursery);
        open.offered.then_some(session)
    });
    // Auth does nothing more from here on.
    session.seq().set_timeout(PATIENCE).unwrap();
    assert_eq!(session.recv(&mut Inbox::of::<AuthToSession>()).unwrap(), Answered::Offer(mechanisms));

    // Another auth may offer something else, and one that is gone nothing.
    let fresh: Auth = fixture.link(Role::Auth);
    assert!(matches!(auth.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
    assert!(!submits(&fixture, &fresh, &nursery).0.offered);
}
