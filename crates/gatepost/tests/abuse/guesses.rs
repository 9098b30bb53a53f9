//! Guessing passwords.

use crate::crowd::{config, open_networks, v4};
use crate::gate::{Gate, HOSTNAME, rogue};
use gatepost_testkit::client::{Client, Reply};
use gatepost_testkit::facts;
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::rogue::Speaks;
use gatepost_testkit::wait::SOON;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The owner's password is "secret", by a hash that takes long enough for a queue.
const PASSWD: &str = "joe:$2b$06$abcdefghijklmnopqrstuuxLa0AkDDSrQ9VwNnETzOsObiucpMYgC\n";
const RIGHT: &str = "AUTH PLAIN AGpvZQBzZWNyZXQ=";
/// "guessed".
const WRONG: &str = "AUTH PLAIN AGpvZQBndWVzc2Vk";
/// Addresses that guess, of eight networks, all for the login of the one who has the right password.
const ADDRESSES: u16 = 1000;
/// Guesses that wait at once, of each of so many attackers.
const EACH: usize = 60;
const ATTACKERS: u16 = 8;
/// Logins by the owner, idle and attacked.
const LOGINS: u16 = 10;

/// A client from there, inside TLS.
fn secure(host: &Host, from: IpAddr) -> io::Result<Client> {
    let to: SocketAddr = format!("{HERE}:587").parse().unwrap();
    let stream = host.inside(|| gatepost_sys::net::connect_from(from, to).map(TcpStream::from))?;
    let mut client = Client::over(stream);
    client.try_hello("road.test")?;
    client.try_starttls(HOSTNAME)?;
    client.try_ask("EHLO road.test")?;
    Ok(client)
}

/// Keeps guesses waiting until told to stop; how many there were.
fn guess(host: &Host, block: u8, waiting: &AtomicUsize, stop: &AtomicBool) -> usize {
    let mut clients: Vec<Option<Client>> = (0..EACH).map(|_| None).collect();
    let mut guesses: u16 = 0;
    while !stop.load(Ordering::Relaxed) {
        for place in &mut clients {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            // Whoever has guessed once comes again from another address.
            if let Ok(mut client) = secure(host, v4(block, guesses % (ADDRESSES / ATTACKERS))) {
                client.write(format!("{WRONG}\r\n").as_bytes());
                guesses += 1;
                if place.replace(client).is_none() {
                    waiting.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    usize::from(guesses)
}

/// The owner logs in so often, each time at the first attempt: the median.
fn logins(host: &Host, block: u8) -> Result<Duration, String> {
    let mut times = Vec::new();
    for n in 0..LOGINS {
        let mut client = secure(host, v4(block, n)).map_err(|e| e.to_string())?;
        client.set_patience(Duration::from_secs(60));
        let asked = Instant::now();
        let Reply { code, lines } = client.try_ask(RIGHT).map_err(|e| e.to_string())?;
        if code != 235 {
            return Err(format!("login {n}: {code} {lines:?}"));
        }
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Of thousands who guess, each waits for his like, and the owner for one of them at most.
#[test]
fn issue_15_who_guesses_keeps_nobody_from_logging_in() {
    let Some(host) = host::for_test("issue_15_who_guesses_keeps_nobody_from_logging_in", &["openssl"]) else { return };
    open_networks(&host);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    host.write_with("/etc/gatepost/passwd", PASSWD, 0o600);
    let more = format!(
        "[submission]\nauth = \"passwd:/etc/gatepost/passwd\"\nsenders = [\"joe joe@ok.test\"]\n\
         [[listen]]\naddress = \"{HERE}:587\"\nservice = \"submission\"\n"
    );
    let mut gate = Gate::start(&host, &config(&backend, &more));
    let auth = gate.roles()["gp-auth"];
    let idle = logins(&host, 200).unwrap();
    let (waiting, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (attacked, guesses) = thread::scope(|scope| {
        let (host, waiting, stop) = (&host, &waiting, &stop);
        let attackers: Vec<_> =
            (1..).take(ATTACKERS.into()).map(|block| scope.spawn(move || guess(host, block, waiting, stop))).collect();
        while waiting.load(Ordering::Relaxed) < usize::from(ATTACKERS) * EACH {
            thread::sleep(Duration::from_millis(20));
        }
        let attacked = logins(host, 201);
        stop.store(true, Ordering::Relaxed);
        (attacked, attackers.into_iter().map(|attacker| attacker.join().unwrap()).sum::<usize>())
    });
    let attacked = attacked.unwrap_or_else(|why| panic!("beside {guesses} guesses: {why}"));
    println!("a login took {idle:?} when nobody guessed, {attacked:?} beside {guesses} guesses");
    assert!(guesses >= usize::from(ATTACKERS) * EACH, "the attack is none: {guesses} guesses");
    // One hash at a time, in the memory for one.
    assert_eq!(facts::status(auth)["Threads"], "1");
    assert_eq!(gate.roles()["gp-auth"], auth, "it is the same process still");
    // Whoever waits for a refusal is not waited for.
    assert!(gate.process.signal("TERM"));
    gate.process.wait_said("draining", SOON);
    gate.stop();
}

/// The same password, by the hash that gatepost makes itself: each check takes 19 MiB.
const OWN: &str =
    "joe:$argon2id$v=19$m=19456,t=2,p=1$iZ6H0HbpjMpVdZihdUE3ww$nnZJQ23lrGnmi6FgmCkO4vdjdgoTymn5ookzqfPbu64\n";

/// Sessions that stood in their logins beside others had the memory of checks scattered, until none was left for one: from then on a
/// right password was a wrong one for half of those who had it.
#[test]
fn p13_a_right_password_stays_right_however_many_are_guessed() {
    let test = "p13_a_right_password_stays_right_however_many_are_guessed";
    let Some(host) = host::for_test(test, &["openssl"]) else { return };
    open_networks(&host);
    let (_mta, backend) = rogue(&host, Speaks::Smtp);
    host.write_with("/etc/gatepost/passwd", OWN, 0o600);
    let more = format!(
        "[submission]\nauth = \"passwd:/etc/gatepost/passwd\"\nsenders = [\"joe joe@ok.test\"]\n\
         [[listen]]\naddress = \"{HERE}:587\"\nservice = \"submission\"\n"
    );
    let gate = Gate::start(&host, &config(&backend, &more));
    let auth = gate.roles()["gp-auth"];
    let mut owners = 0;
    let mut log_in = || {
        owners += 1;
        let mut client = secure(&host, v4(200, owners)).unwrap();
        client.set_patience(Duration::from_secs(60));
        client.ask(RIGHT, 235);
    };
    for _ in 0..4 {
        let mut guessers = Vec::new();
        for n in 0..60 {
            let mut client = secure(&host, v4(1, n % 8)).unwrap();
            client.ask("AUTH PLAIN", 334);
            guessers.push(client);
            if n % 6 == 0 {
                log_in();
            }
        }
        for (n, client) in guessers.iter_mut().enumerate() {
            client.write(format!("AGpvZQB3{}\r\n", "d3d3".repeat(n * 2)).as_bytes());
            if n % 10 == 0 {
                log_in();
            }
        }
    }
    let data = &facts::status(auth)["VmData"];
    let kibibytes: u32 = data.trim_end_matches(" kB").trim().parse().unwrap();
    assert!(kibibytes < 64 << 10, "auth has {data} of memory between two checks");
    gate.stop();
}
