//! `[jail]`.

use crate::facts::{Jail, Relax};
use crate::fault::Page;
use crate::keys::Kind::List;
use crate::keys::Unset::Is;
use crate::keys::{Table, keys};
use crate::section::{self, Section, plain};

/// The section.
pub(super) const TABLE: Table = Table {
    name: "jail",
    repeated: false,
    text: "Confinement that may be missing, where the kernel or a container does not have it.",
    keys: keys! {
        /// Steps of confinement that may fail: `namespaces` of the roles' own, `landlock`, `distinct-users`: an id for each
        /// role. Each of them is logged at every start. Without namespaces roles leave the file tree by chroot(2), for which the
        /// unit of systemd lacks a capability: a drop-in of it with `CapabilityBoundingSet=CAP_SYS_CHROOT` adds it.
        "relax" = List("\"namespaces\", \"landlock\", \"distinct-users\""), Is("[]"), since "0.1", as "[\"landlock\"]";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Jail {
    let section = root.one(page, "jail");
    let words = Relax::ALL.map(|relax| (relax.name(), relax));
    let mut relax = plain(section.list(page, "relax", |text| section::word(text, &words)));
    relax.sort_unstable();
    relax.dedup();
    Jail { relax }
}
