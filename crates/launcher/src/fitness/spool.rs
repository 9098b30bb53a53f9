//! The spool: is it safe, and whose is the directory of content files in it? Looking changes nothing; what a start has to
//! change is in `spool.rs` of this crate.

use crate::findings::{Fitness, Level};
use crate::plan::Plan;
use gatepost_sys::fds;
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl Fitness {
    pub(super) fn look_at_spool(&mut self, plan: &Plan) {
        if self.look_at_spool_itself(plan) == Level::Good {
            self.look_at_content(&crate::spool::content(plan));
            self.look_at_space(plan);
        }
    }

    /// Whether nobody else may change it.
    pub(super) fn look_at_spool_itself(&mut self, plan: &Plan) -> Level {
        let subject = format!("spool {}", plan.config.spool.display());
        let (level, text) = match trusted_directory(&plan.config.spool) {
            Ok(()) => (Level::Good, "writable by its owner only".to_owned()),
            Err(why) if plan.trial.is_some() => {
                (Level::Good, format!("good enough to try; serve would refuse it: {why}"))
            }
            Err(why) => (Level::Fault, why),
        };
        self.add(subject, level, text);
        level
    }

    /// Whether the largest message has room, beside what must stay free.
    fn look_at_space(&mut self, plan: &Plan) {
        let limits = &plan.config.limits;
        let wanted = limits.message_size.saturating_add(limits.spool_free);
        let free = File::open(&plan.config.spool).and_then(|spool| fds::free_space(&spool));
        if let Ok(free) = free
            && free < wanted
        {
            let mib = |octets: u64| octets / (1024 * 1024);
            let text = format!(
                "{} MiB are free, and {} are needed for the largest message and limits.spool_free: large mail is told to come again",
                mib(free),
                mib(wanted)
            );
            self.add(format!("space in {}", plan.config.spool.display()), Level::Look, text);
        }
    }

    fn look_at_content(&mut self, content: &Path) {
        // That it has no user is found already.
        let Some((uid, gid)) = self.ids_of(Role::Handoff) else { return };
        let (level, text) = match std::fs::symlink_metadata(content) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => (Level::Good, format!("made at the start, for uid {uid}")),
            Err(e) => (Level::Fault, format!("cannot look at it: {e}")),
            Ok(seen) if !seen.is_dir() => (Level::Fault, "is not a directory; move it away".to_owned()),
            Ok(seen) if self.ground == Ground::User || (seen.uid(), seen.gid()) == (uid, gid) => {
                (Level::Good, format!("belongs to handoff (uid {})", seen.uid()))
            }
            Ok(seen) => {
                let of = seen.uid();
                let given = format!("belongs to uid {of}; the start gives it to handoff (uid {uid})");
                if crate::spool::is_in_use(content) {
                    (Level::Fault, crate::spool::taken(content, of, uid))
                } else {
                    (Level::Good, given)
                }
            }
        };
        self.add(format!("directory {}", content.display()), level, text);
    }
}

/// Root, or whoever runs us, owns the directory and all above it, and nobody else may write there: else somebody could
/// put another directory in its place.
fn trusted_directory(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err("must be an absolute path".into());
    }
    let us = gatepost_sys::process::effective_ids().0;
    for part in path.ancestors() {
        let seen = std::fs::symlink_metadata(part)
            .map_err(|e| format!("{}: {e}; make it with: install -d -m 0755 {}", part.display(), part.display()))?;
        if part == path && !seen.is_dir() {
            return Err("is not a directory".into());
        }
        let sticky = seen.mode() & 0o1000 != 0 && part != path;
        if seen.mode() & 0o022 != 0 && !sticky && !seen.file_type().is_symlink() {
            return Err(format!("{} is writable by others; run: chmod go-w {}", part.display(), part.display()));
        }
        if ![0, us].contains(&seen.uid()) {
            return Err(format!(
                "{} belongs to uid {}; run: chown root {}",
                part.display(),
                seen.uid(),
                part.display()
            ));
        }
    }
    Ok(())
}
