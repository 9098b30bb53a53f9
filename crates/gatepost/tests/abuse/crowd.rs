//! Many clients at chosen addresses, one attack at a time.

use crate::gate;
use gatepost_testkit::crowd;
pub(crate) use gatepost_testkit::crowd::{Attacker, good_mail, send_good_mail, v4, v6, v6_of};
use gatepost_testkit::host::Host;
use std::cell::RefCell;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Who uses the machine.
static MACHINE: RwLock<()> = RwLock::new(());
thread_local! {
    /// Held until the test's thread ends.
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

#[allow(dead_code)] // They are held, and that is all.
enum Turn {
    Alone(RwLockWriteGuard<'static, ()>),
    Beside(RwLockReadGuard<'static, ()>),
}

/// Waits until no other attack is under way, then lets many addresses be clients': an attack that is as much as a small machine can
/// bear.
pub(crate) fn open_networks(host: &Host) {
    let turn = Turn::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner));
    TURN.with(|held| *held.borrow_mut() = Some(turn));
    crowd::open_networks(host);
}

/// As [`open_networks`], for an attack that mostly waits: others like it may go on beside it.
pub(crate) fn open_networks_beside(host: &Host) {
    let turn = Turn::Beside(MACHINE.read().unwrap_or_else(PoisonError::into_inner));
    TURN.with(|held| *held.borrow_mut() = Some(turn));
    crowd::open_networks(host);
}

/// As [`gate::config`], for attackers who do not wait for their greeting and have a session all the same.
pub(crate) fn config(backend: &str, more: &str) -> String {
    gate::config(backend, &format!("{more}\n\n[admission]\nearly_talk = \"off\""))
}
