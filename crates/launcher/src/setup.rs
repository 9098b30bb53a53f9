//! What each role is set up with: its ids, its limits, its directories and its slice.

use crate::apart::apart;
use crate::findings::{Fitness, nobody};
use crate::plan::Plan;
use crate::slices::octets;
use crate::{roles, slices, spool};
use gatepost_config::Relax;
use gatepost_jail::profile::{self, FileSize, Profile};
use gatepost_sys::process;
use gatepost_wire::control::Role;
use gatepost_wire::slice::Setup;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Octets that a message may grow by on its way into a content file.
const CONTENT_SLACK: u64 = 64 * 1024;

/// What `role` is set up with, in sealed memory. Put together in a process of its own: keys are in no other memory than
/// the keyholder's when that has ended (P5).
///
/// # Errors
/// A sentence: a certificate or key that cannot be read any more, or the system's refusal.
pub(crate) fn memory(role: Role, plan: &Plan, fitness: &Fitness) -> Result<OwnedFd, String> {
    sealed(|| octets(&of(role, plan, fitness)?))
}

/// Its slice alone, as it is now.
///
/// # Errors
/// As [`memory`].
pub(crate) fn slice(role: Role, plan: &Plan, fitness: &Fitness) -> Result<OwnedFd, String> {
    sealed(|| (roles::of(role).slice)(plan, fitness))
}

fn sealed(content: impl Fn() -> Result<Vec<u8>, String>) -> Result<OwnedFd, String> {
    let failed = |e: io::Error| format!("cannot hand it what it needs: {e}");
    let mut file = process::memory().map_err(failed)?;
    apart(|| {
        let bytes = content()?;
        // Once more from the start, if it has to be done twice.
        file.rewind().and_then(|()| file.write_all(&bytes)).map(|()| String::new()).map_err(failed)
    })?;
    process::seal(file).map_err(failed)
}

/// RLIMIT_DATA of `role`, octets.
pub(crate) fn data(role: Role, plan: &Plan) -> u64 {
    if role == Role::Nursery { plan.config.limits.data } else { profile::of(role).data }
}

/// RLIMIT_NOFILE of `role`.
pub(crate) fn open_files(role: Role, plan: &Plan) -> u64 {
    let waiting = if role == Role::Listener { slices::waiting(plan) } else { 0 };
    profile::of(role).open_files(plan.config.limits.sessions).saturating_add(waiting.into())
}

/// As [`memory`], in this process.
///
/// # Errors
/// As [`memory`].
pub(crate) fn of(role: Role, plan: &Plan, fitness: &Fitness) -> Result<Setup, String> {
    let (row, profile) = (roles::of(role), profile::of(role));
    let (uid, gid) = fitness.ids_of(role).ok_or_else(|| nobody(role))?;
    let reach = (row.reach)(plan, fitness);
    Ok(Setup {
        ground: fitness.ground,
        namespaces: !plan.relaxes(Relax::Namespaces),
        landlock: !plan.relaxes(Relax::Landlock),
        data: data(role, plan),
        open_files: open_files(role, plan),
        processes: if profile.forks { u64::from(plan.config.limits.sessions).saturating_add(8) } else { 0 },
        file_size: file_size(profile, plan),
        uid,
        gid,
        anchor: anchor(plan, reach.directories.is_empty()),
        groups: reach.groups,
        directories: reach.directories,
        connect_ports: reach.ports,
        slice: (row.slice)(plan, fitness)?,
    })
}

fn file_size(profile: &Profile, plan: &Plan) -> u64 {
    match profile.file_size {
        FileSize::Nothing => 0,
        FileSize::Message => plan.config.limits.message_size.saturating_add(CONTENT_SLACK),
        FileSize::Unlimited => u64::MAX,
    }
}

/// What the jail is built on; without namespaces, what it is: the spool for a role that reaches something in it, else a
/// directory that stays empty. Before the first start there is no such directory, and a rehearsal makes none.
fn anchor(plan: &Plan, reaches_nothing: bool) -> PathBuf {
    let empty = spool::empty(plan);
    let chrooted = plan.relaxes(Relax::Namespaces) && reaches_nothing;
    if chrooted && (!plan.rehearsal || empty.is_dir()) { empty } else { plan.config.spool.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_config::Config;
    use gatepost_wire::slice::Ground;
    use std::path::Path;

    #[test]
    fn p2_no_role_is_root_where_its_user_is_not_known() {
        let text = "hostname = \"mx.ok.test\"\n[relay]\ndomains = [\"ok.test\"]\n[[listen]]\naddress = \"[::]:25\"\ntls = \"off\"\n\
                    [backend]\nprofile = \"smtp\"\nconnect = \"tcp:127.0.0.1:26\"\n";
        let plan = Plan::from(Config::parse(text, Path::new("test.toml")).unwrap());
        let mut fitness = Fitness { ground: Ground::Root, ..Fitness::unseen() };
        for role in Role::ALL {
            assert_eq!(of(role, &plan, &fitness).unwrap_err(), nobody(role));
            if role != Role::Checker {
                fitness.ids.insert(role, (61_001, 61_002));
                let setup = of(role, &plan, &fitness).unwrap();
                assert_eq!((setup.uid, setup.gid), (61_001, 61_002));
            }
        }
        assert_eq!((roles::of(Role::Checker).slice)(&plan, &fitness), Err(nobody(Role::Checker)));
    }
}
