//! Issue 12, point 5: DNS lists of our own, asked by the running daemon about strangers before their greeting.

use crate::check::check;
use crate::gate::{GATEPOST, Gate, config, rogue, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::name_server::{NameServer, Rcode, Said, nothing, said};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const NAMES: &str = "127.0.0.1:5300";

const LISTS: &str = "[names]\nservers = [\"127.0.0.1:5300\"]\n[log]\nformat = \"json\"\n\
    [[network]]\nnetworks = [\"127.7.0.0/16\"]\nexempt = true\n\
    [[network]]\nnetworks = [\"127.8.0.0/16\"]\nrelay = true\n\
    [admission]\ndefer_at = 3\nrefuse_at = 5\n\
    [[admission.list]]\nzone = \"bl.test\"\nweight = 5\n\
    [[admission.list]]\nzone = \"grey.test\"\nweight = 3\ncodes = [\"127.0.0.2-127.0.0.9\"]\n\
    [[admission.list]]\nzone = \"wl.test\"\nweight = 5\nkind = \"allow\"\n";
/// One that answers that it does not serve us, and one that does not list what every list does.
const REFUSES: &str = "[[admission.list]]\nzone = \"refuses.test\"\nweight = 100\n";
/// One that is well at the start.
const DIES: &str = "[[admission.list]]\nzone = \"dies.test\"\nweight = 100\n";

/// What a list says of 127.A.1.B: codes.
fn entry(zone: &str, (a, b): (u8, u8), code: &str) -> (String, Said) {
    let owner = format!("{b}.1.{a}.127.{zone}");
    (format!("{owner} A"), said(&[&format!("{owner} 60 A {code}")]))
}

fn name_server(host: &Host) -> NameServer {
    let mut zone = Vec::new();
    for list in ["bl.test", "grey.test", "wl.test", "dies.test"] {
        let point = format!("2.0.0.127.{list}");
        zone.push((format!("{point} A"), said(&[&format!("{point} 60 A 127.0.0.2")])));
    }
    for listed in [(3, 1), (3, 4), (7, 1), (8, 1)] {
        zone.push(entry("bl.test", listed, "127.0.0.4"));
    }
    let text = "1.1.3.127.bl.test";
    zone.push((format!("{text} TXT"), said(&[&format!("{text} 60 TXT https://bl.test/?127.3.1.1")])));
    zone.push(entry("grey.test", (3, 2), "127.0.0.9"));
    let text = "2.1.3.127.grey.test";
    zone.push((format!("{text} TXT"), said(&[&format!("{text} 60 TXT https://grey.test/")])));
    zone.push(entry("grey.test", (3, 6), "127.0.0.10"));
    zone.push(entry("wl.test", (3, 4), "127.0.10.1"));
    for point in ["1.0.0.127", "2.0.0.127", "5.1.3.127"] {
        let owner = format!("{point}.refuses.test");
        zone.push((format!("{owner} A"), said(&[&format!("{owner} 60 A 127.255.255.254")])));
    }
    for point in ["1.0.0.127", "2.0.0.127"] {
        zone.push((format!("{point}.silent.test A"), Said { silent: true, ..Said::default() }));
    }
    for b in 1..=6 {
        zone.push((format!("{b}.1.9.127.dies.test A"), Said { silent: true, ..Said::default() }));
    }
    for (owner, code) in [
        ("test.helo.test", "127.0.0.2"),
        ("bad.dyn.test.helo.test", "127.0.0.2"),
        ("grey.dyn.test.grey.helo.test", "127.0.0.2"),
        ("test.grey.helo.test", "127.0.0.2"),
    ] {
        zone.push((format!("{owner} A"), said(&[&format!("{owner} 60 A {code}")])));
    }
    let text = "bad.dyn.test.helo.test";
    zone.push((format!("{text} TXT"), said(&[&format!("{text} 60 TXT https://helo.test/?bad.dyn.test")])));
    zone.push(("dies.dyn.test.helo.test A".to_owned(), Said { silent: true, ..Said::default() }));
    let zone: Vec<(&str, Said)> = zone.iter().map(|(key, said)| (key.as_str(), said.clone())).collect();
    host.inside(|| NameServer::at(NAMES.parse().unwrap(), &zone, &nothing(Rcode::NXDOMAIN, Some(60))))
}

/// The first line that a client from that address hears.
fn greeting(host: &Host, from: &str) -> String {
    let mut client = Client::over(host.connect_from(from, &starttls()).unwrap());
    let reply = client.reply();
    if reply.code == 220 {
        let _ = client.try_ask("QUIT");
    }
    format!("{} {}", reply.code, reply.lines.first().cloned().unwrap_or_default())
}

#[test]
fn issue_12_who_is_listed_hears_it_and_a_list_that_fails_refuses_nobody() {
    let name = "issue_12_who_is_listed_hears_it_and_a_list_that_fails_refuses_nobody";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    let names = name_server(&host);
    let gate = Gate::start(&host, &config(&backend, &format!("{LISTS}{REFUSES}{DIES}")));
    for (from, heard) in [
        ("127.3.1.1", "554 5.7.1 mx.ok.test refuses 127.3.1.1: it is listed by bl.test: https://bl.test/?127.3.1.1"),
        (
            "127.3.1.2",
            "421 4.7.1 mx.ok.test cannot serve 127.3.1.2 now, try again later: it is listed by grey.test: https://grey.test/",
        ),
        ("127.3.1.3", "220 "),
        // Another list speaks for it.
        ("127.3.1.4", "220 "),
        // 127.255.255.254 is no listing, and neither is a code that nobody has chosen.
        ("127.3.1.5", "220 "),
        ("127.3.1.6", "220 "),
        // Exempt; may relay.
        ("127.7.1.1", "220 "),
        ("127.8.1.1", "220 "),
    ] {
        let said = greeting(&host, from);
        assert!(said.starts_with(heard), "{from}: {said:?}, not {heard:?}");
    }
    let of_a_list = |asked: &String| asked.contains(".test ");
    let asked: Vec<String> = names.asked().into_iter().filter(of_a_list).collect();
    let untested = |asked: &String| asked.contains(".7.127.") || asked.contains(".8.127.");
    assert!(!asked.iter().any(untested), "{asked:?}");
    // A list that dies: its clients wait for it in vain and are served, and after some of them nobody waits any more.
    std::thread::scope(|scope| {
        let host = &host;
        for n in 1..=5 {
            scope.spawn(move || assert!(greeting(host, &format!("127.9.1.{n}")).starts_with("220 ")));
        }
    });
    let said = || gate.process.said();
    let left_out = |zone: &str, why: &str| {
        let (zone, why) = (format!("\"list\":\"{zone}\""), format!("\"why\":\"{why}\""));
        said().lines().any(|line| line.contains("list-left-out") && line.contains(&zone) && line.contains(&why))
    };
    holds("the dead list is left out", SOON, || left_out("dies.test", "Silent"));
    assert!(left_out("refuses.test", "Refusing"), "{}", said());
    assert!(greeting(&host, "127.9.1.6").starts_with("220 "));
    assert!(!names.asked().iter().any(|asked| asked == "6.1.9.127.dies.test a"), "it is not asked any more");
    let listed: Vec<String> =
        said().lines().filter(|line| line.contains("\"event\":\"listed\"")).map(str::to_owned).collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(
        listed[0].contains("\"course\":\"Refused\"") && listed[0].contains("https://bl.test/?127.3.1.1"),
        "{}",
        listed[0]
    );
    assert!(listed[1].contains("\"course\":\"Deferred\"") && listed[1].contains("\"score\":3"), "{}", listed[1]);
    gate.stop();
    // What check says of them. A list that does not answer at all stands first, and keeps no other from being proved.
    let list = |zone: &str| format!("[[admission.list]]\nzone = \"{zone}\"\nweight = 1\n");
    let lists = |zone: &str| LISTS.replacen("[[admission.list]]", &format!("{}[[admission.list]]", list(zone)), 1);
    for (lists, word, found, left_out) in [
        (LISTS.to_owned(), "ok", "each lists 127.0.0.2, and not 127.0.0.1", vec![]),
        (format!("{LISTS}{REFUSES}"), "LOOK", "list-left-out", vec![("refuses.test", "Refusing")]),
        (lists("silent.test"), "LOOK", "list-left-out", vec![("silent.test", "Silent")]),
        (lists("unknown.test"), "LOOK", "list-left-out", vec![("unknown.test", "ListsNothing")]),
    ] {
        let checked = check(&host, &config(&backend, &lists));
        let row = checked.stdout.lines().find(|line| line.contains("DNS lists"));
        assert!(row.is_some_and(|row| row.starts_with(word) && row.contains(found)), "{}", checked.said());
        let told: Vec<String> = checked
            .said()
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|line| line["event"] == "list-left-out")
            .map(|line| format!("{} {}", line["list"].as_str().unwrap(), line["why"].as_str().unwrap()))
            .collect();
        let left_out: Vec<String> = left_out.iter().map(|(list, why)| format!("{list} {why}")).collect();
        assert_eq!(told, left_out, "{}", checked.said());
    }
}

/// Lists about HELO names, and one that was asked before, whose weight counts with theirs.
const HELO: &str = "[names]\nservers = [\"127.0.0.1:5300\"]\n[log]\nformat = \"json\"\n\
    [[network]]\nnetworks = [\"127.7.0.0/16\"]\nexempt = true\n\
    [[network]]\nnetworks = [\"127.8.0.0/16\"]\nrelay = true\n\
    [admission]\ndefer_at = 3\nrefuse_at = 5\n\
    [[admission.list]]\nzone = \"helo.test\"\nweight = 5\nask = \"helo\"\n\
    [[admission.list]]\nzone = \"wl.test\"\nweight = 5\nkind = \"allow\"\n\
    [[admission.list]]\nzone = \"grey.helo.test\"\nweight = 3\nask = \"helo\"\n";

/// What recipients hear of a client from that address that calls itself so.
fn recipient(host: &Host, from: &str, helo: &str, recipient: &str) -> String {
    let mut client = Client::over(host.connect_from(from, &starttls()).unwrap());
    client.hello(helo);
    client.ask("MAIL FROM:<s@road.test>", 250);
    let reply = client.try_ask(&format!("RCPT TO:<{recipient}>")).unwrap();
    client.ask("QUIT", 221);
    format!("{} {}", reply.code, reply.text())
}

#[test]
fn issue_12_what_a_client_calls_itself_is_weighed_with_what_lists_said_before() {
    let name = "issue_12_what_a_client_calls_itself_is_weighed_with_what_lists_said_before";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let names = name_server(&host);
    let config = config(&backend, HELO);
    let gate = Gate::start(&host, &config);
    let refused = "554 5.7.1 bad.dyn.test, your HELO name, is listed by helo.test: https://helo.test/?bad.dyn.test";
    let later = "450 4.7.1 grey.dyn.test, your HELO name, is listed by grey.helo.test, try again later: ask there";
    let alice = "alice@ok.test";
    for (from, helo, to, heard) in [
        ("127.3.1.1", "bad.dyn.test", alice, refused),
        ("127.3.1.1", "BAD.dyn.test", alice, refused),
        ("127.3.1.1", "grey.dyn.test", alice, later),
        ("127.3.1.1", "good.dyn.test", alice, "250 "),
        ("127.3.1.1", "[127.3.1.1]", alice, "250 "),
        // Its address speaks for it: 5 - 5.
        ("127.3.1.4", "bad.dyn.test", alice, "250 "),
        // Exempt; may relay.
        ("127.7.1.1", "bad.dyn.test", alice, "250 "),
        ("127.8.1.1", "bad.dyn.test", alice, "250 "),
        // Who must be reachable; and what is not ours is refused for that.
        ("127.3.1.1", "bad.dyn.test", "postmaster@ok.test", "250 "),
        ("127.3.1.1", "bad.dyn.test", "x@elsewhere.test", "550 5.7.1 "),
        // A list that does not answer.
        ("127.3.1.1", "dies.dyn.test", alice, "250 "),
    ] {
        let said = recipient(&host, from, helo, to);
        assert!(said.starts_with(heard), "{from} {helo}: {said:?}, not {heard:?}");
    }
    // Each session asks once for each name, and the resolver's cache answers the second.
    let asked =
        names.asked().into_iter().filter(|asked| asked.eq_ignore_ascii_case("bad.dyn.test.helo.test a")).count();
    assert_eq!(asked, 1);
    // Another name is another question, within the session.
    let mut client = Client::over(host.connect_from("127.3.1.9", &starttls()).unwrap());
    client.expect(220);
    for (helo, code) in [("bad.dyn.test", 554), ("good.dyn.test", 250), ("grey.dyn.test", 450)] {
        client.ask(&format!("EHLO {helo}"), 250);
        client.ask("MAIL FROM:<s@road.test>", 250);
        for _ in 0..2 {
            client.ask(&format!("RCPT TO:<{alice}>"), code);
        }
    }
    client.ask("QUIT", 221);
    // The backend is not asked about whom lists have refused.
    assert_eq!(mta.lines().iter().filter(|line| line.starts_with("RCPT") && line.contains("postmaster")).count(), 1);
    let said = || gate.process.said();
    let line = |word: &str, more: &str| said().lines().any(|line| line.contains(word) && line.contains(more));
    holds("the log to say so", SOON, || {
        line("\"event\":\"listed\"", "\"list\":\"helo.test\"")
            && line("\"reason\":\"HeloListed\"", "https://helo.test/")
    });
    let status = run(host.command(GATEPOST).arg("status"));
    for list in ["helo.test", "grey.helo.test", "wl.test"] {
        assert!(status.said().contains(&format!("list     {list}: counts")), "{}", status.said());
    }
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
}
