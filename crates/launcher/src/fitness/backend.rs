//! The way to the backend: can the dialer reach its socket, and can the clients that may relay do so?

use crate::apart::apart;
use crate::findings::{Fitness, Level};
use crate::plan::Plan;
use gatepost_config::{Connect, Listen, Relax};
use gatepost_sys::{as_owner, confine, net};
use gatepost_wire::control::Role;
use gatepost_wire::slice::{Dialect, Ground, Identity};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

impl Fitness {
    pub(super) fn look_at_backend(&mut self, connect: &Connect, plan: &Plan) {
        self.look_at_place("backend", connect, plan);
    }

    /// Where the dialer connects to.
    pub(super) fn look_at_place(&mut self, what: &str, connect: &Connect, plan: &Plan) {
        let path = match connect {
            Connect::Unix(path) => path,
            Connect::Tcp(to) => return self.look_at_loop(*to, plan),
        };
        let found = if plan.relaxes(Relax::Namespaces) && !path.starts_with(&plan.config.spool) {
            Err(format!(
                "without namespaces the dialer sees the spool only: let it listen below {}, or use tcp:",
                plan.config.spool.display()
            ))
        } else {
            self.reach(path)
        };
        self.note(format!("{what} unix:{}", path.display()), found);
    }

    /// The configuration tells its own addresses by their text; which ones a wide listener hears, this machine knows.
    fn look_at_loop(&mut self, to: SocketAddr, plan: &Plan) {
        let wide = |listen: &&Listen| listen.address.ip().is_unspecified() && listen.address.port() == to.port();
        let heard = |listen: &&Listen| to.is_ipv4() == listen.address.is_ipv4() || (to.is_ipv4() && !listen.v6only);
        // Any port of it: only an address of this machine can be bound.
        let here = || net::can_bind(SocketAddr::new(to.ip(), 0), false).is_ok();
        if let Some(own) = plan.config.listen.iter().filter(wide).find(heard).filter(|_| here()) {
            let text = format!("gatepost itself listens there ({}): mail would loop", own.address);
            self.add(format!("backend tcp:{to}"), Level::Fault, text);
        }
    }

    /// Those that may relay, by our word alone: the backend must know them to let them.
    pub(super) fn look_at_relay_clients(&mut self, plan: &Plan) {
        let backend = &plan.config.backend;
        let unknown = backend.dialect == Dialect::Smtp && backend.identity == Identity::None;
        if !plan.config.relay.clients.is_empty() && unknown && backend.relay_proof {
            self.add(
                "relay.clients",
                Level::Look,
                "the backend is not told who the client is (identity = \"none\"), so it refuses their mail to other domains \
                 as it refuses a stranger's: hand over by identity = \"xclient\" or \"proxy-v2\", or write clients = []",
            );
        }
    }

    /// Those that have logged in: only XCLIENT says who they are.
    pub(super) fn look_at_submission_backend(&mut self, plan: &Plan) {
        let backend = &plan.config.backend;
        if plan.config.submission.is_none() || backend.dialect != Dialect::Smtp {
            return;
        }
        let by = match backend.identity {
            Identity::Xclient => return,
            Identity::None => "our address",
            Identity::ProxyV2 => "the client's address",
        };
        let told = format!("the backend is not told who has logged in, and decides by {by} alone");
        match backend.relay_proof {
            true => {
                let text = format!(
                    "{told}: it may refuse their mail to other domains as it refuses a stranger's; hand over by identity = \"xclient\""
                );
                self.add("backend for submission", Level::Look, text);
            }
            false => self.add("backend for submission", Level::Note, told),
        }
    }

    /// Can the dialer's user reach the socket? If it takes a group to do so, that group is what it keeps, and no more.
    fn reach(&mut self, path: &Path) -> Result<String, String> {
        let directory = path.parent().ok_or("is not an absolute path")?;
        let seen = as_owner::metadata(directory).map_err(|e| {
            format!("cannot look at its directory {}: {e}; is its program installed and started?", directory.display())
        })?;
        let mut groups = Vec::new();
        if seen.mode() & 0o001 == 0 && seen.mode() & 0o010 != 0 && seen.gid() != 0 {
            groups.push(seen.gid());
        }
        match as_owner::metadata(path) {
            Ok(socket) if !socket.file_type().is_socket() => return Err("is there but is not a socket".into()),
            Ok(socket) if socket.mode() & 0o002 == 0 && socket.mode() & 0o020 != 0 && socket.gid() != 0 => {
                groups.push(socket.gid());
            }
            _ => {}
        }
        groups.dedup();
        self.enter(directory, &groups)?;
        let missing = if as_owner::metadata(path).is_ok() {
            ""
        } else {
            "; the socket is not there now: is its service set up and started?"
        };
        let text = match groups.as_slice() {
            [] => format!("reachable without any group{missing}"),
            groups => format!("the dialer keeps group {groups:?} to reach it{missing}"),
        };
        self.backend_groups.extend(groups);
        Ok(text)
    }

    /// Looks into `directory` as the dialer will, which sees it, and not what is above it, in its jail.
    fn enter(&self, directory: &Path, groups: &[u32]) -> Result<(), String> {
        // That it has no user is found already.
        let Some((uid, gid)) = self.ids_of(Role::Dialer) else { return Ok(()) };
        apart(|| {
            let entered = as_owner::reach(directory, |path| std::env::set_current_dir(path));
            let entered = entered.and_then(|()| match self.ground {
                Ground::Root => confine::become_user(uid, gid, groups),
                Ground::User => Ok(()),
            });
            let looked = entered.and_then(|()| std::fs::symlink_metadata("./."));
            match looked {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(closed(directory, uid)),
                _ => Ok(String::new()),
            }
        })
        .map(|_| ())
    }
}

/// What is wrong with a directory that the dialer may not enter.
fn closed(directory: &Path, uid: u32) -> String {
    let owner =
        as_owner::metadata(directory).map_or_else(|_| "its owner".to_owned(), |seen| format!("uid {}", seen.uid()));
    let advice = if directory.ends_with("private") {
        "this is where Postfix keeps the sockets of its own programs. Write n in the third column of its line in master.cf, \
         which puts the socket into public/, and connect = \"unix:/var/spool/postfix/public/...\""
    } else {
        "let its program put it into a directory that the dialer may enter, of mode 0711, or 0710 and a group of its own"
    };
    format!("{} is closed to the dialer (uid {uid}), only {owner} may enter it: {advice}", directory.display())
}
