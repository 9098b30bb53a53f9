//! P7: what must not serve does not: a sentence that says what to do, exit status 1, nothing bound, nothing left.

use crate::gate::{CERTIFICATE, CONFIG, GATEPOST, Gate, KEY, config, make_pair, prepare, rogue, starttls};
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::rogue::{Deed, Mta, Speaks, Stage};
use gatepost_testkit::run::run;

struct Mistake {
    name: &'static str,
    /// Makes it: on the host, or in the text of a configuration that was right.
    make: fn(&Host, &str) -> String,
    /// Words that the sentence must have.
    words: &'static [&'static str],
    /// `gatepost check` can know it as well.
    seen_by_check: bool,
}

fn same(config: &str) -> String {
    config.to_owned()
}

/// The line of a configuration that begins so, replaced.
fn with_line(config: &str, begin: &str, line: &str) -> String {
    let lines = config.lines().map(|old| if old.starts_with(begin) { line } else { old });
    lines.collect::<Vec<_>>().join("\n")
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "no accounts",
        make: |_, config| with_line(config, "users", "users = \"gatepost\""),
        words: &["no account gatepost-listen", "no account gatepost-session", "sysusers"],
        seen_by_check: true,
    },
    Mistake {
        name: "a key that does not fit its certificate",
        make: |host, config| {
            make_pair(host, "/etc/gatepost/other.pem", KEY);
            same(config)
        },
        words: &[CERTIFICATE, KEY],
        seen_by_check: true,
    },
    Mistake {
        name: "no key",
        make: |host, config| {
            host.shell(&format!("rm {KEY}")).expect_ok("rm");
            same(config)
        },
        words: &[KEY],
        seen_by_check: true,
    },
    Mistake {
        name: "a key for the world to read",
        make: |host, config| {
            host.shell(&format!("chmod 644 {KEY}")).expect_ok("chmod");
            same(config)
        },
        words: &[KEY, "chmod 0600"],
        seen_by_check: true,
    },
    Mistake {
        name: "a spool that others may write",
        make: |host, config| {
            host.directory("/var/spool/gatepost", 0, 0o777);
            same(config)
        },
        words: &["/var/spool/gatepost", "writable by others", "chmod go-w"],
        seen_by_check: true,
    },
    Mistake {
        name: "a spool that belongs to somebody",
        make: |host, config| {
            host.directory("/var/spool/gatepost", 1000, 0o755);
            same(config)
        },
        words: &["/var/spool/gatepost", "chown root"],
        seen_by_check: true,
    },
    Mistake {
        name: "no spool",
        make: |host, config| {
            host.shell("rm -r /var/spool/gatepost").expect_ok("rm");
            same(config)
        },
        words: &["/var/spool/gatepost", "install -d"],
        seen_by_check: true,
    },
    Mistake {
        name: "a backend socket whose directory is not there",
        make: |_, config| with_line(config, "connect", "connect = \"unix:/run/nowhere/smtp\""),
        words: &["/run/nowhere"],
        seen_by_check: true,
    },
    Mistake {
        name: "several mistakes in the text",
        make: |_, config| {
            let config = with_line(config, "hostname", "hostname = 7");
            with_line(&config, "domains", "domian = [\"ok.test\"]")
        },
        words: &["hostname = 7", "domian", "^", "gatepost.toml:1:"],
        seen_by_check: true,
    },
];

#[test]
fn p7_every_mistake_is_a_sentence_and_exit_1() {
    let Some(host) = host::for_test("p7_every_mistake_is_a_sentence_and_exit_1", &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let right = config(&backend, "");
    for mistake in MISTAKES {
        host.shell("rm -rf /var/spool/gatepost /etc/gatepost").expect_ok("rm");
        prepare(&host);
        let wrong = (mistake.make)(&host, &right);
        let said = Gate::refused(&host, &wrong);
        for word in mistake.words {
            assert!(said.contains(word), "{}: {word:?} is missing in:\n{said}", mistake.name);
        }
        assert!(!host.listens(&starttls()), "{}: something listens", mistake.name);
        if mistake.seen_by_check {
            let checked = run(host.command(GATEPOST).arg("check"));
            assert_eq!(checked.status.code(), Some(1), "{}: {}", mistake.name, checked.said());
        }
    }
    // The same ground serves as soon as it is right.
    host.shell("rm -rf /var/spool/gatepost /etc/gatepost").expect_ok("rm");
    prepare(&host);
    host.write(CONFIG, &right);
    run(host.command(GATEPOST).arg("check")).expect_ok("check of what is right");
    Gate::start(&host, &right).stop();
}

#[test]
fn p7_a_port_that_is_taken_stops_the_start() {
    let Some(host) = host::for_test("p7_a_port_that_is_taken_stops_the_start", &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    let taken = host.listen(&format!("{HERE}:465"));
    let said = Gate::refused(&host, &config(&backend, ""));
    assert!(said.contains(&format!("{HERE}:465")), "{said}");
    // What was bound before the fault was found is free again.
    drop(taken);
    let _free = host.listen(&starttls());
}

#[test]
fn p7_a_backend_that_would_relay_stops_the_start() {
    let Some(host) = host::for_test("p7_a_backend_that_would_relay_stops_the_start", &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 anybody is welcome\r\n"));
    let said = Gate::refused(&host, &config(&backend, ""));
    assert!(said.contains("relay"), "{said}");
    assert!(!host.listens(&starttls()));
    assert_eq!(mta.count(), 0, "the proof sends no mail");
    assert!(mta.lines().iter().all(|line| !line.starts_with("DATA") && !line.starts_with("BDAT")), "{:?}", mta.lines());
}

#[test]
fn p7_a_backend_that_cannot_be_told_the_client_stops_the_start() {
    let Some(host) = host::for_test("p7_a_backend_that_cannot_be_told_the_client_stops_the_start", &["openssl"]) else {
        return;
    };
    let (mta, backend): (Mta, String) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    mta.offer(&["PIPELINING", "8BITMIME"]);
    let said = Gate::refused(&host, &config(&backend, ""));
    assert!(said.contains("XCLIENT"), "{said}");
    assert!(mta.lines().iter().all(|line| !line.starts_with("RCPT")), "{:?}", mta.lines());
}

#[test]
fn p7_what_is_relaxed_is_named_at_each_start() {
    let Some(host) = host::for_test("p7_what_is_relaxed_is_named_at_each_start", &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 anybody is welcome\r\n"));
    for (line, named) in [
        (format!("{backend}\nrelay_proof = false"), "relaxed: relay_proof"),
        (format!("{backend}\nrelay_proof = false\n\n[jail]\nrelax = [\"landlock\"]"), "relaxed: landlock"),
        (format!("{backend}\nrelay_proof = false\n\n[jail]\nrelax = [\"distinct-users\"]"), "relaxed: distinct-users"),
    ] {
        let gate = Gate::start(&host, &config(&line, ""));
        assert!(gate.process.said().contains(named), "{named} is missing in:\n{}", gate.process.said());
        gate.stop();
    }
    // What nobody relaxed is named nowhere.
    mta.behave();
    let gate = Gate::start(&host, &config(&backend, ""));
    assert!(!gate.process.said().contains("relaxed"), "{}", gate.process.said());
    gate.stop();
}

#[test]
fn p7_without_namespaces_it_serves_and_the_audit_says_what_is_missing() {
    let name = "p7_without_namespaces_it_serves_and_the_audit_says_what_is_missing";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let mta = Mta::tcp(host.listen("127.0.0.1:2600"), Speaks::Smtp);
    let backend = "profile = \"smtp\"\nconnect = \"tcp:127.0.0.1:2600\"\n\n[jail]\nrelax = [\"namespaces\"]";
    let gate = Gate::start(&host, &config(backend, ""));
    assert!(gate.process.said().contains("relaxed: namespaces"), "{}", gate.process.said());
    let mut client = gate.client();
    client.hello("road.test");
    client.deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n");
    assert_eq!(mta.count(), 1);
    let audit = gate.audit(&[]);
    assert_eq!(audit.status.code(), Some(1), "{}", audit.said());
    assert!(audit.stdout.contains("net namespace: expected of its own"), "{}", audit.stdout);
    client.ask("QUIT", 221);
    gate.stop();
}

/// Issue 9, row 10: an older kernel's landlock restricts files alone, or TCP too; it was taken for the whole.
#[test]
fn p7_a_kernel_with_a_part_of_landlock_does_not_serve_unless_that_is_relaxed() {
    let name = "p7_a_kernel_with_a_part_of_landlock_does_not_serve_unless_that_is_relaxed";
    let Some(host) = host::for_test(name, &["openssl", "strace"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    host.write(CONFIG, &config(&backend, ""));
    // The first call of each process asks for the version: 2 is Linux 5.19, 5 is Linux 6.10.
    for version in [2, 5] {
        let feigned = format!("landlock_create_ruleset:retval={version}:when=1");
        let mut strace = host.command("strace");
        strace.args(["-f", "-qq", "-e", "trace=landlock_create_ruleset", "-e", &format!("inject={feigned}")]);
        let ended = run(strace.args([GATEPOST, "serve"]));
        assert_eq!(ended.status.code(), Some(1), "version {version}: {}", ended.said());
        for words in ["only a part of landlock", "relax = [\"landlock\"]"] {
            assert!(ended.stderr.contains(words), "version {version}: {}", ended.said());
        }
    }
}
