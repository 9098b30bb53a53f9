//! `[log]`.

use crate::facts::Log;
use crate::fault::Page;
use crate::keys::Kind::Word;
use crate::keys::Unset::Is;
use crate::keys::{Table, keys};
use crate::section::Section;
use gatepost_wire::line::Level;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "log",
    repeated: false,
    text: "What is written of what happens: see gatepost-log(5).",
    keys: keys! {
        /// Lines as `key=value` text, or an object of JSON a line.
        "format" = Word(&["text", "json"]), Is("\"text\""), since "0.1", as "\"json\"";
        /// What is written: this and what matters more.
        "level" = Word(&["info", "warning", "error"]), Is("\"info\""), since "0.1", as "\"warning\"";
        /// `cut`: of addresses only the network (IPv4 /24, IPv6 /48) and the domain are written, and no text that may hold one.
        "privacy" = Word(&["none", "cut"]), Is("\"none\""), since "0.1", as "\"cut\"";
        /// `syslog`: lines go to the socket `/dev/log`, with the facility `mail`, as soon as somebody listens there; until then
        /// they wait, and those for which there is no room are counted. What is wrong before the observer runs is said on standard
        /// error all the same.
        "to" = Word(&["stderr", "syslog"]), Is("\"stderr\""), since "0.1", as "\"syslog\"";
    },
};

const FORMATS: [(&str, bool); 2] = [("text", false), ("json", true)];
const LEVELS: [(&str, Level); 3] = [("info", Level::Info), ("warning", Level::Warning), ("error", Level::Error)];
const PRIVACY: [(&str, bool); 2] = [("none", false), ("cut", true)];
const PLACES: [(&str, bool); 2] = [("stderr", false), ("syslog", true)];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Log {
    let section = root.one(page, "log");
    let default = Log::default();
    Log {
        json: section.word(page, "format", &FORMATS).map_or(default.json, Spanned::into_inner),
        level: section.word(page, "level", &LEVELS).map_or(default.level, Spanned::into_inner),
        cut: section.word(page, "privacy", &PRIVACY).map_or(default.cut, Spanned::into_inner),
        syslog: section.word(page, "to", &PLACES).map_or(default.syslog, Spanned::into_inner),
    }
}
