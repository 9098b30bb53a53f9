//! P1 for the drop-in: session, parent and queue program are killed at any octet of the dialogue. Never does a queue program
//! see a whole envelope of a message whose end was not sent, never does a client hear 250 of a queue program that has not
//! ended well.

use crate::room::{Home, Record, Session, is_alive, strip, tcp_pair};
use gatepost_testkit::facts::{command_line_in, parent, tree};
use gatepost_testkit::run::signal;
use gatepost_testkit::wait::{SOON, holds, poll};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// Messages of one session.
const MESSAGES: usize = 3;
/// As many at once as the queue programs of one machine are.
const THREADS: usize = 4;
/// How Received begins and ends.
const RECEIVED: &str =
    "Received: from client.example.net (HELO road.test) (192.0.2.7)\n  by mx.example.org with SMTP; <date>\n";

/// How many kills: enough for each run of the tests, or `GATEPOST_KILLS` to see more.
fn kills() -> usize {
    std::env::var("GATEPOST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Another run, other moments; `GATEPOST_SEED` repeats one.
fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = std::env::var("GATEPOST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(clock);
    println!("GATEPOST_SEED={seed}");
    seed
}

/// Numbers without a pattern.
struct Dice(u64);

impl Dice {
    /// For the nth trial: its own, whatever thread throws them.
    fn of(seed: u64, trial: usize) -> Dice {
        let mixed = (seed ^ (trial as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mut dice = Dice(mixed | 1);
        (0..8).for_each(|_| _ = dice.below(2));
        dice
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Session,
    Parent,
    Queue,
}

/// What is sent: each message beside where it ends.
struct Dialogue {
    octets: Vec<u8>,
    /// Where each content begins.
    begins: Vec<usize>,
    ends: Vec<usize>,
    /// As the queue program is to have them, after Received.
    stored: Vec<Vec<u8>>,
}

fn dialogue(dice: &mut Dice) -> Dialogue {
    let mut all = Dialogue { octets: b"HELO road.test\r\n".to_vec(), begins: vec![], ends: vec![], stored: vec![] };
    for number in 0..MESSAGES {
        // More than any buffer on the way has room for, or a line.
        let lines = [1, 40, 4000][dice.below(3)];
        let text = format!("message {number}\n{}end of {number}\n", format!("{}\n", "y".repeat(70)).repeat(lines));
        let head = format!("MAIL FROM:<s{number}@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n");
        all.begins.push(all.octets.len() + head.len());
        all.octets.extend([head, text.replace('\n', "\r\n"), ".\r\n".into()].concat().into_bytes());
        all.ends.push(all.octets.len());
        all.stored.push(text.into_bytes());
    }
    all.octets.extend(b"QUIT\r\n");
    all
}

fn envelope(number: usize) -> Vec<u8> {
    format!("Fs{number}@b\0Tc@d\0Te@f\0\0").into_bytes()
}

/// The process to kill: the one that was started, the one it has for the session, or the queue program of the moment.
fn find(target: Target, top: u32, dice: &mut Dice) -> Option<u32> {
    if target == Target::Parent {
        return Some(top);
    }
    let line = |pid: u32| command_line_in(Path::new("/proc"), pid);
    // What it forks has its command line for a moment.
    let is_queue = |pid: u32| parent(pid) == Some(top) && line(pid).is_some_and(|line| line.contains("qmail-queue"));
    let is_ours = |pid: u32| {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.to_string_lossy().ends_with("/gatepost"))
    };
    let below = tree(top).into_iter().filter(|pid| *pid != top);
    let all: Vec<u32> =
        below.filter(|pid| if target == Target::Queue { is_queue(*pid) } else { is_ours(*pid) }).collect();
    (!all.is_empty()).then(|| all[dice.below(all.len())])
}

/// What a process and all below it wait for.
fn whereabouts(top: u32) -> String {
    let of = |pid: u32, name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let line = |pid: u32| command_line_in(Path::new("/proc"), pid).unwrap_or_default();
    tree(top)
        .iter()
        .map(|pid| format!("\n{pid} {}: in {}, {}", line(*pid), of(*pid, "wchan"), of(*pid, "syscall")))
        .collect()
}

/// What came of one trial.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    /// Something was there to be killed.
    killed: usize,
    /// 250s to content.
    taken: usize,
    /// Whole envelopes.
    whole: usize,
    /// Queue programs that were started and have seen none.
    aborted: usize,
}

/// How many octets are sent before the kill: any number, for a queue program one within a content or just behind it.
fn cut(target: Target, dialogue: &Dialogue, dice: &mut Dice) -> usize {
    if target != Target::Queue {
        return dice.below(dialogue.octets.len() + 1);
    }
    let number = dice.below(MESSAGES);
    let (begin, end) = (dialogue.begins[number], dialogue.ends[number]);
    begin + dice.below(end - begin + 1)
}

/// Reads until the end of the connection.
fn hear(mut stream: &TcpStream) -> String {
    let mut all = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}

fn trial(seed: u64, number: usize) -> (Target, Result<Tally, String>) {
    let mut dice = Dice::of(seed, number);
    let target = [Target::Session, Target::Parent, Target::Queue][number % 3];
    // Of its own: a queue program whose parent was killed may come late, and must not be taken for another trial's.
    let home = Home::new(&format!("kill/{number}"));
    let dialogue = dialogue(&mut dice);
    let (ours, theirs) = tcp_pair();
    ours.set_read_timeout(Some(SOON)).unwrap();
    let theirs = OwnedFd::from(theirs);
    let mut command = home.command();
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(home.log_file());
    let mut session = Session::of(command.spawn().unwrap());
    drop(command);
    let top = session.pid();
    let cut = cut(target, &dialogue, &mut dice);
    let goes_on = dice.below(2) == 0;
    let mut killed = false;
    let mut everybody = vec![];
    let heard = std::thread::scope(|scope| {
        let heard = scope.spawn(|| hear(&ours));
        let _ = (&ours).write_all(&dialogue.octets[..cut]);
        std::thread::park_timeout(Duration::from_micros(dice.below(8000) as u64));
        // A queue program may not be there yet, or no more; then another moment is this trial's.
        let found = poll(Duration::from_millis(200), &mut || find(target, top, &mut dice));
        everybody = tree(top);
        killed = found.is_some_and(|pid| signal(pid, "KILL"));
        if goes_on {
            let _ = (&ours).write_all(&dialogue.octets[cut..]);
        }
        let _ = ours.shutdown(Shutdown::Write);
        heard.join().unwrap()
    });
    let sent = if goes_on { dialogue.octets.len() } else { cut };
    let ended = session.wait_within(SOON);
    let gone = poll(SOON, &mut || everybody.iter().all(|pid| !is_alive(*pid)).then_some(()));
    let records = home.records();
    let judged = judge(&dialogue, sent, &heard, &records).and_then(|tally| match (ended, gone) {
        (None, _) => Err(format!("the session does not end: {}", whereabouts(top))),
        (_, None) => Err(format!("of {everybody:?}, somebody lives on")),
        _ => Ok(Tally { killed: killed.into(), ..tally }),
    });
    let told = |why| {
        format!(
            "trial {number}, {target:?} after {cut} of {} octets, {sent} sent: {why}\n{heard}\n{}",
            dialogue.octets.len(),
            home.log()
        )
    };
    if judged.is_ok() {
        home.remove();
    }
    (target, judged.map_err(told))
}

/// Holds what the client has heard against what the queue programs have seen.
fn judge(dialogue: &Dialogue, sent: usize, heard: &str, records: &[Record]) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    for record in records {
        if !record.is_complete() {
            tally.aborted += 1;
            continue;
        }
        tally.whole += 1;
        let of = (0..MESSAGES).find(|number| record.envelope == envelope(*number));
        let number = of.ok_or_else(|| format!("an envelope that nobody sent: {record:?}"))?;
        if dialogue.ends[number] > sent {
            return Err(format!("message {number} is complete and its end was never sent"));
        }
        if strip(RECEIVED.as_bytes(), &record.message) != Some(&dialogue.stored[number]) {
            return Err(format!("message {number} is complete and not whole: {} octets", record.message.len()));
        }
        if record.done {
            seen.insert(record.pid, number);
        }
    }
    for line in heard.lines() {
        let Some((_, pid)) = line.strip_prefix("250 ok ").and_then(|rest| rest.split_once(" qp ")) else { continue };
        tally.taken += 1;
        let pid: u32 = pid.parse().map_err(|_| format!("no number: {line}"))?;
        // Each once: two 250s of one queue program are one too many.
        seen.remove(&pid).ok_or_else(|| format!("{line}: of no queue program that has ended well"))?;
    }
    Ok(tally)
}

#[test]
fn p1_no_kill_makes_a_message_of_a_part_or_a_250_of_nothing() {
    let (seed, kills) = (seed(), kills());
    let next = Mutex::new(0);
    let counted: Mutex<BTreeMap<Target, Tally>> = Mutex::default();
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let number = {
                        let mut next = next.lock().unwrap();
                        *next += 1;
                        *next - 1
                    };
                    // A trial may find nobody to kill; many such in a row are a fault of their own, told below.
                    let killed: usize = counted.lock().unwrap().values().map(|tally| tally.killed).sum();
                    if killed >= kills || number >= 3 * kills {
                        break;
                    }
                    let (target, result) = trial(seed, number);
                    match result {
                        Err(complaint) => complaints.lock().unwrap().push(complaint),
                        Ok(tally) => {
                            let mut counted = counted.lock().unwrap();
                            let all = counted.entry(target).or_default();
                            all.killed += tally.killed;
                            all.taken += tally.taken;
                            all.whole += tally.whole;
                            all.aborted += tally.aborted;
                        }
                    }
                }
            });
        }
    });
    let counted = counted.into_inner().unwrap();
    for (target, tally) in &counted {
        println!(
            "{target:?}: {} killed; {} messages complete, {} of them acknowledged, {} aborted",
            tally.killed, tally.whole, tally.taken, tally.aborted
        );
    }
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{} of {kills}:\n{}", complaints.len(), complaints.join("\n"));
    // Both sides of each moment were met, or nothing was tried.
    let sum = |of: fn(&Tally) -> usize| counted.values().map(of).sum::<usize>();
    assert!(sum(|tally| tally.killed) >= kills, "{counted:?}");
    assert!(counted.len() == 3 && counted.values().all(|tally| tally.killed > 0), "{counted:?}");
    assert!(sum(|tally| tally.taken) > 0 && sum(|tally| tally.aborted) > 0, "{counted:?}");
}

#[test]
fn a_session_that_is_killed_tells_its_client() {
    let home = Home::new("kill/told");
    let (mut client, mut session) = home.serve(&mut home.command());
    client.hello("road.test");
    client.ask("MAIL FROM:<a@b>", 250);
    let top = session.pid();
    let mut dice = Dice(1);
    let pid = find(Target::Session, top, &mut dice).expect("a session");
    assert!(signal(pid, "KILL"));
    // The parent is still there, and has the connection.
    assert!(client.rest().starts_with("421 "), "{}", home.log());
    session.ends(1);
    holds("nothing to be delivered", SOON, || home.records().is_empty());
}
