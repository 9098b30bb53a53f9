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
    for (key, place) in [("bare_lf", &mut leniency.lf_in_data), ("bare_lf_in_chunks", &mut leniency.lf_in_chunks)] {
        if let Some(bare_lf) = section.word(page, key, &BARE_LF).map(Spanned::into_inner) {
            *place = bare_lf;
        }
    }
    leniency
}
