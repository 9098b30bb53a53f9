//! A throw-away host with a real systemd on it: units, sockets, sysusers.d and tmpfiles.d as they will be installed.

use crate::host::{self, Host, Skip};
use crate::run::{Ended, Process, only_child, run_within};
use crate::wait;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const INIT: &str = include_str!("host/systemd.sh");

/// A [`Host`] in which systemd runs as PID 1 of a PID namespace below the host's own, with no unit of this machine
/// started but the basic system.
#[derive(Debug)]
pub struct SystemdHost {
    // Dropped first: it is the host that ends everything in it.
    process: Process,
    /// The host around it: files, network.
    pub host: Host,
    systemd: u32,
    group: String,
}

/// As [`host::for_test`].
///
/// # Panics
/// In CI, when it cannot be had.
#[must_use]
pub fn for_test(test: &str, needs: &[&str]) -> Option<SystemdHost> {
    let host = host::for_test(test, needs)?;
    SystemdHost::on(host).map_err(|Skip(why)| host::skipped(test, &why)).ok()
}

impl SystemdHost {
    /// Boots systemd on `host`.
    ///
    /// # Errors
    /// [`Skip`] where there is no systemd or no cgroup for it.
    pub fn on(host: Host) -> Result<SystemdHost, Skip> {
        if !std::path::Path::new("/lib/systemd/systemd").exists() {
            return Err(Skip("systemd is not installed".to_owned()));
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let group = format!("gatepost-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let process = host.start("systemd", host.command("sh").args(["-c", INIT, "systemd", &group]));
        // Shell, then unshare by exec, then systemd as its child.
        let up = wait::poll(wait::SOON, &mut || {
            let systemd = only_child(process.pid())?;
            let state = run_within(
                Command::new("nsenter").args(["-t", &systemd.to_string(), "-a", "systemctl", "is-system-running"]),
                wait::SOON,
            );
            ["running", "degraded"].contains(&state.stdout.trim()).then_some(systemd)
        });
        match up {
            Some(systemd) => Ok(SystemdHost { process, host, systemd, group }),
            None => Err(Skip(format!("systemd did not come up: {}", process.said().trim()))),
        }
    }

    /// `program` as root under that systemd.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.systemd.to_string(), "--all", "--", program])
            .env_clear()
            .env("PATH", host::PATH)
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs a line of shell to its end.
    #[must_use]
    pub fn shell(&self, line: &str) -> Ended {
        run_within(self.command("sh").args(["-c", line]), Duration::from_secs(120))
    }

    /// A property of a unit, as `systemctl show` says it.
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.shell(&format!("systemctl show -P {name} {unit}")).stdout.trim().to_owned()
    }

    /// What a unit has logged.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        self.shell(&format!("journalctl --no-pager -o cat -u {unit}")).stdout
    }

    /// A path as this test can open it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.systemd))
    }
}

impl Drop for SystemdHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- journal\n{}---",
                self.shell(
                    "journalctl --no-pager -o cat _TRANSPORT=stdout _TRANSPORT=syslog _TRANSPORT=journal | tail -n 30"
                )
                .stdout
            );
        }
        let _ = self.process.signal("KILL");
        let _ = self.process.wait(wait::SOON);
        // The groups that systemd made are empty now but still there: they belong to the machine, not to the host.
        let top = self.host.path("/run/groups").join(&self.group);
        wait::poll(wait::SOON, &mut || remove_groups(&top).then_some(()));
    }
}

/// Removes a tree of control groups, deepest first. True when it is gone.
fn remove_groups(group: &std::path::Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
    !group.exists()
}
