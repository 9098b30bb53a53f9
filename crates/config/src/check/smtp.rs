//! `[smtp]`.

use crate::fault::Page;
use crate::keys::Kind::{Truth, Word};
use crate::keys::Unset::Is;
use crate::keys::{Key, Table};
use crate::section::Section;
use gatepost_smtp::data::BareLf;
use gatepost_smtp::server::Leniency;
use toml::Spanned;

/// The switches of [`Leniency`], and what becomes of a bare LF.
macro_rules! keys_of {
    ($($(#[doc = $doc:literal])+ $name:ident: $default:literal,)*) => {
        &[
            $(Key {
                name: stringify!($name),
                kind: Truth,
                unset: Is(stringify!($default)),
                since: "0.1",
                example: stringify!($default),
                text: concat!($($doc),+),
            },)*
            Key {
                name: "bare_lf",
                kind: Word(&["refuse", "normalize"]),
                unset: Is("\"refuse\""),
                since: "0.1",
                example: "\"normalize\"",
                text: "A lone LF in the content of DATA. It never ends the content: it is refused, or becomes CRLF.",
            },
            Key {
                name: "bare_lf_in_chunks",
                kind: Word(&["refuse", "normalize"]),
                unset: Is("\"normalize\""),
                since: "0.1",
                example: "\"refuse\"",
                text: "The same in BDAT, where the end of the content is known by its length. Microsoft 365 sends such content.",
            },
        ]
    };
}

/// The section.
pub(super) const TABLE: Table = Table {
    name: "smtp",
    repeated: false,
    text: "Where sessions are lenient. The defaults are strict on what ends a command or content, and lenient on what real senders \
           get wrong.",
    keys: gatepost_smtp::leniencies!(keys_of),
};

const BARE_LF: [(&str, BareLf); 2] = [("refuse", BareLf::Refuse), ("normalize", BareLf::Normalize)];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Leniency {
    let section = root.one(page, "smtp");
    let mut leniency = Leniency::default();
    for name in Leniency::names() {
        if let Some(switch) = leniency.switch(name) {
            *switch = section.truth(page, name, *switch);
        }
    }
    for (key, place) in [("bare_lf", &mut leniency.lf_in_data), ("bare_lf_in_chunks", &mut leniency.lf_in_chunks)] {
        if let Some(bare_lf) = section.word(page, key, &BARE_LF).map(Spanned::into_inner) {
            *place = bare_lf;
        }
    }
    leniency
}
