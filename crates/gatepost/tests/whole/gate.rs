//! A running gatepost on a throw-away host.

use gatepost_testkit::client::Client;
use gatepost_testkit::facts;
use gatepost_testkit::host::{HERE, HERE6, Host};
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::{Ended, Process, run};
use gatepost_testkit::wait::{self, SOON};
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The program under test.
pub(crate) const GATEPOST: &str = env!("CARGO_BIN_EXE_gatepost");
/// The name it goes by.
pub(crate) const HOSTNAME: &str = "mx.ok.test";
/// Where its configuration lies.
pub(crate) const CONFIG: &str = "/etc/gatepost/gatepost.toml";
/// Where its certificate and key lie.
pub(crate) const CERTIFICATE: &str = "/etc/gatepost/tls/cert.pem";
pub(crate) const KEY: &str = "/etc/gatepost/tls/key.pem";

/// What the roles are called in their `comm`, the launcher's own child processes.
pub(crate) const ROLES: [&str; 7] =
    ["gp-listener", "gp-dialer", "gp-resolver", "gp-nursery", "gp-keyholder", "gp-handoff", "gp-observer"];

/// Where clients are taken: STARTTLS, both families, and TLS at once.
pub(crate) fn starttls() -> String {
    format!("{HERE}:25")
}
pub(crate) fn starttls6() -> String {
    format!("[{HERE6}]:25")
}
pub(crate) fn implicit() -> String {
    format!("{HERE}:465")
}

/// A configuration that is right, around the lines of its `[backend]`. `more` may add tables.
pub(crate) fn config(backend: &str, more: &str) -> String {
    // RLIMIT_NPROC counts a user's processes on the whole machine, whatever host they are on: no two tests share ids.
    static NEXT: AtomicU32 = AtomicU32::new(62_000);
    let users = NEXT.fetch_add(10, Ordering::Relaxed);
    format!(
        r#"hostname = "{HOSTNAME}"
users = {users}

[[listen]]
address = "{}"

[[listen]]
address = "{}"

[[listen]]
address = "{}"
tls = "implicit"

[tls]
certificate = "{CERTIFICATE}"
key = "{KEY}"

[relay]
domains = ["ok.test"]

[backend]
{backend}

{more}
"#,
        starttls(),
        starttls6(),
        implicit()
    )
}

/// Makes what a configuration speaks of: certificate, key and spool.
pub(crate) fn prepare(host: &Host) {
    host.directory("/var/spool/gatepost", 0, 0o755);
    host.directory("/etc/gatepost/tls", 0, 0o755);
    make_pair(host, CERTIFICATE, KEY);
}

/// A self-signed certificate with its key.
pub(crate) fn make_pair(host: &Host, certificate: &str, key: &str) {
    let line = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN={HOSTNAME} \
         -addext subjectAltName=DNS:{HOSTNAME} -keyout {key} -out {certificate} && chmod 600 {key}"
    );
    host.shell(&line).expect_ok("openssl req");
}

/// `gatepost serve`, ready.
#[derive(Debug)]
pub(crate) struct Gate<'h> {
    host: &'h Host,
    pub(crate) process: Process,
    notify: UnixDatagram,
    told: String,
}

impl<'h> Gate<'h> {
    /// Starts it with that configuration and waits until it says by sd_notify that it is ready.
    pub(crate) fn start(host: &'h Host, config: &str) -> Gate<'h> {
        Self::start_program(host, GATEPOST, config)
    }

    /// As [`Gate::start`], with a copy of the program that lies elsewhere.
    pub(crate) fn start_program(host: &'h Host, program: &str, config: &str) -> Gate<'h> {
        prepare(host);
        host.write(CONFIG, config);
        let notify = host.path("/run/notify");
        let _ = std::fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let process = host.start("gatepost", host.command(program).arg("serve").env("NOTIFY_SOCKET", "/run/notify"));
        let mut gate = Gate { host, process, notify: socket, told: String::new() };
        gate.wait_told("READY=1");
        gate
    }

    /// Waits until it has told the service manager so, once more than this was waited for before.
    pub(crate) fn wait_told(&mut self, state: &str) {
        let found = wait::poll(SOON, &mut || {
            let mut text = [0; 256];
            if let Ok(n) = self.notify.recv(&mut text) {
                self.told.push_str(&String::from_utf8_lossy(&text[..n]));
                self.told.push('\n');
            }
            match self.told.find(state) {
                Some(at) => {
                    self.told.drain(..at + state.len());
                    Some(true)
                }
                None => self.process.ended().map(|_| false),
            }
        });
        assert_eq!(found, Some(true), "gatepost did not tell {state}; it said:\n{}", self.process.said());
    }

    /// Runs it with a configuration that must not serve: exit status 1, a sentence, and nothing left.
    pub(crate) fn refused(host: &Host, config: &str) -> String {
        host.write(CONFIG, config);
        let ended = run(host.command(GATEPOST).arg("serve"));
        assert_eq!(ended.status.code(), Some(1), "it said: {}", ended.said());
        assert_eq!(ended.stdout, "", "reasons go to standard error");
        wait::holds("no process of it is left", SOON, || gateposts(host).is_empty());
        ended.stderr
    }

    /// The launcher, as this test sees it.
    pub(crate) fn launcher(&self) -> u32 {
        self.process.pid()
    }

    /// All processes of the tree by `comm`: roles once each, sessions as often as there are.
    pub(crate) fn tree(&self) -> Vec<(u32, String)> {
        let all = facts::tree(self.launcher()).into_iter();
        all.filter_map(|pid| Some((pid, facts::status(pid).get("Name")?.clone()))).collect()
    }

    /// The pids of the roles.
    pub(crate) fn roles(&self) -> BTreeMap<String, u32> {
        let launcher = self.launcher();
        let children = self.tree().into_iter().filter(|(pid, _)| facts::parent(*pid) == Some(launcher));
        children.map(|(pid, name)| (name, pid)).collect()
    }

    /// The pids of the sessions: the nursery's children.
    pub(crate) fn sessions(&self) -> Vec<u32> {
        let Some(nursery) = self.roles().get("gp-nursery").copied() else { return Vec::new() };
        facts::tree(nursery).split_off(1)
    }

    /// A fresh client, not yet greeted.
    pub(crate) fn client(&self) -> Client {
        Client::over(self.host.connect(&starttls()))
    }

    /// `gatepost audit`, with the launcher and all below it named unless `more` names others.
    pub(crate) fn audit(&self, more: &[&str]) -> Ended {
        run(self.host.command(GATEPOST).arg("audit").args(more))
    }

    /// TERM, and the end it leads to.
    pub(crate) fn stop(mut self) {
        assert!(self.process.signal("TERM"));
        let status = self.process.wait(SOON);
        assert_eq!(status.code(), Some(0), "it said:\n{}", self.process.said());
        self.left_nothing();
    }

    /// No process of it is left, no content file, and nobody ran into a wall of his own jail.
    pub(crate) fn left_nothing(&self) {
        self.left_no_process();
        assert_eq!(content_files(self.host), Vec::<String>::new());
    }

    /// After a killing: a content file has a name for the moment between its making and the taking away of the name, so
    /// an empty one may be left. The next start removes it, which [`Gate::left_nothing`] sees at the end.
    pub(crate) fn left_no_process(&self) {
        let said = self.process.said();
        assert!(!said.contains("panicked") && !said.contains("signal 31"), "{said}");
        wait::holds("no process of it is left", SOON, || gateposts(self.host).is_empty());
    }
}

/// A scripted backend behind a unix socket, and the `[backend]` that names it.
pub(crate) fn rogue(host: &Host, speaks: Speaks) -> (Mta, String) {
    host.directory("/run/backend", 0, 0o755);
    let (name, profile) = match speaks {
        Speaks::Smtp => ("smtp", "postfix"),
        Speaks::Lmtp => ("lmtp", "lmtp"),
    };
    let mta = Mta::unix(&host.path(&format!("/run/backend/{name}")), speaks);
    (mta, format!("profile = \"{profile}\"\nconnect = \"unix:/run/backend/{name}\"\nreply_timeout = \"2s\""))
}

/// Command lines of what runs of gatepost on a host.
pub(crate) fn gateposts(host: &Host) -> Vec<String> {
    host.processes()
        .into_iter()
        .filter(|line| line.split(' ').next().is_some_and(|p| p.ends_with("gatepost")))
        .collect()
}

/// Names in the directory of content files: unlinked as soon as they are made, so there should be none ever.
pub(crate) fn content_files(host: &Host) -> Vec<String> {
    let entries = std::fs::read_dir(host.path("/var/spool/gatepost/content")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// swaks to the STARTTLS address, over TLS, from the client's own address.
pub(crate) fn swaks(host: &Host, to: &str, subject: &str) -> Command {
    let mut command = host.command("swaks");
    command
        .args(["--server", HERE, "--port", "25", "--tls", "--helo", "road.test", "--from", "sender@road.test"])
        .args(["--local-interface", gatepost_testkit::host::AWAY])
        .args(["--to", to, "--header", &format!("Subject: {subject}")]);
    command
}
