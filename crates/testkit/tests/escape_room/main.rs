//! The escape room: sessions of the real jail turn hostile and try everything that P3 to P6 forbid. Each
//! attempt must fail, be seen to fail, cost nobody else anything, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cost;
mod needed;
mod owned;
mod room;
mod secret;
mod table;

use gatepost_sys::escape;
use gatepost_testkit::facts;
use gatepost_testkit::run::run_within;
use gatepost_testkit::wait;
use room::Room;
use std::process::Command;
use std::time::Duration;
use table::{KILLED, ROWS, Row, SUBMISSION_ROWS};

const BINARY: &str = env!("CARGO_BIN_EXE_gatepost-escape-room");

#[test]
fn p3_every_listed_call_passes_and_every_other_kills() {
    let ended = run_within(Command::new(BINARY).arg("calls"), Duration::from_secs(300));
    assert!(ended.ok(), "{}", ended.said());
    assert_eq!(ended.stdout.lines().count(), 11, "a jail is missing:\n{}", ended.said());
}

#[test]
fn p3_every_listed_call_is_needed() {
    needed::every_line_is_needed("p3_every_listed_call_is_needed");
}

#[test]
fn issue_8_a_session_with_one_message_makes_few_calls() {
    cost::a_message_costs_few_calls("issue_8_a_session_with_one_message_makes_few_calls");
}

#[test]
fn p3_no_bare_system_call_leads_out() {
    let Some(mut room) = Room::open("p3_no_bare_system_call_leads_out") else { return };
    let mut count = 0;
    for attempt in escape::attempts() {
        room.attempt(&Row { name: "call", argument: attempt.name, expect: KILLED, messages: 0 });
        count += 1;
    }
    room.close();
    println!("{count} system calls tried, each fatal to who tried it and to nobody else");
}

#[test]
fn p3_to_p6_no_attempt_succeeds() {
    let Some(mut room) = Room::open("p3_to_p6_no_attempt_succeeds") else { return };
    for row in ROWS {
        room.attempt(row);
    }
    room.close();
    println!("{} attempts, none of which succeeded", ROWS.len());
}

#[test]
fn issue_15_an_owned_session_gets_no_login_but_by_its_password() {
    let Some(mut room) = Room::open("issue_15_an_owned_session_gets_no_login_but_by_its_password") else { return };
    for row in SUBMISSION_ROWS {
        room.attempt_to_submit(row);
    }
    room.close();
}

#[test]
fn issue_9_an_owned_handoff_or_dialer_gets_what_its_jail_says() {
    owned::no_attempt_succeeds("issue_9_an_owned_handoff_or_dialer_gets_what_its_jail_says");
}

#[test]
fn issue_15_neither_auth_nor_the_checker_has_a_yes_that_no_program_said() {
    owned::no_yes_but_the_programs("issue_15_neither_auth_nor_the_checker_has_a_yes_that_no_program_said");
}

#[test]
fn p5_the_key_is_in_the_keyholder_and_nowhere_else() {
    let Some(mut room) = Room::open("p5_the_key_is_in_the_keyholder_and_nowhere_else") else { return };
    room.honest();
    // The search itself works: our name is in every session's memory.
    let known = secret::masked(&[b"escape.test".to_vec()]);
    assert_eq!(room.order(&format!("scan the memory: {known}")).said, "found 1 of 1");
    let needles = room.key_needles();
    let order = format!("scan the memory: {}", secret::masked(&needles));
    assert_eq!(room.order(&order).said, format!("found 0 of {}", needles.len()));
    // Seen from outside, too, as root, once that session is gone.
    room.wait_whole();
    for (role, pid) in room.roles() {
        let found = facts::found_in_memory(pid, &needles).into_iter().filter(|found| *found).count();
        assert_eq!(found > 0, role == "gp-keyholder", "{role} has {found} of {} needles", needles.len());
    }
    room.close();
}

#[test]
fn p3_a_session_holds_what_it_was_given_and_no_more() {
    let Some(mut room) = Room::open("p3_a_session_holds_what_it_was_given_and_no_more") else { return };
    let staying = room.stay("stay");
    let pid = room.session();
    let mut kinds: Vec<String> =
        facts::descriptors(pid).into_iter().map(|what| what.split(':').next().unwrap().to_owned()).collect();
    kinds.sort();
    let expected = ["/dev/null", "/dev/null", "/dev/null", "pipe", "socket", "socket", "socket"];
    assert_eq!(kinds, expected);
    drop(staying);
    room.close();
}

#[test]
fn p8_no_session_outlives_its_nursery() {
    let Some(mut room) = Room::open("p8_no_session_outlives_its_nursery") else { return };
    let staying = room.stay("stay");
    let session = room.session();
    let nursery = facts::parent(session).unwrap();
    assert!(gatepost_testkit::run::signal(nursery, "KILL"));
    wait::holds("the end of the session", wait::SOON, || facts::status(session).is_empty());
    drop(staying);
    wait::holds("a new nursery", wait::SOON, || {
        room.roles().iter().any(|(role, pid)| role == "gp-nursery" && *pid != nursery)
    });
    // Nor does one outlive gatepost, whatever it does when it is told to drain.
    room.wait_said("role-serves role=nursery");
    room.wait_whole();
    let _staying = room.stay("stay");
    room.close();
}
