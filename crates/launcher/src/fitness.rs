//! Does the system fit the plan? Looked at before anything is bound, all faults at once; `gatepost check` prints the same.

use crate::plan::{Connect, PairSource, Plan, Queue, QueueUser, Users};
use gatepost_jail::profile::{PROFILES, Profile};
use gatepost_sys::process;
use gatepost_tls::pair::{Pair, Term};
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: String,
    /// What was found, or a sentence that says what is wrong and what to do.
    pub text: String,
    /// Fit to start.
    pub fit: bool,
}

/// Facts about the system that the start is built on.
#[derive(Debug, Clone)]
pub struct Fitness {
    /// Started by root, or not.
    pub ground: Ground,
    /// User and group of each role.
    pub ids: BTreeMap<&'static str, (u32, u32)>,
    /// Real user of the queue role.
    pub queue_user: u32,
    /// Supplementary groups that handoff needs to reach its backend.
    pub backend_groups: Vec<u32>,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

impl Fitness {
    /// Looks at everything.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let ground = if gatepost_sys::process::effective_ids().0 == 0 { Ground::Root } else { Ground::User };
        let mut fitness = Self {
            ground,
            ids: BTreeMap::new(),
            queue_user: gatepost_sys::process::effective_ids().0,
            backend_groups: Vec::new(),
            findings: Vec::new(),
        };
        fitness.look_at_users(plan);
        fitness.look_at_spool(plan);
        for listen in &plan.listen {
            fitness.look_at_address(listen.address);
        }
        if plan.speaks_tls() {
            for pair in &plan.pairs {
                fitness.look_at_pair(pair);
            }
        }
        if let Some(queue) = &plan.backend.queue {
            fitness.look_at_queue(queue);
        }
        if plan.receiver.is_none() {
            for connect in &plan.backend.connect {
                fitness.look_at_backend(connect, plan);
            }
        }
        fitness
    }

    /// The sentences of what is not fit.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.findings.iter().filter(|f| !f.fit).map(|f| format!("{}: {}", f.subject, f.text)).collect()
    }

    /// User and group of `role`.
    #[must_use]
    pub fn ids_of(&self, role: Role) -> (u32, u32) {
        let own = gatepost_sys::process::effective_ids();
        self.ids.get(role.name()).copied().unwrap_or(own)
    }

    fn note(&mut self, subject: impl Into<String>, result: Result<String, String>) {
        let fit = result.is_ok();
        let (Ok(text) | Err(text)) = result;
        self.findings.push(Finding { subject: subject.into(), text, fit });
    }

    fn look_at_users(&mut self, plan: &Plan) {
        if self.ground == Ground::User {
            self.note("users", Ok("not started by root: all roles share this user, each in a user namespace".into()));
            return;
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        for profile in &PROFILES {
            let found = match (profile.role, &plan.backend.queue) {
                (Role::Receiver, _) if plan.receiver.is_none() => continue,
                (Role::Queue, None) => continue,
                (Role::Queue, Some(queue)) => self.queue_ids(plan, queue, &passwd),
                _ => own_ids(profile, &plan.users, &passwd),
            };
            match found {
                Ok((0, _) | (_, 0)) => self.note(
                    format!("user of the {}", profile.role.name()),
                    Err("is root; every role needs an ordinary user of its own".into()),
                ),
                Ok(ids) => {
                    self.ids.insert(profile.role.name(), ids);
                }
                Err(fault) => self.note(format!("user of the {}", profile.role.name()), Err(fault)),
            }
        }
        let mut uids: Vec<u32> = self.ids.values().map(|(uid, _)| *uid).collect();
        uids.sort_unstable();
        let distinct = uids.windows(2).all(|w| w.first() != w.last());
        if distinct || plan.relax.distinct_users {
            self.note("users", Ok(format!("{uids:?}")));
        } else {
            self.note("users", Err(format!("two roles share a uid ({uids:?}); give each role its own")));
        }
    }

    /// The owner's user and the caller's group, as qmail-queue has them behind qmail-smtpd; the caller's user is noted.
    fn queue_ids(&mut self, plan: &Plan, queue: &Queue, passwd: &str) -> Result<(u32, u32), String> {
        let ids = |user: &QueueUser| match user {
            QueueUser::Own => own_ids(gatepost_jail::profile::of(Role::Queue), &plan.users, passwd),
            QueueUser::Id(id) => Ok((*id, *id)),
            QueueUser::Account(name) => account_line(passwd, name)
                .ok_or_else(|| format!("there is no account {name} in /etc/passwd; name another in [backend]")),
        };
        let ((real, gid), (owner, _)) = (ids(&queue.user)?, ids(&queue.owner)?);
        if real == 0 {
            return Ok((0, 0));
        }
        self.queue_user = real;
        Ok((owner, gid))
    }

    /// What can be seen of the program from here; that it works shows with the first message.
    fn look_at_queue(&mut self, queue: &Queue) {
        if self.ground == Ground::User {
            let why = "its users are others than ours: start gatepost as root, or hand over by profile = \"qmqp\"";
            return self.note("queue program", Err(why.into()));
        }
        let home = match std::fs::metadata(&queue.home) {
            Ok(seen) if seen.is_dir() => Ok("is there".to_owned()),
            Ok(_) => Err("is not a directory".to_owned()),
            Err(e) => Err(format!("cannot look at it: {e}; name the qmail home in [backend]: home = \"...\"")),
        };
        self.note(format!("home {}", queue.home.display()), home);
        let program = match std::fs::metadata(&queue.program) {
            Ok(seen) if !seen.is_file() => Err("is not a file".to_owned()),
            Ok(seen) if seen.mode() & 0o111 == 0 => Err("cannot be executed by anybody".to_owned()),
            Ok(_) => {
                let (owner, gid) = self.ids_of(Role::Queue);
                Ok(format!("run with real uid {}, effective uid {owner}, gid {gid}; outside any jail", self.queue_user))
            }
            Err(e) => Err(format!("cannot look at it: {e}")),
        };
        self.note(format!("queue program {}", queue.program.display()), program);
    }

    /// Whether it can be bound is found out by binding it, or by inheriting it; here only what a running gatepost would
    /// not explain.
    fn look_at_address(&mut self, address: SocketAddr) {
        let seen = match std::net::TcpListener::bind(address) {
            Ok(_) => "free".to_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
                "in use now, by a running gatepost or another".into()
            }
            Err(e) => format!("cannot be bound by this user ({e}), so it must be inherited"),
        };
        self.note(format!("address {address}"), Ok(seen));
    }

    fn look_at_spool(&mut self, plan: &Plan) {
        let subject = format!("spool {}", plan.spool.display());
        match trusted_directory(&plan.spool) {
            Ok(()) => self.note(subject, Ok("writable by its owner only".into())),
            Err(why) if plan.trial => {
                self.note(subject, Ok(format!("good enough to try; serve would refuse it: {why}")))
            }
            Err(why) => self.note(subject, Err(why)),
        }
    }

    fn look_at_pair(&mut self, source: &PairSource) {
        let PairSource::Files { certificate, key, .. } = source else {
            self.note("certificate", Ok("self-signed, made for this run".into()));
            return;
        };
        let secret = secret_file(key);
        self.note(format!("key {}", key.display()), secret.map(|()| "not readable by others".into()));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        // An expired certificate still encrypts, and most senders do not look: said, but no reason not to start.
        let fits = apart(|| {
            let (pair, _) = load_pair(source)?;
            Ok(match pair.validity.at(now) {
                Term::Current => "belongs to its key",
                Term::NotYet => "belongs to its key, but is not valid yet: senders that verify will not use it",
                Term::Expired => "belongs to its key, but has expired: renew it, senders that verify will not use it",
            }
            .into())
        });
        self.note(format!("certificate {}", certificate.display()), fits);
    }

    fn look_at_backend(&mut self, connect: &Connect, plan: &Plan) {
        let Connect::Unix(path) = connect else { return };
        let found = if plan.relax.namespaces && !path.starts_with(&plan.spool) {
            Err(format!(
                "without namespaces handoff sees the spool only: let the MTA listen below {}, or use tcp:",
                plan.spool.display()
            ))
        } else {
            self.reach(path)
        };
        self.note(format!("backend unix:{}", path.display()), found);
    }

    /// Can handoff's user reach the socket? If it takes a group to do so, that group is what it keeps, and no more.
    fn reach(&mut self, path: &Path) -> Result<String, String> {
        let directory = path.parent().ok_or("is not an absolute path")?;
        let seen = std::fs::metadata(directory).map_err(|e| {
            format!("cannot look at its directory {}: {e}; is the MTA installed and started?", directory.display())
        })?;
        let mut groups = Vec::new();
        if seen.mode() & 0o001 == 0 && seen.mode() & 0o010 != 0 && seen.gid() != 0 {
            groups.push(seen.gid());
        }
        match std::fs::metadata(path) {
            Ok(socket) if !socket.file_type().is_socket() => return Err("is there but is not a socket".into()),
            Ok(socket) if socket.mode() & 0o002 == 0 && socket.mode() & 0o020 != 0 && socket.gid() != 0 => {
                groups.push(socket.gid());
            }
            _ => {}
        }
        groups.dedup();
        let missing =
            if path.exists() { "" } else { "; the socket is not there now: is the MTA's service set up and started?" };
        let text = match groups.as_slice() {
            [] => format!("reachable without any group{missing}"),
            groups => format!("handoff keeps group {groups:?} to reach it{missing}"),
        };
        self.backend_groups.extend(groups);
        Ok(text)
    }
}

/// Uid and gid of an account. /etc/passwd is read as it is: a static program has no name service to ask.
fn account(passwd: &str, name: &str) -> Result<(u32, u32), String> {
    let missing = || {
        format!(
            "there is no account {name} in /etc/passwd; run systemd-sysusers with systemd/sysusers.d/gatepost.conf, or set users = 61000 to use numeric ids"
        )
    };
    account_line(passwd, name).ok_or_else(missing)
}

fn account_line(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|l| l.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2).map(str::parse);
    match (ids.next(), ids.next()) {
        (Some(Ok(uid)), Some(Ok(gid))) => Some((uid, gid)),
        _ => None,
    }
}

/// User and group of a role that has an own account, or ids of its own.
fn own_ids(profile: &Profile, users: &Users, passwd: &str) -> Result<(u32, u32), String> {
    match users {
        Users::From(base) => Ok((base.saturating_add(profile.number), base.saturating_add(profile.number))),
        Users::Accounts(prefix) => account(passwd, &format!("{prefix}-{}", profile.account)),
    }
}

/// Root, or whoever runs us, owns the directory and all above it, and nobody else may write there: else somebody could
/// put another directory in its place.
fn trusted_directory(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err("must be an absolute path".into());
    }
    let us = gatepost_sys::process::effective_ids().0;
    for part in path.ancestors() {
        let seen = std::fs::symlink_metadata(part)
            .map_err(|e| format!("{}: {e}; make it with: install -d -m 0755 {}", part.display(), part.display()))?;
        if part == path && !seen.is_dir() {
            return Err("is not a directory".into());
        }
        let sticky = seen.mode() & 0o1000 != 0 && part != path;
        if seen.mode() & 0o022 != 0 && !sticky && !seen.file_type().is_symlink() {
            return Err(format!("{} is writable by others; run: chmod go-w {}", part.display(), part.display()));
        }
        if ![0, us].contains(&seen.uid()) {
            return Err(format!(
                "{} belongs to uid {}; run: chown root {}",
                part.display(),
                seen.uid(),
                part.display()
            ));
        }
    }
    Ok(())
}

fn secret_file(path: &Path) -> Result<(), String> {
    let seen: Metadata = std::fs::metadata(path).map_err(|e| format!("cannot look at it: {e}"))?;
    if seen.mode() & 0o007 != 0 {
        return Err(format!("may be read or changed by everybody; run: chmod 0600 {}", path.display()));
    }
    if seen.mode() & 0o020 != 0 {
        return Err(format!("may be changed by its group; run: chmod 0600 {}", path.display()));
    }
    Ok(())
}

/// A certificate chain, and the PEM text of its key.
pub(crate) type LoadedPair = (Pair, Vec<u8>);

/// Reads a pair and makes sure that its halves belong together. To be called [`apart`]: readers of PEM leave pieces of a
/// key behind in memory.
pub(crate) fn load_pair(source: &PairSource) -> Result<LoadedPair, String> {
    let (names, certificate, key, what) = match source {
        PairSource::Memory { certificate, key } => (Vec::new(), certificate.clone(), key.clone(), String::new()),
        PairSource::Files { names, certificate, key } => {
            let read = |path: &Path| std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
            let what = format!(" (certificate {}, key {})", certificate.display(), key.display());
            (names.clone(), read(certificate)?, read(key)?, what)
        }
    };
    let pair = Pair::load(&certificate, &key, &names).map_err(|e| format!("{e}{what}"))?;
    Ok((pair, key))
}

/// Does what needs keys in a process of its own, so that this one never has any in its memory (P5).
///
/// # Errors
/// What `work` said, or the system's refusal.
pub(crate) fn apart(mut work: impl FnMut() -> Result<String, String>) -> Result<String, String> {
    let mut attempt = || {
        process::apart(|| {
            let (mark, text) = match work() {
                Ok(text) => (b'+', text),
                Err(text) => (b'-', text),
            };
            [&[mark], text.as_bytes()].concat()
        })
    };
    // Whoever kills a process of ours at random may hit this one; it is worth another.
    let said = attempt().or_else(|e| if e.kind() == io::ErrorKind::Interrupted { attempt() } else { Err(e) });
    let said = said.map_err(|e| format!("cannot read certificates and keys in a process of their own: {e}"))?;
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    match said.split_first() {
        Some((b'+', rest)) => Ok(text(rest)),
        Some((_, rest)) => Err(text(rest)),
        None => Err("certificates and keys could not be read".into()),
    }
}
