//! TERM drains, HUP reloads: nobody who is being served notices.

use crate::gate::{
    CERTIFICATE, CONFIG, GATEPOST, Gate, HOSTNAME, KEY, ROLES, config, gateposts, make_pair, prepare, rogue, starttls,
};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::signal;
use gatepost_testkit::wait::{SOON, holds};
use std::io::Write;
use std::time::{Duration, Instant};

#[test]
fn p1_term_lets_a_transaction_end_and_takes_no_new_client() {
    let Some(host) = host::for_test("p1_term_lets_a_transaction_end_and_takes_no_new_client", &["openssl"]) else {
        return;
    };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    let mut idle = gate.client();
    idle.hello("idle.test");
    let mut busy = gate.client();
    busy.hello("busy.test");
    busy.begin("sender@road.test", "alice@ok.test");
    busy.write(b"Subject: across the drain\r\n");
    assert!(gate.process.signal("TERM"));
    gate.wait_told("STOPPING=1");
    holds("the door is closed", SOON, || !host.listens(&starttls()));
    // Who waits between transactions is told to come again.
    assert!(idle.rest().starts_with("421 4.3.2 "));
    assert!(gate.process.ended().is_none(), "a transaction is under way");
    busy.write(b"\r\nthe rest\r\n.\r\n");
    busy.expect(250);
    assert!(busy.rest().starts_with("421 4.3.2 "));
    assert_eq!(gate.process.wait(SOON).code(), Some(0), "{}", gate.process.said());
    gate.left_nothing();
    assert_eq!(mta.taken().iter().filter(|m| m.acknowledged && m.content.contains("the rest")).count(), 1);
}

/// What is typed at a terminal goes to all its foreground processes: only the launcher is to be one of them.
#[test]
fn issue_10_ctrl_c_lets_a_transaction_end() {
    let Some(host) = host::for_test("issue_10_ctrl_c_lets_a_transaction_end", &["openssl", "script", "mkfifo"]) else {
        return;
    };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    host.write(CONFIG, &config(&backend, ""));
    host.shell("mkfifo /run/keys").expect_ok("mkfifo");
    let line = format!("exec script -qec 'exec {GATEPOST} serve' /dev/null < /run/keys");
    let mut terminal = host.start("terminal", host.command("sh").args(["-c", &line]));
    let mut keys = std::fs::OpenOptions::new().write(true).open(host.path("/run/keys")).unwrap();
    holds("it to serve", SOON, || host.listens(&starttls()));
    let mut busy = Client::over(host.connect(&starttls()));
    busy.hello("busy.test");
    busy.begin("sender@road.test", "alice@ok.test");
    busy.write(b"Subject: across the interrupt\r\n");
    keys.write_all(b"\x03").unwrap();
    holds("it to listen no more", SOON, || !host.listens(&starttls()));
    busy.write(b"\r\nthe rest\r\n.\r\n");
    busy.expect(250);
    assert!(busy.rest().starts_with("421 4.3.2 "));
    assert_eq!(terminal.wait(SOON).code(), Some(0), "{}", terminal.said());
    holds("no process of it is left", SOON, || gateposts(&host).is_empty());
    assert_eq!(mta.taken().iter().filter(|m| m.acknowledged && m.content.contains("the rest")).count(), 1);
}

#[test]
fn term_is_heard_while_the_start_waits_for_its_backend() {
    let Some(host) = host::for_test("term_is_heard_while_the_start_waits_for_its_backend", &["openssl"]) else {
        return;
    };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    drop(mta); // The socket stays and refuses.
    prepare(&host);
    host.write(CONFIG, &config(&backend, ""));
    let mut process = host.start("gatepost", host.command(GATEPOST).arg("serve"));
    process.wait_said("clients are told to come again (421)", SOON);
    assert!(process.ended().is_none(), "{}", process.said());
    let told = Instant::now();
    assert!(process.signal("TERM"));
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.said());
    // Handoff gives a backend half a minute.
    assert!(told.elapsed() < Duration::from_secs(15));
    holds("no process of it is left", SOON, || gateposts(&host).is_empty());
}

#[test]
fn issue_13_a_drain_has_the_time_of_the_configuration_and_names_whom_it_cuts() {
    let name = "issue_13_a_drain_has_the_time_of_the_configuration_and_names_whom_it_cuts";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let mut gate = Gate::start(&host, &config(&backend, "[limits]\ndrain = \"1s\""));
    let mut busy = gate.client();
    busy.hello("busy.test");
    busy.begin("sender@road.test", "alice@ok.test");
    let told = Instant::now();
    assert!(gate.process.signal("TERM"));
    assert_eq!(gate.process.wait(SOON).code(), Some(0), "{}", gate.process.said());
    assert!(told.elapsed() >= Duration::from_secs(1));
    assert_eq!(busy.rest(), "");
    let said = gate.process.said();
    assert!(said.contains("cut off: still under way") && said.contains(&format!("client={AWAY}:")), "{said}");
    gate.left_nothing();
}

/// A client between two commands, one within a transaction and one within content, each with all of its session still before it.
#[test]
fn issue_13_a_reload_sends_nobody_away() {
    let Some(host) = host::for_test("issue_13_a_reload_sends_nobody_away", &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let first = config(&backend, "");
    let mut gate = Gate::start(&host, &first);
    let mut idle = gate.client();
    idle.hello("idle.test");
    let mut busy = gate.client();
    busy.hello("busy.test");
    busy.ask("MAIL FROM:<sender@road.test>", 250);
    let mut content = gate.client();
    content.hello("content.test");
    content.starttls(HOSTNAME);
    content.ask("EHLO content.test", 250);
    content.begin("sender@road.test", "alice@ok.test");
    content.write(b"Subject: content\r\n");

    // Another domain from now on, for those who come from now on.
    host.write(CONFIG, &first.replace("[\"ok.test\"]", "[\"new.test\"]"));
    assert!(gate.process.signal("HUP"));
    gate.wait_told("READY=1");
    let mut fresh = gate.client();
    fresh.hello("fresh.test");
    fresh.ask("MAIL FROM:<sender@road.test>", 250);
    fresh.ask("RCPT TO:<alice@ok.test>", 550);
    fresh.ask("QUIT", 221);

    content.write(b"\r\nx\r\n.\r\n");
    content.expect(250);
    busy.ask("RCPT TO:<alice@ok.test>", 250);
    busy.ask("DATA", 354);
    busy.write(b"Subject: busy\r\n\r\nx\r\n.\r\n");
    busy.expect(250);
    // And as often as they like.
    for client in [&mut idle, &mut busy, &mut content] {
        client.deliver("sender@road.test", "alice@ok.test", "Subject: once more\r\n\r\nx\r\n");
        client.ask("QUIT", 221);
    }
    assert_eq!(mta.taken().iter().filter(|m| m.acknowledged).count(), 5);
    holds("the old roles end with their last session", SOON, || gate.tree().len() == 1 + ROLES.len());
    let _ = gate.audit(&[]).expect_ok("audit after a reload");
    gate.stop();
}

#[test]
fn issue_13_old_configurations_are_bounded_in_number() {
    let Some(host) = host::for_test("issue_13_old_configurations_are_bounded_in_number", &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = gate.client();
        client.hello("waits.test");
        clients.push(client);
        assert!(gate.process.signal("HUP"));
        gate.wait_told("READY=1");
    }
    let [oldest, others @ ..] = clients.as_mut_slice() else { panic!() };
    assert!(oldest.rest().starts_with("421 4.3.2 "), "the fourth reload is one too many for it");
    for client in others {
        client.ask("NOOP", 250);
    }
    gate.stop();
}

fn shown(gate: &Gate<'_>) -> Vec<u8> {
    let mut client: Client = gate.client();
    client.hello("road.test");
    client.starttls(HOSTNAME);
    client.certificate().unwrap()
}

#[test]
fn hup_takes_a_new_certificate_and_cuts_nobody_off() {
    let Some(host) = host::for_test("hup_takes_a_new_certificate_and_cuts_nobody_off", &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let right = config(&backend, "");
    let mut gate = Gate::start(&host, &right);
    let first = shown(&gate);
    let mut busy = gate.client();
    busy.hello("busy.test");
    busy.begin("sender@road.test", "alice@ok.test");
    busy.write(b"Subject: across the reload\r\n");

    make_pair(&host, CERTIFICATE, KEY);
    assert!(gate.process.signal("HUP"));
    gate.wait_told("READY=1");
    let second = shown(&gate);
    assert!(first != second, "the new certificate is shown");
    busy.write(b"\r\nx\r\n.\r\n");
    busy.expect(250);
    assert_eq!(mta.taken().iter().filter(|m| m.acknowledged && m.content.contains("across the reload")).count(), 1);
    drop(busy);

    // A mistake leaves everything as it is, and is said.
    host.write(CONFIG, "hostname = 7\n");
    assert!(gate.process.signal("HUP"));
    gate.process.wait_said("not-reloaded", SOON);
    assert!(shown(&gate) == second);
    // And so does a key that does not fit any more.
    host.write(CONFIG, &right);
    make_pair(&host, "/etc/gatepost/other.pem", KEY);
    gate.wait_told("READY=1");
    assert!(gate.process.signal("HUP"));
    gate.wait_told("READY=1");
    assert!(shown(&gate) == second);
    // The audit is not to meet a process that is just ending.
    holds("the old roles have ended", SOON, || gate.tree().len() == 1 + ROLES.len());
    let _ = gate.audit(&[]).expect_ok("audit after reloads");
    gate.stop();
}

#[test]
fn a_second_term_ends_even_a_role_that_is_stuck() {
    let Some(host) = host::for_test("a_second_term_ends_even_a_role_that_is_stuck", &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    let stuck = gate.roles()["gp-handoff"];
    assert!(signal(stuck, "STOP"));
    assert!(gate.process.signal("TERM"));
    gate.wait_told("STOPPING=1");
    assert!(gate.process.signal("TERM"));
    let _ = gate.process.wait(SOON);
    gate.left_nothing();
}
