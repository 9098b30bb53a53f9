//! The engine, spoken to.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that can't go on has failed")]

mod auth;
mod dialogue;
mod properties;
mod rows;
mod sessions;
