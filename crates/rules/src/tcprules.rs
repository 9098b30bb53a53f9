//! `tcprules rules.cdb rules.tmp < rules`: compiles rules, and moves the result to the place of the old one when it is complete.

use crate::say;
use gatepost_ucspi::lines::{Says, raw};
use gatepost_ucspi::rules::source::compile;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

const SAYS: Says = Says::of("tcprules");
const EBADF: i32 = 9;

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
    let read = if input_is_closed() { Err(io::Error::from_raw_os_error(EBADF)) } else { Ok(()) };
    if let Err(e) = read.and_then(|()| io::stdin().lock().read_to_end(&mut source)) {
        return stopped(&[b"unable to read input"], &e);
    }
    let compiled = match compile(&source) {
        Ok(compiled) => compiled,
        Err(fault) => {
            // To the original a line that is said ends at a NUL.
            let shown = fault.text.split(|octet| *octet == 0).next().unwrap_or_default();
            say(io::stderr(), &SAYS.fatal(&[b"unable to parse this line: ", shown]));
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

/// Whether there was no descriptor 0 when we were started: the standard library has opened /dev/null in its place, for reading and
/// writing. Without this look all rules would be replaced by none. Who says `</dev/null` opens it for reading.
fn input_is_closed() -> bool {
    let is_null = fs::read_link("/proc/self/fd/0").is_ok_and(|path| path.as_os_str() == "/dev/null");
    let info = fs::read_to_string("/proc/self/fdinfo/0").unwrap_or_default();
    let flags = info.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    is_null && flags.is_some_and(|flags| flags & 0o3 == 0o2)
}
