//! Memory that a process gives back.

/// Keeps up to `octets` of freed memory for what comes next, where the C library is glibc; elsewhere nothing is changed. Without it
/// a process that needs some hundred KiB for each message gives them back each time, and pays for every page anew.
pub fn keep(octets: i32) {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_TRIM_THRESHOLD, libc::M_MMAP_THRESHOLD] {
        // SAFETY: mallopt(3) takes numbers alone; one that it refuses changes nothing.
        unsafe { libc::mallopt(parameter, octets) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = octets;
}

#[cfg(all(test, target_env = "gnu"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Page faults of this process so far.
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(7).unwrap().parse().unwrap()
    }

    /// Takes what a message of 64 KiB takes, twenty times: how many pages were new.
    fn twenty_messages() -> u64 {
        let before = faults();
        for _ in 0..20 {
            let pieces: Vec<Vec<u8>> = (0..4).map(|_| std::hint::black_box(vec![1; 70_000])).collect();
            drop(pieces);
        }
        faults() - before
    }

    #[test]
    fn issue_14_kept_memory_has_no_new_pages() {
        let counted = crate::process::apart(|| {
            keep(1 << 20);
            twenty_messages();
            twenty_messages().to_string().into_bytes()
        });
        let counted: u64 = String::from_utf8(counted.unwrap()).unwrap().parse().unwrap();
        assert!(counted < 20, "{counted} new pages");
    }
}
