//! Programs of Debian's that exclude each other as packages: `.ci/run` unpacks them in `target/peers/NAME`, and they run from
//! there.

use crate::host::{skipped, source_tree};
use std::path::PathBuf;

/// The program at `path` of what is unpacked as `name`; none: it is missing, and standard error says so.
///
/// # Panics
/// In CI, when it is missing.
#[must_use]
pub fn program(test: &str, name: &str, path: &str) -> Option<PathBuf> {
    let program = source_tree().join("target/peers").join(name).join(path);
    if program.exists() {
        return Some(program);
    }
    skipped(test, &format!("{} is missing", program.display()));
    None
}
