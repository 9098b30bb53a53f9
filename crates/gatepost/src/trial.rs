//! `gatepost try`: the main job at once, with nothing prepared.

use crate::said::fail;
use clap::Args;
use gatepost_config::{Backend, Config, Connect, Jail, Limits, Listen, Profile, Relay, Tls, Users};
use gatepost_launcher::findings::Fitness;
use gatepost_launcher::plan::{Plan, Receiver, Trial};
use gatepost_smtp::server::Leniency;
use gatepost_sys::process;
use gatepost_wire::slice::Ground;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the numeric ids of `try` begin, when root runs it: no account is prepared for it.
const FIRST_ID: u32 = 61_000;
/// S_IWOTH, inode(7).
const OTHERS_WRITE: u32 = 0o002;
/// What the Maildir's owner may be told about by name.
const HOSTNAME: &str = "localhost";

/// Arguments of `gatepost try`.
#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:2525", value_parser = listen_address)]
    listen: SocketAddr,
    /// Directory for the Maildir and the spool; made when missing
    #[arg(long, value_name = "DIR", default_value = "gatepost-try")]
    dir: PathBuf,
    /// Hand mail to this MTA instead of the Maildir: unix:PATH or tcp:ADDR, such as tcp:127.0.0.1:25
    #[arg(long, value_name = "BACKEND")]
    smtp: Option<String>,
}

/// Runs until interrupted.
pub(crate) fn run(args: &TryArgs) -> ExitCode {
    gatepost_log::begin(gatepost_log::LAUNCHER);
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(why) => return fail(&why),
    };
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let reload = || Err("gatepost try has no configuration to read again".to_owned());
    match gatepost_launcher::run(plan, None, &reload, &|fitness| greet(args, &dir, fitness)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if args.smtp.is_some() && !is_private(args) => fail(&format!("{e}\n{OPEN}")),
        Err(e) => fail(&e.to_string()),
    }
}

/// An address and port to listen on.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(2525);
        format!(
            "write an address and a port, such as 127.0.0.1:{port}, or [::]:{port} for all addresses of this machine"
        )
    })
}

/// What to do about an MTA that relays for whoever comes by way of gatepost.
const OPEN: &str = "try does not tell the MTA who the client is, so an MTA that lets its own machine relay would let everybody. Try it \
                    for this machine alone, which may relay anyway: --listen 127.0.0.1:2525. README has the steps to serve others";

/// True when only programs of this machine can reach it.
fn is_private(args: &TryArgs) -> bool {
    args.listen.ip().is_loopback()
}

fn plan(args: &TryArgs) -> Result<Plan, String> {
    let dir = std::path::absolute(&args.dir).map_err(|e| format!("{}: {e}", args.dir.display()))?;
    let spool = dir.join("spool");
    // Before anything is made, and afterwards: until then it may be another's to make.
    let own = process::effective_ids().0;
    is_for_us(&dir, &dir, &[own])?;
    make(&dir, 0o755)?;
    is_for_us(&dir, &dir, &[own])?;
    is_for_us(&dir, &spool, &[own])?;
    make(&spool, 0o755)?;
    let (backend, receiver) = match &args.smtp {
        Some(text) => (smtp_backend(text, !is_private(args))?, None),
        None => {
            let (backend, receiver) = maildir_backend(&dir)?;
            (backend, Some(receiver))
        }
    };
    let (certificate, key) = self_signed(vec![HOSTNAME.to_owned(), "gatepost.invalid".to_owned()])?;
    let config = Config {
        hostname: HOSTNAME.to_owned(),
        spool,
        users: Users::From(FIRST_ID),
        listen: vec![Listen { address: args.listen, ..Listen::default() }],
        tls: Tls::default(),
        relay: Relay::default(),
        backend,
        routes: Vec::new(),
        tables: gatepost_config::Tables::default(),
        smtp: Leniency::default(),
        networks: Vec::new(),
        names: gatepost_config::Names::default(),
        rates: gatepost_config::Rates::default(),
        // Whoever tries what abuse comes to is not to be locked out, and may have little disk.
        limits: Limits { sessions: 100, sessions_per_address: 100, offences: 0, spool_free: 0, ..Limits::default() },
        log: gatepost_config::Log::default(),
        submission: None,
        admission: gatepost_config::Admission::default(),
        metrics: Vec::new(),
        jail: Jail::default(),
    };
    Ok(Plan { trial: Some(Trial { certificate, key }), receiver, ..Plan::from(config) })
}

fn make(path: &Path, mode: u32) -> Result<(), String> {
    match std::fs::DirBuilder::new().recursive(true).mode(mode).create(path) {
        Ok(()) => Ok(()),
        Err(e) => Err(format!("cannot make {}: {e}; choose another --dir", path.display())),
    }
}

/// What is at `path`, `dir` or below it, must be nothing, or a directory of one of `owners`. What an earlier run of another user has
/// made is his: not to be taken from him, nor of use to us. And who may write where root makes directories and gives them away
/// decides which those are: a link that he has left there leads anywhere.
fn is_for_us(dir: &Path, path: &Path, owners: &[u32]) -> Result<(), String> {
    let seen = match std::fs::symlink_metadata(path) {
        Ok(seen) => seen,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    let owner = seen.uid();
    if !owners.contains(&owner) {
        let name = if owner == 0 { "root".to_owned() } else { format!("uid {owner}") };
        return Err(format!(
            "{0} was made by an earlier run of {name}, or by hand: choose another directory (--dir ...), or remove this one with the \
             mail in it (as {name}: rm -r {0})",
            dir.display()
        ));
    }
    if !seen.is_dir() {
        return Err(format!(
            "{} is not a directory, though it may lead to one: name the directory itself, or another (--dir ...)",
            path.display()
        ));
    }
    if seen.mode() & OTHERS_WRITE != 0 {
        return Err(format!(
            "{0}: others may write there: choose another directory (--dir ...), or forbid it (chmod o-w {0})",
            path.display()
        ));
    }
    Ok(())
}

/// The sink is ours and trusts us by design, so there is nothing to prove about it.
fn maildir_backend(dir: &Path) -> Result<(Backend, Receiver), String> {
    let maildir = dir.join("Maildir");
    let socket_dir = dir.join("lmtp");
    let own = process::effective_ids().0;
    let id = FIRST_ID.saturating_add(gatepost_jail::profile::of(gatepost_wire::control::Role::Receiver).number);
    let owners = if own == 0 { vec![own, id] } else { vec![own] };
    for path in [&maildir, &maildir.join("tmp"), &maildir.join("new"), &maildir.join("cur"), &socket_dir] {
        is_for_us(dir, path, &owners)?;
        make(path, 0o755)?;
        if own == 0 {
            std::os::unix::fs::lchown(path, Some(id), Some(id)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    let connect = Connect::Unix(socket_dir.join("lmtp"));
    let backend = Backend { relay_proof: false, ..Backend::new(Profile::Lmtp, connect) };
    Ok((backend, Receiver { maildir, socket_dir }))
}

/// A real MTA decides itself what it relays: `try` takes any domain. Where strangers can come it has to prove that it refuses
/// them. On loopback it need not: whoever can come there can go to the MTA himself, and to most MTAs he is a neighbour.
fn smtp_backend(text: &str, relay_proof: bool) -> Result<Backend, String> {
    let connect = match text.split_once(':') {
        Some(("unix", path)) if path.starts_with('/') => Connect::Unix(PathBuf::from(path)),
        Some(("tcp", address)) => Connect::Tcp(
            address.parse::<SocketAddr>().map_err(|_| format!("--smtp {text}: write tcp:127.0.0.1:25 for example"))?,
        ),
        _ => return Err(format!("--smtp {text}: write unix:/absolute/path or tcp:ADDRESS:PORT")),
    };
    Ok(Backend { relay_proof, ..Backend::new(Profile::Smtp, connect) })
}

/// A certificate for these names and its key, as PEM.
pub(crate) fn self_signed(names: Vec<String>) -> Result<(Vec<u8>, Vec<u8>), String> {
    let made = rcgen::generate_simple_self_signed(names);
    let made = made.map_err(|e| format!("cannot make a self-signed certificate: {e}"))?;
    Ok((made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes()))
}

fn greet(args: &TryArgs, dir: &Path, fitness: &Fitness) {
    let (ip, port) = (args.listen.ip(), args.listen.port());
    println!("gatepost listens on {} and is ready. Send it a first mail:\n", args.listen);
    println!("  swaks --server {ip} --port {port} --tls --from you@example.org --to me@example.net\n");
    println!("or without swaks:\n");
    println!(
        "  printf 'Subject: hello\\r\\n\\r\\nfirst mail\\r\\n' | curl --silent --show-error --insecure --ssl-reqd \\"
    );
    println!(
        "    --url smtp://{}/client.example.org --mail-from you@example.org --mail-rcpt me@example.net -T -\n",
        args.listen
    );
    match &args.smtp {
        None => println!("It lands in {}/Maildir/new", dir.display()),
        Some(backend) if is_private(args) => println!(
            "It goes to {backend}, which takes every client for a program of this machine: try does not tell it who the client is.\n\
             That is why only this machine can reach this address. README has the steps to serve others."
        ),
        Some(backend) => println!("It goes to {backend}"),
    }
    println!("\nConfinement of its processes (see it all: gatepost audit):");
    match fitness.ground {
        Ground::Root => println!(
            "  an own uid each ({}...), empty root, own namespaces, no network for sessions and keyholder, system call\n  filter, landlock, no capability, RLIMIT_DATA 1 MiB a session. No accounts were prepared: numeric ids are used.",
            FIRST_ID
        ),
        Ground::User => println!(
            "  user namespaces, empty root, no network for sessions and keyholder, system call filter, landlock, no\n  capability, RLIMIT_DATA 1 MiB a session. Not to be had without root: an own uid for each process."
        ),
    }
    println!(
        "\nWhat becomes of each session and each recipient is told below as it comes; gatepost help log explains it.\n\
         End it with Ctrl-C."
    );
}
