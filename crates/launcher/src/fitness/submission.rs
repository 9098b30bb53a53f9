//! The socket where programs of this machine submit mail: can it be bound, can they reach it, and are those that may send from any
//! address known?

use super::account_line;
use super::paths::dangers;
use crate::findings::{Fitness, Level};
use crate::plan::Plan;
use crate::slices::ACCOUNTS;
use gatepost_sys::as_owner;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

impl Fitness {
    /// A start finds out by itself whether the socket can be bound; the rest is for `gatepost check`.
    pub(super) fn look_at_submit_socket(&mut self, plan: &Plan) {
        let (Some(submission), Some(path)) = (&plan.config.submission, plan.submit_socket()) else { return };
        let (level, text) = socket(path);
        self.add(format!("submission unix:{}", path.display()), level, text);
        let passwd = fs::read_to_string(ACCOUNTS).unwrap_or_default();
        let (level, text) = trusted(&submission.trusted_users, &passwd);
        self.add("submission.trusted_users", level, text);
    }
}

/// What is at `path`, and who can reach it.
fn socket(path: &Path) -> (Level, String) {
    let directory = path.parent().unwrap_or(path);
    let at = directory.display();
    match as_owner::metadata(directory) {
        Ok(seen) if !seen.is_dir() => return (Level::Fault, format!("{at} is not a directory")),
        Ok(_) => {}
        Err(e) => {
            let text = format!(
                "cannot look at its directory {at}: {e}; it will not serve unless systemd makes the directory at the start \
                 (RuntimeDirectory=), else make it: install -d -m 0755 {at}"
            );
            return (Level::Look, text);
        }
    }
    if as_owner::symlink_metadata(path).is_ok_and(|seen| !seen.file_type().is_socket()) {
        return (Level::Fault, "is there but is not a socket: move it away".to_owned());
    }
    let closed = directory.ancestors().find(|part| as_owner::metadata(part).is_ok_and(|seen| seen.mode() & 0o001 == 0));
    if let Some(part) = closed {
        let part = part.display();
        let text =
            format!("{part} is closed to programs of other users, which cannot submit then: run chmod o+x {part}");
        return (Level::Look, text);
    }
    match dangers(directory) {
        Ok((_, dangers)) if dangers.is_empty() => {
            (Level::Good, "every program can reach it, and nobody else can put another socket there".to_owned())
        }
        Ok((_, dangers)) => (Level::Look, dangers.join("; ")),
        Err(e) => (Level::Look, format!("cannot look at its directory {at}: {e}")),
    }
}

/// The accounts by their uids. `passwd`: what is in the file of accounts.
fn trusted(users: &[String], passwd: &str) -> (Level, String) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for user in users {
        match account_line(passwd, user) {
            Some((uid, _)) => known.push(format!("{user} (uid {uid})")),
            None => unknown.push(user.as_str()),
        }
    }
    match (known.as_slice(), unknown.as_slice()) {
        ([], []) => (Level::Good, "none: everybody sends from their own address".to_owned()),
        (_, []) => (Level::Good, format!("{} may send from any address", known.join(", "))),
        _ => (Level::Look, format!("no account in {ACCOUNTS} is called {}", unknown.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn issue_15_a_submit_socket_that_programs_cannot_use_or_others_could_replace_is_told() {
        let top = std::env::temp_dir().join(format!("gatepost-submit-{}", std::process::id()));
        let (open, file) = (top.join("open"), top.join("open/file"));
        fs::create_dir_all(&open).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&top, Permissions::from_mode(0o755)).unwrap();
        for (mode, name, level, said) in [
            (0o755, "submit", Level::Good, "every program can reach it"),
            (0o755, "none/submit", Level::Look, "install -d -m 0755"),
            (0o755, "file", Level::Fault, "is not a socket"),
            (0o755, "file/submit", Level::Fault, "is not a directory"),
            (0o750, "submit", Level::Look, "run chmod o+x"),
            (0o757, "submit", Level::Look, "everybody may put another file there"),
        ] {
            fs::set_permissions(&open, Permissions::from_mode(mode)).unwrap();
            let found = socket(&open.join(name));
            assert!(found.0 == level && found.1.contains(said), "{mode:o} {name}: {found:?}");
        }
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn issue_15_a_trusted_user_without_an_account_is_told() {
        let passwd = "root:x:0:0::/:/bin/sh\nwww:x:2001:2001::/:/bin/sh\n";
        for (users, level, said) in [
            (&[][..], Level::Good, "none"),
            (&["root", "www"], Level::Good, "root (uid 0), www (uid 2001) may send"),
            (&["root", "wwww"], Level::Look, "is called wwww"),
        ] {
            let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
            let found = trusted(&users, passwd);
            assert!(found.0 == level && found.1.contains(said), "{users:?}: {found:?}");
        }
    }
}
