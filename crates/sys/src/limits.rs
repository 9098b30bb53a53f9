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
