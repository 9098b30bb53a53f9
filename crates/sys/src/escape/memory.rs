//! Memory: more than the limit, mappings of forbidden kinds, and what can be read in this process.

use std::io;

const PAGE: usize = 4096;
/// One past the highest address of a process, on 64-bit machines with four levels of page tables.
const TOP: usize = 1 << 47;
/// Below it nothing can be mapped: vm.mmap_min_addr.
const LOWEST: usize = 1 << 16;

/// A kind of mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// As an allocator makes it.
    Private,
    /// Shared: RLIMIT_DATA does not count it.
    Shared,
    /// Growing down, like a stack: RLIMIT_DATA does not count it.
    GrowingDown,
    /// To be looked at only: costs page tables, which RLIMIT_DATA does not count.
    ReadOnly,
    /// Writable and executable.
    Executable,
}

/// Maps `octets` and uses them.
///
/// # Errors
/// The kernel's.
pub fn map(kind: Mapping, octets: usize) -> io::Result<()> {
    let (prot, flags) = match kind {
        Mapping::Private => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE),
        Mapping::Shared => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
        Mapping::GrowingDown => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_GROWSDOWN),
        Mapping::ReadOnly => (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_NORESERVE),
        Mapping::Executable => (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE),
    };
    // SAFETY: a new anonymous mapping at an address of the kernel's choice disturbs nothing.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), octets, prot, flags | libc::MAP_ANONYMOUS, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    for offset in (0..octets).step_by(PAGE) {
        // SAFETY: within the mapping just made, which nobody else knows of.
        let place = unsafe { start.cast::<u8>().add(offset) };
        if kind == Mapping::ReadOnly {
            // SAFETY: readable, and zero.
            unsafe { place.read_volatile() };
        } else {
            // SAFETY: writable.
            unsafe { place.write_volatile(1) };
        }
    }
    Ok(())
}

/// Makes a page of its own executable after having written to it.
///
/// # Errors
/// The kernel's.
pub fn make_executable() -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice disturbs nothing.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page just mapped, which nobody else knows of.
    let result = unsafe { libc::mprotect(start, PAGE, libc::PROT_READ | libc::PROT_EXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves the end of the heap by `octets`.
///
/// # Errors
/// ENOMEM beyond RLIMIT_DATA.
pub fn raise_break(octets: usize) -> io::Result<()> {
    let grown = isize::try_from(octets).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: growing the heap takes nothing from anybody; the allocator copes with gaps.
    let before = unsafe { libc::sbrk(grown) };
    if before.addr() == usize::MAX { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Shows every page of this process that can be read to `visit`, in order: its address and a copy of its octets. Returns
/// how many there were. Finds them without /proc: an address range is free when it can be mapped, and a page can be read
/// when the kernel can.
///
/// # Errors
/// None in practice.
pub fn scan(mut visit: impl FnMut(usize, &[u8])) -> io::Result<usize> {
    let mut copy = vec![0; PAGE];
    let mut count = 0;
    let mut ranges = vec![(LOWEST, TOP - PAGE)];
    while let Some((start, end)) = ranges.pop() {
        if is_free(start, end - start)? {
            continue;
        }
        if end - start > PAGE {
            let middle = (start + (end - start) / 2) & !(PAGE - 1);
            ranges.push((middle, end));
            ranges.push((start, middle));
            continue;
        }
        if is_readable(start) {
            let page: *const u8 = std::ptr::with_exposed_provenance(start);
            // SAFETY: mapped and readable, as just asked, by the only thread; a copy, so that nothing is assumed of it
            // later, and one that may overlap with itself.
            unsafe { page.copy_to(copy.as_mut_ptr(), PAGE) };
            visit(start, &copy);
            count += 1;
        }
    }
    Ok(count)
}

/// Nothing is mapped there: the range can be had, and is given back at once.
fn is_free(start: usize, length: usize) -> io::Result<bool> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE;
    // SAFETY: MAP_FIXED_NOREPLACE never replaces what is there.
    let got = unsafe { libc::mmap(std::ptr::without_provenance_mut(start), length, libc::PROT_NONE, flags, -1, 0) };
    if got != libc::MAP_FAILED {
        // SAFETY: the mapping just made.
        unsafe { libc::munmap(got, length) };
        return Ok(true);
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EEXIST) => Ok(false),
        // RLIMIT_AS, which the kernel looks at last.
        Some(libc::ENOMEM) => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel can read there: it is asked to take a signal stack from it. If it does, no handler ever runs on that.
fn is_readable(page: usize) -> bool {
    let none = std::ptr::null_mut::<libc::stack_t>();
    // SAFETY: the kernel reads a few octets there, or fails, and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_sigaltstack, page, none) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}
