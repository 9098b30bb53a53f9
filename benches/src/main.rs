//! Speed and memory, beside Debian's Postfix in the same run. See `README.md` for what the numbers mean.
#![forbid(unsafe_code)]

mod account;
mod attacks;
mod edge;
mod guesses;
mod load;
mod machine;
mod rate;
mod server;
mod table;
mod tcpserver;
mod waiting;

use account::Memory;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::wait;
use load::{WORKS, Way, Work};
use server::{Kind, Server, Sink};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use table::{Row, median};

/// Rounds over all works, and over idle connections.
const ROUNDS: usize = 9;
const ROUNDS_IDLE: usize = 3;
/// Idle connections at once.
const IDLE: u32 = 200;
/// What one idle connection may take, KiB.
const IDLE_AIM: f64 = 130.0;
/// Connections that are watched for a stall.
const WATCHED: u32 = 20;
/// Clients at once where rates are told.
const CLIENTS: u32 = 8;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gatepost-benches: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let tcpserver: fn(&Host, &Path) -> _ = tcpserver::run;
    for (word, run) in [
        ("--tcpserver", tcpserver),
        ("--rate", rate::run),
        ("--attacks", attacks::run),
        ("--edge", edge::run),
        ("--waiting", waiting::run),
        ("--guesses", guesses::run),
    ] {
        if std::env::args().skip(1).eq([word]) {
            let gatepost = binary()?;
            let host = Host::new().map_err(|host::Skip(why)| io::Error::other(why))?;
            return run(&host, &gatepost);
        }
    }
    let Wanted { kinds, works, only } = wanted()?;
    let gatepost = binary()?;
    let host = Host::new().map_err(|host::Skip(why)| io::Error::other(why))?;
    server::prepare(&host);
    let sink = Sink::start(&host);

    machine::print();
    if only {
        let servers =
            kinds.iter().map(|kind| Server::start(&host, *kind, &gatepost)).collect::<io::Result<Vec<_>>>()?;
        processor(&host, &servers, &works)?.print(&servers);
        machine::print_load();
        servers.into_iter().for_each(Server::stop);
        return Ok(());
    }
    println!("\nmemory per idle connection that has said EHLO, KiB (median of {ROUNDS_IDLE} times {IDLE})");
    table::print(&["", "PSS", "kernel", "sum", "aim", ""], &idle(&host, &kinds, &gatepost)?);

    let servers = kinds.iter().map(|kind| Server::start(&host, *kind, &gatepost)).collect::<io::Result<Vec<_>>>()?;
    let before = sink.messages();
    let measured = processor(&host, &servers, &works)?;
    measured.print(&servers);
    wait::holds("the sink to have every message", wait::SOON, || sink.messages() - before >= measured.sent);

    println!(
        "\nrates, {CLIENTS} clients at once on this machine, client and sink included: they vary, read the table above"
    );
    table::print(
        &["a second", "sessions", "messages, kept connections", "STARTTLS sessions"],
        &rates(&host, &servers)?,
    );

    println!("\nstalls: median ms, and how many of {WATCHED} took more than 30 ms");
    table::print(&["", "first reply after STARTTLS", "", "final dot apart", ""], &stalls(&host, &servers)?);
    machine::print_load();
    servers.into_iter().for_each(Server::stop);
    Ok(())
}

/// What is asked for.
struct Wanted {
    kinds: Vec<Kind>,
    works: Vec<&'static Work>,
    /// Processor time of these works and nothing else.
    only: bool,
}

/// All servers and works, or those named after `--only` and `--work`, each of which may come several times.
fn wanted() -> io::Result<Wanted> {
    const USAGE: &str = "usage: gatepost-benches [--only gatepost|postfix|nginx|bare]... [--work WORD]... | --tcpserver | --rate | --attacks | --edge | --waiting | --guesses\n\
        a WORD is a part of the name of a work, as the table has it";
    let usage = || io::Error::other(USAGE);
    let (mut kinds, mut works) = (Vec::new(), Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let word = words.next().ok_or_else(usage)?;
        match option.as_str() {
            "--only" => kinds.push(Kind::ALL.into_iter().find(|kind| kind.name() == word).ok_or_else(usage)?),
            "--work" => works.push(WORKS.iter().find(|work| work.name.contains(&word)).ok_or_else(usage)?),
            _ => return Err(usage()),
        }
    }
    if kinds.is_empty() {
        kinds = Kind::ALL.to_vec();
        if server::nginx_mail().is_none() {
            eprintln!("gatepost-benches: without nginx, whose mail proxy (libnginx-mod-mail) is not here");
            kinds.retain(|kind| *kind != Kind::Nginx);
        }
    }
    let only = !works.is_empty();
    Ok(Wanted { kinds, works: if only { works } else { WORKS.iter().collect() }, only })
}

/// What all works cost on all servers.
struct Measured {
    /// Processor time.
    processor: Vec<Row>,
    /// Time that passed for the client, who waits for one after the other.
    latency: Vec<Row>,
    /// Messages that were sent in all.
    sent: u64,
}

impl Measured {
    fn print(&self, servers: &[Server]) {
        if let Some(server) = servers.first() {
            println!("\nserver CPU, ms each, all processes (median of {ROUNDS} rounds; {})", server.precision());
            println!("in brackets: relative to Postfix");
        }
        let heading = ["", "postfix", "nginx", "", "bare fork", "", "gatepost", "ratio", "of the least", "aim", ""];
        table::print(&heading, &self.processor);
        println!("\nlatency: what one takes for a client alone, ms (the same rounds)");
        table::print(heading.get(..9).unwrap_or(&heading), &self.latency);
    }
}

/// Builds gatepost as it is shipped; its path.
fn binary() -> io::Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let gatepost = ours.with_file_name("gatepost");
    // Run by hand instead of by cargo, the binary beside ours is taken as it is.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let wanted = [
            "--package",
            "gatepost",
            "--package",
            "gatepost-benches",
            "--bin",
            "gatepost",
            "--bin",
            "nothing",
            "--bin",
            "greets",
            "--bin",
            "bare",
        ];
        let build = Command::new(cargo).args(["build", "--release", "--quiet"]).args(wanted).status()?;
        if !build.success() {
            return Err(io::Error::other("cargo build --release --package gatepost failed"));
        }
    }
    if !gatepost.is_file() {
        return Err(io::Error::other(format!("no gatepost at {}", gatepost.display())));
    }
    Ok(gatepost)
}

/// Does all works on all servers, by turns.
fn processor(host: &Host, servers: &[Server], works: &[&Work]) -> io::Result<Measured> {
    let mut spent: Vec<Vec<(Kind, Vec<Cost>)>> =
        works.iter().map(|_| servers.iter().map(|server| (server.kind, Vec::new())).collect()).collect();
    let mut sent = 0;
    for round in 0..=ROUNDS {
        for (work, spent) in works.iter().zip(&mut spent) {
            for (server, (_, spent)) in servers.iter().zip(spent).filter(|(server, _)| work.is_for(server.kind)) {
                // The round before the first warms up and is thrown away.
                let count = if round == 0 { work.count.div_ceil(10) } else { work.count };
                let each = cost(host, server, work, count)?;
                if server.kind.delivers() {
                    sent += work.messages(count);
                }
                if round > 0 {
                    spent.push(each);
                }
            }
        }
    }
    let rows = |part: fn(&Cost) -> f64, aimed: bool| {
        let row = |(work, spent): (&&Work, &Vec<(Kind, Vec<Cost>)>)| {
            let of = |kind| -> Vec<f64> {
                spent.iter().filter(|(of, _)| *of == kind).flat_map(|(_, costs)| costs).map(part).collect()
            };
            let [postfix, nginx, bare, gatepost] = [Kind::Postfix, Kind::Nginx, Kind::Bare, Kind::Gatepost].map(of);
            let aim = work.aim.filter(|_| aimed);
            table::processor_row(work.name, &postfix, [&nginx, &bare], &gatepost, aim)
        };
        works.iter().zip(&spent).map(row).collect()
    };
    Ok(Measured { processor: rows(|cost| cost.processor, true), latency: rows(|cost| cost.latency, false), sent })
}

/// Milliseconds that one took: of the server's processor, and of its client's time.
#[derive(Debug, Clone, Copy)]
struct Cost {
    processor: f64,
    latency: f64,
}

/// What one of `count` cost.
fn cost(host: &Host, server: &Server, work: &Work, count: u32) -> io::Result<Cost> {
    let before = server.used()?;
    let begun = Instant::now();
    host.inside(|| work.run(&server.listeners, count))
        .map_err(|e| io::Error::other(format!("{}: {}: {e}", server.kind.name(), work.name)))?;
    let passed = begun.elapsed();
    let used = server.used()?.saturating_sub(before);
    let each = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(count);
    Ok(Cost { processor: each(used), latency: each(passed) })
}

/// Memory of idle connections. Each server is started anew each time: Postfix keeps its processes for a while.
fn idle(host: &Host, kinds: &[Kind], gatepost: &Path) -> io::Result<Vec<Row>> {
    let client_end = client_end()?;
    let mut found: Vec<[Vec<f64>; 2]> = kinds.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    for _ in 0..ROUNDS_IDLE {
        for (kind, [user, kernel]) in kinds.iter().zip(&mut found) {
            let server = Server::start(host, *kind, gatepost)?;
            host.inside(|| load::idle(&server.listeners).map(drop))?;
            server.used()?;
            let before = Memory::of(server.pid())?;
            let clients: Vec<_> =
                host.inside(|| (0..IDLE).map(|_| load::idle(&server.listeners)).collect::<io::Result<_>>())?;
            server.used()?;
            let after = Memory::of(server.pid())?;
            user.push((after.user as f64 - before.user as f64) / f64::from(IDLE));
            kernel.push((after.kernel as f64 - before.kernel as f64) / f64::from(IDLE) - client_end);
            drop(clients);
            server.stop();
        }
    }
    let rows = kinds.iter().zip(&found).map(|(kind, [user, kernel])| {
        let aim = (*kind == Kind::Gatepost).then_some(IDLE_AIM);
        table::memory_row(kind.name(), median(user), median(kernel), aim)
    });
    Ok(rows.collect())
}

/// KiB of kernel memory that our own end of a connection takes: half of what both ends take here.
fn client_end() -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let before = account::slab()?;
    let pairs =
        (0..IDLE).map(|_| Ok((TcpStream::connect(address)?, listener.accept()?))).collect::<io::Result<Vec<_>>>()?;
    let after = account::slab()?;
    drop(pairs);
    Ok(after.saturating_sub(before) as f64 / f64::from(2 * IDLE))
}

fn rates(host: &Host, servers: &[Server]) -> io::Result<Vec<Row>> {
    let ways = [Way::Sessions, Way::Kept, Way::Ecdsa];
    let works: Vec<&Work> = ways.iter().filter_map(|way| WORKS.iter().find(|work| work.way == *way)).collect();
    let of = |server: &Server| {
        let rates = works.iter().map(|work| match work.is_for(server.kind) {
            true => host.inside(|| load::rate(work, &server.listeners, CLIENTS)).map(|rate| format!("{rate:.0}")),
            false => Ok("-".to_owned()),
        });
        std::iter::once(Ok(server.kind.name().to_owned())).chain(rates).collect::<io::Result<Row>>()
    };
    servers.iter().map(of).collect()
}

fn stalls(host: &Host, servers: &[Server]) -> io::Result<Vec<Row>> {
    let of = |server: &Server| {
        let times = host.inside(|| load::stalls(&server.listeners, WATCHED))?;
        let mut row = vec![server.kind.name().to_owned()];
        for times in &times {
            let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
            row.push(format!("{:.2}", median(&ms)));
            row.push(format!("{} of {WATCHED}", ms.iter().filter(|ms| **ms > 30.0).count()));
        }
        Ok(row)
    };
    servers.iter().filter(|server| server.kind.speaks_tls()).map(of).collect()
}
