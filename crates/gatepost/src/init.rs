//! `gatepost init`: a first configuration, with what its backend needs.
//!
//! Writes below one directory and overwrites nothing. What else has to be done is shown, and left to the reader.

mod mta;

use crate::said::fail;
use crate::trial::self_signed;
use clap::Args;
use gatepost_config::Config;
use mta::Mta;
use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `gatepost init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// What stands behind: postfix, exim, opensmtpd, sendmail, dovecot-lmtp, cyrus-lmtp, qmail-queue, qmqp, smtp, lmtp; default:
    /// what is installed
    #[arg(long = "for", value_name = "PROFILE")]
    profile: Option<String>,
    /// The directory that is written to; made when missing
    #[arg(long, value_name = "DIR", default_value = "/etc/gatepost")]
    dir: PathBuf,
    /// The full name of this server; default: what the MTA or the machine is called
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// A domain to take mail for; may stand several times; default: what the MTA delivers
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// Where the backend listens: unix:PATH or tcp:ADDRESS:PORT; default: where the lines for it put it
    #[arg(long, value_name = "PLACE")]
    connect: Option<String>,
}

/// Where `init` writes unless told otherwise: where everything else looks.
const USUAL: &str = "/etc/gatepost";

/// Writes, and then shows what `check` says of it.
pub(crate) fn run(args: &InitArgs, check: impl Fn(&Path) -> ExitCode) -> ExitCode {
    let written = match write(args) {
        Ok(written) => written,
        Err(why) => return fail(&why),
    };
    println!("Written:");
    for (path, what) in &written.files {
        println!("  {:<42} {what}", path.display());
    }
    println!("\nWhat gatepost check says of it now; what it says of the backend will change with the steps below:\n");
    let _ = check(&written.config);
    println!("\nNext, as root:\n\n{}", written.steps);
    ExitCode::SUCCESS
}

/// What was written, and what is left to do.
struct Written {
    files: Vec<(PathBuf, String)>,
    config: PathBuf,
    steps: String,
}

fn write(args: &InitArgs) -> Result<Written, String> {
    let dir = std::path::absolute(&args.dir).map_err(|e| format!("{}: {e}", args.dir.display()))?;
    let config = dir.join("gatepost.toml");
    if config.exists() {
        return Err(format!("{} is there already, and is left as it is: gatepost check looks at it", config.display()));
    }
    let mta = backend(args.profile.as_deref())?;
    let hostname = hostname(args, mta)?;
    let domains = domains(args, mta)?;
    let connect =
        args.connect.clone().or_else(|| mta.connect.map(str::to_owned)).ok_or_else(|| {
            format!("where does {} listen? --connect unix:PATH or tcp:ADDRESS:PORT", mta.profile.name())
        })?;
    let text = text(&dir, mta, &hostname, &domains, &connect);
    // What was typed goes through the same check as what was written by hand.
    Config::parse(&text, &config).map_err(|faults| faults.to_string())?;

    let mut files = Vec::new();
    let (certificate, key) = (dir.join("tls/cert.pem"), dir.join("tls/key.pem"));
    make(&dir.join("tls"))?;
    if certificate.exists() && key.exists() {
        files.push((certificate, "was there, and is used".to_owned()));
    } else {
        let (chain, private) = self_signed(vec![hostname.clone()])?;
        create(&key, 0o600, &private)?;
        create(&certificate, 0o644, &chain)?;
        files.push((certificate, format!("self-signed for {hostname}: put the real one in its place")));
        files.push((key, "its key".to_owned()));
    }
    let mut steps = String::new();
    if let Some((name, lines)) = mta.lines {
        let path = dir.join(name);
        create(&path, 0o644, lines.as_bytes())?;
        for step in mta.steps {
            let _ = writeln!(steps, "  {}", step.replace("FILE", &path.display().to_string()));
        }
        files.push((path, format!("lines for {}", mta.profile.name())));
    }
    // Last: the units wait for it.
    create(&config, 0o644, text.as_bytes())?;
    files.insert(0, (config.clone(), "the configuration; gatepost help gatepost.toml explains every key".to_owned()));
    let option = if dir == Path::new(USUAL) { String::new() } else { format!(" --config {}", config.display()) };
    let _ = writeln!(steps, "  gatepost check{option}");
    let serve =
        if option.is_empty() { "systemctl enable --now gatepost.socket gatepost.service" } else { "gatepost serve" };
    let _ = writeln!(steps, "  {serve}{option}");
    Ok(Written { files, config, steps })
}

/// The backend that is named, or the one that is installed.
fn backend(named: Option<&str>) -> Result<&'static Mta, String> {
    let known = || mta::ALL.iter().map(|mta| mta.profile.name()).collect::<Vec<_>>().join(", ");
    if let Some(name) = named {
        return Mta::named(name).ok_or_else(|| format!("--for {name}: write one of {}", known()));
    }
    let installed = Mta::installed();
    let names: Vec<&str> = installed.iter().map(|mta| mta.profile.name()).collect();
    let suggestion = match names.as_slice() {
        [one] => Some((*one).to_owned()),
        _ => None,
    };
    let why = match names.as_slice() {
        [] => "no MTA was found on this machine".to_owned(),
        _ => format!("several were found: {}", names.join(", ")),
    };
    let name = ask("What stands behind gatepost?", suggestion)?
        .ok_or_else(|| format!("{why}: name what stands behind by --for, one of {}", known()))?;
    Mta::named(&name).ok_or_else(|| format!("\"{name}\": write one of {}", known()))
}

fn hostname(args: &InitArgs, mta: &Mta) -> Result<String, String> {
    if let Some(name) = &args.hostname {
        return Ok(name.clone());
    }
    let machine = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let suggestion = mta.hostname().or_else(machine).filter(|name| name.contains('.'));
    ask("The full name of this server, as its address has it in DNS?", suggestion)?
        .ok_or_else(|| "what is this server called in DNS? --hostname mx.example.org".to_owned())
}

fn domains(args: &InitArgs, mta: &Mta) -> Result<Vec<String>, String> {
    if !args.domains.is_empty() {
        return Ok(args.domains.clone());
    }
    let found = mta.domains();
    let suggestion = (!found.is_empty()).then(|| found.join(" "));
    let answer = ask("Domains to take mail for, with spaces between them?", suggestion)?
        .ok_or_else(|| "which domains is mail taken for? --domain example.org, once for each".to_owned())?;
    Ok(answer.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

/// Asks who sits at a terminal; who doesn't gets the suggestion.
fn ask(question: &str, suggestion: Option<String>) -> Result<Option<String>, String> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Ok(suggestion);
    }
    let shown = suggestion.as_ref().map(|text| format!(" [{text}]")).unwrap_or_default();
    print!("{question}{shown} ");
    let mut line = String::new();
    let read = io::stdout().flush().and_then(|()| io::stdin().read_line(&mut line));
    read.map_err(|e| format!("cannot ask: {e}"))?;
    let line = line.trim();
    Ok(if line.is_empty() { suggestion } else { Some(line.to_owned()) })
}

/// As TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn text(dir: &Path, mta: &Mta, hostname: &str, domains: &[String], connect: &str) -> String {
    let path = |name: &str| quoted(&dir.join(name).display().to_string());
    let domains: Vec<String> = domains.iter().map(|domain| quoted(domain)).collect();
    let clients = if mta.local_clients { r#"["127.0.0.0/8", "::1"]"# } else { "[]" };
    format!(
        r#"# gatepost in front of {profile}. `gatepost help gatepost.toml` explains every key there is, and `gatepost check` shows mistakes.

# The name that the address of this server has in DNS.
hostname = {hostname}

[[listen]]
# IPv4 too. gatepost.socket holds the same address: change both.
address = "[::]:25"

[tls]
# Made by `gatepost init`, and signed by nobody: put the real ones in their place, then `gatepost reload`.
certificate = {certificate}
key = {key}

[relay]
# What mail is taken for. ".example.org" stands for every domain below it.
domains = [{domains}]
# Networks that may send to any domain. The loopback ones are the programs of this machine.
clients = {clients}

[backend]
profile = {profile_quoted}
connect = {connect}
{more}
# These are the defaults of what is changed most.
#[limits]
#sessions = 1000
#sessions_per_address = 20
#message_size = "50MiB"

#[log]
#format = "text"
#privacy = "none"
"#,
        profile = mta.profile.name(),
        profile_quoted = quoted(mta.profile.name()),
        hostname = quoted(hostname),
        certificate = path("tls/cert.pem"),
        key = path("tls/key.pem"),
        domains = domains.join(", "),
        connect = quoted(connect),
        more = mta.more,
    )
}

fn make(dir: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(dir);
    made.map_err(|e| format!("cannot make {}: {e}", dir.display()))
}

/// A file that was not there.
fn create(path: &Path, mode: u32, octets: &[u8]) -> Result<(), String> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(octets));
    written.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => format!("{} is there already: move it away", path.display()),
        _ => format!("cannot write {}: {e}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_what_init_writes_is_sound_for_every_backend() {
        for mta in mta::ALL {
            let connect = mta.connect.unwrap_or("tcp:192.0.2.1:24");
            let text = text(Path::new(USUAL), mta, "mx.example.org", &["example.org".to_owned()], connect);
            let parsed = Config::parse(&text, Path::new("gatepost.toml"));
            assert!(parsed.is_ok(), "{}: {text}\n{}", mta.profile.name(), parsed.unwrap_err());
        }
        assert!(gatepost_config::Profile::ALL.iter().all(|profile| Mta::named(profile.name()).is_some()));
    }

    #[test]
    fn issue_13_nothing_that_is_typed_becomes_another_key() {
        let typed = "a\"]\nclients = [\"0.0.0.0/0".to_owned();
        let text = text(Path::new(USUAL), &mta::ALL[0], "mx.example.org", &[typed], "tcp:192.0.2.1:24");
        assert!(Config::parse(&text, Path::new("gatepost.toml")).is_err());
    }
}
