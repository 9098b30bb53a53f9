//! How much of the disk content files may have (P13, issue 9). Pure: what is free is handed in.
//!
//! All files together have `total` octets at most, in fair shares by network: see [`Pool`]. Of the file system they leave `floor`
//! octets free, so that whoever else writes there, the MTA for one, does not find it full. A file grows by pieces, each of which
//! is granted before it is written. When there is none left for a light network, an unfinished file of the heaviest one is
//! emptied, and its client hears 452 4.3.1 at the end of its content. Its session may still write the rest of its last piece:
//! that much goes beyond `total`, and never below `floor`.

use crate::pool::{Part, Pool};
use gatepost_policy::share::Origin;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Octets that are granted at once, at most: a session asks once for each piece.
const PIECE: u64 = 1 << 20;
/// Octets that are granted at once, at least.
const LEAST: u64 = 64 << 10;

/// Room for content files.
#[derive(Debug)]
pub(crate) struct Disk {
    pool: Pool<Unfinished>,
    total: u64,
    floor: u64,
    /// Octets that were granted and are not known to be written: they still count as free on the disk.
    unwritten: Arc<AtomicU64>,
}

/// What one file may have. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Quota {
    part: Part<Unfinished>,
    granted: u64,
    unwritten: u64,
    all_unwritten: Arc<AtomicU64>,
}

/// A file that its session has not finished: emptied when its quota is taken back.
#[derive(Debug)]
struct Unfinished(Option<Arc<File>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Failing that, the octets are free once the session asks again or ends.
        let _ = self.0.take().map(|file| file.set_len(0));
    }
}

impl Disk {
    /// `total` octets for all files, and `floor` octets that must stay free.
    pub(crate) fn new(total: u64, floor: u64) -> Self {
        Self { pool: Pool::new(total, 0..=0), total, floor, unwritten: Arc::default() }
    }

    /// For a file of a client at `origin`, which has nothing yet.
    pub(crate) fn quota(&self, origin: Origin) -> Quota {
        let all_unwritten = Arc::clone(&self.unwritten);
        Quota { part: self.pool.part(origin), granted: 0, unwritten: 0, all_unwritten }
    }

    /// Whether a message of `announced` octets of a client at `origin` has room now; None: any message. `free`: octets on the
    /// file system that can be written.
    pub(crate) fn has_room(&self, origin: Origin, announced: Option<u64>, free: u64) -> bool {
        self.measure(free);
        self.pool.has_room(origin, announced.unwrap_or(LEAST))
    }

    /// Grants a piece more to a file that has `length` octets and will have `announced`, as far as is known. None: there is none.
    pub(crate) fn grow(&self, quota: &mut Quota, length: u64, announced: Option<u64>, free: u64) -> Option<u64> {
        quota.expect(quota.granted.saturating_sub(length));
        self.measure(free);
        let missing = announced.and_then(|size| size.checked_sub(quota.granted)).filter(|missing| *missing > 0);
        let wanted = missing.unwrap_or(PIECE).clamp(LEAST, PIECE);
        let piece = [wanted, LEAST].into_iter().find(|piece| quota.take(*piece))?;
        quota.granted = quota.granted.saturating_add(piece);
        quota.expect(quota.unwritten.saturating_add(piece));
        Some(piece)
    }

    fn measure(&self, free: u64) {
        let spoken_for = self.floor.saturating_add(self.unwritten.load(Ordering::Relaxed));
        let left = free.saturating_sub(spoken_for);
        self.pool.resize(self.total.min(self.pool.used().saturating_add(left)));
    }
}

impl Quota {
    /// Octets that the file may have.
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    fn take(&mut self, octets: u64) -> bool {
        usize::try_from(octets).is_ok_and(|octets| self.part.take(octets))
    }

    /// So many octets are granted and not written.
    fn expect(&mut self, unwritten: u64) {
        self.all_unwritten.fetch_sub(self.unwritten, Ordering::Relaxed);
        self.all_unwritten.fetch_add(unwritten, Ordering::Relaxed);
        self.unwritten = unwritten;
    }

    /// The file is being written: whoever needs the space more may have it emptied.
    pub(crate) fn park(&mut self, file: &Arc<File>) {
        self.part.park(Unfinished(Some(Arc::clone(file))));
    }

    /// The file is not taken back from now on. False: it has been.
    #[must_use]
    pub(crate) fn resume(&mut self) -> bool {
        if !self.part.is_parked() {
            return true;
        }
        let kept = self.part.resume();
        kept.is_some_and(|mut unfinished| unfinished.0.take().is_some())
    }

    /// The file is complete: nothing more is written to it.
    pub(crate) fn complete(&mut self) {
        self.expect(0);
    }

    /// The file is empty: gives everything back.
    pub(crate) fn release(&mut self) {
        self.part.release();
        self.granted = 0;
        self.expect(0);
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.expect(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const MIB: u64 = 1 << 20;
    const PLENTY: u64 = 1 << 40;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn issue_9_the_floor_stays_free_whoever_writes_and_whatever_is_under_way() {
        let disk = Disk::new(100 * MIB, 10 * MIB);
        // (free, announced, has room)
        for (free, announced, expected) in [
            (PLENTY, Some(100 * MIB), true),
            (PLENTY, Some(100 * MIB + 1), false),
            (15 * MIB, Some(5 * MIB), true),
            (15 * MIB, Some(5 * MIB + 1), false),
            (10 * MIB + LEAST, None, true),
            (10 * MIB + LEAST - 1, None, false),
            (0, None, false),
        ] {
            assert_eq!(disk.has_room(origin("192.0.2.1"), announced, free), expected, "{free} {announced:?}");
        }
        // Five files grow at once; the disk is only what is written.
        let mut free = 13 * MIB + MIB / 2;
        let mut quotas: Vec<_> = (0..5).map(|_| (disk.quota(origin("192.0.2.1")), 0)).collect();
        let mut refused = 0;
        while refused < 5 {
            refused = 0;
            for (quota, length) in &mut quotas {
                match disk.grow(quota, *length, None, free) {
                    Some(piece) => {
                        *length += piece;
                        free -= piece;
                    }
                    None => refused += 1,
                }
            }
        }
        assert!((10 * MIB..10 * MIB + LEAST).contains(&free), "{free}");
        drop(quotas);
        assert_eq!((disk.unwritten.load(Ordering::Relaxed), disk.pool.used()), (0, 0));
    }

    #[test]
    fn issue_9_what_is_granted_and_not_written_is_not_granted_again() {
        let disk = Disk::new(100 * MIB, 0);
        let mut quotas: Vec<_> = (0..5).map(|_| disk.quota(origin("192.0.2.1"))).collect();
        let granted: Vec<_> = quotas.iter_mut().map(|quota| disk.grow(quota, 0, None, 3 * MIB + LEAST)).collect();
        assert_eq!(granted, [Some(MIB), Some(MIB), Some(MIB), Some(LEAST), None]);
        // Announced, and little of it missing.
        assert_eq!(disk.grow(&mut quotas[0], MIB, Some(MIB + 100_000), PLENTY), Some(100_000));
        assert_eq!(disk.grow(&mut quotas[0], MIB, Some(MIB + 100_000), PLENTY), Some(MIB), "more than was announced");
    }

    #[test]
    fn issue_9_a_newcomer_gets_room_from_the_heaviest_network() {
        let disk = Disk::new(4 * MIB, 0);
        let file = || {
            let path = std::env::temp_dir().join(format!("gatepost-disk-{}", std::process::id()));
            let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            file.write_all(b"unfinished").unwrap();
            Arc::new(file)
        };
        let mut heavy: Vec<_> = (0..4).map(|_| (disk.quota(origin("192.0.2.1")), file())).collect();
        for (quota, file) in &mut heavy {
            assert_eq!(disk.grow(quota, 0, None, PLENTY), Some(MIB));
            quota.park(file);
        }
        assert!(!disk.has_room(origin("192.0.2.1"), None, PLENTY));
        assert!(disk.has_room(origin("198.51.100.1"), Some(MIB), PLENTY));
        assert!(heavy.iter_mut().all(|(_, file)| file.metadata().unwrap().len() == 10), "asking takes nothing back");
        let mut newcomer = disk.quota(origin("198.51.100.1"));
        assert_eq!(disk.grow(&mut newcomer, 0, None, PLENTY), Some(MIB));
        let lengths: Vec<_> = heavy.iter().map(|(_, file)| file.metadata().unwrap().len()).collect();
        assert_eq!(lengths.iter().filter(|length| **length == 0).count(), 1, "{lengths:?}");
        let kept: Vec<_> = heavy.iter_mut().map(|(quota, _)| quota.resume()).collect();
        assert_eq!(kept, lengths.iter().map(|length| *length > 0).collect::<Vec<_>>());
    }
}
