//! Sessions between a client, a handoff and a keyholder of the test's own.

mod leave;
mod memory;
mod nursery;
mod plain;
mod rig;
mod time;
mod tls;
