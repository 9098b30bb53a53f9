//! Issue 13: what admins ask of a running gatepost.

use crate::gate::{CONFIG, GATEPOST, Gate, ROLES, config, rogue};
use gatepost_testkit::host::{self, AWAY, Host};
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
fn issue_13_top_shows_what_there_is_now() {
    let Some(host) = host::for_test("issue_13_top_shows_what_there_is_now", &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let mut idle = gate.client();
    idle.hello("road.test");
    idle.deliver("sender@road.test", "alice@ok.test", "Subject: counted\r\n\r\nx\r\n");
    let mut busy = gate.client();
    busy.hello("road.test");
    busy.ask("MAIL FROM:<sender@road.test>", 250);
    busy.ask("RCPT TO:<nobody@other.test>", 550);
    busy.ask("RCPT TO:<alice@ok.test>", 250);
    let look = || run(host.command(GATEPOST).args(["top", "--once", "--json"])).stdout;
    // Roles tell it every few seconds.
    let there = ["\"slots_used\":2,", "\"sessions_idle\":1,", "\"sessions_in_transaction\":1,"];
    let mut seen = String::new();
    holds("both sessions to be seen", SOON, || {
        seen = look();
        there.iter().all(|words| seen.contains(words))
    });
    drop(busy);
    idle.ask("QUIT", 221);
    holds("the refusal to be seen", SOON, || {
        seen = look();
        seen.contains("RelayDenied") && seen.contains(&format!("{{\"address\":\"{AWAY}\",\"count\":1}}"))
    });
    for role in ROLES {
        let pid = gate.roles()[role];
        assert!(pid != 0 && seen.contains(&format!("{{\"role\":\"{}\",\"pid\":", &role[3..])), "{role}: {seen}");
    }
    let screen = run(host.command(GATEPOST).args(["top", "--once"])).expect_ok("top").stdout;
    assert!(screen.contains("slots     ") && screen.contains("recipient: 5yz RelayDenied"), "{screen}");
    assert!(!screen.contains('\x1b'), "{screen}");
    let stranger = run(host.command_as(STRANGER, GATEPOST).args(["top", "--once"]));
    assert!(stranger.stderr.contains("only root and group gatepost-admin"), "{}", stranger.said());
    gate.stop();
}

#[test]
fn issue_13_kick_ends_sessions_and_forgive_forgets_what_was_done() {
    let name = "issue_13_kick_ends_sessions_and_forgive_forgets_what_was_done";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, "[limits]\noffences = 1"));
    let admin = |words: &[&str]| run(host.command(GATEPOST).args(words));
    let mut client = gate.client();
    client.hello("road.test");
    for (whom, said) in
        [("ffffffffff", "no such session"), ("198.51.100.1", "no such session"), (AWAY, "1 session is told to end")]
    {
        let kicked = admin(&["kick", whom]);
        assert!(kicked.ok() && kicked.stdout.contains(said), "{whom}: {}", kicked.said());
    }
    assert!(client.rest().starts_with("421 4.3.2 "));
    assert_eq!(admin(&["kick", "somebody"]).status.code(), Some(2));

    // Abuse slows an address down, and then turns it away.
    let abuse = || {
        let mut client = gate.client();
        while client.try_ask("NONSENSE").is_ok_and(|reply| reply.code != 421) {}
        client.rest()
    };
    holds("the address to be turned away", SOON, || {
        let mut client = gate.client();
        if client.try_reply().is_ok_and(|greeting| greeting.code == 421) {
            return true;
        }
        drop(client);
        let _ = abuse();
        false
    });
    let forgiven = admin(&["forgive", AWAY]);
    assert!(forgiven.ok() && forgiven.stdout.contains("counts no more"), "{}", forgiven.said());
    gate.client().hello("road.test");
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
    assert!(absent.stderr.contains("no gatepost runs here") && absent.stderr.contains("start"), "{}", absent.stderr);
    let right = config(&backend, "");
    let gate = Gate::start(&host, &right);
    let well = ask(&host, "status");
    assert!(well.ok() && well.stdout.contains("service  serving\n"), "{}", well.said());
    for role in ROLES {
        assert!(well.stdout.contains(&format!("{} ", &role[3..])), "{role}: {}", well.stdout);
    }
    let before = gate.roles()["gp-keyholder"];
    assert!(signal(before, "KILL"));
    holds("another keyholder", SOON, || gate.roles().get("gp-keyholder").is_some_and(|pid| *pid != before));
    holds("all is well again", SOON, || ask(&host, "status").ok());

    // What there is to look at is on standard output too.
    host.write(CONFIG, "hostname = 7\n");
    assert!(!ask(&host, "reload").ok());
    let look = ask(&host, "status");
    assert_eq!(look.status.code(), Some(2), "{}", look.said());
    assert!(look.stdout.contains("service  serving\n") && look.stderr.is_empty(), "{}", look.said());
    host.write(CONFIG, &right);
    ask(&host, "reload").expect_ok("reload");

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
