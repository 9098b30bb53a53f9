//! A throw-away host: its own mount, pid, net, ipc and uts namespaces, `/etc` and `/var` as overlays, `/tmp` and
//! `/run` fresh. What is installed, written or started there is gone when the value is dropped, and nothing is shared
//! between two of them. The source tree and the build's output stay visible.

use crate::name_server::{self, NameServer, Rcode};
use crate::run::{Ended, Process, only_child, run, write_program};
use crate::wait;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where a server under test listens: a client that connects here comes from [`AWAY`].
pub const HERE: &str = "203.0.113.25";
/// The client's address, of the documentation range: neither loopback nor private.
pub const AWAY: &str = "192.0.2.9";
/// As [`HERE`] for IPv6; its clients come from [`AWAY6`].
pub const HERE6: &str = "2001:db8::25";
/// As [`AWAY`] for IPv6.
pub const AWAY6: &str = "2001:db8::9";

/// Where each host has a name server that knows no name: the one of its `/etc/resolv.conf`.
pub const NAME_SERVER: &str = "127.0.0.1:53";

const INIT: &str = include_str!("host/host.sh");
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What of the file tree a host has for itself (`host.sh`), and what a test may have laid over. The rest is the machine's.
const OWN: [&str; 6] = ["/etc/", "/var/", "/run/", "/tmp/", "/dev/", "/usr/"];

fn assert_own(inside: &str) {
    assert!(OWN.iter().any(|own| inside.starts_with(own)), "{inside} is the machine's own");
}

/// Why there can be no throw-away host on this machine.
#[derive(Debug)]
pub struct Skip(pub String);

/// A throw-away host.
#[derive(Debug)]
pub struct Host {
    carrier: Child,
    /// Its PID 1 reads this; closing it ends the host.
    lifeline: Option<ChildStdin>,
    pid1: u32,
    /// Knows no name, and says so at once.
    _names: Option<NameServer>,
}

/// A host for the test called `test`, with all programs that it `needs`; or none, and a line on standard error that says why.
/// In CI (`CI` is set) there must be one.
///
/// # Panics
/// In CI, when namespaces or a program cannot be had.
#[must_use]
pub fn for_test(test: &str, needs: &[&str]) -> Option<Host> {
    let made = installed(needs).and_then(|()| Host::new());
    made.map_err(|Skip(why)| skipped(test, &why)).ok()
}

/// Whether the test called `test` finds the programs that it `needs` on this machine; if not, as [`for_test`].
///
/// # Panics
/// In CI, when a program is missing.
#[must_use]
pub fn has(test: &str, needs: &[&str]) -> bool {
    installed(needs).map_err(|Skip(why)| skipped(test, &why)).is_ok()
}

fn installed(needs: &[&str]) -> Result<(), Skip> {
    let missing = needs.iter().find(|program| !PATH.split(':').any(|dir| Path::new(dir).join(program).exists()));
    missing.map_or(Ok(()), |program| Err(Skip(format!("{program} is not installed"))))
}

/// Writes on standard error that a test was skipped; in CI that is a failure.
pub(crate) fn skipped(test: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: cannot be skipped in CI: {why}");
    // Not by `eprintln!`, which the test runner hides: a skipped test must not look like a passed one.
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED {test}: {why}");
}

impl Host {
    /// Makes one.
    ///
    /// # Errors
    /// [`Skip`] when this user or this kernel cannot make namespaces.
    pub fn new() -> Result<Host, Skip> {
        let uid = run(Command::new("id").arg("-u")).stdout;
        if uid.trim() != "0" {
            return Err(Skip(format!("needs root, runs as uid {}", uid.trim())));
        }
        let tree = source_tree();
        let stage = if tree.starts_with("/mnt") { "/srv" } else { "/mnt" };
        let mut carrier = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", INIT, "host", stage])
            .args(hidden_otherwise(&tree))
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Skip(format!("unshare: {e}")))?;
        let lifeline = carrier.stdin.take();
        let mut said = BufReader::new(carrier.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mounted = said.next().is_some();
        if said.next().as_deref() != Some("ready") {
            drop(lifeline);
            let mut why = String::new();
            let _ = carrier.stderr.take().unwrap().read_to_string(&mut why);
            let _ = carrier.wait();
            assert!(!mounted, "the host was not made although it could be: {why}");
            return Err(Skip(format!("no namespaces: {}", why.trim())));
        }
        let pid1 = only_child(carrier.id()).expect("PID 1 of the host");
        let mut host = Host { carrier, lifeline, pid1, _names: None };
        let nothing = name_server::nothing(Rcode::NXDOMAIN, Some(60));
        host._names = Some(host.inside(|| NameServer::at(NAME_SERVER.parse().unwrap(), &[], &nothing)));
        Ok(host)
    }

    /// Its PID 1, as this test sees it.
    #[must_use]
    pub fn pid1(&self) -> u32 {
        self.pid1
    }

    /// A path of the host, as this test can open it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid1))
    }

    /// The text of a file of the host; empty while there is none.
    #[must_use]
    pub fn read(&self, inside: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(inside)).unwrap_or_default()).into_owned()
    }

    /// Writes a file of the host, with its directory, for everybody to read.
    pub fn write(&self, inside: &str, text: &str) {
        self.write_with(inside, text, 0o644);
    }

    /// As [`Host::write`] with a mode.
    pub fn write_with(&self, inside: &str, text: &str, mode: u32) {
        assert_own(inside);
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if mode & 0o111 == 0 {
            fs::write(&path, text).unwrap_or_else(|e| panic!("{inside}: {e}"));
        } else {
            write_program(&path, text.as_bytes());
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Makes a directory with that owner (uid and gid alike) and mode.
    pub fn directory(&self, inside: &str, owner: u32, mode: u32) {
        assert_own(inside);
        let path = self.path(inside);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A /dev of the host's own, in which nobody listens as the system's log.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn own_dev(&self) {
        self.shell(
            "set -e; mkdir /run/dev; mount -t tmpfs -o mode=755 tmpfs /run/dev
             cp -a /dev/null /dev/zero /dev/urandom /dev/random /run/dev; mount --move /run/dev /dev",
        )
        .expect_ok("a /dev of its own");
    }

    /// A /dev of the host's own, where the socket that is returned is the system's log, for every user.
    #[must_use]
    pub fn system_log(&self) -> UnixDatagram {
        self.own_dev();
        let log = UnixDatagram::bind(self.path("/dev/log")).unwrap();
        fs::set_permissions(self.path("/dev/log"), fs::Permissions::from_mode(0o666)).unwrap();
        log
    }

    /// `program` as root on the host, with a plain environment; add arguments, then [`run`] it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid1.to_string(), "--mount", "--pid", "--net", "--ipc", "--uts", "--"])
            .arg(program.as_ref())
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// As [`Host::command`], as an ordinary user with no groups, no capabilities and nothing else left of root.
    #[must_use]
    pub fn command_as(&self, uid: u32, program: impl AsRef<Path>) -> Command {
        let mut command = self.command("setpriv");
        let id = uid.to_string();
        command
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--"])
            .arg(program.as_ref())
            .env("HOME", "/tmp");
        command
    }

    /// Runs a line of shell to its end.
    #[must_use]
    pub fn shell(&self, line: &str) -> Ended {
        run(self.command("sh").args(["-c", line]))
    }

    /// Starts `command` (made by [`Host::command`]) beside the test; `name` names its log.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(&self, name: &str, command: &mut Command) -> Process {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let log = self.path(&format!("/run/said/{name}.{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let out = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        // A program of another user opens its log anew, as it can a terminal or file of that user's.
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
        let carrier = command
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Process::carried_by(carrier, log)
    }

    /// Runs `visit` on a thread in the host's network namespace.
    ///
    /// # Panics
    /// When `visit` does.
    pub fn inside<T: Send>(&self, visit: impl FnOnce() -> T + Send) -> T {
        let network = fs::File::open(format!("/proc/{}/ns/net", self.pid1)).expect("the host's network");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                gatepost_sys::netns::join(network.as_fd()).expect("join the host's network");
                visit()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Connects to an address on the host's network, trying until something listens there.
    ///
    /// # Panics
    /// When nothing does in time.
    #[must_use]
    pub fn connect(&self, address: &str) -> TcpStream {
        let to: SocketAddr = address.parse().expect("an address and port");
        self.inside(|| {
            wait::until(&format!("a server on {address}"), wait::SOON, || {
                TcpStream::connect_timeout(&to, Duration::from_secs(5)).ok()
            })
        })
    }

    /// Connects from one of the host's addresses to another, at once or not at all.
    ///
    /// # Panics
    /// When `from` or `to` is none.
    pub fn connect_from(&self, from: &str, to: &str) -> std::io::Result<TcpStream> {
        let (from, to) = (from.parse().expect("an address"), to.parse().expect("an address and port"));
        self.inside(|| gatepost_sys::net::connect_from(from, to).map(TcpStream::from))
    }

    /// True when something accepts connections there.
    #[must_use]
    pub fn listens(&self, address: &str) -> bool {
        let to: SocketAddr = address.parse().expect("an address and port");
        self.inside(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)).is_ok())
    }

    /// Listens on the host's network.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn listen(&self, address: &str) -> TcpListener {
        self.inside(|| TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}")))
    }

    /// The command lines of all processes of the host but its PID 1, those of namespaces below it included.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        let proc = self.path("/proc");
        let pids = crate::facts::processes_in(&proc).into_iter().filter(|pid| *pid != 1);
        pids.filter_map(|pid| crate::facts::command_line_in(&proc, pid)).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in fs::read_dir(self.path("/run/said")).into_iter().flatten().flatten() {
                let text = fs::read(entry.path()).unwrap_or_default();
                let from = text.len().saturating_sub(2048);
                eprintln!("--- {:?}\n{}---", entry.file_name(), String::from_utf8_lossy(&text[from..]));
            }
        }
        drop(self.lifeline.take());
        let _ = self.carrier.kill();
        let _ = self.carrier.wait();
    }
}

/// The top of the source tree.
#[must_use]
pub fn source_tree() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/testkit lies two levels down").to_owned()
}

/// The source tree and the build's output, where the host's own mounts would hide them.
fn hidden_otherwise(tree: &Path) -> Vec<PathBuf> {
    let binary = std::env::current_exe().expect("our own path");
    // A test lies in deps/ beside the programs that it tests.
    let target = binary.ancestors().nth(2).unwrap_or(&binary).to_owned();
    let covered = |path: &PathBuf| ["/etc", "/var", "/run", "/tmp"].iter().any(|top| path.starts_with(top));
    let mut all: Vec<PathBuf> = [tree.to_owned(), target].into_iter().filter(covered).collect();
    all.dedup();
    all
}
