//! `tcprules rules.cdb rules.tmp < rules`: compiles rules, and moves the result to the place of the old one when it is complete.

use crate::say;
use gatepost_ucspi::lines::{Says, raw};
use gatepost_ucspi::rules::source::compile;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

const SAYS: Says = Says::of("tcprules");

/// A whole run. `arguments` are those behind argv\[0\]. Returns the exit status: 0, 100 for a line that isn't a rule and for a wrong
/// command line, 111 for trouble with a file. Unless it is 0 `rules.cdb` is what it was; `rules.tmp` may stay behind.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let (Some(cdb), Some(tmp)) = (arguments.next(), arguments.next()) else {
        say(io::stderr(), &SAYS.usage("rules.cdb rules.tmp"));
        return 100;
    };
    let stopped = |what: &[&[u8]], error: &io::Error| {
        say(io::stderr(), &SAYS.failed(what, error));
        111
    };
    // Before anything is read, as the original does it: who can't write here is told so first.
    let mut file = match OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&tmp) {
        Ok(file) => file,
        Err(e) => return stopped(&[b"unable to create ", raw(&tmp)], &e),
    };
    let mut source = Vec::new();
    if let Err(e) = io::stdin().lock().read_to_end(&mut source) {
        return stopped(&[b"unable to read input"], &e);
    }
    let compiled = match compile(&source) {
        Ok(compiled) => compiled,
        Err(fault) => {
            say(io::stderr(), &SAYS.fatal(&[b"unable to parse this line: ", &fault.text]));
            say(io::stderr(), &SAYS.line(&[format!("line {}: {}", fault.line, fault.why).as_bytes()]));
            return 100;
        }
    };
    for remark in &compiled.remarks {
        say(io::stderr(), &SAYS.warning(&[remark.to_string().as_bytes()]));
    }
    let written = compiled.file().and_then(|octets| file.write_all(&octets)).and_then(|()| file.sync_all());
    if let Err(e) = written {
        return stopped(&[b"unable to write to ", raw(&tmp)], &e);
    }
    match fs::rename(&tmp, &cdb) {
        Ok(()) => 0,
        Err(e) => stopped(&[b"unable to move ", raw(&tmp), b" to ", raw(&cdb)], &e),
    }
}
