//! The octets of every message and every slice, and what becomes of one that is too long, too short or otherwise wrong.
//!
//! Launcher and roles are one binary, so the octets may change; but they change here too, to be seen by a reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod refused;
mod slices;

use gatepost_smtp::envelope::{
    Abandoned, Body, Class, CloseReason, ENVID_MAX, HELO_MAX, Login, MailParameters, Mechanism, Notify, ORCPT_MAX,
    Offer, RcptParameters, Reason, Ret, Service, Then, Tls, Verdict,
};
use gatepost_smtp::keyword::{Keyword, Keywords};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_smtp::names::{ClientNames, Found, HostName};
use gatepost_smtp::replies;
use gatepost_smtp::server::{BareLf, Leniency};
use gatepost_smtp::text::Text;
use gatepost_wire::auth::{Answered, Asked, Begin, Claim, LoggedIn, Noted, Offers, Response};
use gatepost_wire::check::{self, Check, Checked};
use gatepost_wire::codec::{MESSAGE_MAX, read_all};
use gatepost_wire::control::{Order, Report, Role, Whom};
use gatepost_wire::dial::{Dial, Dialed};
use gatepost_wire::event::{Crashed, NotReloaded, Penalised, Penalty, Renewed, RoleEnded, Stress, Turned, TurnedAway};
use gatepost_wire::gauge::Gauges;
use gatepost_wire::line::{Level, Line};
use gatepost_wire::link::{
    self, Ended, HandoffOrder, Left, NurseryOrder, Open, OpenAuth, OpenKey, SessionId, Start, Weights,
};
use gatepost_wire::names::{
    self, AskHelo, AskList, CODES_MAX, LIST_TEXT_MAX, Listed, Listing, LookUp, LookedUp, NamesNews,
};
use gatepost_wire::network::Network;
use gatepost_wire::observe::Tell;
use gatepost_wire::queue::{self, Done, Submit};
use gatepost_wire::rate::{MailRates, Rate};
use gatepost_wire::resume::{self, Course, Phase};
use gatepost_wire::session::{Answer, Ask, CONTENT_MAX, Mail, PATH_MAX, Rcpt, Refused};
use gatepost_wire::sign::{SIGNATURE_MAX, Sign, Signature, TO_SIGN_MAX};
use gatepost_wire::slice::{
    About, Access, AuthSlice, BackendSlice, BackendTls, Chain, CheckerSlice, CodeRange, Connect, Dialect, Directory,
    EarlyTalk, Ground, HandoffSlice, HeloLists, HostsEntry, Identity, KeyholderSlice, ListRule, ListZone,
    ListenerSlice, LogForm, LoginSource, NurserySlice, ObserverSlice, QueueSlice, ReceiverSlice, ResolverSlice,
    RouteSlice, Screen, Setup, TlsMode,
};
use gatepost_wire::tables::{TableSlice, TablesSlice};
use gatepost_wire::terms::{NetworksSlice, Terms, TermsFor};
use gatepost_wire::{FRAME_MAX, Frame, Messages, Value, WireError, parent};
use std::collections::BTreeSet;
use std::fmt::Debug;

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn written<'a, T: Value<'a>>(value: &T) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::new();
    value.write(&mut out, "value").map(|()| out)
}

/// `value` is these octets, which are `value`; less of them, or more, are not.
fn golden<T: Value<'static> + PartialEq + Debug>(value: &T, octets: &str) {
    let found: &'static [u8] = written(value).unwrap().leak();
    assert_eq!(hex(found), octets.split_whitespace().collect::<String>(), "{value:?}");
    assert!(found.len() <= T::MAX, "{value:?}");
    assert_eq!(read_all::<T>(found).as_ref(), Ok(value));
    for cut in 0..found.len() {
        assert!(read_all::<T>(&found[..cut]).is_err(), "{value:?} cut at {cut}");
    }
    let longer: &'static [u8] = [found, &[0]].concat().leak();
    assert_eq!(read_all::<T>(longer), Err(WireError::Trailing), "{value:?}");
}

/// As [`golden`], for messages in a frame: the rows name every tag, and no other is read.
fn messages<T: Value<'static> + PartialEq + Debug>(tags: &[u8], rows: &[(T, &str)]) {
    let mut seen = BTreeSet::new();
    for (message, octets) in rows {
        golden(message, octets);
        let frame = Frame::of(message).unwrap().bytes().to_vec().leak();
        seen.insert(frame[3]);
        assert_eq!(Messages::<T>::one(frame).as_ref(), Ok(message));
    }
    assert_eq!(seen, tags.iter().copied().collect(), "a message without a row");
    for tag in (0..=u8::MAX).filter(|tag| !tags.contains(tag)) {
        assert_eq!(read_all::<T>(vec![tag].leak()), Err(WireError::Tag(tag)));
    }
}

/// The codes of an enum are the places of its variants.
fn codes<T: Value<'static> + PartialEq + Debug>(all: &[T], names: &str) {
    assert_eq!(all.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>(), names.split(' ').collect::<Vec<_>>());
    for (code, value) in (0..=u8::MAX).zip(all) {
        golden(value, &format!("{code:02x}"));
    }
    let beyond = u8::try_from(all.len()).unwrap();
    assert_eq!(read_all::<T>(vec![beyond].leak()), Err(WireError::Value("value")));
}

#[test]
fn codes_are_places_in_a_list() {
    codes(&Body::ALL, "Unstated SevenBit EightBit");
    codes(&Ret::ALL, "Headers Full");
    codes(
        &Reason::ALL,
        "Ok RelayDenied SenderRefused RecipientRefused TooManyRecipients ContentRefused TooLarge LoopDetected BadContent \
         BackendDown BackendTimeout BackendLost Mixed IdentityRefused ClientRefused NoSpace Draining Internal Session Abandoned \
         Reclaimed OtherBackend HeloRefused MessageRate RecipientRate RefusalRate NotYourAddress NotYourFrom HeloListed LoginRate",
    );
    codes(
        &CloseReason::ALL,
        "Quit ClientGone Timeout Abuse TlsFailed Drained Internal Limit BareLf Refused Dismissed ProxyHeader Configuration Reclaimed Away",
    );
    codes(&Mechanism::ALL, "Login Plain CramMd5 ScramSha256 ScramSha256Plus OAuthBearer XOAuth2");
    codes(&Abandoned::ALL, "Loop TooLarge");
    codes(&Then::ALL, "Go Refused Close Leave");
    codes(&Class::ALL, "Accepted Temporary Permanent");
    codes(&Role::ALL, "Observer Receiver Queue Checker Dialer Resolver Keyholder Auth Handoff Nursery Listener");
    codes(&TlsMode::ALL, "Off StartTls Implicit");
    codes(&Dialect::ALL, "Smtp Lmtp Qmqp Queue");
    codes(&Identity::ALL, "None Xclient ProxyV2");
    codes(&Ground::ALL, "Root User");
    codes(&BareLf::ALL, "Refuse Normalize");
}

const TLS: Tls = Tls { version: 0x0304, suite: 0x1301 };
const NONE: MailParameters<&[u8]> = MailParameters::NONE;

#[test]
fn session_and_handoff() {
    let mail = Mail { helo: b"h", esmtp: false, tls: None, reverse_path: b"", parameters: NONE };
    let all = MailParameters {
        size: Some(7),
        body: Body::EightBit,
        smtputf8: true,
        ret: Some(Ret::Full),
        envid: Some(&b"e"[..]),
        prdr: true,
    };
    let notify = Some(Notify { success: true, failure: false, delay: true });
    messages(
        Ask::TAGS,
        &[
            (Ask::Mail(mail), "01 0100 68 00 00 0000 00 00 00 00 00 00"),
            (
                Ask::Mail(Mail { helo: b"", esmtp: true, tls: Some(TLS), reverse_path: b"a@b", parameters: all }),
                "01 0000 01 01 0403 0113 0300 614062 01 0700000000000000 02 01 01 01 01 0100 65 01",
            ),
            (Ask::Rcpt(Rcpt { forward_path: b"c", parameters: RcptParameters::NONE }), "02 0100 63 00 00"),
            (
                Ask::Rcpt(Rcpt { forward_path: b"c", parameters: RcptParameters { notify, orcpt: Some(b"o") } }),
                "02 0100 63 01 01 00 01 01 0100 6f",
            ),
            (Ask::Content(b"a\r\n"), "03 0300 610d0a"),
            (Ask::Spool, "04"),
            (Ask::Commit { length: 258 }, "05 0201000000000000"),
            (Ask::Reset, "06"),
            (Ask::Bye(CloseReason::Timeout), "07 02"),
            (Ask::Room, "08"),
            (Ask::Grow, "09"),
            (
                Ask::Refused(Refused { reply: replies::BYE, count: 2, ends: true, line: b"x" }),
                "0a 01 02000000 01 0100 78",
            ),
            (Ask::Detail(b"y"), "0b 0100 79"),
        ],
    );
    let offer = Offer { size: 1 << 20, eight_bit: true, smtputf8: false, dsn: true, prdr: false, recipients: 100 };
    let verdict = Verdict { code: 550, enhanced: (5, 7, 1), reason: Reason::RelayDenied };
    messages(
        Answer::TAGS,
        &[
            (
                Answer::Offer { offer, inline_max: 65536, scarce: true },
                "01 0000100000000000 01 00 01 00 6400 00000100 01",
            ),
            (Answer::plain(verdict), "02 2602 05 0700 0100 01 0000"),
            (Answer::Verdict { verdict, text: Text::read(b"a\nb").unwrap() }, "02 2602 05 0700 0100 01 0300 610a62"),
            (Answer::Spool { octets: 258 }, "03 0201000000000000"),
            (Answer::Recipient { verdict, text: Text::none() }, "04 2602 05 0700 0100 01 0000"),
            (Answer::Leave, "05"),
            (Answer::Away, "09"),
        ],
    );
}

#[test]
fn session_and_keyholder() {
    golden(&Sign { pair: 1, scheme: 0x0403, message: b"m" }, "01 0304 0100 6d");
    golden(&Signature(b"s"), "0100 73");
}

#[test]
fn session_and_parent() {
    use parent::{Answer, Ask, Auth};
    let auth = Auth { mechanism: Mechanism::CramMd5, user: b"u", password: b"p", challenge: b"<1@h>" };
    messages(
        Ask::TAGS,
        &[
            (Ask::Helo(b"h"), "01 0100 68"),
            (Ask::Mail(b""), "02 0000"),
            (Ask::Rcpt(b"c d"), "03 0300 632064"),
            (Ask::Data, "04"),
            (Ask::Content(b"a\0\n"), "05 0300 61000a"),
            (Ask::Commit { length: 4 }, "06 0400000000000000"),
            (Ask::Abandon(Abandoned::Loop), "07 00"),
            (Ask::Abandon(Abandoned::TooLarge), "07 01"),
            (Ask::Reset, "08"),
            (Ask::Challenge, "09"),
            (Ask::Auth(auth), "0a 02 0100 75 0100 70 0500 3c3140683e"),
            (Ask::StartTls, "0b"),
            (Ask::Encrypted(None), "0c 00"),
            (Ask::Encrypted(Some(TLS)), "0c 01 0403 0113"),
            (Ask::Bye(CloseReason::BareLf), "0d 08"),
            (Ask::Jail { entered: true, text: b"t" }, "0e 01 0100 74"),
        ],
    );
    let chain = Chain { names: vec!["mx".to_owned()], certificates: vec![vec![1, 2], vec![3]] };
    messages(
        Answer::TAGS,
        &[
            (Answer::Reply { lines: b"2\r\n", then: Then::Leave }, "01 0300 320d0a 03"),
            (Answer::Chain(chain), "02 01000000 02000000 6d78 02000000 02000000 0102 01000000 03"),
            (Answer::Sign, "03"),
        ],
    );
}

#[test]
fn handoff_and_queue() {
    let (client, local) = ("192.0.2.9:4713".parse().unwrap(), "[2001:db8::1]:25".parse().unwrap());
    messages(
        Submit::TAGS,
        &[
            (
                Submit::Begin { ticket: 7, client, local, sender: b"s" },
                "01 07000000 04 c0000209 6912 06 20010db8000000000000000000000001 1900 0100 73",
            ),
            (Submit::Recipient(b"a@b"), "02 0300 614062"),
            (Submit::Commit, "03"),
        ],
    );
    messages(
        queue::End::TAGS,
        &[
            (queue::End::Exit(31), "00 1f"),
            (queue::End::Signal(9), "01 09"),
            (queue::End::Late, "02"),
            (queue::End::Unknown, "03"),
            (queue::End::NotRun, "04"),
        ],
    );
    golden(&Dial::new(7, 1, std::time::Duration::from_secs(5)), "07000000 01000000 88130000");
    messages(
        Dialed::TAGS,
        &[
            (Dialed::Connected { number: 7 }, "00 07000000"),
            (Dialed::Failed { number: 7, errno: 111 }, "01 07000000 6f00"),
        ],
    );
    let done = |class, end| Done { ticket: u32::MAX, class, end, pid: 258 };
    golden(&done(Class::Accepted, queue::End::Exit(0)), "ffffffff 00 00 00 02010000");
    golden(&done(Class::Permanent, queue::End::Late), "ffffffff 02 02 02010000");
}

#[test]
fn listener_and_those_who_serve() {
    let id = SessionId(258);
    let hidden = [Keyword::Pipelining, Keyword::Size].into_iter().collect();
    let service = Service::Submission;
    let start = Start { id, listener: 3, tls: true, stress: false, pause: 258, hidden, service };
    messages(
        NurseryOrder::TAGS,
        &[
            (NurseryOrder::Start(start), "01 0201000000000000 03 01 00 0201 2002 01"),
            (NurseryOrder::Kill(id), "02 0201000000000000"),
            (NurseryOrder::Retire, "03"),
        ],
    );
    messages(link::End::TAGS, &[(link::End::Exit(3), "00 03"), (link::End::Signal(11), "01 0b")]);
    golden(&Ended { id, how: link::End::Signal(11) }, "0201000000000000 01 0b");
    let (client, local) = ("192.0.2.9:4713".parse().unwrap(), "[2001:db8::1]:25".parse().unwrap());
    messages(
        HandoffOrder::TAGS,
        &[
            (
                HandoffOrder::Open(Open {
                    id,
                    client,
                    local,
                    listener: 1,
                    relay: true,
                    message_size: 0x0102,
                    exempt: true,
                    service: Service::Relay,
                    user: None,
                    listed: Weights { against: 5, in_favour: 6 },
                }),
                "01 0201000000000000 04 c0000209 6912 06 20010db8000000000000000000000001 1900 01 01 0201000000000000 01 00 00
                 05000000 06000000",
            ),
            (HandoffOrder::Leave(id), "02 0201000000000000"),
        ],
    );
    golden(&Left { id, told: true }, "0201000000000000 01");
    golden(&OpenKey { id, client: "192.0.2.9".parse().unwrap() }, "0201000000000000 04 c0000209");
    golden(&OpenAuth { id, client, offered: true }, "0201000000000000 04 c0000209 6912 01");
}

#[test]
fn issue_15_auth_and_those_who_ask_it() {
    let id = SessionId(258);
    let claim = Claim { mechanism: Mechanism::Plain, user: b"joe", pass: b"pw" };
    golden(&Asked::Claim(claim), "00 01 0300 6a6f65 0200 7077");
    let begin = Begin { mechanism: Mechanism::ScramSha256, binding: Some(b"b"), response: b"n" };
    golden(&Asked::Begin(begin), "01 03 01 0100 62 0100 6e");
    golden(&Asked::Begin(Begin { binding: None, ..begin }), "01 03 00 0100 6e");
    golden(&Asked::Response(Response { response: b"r" }), "02 0100 72");
    golden(&Offers { mechanisms: Some(Mechanisms::PASSWORD) }, "01 03");
    golden(&Offers { mechanisms: None }, "00");
    golden(&Answered::Offer(Mechanisms::PASSWORD.with(Mechanism::ScramSha256)), "00 0b");
    golden(&Answered::Challenge(b"c"), "01 0100 63");
    golden(&Answered::Judged(Login::Refused), "02 01");
    golden(&LoggedIn { id, login: b"joe" }, "0201000000000000 0300 6a6f65");
    golden(&Noted { id, noted: true }, "0201000000000000 01");
    golden(
        &Check { number: 7, client: "192.0.2.9:4713".parse().unwrap(), user: b"u", pass: b"p" },
        "07000000 04c00002096912 0100 75 0100 70",
    );
    golden(&Checked { number: 7, found: check::Found::Wrong }, "07000000 01");
    codes(&check::Found::ALL, "Right Wrong Unknown");
    codes(&Login::ALL, "Accepted Refused Unknown");
    codes(&Service::ALL, "Relay Submission Local");
    golden(&AuthSlice { source: LoginSource::Passwd(b"a".to_vec()) }, "00 01000000 61");
    golden(&AuthSlice { source: LoginSource::Dovecot }, "01");
    golden(&AuthSlice { source: LoginSource::Checker }, "02");
}

#[test]
fn issue_13_gauges() {
    messages(
        Gauges::TAGS,
        &[
            (
                Gauges::Listener { sessions: 1, slots: 2, waiting: 3, penalties: 4 },
                "01 01000000 02000000 03000000 04000000",
            ),
            (
                Gauges::Handoff {
                    idle: 1,
                    transaction: 2,
                    delivering: 3,
                    connections: 4,
                    connections_max: 5,
                    waiting: 6,
                },
                "02 01000000 02000000 03000000 04000000 05000000 06000000",
            ),
            (
                Gauges::Launcher { roles_up: 1, roles: 2, generations: 3, proved: true, names: false },
                "03 01000000 02000000 03000000 01 00",
            ),
        ],
    );
    messages(
        Whom::TAGS,
        &[
            (Whom::Address("192.0.2.9".parse().unwrap()), "01 04 c0000209"),
            (Whom::Session(SessionId(0x0102)), "02 0201000000000000"),
        ],
    );
}

#[test]
fn launcher_and_roles() {
    messages(
        Order::TAGS,
        &[
            (Order::Peer(Role::Handoff), "01 08"),
            (Order::Socket(2), "02 02"),
            (Order::Go, "03"),
            (Order::Drain, "04"),
            (Order::Lines, "05"),
            (Order::Ping, "06"),
            (Order::Cut, "07"),
            (Order::Rules, "08"),
            (Order::Names, "09"),
            (Order::Tables, "0b"),
            (Order::Syslog, "0c"),
            (Order::Networks, "0a"),
            (Order::Look, "14"),
            (Order::Kick(Whom::Session(SessionId(0x0102))), "15 02 0201000000000000"),
            (Order::Forgive("192.0.2.9".parse().unwrap()), "16 04 c0000209"),
            (Order::Servers, "17"),
        ],
    );
    messages(
        Report::TAGS,
        &[
            (Report::Jailed, "00"),
            (Report::Ready, "01"),
            (Report::SessionCrashed, "02"),
            (Report::Waiting, "03"),
            (Report::Alive, "04"),
            (Report::NoNames, "05"),
            (Report::Names, "06"),
            (Report::NoLists, "07"),
            (Report::Unproved(0x0102), "08 0201000000000000"),
            (Report::NoLogins, "09"),
        ],
    );
    // P2: whatever a role sends to the launcher is one octet of a known set, and at most a number.
    assert_eq!(Report::MAX, 9);
}

#[test]
fn handoff_and_resolver() {
    let name = HostName::parse(b"a.test").unwrap();
    let client = "192.0.2.9".parse().unwrap();
    let helo = AskHelo { number: 7, list: 1, client, name: name.clone(), text: true };
    messages(
        names::Ask::TAGS,
        &[
            (names::Ask::LookUp(LookUp { number: 7, client }), "01 07000000 04 c0000209"),
            (names::Ask::Helo(helo), "02 07000000 01 04 c0000209 06 612e74657374 01"),
        ],
    );
    let names =
        |reverse, confirmed, good| NamesNews::LookedUp(LookedUp::new(7, ClientNames { reverse, confirmed }, good));
    golden(&names(Found::None, Found::Temporary, 0), "01 07000000 00 01 00000000");
    golden(&names(Found::Known(name), Found::None, 60), "01 07000000 02 06 612e74657374 00 3c000000");
    golden(&NamesNews::Changed, "02");
    let listed = Listed { number: 7, listing: Listing::Unlisted, text: Vec::new() };
    golden(&NamesNews::Listed(listed), "03 07000000 00 00000000");
    // What is no host's name, or not in the one form, is hostile.
    for octets in
        [&b"\x07\0\0\0\x02\x06A.test\0"[..], b"\x07\0\0\0\x02\x01.\0", b"\x07\0\0\0\x02\0\0", b"\x07\0\0\0\x03\0"]
    {
        let octets = [octets, &[0; 4]].concat();
        assert!(read_all::<LookedUp>(&octets).is_err(), "{octets:?}");
    }
}

#[test]
fn listener_and_resolver() {
    let client = "192.0.2.9".parse().unwrap();
    golden(&AskList { number: 7, list: 1, client, text: true }, "07000000 01 04 c0000209 01");
    let listed = |listing, text: &[u8]| Listed { number: 7, listing, text: text.to_vec() };
    golden(&listed(Listing::Unlisted, b""), "07000000 00 00000000");
    golden(&listed(Listing::Codes(vec![0x7f00_0002]), b"why"), "07000000 01 01000000 0200007f 03000000 776879");
    golden(&listed(Listing::LeftOut, b""), "07000000 02 00000000");
    let mut octets = Vec::new();
    for (codes, text) in [(CODES_MAX + 1, 0), (0, LIST_TEXT_MAX + 1)] {
        assert!(listed(Listing::Codes(vec![1; codes]), &vec![b'x'; text]).write(&mut octets, "listed").is_err());
    }
    assert!(listed(Listing::Codes(vec![1; CODES_MAX]), &[b'x'; LIST_TEXT_MAX]).write(&mut octets, "listed").is_ok());
}

#[test]
fn everybody_and_the_observer() {
    let line = Line { level: Level::Warning, lost: 258, text: b"hi" };
    golden(&Tell::Line(line), "01 01 02010000 0200 6869");
    let away = TurnedAway { client: "192.0.2.1:25".parse().unwrap(), why: Turned::Full, count: 3 };
    golden(&Tell::Event { lost: 1, event: away.into() }, "02 01000000 06 04 c0000201 1900 01 03000000");
    let client = "192.0.2.1:25".parse().unwrap();
    let penalised = Penalised { session: SessionId(258), client, penalty: Penalty::TurnedAway, seconds: 10 };
    golden(
        &Tell::Event { lost: 0, event: penalised.into() },
        "02 00000000 08 0201000000000000 04 c0000201 1900 01 0a000000",
    );
    let crashed = Crashed { session: SessionId(258), client, signal: 11 };
    golden(&Tell::Event { lost: 0, event: crashed.into() }, "02 00000000 09 0201000000000000 04 c0000201 1900 0b");
    let stress = Stress { begins: true, sessions: 7, slots: 8 };
    golden(&Tell::Event { lost: 0, event: stress.into() }, "02 00000000 0a 01 07000000 08000000");
    let ended = RoleEnded { role: Role::Listener, how: b"x", delay_ms: 258 };
    golden(&Tell::Event { lost: 0, event: ended.into() }, "02 00000000 11 0a 0100 78 02010000");
    let refused = NotReloaded { what: Renewed::Certificates, why: b"y" };
    golden(&Tell::Event { lost: 0, event: refused.into() }, "02 00000000 10 01 0100 79");
}

#[test]
fn listener_and_runner() {
    use gatepost_wire::ucspi::{Answer, Ask, Connection, ConnectionDecision};
    let connection = Connection {
        number: 7,
        local: "192.0.2.25:25".parse().unwrap(),
        remote: "192.0.2.9:4711".parse().unwrap(),
        local_host: None,
        remote_host: Some(b"c.test"),
        info: Some(b""),
        decision: ConnectionDecision::Serve,
    };
    let facts = "07000000 04c0000219 1900 04c0000209 6712 00 010600632e74657374 010000";
    messages(
        Ask::TAGS,
        &[
            (Ask::Jail { entered: false, text: b"no" }, "01 00 02006e6f"),
            (Ask::Rules, "02"),
            (Ask::Start(connection), &format!("03 {facts} 00")),
        ],
    );
    for (decision, octets) in [
        (ConnectionDecision::Deny, "01"),
        (ConnectionDecision::Limit(b"LOAD:1"), "02 06004c4f41443a31"),
        (ConnectionDecision::Unreadable { errno: 2 }, "03 0200"),
    ] {
        golden(&Ask::Start(Connection { decision, ..connection }), &format!("03 {facts} {octets}"));
    }
    messages(
        Answer::TAGS,
        &[
            (Answer::Rules, "01"),
            (Answer::SameRules, "02"),
            (Answer::NoRules { errno: 2 }, "03 0200"),
            (Answer::Ended { number: 7, pid: 9, status: 768 }, "04 07000000 09000000 00030000"),
            (Answer::NotStarted { number: 7 }, "05 07000000"),
            (Answer::Stop, "06"),
        ],
    );
}

#[test]
fn issue_13_what_a_launcher_leaves_to_the_next_program_has_a_version() {
    let child = resume::Child {
        role: Role::Handoff,
        pid: 7,
        phase: Phase::Ready,
        control: Some(8),
        asked: true,
        retired: false,
    };
    let socket = resume::Socket { address: "192.0.2.1:25".parse().unwrap(), v6only: false, inherited: true, fd: 9 };
    let generation = resume::Generation {
        course: Course::Serving,
        names: true,
        drain: 60,
        lock: Some(10),
        sockets: vec![socket],
        children: vec![child],
    };
    let state = resume::State {
        generations: vec![generation],
        views: vec![resume::View { place: Connect::Unix("/v".into()), role: Role::Observer, fd: 11 }],
        control: Some(resume::Control { path: "/c".into(), fd: 12 }),
        log: Some(13),
        spare_log: 14,
        asked: vec![15],
    };
    golden(
        &state,
        "01000000 00 01 3c000000 01 0a000000
         01000000 04 c0000201 1900 00 01 09000000
         01000000 07000000 68616e646f6666 07000000 03 01 08000000 01 00
         01000000 00 02000000 2f76 00 0b000000
         01 02000000 2f63 0c000000 01 0d000000 0e000000 01000000 0f000000",
    );
    let octets = state.to_octets().unwrap();
    assert_eq!(resume::State::from_octets(&octets).as_ref(), Ok(&state));
    assert_eq!(state.descriptors().collect::<BTreeSet<_>>(), BTreeSet::from([8, 9, 10, 11, 12, 13, 14, 15]));
    for other in [0, 1] {
        let mut octets = octets.clone();
        octets[other] += 1;
        assert_eq!(resume::State::from_octets(&octets), Err(WireError::Version));
    }
}
