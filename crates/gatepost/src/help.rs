//! `gatepost help`: the manual as text, and as files for packagers.

use crate::said::fail;
use clap::{Args, Command};
use gatepost_manual as manual;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `gatepost help`.
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A command, or a page: gatepost.toml, log, audit, inetd, qmail, coming-from, tcpserver, ...
    topic: Option<String>,
    /// Write all pages for man(1), and what bash, zsh and fish complete by, below this directory: for packagers
    #[arg(long, value_name = "DIR", conflicts_with = "topic")]
    write: Option<PathBuf>,
}

/// Shows what is asked for. `command`: the command line.
pub(crate) fn run(args: &HelpArgs, mut command: Command) -> ExitCode {
    if let Some(dir) = &args.write {
        return match manual::write(&mut command, dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => fail(&format!("cannot write below {}: {e}", dir.display())),
        };
    }
    let Some(topic) = &args.topic else {
        let mut text = command.render_help().to_string();
        text.push_str("\nPages of the manual, by `gatepost help PAGE`:\n");
        for page in manual::pages(&command) {
            text.push_str(&format!("  {:<24} {}\n", page.file(), page.about));
        }
        return say(&text);
    };
    command.build();
    if let Some(sub) = command.find_subcommand_mut(topic) {
        return say(&sub.render_long_help().to_string());
    }
    match manual::find(&command, topic) {
        Some(page) => say(&page.text()),
        None => fail(&format!("there is no command and no page \"{topic}\": gatepost help lists them")),
    }
}

/// Who reads only the beginning is no fault.
fn say(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => fail(&format!("cannot write: {e}")),
        _ => ExitCode::SUCCESS,
    }
}
