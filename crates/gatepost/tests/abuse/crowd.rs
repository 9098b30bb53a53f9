//! Many clients at chosen addresses, one attack at a time.

use crate::gate;
use gatepost_testkit::crowd;
pub(crate) use gatepost_testkit::crowd::{Attacker, good_mail, send_good_mail, v4, v6, v6_of};
use gatepost_testkit::host::Host;
use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One attack at a time: each of them is as much as a small machine can bear.
static ALONE: Mutex<()> = Mutex::new(());
thread_local! {
    /// Held until the test's thread ends.
    static TURN: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Waits until no other attack is under way, then lets many addresses be clients'.
pub(crate) fn open_networks(host: &Host) {
    TURN.with(|turn| *turn.borrow_mut() = Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner)));
    crowd::open_networks(host);
}

/// As [`gate::config`], for attackers who do not wait for their greeting and have a session all the same.
pub(crate) fn config(backend: &str, more: &str) -> String {
    gate::config(backend, &format!("{more}\n\n[admission]\nearly_talk = \"off\""))
}
