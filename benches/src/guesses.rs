//! Logins beside ten thousand guesses at the same login: how much longer they take than when nobody guesses.

use crate::attacks::serve;
use crate::table::{self, Row, median, number, verdict};
use crate::{account, machine};
use gatepost_sys::net::connect_from;
use gatepost_testkit::client::Client;
use gatepost_testkit::crowd::v4;
use gatepost_testkit::host::{HERE, Host};
use gatepost_testkit::{facts, wait};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Guesses of each attack, the addresses they come from, and the networks that these are in.
const GUESSES: u16 = 10_000;
const ADDRESSES: u16 = 1_000;
const NETWORKS: u8 = 8;
/// Guesses of one network that wait for their answer at once: what is guessed beyond ends the oldest.
const WAITING: usize = 60;
/// Attacks: what they are called, and the time between two guesses.
const ATTACKS: [(&str, Duration); 2] =
    [("250 a second", Duration::from_millis(4)), ("as fast as they can", Duration::ZERO)];
/// An attack ends after this time, however many guesses it had.
const MOST: Duration = Duration::from_secs(60);
/// Logins that are measured when nobody guesses, and the pause after each, then and beside an attack.
const IDLE: u16 = 100;
const PAUSE: Duration = Duration::from_millis(50);
/// The median beside the guesses, relative to the idle one: at most.
const AIM: f64 = 2.0;
/// By the hash that `gatepost passwd` makes: each check takes 19 MiB.
const PASSWD: &str =
    "joe:$argon2id$v=19$m=19456,t=2,p=1$iZ6H0HbpjMpVdZihdUE3ww$nnZJQ23lrGnmi6FgmCkO4vdjdgoTymn5ookzqfPbu64\n";
const PASSWD_FILE: &str = "/etc/gatepost.passwd";
/// "secret" and "guessed".
const RIGHT: &str = "AUTH PLAIN AGpvZQBzZWNyZXQ=";
const WRONG: &str = "AUTH PLAIN AGpvZQBndWVzc2Vk";

/// A client from there, inside TLS, by a thread that is inside the host's network.
fn secure(from: IpAddr) -> io::Result<Client> {
    let server: SocketAddr = format!("{HERE}:587").parse().map_err(io::Error::other)?;
    let mut client = Client::over(connect_from(from, server).map(TcpStream::from)?);
    client.try_hello("bench.test")?;
    client.try_starttls(crate::attacks::NAME)?;
    client.try_ask("EHLO bench.test")?;
    Ok(client)
}

/// Milliseconds of each login: from AUTH to its answer, and from the connection to that.
#[derive(Default)]
struct Times {
    login: Vec<f64>,
    session: Vec<f64>,
    /// Logins that had to be tried again.
    later: usize,
}

impl Times {
    /// Logs in once.
    fn take(&mut self, from: IpAddr) -> io::Result<()> {
        let begun = Instant::now();
        let mut client = secure(from)?;
        let asked = Instant::now();
        let said = client.try_ask(RIGHT)?;
        let milliseconds = |since: Instant| since.elapsed().as_secs_f64() * 1000.0;
        if said.code == 454 {
            self.later += 1;
            return Ok(());
        }
        if said.code != 235 {
            return Err(io::Error::other(format!("a right password: {said}")));
        }
        self.login.push(milliseconds(asked));
        self.session.push(milliseconds(begun));
        thread::sleep(PAUSE);
        Ok(())
    }
}

/// Owners are in networks of their own, one after the other: each has a share, and one network alone would use up its own.
fn owner(n: u16) -> IpAddr {
    v4(100 + n.to_le_bytes()[0] % 150, n)
}

/// All guesses of one network; how many were made.
fn guess(network: u8, pause: Duration) -> usize {
    let (mut waiting, mut guesses) = (VecDeque::new(), 0);
    let begun = Instant::now();
    for n in 0..GUESSES / u16::from(NETWORKS) {
        let due = pause * u32::from(NETWORKS) * u32::from(n);
        if begun.elapsed() > MOST {
            break;
        }
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let guessed = secure(v4(network, n % (ADDRESSES / u16::from(NETWORKS)))).and_then(|mut client| {
            client.try_write(format!("{WRONG}\r\n").as_bytes())?;
            Ok(client)
        });
        if let Ok(client) = guessed {
            guesses += 1;
            waiting.push_back(client);
            if waiting.len() > WAITING {
                waiting.pop_front();
            }
        }
    }
    guesses
}

/// What an attack came to.
struct Attacked {
    times: Times,
    guesses: usize,
    lasted: Duration,
    /// Processor time of auth, of one processor's.
    busy: f64,
}

/// Logs in, one after the other, for as long as others guess.
fn beside(auth: u32, pause: Duration) -> io::Result<Attacked> {
    let (begun, used) = (Instant::now(), account::ticks(auth));
    let going = AtomicUsize::new(usize::from(NETWORKS));
    let (times, guesses) = thread::scope(|scope| {
        let guess = |network| {
            let guesses = guess(network, pause);
            going.fetch_sub(1, Ordering::Relaxed);
            guesses
        };
        let attackers: Vec<_> = (1..=NETWORKS).map(|network| scope.spawn(move || guess(network))).collect();
        let (mut times, mut n) = (Times::default(), 0);
        let logins = loop {
            if going.load(Ordering::Relaxed) == 0 {
                break Ok(times);
            }
            if let Err(e) = times.take(owner(n)) {
                break Err(e);
            }
            n += 1;
        };
        let guesses = attackers.into_iter().map(|attacker| attacker.join().unwrap_or_default()).sum();
        (logins, guesses)
    });
    let lasted = begun.elapsed();
    let used = account::ticks(auth).zip(used).map_or(f64::NAN, |(after, before)| f64::from(after - before));
    Ok(Attacked { times: times?, guesses, lasted, busy: used / 100.0 / lasted.as_secs_f64() })
}

/// Measures and prints.
pub(crate) fn run(host: &Host, gatepost: &Path) -> io::Result<()> {
    machine::print();
    host.write_with(PASSWD_FILE, PASSWD, 0o600);
    let submission = format!(
        "[submission]\nauth = \"passwd:{PASSWD_FILE}\"\nsenders = [\"joe joe@ok.test\"]\n\
         [[listen]]\naddress = \"{HERE}:587\"\nservice = \"submission\"\n"
    );
    let (_postfix, server) = serve(host, gatepost, &submission);
    let is_auth = |pid: &u32| facts::status(*pid).get("Name").is_some_and(|name| name == "gp-auth");
    let auth = wait::poll(wait::SOON, &mut || facts::tree(server.pid()).into_iter().find(is_auth));
    let auth = auth.ok_or_else(|| io::Error::other("no process gp-auth"))?;
    host.inside(|| {
        let mut idle = Times::default();
        (0..IDLE).try_for_each(|n| idle.take(owner(n)))?;
        let mut rows = Vec::new();
        for (name, pause) in ATTACKS {
            let Attacked { times, guesses, lasted, busy } = beside(auth, pause)?;
            println!(
                "\n{guesses} guesses from {ADDRESSES} addresses of {NETWORKS} networks, {name}, in {:.1} s; {} logins beside them, \
                 {} had to come again; \
                 auth took {:.0} % of one processor",
                lasted.as_secs_f64(),
                times.login.len(),
                times.later,
                busy * 100.0
            );
            machine::print_load();
            let row = |what: &str, idle: &[f64], beside: &[f64]| -> Row {
                let ratio = median(beside) / median(idle);
                let numbers = [number(median(idle), 1), number(median(beside), 1), number(ratio, 2)];
                let aim = [format!("<= {AIM:.1}"), verdict(ratio, AIM)];
                [format!("{what}, {name}")].into_iter().chain(numbers).chain(aim).collect()
            };
            rows.push(row("from AUTH to its answer, ms", &idle.login, &times.login));
            rows.push(row("from the connection to that, ms", &idle.session, &times.session));
        }
        println!("\na right password from a network without guesses (medians)");
        table::print(&["", "idle", "beside", "ratio", "aim", ""], &rows);
        machine::print_load();
        Ok(())
    })
}
