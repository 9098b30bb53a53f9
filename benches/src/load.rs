//! The client's side: the work that servers are measured at, each piece done as a plain sender does it, one command at
//! a time.

use crate::server::{Kind, Listener, Listeners};
use gatepost_testkit::client::Client;
use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub(crate) const FROM: &str = "MAIL FROM:<sender@road.test>";
const TO: &str = "RCPT TO:<alice@ok.test>";

/// A piece of work that a server is measured at.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// So often a round.
    pub(crate) count: u32,
    /// What gatepost may use, relative to Postfix; none for work that only explains the rest.
    pub(crate) aim: Option<f64>,
    /// Octets of content.
    pub(crate) size: usize,
    pub(crate) way: Way,
}

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Connections without any.
    Empty,
    /// Each on a connection of its own.
    Sessions,
    /// All on one connection.
    Kept,
    /// Each on a connection of its own after STARTTLS.
    Ecdsa,
    /// The same, at the listener with the RSA certificate.
    Rsa,
}

/// What is measured, and the aims. Postfix's processes serve 100 sessions each, so that many are a round, and each
/// round has its share of starting them.
pub(crate) const WORKS: [Work; 7] = [
    Work { name: "connection, EHLO, QUIT", count: 100, aim: None, size: 0, way: Way::Empty },
    Work { name: "connection + one 1 KiB message", count: 100, aim: Some(0.6), size: 1 << 10, way: Way::Sessions },
    Work { name: "1 KiB message, kept connection", count: 150, aim: Some(0.28), size: 1 << 10, way: Way::Kept },
    Work { name: "64 KiB message, kept connection", count: 50, aim: Some(0.32), size: 64 << 10, way: Way::Kept },
    Work { name: "10 MiB message, kept connection", count: 3, aim: Some(0.22), size: 10 << 20, way: Way::Kept },
    Work { name: "STARTTLS session, one message, ECDSA", count: 100, aim: Some(0.46), size: 1 << 10, way: Way::Ecdsa },
    Work { name: "STARTTLS session, one message, RSA", count: 100, aim: Some(0.62), size: 1 << 10, way: Way::Rsa },
];

impl Work {
    /// Does it `count` times; every message must be taken.
    pub(crate) fn run(&self, listeners: &Listeners, count: u32) -> io::Result<()> {
        let content = content(self.size);
        if self.way == Way::Kept {
            let mut client = open(&listeners.ecdsa)?;
            (0..count).try_for_each(|_| message(&mut client, &content))?;
            return close(client);
        }
        let listener = if self.way == Way::Rsa { &listeners.rsa } else { &listeners.ecdsa };
        (0..count).try_for_each(|_| {
            let mut client = open(listener)?;
            if matches!(self.way, Way::Ecdsa | Way::Rsa) {
                secure(&mut client, listener)?;
                ask(&mut client, "EHLO road.test", 250)?;
            }
            if self.way != Way::Empty {
                message(&mut client, &content)?;
            }
            close(client)
        })
    }

    /// That server can do it.
    pub(crate) fn is_for(&self, kind: Kind) -> bool {
        kind.speaks_tls() || !matches!(self.way, Way::Ecdsa | Way::Rsa)
    }

    /// How many messages a run of `count` brings to the sink.
    pub(crate) fn messages(&self, count: u32) -> u64 {
        if self.way == Way::Empty { 0 } else { u64::from(count) }
    }
}

pub(crate) fn secure(client: &mut Client, listener: &Listener) -> io::Result<()> {
    ask(client, "STARTTLS", 220)?;
    client.handshake(listener.name)
}

/// Canonical content of about that many octets, in lines as long as mail has them, with the final dot.
pub(crate) fn content(size: usize) -> Vec<u8> {
    let mut content = b"From: <sender@road.test>\r\nTo: <alice@ok.test>\r\nSubject: one of many\r\n\r\n".to_vec();
    while content.len() < size {
        content.extend_from_slice(b"The quick brown fox jumps over the lazy dog, and does so for as long as told.\r\n");
    }
    content.extend_from_slice(b".\r\n");
    content
}

fn open(listener: &Listener) -> io::Result<Client> {
    let mut client = Client::over(TcpStream::connect(listener.address)?);
    client.try_hello("road.test")?;
    Ok(client)
}

/// A connection that has said EHLO.
pub(crate) fn idle(listeners: &Listeners) -> io::Result<Client> {
    open(&listeners.ecdsa)
}

pub(crate) fn close(mut client: Client) -> io::Result<()> {
    ask(&mut client, "QUIT", 221)
}

pub(crate) fn ask(client: &mut Client, line: &str, code: u16) -> io::Result<()> {
    let reply = client.try_ask(line)?;
    if reply.code == code { Ok(()) } else { Err(io::Error::other(format!("{line}: {reply}"))) }
}

fn taken(client: &mut Client) -> io::Result<()> {
    let reply = client.try_reply()?;
    if reply.code == 250 { Ok(()) } else { Err(io::Error::other(format!("end of content: {reply}"))) }
}

fn envelope(client: &mut Client) -> io::Result<()> {
    ask(client, FROM, 250)?;
    ask(client, TO, 250)?;
    ask(client, "DATA", 354)
}

pub(crate) fn message(client: &mut Client, content: &[u8]) -> io::Result<()> {
    envelope(client)?;
    client.try_write(content)?;
    taken(client)
}

/// How long the first reply after STARTTLS takes, and the reply to a final dot that is sent apart from the body:
/// the two places where a delayed acknowledgement (40 ms) meets a server's Nagle algorithm.
pub(crate) fn stalls(listeners: &Listeners, count: u32) -> io::Result<[Vec<Duration>; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    let content = content(1 << 10);
    let (body, dot) = content.split_at(content.len() - 3);
    let [first_reply, final_dot] = &mut times;
    for _ in 0..count {
        let mut client = open(&listeners.ecdsa)?;
        secure(&mut client, &listeners.ecdsa)?;
        let begin = Instant::now();
        ask(&mut client, "EHLO road.test", 250)?;
        first_reply.push(begin.elapsed());
        close(client)?;

        let mut client = open(&listeners.ecdsa)?;
        envelope(&mut client)?;
        client.try_write(body)?;
        let begin = Instant::now();
        client.try_write(dot)?;
        taken(&mut client)?;
        final_dot.push(begin.elapsed());
        close(client)?;
    }
    Ok(times)
}

/// Does `work` from several clients at once; how many times a second.
pub(crate) fn rate(work: &Work, listeners: &Listeners, clients: u32) -> io::Result<f64> {
    let each = work.count;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(|| work.run(listeners, each))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a client"))))
    })?;
    Ok(f64::from(each * clients) / begin.elapsed().as_secs_f64())
}
