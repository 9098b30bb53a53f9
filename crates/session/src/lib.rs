//! The nursery and its sessions: one client, one process, one life.
#![forbid(unsafe_code)]
