//! From the command line to the two processes.

use crate::account::Ids;
use crate::address::{self, Socket};
use crate::execute::Programs;
use crate::listener::{self, Terms};
use crate::rules::Rules;
use crate::runner::{Runner, Times};
use crate::say::{Fatal, Say};
use crate::{FAILED, ListenerEnd, RunnerEnd, USAGE, confine};
use gatepost_channel::{End, Inbox};
use gatepost_jail::NOBODY;
use gatepost_sys::process::{self, Fork, ProcessId};
use gatepost_sys::signal::ServerSignals;
use gatepost_sys::{fds, signal};
use gatepost_ucspi::tcpserver::environment::Inherited;
use gatepost_ucspi::tcpserver::options::{self, Fault, Options, Verbosity};
use gatepost_ucspi::tcpserver::{Parsed, help};
use gatepost_wire::ListenerToRunner;
use gatepost_wire::ucspi::Ask;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// Variables by which a service manager speaks to us and not to programs.
const MANAGERS: [&[u8]; 4] = [b"LISTEN_FDS", b"LISTEN_PID", b"LISTEN_FDNAMES", b"NOTIFY_SOCKET"];

/// Serves as tcpserver until a signal ends it; gives the exit status: 0 after TERM, 100 usage, 111 no server can be had.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<Vec<u8>> = arguments.map(OsStringExt::into_vec).collect();
    match options::parse(&arguments) {
        Ok(Parsed::Serve(options)) => {
            let say = Say(options.verbosity);
            serve(*options, say).unwrap_or_else(|why| {
                say.fatal(&why);
                FAILED
            })
        }
        Ok(Parsed::Help) => print(&help::text()),
        Ok(Parsed::Version) => print(concat!("gatepost tcpserver ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(fault) => usage(&fault),
    }
}

fn print(text: &str) -> u8 {
    u8::from(io::stdout().write_all(text.as_bytes()).is_err())
}

fn usage(fault: &Fault) -> u8 {
    let quiet = if fault.quiet { Verbosity::Quiet } else { Verbosity::Errors };
    if let Some(Err(why)) = fault.port.as_deref().map(address::port) {
        Say(quiet).fatal(&why);
        return FAILED;
    }
    Say(quiet).warn(fault.text());
    USAGE
}

fn serve(options: Options, say: Say) -> Result<u8, Fatal> {
    let sockets = address::open(&options)?;
    let ids = Ids::of(&options.account, say)?;
    // Of the first, when there are several: a program's environment shows a connection by its own addresses anyway.
    let first = sockets.first().map(|socket| (socket.family, socket.local.port()));
    let Some((family, port)) = first else { return Err(Fatal::new(&[b"there is no socket"])) };
    signal::ignore_broken_pipe().map_err(|e| Fatal::system("unable to ignore SIGPIPE", &e))?;
    let signals = ServerSignals::new().map_err(|e| Fatal::system("unable to take signals", &e))?;
    let (listener, channel) = fork(&options, sockets, ids, say)?;
    let programs = confine::take(&options, ids).and_then(|confinement| {
        let _ = process::set_undumpable();
        let ours = (say, options.names.local.clone(), family);
        Programs::new(&options.program, ours, inherited(), confinement)
            .map_err(|e| Fatal::system("unable to prepare programs", &e))
    });
    let programs = programs.and_then(|programs| jailed(&channel).map(|()| programs)).inspect_err(|_| {
        let _ = process::kill(listener, process::Signal::Kill);
    })?;
    announce(&options, port)?;
    let seconds = |time: Option<u64>| time.map(Duration::from_secs);
    let times = Times { session: seconds(options.limits.session_time), drain: seconds(options.limits.drain) };
    let listener = Some(listener);
    let rules = options.rules.map(|path| Rules::new(path, options.missing_rules_allow));
    Ok(Runner { say, listener, channel, signals, programs, rules, times }.run())
}

/// Our environment, as programs get it.
fn inherited() -> Inherited {
    let all = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let mut inherited = Inherited::new(all);
    let ours = std::process::id().to_string();
    let for_us = inherited.get(b"LISTEN_PID") == Some(ours.as_bytes());
    let notified = inherited.get(b"NOTIFY_SOCKET").is_some();
    for name in MANAGERS.into_iter().filter(|name| if *name == b"NOTIFY_SOCKET" { notified } else { for_us }) {
        inherited.remove(name);
    }
    inherited
}

/// Forks the listener.
fn fork(options: &Options, sockets: Vec<Socket>, ids: Ids, say: Say) -> Result<(ProcessId, RunnerEnd), Fatal> {
    let failed = |e: io::Error| Fatal::system("unable to fork the listener", &e);
    let (channel, theirs): (RunnerEnd, ListenerEnd) = End::pair().map_err(failed)?;
    let parent = ProcessId::try_from(std::process::id()).unwrap_or_default();
    // As programs' user it can be ended by us when we have become that, too.
    let account = ids.uid.map_or(NOBODY, |uid| (uid, ids.gid.unwrap_or(NOBODY.1)));
    let mut terms = Terms::new(options, account, parent, say);
    match process::fork().map_err(failed)? {
        Fork::Parent(pid) => Ok((pid, channel)),
        Fork::Child => {
            drop(channel);
            terms.sockets = sockets;
            // Leaves by exit: nothing of the runner's is dropped twice.
            process::exit(listener::begin(terms, theirs))
        }
    }
}

/// Waits until the listener is in its jail.
fn jailed(channel: &RunnerEnd) -> Result<(), Fatal> {
    let mut inbox = Inbox::of::<ListenerToRunner>();
    match channel.recv(&mut inbox) {
        Ok(Ask::Jail { entered: true, .. }) => Ok(()),
        Ok(Ask::Jail { text, .. }) => Err(Fatal::new(&[b"unable to jail the listener: ", text])),
        Ok(_) => Err(Fatal::new(&[b"the listener serves without a jail"])),
        Err(e) => Err(Fatal::new(&[b"the listener: ", e.to_string().as_bytes()])),
    }
}

/// Says the port, where that was asked for, and that we are ready; then descriptors 0 and 1 are nothing.
fn announce(options: &Options, port: u16) -> Result<(), Fatal> {
    if options.print_port {
        let mut out = io::stdout();
        let _ = writeln!(out, "{port}").and_then(|()| out.flush());
    }
    let failed = |e: io::Error| Fatal::system("unable to open /dev/null", &e);
    let nothing = File::options().read(true).write(true).open("/dev/null").map_err(failed)?;
    fds::make_stdin_and_stdout(nothing.as_fd()).map_err(failed)?;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    Ok(())
}
