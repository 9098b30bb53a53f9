//! Instructions that the engine spends on each unit of work, beside a baseline, and its memory for a small and a large
//! message. See `README.md`.
#![forbid(unsafe_code)]

use gatepost_smtp::envelope::{Offer, Reason, Verdict};
use gatepost_smtp::server::{Engine, Event, Limits, Settings};
use std::io;
use std::process::{Command, ExitCode};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
/// How far a count may be from its baseline: compilers and C libraries differ a little, and chance does not come into it.
const TOLERANCE: f64 = 0.05;
/// Octets of a read, as a session has them from its socket.
const SEGMENT: usize = 16 << 10;
/// Memory that 19 MB more of content may take, KiB: a page, for wherever the stack begins.
const MEMORY_TOLERANCE: u64 = 4;

/// One kind of work. `units` is N; 2N are done too.
struct Work {
    name: &'static str,
    units: usize,
    run: fn(&mut Talk, usize),
}

const WORKS: [Work; 4] = [
    Work { name: "mail", units: 2000, run: |talk, n| talk.say("MAIL FROM:<s@client.test> SIZE=1000\r\nRSET\r\n", n) },
    Work { name: "rcpt", units: 2000, run: recipients },
    Work { name: "data-kib", units: 2048, run: |talk, kib| content(talk, kib, false) },
    Work { name: "bdat-kib", units: 2048, run: |talk, kib| content(talk, kib, true) },
];

/// An engine whose client has said EHLO, and whose backend takes everything.
struct Talk {
    engine: Engine,
    /// A reply was a refusal: then something else was done than what is to be measured.
    refused: bool,
}

impl Talk {
    fn new() -> Self {
        let limits = Limits { resets: u32::MAX, ..Limits::default() };
        let mut engine = Engine::new(Settings { recipients: u16::MAX, message_size: 0, limits, ..Settings::default() });
        engine.set_offer(Offer {
            size: 0,
            eight_bit: true,
            smtputf8: true,
            dsn: true,
            prdr: false,
            recipients: u16::MAX,
        });
        engine.greet();
        let mut talk = Self { engine, refused: false };
        talk.say("EHLO client.test\r\n", 1);
        talk
    }

    fn say(&mut self, words: &str, times: usize) {
        for _ in 0..times {
            self.feed(words.as_bytes());
        }
    }

    fn feed(&mut self, mut input: &[u8]) {
        let ok = Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok };
        loop {
            let (used, event) = self.engine.read(input);
            input = input.get(used..).unwrap_or_default();
            match event {
                Event::Mail | Event::Rcpt | Event::ContentEnd { .. } => self.engine.answer(&ok),
                Event::Starved | Event::Close(_) => break,
                Event::Flush => self.flush(),
                _ => {}
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.refused |= matches!(self.engine.output(), [b'4' | b'5', ..]);
        self.engine.sent(self.engine.output().len());
    }
}

fn recipients(talk: &mut Talk, n: usize) {
    talk.say("MAIL FROM:<s@client.test>\r\n", 1);
    talk.say("RCPT TO:<user@ok.test>\r\n", n);
}

/// A message of so many KiB, in lines of 78 octets with CRLF.
fn content(talk: &mut Talk, kib: usize, chunks: bool) {
    let octets = kib.saturating_mul(1 << 10);
    talk.say("MAIL FROM:<s@client.test>\r\nRCPT TO:<user@ok.test>\r\n", 1);
    if chunks {
        talk.say(&format!("BDAT {octets} LAST\r\n"), 1);
    } else {
        talk.say("DATA\r\n", 1);
    }
    let segment: Vec<u8> = format!("{}\r\n", "x".repeat(76)).into_bytes().into_iter().cycle().take(SEGMENT).collect();
    let line = 78;
    let mut left = octets;
    let mut at = 0_usize;
    while left > 0 {
        // Whole lines go on where the segment before has ended.
        let piece = segment.get(at..).unwrap_or_default();
        let piece = piece.get(..left.min(piece.len())).unwrap_or_default();
        talk.feed(piece);
        left = left.saturating_sub(piece.len());
        at = at.saturating_add(piece.len()).checked_rem(line).unwrap_or_default();
    }
    if !chunks {
        talk.say("\r\n.\r\n", 1);
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => compare(),
        ["renew"] => renew(),
        ["work", name, units] => work(name, units),
        _ => Err(io::Error::other("usage: gatepost-instructions [renew]")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("gatepost-instructions: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Does the work, as the measured process. Says the most memory that it had, KiB.
fn work(name: &str, units: &str) -> io::Result<bool> {
    let units = units.parse().map_err(io::Error::other)?;
    let work = WORKS.iter().find(|work| work.name == name).ok_or(io::ErrorKind::NotFound)?;
    let mut talk = Talk::new();
    (work.run)(&mut talk, units);
    if talk.refused {
        return Err(io::Error::other(format!("{name}: the engine refused")));
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap_or_default();
    println!("{}", peak.trim().trim_end_matches(" kB"));
    Ok(true)
}

fn compare() -> io::Result<bool> {
    let baseline = std::fs::read_to_string(BASELINE)?;
    let mut good = true;
    println!("instructions of the engine for each");
    for work in &WORKS {
        let now = per_unit(work)?;
        let known = baseline.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == work.name);
        let before: f64 = known.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or(f64::NAN);
        let change = now / before - 1.0;
        // Also when there is no baseline: nothing is near to what is not a number.
        let near = change.abs() <= TOLERANCE;
        println!("  {:<10} {now:>10.1}   baseline {before:>10.1}   {:+.1} %", work.name, change * 100.0);
        good &= near;
    }
    if !good {
        println!("more than {:.0} % off; if it is meant to be, renew the baseline (see README.md)", TOLERANCE * 100.0);
    }
    let small = peak(1)?;
    let large = peak(20)?;
    println!("memory for a message of 1 MB {small} KiB, of 20 MB {large} KiB");
    Ok(good && large.saturating_sub(small) <= MEMORY_TOLERANCE)
}

fn renew() -> io::Result<bool> {
    let mut text = String::from("# Instructions of the engine for each, in the release build. See README.md.\n");
    for work in &WORKS {
        text.push_str(&format!("{} {:.1}\n", work.name, per_unit(work)?));
    }
    std::fs::write(BASELINE, &text)?;
    print!("{text}");
    Ok(true)
}

fn per_unit(work: &Work) -> io::Result<f64> {
    let once = instructions(work.name, work.units)?;
    let twice = instructions(work.name, work.units.saturating_mul(2))?;
    Ok((twice - once) / work.units as f64)
}

/// What callgrind counts for this program at this work.
fn instructions(name: &str, units: usize) -> io::Result<f64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
    let output = valgrind.args(["work", name, &units.to_string()]).output();
    let output = output.map_err(|e| io::Error::other(format!("valgrind: {e}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.filter(|_| output.status.success()).ok_or_else(|| io::Error::other(format!("valgrind said:\n{said}")))
}

/// The most memory that a process has for a message of so many MB, KiB.
fn peak(megabytes: usize) -> io::Result<u64> {
    let kib = megabytes.saturating_mul(1000).to_string();
    let output = Command::new(std::env::current_exe()?).args(["work", "data-kib", &kib]).output()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().map_err(io::Error::other)
}
