//! What is said of a section and of a key of the configuration, for the parser, its messages and the manual page gatepost.toml(5)
//! alike. All of them are in [`TABLES`](crate::TABLES).
//!
//! A key is declared by `keys!` in the file of its section below `check/`. Its doc lines are its text in the manual; the
//! parser takes its range from there.

use std::iter;

/// A section of the file.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name, dotted; empty for the top of the file.
    pub name: &'static str,
    /// It may stand several times, so it has two brackets.
    pub repeated: bool,
    /// What it is for: a sentence or more; `code` stands between backticks.
    pub text: &'static str,
    /// Its keys, but for the sections within it.
    pub keys: &'static [Key],
}

/// A key of a section.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name, without that of its section.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds where it is not written.
    pub unset: Unset,
    /// The version that had it first.
    pub since: &'static str,
    /// A value that could stand there, as TOML.
    pub example: &'static str,
    /// What it does, as its doc lines say it.
    pub text: &'static str,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Truth,
    /// A whole number: the least and the most.
    Number(u64, u64),
    /// Octets, as a number or like `"50MiB"`: the least and the most.
    Size(u64, u64),
    /// A time like `"5m"`: the least and the most, in seconds.
    Duration(u64, u64),
    /// One of these, as a text.
    Word(&'static [&'static str]),
    /// A text of this form.
    Text(&'static str),
    /// A list of texts of this form.
    List(&'static str),
    /// A text of this form, or a list of such.
    OneOrList(&'static str),
    /// Something else.
    Other(&'static str),
}

/// What holds where a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// The same as if this value were written, as TOML.
    Is(&'static str),
    /// Nothing: it has to be written.
    Required,
    /// What this says, in the words of the manual.
    Said(&'static str),
}

/// Declares keys. The doc lines of each are its text in the manual.
///
/// ```ignore
/// keys! {
///     /// Sessions at once. Each of them is a process.
///     "sessions" = Number(1, 100_000), Is("1000"), since "0.1", as "2000";
/// }
/// ```
macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:literal = $kind:expr, $unset:expr, since $since:literal, as $example:literal;)*) => {
        &[$($crate::keys::Key {
            name: $name,
            kind: $kind,
            unset: $unset,
            since: $since,
            example: $example,
            text: concat!($($doc),+),
        }),*]
    };
}
pub(crate) use keys;

const KIB: u64 = 1 << 10;
/// Octets of a GiB, for the bounds of a [`Kind::Size`].
pub(crate) const GIB: u64 = 1 << 30;

/// Octets of so many KiB, for the bounds of a [`Kind::Size`].
pub(crate) const fn kib(n: u64) -> u64 {
    n.saturating_mul(KIB)
}

impl Table {
    /// Its name in brackets, as it stands in the file.
    pub(crate) fn heading(&self) -> String {
        match (self.name, self.repeated) {
            ("", _) => "the top of the file, before the first section".to_owned(),
            (name, true) => format!("[[{name}]]"),
            (name, false) => format!("[{name}]"),
        }
    }

    /// The least and the most of a key that has such, in octets or seconds where that is its unit.
    fn range(&self, key: &str) -> Option<(u64, u64)> {
        let row = self.keys.iter().find(|row| row.name == key)?;
        match row.kind {
            Kind::Number(least, most) | Kind::Size(least, most) | Kind::Duration(least, most) => Some((least, most)),
            _ => None,
        }
    }
}

/// All sections that a text may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Those that the manual lists.
    pub(crate) listed: &'static [Table],
    /// One whose keys are those of another, which is listed.
    pub(crate) alike: &'static Table,
}

impl Known {
    /// The section of this name.
    fn named(self, name: &str) -> Option<&'static Table> {
        self.listed.iter().chain(iter::once(self.alike)).find(|table| table.name == name)
    }

    /// The name of a section in brackets, as it stands in the file.
    pub(crate) fn heading(self, section: &str) -> String {
        self.named(section).map(Table::heading).unwrap_or_default()
    }

    /// What may stand in a section.
    pub(crate) fn words(self, section: &str) -> Vec<&'static str> {
        self.named(section).map(|table| self.words_of(table).collect()).unwrap_or_default()
    }

    /// Its keys, and the last words of the sections within it.
    fn words_of(self, table: &'static Table) -> impl Iterator<Item = &'static str> {
        let own = table.keys.iter().map(|key| key.name);
        let parent = table.name;
        let within = self.listed.iter().filter(|table| !table.name.is_empty()).filter_map(move |table| {
            let (above, word) = table.name.rsplit_once('.').unwrap_or(("", table.name));
            (above == parent).then_some(word)
        });
        own.chain(within)
    }

    /// The first section in which this word may stand.
    pub(crate) fn home_of(self, word: &str) -> Option<&'static Table> {
        self.listed.iter().find(|table| self.words_of(table).any(|each| each == word))
    }

    /// As [`Table::range`], of a key of that section.
    pub(crate) fn range(self, section: &str, key: &str) -> Option<(u64, u64)> {
        self.named(section).and_then(|table| table.range(key))
    }
}
