//! The system call filter: an allow-list, compiled once, applied for good; anything else kills the process.

use crate::call_names::{self, Known};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Which uses of a permitted system call are permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// mprotect(2) without PROT_EXEC.
    NotExecutable,
    /// mmap(2) without PROT_EXEC of memory that RLIMIT_DATA counts, with the flags that an allocator needs and no other: not
    /// shared, not growing down like a stack, not locked, not populated at once, not of huge pages.
    PrivateNotExecutable,
    /// Only with these values in the arguments of these indices (from 0), the lower four octets of each.
    Args(&'static [(u8, u64)]),
}

/// A permitted system call, by name.
pub type Allowed<'a> = (&'a str, When);

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter {
    program: BpfProgram,
}

impl Filter {
    /// Compiles a list of what is allowed; the rest kills the process. Names that this architecture does not have are
    /// passed over: aarch64 has no epoll_wait(2), only epoll_pwait(2).
    ///
    /// # Errors
    /// A name that no architecture has, or an empty list.
    pub fn allow<'a>(list: impl IntoIterator<Item = Allowed<'a>>) -> io::Result<Self> {
        Self::compile(list, SeccompAction::KillProcess, SeccompAction::Allow)
    }

    /// Compiles a list of what is forbidden on top of a filter that is in force already.
    ///
    /// # Errors
    /// As [`Filter::allow`].
    pub fn forbid<'a>(list: impl IntoIterator<Item = Allowed<'a>>) -> io::Result<Self> {
        Self::compile(list, SeccompAction::Allow, SeccompAction::KillProcess)
    }

    /// What a filter made by [`Filter::allow`], which is in force already, permits of these is permitted no more. Short, because each
    /// session applies it and the kernel compiles it each time: what another architecture calls is refused by the filter before it.
    ///
    /// # Errors
    /// A name that no architecture has, or too many of them.
    pub fn withdraw<'a>(names: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        let mut numbers = BTreeSet::new();
        for name in names {
            let number = number(name).ok_or_else(|| io::Error::other(format!("no system call is known by {name}")))?;
            numbers.extend(number.map(|number| u32::try_from(number).map_err(io::Error::other)).transpose()?);
        }
        let instruction = |code: u32, jt, k| {
            // All codes of classic BPF fit.
            sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf: 0, k }
        };
        // The number of the call is the first field of what a filter sees, seccomp(2).
        let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
        // Behind the comparisons: permit, kill.
        for (number, rest) in numbers.iter().zip((1..=numbers.len()).rev()) {
            let to_the_end = u8::try_from(rest).map_err(|_| io::ErrorKind::InvalidInput)?;
            program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, to_the_end, *number));
        }
        for end in [SeccompAction::Allow, SeccompAction::KillProcess] {
            program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, end.into()));
        }
        Ok(Self { program })
    }

    fn compile<'a>(
        list: impl IntoIterator<Item = Allowed<'a>>,
        otherwise: SeccompAction,
        listed: SeccompAction,
    ) -> io::Result<Self> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        let mut unconditional = BTreeSet::new();
        for (name, when) in list {
            let number = number(name).ok_or_else(|| io::Error::other(format!("no system call is known by {name}")))?;
            let Some(number) = number else { continue };
            let entry = rules.entry(number).or_default();
            let conditions = conditions(when).map_err(io::Error::other)?;
            if conditions.is_empty() {
                unconditional.insert(number);
            } else {
                entry.push(SeccompRule::new(conditions).map_err(io::Error::other)?);
            }
        }
        // A call listed twice is permitted when either entry permits it; no rules at all means always.
        for number in unconditional {
            rules.insert(number, Vec::new());
        }
        let arch: TargetArch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
        let filter = SeccompFilter::new(rules, otherwise, listed, arch).map_err(io::Error::other)?;
        Ok(Self { program: filter.try_into().map_err(io::Error::other)? })
    }

    /// Puts the filter in force for this process and all it forks, for good. no_new_privs must be set already: this is one
    /// call where the library's own makes two, and each session makes it.
    ///
    /// # Errors
    /// EACCES without no_new_privs, ENOSYS or EINVAL from a kernel without seccomp.
    pub fn apply(&self) -> io::Result<()> {
        let len = u16::try_from(self.program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let program = libc::sock_fprog { len, filter: self.program.as_ptr().cast_mut().cast() };
        // SAFETY: the kernel reads `len` instructions, which is as many as there are, and keeps no pointer to them. The
        // library's instruction has the kernel's layout: it exists to be passed here.
        let rc = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, (&raw const program).cast::<u8>())
        };
        if rc == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// BPF instructions: what each system call outside the kernel's cache of plain permissions costs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.program.len()
    }

    /// Never: a filter holds at least its default.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.program.is_empty()
    }
}

/// The flags that an allocator needs, with which memory is private and made as it is used. MAP_NORESERVE and MAP_STACK change
/// nothing here.
pub(crate) const MAPPING: libc::c_int = libc::MAP_PRIVATE
    | libc::MAP_ANONYMOUS
    | libc::MAP_FIXED
    | libc::MAP_FIXED_NOREPLACE
    | libc::MAP_NORESERVE
    | libc::MAP_STACK;

fn conditions(when: When) -> Result<Vec<SeccompCondition>, seccompiler::BackendError> {
    let clear = |index, bits: libc::c_int| {
        let bits = u64::from(bits.cast_unsigned());
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits), 0)
    };
    match when {
        When::Always => Ok(Vec::new()),
        When::NotExecutable => Ok(vec![clear(2, libc::PROT_EXEC)?]),
        When::PrivateNotExecutable => Ok(vec![clear(2, libc::PROT_EXEC)?, clear(3, !MAPPING)?]),
        When::Args(values) => values
            .iter()
            .map(|(index, value)| SeccompCondition::new(*index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value))
            .collect(),
    }
}

/// Whether both words, names or numbers, mean the same system call of this architecture.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    one == other || number(one).flatten().is_some_and(|found| number(other) == Some(Some(found)))
}

/// The number of a system call on this architecture, by its name or, in digits, by itself: `None` when no architecture has the name,
/// `Some(None)` when only another has.
pub(crate) fn number(name: &str) -> Option<Option<i64>> {
    if name.bytes().all(|octet| octet.is_ascii_digit()) {
        return name.parse::<u16>().ok().map(|number| Some(number.into()));
    }
    call_names::find(name).map(|known| match known {
        Known::Here(number) => Some(number),
        Known::Elsewhere => None,
    })
}
