//! `crates/past-holes.md` names what guards against each hole of the past, and `SECURITY.md` what stops an attacker in each
//! position: every test they name is one, every row they cite is there, and no hole or position stands without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The sections of the page that are tables, and how many holes each has at least: none is forgotten unseen.
const SECTIONS: [(&str, usize); 5] = [
    ("Memory corruption and crashes", 16),
    ("Commands and arguments injected, local delivery", 8),
    ("Protocol confusion", 12),
    ("TLS", 7),
    ("Resources and abuse", 20),
];

/// What covers a hole without a test: that it can't be here, or the word that nothing does.
const WORDS: [&str; 2] = ["**argument:**", "**open:**"];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page() -> String {
    std::fs::read_to_string(crates().join("past-holes.md")).unwrap()
}

/// All files below, but for what was built.
fn files(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && entry.file_name() != "target" {
            files(&entry.path(), found);
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
}

/// Names of the functions that are marked as tests, those inside of `proptest!` too.
fn tests_in(text: &str) -> Vec<String> {
    let mut marked = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim_start) {
        let name = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if line.starts_with("#[test]") {
            marked = true;
        } else if let Some(name) = name {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
            if std::mem::take(&mut marked) {
                names.push(name[..end].to_owned());
            }
        }
    }
    names
}

/// What a page may refer to.
struct Known {
    /// `crate::test`, and `fuzz::target`.
    tests: HashSet<String>,
    /// Files with rows: dialogues, and the tables of tests.
    texts: HashMap<PathBuf, String>,
}

impl Known {
    fn read() -> Self {
        let top = crates();
        let mut all = Vec::new();
        files(&top, &mut all);
        let mut known = Self { tests: HashSet::new(), texts: HashMap::new() };
        for path in all.iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs" || kind == "txt")) {
            let text = std::fs::read_to_string(path).unwrap();
            let inside = path.strip_prefix(&top).unwrap();
            let package = inside.iter().next().unwrap().to_str().unwrap();
            if inside.starts_with("fuzz/src/bin") {
                known.tests.insert(format!("{package}::{}", path.file_stem().unwrap().to_str().unwrap()));
            }
            known.tests.extend(tests_in(&text).iter().map(|name| format!("{package}::{name}")));
            if inside.iter().any(|part| part == "tests") {
                known.texts.insert(inside.to_owned(), text);
            }
        }
        known
    }

    /// What is wrong with a name or a citation of the page.
    fn complaint(&self, name: &str) -> Option<String> {
        match name.split_once(": ") {
            Some((file, row)) => {
                let text = self.texts.iter().find(|(path, _)| path.ends_with(file)).map(|(_, text)| text);
                let Some(text) = text else { return Some(format!("there is no file {file}")) };
                let is_row = |line: &str| !line.starts_with('#') && !line.starts_with("//") && line.contains(row);
                (!text.lines().map(str::trim_start).any(is_row)).then(|| format!("{file} has no row with {row}"))
            }
            None => (!self.tests.contains(name)).then(|| format!("there is no test {name}")),
        }
    }
}

/// What stands between back-quotes.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of a page's tables, without their heads, as cells.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = page.lines().collect();
    let heads = lines.windows(2).filter(|pair| pair[1].starts_with("|---")).map(|pair| pair[0]);
    let heads: Vec<&str> = heads.collect();
    let rows = lines.iter().filter(|line| line.starts_with("| ") && !heads.contains(line));
    rows.map(|line| line.trim_matches(['|', ' ']).split(" | ").collect()).collect()
}

/// The holes: section, year, hole, what covers it.
fn holes(page: &str) -> Vec<(&str, [&str; 3])> {
    let mut section = "";
    let mut holes = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if let Some(row) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let cells: [&str; 3] = cells.try_into().unwrap_or_else(|_| panic!("not three cells: {line}"));
            holes.push((section, cells));
        }
    }
    holes.retain(|(_, [year, ..])| *year != "Year");
    holes
}

#[test]
fn every_test_and_row_named_for_a_past_hole_is_there() {
    let known = Known::read();
    let page = page();
    let beside = |text: &&str| text.contains("::");
    let around = page.lines().filter(|line| !line.starts_with('|')).flat_map(names).filter(beside);
    let cited = holes(&page).into_iter().flat_map(|(_, [.., covered])| names(covered));
    // The two that say how names are written.
    let forms = ["crate::test", "fuzz::target"];
    let complaints: Vec<String> =
        around.chain(cited).filter(|name| !forms.contains(name)).filter_map(|name| known.complaint(name)).collect();
    assert!(complaints.is_empty(), "past-holes.md is out of date:\n{}", complaints.join("\n"));
}

#[test]
fn no_past_hole_is_without_a_test_or_a_word() {
    let page = page();
    let holes = holes(&page);
    for (section, least) in SECTIONS {
        let there = holes.iter().filter(|(within, _)| *within == section).count();
        assert!(there >= least, "{section}: {there} holes of {least}");
    }
    for (section, [year, hole, covered]) in holes {
        assert!(SECTIONS.iter().any(|(known, _)| *known == section), "{section} is not listed in this test");
        assert!(!year.is_empty() && !hole.is_empty(), "{section}: {covered}");
        let is_said = |word: &&str| covered.split_once(*word).is_some_and(|(_, said)| said.trim().len() > 5);
        let is_covered = names(covered).next().is_some() || WORDS.iter().any(is_said);
        assert!(is_covered, "{section}: nothing covers: {hole}");
    }
}

#[test]
fn every_position_in_security_md_has_tests_and_they_are_there() {
    let known = Known::read();
    let page = std::fs::read_to_string(crates().parent().unwrap().join("SECURITY.md")).unwrap();
    // Other tables of the page have no positions.
    let positions =
        rows(&page).into_iter().filter(|row| row.first().is_some_and(|position| position.starts_with("**")));
    let rows: Vec<_> = positions.collect();
    assert!(rows.len() >= 10, "{} positions", rows.len());
    for row in rows {
        let [position, .., shown] = row.as_slice() else { panic!("{row:?}") };
        assert!(row.len() == 4 && names(shown).count() > 0, "nothing shows what stops him: {position}");
        let complaints: Vec<String> = names(shown).filter_map(|name| known.complaint(name)).collect();
        assert!(complaints.is_empty(), "SECURITY.md is out of date, {position}:\n{}", complaints.join("\n"));
    }
    let around = page.lines().filter(|line| !line.starts_with('|')).flat_map(names);
    let cited = around.filter(|name| name.contains("::") && *name != "crate::test");
    assert_eq!(cited.filter_map(|name| known.complaint(name)).collect::<Vec<_>>(), Vec::<String>::new());
}
