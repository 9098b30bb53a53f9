//! What a server has used: processor time and memory, all its processes together.

use gatepost_testkit::{facts, wait};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `utime` and its siblings in `/proc/PID/stat` count these; the kernel's USER_HZ, the same on every port we build for.
const TICK: Duration = Duration::from_millis(10);
/// The kernel's stack of a thread, KiB: THREAD_SIZE of x86-64 and of arm64 with 4 KiB pages.
const KERNEL_STACK: u64 = 16;
/// A server is at rest when it uses less than [`AT_REST`] in this time.
const PAUSE: Duration = Duration::from_millis(10);
const AT_REST: Duration = Duration::from_micros(60);
/// A server that is still busy after this many pauses is measured as it is.
const PAUSES_MAX: u32 = 100;

/// Where the kernel keeps the account of processor time of one server, ended processes included.
#[derive(Debug)]
pub(crate) enum Account {
    /// A control group of its own, by `cpuacct.usage` (version 1, nanoseconds).
    Group1(PathBuf),
    /// A control group of its own, by `cpu.stat` (version 2, microseconds).
    Group2(PathBuf),
    /// None to be had: what `/proc` says of the processes there are and of the children they have reaped, in ticks.
    Proc,
}

impl Account {
    /// Opens the most exact one that can be had; `name` tells servers apart.
    pub(crate) fn open(name: &str) -> Self {
        Self::first(name).or_else(|| Self::second(name)).unwrap_or(Self::Proc)
    }

    fn first(name: &str) -> Option<Self> {
        let accounting = |kind: &str, options: &str| kind == "cgroup" && options.split(',').any(|o| o == "cpuacct");
        Some(Self::Group1(group(name, accounting)?))
    }

    fn second(name: &str) -> Option<Self> {
        Some(Self::Group2(group(name, |kind, _| kind == "cgroup2")?))
    }

    /// What a process writes `0` to in order to be on this account from then on, with all its children.
    pub(crate) fn entrance(&self) -> PathBuf {
        match self {
            Self::Group1(group) | Self::Group2(group) => group.join("cgroup.procs"),
            Self::Proc => PathBuf::from("/dev/null"),
        }
    }

    /// How exact it is, for the reader of the table.
    pub(crate) fn precision(&self) -> &'static str {
        match self {
            Self::Group1(_) => "cgroup cpuacct, nanoseconds",
            Self::Group2(_) => "cgroup cpu.stat, microseconds",
            Self::Proc => "/proc/PID/stat, ticks of 10 ms: read ratios with care",
        }
    }

    /// Processor time used so far by the server whose first process is `pid`, user and system.
    pub(crate) fn used(&self, pid: u32) -> io::Result<Duration> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("no processor time in {self:?}"));
        match self {
            Self::Group1(group) => {
                let text = fs::read_to_string(group.join("cpuacct.usage"))?;
                text.trim().parse().map(Duration::from_nanos).map_err(|_| bad())
            }
            Self::Group2(group) => {
                let text = fs::read_to_string(group.join("cpu.stat"))?;
                let value = text.lines().find_map(|line| line.strip_prefix("usage_usec ")).ok_or_else(bad)?;
                value.parse().map(Duration::from_micros).map_err(|_| bad())
            }
            Self::Proc => {
                let ticks: u32 = facts::tree(pid).into_iter().filter_map(ticks).sum();
                Ok(TICK * ticks)
            }
        }
    }

    /// As [`Account::used`], once the server is at rest: a process that is still ending belongs to the work before.
    pub(crate) fn used_at_rest(&self, pid: u32) -> io::Result<Duration> {
        let mut before = self.used(pid)?;
        for _ in 0..PAUSES_MAX {
            std::thread::sleep(PAUSE);
            let now = self.used(pid)?;
            if now.saturating_sub(before) < AT_REST {
                return Ok(now);
            }
            before = now;
        }
        Ok(before)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Self::Group1(group) | Self::Group2(group) = self {
            // The last processes may still be on their way out.
            wait::poll(Duration::from_secs(2), &mut || fs::remove_dir(&*group).ok());
        }
    }
}

/// A group at the top of the first mounted hierarchy whose type and options are `wanted`.
fn group(name: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let top = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (top, kind, options) = (words.next()?, words.next()?, words.next()?);
        wanted(kind, options).then_some(Path::new(top))
    })?;
    let group = top.join(format!("gatepost-bench-{name}"));
    // One that an earlier run has left will do: only differences are read.
    (fs::create_dir(&group).is_ok() || group.is_dir()).then_some(group)
}

/// utime, stime, cutime and cstime of a process: fields 14 to 17, counted from behind the name, which may hold spaces.
pub(crate) fn ticks(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let times = fields.split(' ').skip(11).take(4);
    times.map(|field| field.parse::<u32>().ok()).sum()
}

/// Memory, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Pages of the server's processes, each shared one counted in parts (PSS).
    pub(crate) user: u64,
    /// Kernel stacks and page tables of its processes, and the slab memory of the whole machine: only the difference
    /// between two readings says something.
    pub(crate) kernel: u64,
}

impl Memory {
    /// Of the server whose first process is `pid`.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        // Slab memory is not kept by process. First, because to look at processes takes some.
        let mut all = Self { user: 0, kernel: slab()? };
        for pid in facts::tree(pid) {
            let row = |file: &str, name| {
                let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
                kib(&text, name).unwrap_or(0)
            };
            all.user += pages(pid).unwrap_or(0);
            let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.count() as u64);
            all.kernel += row("status", "VmPTE:") + threads * KERNEL_STACK;
        }
        Ok(all)
    }
}

/// Pages of one process, each shared one counted in parts (PSS), KiB.
pub(crate) fn pages(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    kib(&text, "Pss:").ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no Pss of process {pid}")))
}

/// The machine's slab memory, KiB.
pub(crate) fn slab() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    kib(&text, "Slab:").ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Slab in /proc/meminfo"))
}

fn kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn a_row_of_meminfo_is_read_by_its_whole_name() {
        let text = "SlabX:   1 kB\nSlab:        50936 kB\n";
        assert_eq!(kib(text, "Slab:"), Some(50936));
        assert_eq!(kib(text, "Slabs:"), None);
    }

    #[test]
    fn every_account_counts_children_that_have_ended() {
        let mut accounts = vec![Account::Proc];
        accounts.extend(Account::first("test").into_iter().chain(Account::second("test")));
        for account in accounts {
            // Works in a child and waits for it, says so, and stays until its input ends.
            let line = format!(
                "echo 0 > {}; (i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done); echo done; read rest",
                account.entrance().display()
            );
            let mut shell = Command::new("sh");
            let mut shell = shell.args(["-c", &line]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            BufReader::new(shell.stdout.take().unwrap()).read_line(&mut said).unwrap();
            assert_eq!(said, "done\n", "{account:?}");
            let used = account.used_at_rest(shell.id()).unwrap();
            drop(shell.stdin.take());
            shell.wait().unwrap();
            assert!(used > TICK && used < Duration::from_secs(30), "{account:?}: {used:?}");
        }
    }
}
