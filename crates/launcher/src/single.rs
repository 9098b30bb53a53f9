//! What the two processes of `gatepost inetd` are set up with: one connection, and no launcher.

use crate::findings::Fitness;
use crate::plan::Plan;
use crate::{roles, setup, slices, spool};
use gatepost_wire::control::Role;
use gatepost_wire::slice::{HandoffSlice, KeyholderSlice, QueueSlice, Setup, Slice};
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::PathBuf;

/// What one connection is served with.
#[derive(Debug)]
pub struct Single {
    /// The session's ids, limits and slice.
    pub session: Setup,
    /// Ids and limits of the other process: handoff's, or those of the queue program's user where it runs that program.
    pub parent: Setup,
    /// Handoff's slice: backends and content files as they are on the host.
    pub handoff: HandoffSlice,
    /// The keys, read now.
    pub keys: KeyholderSlice,
    /// Directory of content files; there, and owned by the user that the parent becomes.
    pub content: PathBuf,
    /// TCP ports of the backends.
    pub connect_ports: Vec<u16>,
    /// The queue program, where that is the backend.
    pub queue: Option<QueueSlice>,
}

/// Looks at what a connection is built on, reads certificates and keys, and makes the directory of content files. The calling
/// process has the keys in its memory then.
///
/// # Errors
/// Sentences that say what does not fit and what to do.
pub fn single(plan: &Plan) -> Result<Single, Vec<String>> {
    let fitness = Fitness::of_one(plan);
    let faults = fitness.faults();
    if !faults.is_empty() {
        return Err(faults);
    }
    let of = |role| setup::of(role, plan, &fitness).map_err(|why| vec![why]);
    let internal = |e| vec![format!("internal: {e}")];
    let (session, handoff) = (of(Role::Nursery)?, of(Role::Handoff)?);
    let handoff = HandoffSlice::from_bytes(&handoff.slice).map_err(internal)?;
    let is_queue = plan.config.backend.queue.is_some();
    let mut parent = of(if is_queue { Role::Queue } else { Role::Handoff })?;
    let queue = is_queue.then(|| QueueSlice::from_bytes(&parent.slice).map_err(internal)).transpose()?;
    let content = content(plan, (parent.uid, parent.gid)).map_err(|why| vec![why])?;
    let keys = slices::keyholder(plan, &fitness).map_err(|why| vec![why])?;
    let reach = (roles::of(Role::Dialer).reach)(plan, &fitness);
    parent.groups = reach.groups;
    Ok(Single {
        handoff: HandoffSlice { spool: content.to_string_lossy().into_owned(), ..handoff },
        keys: KeyholderSlice::from_bytes(&keys).map_err(internal)?,
        connect_ports: reach.ports,
        session,
        parent,
        content,
        queue,
    })
}

/// Its directory of content files, beside that of a daemon, which belongs to another process.
fn content(plan: &Plan, (uid, gid): (u32, u32)) -> Result<PathBuf, String> {
    let content = plan.config.spool.join("inetd");
    let failed = |e| format!("cannot keep content files in {}: {e}", content.display());
    spool::make(&content, 0o700).map_err(failed)?;
    let seen = std::fs::symlink_metadata(&content).map_err(failed)?;
    if !seen.is_dir() {
        return Err(format!("{} is not a directory; move it away", content.display()));
    }
    if seen.uid() != uid {
        lchown(&content, Some(uid), Some(gid)).map_err(|_| {
            format!(
                "{} belongs to uid {} and this process to uid {uid}: run gatepost inetd always as the same user, or give it \
                 another spool",
                content.display(),
                seen.uid()
            )
        })?;
    }
    Ok(content)
}
