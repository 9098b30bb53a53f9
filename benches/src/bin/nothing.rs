//! The floor under anything that tcpserver starts: a static program that reads descriptor 0 to its end, then, where it
//! stands in for a queue program, descriptor 1.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut space = [0; 4 * 1024];
    let mut drain = |mut from: File| while from.read(&mut space).is_ok_and(|octets| octets > 0) {};
    let copies = [io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned()];
    // A queue program gets no argument; it is told by its name.
    let queue = std::env::args().next().is_some_and(|name| name.ends_with("qmail-queue"));
    for fd in copies.into_iter().take(if queue { 2 } else { 1 }).flatten() {
        drain(fd.into());
    }
    ExitCode::SUCCESS
}
