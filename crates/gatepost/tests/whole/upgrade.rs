//! Issue 13: another program file in the place of the one that runs is executed in the same process by a reload, and nobody notices.

use crate::gate::{CONFIG, GATEPOST, Gate, HOSTNAME, ROLES, config, gateposts, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::{Ended, run, signal};
use gatepost_testkit::wait::{SOON, holds};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Where the program lies that is started, as a package has it.
const PROGRAM: &str = "/run/sbin/gatepost";
/// Clients at once.
const CLIENTS: u32 = 6;

/// Puts a build in the program's place as a package manager does; `more` makes it another one.
fn install(host: &Host, more: &str) {
    let line = format!(
        "mkdir -p /run/sbin && strip -o {PROGRAM}.new {GATEPOST} && printf '%s' '{more}' >> {PROGRAM}.new && mv {PROGRAM}.new {PROGRAM}"
    );
    host.shell(&line).expect_ok("install");
}

fn reload(host: &Host) -> Ended {
    run(host.command(PROGRAM).arg("reload"))
}

/// The last octets of the file that the process runs.
fn runs(gate: &Gate<'_>) -> String {
    let octets = std::fs::read(format!("/proc/{}/exe", gate.launcher())).unwrap();
    String::from_utf8_lossy(&octets[octets.len() - 6..]).into_owned()
}

/// Delivers one message after the other, each by a connection of its own, until it is told to end. How many were taken.
fn deliver_on(host: &Host, who: u32, ends: &AtomicBool, done: &AtomicU32) -> u32 {
    let mut taken = 0;
    while !ends.load(Ordering::Relaxed) {
        let mut client = Client::over(host.connect(&starttls()));
        client.hello("road.test");
        client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: {who}.{taken}\r\n\r\nx\r\n"));
        client.ask("QUIT", 221);
        taken += 1;
        done.fetch_add(1, Ordering::Relaxed);
    }
    taken
}

#[test]
fn issue_13_another_program_takes_its_place_under_load_and_so_back() {
    let name = "issue_13_another_program_takes_its_place_under_load_and_so_back";
    let Some(host) = host::for_test(name, &["openssl", "strip"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    install(&host, "first.");
    let gate = Gate::start_program(&host, PROGRAM, &config(&backend, ""));
    let pid = gate.launcher();
    let mut content = gate.client();
    content.hello("content.test");
    content.starttls(HOSTNAME);
    content.ask("EHLO content.test", 250);
    content.begin("sender@road.test", "alice@ok.test");
    content.write(b"Subject: across\r\n");

    let (ends, done) = (AtomicBool::new(false), AtomicU32::new(0));
    let delivered: u32 = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|who| {
                let (host, ends, done) = (&host, &ends, &done);
                scope.spawn(move || deliver_on(host, who, ends, done))
            })
            .collect();
        for build in ["second", "first."] {
            let before = done.load(Ordering::Relaxed);
            holds("clients to be served", SOON, || done.load(Ordering::Relaxed) > before + CLIENTS);
            install(&host, build);
            let taken = reload(&host);
            assert!(taken.ok() && taken.stdout == "reloaded\n", "{}\n{}", taken.said(), gate.process.said());
            assert_eq!(runs(&gate), build);
            assert_eq!(gate.launcher(), pid);
        }
        let before = done.load(Ordering::Relaxed);
        holds("clients to be served", SOON, || done.load(Ordering::Relaxed) > before + CLIENTS);
        ends.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    content.write(b"\r\nx\r\n.\r\n");
    content.expect(250);
    content.ask("QUIT", 221);
    // None refused, none broken, none lost.
    let acknowledged = mta.taken().iter().filter(|message| message.acknowledged).count();
    assert_eq!(acknowledged, usize::try_from(delivered).unwrap() + 1);
    holds("the old roles end with their last session", SOON, || gate.tree().len() == 1 + ROLES.len());
    let audit = run(host.command(PROGRAM).arg("audit"));
    assert!(audit.ok(), "{}", audit.said());
    assert!(run(host.command(PROGRAM).arg("status")).ok());
    gate.stop();
}

#[test]
fn issue_13_a_program_that_cannot_serve_is_refused_and_the_old_one_goes_on() {
    let name = "issue_13_a_program_that_cannot_serve_is_refused_and_the_old_one_goes_on";
    let Some(host) = host::for_test(name, &["openssl", "strip"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    install(&host, "first.");
    let right = config(&backend, "");
    let mut gate = Gate::start_program(&host, PROGRAM, &right);
    let ask = |word: &str| run(host.command(GATEPOST).arg(word));
    for (line, reason) in [
        ("cp /bin/false {}.new; chmod 755 {}.new", "it ended with status 1"),
        ("printf '#!/bin/sh\\nexit 0\\n' > {}.new; chmod 755 {}.new", "cannot start"),
        ("head -c 100000 {} > {}.new; chmod 755 {}.new", "is not taken"),
        ("printf x > {}.new; chmod 755 {}.new", "is not taken"),
        ("cp /bin/true {}.new; chmod 777 {}.new", "others than root may change it"),
    ] {
        host.shell(&format!("{}; mv {PROGRAM}.new {PROGRAM}", line.replace("{}", PROGRAM))).expect_ok(line);
        let refused = ask("reload");
        gate.wait_told("READY=1");
        assert_eq!(refused.status.code(), Some(1), "{line}: {}", refused.said());
        assert!(refused.stderr.contains(reason), "{line}: {}", refused.stderr);
        assert_eq!(runs(&gate), "first.");
        // It serves, but somebody should look.
        let status = ask("status");
        assert!(status.status.code() == Some(2) && status.stdout.contains(reason), "{}", status.said());
    }
    // And so is one that serves, but not with this configuration.
    install(&host, "second");
    host.write(CONFIG, &right.replace(HOSTNAME, "not a name"));
    let refused = ask("reload");
    assert!(!refused.ok() && refused.stderr.contains("hostname"), "{}", refused.stderr);
    assert_eq!(runs(&gate), "first.");
    gate.client().hello("road.test");
    host.write(CONFIG, &right);
    assert!(ask("reload").ok(), "{}", gate.process.said());
    assert_eq!(runs(&gate), "second");
    assert!(ask("status").ok());
    // Its roles are its own now: one that dies is started anew.
    let before = gate.roles()["gp-keyholder"];
    assert!(signal(before, "KILL"));
    holds("another keyholder", SOON, || gate.roles().get("gp-keyholder").is_some_and(|pid| *pid != before));
    gate.stop();
    assert!(gateposts(&host).is_empty());
}
