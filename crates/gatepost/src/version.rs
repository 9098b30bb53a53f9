//! Which version this is.

use std::hint::black_box;

/// What stands before it in the program file.
const MARK: &str = "gatepost's version is ";

/// With room behind it: a packager who builds once can write a version of his own there, such as 0.1.0+1, and tests of upgrades do.
static MARKED: &str = concat!("gatepost's version is ", env!("CARGO_PKG_VERSION"), "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

/// Of this program file, as it is now and not as it was compiled.
pub(crate) fn version() -> &'static str {
    black_box(MARKED).trim_start_matches(MARK).trim_end_matches('\0')
}
