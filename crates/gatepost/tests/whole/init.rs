//! `gatepost init`, between a real Postfix and the first mail.

use crate::gate::{CONFIG, GATEPOST};
use crate::stock_postfix::{self, DOMAIN, mailbox};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, HERE, HERE6, Host};
use gatepost_testkit::mta::Dovecot;
use gatepost_testkit::peer::Peer;
use gatepost_testkit::run::{Ended, run};
use gatepost_testkit::wait::{SOON, holds};

fn init(host: &Host, more: &[&str]) -> Ended {
    run(host.command(GATEPOST).arg("init").args(more))
}

/// The commands that `init` leaves to its reader.
pub(crate) fn steps(said: &str) -> Vec<&str> {
    let (_, steps) = said.split_once("Next, as root:").expect(said);
    steps.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

#[test]
fn issue_13_init_finds_postfix_and_what_it_leaves_to_do_brings_mail_in() {
    let test = "issue_13_init_finds_postfix_and_what_it_leaves_to_do_brings_mail_in";
    let Some(host) = host::for_test(test, &["postfix"]) else { return };
    stock_postfix::start(&host).expect_ok("postfix start");
    host.directory("/var/spool/gatepost", 0, 0o755);
    host.shell("touch /run/before").expect_ok("a file to compare with");

    // Nobody is asked, and Postfix says its name and domains.
    let made = init(&host, &[]).expect_ok("init");
    let config = host.read(CONFIG);
    assert!(config.contains(&format!("hostname = \"mx.{DOMAIN}\"")), "{config}");
    assert!(config.contains(&format!("domains = [\"mx.{DOMAIN}\", \"{DOMAIN}\"]")), "{config}");
    assert!(made.stdout.contains("FAULT") || made.stdout.contains("LOOK"), "check has looked: {}", made.said());
    // What a host has of its own: the rest of it is this machine's.
    let changed = "find /etc /var/spool/gatepost -newer /run/before -type f | sort";
    assert_eq!(
        host.shell(changed).stdout.lines().collect::<Vec<_>>(),
        ["gatepost.toml", "postfix-master.cf", "tls/cert.pem", "tls/key.pem"]
            .map(|name| format!("/etc/gatepost/{name}"))
    );
    assert_eq!(host.shell("stat -c %a /etc/gatepost/tls/key.pem").stdout.trim(), "600");

    // A second time nothing is written.
    let again = init(&host, &[]);
    assert!(!again.ok() && again.stderr.contains("is there already"), "{}", again.said());
    assert_eq!(host.read(CONFIG), config);

    // There are no accounts on this host.
    host.write(CONFIG, &format!("users = 61000\n{config}"));
    let path = format!("PATH={}:$PATH", std::path::Path::new(GATEPOST).parent().unwrap().display());
    let (last, before) = {
        let mut steps = steps(&made.stdout);
        (steps.pop().unwrap().to_owned(), steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(last, "systemctl enable --now gatepost.socket gatepost.service");
    for step in &before {
        let typed = host.shell(&format!("{path}; {step}"));
        // Postfix leaves the port when it is told to, and no sooner; this host has no name server.
        let checked = step == "gatepost check" && typed.status.code() == Some(2);
        assert!(typed.ok() || checked, "{step}: {}", typed.said());
        if step == "postfix reload" {
            holds("Postfix to leave the port", SOON, || !host.listens(&format!("{HERE}:25")));
        }
    }
    let _gatepost = host.start("gatepost", host.command(GATEPOST).arg("serve"));
    for address in [format!("{HERE}:25"), format!("[{HERE6}]:25")] {
        holds("gatepost listens", SOON, || host.listens(&address));
        let mut client = Client::over(host.connect(&address));
        client.hello("road.test");
        client.starttls(&format!("mx.{DOMAIN}"));
        client.ask("EHLO road.test", 250);
        client.deliver("a@road.test", &format!("postmaster@{DOMAIN}"), &format!("Subject: by {address}\r\n\r\nx\r\n"));
        client.ask("QUIT", 221);
        holds("it is in the mailbox", SOON, || mailbox(&host).contains(&format!("Subject: by {address}")));
    }
}

#[test]
fn issue_13_init_says_what_it_cannot_know_and_writes_nothing() {
    let test = "issue_13_init_says_what_it_cannot_know_and_writes_nothing";
    let Some(host) = host::for_test(test, &[]) else { return };
    host.shell("rm -rf /etc/postfix /etc/exim4 /etc/dovecot /etc/smtpd.conf /etc/mail; hostname mx")
        .expect_ok("a host without an MTA");
    for (more, says) in [
        (&[][..], "name what stands behind by --for, one of postfix, exim"),
        (&["--for", "postfixx"], "--for postfixx: write one of postfix"),
        (&["--for", "smtp"], "--hostname mx.example.org"),
        (&["--for", "smtp", "--hostname", "mx.example.org"], "--domain example.org"),
        (&["--for", "smtp", "--hostname", "mx.example.org", "--domain", "example.org"], "where does smtp listen?"),
        (&["--for", "postfix", "--hostname", "mx", "--domain", "example.org"], "\"mx\" is not a full host name"),
        (&["--for", "postfix", "--hostname", "mx.example.org", "--domain", "*.example.org"], "write \".example.org\""),
    ] {
        let ended = init(&host, more);
        assert!(!ended.ok() && ended.stderr.contains(says), "{more:?}: {}", ended.said());
    }
    assert!(!host.path("/etc/gatepost/gatepost.toml").exists() && !host.path("/etc/gatepost/tls/key.pem").exists());
    // A pair that is there is used, and a half of one is not written over.
    host.directory("/var/own/tls", 0, 0o755);
    host.write("/var/own/tls/key.pem", "a key\n");
    let half = init(
        &host,
        &["--dir", "/var/own", "--for", "qmail-queue", "--hostname", "mx.example.org", "--domain", "example.org"],
    );
    assert!(!half.ok() && half.stderr.contains("key.pem is there already"), "{}", half.said());
    assert_eq!(host.read("/var/own/tls/key.pem"), "a key\n");
}

/// How a message is seen at the MTA.
type Taken<'h> = Box<dyn Fn() -> usize + 'h>;

/// The lines that `init` writes for each MTA are all that this one needs to stand behind gatepost: `check` finds nothing wrong, and
/// mail comes in.
fn stands_behind(test: &str, profile: &str, lines: &str, start: impl for<'h> Fn(&'h Host, &str) -> Taken<'h>) {
    let Some(host) = host::for_test(test, &["doveconf", "postfix", "m4"]) else { return };
    host.directory("/var/spool/gatepost", 0, 0o755);
    host.shell("mkdir -p /etc/gatepost").expect_ok("mkdir");
    init(&host, &["--for", profile, "--hostname", "mx.ok.test", "--domain", "ok.test"]).expect_ok("init");
    host.write(CONFIG, &format!("users = 61000\n{}", host.read(CONFIG)));
    let taken = start(&host, &host.read(&format!("/etc/gatepost/{lines}")));
    let place = if profile == "dovecot-lmtp" { "127.0.0.1:2424" } else { "127.0.0.1:10025" };
    holds("the MTA to listen", SOON, || host.listens(place));
    let checked = run(host.command(GATEPOST).arg("check"));
    // This host has no name server: that alone is to be looked at.
    assert!(matches!(checked.status.code(), Some(0 | 2)) && !checked.stdout.contains("FAULT"), "{}", checked.said());
    let about = checked.stdout.lines().filter(|line| line.contains("backend"));
    assert!(
        about.clone().count() > 0 && about.clone().all(|line| line.starts_with("ok") || line.contains("relay_proof")),
        "{}",
        checked.said()
    );
    let _gatepost = host.start("gatepost", host.command(GATEPOST).arg("serve"));
    holds("gatepost listens", SOON, || host.listens(&format!("{HERE}:25")));
    let mut client = Client::over(host.connect(&format!("{HERE}:25")));
    client.hello("road.test");
    client.ask("MAIL FROM:<a@road.test>", 250);
    client.ask("RCPT TO:<someone@foreign.test>", 550);
    client.ask("RSET", 250);
    client.deliver(
        "a@road.test",
        if profile == "dovecot-lmtp" { "alice@ok.test" } else { "a@ok.test" },
        "Subject: x\r\n\r\nx\r\n",
    );
    client.ask("QUIT", 221);
    holds("it is at the MTA", SOON, || taken() == 1);
}

fn peer_stands_behind(test: &str, peer: Peer, lines: &str) {
    if peer.is_there(test) {
        stands_behind(test, peer.name(), lines, |host, lines| {
            let process = peer.start_with(host, lines);
            Box::new(move || {
                let _ = &process;
                peer.queued(host)
            })
        });
    }
}

#[test]
fn issue_13_init_writes_what_exim_needs() {
    peer_stands_behind("issue_13_init_writes_what_exim_needs", Peer::Exim, "exim.conf");
}

#[test]
fn issue_13_init_writes_what_opensmtpd_needs() {
    peer_stands_behind("issue_13_init_writes_what_opensmtpd_needs", Peer::OpenSmtpd, "smtpd.conf");
}

#[test]
fn issue_13_init_writes_what_sendmail_needs() {
    peer_stands_behind("issue_13_init_writes_what_sendmail_needs", Peer::Sendmail, "sendmail.mc");
}

#[test]
fn issue_13_init_writes_what_dovecot_needs() {
    let test = "issue_13_init_writes_what_dovecot_needs";
    stands_behind(test, "dovecot-lmtp", "dovecot.conf", |host, lines| {
        let dovecot = Dovecot::start_on(host, &format!("{lines}\nssl = no"));
        Box::new(move || dovecot.maildir("alice").count())
    });
}
