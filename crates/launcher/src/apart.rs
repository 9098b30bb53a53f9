//! What needs keys is done in a process of its own.

use gatepost_sys::process;
use std::io;

/// Does what needs keys in a process of its own, so that this one never has any in its memory (P5).
///
/// # Errors
/// What `work` said, or the system's refusal.
pub(crate) fn apart(mut work: impl FnMut() -> Result<String, String>) -> Result<String, String> {
    let mut attempt = || {
        process::apart(|| {
            let (mark, text) = match work() {
                Ok(text) => (b'+', text),
                Err(text) => (b'-', text),
            };
            [&[mark], text.as_bytes()].concat()
        })
    };
    // Whoever kills a process of ours at random may hit this one; it is worth another.
    let said = attempt().or_else(|e| if e.kind() == io::ErrorKind::Interrupted { attempt() } else { Err(e) });
    let said = said.map_err(|e| format!("cannot look at it in a process of its own: {e}"))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    match said.split_first() {
        Some((b'+', rest)) => Ok(text(rest)),
        Some((_, rest)) => Err(text(rest)),
        None => Err("a process of its own for it said nothing".into()),
    }
}
