//! The manual: pages as text and for man(1).
//!
//! A page is a file of markdown below `pages/`. Where it lists keys, events, commands or options, a line `{{WORD}}` stands for
//! what `tables` makes of the very table that the program works by.
#![forbid(unsafe_code)]

mod block;
mod roff;
mod tables;
mod text;
mod write;

use block::Block;
use clap::Command;

pub use write::write;

/// The pages, each with its name.
const PAGES: &[(&str, &str)] = &[
    ("gatepost.8", include_str!("../pages/gatepost.8.md")),
    ("gatepost-audit.8", include_str!("../pages/gatepost-audit.8.md")),
    ("gatepost-inetd.8", include_str!("../pages/gatepost-inetd.8.md")),
    ("gatepost.toml.5", include_str!("../pages/gatepost.toml.5.md")),
    ("gatepost-log.5", include_str!("../pages/gatepost-log.5.md")),
    ("gatepost-coming-from.7", include_str!("../pages/gatepost-coming-from.7.md")),
    ("gatepost-qmail.7", include_str!("../pages/gatepost-qmail.7.md")),
    ("sendmail.1", include_str!("../pages/sendmail.1.md")),
    ("tcpserver.1", include_str!("../pages/tcpserver.1.md")),
    ("tcprules.1", include_str!("../pages/tcprules.1.md")),
    ("tcprulescheck.1", include_str!("../pages/tcprulescheck.1.md")),
    ("softlimit.1", include_str!("../pages/softlimit.1.md")),
];

/// A page of the manual.
#[derive(Debug)]
pub struct Page {
    /// Its name, without its section.
    pub name: &'static str,
    /// Its section.
    pub section: &'static str,
    /// What it is about, in a few words.
    pub about: String,
    blocks: Vec<Block>,
}

/// Every page, in the order of the sections. `command`: the command line, which some of them describe.
#[must_use]
pub fn pages(command: &Command) -> Vec<Page> {
    PAGES.iter().map(|(file, source)| page(file, source, command)).collect()
}

/// Programs that a page of another name is about.
const OTHER_NAMES: [(&str, &str); 3] =
    [("qmail-smtpd", "gatepost-qmail"), ("mailq", "sendmail"), ("newaliases", "sendmail")];

/// The page of that name. The section may be left out, and for gatepost's own pages what they begin with: `log` is
/// `gatepost-log`.
#[must_use]
pub fn find(command: &Command, topic: &str) -> Option<Page> {
    let topic = OTHER_NAMES.iter().find(|(name, _)| *name == topic).map_or(topic, |(_, page)| *page);
    let called = |file: &str| {
        let name = file.rsplit_once('.').map_or(file, |(name, _)| name);
        [file, name, name.trim_start_matches("gatepost-")].contains(&topic) || file == format!("gatepost.{topic}.5")
    };
    let (file, source) = PAGES.iter().find(|(file, _)| called(file))?;
    Some(page(file, source, command))
}

fn page(file: &'static str, source: &str, command: &Command) -> Page {
    let (name, section) = file.rsplit_once('.').unwrap_or((file, ""));
    let (about, body) = source.split_once('\n').unwrap_or((source, ""));
    let mut markdown = String::new();
    for line in body.lines() {
        match line.strip_prefix("{{").and_then(|line| line.strip_suffix("}}")) {
            Some(word) => markdown.push_str(&tables::table(word, command).unwrap_or_else(|| line.to_owned())),
            None => markdown.push_str(line),
        }
        markdown.push('\n');
    }
    Page { name, section, about: about.trim_start_matches("# ").to_owned(), blocks: block::read(&markdown) }
}

impl Page {
    /// The name of its file: name and section.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    /// For man(1): groff's macros an(7).
    #[must_use]
    pub(crate) fn roff(&self) -> String {
        roff::page(self)
    }

    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        text::page(self)
    }
}
