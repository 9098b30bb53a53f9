//! What programs may not do, from the command line's words to what is done in each new process.

use crate::account::Ids;
use crate::say::Fatal;
use gatepost_sys::confine::{self, Capability};
use gatepost_sys::filter::{Filter, When, is_same};
use gatepost_sys::limits::Limit;
use gatepost_sys::process::{self, Namespaces};
use gatepost_sys::vfork::Confinement;
use gatepost_ucspi::tcpserver::long::{Calls, Namespace, Resource, Restrictions};
use gatepost_ucspi::tcpserver::options::Options;
use std::ffi::CString;

/// Calls without which no program is executed, and none can say why not.
const NEEDED: [&str; 4] = ["execve", "write", "exit", "exit_group"];

/// Confines programs, and makes the calling process whom they run as, or as near to that as each new process needs it.
pub(crate) fn take(options: &Options, ids: Ids) -> Result<Confinement, Fatal> {
    let wanted = &options.restrictions;
    let mut confinement = Confinement {
        own_group: options.limits.session_time.is_some() || options.limits.drain.is_some(),
        limits: wanted.limits.iter().map(|(resource, value)| (limit(*resource), *value)).collect(),
        namespaces: namespaces(&wanted.namespaces),
        root: wanted.root.clone().map(CString::new).transpose().map_err(|_| Fatal::new(&[b"--chroot holds a NUL"]))?,
        no_new_privs: wanted.no_new_privs,
        filter: filter(wanted)?,
        ..Confinement::default()
    };
    if confinement.root.is_none() && wanted.namespaces.is_empty() {
        ids.take()?;
        return Ok(confinement);
    }
    // Each new process becomes what it must be, so this one keeps what it takes for that.
    if process::effective_ids().0 != 0 {
        return Err(Fatal::new(&[b"--chroot and --namespaces need root"]));
    }
    (confinement.uid, confinement.gid) = (ids.uid, ids.gid);
    if ids.uid.is_some() {
        let keep =
            [Capability::SetUid, Capability::SetGid, Capability::SysChroot, Capability::SysAdmin, Capability::Kill];
        confine::keep_permitted(&keep).map_err(|e| Fatal::system("unable to give up capabilities", &e))?;
    }
    Ok(confinement)
}

fn limit(resource: Resource) -> Limit {
    match resource {
        Resource::Data => Limit::Data,
        Resource::AddressSpace => Limit::AddressSpace,
        Resource::Stack => Limit::Stack,
        Resource::LockedMemory => Limit::LockedMemory,
        Resource::OpenFiles => Limit::OpenFiles,
        Resource::Processes => Limit::Processes,
        Resource::FileSize => Limit::FileSize,
        Resource::Core => Limit::Core,
        Resource::CpuTime => Limit::CpuTime,
    }
}

fn namespaces(wanted: &[Namespace]) -> Namespaces {
    Namespaces {
        mount: wanted.contains(&Namespace::Mount),
        ipc: wanted.contains(&Namespace::Ipc),
        uts: wanted.contains(&Namespace::Uts),
        net: wanted.contains(&Namespace::Net),
        ..Namespaces::default()
    }
}

fn filter(wanted: &Restrictions) -> Result<Option<Filter>, Fatal> {
    let always = |name: &'_ str| -> (String, When) { (name.to_owned(), When::Always) };
    let refused = |e: std::io::Error| Fatal::new(&[b"--seccomp: ", e.to_string().as_bytes()]);
    let filter = match &wanted.calls {
        None => return Ok(None),
        Some(Calls::Only(names)) => {
            let all: Vec<_> = names.iter().map(String::as_str).chain(NEEDED).map(always).collect();
            Filter::allow(all.iter().map(|(name, when)| (name.as_str(), *when)))
        }
        Some(Calls::AllBut(names)) => {
            if let Some(needed) = NEEDED.iter().find(|needed| names.iter().any(|name| is_same(name, needed))) {
                return Err(Fatal::new(&[b"--seccomp: no program can be executed without ", needed.as_bytes()]));
            }
            Filter::forbid(names.iter().map(|name| (name.as_str(), When::Always)))
        }
    };
    filter.map(Some).map_err(refused)
}
