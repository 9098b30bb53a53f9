//! Who gets no session: what he hears, and what is told of him. An address has one line a minute for each reason, with a count.

use crate::connection::Connection;
use crate::listener::Listener;
use gatepost_policy::admission::Refusal;
use gatepost_policy::tally::Told;
use gatepost_smtp::replies::{self, Reply};
use gatepost_wire::event::{Stress, Turned, TurnedAway};
use gatepost_wire::slice::TlsMode;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

/// Between two lines about an address.
const MINUTE: Duration = Duration::from_secs(60);

/// Octets that are read of a client who is turned away and has not waited for the greeting.
const UNREAD: usize = 16 * 1024;

/// As the log and the counters have it.
pub(crate) fn turned(refusal: Refusal) -> Turned {
    match refusal {
        Refusal::Full => Turned::Full,
        Refusal::Address => Turned::Address,
        Refusal::Rate => Turned::Rate,
        Refusal::Penalty(_) => Turned::Penalty,
    }
}

/// What the client hears in place of the greeting.
fn reply(why: Turned) -> Reply {
    match why {
        Turned::Full => replies::NO_SLOT,
        Turned::Address => replies::ADDRESS_FULL,
        Turned::Rate => replies::TOO_OFTEN,
        Turned::Penalty => replies::PENALTY,
        Turned::Rules => replies::DENIED,
        Turned::Failed | Turned::Waiting => replies::FAILED,
    }
}

impl Listener {
    /// There is no session for this client: it hears why, and so does the log.
    pub(crate) fn turn_away(&self, connection: Connection, why: Turned) {
        self.tell_turned(connection.from, why);
        self.dismiss(connection, reply(why));
    }

    /// As [`Listener::turn_away`], about a client that hears of it otherwise or not at all.
    pub(crate) fn tell_turned(&self, client: SocketAddr, why: Turned) {
        self.refused.tally.borrow_mut().count(client, why);
        self.refused.due.notify_one();
        self.tell_refused();
    }

    /// This client hears that, and nothing is told.
    pub(crate) fn dismiss(&self, connection: Connection, reply: Reply) {
        say_and_close(connection.client, connection.tls, &reply.instead_of_greeting(&self.hostname));
    }

    /// The same with a reply that is not always the same.
    pub(crate) fn dismiss_with(&self, connection: Connection, line: &str) {
        say_and_close(connection.client, connection.tls, line);
    }

    /// Tells once a minute what has happened since, for as long as the role lives.
    pub(crate) async fn tell_of_refusals(self: Rc<Self>) {
        loop {
            self.refused.due.notified().await;
            while !self.refused.tally.borrow().is_quiet() {
                tokio::time::sleep(MINUTE).await;
                self.tell_rest();
            }
        }
    }

    /// What is left to tell, before the role ends.
    pub(crate) fn tell_rest(&self) {
        self.refused.tally.borrow_mut().tick();
        self.tell_refused();
    }

    fn tell_refused(&self) {
        while let Some(Told { client, what, count }) = self.poll_refused() {
            // As many networks as there are, each with a line a minute, are a flood too.
            if self.may_log(client.ip()) {
                gatepost_log::tell(TurnedAway { client, why: what, count });
            }
        }
    }

    fn poll_refused(&self) -> Option<Told<Turned>> {
        self.refused.tally.borrow_mut().poll()
    }

    /// Says that slots have become scarce, or no longer are.
    pub(crate) fn tell_stress(&self) {
        let changed = self.admission.borrow_mut().stress_has_changed();
        if let Some(begins) = changed {
            let (sessions, slots) = self.admission.borrow().slots();
            gatepost_log::tell(Stress { begins, sessions, slots });
        }
    }
}

/// Says `text`, as far as the send buffer of a fresh connection takes it, and closes. Never waits. What the client has sent already
/// is read first: closed with octets unread, a connection is reset, and the reply is lost (RFC 2525 §2.17). A client of an implicit
/// TLS listener could not read it.
fn say_and_close(client: OwnedFd, tls: TlsMode, text: &str) {
    if tls == TlsMode::Implicit {
        return;
    }
    let mut client = TcpStream::from(client);
    let _ = client.write(text.as_bytes());
    let mut client = File::from(OwnedFd::from(client));
    // Read by read(2): recvfrom(2) is not one of this role's calls.
    let _ = client.read(&mut [0; UNREAD]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_refusals_name_nobody_and_only_rules_are_for_good() {
        for why in Turned::ALL {
            let text = reply(why).instead_of_greeting("mx.example.org");
            let code = if why == Turned::Rules { "554 5.7.1 mx.example.org " } else { "421 4." };
            assert!(text.starts_with(code) && text.contains(" mx.example.org "), "{text}");
            assert!(text.ends_with("\r\n") && text.len() < 200 && !text.contains("gatepost"), "{text}");
        }
        let texts: std::collections::BTreeSet<&str> = Turned::ALL.into_iter().map(|why| reply(why).text).collect();
        // Whoever may wait no longer hears no more than that it is to come again.
        assert_eq!(texts.len(), Turned::ALL.len() - 1);
    }
}
