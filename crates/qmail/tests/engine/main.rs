//! The engine, driven by rows of dialogue and by chance, with a door that grants everything unless told otherwise.

mod auth;
mod content;
mod door;
mod limits;
mod rows;
