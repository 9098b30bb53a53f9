//! `[admission]`.

use super::Read;
use crate::facts::{Admission, RULES_MAX};
use crate::fault::{Page, Wrong};
use crate::keys::Kind::{Duration, Text, Word};
use crate::keys::Unset::Is;
use crate::keys::{Table, keys};
use crate::section::Section;
use crate::value;
use gatepost_wire::slice::EarlyTalk;
use std::path::Path;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "admission",
    repeated: false,
    text: "Who gets a session.",
    keys: keys! {
        /// Compiled rules of tcprules(1), 4 MiB at most: `deny` refuses the connection, `RELAYCLIENT` lets a client send to any
        /// domain, `DATABYTES` bounds its messages. Another file that is moved there is in force within two seconds. While the
        /// file is damaged no client is taken. Empty: no rules.
        "rules" = Text("the path of a file, or empty"), Is("\"\""), since "0.1", as "\"/etc/tcp.smtp.cdb\"";
        /// A client that speaks before its greeting hears `554 5.5.1` and gets no session (`refuse`), or is only logged (`log`), or
        /// nobody looks (`off`). Never where TLS comes first; not of clients that may relay or are exempt.
        "early_talk" = Word(&["refuse", "log", "off"]), Is("\"refuse\""), since "0.1", as "\"log\"";
        /// Strangers wait so long for their greeting, without a session, so that those who speak too early are found surely.
        // Senders wait five minutes for a greeting (RFC 5321 §4.5.3.2.1), those of monitors a few seconds.
        "pause" = Duration(0, 30), Is("\"0s\""), since "0.1", as "\"6s\"";
    },
};

const EARLY_TALK: [(&str, EarlyTalk); 3] =
    [("refuse", EarlyTalk::Refuse), ("log", EarlyTalk::Log), ("off", EarlyTalk::Off)];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, read: Read) -> Admission {
    let section = root.one(page, "admission");
    let rules = section.text(page, "rules", |text| {
        // As in the example: none.
        if text.is_empty() { Ok(None) } else { value::path(text).map(Some) }
    });
    if let (Some(Some(path)), Some(read)) = (rules.as_ref().map(Spanned::get_ref), read)
        && let Err(wrong) = readable(path, read)
        && let Some(rules) = &rules
    {
        section.fault(page, "rules", rules, wrong);
    }
    let default = Admission::default();
    Admission {
        rules: rules.and_then(Spanned::into_inner),
        early_talk: section.word(page, "early_talk", &EARLY_TALK).map_or(default.early_talk, Spanned::into_inner),
        pause: section.duration(page, "pause", default.pause),
    }
}

/// What is in it is the listener's to judge: no client is taken while it makes no sense.
fn readable(path: &Path, read: fn(&Path) -> std::io::Result<Vec<u8>>) -> Result<(), Wrong> {
    let make = "make it with gatepost tcprules, or take rules out";
    match read(path) {
        Err(error) => Err(Wrong::new(format!("cannot be read: {error}"), make)),
        Ok(octets) if octets.is_empty() => Err(Wrong::new("the file is empty", make)),
        Ok(octets) if octets.len() > RULES_MAX => Err(Wrong::new(
            format!("it has {} octets, and at most {RULES_MAX} are taken", octets.len()),
            "make it smaller",
        )),
        Ok(_) => Ok(()),
    }
}
