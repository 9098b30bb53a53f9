//! Under Debian's real tcpserver with rules by the real tcprules, started by a run script as administrators have it: mail
//! of real senders reaches the queue program octet-exact, and the rules are honoured.

use crate::room::{GATEPOST, Home, Record, strip};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, HERE, Host};
use gatepost_testkit::mta::Sender;
use gatepost_testkit::run::{Process, run};
use gatepost_testkit::wait::{SOON, holds};

/// The name in `control/me`.
const ME: &str = "mx.example.org";
/// Everything that dot stuffing has ever stumbled over, and lines of all lengths.
const CONTENT: &str = "From: s@road.test\nTo: a@example.com\nSubject: s\nDate: Sun, 22 Nov 2026 00:00:00 +0000\n\
                       Message-ID: <1@road.test>\n\n.\n..\n.x\n...\n\nFrom here\n \n\t\nlast\n";
/// Loopback may relay; the road may not, and sends no large messages.
const RULES: &str = "127.:allow,RELAYCLIENT=\"\",NOTE=\"from the rules\"\n192.0.2.9:allow,DATABYTES=\"2000\"\n:deny\n";

/// A host with `/var/qmail`, the rules, and tcpserver at work.
struct Site<'h> {
    host: &'h Host,
    home: Home,
    server: Process,
}

impl<'h> Site<'h> {
    /// `options` go to tcpserver; `limits` is a line of shell before it.
    fn start(host: &'h Host, limits: &str, options: &str) -> Site<'h> {
        let home = Home::on(host, "/var/qmail");
        home.control("rcpthosts", "example.com\n");
        home.control("databytes", "5000\n");
        // In the place of the file that tcpserver starts, under its name.
        let program = home.path("bin/qmail-smtpd");
        run(std::process::Command::new("install").args(["-m", "755", GATEPOST]).arg(program)).expect_ok("install");
        host.write("/etc/tcp.smtp", RULES);
        host.shell("cd /etc && tcprules tcp.smtp.cdb tcp.smtp.tmp < tcp.smtp").expect_ok("tcprules");
        let script = format!(
            "#!/bin/sh\n{limits}\nexec tcpserver -v -R -H -l \"$(head -1 control/me)\" -x /etc/tcp.smtp.cdb {options} \\\n    \
             0 smtp /var/qmail/bin/qmail-smtpd 2>&1\n"
        );
        host.write_with("/etc/service/run", &script, 0o755);
        let server = host.start("tcpserver", host.command("sh").args(["-c", "cd /var/qmail && exec /etc/service/run"]));
        holds("tcpserver to listen", SOON, || host.listens(&format!("{HERE}:25")));
        Site { host, home, server }
    }

    fn client(&self, address: &str) -> Client {
        let mut client = Client::over(self.host.connect(&format!("{address}:25")));
        client.hello("road.test");
        client
    }

    /// Each message was delivered once, and each session is over.
    fn delivered(&self, count: usize) -> Vec<Record> {
        holds("the messages to arrive", SOON, || self.home.delivered().len() >= count);
        let all = self.home.delivered();
        assert_eq!(all.len(), count, "{}", self.server.said());
        all
    }
}

fn host_for(test: &str, needs: &[&str]) -> Option<Host> {
    host::for_test(test, &[&["tcpserver", "tcprules"], needs].concat())
}

fn received(from: &str, helo: &str) -> String {
    format!("Received: from unknown (HELO {helo}) ({from})\n  by {ME} with SMTP; <date>\n")
}

fn swaks(site: &Site<'_>, server: &str, to: &str, file: &str) -> gatepost_testkit::run::Ended {
    let mut command = site.host.command("swaks");
    command.args(["--server", server, "--helo", "road.test", "--from", "s@road.test", "--to", to]);
    run(command.args(["--data", &format!("@{file}"), "--hide-all"]))
}

#[test]
fn mail_of_real_senders_reaches_the_queue_program_octet_exact() {
    let name = "mail_of_real_senders_reaches_the_queue_program_octet_exact";
    let Some(host) = host_for(name, &["swaks", "postfix"]) else { return };
    let site = Site::start(&host, "", "-c 40");
    host.write("/tmp/mail", CONTENT);
    swaks(&site, HERE, "a@example.com", "/tmp/mail").expect_ok("swaks");
    let record = site.delivered(1).remove(0);
    assert_eq!(record.envelope, b"Fs@road.test\0Ta@example.com\0\0");
    let content = strip(received(AWAY, "road.test").as_bytes(), &record.message);
    // swaks ends each file with a line end of its own.
    let content = String::from_utf8_lossy(content.unwrap_or_else(|| panic!("{record:?}"))).into_owned();
    assert_eq!(content.strip_suffix('\n').filter(|text| text.ends_with('\n')).unwrap_or(&content), CONTENT);

    let sender = Sender::start(&host, &format!("[{HERE}]:25"), "may");
    let line = "sendmail -C /etc/postfix-road -i -f s@road.test a@example.com b@example.com < /tmp/mail";
    host.shell(line).expect_ok("sendmail");
    let record = site.delivered(2).remove(1);
    let envelope = String::from_utf8_lossy(&record.envelope).into_owned();
    assert_eq!(envelope, "Fs@road.test\0Ta@example.com\0Tb@example.com\0\0", "{}", sender.log());
    let content =
        strip(received(AWAY, "road.test").as_bytes(), &record.message).unwrap_or_else(|| panic!("{record:?}"));
    // Between ours and the text stands what Postfix has to say about itself.
    let text = String::from_utf8_lossy(content).into_owned();
    let its_own = text.strip_suffix(CONTENT).unwrap_or_else(|| panic!("{text}"));
    assert!(its_own.starts_with("Received: by road.test (Postfix") && its_own.matches("\nR").count() == 0, "{its_own}");
    assert!(sender.logged("to=<b@example.com>", "status=sent").contains("250 ok "), "{}", sender.log());
    assert!(site.server.said().contains("tcpserver: ok "), "{}", site.server.said());
}

#[test]
fn the_rules_say_who_may_relay_and_how_much() {
    let name = "the_rules_say_who_may_relay_and_how_much";
    let Some(host) = host_for(name, &[]) else { return };
    let site = Site::start(&host, "", "-c 40");
    let mut stranger = site.client(HERE);
    stranger.ask("MAIL FROM:<s@road.test>", 250);
    let reply = stranger.ask("RCPT TO:<a@foreign.test>", 553);
    assert_eq!(reply.text(), "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)");
    let content = |octets: usize| "x".repeat(octets - 1) + "\r\n";
    // DATABYTES of the rule, not the file's.
    let at_most = stranger.try_deliver("s@road.test", "a@example.com", &content(2000)).unwrap();
    assert_eq!(at_most.code, 250, "{at_most}");
    let more = stranger.try_deliver("s@road.test", "a@example.com", &content(2001)).unwrap();
    assert_eq!(more.to_string(), "552 sorry, that message size exceeds my databytes limit (#5.3.4)");
    stranger.ask("QUIT", 221);
    let mut friend = site.client("127.0.0.1");
    // No DATABYTES in this rule: the file's.
    friend.deliver("s@road.test", "a@foreign.test", &content(5000));
    assert_eq!(friend.try_deliver("s@road.test", "a@foreign.test", &content(5001)).unwrap().code, 552);
    friend.ask("QUIT", 221);
    let all = site.delivered(2);
    let of = |record: &Record, name: &str| record.variable(name).unwrap_or_else(|| panic!("no {name}"));
    for (record, ip, local) in [(&all[0], AWAY, HERE), (&all[1], "127.0.0.1", "127.0.0.1")] {
        // Scanners live on what tcpserver and the rules have said.
        assert_eq!(of(record, "PROTO"), "TCP");
        assert_eq!(of(record, "TCPREMOTEIP"), ip);
        assert_eq!(of(record, "TCPLOCALIP"), local);
        assert_eq!(of(record, "TCPLOCALPORT"), "25");
        assert_eq!(of(record, "TCPLOCALHOST"), ME);
        assert!(of(record, "TCPREMOTEPORT").parse::<u16>().is_ok());
        assert_eq!(record.variable("TCPREMOTEHOST"), None);
    }
    assert_eq!(of(&all[0], "DATABYTES"), "2000");
    assert_eq!(all[0].variable("RELAYCLIENT"), None);
    assert_eq!(of(&all[1], "RELAYCLIENT"), "");
    assert_eq!(of(&all[1], "NOTE"), "from the rules");
    holds("both ends to be told", SOON, || site.server.said().matches("status 0\n").count() >= 2);
}

/// What a queue program is told by the system: a field of its `status`, its first word.
fn field(record: &Record, name: &str) -> String {
    let rest = record.about.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{record:?}"));
    rest.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn the_queue_program_has_the_uid_the_directory_and_the_limits_that_qmail_gives_it() {
    let name = "the_queue_program_has_the_uid_the_directory_and_the_limits_that_qmail_gives_it";
    let Some(host) = host_for(name, &[]) else { return };
    for (uid, options) in [(0, "-c 40"), (64_011, "-c 40 -u 64011 -g 64011")] {
        host.shell("rm -rf /var/qmail").expect_ok("rm");
        let mut site = Site::start(&host, "ulimit -d 4096", options);
        site.home.owned_by(uid);
        let mut client = site.client(HERE);
        client.deliver("s@road.test", "a@example.com", "x\r\n");
        client.ask("QUIT", 221);
        let record = site.delivered(1).remove(0);
        assert_eq!(record.about.lines().next(), Some("/var/qmail"), "{options}");
        for ids in ["Uid:", "Gid:"] {
            assert_eq!(field(&record, ids), uid.to_string(), "{options}: {ids}");
        }
        // qmail-queue is setuid: neither no_new_privs nor a filter may reach it, nor a handler that is not its own.
        for (what, none) in [("NoNewPrivs:", "0"), ("Seccomp:", "0"), ("SigBlk:", "0000000000000000")] {
            assert_eq!(field(&record, what), none, "{options}: {what}");
        }
        assert!(site.server.signal("TERM"), "tcpserver");
        let _ = site.server.wait(SOON);
    }
}
