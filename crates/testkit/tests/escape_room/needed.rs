//! Every line of the system call lists is needed: strace(1) sees its call made, where the list allows it, while mail of all
//! kinds passes. A line that nothing makes here stands in [`ELSEWHERE`], with the reason why it stays.

use crate::room::{HONEST, Room};
use gatepost_jail::calls::{ACCEPT, ASK, BACKEND, BASE, Call, DIAL, EPOLL, FORK, MAILDIR, RELINK, SPOOL, TALK, WAIT};
use gatepost_sys::filter::When;
use gatepost_testkit::client::Client;
use gatepost_testkit::{facts, wait};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Lines that this machine, this C library or this traffic has no use for.
const ELSEWHERE: &[(&str, &str)] = &[
    ("mmap", "a block above the allocator's threshold, which is high in the role that has large ones"),
    ("mprotect", "an arena of the allocator that grows by it"),
    ("mremap", "a block above the allocator's threshold that grows"),
    ("madvise", "the allocators of other C libraries"),
    ("clock_gettime", "the vDSO answers here"),
    ("epoll_pwait", "aarch64, which has no epoll_wait(2)"),
    ("ppoll", "aarch64, which has no poll(2)"),
    ("unlinkat", "aarch64, which has no unlink(2)"),
    ("dup3", "aarch64, which has no dup2(2)"),
];

/// Lines whose calls are made before strace can look, when the listener gets its sockets (it may not be started under strace:
/// the launcher lets no role serve that is traced), when all slots are taken, when a role reads so slowly that its channel is full, for
/// another backend than these, or for programs of this machine, which come by a socket that the room has not; by a word of the line's
/// reason.
const UNSEEN: &[(&str, &str, &str)] = &[
    ("ACCEPT", "setsockopt", "TCP_NODELAY"),
    ("ACCEPT", "getsockopt", "SO_PEERCRED"),
    ("EPOLL", "fcntl", "is full"),
    ("BACKEND", "setsockopt", "keyholder"),
    ("FORK", "kill", "leave its slot"),
];

/// Whom each table is for; the receiver's child is a session like the nursery's.
const TABLES: &[(&str, &[Call], &[&str])] = &[
    (
        "BASE",
        BASE,
        &[
            "gp-listener",
            "gp-nursery",
            "gp-session",
            "gp-keyholder",
            "gp-handoff",
            "gp-dialer",
            "gp-resolver",
            "gp-receiver",
            "gp-observer",
            "gp-auth",
        ],
    ),
    (
        "RELINK",
        RELINK,
        &["gp-auth", "gp-listener", "gp-keyholder", "gp-handoff", "gp-dialer", "gp-resolver", "gp-receiver"],
    ),
    ("WAIT", WAIT, &["gp-nursery", "gp-keyholder", "gp-receiver"]),
    (
        "EPOLL",
        EPOLL,
        &[
            "gp-auth",
            "gp-listener",
            "gp-keyholder",
            "gp-handoff",
            "gp-dialer",
            "gp-resolver",
            "gp-receiver",
            "gp-observer",
        ],
    ),
    ("ACCEPT", ACCEPT, &["gp-listener"]),
    ("TALK", TALK, &["gp-session"]),
    ("FORK", FORK, &["gp-nursery", "gp-session"]),
    ("DIAL", DIAL, &["gp-dialer"]),
    ("ASK", ASK, &["gp-resolver"]),
    ("BACKEND", BACKEND, &["gp-handoff"]),
    ("SPOOL", SPOOL, &["gp-handoff", "gp-receiver"]),
    ("MAILDIR", MAILDIR, &["gp-receiver"]),
];

/// A call that was seen: who made it, its name and its arguments as raw numbers where they are numbers.
pub(crate) struct Seen {
    pub(crate) role: String,
    pub(crate) name: String,
    pub(crate) args: Vec<u64>,
}

pub(crate) fn every_line_is_needed(test: &str) {
    let mut seen = Vec::new();
    for backend in ["127.0.0.1:2527", "[::1]:2527", "receiver"] {
        let Some(room) = Room::furnish(test, &["strace"], backend) else { return };
        seen.extend(watch(room, traffic));
    }
    let mut idle: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (table, calls, roles) in TABLES {
        for call in *calls {
            let made = seen.iter().any(|seen| roles.contains(&seen.role.as_str()) && uses(call, seen));
            let unseen =
                |(of, name, word): &(&str, &str, &str)| of == table && *name == call.name && call.reason.contains(word);
            let excused = ELSEWHERE.iter().any(|(name, _)| *name == call.name) || UNSEEN.iter().any(unseen);
            if !made && !excused {
                idle.entry(table).or_default().push(format!("{} {:?}", call.name, call.when));
            }
        }
    }
    assert!(idle.is_empty(), "lines that nothing needs: {idle:#?}");
    for (name, _) in ELSEWHERE {
        let listed = TABLES.iter().any(|(_, calls, _)| calls.iter().any(|call| call.name == *name));
        assert!(listed, "{name} is excused but not listed");
    }
}

fn uses(call: &Call, seen: &Seen) -> bool {
    call.name == seen.name
        && match call.when {
            When::Args(values) => values.iter().all(|(at, value)| seen.args.get(usize::from(*at)) == Some(value)),
            _ => true,
        }
}

/// Lets `traffic` pass while strace watches, and reads what it saw.
pub(crate) fn watch(mut room: Room, traffic: fn(&mut Room)) -> Vec<Seen> {
    let roles: BTreeMap<u32, String> = room.roles().into_iter().skip(1).map(|(name, pid)| (pid, name)).collect();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let log = format!("strace-{}.{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(log);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "raw=all", "-o"]).arg(&log);
    for pid in roles.keys() {
        strace.args(["-p", &pid.to_string()]);
    }
    let mut strace = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace");
    for pid in roles.keys() {
        wait::holds("strace to look", wait::SOON, || facts::status(*pid).get("TracerPid").is_some_and(|by| by != "0"));
    }
    traffic(&mut room);
    room.close();
    strace.wait().expect("our own child");
    let text = std::fs::read_to_string(&log).expect("what strace saw");
    std::fs::remove_file(&log).expect("our own file");
    read(&text, &roles)
}

/// Small and large messages, with and without TLS; a client that is turned away, one that goes away, one that reads late.
fn traffic(room: &mut Room) {
    for content in
        ["Subject: small\r\n\r\nx\r\n".to_owned(), format!("Subject: large\r\n\r\n{}", "x\r\n".repeat(1 << 19))]
    {
        for tls in [false, true] {
            let mut client = Client::over(room.connect(HONEST).0);
            client.hello("honest.test");
            if tls {
                client.starttls("escape.test");
                client.ask("EHLO honest.test", 250);
            }
            client.deliver("honest@road.test", "bob@ok.test", &content);
            client.deliver("honest@road.test", "alice@ok.test", &content);
            client.ask("QUIT", 221);
        }
    }
    // One that gets a last reply without having asked, and whose octets are still read for a while.
    let mut client = Client::over(room.connect(HONEST).0);
    client.write(b"\x16\x03\x01\r\n");
    client.rest();
    // A new observer is linked with everybody.
    room.replace_observer(&["gp-listener", "gp-keyholder", "gp-handoff"]);
    // By a listener on all addresses: which one it was has to be asked for.
    assert_eq!(room.order("deliver as an honest session").said, "250 Ok");
    // One that does not read its answers, so that handoff has to wait for room.
    room.order("name recipients without hearing: 5000");
    // All of them stay: the last have waited in vain for one of the others to end.
    let mut crowd: Vec<_> = (0..12).map(|_| Client::over(room.connect_again(HONEST))).collect();
    let greetings = crowd.iter_mut().map(|client| client.reply().code).collect::<Vec<_>>();
    assert!(greetings.contains(&421) && greetings.contains(&220), "{greetings:?}");
}

/// Lines of strace's log: `PID name(args...`.
fn read(log: &str, roles: &BTreeMap<u32, String>) -> Vec<Seen> {
    let mut all = Vec::new();
    for line in log.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let Some((name, args)) = rest.trim_start().split_once('(') else { continue };
        // Another process made a call meanwhile.
        let args = args.split(" <unfinished").next().unwrap_or_default();
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            continue;
        }
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        let args = args.split([',', ')']).map(|arg| number(arg.trim()).unwrap_or(u64::MAX)).collect();
        let role = pid.parse().ok().and_then(|pid: u32| roles.get(&pid)).map_or("gp-session", String::as_str);
        all.push(Seen { role: role.to_owned(), name: name.to_owned(), args });
    }
    all
}
