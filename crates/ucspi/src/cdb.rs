//! Constant databases: 256 hash tables behind a header of 2048 octets, all numbers little-endian and 32 bits wide. The file
//! may be half-written or hostile: whatever points beyond its end is an error, and a search ends after as many probes as the
//! table has slots.

use std::io;

/// Octets of the header.
const HEADER: u32 = 2048;

/// Octets at an offset: a file, or a slice.
pub trait ReadAt {
    /// Reads at most `buf.len()` octets from `offset`; 0 is the end.
    ///
    /// # Errors
    /// Those of the file.
    fn read_at(&self, offset: u32, buf: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u32, buf: &mut [u8]) -> io::Result<usize> {
        let mut rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        io::Read::read(&mut rest, buf)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn read_at(&self, offset: u32, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u32, buf: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, buf)
    }
}

/// A constant database with keys in lower case.
pub trait Lookup {
    /// Whether it has the key.
    ///
    /// # Errors
    /// It can't be read or is corrupt: the session is told that controls are unreadable, and ends.
    fn contains(&self, key: &[u8]) -> io::Result<bool>;
}

/// A constant database. Nothing is read before it is asked, nothing is kept.
#[derive(Debug, Clone)]
pub struct Cdb<R> {
    file: R,
}

impl<R: ReadAt> Cdb<R> {
    /// Over this file.
    pub fn new(file: R) -> Self {
        Self { file }
    }

    /// What it is in.
    pub fn file(&self) -> &R {
        &self.file
    }

    /// The data of the first record with this key; `None` without any.
    ///
    /// # Errors
    /// The file's, or `InvalidData` when it is corrupt or the data has more than `max` octets.
    pub fn get(&self, key: &[u8], max: u32) -> io::Result<Option<Vec<u8>>> {
        let Some((start, len)) = self.find(key)? else { return Ok(None) };
        if len > max {
            return Err(corrupt());
        }
        let mut data = Vec::new();
        let mut piece = [0; 256];
        while let Some(left) =
            usize::try_from(len).ok().and_then(|len| len.checked_sub(data.len())).filter(|left| *left > 0)
        {
            // In pieces: a length that the file doesn't have must not cost memory first.
            let piece = piece.get_mut(..left.min(256)).unwrap_or_default();
            let offset = u32::try_from(data.len()).ok().and_then(|done| start.checked_add(done)).ok_or_else(corrupt)?;
            self.fill(offset, piece)?;
            data.extend_from_slice(piece);
        }
        Ok(Some(data))
    }

    /// Where the data of the first record with this key is, and how long.
    fn find(&self, key: &[u8]) -> io::Result<Option<(u32, u32)>> {
        let wanted = hash(key);
        let (table, slots) = self.pair((wanted & 255).checked_mul(8).ok_or_else(corrupt)?)?;
        if slots == 0 {
            return Ok(None);
        }
        slots.checked_mul(8).and_then(|octets| table.checked_add(octets)).ok_or_else(corrupt)?;
        let mut slot = (wanted >> 8) % slots;
        for _ in 0..slots {
            let (found, record) =
                self.pair(slot.checked_mul(8).and_then(|at| table.checked_add(at)).ok_or_else(corrupt)?)?;
            if record == 0 {
                return Ok(None);
            }
            if found == wanted {
                let (key_len, data_len) = self.pair(record)?;
                let start = record.checked_add(8).ok_or_else(corrupt)?;
                if usize::try_from(key_len) == Ok(key.len()) && self.equals(start, key)? {
                    return Ok(Some((start.checked_add(key_len).ok_or_else(corrupt)?, data_len)));
                }
            }
            slot = if slot.saturating_add(1) == slots { 0 } else { slot.saturating_add(1) };
        }
        Ok(None)
    }

    fn equals(&self, mut offset: u32, key: &[u8]) -> io::Result<bool> {
        let mut piece = [0; 64];
        for part in key.chunks(64) {
            let piece = piece.get_mut(..part.len()).unwrap_or_default();
            self.fill(offset, piece)?;
            if piece != part {
                return Ok(false);
            }
            offset = u32::try_from(part.len()).ok().and_then(|len| offset.checked_add(len)).ok_or_else(corrupt)?;
        }
        Ok(true)
    }

    fn pair(&self, offset: u32) -> io::Result<(u32, u32)> {
        let mut octets = [0; 8];
        self.fill(offset, &mut octets)?;
        let [a, b, c, d, e, f, g, h] = octets;
        Ok((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
    }

    fn fill(&self, mut offset: u32, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            let count = match self.file.read_at(offset, buf) {
                Ok(0) => return Err(corrupt()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            offset = u32::try_from(count).ok().and_then(|count| offset.checked_add(count)).ok_or_else(corrupt)?;
            buf = buf.get_mut(count..).ok_or_else(corrupt)?;
        }
        Ok(())
    }
}

impl<R: ReadAt> Lookup for Cdb<R> {
    fn contains(&self, key: &[u8]) -> io::Result<bool> {
        self.find(key).map(|found| found.is_some())
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a sound constant database")
}

fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, octet| hash.wrapping_mul(33) ^ u32::from(*octet))
}

/// A whole database of these records, in their order; of equal keys the first is found.
///
/// # Errors
/// It would not fit into 32 bits.
pub fn make<'a>(records: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> io::Result<Vec<u8>> {
    let too_big = || io::Error::new(io::ErrorKind::FileTooLarge, "a constant database ends at 4 GiB");
    let size = |octets: usize| u32::try_from(octets).map_err(|_| too_big());
    let mut out = vec![0; usize::try_from(HEADER).unwrap_or_default()];
    let mut tables: Vec<Vec<(u32, u32)>> = vec![Vec::new(); 256];
    for (key, data) in records {
        let (position, hash) = (size(out.len())?, hash(key));
        if let Some(table) = usize::try_from(hash & 255).ok().and_then(|at| tables.get_mut(at)) {
            table.push((hash, position));
        }
        out.extend_from_slice(&size(key.len())?.to_le_bytes());
        out.extend_from_slice(&size(data.len())?.to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(data);
    }
    let mut header = Vec::new();
    for table in tables {
        let mut slots = vec![(0, 0); table.len().saturating_mul(2)];
        header.extend_from_slice(&size(out.len())?.to_le_bytes());
        header.extend_from_slice(&size(slots.len())?.to_le_bytes());
        for (hash, position) in table {
            // There are twice as many slots as records, so one is free.
            let start =
                usize::try_from(hash >> 8).ok().and_then(|hash| hash.checked_rem(slots.len())).unwrap_or_default();
            let (before, after) = slots.split_at_mut(start);
            if let Some(free) = after.iter_mut().chain(before).find(|slot| slot.1 == 0) {
                *free = (hash, position);
            }
        }
        for (hash, position) in slots {
            out.extend_from_slice(&hash.to_le_bytes());
            out.extend_from_slice(&position.to_le_bytes());
        }
    }
    size(out.len())?;
    if let Some(front) = out.get_mut(..header.len()) {
        front.copy_from_slice(&header);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    type Records = &'static [(&'static [u8], &'static [u8])];

    /// Sources for tcprules, the records that it makes of them, and the size and digest of its file.
    const VECTORS: [(&str, Records, usize, &str); 6] = [
        ("", &[], 2048, "ad292543e381bc50175b6b6452ccc06e579755910a528c8dc7d18019279e1f3f"),
        (":allow\n", &[(b"", b"")], 2072, "afe44b125cc89abbdb701a3fe4f061bba8403ee77b734a1e76170bfcc8b67325"),
        (":deny\n", &[(b"", b"D\0")], 2074, "bc1f3fc9ba69e40377cfdf30d72aff5ae9409a07f3334849b247d40878d32049"),
        (
            "127.0.0.1:allow,RELAYCLIENT=\"\"\n",
            &[(b"127.0.0.1", b"+RELAYCLIENT=\0")],
            2095,
            "139daabbb3eafa7b1723dca1741176ff4d2cf11e4cafe37fe7ee65d94c0d22d2",
        ),
        (
            "1.2.3.4-6:deny\n",
            &[(b"1.2.3.4", b"D\0"), (b"1.2.3.5", b"D\0"), (b"1.2.3.6", b"D\0")],
            2147,
            "2a8c883459dec9463f4a5919d1cafa193153adf7963cd081d351574a0d8d95e5",
        ),
        (
            "127.:allow,RELAYCLIENT=\"\"\n:allow,DATABYTES=\"1000000\",QMAILQUEUE=\"/var/qmail/bin/simscan\"\n",
            &[(b"127.", b"+RELAYCLIENT=\0"), (b"", b"+DATABYTES=1000000\0+QMAILQUEUE=/var/qmail/bin/simscan\0")],
            2168,
            "2925a88af469ab7131ee5c1ac2c6f3a32eb8fd0475a85f027cd0cd734175bdbb",
        ),
    ];

    fn digest(octets: &[u8]) -> String {
        Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn hashes_are_djb_s() {
        for (key, expected) in [
            (&b""[..], 0x1505),
            (b"a", 0x2b5c4),
            (b"=", 0x2b598),
            (b"127.0.0.1", 0x5478_120e),
            (b"1.2.3.", 0xe2cc_079b),
            (b"example.com", 0xe8b7_8f82),
        ] {
            assert_eq!(hash(key), expected, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn files_are_octet_for_octet_those_of_tcprules() {
        for (source, records, size, sha256) in VECTORS {
            let file = make(records.iter().copied()).unwrap();
            assert_eq!((file.len(), digest(&file).as_str()), (size, sha256), "{source:?}");
        }
    }

    #[test]
    fn real_tcprules_makes_the_same_files() {
        let program = std::path::Path::new("/usr/bin/tcprules");
        if !program.exists() {
            return eprintln!("skipped: there is no {}", program.display());
        }
        let dir = std::env::temp_dir().join(format!("gatepost-ucspi-cdb-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (source, records, ..) in VECTORS {
            let (text, file) = (dir.join("source"), dir.join("made.cdb"));
            std::fs::write(&text, source).unwrap();
            let status = std::process::Command::new(program)
                .args([&file, &dir.join("tmp")])
                .stdin(std::fs::File::open(&text).unwrap())
                .status()
                .unwrap();
            assert!(status.success());
            let theirs = std::fs::read(&file).unwrap();
            assert_eq!(theirs, make(records.iter().copied()).unwrap(), "{source:?}");
            for (key, data) in records {
                assert_eq!(Cdb::new(theirs.as_slice()).get(key, 999).unwrap().as_deref(), Some(*data));
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_first_of_equal_keys_is_found_and_absent_ones_are_not() {
        let file = make([(&b"k"[..], &b"one"[..]), (b"k", b"two"), (b"", b"")]).unwrap();
        let cdb = Cdb::new(file);
        assert_eq!(cdb.get(b"k", 3).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(cdb.get(b"", 0).unwrap().as_deref(), Some(&b""[..]));
        assert!(!cdb.contains(b"l").unwrap());
        assert_eq!(cdb.get(b"k", 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a73c_junk_and_empty_files_are_errors() {
        for junk in [&b""[..], b"junk", &[0xff; 2048], &[0xff; 4096]] {
            assert!(Cdb::new(junk).contains(b"x").is_err(), "{} octets", junk.len());
        }
    }

    #[test]
    fn p6_a_table_without_an_empty_slot_ends_the_search() {
        // All slots hold the wanted hash and a record of another key.
        let mut file = make([(&b"other"[..], &b""[..])]).unwrap();
        let table = file.len() as u32;
        for _ in 0..4 {
            file.extend_from_slice(&hash(b"x").to_le_bytes());
            file.extend_from_slice(&2048_u32.to_le_bytes());
        }
        let header = (hash(b"x") & 255) as usize * 8;
        file[header..header + 4].copy_from_slice(&table.to_le_bytes());
        file[header + 4..header + 8].copy_from_slice(&4_u32.to_le_bytes());
        assert!(!Cdb::new(file.as_slice()).contains(b"x").unwrap());
        // More slots than the file has.
        file[header + 4..header + 8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Cdb::new(file.as_slice()).contains(b"x").is_err());
    }

    proptest! {
        #[test]
        fn what_was_put_in_comes_out(records: Vec<(Vec<u8>, Vec<u8>)>) {
            let file = make(records.iter().map(|(key, data)| (key.as_slice(), data.as_slice()))).unwrap();
            let cdb = Cdb::new(file.as_slice());
            for (key, _) in &records {
                let first = records.iter().find(|(other, _)| other == key).map(|(_, data)| data.clone());
                prop_assert_eq!(cdb.get(key, u32::MAX).unwrap(), first);
            }
        }

        #[test]
        fn no_damage_upsets_it(at in 0_usize..2095, with: [u8; 4], cut in 0_usize..2096) {
            let mut file = make([(&b"127.0.0.1"[..], &b"+RELAYCLIENT=\0"[..])]).unwrap();
            file[at] = with[0];
            let header = (hash(b"127.0.0.1") & 255) as usize * 8;
            file[header..header + 4].copy_from_slice(&with);
            file.truncate(cut);
            let _ = Cdb::new(file.as_slice()).get(b"127.0.0.1", 1000);
        }
    }
}
