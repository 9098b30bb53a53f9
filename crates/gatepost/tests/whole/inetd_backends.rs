//! `gatepost inetd` with each kind of backend, once from end to end, under our own tcpserver: by STARTTLS and by TLS at once.

use crate::backend_tls::{self, CA, NAME, STARTTLS};
use crate::gate::{CONFIG, GATEPOST, HOSTNAME, config, prepare};
use gatepost_testkit::authority::Authority;
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::maildir::Maildir;
use gatepost_testkit::mta::Dovecot;
use gatepost_testkit::run::{Ended, run};
use gatepost_testkit::wait::{SOON, holds, poll};
use std::collections::BTreeSet;

const QMQP: &str = "127.0.0.1:628 inet n - n - - qmqpd\n  -o qmqpd_authorized_clients=127.0.0.1\n";

#[test]
fn issue_11_inetd_serves_each_kind_of_backend() {
    let name = "issue_11_inetd_serves_each_kind_of_backend";
    let Some(host) = host::for_test(name, &["postfix", "doveconf", "openssl"]) else { return };
    prepare(&host);
    let authority = Authority::new();
    host.write(CA, &authority.pem());
    let by_tls = backend_tls::service(STARTTLS, "  -o smtpd_tls_security_level=encrypt\n");
    let postfix = backend_tls::postfix(&host, &authority.valid(NAME), &format!("{by_tls}{QMQP}"));
    let dovecot = Dovecot::start(&host);
    let backends: [(&str, String, Maildir); 3] = [
        (
            "lmtp",
            format!("profile = \"dovecot-lmtp\"\nconnect = \"unix:{}\"", Dovecot::SOCKET),
            dovecot.maildir("alice"),
        ),
        ("qmqp", "profile = \"qmqp\"\nconnect = \"tcp:127.0.0.1:628\"".to_owned(), postfix.maildir("alice")),
        ("tls", backend_tls::backend("postfix", STARTTLS, "starttls", &backend_tls::named()), postfix.maildir("alice")),
    ];
    for (kind, backend, mailbox) in &backends {
        host.write(CONFIG, &config(backend, ""));
        for port in [25, 465] {
            let (address, listens) = (format!("{HERE}:{port}"), port.to_string());
            let serve = ["tcpserver", "-HRl0", HERE, &listens, GATEPOST, "inetd"];
            let server = host.start("tcpserver", host.command(GATEPOST).args(serve));
            holds("tcpserver to listen", SOON, || host.listens(&address));
            let mut client = match port {
                465 => Client::tls(host.connect(&address), HOSTNAME).expect("TLS at once"),
                _ => Client::over(host.connect(&address)),
            };
            client.hello("road.test");
            if port == 25 {
                client.starttls(HOSTNAME);
                client.ask("EHLO road.test", 250);
            }
            let audited = audit(&host);
            assert_eq!(audited, ["inetd", "single-session", "tcpserver", "tcpserver-listener"], "{kind} {port}");
            let subject = format!("Subject: {kind} at {port}");
            client.deliver("sender@road.test", "alice@ok.test", &format!("{subject}\r\n\r\n"));
            client.ask("QUIT", 221);
            let mail = mailbox.one_with(&subject);
            assert!(
                mail.contains(&format!("by {HOSTNAME}")) && mail.contains("with ESMTPS"),
                "{}\n{mail}",
                server.said()
            );
        }
    }
}

/// The roles that gatepost's processes on this host have, each of which must be confined as its profile says. One that has served another
/// connection may still be there, or be about to enter its jail.
pub(crate) fn audit(host: &Host) -> Vec<String> {
    let look = || run(host.command(GATEPOST).arg("audit"));
    let audit = poll(SOON, &mut || Some(look()).filter(Ended::ok)).unwrap_or_else(|| look().expect_ok("audit"));
    let rows = audit.stdout.lines().skip(1).take_while(|line| !line.is_empty());
    let roles: BTreeSet<&str> = rows.filter_map(|line| line.split_whitespace().nth(1)).collect();
    roles.into_iter().map(str::to_owned).collect()
}
