//! Where names come from: the configuration and the system's files, which change under a running gatepost (DHCP, VPN, containers).
//! The resolver can't see them.

use crate::plan::Plan;
use gatepost_config::host_files::{self, HOSTS, RESOLV_CONF};
use gatepost_sys::as_owner;
use gatepost_wire::slice::{ListZone, ResolverSlice};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Octets of each file that are read. More is no file for people.
const FILE_MAX: u64 = 1024 * 1024;
/// Shortest time between two looks at the files.
const PAUSE: Duration = Duration::from_secs(1);
/// The port of name servers that a file names.
const PORT: u16 = 53;

/// What the resolver is given now. Reads the files.
pub(crate) fn slice(plan: &Plan) -> ResolverSlice {
    let servers = match plan.config.names.servers.as_slice() {
        [] => host_files::name_servers(&read(RESOLV_CONF)),
        servers => servers.to_vec(),
    };
    let lists = plan.config.admission.lists.iter();
    let lists = lists.map(|list| ListZone { zone: list.rule.zone.clone(), about: list.about }).collect();
    ResolverSlice { servers, hosts: host_files::hosts(&read(HOSTS)), lists }
}

/// Ports of name servers, for landlock: also of those that a file may name later.
pub(crate) fn ports(plan: &Plan) -> Vec<u16> {
    let mut ports: Vec<u16> = plan.config.names.servers.iter().map(|server| server.port()).chain([PORT]).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A file that can't be read says nothing, as to every other program.
fn read(path: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let read = as_owner::open(Path::new(path)).and_then(|file| file.take(FILE_MAX).read_to_end(&mut octets));
    if read.is_ok() { octets } else { Vec::new() }
}

/// By what a changed file is known: device, inode, length, times of modification and change.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// `None`: it isn't there. Links are followed: both files often are one.
fn stamp(path: &str) -> Option<Stamp> {
    let seen = as_owner::metadata(Path::new(path)).ok()?;
    let (modified, changed) = ((seen.mtime(), seen.mtime_nsec()), (seen.ctime(), seen.ctime_nsec()));
    Some((seen.dev(), seen.ino(), seen.len(), modified, changed))
}

/// Looks at the files from time to time.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: [Option<Stamp>; 2],
    next: Instant,
}

impl Watch {
    /// From how they are now.
    pub(crate) fn new() -> Self {
        Self { seen: [RESOLV_CONF, HOSTS].map(stamp), next: Instant::now() + PAUSE }
    }

    /// Whether they have changed since this was asked last.
    pub(crate) fn has_changed(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + PAUSE;
        let before = std::mem::replace(&mut self.seen, [RESOLV_CONF, HOSTS].map(stamp));
        self.seen != before
    }
}
