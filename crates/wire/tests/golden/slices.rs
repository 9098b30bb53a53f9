//! The slice of each role.

use super::*;

#[test]
fn slices() {
    let terms =
        Terms { relay: true, exempt: false, message_size: 1, sessions_per_address: 2, hidden: Keywords::default() };
    let networks: Vec<Network> = vec!["192.0.2.0/24".parse().unwrap()];
    golden(
        &NetworksSlice { relay: networks.clone(), different: vec![TermsFor { networks, terms }] },
        "01000000 04 c0000200 18 01000000 01000000 04 c0000200 18 01 00 0100000000000000 02000000 0000",
    );
    golden(
        &ObserverSlice { form: LogForm::Json, level: Level::Warning, cut: true, syslog: 0x1234 },
        "02 01 01 34120000",
    );
    let text = |text: &str| text.to_owned();
    golden(
        &ListenerSlice {
            listeners: vec![TlsMode::StartTls, TlsMode::Implicit],
            services: vec![Service::Relay, Service::Submission],
            hostname: text("h"),
            sessions: 1,
            sessions_per_address: 2,
            offences: 3,
            connections: Some(Rate { count: 4, seconds: 60 }),
            proxy_from: vec![vec!["192.0.2.0/24".parse().unwrap()], Vec::new()],
            screen: Screen {
                early_talk: EarlyTalk::Log,
                pause: 258,
                waiting: 4,
                lists: vec![ListRule {
                    zone: HostName::parse(b"l").unwrap(),
                    weight: 5,
                    allows: true,
                    codes: vec![CodeRange { first: 6, last: 7 }],
                }],
                defer_at: 8,
                refuse_at: 9,
                untested: vec!["192.0.2.0/24".parse().unwrap()],
            },
        },
        "02000000 01 02 02000000 00 01 01000000 68 01000000 02000000 03000000 01 04000000 3c000000
         02000000 01000000 04 c0000200 18 00000000 01 02010000 04000000
         01000000 01 6c 05000000 01 01000000 06000000 07000000 08000000 09000000 01000000 04 c0000200 18",
    );
    golden(
        &NurserySlice {
            listeners: vec![TlsMode::Off],
            hostname: text("h"),
            chains: vec![Chain { names: Vec::new(), certificates: vec![vec![9]] }],
            tls_required: true,
            tls13_only: false,
            sessions: 1,
            data: 2,
            message_size: 3,
            recipients: 4,
            leniency: Leniency::default(),
            command_timeout: 5,
            content_timeout: 6,
            minimum_rate: 7,
            session_time: 8,
        },
        "01000000 00 01000000 68 01000000 00000000 01000000 01000000 09 01 00 01000000 0200000000000000
         0300000000000000 0400 01 01 01 00 01 01 01 01 01 01 01 01 00 01 00 01
         05000000 06000000 07000000 08000000",
    );
    golden(
        &KeyholderSlice { keys: vec![b"k".to_vec()], client_keys: vec![b"c".to_vec()] },
        "01000000 01000000 6b 01000000 01000000 63",
    );
    golden(
        &HandoffSlice {
            hostname: text("h"),
            domains: vec![text("d"), text(".e")],
            any_domain: false,
            clients: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            trusted: vec![text("t")],
            check_from: true,
            hide_client: false,
            backend: BackendSlice {
                dialect: Dialect::Lmtp,
                identity: Identity::ProxyV2,
                tls: BackendTls {
                    mode: TlsMode::StartTls,
                    roots: vec![vec![8]],
                    name: text("n"),
                    certificates: vec![vec![9]],
                    key: 7,
                },
                connect: vec![Connect::Unix("/s".into()), Connect::Tcp("127.0.0.1:25".parse().unwrap())],
                relay_proof: true,
                logins: true,
                reply_timeout: 540,
                connections: 4,
                texts: true,
            },
            routes: vec![RouteSlice {
                domains: vec![text("f")],
                recipients: vec![text("r@g")],
                backend: BackendSlice {
                    dialect: Dialect::Smtp,
                    identity: Identity::None,
                    tls: BackendTls::OFF,
                    connect: vec![Connect::Unix("/u".into())],
                    relay_proof: false,
                    logins: false,
                    reply_timeout: 1,
                    connections: 2,
                    texts: false,
                },
            }],
            tables: TablesSlice {
                senders: TableSlice { entries: vec![text("@s")], cdb: vec![1] },
                recipients: TableSlice::default(),
                valid: Some(TableSlice { entries: vec![text("v")], cdb: Vec::new() }),
                helo: TableSlice::default(),
                permitted: TableSlice { entries: vec![text("s")], cdb: vec![2] },
                accounts: vec![text("1 a")],
                domains: vec![7],
            },
            message_size: 1,
            spool_size: 5,
            spool_free: 6,
            recipients: 2,
            hops: 3,
            names_wait: 2000,
            rates: MailRates { messages: Some(Rate { count: 4, seconds: 60 }), recipients: None, refused_recipients: None, login_recipients: None },
            helo_lists: HeloLists { first: 3, rules: Vec::new(), defer_at: 4, refuse_at: 5 },
            spool: text("/c"),
        },
        "01000000 68 02000000 01000000 64 02000000 2e65 00 02000000 04 c0000200 18
         06 20010db8000000000000000000000000 20 01000000 01000000 74 01 00 01 02 01 01000000 01000000 08 01000000 6e 01000000 01000000 09 07
         02000000 00 02000000 2f73 01 04 7f000001 1900 01 01 1c020000 04000000 01
         01000000 01000000 01000000 66 01000000 03000000 724067
         00 00 00 00000000 00000000 00000000 00 01000000 00 02000000 2f75 00 00 01000000 02000000 00
         01000000 02000000 4073 01000000 01 00000000 00000000 01 01000000 01000000 76 00000000 00000000 00000000 01000000 01000000 73 01000000 02
         01000000 03000000 312061 01000000 07
         0100000000000000 0500000000000000 0600000000000000 0200 03000000 d0070000 01 04000000 3c000000 00 00 00
         03 00000000 04000000 05000000 02000000 2f63",
    );
    golden(
        &ReceiverSlice { maildir: text("/m"), socket_dir: text("/l"), hostname: text("h") },
        "02000000 2f6d 02000000 2f6c 01000000 68",
    );
    golden(
        &ResolverSlice {
            servers: vec!["127.0.0.1:53".parse().unwrap()],
            hosts: vec![HostsEntry { address: "::1".parse().unwrap(), names: vec![HostName::parse(b"h").unwrap()] }],
            lists: vec![ListZone { zone: HostName::parse(b"l").unwrap(), about: About::Name }],
        },
        "01000000 04 7f000001 3500 01000000 06 00000000000000000000000000000001 01000000 01 68 01000000 01 6c 01",
    );
    golden(
        &QueueSlice { program: text("/q"), home: text("/"), real_uid: 7, at_once: 8 },
        "02000000 2f71 01000000 2f 07000000 08000000",
    );
    golden(
        &CheckerSlice { command: vec![text("/c"), text("a")], uid: 7 },
        "02000000 02000000 2f63 01000000 61 07000000",
    );
    golden(
        &Setup {
            ground: Ground::User,
            namespaces: true,
            landlock: false,
            data: 1,
            open_files: 2,
            processes: 3,
            file_size: 4,
            uid: 5,
            gid: 6,
            groups: vec![7],
            anchor: "/".into(),
            directories: vec![Directory { outside: "/o".into(), inside: text("i"), access: Access::Sockets }],
            connect_ports: vec![25],
            slice: vec![0xff],
        },
        "01 01 00 0100000000000000 0200000000000000 0300000000000000 0400000000000000 05000000 06000000
         01000000 07000000 01000000 2f 01000000 02000000 2f6f 01000000 69 01 01000000 1900 01000000 ff",
    );
}
