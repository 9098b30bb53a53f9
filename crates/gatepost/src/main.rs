//! The binary: command line and wiring. One program; each role is the same file executed anew with its role as argument.
#![forbid(unsafe_code)]

mod cli;
mod log;
mod plan;
mod roles;
mod trial;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before clap, before anything: a role parses nothing but the word that says which role it is.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == "role") {
        return roles::run(arguments.next());
    }
    cli::run()
}
