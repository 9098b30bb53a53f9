#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
//! Against a name server that says what it is told to, on loopback.

use crate::Resolver;
use crate::answer::{Answer, Records, Unusable, judge};
use crate::lists::Lists;
use crate::question::{Kind, Question};
use domain::base::Message;
use domain::base::iana::Rcode;
use gatepost_smtp::names::{ClientNames, Found, HostName};
use gatepost_testkit::name_server::{NameServer, Said, nothing, said};
use gatepost_wire::names::{AskHelo, AskList, Listing};
use gatepost_wire::slice::{About, HostsEntry, ListZone};
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

fn asking(server: &NameServer) -> Arc<Resolver> {
    Arc::new(Resolver::new(vec![server.address], Vec::new()))
}

fn run<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}

fn name(text: &str) -> HostName {
    HostName::parse(text.as_bytes()).unwrap()
}

fn known(text: &str) -> Found<HostName> {
    Found::Known(name(text))
}

const IP: &str = "192.0.2.7";
const PTR: &str = "7.2.0.192.in-addr.arpa PTR";

/// What it is about, what the server says, the reverse name, the confirmed one.
type Client = (&'static str, Vec<(&'static str, Said)>, Found<HostName>, Found<HostName>);

#[test]
fn issue_12_a_client_has_a_name_none_or_nobody_can_say() {
    let reverse = |to: &str| (PTR, said(&[&format!("7.2.0.192.in-addr.arpa 60 PTR {to}")]));
    let silent = Said { silent: true, ..Said::default() };
    let rows: [Client; 12] = [
        (
            "confirmed",
            vec![reverse("mx.a.test"), ("mx.a.test A", said(&["mx.a.test 60 A 192.0.2.7"]))],
            known("mx.a.test"),
            known("mx.a.test"),
        ),
        (
            "leads elsewhere",
            vec![reverse("mx.a.test"), ("mx.a.test A", said(&["mx.a.test 60 A 192.0.2.8"]))],
            known("mx.a.test"),
            Found::None,
        ),
        ("leads nowhere", vec![reverse("mx.a.test")], known("mx.a.test"), Found::None),
        ("no PTR", vec![], Found::None, Found::None),
        ("no data", vec![(PTR, nothing(Rcode::NOERROR, Some(60)))], Found::None, Found::None),
        ("a PTR that is no host", vec![reverse("192.0.2.7")], Found::None, Found::None),
        ("PTR fails", vec![(PTR, nothing(Rcode::SERVFAIL, None))], Found::Temporary, Found::Temporary),
        ("PTR refused", vec![(PTR, nothing(Rcode::REFUSED, None))], Found::Temporary, Found::Temporary),
        (
            "a server that asks nobody",
            vec![(PTR, Said { lame: true, ..Said::default() })],
            Found::Temporary,
            Found::Temporary,
        ),
        (
            "forward fails",
            vec![reverse("mx.a.test"), ("mx.a.test A", nothing(Rcode::SERVFAIL, None))],
            known("mx.a.test"),
            Found::Temporary,
        ),
        (
            "PTR by CNAME (RFC 2317)",
            vec![
                (
                    PTR,
                    said(&[
                        "7.2.0.192.in-addr.arpa 60 CNAME 7.0/25.2.0.192.in-addr.arpa",
                        "7.0/25.2.0.192.in-addr.arpa 60 PTR mx.a.test",
                    ]),
                ),
                ("mx.a.test A", said(&["mx.a.test 60 CNAME b.test", "b.test 60 A 192.0.2.7"])),
            ],
            known("mx.a.test"),
            known("mx.a.test"),
        ),
        ("silent", vec![(PTR, silent)], Found::Temporary, Found::Temporary),
    ];
    for (what, zone, reverse, confirmed) in rows {
        let server = NameServer::new(&zone);
        let resolver = asking(&server);
        let names = run(async { resolver.client(IP.parse().unwrap()).await });
        assert_eq!(names, ClientNames { reverse, confirmed }, "{what}");
    }
}

#[test]
fn issue_14_names_are_good_as_long_as_all_that_they_are_from() {
    let reverse = |ttl: u32| (PTR, said(&[&format!("7.2.0.192.in-addr.arpa {ttl} PTR mx.a.test")]));
    let forward = |ttl: u32| ("mx.a.test A", said(&[&format!("mx.a.test {ttl} A 192.0.2.7")]));
    for (what, zone, seconds) in [
        ("the forward answer ends first", vec![reverse(600), forward(60)], 59..=60),
        ("the reverse answer ends first", vec![reverse(60), forward(600)], 59..=60),
        ("an hour at most", vec![reverse(86_400), forward(86_400)], 3599..=3600),
        ("unconfirmed", vec![reverse(600), ("mx.a.test A", nothing(Rcode::NXDOMAIN, Some(60)))], 59..=60),
        ("no name", vec![(PTR, nothing(Rcode::NXDOMAIN, Some(60)))], 59..=60),
        ("the reverse look-up fails", vec![(PTR, nothing(Rcode::SERVFAIL, None))], 0..=0),
        ("the forward look-up fails", vec![reverse(600), ("mx.a.test A", nothing(Rcode::SERVFAIL, None))], 0..=0),
    ] {
        let server = NameServer::new(&zone);
        let resolver = asking(&server);
        let ip = IP.parse().unwrap();
        let (_, good) = run(async { resolver.client_for_a_while(ip).await });
        let rounded = good.as_millis().div_ceil(1000);
        assert!(seconds.contains(&rounded), "{what}: {good:?}");
    }
    // What was asked of servers that were replaced meanwhile is the answer, but not for later.
    let server = NameServer::new(&[reverse(600), forward(600)]);
    let resolver = Arc::new(asking(&server));
    let (names, good) = run(async {
        let asking = Arc::clone(&resolver);
        let asked = tokio::spawn(async move { asking.client_for_a_while(IP.parse().unwrap()).await });
        tokio::task::yield_now().await;
        resolver.replace(vec![server.address], Vec::new());
        asked.await.unwrap()
    });
    assert_eq!((names.confirmed, good.as_millis()), (known("mx.a.test"), 0));
}

#[test]
fn issue_12_of_several_names_the_one_that_leads_back_is_told() {
    let server = NameServer::new(&[
        (PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR not.test", "7.2.0.192.in-addr.arpa 60 PTR Is.Test"])),
        ("not.test A", nothing(Rcode::SERVFAIL, None)),
        ("is.test A", said(&["is.test 60 A 192.0.2.6", "is.test 60 A 192.0.2.7"])),
    ]);
    let resolver = asking(&server);
    run(async {
        let names = resolver.client("::ffff:192.0.2.7".parse().unwrap()).await;
        assert_eq!(names, ClientNames { reverse: known("is.test"), confirmed: known("is.test") });
        assert_eq!(resolver.reverse(IP.parse().unwrap()).await, known("not.test"));
    });
}

#[test]
fn issue_12_ipv6_and_forward() {
    let reverse = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    let server = NameServer::new(&[
        (&format!("{reverse} PTR"), said(&[&format!("{reverse} 60 PTR six.test")])),
        ("six.test AAAA", said(&["six.test 60 AAAA 2001:db8::1"])),
        ("both.test A", said(&["both.test 60 A 192.0.2.1"])),
        ("both.test AAAA", said(&["both.test 60 AAAA 2001:db8::2"])),
        ("half.test A", said(&["half.test 60 A 192.0.2.1"])),
        ("half.test AAAA", nothing(Rcode::SERVFAIL, None)),
    ]);
    let resolver = asking(&server);
    run(async {
        assert_eq!(resolver.client("2001:db8::1".parse().unwrap()).await.confirmed, known("six.test"));
        for (host, addresses) in [
            ("both.test", Found::Known(vec!["192.0.2.1", "2001:db8::2"])),
            ("half.test", Found::Known(vec!["192.0.2.1"])),
            ("none.test", Found::None),
        ] {
            let expected = addresses.map(|list| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>());
            assert_eq!(resolver.addresses(&name(host)).await, expected, "{host}");
        }
    });
}

#[test]
fn issue_12_what_is_cut_off_is_asked_by_tcp() {
    let many: Vec<String> = (0..60).map(|n| format!("7.2.0.192.in-addr.arpa 60 PTR n{n}.test")).collect();
    let server = NameServer::new(&[(PTR, Said { records: many, cut: true, ..Said::default() })]);
    let resolver = asking(&server);
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), known("n0.test"));
    assert_eq!(server.asked_by_tcp(), 1);
}

#[test]
fn issue_12_a_chain_of_cnames_is_followed_so_far_and_no_further() {
    // By steps: each answer is only one CNAME, as of a server that follows none.
    let by_steps = |count: usize| -> Vec<(String, Said)> {
        (0..count)
            .map(|n| (format!("n{n}.test A"), said(&[&format!("n{n}.test 60 CNAME n{}.test", n + 1)])))
            .chain([(format!("n{count}.test A"), said(&[&format!("n{count}.test 60 A 192.0.2.1")]))])
            .collect()
    };
    // At once.
    let at_once = |count: usize| -> Vec<(String, Said)> {
        let mut records: Vec<String> = (0..count).map(|n| format!("n{n}.test 60 CNAME n{}.test", n + 1)).collect();
        records.push(format!("n{count}.test 60 A 192.0.2.1"));
        records.reverse();
        vec![("n0.test A".to_owned(), Said { records, ..Said::default() })]
    };
    let circle = vec![("n0.test A".to_owned(), said(&["n0.test 60 CNAME n1.test", "n1.test 60 CNAME n0.test"]))];
    let found = || Found::Known(vec!["192.0.2.1".parse::<IpAddr>().unwrap()]);
    for (what, zone, expected) in [
        ("8 by steps", by_steps(8), found()),
        ("9 by steps", by_steps(9), Found::Temporary),
        ("8 at once", at_once(8), found()),
        ("9 at once", at_once(9), Found::Temporary),
        ("a circle", circle, Found::Temporary),
    ] {
        let zone: Vec<(&str, Said)> = zone.iter().map(|(key, said)| (key.as_str(), said.clone())).collect();
        let server = NameServer::new(&[&zone[..], &[("n0.test AAAA", nothing(Rcode::NXDOMAIN, Some(60)))]].concat());
        let resolver = asking(&server);
        assert_eq!(run(async { resolver.addresses(&name("n0.test")).await }), expected, "{what}");
    }
}

#[test]
fn issue_12_lies_and_garbage_are_passed_over() {
    let zone = |said| [(PTR, said)];
    let right = said(&["7.2.0.192.in-addr.arpa 60 PTR mx.a.test"]);
    let lying = NameServer::new(&zone(Said { lies: true, ..right.clone() }));
    let resolver = asking(&lying);
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), known("mx.a.test"));
    // Records of another name, and behind another's CNAME, are not this one's.
    let foreign = said(&["8.2.0.192.in-addr.arpa 60 PTR bad.test", "x.test 60 CNAME y.test", "y.test 60 PTR bad.test"]);
    let foreign = NameServer::new(&zone(Said { soa: Some(60), ..foreign }));
    let resolver = asking(&foreign);
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), Found::None);
    // Before EDNS.
    let old = NameServer::new(&zone(Said { old: true, ..right }));
    let resolver = asking(&old);
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), known("mx.a.test"));
}

#[test]
fn issue_12_another_server_is_asked_when_one_is_dead_or_fails() {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failing = NameServer::new(&[(PTR, nothing(Rcode::SERVFAIL, None))]);
    let right = NameServer::new(&[(PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR mx.a.test"]))]);
    let servers = vec![dead.local_addr().unwrap(), closed, failing.address, right.address];
    let resolver = Resolver::new(servers, Vec::new());
    run(async {
        assert_eq!(resolver.reverse(IP.parse().unwrap()).await, known("mx.a.test"));
        assert_eq!(failing.asked().len(), 1);
        // The one that answered goes first from now on.
        assert_eq!(resolver.reverse("192.0.2.8".parse().unwrap()).await, Found::None);
        assert_eq!(failing.asked().len(), 1);
    });
    let nobody = Resolver::new(Vec::new(), Vec::new());
    assert_eq!(run(async { nobody.reverse(IP.parse().unwrap()).await }), Found::Temporary);
}

#[test]
fn issue_12_who_asks_the_same_at_once_asks_once_and_new_servers_are_asked_anew() {
    let server = NameServer::new(&[(PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR mx.a.test"]))]);
    let other = NameServer::new(&[(PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR other.test"]))]);
    let resolver = Arc::new(asking(&server));
    run(async {
        let ask = || {
            let resolver = Arc::clone(&resolver);
            tokio::spawn(async move { resolver.reverse(IP.parse().unwrap()).await })
        };
        let all: Vec<_> = (0..50).map(|_| ask()).collect();
        for one in all {
            assert_eq!(one.await.unwrap(), known("mx.a.test"));
        }
        assert_eq!(server.asked().len(), 1);
        resolver.replace(vec![other.address], Vec::new());
        assert_eq!(resolver.reverse(IP.parse().unwrap()).await, known("other.test"));
        let entry = HostsEntry { address: IP.parse().unwrap(), names: vec![name("first.test"), name("second.test")] };
        resolver.replace(vec![other.address], vec![entry]);
        assert_eq!(resolver.client(IP.parse().unwrap()).await.confirmed, known("first.test"));
        let second = resolver.addresses(&name("second.test")).await;
        assert_eq!(second, Found::Known(vec![IP.parse().unwrap()]));
        assert_eq!(other.asked().len(), 1);
    });
}

#[test]
fn issue_12_how_long_an_answer_is_good_is_its_shortest_part() {
    let question = Question { name: "a.test".parse().unwrap(), kind: Kind::A };
    let query = question.query(7, None).unwrap();
    let judged = |said: Said| {
        let octets = said.message(query.for_slice(), false);
        judge(&question, Message::from_slice(&octets).unwrap())
    };
    let chain = said(&["a.test 300 CNAME b.test", "b.test 30 CNAME c.test", "c.test 60 A 192.0.2.1"]);
    let one = Records::Addresses(vec!["192.0.2.1".parse().unwrap()]);
    assert_eq!(judged(chain), Ok(Answer { records: one, ttl: Some(30) }));
    for (said, expected) in [
        (nothing(Rcode::NXDOMAIN, Some(77)), Ok(Some(77))),
        (nothing(Rcode::NOERROR, Some(77)), Ok(Some(77))),
        (nothing(Rcode::NXDOMAIN, None), Ok(None)),
        (nothing(Rcode::SERVFAIL, None), Err(Unusable::Code(Rcode::SERVFAIL))),
        (Said { cut: true, ..Said::default() }, Err(Unusable::Truncated)),
        (Said { lame: true, ..Said::default() }, Err(Unusable::NotRecursive)),
    ] {
        let expected = expected.map(|ttl| Answer { records: Records::Nothing, ttl });
        assert_eq!(judged(said), expected);
    }
    // Cut anywhere, an answer is no answer, and never "nothing".
    let octets = said(&["a.test 300 CNAME b.test", "b.test 60 A 192.0.2.1"]).message(query.for_slice(), false);
    for length in 12..octets.len() {
        let cut = judge(&question, Message::from_slice(&octets[..length]).unwrap());
        assert_eq!(cut, Err(Unusable::Malformed), "{length} octets");
    }
}

fn zone(zone: &str, about: About) -> ListZone {
    ListZone { zone: name(zone), about }
}

/// A list that answers as one does, and what it says besides.
fn list(zone: &str, more: &[(&str, Said)]) -> Vec<(String, Said)> {
    let points = [("2.0.0.127", "127.0.0.2"), ("test", "127.0.0.2")];
    let points =
        points.map(|(point, code)| (format!("{point}.{zone} A"), said(&[&format!("{point}.{zone} 60 A {code}")])));
    let more = more.iter().map(|(what, said)| ((*what).to_owned(), said.clone()));
    points.into_iter().chain(more).collect()
}

fn serving(zones: Vec<Vec<(String, Said)>>) -> NameServer {
    let zones = zones.concat();
    let zones: Vec<(&str, Said)> = zones.iter().map(|(key, said)| (key.as_str(), said.clone())).collect();
    NameServer::new(&zones)
}

fn lists_of(zones: &[ListZone]) -> Arc<Lists> {
    Arc::new(Lists::new(zones))
}

async fn listed(lists: &Lists, resolver: &Resolver, list: u8, client: &str, text: bool) -> (Listing, String) {
    let listed = lists.ask(resolver, AskList { number: 7, list, client: client.parse().unwrap(), text }).await;
    assert_eq!(listed.number, 7);
    (listed.listing, String::from_utf8(listed.text).unwrap())
}

fn codes(codes: &[&str]) -> Listing {
    Listing::Codes(codes.iter().map(|code| code.parse::<std::net::Ipv4Addr>().unwrap().to_bits()).collect())
}

#[test]
fn issue_12_a_list_is_asked_about_the_address_or_the_confirmed_name() {
    let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test";
    let server = serving(vec![
        list(
            "bl.test",
            &[
                (
                    "7.2.0.192.bl.test A",
                    said(&["7.2.0.192.bl.test 60 A 127.0.0.4", "7.2.0.192.bl.test 60 A 127.0.0.9"]),
                ),
                ("7.2.0.192.bl.test TXT", said(&["7.2.0.192.bl.test 60 TXT see-https://bl.test/"])),
                (&format!("{six} A"), said(&[&format!("{six} 60 A 127.0.0.2")])),
            ],
        ),
        list("names.test", &[("mx.a.test.names.test A", said(&["mx.a.test.names.test 60 A 127.0.0.3"]))]),
        vec![
            (PTR.to_owned(), said(&["7.2.0.192.in-addr.arpa 60 PTR mx.a.test"])),
            ("mx.a.test A".to_owned(), said(&["mx.a.test 60 A 192.0.2.7"])),
            ("9.2.0.192.in-addr.arpa PTR".to_owned(), nothing(Rcode::SERVFAIL, None)),
        ],
    ]);
    let resolver = asking(&server);
    let lists = [("bl.test", About::Address), ("names.test", About::Name), ("names.test", About::Helo)];
    let lists = lists_of(&lists.map(|(list, about)| zone(list, about)));
    run(async {
        assert_eq!(listed(&lists, &resolver, 0, IP, false).await.0, Listing::LeftOut, "not proved yet");
        Arc::clone(&lists).prove(Arc::clone(&resolver)).await;
        assert!(lists.are_proved());
        let both = codes(&["127.0.0.4", "127.0.0.9"]);
        assert_eq!(listed(&lists, &resolver, 0, IP, false).await, (both.clone(), String::new()));
        assert_eq!(
            listed(&lists, &resolver, 0, "::ffff:192.0.2.7", true).await,
            (both, "see-https://bl.test/".to_owned())
        );
        assert_eq!(listed(&lists, &resolver, 0, "2001:db8::1", true).await, (codes(&["127.0.0.2"]), String::new()));
        assert_eq!(listed(&lists, &resolver, 0, "192.0.2.8", true).await.0, Listing::Unlisted);
        assert_eq!(listed(&lists, &resolver, 1, IP, false).await.0, codes(&["127.0.0.3"]));
        // Without a name, and with one that can't be looked up: neither is the list's fault.
        assert_eq!(listed(&lists, &resolver, 1, "192.0.2.8", false).await.0, Listing::Unlisted);
        assert_eq!(listed(&lists, &resolver, 1, "192.0.2.9", false).await.0, Listing::LeftOut);
        // What it says in HELO, only where a list is for that.
        let helo = async |list: u8, said: &str| {
            let client = "192.0.2.8".parse().unwrap();
            let ask = AskHelo { number: 7, list, client, name: name(said), text: true };
            lists.ask_helo(&resolver, &ask).await.listing
        };
        assert_eq!(helo(2, "mx.a.test").await, codes(&["127.0.0.3"]));
        assert_eq!(helo(2, "other.test").await, Listing::Unlisted);
        assert_eq!(helo(1, "mx.a.test").await, Listing::LeftOut);
        assert_eq!(listed(&lists, &resolver, 2, IP, false).await.0, Listing::LeftOut);
        // One that there is not.
        assert_eq!(listed(&lists, &resolver, 3, IP, false).await.0, Listing::LeftOut);
        assert!(lists.are_proved());
    });
    // Within its TTL a list is asked once.
    assert_eq!(server.asked().iter().filter(|asked| *asked == "7.2.0.192.bl.test a").count(), 1);
}

#[test]
fn issue_12_a_list_that_cannot_be_believed_is_left_out() {
    let point = |last: u8, code: &str| {
        let owner = format!("{last}.0.0.127.bl.test");
        (format!("{owner} A"), said(&[&format!("{owner} 60 A {code}")]))
    };
    let of = |code: &str| vec![("7.2.0.192.bl.test A".to_owned(), said(&[&format!("7.2.0.192.bl.test 60 A {code}")]))];
    for (what, zones, proved) in [
        ("it refuses us from the start", vec![vec![point(2, "127.255.255.254")], of("127.255.255.254")], false),
        ("it refuses us later", vec![vec![point(2, "127.0.0.2")], of("127.255.255.255")], true),
        ("its domain was sold", vec![vec![point(1, "192.0.2.80"), point(2, "192.0.2.80")], of("192.0.2.80")], false),
        ("it lists the world", vec![vec![point(1, "127.0.0.2"), point(2, "127.0.0.2")], of("127.0.0.2")], false),
    ] {
        let server = serving(zones);
        let (resolver, lists) = (asking(&server), lists_of(&[zone("bl.test", About::Address)]));
        run(async {
            Arc::clone(&lists).prove(Arc::clone(&resolver)).await;
            assert_eq!(lists.are_proved(), proved, "{what}");
            assert_eq!(listed(&lists, &resolver, 0, IP, true).await.0, Listing::LeftOut, "{what}");
            assert!(!lists.are_proved(), "{what}");
        });
    }
}

#[test]
fn issue_12_a_list_that_dies_is_left_out_after_five_failures() {
    let dead: Vec<String> = (1..=6).map(|n| format!("{n}.2.0.192.bl.test A")).collect();
    let dead: Vec<(&str, Said)> = dead.iter().map(|what| (what.as_str(), nothing(Rcode::SERVFAIL, None))).collect();
    let server = serving(vec![list("bl.test", &dead)]);
    let (resolver, lists) = (asking(&server), lists_of(&[zone("bl.test", About::Address)]));
    run(async {
        Arc::clone(&lists).prove(Arc::clone(&resolver)).await;
        for n in 1..=6 {
            assert_eq!(lists.are_proved(), n <= 5, "before the {n}th");
            assert_eq!(listed(&lists, &resolver, 0, &format!("192.0.2.{n}"), false).await.0, Listing::LeftOut);
        }
    });
    // The sixth is not even asked about.
    assert!(!server.asked().iter().any(|asked| asked == "6.2.0.192.bl.test a"));
    // As long as no name server answers at all it is nobody's fault.
    let lists = lists_of(&[zone("bl.test", About::Address)]);
    let gone = Resolver::new(vec!["127.0.0.1:9".parse().unwrap()], Vec::new());
    run(async {
        Arc::clone(&lists).prove(Arc::clone(&resolver)).await;
        let _ = gone.probe().await;
        for n in 1..=20 {
            assert_eq!(listed(&lists, &gone, 0, &format!("192.0.2.{n}"), false).await.0, Listing::LeftOut);
        }
        assert!(lists.are_proved());
    });
}

#[test]
fn issue_12_a_silent_list_keeps_no_other_from_being_proved() {
    let silent = Said { silent: true, ..Said::default() };
    let points = ["1.0.0.127.dead.test A", "2.0.0.127.dead.test A"].map(|point| (point.to_owned(), silent.clone()));
    let server = serving(vec![points.to_vec(), list("bl.test", &[])]);
    let resolver = asking(&server);
    let lists = lists_of(&["dead.test", "bl.test"].map(|list| zone(list, About::Address)));
    run(async {
        let proofs = tokio::spawn(Arc::clone(&lists).prove(Arc::clone(&resolver)));
        while listed(&lists, &resolver, 1, IP, false).await.0 != Listing::Unlisted {
            assert!(!proofs.is_finished(), "it waited for the silent list");
            tokio::task::yield_now().await;
        }
        assert!(!proofs.is_finished() && !lists.are_proved());
        lists.overdue(&resolver);
        assert!(lists.describe().contains("dead.test: left out: Silent"), "{}", lists.describe());
        assert!(lists.describe().contains("bl.test: counts\n"), "{}", lists.describe());
    });
}
