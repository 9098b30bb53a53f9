//! Does the system fit the plan? Looked at before anything is bound, all faults at once; `gatepost check` prints the same.
//! Nothing here changes anything.

mod address;
mod backend;
mod clients;
mod pair;
mod passwd;
mod paths;
mod spool;
mod submission;

use crate::findings::{Fitness, Level};
use crate::plan::Plan;
use crate::roles;
use gatepost_config::{ProgramUser, Queue, Relax, Users};
use gatepost_jail::profile::{self, Profile};
use gatepost_sys::confine::{self, Capability};
use gatepost_sys::{as_owner, huge};
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::os::unix::fs::MetadataExt;

impl Fitness {
    /// Looks at everything that a start is built on. Changes nothing.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut fitness = Self::unseen();
        fitness.look_at_name(plan);
        fitness.look_at_users(plan);
        fitness.look_at_spool(plan);
        fitness.look_at_pairs(plan);
        fitness.look_at_logins(plan);
        if let Some(queue) = &plan.config.backend.queue {
            fitness.look_at_queue(queue);
        }
        if plan.receiver.is_none() {
            for connect in plan.config.places() {
                fitness.look_at_backend(connect, plan);
            }
        }
        fitness.look_at_backend_tls(plan);
        fitness.look_at_syslog(plan);
        fitness.look_at_relay_clients(plan);
        fitness.look_at_huge_pages();
        fitness.look_at_root_directory(plan);
        fitness
    }

    /// Looks at what a single connection is built on, which is less: the time is the client's, and there is no start.
    pub(crate) fn of_one(plan: &Plan) -> Self {
        let mut fitness = Self::unseen();
        fitness.look_at_users(plan);
        fitness.look_at_spool_itself(plan);
        fitness.look_at_keys(plan);
        for connect in plan.config.places() {
            fitness.look_at_backend(connect, plan);
        }
        // Without root its set-id bit makes it what it has to be.
        if let (Some(queue), Ground::Root) = (&plan.config.backend.queue, fitness.ground) {
            fitness.look_at_queue(queue);
        }
        fitness
    }

    /// Looks at what a start finds out by doing it as well: whether each address can be listened on. Changes nothing.
    #[must_use]
    pub fn before_start(plan: &Plan) -> Self {
        let mut fitness = Self::of(plan);
        for listen in &plan.config.listen {
            fitness.look_at_address(listen);
        }
        fitness.look_at_submit_socket(plan);
        fitness.look_at_submission_backend(plan);
        fitness.look_at_tables(plan);
        fitness.look_at_domains(plan);
        fitness.look_at_networks(plan);
        fitness.look_at_rates(plan);
        fitness.look_at_paths(plan);
        fitness
    }

    /// How much is in the files of tables.
    fn look_at_tables(&mut self, plan: &Plan) {
        for table in plan.config.tables.each() {
            if let Some(file) = &table.file {
                self.add(
                    format!("table {}", file.path.display()),
                    Level::Good,
                    format!("{} entries", file.content.len()),
                );
            }
            if let Some(file) = &table.cdb {
                let text = format!("a constant database of {} octets", file.content.len());
                self.add(format!("table {}", file.path.display()), Level::Good, text);
            }
        }
    }

    /// The database of domains.
    fn look_at_domains(&mut self, plan: &Plan) {
        if let Some(file) = &plan.config.relay.domains_cdb {
            let text = format!("a constant database of {} octets", file.content.len());
            self.add(format!("domains {}", file.path.display()), Level::Good, text);
        }
    }

    /// `localhost` is for a gatepost that nobody else reaches.
    fn look_at_name(&mut self, plan: &Plan) {
        let reached = plan.config.listen.iter().any(|listen| !listen.address.ip().is_loopback());
        if plan.config.hostname == "localhost" && reached && plan.trial.is_none() {
            let text = "is every machine's name: write the one that this machine's address has in DNS, such as \"mx.example.org\"";
            self.add("hostname localhost", Level::Look, text);
        }
    }

    /// Whether somebody takes the lines.
    fn look_at_syslog(&mut self, plan: &Plan) {
        if !plan.config.log.syslog {
            return;
        }
        let (level, text) = match gatepost_log::syslog() {
            Ok(_) => (Level::Good, "somebody listens there".to_owned()),
            Err(e) => (
                Level::Look,
                format!(
                    "nobody listens there: {e}; lines wait, and are lost where there is no room, until syslogd runs"
                ),
            ),
        };
        self.add(format!("log {}", gatepost_log::SYSLOG), level, text);
    }

    /// Without them it serves as well, only each session costs more.
    fn look_at_huge_pages(&mut self) {
        if !huge::given().is_ok_and(|given| given) {
            let text = "the system gives none, so each session costs about a tenth more processor time; \
                 \"madvise\" in /sys/kernel/mm/transparent_hugepage/enabled gives them to who asks";
            self.add("huge pages", Level::Note, text);
        }
    }

    /// In a mount namespace roles need no chroot(2).
    fn look_at_root_directory(&mut self, plan: &Plan) {
        if self.ground == Ground::Root && plan.relaxes(Relax::Namespaces) && !confine::holds(Capability::SysChroot) {
            let text = "without namespaces a role leaves the file tree by chroot(2), and CAP_SYS_CHROOT is missing: grant it; a unit's \
                        drop-in does by CapabilityBoundingSet=CAP_SYS_CHROOT, a line that adds to those of the unit";
            self.note("jail.relax = [\"namespaces\"]", Err(text.into()));
        }
    }

    fn look_at_users(&mut self, plan: &Plan) {
        if self.ground == Ground::User {
            self.note("users", Ok("not started by root: all roles share this user, each in a user namespace".into()));
            return;
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        for role in roles::needed(plan).map(|row| row.role) {
            let found = match (role, &plan.config.backend.queue, plan.config.login_program()) {
                (Role::Queue, Some(queue), _) => self.queue_ids(plan, queue, &passwd),
                (Role::Checker, _, Some(program)) => user_ids(role, &program.user, "[submission]", plan, &passwd),
                _ => own_ids(profile::of(role), &plan.config.users, &passwd),
            };
            let root = Err("is root; every role needs an ordinary user of its own".to_owned());
            match found.and_then(|ids| if ids.0 == 0 || ids.1 == 0 { root } else { Ok(ids) }) {
                Ok(ids) => drop(self.ids.insert(role, ids)),
                Err(fault) => self.note(format!("user of the {}", role.name()), Err(fault)),
            }
        }
        let mut uids: Vec<u32> = self.ids.values().map(|(uid, _)| *uid).collect();
        uids.sort_unstable();
        let distinct = uids.windows(2).all(|w| w.first() != w.last());
        if distinct || plan.relaxes(Relax::DistinctUsers) {
            self.note("users", Ok(format!("{uids:?}")));
        } else {
            self.note("users", Err(format!("two roles share a uid ({uids:?}); give each role its own")));
        }
    }

    /// The owner's user and the caller's group, as qmail-queue has them behind qmail-smtpd; the caller's user is noted.
    fn queue_ids(&mut self, plan: &Plan, queue: &Queue, passwd: &str) -> Result<(u32, u32), String> {
        let ids = |user| user_ids(Role::Queue, user, "[backend]", plan, passwd);
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
        let home = match as_owner::metadata(&queue.home) {
            Ok(seen) if seen.is_dir() => Ok("is there".to_owned()),
            Ok(_) => Err("is not a directory".to_owned()),
            Err(e) => Err(format!("cannot look at it: {e}; name the qmail home in [backend]: home = \"...\"")),
        };
        self.note(format!("home {}", queue.home.display()), home);
        let program = match as_owner::metadata(&queue.program) {
            Ok(seen) if !seen.is_file() => Err("is not a file".to_owned()),
            Ok(seen) if seen.mode() & 0o111 == 0 => Err("cannot be executed by anybody".to_owned()),
            Ok(_) => match self.ids_of(Role::Queue) {
                Some((owner, gid)) => {
                    let real = self.queue_user;
                    Ok(format!("run with real uid {real}, effective uid {owner}, gid {gid}; outside any jail"))
                }
                // That it has no user is found already.
                None => return,
            },
            Err(e) => Err(format!("cannot look at it: {e}")),
        };
        self.note(format!("queue program {}", queue.program.display()), program);
    }
}

/// User and group of a program's role, as the configuration has them in that section.
fn user_ids(role: Role, user: &ProgramUser, section: &str, plan: &Plan, passwd: &str) -> Result<(u32, u32), String> {
    match user {
        ProgramUser::Own => own_ids(profile::of(role), &plan.config.users, passwd),
        ProgramUser::Id(id) => Ok((*id, *id)),
        ProgramUser::Account(name) => account_line(passwd, name)
            .ok_or_else(|| format!("there is no account {name} in /etc/passwd; name another in {section}")),
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
        Users::Named(prefix) => account(passwd, &format!("{prefix}-{}", profile.account)),
    }
}
