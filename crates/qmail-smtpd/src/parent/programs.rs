//! The programs that a mail admin names, run as qmail runs them.

use gatepost_program::{
    End, Ended as Done, Inherited, Patience, PluginCommand, QueueProgram, Surroundings, check_password, run_check,
    run_plugin,
};
use gatepost_qmail::environment::Environment;
use gatepost_qmail::program::Ended;
use gatepost_sys::limits::Limit;
use gatepost_sys::{fds, process};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// A recipient check, a plugin or a password checker takes no longer.
const CHECK_TIME: Duration = Duration::from_secs(120);
/// S_ISUID and S_ISGID, inode(7).
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

/// What all of them find around themselves.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The qmail home.
    pub(crate) directory: CString,
    /// As we were started, before we limited ourselves.
    pub(crate) limits: Inherited,
    /// What could not be raised for them, octets: a wrapper's hard limits.
    pub(crate) stay: Vec<(Limit, u64)>,
    /// Descriptor 2 when that is the client: a program's complaints are not for it.
    pub(crate) stderr: Option<File>,
    /// The password checker and its arguments; empty without AUTH.
    pub(crate) checker: Vec<Vec<u8>>,
    /// The host name that older patches want in front of the checker.
    pub(crate) auth_host: Option<Vec<u8>>,
}

/// Why a set-id program would run without its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdsLost {
    NoNewPrivileges,
    NosuidMount,
}

impl fmt::Display for IdsLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNewPrivileges => {
                "no_new_privs is on; take NoNewPrivileges= (and what implies it, such as SystemCallFilter= and \
                 RestrictSUIDSGID= of a unit without root, or setpriv --no-new-privs) away"
            }
            Self::NosuidMount => "its file system is mounted nosuid; mount it without",
        })
    }
}

impl Programs {
    /// Whether `command` is set-id and would not get the ids of its file. None where all is well, or nothing is known.
    pub(super) fn ids_lost(&self, command: &[u8]) -> Option<IdsLost> {
        // Relative paths are the home's, in which we are.
        let path = Path::new(OsStr::from_bytes(command));
        let file = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
        let (uid, gid) = process::effective_ids();
        let gains =
            (file.mode() & SET_UID != 0 && file.uid() != uid) || (file.mode() & SET_GID != 0 && file.gid() != gid);
        if !gains {
            None
        } else if process::no_new_privs() {
            Some(IdsLost::NoNewPrivileges)
        } else {
            fds::on_nosuid_mount(path).then_some(IdsLost::NosuidMount)
        }
    }

    fn around<'a>(&'a self, env: &'a [CString]) -> Surroundings<'a> {
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        Surroundings { env, directory: &self.directory, limits: &self.limits, stderr }
    }

    /// Starts the queue program.
    pub(super) fn queue(&self, command: &[u8], environment: &Environment) -> io::Result<QueueProgram> {
        let env = strings(environment);
        QueueProgram::start(&CString::new(command)?, &self.around(&env), Patience::default())
    }

    /// Asks a recipient check. One without its ids could say no to everyone: it counts as not executed, as the others do.
    pub(super) fn check(&self, command: &[u8], environment: &Environment) -> Ended {
        if self.ids_lost(command).is_some() {
            return Ended::NOT_EXECUTED;
        }
        let env = strings(environment);
        let Ok(command) = CString::new(command) else { return Ended::NOT_EXECUTED };
        ended(run_check(&command, &self.around(&env), CHECK_TIME))
    }

    /// Asks a plugin: what it printed, and how it ended.
    pub(super) fn plugin(&self, command: &[u8], shell: bool, environment: &Environment) -> (Vec<u8>, Ended) {
        if !shell && self.ids_lost(command).is_some() {
            return (Vec::new(), Ended::NOT_EXECUTED);
        }
        let env = strings(environment);
        let Ok(command) = CString::new(command) else { return (Vec::new(), Ended::NOT_EXECUTED) };
        let command = if shell { PluginCommand::Shell(&command) } else { PluginCommand::Program(&command) };
        match run_plugin(command, &self.around(&env), CHECK_TIME) {
            Ok(plugin) => (plugin.output, ended(Ok(plugin.ended))),
            Err(e) => (Vec::new(), ended(Err(e))),
        }
    }

    /// Asks a password checker.
    pub(super) fn password(&self, environment: &Environment, secret: &[u8]) -> Ended {
        if self.checker.first().is_some_and(|checker| self.ids_lost(checker).is_some()) {
            return Ended::NOT_EXECUTED;
        }
        let env = strings(environment);
        let Ok(args) = self.checker.iter().map(|arg| CString::new(arg.as_slice())).collect::<Result<Vec<_>, _>>()
        else {
            return Ended::NOT_EXECUTED;
        };
        let args: Vec<&CStr> = args.iter().map(CString::as_c_str).collect();
        ended(check_password(&args, &self.around(&env), secret, CHECK_TIME))
    }
}

fn ended(done: io::Result<Done>) -> Ended {
    match done {
        Ok(Done::Ran(End::Exit(status))) => Ended::Exited(status),
        Ok(Done::Ran(End::Signal(signal))) => Ended::Killed(signal.into()),
        Ok(Done::Ran(End::Unknown)) => Ended::Lost,
        Ok(Done::NotExecuted(_)) => Ended::NOT_EXECUTED,
        // Killed by us.
        Ok(Done::TimedOut) => Ended::Killed(9),
        Err(_) => Ended::NotForked,
    }
}

fn strings(environment: &Environment) -> Vec<CString> {
    let pairs = environment.iter().map(|(name, value)| [name, b"=", value].concat());
    pairs.filter_map(|pair| CString::new(pair).ok()).collect()
}
