//! The engine, driven by rows of dialogue and by chance, with a parent that grants everything unless told otherwise.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that can't go on has failed")]

mod auth;
mod content;
mod limits;
mod parent;
mod reference;
mod rows;
