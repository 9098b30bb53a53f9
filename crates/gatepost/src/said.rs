//! What the command line says when something is wrong.

use std::process::ExitCode;

/// Says what is wrong, on descriptor 2, and gives exit status 1.
pub(crate) fn fail(why: &str) -> ExitCode {
    for line in why.lines() {
        eprintln!("gatepost: {line}");
    }
    ExitCode::FAILURE
}
