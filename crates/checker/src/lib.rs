//! Runs the checkpassword program for each password that auth asks about.
//!
//! May do: what its user may, for it has no jail: the program that it runs needs the system and would inherit one. Holds: its channels.
//! Believes: auth, which tells it a name and a password as a session has claimed them; it gives them on as they are. Each question has
//! a process of its own that runs the program and waits for it, so that no password stays in this one. A failure is "not known".
//!
//! | module | charter |
//! |---|---|
//! | `serve` | questions from auth, a process each |
//! | `run` | one question, one program |
#![forbid(unsafe_code)]

mod run;
mod serve;

use gatepost_jail::Unjailed;
use gatepost_role::RoleError;
use gatepost_wire::slice::CheckerSlice;

/// The checker, from its start to its end.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    gatepost_sys::wipe::freed();
    let slice: CheckerSlice = unjailed.slice()?;
    let outside = unjailed.stay_outside(slice.uid)?;
    serve::serve(outside, &slice)
}
