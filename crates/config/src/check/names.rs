//! `[names]`.

use crate::facts::Names;
use crate::fault::Page;
use crate::section::{Section, plain};
use crate::value;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The keys of the section.
pub(super) const KEYS: &[&str] = &["servers", "wait"];

/// A client waits five minutes for the greeting (RFC 5321 §4.5.3.2.1), but holds a session meanwhile.
const WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(30);

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Names {
    let section = root.one(page, "names");
    let default = Names::default();
    Names {
        servers: plain(section.list(page, "servers", value::name_server)),
        wait: section.duration(page, "wait", WAIT, default.wait),
    }
}
