//! The binary: command line and wiring. One program; each role is the same file executed anew with its role as argument.
#![forbid(unsafe_code)]

mod check;
mod cli;
mod help;
mod init;
mod logins;
mod names;
mod passwd;
mod roles;
mod said;
mod top;
mod trial;
mod version;

use names::Name;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if let Some(name) = Name::of_link(arguments.next().as_deref()) {
        return name.run(arguments);
    }
    // Before clap, before anything: a role parses nothing but the word that says which role it is.
    match arguments.next() {
        Some(word) if word == "role" => roles::run(arguments.next()),
        Some(word) => Name::of_word(&word).map_or_else(cli::run, |name| name.run(arguments)),
        None => cli::run(),
    }
}
