//! What a start changes in the spool. `gatepost check` calls nothing here that changes anything.

use crate::error::LauncherError;
use crate::findings::{Fitness, nobody};
use crate::plan::Plan;
use gatepost_config::Relax;
use gatepost_sys::fds::{self, Lock};
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

/// The directory of content files.
pub(crate) fn content(plan: &Plan) -> PathBuf {
    plan.config.spool.join("content")
}

/// The directory that is the root of roles when the configuration relaxes namespaces.
pub(crate) fn empty(plan: &Plan) -> PathBuf {
    plan.config.spool.join("empty")
}

/// Held as long as a launcher serves with a spool, so that no other takes the directory of content files away from it.
#[derive(Debug)]
pub(crate) struct InUse {
    pub(crate) lock: Option<Lock>,
}

/// Makes what roles need in the spool, and gives the directory of content files to handoff: unless a running gatepost with
/// other users has it, which could take no large message any more.
///
/// # Errors
/// That, or the system's refusal.
pub(crate) fn prepare(plan: &Plan, fitness: &Fitness) -> Result<InUse, LauncherError> {
    let failed = |e| LauncherError::System("make the directory of content files in the spool", e);
    if plan.relaxes(Relax::Namespaces) {
        make(&empty(plan), 0o555).map_err(failed)?;
    }
    let content = content(plan);
    make(&content, 0o700).map_err(failed)?;
    let seen = std::fs::symlink_metadata(&content).map_err(failed)?;
    let unfit = || LauncherError::Unfit(vec![nobody(Role::Handoff)]);
    let (uid, gid) = fitness.ids_of(Role::Handoff).ok_or_else(unfit)?;
    if fitness.ground == Ground::Root && (seen.uid(), seen.gid()) != (uid, gid) {
        if is_in_use(&content) {
            return Err(LauncherError::Unfit(vec![taken(&content, seen.uid(), uid)]));
        }
        lchown(&content, Some(uid), Some(gid)).map_err(failed)?;
    }
    match fds::lock_directory(&content, false) {
        Ok(Some(lock)) => Ok(InUse { lock: Some(lock) }),
        Ok(None) => Err(failed(io::ErrorKind::WouldBlock.into())),
        // A file system without locks keeps nobody from serving.
        Err(e) => {
            tracing::warn!("cannot lock {}: {e}; see to it that no other gatepost uses it", content.display());
            Ok(InUse { lock: None })
        }
    }
}

pub(crate) fn make(directory: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Whether a running gatepost serves with this directory of content files.
pub(crate) fn is_in_use(content: &Path) -> bool {
    matches!(fds::lock_directory(content, true), Ok(None))
}

/// What is wrong when one does, and has other users.
pub(crate) fn taken(content: &Path, of: u32, uid: u32) -> String {
    format!(
        "{} belongs to uid {of}, and a gatepost that runs now keeps its messages there; this configuration would give it \
         to uid {uid}: write the same users as that one's, or another spool",
        content.display()
    )
}
