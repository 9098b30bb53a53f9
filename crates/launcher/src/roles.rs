//! The table of roles: in which stage each is started, when it is needed, what of the configuration it is told, and what of
//! the system it reaches. Start order, restart and drain order follow from it; who is linked with whom is in
//! [`gatepost_role::LINKS`], what each may do in [`gatepost_jail::profile`].

use crate::findings::Fitness;
use crate::plan::Plan;
use crate::{names, slices, spool};
use gatepost_wire::control::Role;
use gatepost_wire::slice::{Access, Connect, Directory};
use std::path::Path;

/// Roles of one stage start together, when all of the stage before are ready, and are drained together, when all of the
/// stage after have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// What all others tell what they do.
    Log,
    /// Backends of our own, and the way to all: there before handoff looks for one.
    Backends,
    /// What sessions ask.
    Services,
    /// Those that take clients.
    Sessions,
}

impl Stage {
    /// All of them, in the order in which roles start.
    pub(crate) const ALL: [Self; 4] = [Self::Log, Self::Backends, Self::Services, Self::Sessions];
}

/// What a role sees of the file tree and the network. Nothing, unless the table says so.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Directories in its root.
    pub(crate) directories: Vec<Directory>,
    /// TCP ports that it may connect to.
    pub(crate) ports: Vec<u16>,
    /// Supplementary groups that it keeps.
    pub(crate) groups: Vec<u32>,
}

/// A row of the table.
pub(crate) struct Row {
    pub(crate) role: Role,
    pub(crate) stage: Stage,
    /// Whether this plan has work for it.
    pub(crate) needed: fn(&Plan) -> bool,
    /// Its slice of the configuration, encoded. A sentence when a certificate or key cannot be read.
    pub(crate) slice: fn(&Plan, &Fitness) -> Result<Vec<u8>, String>,
    pub(crate) reach: fn(&Plan, &Fitness) -> Reach,
}

fn always(_: &Plan) -> bool {
    true
}

fn nothing(_: &Plan, _: &Fitness) -> Reach {
    Reach::default()
}

/// The row of `role`.
#[rustfmt::skip] // One line a role.
pub(crate) const fn of(role: Role) -> &'static Row {
    match role {
        Role::Observer => const { &Row { role: Role::Observer, stage: Stage::Log, needed: always, slice: slices::observer, reach: nothing } },
        Role::Receiver => const { &Row { role: Role::Receiver, stage: Stage::Backends, needed: |plan| plan.receiver.is_some(), slice: slices::receiver, reach: receiver } },
        Role::Queue => const { &Row { role: Role::Queue, stage: Stage::Backends, needed: |plan| plan.config.backend.queue.is_some(), slice: slices::queue, reach: nothing } },
        Role::Checker => const { &Row { role: Role::Checker, stage: Stage::Backends, needed: |plan| plan.config.login_program().is_some(), slice: slices::checker, reach: nothing } },
        Role::Dialer => const { &Row { role: Role::Dialer, stage: Stage::Backends, needed: |plan| plan.config.places().next().is_some() || plan.config.logins_at().is_some(), slice: slices::dialer, reach: dialer } },
        Role::Resolver => const { &Row { role: Role::Resolver, stage: Stage::Backends, needed: always, slice: slices::resolver, reach: resolver } },
        Role::Keyholder => const { &Row { role: Role::Keyholder, stage: Stage::Services, needed: Plan::needs_keyholder, slice: slices::keyholder, reach: nothing } },
        Role::Auth => const { &Row { role: Role::Auth, stage: Stage::Services, needed: |plan| plan.config.logins().is_some(), slice: slices::auth, reach: nothing } },
        Role::Handoff => const { &Row { role: Role::Handoff, stage: Stage::Services, needed: always, slice: slices::handoff, reach: handoff } },
        Role::Nursery => const { &Row { role: Role::Nursery, stage: Stage::Sessions, needed: always, slice: slices::nursery, reach: nothing } },
        Role::Listener => const { &Row { role: Role::Listener, stage: Stage::Sessions, needed: always, slice: slices::listener, reach: nothing } },
    }
}

/// The rows of the roles that this plan needs.
pub(crate) fn needed(plan: &Plan) -> impl Iterator<Item = &'static Row> {
    Role::ALL.into_iter().map(of).filter(|row| (row.needed)(plan))
}

fn directory(outside: &Path, inside: impl Into<String>, access: Access) -> Directory {
    Directory { outside: outside.to_owned(), inside: inside.into(), access }
}

fn receiver(plan: &Plan, _: &Fitness) -> Reach {
    let seen = |r: &crate::plan::Receiver| {
        vec![
            directory(&r.maildir, "mail", Access::FilesAndSockets),
            directory(&r.socket_dir, "lmtp", Access::FilesAndSockets),
        ]
    };
    Reach { directories: plan.receiver.as_ref().map(seen).unwrap_or_default(), ..Reach::default() }
}

fn handoff(plan: &Plan, _: &Fitness) -> Reach {
    let content = || directory(&spool::content(plan), "content", Access::Files);
    Reach { directories: if plan.rehearsal { Vec::new() } else { vec![content()] }, ..Reach::default() }
}

fn dialer(plan: &Plan, fitness: &Fitness) -> Reach {
    let mut reach = Reach { groups: fitness.backend_groups.clone(), ..Reach::default() };
    let backends = plan.config.places().enumerate().map(|(index, connect)| (slices::backend(index), connect));
    for (inside, connect) in backends.chain(plan.config.logins_at().map(|connect| (slices::LOGINS.to_owned(), connect)))
    {
        match connect {
            Connect::Tcp(address) => reach.ports.push(address.port()),
            Connect::Unix(path) => {
                let outside = path.parent().unwrap_or(Path::new("/"));
                reach.directories.push(directory(outside, inside, Access::Sockets));
            }
        }
    }
    reach
}

fn resolver(plan: &Plan, _: &Fitness) -> Reach {
    Reach { ports: names::ports(plan), ..Reach::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Receiver;
    use gatepost_config::Config;
    use gatepost_jail::audit::{Expectations, RootRule};

    /// Two tables, neither made from the other: what a role is given, and what the audit lets its root hold.
    #[test]
    fn issue_8_the_audit_expects_what_a_role_is_given() {
        let text = "hostname = \"mx.ok.test\"\n[relay]\ndomains = [\"ok.test\"]\n[[listen]]\naddress = \"[::]:25\"\ntls = \"off\"\n\
                    [backend]\nprofile = \"smtp\"\nconnect = [\"unix:/a/s\", \"unix:/b/s\", \"tcp:127.0.0.1:26\", \"unix:/c/s\"]\n";
        let config = Config::parse(text, Path::new("test.toml")).unwrap();
        let receiver = Some(Receiver { maildir: "/m".into(), socket_dir: "/l".into() });
        let plan = Plan { receiver, ..Plan::from(config) };
        let fitness = Fitness::unseen();
        for role in Role::ALL {
            let Reach { directories, ports, .. } = (of(role).reach)(&plan, &fitness);
            let given: Vec<&str> = directories.iter().map(|directory| directory.inside.as_str()).collect();
            let root = Expectations::default().of(role.into()).root;
            assert!(given.iter().all(|name| root.permits(name)), "{role:?}: {given:?}, but {root:?}");
            assert_eq!(given.is_empty(), !matches!(root, RootRule::Only(_)), "{role:?}");
            match role {
                Role::Handoff => assert_eq!((given, ports), (vec!["content"], vec![])),
                Role::Dialer => assert_eq!((given, ports), (vec!["backend0", "backend1", "backend3"], vec![26])),
                Role::Resolver => assert_eq!((given, ports), (vec![], vec![53])),
                _ => assert!(ports.is_empty(), "{ports:?}"),
            }
        }
    }
}
