//! The servers, each doing the same job: take mail on loopback, pass it to the sink, say 250 only when that has.

use crate::account::Account;
use gatepost_testkit::host::Host;
use gatepost_testkit::run::Process;
use gatepost_testkit::wait;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server's end is waited for so long: longer than gatepost waits for its sessions.
const END: Duration = Duration::from_secs(40);
/// gatepost's configuration on the host.
pub(crate) const GATEPOST: &str = "/etc/gatepost.toml";
/// Where certificates and keys lie on the host.
const TLS: &str = "/etc/bench-tls";
/// nginx's configuration on the host, and its mail proxy, which is a package of its own in Debian (`libnginx-mod-mail`); the
/// variable names another place.
const NGINX: &str = "/etc/nginx-bench.conf";
const NGINX_MAIL: (&str, &str) = ("/usr/lib/nginx/modules/ngx_mail_module.so", "NGINX_MAIL_MODULE");
/// The name for the ECDSA certificate, and the one for RSA.
const NAMES: [&str; 2] = ["mx.bench.test", "rsa.bench.test"];

/// Where a server listens, and the name that gets the wanted certificate from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) name: &'static str,
}

/// Those of one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listeners {
    /// Shows an ECDSA certificate (P-256).
    pub(crate) ecdsa: Listener,
    /// Shows an RSA certificate (2048 bits).
    pub(crate) rsa: Listener,
    /// Is for strangers, where that is a service of its own; shows the ECDSA certificate.
    pub(crate) edge: Listener,
}

/// Postfix's smtp-sink, which takes everything and counts. Its own processor time is on nobody's account.
#[derive(Debug)]
pub(crate) struct Sink {
    process: Process,
}

impl Sink {
    const ADDRESS: &'static str = "127.0.0.1:2526";

    pub(crate) fn start(host: &Host) -> Self {
        let process =
            host.start("smtp-sink", host.command("smtp-sink").args(["-c", "-u", "nobody", Self::ADDRESS, "1024"]));
        wait::holds("smtp-sink to listen", wait::SOON, || host.listens(Self::ADDRESS));
        Self { process }
    }

    /// How many messages it has taken.
    pub(crate) fn messages(&self) -> u64 {
        // It overwrites one line of counters for ever; the last is the newest.
        let said = self.process.said();
        said.rsplit("mesg=").next().and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gatepost,
    Postfix,
    /// nginx's mail proxy: one process for all clients.
    Nginx,
    /// `src/bin/bare.rs`: a process for each client, and nothing else.
    Bare,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Gatepost, Self::Postfix, Self::Nginx, Self::Bare];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gatepost => "gatepost",
            Self::Postfix => "postfix",
            Self::Nginx => "nginx",
            Self::Bare => "bare",
        }
    }

    /// It has STARTTLS.
    pub(crate) fn speaks_tls(self) -> bool {
        self != Self::Bare
    }

    /// It passes messages to the sink.
    pub(crate) fn delivers(self) -> bool {
        self != Self::Bare
    }

    fn listeners(self) -> Listeners {
        let listener = |port, name| Listener { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), name };
        let [name, rsa_name] = NAMES;
        let listeners = |ecdsa, rsa, edge| Listeners {
            ecdsa: listener(ecdsa, name),
            rsa: listener(rsa, rsa_name),
            edge: listener(edge, name),
        };
        match self {
            // One port, by server name.
            Self::Gatepost => listeners(2500, 2500, 2500),
            // Two services, and postscreen.
            Self::Postfix => listeners(2501, 2502, 2506),
            Self::Nginx => listeners(2503, 2504, 2503),
            Self::Bare => listeners(2505, 2505, 2505),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) listeners: Listeners,
    process: Process,
    account: Account,
}

impl Server {
    /// Starts it; `gatepost` is the binary.
    pub(crate) fn start(host: &Host, kind: Kind, gatepost: &Path) -> io::Result<Self> {
        let account = Account::open(kind.name());
        let command = match kind {
            // Descriptors for thousands of sessions.
            Kind::Gatepost => format!("sh -c 'ulimit -n 65536; exec {} serve --config {GATEPOST}'", gatepost.display()),
            // Its start script would stay between us and the master; a group of its own, because the master ends its
            // whole group with itself.
            Kind::Postfix => "setsid $(postconf -h daemon_directory)/master -s".to_owned(),
            Kind::Nginx => format!("nginx -c {NGINX}"),
            Kind::Bare => format!("{} {}", gatepost.with_file_name("bare").display(), kind.listeners().ecdsa.address),
        };
        // The shell opens the account and then becomes the server, so nothing of it is missed.
        let line = format!("echo 0 > {} && exec {command}", account.entrance().display());
        let process = host.start(kind.name(), host.command("sh").args(["-c", &line]));
        let mut server = Self { kind, listeners: kind.listeners(), process, account };
        let address = server.listeners.rsa.address.to_string();
        let listens = wait::poll(wait::SOON, &mut || {
            host.listens(&address).then_some(true).or_else(|| server.process.ended().map(|_| false))
        });
        if listens == Some(true) {
            return Ok(server);
        }
        Err(io::Error::other(format!("{} does not listen; it said:\n{}", kind.name(), server.process.said())))
    }

    /// Its first process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Processor time used so far, once it is at rest.
    pub(crate) fn used(&self) -> io::Result<Duration> {
        self.account.used_at_rest(self.pid())
    }

    /// How exact [`Server::used`] is.
    pub(crate) fn precision(&self) -> &'static str {
        self.account.precision()
    }

    /// Ends it in order, so that its port is free again.
    pub(crate) fn stop(mut self) {
        let _ = self.process.signal("TERM");
        self.process.wait(END);
    }
}

/// Writes both servers' files and the certificates.
pub(crate) fn prepare(host: &Host) {
    let [ecdsa, rsa] = NAMES;
    let certificate = |kind: &str, name: &str, options: &str| {
        format!(
            "openssl req -x509 {options} -nodes -days 2 -subj /CN={name} -addext subjectAltName=DNS:{name} \
             -keyout {TLS}/{kind}.key -out {TLS}/{kind}.pem 2>/dev/null && cat {TLS}/{kind}.key {TLS}/{kind}.pem \
             > {TLS}/{kind}.chain && "
        )
    };
    let line = format!(
        "mkdir -p {TLS} && chmod 700 {TLS} && {}{}true",
        certificate("ecdsa", ecdsa, "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"),
        certificate("rsa", rsa, "-newkey rsa:2048"),
    );
    host.shell(&line).expect_ok("certificates");
    drain_syslog(host);
    host.directory("/var/spool/gatepost", 0, 0o755);
    let sink = Sink::ADDRESS;
    host.write(
        GATEPOST,
        &format!(
            r#"hostname = "{ecdsa}"
spool = "/var/spool/gatepost"
users = 61000

[[listen]]
address = "127.0.0.1:2500"

[[tls.pair]]
certificate = "{TLS}/ecdsa.pem"
key = "{TLS}/ecdsa.key"

[[tls.pair]]
names = ["{rsa}"]
certificate = "{TLS}/rsa.pem"
key = "{TLS}/rsa.key"

[relay]
domains = ["ok.test"]

[backend]
profile = "smtp"
connect = "tcp:{sink}"
identity = "none"
relay_proof = false

[limits]
sessions_per_address = 1000
"#
        ),
    );
    // As Debian has it, chroot included, but for: no queue behind it, no limit per client, room for 10 MiB, and no
    // look-up of the client's name, which gatepost does not do either.
    let main = format!(
        "compatibility_level = 3.6
myhostname = {ecdsa}
mydestination = ok.test
local_recipient_maps =
alias_maps =
alias_database =
mynetworks =
inet_interfaces = 127.0.0.1
smtpd_proxy_filter = {sink}
smtpd_peername_lookup = no
smtpd_tls_security_level = may
message_size_limit = 52428800
default_process_limit = 1000
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
postscreen_greet_action = drop
postscreen_greet_wait = 1s\n"
    );
    let service = |port: u16, kind: &str| {
        format!("127.0.0.1:{port} inet n - y - - smtpd\n  -o smtpd_tls_chain_files={TLS}/{kind}.chain\n")
    };
    let master = format!(
        "{}{}127.0.0.1:2506 inet n - y - 1 postscreen
smtpd pass - - y - - smtpd
  -o smtpd_tls_chain_files={TLS}/ecdsa.chain
dnsblog unix - - y - 0 dnsblog
tlsproxy unix - - y - 0 tlsproxy
cleanup unix n - y - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - y 1000? 1 tlsmgr
rewrite unix - - y - - trivial-rewrite
bounce unix - - y - 0 bounce
defer unix - - y - 0 bounce
trace unix - - y - 0 bounce
verify unix - - y - 1 verify
flush unix n - y 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - y - - error
retry unix - - y - - error
local unix - n n - - local
anvil unix - - y - 1 anvil
",
        service(2501, "ecdsa"),
        service(2502, "rsa"),
    );
    host.write("/etc/postfix/main.cf", &main);
    host.write("/etc/postfix/master.cf", &master);
    host.shell("postfix check").expect_ok("postfix check");
    prepare_nginx(host);
}

/// nginx's mail proxy, if this machine has it.
pub(crate) fn nginx_mail() -> Option<PathBuf> {
    let (usual, variable) = NGINX_MAIL;
    let module = std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from);
    module.is_file().then_some(module)
}

/// It asks somebody by HTTP where each session's mail goes: itself, so that this too is on its account.
fn prepare_nginx(host: &Host) {
    let Some(module) = nginx_mail() else { return };
    let [ecdsa, _] = NAMES;
    let (address, port) = Sink::ADDRESS.rsplit_once(':').unwrap_or_default();
    let server = |port: u16, kind: &str| {
        format!(
            "  server {{ listen 127.0.0.1:{port}; protocol smtp; starttls on; ssl_certificate {TLS}/{kind}.pem; \
             ssl_certificate_key {TLS}/{kind}.key; }}\n"
        )
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("  {what}_temp_path /tmp/nginx-bench;\n"))
        .concat();
    let text = format!(
        "load_module {};
daemon off;
user nobody nogroup;
worker_processes 1;
pid /run/nginx-bench.pid;
error_log /dev/null crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
{temporary}  server {{ listen 127.0.0.1:2599; location / {{ add_header Auth-Status OK; add_header Auth-Server {address};
    add_header Auth-Port {port}; return 204; }} }}
}}
mail {{
  server_name {ecdsa};
  auth_http 127.0.0.1:2599/;
  smtp_auth none;
  smtp_capabilities PIPELINING 8BITMIME \"SIZE 52428800\";
  xclient off;
{}{}}}
",
        module.display(),
        server(2503, "ecdsa"),
        server(2504, "rsa"),
    );
    host.write(NGINX, &text);
}

/// Gives the host a syslog socket that takes everything, so that Postfix pays for its log what it pays elsewhere, and
/// the machine's own log does not fill.
fn drain_syslog(host: &Host) {
    let socket = host.system_log();
    std::thread::spawn(move || {
        let mut some = [0; 2048];
        while socket.recv(&mut some).is_ok() {}
    });
}
