//! What sound configurations come to: defaults, values, files beside them, the examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // Functions shared by tests, too.

use gatepost_config::{
    About, Config, Connect, Dialect, EarlyTalk, ForNetworks, Identity, Jail, Limits, List, Log, NETWORKS_MAX, Names,
    Pair, Profile, Queue, QueueUser, Rates, Relax, TlsMode, TlsVersion, Users,
};
use gatepost_smtp::data::BareLf;
use gatepost_smtp::envelope::Service;
use gatepost_smtp::keyword::Keyword;
use gatepost_smtp::names::HostName;
use gatepost_smtp::server::Leniency;
use gatepost_wire::observe::Level;
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
    let mail = MailRates { messages: rate(1_000_000, 1), recipients: None, refused_recipients: rate(7, 3600) };
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
    let account = |name: &str| QueueUser::Account(name.to_owned());
    let usual = Queue {
        program: "/var/qmail/bin/qmail-queue".into(),
        home: "/var/qmail".into(),
        user: account("qmaild"),
        owner: account("qmailq"),
    };
    assert_eq!(queue("", ""), usual);
    assert_eq!(queue("users = 61000", ""), Queue { user: QueueUser::Own, owner: QueueUser::Own, ..usual.clone() });
    let given = "connect = \"/opt/scan\"\nhome = \"/opt/qmail\"\nqueue_user = 7791\nqueue_as = \"q\"";
    let owner = account("q");
    let expected = Queue { program: "/opt/scan".into(), home: "/opt/qmail".into(), user: QueueUser::Id(7791), owner };
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

/// A directory that is gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gatepost-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A configuration whose domains stand in `domains`.
    fn config(&self, domains: &Path) -> PathBuf {
        let line = format!("domains_file = \"{}\"", domains.display());
        self.write("gatepost.toml", LEAST.replace("domains = [\"Example.org\", \".example.net\"]", &line))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn issue_12_a_database_of_domains_is_one_and_is_not_empty() {
    let scratch = Scratch::new("domains-cdb");
    let path = scratch.0.join("domains.cdb");
    let line = format!("domains_cdb = \"{}\"", path.display());
    let config = scratch.write("gatepost.toml", LEAST.replace("domains = [\"Example.org\", \".example.net\"]", &line));
    for (octets, fault) in [
        (None, "cannot be read"),
        (Some(2047), "no constant database"),
        (Some(2048), "there is no domain in it"),
        (Some(2060), ""),
    ] {
        octets.map(|octets| scratch.write("domains.cdb", vec![0; octets]));
        let said = Config::load(&config).map_or_else(|faults| faults.to_string(), |_| String::new());
        assert!(said.contains(fault) && said.is_empty() == fault.is_empty(), "{octets:?}: {said}");
    }
    let mut config = Config::load(&config).unwrap();
    assert_eq!(config.table_files().collect::<Vec<_>>(), [path.as_path()]);
    assert_eq!(config.tables_slice(Vec::new()).domains.len(), 2060);
    assert!(!config.renew_table(0).unwrap());
    // What makes it has failed: what was there before stays.
    scratch.write("domains.cdb", vec![0; 2048]);
    assert!(config.renew_table(0).is_err());
    assert_eq!(config.tables_slice(Vec::new()).domains.len(), 2060);
    scratch.write("domains.cdb", vec![0; 2064]);
    assert!(config.renew_table(0).unwrap());
    assert_eq!(config.tables_slice(Vec::new()).domains.len(), 2064);
}

#[test]
fn config_domains_file_is_read_line_by_line() {
    let scratch = Scratch::new("domains");
    let domains = scratch.write("domains", "# ours\nExample.org\r\n\n  .sub.test  # all below\nlast.test");
    let config = Config::load(&scratch.config(&domains)).unwrap();
    assert_eq!(config.relay.domains, ["example.org", ".sub.test", "last.test"]);
    assert_eq!(config.relay.domains_file, Some(domains));
}

#[test]
fn issue_12_files_of_networks_are_read_and_read_anew() {
    let scratch = Scratch::new("networks");
    let clients = scratch.write("clients", "# ours\n192.0.2.0/24 # office\n\n2001:db8::1\n");
    let partners = scratch.write("partners", "192.0.2.7\n198.51.100.0/24\n");
    let (clients_text, partners_text) = (clients.display(), partners.display());
    let text = LEAST.replace("[backend]", &format!("clients_file = \"{clients_text}\"\n[backend]"));
    let blocks = format!(
        "[[network]]\nnetworks_file = \"{partners_text}\"\nmessage_size = \"1MiB\"\n\
         [[network]]\nnetworks = [\"0.0.0.0/0\"]\nsessions_per_address = 3\n"
    );
    let mut config = Config::load(&scratch.write("gatepost.toml", format!("{text}{blocks}"))).unwrap();
    let terms = |config: &Config, ip: &str| {
        let Terms { relay, message_size, sessions_per_address, .. } = config.terms(ip.parse().unwrap());
        (relay, message_size, sessions_per_address)
    };
    for (ip, expected) in [
        ("192.0.2.7", (true, 1 << 20, 0)),
        ("192.0.2.8", (true, 0, 3)),
        ("198.51.100.1", (false, 1 << 20, 0)),
        ("203.0.113.1", (false, 0, 3)),
        ("2001:db8::1", (true, 0, 0)),
        ("2001:db8::2", (false, 0, 0)),
    ] {
        assert_eq!(terms(&config, ip), expected, "{ip}");
    }
    assert_eq!(config.renew_networks(0), Ok(false));
    scratch.write("partners", "203.0.113.1\n");
    assert_eq!(config.renew_networks(1), Ok(true));
    assert_eq!((terms(&config, "203.0.113.1").1, terms(&config, "198.51.100.1").1), (1 << 20, 0));
    // Whatever is wrong with it, what was there before holds.
    for (wrong, what) in [
        ("", "there is no network in it"),
        ("203.0.113.1/24\n", "bits are set beyond the prefix"),
        ("0.0.0.0/0\n", "would let everyone relay"),
    ] {
        scratch.write("clients", wrong);
        let faults = config.renew_networks(0).unwrap_err().to_string();
        assert!(faults.contains(what), "{faults}");
        assert_eq!(terms(&config, "2001:db8::1"), (true, 0, 0), "{what}");
    }
    let many: String = (0..NETWORKS_MAX).map(|n| format!("2001:db8:{n:x}::/48\n")).collect();
    scratch.write("clients", &many);
    assert!(config.renew_networks(0).unwrap_err().to_string().contains("65536 are taken in all files together"));
    assert!(Config::load(&scratch.0.join("gatepost.toml")).unwrap_err().to_string().contains("in all together"));
    std::fs::remove_file(clients).unwrap();
    assert!(config.renew_networks(0).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn config_domains_file_faults_are_located_in_it() {
    let scratch = Scratch::new("faulty-domains");
    let domains = scratch.write("domains", "fine.test\n   *.bad.test # all\njoe@bad.test\n");
    let path = scratch.config(&domains);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}identity = \"none\"\n")).unwrap();
    let faults = Config::load(&path).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| (fault.file().to_owned(), fault.position().unwrap())).collect();
    assert_eq!(places, [(domains.clone(), (2, 4)), (domains.clone(), (3, 1)), (path.clone(), (11, 12))], "{faults}");
    let shown = format!(
        "{}:2:4: \"*.bad.test\": a star stands for nothing here: a leading dot covers subdomains\n  |\n\
         2 |    *.bad.test # all\n  |    ^^^^^^^^^^\n  = write \".bad.test\"\n",
        domains.display()
    );
    assert!(faults.to_string().starts_with(&shown), "{faults}");
}

#[test]
fn config_a_wrong_file_of_domains_is_not_shown_whole() {
    let scratch = Scratch::new("many-faults");
    let domains = scratch.write("domains", "a@b.test\n".repeat(5000));
    let faults = Config::load(&scratch.config(&domains)).unwrap_err();
    assert_eq!(faults.iter().count() + faults.more(), 5000);
    assert!(faults.to_string().ends_with("\nand 4900 more\n"));
}

#[test]
fn config_unreadable_files_are_named() {
    let scratch = Scratch::new("unreadable");
    let absent = scratch.0.join("absent");
    let binary = scratch.write("binary", b"hostname = \"m\xffx\"\n");
    let octet = format!("{}:1:14: the octet 0xff is no UTF-8", binary.display());
    let check = |path: &Path, fragment: &str| {
        let faults = Config::load(path).unwrap_err();
        assert_eq!(faults.iter().count(), 1, "{faults}");
        assert!(faults.to_string().contains(fragment), "{fragment:?} in\n{faults}");
    };
    check(&absent, &format!("{}: cannot be read: ", absent.display()));
    check(&scratch.0, "name the file, not its directory");
    check(&binary, &octet);
    check(
        &scratch.config(&scratch.write("none", "# none yet\n\n")),
        "relay.domains_file: there is no domain in the file",
    );
    check(&scratch.config(&absent), "relay.domains_file: cannot be read: ");
    check(&scratch.config(&binary), &octet);
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// What is shown as TOML in a page.
fn toml_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines().map(str::trim_start) {
        match &mut block {
            None if line == "```toml" => block = Some(String::new()),
            Some(_) if line == "```" => blocks.extend(block.take()),
            Some(block) => *block += &format!("{line}\n"),
            None => {}
        }
    }
    assert!(block.is_none(), "a block without an end");
    blocks
}

/// Parsed, not loaded: the files that an example names are the reader's.
#[test]
fn config_every_example_is_sound() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut files, mut blocks) = (0, 0);
    for path in
        [files_below(&top.join("examples")), vec![top.join("README.md"), top.join("systemd/README.md")]].concat()
    {
        let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !["toml", "md"].contains(&kind) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if kind == "toml" {
            let config = Config::parse(&text, &path).unwrap_or_else(|faults| panic!("{faults}"));
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                ["minimal", "remote-backend", "submission", config.backend.profile.name()].contains(&name),
                "{name}"
            );
            files += 1;
        } else {
            for block in toml_blocks(&text).iter().filter(|block| block.contains("hostname =")) {
                Config::parse(block, &path).unwrap_or_else(|faults| panic!("{faults}\n{block}"));
                blocks += 1;
            }
        }
    }
    assert!(files >= 6 && blocks >= 1, "{files} files, {blocks} blocks");
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
fn issue_12_tables_are_read_from_the_configuration_and_their_files() {
    let scratch = Scratch::new("tables");
    let (list, cdb) = (scratch.write("list", "@a.test\n/^x/ # y\n"), scratch.write("cdb", "\0".repeat(2048)));
    let text = format!(
        "{LEAST}[senders]\nrefuse = [\"B@c.test\"]\nrefuse_file = \"{0}\"\nrefuse_cdb = \"{1}\"\n\
         [recipients]\nvalid_file = \"{0}\"\n[helo]\nrefuse = [\"/a b/\", \".d.test\"]\n",
        list.display(),
        cdb.display()
    );
    let mut config = Config::load(&scratch.write("gatepost.toml", &text)).unwrap();
    let slice = config.tables_slice(Vec::new());
    assert_eq!(slice.senders.entries, ["B@c.test", "@a.test", "/^x/"]);
    assert_eq!(slice.senders.cdb.len(), 2048);
    assert!(slice.recipients.entries.is_empty());
    assert_eq!(slice.valid.unwrap().entries, ["@a.test", "/^x/"]);
    assert_eq!(slice.helo.entries, ["/a b/", ".d.test"]);
    assert!(parse(LEAST).tables_slice(Vec::new()).valid.is_none());

    // In the order of their tables: senders, recipients.
    let files: Vec<PathBuf> = config.table_files().map(Path::to_owned).collect();
    assert_eq!(files, [list.clone(), cdb.clone(), list]);
    scratch.write("list", "@b.test\n");
    assert!(config.renew_table(2).unwrap() && !config.renew_table(2).unwrap());
    assert_eq!(config.tables_slice(Vec::new()).valid.unwrap().entries, ["@b.test"]);
    for (content, place, told) in [
        ("", 2, "there is no recipient in it"),
        ("@b.test\nb.test\n", 2, "list:2:1: \"b.test\": no address"),
        (&"/a/\n".repeat(101), 0, "more than 100 patterns"),
    ] {
        scratch.write("list", content);
        let faults = config.renew_table(place).unwrap_err().to_string();
        assert!(faults.contains(told), "{faults}");
    }
    scratch.write("cdb", "too short");
    assert!(config.renew_table(1).unwrap_err().to_string().contains("no constant database"));
    assert_eq!(config.tables_slice(Vec::new()).senders.cdb.len(), 2048, "what was there before is");
    scratch.write("list", "");
    assert!(config.renew_table(0).unwrap(), "nobody refused is no mistake");
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

#[test]
fn issue_10_the_examples_and_the_socket_unit_listen_where_the_default_does() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let default = parse(LEAST).listen[0].address.to_string();
    let mut examples = 0;
    for entry in std::fs::read_dir(top.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let listen = parse(&std::fs::read_to_string(&path).unwrap()).listen;
            let found: Vec<(String, bool)> = listen.iter().map(|l| (l.address.to_string(), l.v6only)).collect();
            let relays = listen.iter().filter(|l| l.service == Service::Relay).count();
            assert_eq!((found.first(), relays), (Some(&(default.clone(), false)), 1), "{}", path.display());
            examples += 1;
        }
    }
    assert!(examples > 3, "{examples} examples");
    let unit = std::fs::read_to_string(top.join("systemd/gatepost.socket")).unwrap();
    let streams: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(streams, [default.as_str()]);
    assert!(unit.lines().any(|line| line == "BindIPv6Only=both"), "{unit}");
}

#[test]
fn issue_15_who_may_send_as_whom_is_read_from_the_configuration_and_its_files() {
    let scratch = Scratch::new("logins");
    let list = scratch.write("list", "joe joe@a.test # since May\n/[a-z]+/ %@a.test\n");
    let cdb = scratch.write("cdb", "\0".repeat(2048));
    let text = format!(
        "{LEAST}[[listen]]\naddress = \"unix:/run/gatepost/submit\"\nservice = \"submission\"\n[submission]\n\
         senders = [\"joe @joe.test\"]\nsenders_file = \"{}\"\nsenders_cdb = \"{}\"\n",
        list.display(),
        cdb.display()
    );
    let mut config = Config::load(&scratch.write("gatepost.toml", &text)).unwrap();
    let slice = config.tables_slice(vec!["0 root".to_owned()]);
    assert_eq!(slice.permitted.entries, ["joe @joe.test", "joe joe@a.test", "/[a-z]+/ %@a.test"]);
    assert_eq!((slice.permitted.cdb.len(), slice.accounts), (2048, vec!["0 root".to_owned()]));
    let files: Vec<PathBuf> = config.table_files().map(Path::to_owned).collect();
    assert_eq!(files, [list, cdb]);
    for (content, told) in [
        ("joe\n", "list:1:1: \"joe\": a login without an address"),
        ("ann ann@a.test\njoe joe\n", "list:2:1: \"joe joe\": no address"),
        ("joe /(/\n", "a parenthesis is not closed"),
        (&"joe /a/\n".repeat(101), "more than 100 patterns"),
    ] {
        scratch.write("list", content);
        let faults = config.renew_table(0).unwrap_err().to_string();
        assert!(faults.contains(told), "{faults}");
    }
    scratch.write("list", "");
    assert!(config.renew_table(0).unwrap(), "a list of nobody is no mistake");
    assert_eq!(config.tables_slice(Vec::new()).permitted.entries, ["joe @joe.test"]);
}
