//! The escape room: gatepost with sessions that turn hostile on command. Jail, roles and wiring are those of the real
//! binary; only what a session does once it is jailed differs.
//!
//! `serve DIRECTORY BACKEND HONEST HOSTILE SUBMISSION` runs it, with `cert.pem`, `key.pem`, `passwd` and `spool` in the directory.
//! Who connects to HONEST gets an ordinary session, who connects to HOSTILE an owned one, see [`hostile`], and so does who connects
//! to SUBMISSION, where mail is taken from whoever has logged in, by a `checkpassword` in the directory in place of `passwd`; a role for which there is an order is owned too, see [`owned`].
//! BACKEND is an address, or `receiver` for the embedded one with `Maildir` and `lmtp` in the directory. `calls` holds the system
//! call lists against the kernel, see [`calls`].
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attempt;
mod auth;
mod calls;
mod checking;
mod handoff;
mod hostile;
mod keyholder;
mod owned;
mod system;

use gatepost_config::{
    Admission, AuthSource, Backend, Checkpassword, Config, Connect, EarlyTalk, Identity, Jail, Limits, Listen, Names,
    Pair, Profile, ProgramUser, Relay, Submission, Tls, Users,
};
use gatepost_jail::Unjailed;
use gatepost_launcher::plan::{Plan, Receiver};
use gatepost_role::RoleError;
use gatepost_smtp::envelope::Service;
use gatepost_smtp::server::Leniency;
use gatepost_wire::control::Role;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Largest message, octets: small, so that filling a content file takes a moment only.
const MESSAGE_SIZE: u64 = 4 << 20;
/// Recipients in one transaction.
const RECIPIENTS: u16 = 100;
/// Where the numeric ids of the roles begin.
const FIRST_ID: u32 = 61_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["role", name] if *name != Role::Observer.name() => gatepost_log::begin_role(),
        ["role", _] => gatepost_log::begin(Role::Observer.name()),
        _ => gatepost_log::begin(gatepost_log::LAUNCHER),
    }
    match words.as_slice() {
        ["role", name] => role(name),
        ["serve", directory, backend, honest, hostile, submission] => {
            serve(Path::new(directory), backend, [honest, hostile, submission])
        }
        ["calls"] => calls::check(),
        _ => fail(&"usage: gatepost-escape-room serve DIRECTORY BACKEND HONEST HOSTILE SUBMISSION | calls"),
    }
}

fn fail(why: &dyn Display) -> ExitCode {
    tracing::error!("{why}");
    ExitCode::FAILURE
}

fn role(name: &str) -> ExitCode {
    let ended = gatepost_role::begin(Some(name.as_ref())).and_then(|(role, unjailed)| match owned::order(role) {
        Some(order) => owned::life(role, unjailed, &order),
        None => honest(role, unjailed),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn honest(role: Role, unjailed: Unjailed) -> Result<(), RoleError> {
    match role {
        Role::Listener => gatepost_listener::run(unjailed),
        Role::Nursery => gatepost_session::run_nursery_with(unjailed, hostile::life),
        Role::Keyholder => gatepost_keyholder::run(unjailed),
        Role::Handoff => gatepost_handoff::run(unjailed),
        Role::Dialer => gatepost_dialer::run(unjailed),
        Role::Auth => gatepost_auth::run(unjailed),
        Role::Checker => gatepost_checker::run(unjailed),
        Role::Resolver => gatepost_resolver::run(unjailed),
        Role::Receiver => gatepost_receiver::run(unjailed),
        Role::Observer => gatepost_observer::run(unjailed),
        _ => panic!("the escape room has no {}", role.name()),
    }
}

/// Where clients' names are asked for.
const NAME_SERVERS: [&str; 2] = ["127.0.0.53:53", "[::1]:53"];

fn serve(directory: &Path, backend: &str, [honest, hostile, submission]: [&str; 3]) -> ExitCode {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address and port");
    let listen = |text: &str| Listen { address: address(text), ..Listen::default() };
    let (backend, receiver) = match backend {
        "receiver" => (lmtp(directory), Some(receiver(directory))),
        tcp => (smtp(address(tcp)), None),
    };
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let config = Config {
        hostname: "escape.test".to_owned(),
        spool: directory.join("spool"),
        users: Users::From(FIRST_ID),
        listen: vec![listen(honest), listen(hostile), Listen { service: Service::Submission, ..listen(submission) }],
        tls: Tls { pairs: vec![Pair { names: Vec::new(), certificate, key }], ..Tls::default() },
        relay: Relay { domains: vec!["ok.test".to_owned()], ..Relay::default() },
        backend,
        routes: Vec::new(),
        tables: gatepost_config::Tables::default(),
        smtp: Leniency::default(),
        networks: Vec::new(),
        names: Names { servers: NAME_SERVERS.map(address).to_vec(), ..Names::default() },
        limits: Limits {
            sessions: 100,
            sessions_per_address: 10,
            offences: 0,
            message_size: MESSAGE_SIZE,
            recipients: RECIPIENTS,
            ..Limits::default()
        },
        log: gatepost_config::Log::default(),
        submission: Some(Submission {
            auth: Some(logins(directory)),
            socket: None,
            trusted_users: Vec::new(),
            check_from: false,
            hide_client: false,
        }),
        // Orders are given before the greeting.
        admission: Admission { early_talk: EarlyTalk::Off, ..Admission::default() },
        rates: gatepost_config::Rates::default(),
        metrics: Vec::new(),
        jail: Jail::default(),
    };
    let plan = Plan { receiver, ..Plan::from(config) };
    match gatepost_launcher::run(plan, None, &|| Err("the escape room is not furnished anew".to_owned()), &|_| ()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

/// The program, where there is one.
fn logins(directory: &Path) -> AuthSource {
    let program = directory.join("checkpassword");
    if program.exists() {
        let command = vec![program.display().to_string()];
        return AuthSource::Checkpassword(Checkpassword { command, user: ProgramUser::Own });
    }
    AuthSource::Passwd(directory.join("passwd"))
}

fn smtp(address: SocketAddr) -> Backend {
    let reply_timeout = Duration::from_secs(60);
    let backend = Backend::new(Profile::Smtp, Connect::Tcp(address));
    Backend { identity: Identity::Xclient, reply_timeout, ..backend }
}

fn lmtp(directory: &Path) -> Backend {
    let connect = Connect::Unix(directory.join("lmtp/lmtp"));
    Backend { relay_proof: false, ..Backend::new(Profile::Lmtp, connect) }
}

fn receiver(directory: &Path) -> Receiver {
    Receiver { maildir: directory.join("Maildir"), socket_dir: directory.join("lmtp") }
}
