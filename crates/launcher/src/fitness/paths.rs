//! Who else could change what gatepost is told by: owner and mode of each file and of every directory above it, held against a
//! table, as sendmail does it.

use crate::findings::{Fitness, Level};
use crate::plan::Plan;
use gatepost_sys::{as_owner, process};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The file itself.
    File,
    /// A directory above it.
    Directory,
}

/// What must not be.
struct Rule {
    of: Part,
    /// These permissions.
    bits: u32,
    /// As long as this says so.
    unless: fn(mode: u32, gid: u32) -> bool,
    /// What somebody could do then, and what to run.
    says: &'static str,
    advice: &'static str,
}

const STICKY: u32 = 0o1000;

/// In a sticky directory nobody takes away what is another's.
fn is_sticky(mode: u32, _: u32) -> bool {
    mode & STICKY != 0
}

/// The group is root's own.
fn is_roots(_: u32, gid: u32) -> bool {
    gid == 0
}

/// The same table is in SECURITY.md.
#[rustfmt::skip] // One line a rule.
const RULES: [Rule; 4] = [
    Rule { of: Part::File, bits: 0o002, unless: |_, _| false, says: "everybody may write to it", advice: "chmod o-w" },
    Rule { of: Part::File, bits: 0o020, unless: is_roots, says: "its group may write to it", advice: "chmod g-w" },
    Rule { of: Part::Directory, bits: 0o002, unless: is_sticky, says: "everybody may put another file there", advice: "chmod o-w" },
    Rule { of: Part::Directory, bits: 0o020, unless: |mode, gid| is_sticky(mode, gid) || is_roots(mode, gid), says: "its group may put another file there", advice: "chmod g-w" },
];

impl Fitness {
    /// Every file that the configuration names.
    pub(super) fn look_at_paths(&mut self, plan: &Plan) {
        let config = &plan.config;
        let pairs =
            config.tls.pairs.iter().chain(config.backends().filter_map(|backend| backend.tls.as_ref()?.pair.as_ref()));
        let pairs = pairs.flat_map(|pair| [&pair.certificate, &pair.key]);
        let authorities = config.backends().filter_map(|backend| Some(&backend.tls.as_ref()?.ca));
        let networks = config.network_files().map(|file| &file.path);
        let files =
            pairs.chain(authorities).chain(networks).chain(&config.relay.domains_file).chain(&config.admission.rules);
        let files: BTreeSet<&Path> = files.map(PathBuf::as_path).chain(config.table_files()).collect();
        for path in files {
            self.look_at_path(path);
        }
    }

    /// One file. One that can't be looked at is told of by whoever reads it.
    pub fn look_at_path(&mut self, path: &Path) {
        let subject = format!("path {}", path.display());
        match dangers(path) {
            Ok((found, dangers)) if dangers.is_empty() => self.add(subject, Level::Good, found),
            Ok((_, dangers)) => self.add(subject, Level::Look, dangers.join("; ")),
            Err(_) => {}
        }
    }
}

/// What the file is, and what is wrong with it and the directories above: those of its name, and of what that leads to.
pub(super) fn dangers(path: &Path) -> io::Result<(String, Vec<String>)> {
    let us = process::effective_ids().0;
    let real = as_owner::canonicalize(path)?;
    let about = as_owner::metadata(&real)?;
    let found = format!("uid {}, mode {:04o}; nobody else can change it", about.uid(), about.mode() & 0o7777);
    let parts: BTreeSet<&Path> = path.ancestors().chain(real.ancestors()).collect();
    let mut dangers = Vec::new();
    for part in parts {
        let about = as_owner::symlink_metadata(part)?;
        if about.is_symlink() {
            // Its own permissions mean nothing: the directory that it is in decides.
            continue;
        }
        let kind = if about.is_dir() { Part::Directory } else { Part::File };
        if ![0, us].contains(&about.uid()) {
            dangers.push(format!("{} belongs to uid {}: run chown root {0}", part.display(), about.uid()));
        }
        let (mode, gid) = (about.mode(), about.gid());
        let broken = RULES.iter().filter(|rule| rule.of == kind && mode & rule.bits != 0 && !(rule.unless)(mode, gid));
        dangers.extend(broken.map(|rule| format!("{}: {}, run {} {0}", part.display(), rule.says, rule.advice)));
    }
    Ok((found, dangers))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn issue_12_whoever_could_change_a_file_is_named() {
        let top = std::env::temp_dir().join(format!("gatepost-paths-{}", std::process::id()));
        let (directory, file, link) = (top.join("d"), top.join("d/file"), top.join("link"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(&file, "").unwrap();
        symlink(&file, &link).unwrap();
        if process::effective_ids().0 == 0 {
            chown(&directory, None, Some(1)).unwrap();
        }
        for (of_directory, of_file, said) in [
            (0o755, 0o644, None),
            (0o700, 0o600, None),
            (0o1777, 0o644, None),
            (0o757, 0o644, Some("everybody may put another file there, run chmod o-w")),
            (0o775, 0o644, Some("its group may put another file there, run chmod g-w")),
            (0o1775, 0o644, None),
            (0o755, 0o646, Some("everybody may write to it, run chmod o-w")),
        ] {
            fs::set_permissions(&directory, Permissions::from_mode(of_directory)).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(of_file)).unwrap();
            for path in [&file, &link] {
                let (_, dangers) = dangers(path).unwrap();
                let own: Vec<&String> =
                    dangers.iter().filter(|danger| danger.contains(top.to_str().unwrap())).collect();
                match said {
                    None => assert!(own.is_empty(), "{of_directory:o} {of_file:o}: {own:?}"),
                    Some(said) => {
                        assert!(own.len() == 1 && own[0].contains(said), "{of_directory:o} {of_file:o}: {own:?}")
                    }
                }
            }
        }
        assert!(dangers(&top.join("none")).is_err());
        fs::remove_dir_all(&top).unwrap();
    }
}
