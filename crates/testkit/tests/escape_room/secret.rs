//! Looking for a secret in memory.

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
