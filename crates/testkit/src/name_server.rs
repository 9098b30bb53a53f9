//! A name server that says what it is told to: also lies, garbage, or nothing.

pub use domain::base::iana::Rcode;
use domain::base::message_builder::AnswerBuilder;
use domain::base::{Message, MessageBuilder, Name, Rtype, Ttl};
use domain::rdata::{A, Aaaa, Cname, Ptr, Soa, Txt};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Octets = Vec<u8>;

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
        "TXT" => answer.push((owner, ttl, Txt::<Octets>::build_from_slice(data.as_bytes()).unwrap())),
        "CNAME" => answer.push((owner, ttl, Cname::new(name()))),
        _ => panic!("{line}"),
    }
    .unwrap();
}

/// What a server answers.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// Its code; none: no error.
    pub code: Option<Rcode>,
    /// Lines of a zone file, without class: `owner ttl type data`.
    pub records: Vec<String>,
    /// Minimum of the SOA in the authority section.
    pub soa: Option<u32>,
    /// By UDP: cut off.
    pub cut: bool,
    /// No recursion, no authority.
    pub lame: bool,
    /// Other octets in the place of the answer, by UDP.
    pub raw: Option<Octets>,
    /// Nothing at all.
    pub silent: bool,
    /// FORMERR to whoever speaks EDNS.
    pub old: bool,
    /// First an answer with another id, then one to another question: both say that there is nothing.
    pub lies: bool,
}

/// These records.
#[must_use]
pub fn said(records: &[&str]) -> Said {
    Said { records: records.iter().map(|line| (*line).to_owned()).collect(), ..Said::default() }
}

/// No records, with this code, and a SOA with this minimum.
#[must_use]
pub fn nothing(code: Rcode, soa: Option<u32>) -> Said {
    Said { code: Some(code), soa, ..Said::default() }
}

impl Said {
    /// As the answer to `query`.
    #[must_use]
    pub fn message(&self, query: &Message<[u8]>, tcp: bool) -> Octets {
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

/// A name server, in threads that end with the test: what it says to `name TYPE`, and how often it was asked.
#[derive(Debug)]
pub struct NameServer {
    /// Where.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    by_tcp: Arc<AtomicUsize>,
}

fn key(query: &Message<[u8]>) -> String {
    let question = query.first_question().unwrap();
    format!("{} {}", question.qname(), question.qtype()).to_ascii_lowercase()
}

impl NameServer {
    /// On loopback.
    #[must_use]
    pub fn new(zone: &[(&str, Said)]) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), zone, &nothing(Rcode::NXDOMAIN, Some(60)))
    }

    /// At that address of the network that the caller is in. `other`: what it says to what is not in `zone`.
    #[must_use]
    pub fn at(address: SocketAddr, zone: &[(&str, Said)], other: &Said) -> Self {
        let zone: HashMap<String, Said> =
            zone.iter().map(|(key, said)| (key.to_ascii_lowercase(), said.clone())).collect();
        let (zone, other) = (Arc::new(zone), other.clone());
        let udp = UdpSocket::bind(address).unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        let (asked, by_tcp) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let (counted, records, by_udp) = (Arc::clone(&asked), Arc::clone(&zone), other.clone());
        // Threads of a test end with it.
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                let query = Message::from_slice(&buffer[..length]).unwrap();
                counted.lock().unwrap().push(key(query));
                let said = records.get(&key(query)).cloned().unwrap_or_else(|| by_udp.clone());
                if said.silent {
                    continue;
                }
                if said.lies {
                    let mut other = nothing(Rcode::NXDOMAIN, Some(60)).message(query, false);
                    other[0] ^= 0x55;
                    udp.send_to(&other, from).unwrap();
                    let mut other = MessageBuilder::new_vec();
                    other.header_mut().set_id(query.header().id());
                    let mut other = other.question();
                    other.push((Name::<Octets>::root(), Rtype::A)).unwrap();
                    let mut other = other.finish();
                    // An answer (QR) of a server that recurses (RA).
                    other[2] |= 0x80;
                    other[3] |= 0x80;
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
                let said = zone.get(&key(query)).cloned().unwrap_or_else(|| other.clone());
                let answer = said.message(query, true);
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                client.write_all(&[&length[..], &answer].concat()).unwrap();
            }
        });
        Self { address, asked, by_tcp }
    }

    /// What it was asked by UDP, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How often it was asked by TCP.
    #[must_use]
    pub fn asked_by_tcp(&self) -> usize {
        self.by_tcp.load(Ordering::SeqCst)
    }
}
