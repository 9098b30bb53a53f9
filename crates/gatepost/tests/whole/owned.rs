//! Issue 9: what an owned role holds does not outlive it.

use crate::gate::{Gate, config, rogue, starttls};
use gatepost_sys::escape;
use gatepost_testkit::client::Client;
use gatepost_testkit::host;
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::{SOON, holds};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;

/// Shuts the listening sockets down that a process has, as it would itself without its filter. How many there were.
fn shut_down_sockets(pid: u32) -> usize {
    let numbers = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let listening = numbers.filter_map(|fd| escape::descriptor_of(pid, fd).ok()).filter(|fd| {
        // Internet sockets alone: the channels of a role do not listen either.
        gatepost_sys::net::is_listening(fd.as_fd())
    });
    listening.map(|fd| TcpStream::from(fd).shutdown(Shutdown::Both).unwrap()).count()
}

#[test]
fn issue_9_an_owned_listener_does_not_kill_the_port() {
    let Some(host) = host::for_test("issue_9_an_owned_listener_does_not_kill_the_port", &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let mut gate = Gate::start(&host, &config(&backend, ""));
    let owned = gate.roles()["gp-listener"];
    let mut before = gate.client();
    before.hello("before.test");

    assert_eq!(shut_down_sockets(owned), 3, "one for each [[listen]]");
    gate.process.wait_said("listening sockets were shut down", SOON);
    holds("another listener", SOON, || gate.roles().get("gp-listener").is_some_and(|pid| *pid != owned));
    holds("an open port", SOON, || {
        let greeted = || -> io::Result<()> {
            let mut client = Client::over(host.inside(|| TcpStream::connect(starttls()))?);
            client.try_hello("after.test").map(drop)
        };
        greeted().is_ok()
    });
    let mut after = gate.client();
    after.hello("after.test");
    for client in [&mut before, &mut after] {
        client.deliver("sender@road.test", "alice@ok.test", "Subject: through a mended port\r\n\r\nx\r\n");
    }
    assert_eq!(mta.count(), 2);
    drop((before, after));
    gate.stop();
}
