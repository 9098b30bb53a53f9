//! Tests only: a scripted client, an MTA that misbehaves on command, throw-away hosts.
#![forbid(unsafe_code)]
