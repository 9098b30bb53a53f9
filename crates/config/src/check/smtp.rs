//! `[smtp]`.

use crate::fault::Page;
use crate::section::Section;
use gatepost_smtp::data::BareLf;
use gatepost_smtp::server::Leniency;
use toml::Spanned;

/// The keys of the section: the switches of `Leniency`, and what becomes of a bare LF.
pub(super) const KEYS: &[&str] = &[
    "extra_spaces",
    "no_brackets",
    "odd_helo",
    "no_helo",
    "parameters_after_helo",
    "odd_dots",
    "underscores",
    "tabs",
    "leading_spaces",
    "spaces_in_brackets",
    "final_dot",
    "odd_xtext",
    "lf_in_commands",
    "drain_impure",
    "bare_lf",
    "bare_lf_in_chunks",
];

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
