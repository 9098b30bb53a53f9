//! TOML to checked facts with located errors.
//!
//! [`Config::load`] reads the file, checks all of it and returns either facts that hold together or every fault at
//! once, each with its place and what to write instead. Nothing here asks who may write a file or whether an account
//! exists: that is the launcher's business.
//!
//! The text becomes a tree of values with spans, and the tree is walked by hand instead of through serde, because a
//! derived reader stops at its first mistake.
#![forbid(unsafe_code)]

mod check;
mod facts;
mod fault;
mod file;
pub mod host_files;
pub mod keys;
mod list_file;
mod networks;
mod profile;
mod section;
mod syntax;
mod tables;
mod value;

pub use check::TABLES;
pub use facts::{
    Admission, AuthSource, Backend, BackendTls, Checkpassword, Config, ForNetworks, Jail, Limits, List, Listen, Log,
    Names, Pair, ProgramUser, Queue, RULES_MAX, Rates, Relax, Relay, Route, Submission, Tls, TlsVersion, Users,
};
pub use fault::{Fault, Faults};
pub use gatepost_wire::slice::{About, Connect, Dialect, EarlyTalk, Identity, TlsMode};
pub use networks::{NETWORKS_MAX, NetworkFile};
pub use profile::Profile;
pub use tables::{TableEntries, TableFile, Tables};

use fault::{Page, utf8};
use file::read;
use std::path::Path;

/// Where `--config` points unless given.
pub const DEFAULT_PATH: &str = "/etc/gatepost/gatepost.toml";

impl Config {
    /// Reads and checks the configuration at `path`, and the files of domains and networks that it names.
    ///
    /// # Errors
    /// [`Faults`]: every mistake found in them, in the order of the text; or that a file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Faults> {
        let bytes = read(path).map_err(|error| Faults::from(Fault::unreadable(path, &error)))?;
        let text = utf8(&bytes, path)?;
        check::check(Page::new(path, text), Some(read))
    }

    /// Checks `text` as if it stood in `path`. Reads no file: the domains and networks of other files are missing.
    ///
    /// # Errors
    /// [`Faults`]: every mistake found, in the order of the text.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Faults> {
        check::check(Page::new(path, text), None)
    }
}
