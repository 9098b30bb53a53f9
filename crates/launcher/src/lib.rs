//! The root parent: binds, reads config and keys, starts and restarts the roles, stops.
#![forbid(unsafe_code)]
