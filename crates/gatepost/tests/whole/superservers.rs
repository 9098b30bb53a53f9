//! `gatepost inetd` under the superservers that administrators have, by the lines of `examples/inetd`, in front of a real Postfix.

use crate::gate::{CONFIG, GATEPOST, HOSTNAME, config, prepare, swaks};
use crate::inetd_backends::audit;
use crate::qmail_queue::QueueHome;
use crate::readme::{installs, type_in};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, AWAY6, HERE, HERE6, Host, source_tree};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::rogue::{Deed, Mta, Speaks, Stage};
use gatepost_testkit::run::{Process, run};
use gatepost_testkit::systemd::{self, SystemdHost};
use gatepost_testkit::unpacked;
use gatepost_testkit::wait::{SOON, holds};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

const POSTFIX: &str = "profile = \"postfix\"\nconnect = \"unix:/var/spool/postfix/public/gatepost\"";

/// A superserver: what it is called, the program it is, and how it is started with its example.
struct Superserver {
    name: &'static str,
    /// Descriptor 2 of what it starts is the client.
    client_hears_stderr: bool,
    /// It listens on IPv6 as well.
    six: bool,
    start: fn(&str, &Host) -> Option<Process>,
}

const SUPERSERVERS: [Superserver; 4] = [
    Superserver { name: "openbsd-inetd", client_hears_stderr: true, six: true, start: openbsd_inetd },
    Superserver { name: "xinetd", client_hears_stderr: true, six: true, start: xinetd },
    Superserver { name: "tcpserver", client_hears_stderr: false, six: false, start: tcpserver },
    Superserver { name: "tcpsvd", client_hears_stderr: false, six: false, start: tcpsvd },
];

fn example(name: &str) -> String {
    std::fs::read_to_string(source_tree().join("examples/inetd").join(name)).unwrap()
}

fn openbsd_inetd(test: &str, host: &Host) -> Option<Process> {
    let program = unpacked::program(test, "inetd", "usr/sbin/inetd")?;
    host.write("/etc/inetd.conf", &example("inetd.conf"));
    Some(host.start("inetd", host.command(program).args(["-i", "/etc/inetd.conf"])))
}

fn xinetd(test: &str, host: &Host) -> Option<Process> {
    let program = unpacked::program(test, "xinetd", "usr/sbin/xinetd")?;
    host.write("/etc/xinetd.conf", &example("xinetd.conf"));
    Some(host.start("xinetd", host.command(program).args(["-dontfork", "-f", "/etc/xinetd.conf"])))
}

fn tcpserver(_: &str, host: &Host) -> Option<Process> {
    host.write_with("/etc/service/run", &example("run"), 0o755);
    Some(host.start("run", &mut host.command("/etc/service/run")))
}

/// As the comment of the run script has it.
fn tcpsvd(test: &str, host: &Host) -> Option<Process> {
    let program = unpacked::program(test, "ipsvd", "usr/bin/tcpsvd")?;
    let run = example("run");
    let line = run.lines().find_map(|line| line.split_once("exec tcpsvd ")).expect("the line with tcpsvd").1;
    Some(host.start("tcpsvd", host.command(program).args(line.split(' '))))
}

/// Installs the program and its configuration; `backend` as in the configuration.
fn install(host: &Host, backend: &str) {
    prepare(host);
    host.write(CONFIG, &config(backend, ""));
    run(Command::new("install").arg(GATEPOST).arg(host.path("/usr/sbin/gatepost"))).expect_ok("install");
}

/// Starts a superserver; none: it is not here.
fn begin(superserver: &Superserver, test: &str, host: &Host) -> Option<Process> {
    let process = (superserver.start)(test, host)?;
    holds(&format!("{} to listen", superserver.name), SOON, || host.listens(&format!("{HERE}:25")));
    Some(process)
}

fn is_gatepost(command_line: &str) -> bool {
    command_line.split(' ').next().is_some_and(|program| program.ends_with("gatepost"))
}

#[test]
fn issue_11_mail_reaches_postfix_under_every_superserver() {
    let name = "issue_11_mail_reaches_postfix_under_every_superserver";
    let needs = ["postfix", "swaks", "openssl", "tcpserver"];
    for superserver in &SUPERSERVERS {
        let Some(host) = host::for_test(name, &needs) else { return };
        let postfix = Postfix::start(&host);
        install(&host, POSTFIX);
        let Some(process) = begin(superserver, name, &host) else { continue };
        let said = run(&mut swaks(&host, "alice@ok.test", "by swaks")).expect_ok(superserver.name).stdout;
        assert!(said.contains("=== TLS started"), "{said}");
        let mail = postfix.maildir("alice").one_with("Subject: by swaks");
        assert!(mail.contains(&format!("[{AWAY}]")) && mail.contains("with ESMTPS"), "{mail}");
        // Larger than what is kept in memory.
        let mut client = Client::over(host.connect(&format!("{HERE}:25")));
        client.hello("road.test");
        let line = format!("..{}\r\n", "x".repeat(900));
        client.deliver("sender@road.test", "bob@ok.test", &format!("Subject: large\r\n\r\n{}", line.repeat(400)));
        client.ask("MAIL FROM:<sender@road.test>", 250);
        let refused = client.ask("RCPT TO:<someone@elsewhere.test>", 550);
        assert!(refused.text().contains("5.7.1"), "{refused}");
        client.ask("QUIT", 221);
        assert_eq!(client.rest(), "", "{}: nothing after the last reply", superserver.name);
        let large = postfix.maildir("bob").one_with("Subject: large");
        assert_eq!(large.matches(&"x".repeat(900)).count(), 400);
        if superserver.six {
            let mut six = Client::over(host.connect(&format!("[{HERE6}]:25")));
            six.hello("road.test");
            six.deliver("sender@road.test", "alice@ok.test", "Subject: six\r\n\r\n");
            let mail = postfix.maildir("alice").one_with("Subject: six");
            assert!(mail.contains(AWAY6), "{mail}");
        }
        // Both processes end with their client, and leave nothing behind.
        holds("its processes to end", SOON, || !host.processes().iter().any(|line| is_gatepost(line)));
        assert_eq!(host.shell("ls -A /var/spool/gatepost/inetd").stdout, "backends\n", "{}", superserver.name);
        drop(process);
    }
}

/// Where this test listens as the system's log.
fn system_log(host: &Host) -> UnixDatagram {
    let log = host.system_log();
    log.set_nonblocking(true).unwrap();
    log
}

fn logged(log: &UnixDatagram) -> String {
    let mut all = String::new();
    let mut datagram = [0; 8192];
    while let Ok(length) = log.recv(&mut datagram) {
        all.push_str(&String::from_utf8_lossy(&datagram[..length]));
        all.push('\n');
    }
    all
}

#[test]
fn issue_11_a_mistake_is_a_421_to_the_client_and_a_located_line_in_the_log() {
    let name = "issue_11_a_mistake_is_a_421_to_the_client_and_a_located_line_in_the_log";
    for superserver in &SUPERSERVERS {
        let Some(host) = host::for_test(name, &["openssl", "tcpserver"]) else { return };
        install(&host, POSTFIX);
        let log = system_log(&host);
        host.write(CONFIG, "hostname = 7\n");
        let Some(process) = begin(superserver, name, &host) else { continue };
        let mut client = Client::over(host.connect(&format!("{HERE}:25")));
        // These octets, and none of the words that the log has.
        assert_eq!(client.rest(), "421 4.3.0 service not available, try again\r\n", "{}", superserver.name);
        let mut said = String::new();
        holds("a line in the log", SOON, || {
            said.push_str(&if superserver.client_hears_stderr { logged(&log) } else { process.said() });
            said.contains(CONFIG) && said.contains("hostname")
        });
        if superserver.client_hears_stderr {
            assert!(said.contains("<19>gatepost["), "{said}");
        }
    }
}

#[test]
fn p4_a_pipe_is_nobody_unless_a_ucspi_server_says_who() {
    let name = "p4_a_pipe_is_nobody_unless_a_ucspi_server_says_who";
    let Some(host) = host::for_test(name, &["postfix", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    install(&host, POSTFIX);
    // The address of one that may relay, which the environment of a connection must not be able to claim.
    let relay = host.read(CONFIG).replace("domains = [", "clients = [\"198.51.100.0/24\"]\ndomains = [");
    host.write(CONFIG, &relay);
    let dialogue = "EHLO road.test\\r\\nMAIL FROM:<s@road.test>\\r\\nRCPT TO:<alice@ok.test>\\r\\nDATA\\r\\n\
                    Subject: by pipe\\r\\n\\r\\n.\\r\\nQUIT\\r\\n";
    // A client that pipes all of it is no sender: it has to wait for EHLO's reply, RFC 2920 §3.1.
    let (hello, rest) = dialogue.split_once("MAIL").unwrap();
    let through = |variables: &str| {
        host.shell(&format!(
            "rm -f /run/to; mkfifo /run/to; ({variables} gatepost inetd </run/to 2>/run/said/pipe | tee /run/said/out) & exec 3>/run/to; \
             until [ -s /run/said/out ]; do :; done; printf '{hello}' >&3; until grep -q '^250 ' /run/said/out; do \
             grep -q '^421' /run/said/out && break; done; printf 'MAIL{rest}' >&3; exec 3>&-; wait"
        ))
        .stdout
    };
    let out = through("");
    assert!(out.starts_with("421 4.3.0 ") && out.lines().count() == 1, "{out}");
    assert!(host.read("/run/said/pipe").contains("nobody says who the client is"), "{}", host.read("/run/said/pipe"));
    let ucspi = "PROTO=TCP TCPREMOTEIP=198.51.100.7 TCPREMOTEPORT=4000 TCPLOCALIP=203.0.113.25 TCPLOCALPORT=25";
    let out = through(ucspi);
    assert!(out.starts_with(&format!("220 {HOSTNAME}")) && out.contains("\n354 ") && out.contains("\n221 "), "{out}");
    let mail = postfix.maildir("alice").one_with("Subject: by pipe");
    assert!(mail.contains("[198.51.100.7]"), "{mail}");
    // Under a connection nobody believes the environment.
    let server = host.start(
        "tcpserver",
        host.command("env").args(ucspi.split(' ')).args([
            "tcpserver",
            "-HRl0",
            HERE,
            "25",
            "env",
            "TCPREMOTEIP=198.51.100.7",
            "gatepost",
            "inetd",
        ]),
    );
    let mut client = Client::over(host.connect(&format!("{HERE}:25")));
    client.hello("road.test");
    client.ask("MAIL FROM:<s@road.test>", 250);
    client.ask("RCPT TO:<someone@elsewhere.test>", 550);
    drop(server);
}

#[test]
fn issue_11_a_queue_program_is_run_in_its_place() {
    let name = "issue_11_a_queue_program_is_run_in_its_place";
    let Some(host) = host::for_test(name, &["openssl", "swaks", "bash", "tcpserver"]) else { return };
    let home = QueueHome::make(&host);
    install(&host, &QueueHome::backend());
    let Some(server) = begin(&SUPERSERVERS[2], name, &host) else { return };
    run(&mut swaks(&host, "alice@ok.test", "queued")).expect_ok(&server.said());
    let records = home.complete();
    let [record] = records.as_slice() else { panic!("{} records: {}", records.len(), server.said()) };
    assert_eq!(record.envelope, b"Fsender@road.test\0Talice@ok.test\0\0");
    assert!(String::from_utf8_lossy(&record.message).contains("Subject: queued"));
    let mut client = Client::over(host.connect(&format!("{HERE}:25")));
    client.hello("road.test");
    assert_eq!(audit(&host), ["inetd-queue", "single-session"]);
    client.ask("QUIT", 221);
}

#[test]
fn issue_11_without_root_it_serves_with_what_can_be_had() {
    let name = "issue_11_without_root_it_serves_with_what_can_be_had";
    let Some(host) = host::for_test(name, &["postfix", "openssl", "tcpserver", "setpriv"]) else { return };
    let postfix = Postfix::start(&host);
    install(&host, "profile = \"postfix\"\nconnect = \"tcp:127.0.0.1:10025\"");
    let uid = 63_900;
    host.directory("/var/spool/gatepost", uid, 0o700);
    host.shell(&format!("chown -R {uid} /etc/gatepost")).expect_ok("chown");
    let mut command = host.command_as(uid, "tcpserver");
    let server = host.start("tcpserver", command.args(["-HRl0", HERE, "2525", "gatepost", "inetd"]));
    let mut client = Client::over(host.connect(&format!("{HERE}:2525")));
    client.hello("road.test");
    client.starttls(HOSTNAME);
    client.ask("EHLO road.test", 250);
    assert_eq!(audit(&host), ["inetd", "single-session"]);
    client.deliver("sender@road.test", "alice@ok.test", "Subject: no root\r\n\r\n");
    assert!(postfix.maildir("alice").one_with("Subject: no root").contains(AWAY));
    assert!(server.said().contains("without=a-user-of-its-own"), "{}", server.said());
}

/// Installs by README's own commands what a daemon is installed by, and the two units of `gatepost inetd`; gives the host.
fn with_units(test: &str) -> Option<SystemdHost> {
    let host = systemd::for_test(test, &["openssl", "postfix", "swaks"])?;
    prepare(&host.host);
    host.shell("rm -r /var/spool/gatepost").expect_ok("the spool is for tmpfiles.d to make");
    type_in(&host, &installs());
    let users = config(POSTFIX, "").lines().filter(|line| !line.starts_with("users")).collect::<Vec<_>>().join("\n");
    host.host.write(CONFIG, &users);
    type_in(
        &host,
        "install -m 0644 systemd/gatepost-inetd.socket systemd/gatepost-inetd@.service /etc/systemd/system/
         systemctl daemon-reload; systemctl enable --now gatepost-inetd.socket",
    );
    Some(host)
}

/// The instances of the service that systemd knows.
fn instances(host: &SystemdHost) -> usize {
    host.shell("systemctl list-units --all --plain --no-legend 'gatepost-inetd@*'").stdout.lines().count()
}

#[test]
fn issue_11_systemd_starts_one_for_each_connection() {
    let Some(host) = with_units("issue_11_systemd_starts_one_for_each_connection") else { return };
    let postfix = Postfix::start(&host.host);
    let verified = host.shell("systemd-analyze verify /etc/systemd/system/gatepost-inetd.socket");
    assert!(verified.ok() && verified.said().is_empty(), "{}", verified.said());
    run(&mut swaks(&host.host, "alice@ok.test", "by a unit")).expect_ok("swaks");
    assert!(postfix.maildir("alice").one_with("Subject: by a unit").contains(&format!("[{AWAY}]")));
    let mut six = Client::over(host.host.connect(&format!("[{HERE6}]:25")));
    six.hello("road.test");
    let mut four = Client::over(host.host.connect(&format!("{HERE}:25")));
    four.hello("road.test");
    let line = format!("..{}\r\n", "x".repeat(900));
    four.deliver("sender@road.test", "bob@ok.test", &format!("Subject: large\r\n\r\n{}", line.repeat(400)));
    six.deliver("sender@road.test", "alice@ok.test", "Subject: six\r\n\r\n");
    assert!(postfix.maildir("alice").one_with("Subject: six").contains(AWAY6));
    // Each is a unit of its own, with nothing that its jails had to do without; both have the journal's priorities.
    holds("two of them are left", SOON, || instances(&host) == 2);
    let said = host.journal("gatepost-inetd@*");
    assert!(said.contains("inetd: ") && !said.contains("without=") && !said.contains("<6>"), "{said}");
    let users = host.shell("ps -o user= -p $(pgrep -d, -f 'gatepost inetd')").stdout;
    let of = |name: &str| users.lines().filter(|user| name.starts_with(user.trim_end_matches('+'))).count();
    assert_eq!((of("gatepost-handoff"), of("gatepost-session")), (2, 2), "{users}");
    // TERM drains: who is between two messages hears it.
    host.shell("systemctl stop 'gatepost-inetd@*'").expect_ok("stop");
    four.expect(421);
    six.expect(421);
    holds("none is left", SOON, || instances(&host) == 0);
    assert_eq!(
        host.shell("ls -A /var/spool/gatepost/inetd; systemctl --failed --no-legend 'gatepost*'").stdout,
        "backends\n"
    );
}

#[test]
fn issue_11_no_capability_of_the_unit_is_one_too_many() {
    let Some(host) = with_units("issue_11_no_capability_of_the_unit_is_one_too_many") else { return };
    let _postfix = Postfix::start(&host.host);
    // The key is its renewer's, as some ACME clients leave it.
    host.shell("chown nobody /etc/gatepost/tls/key.pem").expect_ok("chown");
    let serves = || {
        let mut client = Client::over(host.host.connect(&format!("{HERE}:25")));
        let greeted = client.try_reply().is_ok_and(|reply| reply.code == 220);
        drop(client);
        // What the jail lacks is in the journal before the session's end is.
        if greeted {
            holds("its end in the journal", SOON, || host.journal("gatepost-inetd@*").contains(" end="));
        }
        let whole = !host.journal("gatepost-inetd@*").contains("without=");
        greeted && whole
    };
    assert!(serves(), "{}", host.journal("gatepost-inetd@*"));
    let unit = std::fs::read_to_string(source_tree().join("systemd/gatepost-inetd@.service")).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    for capability in line.split(' ') {
        let text = format!("[Service]\nCapabilityBoundingSet=~{capability}\n");
        host.host.write("/etc/systemd/system/gatepost-inetd@.service.d/test.conf", &text);
        host.shell("systemctl daemon-reload; journalctl --rotate --vacuum-time=1s").expect_ok("reload");
        assert!(!serves(), "it serves without {capability} all the same");
    }
}

/// A host with an MTA that does as it is told, and tcpserver before it.
fn before_a_rogue(host: &Host, test: &str) -> (Mta, Process) {
    host.directory("/run/backend", 0, 0o755);
    let socket = host.path("/run/backend/smtp");
    let mta = Mta::unix(&socket, Speaks::Smtp);
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    install(host, "profile = \"postfix\"\nconnect = \"unix:/run/backend/smtp\"");
    let server = begin(&SUPERSERVERS[2], test, host).expect("tcpserver is needed");
    (mta, server)
}

#[test]
fn p7_behind_an_mta_that_relays_nobody_is_served() {
    let name = "p7_behind_an_mta_that_relays_nobody_is_served";
    let Some(host) = host::for_test(name, &["openssl", "tcpserver"]) else { return };
    let (mta, server) = before_a_rogue(&host, name);
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 Ok\r\n"));
    for _ in 0..2 {
        let mut client = Client::over(host.connect(&format!("{HERE}:25")));
        assert_eq!(client.rest(), format!("421 4.3.0 {HOSTNAME} service not available, try again\r\n"));
    }
    assert!(server.said().contains("relays for a stranger"), "{}", server.said());
}

#[test]
fn p1_the_end_of_either_process_loses_nothing_that_was_acknowledged() {
    let name = "p1_the_end_of_either_process_loses_nothing_that_was_acknowledged";
    let Some(host) = host::for_test(name, &["openssl", "tcpserver"]) else { return };
    let (mta, server) = before_a_rogue(&host, name);
    for process in ["gatepost", "gp-session"] {
        let mut client = Client::over(host.connect(&format!("{HERE}:25")));
        client.hello("road.test");
        client.begin("sender@road.test", "alice@ok.test");
        client.write(b"Subject: half\r\n\r\n");
        host.shell(&format!("kill -KILL $(pgrep -x {process})")).expect_ok(process);
        // The connection ends, without a word that could be taken for a reply to the content.
        assert_eq!(client.rest(), "", "{process}");
        holds("both to end", SOON, || !host.processes().iter().any(|line| is_gatepost(line)));
    }
    assert_eq!(mta.count(), 0);
    assert!(server.said().contains("was killed by signal 9"), "{}", server.said());
}
