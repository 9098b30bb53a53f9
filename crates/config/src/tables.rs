//! Tables of senders, recipients and HELO names, and the files that they stand in.

use crate::fault::{Fault, Faults, Wrong};
use crate::{Config, list_file};
use gatepost_policy::tables::{FILE_MAX, Form, Table, check_entry};
use gatepost_wire::tables::{TableSlice, TablesSlice};
use std::io;
use std::path::{Path, PathBuf};

/// Octets of the smallest constant database: its header.
const CDB_MIN: usize = 2048;

/// `[senders]`, `[recipients]` and `[helo]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    /// Senders that are refused.
    pub senders: Listed,
    /// Recipients that are refused.
    pub recipients: Listed,
    /// The recipients that there are; none of it written: nobody says.
    pub valid: Listed,
    /// What a client may not say in HELO and EHLO.
    pub helo: Listed,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
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

impl Listed {
    /// Something is written of it.
    #[must_use]
    pub fn is_written(&self) -> bool {
        !self.entries.is_empty() || self.file.is_some() || self.cdb.is_some()
    }

    /// Reads the list anew, by `read`. `needed`: it must not be empty. Whether it has other entries than before.
    pub(crate) fn renew_file(
        &mut self,
        (form, needed): (Form, bool),
        read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<bool, Faults> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let entries = list_file::entries(&file.path, &octets(&file.path, read)?, |text| entry(form, text))?;
        if needed && entries.is_empty() {
            // What makes such files can fail, and all mail would be refused for good.
            return Err(whole(&file.path, "there is no recipient in it", "write one a line, or take the key out"));
        }
        // For its limits, which count what is in the configuration too.
        Table::new(form, self.entries.iter().chain(&entries), Vec::new())
            .map_err(|fault| whole(&file.path, fault.to_string(), "write fewer"))?;
        let others = file.content != entries;
        file.content = entries;
        Ok(others)
    }

    /// Reads the constant database anew.
    pub(crate) fn renew_cdb(&mut self, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<bool, Faults> {
        let Some(file) = &mut self.cdb else { return Ok(false) };
        let octets = octets(&file.path, read)?;
        if octets.len() < CDB_MIN {
            return Err(whole(
                &file.path,
                "no constant database",
                "make it with cdbmake, and move it there when it is whole",
            ));
        }
        let others = file.content != octets;
        file.content = octets;
        Ok(others)
    }

    fn slice(&self) -> TableSlice {
        let more = self.file.iter().flat_map(|file| &file.content);
        let cdb = self.cdb.as_ref().map(|file| file.content.clone()).unwrap_or_default();
        TableSlice { entries: self.entries.iter().chain(more).cloned().collect(), cdb }
    }
}

/// An entry of a table, which keeps its case: a class in a pattern has one.
pub(crate) fn entry(form: Form, text: &str) -> Result<String, Wrong> {
    match check_entry(form, text.as_bytes()) {
        Ok(()) => Ok(text.to_owned()),
        Err(fault) => {
            let example = match form {
                Form::Address => "write \"user@example.org\", \"@example.org\", \"@.example.org\" or \"/^[0-9]+@/\"",
                Form::Helo => "write \"example.org\", \".example.org\" or \"/^[0-9.]+$/\"",
            };
            Err(Wrong::new(format!("\"{text}\": {fault}"), example))
        }
    }
}

impl Tables {
    fn each(&self) -> [&Listed; 4] {
        [&self.senders, &self.recipients, &self.valid, &self.helo]
    }

    fn each_mut(&mut self) -> [(&mut Listed, Form, bool); 4] {
        let Self { senders, recipients, valid, helo } = self;
        [
            (senders, Form::Address, false),
            (recipients, Form::Address, false),
            (valid, Form::Address, true),
            (helo, Form::Helo, false),
        ]
    }
}

impl Config {
    /// The files of tables that it names, always in the same order.
    pub fn table_files(&self) -> impl Iterator<Item = &Path> {
        self.tables.each().into_iter().flat_map(|table| {
            let (list, cdb) = (table.file.as_ref().map(|file| &file.path), table.cdb.as_ref().map(|file| &file.path));
            list.into_iter().chain(cdb).map(PathBuf::as_path)
        })
    }

    /// Reads one of [`Config::table_files`] anew. Whether there is something else in it than before.
    ///
    /// # Errors
    /// [`Faults`] of the file: what was in it before stays in force.
    pub fn renew_table(&mut self, place: usize) -> Result<bool, Faults> {
        let mut before = 0_usize;
        for (table, form, needed) in self.tables.each_mut() {
            if table.file.is_some() {
                if before == place {
                    return table.renew_file((form, needed), crate::read);
                }
                before = before.saturating_add(1);
            }
            if table.cdb.is_some() {
                if before == place {
                    return table.renew_cdb(crate::read);
                }
                before = before.saturating_add(1);
            }
        }
        Ok(false)
    }

    /// The tables, for handoff.
    #[must_use]
    pub fn tables_slice(&self) -> TablesSlice {
        let Tables { senders, recipients, valid, helo } = &self.tables;
        TablesSlice {
            senders: senders.slice(),
            recipients: recipients.slice(),
            valid: valid.is_written().then(|| valid.slice()),
            helo: helo.slice(),
        }
    }
}
