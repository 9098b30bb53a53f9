//! Good mail beside ten thousand connections that wait for the greeting or talk before it: how much longer it takes than when
//! nothing else happens, and what a connection that waits costs the listener.

use crate::attacks::{good, serve};
use crate::table::{self, Row, median, number, verdict};
use crate::{account, machine};
use gatepost_sys::net::connect_from;
use gatepost_testkit::crowd::v4;
use gatepost_testkit::host::{HERE, Host};
use gatepost_testkit::{facts, wait};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Connections that wait at once, and the addresses they come from.
const CONNECTIONS: u16 = 10_000;
const ADDRESSES: u16 = 2_000;
/// Of them, so many at most talk before the greeting, one after the other with this time between.
const EARLY: usize = 5_000;
const BETWEEN: Duration = Duration::from_millis(1);
/// Rounds: idle, then beside those that wait.
const ROUNDS: u16 = 3;
/// The median beside those that wait, relative to the idle one, and KiB of the listener for one that waits: at most.
const AIM: f64 = 2.0;
const AIM_KIB: f64 = 8.0;
/// The longest pause there is; the good clients have none.
const SETTINGS: &str = r#"[admission]
pause = "30s"

[[network]]
networks = ["10.200.0.0/16"]
exempt = true
"#;

/// Connections of eight networks, all of which wait.
fn crowd(host: &Host) -> io::Result<Vec<TcpStream>> {
    let server: SocketAddr = format!("{HERE}:25").parse().map_err(io::Error::other)?;
    host.inside(|| {
        (0..CONNECTIONS)
            .map(|n| n % ADDRESSES)
            .map(|n| connect_from(v4(n.to_le_bytes()[0] % 8, n / 8 + 1), server).map(TcpStream::from))
            .collect()
    })
}

/// Does `work` while one waiting connection after the other talks early; what it gives, and how many have talked.
fn beside<T>(waiting: &[TcpStream], work: impl FnOnce() -> T) -> (T, usize) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let talker = scope.spawn(|| {
            let mut talked = 0;
            for mut client in waiting.iter().take(EARLY) {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                talked += usize::from(client.write_all(b"EHLO early.test\r\n").is_ok());
                thread::sleep(BETWEEN);
            }
            talked
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        (done, talker.join().unwrap_or_default())
    })
}

/// Measures and prints.
pub(crate) fn run(host: &Host, gatepost: &Path) -> io::Result<()> {
    machine::print();
    let (postfix, server) = serve(host, gatepost, SETTINGS);
    let is_listener = |pid: &u32| facts::status(*pid).get("Name").is_some_and(|name| name == "gp-listener");
    // The socket listens before the process has its name.
    let listener = wait::poll(wait::SOON, &mut || facts::tree(server.pid()).into_iter().find(is_listener));
    let listener = listener.ok_or_else(|| io::Error::other("no process gp-listener"))?;
    let open = || facts::descriptors(listener).len();
    let (mut idle, mut crowded, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let (mut later, mut early, mut fewest) = (0, 0, usize::MAX);
    for round in 0..ROUNDS {
        idle.extend(good(host, 2 * round)?.0);
        let (before, kib) = (open(), account::pages(listener)?);
        let waiting = crowd(host)?;
        wait::holds("all of them to wait", wait::SOON, || open() >= before + waiting.len());
        memory.push((account::pages(listener)? as f64 - kib as f64) / f64::from(CONNECTIONS));
        let (heard, talked) = beside(&waiting, || good(host, 2 * round + 1));
        let (taken, refused) = heard?;
        crowded.extend(taken);
        later += refused;
        early += talked;
        fewest = fewest.min(open().saturating_sub(before));
        drop(waiting);
        wait::holds("the listener to be rid of them", wait::SOON, || open() <= before + 1);
    }
    let accepted = idle.len() + crowded.len();
    let mailbox = postfix.maildir("alice");
    wait::holds("every message in the mailbox", wait::SOON, || mailbox.count() >= accepted && postfix.is_idle());
    println!(
        "\ngood mail beside {CONNECTIONS} connections that wait, from {ADDRESSES} addresses, in each of {ROUNDS} rounds: {early} talked early in all,\n\
         at least {fewest} still waited at the end of a round; {accepted} accepted, {} delivered, {later} had to come again",
        mailbox.count()
    );
    let row = |name: &str, idle: f64, beside: f64, judged: f64, aim: f64| -> Row {
        let ratio = number(beside / idle, 2);
        vec![name.to_owned(), number(idle, 1), number(beside, 1), ratio, format!("<= {aim:.1}"), verdict(judged, aim)]
    };
    // The first time: later ones find memory that the listener has kept.
    let (calm, full, kib) = (median(&idle), median(&crowded), memory.first().copied().unwrap_or(f64::NAN));
    let rows = [
        row("a session with one message, ms (median)", calm, full, full / calm, AIM),
        row("PSS of the listener for one that waits, KiB", f64::NAN, kib, kib, AIM_KIB),
    ];
    table::print(&["", "idle", "beside", "ratio", "aim", ""], &rows);
    machine::print_load();
    Ok(())
}
