//! What an owned handoff, dialer and auth get: each attempt in the jail of the real role, started by the real launcher.

use crate::room::{DIRECTORY, Room};
use crate::table::{Expect, KILLED};
use gatepost_testkit::run::signal;
use gatepost_testkit::wait;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// No such file: nothing of the host's tree is there.
const ABSENT: Expect = Expect::Says("refused 2");
/// EACCES, by landlock.
const DENIED: Expect = Expect::Says("refused 13");
/// EROFS: its root can't be written to.
const READ_ONLY: Expect = Expect::Says("refused 30");
/// EPERM, by landlock's scope.
const OUT_OF_SCOPE: Expect = Expect::Says("refused 1");
const DONE: Expect = Expect::Says("done ()");

/// What the launcher says of a role that made a call which its list does not have.
const SIGSYS: &str = "it was killed by SIGSYS";

/// A role, what it tries, with what, and what must come of it.
type Row = (&'static str, &'static str, &'static str, Expect);

#[rustfmt::skip] // One line an attempt.
const ROWS: &[Row] = &[
    // The dialer: TCP to the backends' ports, and nothing else. Which host it is landlock does not say.
    ("dialer", "connect by TCP", "127.0.0.1:2527", DONE),
    ("dialer", "connect by TCP", "127.0.0.2:2527", Expect::Says("refused 111")),
    ("dialer", "connect by TCP", "127.0.0.1:2525", DENIED),
    ("dialer", "connect by TCP", "[::1]:25", DENIED),
    ("dialer", "connect to a path", "/run/backend/smtp", ABSENT),
    ("dialer", "connect to a path", "/backend0/smtp", ABSENT),
    ("dialer", "connect to an abstract name", "escape", OUT_OF_SCOPE),
    ("dialer", "send by UDP", "127.0.0.53:53", KILLED),
    ("dialer", "listen", "127.0.0.1:0", KILLED),
    ("dialer", "open a file", "/etc/passwd", KILLED),
    ("dialer", "write a file", "/escaped", KILLED),
    ("dialer", "list a directory", "/", KILLED),
    ("dialer", "execute", "", KILLED),
    ("dialer", "fork", "", KILLED),
    ("dialer", "make a thread", "", KILLED),
    // Auth: its channels, and nothing else.
    ("auth", "connect by TCP", "127.0.0.1:2527", KILLED),
    ("auth", "connect to a path", "/run/backend/smtp", KILLED),
    ("auth", "connect to an abstract name", "escape", KILLED),
    ("auth", "send by UDP", "127.0.0.53:53", KILLED),
    ("auth", "listen", "127.0.0.1:0", KILLED),
    ("auth", "open a file", "/etc/passwd", KILLED),
    ("auth", "write a file", "/escaped", KILLED),
    ("auth", "list a directory", "/", KILLED),
    ("auth", "execute", "", KILLED),
    ("auth", "fork", "", KILLED),
    ("auth", "make a thread", "", KILLED),
    // It says who has logged in, of sessions that there are and that wait for it.
    ("auth", "tell handoff of a login", "1", Expect::Says("not noted")),
    ("auth", "tell handoff a login with a line end", "", Expect::Says("not noted")),
    ("auth", "tell handoff garbage", "", Expect::Says("dropped")),
    ("auth", "tell handoff to open a session", "", Expect::Says("dropped")),
    // Handoff: content files, and no socket of its own.
    ("handoff", "connect by TCP", "127.0.0.1:2527", KILLED),
    ("handoff", "connect to a path", "/run/backend/smtp", KILLED),
    ("handoff", "connect to an abstract name", "escape", KILLED),
    ("handoff", "send by UDP", "127.0.0.53:53", KILLED),
    ("handoff", "listen", "127.0.0.1:0", KILLED),
    ("handoff", "open a file", "/etc/passwd", ABSENT),
    ("handoff", "open a file", "/proc/self/mem", ABSENT),
    ("handoff", "open a file", "/content/../../etc/passwd", ABSENT),
    ("handoff", "write a file", "/escaped", READ_ONLY),
    ("handoff", "list a directory", "/", DENIED),
    ("handoff", "list a directory", "/content", KILLED),
    ("handoff", "execute", "", KILLED),
    ("handoff", "fork", "", KILLED),
    ("handoff", "make a thread", "", KILLED),
];

/// Says yes to one password, and to nobody in time to another.
const CHECKPASSWORD: &str = r#"#!/bin/sh
said=$(tr '\0' '|' <&3)
case "$said" in
"joe@ok.test|secret||") exit 0 ;;
*"|slow||") sleep 2 ;;
esac
exit 1
"#;

/// Programs run at once, and what is beyond.
const SIXTEEN_AND_ONE: &str = "Unknown, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong, Wrong";

/// What an owned auth hears of the checker, which is started anew after it has been told what it must not.
#[rustfmt::skip] // One line an attempt.
const CHECKING_ROWS: &[Row] = &[
    ("auth", "ask", "", Expect::Says("Right")),
    ("auth", "guess", "", Expect::Says("Wrong")),
    ("auth", "ask twice by one number", "", Expect::Says("Wrong, Wrong")),
    ("auth", "ask with an empty password", "", Expect::Says("Wrong")),
    ("auth", "ask about an option", "", Expect::Says("Wrong")),
    ("auth", "ask with a NUL in the name", "", Expect::Says("dropped")),
    ("auth", "ask with a NUL in the password", "", Expect::Says("dropped")),
    ("auth", "ask more than may be asked at once", "", Expect::Says(SIXTEEN_AND_ONE)),
    ("auth", "answer the checker", "", Expect::Says("dropped")),
    ("auth", "tell the checker garbage", "", Expect::Says("dropped")),
    ("auth", "tell the checker a frame that is too long", "", Expect::Says("dropped")),
    ("auth", "tell the checker an empty frame", "", Expect::Says("dropped")),
    ("auth", "tell the checker another version", "", Expect::Says("dropped")),
    ("auth", "give the checker a descriptor", "", Expect::Says("dropped")),
];

/// What an owned checker says, once a session has ordered that login, and what that session hears.
#[rustfmt::skip] // One line an attempt.
const LYING_ROWS: &[(&str, &str, &str)] = &[
    // Whether a password is right is its to say, and nothing else.
    ("answer another's question", "guess", "Unknown"),
    ("answer twice", "guess", "Refused"),
    ("answer before it is asked", "guess", "Refused"),
    ("answer nothing", "log in", "Unknown"),
    ("answer garbage", "log in", "Unknown"),
    ("answer an empty frame", "log in", "Unknown"),
    ("answer by a question", "log in", "Unknown"),
    ("answer with a descriptor", "log in", "Unknown"),
];

pub(crate) fn no_attempt_succeeds(test: &str) {
    let Some(mut room) = Room::open(test) else { return };
    let name = SocketAddr::from_abstract_name("escape").unwrap();
    let _abstract = room.inside(|| UnixListener::bind_addr(&name).unwrap());
    rows(&mut room, ROWS);
    room.close();
}

pub(crate) fn no_yes_but_the_programs(test: &str) {
    let Some(mut room) = Room::open_with(test, Some(CHECKPASSWORD)) else { return };
    assert_eq!(room.order_to_submit("log in").said, "Accepted");
    rows(&mut room, CHECKING_ROWS);
    for (attempt, login, heard) in LYING_ROWS {
        let before = room.said().len();
        replace(&room, "checker", attempt);
        let serves =
            |room: &Room, number: usize| room.said()[before..].matches("role-serves role=checker").count() >= number;
        wait::holds("the owned checker to serve", wait::SOON, || serves(&room, 1));
        assert_eq!(room.order_to_submit(login).said, *heard, "checker, {attempt}");
        println!("checker, {attempt}: {heard}");
        wait::holds("the honest one after it", wait::SOON, || serves(&room, 2));
        room.wait_whole();
        room.honest();
        assert_eq!(room.order_to_submit("log in").said, "Accepted", "after {attempt}");
    }
    room.close();
}

fn rows(room: &mut Room, rows: &[Row]) {
    for (role, attempt, argument, expect) in rows {
        let order = if argument.is_empty() { (*attempt).to_owned() } else { format!("{attempt}: {argument}") };
        let came = owned(room, role, &order);
        match expect {
            Expect::Killed(_) => assert_eq!(came, SIGSYS, "{role}, {order}"),
            Expect::Says(words) => assert_eq!(came, *words, "{role}, {order}"),
            other => panic!("no row expects {other:?}"),
        }
        println!("{role}, {order}: {came}");
        wait::holds("the honest one after it", wait::SOON, || {
            let said = room.said();
            let last = |word: &str| said.rfind(&format!("{word} role={role}"));
            last("role-serves") > last("role-ended")
        });
        room.wait_whole();
        room.honest();
    }
}

/// Replaces the role by one that is owned: what it says of its attempt, or the signal that ended it.
fn owned(room: &Room, role: &str, order: &str) -> String {
    let ends = |said: &str| {
        let end = format!("role-ended role={role} how=\"");
        let ends: Vec<String> =
            said.lines().filter_map(|line| line.split_once(&end)?.1.split('"').next().map(str::to_owned)).collect();
        ends
    };
    let before = room.said();
    replace(room, role, order);
    wait::until(&format!("the end of the owned {role}"), wait::SOON, || {
        let said = room.said();
        // The first end is the honest one's.
        let ended = ends(&said).get(ends(&before).len() + 1).cloned()?;
        if ended.starts_with(SIGSYS) {
            return Some(SIGSYS.to_owned());
        }
        let word = format!("owned, {order}: ");
        let words = said[before.len()..].split_once(&word)?.1.split_once(';')?.0;
        Some(words.to_owned())
    })
}

/// Ends the role: the next process of it has that order.
fn replace(room: &Room, role: &str, order: &str) {
    room.leave(&format!("{DIRECTORY}/order"), &format!("{role}: {order}"));
    let pid = room.roles().into_iter().find(|(name, _)| *name == format!("gp-{role}")).expect("the role").1;
    assert!(signal(pid, "KILL"));
}
