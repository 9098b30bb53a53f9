//! Resource limits, setrlimit(2).

use rlimit::Resource;
use std::io;

/// The limits that gatepost sets. Octets for sizes, seconds for time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Limit {
    Data,
    OpenFiles,
    Processes,
    FileSize,
    Core,
    CpuTime,
    LockedMemory,
    Stack,
    AddressSpace,
    Resident,
    PendingSignals,
}

impl Limit {
    fn resource(self) -> Resource {
        match self {
            Limit::Data => Resource::DATA,
            Limit::OpenFiles => Resource::NOFILE,
            Limit::Processes => Resource::NPROC,
            Limit::FileSize => Resource::FSIZE,
            Limit::Core => Resource::CORE,
            Limit::CpuTime => Resource::CPU,
            Limit::LockedMemory => Resource::MEMLOCK,
            Limit::Stack => Resource::STACK,
            Limit::AddressSpace => Resource::AS,
            Limit::Resident => Resource::RSS,
            Limit::PendingSignals => Resource::SIGPENDING,
        }
    }
}

/// Sets soft and hard limit, so that it cannot be raised again.
///
/// # Errors
/// EPERM above the hard limit without CAP_SYS_RESOURCE.
pub fn set(limit: Limit, value: u64) -> io::Result<()> {
    limit.resource().set(value, value)
}

/// Sets the soft limit only, as softlimit(8) does: it can be raised again.
///
/// # Errors
/// EINVAL above the hard limit.
pub fn set_soft(limit: Limit, value: u64) -> io::Result<()> {
    limit.resource().set(value, limit.resource().get_hard()?)
}

/// Raises the soft limit by that much, up to the hard one.
///
/// # Errors
/// None in practice.
pub fn extend_soft(limit: Limit, by: u64) -> io::Result<()> {
    let (soft, hard) = limit.resource().get()?;
    let wanted = soft.saturating_add(by).min(hard);
    if wanted == soft { Ok(()) } else { limit.resource().set(wanted, hard) }
}

/// Sets the limit, or the hard limit where that is lower; returns what was set.
///
/// # Errors
/// None in practice.
pub fn set_at_most(limit: Limit, value: u64) -> io::Result<u64> {
    if set(limit, value).is_ok() {
        return Ok(value);
    }
    let value = value.min(limit.resource().get_hard()?);
    set(limit, value)?;
    Ok(value)
}

/// Soft and hard limit.
///
/// # Errors
/// None in practice.
pub fn get(limit: Limit) -> io::Result<(u64, u64)> {
    limit.resource().get()
}

/// All that gatepost changes for itself; the rest is inherited as it is.
const ALL: [Limit; 9] = [
    Limit::Data,
    Limit::OpenFiles,
    Limit::Processes,
    Limit::FileSize,
    Limit::Core,
    Limit::CpuTime,
    Limit::LockedMemory,
    Limit::Stack,
    Limit::AddressSpace,
];

/// Every limit as this process has it, to be given to the programs that it starts.
#[derive(Debug, Clone)]
pub struct Inherited(Vec<(Resource, u64, u64)>);

/// The limits that bound what a program may allocate, and the most that is asked of each: a stack without limit would
/// change how the kernel lays out memory.
const MEMORY: [(Limit, u64); 3] =
    [(Limit::Data, u64::MAX), (Limit::AddressSpace, u64::MAX), (Limit::Stack, 8 * 1024 * 1024)];

impl Inherited {
    /// As they are now: to be called before this process limits itself.
    ///
    /// # Errors
    /// None in practice.
    pub fn read() -> io::Result<Self> {
        let all = ALL.iter().map(|limit| {
            let (soft, hard) = get(*limit)?;
            Ok((limit.resource(), soft, hard))
        });
        Ok(Self(all.collect::<io::Result<_>>()?))
    }

    /// Raises what bounds memory to `octets` where it is lower ([`u64::MAX`]: no limit): soft limits up to the hard ones,
    /// and beyond only with CAP_SYS_RESOURCE, which is found out by trying. Returns each limit that stays lower, with its
    /// value: a wrapper's `ulimit -d` sets both limits, and no process of a plain user can take that back.
    ///
    /// # Errors
    /// None in practice.
    pub fn raise_memory(&mut self, octets: u64) -> io::Result<Vec<(Limit, u64)>> {
        let mut stay = Vec::new();
        for (limit, most) in MEMORY {
            let Some(entry) = self.0.iter_mut().find(|(resource, ..)| *resource == limit.resource()) else { continue };
            let (resource, soft, hard) = entry;
            let wanted = octets.min(most);
            if *hard < wanted && may_have(*resource, wanted)? {
                *hard = wanted;
            }
            *soft = (*soft).max(wanted.min(*hard));
            if *soft < wanted {
                stay.push((limit, *soft));
            }
        }
        Ok(stay)
    }

    /// Soft and hard value of one limit.
    #[must_use]
    pub fn of(&self, limit: Limit) -> Option<(u64, u64)> {
        self.0.iter().find(|(resource, ..)| *resource == limit.resource()).map(|(_, soft, hard)| (*soft, *hard))
    }

    /// Gives them to the calling process. What it may not have any more is set as high as can be.
    pub(crate) fn restore(&self) {
        for (resource, soft, hard) in &self.0 {
            if resource.set(*soft, *hard).is_ok() {
                continue;
            }
            if let Ok((_, highest)) = resource.get() {
                let _ = resource.set((*soft).min(highest), highest.min(*hard));
            }
        }
    }
}

/// Whether the hard limit can be raised to `value`. Puts it back: a limit can always be lowered.
fn may_have(resource: Resource, value: u64) -> io::Result<bool> {
    let (soft, hard) = resource.get()?;
    if resource.set(soft, value).is_err() {
        return Ok(false);
    }
    resource.set(soft, hard)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_14_a_soft_limit_is_extended_up_to_the_hard_one() {
        let seen = crate::process::apart(|| {
            Limit::AddressSpace.resource().set(3 << 30, 4 << 30).unwrap();
            let mut seen = Vec::new();
            for by in [1 << 20, u64::MAX] {
                extend_soft(Limit::AddressSpace, by).unwrap();
                seen.push(get(Limit::AddressSpace).unwrap());
            }
            format!("{seen:?}").into_bytes()
        });
        let expected = [((3_u64 << 30) + (1 << 20), 4_u64 << 30), (4 << 30, 4 << 30)];
        assert_eq!(String::from_utf8(seen.unwrap()).unwrap(), format!("{expected:?}"));
    }
}
