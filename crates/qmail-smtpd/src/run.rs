//! From the start to the fork, and the end.

use crate::home::Control;
use crate::parent::{Offence, Parent, Programs};
use crate::record::Record;
use crate::session::{self, Start};
use crate::{SessionEnd, help, settings};
use gatepost_channel::{ChannelError, End as Channel, Inbox};
use gatepost_program::Inherited;
use gatepost_qmail::auth::{Checker, SmtpAuth};
use gatepost_qmail::controls::Controls;
use gatepost_qmail::environment::Environment;
use gatepost_qmail::replies;
use gatepost_qmail::spp::{Facts, Phase};
use gatepost_qmail::switches::Switches;
use gatepost_shell::{Client, Ends, last_reply};
use gatepost_smtp::envelope::{CloseReason, Then};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process::{self, Fork, ProcessId, Signal};
use gatepost_sys::{net, signal};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where qmail lives unless QMAILHOME says otherwise.
const HOME: &str = "/var/qmail";
/// Descriptors that a process of ours has at most, all programs included.
const OPEN_FILES: u64 = 64;

/// Octets of address space that a `softlimit -m` for qmail-smtpd doesn't know of: our program file, which is larger. What it says of memory
/// (RLIMIT_DATA) stays as it is.
const FILE: u64 = 16 * 1024 * 1024;

/// Longest wait for the exit of a session that has said why it ends.
const EXIT_TIME: Duration = Duration::from_secs(5);

/// Serves the one connection on descriptors 0 and 1 as qmail-smtpd would; gives its exit status: 0 after QUIT, else 1.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    // What a recipient check and the queue program answer is their exit status, which must be told.
    let _ = signal::heed_children();
    let arguments: Vec<Vec<u8>> = arguments.map(OsStringExt::into_vec).collect();
    if let [only] = arguments.as_slice()
        && let Some(text) = help::asked(only)
    {
        return u8::from(io::stdout().write_all(text.as_bytes()).is_err());
    }
    let _ = limits::extend_soft(Limit::AddressSpace, FILE);
    let Ok(mut client) = Client::take() else { return 1 };
    let variables = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let mut environment: Environment = variables.collect();
    if let Some((local, remote)) = net::connection(client.input.as_fd()) {
        environment.complete(Some(local), Some(remote));
    } else {
        environment.complete(None, None);
    }
    let mut warnings = Vec::new();
    let switches = Switches::read(&environment, &mut warnings);
    let log = switches.log.unwrap_or_else(|| !io::stderr().is_terminal());
    let record = Record::new(log && !client.hears_stderr);
    warnings.iter().for_each(|warning| record.warn(warning));
    let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
    let checker = Checker::from_arguments(&arguments);
    match open(&client, &environment, &switches, checker.as_ref(), &record) {
        Ok((control, controls, programs)) => {
            let parent = Parent::new(control, controls, environment, programs, record);
            begin(client, parent, &switches, checker.as_ref())
        }
        Err(why) => {
            record.warn(&why);
            last_reply(&mut client.output, format!("{}\r\n", replies::CONTROLS).as_bytes());
            record.close(&environment, CloseReason::Configuration);
            1
        }
    }
}

/// Moves into qmail's home and reads what holds for this connection: like qmail-smtpd once, before the greeting.
fn open(
    client: &Client,
    environment: &Environment,
    switches: &Switches,
    checker: Option<&Checker<'_>>,
    record: &Record,
) -> Result<(Control, Controls, Programs), String> {
    let home = std::env::var_os("QMAILHOME").map_or_else(|| PathBuf::from(HOME), PathBuf::from);
    std::env::set_current_dir(&home)
        .map_err(|e| format!("qmail's home {}: {e}; QMAILHOME names another", home.display()))?;
    let control = Control::new();
    let (controls, warnings) = Controls::read(&control, environment, switches).map_err(|e| e.to_string())?;
    warnings.iter().for_each(|warning| record.warn(warning));
    Ok((control, controls, programs(client, &home, checker)?))
}

/// The programs run with limits of their own: as we were started, but with memory as far as it goes.
fn programs(client: &Client, home: &Path, checker: Option<&Checker<'_>>) -> Result<Programs, String> {
    let mut limits = Inherited::read().map_err(|e| format!("cannot read resource limits: {e}"))?;
    let stay = limits.raise_memory(u64::MAX).map_err(|e| format!("cannot set resource limits: {e}"))?;
    enough_files(&limits).map_err(|e| format!("cannot set resource limits: {e}"))?;
    let directory = CString::new(home.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
    let nothing = || File::options().write(true).open("/dev/null").map_err(|e| format!("/dev/null: {e}"));
    let stderr = if client.hears_stderr { Some(nothing()?) } else { None };
    let auth_host = checker.and_then(|checker| checker.host).map(<[u8]>::to_vec);
    let checker = checker.map(|c| [c.program].iter().chain(&c.arguments).map(|word| word.to_vec()).collect());
    let checker = checker.unwrap_or_default();
    Ok(Programs { directory, limits, stay, stderr, checker, auth_host })
}

/// Raises our own soft limit of open files, where a `softlimit -o` has one that is too low for the pipes of a queue program
/// and its two custom errors. Programs have it as it was.
fn enough_files(limits: &Inherited) -> io::Result<()> {
    match limits.of(Limit::OpenFiles) {
        Some((soft, hard)) if soft < OPEN_FILES => limits::set_soft(Limit::OpenFiles, OPEN_FILES.min(hard)),
        _ => Ok(()),
    }
}

/// Plugins have the first word; then the session is forked, and the two of them serve.
fn begin(mut client: Client, mut parent: Parent, switches: &Switches, checker: Option<&Checker<'_>>) -> u8 {
    let prelude = match parent.plugins.ask(Phase::Connection, Facts::Nothing, &mut parent.environment, &parent.programs)
    {
        Ok(passed) => passed.printed,
        Err(stopped) => {
            stopped.warning.iter().for_each(|why| parent.record.warn(why));
            last_reply(&mut client.output, &stopped.lines);
            parent.record.refusal(&stopped.lines);
            parent.record.close(&parent.environment, CloseReason::Refused);
            return u8::from(stopped.then != Then::Leave);
        }
    };
    parent.offer = SmtpAuth::read(&parent.environment, checker);
    let terms = settings::terms(&parent, switches);
    parent.look_at_programs();
    parent.offers_tls = terms.settings.starttls && terms.superserver.is_none();
    let forked = Channel::pair().and_then(|(theirs, ours)| {
        let last = client.output.try_clone()?;
        Ok((theirs, ours, last, process::fork()?))
    });
    match forked {
        Ok((theirs, _, _, Fork::Child)) => {
            let client = Ends::new(client.input.into(), client.output.into());
            // This memory is a copy of the parent's, and the admin's variables are nothing for who parses the client.
            parent.environment.forget();
            // Leaves by exit: nothing of the parent's is dropped twice.
            process::exit(session::begin(Start { client, parent: theirs, terms, prelude }))
        }
        Ok((theirs, session, last, Fork::Parent(pid))) => {
            // Or their ends would never be seen: the session's of the channel, and the client's.
            drop((theirs, terms, client.input, client.output));
            Serving { parent, session, pid, last }.serve()
        }
        Err(e) => {
            last_reply(&mut client.output, format!("{}\r\n", replies::INTERNAL).as_bytes());
            parent.record.refusal(replies::INTERNAL.line().as_bytes());
            parent.record.warn(&format_args!("cannot fork the session: {e}"));
            parent.record.close(&parent.environment, CloseReason::Internal);
            1
        }
    }
}

/// The parent with its session.
struct Serving {
    parent: Parent,
    session: SessionEnd,
    pid: ProcessId,
    /// The client, for a last reply in the place of a session that died.
    last: File,
}

impl Serving {
    fn serve(mut self) -> u8 {
        let served = self.parent.serve(&self.session, self.last.as_fd());
        if let Err(offence) = &served {
            self.parent.record.warn(&format_args!("session ended: {offence}"));
        }
        if served.is_err() || !self.has_left() {
            let _ = process::kill(self.pid, Signal::Kill);
        }
        drop(self.session);
        let died = matches!(served, Err(Offence::Died(_)));
        let ended = process::await_end(self.pid);
        if let process::End::Signal(signal) = ended
            && !died
        {
            self.parent.record.warn(&format_args!("the session was killed by signal {signal}"));
        }
        let killed = died || matches!(ended, process::End::Signal(_));
        if killed && self.parent.close_reason().is_none() && self.parent.in_clear() {
            self.parent.record.refusal(replies::INTERNAL.line().as_bytes());
            last_reply(&mut self.last, format!("{}\r\n", replies::INTERNAL).as_bytes());
        }
        // An owned session ends with what it likes.
        let status = u8::from(killed || ended != process::End::Exit(0));
        self.parent.record.close(&self.parent.environment, end(&served, self.parent.close_reason()));
        status
    }

    /// Whether the session ends now that it has said why, as it does at once unless it is owned.
    fn has_left(&self) -> bool {
        let waits = self.session.seq().set_timeout(EXIT_TIME).is_ok();
        waits && matches!(self.session.fill(&mut Inbox::new(64)), Err(ChannelError::Closed))
    }
}

fn end(served: &Result<(), Offence>, told: Option<CloseReason>) -> CloseReason {
    served.as_ref().ok().and(told).unwrap_or(CloseReason::Internal)
}
