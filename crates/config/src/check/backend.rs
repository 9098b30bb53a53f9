//! `[backend]`, and the backend of a `[[route]]`, which has the same keys.

use super::listen::{Listener, TLS_MODES, takes};
use super::tls::pair;
use crate::Connect;
use crate::facts::{Backend, BackendTls, Listen, ProgramUser, Queue, REPLY_TIMEOUT, Route, SYSTEM_CA, USER_IDS};
use crate::fault::{Page, Wrong};
use crate::keys::Kind::{Duration, Number, OneOrList, Other, Text, Truth, Word};
use crate::keys::Unset::{Is, Required, Said};
use crate::keys::{Table, keys};
use crate::profile::{IDENTITIES, Profile, identity_name};
use crate::section::{self, Section, plain};
use crate::value;
use gatepost_wire::slice::{CONNECTIONS_MAX, Identity, TlsMode};
use std::iter;
use toml::Spanned;
use toml::de::DeValue;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "backend",
    repeated: false,
    text: "What gets the mail.",
    keys: keys! {
        /// What stands behind gatepost. `smtp` and `lmtp` are for any other server that speaks them, and trust it with less.
        "profile" = Word(&[
            "postfix", "exim", "opensmtpd", "sendmail", "dovecot-lmtp", "cyrus-lmtp", "qmail-queue", "qmqp", "smtp", "lmtp",
        ]), Required, since "0.1", as "\"exim\"";
        /// Where it listens; several are tried in order. For the profile `qmail-queue` the program instead, by default
        /// `bin/qmail-queue` below `home`.
        "connect" = OneOrList("`unix:PATH` or `tcp:ADDRESS:PORT`"), Required, since "0.1", as "\"unix:/var/spool/postfix/public/gatepost\"";
        /// How it is told who the client is: by XCLIENT, by a PROXY header of version 2, or not at all. A backend that relays for
        /// its own machine must be told.
        "identity" = Word(&["xclient", "proxy-v2", "none"]), Said("what the profile knows"), since "0.1", as "\"proxy-v2\"";
        /// TLS with it: always with a certificate that is verified.
        "tls" = Word(&["starttls", "implicit", "off"]), Is("\"off\""), since "0.1", as "\"starttls\"";
        /// The authorities that its certificate must come from, as PEM.
        "ca" = Text("an absolute path"), Said("`/etc/ssl/certs/ca-certificates.crt`, where there is TLS"), since "0.1", as "\"/etc/gatepost/ca.pem\"";
        /// The name that its certificate must be for.
        "name" = Text("a host name"), Said("the address that is connected to"), since "0.1", as "\"store.example.org\"";
        /// Our own certificate for it, if it asks for one, as PEM.
        "certificate" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/tls/client.pem\"";
        /// The private key of that.
        "key" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/tls/client-key.pem\"";
        /// At each start it has to prove that it refuses to relay for a stranger: by a 5yz, or by the `454 4.7.1` that Postfix says by
        /// default. Until it does, as while it greylists strangers, clients are told to come again. Where it is told logins (`[submission]` with
        /// `identity = "xclient"`), it is asked as well whether it relays for who has logged in; if not, that is logged, and mail of
        /// logins for other domains will be refused by it. False only for a backend that takes everything by design, such as a test
        /// sink; logged at each start.
        "relay_proof" = Truth, Said("true, where the backend can be asked"), since "0.1", as "false";
        /// The longest wait for its answer to the end of content.
        // A client gives up after ten minutes (RFC 5321 §4.5.3.2.6) and sends again what was taken.
        "reply_timeout" = Duration(1, 599), Is("\"540s\""), since "0.1", as "\"300s\"";
        /// Connections to it at once, or queue programs; clients share them by network. Below what the backend forks. With
        /// those of all routes 150 at most.
        "connections" = Number(1, CONNECTIONS_MAX as u64), Said("80; for exim and cyrus-lmtp 16; with routes less"), since "0.1", as "40";
        /// The text of its refusals goes to the client, cleaned; or is hidden behind one of our own.
        "texts" = Word(&["pass", "hide"]), Is("\"pass\""), since "0.1", as "\"hide\"";
        /// Only for `qmail-queue`: where the program runs, the qmail home.
        "home" = Text("an absolute path"), Said("`/var/qmail`"), since "0.1", as "\"/srv/qmail\"";
        /// Only for `qmail-queue`: the real user of the program. By it qmail-queue knows that mail comes from the network.
        "queue_user" = Other("the name of an account, or a user id"), Said("`qmaild`; one of its own where `users` is a number"), since "0.1", as "\"qmaild\"";
        /// Only for `qmail-queue`: the effective user of the program, whose the queue is.
        "queue_as" = Other("the name of an account, or a user id"), Said("`qmailq`; one of its own where `users` is a number"), since "0.1", as "\"qmailq\"";
    },
};

/// The words of `texts`.
const TEXTS: [(&str, bool); 2] = [("pass", true), ("hide", false)];
/// The qmail home unless given.
const QMAIL_HOME: &str = "/var/qmail";

/// What `[backend]` and the backends of routes have in common.
pub(super) struct Backends<'a> {
    listeners: &'a [Listener],
    /// Users are numbers, so that there need be no accounts.
    numbered: bool,
    /// Connections of those that say a number.
    said: u32,
}

/// No number was said.
const UNSAID: u32 = 0;

impl<'a> Backends<'a> {
    pub(super) fn new(listeners: &'a [Listener], numbered: bool) -> Self {
        Self { listeners, numbered, said: 0 }
    }

    /// `[backend]`.
    pub(super) fn first(&mut self, page: &mut Page<'_>, root: &Section<'_>) -> Backend {
        let section = root.one(page, "backend");
        self.one(page, &section, true)
    }

    /// One of them. `queues`: it may be a queue program.
    pub(super) fn one(&mut self, page: &mut Page<'_>, section: &Section<'_>, queues: bool) -> Backend {
        let profile = section.word(page, "profile", &Profile::ALL.map(|profile| (profile.name(), profile)));
        if !section.has("profile") {
            let advice = format!(
                "write in {} what stands behind: profile = \"postfix\", or \"smtp\" for any",
                section.heading()
            );
            section.lack(page, "profile", &advice);
        }
        let reply_timeout = section.duration(page, "reply_timeout", REPLY_TIMEOUT);
        let identity = section.word(page, "identity", &IDENTITIES);
        let connections = section.number(page, "connections", UNSAID);
        self.said = self.said.saturating_add(connections);
        let texts = section.word(page, "texts", &TEXTS).is_none_or(Spanned::into_inner);
        if let Some(profile) = profile.as_ref().filter(|profile| *profile.get_ref() == Profile::QmailQueue && !queues) {
            let advice =
                "let it take messages by profile = \"qmqp\", or write it in [backend] and a route for the others";
            section.fault(page, "profile", profile, Wrong::new("a queue program can't be that of a route", advice));
        }
        let profile = profile.map(Spanned::into_inner);
        let mut connect = Vec::new();
        let mut queue = None;
        if profile == Some(Profile::QmailQueue) {
            queue = Some(queue_program(page, section, self.numbered));
        } else {
            connect = section.one_or_list(page, "connect", value::connect);
            places(page, section, &connect, self.listeners);
            for key in ["home", "queue_user", "queue_as"] {
                section.get(page, key, |_| -> Result<(), Wrong> {
                    Err(Wrong::new("only a queue program has that", "take it out, or write profile = \"qmail-queue\""))
                });
            }
        }
        let relay_proof = relay_proof(page, section, profile);
        let tls = tls(page, section, profile, &connect);
        let identity = match profile {
            Some(profile) if queue.is_none() => hand_over(page, section, profile, &connect, identity),
            _ => Identity::None,
        };
        let profile = profile.unwrap_or(Profile::Smtp);
        Backend {
            profile,
            connect: plain(connect),
            queue,
            dialect: profile.dialect(),
            identity,
            tls,
            relay_proof,
            reply_timeout,
            texts,
            connections,
        }
    }

    /// Gives those that say no number their profile's, as far as there are so many in all.
    pub(super) fn share_connections(
        self,
        page: &mut Page<'_>,
        mut backend: Backend,
        mut routes: Vec<Route>,
    ) -> (Backend, Vec<Route>) {
        let all = iter::once(&mut backend).chain(routes.iter_mut().map(|route| &mut route.backend));
        let unsaid: Vec<&mut Backend> = all.filter(|backend| backend.connections == UNSAID).collect();
        let count = u32::try_from(unsaid.len()).unwrap_or(u32::MAX);
        if self.said.saturating_add(count) > CONNECTIONS_MAX {
            let what = format!("connections: {} in all backends, and {CONNECTIONS_MAX} may be", self.said);
            page.lack(
                None,
                Wrong::new(what, "write fewer, so that some are left for each backend that says no number"),
            );
        }
        let each = CONNECTIONS_MAX.saturating_sub(self.said).checked_div(count).unwrap_or_default();
        for backend in unsaid {
            backend.connections = backend.profile.connections().min(each);
        }
        (backend, routes)
    }
}

/// The program to run and its users. `numbered`: users are numbers, so that there need be no accounts.
fn queue_program(page: &mut Page<'_>, section: &Section<'_>, numbered: bool) -> Queue {
    let home = section.text(page, "home", value::path).map_or_else(|| QMAIL_HOME.into(), Spanned::into_inner);
    let program = section.text(page, "connect", |text| match text.starts_with('/') {
        true => value::path(text),
        false => Err(Wrong::new(
            format!("\"{text}\" is no path of a program"),
            format!("write \"{QMAIL_HOME}/bin/qmail-queue\", or take it out"),
        )),
    });
    let mut user = |key, account: &str| {
        let given = section.get(page, key, program_user).map(Spanned::into_inner);
        given.unwrap_or_else(|| if numbered { ProgramUser::Own } else { ProgramUser::Account(account.to_owned()) })
    };
    let (user, owner) = (user("queue_user", "qmaild"), user("queue_as", "qmailq"));
    Queue { program: program.map_or_else(|| home.join("bin/qmail-queue"), Spanned::into_inner), home, user, owner }
}

/// An account, or a user id.
pub(super) fn program_user(value: &DeValue<'_>) -> Result<ProgramUser, Wrong> {
    let DeValue::Integer(_) = value else {
        let name = section::text(value)?;
        let right = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        let wrong = || Wrong::new(format!("\"{}\" is no account", name.escape_debug()), "write an account's name");
        return if right && !name.is_empty() { Ok(ProgramUser::Account(name.to_owned())) } else { Err(wrong()) };
    };
    let id = section::within(section::integer(value)?, USER_IDS, |id| id.to_string())?;
    u32::try_from(id).map(ProgramUser::Id).map_err(|_| Wrong::new("too much", "write a user id"))
}

/// Whether the backend is to prove that it does not relay: where it can be asked, unless told otherwise.
fn relay_proof(page: &mut Page<'_>, section: &Section<'_>, profile: Option<Profile>) -> bool {
    let unasked = profile.filter(|profile| !profile.can_be_asked());
    let Some(profile) = unasked else { return section.truth(page, "relay_proof", true) };
    let given = section.get(page, "relay_proof", |value| match value {
        DeValue::Boolean(true) => Err(Wrong::new(
            format!(
                "{} takes a message for whomever it is, so there is nothing that it could be asked",
                profile.name()
            ),
            "take it out; what may pass is said by [relay] alone",
        )),
        value => section::truth(value),
    });
    given.is_some_and(Spanned::into_inner)
}

/// TLS with the backend, and what is verified.
fn tls(
    page: &mut Page<'_>,
    section: &Section<'_>,
    profile: Option<Profile>,
    connect: &[Spanned<Connect>],
) -> Option<BackendTls> {
    let mode = section.word(page, "tls", &TLS_MODES).filter(|mode| *mode.get_ref() != TlsMode::Off);
    let ca = section.text(page, "ca", value::path);
    let name = section.text(page, "name", value::host);
    let own = section.has("certificate") || section.has("key");
    let pair = if own { pair(page, section, Vec::new()) } else { None };
    let Some(mode) = mode else {
        for key in ["ca", "name", "certificate", "key"].into_iter().filter(|_| !section.has("tls")) {
            section.get(page, key, |_| -> Result<(), Wrong> {
                Err(Wrong::new("there is no TLS with the backend", "write tls = \"starttls\" or tls = \"implicit\""))
            });
        }
        return None;
    };
    let wrong = match profile {
        Some(profile) if !profile.can_be_asked() => {
            Some(Wrong::new(format!("{} knows no TLS", profile.name()), "take it out"))
        }
        _ if connect.iter().any(|place| matches!(place.get_ref(), Connect::Unix(_))) => Some(Wrong::new(
            "a unix socket does not leave this machine and has no TLS",
            "take it out, or connect by \"tcp:...\"",
        )),
        _ => None,
    };
    if let Some(wrong) = wrong {
        section.fault(page, "tls", &mode, wrong);
    }
    Some(BackendTls {
        mode: mode.into_inner(),
        ca: ca.map_or_else(|| SYSTEM_CA.into(), Spanned::into_inner),
        name: name.map(Spanned::into_inner),
        pair,
    })
}

/// Checks that there is a place to connect to, and that none of them is our own.
fn places(page: &mut Page<'_>, section: &Section<'_>, connect: &[Spanned<Connect>], listeners: &[Listener]) {
    if !section.holds("connect") {
        let advice = format!("write in {} where it listens: connect = \"tcp:127.0.0.1:10025\"", section.heading());
        section.lack(page, "connect", &advice);
    }
    for place in connect {
        let Connect::Tcp(to) = *place.get_ref() else { continue };
        // A wide listener hears all addresses of this machine; which those are is not known here, but for loopback.
        let ours = |listen: &Listen| {
            let near = listen.address.ip() == to.ip() || to.ip().is_loopback();
            listen.address.port() == to.port() && near && takes(listen, to.ip())
        };
        if let Some(own) = listeners.iter().find(|own| own.sure && ours(&own.listen)) {
            let what = format!("gatepost itself listens at {}: mail would loop", own.listen.address);
            section.fault(page, "connect", place, Wrong::new(what, "write where the backend listens"));
        }
    }
}

/// How the backend is told who the client is: in a way that it understands at each place it listens at.
fn hand_over(
    page: &mut Page<'_>,
    section: &Section<'_>,
    profile: Profile,
    connect: &[Spanned<Connect>],
    given: Option<Spanned<Identity>>,
) -> Identity {
    for place in connect.iter().filter(|place| profile.identities(place.get_ref()).is_empty()) {
        let what = format!("{} does not listen for SMTP on a unix socket", profile.name());
        section.fault(page, "connect", place, Wrong::new(what, "write \"tcp:127.0.0.1:...\" and let it listen there"));
    }
    let understood = |identity: Identity| {
        let mut places = connect.iter().map(|place| profile.identities(place.get_ref()));
        places.all(|ways| ways.is_empty() || ways.contains(&identity))
    };
    let ways = connect.iter().flat_map(|place| profile.identities(place.get_ref())).copied();
    let fitting: Vec<Identity> = ways.filter(|identity| understood(*identity)).collect();
    let default = fitting.first().copied().unwrap_or(Identity::None);
    let Some(given) = given else { return default };
    if !understood(*given.get_ref()) {
        let what = format!("{} cannot be told by \"{}\" there", profile.name(), identity_name(*given.get_ref()));
        let advice = match profile {
            Profile::Postfix | Profile::Exim | Profile::OpenSmtpd if *given.get_ref() == Identity::None => format!(
                "write \"{}\": without it {} takes every client for its own machine and relays",
                identity_name(default),
                profile.name()
            ),
            _ => format!("write \"{}\"", identity_name(default)),
        };
        section.fault(page, "identity", &given, Wrong::new(what, advice));
    }
    given.into_inner()
}
