//! A backend that is down, or says nothing, when gatepost starts: clients hear so at once, and nothing is handed to it before
//! it has passed its proof (P7).

use crate::gate::{CONFIG, GATEPOST, Gate, config, gateposts, prepare, rogue, starttls};
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::rogue::{Deed, Mta, Speaks, Stage};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const SOCKET: &str = "/run/backend/smtp";
const UNPROVED: &str = "STATUS=Serving, but the backend cannot be asked yet";

/// What a client hears that comes now: with the greeting, and that is all.
fn sent_away(gate: &Gate<'_>) {
    let said = gate.client().rest();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[1].starts_with("421 4.3.2 ") && said.contains("the mail server cannot be reached now"), "{said}");
}

/// An open relay on the socket from now on, as [`rogue`] made a good backend before.
fn open_relay(host: &Host) -> Mta {
    let beside = format!("{SOCKET}.new");
    let mta = Mta::unix(&host.path(&beside), Speaks::Smtp);
    mta.misbehave(Stage::Rcpt, Deed::Answer("250 2.1.5 anybody is welcome\r\n"));
    host.shell(&format!("mv {beside} {SOCKET}")).expect_ok("mv");
    mta
}

#[test]
fn issue_13_postfix_stopped_at_the_start_is_a_421_at_once_and_mail_goes_as_soon_as_it_runs() {
    let name = "issue_13_postfix_stopped_at_the_start_is_a_421_at_once_and_mail_goes_as_soon_as_it_runs";
    let Some(host) = host::for_test(name, &["postfix", "openssl"]) else { return };
    let postfix = Postfix::start(&host);
    host.shell("postfix stop").expect_ok("postfix stop");
    let backend = format!("profile = \"postfix\"\nconnect = \"unix:{}\"", Postfix::SOCKET);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    gate.wait_told(UNPROVED);
    sent_away(&gate);
    host.shell("postfix start >/run/said/postfix-again 2>&1").expect_ok("postfix start");
    gate.wait_told("STATUS=Serving.");
    let mut client = gate.client();
    client.hello("road.test");
    client.deliver("sender@road.test", "alice@ok.test", "Subject: after all\r\n\r\nx\r\n");
    client.ask("QUIT", 221);
    let _ = postfix.maildir("alice").one_with("Subject: after all");
    assert!(gate.process.said().contains("refuses to relay for a stranger"), "{}", gate.process.said());
    gate.stop();
}

#[test]
fn issue_10_p7_an_open_relay_that_comes_up_late_gets_no_message_and_ends_the_service() {
    let name = "issue_10_p7_an_open_relay_that_comes_up_late_gets_no_message_and_ends_the_service";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    drop(mta);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    gate.wait_told(UNPROVED);
    sent_away(&gate);
    let status = run(host.command(GATEPOST).arg("status"));
    assert_eq!(status.status.code(), Some(2), "{}", status.said());
    assert!(status.stdout.contains("come again (421)"), "{}", status.said());
    let mta = open_relay(&host);
    assert_eq!(gate.process.wait(SOON).code(), Some(1), "{}", gate.process.said());
    assert!(gate.process.said().contains("relays for a stranger"), "{}", gate.process.said());
    assert_eq!(mta.count(), 0);
    assert!(mta.lines().iter().all(|line| !line.starts_with("DATA") && !line.starts_with("BDAT")), "{:?}", mta.lines());
    assert!(mta.lines().iter().all(|line| !line.contains("alice@ok.test")), "{:?}", mta.lines());
    holds("no process is left", SOON, || gateposts(&host).is_empty());
    assert!(!host.listens(&starttls()));
}

#[test]
fn issue_10_a_backend_that_takes_connections_and_says_nothing_keeps_nobody_waiting() {
    let name = "issue_10_a_backend_that_takes_connections_and_says_nothing_keeps_nobody_waiting";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    mta.misbehave(Stage::Greeting, Deed::Hang);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    gate.wait_told(UNPROVED);
    sent_away(&gate);
    assert!(!mta.lines().iter().any(|line| line.contains("alice@ok.test")), "{:?}", mta.lines());
    gate.stop();
}

#[test]
fn issue_10_a_reload_does_not_change_a_backend_that_works_for_one_that_cannot_be_asked() {
    let name = "issue_10_a_reload_does_not_change_a_backend_that_works_for_one_that_cannot_be_asked";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let right = config(&backend, "");
    let mut gate = Gate::start(&host, &right);
    host.write(CONFIG, &right.replace(SOCKET, "/run/backend/none"));
    assert!(gate.process.signal("HUP"));
    gate.process.wait_said("not-reloaded what=Configuration", SOON);
    let mut client = gate.client();
    client.hello("road.test");
    client.deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n");
    client.ask("QUIT", 221);
    assert_eq!(mta.count(), 1);
    gate.stop();
}

#[test]
fn issue_10_check_says_that_the_backend_cannot_be_asked_and_does_not_wait_for_it() {
    let name = "issue_10_check_says_that_the_backend_cannot_be_asked_and_does_not_wait_for_it";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    drop(mta);
    prepare(&host);
    host.write(CONFIG, &config(&backend, ""));
    let checked = run(host.command(GATEPOST).arg("check"));
    assert_eq!(checked.status.code(), Some(2), "{}", checked.said());
    let row = checked.stdout.lines().find(|line| line.starts_with("LOOK")).unwrap_or_default();
    assert!(row.contains("cannot be asked now"), "{}", checked.said());
    holds("no process is left", SOON, || gateposts(&host).is_empty());
}
