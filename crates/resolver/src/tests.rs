#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
//! Against a name server that says what it is told to, on loopback.

use crate::Resolver;
use crate::answer::{Answer, Records, Unusable, judge};
use crate::question::{Kind, Question};
use domain::base::iana::Rcode;
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ptr, Soa};
use gatepost_smtp::names::{ClientNames, Found, HostName};
use gatepost_wire::slice::HostsEntry;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Octets = Vec<u8>;

/// Lines of a zone file, without class: `owner ttl type data`.
fn record(answer: &mut AnswerBuilder<Octets>, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [owner, ttl, kind, data] = words[..] else { panic!("{line}") };
    let owner: Name<Octets> = owner.parse().unwrap();
    let ttl = Ttl::from_secs(ttl.parse().unwrap());
    let name = || data.parse::<Name<Octets>>().unwrap();
    match kind {
        "A" => answer.push((owner, ttl, A::new(data.parse().unwrap()))),
        "AAAA" => answer.push((owner, ttl, Aaaa::new(data.parse().unwrap()))),
        "PTR" => answer.push((owner, ttl, Ptr::new(name()))),
        "CNAME" => answer.push((owner, ttl, Cname::new(name()))),
        _ => panic!("{line}"),
    }
    .unwrap();
}

/// What a server answers.
#[derive(Debug, Clone, Default)]
struct Said {
    code: Option<Rcode>,
    records: Vec<String>,
    /// Minimum of the SOA in the authority section.
    soa: Option<u32>,
    /// By UDP: cut off.
    cut: bool,
    /// No recursion, no authority.
    lame: bool,
    /// Other octets in the place of the answer, by UDP.
    raw: Option<Octets>,
    /// Nothing at all.
    silent: bool,
    /// FORMERR to whoever speaks EDNS.
    old: bool,
    /// First an answer with another id, then one to another question.
    lies: bool,
}

fn said(records: &[&str]) -> Said {
    Said { records: records.iter().map(|line| (*line).to_owned()).collect(), ..Said::default() }
}

fn nothing(code: Rcode, soa: Option<u32>) -> Said {
    Said { code: Some(code), soa, ..Said::default() }
}

impl Said {
    fn message(&self, query: &Message<[u8]>, tcp: bool) -> Octets {
        let edns = query.opt().is_some();
        let code = if self.old && edns { Rcode::FORMERR } else { self.code.unwrap_or(Rcode::NOERROR) };
        let mut answer = MessageBuilder::new_vec().start_answer(query, code).unwrap();
        answer.header_mut().set_ra(!self.lame);
        if self.cut && !tcp {
            answer.header_mut().set_tc(true);
            return answer.finish();
        }
        if code == Rcode::NOERROR {
            self.records.iter().for_each(|line| record(&mut answer, line));
        }
        let mut authority = answer.authority();
        if let Some(minimum) = self.soa {
            let (zone, minimum) = ("test".parse::<Name<Octets>>().unwrap(), Ttl::from_secs(minimum));
            let soa = Soa::new(zone.clone(), zone.clone(), 1.into(), minimum, minimum, minimum, minimum);
            authority.push((zone, minimum, soa)).unwrap();
        }
        authority.finish()
    }
}

/// A name server on loopback: what it says to `name TYPE`, and how often it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    by_tcp: Arc<AtomicUsize>,
}

fn key(query: &Message<[u8]>) -> String {
    let question = query.first_question().unwrap();
    format!("{} {}", question.qname(), question.qtype()).to_ascii_lowercase()
}

impl Server {
    fn new(zone: &[(&str, Said)]) -> Self {
        let zone: HashMap<String, Said> =
            zone.iter().map(|(key, said)| (key.to_ascii_lowercase(), said.clone())).collect();
        let zone = Arc::new(zone);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        let (asked, by_tcp) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (counted, records) = (Arc::clone(&asked), Arc::clone(&zone));
        // Threads of a test end with it.
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                let query = Message::from_slice(&buffer[..length]).unwrap();
                counted.lock().unwrap().push(key(query));
                let said = records.get(&key(query)).cloned().unwrap_or_else(|| nothing(Rcode::NXDOMAIN, Some(60)));
                if said.silent {
                    continue;
                }
                if said.lies {
                    let mut other = said.message(query, false);
                    other[0] ^= 0x55;
                    udp.send_to(&other, from).unwrap();
                    let mut other = MessageBuilder::new_vec();
                    other.header_mut().set_id(query.header().id());
                    let mut other = other.question();
                    other.push((Name::<Octets>::root(), Rtype::A)).unwrap();
                    let mut other = other.finish();
                    other[2] |= 0x80;
                    udp.send_to(&other, from).unwrap();
                    udp.send_to(b"\0", from).unwrap();
                }
                let octets = said.raw.clone().map(|mut raw| {
                    raw[..2].copy_from_slice(&buffer[..2]);
                    raw
                });
                udp.send_to(&octets.unwrap_or_else(|| said.message(query, false)), from).unwrap();
            }
        });
        let counted = Arc::clone(&by_tcp);
        std::thread::spawn(move || {
            while let Ok((mut client, _)) = tcp.accept() {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut length = [0; 2];
                if client.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
                client.read_exact(&mut octets).unwrap();
                let query = Message::from_slice(&octets).unwrap();
                let answer = zone[&key(query)].message(query, true);
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                client.write_all(&[&length[..], &answer].concat()).unwrap();
            }
        });
        Self { address, asked, by_tcp }
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(vec![self.address], Vec::new())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
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
        let server = Server::new(&zone);
        let resolver = server.resolver();
        let names = run(async { resolver.client(IP.parse().unwrap()).await });
        assert_eq!(names, ClientNames { reverse, confirmed }, "{what}");
    }
}

#[test]
fn issue_12_of_several_names_the_one_that_leads_back_is_told() {
    let server = Server::new(&[
        (PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR not.test", "7.2.0.192.in-addr.arpa 60 PTR Is.Test"])),
        ("not.test A", nothing(Rcode::SERVFAIL, None)),
        ("is.test A", said(&["is.test 60 A 192.0.2.6", "is.test 60 A 192.0.2.7"])),
    ]);
    let resolver = server.resolver();
    run(async {
        let names = resolver.client("::ffff:192.0.2.7".parse().unwrap()).await;
        assert_eq!(names, ClientNames { reverse: known("is.test"), confirmed: known("is.test") });
        assert_eq!(resolver.reverse(IP.parse().unwrap()).await, known("not.test"));
    });
}

#[test]
fn issue_12_ipv6_and_forward() {
    let reverse = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
    let server = Server::new(&[
        (&format!("{reverse} PTR"), said(&[&format!("{reverse} 60 PTR six.test")])),
        ("six.test AAAA", said(&["six.test 60 AAAA 2001:db8::1"])),
        ("both.test A", said(&["both.test 60 A 192.0.2.1"])),
        ("both.test AAAA", said(&["both.test 60 AAAA 2001:db8::2"])),
        ("half.test A", said(&["half.test 60 A 192.0.2.1"])),
        ("half.test AAAA", nothing(Rcode::SERVFAIL, None)),
    ]);
    let resolver = server.resolver();
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
    let server = Server::new(&[(PTR, Said { records: many, cut: true, ..Said::default() })]);
    let resolver = server.resolver();
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), known("n0.test"));
    assert_eq!(server.by_tcp.load(Ordering::SeqCst), 1);
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
        let server = Server::new(&[&zone[..], &[("n0.test AAAA", nothing(Rcode::NXDOMAIN, Some(60)))]].concat());
        let resolver = server.resolver();
        assert_eq!(run(async { resolver.addresses(&name("n0.test")).await }), expected, "{what}");
    }
}

#[test]
fn issue_12_lies_and_garbage_are_passed_over() {
    let zone = |said| [(PTR, said)];
    let right = said(&["7.2.0.192.in-addr.arpa 60 PTR mx.a.test"]);
    let lying = Server::new(&zone(Said { lies: true, ..right.clone() }));
    let resolver = lying.resolver();
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), known("mx.a.test"));
    // Records of another name, and behind another's CNAME, are not this one's.
    let foreign = said(&["8.2.0.192.in-addr.arpa 60 PTR bad.test", "x.test 60 CNAME y.test", "y.test 60 PTR bad.test"]);
    let foreign = Server::new(&zone(Said { soa: Some(60), ..foreign }));
    let resolver = foreign.resolver();
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), Found::None);
    // Before EDNS.
    let old = Server::new(&zone(Said { old: true, ..right }));
    let resolver = old.resolver();
    assert_eq!(run(async { resolver.reverse(IP.parse().unwrap()).await }), known("mx.a.test"));
}

#[test]
fn issue_12_another_server_is_asked_when_one_is_dead_or_fails() {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failing = Server::new(&[(PTR, nothing(Rcode::SERVFAIL, None))]);
    let right = Server::new(&[(PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR mx.a.test"]))]);
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
    let server = Server::new(&[(PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR mx.a.test"]))]);
    let other = Server::new(&[(PTR, said(&["7.2.0.192.in-addr.arpa 60 PTR other.test"]))]);
    let resolver = Arc::new(server.resolver());
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
    let query = question.query().unwrap();
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
