//! `gatepost check`: what it says before serving, and that it changes nothing.

use crate::gate::{
    CERTIFICATE, CONFIG, GATEPOST, Gate, HOSTNAME, KEY, config, gateposts, make_pair, prepare, rogue, starttls,
};
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::{Ended, run};
use gatepost_testkit::wait::{SOON, holds};

pub(crate) fn check(host: &Host, config: &str) -> Ended {
    host.write("/etc/gatepost/checked.toml", config);
    run(host.command(GATEPOST).args(["check", "--config", "/etc/gatepost/checked.toml"]))
}

/// Everything in the spool: names, owners, modes, times.
fn spool(host: &Host) -> String {
    host.shell("find /var/spool/gatepost -printf '%p %U:%G %m %T@ %C@\n' | sort").expect_ok("find").stdout
}

/// The configuration with another line, where it has one that begins so.
fn with_line(config: &str, begin: &str, line: &str) -> String {
    config.lines().map(|old| if old.starts_with(begin) { line } else { old }).collect::<Vec<_>>().join("\n")
}

#[test]
fn issue_10_check_leaves_the_spool_of_a_running_gatepost_alone() {
    let name = "issue_10_check_leaves_the_spool_of_a_running_gatepost_alone";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let served = config(&backend, "");
    let gate = Gate::start(&host, &served);
    // The same but for the users: another configuration is tried beside the one in force.
    let other = config(&backend, "");
    let (before, processes) = (spool(&host), gateposts(&host));
    let checked = check(&host, &other);
    assert_eq!(spool(&host), before, "{}", checked.said());
    assert_eq!(gateposts(&host), processes, "a role is left");
    // To serve with it would take the running one's directory away, so it is not ready.
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said());
    assert!(checked.stdout.contains("a gatepost that runs now keeps its messages there"), "{}", checked.said());
    // With addresses of its own it would come as far as the spool: no further.
    let elsewhere = other.replace("203.0.113.25", "203.0.113.26").replace("2001:db8::25", "::1");
    host.write(CONFIG, &elsewhere);
    let refused = run(host.command(GATEPOST).arg("serve"));
    assert!(!refused.ok() && refused.stderr.contains("write the same users"), "{}", refused.said());
    assert_eq!(spool(&host), before);
    // What is in force is ready, and it is said who holds its addresses.
    let same = check(&host, &served);
    assert_eq!(same.status.code(), Some(0), "{}", same.said());
    assert_eq!(same.stdout.matches("held by the gatepost that runs now").count(), 3, "{}", same.stdout);
    assert_eq!(spool(&host), before);
    assert_eq!(gateposts(&host), processes, "a role is left");
    // To be looked at from outside changes nothing either.
    gate.audit(&[]).expect_ok("audit");
    assert_eq!((spool(&host), gateposts(&host)), (before, processes));
    // A message that needs a file still gets one.
    let mut client = gate.client();
    client.hello("road.test");
    client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: s\r\n\r\n{}", "x\r\n".repeat(200_000)));
    assert_eq!(mta.count(), 1);
    client.ask("QUIT", 221);
    host.write(CONFIG, &served);
    gate.stop();
}

#[test]
fn issue_10_check_makes_nothing() {
    let Some(host) = host::for_test("issue_10_check_makes_nothing", &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    let before = spool(&host);
    for relax in ["", "\n[jail]\nrelax = [\"landlock\"]"] {
        let checked = check(&host, &config(&backend, relax));
        assert_eq!(checked.status.code(), Some(0), "{}", checked.said());
        assert_eq!(spool(&host), before, "{}", checked.said());
        assert!(gateposts(&host).is_empty(), "a role is left");
    }
    // Without namespaces roles have a directory for a root, which only a start makes.
    let tcp = gatepost_testkit::rogue::Mta::tcp(host.listen("127.0.0.1:2600"), Speaks::Smtp);
    let backend = "profile = \"smtp\"\nconnect = \"tcp:127.0.0.1:2600\"\n\n[jail]\nrelax = [\"namespaces\"]";
    let checked = check(&host, &config(backend, ""));
    assert_eq!(checked.status.code(), Some(0), "{}", checked.said());
    assert_eq!(spool(&host), before, "{}", checked.said());
    drop(tcp);
}

/// What is checked, and what is said of it.
struct Case {
    name: &'static str,
    /// Makes it: on the host, or in the text of a configuration that was right.
    make: fn(&Host, &str) -> String,
    /// Words of the one row.
    words: &'static [&'static str],
    status: i32,
}

fn same(config: &str) -> String {
    config.to_owned()
}

/// A self-signed certificate for `name`, valid in these years.
fn dated_pair(host: &Host, name: &str, years: (i32, i32)) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    host.write(CERTIFICATE, &params.self_signed(&key).unwrap().pem());
    host.write_with(KEY, &key.serialize_pem(), 0o600);
}

/// A certificate of our name by an authority that is not in the file.
fn signed_pair(host: &Host) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    let authority = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![HOSTNAME.to_owned()]).unwrap();
    host.write(CERTIFICATE, &params.signed_by(&key, &authority).unwrap().pem());
    host.write_with(KEY, &key.serialize_pem(), 0o600);
}

/// A self-signed certificate of our name, made as these options of `openssl req` say.
fn openssl(host: &Host, options: &str) {
    host.shell(&format!(
        "openssl req -x509 {options} -nodes -subj /CN={HOSTNAME} -addext subjectAltName=DNS:{HOSTNAME} \
         -keyout {KEY} -out {CERTIFICATE} && chmod 600 {KEY}"
    ))
    .expect_ok("openssl req");
}

const CASES: &[Case] = &[
    Case { name: "what is right", make: |_, config| same(config), words: &["ok", "refuses to relay"], status: 0 },
    Case {
        name: "an address of another machine",
        make: |_, config| config.replace("203.0.113.25:465", "198.51.100.1:465"),
        words: &["FAULT", "198.51.100.1:465", "no address of this machine"],
        status: 1,
    },
    Case {
        name: "an expired certificate",
        make: |host, config| {
            dated_pair(host, HOSTNAME, (2020, 2021));
            same(config)
        },
        words: &["LOOK", CERTIFICATE, "has expired"],
        status: 2,
    },
    Case {
        name: "a renewal that is late",
        make: |host, config| {
            openssl(host, "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 1");
            same(config)
        },
        words: &["LOOK", CERTIFICATE, "expires in 2", "hours: renew it"],
        status: 2,
    },
    Case {
        name: "a certificate of tomorrow",
        make: |host, config| {
            dated_pair(host, HOSTNAME, (2050, 2051));
            same(config)
        },
        words: &["LOOK", CERTIFICATE, "is not valid yet"],
        status: 2,
    },
    Case {
        name: "a certificate for another name",
        make: |host, config| {
            dated_pair(host, "www.ok.test", (2020, 2051));
            same(config)
        },
        words: &["LOOK", CERTIFICATE, "is for www.ok.test, not for mx.ok.test"],
        status: 2,
    },
    Case {
        name: "an RSA certificate alone",
        make: |host, config| {
            openssl(host, "-newkey rsa:2048 -days 30");
            same(config)
        },
        words: &["note", "Windows Server 2012 R2", "[[tls.pair]]"],
        status: 0,
    },
    Case {
        name: "the newest TLS alone",
        make: |_, config| config.replace("[tls]\n", "[tls]\nminimum = \"1.3\"\n"),
        words: &["note", "minimum = \"1.2\""],
        status: 0,
    },
    Case {
        name: "a socket that Postfix keeps to itself",
        make: |host, config| {
            host.shell("install -d -o postfix -m 0700 /var/spool/postfix/private").expect_ok("private/");
            let _ = host.shell("true");
            with_line(config, "connect", "connect = \"unix:/var/spool/postfix/private/gatepost\"")
        },
        words: &["FAULT", "/var/spool/postfix/private is closed to the dialer", "n in the third column"],
        status: 1,
    },
    Case {
        name: "a name that every machine has",
        make: |host, config| {
            dated_pair(host, "localhost", (2020, 2051));
            with_line(config, "hostname", "hostname = \"localhost\"")
        },
        words: &["LOOK", "hostname localhost", "mx.example.org"],
        status: 2,
    },
    Case {
        name: "a certificate without the one that signed it",
        make: |host, config| {
            signed_pair(host);
            same(config)
        },
        words: &["LOOK", CERTIFICATE, "fullchain.pem"],
        status: 2,
    },
    Case {
        name: "a backend that is gatepost itself",
        make: |_, config| {
            let wide = config.replace("203.0.113.25:465", "[::]:2600");
            let tcp = with_line(&wide, "connect", "connect = \"tcp:203.0.113.26:2600\"");
            with_line(&tcp, "profile", "profile = \"smtp\"")
        },
        words: &["FAULT", "backend tcp:203.0.113.26:2600", "mail would loop"],
        status: 1,
    },
    Case {
        name: "a table that others may write to",
        make: |host, config| {
            host.write_with("/etc/gatepost/senders", "@spam.test\n", 0o666);
            format!("{config}\n[senders]\nrefuse_file = \"/etc/gatepost/senders\"\n")
        },
        words: &["LOOK", "path /etc/gatepost/senders", "everybody may write to it, run chmod o-w"],
        status: 2,
    },
    Case {
        name: "clients that may relay and that the backend does not know",
        make: |_, config| {
            let config = config.replace("[relay]\n", "[relay]\nclients = [\"127.0.0.0/8\"]\n");
            with_line(&config, "profile", "profile = \"smtp\"")
        },
        words: &["LOOK", "relay.clients", "identity = \"xclient\""],
        status: 2,
    },
];

#[test]
fn issue_10_check_says_what_will_not_serve_and_what_to_look_at() {
    let name = "issue_10_check_says_what_will_not_serve_and_what_to_look_at";
    let Some(host) = host::for_test(name, &["openssl", "postfix", "python3"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    for case in CASES {
        host.shell("rm -rf /etc/gatepost").expect_ok("rm");
        prepare(&host);
        let checked = check(&host, &(case.make)(&host, &config(&backend, "")));
        let right = |line: &str| case.words.iter().all(|word| line.contains(word));
        assert!(checked.stdout.lines().any(right), "{}: {:?} in\n{}", case.name, case.words, checked.said());
        assert_eq!(checked.status.code(), Some(case.status), "{}: {}", case.name, checked.said());
        holds("no process is left", SOON, || gateposts(&host).is_empty());
    }
    make_pair(&host, CERTIFICATE, KEY);
    // Another program on the port.
    let program = format!("import socket, time; s = socket.create_server(('{HERE}', 25)); time.sleep(600)");
    let mut other = host.start("other", host.command("python3").args(["-c", &program]));
    holds("it listens", SOON, || host.listens(&starttls()));
    let checked = check(&host, &config(&backend, ""));
    assert_eq!(checked.status.code(), Some(1), "{}", checked.said());
    let row = checked.stdout.lines().find(|line| line.contains(&starttls())).unwrap();
    assert!(row.starts_with("FAULT") && row.contains("held by python3 (process "), "{row}");
    assert!(other.signal("KILL"));
}

#[test]
fn issue_10_a_mistake_in_the_command_line_of_check_is_not_a_word_about_the_configuration() {
    let name = "issue_10_a_mistake_in_the_command_line_of_check_is_not_a_word_about_the_configuration";
    let Some(host) = host::for_test(name, &[]) else { return };
    let wrong = run(host.command(GATEPOST).args(["check", "--confg", "/etc/gatepost/gatepost.toml"]));
    assert_eq!(wrong.status.code(), Some(1), "{}", wrong.said());
    assert_eq!(run(host.command(GATEPOST).args(["check", "--help"])).status.code(), Some(0));
}

/// What Windows Server 2012 R2 has of TLS 1.2: GCM with keys of ECDSA or by DHE and by RSA alone, but not by ECDHE with RSA.
const WINDOWS_2012_R2: &str = "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:DHE-RSA-AES256-GCM-SHA384:AES256-GCM-SHA384:\
                               AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256";

#[test]
fn issue_10_the_pair_that_check_advises_serves_windows_server_2012_r2() {
    let name = "issue_10_the_pair_that_check_advises_serves_windows_server_2012_r2";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    prepare(&host);
    openssl(&host, "-newkey rsa:2048 -days 30");
    host.shell("cd /etc/gatepost && mv tls/cert.pem rsa.pem && mv tls/key.pem rsa.key").expect_ok("mv");
    make_pair(&host, "/etc/gatepost/ecdsa.pem", "/etc/gatepost/ecdsa.key");
    for (pair, served) in [
        ("", false),
        ("[[tls.pair]]\ncertificate = \"/etc/gatepost/ecdsa.pem\"\nkey = \"/etc/gatepost/ecdsa.key\"", true),
    ] {
        let config = config(&backend, pair).replace(CERTIFICATE, "/etc/gatepost/rsa.pem");
        let gate = Gate::start(&host, &config.replace(KEY, "/etc/gatepost/rsa.key"));
        let line = format!(
            "echo QUIT | openssl s_client -connect {HERE}:25 -starttls smtp -tls1_2 -cipher '{WINDOWS_2012_R2}' 2>&1"
        );
        let said = host.shell(&line).said();
        assert_eq!(said.contains("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384"), served, "{said}");
        gate.stop();
    }
}
