//! Issue 13: certificates that are renewed while clients come are taken without a signal, as certbot puts them there: links to other
//! files, one after the other.

use crate::gate::{CERTIFICATE, Gate, HOSTNAME, KEY, config, make_pair, rogue, starttls};
use gatepost_testkit::authority::Authority;
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{SOON, holds};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The certificate that a handshake shows.
pub(crate) fn shown(host: &Host) -> Vec<u8> {
    let mut client = Client::over(host.connect(&starttls()));
    client.hello("road.test");
    client.starttls(HOSTNAME);
    client.ask("EHLO road.test", 250);
    client.certificate().unwrap()
}

/// Where the `n`-th pair lies, and by what command its certificate or key is put in force.
fn link(host: &Host, n: u32, name: &str) {
    let (path, ending) = if name == "cert" { (CERTIFICATE, "cert") } else { (KEY, "key") };
    host.shell(&format!("ln -s ../archive/{ending}{n}.pem {path}.new && mv {path}.new {path}")).expect_ok("ln");
}

fn make(host: &Host, n: u32) {
    host.directory("/etc/gatepost/archive", 0, 0o755);
    make_pair(host, &format!("/etc/gatepost/archive/cert{n}.pem"), &format!("/etc/gatepost/archive/key{n}.pem"));
}

/// Does that when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn issue_13_a_certificate_is_swapped_under_load_without_a_signal() {
    let name = "issue_13_a_certificate_is_swapped_under_load_without_a_signal";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let first = shown(&host);
    make(&host, 2);
    let said = |words: &str| holds(words, SOON, || gate.process.said().contains(words));
    let (ends, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    let certificate = shown(&host);
                    seen.lock().unwrap().push(certificate);
                }
            });
        }
        // Also when this fails: or the test would wait for its clients for ever.
        let _ends = OnDrop(|| ends.store(true, Ordering::Relaxed));
        let last = || seen.lock().unwrap().last().cloned();
        // Half of it: refused with a line, and everything goes on.
        link(&host, 2, "cert");
        said("launcher: not-reloaded what=Certificates");
        assert_eq!(last().as_ref(), Some(&first));
        link(&host, 2, "key");
        said("launcher: reloaded what=Certificates");
        holds("clients to be shown the new one", SOON, || last().is_some_and(|last| last != first));
    });
    let second = shown(&host);
    assert!(first != second);
    // Each handshake was made with the one or the other; that any failed would have ended its thread.
    assert!(seen.lock().unwrap().iter().all(|one| *one == first || *one == second));
    gate.stop();
}

#[test]
fn issue_13_a_certificate_that_has_ended_is_an_event() {
    let name = "issue_13_a_certificate_that_has_ended_is_an_event";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    assert!(!gate.process.said().contains("certificate-ends"), "{}", gate.process.said());
    let ended = Authority::new().issue(HOSTNAME, (2020, 2021));
    host.write(CERTIFICATE, &ended.certificate);
    host.write_with(KEY, &ended.key, 0o600);
    holds("it to be told", SOON, || {
        gate.process.said().contains(&format!("certificate-ends certificate=\"{CERTIFICATE}\" hours=0"))
    });
    gate.stop();
}
