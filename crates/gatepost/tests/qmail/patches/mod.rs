//! The patches that everyone applies, by their own interfaces, and the ways to be started that are not tcpserver.

mod auth;
mod checks;
mod plugins;
mod starts;
mod tls;

use gatepost_testkit::client::Client;

/// Says a line and is told exactly this.
pub(crate) fn told(client: &mut Client, line: &str, reply: &str) {
    let got = client.try_ask(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    assert_eq!(got.to_string(), reply, "{line}");
}

/// Takes the greeting and says HELO, which is refused by nobody here.
pub(crate) fn greeted(client: &mut Client) {
    client.expect(220);
    client.ask("HELO road.test", 250);
}
