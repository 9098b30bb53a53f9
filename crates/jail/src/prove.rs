//! The proof: every step of entering a jail is checked by trying to undo it, by code that did not do it.

use crate::JailError;
use crate::profile::Profile;
use gatepost_sys::landlock::{self, Trial};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process::{self, Fork};
use gatepost_sys::{confine, fds};
use gatepost_wire::slice::{Ground, Setup};
use std::io::ErrorKind;
use std::net::UdpSocket;

struct Proof {
    claim: &'static str,
    holds: fn(&Profile, &Setup) -> bool,
}

/// What must hold in every jail, in the order in which it is tried.
const PROOFS: &[Proof] = &[
    Proof { claim: "all user and group ids are the role's own", holds: ids_are_own },
    Proof { claim: "there is no way back to root", holds: root_is_out_of_reach },
    Proof { claim: "all five capability sets are empty", holds: |_, _| confine::has_no_capability() },
    Proof { claim: "no capability can be taken back", holds: |_, _| !confine::can_regain_capability() },
    Proof { claim: "no_new_privs is set", holds: |_, _| process::no_new_privs() },
    Proof { claim: "the process cannot be dumped or traced", holds: |_, _| !process::dumpable() },
    Proof { claim: "nothing can be written to the root", holds: |_, _| std::fs::write("/proof", b"").is_err() },
    Proof { claim: "root directory and mounts cannot be changed", holds: |_, _| !confine::can_change_root() },
    Proof { claim: "resource limits are set and cannot be raised", holds: limits_hold },
    Proof { claim: "no process can be made", holds: cannot_fork },
    Proof { claim: "only the planned descriptors are open", holds: |_, _| fds::census(1024) == [0, 1, 2, 3] },
    Proof { claim: "the network is out of reach", holds: network_is_as_planned },
];

/// Tries everything in [`PROOFS`].
///
/// # Errors
/// [`JailError::NotProved`] with the first claim that does not hold.
pub(crate) fn all(profile: &Profile, setup: &Setup) -> Result<(), JailError> {
    match PROOFS.iter().find(|proof| !(proof.holds)(profile, setup)) {
        None => Ok(()),
        Some(failed) => Err(JailError::NotProved { claim: failed.claim }),
    }
}

/// The new root, before landlock and the role's user, which may not look: what can't be looked at is not proved.
///
/// # Errors
/// As [`all`].
pub(crate) fn root(setup: &Setup) -> Result<(), JailError> {
    match root_is_as_planned(setup) {
        true => Ok(()),
        false => Err(JailError::NotProved { claim: "the root holds nothing but the planned directories" }),
    }
}

/// Landlock, tried: that the kernel says it enforces everything is not enough.
///
/// # Errors
/// As [`all`].
pub(crate) fn landlock(trial: &Trial, ports: &[u16]) -> Result<(), JailError> {
    let claims = [
        (trial.abstract_sockets_are_out_of_reach(), "abstract sockets of other processes are out of reach"),
        (landlock::tcp_is_out_of_reach(ports), "no TCP port but the planned ones can be reached, and none bound"),
    ];
    match claims.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, claim)) => Err(JailError::NotProved { claim }),
    }
}

/// A claim about the queue role, and how it is checked: by how the role was started and its real user.
type OutsideProof = (&'static str, fn(&Setup, u32) -> bool);

/// What must hold for the role that has no jail.
const OUTSIDE: &[OutsideProof] = &[
    ("no user or group id is root's", |setup, real| ![real, setup.uid, setup.gid].contains(&0)),
    ("there is no way back to root", |_, _| !confine::can_regain_root()),
    ("all five capability sets are empty", |_, _| confine::has_no_capability()),
    ("no capability can be taken back", |_, _| !confine::can_regain_capability()),
    ("no_new_privs is set", |_, _| process::no_new_privs()),
    ("the process cannot be dumped or traced", |_, _| !process::dumpable()),
    ("root directory and mounts cannot be changed", |_, _| !confine::can_change_root()),
    ("resource limits are set and cannot be raised", |setup, _| {
        is(Limit::FileSize, setup.file_size)
            && is(Limit::OpenFiles, setup.open_files)
            && is(Limit::Core, 0)
            && limits::set(Limit::FileSize, setup.file_size.saturating_add(1)).is_err()
    }),
    ("only the planned descriptors are open", |_, _| fds::census(1024) == [0, 1, 2, 3]),
];

/// Tries everything in [`OUTSIDE`].
///
/// # Errors
/// As [`all`].
pub(crate) fn outside(setup: &Setup, real: u32) -> Result<(), JailError> {
    match OUTSIDE.iter().find(|(_, holds)| !holds(setup, real)) {
        None => Ok(()),
        Some((claim, _)) => Err(JailError::NotProved { claim }),
    }
}

fn ids_are_own(_: &Profile, setup: &Setup) -> bool {
    match setup.ground {
        Ground::Root => setup.uid != 0 && confine::is_wholly(setup.uid, setup.gid),
        // In a user namespace the one mapped user shows as 0; outside it is the user that started us.
        Ground::User => confine::is_wholly(0, 0),
    }
}

fn root_is_out_of_reach(_: &Profile, setup: &Setup) -> bool {
    setup.ground == Ground::User || !confine::can_regain_root()
}

fn root_is_as_planned(setup: &Setup) -> bool {
    let is_planned = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| setup.directories.iter().any(|planned| entry.file_name() == planned.inside.as_str()))
    };
    // Without namespaces it is the spool, whose content is what it is.
    !setup.namespaces || std::fs::read_dir("/").is_ok_and(|mut entries| entries.all(is_planned))
}

fn limits_hold(profile: &Profile, setup: &Setup) -> bool {
    is(Limit::Data, setup.data)
        && is(Limit::OpenFiles, setup.open_files)
        && is(Limit::FileSize, setup.file_size)
        && is(Limit::Core, 0)
        && is(Limit::Processes, setup.processes)
        && (profile.forks || setup.processes == 0)
        && limits::set(Limit::Data, setup.data.saturating_add(4096)).is_err()
}

/// Whether all of these are set, and can't be raised. The kernel has one rule for that whichever limit it is (CAP_SYS_RESOURCE), so it is
/// tried with one.
pub(crate) fn limits_stay(limits: &[(Limit, u64)]) -> bool {
    // What has no limit has none that could be raised.
    let one = limits.iter().find(|(_, value)| *value != u64::MAX);
    limits.iter().all(|(limit, value)| is(*limit, *value))
        && one.is_none_or(|(limit, value)| limits::set(*limit, value.saturating_add(1)).is_err())
}

pub(crate) fn is(limit: Limit, value: u64) -> bool {
    limits::get(limit).is_ok_and(|(soft, hard)| soft == value && hard == value)
}

fn cannot_fork(profile: &Profile, _: &Setup) -> bool {
    if profile.forks {
        return true; // The nursery must; each of its sessions gives it up, see SessionSeal.
    }
    fork_fails()
}

pub(crate) fn fork_fails() -> bool {
    match process::fork() {
        Err(_) => true,
        Ok(Fork::Child) => process::exit(0),
        Ok(Fork::Parent(_)) => false,
    }
}

fn network_is_as_planned(profile: &Profile, setup: &Setup) -> bool {
    if !profile.namespaces.net || !setup.namespaces {
        return true;
    }
    // In an empty network even the loopback is down: there is no address and no route.
    match UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("127.0.0.1:9")) {
        Ok(()) => false,
        Err(e) => matches!(e.kind(), ErrorKind::NetworkUnreachable | ErrorKind::PermissionDenied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a process of its own, since most of it can't be undone.
    fn seen(of: impl FnOnce() -> bool) -> Vec<u8> {
        process::apart(|| vec![u8::from(of())]).unwrap()
    }

    #[test]
    fn p6_a_root_that_cannot_be_looked_at_is_not_proved_to_be_empty() {
        assert_eq!(process::effective_ids().0, 0, "needs root");
        let setup = Setup {
            ground: Ground::Root,
            namespaces: true,
            landlock: true,
            data: 0,
            open_files: 0,
            processes: 0,
            file_size: 0,
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            anchor: "/".into(),
            directories: Vec::new(),
            connect_ports: Vec::new(),
            slice: Vec::new(),
        };
        let holds = || root_is_as_planned(&setup);
        assert_eq!(seen(holds), [0], "the root of this machine is not empty");
        assert_eq!(seen(|| landlock::restrict(&[], &[]).is_err() || holds()), [0], "nor with landlock");
        let empty = || confine::own_mounts().and_then(|()| confine::empty_root(std::path::Path::new("/dev"), &[]));
        assert_eq!(seen(|| empty().is_ok() && holds()), [1], "an empty one is");
    }
}
