//! `gatepost qmail-smtpd` alone: a small program, for the small memory limits of old run scripts, and because it is executed for
//! each connection.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    gatepost_qmail_smtpd::run(std::env::args_os().skip(1)).into()
}
