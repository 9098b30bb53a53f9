//! The only door to the MTA: relay policy, backends, message spool.
#![forbid(unsafe_code)]
