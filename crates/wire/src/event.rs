//! What can be told: a fixed set of events, each with named fields. Declared once: the type, its encoding, its name in the log
//! and its table for the manual all follow from the declaration here.
//!
//! A field that begins with `client_` or is an address of mail holds what a stranger wrote. It is bounded here and made
//! printable where it is written.

use crate::auth::LOGIN_MAX;
use crate::codec::{Maybe, Octets};
use crate::control::Role;
use crate::declare::{codes, fields, tagged};
use crate::line::{Level, TEXT_MAX};
use crate::link::SessionId;
use crate::session::PATH_MAX;
use gatepost_smtp::documented;
use gatepost_smtp::envelope::{CloseReason, HELO_MAX, Login, Mechanism, Reason, Tls};
use gatepost_smtp::names::Found;
use gatepost_smtp::received;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// Longest text of a reply in an event, octets; and of a detail of ours.
pub const SAID_MAX: usize = 512;
/// Longest host name in an event, octets.
pub const NAME_MAX: usize = 255;
/// Longest Message-ID in an event, octets (RFC 5322 §2.1.1: a line).
pub const MESSAGE_ID_MAX: usize = 998;

/// A field's value, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum<'a> {
    /// Not known, or not so.
    Absent,
    /// A number.
    Number(u64),
    /// A word of ours: letters, digits, dots, colons and hyphens. Needs no quotes.
    Word(Cow<'a, str>),
    /// Text that may hold anything.
    Text(Cow<'a, [u8]>),
}

/// How a field's value is written.
trait Shown {
    fn datum(&self) -> Datum<'_>;
}

macro_rules! shown {
    ($($type:ty: $value:ident => $datum:expr;)*) => {$(
        impl Shown for $type {
            fn datum(&self) -> Datum<'_> {
                let $value = self;
                $datum
            }
        }
    )*};
}

shown! {
    u8: n => Datum::Number(u64::from(*n));
    u16: n => Datum::Number(u64::from(*n));
    bool: is => Datum::Number(u64::from(*is));
    u32: n => Datum::Number(u64::from(*n));
    u64: n => Datum::Number(*n);
    &[u8]: text => Datum::Text(Cow::Borrowed(text));
    IpAddr: ip => Datum::Word(Cow::Owned(ip.to_string()));
    SocketAddr: address => Datum::Word(Cow::Owned(address.to_string()));
    SessionId: id => Datum::Word(Cow::Owned(id.to_string()));
    Reason: reason => Datum::Word(Cow::Owned(format!("{reason:?}")));
    CloseReason: reason => Datum::Word(Cow::Owned(format!("{reason:?}")));
    Penalty: penalty => Datum::Word(Cow::Owned(format!("{penalty:?}")));
    Login: result => Datum::Word(Cow::Owned(format!("{result:?}")));
    Mechanism: mechanism => Datum::Word(Cow::Owned(format!("{mechanism:?}")));
    Course: course => Datum::Word(Cow::Owned(format!("{course:?}")));
    ListTrouble: why => Datum::Word(Cow::Owned(format!("{why:?}")));
    Role: role => Datum::Word(Cow::Borrowed(role.name()));
    NoName: why => Datum::Word(Cow::Owned(format!("{why:?}")));
    Renewed: what => Datum::Word(Cow::Owned(format!("{what:?}")));
    Turned: why => Datum::Word(Cow::Owned(format!("{why:?}")));
    Tls: tls => Datum::Word(Cow::Owned(format!("{}:{}", received::version_name(tls.version), received::suite_name(tls.suite))));
    (u8, u16, u16): code => Datum::Word(Cow::Owned(format!("{}.{}.{}", code.0, code.1, code.2)));
}

impl<T: Shown> Shown for Option<T> {
    fn datum(&self) -> Datum<'_> {
        self.as_ref().map_or(Datum::Absent, Shown::datum)
    }
}

/// A row of the table of events: what an operator has to know to read one.
#[derive(Debug, Clone, Copy)]
pub struct EventRow {
    /// Its name in the log.
    pub name: &'static str,
    /// How much it matters.
    pub level: Level,
    /// When it is told.
    pub doc: &'static [&'static str],
    /// Its fields, in the order in which they are written, each with what it means.
    pub fields: &'static [(&'static str, &'static [&'static str])],
}

macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $tag:literal => $level:ident $name:ident $(<$a:lifetime>)? = $word:literal {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty $(as $coding:ty)?,)*
        }
    )*) => {
        fields! {$(
            $(#[doc = $doc])+
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name $(<$a>)? { $($(#[doc = $field_doc])+ pub $field: $type $(as $coding)?,)* }
        )*}

        tagged! {
            /// Something that happened.
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum Event<'a> {
                $($(#[doc = $doc])+ $tag => $name(event: $name $(<$a>)?),)*
            }
        }

        $(impl<'a> From<$name $(<$a>)?> for Event<'a> {
            fn from(event: $name $(<$a>)?) -> Self {
                Event::$name(event)
            }
        })*

        impl Event<'_> {
            /// Every event that there is.
            pub const TABLE: &'static [EventRow] = &[$(EventRow {
                name: $word,
                level: Level::$level,
                doc: &[$($doc),+],
                fields: &[$((stringify!($field), &[$($field_doc),+])),*],
            }),*];

            /// Its row.
            #[must_use]
            pub fn row(&self) -> EventRow {
                match self {$(
                    Self::$name(_) => EventRow {
                        name: $word,
                        level: Level::$level,
                        doc: &[$($doc),+],
                        fields: &[$((stringify!($field), &[$($field_doc),+])),*],
                    },
                )*}
            }

            /// Hands each field to `see`, in the order of the table.
            pub fn each(&self, mut see: impl FnMut(&'static str, Datum<'_>)) {
                match self {$(
                    Self::$name(event) => { $(see(stringify!($field), event.$field.datum());)* }
                )*}
            }
        }
    };
}

documented! {
    /// Why a connection gets no session.
    pub enum Turned {
        /// The client's address has as many sessions as it may have.
        Address,
        /// All slots are taken.
        Full,
        /// The address waits after abuse or a crash.
        Penalty,
        /// A session could not be begun: a failure of ours.
        Failed,
        /// Too many connections in a time, by `connections` in `[rates]`.
        Rate,
        /// The rules in `[admission]` deny it.
        Rules,
        /// It had no place to wait in, or lost it to another: for its greeting, for DNS lists or, when it is a peer of `proxy_from`, for its
        /// PROXY header.
        Waiting,
    }

    /// What an address has to bear.
    pub enum Penalty {
        /// Its sessions are greeted late.
        Late,
        /// It is turned away.
        TurnedAway,
    }
}

documented! {
    /// Why a client has no name.
    pub enum NoName {
        /// Its address has none that leads back to it, as those say who are responsible for that.
        None,
        /// Nobody could say, or not in time, or nobody was asked. It may have one.
        Temporary,
    }
}

impl NoName {
    /// None: there is a name.
    #[must_use]
    pub fn of<T>(found: &Found<T>) -> Option<Self> {
        match found {
            Found::Known(_) => None,
            Found::None => Some(Self::None),
            Found::Temporary => Some(Self::Temporary),
        }
    }
}

documented! {
    /// What becomes of a client by what DNS lists say of it.
    pub enum Course {
        /// Lists speak for it: it does not wait for its greeting.
        Favoured,
        /// None lists it.
        Usual,
        /// It waits longer for its greeting.
        Slowed,
        /// It is told to come again: 421.
        Deferred,
        /// It is refused: 554.
        Refused,
    }

    /// Why a DNS list is left out.
    pub enum ListTrouble {
        /// It does not answer.
        Silent,
        /// It answers 127.255.255.x: it does not serve the name servers that are asked.
        Refusing,
        /// It answers with addresses that are no list's: its domain may have been sold.
        Foreign,
        /// It lists 127.0.0.1, so it lists everybody.
        ListsAll,
        /// It does not list 127.0.0.2. It is not left out for that: a list of one's own may have no such entry.
        ListsNothing,
    }
}

documented! {
    /// What a reload is about.
    pub enum Renewed {
        /// The configuration, by HUP or `gatepost reload`, and the program where another one lies there.
        Configuration,
        /// Certificates or keys: others lie in their files.
        Certificates,
    }
}

codes! { Course ListTrouble NoName Penalty Renewed Turned }

events! {
    /// A transaction has ended: what became of it for one of its recipients. One event for each, also when the backend was not
    /// asked, or the client went away.
    1 => Info Recipient<'a> = "recipient" {
        /// The session.
        session: SessionId,
        /// The transaction, counted from 1 in its session. `session.transaction` is the id in `Received` and in replies.
        transaction: u32,
        /// The first recipient of the transaction: what concerns the whole message is counted with it.
        first: bool,
        /// The client's address and port.
        client: SocketAddr,
        /// The client's name, where its address has one that leads back to it.
        name: Option<&'a [u8]> as Maybe<Octets<NAME_MAX>>,
        /// Why there is no name, where there is none.
        no_name: Option<NoName>,
        /// Who its client has logged in as, or the account on this machine whose program it is. Absent where mail is relayed.
        login: Option<&'a [u8]> as Maybe<Octets<LOGIN_MAX>>,
        /// The argument of HELO or EHLO.
        helo: &'a [u8] as Octets<HELO_MAX>,
        /// The reverse-path; empty for the null reverse-path.
        from: &'a [u8] as Octets<PATH_MAX>,
        /// The forward-path.
        to: &'a [u8] as Octets<PATH_MAX>,
        /// Octets of content, as the client sent them, dots unstuffed. Of content that was refused or broken off: those that came
        /// before, the last read not always counted.
        size: u64,
        /// Version and cipher suite.
        tls: Option<Tls>,
        /// The Message-ID of the content.
        message_id: Option<&'a [u8]> as Maybe<Octets<MESSAGE_ID_MAX>>,
        /// The code of the last reply that the client heard about this recipient: to RCPT, or to the content. 0: none any more.
        reply: u16,
        /// Its enhanced code (RFC 3463).
        enhanced: (u8, u16, u16),
        /// Why, from a fixed list.
        reason: Reason,
        /// The text of that reply.
        heard: &'a [u8] as Octets<SAID_MAX>,
        /// The code of the backend's reply; 0 when it gave none.
        backend: u16,
        /// The text of the backend's reply. Its queue id is in it.
        said: Option<&'a [u8]> as Maybe<Octets<SAID_MAX>>,
        /// What went wrong, where something did.
        failure: Option<&'a [u8]> as Maybe<Octets<SAID_MAX>>,
        /// Milliseconds to the end, from the first RCPT on: MAIL alone asks nobody.
        took_ms: u32,
        /// Milliseconds of these in which the client was waited for.
        client_ms: u32,
        /// Milliseconds of these in which the backend was waited for.
        backend_ms: u32,
    }
    /// A session has ended.
    2 => Info Session<'a> = "session" {
        /// The session.
        session: SessionId,
        /// The client's address and port.
        client: SocketAddr,
        /// The client's name, where its address has one that leads back to it.
        name: Option<&'a [u8]> as Maybe<Octets<NAME_MAX>>,
        /// Why there is no name, where there is none.
        no_name: Option<NoName>,
        /// Transactions that were begun.
        transactions: u32,
        /// Messages that were taken.
        messages: u32,
        /// Why it ended, from a fixed list.
        end: CloseReason,
        /// More of that: which alert, which limit, which deadline.
        why: Option<&'a [u8]> as Maybe<Octets<SAID_MAX>>,
        /// Seconds from its beginning to its end.
        seconds: u32,
    }
    /// A command was refused by the session itself, without a question to anybody: syntax, order, limits.
    3 => Info Refused<'a> = "refused" {
        /// The session.
        session: SessionId,
        /// The client's address and port.
        client: SocketAddr,
        /// The code of the reply.
        reply: u16,
        /// Its enhanced code (RFC 3463).
        enhanced: (u8, u16, u16),
        /// Its text.
        heard: &'a [u8] as Octets<SAID_MAX>,
        /// Refusals since the last event about one in this session, this one included.
        count: u32,
        /// The command line, or its beginning.
        line: &'a [u8] as Octets<SAID_MAX>,
    }
    /// A session did what our code never does: whoever is the client may have taken it over. It was ended.
    4 => Warning Owned<'a> = "owned-session" {
        /// The session.
        session: SessionId,
        /// The client's address and port.
        client: SocketAddr,
        /// What it did.
        violation: &'a [u8] as Octets<SAID_MAX>,
    }
    /// Lines about one client, or its network, were not written: there were too many.
    5 => Warning Kept = "kept-back" {
        /// The client's address.
        client: IpAddr,
        /// Events that were not written since the last one that was.
        lines: u32,
    }
    /// Connections got no session. An address has one such event a minute for each reason.
    6 => Info TurnedAway = "turned-away" {
        /// The client's address and port.
        client: SocketAddr,
        /// Why, from a fixed list.
        why: Turned,
        /// Connections of this address (IPv6: of its /64) that were turned away so since the last event about it.
        count: u32,
    }
    /// A client spoke before its greeting.
    7 => Info EarlyTalk<'a> = "early-talk" {
        /// The client's address and port.
        client: SocketAddr,
        /// It heard 554 and got no session.
        refused: bool,
        /// What it said, or the beginning.
        line: &'a [u8] as Octets<SAID_MAX>,
        /// Connections of this address on which that happened since the last event about it, this one included.
        count: u32,
    }
    /// A client did something that its address has to bear for.
    8 => Warning Penalised = "penalty" {
        /// The session after which it has to.
        session: SessionId,
        /// The client's address and port.
        client: SocketAddr,
        /// What its address has to bear.
        penalty: Penalty,
        /// For how many seconds.
        seconds: u32,
    }
    /// What a client sent has ended the process of its session by a signal. Somebody may try to take sessions over.
    9 => Warning Crashed = "session-crashed" {
        /// The session.
        session: SessionId,
        /// The client's address and port.
        client: SocketAddr,
        /// The number of the signal.
        signal: u8,
    }
    /// Slots are nearly all taken, and new sessions have little time from now on; or that is over.
    10 => Warning Stress = "stress" {
        /// It begins.
        begins: bool,
        /// Sessions now.
        sessions: u32,
        /// Slots in all.
        slots: u32,
    }
    /// A DNS list lists a client, and that has consequences.
    14 => Info ListedClient<'a> = "listed" {
        /// The client's address and port.
        client: SocketAddr,
        /// What becomes of it.
        course: Course,
        /// The sum of the weights.
        score: u32,
        /// The zone that weighs most.
        list: &'a [u8] as Octets<NAME_MAX>,
        /// What it heard.
        heard: &'a [u8] as Octets<SAID_MAX>,
        /// Connections of this address to which that happened since the last event about it, this one included.
        count: u32,
    }
    /// A DNS list is left out from now on: it refuses and delays nobody. Told once an hour at most.
    12 => Warning ListLeftOut<'a> = "list-left-out" {
        /// Its zone.
        list: &'a [u8] as Octets<NAME_MAX>,
        /// Why.
        why: ListTrouble,
        /// The last octet of an answer 127.255.255.x, else 0.
        code: u8,
    }
    /// A DNS list that was left out answers again.
    13 => Info ListAnswers<'a> = "list-answers" {
        /// Its zone.
        list: &'a [u8] as Octets<NAME_MAX>,
    }
    /// A certificate ends within a fortnight, or has ended, and nothing has renewed it. Told once a day.
    20 => Warning CertificateEnds<'a> = "certificate-ends" {
        /// Its file.
        certificate: &'a [u8] as Octets<NAME_MAX>,
        /// Hours that are left.
        hours: u32,
    }
    /// New sessions have what was read anew; those under way go on with what they have.
    15 => Info Reloaded<'a> = "reloaded" {
        /// What it was.
        what: Renewed,
        /// The version of the program that runs.
        version: &'a [u8] as Octets<NAME_MAX>,
    }
    /// What was read anew can't be used: the old goes on. Certificates are tried again by themselves.
    16 => Error NotReloaded<'a> = "not-reloaded" {
        /// What it was.
        what: Renewed,
        /// Why not, and what to do.
        why: &'a [u8] as Octets<TEXT_MAX>,
    }
    /// The process of a role has ended without being told to, and is started anew.
    17 => Warning RoleEnded<'a> = "role-ended" {
        /// The role.
        role: Role,
        /// Its exit status or the signal.
        how: &'a [u8] as Octets<SAID_MAX>,
        /// Milliseconds until it is started: more with each failure.
        delay_ms: u32,
    }
    /// A role that has ended serves again.
    18 => Info RoleServes = "role-serves" {
        /// The role.
        role: Role,
    }
    /// A client has tried to log in.
    11 => Info LoginTried<'a> = "login" {
        /// The session.
        session: SessionId,
        /// The client's address and port.
        client: SocketAddr,
        /// As whom. Absent for one that is not known here: it may be a password in the wrong place.
        login: Option<&'a [u8]> as Maybe<Octets<LOGIN_MAX>>,
        /// The SASL mechanism.
        mechanism: Mechanism,
        /// What came of it, from a fixed list: Accepted, Refused, or Unknown when the source of logins did not say.
        result: Login,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn issue_13_every_event_and_field_has_a_name_of_its_own_and_a_text() {
        let names: BTreeSet<&str> = Event::TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), Event::TABLE.len());
        for row in Event::TABLE {
            let fields: BTreeSet<&str> = row.fields.iter().map(|(name, _)| *name).collect();
            assert_eq!(fields.len(), row.fields.len(), "{}", row.name);
            assert!(row.fields.iter().all(|(_, doc)| !doc.concat().trim().is_empty()), "{}", row.name);
            assert!(!row.doc.concat().trim().is_empty(), "{}", row.name);
        }
    }

    #[test]
    fn issue_13_each_shows_the_fields_of_the_row() {
        let client = "192.0.2.1:25".parse().unwrap();
        let event = Event::from(TurnedAway { client, why: Turned::Full, count: 3 });
        let mut seen = Vec::new();
        event.each(|name, datum| seen.push((name, datum_text(&datum))));
        let texts: Vec<(&str, &str)> = seen.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(texts, [("client", "192.0.2.1:25"), ("why", "Full"), ("count", "3")]);
        assert!(seen.iter().map(|(name, _)| name).eq(event.row().fields.iter().map(|(name, _)| name)));
    }

    fn datum_text(datum: &Datum<'_>) -> String {
        match datum {
            Datum::Absent => "-".to_owned(),
            Datum::Number(n) => n.to_string(),
            Datum::Word(word) => word.to_string(),
            Datum::Text(text) => String::from_utf8_lossy(text).into_owned(),
        }
    }
}
