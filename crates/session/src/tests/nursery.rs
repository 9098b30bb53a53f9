//! The nursery between a launcher and a listener of the test's own. It forks, so each test runs in a process of its own.

use super::rig::{PATIENCE, alone};
use crate::nursery::{Nursery, Tools};
use crate::{HandoffEnd, NewSession};
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_role::Control;
use gatepost_shell::KeyholderEnd;
use gatepost_smtp::envelope::{CloseReason, Service};
use gatepost_smtp::keyword::Keywords;
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process::{self, Fork, Signal};
use gatepost_sys::{fds, wait};
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::link::{self, Ended, NurseryOrder, SessionId, Start};
use gatepost_wire::{LauncherToRole, ListenerToNursery, NurseryToListener, RoleToLauncher};
use std::collections::BTreeSet;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How a session ends that could not begin.
const INTERNAL: link::End = link::End::Exit(link::exit_status(CloseReason::Internal, false));

type Listener = End<ListenerToNursery, NurseryToListener>;

/// A session's life in these tests: it does what the first octet from its client says; `w`: it answers and waits for another.
fn live(new: NewSession, mut drained: PipeReader) -> u8 {
    let mut client = UnixStream::from(new.client.into_input());
    let mut order = [0];
    client.read_exact(&mut order).unwrap();
    if order[0] == b'w' {
        client.write_all(b"w").unwrap();
        client.read_exact(&mut order).unwrap();
    }
    match order[0] {
        b't' => {
            process::end_after(Duration::from_millis(1)).unwrap();
            drained.read_exact(&mut order).unwrap();
        }
        b'a' => std::process::abort(),
        b'k' => process::kill(i32::try_from(std::process::id()).unwrap(), Signal::Kill).unwrap(),
        b'd' => assert_eq!(drained.read(&mut order).unwrap(), 0),
        b'f' => client.write_all(&[u8::try_from(fds::census(256).len()).unwrap()]).unwrap(),
        b'p' => client.write_all(&std::process::id().to_le_bytes()).unwrap(),
        b'c' => client.write_all(std::fs::read_to_string("/proc/self/comm").unwrap().as_bytes()).unwrap(),
        status => return status,
    }
    0
}

/// A nursery in a process of its own, and its launcher.
struct Fixture {
    launcher: End<LauncherToRole, RoleToLauncher>,
    /// Open descriptors before anything was made.
    base: usize,
}

impl Fixture {
    fn new(limit: u32) -> Self {
        Self::before(limit, || {})
    }

    /// As [`new`](Self::new), with something done first in the nursery's process.
    fn before(limit: u32, first: fn()) -> Self {
        let base = fds::census(256).len();
        let (launcher, control) = End::<LauncherToRole, RoleToLauncher>::pair().unwrap();
        launcher.seq().set_timeout(PATIENCE).unwrap();
        if process::fork().unwrap() == Fork::Child {
            drop(launcher);
            first();
            let tools = Tools::new().unwrap();
            let ended =
                Nursery::new(Control::new(Role::Nursery, control), tools, limit, "mx.example.org".to_owned()).run(live);
            process::exit(u8::from(ended.is_err()));
        }
        let nursery = Self { launcher, base };
        nursery.launcher.tell(&Order::Go).unwrap();
        assert_eq!(nursery.report(), Report::Ready);
        nursery
    }

    fn report(&self) -> Report {
        self.launcher.recv(&mut Inbox::new(64)).unwrap()
    }

    fn listener(&self) -> Listener {
        let (ours, theirs) = Listener::pair().unwrap();
        ours.seq().set_timeout(PATIENCE).unwrap();
        self.launcher.tell_with(&Order::Peer(Role::Listener), &[theirs.as_fd()]).unwrap();
        ours
    }

    /// True while the nursery has not closed its channel to the launcher.
    fn lives(&self) -> bool {
        !wait::hung_up(self.launcher.as_fd())
    }

    /// Waits for the nursery's own end; its exit status.
    fn outcome(self) -> process::End {
        let end = self.launcher.recv(&mut Inbox::new(64));
        assert!(matches!(end, Err(ChannelError::Closed)), "{end:?}");
        loop {
            if let Some((_, end)) = process::reap().unwrap() {
                return end;
            }
            std::thread::yield_now();
        }
    }
}

const CLEAN: process::End = process::End::Exit(0);

fn order_to_start(id: u64, tls: bool) -> NurseryOrder {
    NurseryOrder::Start(Start {
        id: SessionId(id),
        listener: 0,
        tls,
        stress: false,
        pause: 0,
        hidden: Keywords::default(),
        service: Service::Relay,
    })
}

/// Begins a session; gives its client's side.
fn start(listener: &Listener, id: u64) -> UnixStream {
    let (client, served) = UnixStream::pair().unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (handoff, _) = HandoffEnd::pair().unwrap();
    let (keyholder, _) = KeyholderEnd::pair().unwrap();
    let fds = [served.as_fd(), handoff.as_fd(), keyholder.as_fd()];
    listener.tell_with(&order_to_start(id, true), &fds).unwrap();
    client
}

fn ended(listener: &Listener) -> (u64, link::End) {
    let Ended { id, how } = listener.recv(&mut Inbox::new(64)).unwrap();
    (id.0, how)
}

/// Sends the session its order; gives what it says before it ends.
fn order(client: &mut UnixStream, order: u8) -> Vec<u8> {
    client.write_all(&[order]).unwrap();
    let mut said = Vec::new();
    client.read_to_end(&mut said).unwrap();
    said
}

#[test]
fn p8_each_connection_is_a_process_and_its_end_is_told() {
    alone("nursery::p8_each_connection_is_a_process_and_its_end_is_told", || {
        let nursery = Fixture::new(10);
        let listener = nursery.listener();
        let (mut a, mut b) = (start(&listener, 1), start(&listener, 2));
        let (first, second) = (order(&mut b, b'p'), order(&mut a, b'p'));
        assert_ne!(first, second);
        assert_eq!(first.len(), 4);
        let mut both = [ended(&listener), ended(&listener)];
        both.sort_by_key(|(id, _)| *id);
        assert_eq!(both, [(1, link::End::Exit(0)), (2, link::End::Exit(0))]);
        for status in [1, 2, 3, 110] {
            order(&mut start(&listener, 3), status);
            assert_eq!(ended(&listener), (3, link::End::Exit(status)));
        }
        assert_eq!(order(&mut start(&listener, 4), b'c'), b"gp-session\n");
    });
}

#[test]
fn p3_a_session_has_the_descriptors_it_was_born_with_and_no_others() {
    alone("nursery::p3_a_session_has_the_descriptors_it_was_born_with_and_no_others", || {
        let nursery = Fixture::new(10);
        let (_listener, listener) = (nursery.listener(), nursery.listener());
        // Other sessions are under way.
        let _others = [start(&listener, 1), start(&listener, 2)];
        // Client, handoff, keyholder, drain.
        assert_eq!(order(&mut start(&listener, 3), b'f'), [u8::try_from(nursery.base + 4).unwrap()]);
    });
}

#[test]
fn p8_a_crash_is_told_to_the_listener_each_time_and_to_the_launcher_once() {
    alone("nursery::p8_a_crash_is_told_to_the_listener_each_time_and_to_the_launcher_once", || {
        let nursery = Fixture::new(10);
        let listener = nursery.listener();
        for id in 1..4 {
            order(&mut start(&listener, id), b'a');
            assert_eq!(ended(&listener), (id, link::End::Signal(6)));
        }
        assert_eq!(nursery.report(), Report::SessionCrashed);
        nursery.launcher.tell(&Order::Drain).unwrap();
        // Its channel ends without another report.
        assert_eq!(nursery.outcome(), CLEAN);
    });
}

/// What the listener has killed, or somebody from outside, or the alarm of its own last moment, is nothing that a client has
/// done.
#[test]
fn issue_9_a_session_that_is_killed_is_no_crash() {
    alone("nursery::issue_9_a_session_that_is_killed_is_no_crash", || {
        let nursery = Fixture::new(10);
        let (other, listener) = (nursery.listener(), nursery.listener());
        let (mut first, mut second) = (start(&listener, 1), start(&listener, 2));
        for client in [&mut first, &mut second] {
            client.write_all(b"w").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        // Of no session; of one that another listener has begun.
        listener.tell(&NurseryOrder::Kill(SessionId(9))).unwrap();
        other.tell(&NurseryOrder::Kill(SessionId(2))).unwrap();
        listener.tell(&NurseryOrder::Kill(SessionId(1))).unwrap();
        assert_eq!(ended(&listener), (1, link::End::Signal(9)));
        assert_eq!(first.read(&mut [0]).unwrap(), 0);
        order(&mut second, b'k');
        assert_eq!(ended(&listener), (2, link::End::Signal(9)));
        nursery.launcher.tell(&Order::Drain).unwrap();
        // Its channel ends without a report.
        assert_eq!(nursery.outcome(), CLEAN);
    });
}

#[test]
fn issue_9_a_session_that_the_kernels_timer_ends_is_no_crash() {
    alone("nursery::issue_9_a_session_that_the_kernels_timer_ends_is_no_crash", || {
        let nursery = Fixture::new(10);
        let listener = nursery.listener();
        order(&mut start(&listener, 1), b't');
        assert_eq!(ended(&listener), (1, link::End::Exit(link::exit_status(CloseReason::Timeout, false))));
        nursery.launcher.tell(&Order::Drain).unwrap();
        // Its channel ends without a report.
        assert_eq!(nursery.outcome(), CLEAN);
    });
}

/// The queue of signals may be full: then no end is told by one.
#[test]
fn issue_14_an_end_that_no_signal_tells_is_found() {
    alone("nursery::issue_14_an_end_that_no_signal_tells_is_found", || {
        let nursery = Fixture::before(1000, || limits::set(Limit::PendingSignals, 0).unwrap());
        let listener = nursery.listener();
        for id in 1..=256 {
            order(&mut start(&listener, id), 0);
        }
        // The last few may still be ending while all are looked at.
        let told: BTreeSet<u64> = (0..200).map(|_| ended(&listener).0).collect();
        assert_eq!(told.len(), 200);
    });
}

#[test]
fn p6_no_more_sessions_than_allowed() {
    alone("nursery::p6_no_more_sessions_than_allowed", || {
        let nursery = Fixture::new(2);
        let listener = nursery.listener();
        let (mut first, _second) = (start(&listener, 1), start(&listener, 2));
        let mut said = String::new();
        start(&listener, 3).read_to_string(&mut said).unwrap();
        assert!(said.starts_with("421 4.3.0 mx.example.org "), "{said:?}");
        assert_eq!(ended(&listener), (3, INTERNAL));
        order(&mut first, 0);
        assert_eq!(ended(&listener), (1, link::End::Exit(0)));
        assert_eq!(order(&mut start(&listener, 4), b'p').len(), 4);
    });
}

#[test]
fn a_start_that_does_not_fit_its_descriptors_begins_nothing() {
    alone("nursery::a_start_that_does_not_fit_its_descriptors_begins_nothing", || {
        let nursery = Fixture::new(2);
        let listener = nursery.listener();
        let (end, _) = HandoffEnd::pair().unwrap();
        for (tls, descriptors) in [(false, 0), (false, 1), (false, 3), (true, 2), (true, 4)] {
            listener.tell_with(&order_to_start(7, tls), &vec![end.as_fd(); descriptors]).unwrap();
            assert_eq!(ended(&listener), (7, INTERNAL), "{tls} {descriptors}");
        }
        // What is no message at all ends the link; the nursery stays for the next listener.
        listener.seq().send(b"\x01\x09", &[]).unwrap();
        assert!(matches!(listener.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
        let listener = nursery.listener();
        assert_eq!(order(&mut start(&listener, 8), b'p').len(), 4);
    });
}

#[test]
fn drain_tells_the_sessions_and_ends_with_the_last() {
    alone("nursery::drain_tells_the_sessions_and_ends_with_the_last", || {
        let nursery = Fixture::new(10);
        let listener = nursery.listener();
        let mut stays = start(&listener, 1);
        let mut told = start(&listener, 2);
        told.write_all(b"d").unwrap();
        assert!(!wait::readable(&[told.as_fd()], Some(Duration::ZERO)).unwrap()[0]);
        nursery.launcher.tell(&Order::Drain).unwrap();
        assert_eq!(ended(&listener), (2, link::End::Exit(0)));
        // Whoever still comes is sent away.
        let mut said = String::new();
        start(&listener, 3).read_to_string(&mut said).unwrap();
        assert!(said.starts_with("421 "), "{said:?}");
        assert_eq!(ended(&listener), (3, INTERNAL));
        assert!(nursery.lives());
        order(&mut stays, 0);
        assert_eq!(ended(&listener), (1, link::End::Exit(0)));
        assert_eq!(nursery.outcome(), CLEAN);
    });
}

#[test]
fn an_idle_nursery_drains_at_once_and_one_without_a_launcher_ends() {
    alone("nursery::an_idle_nursery_drains_at_once_and_one_without_a_launcher_ends", || {
        let nursery = Fixture::new(10);
        nursery.launcher.tell(&Order::Drain).unwrap();
        assert_eq!(nursery.outcome(), CLEAN);
        let nursery = Fixture::new(10);
        let listener = nursery.listener();
        let Fixture { launcher, .. } = nursery;
        drop(launcher);
        assert!(matches!(listener.recv(&mut Inbox::new(64)), Err(ChannelError::Closed)));
    });
}

#[test]
fn a_replaced_nursery_ends_with_its_last_session() {
    alone("nursery::a_replaced_nursery_ends_with_its_last_session", || {
        let nursery = Fixture::new(10);
        let listener = nursery.listener();
        let (mut first, mut second) = (start(&listener, 1), start(&listener, 2));
        // Both have begun, so that the nursery hears the next thing before it reaps either.
        for client in [&mut first, &mut second] {
            client.write_all(b"w").unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        // What a listener does that has another nursery.
        listener.tell(&NurseryOrder::Retire).unwrap();
        order(&mut first, 0);
        assert_eq!(ended(&listener), (1, link::End::Exit(0)));
        assert!(nursery.lives());
        order(&mut second, b'a');
        assert_eq!(ended(&listener), (2, link::End::Signal(6)));
        // A crash in a nursery that has been replaced replaces nothing.
        assert_eq!(nursery.outcome(), CLEAN);
    });
}

#[test]
fn a_nursery_outlives_its_listener() {
    alone("nursery::a_nursery_outlives_its_listener", || {
        let nursery = Fixture::new(10);
        let old = nursery.listener();
        let mut client = start(&old, 1);
        drop(old);
        let new = nursery.listener();
        order(&mut client, b'a');
        assert_eq!(nursery.report(), Report::SessionCrashed);
        assert_eq!(order(&mut start(&new, 2), b'p').len(), 4);
        // The end of a session that the old listener began is not told to the new one.
        assert_eq!(ended(&new), (2, link::End::Exit(0)));
        assert!(nursery.lives());
    });
}

#[test]
fn orders_that_make_no_sense_end_the_nursery() {
    alone("nursery::orders_that_make_no_sense_end_the_nursery", || {
        for order in [Order::Peer(Role::Listener), Order::Peer(Role::Handoff), Order::Socket(0)] {
            let nursery = Fixture::new(1);
            nursery.launcher.tell(&order).unwrap();
            assert_eq!(nursery.outcome(), process::End::Exit(1), "{order:?}");
        }
    });
}
