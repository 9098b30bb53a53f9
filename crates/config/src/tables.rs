//! Tables of senders, recipients and HELO names, and of who may send as whom; and the files that they stand in.

use crate::fault::{Fault, Faults, Wrong};
use crate::file::read;
use crate::{Config, list_file};
use gatepost_policy::entry::{EntryFault, Form, check_entry};
use gatepost_policy::senders::{Senders, check_line};
use gatepost_policy::tables::{FILE_MAX, Table};
use gatepost_wire::tables::{TableSlice, TablesSlice};
use std::io;
use std::path::{Path, PathBuf};

/// Octets of the smallest constant database: its header.
const CDB_MIN: usize = 2048;

/// `[senders]`, `[recipients]`, `[helo]`, and `senders` of `[submission]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// Senders that are refused.
    pub senders: TableEntries,
    /// Recipients that are refused.
    pub recipients: TableEntries,
    /// The recipients that there are; none of it written: nobody says.
    pub valid: TableEntries,
    /// What a client may not say in HELO and EHLO.
    pub helo: TableEntries,
    /// Who has logged in may send as whom: lines of a login and addresses. A login without one may use the address that it is itself.
    pub permitted: TableEntries,
}

/// What the entries of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What is refused.
    Refused(Form),
    /// The recipients that there are: no file without any.
    Valid,
    /// Lines of a login and what it may send from.
    Logins,
}

impl Kind {
    /// An entry, which keeps its case: a class in a pattern has one.
    pub(crate) fn entry(self, text: &str) -> Result<String, Wrong> {
        let (checked, example) = match self {
            Self::Refused(Form::Helo) => {
                (check_entry(Form::Helo, text.as_bytes()), "write \"example.org\", \".example.org\" or \"/^[0-9.]+$/\"")
            }
            Self::Refused(Form::Address) | Self::Valid => (
                check_entry(Form::Address, text.as_bytes()),
                "write \"user@example.org\", \"@example.org\", \"@.example.org\" or \"/^[0-9]+@/\"",
            ),
            Self::Logins => (
                check_line(text).map(drop),
                "write a login and its addresses, such as \"joe joe@example.org @joe.example.org\"",
            ),
        };
        match checked {
            Ok(()) => Ok(text.to_owned()),
            Err(fault) => Err(Wrong::new(format!("\"{text}\": {fault}"), example)),
        }
    }

    /// Whether a table can hold all of them.
    pub(crate) fn fits<'e>(self, entries: impl Iterator<Item = &'e String>) -> Result<(), EntryFault> {
        let form = match self {
            Self::Refused(form) => form,
            Self::Valid => Form::Address,
            Self::Logins => {
                let entries = entries.cloned().collect();
                return Senders::new(TableSlice { entries, cdb: Vec::new() }).map(drop);
            }
        };
        Table::new(form, entries, Vec::new()).map(drop)
    }
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableEntries {
    /// Entries in the configuration itself.
    pub entries: Vec<String>,
    /// A file with more of them, one a line.
    pub file: Option<TableFile<Vec<String>>>,
    /// A constant database with more of them.
    pub cdb: Option<TableFile<Vec<u8>>>,
}

/// A file of a table, and what was in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile<T> {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// What was in it when it was read last and made sense.
    pub content: T,
}

impl<T: Default> TableFile<T> {
    /// Not read yet.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, content: T::default() }
    }
}

fn whole(path: &Path, what: impl Into<String>, advice: &str) -> Faults {
    Faults::from(Fault::of_file(path, Wrong::new(what, advice)))
}

/// Reads a constant database anew, by `read`. `what` it must have one of at least, if anything. Whether it has other octets than before.
pub(crate) fn renew_cdb(
    file: &mut TableFile<Vec<u8>>,
    what: Option<&str>,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<bool, Faults> {
    let octets = octets(&file.path, read)?;
    if octets.len() < CDB_MIN {
        let advice = "make it with cdbmake, and move it there when it is whole";
        return Err(whole(&file.path, "no constant database", advice));
    }
    if let (Some(what), CDB_MIN) = (what, octets.len()) {
        // What makes such files can fail, and all mail would be refused for good.
        return Err(whole(&file.path, format!("there is no {what} in it"), "put some in, or take the key out"));
    }
    let others = file.content != octets;
    file.content = octets;
    Ok(others)
}

fn octets(path: &Path, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Vec<u8>, Faults> {
    match read(path) {
        Ok(octets) if octets.len() > FILE_MAX => {
            let what = format!("{} octets, and at most {FILE_MAX} are taken", octets.len());
            Err(whole(path, what, "make it smaller: @domain stands for all of a domain"))
        }
        Ok(octets) => Ok(octets),
        Err(error) => Err(whole(path, format!("cannot be read: {error}"), "write the file, or take the key out")),
    }
}

impl TableEntries {
    /// Something is written of it.
    #[must_use]
    pub(crate) fn is_written(&self) -> bool {
        !self.entries.is_empty() || self.file.is_some() || self.cdb.is_some()
    }

    /// Reads the list anew, by `read`. Whether it has other entries than before.
    pub(crate) fn renew_file(
        &mut self,
        kind: Kind,
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<bool, Faults> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let entries = list_file::entries(&file.path, &octets(&file.path, read)?, |text| kind.entry(text))?;
        if kind == Kind::Valid && entries.is_empty() {
            // What makes such files can fail, and all mail would be refused for good.
            return Err(whole(&file.path, "there is no recipient in it", "write one a line, or take the key out"));
        }
        // For its limits, which count what is in the configuration too.
        kind.fits(self.entries.iter().chain(&entries))
            .map_err(|fault| whole(&file.path, fault.to_string(), "write fewer"))?;
        let others = file.content != entries;
        file.content = entries;
        Ok(others)
    }

    /// Reads the constant database anew.
    pub(crate) fn renew_cdb(&mut self, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<bool, Faults> {
        self.cdb.as_mut().map_or(Ok(false), |file| renew_cdb(file, None, read))
    }

    fn slice(&self) -> TableSlice {
        let more = self.file.iter().flat_map(|file| &file.content);
        let cdb = self.cdb.as_ref().map(|file| file.content.clone()).unwrap_or_default();
        TableSlice { entries: self.entries.iter().chain(more).cloned().collect(), cdb }
    }
}

impl Tables {
    /// All of them.
    #[must_use]
    pub fn each(&self) -> [&TableEntries; 5] {
        [&self.senders, &self.recipients, &self.valid, &self.helo, &self.permitted]
    }

    fn each_mut(&mut self) -> [(&mut TableEntries, Kind); 5] {
        let Self { senders, recipients, valid, helo, permitted } = self;
        let refused = Kind::Refused(Form::Address);
        [
            (senders, refused),
            (recipients, refused),
            (valid, Kind::Valid),
            (helo, Kind::Refused(Form::Helo)),
            (permitted, Kind::Logins),
        ]
    }
}

impl Config {
    /// The files of tables that it names, always in the same order.
    pub fn table_files(&self) -> impl Iterator<Item = &Path> {
        let files = self.tables.each().into_iter().flat_map(|table| {
            let (list, cdb) = (table.file.as_ref().map(|file| &file.path), table.cdb.as_ref().map(|file| &file.path));
            list.into_iter().chain(cdb).map(PathBuf::as_path)
        });
        files.chain(self.relay.domains_cdb.as_ref().map(|file| file.path.as_path()))
    }

    /// Reads one of [`Config::table_files`] anew. Whether there is something else in it than before.
    ///
    /// # Errors
    /// [`Faults`] of the file: what was in it before stays in force.
    pub fn renew_table(&mut self, place: usize) -> Result<bool, Faults> {
        let mut before = 0_usize;
        for (table, kind) in self.tables.each_mut() {
            if table.file.is_some() {
                if before == place {
                    return table.renew_file(kind, read);
                }
                before = before.saturating_add(1);
            }
            if table.cdb.is_some() {
                if before == place {
                    return table.renew_cdb(read);
                }
                before = before.saturating_add(1);
            }
        }
        match &mut self.relay.domains_cdb {
            Some(file) if before == place => renew_cdb(file, Some("domain"), read),
            _ => Ok(false),
        }
    }

    /// The tables, for handoff. `accounts` of this machine: lines of uid and name.
    #[must_use]
    pub fn tables_slice(&self, accounts: Vec<String>) -> TablesSlice {
        let Tables { senders, recipients, valid, helo, permitted } = &self.tables;
        TablesSlice {
            senders: senders.slice(),
            recipients: recipients.slice(),
            valid: valid.is_written().then(|| valid.slice()),
            helo: helo.slice(),
            permitted: permitted.slice(),
            accounts,
            domains: self.relay.domains_cdb.as_ref().map(|file| file.content.clone()).unwrap_or_default(),
        }
    }
}
