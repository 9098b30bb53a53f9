//! The command line: names that scripts and other programs use.

use crate::check::{self, plan_of};
use crate::help::{self, HelpArgs};
use crate::init::{self, InitArgs};
use crate::said::fail;
use crate::trial::{self, TryArgs};
use crate::version::version;
use crate::{passwd, top};
use clap::{Args, CommandFactory, Parser, Subcommand};
use gatepost_jail::audit::{self, Expectations};
use gatepost_launcher::LauncherError;
use gatepost_launcher::admin::{self, Answer, Request};
use gatepost_launcher::plan::Plan;
use gatepost_launcher::renew::Program;
use gatepost_wire::control::Whom;
use gatepost_wire::link::SessionId;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// A privilege-separated SMTP front end: stands between port 25 and your mail server.
#[derive(Debug, Parser)]
#[command(
    name = "gatepost",
    version = version(),
    about = "A privilege-separated SMTP front end: stands between port 25 and your mail server",
    after_help = "gatepost qmail-smtpd [CHECKER SUBPROGRAM] serves one connection on descriptors 0 and 1 in qmail-smtpd's \
                  place, and so does a link of that name to this program. gatepost help lists the pages of the manual.",
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it at once: no config, self-signed STARTTLS, mail lands in DIR/Maildir
    Try(TryArgs),
    /// Write a first configuration for the backend that is here, with a self-signed certificate and the lines for the MTA, and
    /// check it; overwrites nothing
    Init(InitArgs),
    /// The daemon, in the foreground: ready by sd_notify; TERM drains; HUP reads the configuration anew, and executes another
    /// gatepost that lies where this one did, without losing a session
    Serve(ServeArgs),
    /// One connection on descriptors 0 and 1, served as the daemon would: for inetd, xinetd, systemd with Accept=yes, tcpserver
    Inetd(ConfigArgs),
    /// Have the running gatepost read its configuration anew, and wait for the outcome; exit 0, or 1 with the reason
    Reload,
    /// What the running gatepost does; exit 0: well, 1: not running, 2: it serves, but look at what it says
    Status,
    /// What the running gatepost does now, again and again: slots, sessions, rates, times, what is refused and why, roles
    Top(TopArgs),
    /// Tell sessions of the running gatepost to end, all of an address or one by its id in the log; a message that is being
    /// delivered is delivered first
    Kick {
        /// An address, or the id of a session
        #[arg(value_name = "ADDRESS|SESSION", value_parser = whom)]
        whom: Whom,
    },
    /// Have the running gatepost forget what an address has done, so that it bears no penalty any more, and what it has used of
    /// its rates
    Forgive {
        /// The address; with it goes the rest of its IPv6 /64
        address: IpAddr,
    },
    /// Everything that can be known before serving, in one table; changes nothing. Exit 0: ready, 1: will not serve,
    /// 2: serves, but look at what it says
    Check(CheckArgs),
    /// A line of the file of logins for submission: asks for a password and writes LOGIN:HASH
    Passwd {
        /// Who logs in
        login: String,
        /// What is written of the password. SCRAM is offered to clients once each line of the file is of that kind
        #[arg(long, value_enum, default_value_t = passwd::Scheme::Argon2id)]
        scheme: passwd::Scheme,
    },
    /// What each running process is confined to, read from /proc; exit 0 or 1
    Audit(AuditArgs),
    /// The manual as text: without a topic, what there is
    Help(HelpArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/gatepost/gatepost.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// One JSON object with all rows instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Take the place of an earlier program in this process
    #[arg(long, hide = true, value_name = "FD")]
    resume: Option<i32>,
    /// Say whether that can be
    #[arg(long, hide = true, requires = "resume")]
    rehearse: bool,
}

#[derive(Debug, Args)]
struct TopArgs {
    /// Show it once, with the rates of a second, and end
    #[arg(long)]
    once: bool,
    /// One JSON object a look instead of the table
    #[arg(long)]
    json: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
}

#[derive(Debug, Args)]
struct AuditArgs {
    /// One JSON object a process instead of the table
    #[arg(long)]
    json: bool,
    /// The configuration that is in force, when it sets limits.data
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Processes to look at; without any, every process of a running gatepost
    pids: Vec<u32>,
}

/// Does what the command line says. Exit status: 0 well, 1 not, 2 the command line itself is wrong; but for `check`, where
/// 2 has a meaning, that is 1 too.
pub(crate) fn run() -> ExitCode {
    // Roles, a session and a rehearsal are children of ours.
    let _ = gatepost_sys::signal::heed_children();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(e) => {
            let check = std::env::args_os().nth(1).is_some_and(|word| word == "check");
            let _ = e.print();
            return if check && e.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(1))
            };
        }
    };
    match command {
        Command::Try(args) => trial::run(&args),
        Command::Init(args) => {
            gatepost_log::begin(gatepost_log::LAUNCHER);
            init::run(&args, |path| check::run(path, false))
        }
        Command::Serve(args) => serve(&args),
        Command::Inetd(args) => gatepost_inetd::run(&args.config).into(),
        Command::Reload => ask(Request::Reload),
        Command::Status => ask(Request::Status),
        Command::Top(args) => match top::run(args.once, args.json, Duration::from_secs(args.every.into())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => unanswered(&e),
        },
        Command::Kick { whom } => ask(Request::Kick(whom)),
        Command::Forgive { address } => ask(Request::Forgive(address)),
        Command::Check(args) => {
            gatepost_log::begin(gatepost_log::LAUNCHER);
            check::run(&args.config.config, args.json)
        }
        Command::Passwd { login, scheme } => {
            passwd::run(&login, scheme).map_or_else(|why| fail(&why), |()| ExitCode::SUCCESS)
        }
        Command::Audit(args) => audit(&args),
        Command::Help(args) => help::run(&args, Cli::command()),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    gatepost_log::begin(gatepost_log::LAUNCHER);
    let path = args.config.config.as_path();
    let reload = || plan_of(path);
    let program = Program::own(&["serve".into(), "--config".into(), path.into()], version());
    match (args.resume, plan_of(path)) {
        (Some(memory), plan) if args.rehearse => could_serve(memory, plan),
        (Some(memory), _) => outcome(gatepost_launcher::resume(memory, program, &reload)),
        (None, Ok(plan)) => outcome(gatepost_launcher::run(
            Plan { admin: Some(admin::SOCKET.into()), ..plan },
            program,
            &reload,
            &|_| {},
        )),
        (None, Err(faults)) => fail(&faults),
    }
}

/// Whether this program could take the place of the one that asks.
fn could_serve(memory: i32, plan: Result<Plan, String>) -> ExitCode {
    let could = gatepost_launcher::can_resume(memory).and(plan);
    match could.and_then(|plan| gatepost_launcher::rehearse(plan).map_err(|e| e.to_string())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

/// Asks the running gatepost; gives the exit status that it answers.
fn ask(request: Request) -> ExitCode {
    match admin::ask(Path::new(admin::SOCKET), request) {
        // What was asked for is on standard output, however much there is to look at; why it was not done is a mistake's text.
        Ok(Answer { status, text }) if status == 0 || request == Request::Status => {
            print!("{text}");
            ExitCode::from(status)
        }
        Ok(Answer { status, text }) => {
            fail(text.trim_end());
            ExitCode::from(status)
        }
        Err(e) => unanswered(&e),
    }
}

fn unanswered(why: &io::Error) -> ExitCode {
    match why.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => fail(&format!(
            "no gatepost runs here: nobody answers at {}\n  = start it: systemctl start gatepost.socket gatepost.service, or gatepost serve; \
             journalctl -u gatepost says why one has ended",
            admin::SOCKET
        )),
        _ => fail(&format!("cannot ask the running gatepost by {}: {why}", admin::SOCKET)),
    }
}

/// Whose sessions are meant.
fn whom(text: &str) -> Result<Whom, String> {
    let session = || u64::from_str_radix(text, 16).map(|id| Whom::Session(SessionId(id)));
    text.parse().map(Whom::Address).or_else(|_| session()).map_err(|_| {
        "write an address, such as 192.0.2.9, or the id of a session as the log has it, such as 15585710c1".to_owned()
    })
}

/// The launcher's end as an exit status.
fn outcome(ended: Result<(), LauncherError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e.to_string()),
    }
}

/// A process that is gone, or whose end nobody has taken note of yet: there is nothing left to confine.
fn has_ended(pid: u32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

fn audit(args: &AuditArgs) -> ExitCode {
    let pids = if args.pids.is_empty() { audit::find_gatepost() } else { Ok(args.pids.clone()) };
    let pids = match pids {
        Ok(pids) if pids.is_empty() => return fail("no gatepost is running; name the process ids to look at"),
        Ok(pids) => pids,
        Err(e) => return fail(&format!("cannot list /proc: {e}")),
    };
    let mut facts = Vec::new();
    let mut unseen = false;
    for pid in pids {
        if has_ended(pid) {
            eprintln!("gatepost: process {pid} has ended");
            unseen |= !args.pids.is_empty();
            continue;
        }
        match audit::Facts::read(pid) {
            Ok(seen) => facts.push(seen),
            // Without being asked for by number, a session may simply have ended meanwhile.
            Err(e) if args.pids.is_empty() && e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => {
                fail(&format!("process {pid}: {e}; audit needs root to look into processes of other users"));
                unseen = true;
            }
        }
    }
    let expected = match args.config.as_deref().map(plan_of) {
        None => Expectations::default(),
        Some(Ok(plan)) => Expectations::default().with_session_data(plan.config.limits.data),
        Some(Err(faults)) => return fail(&faults),
    };
    let shared = audit::shared(&facts);
    let rows = audit::rows(facts, &shared, &expected);
    print!("{}", if args.json { audit::json(&rows) } else { audit::table(&rows) });
    let weak = unseen || rows.iter().any(|row| !row.findings.is_empty());
    if weak { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_every_command_and_option_has_a_text() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some_and(|about| !about.to_string().is_empty()), "{name}");
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some_and(|help| !help.to_string().is_empty()), "{name} {}", arg.get_id());
            }
        }
    }
}
