//! P1, P8: any process may die at any moment. No acknowledged message is lost, nothing is half-delivered, and the service
//! comes back by itself.

use crate::gate::{Gate, HOSTNAME, config, rogue, starttls};
use crate::qmail_queue::QueueHome;
use crate::submission::{PASSWD, submission};
use gatepost_testkit::client::{Client, Reply};
use gatepost_testkit::facts;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::rogue::{Mta, Speaks};
use gatepost_testkit::run::signal;
use gatepost_testkit::wait::{self, SOON, holds};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whom to kill, in turn. The launcher is started anew by the test, as a service manager would.
const TARGETS: [&str; 10] = [
    "session",
    "gp-handoff",
    "gp-dialer",
    "gp-resolver",
    "gp-nursery",
    "gp-listener",
    "gp-keyholder",
    "gp-observer",
    "gp-auth",
    "launcher",
];
/// Clients at once.
const CLIENTS: u64 = 4;
/// Silence longer than this is a fault: whoever asked must hear something or be hung up on.
const SILENCE: Duration = Duration::from_secs(15);

/// How often each target is killed: a few times, or `GATEPOST_KILLS` times to see more.
fn rounds() -> usize {
    std::env::var("GATEPOST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// Numbers without a pattern, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Default)]
struct Ledger {
    over: AtomicBool,
    /// What a client has heard 250 for.
    acknowledged: Mutex<Vec<String>>,
    silences: Mutex<Vec<String>>,
}

impl Ledger {
    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }
}

fn content(word: &str, large: bool) -> String {
    // Large content goes through a file, small does not.
    let filler = if large { "x".repeat(70).repeat(60) + "\r\n" } else { String::new() };
    format!("Subject: {word}\r\n\r\n{}end of {word}\r\n", filler.repeat(if large { 80 } else { 0 }))
}

fn is_large(serial: u32) -> bool {
    serial.is_multiple_of(7)
}

/// How somebody logs in whose password is "secret", by a hash that takes no time.
const LOGIN: &str = "AUTH PLAIN AGpvZQBzZWNyZXQ=";
const PASSWD_LINE: &str = "joe:$2b$05$ym.1.W2GyZLffGpp9WvzA.TqFXMEbJVAfOT8.QbBsKmbuEpgM9Qv2\n";

/// Logs in. False: not now.
fn logs_in(client: &mut Client) -> io::Result<bool> {
    let reply = client.try_ask(LOGIN)?;
    assert!(reply.class() != 5, "{reply}: that is the password");
    Ok(reply.code == 235)
}

/// One client, again and again, until it is over. Some submit their mail, where that may be done.
fn client(host: &Host, ledger: &Ledger, number: u64, submission: bool) {
    let mut serial: u32 = 0;
    let submits = submission && number == 3;
    while !ledger.over.load(Ordering::Relaxed) {
        let address = if submits { format!("{HERE}:587") } else { starttls() }.parse().unwrap();
        let Ok(stream) = host.inside(|| TcpStream::connect_timeout(&address, SILENCE)) else {
            std::thread::park_timeout(Duration::from_millis(5));
            continue;
        };
        let mut client = Client::over(stream);
        client.set_patience(SILENCE);
        let result = (|| -> io::Result<()> {
            client.try_hello("road.test")?;
            if number % 2 == 1 {
                client.try_starttls(HOSTNAME)?;
                client.try_ask("EHLO road.test")?;
            }
            if submits && !logs_in(&mut client)? {
                return Ok(());
            }
            let from = if submits { "joe@ok.test" } else { "sender@road.test" };
            for _ in 0..3 {
                serial += 1;
                let word = format!("mail {number}/{serial}.");
                let text = content(&word, is_large(serial));
                let reply = client.try_deliver(from, "alice@ok.test", &text)?;
                match reply.code {
                    250 => ledger.acknowledged.lock().unwrap().push(word),
                    421 => return Ok(()),
                    400..=499 => drop(client.try_ask("RSET")?),
                    _ => panic!("{word} {reply}: no mail here deserves that"),
                }
            }
            client.try_ask("QUIT").map(drop)
        })();
        if let Err(e) = result
            && matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
        {
            ledger.silences.lock().unwrap().push(format!("client {number} after mail {serial}: {e}"));
        }
    }
}

/// A fresh client that gets through a handshake and as far as an accepted recipient: every role has a part in that.
fn is_served(host: &Host, submission: bool) -> bool {
    let address = if submission { format!("{HERE}:587") } else { starttls() }.parse().unwrap();
    let serve = || -> io::Result<Reply> {
        let mut client = Client::over(host.inside(|| TcpStream::connect_timeout(&address, SILENCE))?);
        client.set_patience(Duration::from_secs(2));
        client.try_hello("probe.test")?;
        client.try_starttls(HOSTNAME)?;
        client.try_ask("EHLO probe.test")?;
        if submission && !logs_in(&mut client)? {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        client.try_ask(if submission { "MAIL FROM:<joe@ok.test>" } else { "MAIL FROM:<>" })?;
        client.try_ask("RCPT TO:<bob@ok.test>")
    };
    serve().is_ok_and(|reply| reply.code == 250)
}

/// Kills one process of that kind. False when there is none just now.
fn kill(gate: &Gate<'_>, target: &str, dice: &mut Dice) -> bool {
    let pid = match target {
        "launcher" => Some(gate.launcher()),
        "session" => {
            let sessions = gate.sessions();
            let one = dice.below(sessions.len().max(1) as u64);
            sessions.get(one as usize).copied()
        }
        // One that feeds a queue program, or the program itself.
        "queue worker" => {
            let below = gate.roles().get("gp-queue").map(|queue| facts::tree(*queue).split_off(1)).unwrap_or_default();
            let one = dice.below(below.len().max(1) as u64);
            below.get(one as usize).copied()
        }
        role => gate.roles().get(role).copied(),
    };
    pid.is_some_and(|pid| signal(pid, "KILL"))
}

#[test]
fn p1_no_acknowledged_message_is_lost_whatever_is_killed() {
    let name = "p1_no_acknowledged_message_is_lost_whatever_is_killed";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    mta.offer(&["PIPELINING", "8BITMIME", "SIZE 52428800", "XCLIENT NAME ADDR PORT PROTO HELO LOGIN"]);
    host.write_with(PASSWD, PASSWD_LINE, 0o600);
    let ledger = killing(&host, &config(&backend, &format!("{LIMITS}\n{}", submission())), &TARGETS);
    println!("{} messages acknowledged, {} complete in the backend", ledger.count(), mta.count());
    nothing_lost(&mta, &ledger);
}

/// All clients come from one address.
const LIMITS: &str = "[limits]\nsessions_per_address = 100";

#[test]
fn p1_no_acknowledged_message_is_lost_with_a_queue_program_either() {
    let name = "p1_no_acknowledged_message_is_lost_with_a_queue_program_either";
    let Some(host) = host::for_test(name, &["openssl", "bash"]) else { return };
    let home = QueueHome::make(&host);
    let targets = ["gp-queue", "queue worker", "gp-handoff", "session", "launcher"];
    let ledger = killing(&host, &config(&QueueHome::backend(), LIMITS), &targets);
    let records = home.complete();
    println!("{} messages acknowledged, {} complete in the queue", ledger.count(), records.len());
    let mut there = BTreeSet::new();
    for record in &records {
        let message = String::from_utf8(record.message.clone()).unwrap();
        let word = word_of(&message);
        let whole = content(&word, is_large(serial_of(&word))).replace("\r\n", "\n");
        assert!(message.ends_with(&whole), "{word} is in the queue but not whole");
        assert_eq!(record.envelope, b"Fsender@road.test\0Talice@ok.test\0\0", "{word}");
        there.insert(word);
    }
    none_missing(&ledger, &there);
}

/// Kills one target after the other under load, and waits each time until clients are served again.
fn killing(host: &Host, config: &str, targets: &[&'static str]) -> Ledger {
    let ledger = Ledger::default();
    let mut gate = Gate::start(host, config);
    let mut back: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let submission = targets.contains(&"gp-auth");
    std::thread::scope(|scope| {
        let (on, ledger) = (host, &ledger);
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| scope.spawn(move || client(on, ledger, number, submission))).collect();
        // Whatever goes wrong below, the clients must end, or the scope never does.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            for &target in targets.iter().cycle().take(targets.len() * rounds()) {
                // Under load, at a moment that follows from nothing.
                let enough = ledger.count() + dice.below(6) as usize;
                holds("clients are served", SOON, || ledger.count() >= enough);
                std::thread::park_timeout(Duration::from_micros(dice.below(4000)));
                wait::holds(&format!("a {target} to kill"), SOON, || kill(&gate, target, &mut dice));
                let killed = Instant::now();
                if target == "launcher" {
                    gate.left_no_process();
                    gate = Gate::start(host, config);
                }
                holds(&format!("service after the death of a {target}"), SOON, || {
                    is_served(host, submission && target == "gp-auth")
                });
                back.entry(target).or_default().push(killed.elapsed());
            }
        }));
        ledger.over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    gate.stop();
    for (target, times) in &mut back {
        times.sort_unstable();
        // For reading; how busy the machine is decides no test.
        let late = times.iter().filter(|time| **time > Duration::from_secs(1)).count();
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{target}: killed {} times, back after {median:?} (median), {longest:?} (longest), {late} times after more than a second",
            times.len()
        );
    }
    assert_eq!(*ledger.silences.lock().unwrap(), Vec::<String>::new(), "somebody was left in silence");
    ledger
}

fn word_of(message: &str) -> String {
    message.split_once("Subject: ").unwrap().1.lines().next().unwrap().to_owned()
}

fn serial_of(word: &str) -> u32 {
    word.trim_end_matches('.').rsplit_once('/').unwrap().1.parse().unwrap()
}

fn nothing_lost(mta: &Mta, ledger: &Ledger) {
    let taken = mta.taken();
    let mut there = BTreeSet::new();
    for message in &taken {
        let word = word_of(&message.content);
        // Complete, and nothing else: a message cut short by a death must never look like one.
        let whole = content(&word, is_large(serial_of(&word)));
        assert!(message.content.ends_with(&whole), "{word} is in the backend but not whole");
        assert_eq!(message.to, ["alice@ok.test"], "{word}");
        if message.acknowledged {
            there.insert(word);
        }
    }
    none_missing(ledger, &there);
}

fn none_missing(ledger: &Ledger, there: &BTreeSet<String>) {
    let lost: Vec<String> =
        ledger.acknowledged.lock().unwrap().iter().filter(|word| !there.contains(*word)).cloned().collect();
    assert_eq!(lost, Vec::<String>::new(), "acknowledged to a client but not in the backend");
    assert!(!there.is_empty(), "nothing was delivered at all");
}

#[test]
fn p8_a_crash_costs_one_client_its_connection() {
    let Some(host) = host::for_test("p8_a_crash_costs_one_client_its_connection", &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let mut one = gate.client();
    one.hello("one.test");
    let first = gate.sessions()[0];
    let mut other = gate.client();
    other.hello("other.test");
    other.ask("MAIL FROM:<sender@road.test>", 250);
    let nursery = gate.roles()["gp-nursery"];
    assert!(signal(first, "SEGV"));
    assert_eq!(one.rest(), "", "hung up on");
    // What a fork gives away is taken back: sessions to come are forked from a nursery with a layout of its own.
    holds("another nursery", SOON, || gate.roles().get("gp-nursery").is_some_and(|pid| *pid != nursery));
    // The other one of that nursery is served to its end.
    other.ask("RCPT TO:<alice@ok.test>", 250);
    other.ask("DATA", 354);
    other.write(b"Subject: after a crash\r\n\r\nx\r\n.\r\n");
    other.expect(250);
    assert_eq!(mta.taken().iter().filter(|message| message.acknowledged).count(), 1);
    // The address whose session crashed waits; others do not.
    let mut again = gate.client();
    assert!(again.expect(421).text().starts_with("4.7.0 "));
    for event in ["session-crashed", "penalty"] {
        holds(event, SOON, || gate.process.said().contains(event));
    }
    let mut elsewhere = Client::over(host.connect(&crate::gate::starttls6()));
    elsewhere.hello("elsewhere.test");
    drop((other, elsewhere));
    holds("the old nursery ends with its last session", SOON, || !gate.tree().iter().any(|(pid, _)| *pid == nursery));
    gate.stop();
}

#[test]
fn p8_a_session_inside_tls_outlives_the_listener_and_the_keyholder() {
    let name = "p8_a_session_inside_tls_outlives_the_listener_and_the_keyholder";
    let Some(host) = host::for_test(name, &["openssl"]) else { return };
    let (mta, backend) = rogue(&host, Speaks::Smtp);
    let gate = Gate::start(&host, &config(&backend, ""));
    let mut client = gate.client();
    client.hello("road.test");
    client.starttls(HOSTNAME);
    client.ask("EHLO road.test", 250);
    for role in ["gp-listener", "gp-keyholder"] {
        let before = gate.roles()[role];
        assert!(signal(before, "KILL"));
        holds(&format!("another {role}"), SOON, || gate.roles().get(role).is_some_and(|pid| *pid != before));
        client.deliver("sender@road.test", "alice@ok.test", &format!("Subject: {role}\r\n\r\nx\r\n"));
    }
    holds("clients are served", SOON, || is_served(&host, false));
    let _ = gate.audit(&[]).expect_ok("audit of what was restarted");
    assert_eq!(mta.count(), 2);
    drop(client);
    gate.stop();
}
