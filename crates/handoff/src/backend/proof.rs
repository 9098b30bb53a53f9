//! The relay proof (P7): before it gets any mail, a backend has to refuse to relay for a stranger, on the same path that mail
//! will take. Most backends see our connection as local, and local clients may relay.
//!
//! What counts as a refusal is what would be said again tomorrow, see [`is_refusal`]. A backend that says "later", because it greylists or
//! a table of its own is down, may relay then: it has not proved anything and is asked again.

use super::connection::Connection;
use super::facts::Facts;
use super::failure::Failure;
use super::list::Backend;
use super::wait::Wait;
use crate::deadline::later;
use crate::identity::Client;
use crate::transaction::Helo;
use gatepost_smtp::client::{Extensions, Reply};
use gatepost_smtp::names::ClientNames;
use gatepost_wire::slice::Identity;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// TEST-NET-1 (RFC 5737): nobody's address, so in nobody's list of trusted networks.
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 25_025);
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 25);
/// Longest wait for one backend's proof.
const WAIT: Duration = Duration::from_secs(60);
/// A name that is nobody's login: it is longer than most systems have them, and no address.
const LOGIN: &str = "gatepost-relay-test-of-who-has-logged-in";
/// What a Postfix lacks that refuses it.
const NO_LOGINS: &str = "permit_sasl_authenticated is missing in smtpd_relay_restrictions of its service in Postfix's master.cf, before \
                         reject_unauth_destination, or smtpd_sasl_auth_enable=yes is";
/// Never resolves (RFC 6761 §6.4).
const FOREIGN: &str = "gatepost-relay-test.invalid";
/// What Postfix says to a client without a name.
const NAMELESS: &str = "Client host rejected: cannot find your ";
/// What the stranger says to HELO: its address, since to a name that does not resolve Postfix may say 450 4.7.1, as greylisting does.
const HELO: &str = "[192.0.2.1]";

/// What the backend lists to a client, without asking more of it.
pub(super) async fn learn(backend: &Backend, facts: &Facts) -> Result<Option<Extensions>, Failure> {
    match connect(backend, facts, None).await? {
        Ok(connection) => {
            let extensions = connection.extensions;
            connection.quit();
            Ok(Some(extensions))
        }
        Err(_) => Ok(None),
    }
}

/// The proof. Gives what the backend lists; `None` when it refuses a stranger at once, which is proof as well.
pub(super) async fn prove(backend: &Backend, facts: &Facts) -> Result<Option<Extensions>, Failure> {
    let mut connection = match connect(backend, facts, None).await? {
        Ok(connection) => connection,
        Err(reply) if is_refusal(&reply) => {
            tracing::info!("backend {backend}: answers {} to a stranger's connection", reply.code);
            return Ok(None);
        }
        Err(reply) => return Err(Failure::Undecided(reply)),
    };
    // One that says "later" to this may take the next, which is worse to know.
    let mut undecided = None;
    for target in targets() {
        match attempt(&mut connection, &target).await {
            Ok(false) => {}
            Ok(true) => return Err(Failure::Relays(advice(backend, facts, &target))),
            Err(Failure::Undecided(reply)) => undecided = undecided.or(Some(reply)),
            Err(failure) => return Err(failure),
        }
    }
    if let Some(reply) = undecided {
        connection.quit();
        return Err(Failure::Undecided(reply));
    }
    let extensions = connection.extensions;
    connection.quit();
    Ok(Some(extensions))
}

/// Recipients for which a backend has to relay. The literal needs no name server: a domain that does not resolve may be refused
/// for that alone.
fn targets() -> [String; 3] {
    let label = RandomState::new().build_hasher().finish();
    [format!("relay-test@{FOREIGN}"), format!("relay-test@{label:016x}.{FOREIGN}"), "relay-test@[192.0.2.3]".into()]
}

/// Whether the backend refuses to relay for the same client once it has logged in. Then mail of people outside for other domains is
/// refused, and nothing else, so it is a warning. So is what keeps it from being asked.
pub(super) async fn refuses_logins(backend: &Backend, facts: &Facts) -> bool {
    let why = match relays_for_logins(backend, facts).await {
        Ok(true) => return false,
        Ok(false) => NO_LOGINS.to_owned(),
        Err(failure) => failure.to_string(),
    };
    tracing::warn!("backend {backend}: mail of who has logged in will be refused: {why}");
    true
}

async fn relays_for_logins(backend: &Backend, facts: &Facts) -> Result<bool, Failure> {
    let mut connection = connect(backend, facts, Some(LOGIN)).await?.map_err(Failure::Client)?;
    for target in targets() {
        if attempt(&mut connection, &target).await? {
            // No content follows, so there is no message.
            connection.quit();
            return Ok(true);
        }
    }
    connection.quit();
    Ok(false)
}

/// Connects for a stranger, or for one who has logged in. The inner error: the backend was told who it is and refused it.
async fn connect(backend: &Backend, facts: &Facts, login: Option<&str>) -> Result<Result<Connection, Reply>, Failure> {
    let helo = Helo { name: HELO.into(), esmtp: true };
    let client = Client {
        address: STRANGER,
        counted: STRANGER.ip(),
        local: LOCAL,
        helo: &helo,
        names: &ClientNames::NONE,
        login,
    };
    match Connection::open(backend, facts, &client, later(WAIT)).await {
        Ok(connection) => Ok(Ok(connection)),
        Err(Failure::Client(reply)) => Ok(Err(reply)),
        Err(failure) => Err(failure),
    }
}

/// True when the backend would relay to `target`. Tried with the null sender and with an ordinary one, so that a refusal of
/// the sender is not taken for a refusal to relay.
///
/// # Errors
/// [`Failure::Undecided`] when it takes it from neither and says to one of them that it may later.
async fn attempt(connection: &mut Connection, target: &str) -> Result<bool, Failure> {
    let mut undecided = None;
    for sender in [String::new(), format!("relay-test@{FOREIGN}")] {
        let mail = connection.ask(format!("MAIL FROM:<{sender}>\r\n").as_bytes(), Wait::Envelope).await?;
        let mut reply = mail;
        if reply.is_positive() {
            reply = connection.ask(format!("RCPT TO:<{target}>\r\n").as_bytes(), Wait::Envelope).await?;
            if reply.is_positive() {
                return Ok(true);
            }
        }
        match reply.code {
            400..=599 if is_refusal(&reply) => {}
            400..=599 => undecided = undecided.or(Some(reply)),
            _ => return Err(Failure::Unexpected(reply)),
        }
        let rset = connection.ask(b"RSET\r\n", Wait::Envelope).await?;
        if !rset.is_positive() {
            return Err(Failure::Unexpected(rset));
        }
    }
    undecided.map_or(Ok(false), |reply| Err(Failure::Undecided(reply)))
}

/// Whether it is a refusal that waiting does not change: any 5yz, and what Postfix says as a 4yz for ever.
fn is_refusal(reply: &Reply) -> bool {
    match (reply.code, reply.enhanced) {
        (500..=599, _) => true,
        // "Relay access denied" by defer_unauth_destination, which Postfix has by default, or under soft_bounce. Greylisting says
        // 450 or 451, be it with 4.7.1.
        (454, Some((4, 7, 1))) => true,
        // Domains of a recipient and of a sender that do not resolve, and a client without a name: never will these have one.
        (450, Some((4, 1, 2 | 8) | (4, 7, 25))) => true,
        // The same of the client under the code of greylisting: the words alone tell.
        (450, Some((4, 7, 1))) => reply.lines.iter().any(|line| line.contains(NAMELESS)),
        _ => false,
    }
}

fn advice(backend: &Backend, facts: &Facts, target: &str) -> String {
    let stranger = match facts.identity {
        Identity::None => "a client that it takes for a local one, because it is not told who the client is",
        Identity::Xclient | Identity::ProxyV2 => "a client at 192.0.2.1",
    };
    format!(
        "the backend at {backend} relays for a stranger: it takes RCPT TO:<{target}> from {stranger}. \
         Let it refuse (in Postfix: empty mynetworks= and smtpd_relay_restrictions=reject_unauth_destination for \
         this service), or write relay_proof = false if it trusts us by design; see README"
    )
}
