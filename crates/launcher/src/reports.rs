//! What admins, the service manager and the observer are told of the launcher.

use crate::admin::{self, AdminSocket, Answer, Request};
use crate::generation::{self, Generation};
use crate::processes::Children;
use crate::{Launcher, Reload, status};
use gatepost_wire::control::Order;
use gatepost_wire::gauge::Gauges;
use gatepost_wire::slice;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// What the admin is told before the reason.
const NOT_RELOADED: &str = "not reloaded, the old configuration stays in force";

/// What the service manager shows of us.
const PROVED: &str = "Serving.";
const ROUTELESS: &str = "Serving, but the backend of a route cannot be asked yet whether it relays for strangers: mail for it has \
                         to come again (4yz).";
/// Added to it.
const NAMELESS: &str = " No name server answers: clients have no names until one does.";
const UNPROVED: &str = "Serving, but the backend cannot be asked yet whether it relays for strangers: clients are told to \
                        come again (421).";

impl Launcher {
    /// Tells the service manager what clients get, and whether that makes us ready.
    pub(crate) fn tell_status(&mut self, ready: bool) {
        let last = self.generations.last();
        let proved = match last.map_or(0, Generation::unproved) {
            0 => PROVED,
            unproved if unproved & generation::MAIN == 0 => ROUTELESS,
            _ => UNPROVED,
        };
        let names = if last.is_none_or(Generation::has_names) { "" } else { NAMELESS };
        let now = format!("{proved}{names}");
        let status = sd_notify::NotifyState::Status(&now);
        if ready {
            notify(&[sd_notify::NotifyState::Ready, status]);
        } else if self.status != now {
            notify(&[status]);
        }
        self.status = now;
    }

    /// Tells the observer now and then what there is.
    pub(crate) fn tell_gauges(&mut self) {
        let (now, state) = (Instant::now(), self.state(false));
        if now < self.next_gauges {
            return;
        }
        self.next_gauges = now + generation::PING_EVERY;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        gatepost_log::gauge(Gauges::Launcher {
            roles_up: number(state.roles.iter().filter(|(_, pid)| pid.is_some()).count()),
            roles: number(state.roles.len()),
            generations: number(self.generations.len()),
            proved: state.backends.iter().all(|(_, proved)| *proved),
            names: state.names,
        });
    }

    /// Answers what admins ask.
    pub(crate) fn answer(&mut self, reload: Reload<'_>, draining: bool) {
        let mut reloads = Vec::new();
        for (request, stream) in self.admin_socket.as_mut().map(AdminSocket::requests).unwrap_or_default() {
            match request {
                Request::Status => {
                    admin::begin_answer(&stream, &status::answer(&self.state(draining)));
                    let serving = self.generations.last();
                    let _ = serving.is_some_and(|last| last.processes.wish(Order::Servers, stream.as_fd()));
                }
                Request::Reload if draining => {
                    let text = "not reloaded: gatepost is ending\n".into();
                    admin::answer(stream, &Answer { status: 1, text });
                }
                Request::Reload => reloads.push(stream),
                Request::Look => {
                    let text = status::roles(&self.state(draining));
                    admin::begin_answer(&stream, &Answer { status: 0, text });
                    let serving = self.generations.last();
                    let _ = serving.is_some_and(|last| last.processes.wish(Order::Look, stream.as_fd()));
                }
                Request::Kick(whom) => self.wish(Order::Kick(whom), &stream),
                Request::Forgive(address) => self.wish(Order::Forgive(address), &stream),
            }
        }
        if !reloads.is_empty() {
            self.reload_for(reloads, reload);
        }
    }

    /// Has the listeners of all generations do what an admin wishes; each answers him by itself.
    fn wish(&self, order: Order, stream: &UnixStream) {
        admin::begin_answer(stream, &Answer { status: 0, text: String::new() });
        let told =
            self.generations.iter().filter(|generation| generation.processes.wish(order, stream.as_fd())).count();
        if told == 0 {
            let _ = (&mut &*stream).write_all(b"no listener is there now; ask again\n");
        }
    }

    /// Reloads, and tells those who `asked` what came of it.
    pub(crate) fn reload_for(&mut self, asked: Vec<UnixStream>, reload: Reload<'_>) {
        let answer = match self.reload(reload, &asked) {
            Ok(()) => Answer { status: 0, text: format!("reloaded\n{}", self.unproved_routes()) },
            Err(why) => Answer { status: 1, text: format!("{NOT_RELOADED}: {why}\n") },
        };
        asked.into_iter().for_each(|stream| admin::answer(stream, &answer));
    }

    /// A line for each route whose backend has not passed its proof.
    fn unproved_routes(&self) -> String {
        let routes = self.generations.last().map(backends).unwrap_or_default().into_iter().skip(1);
        let lines =
            routes.filter(|(_, proved)| !proved).map(|(name, _)| format!("warning: {name} {}\n", status::LATER));
        lines.collect()
    }

    fn state(&self, draining: bool) -> status::State {
        let serving = self.generations.last();
        status::State {
            draining,
            backends: serving.map(backends).unwrap_or_default(),
            names: serving.is_none_or(Generation::has_names),
            since: self.born.elapsed(),
            retry: self.retry_due().is_some(),
            refused: self.refused.clone(),
            version: self.version(),
            outdated: self.is_outdated(),
            roles: serving.map(Generation::roles).unwrap_or_default(),
            earlier: self.generations.len().saturating_sub(1),
        }
    }
}

/// The backends of a generation, `[backend]` first, and whether each has passed its proof.
fn backends(generation: &Generation<Children>) -> Vec<(String, bool)> {
    let unproved = generation.unproved();
    let routes = generation.processes.plan().map(|plan| plan.config.routes.as_slice()).unwrap_or_default();
    let names = routes.iter().map(|route| slice::route_name(&route.domains, &route.recipients));
    let names = std::iter::once("the backend".to_owned()).chain(names);
    names.zip(0..u64::BITS).map(|(name, bit)| (name, (unproved >> bit) & 1 == 0)).collect()
}

pub(crate) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {e}");
    }
}
