//! What `/proc` says about a process, read without gatepost's code: a second opinion beside `gatepost audit`.

use memchr::memmem;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// All pids that this test can see.
#[must_use]
pub fn processes() -> Vec<u32> {
    processes_in(Path::new("/proc"))
}

/// All pids that a mounted `proc` shows.
#[must_use]
pub fn processes_in(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).expect("a mounted proc");
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The command line of a process, as that `proc` shows it; none when it is gone or a zombie.
#[must_use]
pub fn command_line_in(proc: &Path, pid: u32) -> Option<String> {
    let octets = fs::read(proc.join(pid.to_string()).join("cmdline")).ok()?;
    let line = String::from_utf8_lossy(&octets).trim_end_matches('\0').replace('\0', " ");
    (!line.is_empty()).then_some(line)
}

/// The parent's pid; none when the process is gone.
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    status(pid).get("PPid")?.parse().ok()
}

/// All descendants of `pid`, itself first.
#[must_use]
pub fn tree(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = processes().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(above) = all.get(next).copied() {
        all.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    all
}

/// The fields of `/proc/PID/status`; empty when the process is gone.
#[must_use]
pub fn status(pid: u32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.to_owned(), v.trim().to_owned())).collect()
}

/// Processor time of a process until now, in hundredths of a second; 0 when it is gone.
#[must_use]
pub fn processor_time(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, which may hold anything, ends at the last parenthesis; utime and stime are the 12th and 13th field behind it.
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Code of a process by the kind of its pages: octets that lie on huge pages of its own, and mappings that are executable and
/// writable.
#[must_use]
pub fn code(pid: u32) -> (u64, usize) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    let (mut huge, mut writable, mut executable) = (0, 0, false);
    for line in text.lines() {
        if let Some(kib) = line.strip_prefix("AnonHugePages:").filter(|_| executable) {
            huge += kib.split_whitespace().next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024;
        }
        // The first line of a mapping: its addresses, then its rights.
        if let Some(rights) =
            line.split(' ').nth(1).filter(|_| line.split(' ').next().is_some_and(|at| at.contains('-')))
        {
            executable = rights.contains('x');
            writable += usize::from(executable && rights.contains('w'));
        }
    }
    (huge, writable)
}

/// The soft and the hard limit of one row of `/proc/PID/limits`, such as "Max data size".
#[must_use]
pub fn limit(pid: u32, row: &str) -> Option<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(row))?;
    let mut words = rest.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// The names in the process's root directory.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn root_entries(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/root/")).unwrap_or_else(|e| panic!("root of {pid}: {e}"));
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The network interfaces that the process has, loopback included.
///
/// # Panics
/// When the process is gone.
#[must_use]
pub fn interfaces(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_else(|e| panic!("net of {pid}: {e}"));
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

/// The routes that the process has, both families; loopback's own do not count.
#[must_use]
pub fn routes(pid: u32) -> usize {
    let four = fs::read_to_string(format!("/proc/{pid}/net/route")).unwrap_or_default();
    four.lines().skip(1).count()
}

/// True when two processes share the namespace called `kind` ("net", "mnt", "pid", "ipc", "uts", "user").
#[must_use]
pub fn share(a: u32, b: u32, kind: &str) -> bool {
    let name = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    name(a).is_some() && name(a) == name(b)
}

/// What each open descriptor of the process is, as its link says.
#[must_use]
pub fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned())).collect()
}

/// Which of these texts are in the memory of a process, as root sees it. Empty when there is no such process.
///
/// # Panics
/// When the caller may not look.
#[must_use]
pub fn found_in_memory(pid: u32, needles: &[Vec<u8>]) -> Vec<bool> {
    let mut found = vec![false; needles.len()];
    let (Ok(maps), Ok(memory)) =
        (fs::read_to_string(format!("/proc/{pid}/maps")), fs::File::open(format!("/proc/{pid}/mem")))
    else {
        assert!(status(pid).is_empty(), "root may look");
        return found;
    };
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with('r'))) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut octets = vec![0; usize::try_from(to - from).unwrap()];
        // The kernel's own pages at the end cannot be read so.
        if memory.read_exact_at(&mut octets, from).is_err() {
            continue;
        }
        for (found, needle) in found.iter_mut().zip(needles) {
            *found |= memmem::find(&octets, needle).is_some();
        }
    }
    found
}
