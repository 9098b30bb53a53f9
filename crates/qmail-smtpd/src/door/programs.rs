//! The programs that a mail admin names, run as qmail runs them.

use gatepost_program::{
    End, Ended as Done, Inherited, Patience, PluginCommand, QueueProgram, Surroundings, check_password, run_check,
    run_plugin,
};
use gatepost_qmail::environment::Environment;
use gatepost_qmail::program::Ended;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// A recipient check, a plugin or a password checker takes no longer.
const CHECK_TIME: Duration = Duration::from_secs(120);

/// What all of them find around themselves.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The qmail home.
    pub(crate) directory: CString,
    /// As we were started, before we limited ourselves.
    pub(crate) limits: Inherited,
    /// Descriptor 2 when that is the client: a program's complaints are not for it.
    pub(crate) stderr: Option<File>,
    /// The password checker and its arguments; empty without AUTH.
    pub(crate) checker: Vec<Vec<u8>>,
    /// The host name that older patches want in front of the checker.
    pub(crate) auth_host: Option<Vec<u8>>,
}

impl Programs {
    fn around<'a>(&'a self, env: &'a [CString]) -> Surroundings<'a> {
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        Surroundings { env, directory: &self.directory, limits: &self.limits, stderr }
    }

    /// Starts the queue program.
    pub(super) fn queue(&self, command: &[u8], environment: &Environment) -> io::Result<QueueProgram> {
        let env = strings(environment);
        QueueProgram::start(&CString::new(command)?, &self.around(&env), Patience::default())
    }

    /// Asks a recipient check.
    pub(super) fn check(&self, command: &[u8], environment: &Environment) -> Ended {
        let env = strings(environment);
        let Ok(command) = CString::new(command) else { return Ended::NOT_EXECUTED };
        ended(run_check(&command, &self.around(&env), CHECK_TIME))
    }

    /// Asks a plugin: what it printed, and how it ended.
    pub(super) fn plugin(&self, command: &[u8], shell: bool, environment: &Environment) -> (Vec<u8>, Ended) {
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
