//! Files of /proc/PID. Every read is bounded.

use super::parse::{Status, cmdline};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Octets read of any one file of /proc: far above what a gatepost process has, a bound on what a foreign one costs.
const TEXT_MAX: u64 = 1 << 22;
const ESRCH: i32 = 3;

pub(super) fn path(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

fn octets(pid: u32, name: &str) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    match File::open(path(pid, name))?.take(TEXT_MAX).read_to_end(&mut octets) {
        // A process that ends between open and read shows as "no such process".
        Err(e) if e.raw_os_error() == Some(ESRCH) => Err(io::ErrorKind::NotFound.into()),
        other => other.map(|_| octets),
    }
}

pub(super) fn text(pid: u32, name: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&octets(pid, name)?).into_owned())
}

pub(super) fn read_cmdline(pid: u32) -> io::Result<Vec<String>> {
    Ok(cmdline(&octets(pid, "cmdline")?))
}

pub(super) fn read_status(pid: u32) -> Option<Status> {
    Status::parse(&text(pid, "status").ok()?).ok()
}

pub(super) fn read_parent(pid: u32) -> Option<u32> {
    read_status(pid).map(|status| status.parent)
}

/// Whether a process runs the same program file as the caller.
pub(super) fn is_ours(pid: u32) -> bool {
    let file = |path: PathBuf| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let own = file(PathBuf::from("/proc/self/exe"));
    own.is_some() && file(path(pid, "exe")) == own
}
