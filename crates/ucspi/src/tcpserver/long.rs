//! Options that the original doesn't have. All are long, so that no old command line changes its meaning.

use super::options::{Fault, Options, shown};

/// What one address or network may take, and times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once from one IPv4 address or IPv6 /64.
    pub per_address: Option<u32>,
    /// The same for an IPv4 /24 or IPv6 /48.
    pub per_prefix: Option<u32>,
    /// How often one address may connect.
    pub address_rate: Option<Rate>,
    /// The same for a network.
    pub prefix_rate: Option<Rate>,
    /// Seconds that a program may run.
    pub session_time: Option<u64>,
    /// Seconds that TERM waits for programs.
    pub drain: Option<u64>,
    /// `-4` and `-6` were both given.
    pub(super) both_families: bool,
}

/// So many in that many seconds; all of them at once if need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Rate {
    pub count: u32,
    pub seconds: u32,
}

/// What programs may not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Resource limits, soft and hard.
    pub limits: Vec<(Resource, u64)>,
    /// `--no-new-privs`.
    pub no_new_privs: bool,
    /// `--chroot`.
    pub root: Option<Vec<u8>>,
    /// `--namespaces`.
    pub namespaces: Vec<Namespace>,
    /// `--seccomp`.
    pub calls: Option<Calls>,
}

/// A resource that can be limited, by its option. Octets, seconds of processor time, counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Resource {
    Data,
    AddressSpace,
    Stack,
    LockedMemory,
    OpenFiles,
    Processes,
    FileSize,
    Core,
    CpuTime,
}

/// A namespace of a program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Namespace {
    Mount,
    Ipc,
    Uts,
    Net,
}

/// System calls by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calls {
    /// These and no other.
    Only(Vec<String>),
    /// `~` before the list: all but these.
    AllBut(Vec<String>),
}

/// How the value of an option is read.
type Take = fn(&mut Options, &str, &[u8]) -> Result<(), Fault>;

/// An option.
pub(super) struct Long {
    /// Without the dashes.
    pub(super) name: &'static str,
    /// What its value is called; None: it has none.
    pub(super) value: Option<&'static str>,
    /// For `--help`.
    pub(super) help: &'static str,
    take: Take,
}

macro_rules! resource {
    ($name:literal, $value:literal, $resource:ident, $help:literal) => {
        Long {
            name: $name,
            value: Some($value),
            help: $help,
            take: |options, name, value| {
                options.restrictions.limits.push((Resource::$resource, size(name, value)?));
                Ok(())
            },
        }
    };
}

pub(super) const TABLE: &[Long] = &[
    Long {
        name: "per-address",
        value: Some("N"),
        help: "at most N connections at once from one address (IPv6: /64); more are closed",
        take: |options, name, value| count(name, value).map(|n| options.limits.per_address = Some(n)),
    },
    Long {
        name: "per-prefix",
        value: Some("N"),
        help: "the same for an IPv4 /24 or IPv6 /48",
        take: |options, name, value| count(name, value).map(|n| options.limits.per_prefix = Some(n)),
    },
    Long {
        name: "address-rate",
        value: Some("N/TIME"),
        help: "at most N connections in TIME from one address, such as 20/1m; more are closed",
        take: |options, name, value| rate(name, value).map(|rate| options.limits.address_rate = Some(rate)),
    },
    Long {
        name: "prefix-rate",
        value: Some("N/TIME"),
        help: "the same for an IPv4 /24 or IPv6 /48",
        take: |options, name, value| rate(name, value).map(|rate| options.limits.prefix_rate = Some(rate)),
    },
    Long {
        name: "session-time",
        value: Some("TIME"),
        help: "a program that runs longer gets TERM, five seconds later KILL, and so does what it has started",
        take: |options, name, value| seconds(name, value).map(|time| options.limits.session_time = Some(time)),
    },
    Long {
        name: "drain",
        value: Some("TIME"),
        help: "after TERM, wait that long for programs before what is left of them is killed",
        take: |options, name, value| seconds(name, value).map(|time| options.limits.drain = Some(time)),
    },
    Long {
        name: "user",
        value: Some("NAME"),
        help: "programs run as this user (or uid), with its group and no other group, root's neither",
        take: |options, _, value| {
            options.account.user = Some(value.to_vec());
            Ok(())
        },
    },
    resource!("data", "SIZE", Data, "RLIMIT_DATA of programs: 512K, 4M; the server's own stays"),
    resource!("address-space", "SIZE", AddressSpace, "RLIMIT_AS"),
    resource!("stack", "SIZE", Stack, "RLIMIT_STACK"),
    resource!("memlock", "SIZE", LockedMemory, "RLIMIT_MEMLOCK"),
    resource!("nofile", "N", OpenFiles, "RLIMIT_NOFILE"),
    resource!("nproc", "N", Processes, "RLIMIT_NPROC"),
    resource!("fsize", "SIZE", FileSize, "RLIMIT_FSIZE, octets"),
    resource!("core", "SIZE", Core, "RLIMIT_CORE, octets"),
    resource!("cpu", "SECONDS", CpuTime, "RLIMIT_CPU"),
    Long {
        name: "no-new-privs",
        value: None,
        help: "programs gain nothing by set-id files",
        take: |options, _, _| {
            options.restrictions.no_new_privs = true;
            Ok(())
        },
    },
    Long {
        name: "chroot",
        value: Some("DIR"),
        help: "programs see DIR as /; the program is looked for there",
        take: |options, _, value| {
            options.restrictions.root = Some(value.to_vec());
            Ok(())
        },
    },
    Long {
        name: "namespaces",
        value: Some("LIST"),
        help: "programs get their own of these: mount,ipc,uts,net",
        take: namespaces,
    },
    Long {
        name: "seccomp",
        value: Some("LIST"),
        help: "system calls that programs may make, by name or number; with ~ before it those that they may not; \
               whoever makes another is killed",
        take: calls,
    },
];

/// Takes `--name=value` or `--name value`.
pub(super) fn take<'a>(
    options: &mut Options,
    option: &[u8],
    mut next: impl FnMut() -> Option<&'a [u8]>,
) -> Result<(), Fault> {
    let mut halves = option.splitn(2, |octet| *octet == b'=');
    let name = halves.next().unwrap_or_default();
    let unknown = || Fault::because(format_args!("there is no option --{}; --help shows all", shown(name)));
    let known = TABLE.iter().find(|known| known.name.as_bytes() == name).ok_or_else(unknown)?;
    let dashed = format!("--{}", known.name);
    let value = match (known.value, halves.next()) {
        (None, None) => b"",
        (None, Some(_)) => return Err(Fault::because(format_args!("{dashed} takes no value"))),
        (Some(_), Some(value)) => value,
        (Some(_), None) => {
            next().ok_or_else(|| Fault::because(format_args!("option requires an argument -- {}", known.name)))?
        }
    };
    (known.take)(options, &dashed, value)
}

fn wrong(name: &str, wanted: &str, value: &[u8]) -> Fault {
    Fault::because(format_args!("{name} takes {wanted}, not {}", shown(value)))
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default()
}

/// Digits alone: no sign, no blank.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number of connections.
pub(super) fn count(name: &str, value: &[u8]) -> Result<u32, Fault> {
    let found = digits(text(value)).filter(|n| *n > 0);
    found.ok_or_else(|| wrong(name, "a number of connections from 1 on", value))
}

/// A uid or gid.
pub(super) fn id(name: &str, value: &[u8]) -> Result<u32, Fault> {
    // As the original, an empty one is 0.
    let found = if value.is_empty() { Some(0) } else { digits(text(value)).filter(|id| *id != u32::MAX) };
    found.ok_or_else(|| wrong(name, "a number from 0 to 4294967294", value))
}

fn time(value: &str) -> Option<u64> {
    let (number, factor) = match value.strip_suffix(['s', 'm', 'h', 'd']) {
        None => (value, 1),
        Some(number) => {
            (number, [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)].iter().find(|u| value.ends_with(u.0))?.1)
        }
    };
    digits::<u64>(number).and_then(|n| n.checked_mul(factor)).filter(|n| (1..=31_622_400).contains(n))
}

fn seconds(name: &str, value: &[u8]) -> Result<u64, Fault> {
    time(text(value)).ok_or_else(|| wrong(name, "a time, such as 90, 90s, 5m or 1h", value))
}

fn rate(name: &str, value: &[u8]) -> Result<Rate, Fault> {
    let read = |value: &str| {
        let (count, per) = value.split_once('/')?;
        // "20/m" is "20/1m".
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) { per.to_owned() } else { format!("1{per}") };
        let rate = Rate { count: digits(count)?, seconds: u32::try_from(time(&per)?).ok()? };
        (rate.count > 0).then_some(rate)
    };
    read(text(value)).ok_or_else(|| wrong(name, "a number and a time, such as 20/1m", value))
}

fn size(name: &str, value: &[u8]) -> Result<u64, Fault> {
    let value_text = text(value);
    let (number, shift) = match value_text.strip_suffix(['K', 'M', 'G']) {
        None => (value_text, 0),
        Some(number) => {
            (number, [('K', 10), ('M', 20), ('G', 30)].iter().find(|u| value_text.ends_with(u.0)).map_or(0, |u| u.1))
        }
    };
    let found = digits::<u64>(number).and_then(|n| n.checked_mul(1 << shift));
    found.ok_or_else(|| wrong(name, "a number, with K, M or G if need be", value))
}

fn namespaces(options: &mut Options, name: &str, value: &[u8]) -> Result<(), Fault> {
    for word in text(value).split(',') {
        options.restrictions.namespaces.push(match word {
            "mount" => Namespace::Mount,
            "ipc" => Namespace::Ipc,
            "uts" => Namespace::Uts,
            "net" => Namespace::Net,
            _ => return Err(wrong(name, "a list of mount, ipc, uts and net", value)),
        });
    }
    Ok(())
}

fn calls(options: &mut Options, name: &str, value: &[u8]) -> Result<(), Fault> {
    let list = text(value);
    let names = |list: &str| -> Result<Vec<String>, Fault> {
        let plain = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        let names: Vec<String> = list.split(',').map(str::to_owned).collect();
        if names.iter().all(|word| plain(word)) { Ok(names) } else { Err(wrong(name, "names between commas", value)) }
    };
    let calls = match list.strip_prefix('~') {
        Some(list) => Calls::AllBut(names(list)?),
        None => Calls::Only(names(list)?),
    };
    if options.restrictions.calls.replace(calls).is_some() {
        return Err(Fault::because(format_args!("{name} stands twice: one list says what is permitted")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::options::{Parsed, parse};
    use super::*;

    fn read(line: &str) -> Result<Options, Fault> {
        let words = format!("{line} 0 25 x");
        match parse(&words.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())? {
            Parsed::Serve(options) => Ok(*options),
            _ => Err(Fault::because("not served")),
        }
    }

    #[test]
    fn issue_11_long_options_are_read() {
        let line =
            "-v --per-address 3 -R --per-prefix=9 --address-rate 20/m --prefix-rate 5/10s --session-time 5m --drain 7";
        let options = read(line).unwrap();
        let limits = Limits {
            per_address: Some(3),
            per_prefix: Some(9),
            address_rate: Some(Rate { count: 20, seconds: 60 }),
            prefix_rate: Some(Rate { count: 5, seconds: 10 }),
            session_time: Some(300),
            drain: Some(7),
            both_families: false,
        };
        assert_eq!((options.limits, options.names.ident), (limits, false));
        let line = "--data 4M --nofile 32 --no-new-privs --chroot /x --namespaces net,uts --seccomp ~mount,ptrace";
        let wanted = Restrictions {
            limits: vec![(Resource::Data, 4 << 20), (Resource::OpenFiles, 32)],
            no_new_privs: true,
            root: Some(b"/x".to_vec()),
            namespaces: vec![Namespace::Net, Namespace::Uts],
            calls: Some(Calls::AllBut(vec!["mount".to_owned(), "ptrace".to_owned()])),
        };
        assert_eq!(read(line).unwrap().restrictions, wanted);
        assert_eq!(read("-C 2").unwrap().limits.per_address, Some(2));
    }

    #[test]
    fn issue_11_values_that_say_nothing_are_usage() {
        for line in [
            "--per-address 0",
            "--per-address +1",
            "--per-address=",
            "--address-rate 20",
            "--address-rate 0/m",
            "--session-time 0",
            "--session-time 5y",
            "--data 4X",
            "--data 99999999999999G",
            "--namespaces pid",
            "--seccomp a,,b",
            "--seccomp a --seccomp ~b",
            "--no-new-privs=1",
            "-C x",
        ] {
            let complaint = read(line).unwrap_err().complaint.unwrap();
            assert!(complaint.starts_with("tcpserver: ") && complaint.ends_with('\n'), "{line}: {complaint}");
        }
    }
}
