//! A session that is alone, owned: what it tries as root's child and as a plain user's, each time in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_jail::Alone;
use gatepost_jail::profile::ALONE_CALLS;
use gatepost_sys::escape::{self, Mapping, SIGSYS};
use gatepost_sys::process::{self, End, Fork, ProcessId, Signal};
use gatepost_sys::seq::Seq;
use gatepost_sys::{confine, limits};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

const MIB: usize = 1 << 20;
/// RLIMIT_DATA in these tests: a fork of the test's process brings all its threads' stacks along.
const DATA: usize = 1024 * MIB;
const NOBODY: u32 = 65_534;
const LIFE: Duration = Duration::from_secs(600);
/// Statuses by which an attempt tells how it went.
const DONE: u8 = 40;
const REFUSED: u8 = 41;
const NO_JAIL: u8 = 42;

/// Who forks the session.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Start {
    Root,
    User,
}

const STARTS: [Start; 2] = [Start::Root, Start::User];

/// Runs `attempt` in a jailed session. How that ended, and what it or the jail has said.
fn attempt(start: Start, life: Duration, attempt: impl FnOnce(&Seq) -> io::Result<()>) -> (End, String) {
    let parent = own_id();
    let (near, far) = Seq::pair().unwrap();
    match process::fork().unwrap() {
        Fork::Child => {
            if start == Start::User && confine::become_user(NOBODY, NOBODY, &[]).is_err() {
                process::exit(NO_JAIL);
            }
            let account = (start == Start::Root).then_some((NOBODY, NOBODY));
            let alone =
                Alone { parent, keep: &[far.as_fd()], account, data: DATA as u64, file_size: 0, life, landlock: true };
            let status = match alone.enter() {
                Err(e) => {
                    let _ = far.send(e.to_string().as_bytes(), &[]);
                    NO_JAIL
                }
                Ok((_, unmet)) => {
                    let told: Vec<String> = unmet.iter().map(ToString::to_string).collect();
                    let _ = far.send(format!("jailed\n{}", told.join("\n")).as_bytes(), &[]);
                    if attempt(&far).is_ok() { DONE } else { REFUSED }
                }
            };
            process::exit(status)
        }
        Fork::Parent(pid) => {
            drop(far);
            let mut said = vec![0; 4096];
            let length = near.recv(&mut said).unwrap();
            let said = String::from_utf8(said[..length].to_vec()).unwrap();
            (reap(pid), said)
        }
    }
}

fn own_id() -> ProcessId {
    ProcessId::try_from(std::process::id()).unwrap()
}

fn reap(pid: ProcessId) -> End {
    loop {
        if let Some(end) = process::reap_one(pid) {
            return end;
        }
        std::thread::yield_now();
    }
}

#[test]
fn p1_the_jail_can_be_entered_and_says_what_it_lacks() {
    for start in STARTS {
        let (end, said) = attempt(start, LIFE, |_| Ok(()));
        assert_eq!(end, End::Exit(DONE), "{start:?}: {said}");
        assert_eq!(said.contains("a user of its own"), start == Start::User, "{said}");
        assert_eq!(said.contains("an empty root directory"), said.contains("a user namespace:"), "{said}");
    }
}

#[test]
fn p1_an_owned_session_can_make_no_call_that_it_has_no_use_for() {
    let permitted: Vec<&str> = ALONE_CALLS.iter().flat_map(|table| table.iter()).map(|call| call.name).collect();
    assert!(!permitted.iter().any(|name| ["openat", "socket", "clone", "execve", "kill", "prctl"].contains(name)));
    for start in STARTS {
        for tried in escape::attempts() {
            let (end, said) = attempt(start, LIFE, |_| tried.make().map(drop));
            let held = [End::Signal(SIGSYS), End::Exit(REFUSED)].contains(&end);
            assert!(said.starts_with("jailed") && held, "{start:?}: {}: {end:?} {said}", tried.name);
        }
        for name in ["open a file", "make a TCP socket", "fork", "kill the nursery", "execute a program"] {
            let tried = escape::attempts().find(|attempt| attempt.name == name).expect(name);
            let (end, _) = attempt(start, LIFE, |_| tried.make().map(drop));
            assert_eq!(end, End::Signal(SIGSYS), "{start:?}: {name}");
        }
    }
}

#[test]
fn p2_memory_ends_at_the_limit_whatever_it_is_made_of() {
    type Take = fn() -> io::Result<()>;
    let table: [(&str, Take, End); 6] = [
        ("private", || escape::map(Mapping::Private, DATA), End::Exit(REFUSED)),
        ("the heap", || escape::raise_break(DATA), End::Exit(REFUSED)),
        ("shared", || escape::map(Mapping::Shared, DATA), End::Signal(SIGSYS)),
        ("growing down", || escape::map(Mapping::GrowingDown, DATA), End::Signal(SIGSYS)),
        ("to look at", || escape::map(Mapping::ReadOnly, 2 * DATA), End::Exit(REFUSED)),
        ("code", || escape::map(Mapping::Executable, 4096), End::Signal(SIGSYS)),
    ];
    for start in STARTS {
        for (kind, take, end) in table {
            assert_eq!(attempt(start, LIFE, |_| take()).0, end, "{start:?}: {kind}");
        }
        // Less than that is there to be used.
        assert_eq!(attempt(start, LIFE, |_| escape::map(Mapping::Private, DATA / 16)).0, End::Exit(DONE), "{start:?}");
    }
}

#[test]
fn p6_nothing_that_was_not_kept_can_be_reached() {
    let (hold, watch) = io::pipe().unwrap();
    let numbers = [0, 1, 2, hold.as_raw_fd(), watch.as_raw_fd()];
    for start in STARTS {
        for number in numbers {
            let (end, _) = attempt(start, LIFE, |_| escape::write_to(number, b"x").map(drop));
            assert_eq!(end, End::Exit(REFUSED), "{start:?}: {number}");
        }
        let (end, _) = attempt(start, LIFE, |channel| channel.send(b"still", &[]));
        assert_eq!(end, End::Exit(DONE), "{start:?}");
    }
}

#[test]
fn p2_a_session_ends_when_its_life_is_over() {
    const SIGALRM: u8 = 14;
    for start in STARTS {
        let forever = |_: &Seq| loop {
            std::hint::spin_loop();
        };
        assert_eq!(attempt(start, Duration::from_millis(20), forever).0, End::Signal(SIGALRM), "{start:?}");
    }
}

#[test]
fn p1_a_session_does_not_outlive_its_parent() {
    for start in STARTS {
        let (near, far) = Seq::pair().unwrap();
        let pid = match process::fork().unwrap() {
            Fork::Parent(pid) => pid,
            Fork::Child => {
                drop(near);
                serve_for_ever(start, &far)
            }
        };
        drop(far);
        let mut said = [0; 4096];
        let length = near.recv(&mut said).unwrap();
        assert!(said[..length].starts_with(b"jailed"), "{:?}", String::from_utf8_lossy(&said[..length]));
        process::kill(pid, Signal::Kill).unwrap();
        assert_eq!(reap(pid), End::Signal(9));
        // The end of the channel tells that whoever held the other end is gone.
        assert_eq!(near.recv(&mut said).unwrap(), 0, "{start:?}");
    }
}

/// A process with one session, whose channel goes to the other end of `channel`.
fn serve_for_ever(start: Start, channel: &Seq) -> ! {
    let parent = own_id();
    if process::fork().unwrap() == Fork::Child {
        if start == Start::User {
            confine::become_user(NOBODY, NOBODY, &[]).unwrap();
        }
        let account = (start == Start::Root).then_some((NOBODY, NOBODY));
        let alone = Alone {
            parent,
            keep: &[channel.as_fd()],
            account,
            data: DATA as u64,
            file_size: 0,
            life: LIFE,
            landlock: true,
        };
        let entered = alone.enter().map(|_| "jailed".to_owned()).unwrap_or_else(|e| e.to_string());
        let _ = channel.send(entered.as_bytes(), &[]);
        let _ = channel.recv(&mut [0; 8]);
        process::exit(0)
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn p1_a_wrong_parent_and_an_account_that_is_root_are_refused() {
    let table = [
        (Some((NOBODY, NOBODY)), false, true),
        (Some((NOBODY, NOBODY)), true, false),
        (None, false, false),
        (Some((0, 0)), false, false),
        (Some((NOBODY, 0)), false, false),
    ];
    for (account, wrong_parent, enters) in table {
        let (near, _far) = Seq::pair().unwrap();
        let parent = if wrong_parent { 1 } else { own_id() };
        let end = match process::fork().unwrap() {
            Fork::Parent(pid) => reap(pid),
            Fork::Child => {
                let alone = Alone {
                    parent,
                    keep: &[near.as_fd()],
                    account,
                    data: DATA as u64,
                    file_size: 0,
                    life: LIFE,
                    landlock: true,
                };
                let entered = alone.enter();
                // Who has no parent any more was not started by hand.
                let gone = matches!(&entered, Err(e) if e.to_string().contains("has ended"));
                process::exit(if gone == wrong_parent { u8::from(entered.is_ok()) } else { u8::MAX })
            }
        };
        assert_eq!(end, End::Exit(u8::from(enters)), "{account:?} {wrong_parent}");
    }
}

#[test]
fn p2_what_a_wrapper_has_lowered_stays_so() {
    let seen = process::apart(|| {
        let lowered = limits::set(limits::Limit::Data, 512 * 1024);
        assert!(lowered.is_ok());
        let (end, said) = attempt(Start::Root, LIFE, |_| escape::map(Mapping::Private, 600 * 1024));
        format!("{end:?} {}", said.starts_with("jailed")).into_bytes()
    });
    assert_eq!(String::from_utf8(seen.unwrap()).unwrap(), format!("{:?} true", End::Exit(REFUSED)));
}
