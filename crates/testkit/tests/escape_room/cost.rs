//! What a session costs in system calls, from its fork to its end: counted by strace(1), so no clock is in it.

use crate::needed::{Seen, watch};
use crate::room::{HONEST, Room};
use gatepost_testkit::client::Client;

/// System calls of a session in clear with one small message, at most. One of them is the look whether its slot is wanted.
const CALLS_MAX: usize = 41;
/// F_GETFD: the standard library looks at each descriptor before it closes it, in builds with debug assertions only.
const F_GETFD: u64 = 1;

pub(crate) fn a_message_costs_few_calls(test: &str) {
    let Some(room) = Room::furnish(test, &["strace"], "receiver") else { return };
    let seen = watch(room, |room| {
        let mut client = Client::over(room.connect(HONEST).0);
        client.hello("honest.test");
        client.begin("honest@road.test", "bob@ok.test");
        client.write(b"Subject: small\r\n\r\nx\r\n.\r\n");
        client.expect(250);
        client.ask("QUIT", 221);
    });
    let only_debug = |seen: &Seen| seen.name == "fcntl" && seen.args.get(1) == Some(&F_GETFD);
    let calls: Vec<&str> = seen
        .iter()
        .filter(|seen| seen.role == "gp-session" && !only_debug(seen))
        .map(|seen| seen.name.as_str())
        .collect();
    println!("{} calls: {}", calls.len(), calls.join(" "));
    assert!(calls.contains(&"exit_group"), "no session was seen from its fork to its end: {calls:?}");
    assert!(calls.len() <= CALLS_MAX, "{} calls: {calls:?}", calls.len());
}
