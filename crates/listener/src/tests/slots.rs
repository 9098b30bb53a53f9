//! Slots that are given to others, and addresses that are slowed down (P13, issue 9).

use super::*;
use gatepost_policy::conduct::SLOW_PAUSE;
use gatepost_wire::control::Whom;
use gatepost_wire::terms::Terms;
use std::os::unix::net::UnixStream;

/// Nothing is waited for in vain.
const NO_WAIT: Waits = Waits { slot: PATIENCE, leave: Duration::from_millis(1), delivery: Duration::from_millis(1) };

/// All slots taken by clients of one address; who they are, the first come first.
fn full(waits: Waits) -> (Fixture, Nursery, Handoff, Vec<TcpStream>, Vec<SessionId>) {
    let (fixture, nursery, handoff, _keyholder) = Fixture::open_with(slice(4, 4), waits);
    let clients: Vec<TcpStream> = (0..4).map(|_| fixture.connect_from(1, 1)).collect();
    let ids = clients.iter().map(|_| start(&nursery).0.id).collect();
    (fixture, nursery, handoff, clients, ids)
}

#[test]
fn p13_a_newcomer_gets_the_slot_of_a_session_that_leaves() {
    let (fixture, nursery, handoff, _clients, ids) = full(Waits { leave: PATIENCE, ..NO_WAIT });
    let _newcomer = fixture.connect_from(2, 1);
    assert_eq!(leave(&handoff), ids[0]);
    handoff.tell(&Left { id: ids[0], told: true }).unwrap();
    ended(&nursery, ids[0], link::End::Exit(link::exit_status(CloseReason::Reclaimed, false)));
    assert!(start(&nursery).0.id.0 > ids[3].0);
    // Another client of that address waits in vain: its network has most.
    drop(fixture.connect_from(1, 9));
    let _second = fixture.connect_from(3, 1);
    assert_eq!(leave(&handoff), ids[1]);
}

#[test]
fn p13_a_session_that_does_not_leave_is_killed_and_that_is_no_crash() {
    for handoff_is_there in [true, false] {
        let (fixture, nursery, handoff, _clients, ids) = full(NO_WAIT);
        let _newcomer = fixture.connect_from(2, 1);
        assert_eq!(leave(&handoff), ids[0]);
        if handoff_is_there {
            handoff.tell(&Left { id: ids[0], told: true }).unwrap();
        } else {
            // With it every delivery has ended.
            drop(handoff);
        }
        assert_eq!(nursery.recv(&mut Inbox::new(64)).unwrap(), NurseryOrder::Kill(ids[0]));
        ended(&nursery, ids[0], link::End::Signal(9));
        if handoff_is_there {
            start(&nursery);
            // Its address has nothing to bear.
            ended(&nursery, ids[1], link::End::Exit(0));
            let _again = fixture.connect_from(1, 1);
            assert_eq!(start(&nursery).0.pause, 0);
        }
    }
}

#[test]
fn p13_a_session_whose_message_is_being_delivered_stays_and_another_leaves() {
    let (fixture, nursery, handoff, _clients, ids) = full(NO_WAIT);
    let _newcomer = fixture.connect_from(2, 1);
    for id in &ids {
        assert_eq!(leave(&handoff), *id);
        handoff.tell(&Left { id: *id, told: false }).unwrap();
    }
    // Later each may be asked again.
    let again = leave(&handoff);
    handoff.tell(&Left { id: again, told: true }).unwrap();
    assert_eq!(nursery.recv(&mut Inbox::new(64)).unwrap(), NurseryOrder::Kill(again));
    ended(&nursery, again, link::End::Signal(9));
    start(&nursery);
}

#[test]
fn p1_a_session_about_which_two_ask_stays_when_its_message_is_being_delivered() {
    let (fixture, nursery, handoff, _clients, ids) = full(NO_WAIT);
    let (mut admin, theirs) = UnixStream::pair().unwrap();
    admin.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut kick = |id| {
        fixture.launcher.tell_with(&Order::Kick(Whom::Session(id)), &[theirs.as_fd()]).unwrap();
        let expected = "1 session is told to end, unless its message is being delivered\n";
        let mut said = vec![0; expected.len()];
        admin.read_exact(&mut said).unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), expected);
    };
    kick(ids[0]);
    kick(ids[0]);
    assert_eq!(leave(&handoff), ids[0]);
    handoff.tell(&Left { id: ids[0], told: false }).unwrap();
    // Handoff is not asked twice, and the answer is that to both: another session is the first that is killed.
    for again in [1, 0] {
        kick(ids[again]);
        assert_eq!(leave(&handoff), ids[again]);
        handoff.tell(&Left { id: ids[again], told: true }).unwrap();
        assert_eq!(nursery.recv(&mut Inbox::new(64)).unwrap(), NurseryOrder::Kill(ids[again]));
    }
}

#[test]
fn p13_a_client_waits_for_a_slot_no_longer_than_it_may() {
    let (fixture, _nursery, _handoff, _clients, _ids) = full(Waits { slot: Duration::from_millis(1), ..NO_WAIT });
    // Its network has most, so that nobody leaves for it.
    assert!(all_of(&mut fixture.connect_from(1, 9)).starts_with("421 4.3.2 mx.example.org "));
}

#[test]
fn p13_whoever_waits_for_a_slot_when_gatepost_drains_is_told() {
    let (fixture, nursery, handoff, _clients, ids) = full(NO_WAIT);
    let mut waits = fixture.connect_from(2, 1);
    leave(&handoff);
    fixture.launcher.tell(&Order::Drain).unwrap();
    assert!(all_of(&mut waits).starts_with("421 4.3.2 mx.example.org "));
    for id in ids {
        ended(&nursery, id, link::End::Exit(5));
    }
    assert_eq!(fixture.outcome(), Ok(()));
}

/// What the exit statuses of eleven sessions of one client lead to for its twelfth.
fn pause_after(exempt: bool, statuses: impl Fn(usize) -> u8) -> u16 {
    let (fixture, nursery, _handoff, keyholder) = Fixture::open(slice(20, 20));
    let terms = Terms { exempt, ..Terms::default() };
    fixture.networks(vec![TermsFor { networks: vec!["127.0.0.0/8".parse().unwrap()], terms }]);
    let keyholder = settle(&fixture, &keyholder);
    let clients: Vec<TcpStream> = (0..11).map(|_| fixture.connect(0)).collect();
    let ids: Vec<SessionId> = clients.iter().map(|_| start(&nursery).0.id).collect();
    for (n, id) in ids.into_iter().enumerate() {
        ended(&nursery, id, link::End::Exit(statuses(n)));
    }
    // What a nursery says and a connection travel by different ways: the listener turns to all that waits meanwhile.
    let keyholder = settle(&fixture, &keyholder);
    let _keyholder = settle(&fixture, &keyholder);
    let _client = fixture.connect(0);
    start(&nursery).0.pause
}

#[test]
fn p13_a_client_whose_sessions_all_end_in_abuse_is_slowed_down_unless_it_delivers() {
    let abuse = link::exit_status(CloseReason::Abuse, false);
    type Statuses<'a> = &'a dyn Fn(usize) -> u8;
    let rows: [(&str, bool, Statuses<'_>, u16); 4] = [
        ("abuse", false, &|_| abuse, SLOW_PAUSE),
        ("timeouts", false, &|_| link::exit_status(CloseReason::Timeout, false), 0),
        (
            "a message among them",
            false,
            &|n| if n == 5 { link::exit_status(CloseReason::Quit, true) } else { abuse },
            0,
        ),
        ("an exempt network", true, &|_| abuse, 0),
    ];
    for (name, exempt, statuses, expected) in rows {
        assert_eq!(pause_after(exempt, statuses), expected, "{name}");
    }
}
