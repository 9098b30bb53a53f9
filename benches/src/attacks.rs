//! Good mail beside twenty-four attacks, in front of Debian's Postfix with its defaults: how much longer it takes than when
//! nothing else happens.

use crate::table::{self, Row, median, number, verdict};
use gatepost_testkit::attacks::{ATTACKS, beside};
use gatepost_testkit::crowd::{open_networks, send_good_mail, v4};
use gatepost_testkit::host::{HERE, HERE6, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::run::Process;
use gatepost_testkit::wait;
use std::io;
use std::path::Path;
use std::time::Instant;

/// Good messages in each half of a round, each from an address of its own.
const GOOD: u16 = 100;
/// Rounds: idle, then attacked.
const ROUNDS: u16 = 3;
/// Connections of each attack.
const CONNECTIONS: u16 = 10;
/// The median beside the attacks, relative to the idle one: at most.
const AIM: f64 = 2.0;
/// The server's name.
pub(crate) const NAME: &str = "mx.bench.test";

/// Milliseconds that each of [`GOOD`] messages took, and how many had to come again.
pub(crate) fn good(host: &Host, round: u16) -> io::Result<(Vec<f64>, usize)> {
    let (mut taken, mut later) = (Vec::new(), 0);
    for n in 0..GOOD {
        loop {
            let begun = Instant::now();
            match send_good_mail(host, v4(200, round * GOOD + n), "alice@ok.test", "good") {
                Ok(()) => {
                    taken.push(begun.elapsed().as_secs_f64() * 1000.0);
                    break;
                }
                Err(why) if why.for_good => return Err(io::Error::other(why.to_string())),
                Err(_) => later += 1,
            }
        }
    }
    Ok((taken, later))
}

/// Starts gatepost, with `more` in its configuration, and Postfix behind it, where clients have networks.
pub(crate) fn serve<'h>(host: &'h Host, gatepost: &Path, more: &str) -> (Postfix<'h>, Process) {
    open_networks(host);
    let postfix = Postfix::start(host);
    host.directory("/var/spool/gatepost", 0, 0o755);
    host.shell(&format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={NAME} \
         -addext subjectAltName=DNS:{NAME} -keyout /etc/bench.key -out /etc/bench.pem 2>/dev/null && chmod 600 /etc/bench.key"
    ))
    .expect_ok("certificate");
    host.write(
        "/etc/gatepost.toml",
        &format!(
            r#"hostname = "{NAME}"
users = 61000

[[listen]]
address = "{HERE}:25"

[[listen]]
address = "[{HERE6}]:25"

[tls]
certificate = "/etc/bench.pem"
key = "/etc/bench.key"

[relay]
domains = ["ok.test"]

[backend]
profile = "postfix"
connect = "unix:{}"

{more}
"#,
            Postfix::SOCKET
        ),
    );
    let server = host.start("gatepost", host.command(gatepost).args(["serve", "--config", "/etc/gatepost.toml"]));
    wait::holds("gatepost to listen", wait::SOON, || host.listens(&format!("{HERE}:25")));
    (postfix, server)
}

/// Measures and prints.
pub(crate) fn run(host: &Host, gatepost: &Path) -> io::Result<()> {
    let (postfix, _server) = serve(host, gatepost, "");
    let (mut idle, mut attacked, mut later, mut opened) = (Vec::new(), Vec::new(), 0, 0);
    for round in 0..ROUNDS {
        idle.extend(good(host, 2 * round)?.0);
        let (heard, connections) = beside(host, NAME, CONNECTIONS, || good(host, 2 * round + 1));
        let (taken, refused) = heard?;
        attacked.extend(taken);
        later += refused;
        opened += connections.iter().map(|(_, connections)| connections).sum::<usize>();
    }
    let accepted = idle.len() + attacked.len();
    let mailbox = postfix.maildir("alice");
    wait::holds("every message in the mailbox", wait::SOON, || mailbox.count() >= accepted && postfix.is_idle());
    println!(
        "good mail beside {} attacks of {CONNECTIONS} connections each, {opened} opened; {accepted} accepted, {} delivered, \
         {later} had to come again",
        ATTACKS.len(),
        mailbox.count()
    );
    let tenth = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * 9 / 10).copied().unwrap_or(f64::NAN)
    };
    let row = |name: &str, of: &dyn Fn(&[f64]) -> f64, aim: Option<f64>| -> Row {
        let ratio = of(&attacked) / of(&idle);
        let (aim, reached) = aim.map_or_else(Default::default, |aim| (format!("<= {aim:.1}"), verdict(ratio, aim)));
        vec![name.to_owned(), number(of(&idle), 1), number(of(&attacked), 1), number(ratio, 2), aim, reached]
    };
    let rows = [
        row("a session with one message, ms (median)", &median, Some(AIM)),
        row("the same, nine in ten take less", &tenth, None),
    ];
    table::print(&["", "idle", "attacked", "ratio", "aim", ""], &rows);
    Ok(())
}
