//! How a generation ends: drained in stages, retired while its sessions go on, or at once.

use super::{Generation, Processes};
use crate::roles::{self, Stage};
use gatepost_wire::control::{Order, Role};
use gatepost_wire::resume::{Course, Phase};

impl<P: Processes> Generation<P> {
    /// No new sessions; those under way are told to end at the next safe point.
    pub(crate) fn drain(&mut self) {
        self.close(Course::Draining);
        self.drain_next();
    }

    /// No new sessions; those under way go on as if nothing had happened. The listener ends with the last of them, and then the
    /// other roles.
    pub(crate) fn retire(&mut self) {
        if self.is_ending() {
            return;
        }
        self.close(Course::Retiring);
        // The observer hears all of them to their end, but those who read its counters are the next one's.
        for child in self.children.iter().filter(|child| [Role::Listener, Role::Observer].contains(&child.role)) {
            self.processes.order(child.pid, Order::Drain);
        }
        self.drain_next();
    }

    fn close(&mut self, course: Course) {
        self.course = Some(course);
        self.restarts.clear();
        // An address that the next generation has no more is refused from now on, instead of left to wait for nobody.
        self.processes.close_sockets();
    }

    /// True while sessions of it go on though another generation has taken its place.
    pub(crate) fn is_retiring(&self) -> bool {
        self.course == Some(Course::Retiring) && !self.is_over()
    }

    /// Has the listener say whose sessions are cut off.
    pub(crate) fn name_who_is_cut(&mut self) {
        for listener in self.children.iter().filter(|child| child.role == Role::Listener && child.phase == Phase::Ready)
        {
            self.processes.order(listener.pid, Order::Cut);
        }
    }

    /// True while a listener is there.
    pub(crate) fn has_listener(&self) -> bool {
        self.children.iter().any(|child| child.role == Role::Listener)
    }

    /// Ends every process but the observer, which is drained when it has heard the others to their end.
    pub(crate) fn kill_all(&mut self) {
        self.course = Some(Course::Draining);
        self.restarts.clear();
        for child in self.children.iter().filter(|child| roles::of(child.role).stage > Stage::Log) {
            self.processes.kill(child.pid);
        }
    }

    /// True when every process has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.children.is_empty()
    }

    /// Tells the last stage that still has processes to drain. Those before it go on meanwhile: it needs them.
    pub(super) fn drain_next(&mut self) {
        if self.course == Some(Course::Retiring) && self.has_listener() {
            return;
        }
        let last = self.children.iter().map(|child| roles::of(child.role).stage).max();
        if let Some(stage) = last
            && self.drained.is_none_or(|told| stage < told)
        {
            self.drained = Some(stage);
            for child in self.children.iter().filter(|child| roles::of(child.role).stage == stage) {
                self.processes.order(child.pid, Order::Drain);
            }
        }
    }
}
