//! Looking for a secret in memory.

use std::fs;
use std::os::unix::fs::FileExt;

/// As in the escape room: neither the order nor the search may contain the text that is looked for.
const MASK: u8 = 0xa5;

/// The texts to look for, as the order to scan takes them.
pub(crate) fn masked(needles: &[Vec<u8>]) -> String {
    let hex = |needle: &Vec<u8>| needle.iter().map(|octet| format!("{:02x}", octet ^ MASK)).collect::<String>();
    needles.iter().map(hex).collect::<Vec<_>>().join(" ")
}

/// What a private key in PEM looks like in memory: lines of its text, and its octets.
pub(crate) fn needles_of(pem: &str, der: &[u8]) -> Vec<Vec<u8>> {
    let text = pem.lines().filter(|line| !line.starts_with("-----") && line.len() > 30).map(|line| line[..30].into());
    // P-256 in PKCS #8: the scalar follows this header.
    let header = [0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20];
    let at = der.windows(header.len()).position(|seen| seen == header).expect("a P-256 key") + header.len();
    // Past the first line's text, which is the same for all keys of this kind.
    text.skip(1).chain([der[at..at + 32].to_vec()]).collect()
}

/// How many of the texts are in the memory of a process, as root sees it.
pub(crate) fn found_in(pid: u32, needles: &[Vec<u8>]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("root may look");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("root may look");
    let mut found = vec![false; needles.len()];
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with('r'))) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut octets = vec![0; usize::try_from(to - from).unwrap()];
        // The kernel's own pages at the end cannot be read so.
        if memory.read_exact_at(&mut octets, from).is_err() {
            continue;
        }
        for (found, needle) in found.iter_mut().zip(needles) {
            *found |= octets.windows(needle.len()).any(|seen| seen == needle.as_slice());
        }
    }
    found.into_iter().filter(|found| *found).count()
}
