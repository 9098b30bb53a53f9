//! Twenty-four attacks as data, and all of them side by side while somebody sends good mail.
//!
//! Each attacker is a stranger in a network of its own with six addresses, and opens each connection anew that the server
//! has ended.

use crate::client::client_hello;
use crate::crowd::{Attacker, v4};
use crate::host::Host;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Addresses of an attacker.
const ADDRESSES: u16 = 6;
/// The blocks of addresses begin here, see [`v4`]; the ones above are free for good mail.
const FIRST_BLOCK: u8 = 1;
/// How often an attacker looks after its connections.
const TURN: Duration = Duration::from_millis(200);
/// After so many turns each attack does what it goes on doing, and those that misbehave are known for it.
const SETTLED: usize = 20;

/// What an attacker says at once.
#[derive(Debug, Clone, Copy)]
enum Say {
    Nothing,
    Text(&'static str),
    /// So many times the same.
    Times(usize, &'static str),
    /// The next octet of it, from the beginning again after the last.
    Octet(&'static str),
    /// The first message of a TLS handshake.
    Hello,
    /// The next octet of that.
    HelloOctet,
}

/// What becomes of the connection when all has been said.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// It stays, and at every so many turns this is said.
    Every(usize, Say),
    /// The attacker ends its side, and stays.
    EndsOwnSide,
    /// The attacker closes it and opens another.
    Leaves,
}

/// One way to be a nuisance.
#[derive(Debug, Clone, Copy)]
pub struct Attack {
    /// What it is.
    pub name: &'static str,
    /// Whether it reads what the server says, and waits for that before it says the next thing.
    reads: bool,
    says: &'static [Say],
    then: Then,
}

const EHLO: Say = Say::Text("EHLO a.test\r\n");
const ENVELOPE: Say = Say::Text("MAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\n");
const DATA: Say = Say::Text("DATA\r\n");
const MAIL: Say = Say::Text("MAIL FROM:<a@a.test>\r\n");
const STARTTLS: Say = Say::Text("STARTTLS\r\n");
const SILENCE: Then = Then::Every(1, Say::Nothing);
const LONG_LINE: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";

const fn waits(name: &'static str, says: &'static [Say], then: Then) -> Attack {
    Attack { name, reads: true, says, then }
}

const fn deaf(name: &'static str, says: &'static [Say], then: Then) -> Attack {
    Attack { name, reads: false, says, then }
}

/// All attacks.
pub const ATTACKS: [Attack; 24] = [
    // What holds something and does not move.
    waits("says nothing", &[], SILENCE),
    waits("says nothing after EHLO", &[EHLO], SILENCE),
    waits("an envelope without content", &[EHLO, ENVELOPE], SILENCE),
    waits("a recipient now and then", &[EHLO, MAIL], Then::Every(20, Say::Text("RCPT TO:<alice@ok.test>\r\n"))),
    waits("content that stops", &[EHLO, ENVELOPE, DATA, Say::Times(1500, LONG_LINE)], SILENCE),
    waits("content by the octet", &[EHLO, ENVELOPE, DATA], Then::Every(1, Say::Octet("x"))),
    waits(
        "a command by the octet",
        &[],
        Then::Every(1, Say::Octet("EHLO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
    ),
    waits("STARTTLS and silence", &[EHLO, STARTTLS], SILENCE),
    waits("a handshake by the octet", &[EHLO, STARTTLS], Then::Every(1, Say::HelloOctet)),
    waits("ends its side after the envelope", &[EHLO, ENVELOPE], Then::EndsOwnSide),
    deaf("reads nothing", &[EHLO, Say::Times(2000, "HELP\r\n")], Then::Every(1, Say::Times(100, "HELP\r\n"))),
    // What costs the server more than the client.
    deaf("connects and goes away", &[], Then::Leaves),
    deaf("talks before the greeting", &[Say::Text("EHLO a.test\r\nMAIL FROM:<a@a.test>\r\nQUIT\r\n")], SILENCE),
    deaf("asks for a web page", &[Say::Text("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")], Then::Leaves),
    waits("EHLO without end", &[], Then::Every(1, Say::Times(50, "EHLO a.test\r\n"))),
    waits("RSET without end", &[EHLO], Then::Every(1, Say::Times(50, "RSET\r\n"))),
    waits(
        "envelopes that are given up",
        &[EHLO],
        Then::Every(1, Say::Text("MAIL FROM:<a@a.test>\r\nRCPT TO:<alice@ok.test>\r\nRSET\r\n")),
    ),
    waits("foreign recipients", &[EHLO, MAIL], Then::Every(1, Say::Times(20, "RCPT TO:<a@elsewhere.test>\r\n"))),
    waits("unknown recipients", &[EHLO, MAIL], Then::Every(1, Say::Times(20, "RCPT TO:<nobody@ok.test>\r\n"))),
    waits("empty chunks", &[EHLO, ENVELOPE], Then::Every(1, Say::Times(50, "BDAT 0\r\n"))),
    waits("words that are no commands", &[EHLO], Then::Every(1, Say::Times(50, "HELLO a.test\r\n"))),
    waits(
        "lines that end by LF alone",
        &[EHLO, ENVELOPE, DATA, Say::Text("Subject: a\n\na\n.\r\n.\r\n")],
        Then::Leaves,
    ),
    waits("a line without end", &[EHLO], Then::Every(1, Say::Times(4096, "NOOP aaaaaaaaaa"))),
    waits("the same ClientHello each time", &[EHLO, STARTTLS, Say::Hello], Then::Leaves),
];

/// One connection of an attack.
struct Connection {
    attacker: Attacker,
    /// Something has come since the last thing was said.
    heard: bool,
    /// How much of what the attack says has been said.
    said: usize,
    /// Turns since then.
    turns: usize,
}

impl Connection {
    /// Does what is due; false when it is over.
    fn act(&mut self, attack: &Attack, hello: &[u8]) -> bool {
        if attack.reads {
            let Some(octets) = self.attacker.heard() else { return false };
            self.heard |= octets > 0;
            if self.said == 0 && !self.heard {
                return true;
            }
        }
        if let Some(say) = attack.says.get(self.said) {
            if attack.reads && !self.heard {
                return true;
            }
            (self.heard, self.said) = (false, self.said + 1);
            return self.say(*say, hello);
        }
        self.turns += 1;
        match attack.then {
            Then::Every(turns, say) if self.turns.is_multiple_of(turns) => self.say(say, hello),
            Then::Every(..) => true,
            Then::EndsOwnSide => {
                self.attacker.end_own_side();
                true
            }
            // After the answer to the last thing that was said.
            Then::Leaves => attack.reads && !self.heard,
        }
    }

    fn say(&mut self, say: Say, hello: &[u8]) -> bool {
        let octet = |of: &[u8]| vec![of[self.turns.saturating_sub(1) % of.len()]];
        let octets = match say {
            Say::Nothing => return true,
            Say::Text(text) => text.as_bytes().to_vec(),
            Say::Times(times, text) => text.repeat(times).into_bytes(),
            Say::Octet(text) => octet(text.as_bytes()),
            Say::Hello => hello.to_vec(),
            Say::HelloOctet => octet(hello),
        };
        self.attacker.send_some(&octets)
    }
}

impl Attack {
    /// Keeps so many connections up until told to stop; how many were opened.
    fn keep_up(&self, block: u8, connections: u16, hello: &[u8], begun: &AtomicUsize, stop: &AtomicBool) -> usize {
        let mut all: Vec<Option<Connection>> = (0..connections).map(|_| None).collect();
        let (mut opened, mut turns) = (0_u16, 0);
        while !stop.load(Ordering::Relaxed) {
            for slot in &mut all {
                if slot.as_mut().is_none_or(|connection| !connection.act(self, hello)) {
                    let ip: IpAddr = v4(block, opened % ADDRESSES);
                    *slot = Attacker::connect_here(ip).map(|attacker| Connection {
                        attacker,
                        heard: false,
                        said: 0,
                        turns: 0,
                    });
                    opened = opened.wrapping_add(1);
                }
            }
            turns += 1;
            if turns == SETTLED {
                begun.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(TURN);
        }
        usize::from(opened)
    }
}

/// Tells the attackers to stop, also when what runs beside them panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `good` once all attacks are well under way with so many connections each, against the server that `name` is for. Gives
/// what it gives, and how many connections each attack opened. [`crate::crowd::open_networks`] comes before.
///
/// # Panics
/// When `good` does.
pub fn beside<T: Send>(
    host: &Host,
    name: &str,
    connections: u16,
    good: impl FnOnce() -> T + Send,
) -> (T, Vec<(&'static str, usize)>) {
    let (begun, stop, hello) = (AtomicUsize::new(0), AtomicBool::new(false), client_hello(name));
    let (begun, stop, hello) = (&begun, &stop, &hello);
    host.inside(|| {
        thread::scope(|scope| {
            let stopper = Stop(stop);
            let attacks: Vec<_> = (FIRST_BLOCK..)
                .zip(&ATTACKS)
                .map(|(block, attack)| scope.spawn(move || attack.keep_up(block, connections, hello, begun, stop)))
                .collect();
            while begun.load(Ordering::Relaxed) < ATTACKS.len() {
                thread::sleep(TURN);
            }
            let done = good();
            drop(stopper);
            let opened = attacks.into_iter().map(|attack| attack.join().unwrap());
            (done, ATTACKS.iter().map(|attack| attack.name).zip(opened).collect())
        })
    })
}
