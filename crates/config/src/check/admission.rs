//! `[admission]`.

use super::Read;
use crate::facts::{Admission, RULES_MAX};
use crate::fault::{Page, Wrong};
use crate::keys::Kind::Text;
use crate::keys::Unset::Is;
use crate::keys::{Table, keys};
use crate::section::Section;
use crate::value;
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
    },
};

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
    Admission { rules: rules.and_then(Spanned::into_inner) }
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
