//! What sound configurations come to: defaults, values, files beside them, the examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // Functions shared by tests, too.

mod examples;
mod files;

use gatepost_config::{
    About, Config, Connect, Dialect, EarlyTalk, ForNetworks, Identity, Jail, Limits, List, Log, NETWORKS_MAX, Names,
    Pair, Profile, ProgramUser, Queue, Rates, Relax, TlsMode, TlsVersion, Users,
};
use gatepost_smtp::data::BareLf;
use gatepost_smtp::envelope::Service;
use gatepost_smtp::keyword::Keyword;
use gatepost_smtp::names::HostName;
use gatepost_smtp::server::Leniency;
use gatepost_wire::line::Level;
use gatepost_wire::rate::{MailRates, Rate};
use gatepost_wire::slice::{CodeRange, ListRule};
use gatepost_wire::terms::Terms;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that has no default.
const LEAST: &str = r#"
hostname = "MX.Example.org"
[tls]
certificate = "/c.pem"
key = "/k.pem"
[relay]
domains = ["Example.org", ".example.net"]
[backend]
profile = "postfix"
connect = "unix:/run/mta.sock"
"#;

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("gatepost.toml")).unwrap_or_else(|faults| panic!("{text}\n{faults}"))
}

#[test]
fn config_defaults_are_those_of_the_manual() {
    let config = parse(LEAST);
    assert_eq!(config.hostname, "mx.example.org");
    assert_eq!(config.spool, Path::new("/var/spool/gatepost"));
    assert_eq!(config.users, Users::Named("gatepost".to_owned()));
    assert_eq!(config.listen.len(), 1);
    assert_eq!(config.listen[0].address, "[::]:25".parse().unwrap());
    assert!(!config.listen[0].v6only, "both families");
    assert_eq!(config.listen[0].tls, TlsMode::StartTls);
    let pair = Pair { names: Vec::new(), certificate: PathBuf::from("/c.pem"), key: PathBuf::from("/k.pem") };
    assert_eq!(config.tls.pairs, [pair]);
    assert!(!config.tls.required);
    assert_eq!(config.tls.minimum, TlsVersion::V1_2);
    assert_eq!(config.relay.domains, ["example.org", ".example.net"]);
    assert!(config.relay.clients.is_empty());
    assert_eq!(config.backend.profile, Profile::Postfix);
    assert_eq!(config.backend.connect, [Connect::Unix(PathBuf::from("/run/mta.sock"))]);
    assert_eq!(config.backend.dialect, Dialect::Smtp);
    assert_eq!(config.backend.identity, Identity::Xclient);
    assert_eq!(config.backend.tls, None);
    assert!(config.backend.relay_proof && config.backend.texts);
    assert_eq!(config.backend.reply_timeout, Duration::from_secs(540));
    assert_eq!(config.backend.connections, 80);
    assert_eq!(
        config.limits,
        Limits {
            data: 1_048_576,
            sessions: 1000,
            sessions_per_address: 20,
            offences: 30,
            message_size: 52_428_800,
            spool_size: 1_048_576_000,
            spool_free: 104_857_600,
            recipients: 1000,
            hops: 100,
            command_timeout: Duration::from_secs(300),
            content_timeout: Duration::from_secs(300),
            minimum_rate: 100,
            session_time: Duration::from_secs(3600),
            drain: Duration::from_secs(60),
        }
    );
    assert_eq!(config.names, Names { servers: Vec::new(), wait: Duration::from_secs(2) });
    assert_eq!(config.smtp, Leniency::default());
    assert_eq!(config.networks, []);
    assert_eq!(config.jail, Jail { relax: Vec::new() });
}

#[test]
fn config_the_page_of_all_defaults_says_the_same_as_the_least() {
    let whole = r#"
hostname = "mx.example.org"
spool = "/var/spool/gatepost"
users = "gatepost"

[[listen]]
address = "[::]:25"
v6only = false
tls = "starttls"
proxy_from = []

[tls]
certificate = "/c.pem"
key = "/k.pem"
required = false
minimum = "1.2"

[relay]
domains = ["example.org", ".example.net"]
clients = []

[backend]
profile = "postfix"
connect = "unix:/run/mta.sock"
identity = "xclient"
relay_proof = true
reply_timeout = "540s"
texts = "pass"
connections = 80

[smtp]
extra_spaces = true
no_brackets = true
odd_helo = true
no_helo = false
parameters_after_helo = true
odd_dots = true
underscores = true
tabs = true
leading_spaces = true
spaces_in_brackets = true
final_dot = true
odd_xtext = true
lf_in_commands = false
drain_impure = true
bare_lf = "refuse"
bare_lf_in_chunks = "normalize"

[rates]
connections = "none"
messages = "none"
recipients = "none"
refused_recipients = "none"
login_recipients = "none"

[names]
servers = []
wait = "2s"

[limits]
data = "1MiB"
sessions = 1000
sessions_per_address = 20
offences = 30
message_size = "50MiB"
spool_size = "1000MiB"
spool_free = "100MiB"
recipients = 1000
hops = 100
command_timeout = "5m"
content_timeout = "5m"
minimum_rate = 100
session_time = "1h"
drain = "1m"

[jail]
relax = []
"#;
    assert_eq!(parse(whole), parse(LEAST));
}

#[test]
fn config_names_every_leniency_and_turns_it_round() {
    for name in Leniency::names() {
        let mut expected = Leniency::default();
        let switch = expected.switch(name).unwrap();
        *switch = !*switch;
        let config = parse(&format!("{LEAST}[smtp]\n{name} = {switch}\n"));
        assert_eq!(config.smtp, expected, "{name}");
    }
    for (data, chunks) in [("normalize", "refuse"), ("refuse", "normalize")] {
        let text = format!("{LEAST}[smtp]\nbare_lf = \"{data}\"\nbare_lf_in_chunks = \"{chunks}\"\n");
        let leniency = parse(&text).smtp;
        let word = |bare_lf| if bare_lf == BareLf::Normalize { "normalize" } else { "refuse" };
        assert_eq!((word(leniency.lf_in_data), word(leniency.lf_in_chunks)), (data, chunks));
        assert!(!leniency.lf_in_commands, "a command still ends in CRLF");
    }
}

#[test]
fn config_takes_what_it_should() {
    let config = parse(
        r#"
hostname = "localhost"
spool = "/srv/spool"
users = 300_000
listen = [{ address = "[::]:25" }, { address = "0.0.0.0:25", tls = "off" }, { address = "[::1]:465", tls = "implicit" }]
tls.required = true
tls.minimum = "1.3"
[[tls.pair]]
names = ["A.test", "b.test"]
certificate = "/a.pem"
key = "/a.key"
[[tls.pair]]
certificate = "/d.pem"
key = "/d.key"
[relay]
clients = ["192.0.2.0/24", "2001:db8::/32", "127.0.0.1"]
[backend]
profile = "dovecot-lmtp"
connect = ["tcp:127.0.0.1:24", "tcp:[::1]:24"]
tls = "implicit"
ca = "/ca.pem"
name = "MTA.test"
certificate = "/own.pem"
key = "/own.key"
relay_proof = false
reply_timeout = "9m"
texts = "hide"
connections = 7
[names]
servers = ["127.0.0.1", "::1", "[2001:db8::1]:5353", "192.0.2.1:54"]
wait = "0s"
[[network]]
networks = ["192.0.2.0/24", "2001:db8::1"]
exempt = true
[[network]]
networks = ["0.0.0.0/0"]
[[network]]
networks_file = "/etc/gatepost/partners"
relay = true
message_size = "1MiB"
sessions_per_address = 5
hide = ["PIPELINING", "chunking"]
[limits]
data = 524288
message_size = "1GiB"
spool_free = 0
sessions = 3
recipients = 0x100
command_timeout = "10s"
content_timeout = "20m"
minimum_rate = 0
hops = 25
[admission]
rules = "/etc/tcp.smtp.cdb"
early_talk = "log"
pause = "6s"
defer_at = 2
refuse_at = 3
[[admission.list]]
zone = "BL.example.net"
weight = 3
codes = ["127.0.0.2", "127.0.0.4-127.0.0.11"]
[[admission.list]]
zone = "wl.example.net"
kind = "allow"
ask = "name"
[rates]
connections = "120/m"
messages = "1000000/s"
refused_recipients = "7/h"
login_recipients = "500/h"
[log]
format = "json"
level = "warning"
privacy = "cut"
to = "syslog"
[metrics]
listen = ["unix:/run/m.sock", "tcp:[::1]:9125"]
[jail]
relax = ["distinct-users", "namespaces", "namespaces"]
"#,
    );
    assert_eq!(config.users, Users::From(300_000));
    let modes: Vec<TlsMode> = config.listen.iter().map(|listen| listen.tls).collect();
    assert_eq!(modes, [TlsMode::StartTls, TlsMode::Off, TlsMode::Implicit]);
    assert_eq!(config.tls.minimum, TlsVersion::V1_3);
    let names: Vec<&[String]> = config.tls.pairs.iter().map(|pair| pair.names.as_slice()).collect();
    assert_eq!(names, [&["a.test".to_owned(), "b.test".to_owned()][..], &[]]);
    let clients: Vec<String> = config.relay.clients.iter().map(ToString::to_string).collect();
    assert_eq!(clients, ["192.0.2.0/24", "2001:db8::/32", "127.0.0.1/32"]);
    assert_eq!(config.backend.dialect, Dialect::Lmtp);
    assert_eq!(config.backend.identity, Identity::Xclient);
    assert_eq!(
        config.backend.connect,
        [Connect::Tcp("127.0.0.1:24".parse().unwrap()), Connect::Tcp("[::1]:24".parse().unwrap())]
    );
    let tls = config.backend.tls.unwrap();
    assert_eq!((tls.mode, tls.ca), (TlsMode::Implicit, PathBuf::from("/ca.pem")));
    assert_eq!(tls.name.as_deref(), Some("mta.test"));
    assert_eq!(tls.pair.map(|pair| (pair.certificate, pair.key)), Some(("/own.pem".into(), "/own.key".into())));
    assert!(!config.backend.relay_proof);
    assert_eq!(config.backend.connections, 7);
    assert_eq!(config.backend.reply_timeout, Duration::from_secs(540));
    assert!(!config.backend.texts);
    let exempt = |networks: &[&str], exempt| ForNetworks {
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        file: None,
        terms: Terms { exempt, ..Terms::default() },
    };
    let hidden = [Keyword::Pipelining, Keyword::Chunking].into_iter().collect();
    let terms = Terms { relay: true, exempt: false, message_size: 1 << 20, sessions_per_address: 5, hidden };
    let path = config.networks[2].file.as_ref().map(|file| file.path.clone());
    assert_eq!((config.networks[2].terms, path), (terms, Some("/etc/gatepost/partners".into())));
    let plain = [exempt(&["192.0.2.0/24", "2001:db8::1/128"], true), exempt(&["0.0.0.0/0"], false)];
    assert_eq!(config.networks[..2], plain);
    let rate = |count, seconds| Some(Rate { count, seconds });
    let mail = MailRates {
        messages: rate(1_000_000, 1),
        recipients: None,
        refused_recipients: rate(7, 3600),
        login_recipients: rate(500, 3600),
    };
    assert_eq!(config.rates, Rates { connections: rate(120, 60), mail });
    assert_eq!(config.limits.data, 524_288);
    assert_eq!(config.limits.message_size, 1 << 30);
    assert_eq!((config.limits.spool_size, config.limits.spool_free), (20 << 30, 0));
    assert_eq!(config.limits.recipients, 256);
    assert_eq!(config.limits.command_timeout, Duration::from_secs(10));
    assert_eq!(config.limits.content_timeout, Duration::from_secs(1200));
    assert_eq!((config.limits.minimum_rate, config.limits.hops), (0, 25));
    assert_eq!(config.metrics, [Connect::Unix("/run/m.sock".into()), Connect::Tcp("[::1]:9125".parse().unwrap())]);
    assert_eq!(config.admission.rules, Some("/etc/tcp.smtp.cdb".into()));
    assert_eq!((config.admission.early_talk, config.admission.pause), (EarlyTalk::Log, Duration::from_secs(6)));
    assert_eq!((config.admission.defer_at, config.admission.refuse_at), (2, 3));
    let list = |zone: &str, weight, allows, codes: &[(u8, u8)], about| {
        let code = |last| std::net::Ipv4Addr::new(127, 0, 0, last).to_bits();
        let codes = codes.iter().map(|(first, last)| CodeRange { first: code(*first), last: code(*last) }).collect();
        let zone = HostName::parse(zone.as_bytes()).unwrap();
        List { rule: ListRule { zone, weight, allows, codes }, about }
    };
    assert_eq!(
        config.admission.lists,
        [
            list("bl.example.net", 3, false, &[(2, 2), (4, 11)], About::Address),
            list("wl.example.net", 1, true, &[], About::Name),
        ]
    );
    let servers: Vec<String> = config.names.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["127.0.0.1:53", "[::1]:53", "[2001:db8::1]:5353", "192.0.2.1:54"]);
    assert_eq!(config.names.wait, Duration::ZERO);
    assert_eq!(config.log, Log { json: true, level: Level::Warning, cut: true, syslog: true });
    assert_eq!(config.jail.relax, [Relax::Namespaces, Relax::DistinctUsers]);
}

#[test]
fn config_without_listeners_has_the_default_one() {
    assert_eq!(parse(&format!("listen = []\n{LEAST}")), parse(LEAST));
}

#[test]
fn config_a_queue_program_has_the_users_of_qmail_unless_users_are_numbers() {
    let queue = |head: &str, backend: &str| {
        let (before, _) = LEAST.split_once("[backend]").unwrap();
        let text = format!("{head}\n{before}[backend]\nprofile = \"qmail-queue\"\n{backend}\n");
        parse(&text).backend.queue.unwrap()
    };
    let account = |name: &str| ProgramUser::Account(name.to_owned());
    let usual = Queue {
        program: "/var/qmail/bin/qmail-queue".into(),
        home: "/var/qmail".into(),
        user: account("qmaild"),
        owner: account("qmailq"),
    };
    assert_eq!(queue("", ""), usual);
    assert_eq!(queue("users = 61000", ""), Queue { user: ProgramUser::Own, owner: ProgramUser::Own, ..usual.clone() });
    let given = "connect = \"/opt/scan\"\nhome = \"/opt/qmail\"\nqueue_user = 7791\nqueue_as = \"q\"";
    let owner = account("q");
    let expected = Queue { program: "/opt/scan".into(), home: "/opt/qmail".into(), user: ProgramUser::Id(7791), owner };
    assert_eq!(queue("users = 61000", given), expected);
}

#[test]
fn config_profiles_speak_what_they_speak() {
    for profile in Profile::ALL {
        let expected = match profile.name() {
            "qmqp" => Dialect::Qmqp,
            "qmail-queue" => Dialect::Queue,
            name if name.contains("lmtp") => Dialect::Lmtp,
            _ => Dialect::Smtp,
        };
        assert_eq!(profile.dialect(), expected, "{profile:?}");
        assert_eq!(Profile::named(profile.name()), Some(profile));
    }
    assert_eq!(Profile::named("postfix "), None);
}

#[test]
fn issue_12_a_route_has_a_backend_of_its_own() {
    let route = |backend: &str| {
        let text = format!(
            "{LEAST}[[route]]\ndomains = [\"Lists.example.org\", \".lists.example.org\"]\nrecipients = [\"News@example.org\"]\n\
             backend = {{ profile = \"lmtp\", connect = \"unix:/run/lists.sock\"{backend} }}\n"
        );
        parse(&text)
    };
    let config = route("");
    let [only] = config.routes.as_slice() else { panic!("{:?}", config.routes) };
    assert_eq!(only.domains, ["lists.example.org", ".lists.example.org"]);
    assert_eq!(only.recipients, ["news@example.org"]);
    assert_eq!(only.backend.dialect, Dialect::Lmtp);
    let places: Vec<&Connect> = config.places().collect();
    assert_eq!(places, [&Connect::Unix("/run/mta.sock".into()), &Connect::Unix("/run/lists.sock".into())]);
    // All together are no more than handoff has memory for.
    let connections = |config: &Config| config.backends().map(|backend| backend.connections).collect::<Vec<_>>();
    assert_eq!(connections(&config), [75, 75]);
    assert_eq!(connections(&route(", connections = 10")), [80, 10]);
    assert_eq!(connections(&route(", connections = 100")), [50, 100]);
    // Without relay domains of its own it is a configuration too.
    let text = LEAST.replace("domains = [\"Example.org\", \".example.net\"]", "")
        + "[[route]]\ndomains = [\"a.test\"]\n[route.backend]\n\
                profile = \"lmtp\"\nconnect = \"tcp:127.0.0.1:24\"\n";
    assert!(parse(&text).relay.domains.is_empty());
}

#[test]
fn issue_10_one_listener_takes_both_families_and_two_have_one_each() {
    for (listen, expected) in [
        ("", &[("[::]:25", false)][..]),
        ("[[listen]]", &[("[::]:25", false)]),
        ("[[listen]]\naddress = \"[::]:25\"", &[("[::]:25", false)]),
        ("[[listen]]\naddress = \"[::]:25\"\nv6only = true", &[("[::]:25", true)]),
        // As it was written before one listener took both.
        (
            "[[listen]]\naddress = \"0.0.0.0:25\"\n[[listen]]\naddress = \"[::]:25\"",
            &[("0.0.0.0:25", false), ("[::]:25", true)],
        ),
        (
            "[[listen]]\naddress = \"[::]:25\"\n[[listen]]\naddress = \"0.0.0.0:25\"",
            &[("[::]:25", true), ("0.0.0.0:25", false)],
        ),
        (
            "[[listen]]\naddress = \"0.0.0.0:25\"\n[[listen]]\naddress = \"[::]:587\"",
            &[("0.0.0.0:25", false), ("[::]:587", false)],
        ),
        ("[[listen]]\naddress = \"[2001:db8::1]:25\"", &[("[2001:db8::1]:25", false)]),
    ] {
        let config = parse(&format!("{LEAST}\n{listen}"));
        let found: Vec<(String, bool)> = config.listen.iter().map(|l| (l.address.to_string(), l.v6only)).collect();
        let expected: Vec<(String, bool)> =
            expected.iter().map(|(address, only)| ((*address).to_owned(), *only)).collect();
        assert_eq!(found, expected, "{listen}");
    }
}
