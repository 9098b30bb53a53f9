//! Issue 13: `gatepost reload` and `gatepost status`.

use crate::gate::{CONFIG, GATEPOST, Gate, ROLES, config, rogue};
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::{Ended, run, signal};
use gatepost_testkit::wait::{SOON, holds};

/// Nobody's, and of no group that means anything, until a test says so.
const STRANGER: u32 = 61_500;

fn ask(host: &Host, word: &str) -> Ended {
    run(host.command(GATEPOST).arg(word))
}

#[test]
fn issue_13_reload_waits_for_the_outcome_and_says_why_not() {
    let Some(host) = host::for_test("issue_13_reload_waits_for_the_outcome_and_says_why_not", &["openssl"]) else {
        return;
    };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let right = config(&backend, "");
    let gate = Gate::start(&host, &right);
    let taken = ask(&host, "reload");
    assert!(taken.ok() && taken.stdout == "reloaded\n", "{}", taken.said());

    let mut client = gate.client();
    client.hello("road.test");
    for (wrong, reason) in [
        (right.replace("mx.ok.test", "not a name"), "hostname"),
        (right.replace("/run/backend/smtp", "/run/backend/nobody"), "backend"),
    ] {
        host.write(CONFIG, &wrong);
        let refused = ask(&host, "reload");
        assert_eq!(refused.status.code(), Some(1), "{}", refused.said());
        assert!(refused.stderr.contains("not reloaded, the old configuration stays in force"), "{}", refused.stderr);
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        client.deliver("sender@road.test", "alice@ok.test", "Subject: the old goes on\r\n\r\nx\r\n");
    }
    drop(client);
    gate.stop();
}

#[test]
fn issue_13_status_shows_what_runs_and_whether_to_look() {
    let Some(host) = host::for_test("issue_13_status_shows_what_runs_and_whether_to_look", &["openssl"]) else {
        return;
    };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let absent = ask(&host, "status");
    assert_eq!(absent.status.code(), Some(1), "{}", absent.said());
    let gate = Gate::start(&host, &config(&backend, ""));
    let well = ask(&host, "status");
    assert!(well.ok() && well.stdout.contains("service  serving\n"), "{}", well.said());
    for role in ROLES {
        assert!(well.stdout.contains(&format!("{} ", &role[3..])), "{role}: {}", well.stdout);
    }
    let before = gate.roles()["gp-keyholder"];
    assert!(signal(before, "KILL"));
    holds("another keyholder", SOON, || gate.roles().get("gp-keyholder").is_some_and(|pid| *pid != before));
    holds("all is well again", SOON, || ask(&host, "status").ok());

    // Who may not ask hears so, and a member of the group may.
    let as_stranger = || run(host.command_as(STRANGER, GATEPOST).arg("status"));
    let refused = as_stranger();
    assert_eq!(refused.status.code(), Some(1), "{}", refused.said());
    assert!(refused.stderr.contains("only root and group gatepost-admin"), "{}", refused.stderr);
    let groups = host.read("/etc/group");
    host.write("/etc/group", &format!("{groups}gatepost-admin:x:{STRANGER}:\n"));
    let member = as_stranger();
    assert!(member.ok(), "{}", member.said());
    gate.stop();
    assert!(!host.path("/run/gatepost/control").exists(), "the socket is taken away");
}
