//! What `examples/` has for operators: rules for Prometheus, a filter for fail2ban.

use gatepost_log::{Form, Head, told};
use gatepost_smtp::envelope::{CloseReason, Login, Mechanism, Reason};
use gatepost_testkit::host;
use gatepost_wire::event::{Event, LoginTried, Owned, Recipient, Session};
use gatepost_wire::line::Level;
use gatepost_wire::link::SessionId;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn session(client: &str, end: CloseReason, why: &'static str) -> Event<'static> {
    let client = client.parse().unwrap();
    let (name, why) = (None, Some(why.as_bytes()));
    Session { session: SessionId(7), client, name, no_name: None, transactions: 1, messages: 0, end, why, seconds: 1 }
        .into()
}

fn login(client: &str, result: Login) -> Event<'static> {
    let (client, login) = (client.parse().unwrap(), Some(&b"joe\" result=Refused"[..]));
    LoginTried { session: SessionId(7), client, login, mechanism: Mechanism::Plain, result }.into()
}

fn recipient(client: &str, reason: Reason, helo: &'static str) -> Event<'static> {
    Recipient {
        session: SessionId(7),
        transaction: 1,
        first: true,
        client: client.parse().unwrap(),
        name: None,
        no_name: None,
        login: None,
        helo: helo.as_bytes(),
        from: b"a@road.test",
        to: b"b@ok.test",
        size: 0,
        tls: None,
        message_id: None,
        reply: 550,
        enhanced: (5, 7, 1),
        reason,
        heard: helo.as_bytes(),
        backend: 0,
        said: None,
        failure: None,
        took_ms: 1,
        client_ms: 1,
        backend_ms: 1,
    }
    .into()
}

/// A stranger's texts look like lines of the log, and get nobody banned.
#[test]
fn issue_13_fail2ban_bans_the_address_of_an_event_and_none_that_a_stranger_wrote() {
    let Some(host) = host::for_test(
        "issue_13_fail2ban_bans_the_address_of_an_event_and_none_that_a_stranger_wrote",
        &["fail2ban-regex"],
    ) else {
        return;
    };
    let forged = "x\" end=Abuse client=203.0.113.9:1 reason=RelayDenied \",\"end\":\"Abuse\",\"reason\":\"RelayDenied\" \
                  handoff: session session=1 client=203.0.113.9:1 end=Abuse";
    let owned = Owned { session: SessionId(7), client: "192.0.2.4:9".parse().unwrap(), violation: b"x" };
    // (event, the address that is banned)
    let rows = [
        (session("192.0.2.1:9", CloseReason::Abuse, "x"), Some("192.0.2.1")),
        (session("[2001:db8::1]:9", CloseReason::TlsFailed, forged), Some("2001:db8::1")),
        (recipient("192.0.2.3:9", Reason::RelayDenied, forged), Some("192.0.2.3")),
        (owned.into(), Some("192.0.2.4")),
        (login("192.0.2.10:9", Login::Refused), Some("192.0.2.10")),
        (login("192.0.2.11:9", Login::Accepted), None),
        (login("192.0.2.12:9", Login::Unknown), None),
        (session("192.0.2.5:9", CloseReason::Quit, forged), None),
        (session("192.0.2.6:9", CloseReason::ClientGone, "x"), None),
        (recipient("192.0.2.7:9", Reason::RecipientRefused, forged), None),
        (recipient("192.0.2.8:9", Reason::Ok, "client.test"), None),
    ];
    let filters = host.path("/etc/fail2ban/filter.d");
    std::fs::create_dir_all(&filters).unwrap();
    for name in ["common.conf", "../fail2ban.conf"] {
        let _ = std::fs::copy(Path::new("/etc/fail2ban/filter.d").join(name), filters.join(name));
    }
    std::fs::copy(examples().join("fail2ban/filter.conf"), filters.join("gatepost.conf")).unwrap();
    for form in [Form::Text, Form::Json] {
        let mut log = Vec::new();
        for (event, _) in &rows {
            let who = if matches!(event, Event::LoginTried(_)) { "auth" } else { "handoff" };
            let head = Head { level: Level::Info, who, lost: 0, time: Duration::from_secs(1_795_731_371) };
            if form == Form::Text {
                log.extend_from_slice(b"Nov 26 22:00:00 mx gatepost[12]: ");
            }
            log.extend_from_slice(&told(form, &head, event, false));
        }
        host.write("/run/log", &String::from_utf8(log).unwrap());
        let regex = "fail2ban-regex --out ip /run/log /etc/fail2ban/filter.d/gatepost.conf 2>&1";
        let seen = host.shell(regex).expect_ok(regex);
        let banned: Vec<&str> = seen.stdout.split_whitespace().collect();
        let expected: Vec<&str> = rows.iter().filter_map(|(_, banned)| *banned).collect();
        assert_eq!(banned, expected, "{form:?}: {}", seen.stdout);
    }
}

#[test]
fn issue_13_prometheus_takes_the_rules() {
    let Some(host) = host::for_test("issue_13_prometheus_takes_the_rules", &["promtool"]) else { return };
    for name in ["prometheus.yml", "gatepost.rules.yml"] {
        let text = std::fs::read_to_string(examples().join("prometheus").join(name)).unwrap();
        host.write(&format!("/run/{name}"), &text);
    }
    host.shell("promtool check config /run/prometheus.yml").expect_ok("promtool check config");
}
