//! The wrapper of 2001, `ulimit -d 1024; exec qmail-smtpd "$@"`, around gatepost: everything works inside it, every attack
//! that it was made against ends with a reply and status 1, and the queue program has its own limits.

use crate::room::{Home, Session, certificate, tcp_pair};
use gatepost_testkit::facts::{limit, status, tree};
use gatepost_testkit::host;
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// 1 MiB, soft and hard: nothing that it starts can have more, unless it is root's.
const WRAPPER: &str = "ulimit -d 1024";
/// The same in kilobytes.
const KILOBYTES: u64 = 1024;
/// What a scanner needs, and does not get under the wrapper's own limit.
const SCANNER: &str = "perl -e '$all = \"y\" x 200_000_000; exit(length($all) == 200_000_000 ? 0 : 1)' || exit 51";

fn wrapped(home: &Home) -> Command {
    home.wrapped(WRAPPER)
}

/// Whether this test's root may lift a hard limit again, as root may: in some containers it may not (CAP_SYS_RESOURCE).
fn hard_limits_can_be_lifted() -> bool {
    run(Command::new("sh").args(["-c", "ulimit -d 4096 && ulimit -d unlimited"])).ok()
}

/// The most data, in kilobytes, that any process of a session has while it runs; queue programs, which are none of it, not
/// counted.
#[derive(Default)]
struct Watch {
    over: AtomicBool,
    most: AtomicU64,
    looks: AtomicU64,
}

impl Watch {
    fn look(&self, started: u32) {
        for pid in tree(started).into_iter().filter(|pid| is_of_the_session(*pid)) {
            let fields = status(pid);
            let Some(data) = fields.get("VmData").and_then(|text| text.split_whitespace().next()?.parse().ok()) else {
                continue;
            };
            self.most.fetch_max(data, Ordering::Relaxed);
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Looks until it is over.
    fn watch(&self, started: u32) {
        while !self.over.load(Ordering::Relaxed) {
            self.look(started);
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn judge(&self, what: &str) {
        let most = self.most.load(Ordering::Relaxed);
        println!("{what}: at most {most} kB of data, seen {} times", self.looks.load(Ordering::Relaxed));
        assert!(self.looks.load(Ordering::Relaxed) > 0, "{what}: never seen");
        assert!(most <= KILOBYTES, "{what}: {most} kB");
    }
}

/// True for the program under test, in whatever role, and false for the shells and scanners that it starts for others.
fn is_of_the_session(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|path| path.to_string_lossy().ends_with("/gatepost"))
}

#[test]
fn starttls_works_inside_it() {
    let home = Home::new("wrapper/starttls");
    home.control("servercert.pem", certificate("mx.example.org"));
    let (mut client, mut session) = home.serve(&mut wrapped(&home));
    let extensions = client.hello("road.test");
    assert!(extensions.iter().any(|line| line == "STARTTLS"), "{extensions:?}");
    client.starttls("mx.example.org");
    assert!(!client.ask("EHLO road.test", 250).lines.iter().any(|line| line == "STARTTLS"));
    let watch = Watch::default();
    let content = "y".repeat(70) + "\r\n";
    client.deliver("a@b", "c@d", &content.repeat(20_000));
    watch.look(session.pid());
    client.ask("QUIT", 221);
    session.ends(0);
    watch.judge("STARTTLS");
    let record = home.only();
    assert!(record.message.ends_with(("y".repeat(70) + "\n").repeat(20_000).as_bytes()));
}

#[test]
fn a_hundred_megabytes_pass_and_a_scanner_has_two_hundred() {
    const PIECE: usize = 100_000;
    const PIECES: usize = 1000;
    let home = Home::new("wrapper/large");
    home.queue(SCANNER, "exit 0");
    // Where a hard limit is final, the wrapper that leaves it alone is what can be shown.
    let line = if hard_limits_can_be_lifted() { WRAPPER } else { "ulimit -S -d 1024" };
    println!("{line}");
    let (mut client, mut session) = home.serve(&mut home.wrapped(line));
    client.set_patience(Duration::from_secs(120));
    client.set_patience_to_write(Duration::from_secs(120));
    client.hello("road.test");
    client.begin("a@b", "c@d");
    let piece = ("y".repeat(98) + "\r\n").repeat(PIECE / 100);
    let watch = Watch::default();
    let pid = session.pid();
    std::thread::scope(|scope| {
        scope.spawn(|| watch.watch(pid));
        (0..PIECES).for_each(|_| client.write(piece.as_bytes()));
        client.write(b".\r\n");
        let reply = client.try_reply();
        watch.over.store(true, Ordering::Relaxed);
        assert_eq!(reply.unwrap().code, 250);
    });
    client.ask("QUIT", 221);
    session.ends(0);
    watch.judge("100 MB");
    let record = home.only();
    let line = "y".repeat(98) + "\n";
    let (head, content) = record.message.split_at(record.message.len() - PIECE * PIECES / 100 * 99);
    assert!(head.starts_with(b"Received: ") && head.ends_with(b" -0000\n"));
    assert!(content.chunks(99).all(|chunk| chunk == line.as_bytes()));
    // Its own limits: those from before the wrapper cannot be known, but the wrapper's they are not.
    assert!(!record.about.lines().any(|line| line.starts_with("Max data size") && line.contains(" 1048576 ")));
    let _ = std::fs::remove_dir_all(home.path("queued"));
}

#[test]
fn where_a_hard_limit_is_final_the_log_says_so_and_no_message_is_lost() {
    let home = Home::new("wrapper/final");
    home.queue(SCANNER, "exit 0");
    // A root that may lift it is kept from it first.
    let helpless = "set -- setpriv --bounding-set=-sys_resource -- \"$0\" qmail-smtpd\nexec \"$@\"";
    let line = if hard_limits_can_be_lifted() { format!("{WRAPPER}\n{helpless}") } else { WRAPPER.to_owned() };
    let mut command = home.wrapped(&line);
    let (mut client, mut session) = home.serve(&mut command);
    client.hello("road.test");
    let reply = client.try_deliver("a@b", "c@d", "x\r\n").unwrap();
    assert_eq!(reply.to_string(), "451 qq out of memory (#4.3.0)");
    client.ask("QUIT", 221);
    session.ends(0);
    assert!(home.log().contains("Data stays at 1048576"), "{}", home.log());
    assert!(home.delivered().is_empty());
}

#[test]
fn the_session_itself_keeps_the_wrappers_limit() {
    let home = Home::new("wrapper/limit");
    let (mut client, session) = home.serve(&mut wrapped(&home));
    client.hello("road.test");
    let limits: Vec<_> = tree(session.pid()).into_iter().filter_map(|pid| limit(pid, "Max data size")).collect();
    let within = |(soft, _): &(String, String)| soft.parse::<u64>().is_ok_and(|octets| octets <= KILOBYTES * 1024);
    assert!(limits.len() > 1 && limits.iter().all(within), "{limits:?}");
}

/// An attack: what is said, and how the session ends.
struct Attack {
    name: &'static str,
    /// Said first, piece after piece until the session has had enough or has had them all.
    pieces: Vec<(String, usize)>,
    /// The last reply; any if empty.
    last: &'static str,
}

fn attacks() -> Vec<Attack> {
    let memory = "421 out of memory (#4.3.0)";
    let x = |octets: usize| "x".repeat(octets);
    let head = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    let go_ahead = "354 go ahead";
    let attack = |name, pieces: &[(&str, usize)], last| Attack {
        name,
        pieces: pieces.iter().map(|(text, times)| ((*text).to_owned(), *times)).collect(),
        last,
    };
    vec![
        attack("a command line of 8 MB", &[(&x(1000), 8000)], memory),
        attack("an endless HELO", &[("HELO ", 1), (&x(1000), 8000)], memory),
        attack("an endless MAIL", &[("MAIL FROM:<", 1), (&x(1000), 8000)], memory),
        attack("an endless initial response", &[("AUTH PLAIN ", 1), (&x(1000), 8000)], memory),
        attack("an endless answer to AUTH", &[("AUTH LOGIN\r\n", 1), (&x(1000), 8000)], memory),
        attack(
            "200 000 recipients",
            &[("MAIL FROM:<a@b>\r\n", 1), (&"RCPT TO:<12345678901@road.x>\r\n".repeat(100), 2000)],
            "",
        ),
        attack("endless empty transactions", &[(&"MAIL FROM:<a@b>\r\nRSET\r\n".repeat(100), 500)], ""),
        attack("endless empty lines", &[(&"\r\n".repeat(1000), 500)], ""),
        attack("4 MB of content in one line", &[(head, 1), (&x(1000), 4000)], go_ahead),
        attack("endless header lines", &[(head, 1), (&"X-Y: z\r\n".repeat(1000), 4000)], go_ahead),
        attack("one endless header line", &[(head, 1), ("X: ", 1), (&x(10_000), 2000)], go_ahead),
        attack("nothing but dots", &[(head, 1), (&".".repeat(1000), 4000)], go_ahead),
        attack("nothing but CR", &[(head, 1), (&"\r".repeat(1000), 4000)], go_ahead),
    ]
}

/// Says it all, hangs up, and returns all that was heard.
fn attempt(attack: &Attack, home: &Home, watch: &Watch) -> (String, Option<i32>) {
    let checker = home.program("bin/checker", "#!/bin/sh\nexit 1\n");
    let (mut ours, theirs) = tcp_pair();
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let mut command = wrapped(home);
    command.env("SMTPAUTH", "").arg(checker).arg("/bin/true");
    command.stdin(theirs.try_clone().unwrap()).stdout(theirs).stderr(home.log_file());
    let mut session = Session::of(command.spawn().unwrap());
    drop(command);
    let mut heard = ours.try_clone().unwrap();
    // The greeting: from now on there is a session to be looked at.
    let mut output = vec![0; "220 mx.example.org ESMTP\r\n".len()];
    heard.read_exact(&mut output).unwrap();
    watch.look(session.pid());
    let mut ended = None;
    std::thread::scope(|scope| {
        let pid = session.pid();
        scope.spawn(|| heard.read_to_end(&mut output));
        scope.spawn(move || watch.watch(pid));
        // A session may have had enough before the end.
        let _ = attack
            .pieces
            .iter()
            .try_for_each(|(piece, times)| (0..*times).try_for_each(|_| ours.write_all(piece.as_bytes())));
        let _ = ours.shutdown(Shutdown::Write);
        ended = session.wait_within(Duration::from_secs(60)).and_then(|status| status.code());
        watch.over.store(true, Ordering::Relaxed);
    });
    (String::from_utf8_lossy(&output).into_owned(), ended)
}

#[test]
fn each_attack_ends_with_a_reply_and_status_1() {
    let mut wrong = Vec::new();
    for attack in attacks() {
        let home = Home::new(&format!("wrapper/{}", attack.name.replace(' ', "-")));
        let watch = Watch::default();
        let (output, ended) = attempt(&attack, &home, &watch);
        watch.judge(attack.name);
        let last = output.lines().next_back().unwrap_or_default();
        let clean = output.lines().all(|line| line.starts_with(['2', '3', '4', '5']) && line.is_ascii());
        if ended != Some(1) || !clean || !(attack.last.is_empty() || last == attack.last) {
            let log = home.log();
            wrong.push(format!(
                "{}: status {ended:?}, the last of {} replies {last:?}; {log}",
                attack.name,
                output.lines().count()
            ));
        }
        // Neither the whole of an envelope nor a part of it that could be taken for one.
        if let Some(record) = home.delivered().first() {
            wrong.push(format!("{}: {record:?}", attack.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ten_thousand_recipients_are_delivered_and_no_more_are_taken() {
    const MOST: usize = 10_000;
    let home = Home::new("wrapper/recipients");
    let (mut client, mut session) = home.serve(&mut wrapped(&home));
    client.hello("road.test");
    client.ask("MAIL FROM:<a@b>", 250);
    let line = "RCPT TO:<12345678901@road.x>\r\n";
    for _ in 0..MOST / 100 {
        client.write(line.repeat(100).as_bytes());
        (0..100).for_each(|_| drop(client.expect(250)));
    }
    client.write(line.as_bytes());
    assert_eq!(client.reply().to_string(), "452 too many recipients (#4.5.3)");
    client.ask("DATA", 354);
    client.write(b"x\r\n.\r\n");
    client.expect(250);
    client.ask("QUIT", 221);
    session.ends(0);
    let record = home.only();
    assert_eq!(record.envelope, [b"Fa@b\0", "T12345678901@road.x\0".repeat(MOST).as_bytes(), b"\0"].concat());
}

#[test]
fn others_are_served_while_one_attacks() {
    // One process each: what one session does with its memory is no other's business, but the file they share is.
    let home = Home::new("wrapper/others");
    let (mut attacker, mut attacked) = home.serve(&mut wrapped(&home));
    attacker.expect(220);
    attacker.write("x".repeat(60_000).as_bytes());
    let (mut client, mut session) = home.serve(&mut wrapped(&home));
    client.hello("road.test");
    client.deliver("a@b", "c@d", "x\r\n");
    client.ask("QUIT", 221);
    session.ends(0);
    attacker.write("x".repeat(60_000).as_bytes());
    assert_eq!(attacker.reply().code / 100, 4);
    attacked.ends(1);
    holds("the message", SOON, || home.delivered().len() == 1);
}

/// Issue 9, row 10: an older kernel's landlock was taken for the whole, with a word in the log at most.
#[test]
fn p7_a_part_of_landlock_serves_nobody_unless_that_is_relaxed() {
    let name = "p7_a_part_of_landlock_serves_nobody_unless_that_is_relaxed";
    let Some(_host) = host::for_test(name, &["strace"]) else { return };
    let home = Home::new("wrapper/landlock");
    // The first call asks for the version: 2 is Linux 5.19.
    let feigned = "exec strace -f -qq -o /dev/null -e trace=landlock_create_ruleset \
                   -e inject=landlock_create_ruleset:retval=2:when=1 -- \"$0\" qmail-smtpd";
    let (mut client, mut session) = home.serve(&mut home.wrapped(feigned));
    assert_eq!(client.try_reply().unwrap().code, 421);
    session.ends(1);
    assert!(home.log().contains("only a part of landlock") && home.log().contains("GATEPOST_RELAX"), "{}", home.log());
    for time in 1..3 {
        let (mut client, mut session) = home.serve(home.wrapped(feigned).env("GATEPOST_RELAX", "landlock"));
        client.hello("road.test");
        client.ask("QUIT", 221);
        session.ends(0);
        assert_eq!(home.log().matches("all-of-landlock").count(), time, "{}", home.log());
    }
}
