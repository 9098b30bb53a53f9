#![allow(clippy::unwrap_used)]
//! The role with real channels: the test is launcher and handoff at once. The jail is not entered.

use super::*;
use gatepost_channel::End;
use gatepost_testkit::name_server::NameServer;
use gatepost_wire::control::Order;
use gatepost_wire::{LauncherToRole, RoleToLauncher};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// What a test waits at most for what is due at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// More requests than are read from who reads no answers: those under way, those that wait, and as many frames as two channels hold.
const MANY: u32 = 20_000;

/// A task for each request that got no turn made the role reach its limit of memory while handoff had no time to read.
#[test]
fn p13_who_does_not_read_that_it_has_no_turn_is_not_read_on() {
    let server = NameServer::new(&[]);
    let slice = ResolverSlice { servers: vec![server.address], hosts: Vec::new(), lists: Vec::new() };
    let (control, launcher) = ControlEnd::pair().unwrap();
    let launcher: End<LauncherToRole, RoleToLauncher> = launcher;
    let resolver = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(control, slice))
    });
    let (handoff, theirs) = End::<HandoffToResolver, ResolverToHandoff>::pair().unwrap();
    handoff.seq().set_timeout(PATIENCE).unwrap();
    launcher.tell_with(&Order::Peer(Role::Handoff), &[theirs.as_fd()]).unwrap();
    drop(theirs);
    launcher.tell(&Order::Go).unwrap();
    let client = |number: u32| IpAddr::V4(Ipv4Addr::from_bits((10 << 24) | number));
    let ask = |number: u32| handoff.tell(&Ask::LookUp(LookUp { number, client: client(number) }));
    let asked = (0..MANY).take_while(|number| ask(*number).is_ok()).count();
    assert!(asked < MANY as usize / 2, "{asked} requests were read");
    // Each of them is answered, once somebody reads.
    let mut inbox = Inbox::new(ResolverToHandoff::FRAME_MAX);
    for _ in 0..asked {
        assert!(matches!(handoff.recv(&mut inbox), Ok(NamesNews::LookedUp(_))));
    }
    drop(handoff);
    launcher.tell(&Order::Drain).unwrap();
    resolver.join().unwrap().unwrap();
}
