//! What each role is told at birth: its slice of the plan, its ids, its limits, its directories.

use crate::fitness::{Fitness, apart, load_pair};
use crate::plan::{Connect, Plan};
use gatepost_jail::profile::{self, Profile};
use gatepost_sys::process;
use gatepost_wire::control::Role;
use gatepost_wire::slice::{
    self, Birth, Chain, HandoffSlice, KeyholderSlice, ListenerSlice, NurserySlice, QueueSlice, ReceiverSlice, Slice,
    TlsMode,
};
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Octets that a message may grow by on its way into a content file.
const CONTENT_SLACK: u64 = 64 * 1024;

/// What `role` is told at birth, in sealed memory. Put together in a process of its own: keys are in no other memory than
/// the keyholder's when that has ended (P5).
///
/// # Errors
/// A sentence: a certificate or key that cannot be read any more, or the system's refusal.
pub(crate) fn memory(role: Role, plan: &Plan, fitness: &Fitness) -> Result<OwnedFd, String> {
    let failed = |e: io::Error| format!("cannot hand it what it needs: {e}");
    let mut file = process::memory().map_err(failed)?;
    apart(|| {
        let bytes = octets(&of(role, plan, fitness)?)?;
        // Once more from the start, if it has to be done twice.
        file.rewind().and_then(|()| file.write_all(&bytes)).map(|()| String::new()).map_err(failed)
    })?;
    process::seal(file).map_err(failed)
}

/// RLIMIT_DATA of `role`, octets.
pub(crate) fn data(role: Role, plan: &Plan) -> u64 {
    if role == Role::Nursery { plan.limits.data } else { profile::of(role).data }
}

/// Builds the birth of `role`.
fn of(role: Role, plan: &Plan, fitness: &Fitness) -> Result<Birth, String> {
    let profile = profile::of(role);
    let (uid, gid) = fitness.ids_of(role);
    let sessions = plan.limits.sessions;
    Ok(Birth {
        ground: fitness.ground,
        namespaces: !plan.relax.namespaces,
        landlock: !plan.relax.landlock,
        data: data(role, plan),
        open_files: open_files(role, plan),
        processes: if profile.forks { u64::from(sessions).saturating_add(8) } else { 0 },
        file_size: file_size(profile, plan),
        uid,
        gid,
        groups: if role == Role::Handoff { fitness.backend_groups.clone() } else { Vec::new() },
        anchor: text(&anchor(role, plan)),
        binds: binds(role, plan),
        connect_ports: connect_ports(role, plan),
        slice: slice_of(role, plan, fitness)?,
    })
}

fn file_size(profile: &Profile, plan: &Plan) -> u64 {
    if profile.writes_files {
        plan.limits.message_size.saturating_add(CONTENT_SLACK)
    } else if gatepost_sys::fds::is_file(std::io::stderr()) {
        profile::LOG_FILE_SIZE
    } else {
        0
    }
}

/// RLIMIT_NOFILE of `role`.
pub(crate) fn open_files(role: Role, plan: &Plan) -> u64 {
    profile::of(role).open_files(plan.limits.sessions)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Where handoff sees the directory of its `index`-th backend socket.
fn backend_name(index: usize) -> String {
    format!("backend{index}")
}

/// What the jail is built on; without namespaces, what it is: a directory that stays empty, or the spool for handoff.
fn anchor(role: Role, plan: &Plan) -> PathBuf {
    match (plan.relax.namespaces, role) {
        (false, _) | (true, Role::Handoff) => plan.spool.clone(),
        // Before the first start there is no empty directory, and a rehearsal makes none.
        (true, _) if plan.rehearsal && !crate::spool::empty(plan).is_dir() => plan.spool.clone(),
        (true, _) => crate::spool::empty(plan),
    }
}

fn binds(role: Role, plan: &Plan) -> Vec<(String, String, bool)> {
    match (role, &plan.receiver) {
        (Role::Handoff, _) => {
            let mut binds = Vec::new();
            if !plan.rehearsal {
                binds.push((text(&crate::spool::content(plan)), "content".to_owned(), true));
            }
            for (index, connect) in plan.backend.connect.iter().enumerate() {
                if let Connect::Unix(path) = connect {
                    let directory = path.parent().unwrap_or(Path::new("/"));
                    binds.push((text(directory), backend_name(index), false));
                }
            }
            binds
        }
        (Role::Receiver, Some(receiver)) => vec![
            (text(&receiver.maildir), "mail".to_owned(), true),
            (text(&receiver.socket_dir), "lmtp".to_owned(), true),
        ],
        _ => Vec::new(),
    }
}

fn connect_ports(role: Role, plan: &Plan) -> Vec<u16> {
    if role != Role::Handoff {
        return Vec::new();
    }
    plan.backend
        .connect
        .iter()
        .filter_map(|connect| match connect {
            Connect::Tcp(address) => Some(address.port()),
            Connect::Unix(_) => None,
        })
        .collect()
}

fn slice_of(role: Role, plan: &Plan, fitness: &Fitness) -> Result<Vec<u8>, String> {
    let modes: Vec<TlsMode> = plan.listen.iter().map(|l| l.tls).collect();
    match role {
        Role::Listener => octets(&ListenerSlice {
            listeners: modes,
            hostname: plan.hostname.clone(),
            sessions: plan.limits.sessions,
            sessions_per_address: plan.limits.sessions_per_address,
            offences: plan.limits.offences,
        }),
        Role::Nursery => octets(&nursery(plan, modes)?),
        Role::Keyholder => octets(&keyholder(plan)?),
        Role::Handoff => octets(&handoff(plan)),
        Role::Receiver => octets(&ReceiverSlice {
            maildir: "/mail".to_owned(),
            socket_dir: "/lmtp".to_owned(),
            hostname: plan.hostname.clone(),
        }),
        Role::Queue => octets(&queue(plan, fitness)),
    }
}

fn octets(slice: &impl Slice) -> Result<Vec<u8>, String> {
    slice.to_bytes().map_err(|e| e.to_string())
}

/// A session waits for its message, so there are no more at once than sessions.
fn queue(plan: &Plan, fitness: &Fitness) -> QueueSlice {
    let queue = plan.backend.queue.as_ref();
    QueueSlice {
        program: queue.map(|queue| text(&queue.program)).unwrap_or_default(),
        home: queue.map(|queue| text(&queue.home)).unwrap_or_default(),
        real_uid: fitness.queue_user,
        at_once: plan.limits.sessions,
    }
}

fn nursery(plan: &Plan, listeners: Vec<TlsMode>) -> Result<NurserySlice, String> {
    let chains = if plan.speaks_tls() { chains(plan)? } else { Vec::new() };
    Ok(NurserySlice {
        listeners,
        hostname: plan.hostname.clone(),
        chains,
        tls_required: plan.tls_required,
        tls13_only: plan.tls13_only,
        sessions: plan.limits.sessions,
        data: plan.limits.data,
        message_size: plan.limits.message_size,
        recipients: plan.limits.recipients,
        leniency: plan.leniency,
        command_timeout: plan.limits.command_timeout,
        content_timeout: plan.limits.content_timeout,
        minimum_rate: plan.limits.minimum_rate,
        session_time: plan.limits.session_time,
    })
}

/// The first pair is for all who ask for no other; a later one without names is for those that it certifies.
fn chains(plan: &Plan) -> Result<Vec<Chain>, String> {
    let loaded = plan.pairs.iter().enumerate().map(|(index, source)| {
        let (pair, _) = load_pair(source)?;
        let unnamed = index > 0 && pair.chain.names.is_empty();
        let names = if unnamed { pair.certified_names() } else { pair.chain.names };
        Ok(Chain { names, ..pair.chain })
    });
    loaded.collect()
}

fn keyholder(plan: &Plan) -> Result<KeyholderSlice, String> {
    let keys = plan.pairs.iter().map(|pair| Ok(load_pair(pair)?.1)).collect::<Result<_, String>>()?;
    Ok(KeyholderSlice { keys })
}

fn handoff(plan: &Plan) -> HandoffSlice {
    let connect = plan.backend.connect.iter().enumerate().map(|(index, connect)| match connect {
        Connect::Tcp(address) => slice::Connect::Tcp(*address),
        Connect::Unix(path) if plan.relax.namespaces => {
            slice::Connect::Unix(format!("/{}", text(path.strip_prefix(&plan.spool).unwrap_or(path))))
        }
        Connect::Unix(path) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            slice::Connect::Unix(format!("/{}/{name}", backend_name(index)))
        }
    });
    HandoffSlice {
        hostname: plan.hostname.clone(),
        domains: plan.domains.clone(),
        any_domain: plan.any_domain,
        clients: plan.clients.clone(),
        dialect: plan.backend.dialect,
        identity: plan.backend.identity,
        connect: connect.collect(),
        relay_proof: plan.backend.relay_proof,
        reply_timeout: plan.backend.reply_timeout,
        message_size: plan.limits.message_size,
        recipients: plan.limits.recipients,
        hops: plan.limits.hops,
        spool: if plan.rehearsal { String::new() } else { "/content".to_owned() },
    }
}
