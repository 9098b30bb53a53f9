//! What a connection costs under Debian's tcpserver: `gatepost-qmail-smtpd` beside the floor, an empty static program.

use crate::account::{Account, Memory};
use crate::load::{self, Way, Work};
use crate::server::{Listener, Listeners};
use crate::table::{self, Row, median};
use crate::{IDLE, ROUNDS, ROUNDS_IDLE, client_end};
use gatepost_testkit::host::Host;
use gatepost_testkit::run::Process;
use gatepost_testkit::wait;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// What qmail-smtpd itself takes there, measured once on another machine: ms of processor time for a session with one
/// message of 1 KiB, and KiB for an idle connection, in its process and in the kernel.
const QMAIL_SMTPD: (f64, f64) = (1.8, 98.0 + 85.0);
/// A plain user: what tcpserver's -u and -g give.
const PLAIN_USER: &str = "-u 62000 -g 62000";
/// Connections of one round.
const COUNT: u32 = 100;

/// One tcpserver.
struct Served {
    name: &'static str,
    listeners: Listeners,
    process: Process,
    account: Account,
}

impl Served {
    fn start(host: &Host, name: &'static str, port: u16, options: &str, program: &str) -> io::Result<Self> {
        let account = Account::open(&format!("tcpserver-{port}"));
        let line = format!(
            "echo 0 > {} && exec tcpserver -R -H -l 0 -c 1000 -b 1000 {options} 127.0.0.1 {port} {program} 2>/dev/null",
            account.entrance().display()
        );
        let process = host.start(name, host.command("sh").args(["-c", &line]).env("QMAILHOME", HOME));
        let listener = Listener { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), name: "mx.ok.test" };
        wait::holds("tcpserver to listen", wait::SOON, || host.listens(&listener.address.to_string()));
        Ok(Self { name, listeners: Listeners { ecdsa: listener, rsa: listener, edge: listener }, process, account })
    }

    fn used(&self) -> io::Result<Duration> {
        self.account.used_at_rest(self.process.pid())
    }

    fn stop(mut self) {
        let _ = self.process.signal("TERM");
        self.process.wait(wait::SOON);
    }
}

const HOME: &str = "/var/qmail";

/// qmail's home, with a queue program that discards.
fn prepare(host: &Host, nothing: &Path) {
    let line = format!(
        "mkdir -p {HOME}/control {HOME}/bin && echo mx.ok.test > {HOME}/control/me && echo ok.test > {HOME}/control/rcpthosts \
         && cp {} {HOME}/bin/qmail-queue && chmod 755 {HOME}/bin/qmail-queue && openssl req -x509 -newkey ec \
         -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mx.ok.test -addext subjectAltName=DNS:mx.ok.test \
         -keyout /tmp/key -out /tmp/cert 2>/dev/null && cat /tmp/key /tmp/cert > {HOME}/control/servercert.pem",
        nothing.display()
    );
    host.shell(&line).expect_ok("qmail's home");
}

/// Measures and prints.
pub(crate) fn run(host: &Host, gatepost: &Path) -> io::Result<()> {
    let nothing = gatepost.with_file_name("nothing");
    if !nothing.is_file() {
        return Err(io::Error::other(format!("no {}; build it with the benches", nothing.display())));
    }
    prepare(host, &nothing);
    let smtpd = gatepost.with_file_name("gatepost-qmail-smtpd").display().to_string();
    let served = || -> io::Result<[Served; 3]> {
        Ok([
            Served::start(host, "floor: an empty static program", 2503, "", &nothing.display().to_string())?,
            Served::start(host, "gatepost-qmail-smtpd, root", 2504, "", &smtpd)?,
            Served::start(host, "gatepost-qmail-smtpd, plain user", 2505, PLAIN_USER, &smtpd)?,
        ])
    };
    println!("memory per idle connection under tcpserver, KiB (median of {ROUNDS_IDLE} times {IDLE})");
    table::print(&["", "PSS", "kernel", "sum", "aim", ""], &idle(host, &served)?);
    let all = served()?;
    println!("\nCPU under tcpserver, ms each, all processes, queue program included (median of {ROUNDS} rounds)");
    let mut rows = Vec::new();
    for (name, size, way, aim) in [
        ("connection without a word", 0, None, None),
        ("connection, EHLO, QUIT", 0, Some(Way::Empty), None),
        ("session with one 1 KiB message", 1 << 10, Some(Way::Sessions), Some(QMAIL_SMTPD.0)),
        ("STARTTLS session, one message, ECDSA", 1 << 10, Some(Way::Ecdsa), None),
    ] {
        rows.push(row(host, &all, name, size, way, aim)?);
    }
    table::print(&["", "floor", "root", "plain user", "aim"], &rows);
    all.into_iter().for_each(Served::stop);
    Ok(())
}

fn row(
    host: &Host,
    all: &[Served; 3],
    name: &'static str,
    size: usize,
    way: Option<Way>,
    aim: Option<f64>,
) -> io::Result<Row> {
    let mut row = vec![name.to_owned()];
    for (served, speaks) in all.iter().zip([false, true, true]) {
        if way.is_some() && !speaks {
            row.push("-".to_owned());
            continue;
        }
        let mut spent = Vec::new();
        for round in 0..=ROUNDS {
            let before = served.used()?;
            host.inside(|| match way {
                Some(way) => Work { name, count: COUNT, aim, size, way }.run(&served.listeners, COUNT),
                None => (0..COUNT).try_for_each(|_| TcpStream::connect(served.listeners.ecdsa.address).map(drop)),
            })?;
            let used = served.used()?.saturating_sub(before);
            if round > 0 {
                spent.push(used.as_secs_f64() * 1000.0 / f64::from(COUNT));
            }
        }
        row.push(format!("{:.3}", median(&spent)));
    }
    row.push(aim.map_or_else(String::new, |aim| format!("<= {aim:.1}")));
    Ok(row)
}

fn idle(host: &Host, served: &dyn Fn() -> io::Result<[Served; 3]>) -> io::Result<Vec<Row>> {
    let client_end = client_end()?;
    let mut found = [const { [Vec::new(), Vec::new()] }; 3];
    let mut names = [""; 3];
    for _ in 0..ROUNDS_IDLE {
        for (at, (one, [user, kernel])) in served()?.into_iter().zip(&mut found).enumerate() {
            let speaks = at > 0;
            one.used()?;
            let before = Memory::of(one.process.pid())?;
            let (spoken, silent) = host.inside(|| -> io::Result<_> {
                let spoken =
                    (0..IDLE).filter(|_| speaks).map(|_| load::idle(&one.listeners)).collect::<io::Result<Vec<_>>>()?;
                let silent = (0..IDLE).filter(|_| !speaks).map(|_| TcpStream::connect(one.listeners.ecdsa.address));
                Ok((spoken, silent.collect::<io::Result<Vec<_>>>()?))
            })?;
            one.used()?;
            let after = Memory::of(one.process.pid())?;
            user.push((after.user as f64 - before.user as f64) / f64::from(IDLE));
            kernel.push((after.kernel as f64 - before.kernel as f64) / f64::from(IDLE) - client_end);
            drop((spoken, silent));
            if let Some(name) = names.get_mut(at) {
                *name = one.name;
            }
            one.stop();
        }
    }
    let rows = names.iter().zip(&found).enumerate();
    let aim = |at| (at > 0).then_some(QMAIL_SMTPD.1);
    Ok(rows
        .map(|(at, (name, [user, kernel]))| table::memory_row(name, median(user), median(kernel), aim(at)))
        .collect())
}
