//! `[smtp]`.

use crate::fault::Page;
use crate::section::Section;
use gatepost_smtp::data::BareLf;
use gatepost_smtp::server::Leniency;
use toml::Spanned;

const BARE_LF: [(&str, BareLf); 2] = [("refuse", BareLf::Refuse), ("normalize", BareLf::Normalize)];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Leniency {
    let section = root.one(page, "smtp");
    let mut leniency = Leniency::default();
    for name in Leniency::names() {
        if let Some(switch) = leniency.switch(name) {
            *switch = section.truth(page, name, *switch);
        }
    }
    if let Some(bare_lf) = section.word(page, "bare_lf", &BARE_LF).map(Spanned::into_inner) {
        (leniency.lf_in_data, leniency.lf_in_chunks) = (bare_lf, bare_lf);
    }
    leniency
}
