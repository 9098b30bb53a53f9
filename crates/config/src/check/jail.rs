//! `[jail]`.

use crate::facts::{Jail, Relax};
use crate::fault::Page;
use crate::section::{self, Section, plain};

/// The keys of the section.
pub(super) const KEYS: &[&str] = &["relax"];

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Jail {
    let section = root.one(page, "jail");
    let words = Relax::ALL.map(|relax| (relax.name(), relax));
    let mut relax = plain(section.list(page, "relax", |text| section::word(text, &words)));
    relax.sort_unstable();
    relax.dedup();
    Jail { relax }
}
