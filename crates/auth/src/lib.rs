//! Who may submit mail: passwords are checked here, and known to no other process beyond the one that reads the client.
//!
//! A session asks along a channel of its own whether its client is who it says it is, and hears yes or no. Handoff is told the login by
//! this role before the session hears of it, so that an owned session can't claim another's (P4). The role has an empty root, no
//! network and no descriptor but its channels; the hashes come with its slice.
//!
//! Checking a password is hard to compute by design: one is checked at a time, on one processor, in bounded memory, and who is
//! next is decided by network (P13). A refusal is late, an acceptance never.
//!
//! | file | what |
//! |---|---|
//! | `hash.rs` | one hash: its kind, its bounds, whether it is that of a password |
//! | `passwd.rs` | the passwd file |
//! | `desk.rs` | whose password is next |
//! | `judge.rs` | one attempt, from the question to its answer |
//! | `serve.rs` | the role: orders, links, sessions |
#![forbid(unsafe_code)]

mod desk;
pub mod hash;
mod judge;
pub mod passwd;
mod serve;

use gatepost_jail::Unjailed;
use gatepost_role::RoleError;
use gatepost_wire::control::Role;
use gatepost_wire::slice::AuthSlice;
use passwd::Passwd;
use zeroize::Zeroizing;

/// An auth process, from its start to its end.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let AuthSlice { passwd } = unjailed.slice()?;
    let entered = unjailed.enter(Role::Auth)?;
    let (passwd, faults) = Passwd::parse(&Zeroizing::new(passwd));
    let runtime = gatepost_role::runtime()?;
    let jailed = entered.seal()?;
    for fault in faults {
        tracing::error!("passwd {fault}");
    }
    runtime.block_on(serve::serve(jailed.control, passwd))
}
