//! The program's own code on huge pages.
//!
//! A forked process has a page table entry for each page that its parent wrote, and none for what it only maps from a file: it
//! takes a page fault for every few of those pages, and its end has to visit each of them again. So a process that forks many
//! others copies its code once into anonymous huge pages: a few entries, which a fork copies as they are.
//!
//! At no moment is a page both writable and executable, nor does one become executable after it was writable: the new pages
//! are mapped as they stay, and filled through /proc/self/mem, which writes to private pages whatever their protection is.

use std::io;
use std::os::unix::fs::FileExt;
use std::ptr;

/// Octets of a huge page, on x86_64, and on aarch64 with small pages of 4 KiB.
const HUGE: usize = 2 * 1024 * 1024;
/// Octets of a small page, at least: segments are mapped in multiples of it.
const SMALL: usize = 4096;
/// A program larger than this stays as it is: a copy would cost more memory than it saves.
const LARGEST: usize = 32 * 1024 * 1024;
/// MADV_COLLAPSE (Linux 6.1): makes huge pages now, or says that it can't.
const MADV_COLLAPSE: libc::c_int = 25;

/// What the system says of huge pages for those who ask for them.
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Whether the system gives huge pages to a process that asks for them.
///
/// # Errors
/// The setting can't be read: NotFound where the kernel has none.
pub fn given() -> io::Result<bool> {
    Ok(!std::fs::read_to_string(SETTING)?.contains("[never]"))
}

/// Moves the program's text and its read-only data to huge pages, what is relocated at its start included, each segment wholly or
/// not at all: one stays when something else lies beside it by now, as the kernel chooses addresses. The process must have one
/// thread. Not counted by RLIMIT_DATA, since nothing of it is ever writable. Octets of huge pages.
///
/// # Errors
/// Unsupported: the system gives none, or the program was not linked with segments so far apart. Else the step that failed. In
/// any case the program runs on as before.
pub fn settle() -> io::Result<usize> {
    if !given()? {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let segments = segments();
    if segments.iter().map(Segment::length).sum::<usize>() > LARGEST {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let memory = std::fs::OpenOptions::new().write(true).open("/proc/self/mem")?;
    let mut all = 0;
    let mut stays = None;
    for segment in segments {
        match segment.settle(&memory) {
            Ok(octets) => all += octets,
            Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::AddrInUse) => stays = Some(e),
            Err(e) => return Err(e),
        }
    }
    stays.filter(|_| all == 0).map_or(Ok(all), Err)
}

/// A part of the program that is not written to any more.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Of its first and behind its last octet.
    start: usize,
    end: usize,
    protection: libc::c_int,
}

/// All of them that have their huge pages for themselves.
fn segments() -> Vec<Segment> {
    // SAFETY: getauxval takes no pointer.
    let (table, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    let (Ok(table), Ok(count)) = (usize::try_from(table), usize::try_from(count)) else { return Vec::new() };
    if table == 0 {
        return Vec::new();
    }
    // SAFETY: the kernel says where it has mapped the program headers and how many there are; they are never written to.
    let headers = unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance::<libc::Elf64_Phdr>(table), count) };
    // Where the program is, against where it was linked to be.
    let Some(own) = headers.iter().find(|header| header.p_type == libc::PT_PHDR) else { return Vec::new() };
    let bias = table.wrapping_sub(own.p_vaddr as usize);
    if !headers.iter().filter(|header| header.p_type == libc::PT_LOAD).all(|header| header.p_align as usize >= HUGE) {
        return Vec::new();
    }
    // What is only written while the program is relocated is read-only by now, whatever the segment that it lies in says.
    let fits = |header: &&libc::Elf64_Phdr| match header.p_type {
        libc::PT_LOAD => header.p_flags & libc::PF_W == 0,
        kind => kind == libc::PT_GNU_RELRO,
    };
    let segment = |header: &libc::Elf64_Phdr| {
        let start = bias.wrapping_add(header.p_vaddr as usize);
        let executable = if header.p_flags & libc::PF_X == 0 { 0 } else { libc::PROT_EXEC };
        Segment { start, end: start.wrapping_add(header.p_memsz as usize), protection: libc::PROT_READ | executable }
    };
    headers.iter().filter(fits).map(segment).collect()
}

impl Segment {
    fn first(&self) -> usize {
        self.start - self.start % HUGE
    }

    fn length(&self) -> usize {
        self.end.next_multiple_of(HUGE) - self.first()
    }

    /// Octets of huge pages that it is on now.
    fn settle(&self, memory: &std::fs::File) -> io::Result<usize> {
        // What lies beside it within its first and last huge page must be nobody's.
        let before = Mapping::free(self.first(), self.start - self.start % SMALL)?;
        let behind = Mapping::free(self.end.next_multiple_of(SMALL), self.first() + self.length())?;
        let new = Mapping::huge(self.length(), self.protection)?;
        // SAFETY: the segment is mapped and readable, and not written to any more, as its program header says.
        let old =
            unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance(self.start), self.end - self.start) };
        memory.write_all_at(old, (new.start + (self.start - self.first())) as u64)?;
        new.collapse()?;
        new.take_the_place_of(self.first())?;
        // Both are gone with what has been replaced.
        std::mem::forget((before, behind));
        Ok(self.length())
    }
}

/// Memory that this module has mapped, and unmaps again unless it was given away.
struct Mapping {
    start: usize,
    length: usize,
}

impl Mapping {
    /// Nothing may be mapped from `start` to `end`; then it is ours.
    fn free(start: usize, end: usize) -> io::Result<Self> {
        let length = end - start;
        if length == 0 {
            return Ok(Self { start, length });
        }
        let mapped = Self::map(start, length, libc::PROT_NONE, libc::MAP_FIXED_NOREPLACE)?;
        // A kernel before 4.17 takes the address for a wish.
        if mapped.start == start { Ok(mapped) } else { Err(io::ErrorKind::AddrInUse.into()) }
    }

    /// New memory at the start of a huge page, of which it will be made.
    fn huge(length: usize, protection: libc::c_int) -> io::Result<Self> {
        let wide = Self::map(0, length + HUGE, libc::PROT_NONE, 0)?;
        let start = wide.start.next_multiple_of(HUGE);
        let mapped = Self::map(start, length, protection, libc::MAP_FIXED)?;
        let end = wide.start + wide.length;
        drop([
            Self { start: wide.start, length: start - wide.start },
            Self { start: start + length, length: end - (start + length) },
        ]);
        std::mem::forget(wide);
        mapped.advise(libc::MADV_HUGEPAGE)?;
        Ok(mapped)
    }

    fn map(start: usize, length: usize, protection: libc::c_int, flags: libc::c_int) -> io::Result<Self> {
        let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: maps new memory: anywhere, or where nothing is (MAP_FIXED_NOREPLACE), or over memory that `huge` has mapped
        // itself and that nothing refers to (MAP_FIXED).
        let mapped = unsafe { libc::mmap(ptr::without_provenance_mut(start), length, protection, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: mapped.expose_provenance(), length })
    }

    fn advise(&self, advice: libc::c_int) -> io::Result<()> {
        // SAFETY: the memory is this mapping's, and neither advice changes what is read from it.
        match unsafe { libc::madvise(ptr::without_provenance_mut(self.start), self.length, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Small pages instead would make each fork dearer than it was: they are made huge ones now, or this fails.
    /// While others ask for large pieces of memory too, a second try may find what the first did not.
    fn collapse(&self) -> io::Result<()> {
        self.advise(MADV_COLLAPSE).or_else(|_| self.advise(MADV_COLLAPSE)).or_else(|_| self.advise(MADV_COLLAPSE))
    }

    /// Is mapped at `start` from here on, instead of what was there. The kernel does it in one step.
    fn take_the_place_of(self, start: usize) -> io::Result<()> {
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let place = ptr::without_provenance_mut::<libc::c_void>(start);
        // SAFETY: what is replaced is a segment of this program and the free memory beside it (`Segment::settle`), by a copy
        // with the same octets and the same protection: nobody who runs there or reads there can tell. One thread.
        let moved =
            unsafe { libc::mremap(ptr::without_provenance_mut(self.start), self.length, self.length, flags, place) };
        if moved == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: the memory is this mapping's, and nothing refers to it.
            unsafe { libc::munmap(ptr::without_provenance_mut(self.start), self.length) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_memory_keeps_its_octets_and_is_never_writable() {
        let seen = crate::process::apart(|| seen().unwrap_or_else(|e| e.to_string()).into_bytes());
        let seen = String::from_utf8(seen.unwrap()).unwrap();
        if given().is_ok_and(|given| given) {
            assert_eq!(seen, "r-xp");
        } else {
            eprintln!("skipped: the system gives no huge pages");
        }
    }

    /// The protection of a copy that was filled as code is; an error where it isn't one.
    fn seen() -> io::Result<String> {
        let memory = std::fs::OpenOptions::new().write(true).open("/proc/self/mem")?;
        let new = Mapping::huge(HUGE, libc::PROT_READ | libc::PROT_EXEC)?;
        memory.write_all_at(&[7; SMALL], new.start as u64)?;
        new.collapse()?;
        // SAFETY: mapped, readable, and as long as that.
        let octets = unsafe { std::slice::from_raw_parts(ptr::with_exposed_provenance::<u8>(new.start), HUGE) };
        if octets.iter().map(|octet| usize::from(*octet)).sum::<usize>() != 7 * SMALL {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        let line = maps.lines().find(|line| line.starts_with(&format!("{:x}-", new.start)));
        Ok(line.and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned())
    }
}
