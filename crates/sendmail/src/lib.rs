//! sendmail(1), mailq and newaliases for local programs: without a set-id bit, a queue, or a directory that others can write. It
//! speaks SMTP to the socket of the submission service, which knows the caller by its credentials. What can't be handed over is
//! the caller's to try again, and the exit status says so.
#![forbid(unsafe_code)]

pub mod dialogue;
pub mod message;
pub mod options;
mod run;
pub mod status;
mod user;

pub use run::{Name, run};
