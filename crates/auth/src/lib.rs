//! Who may submit mail: passwords are checked here, and known to no other process beyond the one that reads the client; where Dovecot or
//! a checkpassword program is asked, to those that check them there, too.
//!
//! A session asks along a channel of its own whether its client is who it says it is, and hears yes or no. Handoff is told the login by
//! this role before the session hears of it, so that an owned session can't claim another's (P4). The role has an empty root, no
//! network and no descriptor but its channels; hashes come with its slice, connections to Dovecot from the dialer.
//!
//! Checking a password is hard to compute by design: one is checked at a time, on one processor, in bounded memory, and who is
//! next is decided by network (P13). A refusal is late, an acceptance never. Where Dovecot or a checkpassword program is asked, so many
//! attempts are under way at once, and one that waits for its client gives way.
//!
//! | file | what |
//! |---|---|
//! | `hash.rs` | one hash: its kind, its bounds, whether it is that of a password |
//! | `passwd.rs` | the passwd file |
//! | `scram.rs` | SCRAM-SHA-256 with the passwd file, without its channel |
//! | `dovecot/dialogue.rs` | Dovecot's auth protocol, without its connection |
//! | `dovecot/mod.rs` | asking Dovecot |
//! | `checker.rs` | asking the checkpassword program |
//! | `semaphore.rs` | who may ask it at once |
//! | `judge.rs` | one attempt, from the question to its answer |
//! | `serve.rs` | the role: orders, links, sessions |
#![forbid(unsafe_code)]

mod checker;
pub mod dovecot;
pub mod hash;
mod judge;
pub mod passwd;
pub mod scram;
mod semaphore;
mod serve;

use checker::{Checker, CheckerLink};
use dovecot::Dovecot;
use gatepost_jail::Unjailed;
use gatepost_role::{DialerLink, RoleError};
use gatepost_sys::heap;
use gatepost_wire::control::Role;
use gatepost_wire::slice::{AuthSlice, LoginSource};
use judge::{Judge, Source};
use passwd::Passwd;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Freed memory that is kept, octets; larger blocks are not.
const KEPT: i32 = 1 << 20;

/// An auth process, from its start to its end.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    gatepost_sys::wipe::freed();
    // What one check needs goes back to the system after it: between smaller blocks it would leave holes that the next does not fit into.
    heap::keep(KEPT);
    let AuthSlice { source } = unjailed.slice()?;
    let mut secret = [0; 32];
    let random = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut secret));
    random.map_err(RoleError::system("read /dev/urandom"))?;
    let entered = unjailed.enter(Role::Auth)?;
    let (dialer, checker) = (Arc::<DialerLink>::default(), Arc::<CheckerLink>::default());
    let (source, faults) = match source {
        LoginSource::Passwd(lines) => {
            let (passwd, faults) = Passwd::parse(&Zeroizing::new(lines));
            (Source::Passwd(passwd), faults)
        }
        LoginSource::Dovecot => (Source::Dovecot(Dovecot::new(Arc::clone(&dialer))), Vec::new()),
        LoginSource::Checker => (Source::Checker(Checker::new(Arc::clone(&checker))), Vec::new()),
    };
    let runtime = gatepost_role::runtime()?;
    let jailed = entered.seal()?;
    for fault in faults {
        tracing::error!("passwd {fault}");
    }
    runtime.block_on(serve::serve(jailed.control, dialer, checker, Judge::new(source, secret)))
}
