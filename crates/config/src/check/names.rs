//! `[names]`.

use crate::facts::Names;
use crate::fault::Page;
use crate::keys::Kind::{Duration, List};
use crate::keys::Unset::Is;
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
use crate::value;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "names",
    repeated: false,
    text: "What clients are called: the name of an address, where that name leads back to it.",
    keys: keys! {
        /// Name servers, in the order in which they are asked. Without any: those of `/etc/resolv.conf`, also when that changes.
        "servers" = List("an address, with or without a port"), Is("[]"), since "0.1", as "[\"127.0.0.1\", \"[::1]:5353\"]";
        /// The longest that a greeting waits for the client's name. A client that has none by then is `unknown` to the backend.
        // It waits five minutes for the greeting (RFC 5321 §4.5.3.2.1), but holds a session meanwhile.
        "wait" = Duration(0, 30), Is("\"2s\""), since "0.1", as "\"5s\"";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Names {
    let section = root.one(page, "names");
    let default = Names::default();
    Names {
        servers: plain(section.list(page, "servers", value::name_server)),
        wait: section.duration(page, "wait", default.wait),
    }
}
