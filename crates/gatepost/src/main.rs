//! The binary: command line and wiring. One program; each role is the same file executed anew with its role as argument.
#![forbid(unsafe_code)]

mod cli;
mod names;
mod roles;
mod trial;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if names::of(arguments.next().as_deref()) == Some(names::Name::QmailSmtpd) {
        return gatepost_qmail_smtpd::run(arguments).into();
    }
    // Before clap, before anything: a role parses nothing but the word that says which role it is, and qmail-smtpd takes
    // any argument there is.
    match arguments.next() {
        Some(word) if word == "role" => roles::run(arguments.next()),
        Some(word) if word == "qmail-smtpd" => gatepost_qmail_smtpd::run(arguments).into(),
        _ => cli::run(),
    }
}
