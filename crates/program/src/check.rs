//! Programs that answer one question and are not waited for beyond their time.

use crate::text::Text;
use crate::{End, Surroundings};
use gatepost_sys::program::{self, Lookup, Outcome, Program, Running};
use gatepost_sys::wait::{self, Want};
use gatepost_sys::{fds, signal};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Octets of a plugin's output that are kept.
const OUTPUT_MAX: usize = 64 * 1024;
/// Descriptor on which a password checker reads: checkpassword's interface.
const PASSWORD_FD: i32 = 3;

/// How such a program ended.
#[derive(Debug)]
pub enum Ended {
    /// It ran, and ended so.
    Ran(End),
    /// It was never run: no such file, not executable, no such working directory.
    NotExecuted(io::Error),
    /// Its time was over: it was killed, and with it all that it had started in its process group.
    TimedOut,
}

impl From<Option<Outcome>> for Ended {
    fn from(outcome: Option<Outcome>) -> Self {
        match outcome {
            Some(Outcome::Ran(end)) => Self::Ran(end),
            Some(Outcome::NotExecuted(e)) => Self::NotExecuted(e),
            None => Self::TimedOut,
        }
    }
}

/// A plugin as qmail-spp's control file names it.
#[derive(Debug, Clone, Copy)]
pub enum PluginCommand<'a> {
    /// The path of a program, run without arguments.
    Program(&'a CStr),
    /// A line for /bin/sh, what follows the colon.
    Shell(&'a CStr),
}

/// A plugin's answer.
#[derive(Debug)]
pub struct Plugin {
    /// What it wrote to its descriptor 1, 64 KiB at most.
    pub output: Vec<u8>,
    /// It wrote more than that.
    pub cut: bool,
    /// How it ended.
    pub ended: Ended,
}

/// Runs a recipient check: a path, without arguments; what it is asked is in its environment.
///
/// # Errors
/// No process or descriptors left, no /dev/null.
pub fn run_check(command: &CStr, around: &Surroundings<'_>, time: Duration) -> io::Result<Ended> {
    let nothing = nothing()?;
    let fds = [(0, nothing.as_fd()), (1, nothing.as_fd())];
    let mut running = start(command, Lookup::Path, &[command], around, &fds)?;
    let outcome = running.wait(Instant::now().checked_add(time))?;
    end_in_time(running, outcome)
}

/// Runs a qmail-spp plugin and reads what it says until it ends; what something that it left behind says later is not
/// waited for.
///
/// # Errors
/// No process or descriptors left, no /dev/null.
pub fn run_plugin(command: PluginCommand<'_>, around: &Surroundings<'_>, time: Duration) -> io::Result<Plugin> {
    let until = Instant::now().checked_add(time);
    let nothing = nothing()?;
    let (said, its_output) = io::pipe()?;
    let mut said = Text::new(said, OUTPUT_MAX)?;
    let fds = [(0, nothing.as_fd()), (1, its_output.as_fd())];
    let mut running = match command {
        PluginCommand::Program(file) => start(file, Lookup::Path, &[file], around, &fds)?,
        PluginCommand::Shell(line) => start(c"/bin/sh", Lookup::Path, &[c"sh", c"-c", line], around, &fds)?,
    };
    drop(its_output);
    let outcome = loop {
        let all: Vec<_> = [Some(running.as_fd()), said.fd()].into_iter().flatten().map(|fd| (fd, Want::Read)).collect();
        wait::ready(&all, until)?;
        said.drain();
        if let Some(outcome) = running.ended() {
            said.drain();
            break Some(outcome);
        }
        if until.is_some_and(|until| until <= Instant::now()) {
            break None;
        }
    };
    let ended = end_in_time(running, outcome)?;
    let (output, cut) = said.into_parts();
    Ok(Plugin { output, cut, ended })
}

/// Runs a password checker by checkpassword's interface: `args` as the admin gave them, the first one looked up in PATH
/// and `secret` (name, password and challenge, each with its NUL) on its descriptor 3. What it is given is not kept here.
///
/// # Errors
/// No process or descriptors left, no /dev/null; InvalidInput without arguments.
pub fn check_password(args: &[&CStr], around: &Surroundings<'_>, secret: &[u8], time: Duration) -> io::Result<Ended> {
    signal::ignore_broken_pipe()?;
    let until = Instant::now().checked_add(time);
    let command = args.first().ok_or(ErrorKind::InvalidInput)?;
    let nothing = nothing()?;
    let (its_secret, mut tell) = io::pipe()?;
    fds::set_nonblocking(tell.as_fd(), true)?;
    let fds = [(0, nothing.as_fd()), (1, nothing.as_fd()), (PASSWORD_FD, its_secret.as_fd())];
    let mut running = start(command, Lookup::Search, args, around, &fds)?;
    drop(its_secret);
    let mut left = secret;
    while !left.is_empty() {
        match tell.write(left) {
            Ok(taken) => left = left.get(taken..).unwrap_or_default(),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                // Also over when it ends without reading: then nobody is left to write to.
                if !wait::ready(&[(tell.as_fd(), Want::Write)], until)?.contains(&true) {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    drop(tell);
    let outcome = running.wait(until)?;
    end_in_time(running, outcome)
}

fn start<'a>(
    file: &CStr,
    lookup: Lookup,
    args: &[&CStr],
    around: &Surroundings<'a>,
    fds: &[(i32, BorrowedFd<'a>)],
) -> io::Result<Running> {
    program::start(&Program {
        file,
        lookup,
        args,
        env: around.env,
        directory: Some(around.directory),
        fds: &around.plan(fds),
        limits: around.limits,
        own_group: true,
    })
}

fn end_in_time(running: Running, outcome: Option<Outcome>) -> io::Result<Ended> {
    if outcome.is_none() {
        running.kill()?;
        return Ok(Ended::TimedOut);
    }
    Ok(outcome.into())
}

/// Where nothing comes from and everything may go: these programs get no part of the client's connection.
fn nothing() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
