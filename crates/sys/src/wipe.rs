//! Memory that is given back, overwritten: what a process was told in confidence must not stay behind in free memory.
//!
//! Buffers of our own are wiped where they are used. This is for those that nobody else can reach: rustls holds each record that it
//! has decrypted in memory of its own, and a vector that grows leaves its old place as it was.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static WIPES: AtomicBool = AtomicBool::new(false);

/// From here on this process overwrites all memory that it gives back, for as long as it lives.
pub fn freed() {
    WIPES.store(true, Ordering::Relaxed);
}

/// Octets below the caller that [`stack`] overwrites: more than any check of a password has been seen to use.
const DEPTH: usize = 64 * 1024;

/// Overwrites what calls that have returned left behind on the stack, 64 KiB deep.
#[inline(never)]
pub fn stack() {
    let mut below = [0_u8; DEPTH];
    wipe(&mut below);
    std::hint::black_box(&below);
}

/// By a call that the compiler does not take away.
fn wipe(octets: &mut [u8]) {
    // SAFETY: the slice is ours to write, all of it.
    unsafe { libc::explicit_bzero(octets.as_mut_ptr().cast(), octets.len()) }
}

/// The system's allocator, with [`freed`].
#[derive(Debug)]
struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: everything comes from the system's allocator and goes back to it with the layout that it came with; what is overwritten
// is within that layout, and nobody has it any more.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if WIPES.load(Ordering::Relaxed) {
            // SAFETY: `place` is a block of this size, which the caller gives back.
            unsafe { libc::explicit_bzero(place.cast(), layout.size()) }
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !WIPES.load(Ordering::Relaxed) {
            // SAFETY: the caller's promise is the same.
            return unsafe { System.realloc(place, layout, size) };
        }
        // SAFETY: the caller promises that `size`, rounded up to that alignment, is no more than isize::MAX.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: a size of zero is not asked for, by the caller's promise.
        let other = unsafe { self.alloc(new) };
        if !other.is_null() {
            // SAFETY: two blocks, each of that many octets at least; the old one is given back, as `realloc` does.
            unsafe {
                std::ptr::copy_nonoverlapping(place, other, layout.size().min(size));
                self.dealloc(place, layout);
            }
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lies at a place of memory, given back or not.
    fn at(place: *const u8, length: usize) -> Vec<u8> {
        // SAFETY: only just freed, small, and of an allocator that unmaps no such block; read octet by octet.
        (0..length).map(|n| unsafe { place.add(n).read_volatile() }).collect()
    }

    const SECRET: &[u8; 16] = b"a secret of ours";

    /// Leaves the secret on the stack, below who calls it, and says where.
    #[inline(never)]
    fn leave_behind() -> *const u8 {
        let mut deep = [0; 8 * 1024];
        for (place, octet) in deep.iter_mut().zip(SECRET.iter().cycle()) {
            *place = *octet;
        }
        std::hint::black_box(&deep).as_ptr()
    }

    #[test]
    fn issue_15_what_a_call_leaves_on_the_stack_is_overwritten() {
        let place = leave_behind();
        // The middle: what is called in between overwrites only what is next to this frame.
        let middle = place.wrapping_add(4 * 1024);
        // SAFETY: on this thread's stack, which is mapped that deep, since it has been written.
        let left = unsafe { middle.cast::<[u8; 16]>().read_volatile() };
        assert_eq!(&left, SECRET, "without a wipe it is still there");
        stack();
        // SAFETY: as above.
        let left = unsafe { middle.cast::<[u8; 16]>().read_volatile() };
        assert_eq!(left, [0; 16]);
    }

    #[test]
    fn issue_15_memory_that_is_given_back_is_overwritten() {
        freed();
        let mut text = b"a secret that is long enough to be seen ".repeat(16);
        let (first, length) = (text.as_ptr(), text.len());
        text.reserve_exact(4096);
        assert_ne!(text.as_ptr(), first, "it has another place now");
        // The allocator keeps notes of its own at the beginning of a free block.
        assert!(at(first, length)[64..].iter().all(|octet| *octet == 0));
        let second = text.as_ptr();
        drop(text);
        assert!(at(second, length)[64..].iter().all(|octet| *octet == 0));
    }
}
