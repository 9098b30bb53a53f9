//! The least session that speaks: greets, reads a line, says goodbye.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut line = [0; 512];
    let said = output.write_all(b"220 greets\r\n").and_then(|()| output.flush());
    let said = said.and_then(|()| input.read(&mut line)).and_then(|_| output.write_all(b"221 greets\r\n"));
    ExitCode::from(u8::from(said.and_then(|()| output.flush()).is_err()))
}
