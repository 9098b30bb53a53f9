//! The escape room: gatepost with sessions that turn hostile on command. Jail, roles and wiring are those of the real
//! binary; only what a session does once it is jailed differs.
//!
//! `serve DIRECTORY BACKEND HONEST HOSTILE` runs it, with `cert.pem`, `key.pem` and `spool` in the directory. Who
//! connects to HONEST gets an ordinary session, who connects to HOSTILE an owned one, see [`hostile`]. BACKEND is an
//! address, or `receiver` for the embedded one with `Maildir` and `lmtp` in the directory. `calls` holds the system call
//! lists against the kernel, see [`calls`].
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod calls;
mod handoff;
mod hostile;
mod keyholder;
mod system;

use gatepost_launcher::plan::{Backend, Connect, Limits, Listen, PairSource, Plan, Receiver, Relax, Users};
use gatepost_smtp::server::Leniency;
use gatepost_wire::control::Role;
use gatepost_wire::slice::{Dialect, Identity, TlsMode};
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

/// Largest message, octets: small, so that filling a content file takes a moment only.
const MESSAGE_SIZE: u64 = 4 << 20;
/// Recipients in one transaction.
const RECIPIENTS: u16 = 100;
/// Where the numeric ids of the roles begin.
const FIRST_ID: u32 = 61_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let format = tracing_subscriber::fmt::format().without_time().with_target(false).with_ansi(false).compact();
    let _ = tracing_subscriber::fmt().event_format(format).with_writer(std::io::stderr).try_init();
    match words.as_slice() {
        ["role", name] => role(name),
        ["serve", directory, backend, honest, hostile] => serve(Path::new(directory), backend, honest, hostile),
        ["calls"] => calls::check(),
        _ => fail(&"usage: gatepost-escape-room serve DIRECTORY BACKEND HONEST HOSTILE | calls"),
    }
}

fn fail(why: &dyn Display) -> ExitCode {
    tracing::error!("{why}");
    ExitCode::FAILURE
}

fn role(name: &str) -> ExitCode {
    let ended = gatepost_role::begin(Some(name.as_ref())).and_then(|(role, newborn)| match role {
        Role::Listener => gatepost_listener::run(newborn),
        Role::Nursery => gatepost_session::run_nursery_with(newborn, hostile::life),
        Role::Keyholder => gatepost_keyholder::run(newborn),
        Role::Handoff => gatepost_handoff::run(newborn),
        Role::Receiver => gatepost_receiver::run(newborn),
        _ => panic!("the escape room has no {name}"),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn serve(directory: &Path, backend: &str, honest: &str, hostile: &str) -> ExitCode {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address and port");
    let listen = |text: &str| Listen { address: address(text), v6only: false, tls: TlsMode::StartTls };
    let (backend, receiver) = match backend {
        "receiver" => (lmtp(directory), Some(receiver(directory))),
        tcp => (smtp(address(tcp)), None),
    };
    let plan = Plan {
        hostname: "escape.test".to_owned(),
        spool: directory.join("spool"),
        users: Users::From(FIRST_ID),
        listen: vec![listen(honest), listen(hostile)],
        pairs: vec![PairSource::Files {
            names: Vec::new(),
            certificate: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        }],
        tls_required: false,
        tls13_only: false,
        leniency: Leniency::default(),
        domains: vec!["ok.test".to_owned()],
        any_domain: false,
        clients: Vec::new(),
        backend,
        limits: Limits {
            data: 1 << 20,
            sessions: 100,
            sessions_per_address: 10,
            offences: 0,
            message_size: MESSAGE_SIZE,
            recipients: RECIPIENTS,
            hops: 100,
            command_timeout: 300,
            content_timeout: 300,
            minimum_rate: 100,
            session_time: 3600,
        },
        relax: Relax::default(),
        receiver,
        trial: false,
        rehearsal: false,
    };
    match gatepost_launcher::run(plan, &|| Err("the escape room is not furnished anew".to_owned()), &|_| ()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn smtp(address: SocketAddr) -> Backend {
    Backend {
        dialect: Dialect::Smtp,
        identity: Identity::Xclient,
        connect: vec![Connect::Tcp(address)],
        relay_proof: true,
        queue: None,
        reply_timeout: 60,
    }
}

fn lmtp(directory: &Path) -> Backend {
    Backend {
        dialect: Dialect::Lmtp,
        identity: Identity::None,
        connect: vec![Connect::Unix(directory.join("lmtp/lmtp"))],
        relay_proof: false,
        queue: None,
        reply_timeout: 60,
    }
}

fn receiver(directory: &Path) -> Receiver {
    Receiver { maildir: directory.join("Maildir"), socket_dir: directory.join("lmtp") }
}
