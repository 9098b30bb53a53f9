//! The relay proof (P7): before it gets any mail, a backend shows that it refuses to relay for a stranger, on the very
//! path that mail will take. To most of them we are a neighbour, and neighbours may relay.

use super::connection::Connection;
use super::doors::named;
use super::{Facts, Failure, Phase};
use crate::clock::later;
use crate::identity::Client;
use crate::transaction::Helo;
use gatepost_smtp::client::{Extensions, Reply};
use gatepost_wire::slice::{Connect, Identity};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// TEST-NET-1 (RFC 5737): nobody's address, so nobody's friend.
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 25_025);
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 25);
/// Longest wait for one backend's proof.
const WAIT: Duration = Duration::from_secs(60);
/// Never resolves (RFC 6761 §6.4).
const FOREIGN: &str = "gatepost-relay-test.invalid";

/// What the backend lists to a client, without asking more of it.
pub(super) async fn learn(connect: &Connect, facts: &Facts) -> Result<Option<Extensions>, Failure> {
    match stranger(connect, facts).await? {
        Ok(connection) => {
            let extensions = connection.extensions;
            connection.quit();
            Ok(Some(extensions))
        }
        Err(_) => Ok(None),
    }
}

/// The proof. Gives what the backend lists, unless it does not even let a stranger in, which proves as much.
pub(super) async fn prove(connect: &Connect, facts: &Facts) -> Result<Option<Extensions>, Failure> {
    let mut connection = match stranger(connect, facts).await? {
        Ok(connection) => connection,
        Err(refusal) => {
            tracing::info!("backend {}: answers {} to a stranger's connection", named(connect), refusal.code);
            return Ok(None);
        }
    };
    let label = RandomState::new().build_hasher().finish();
    // The literal is refused by name only: no backend can hide behind a domain that does not resolve.
    let targets = [
        format!("relay-test@{FOREIGN}"),
        format!("relay-test@{label:016x}.{FOREIGN}"),
        "relay-test@[192.0.2.3]".into(),
    ];
    for target in targets {
        if attempt(&mut connection, &target).await? {
            return Err(Failure::Relays(advice(connect, facts, &target)));
        }
    }
    let extensions = connection.extensions;
    connection.quit();
    Ok(Some(extensions))
}

/// Introduces a stranger. The inner error: the backend has refused it, having understood who it is.
async fn stranger(connect: &Connect, facts: &Facts) -> Result<Result<Connection, Reply>, Failure> {
    let helo = Helo { name: FOREIGN.into(), esmtp: true };
    let client = Client { address: STRANGER, local: LOCAL, helo: &helo };
    match Connection::open(connect, facts, &client, later(WAIT)).await {
        Ok(connection) => Ok(Ok(connection)),
        Err(Failure::Client(reply)) => Ok(Err(reply)),
        Err(failure) => Err(failure),
    }
}

/// True when the backend would relay to `target`. Without the bounce's sender it is tried with an ordinary one, so that
/// an opinion about the one does not pass for a refusal to relay.
async fn attempt(connection: &mut Connection, target: &str) -> Result<bool, Failure> {
    for sender in [String::new(), format!("relay-test@{FOREIGN}")] {
        let mail = connection.ask(format!("MAIL FROM:<{sender}>\r\n").as_bytes(), Phase::Envelope).await?;
        if !refused(mail)? {
            let rcpt = connection.ask(format!("RCPT TO:<{target}>\r\n").as_bytes(), Phase::Envelope).await?;
            if !refused(rcpt)? {
                return Ok(true);
            }
        }
        let rset = connection.ask(b"RSET\r\n", Phase::Envelope).await?;
        if !rset.is_positive() {
            return Err(Failure::Unexpected(rset));
        }
    }
    Ok(false)
}

fn refused(reply: Reply) -> Result<bool, Failure> {
    match reply.code {
        200..=299 => Ok(false),
        400..=599 => Ok(true),
        _ => Err(Failure::Unexpected(reply)),
    }
}

fn advice(connect: &Connect, facts: &Facts, target: &str) -> String {
    let stranger = match facts.identity {
        Identity::None => "a client that it takes for a neighbour, because no identity is handed over",
        Identity::Xclient | Identity::ProxyV2 => "a client at 192.0.2.1",
    };
    format!(
        "the backend at {} relays for a stranger: it takes RCPT TO:<{target}> from {stranger}. \
         Let it refuse (in Postfix: empty mynetworks= and smtpd_relay_restrictions=reject_unauth_destination for \
         this service), or say relay_proof = false if it trusts us by design; see README",
        named(connect)
    )
}
