//! The fake, and a generation made of it.

use super::super::*;

/// What is done to processes, a line each. A role's first process is its name, the second one has a 2 behind it.
#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) done: Vec<String>,
    pub(super) names: Vec<(ProcessId, String)>,
    /// Cannot be executed.
    pub(super) broken: Option<Role>,
    pub(super) seen: Option<Seen>,
    /// Listening sockets that somebody has ended.
    pub(super) dead: bool,
}

impl Fake {
    fn name(&self, pid: ProcessId) -> &str {
        self.names.iter().find(|(known, _)| *known == pid).map_or("", |(_, name)| name)
    }
}

impl Processes for Fake {
    fn start(&mut self, role: Role) -> Result<ProcessId, LauncherError> {
        if self.broken == Some(role) {
            return Err(LauncherError::NotReady(role, "broken".into()));
        }
        let before = self.names.iter().filter(|(_, name)| name.starts_with(role.name())).count();
        let name = if before == 0 { role.name().to_owned() } else { format!("{}{}", role.name(), before + 1) };
        self.done.push(format!("start {name}"));
        let pid = ProcessId::try_from(self.names.len() + 1).unwrap();
        self.names.push((pid, name));
        Ok(pid)
    }
    fn look(&mut self, _: Role, pid: ProcessId) -> Seen {
        self.done.push(format!("look {}", self.name(pid)));
        self.seen.clone().unwrap_or(Seen::Confined)
    }
    fn link(&mut self, one: (Role, ProcessId), other: (Role, ProcessId)) {
        self.done.push(format!("link {} {}", self.name(one.1), self.name(other.1)));
    }
    fn mend_sockets(&mut self) -> bool {
        std::mem::take(&mut self.dead)
    }
    fn give_sockets(&mut self, pid: ProcessId) {
        self.done.push(format!("sockets {}", self.name(pid)));
    }
    fn order(&mut self, pid: ProcessId, order: Order) {
        self.done.push(format!("{} {}", format!("{order:?}").to_lowercase(), self.name(pid)));
    }
    fn kill(&mut self, pid: ProcessId) {
        self.done.push(format!("kill {}", self.name(pid)));
    }
    fn close_sockets(&mut self) {
        self.done.push("close sockets".into());
    }
}

pub(super) struct Scene {
    pub(super) generation: Generation<Fake>,
    pub(super) now: Instant,
    /// Pings are left unanswered and are seen among what is done. Else each is answered at once, and neither is seen.
    pub(super) pings: bool,
}

impl Scene {
    pub(super) fn new(needed: &[Role], proof: Proof) -> Self {
        Self { generation: Generation::new(Fake::default(), needed.to_vec(), proof), now: Instant::now(), pings: false }
    }

    /// All roles are ready, and clients are served.
    pub(super) fn serving() -> Self {
        let mut scene = Self::new(&Role::ALL, Proof::Later);
        while !scene.generation.advance(scene.now).unwrap() {
            let waiting: Vec<ProcessId> =
                scene.generation.children.iter().filter(|c| c.phase != Phase::Ready).map(|c| c.pid).collect();
            for pid in waiting {
                for report in [Report::Jailed, Report::Ready] {
                    scene.generation.take(pid, Event::Report(report), scene.now).unwrap();
                }
            }
        }
        scene.generation.serve();
        scene.done();
        scene
    }

    pub(super) fn pid(&self, name: &str) -> ProcessId {
        self.generation.processes.names.iter().find(|(_, known)| known == name).unwrap().0
    }

    pub(super) fn happens(&mut self, name: &str, event: Event) -> Result<(), LauncherError> {
        let pid = self.pid(name);
        let taken = self.generation.take(pid, event, self.now);
        if self.generation.course.is_some() {
            self.tick();
        }
        taken
    }

    pub(super) fn reports(&mut self, name: &str, report: Report) {
        self.happens(name, Event::Report(report)).unwrap();
    }

    pub(super) fn ends(&mut self, names: &[&str]) {
        for name in names {
            self.happens(name, Event::Ended(End::Signal(9))).unwrap();
        }
    }

    pub(super) fn passes(&mut self, time: Duration) {
        self.now += time;
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        self.generation.tick(self.now);
        let pinged = |line: &mut String| line.starts_with("ping ");
        let pinged =
            if self.pings { Vec::new() } else { self.generation.processes.done.extract_if(.., pinged).collect() };
        for name in pinged.iter().filter_map(|line| line.strip_prefix("ping ")) {
            let pid = self.pid(name);
            self.generation.take(pid, Event::Report(Report::Alive), self.now).unwrap();
        }
    }

    /// What was done since this was asked last.
    pub(super) fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.generation.processes.done)
    }
}

pub(super) fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}
