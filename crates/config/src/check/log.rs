//! `[log]`.

use crate::facts::Log;
use crate::fault::Page;
use crate::section::Section;
use gatepost_wire::observe::Level;
use toml::Spanned;

/// The keys of the section.
pub(super) const KEYS: &[&str] = &["format", "level", "privacy"];

const FORMATS: [(&str, bool); 2] = [("text", false), ("json", true)];
const LEVELS: [(&str, Level); 3] = [("info", Level::Info), ("warning", Level::Warning), ("error", Level::Error)];
const PRIVACY: [(&str, bool); 2] = [("none", false), ("cut", true)];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Log {
    let section = root.one(page, "log");
    let default = Log::default();
    Log {
        json: section.word(page, "format", &FORMATS).map_or(default.json, Spanned::into_inner),
        level: section.word(page, "level", &LEVELS).map_or(default.level, Spanned::into_inner),
        cut: section.word(page, "privacy", &PRIVACY).map_or(default.cut, Spanned::into_inner),
    }
}
