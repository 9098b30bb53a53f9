//! Supervisors of Debian with the run scripts of `examples/services`, on a throw-away host.

use crate::host::{Host, PATH, source_tree};
use crate::run::{Ended, Process};
use std::fs;

/// Where programs are found first: the links that stand in for others.
pub const LINKS: &str = "/run/links";
/// The services' directories.
const SERVICES: &str = "/run/service";

/// A program that starts services anew when they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Supervisor {
    Daemontools,
    Runit,
    S6,
}

impl Supervisor {
    /// All.
    pub const ALL: [Supervisor; 3] = [Supervisor::Daemontools, Supervisor::Runit, Supervisor::S6];

    /// Programs of each.
    pub const NEEDS: [&str; 4] = ["svscan", "multilog", "runsvdir", "s6-svscan"];

    /// Puts the example's service there, with its log.
    pub fn install(self, host: &Host, service: &str) {
        let examples = source_tree().join("examples/services");
        let read = |name: String| fs::read_to_string(examples.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let log = match self {
            Supervisor::Daemontools => "log/daemontools",
            Supervisor::Runit => "log/runit",
            Supervisor::S6 => "log/s6",
        };
        host.shell("getent passwd qmaill || echo 'qmaill:x:64012:64012::/:/bin/false' >>/etc/passwd")
            .expect_ok("qmaill");
        host.shell("getent group qmaill || echo 'qmaill:x:64012:' >>/etc/group").expect_ok("qmaill");
        // The log first: a supervisor that finds the service without one starts it without.
        host.directory(&format!("{SERVICES}/{service}/log/main"), 64_012, 0o755);
        host.write_with(&format!("{SERVICES}/{service}/log/run"), &read(log.into()), 0o755);
        host.write_with(&format!("{SERVICES}/{service}/run"), &read(format!("{service}/run")), 0o755);
    }

    /// Starts it for all services that are there.
    #[must_use]
    pub fn start(self, host: &Host) -> Process {
        let (program, name) = match self {
            Supervisor::Daemontools => ("svscan", "daemontools"),
            Supervisor::Runit => ("runsvdir", "runit"),
            Supervisor::S6 => ("s6-svscan", "s6"),
        };
        host.start(name, host.command(program).arg(SERVICES).env("PATH", format!("{LINKS}:{PATH}")))
    }

    /// Sends the service a signal by a letter that all three know: `t` TERM, after which it is started anew; `h` HUP; `d` TERM,
    /// after which it stays down; `u` starts it.
    pub fn control(self, host: &Host, letter: char, service: &str) -> Ended {
        let directory = format!("{SERVICES}/{service}");
        host.shell(&match self {
            Supervisor::Daemontools => format!("svc -{letter} {directory}"),
            Supervisor::Runit => format!("sv {letter} {directory}"),
            Supervisor::S6 => format!("s6-svc -{letter} {directory}"),
        })
    }

    /// What the service has logged.
    #[must_use]
    pub fn log(self, host: &Host, service: &str) -> String {
        host.read(&format!("{SERVICES}/{service}/log/main/current"))
    }
}
