//! `[senders]`, `[recipients]` and `[helo]`.

use crate::fault::{Page, Wrong};
use crate::file::Read;
use crate::keys::Kind::{List, Text};
use crate::keys::Unset::{Is, Said};
use crate::keys::{Table, keys};
use crate::section::{Section, plain};
use crate::tables::{Kind, TableEntries, TableFile, Tables};
use crate::value;
use gatepost_policy::entry::Form;
use toml::Spanned;

/// `[senders]`.
pub(super) const SENDERS: Table = Table {
    name: "senders",
    repeated: false,
    text: "Senders that are refused, at their recipients (550 5.7.1). Not the null sender, and not for clients that may send to any \
           domain. Mail to `postmaster` and `abuse` is taken from everybody.",
    keys: keys! {
        /// Addresses: `user@example.net`, `@example.net` for all of a domain, `@.example.net` for all domains below it, or
        /// `/PATTERN/`: an extended regular expression, without regard to case, found anywhere. 100 patterns at most.
        "refuse" = List("an address, or what stands for several"), Is("[]"), since "0.1", as "[\"@spam.example\", \"/^[0-9]+@/\"]";
        /// A file with more of them, one a line; `#` begins a comment. In force within two seconds of being replaced; while there
        /// is a mistake in it, what it had before is. 4 MiB at most.
        "refuse_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/bad-senders\"";
        /// A constant database with such keys, in lower case and without patterns; its data is not looked at. Replaced like the
        /// file.
        "refuse_cdb" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/bad-senders.cdb\"";
    },
};

/// `[recipients]`.
pub(super) const RECIPIENTS: Table = Table {
    name: "recipients",
    repeated: false,
    text: "Recipients that are refused before the backend is asked. `postmaster` and `abuse` never are, also at the address of this \
           machine (`postmaster@[192.0.2.1]`): what becomes of them the backend says.",
    keys: keys! {
        /// As in `[senders]`. Refused with 550 5.7.1.
        "refuse" = List("an address, or what stands for several"), Is("[]"), since "0.1", as "[\"old@example.org\"]";
        /// A file with more of them, as in `[senders]`.
        "refuse_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/bad-recipients\"";
        /// A constant database with more of them, as in `[senders]`.
        "refuse_cdb" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/bad-recipients.cdb\"";
        /// The recipients that there are, of all domains that mail is taken for: `@example.org` for a domain whose recipients
        /// are not listed. Others are refused with 550 5.1.1. Where none of these keys is written the backend alone says.
        "valid" = List("an address, or what stands for several"), Is("[]"), since "0.1", as "[\"info@example.org\", \"@example.net\"]";
        /// A file with more of them, as in `[senders]`. An empty one is a mistake.
        "valid_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/recipients\"";
        /// A constant database with more of them, as in `[senders]`.
        "valid_cdb" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/recipients.cdb\"";
    },
};

/// `[helo]`.
pub(super) const HELO: Table = Table {
    name: "helo",
    repeated: false,
    text: "What clients may not say in HELO and EHLO; their recipients are refused (550 5.7.1). Not for clients that may send to any \
           domain. Mail to `postmaster` and `abuse` is taken from everybody.",
    keys: keys! {
        /// Names: `host.example.net`, `.example.net` for all below, or `/PATTERN/` as in `[senders]`.
        "refuse" = List("a name, or what stands for several"), Is("[]"), since "0.1", as "[\"localhost\", \".spam.example\"]";
        /// A file with more of them, as in `[senders]`.
        "refuse_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/bad-helo\"";
        /// A constant database with more of them, as in `[senders]`.
        "refuse_cdb" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/bad-helo.cdb\"";
    },
};

/// The keys of one table: of a list, a file and a constant database.
pub(super) type Keys = [&'static str; 3];

const REFUSE: Keys = ["refuse", "refuse_file", "refuse_cdb"];
const VALID: Keys = ["valid", "valid_file", "valid_cdb"];

/// `permitted`: the table of `[submission]`.
pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>, permitted: TableEntries, read: Read) -> Tables {
    let address = Kind::Refused(Form::Address);
    let [senders, recipients, helo] = [SENDERS, RECIPIENTS, HELO].map(|table| root.one(page, table.name));
    Tables {
        senders: listed(page, &senders, REFUSE, address, read),
        recipients: listed(page, &recipients, REFUSE, address, read),
        valid: listed(page, &recipients, VALID, Kind::Valid, read),
        helo: listed(page, &helo, REFUSE, Kind::Refused(Form::Helo), read),
        permitted,
    }
}

/// One table of a section.
pub(super) fn listed(page: &mut Page<'_>, section: &Section<'_>, keys: Keys, kind: Kind, read: Read) -> TableEntries {
    let [list, file, cdb] = keys;
    let entries = section.list(page, list, |text| kind.entry(text));
    if let (Err(fault), Some(last)) = (kind.fits(entries.iter().map(Spanned::get_ref)), entries.last()) {
        section.fault(page, list, last, Wrong::new(fault.to_string(), "write fewer"));
    }
    let file = section.text(page, file, value::path);
    let cdb = section.text(page, cdb, value::path);
    let path = |path: &Spanned<std::path::PathBuf>| path.get_ref().clone();
    let mut listed = TableEntries {
        entries: plain(entries),
        file: file.as_ref().map(|file| TableFile::new(path(file))),
        cdb: cdb.as_ref().map(|file| TableFile::new(path(file))),
    };
    if let Some(read) = read {
        let renewed = [(&file, listed.renew_file(kind, read)), (&cdb, listed.renew_cdb(read))];
        for (path, renewed) in renewed {
            if let (Some(path), Err(faults)) = (path, renewed) {
                page.adopt(&path.span(), faults);
            }
        }
    }
    listed
}
