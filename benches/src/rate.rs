//! `gatepost tcpserver` beside Debian's: connections a second, and processor time of each, all processes together.

use crate::account::Account;
use crate::table::{self, Row, median};
use crate::{CLIENTS, ROUNDS};
use gatepost_testkit::host::Host;
use gatepost_testkit::run::Process;
use gatepost_testkit::wait;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Connections of each client in a round.
const COUNT: u32 = 250;
/// Connections a second, relative to the original: at least.
const RATE_AIM: f64 = 1.3;
/// Processor time of a connection, relative to the original: at most.
const PROCESSOR_AIM: f64 = 1.0;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// Ends its side at once, and waits for the other.
    Silent,
    /// Is greeted, quits and waits for the answer.
    Quits,
}

/// One server with one program.
struct Served {
    address: SocketAddr,
    process: Process,
    account: Account,
}

impl Served {
    fn start(host: &Host, port: u16, server: &str, program: &Path) -> Self {
        let account = Account::open(&format!("ucspi-{port}"));
        let line = format!(
            "echo 0 > {} && exec {server} -R -H -l 0 -c 1000 -b 1000 127.0.0.1 {port} {}",
            account.entrance().display(),
            program.display()
        );
        let process = host.start("tcpserver", host.command("sh").args(["-c", &line]));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait::holds("tcpserver to listen", wait::SOON, || host.listens(&address.to_string()));
        Self { address, process, account }
    }

    /// Seconds of wall clock and of processor that all clients' connections take.
    fn round(&self, host: &Host, client: Client) -> io::Result<(f64, f64)> {
        let before = self.account.used_at_rest(self.process.pid())?;
        let begun = Instant::now();
        host.inside(|| {
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..CLIENTS)
                    .map(|_| scope.spawn(|| (0..COUNT).try_for_each(|_| connect(self.address, client))))
                    .collect();
                all.into_iter()
                    .try_for_each(|one| one.join().unwrap_or_else(|_| Err(io::Error::other("a client ended"))))
            })
        })?;
        let taken = begun.elapsed();
        let used = self.account.used_at_rest(self.process.pid())?.saturating_sub(before);
        Ok((taken.as_secs_f64(), used.as_secs_f64()))
    }

    fn stop(mut self) {
        let _ = self.process.signal("TERM");
        self.process.wait(wait::SOON);
    }
}

fn connect(to: SocketAddr, client: Client) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut heard = [0; 256];
    if client == Client::Quits {
        let _ = stream.read(&mut heard)?;
        stream.write_all(b"QUIT\r\n")?;
    } else {
        stream.shutdown(std::net::Shutdown::Write)?;
    }
    while stream.read(&mut heard)? > 0 {}
    Ok(())
}

/// Measures and prints.
pub(crate) fn run(host: &Host, gatepost: &Path) -> io::Result<()> {
    let ours = format!("{} tcpserver", gatepost.display());
    let mut rows: Vec<Row> = Vec::new();
    let built = |name: &str| gatepost.with_file_name(name);
    for (at, (name, program, client)) in (0_u16..).zip([
        ("a program that does nothing", built("nothing"), Client::Silent),
        ("one that greets, and quits", built("greets"), Client::Quits),
        ("nothing, without a C library", without_library(host)?, Client::Silent),
    ]) {
        let served = [
            Served::start(host, 2600 + 2 * at, "tcpserver", &program),
            Served::start(host, 2601 + 2 * at, &ours, &program),
        ];
        let mut found = [const { (Vec::new(), Vec::new()) }; 2];
        for round in 0..=ROUNDS {
            for (server, (rates, processor)) in served.iter().zip(&mut found) {
                let (taken, used) = server.round(host, client)?;
                // The round before the first warms up and is thrown away.
                if round > 0 {
                    let count = f64::from(CLIENTS * COUNT);
                    rates.push(count / taken);
                    processor.push(used * 1000.0 / count);
                }
            }
        }
        served.into_iter().for_each(Served::stop);
        let [original, gatepost] = &found;
        let rate = median(&gatepost.0) / median(&original.0);
        let processor = median(&gatepost.1) / median(&original.1);
        rows.push(row(
            &format!("{name}: connections a second"),
            &original.0,
            &gatepost.0,
            rate,
            rate >= RATE_AIM,
            ">= 1.3",
        ));
        let reached = processor <= PROCESSOR_AIM;
        rows.push(row("processor time of one, ms", &original.1, &gatepost.1, processor, reached, "<= 1.0"));
    }
    println!("tcpserver, {CLIENTS} clients at once (median of {ROUNDS} rounds of {} connections)", CLIENTS * COUNT);
    table::print(&["", "tcpserver", "gatepost", "ratio", "aim", ""], &rows);
    Ok(())
}

/// Compiles the program that is nothing but system calls.
fn without_library(host: &Host) -> io::Result<PathBuf> {
    let program = PathBuf::from("/tmp/nothing");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nothing.c");
    let line = "cc -O2 -static -nostdlib -fno-stack-protector -o \"$0\" \"$1\"";
    let mut compile = host.command("sh");
    let done = compile.args(["-c", line]).arg(&program).arg(source).status()?;
    if done.success() { Ok(program) } else { Err(io::Error::other("no program without a C library: cc failed")) }
}

fn row(name: &str, original: &[f64], gatepost: &[f64], ratio: f64, reached: bool, aim: &str) -> Row {
    let digits = if median(original) > 100.0 { 0 } else { 3 };
    let number = |value: f64| format!("{value:.digits$}");
    let verdict = if reached { "reached" } else { "NOT REACHED" };
    [name, &number(median(original)), &number(median(gatepost)), &format!("{ratio:.2}"), aim, verdict]
        .map(str::to_owned)
        .to_vec()
}
