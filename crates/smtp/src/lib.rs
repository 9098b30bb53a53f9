//! RFC 5321 as a sans-IO engine: bytes in, events and replies out. No descriptor, no clock, no tokio.
#![forbid(unsafe_code)]
