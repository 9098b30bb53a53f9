//! A reading of content too simple to be wrong, for the property tests and the fuzzer.

use gatepost_qmail::engine::BareLf;

/// What the content of a message comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Octets consumed.
    End(usize),
    /// Where the LF is.
    StrayLf(usize),
}

/// Line by line, with everything in sight. None: no end yet.
pub(crate) fn read(input: &[u8], bare_lf: BareLf) -> Option<(Vec<u8>, Ending)> {
    let mut stored = Vec::new();
    let (mut start, mut may_end) = (0, true);
    for lf in (0..input.len()).filter(|at| input[*at] == b'\n') {
        let crlf = lf > start && input[lf - 1] == b'\r';
        let line = &input[start..lf - usize::from(crlf)];
        let lone = line == b".";
        if lone && crlf && may_end {
            return Some((stored, Ending::End(lf + 1)));
        }
        // Nothing behind the dot yet, or a CR: then it stays. Else it was put there by the sender.
        let dot_goes = line.first() == Some(&b'.') && line.get(1) != Some(&b'\r');
        if !crlf && bare_lf == BareLf::Refuse {
            stored.extend(&line[usize::from(dot_goes)..]);
            return Some((stored, Ending::StrayLf(lf)));
        }
        stored.extend(&line[usize::from(dot_goes && !lone)..]);
        stored.push(b'\n');
        (start, may_end) = (lf + 1, crlf);
    }
    None
}
