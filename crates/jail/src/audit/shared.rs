//! Open file descriptions that two processes have: what one does to such a description (F_SETFL, shutdown(2), its position), it
//! does to the other's.

use super::facts::{Facts, access_mode};
use super::parse::Kind;
use super::role::RoleName;
use gatepost_sys::process;
use gatepost_wire::control::Role;
use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

const NURSERY: RoleName = RoleName::Role(Role::Nursery);
const HANDOFF: RoleName = RoleName::Role(Role::Handoff);

/// What was made for two processes together.
const PERMITTED: [(RoleName, RoleName, Kind); 6] = [
    // The launcher binds listening sockets and keeps them for the next listener.
    (RoleName::Launcher, RoleName::Role(Role::Listener), Kind::Socket),
    // The pipe that ends when sessions are to drain.
    (NURSERY, RoleName::Session, Kind::Pipe),
    (NURSERY, NURSERY, Kind::Pipe),
    (RoleName::Session, RoleName::Session, Kind::Pipe),
    // A content file, which the session writes and handoff, or the queue program for it, reads.
    (HANDOFF, RoleName::Session, Kind::Unlinked),
    (HANDOFF, RoleName::Role(Role::Queue), Kind::Unlinked),
];

/// A description that two processes have open, and must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The two processes.
    pub pids: [u32; 2],
    /// The number that each has for it.
    pub numbers: [u32; 2],
    /// What it leads to, as /proc names it.
    pub link: String,
}

/// What the processes share and must not: by kcmp(2), and for sockets and pipes by /proc where that is not permitted. What is being
/// passed on has two holders for a moment, so what is found must be found twice.
#[must_use]
pub fn shared(all: &[Facts]) -> Vec<Shared> {
    let found = find(all);
    if found.is_empty() {
        return found;
    }
    sleep(Duration::from_millis(100));
    let later: Vec<Facts> = all.iter().filter_map(|facts| Facts::read(facts.pid).ok()).collect();
    let again = find(&later);
    found.into_iter().filter(|one| again.contains(one)).collect()
}

fn find(all: &[Facts]) -> Vec<Shared> {
    let mut holders: BTreeMap<&str, Vec<(&Facts, RoleName, u32)>> = BTreeMap::new();
    for facts in all {
        // Who serves without a launcher shares the log that it was given, and with its programs the connection.
        let (Some(role), Some(descriptors)) = (facts.launched(), &facts.descriptors) else { continue };
        for (number, link) in descriptors.links() {
            holders.entry(link).or_default().push((facts, role, number));
        }
    }
    // It holds nothing, and each process has it.
    holders.remove("/dev/null");
    let mut found = Vec::new();
    for (link, holders) in holders {
        let kind = Kind::of_link(link);
        for (place, (one, role, number)) in holders.iter().enumerate() {
            for (other, its_role, its_number) in holders.iter().skip(place.saturating_add(1)) {
                let (pids, numbers) = ([one.pid, other.pid], [*number, *its_number]);
                if one.pid != other.pid && !is_permitted(*role, *its_role, kind) && is_one(pids, numbers, kind) {
                    found.push(Shared { pids, numbers, link: link.to_owned() });
                }
            }
        }
    }
    found
}

fn is_permitted(one: RoleName, other: RoleName, kind: Kind) -> bool {
    PERMITTED.iter().any(|(a, b, what)| *what == kind && [(one, other), (other, one)].contains(&(*a, *b)))
}

/// Whether two descriptors with one link are one description.
fn is_one([one, other]: [u32; 2], [number, its_number]: [u32; 2], kind: Kind) -> bool {
    process::same_file((one, number), (other, its_number)).unwrap_or_else(|_| match kind {
        // A socket has one description, and so has each end of a pipe.
        Kind::Socket => true,
        Kind::Pipe => access_mode(one, number) == access_mode(other, its_number),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Descriptors;
    use gatepost_sys::process::{Fork, fork};
    use std::fs::File;
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;

    /// Runs `look` while a child process has all our descriptors, too.
    fn beside_a_child(look: impl FnOnce(u32)) {
        let (mut begun, begin) = io::pipe().unwrap();
        let (wait, mut end) = io::pipe().unwrap();
        match fork().unwrap() {
            Fork::Child => {
                drop(end);
                let _ = (&begin).write_all(b"x");
                let _ = (&wait).read(&mut [0]);
                process::exit(0);
            }
            Fork::Parent(pid) => {
                begun.read_exact(&mut [0]).unwrap();
                look(u32::try_from(pid).unwrap());
                end.write_all(b"x").unwrap();
                while process::reap_one(pid).is_none() {
                    std::thread::yield_now();
                }
            }
        }
    }

    /// This process or its child as if it were a role, with one descriptor.
    fn role(pid: u32, role: RoleName, number: i32) -> Facts {
        let mut facts = Facts::read(pid).unwrap();
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
        let number = number.to_string();
        facts.descriptors = Some(Descriptors::parse([(number.as_str(), link.to_str().unwrap())].into_iter()));
        facts.role = Some(role);
        facts
    }

    #[test]
    fn p7_one_description_in_two_roles_is_found_and_another_of_the_same_file_is_not() {
        let own = std::process::id();
        let (keyholder, listener) = (RoleName::Role(Role::Keyholder), RoleName::Role(Role::Listener));
        let first = File::open("/etc/passwd").unwrap();
        let second = File::open("/etc/passwd").unwrap();
        let (reader, writer) = io::pipe().unwrap();
        beside_a_child(|child| {
            for (ours, theirs, count) in [
                (first.as_raw_fd(), first.as_raw_fd(), 1),
                (first.as_raw_fd(), second.as_raw_fd(), 0),
                (reader.as_raw_fd(), reader.as_raw_fd(), 1),
                (reader.as_raw_fd(), writer.as_raw_fd(), 0),
            ] {
                let found = find(&[role(own, keyholder, ours), role(child, listener, theirs)]);
                assert_eq!(found.len(), count, "{found:?}");
            }
            // What was made for two, and the same for two others.
            let drain = |other| find(&[role(own, NURSERY, reader.as_raw_fd()), role(child, other, reader.as_raw_fd())]);
            assert_eq!((drain(RoleName::Session).len(), drain(HANDOFF).len()), (0, 1));
        });
    }

    #[test]
    fn where_kcmp_is_not_permitted_sockets_and_pipes_are_known_by_proc() {
        // No process has that number, so kcmp(2) fails.
        let nobody = [u32::MAX >> 1, u32::MAX >> 1];
        assert!(is_one(nobody, [3, 3], Kind::Socket));
        assert!(!is_one(nobody, [3, 3], Kind::File));
    }
}
