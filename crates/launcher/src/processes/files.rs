//! Files that are read anew while the roles run: rules, networks, tables, accounts, names; and syslog's socket.

use super::{Children, Given};
use crate::{rules, setup, slices, syslog};
use gatepost_sys::process::{self, ProcessId};
use gatepost_wire::control::{Order, Role};
use gatepost_wire::slice::Slice;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

impl Children {
    /// Looks now and then whether there is something else to tell the roles, and tells them.
    pub(crate) fn renew(&mut self, now: Instant) {
        self.renew_rules(now);
        self.renew_networks(now);
        self.renew_tables(now);
        self.renew_syslog(now);
    }

    /// Gives the listener the rules. It must have some before the `first` client, and where they can't be read, such that take
    /// nobody; later, those that it has stay in force.
    pub(super) fn give_rules(&self, pid: ProcessId, first: bool) {
        let Some(path) = self.rules_file() else { return };
        let memory = rules::memory(path).or_else(|e| {
            tracing::error!(
                "{}: {e}; {}",
                path.display(),
                if first { "no client is taken" } else { "the old rules stay in force" }
            );
            if first { process::memory().and_then(process::seal) } else { Err(e) }
        });
        if let Ok(memory) = memory {
            self.tell(pid, Order::Rules, &[memory.as_fd()]);
        }
    }

    /// Looks now and then whether there is another file of rules, and gives it to the listener.
    fn renew_rules(&mut self, now: Instant) {
        let Some(path) = self.rules_file().map(Path::to_owned) else { return };
        if self.rules.has_changed(&path, now) {
            for child in self.children.iter().filter(|child| child.role == Role::Listener) {
                self.give_rules(child.pid, false);
            }
        }
    }

    /// Tells the listener what is different for some networks.
    pub(super) fn give_networks(&self, pid: ProcessId) {
        let Some(plan) = self.plan() else { return };
        match sealed(&plan.config.networks_slice()) {
            Ok(memory) => self.tell(pid, Order::Networks, &[memory.as_fd()]),
            Err(why) => tracing::error!("the listener keeps the networks that it has: {why}"),
        }
    }

    /// Looks now and then whether there is another file of networks, and tells the listener what is in it.
    fn renew_networks(&mut self, now: Instant) {
        let Given::Plan(given) = &mut self.given else { return };
        let config = &mut given.0.config;
        let mut others = false;
        for (place, watch) in self.networks.iter_mut().enumerate() {
            let path = config.network_files().nth(place).map(|file| file.path.clone());
            if path.is_some_and(|path| watch.has_changed(&path, now)) {
                others |= config.renew_networks(place).unwrap_or_else(|faults| {
                    tracing::error!("{faults}; the networks that were in the file before stay in force");
                    false
                });
            }
        }
        for child in self.children.iter().filter(|child| others && child.role == Role::Listener) {
            self.give_networks(child.pid);
        }
    }

    /// Looks now and then whether there is another file of a table, or of accounts, and tells handoff what is in it.
    fn renew_tables(&mut self, now: Instant) {
        let Given::Plan(given) = &mut self.given else { return };
        let mut others =
            self.accounts.as_mut().is_some_and(|watch| watch.has_changed(Path::new(slices::ACCOUNTS), now));
        let config = &mut given.0.config;
        for (place, watch) in self.tables.iter_mut().enumerate() {
            let path = config.table_files().nth(place).map(Path::to_owned);
            if path.is_some_and(|path| watch.has_changed(&path, now)) {
                others |= config.renew_table(place).unwrap_or_else(|faults| {
                    tracing::error!("{faults}; what was in the file before stays in force");
                    false
                });
            }
        }
        let slice = if others { slices::tables(&given.0) } else { return };
        match sealed(&slice) {
            Ok(memory) => {
                for child in self.children.iter().filter(|child| child.role == Role::Handoff) {
                    self.tell(child.pid, Order::Tables, &[memory.as_fd()]);
                }
            }
            Err(why) => tracing::error!("handoff keeps the tables that it has: {why}"),
        }
    }

    /// Looks now and then whether somebody else listens on syslog's socket, and gives the observer one that is connected there.
    pub(super) fn renew_syslog(&mut self, now: Instant) {
        let Some(observer) = self.observer() else { return };
        if let Some(socket) = self.syslog.as_mut().and_then(|syslog| syslog.another(now)) {
            self.tell(observer, Order::Syslog, &[socket.as_fd()]);
        }
    }

    /// When to look at the rules, the networks, the tables, the accounts and syslog's socket again.
    pub(crate) fn looks_due(&self) -> Option<Instant> {
        let rules = self.rules_file().map(|_| &self.rules);
        let files = rules.into_iter().chain(&self.networks).chain(&self.tables).chain(&self.accounts);
        files.map(rules::Watch::next_due).chain(self.syslog.as_ref().map(syslog::Watch::next_due)).min()
    }

    fn rules_file(&self) -> Option<&Path> {
        self.plan()?.config.admission.rules.as_deref()
    }

    /// Tells the resolver what the system's files say of names now.
    pub(crate) fn renew_names(&self) {
        let Some(resolver) = self.children.iter().find(|child| child.role == Role::Resolver) else { return };
        let Some((plan, fitness)) = self.given.plan() else { return };
        match setup::slice(Role::Resolver, plan, fitness) {
            Ok(memory) => self.tell(resolver.pid, Order::Names, &[memory.as_fd()]),
            Err(why) => tracing::error!("the resolver keeps the name servers that it has: {why}"),
        }
    }
}

/// A value for a role, in sealed memory.
fn sealed(value: &impl Slice) -> Result<OwnedFd, String> {
    let octets = slices::octets(value)?;
    let made = process::memory().and_then(|mut memory| memory.write_all(&octets).map(|()| memory));
    made.and_then(process::seal).map_err(|e| e.to_string())
}
