//! `softlimit [options] program`: executes a program in its own place, with other soft limits. Hard limits stay.

use gatepost_sys::limits::{self, Limit};
use gatepost_sys::program::execute_here;
use gatepost_ucspi::getopt::{Arguments, Next};
use gatepost_ucspi::lines::Says;
use std::ffi::{CString, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;

const SAYS: Says = Says::of("softlimit");
const USAGE: &str = "[-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] [-o openfiles] \
                     [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child";

/// Options and what each limits.
const OPTIONS: [(u8, &[Limit]); 11] = [
    (b'a', &[Limit::AddressSpace]),
    (b'c', &[Limit::Core]),
    (b'd', &[Limit::Data]),
    (b'f', &[Limit::FileSize]),
    (b'l', &[Limit::LockedMemory]),
    (b'm', &[Limit::Data, Limit::Stack, Limit::LockedMemory, Limit::AddressSpace]),
    (b'o', &[Limit::OpenFiles]),
    (b'p', &[Limit::Processes]),
    // Without effect on Linux.
    (b'r', &[Limit::Resident]),
    (b's', &[Limit::Stack]),
    (b't', &[Limit::CpuTime]),
];

/// A soft limit that is wanted. None: the hard one.
type Wanted = (Limit, Option<u64>);

/// Why there is nothing to execute.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Illegal(u8),
    Missing(u8),
    Usage,
}

/// A whole run. `arguments` are those behind argv\[0\], `env` is the program's environment. Returns only when the program can't be
/// executed: the exit status, 100 for a wrong command line, 111 otherwise.
pub fn run(arguments: impl Iterator<Item = OsString>, env: impl Iterator<Item = (OsString, OsString)>) -> u8 {
    let arguments: Vec<Vec<u8>> = arguments.map(OsString::into_vec).collect();
    let (wanted, program) = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(fault) => {
            match fault {
                Fault::Illegal(letter) => say(&SAYS.line(&[b"illegal option -- ", &[letter]])),
                Fault::Missing(letter) => say(&SAYS.line(&[b"option requires an argument -- ", &[letter]])),
                Fault::Usage => {}
            }
            say(&SAYS.usage(USAGE));
            return 100;
        }
    };
    // Before there are limits that may leave no memory for it.
    let env: Vec<CString> =
        env.filter_map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok()).collect();
    let args: Vec<CString> = program.iter().filter_map(|argument| CString::new(argument.as_slice()).ok()).collect();
    for (limit, value) in wanted {
        if let Err((what, e)) = apply(limit, value) {
            say(&SAYS.failed(&[what.as_bytes(), b" failed"], &e));
            return 111;
        }
    }
    let e = execute_here(&args, &env);
    say(&SAYS.failed(&[b"unable to run ", program.first().map_or(b"", Vec::as_slice)], &e));
    111
}

/// Whoever can't be told isn't told.
fn say(line: &[u8]) {
    let _ = io::stderr().write_all(line);
}

fn parse(arguments: &[Vec<u8>]) -> Result<(Vec<Wanted>, &[Vec<u8>]), Fault> {
    let limits = |letter| OPTIONS.iter().find(|(known, _)| *known == letter).map(|(_, limits)| *limits);
    let (mut wanted, mut arguments) = (Vec::new(), Arguments::new(arguments));
    while let Some(next) = arguments.next(|letter| limits(letter).map(|_| true)) {
        match next {
            Next::Value(letter, value) => {
                let value = number(value)?;
                wanted.extend(limits(letter).unwrap_or_default().iter().map(|limit| (*limit, value)));
            }
            Next::Illegal(letter) | Next::Flag(letter) => return Err(Fault::Illegal(letter)),
            Next::Missing(letter) => return Err(Fault::Missing(letter)),
            Next::Long(_) => break,
        }
    }
    let program = arguments.rest();
    if program.is_empty() { Err(Fault::Usage) } else { Ok((wanted, program)) }
}

/// `=` or a number, and nothing behind it; no digit at all is 0. The original computes modulo 2⁶⁴; here what is larger is the largest.
fn number(text: &[u8]) -> Result<Option<u64>, Fault> {
    if text == b"=" {
        return Ok(None);
    }
    let digits = text.iter().map(|digit| digit.is_ascii_digit().then(|| u64::from(digit.wrapping_sub(b'0'))));
    let value = digits.into_iter().try_fold(0_u64, |sum, digit| Some(sum.saturating_mul(10).saturating_add(digit?)));
    value.map(Some).ok_or(Fault::Usage)
}

/// Sets a soft limit, or as much of it as the hard one permits.
fn apply(limit: Limit, value: Option<u64>) -> Result<(), (&'static str, io::Error)> {
    let (_, hard) = limits::get(limit).map_err(|e| ("getrlimit", e))?;
    limits::set_soft(limit, value.unwrap_or(hard).min(hard)).map_err(|e| ("setrlimit", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed = Result<(Vec<Wanted>, usize), Fault>;

    fn parsed(line: &str) -> Parsed {
        let arguments: Vec<Vec<u8>> = line.split(' ').map(|word| word.replace('_', "").into_bytes()).collect();
        parse(&arguments).map(|(wanted, program)| (wanted, program.len()))
    }

    #[test]
    fn issue_11_softlimit_reads_its_options_as_the_original() {
        let data = |value| (Limit::Data, value);
        let cases: &[(&str, Parsed)] = &[
            ("x -d 5", Ok((vec![], 3))),
            ("-d 5 -d3000000 x", Ok((vec![data(Some(5)), data(Some(3_000_000))], 1))),
            ("-d= x", Ok((vec![data(None)], 1))),
            ("-d _ x", Ok((vec![data(Some(0))], 1))),
            ("-d 99999999999999999999999 x", Ok((vec![data(Some(u64::MAX))], 1))),
            ("-o 5 -- -d x", Ok((vec![(Limit::OpenFiles, Some(5))], 2))),
            ("--help x", Ok((vec![], 1))),
            ("- x", Ok((vec![], 2))),
            ("_ x", Ok((vec![], 2))),
            (
                "-m 7 x",
                Ok((
                    [Limit::Data, Limit::Stack, Limit::LockedMemory, Limit::AddressSpace].map(|l| (l, Some(7))).into(),
                    1,
                )),
            ),
            ("-d 10x x", Err(Fault::Usage)),
            ("-d -1 x", Err(Fault::Usage)),
            ("-ad5 x", Err(Fault::Usage)),
            ("-d 5", Err(Fault::Usage)),
            ("-z x", Err(Fault::Illegal(b'z'))),
            ("-: x", Err(Fault::Illegal(b':'))),
            ("-o 3 -d", Err(Fault::Missing(b'd'))),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(line), *expected, "{line}");
        }
    }
}
