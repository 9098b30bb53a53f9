//! TLS towards the backend: a real Postfix and a real Dovecot get mail only with a certificate that is valid for their name.

use crate::gate::{Gate, HOSTNAME, config, prepare};
use gatepost_testkit::authority::{Authority, Issued};
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::mta::{Dovecot, Postfix};
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

/// The backend's name, for which its certificate has to be.
pub(crate) const NAME: &str = "backend.test";
pub(crate) const CA: &str = "/etc/gatepost/ca.pem";
const OWN: (&str, &str) = ("/etc/gatepost/tls/client.pem", "/etc/gatepost/tls/client.key");
pub(crate) const STARTTLS: &str = "127.0.0.1:10587";
const IMPLICIT: &str = "127.0.0.1:10465";
const DOVECOT_IMPLICIT: &str = "127.0.0.1:2425";

/// Lines of a Postfix service that takes mail from a front end by TLS.
pub(crate) fn service(address: &str, more: &str) -> String {
    format!(
        "{address} inet n - n - - smtpd
  -o syslog_name=postfix/gatepost
  -o smtpd_authorized_xclient_hosts=127.0.0.1
  -o mynetworks=
  -o smtpd_relay_restrictions=reject_unauth_destination
  -o smtpd_peername_lookup=no
  -o smtpd_tls_cert_file=/etc/backend.pem
  -o smtpd_tls_key_file=/etc/backend.key
  -o smtpd_tls_loglevel=1
{more}"
    )
}

/// Postfix with the services `services` besides its own.
pub(crate) fn postfix<'h>(host: &'h Host, issued: &Issued, services: &str) -> Postfix<'h> {
    install(host, issued);
    let postfix = Postfix::start(host);
    let master = host.read("/etc/postfix/master.cf");
    host.write("/etc/postfix/master.cf", &format!("{services}{master}"));
    restart(host);
    postfix
}

/// What is configured is read anew by all processes of Postfix when it has been stopped.
fn restart(host: &Host) {
    host.shell("postfix stop; postfix start >/run/said/postfix-start 2>&1").expect_ok("postfix start");
    holds("Postfix to listen for TLS", SOON, || [STARTTLS, IMPLICIT].iter().any(|address| host.listens(address)));
}

/// The backend's certificate from now on, once it is started anew.
fn install(host: &Host, issued: &Issued) {
    host.write("/etc/backend.pem", &issued.certificate);
    host.write("/etc/backend.key", &issued.key);
    host.shell("chmod 600 /etc/backend.key").expect_ok("chmod");
}

/// The lines of `[backend]` for `mode` at `address`.
pub(crate) fn backend(profile: &str, address: &str, mode: &str, more: &str) -> String {
    format!("profile = \"{profile}\"\nconnect = \"tcp:{address}\"\ntls = \"{mode}\"\nca = \"{CA}\"\n{more}")
}

pub(crate) fn named() -> String {
    format!("name = \"{NAME}\"")
}

/// Sends a message and gives the class of the last reply.
fn send(gate: &Gate<'_>, subject: &str) -> u16 {
    let mut client = gate.client();
    // Of a backend that has not passed the relay proof, or of a role that is just started anew, the client hears at once.
    if let Err(e) = client.try_hello("road.test") {
        assert!(e.to_string().starts_with("421"), "{e}");
        return 4;
    }
    let content = format!("Subject: {subject}\r\n\r\n{subject}\r\n");
    let reply = client.try_deliver("sender@road.test", "alice@ok.test", &content).unwrap();
    client.ask("QUIT", 221);
    reply.class()
}

#[test]
fn issue_8_postfix_gets_mail_by_tls_under_its_own_name_only() {
    let name = "issue_8_postfix_gets_mail_by_tls_under_its_own_name_only";
    let Some(host) = host::for_test(name, &["postfix", "openssl"]) else { return };
    let (authority, other) = (Authority::new(), Authority::new());
    prepare(&host);
    host.write(CA, &authority.pem());
    let right = authority.valid(NAME);
    let modes = [
        ("starttls", STARTTLS, "  -o smtpd_tls_security_level=may\n"),
        ("implicit", IMPLICIT, "  -o smtpd_tls_wrappermode=yes\n"),
    ];
    let services: String = modes.iter().map(|(_, address, more)| service(address, more)).collect();
    let postfix = postfix(&host, &right, &services);
    for (mode, address, _) in modes {
        let gate = Gate::start(&host, &config(&backend("postfix", address, mode, &named()), ""));
        assert_eq!(send(&gate, &format!("{mode} right")), 2);
        let mail = postfix.maildir("alice").one_with(&format!("{mode} right"));
        // The backend was told who the client is, within TLS.
        assert!(mail.contains(&format!("by {HOSTNAME}")) && mail.contains("[192.0.2.9]"), "{mail}");
        let wrong = [
            ("another name", authority.valid("elsewhere.test"), "its certificate is for another name"),
            ("expired", authority.issue(NAME, (2020, 2021)), "its certificate has expired"),
            ("another authority", other.valid(NAME), "its certificate is from none of the authorities"),
        ];
        for (what, issued, why) in wrong {
            install(&host, &issued);
            restart(&host);
            assert_eq!(send(&gate, what), 4, "{mode} {what}");
            // The client has its answer before the line is written.
            holds(&format!("the log to say of {what}: {why}"), SOON, || {
                let said = gate.process.said();
                said.lines().rev().find(|line| line.contains("reply=451")).is_some_and(|line| line.contains(why))
            });
        }
        install(&host, &right);
        restart(&host);
        assert_eq!(send(&gate, &format!("{mode} right again")), 2);
        gate.stop();
    }
    holds("Postfix to have delivered all", SOON, || postfix.is_idle());
    assert_eq!(postfix.maildir("alice").messages().len(), 4, "nothing was delivered by a wrong certificate");
    // Whoever is on the path takes STARTTLS from the list: no clear text instead.
    let gate = Gate::start(&host, &config(&backend("postfix", STARTTLS, "starttls", &named()), ""));
    let master = host.read("/etc/postfix/master.cf");
    let stripped =
        master.replacen("security_level=may", "security_level=may\n  -o smtpd_discard_ehlo_keywords=starttls", 1);
    host.write("/etc/postfix/master.cf", &stripped);
    restart(&host);
    assert_eq!(send(&gate, "stripped"), 4);
    holds("the log to say why", SOON, || {
        gate.process.said().contains("TLS with the backend: it does not offer STARTTLS")
    });
    gate.stop();
    assert_eq!(postfix.maildir("alice").messages().len(), 4);
    assert!(!postfix.log().contains("stripped"), "{}", postfix.log());
}

#[test]
fn issue_8_postfix_that_asks_for_a_certificate_gets_the_one_whose_key_the_keyholder_has() {
    let name = "issue_8_postfix_that_asks_for_a_certificate_gets_the_one_whose_key_the_keyholder_has";
    let Some(host) = host::for_test(name, &["postfix", "openssl"]) else { return };
    let authority = Authority::new();
    prepare(&host);
    host.write(CA, &authority.pem());
    host.write("/etc/backend-ca.pem", &authority.pem());
    let asks = "  -o smtpd_tls_security_level=encrypt\n  -o smtpd_tls_req_ccert=yes\n  -o smtpd_tls_CAfile=/etc/backend-ca.pem\n";
    // By its address, which its certificate names.
    let postfix = postfix(&host, &authority.valid("127.0.0.1"), &service(STARTTLS, asks));
    let own = authority.valid(HOSTNAME);
    host.write(OWN.0, &own.certificate);
    host.write(OWN.1, &own.key);
    host.shell(&format!("chmod 600 {}", OWN.1)).expect_ok("chmod");
    let pair = format!("certificate = \"{}\"\nkey = \"{}\"", OWN.0, OWN.1);
    let gate = Gate::start(&host, &config(&backend("postfix", STARTTLS, "starttls", &pair), ""));
    assert_eq!(send(&gate, "shown"), 2);
    let _ = postfix.maildir("alice").one_with("shown");
    assert!(postfix.log().contains("Trusted TLS connection established"), "{}", postfix.log());
    let audit = gate.audit(&[]).expect_ok("audit");
    assert!(audit.stdout.contains("keyholder"), "{}", audit.stdout);
    // A keyholder that was killed is linked with handoff again.
    let keyholder = gate.roles()["gp-keyholder"];
    run(std::process::Command::new("kill").args(["-KILL", &keyholder.to_string()])).expect_ok("kill");
    holds("another keyholder", SOON, || gate.roles().get("gp-keyholder").is_some_and(|pid| *pid != keyholder));
    holds("mail again", SOON, || send(&gate, "again") == 2);
    gate.stop();
}

#[test]
fn issue_8_dovecot_gets_mail_by_lmtp_and_tls() {
    let name = "issue_8_dovecot_gets_mail_by_lmtp_and_tls";
    let Some(host) = host::for_test(name, &["dovecot", "openssl"]) else { return };
    let authority = Authority::new();
    prepare(&host);
    host.write(CA, &authority.pem());
    install(&host, &authority.valid(NAME));
    let more = "ssl = yes
ssl_cert = </etc/backend.pem
ssl_key = </etc/backend.key
service lmtp {
  inet_listener lmtps {
    address = 127.0.0.1
    port = 2425
    ssl = yes
  }
}";
    let dovecot = Dovecot::start_with(&host, more);
    for (mode, address) in [("starttls", Dovecot::ADDRESS), ("implicit", DOVECOT_IMPLICIT)] {
        let gate = Gate::start(&host, &config(&backend("dovecot-lmtp", address, mode, &named()), ""));
        assert_eq!(send(&gate, mode), 2, "{}", gate.process.said());
        let _ = dovecot.maildir("alice").one_with(mode);
        gate.stop();
        let other = backend("dovecot-lmtp", address, mode, "name = \"elsewhere.test\"");
        let gate = Gate::start(&host, &config(&other, ""));
        assert_eq!(send(&gate, "another name"), 4);
        let said = gate.process.said();
        assert!(said.contains("its certificate is for another name"), "{said}");
        gate.stop();
    }
    assert_eq!(dovecot.maildir("alice").messages().len(), 2);
}
