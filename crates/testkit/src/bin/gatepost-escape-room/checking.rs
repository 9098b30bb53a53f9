//! Attempts on the link between auth and the checker, by either: to have a yes that no program has said.

use crate::attempt::Outcome;
use crate::handoff::is_gone;
use crate::owned::{Attempt, Links};
use gatepost_sys::seq::Seq;
use gatepost_wire::check::{AT_ONCE, Check, Checked, Found};
use gatepost_wire::control::Role;
use gatepost_wire::{FRAME_MAX, Frame, Messages};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;

/// As the program of the escape room has it.
const TRUE: Check<'_> = Check {
    number: 1,
    client: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9)),
    user: b"joe@ok.test",
    pass: b"secret",
};
const FALSE: Check<'_> = Check { pass: b"guessed", ..TRUE };

pub(crate) const ATTEMPTS: &[Attempt] = &[
    // By auth.
    ("ask", |_, links| asked(links, &[TRUE])),
    ("guess", |_, links| asked(links, &[FALSE])),
    ("ask twice by one number", |_, links| asked(links, &[FALSE, FALSE])),
    ("ask with an empty password", |_, links| asked(links, &[Check { pass: b"", ..TRUE }])),
    ("ask about an option", |_, links| asked(links, &[Check { user: b"--help", pass: b"$(touch /escaped)", ..TRUE }])),
    ("ask with a NUL in the name", |_, links| asked(links, &[Check { user: b"joe@ok.test\0secret\0", ..FALSE }])),
    ("ask with a NUL in the password", |_, links| asked(links, &[Check { pass: b"guessed\0", ..TRUE }])),
    ("ask more than may be asked at once", |_, links| {
        let all: Vec<_> =
            (0..=AT_ONCE).map(|n| Check { number: n.try_into().expect("few"), pass: b"slow", ..TRUE }).collect();
        asked(links, &all)
    }),
    ("answer the checker", |_, links| {
        said(links, Frame::of(&Checked { number: 1, found: Found::Right }).unwrap().bytes())
    }),
    ("tell the checker garbage", |_, links| said(links, &[0x5a; 3000])),
    ("tell the checker a frame that is too long", |_, links| said(links, &vec![1; FRAME_MAX + 1])),
    ("tell the checker an empty frame", |_, links| said(links, &[])),
    ("tell the checker another version", |_, links| said(links, &[9, 1, 0, 1])),
    ("give the checker a descriptor", |_, links| {
        let checker = links.with(Role::Checker);
        match checker.send(Frame::of(&TRUE).unwrap().bytes(), &[checker.as_fd()]) {
            Ok(()) => heard(&checker),
            Err(e) => Outcome::Refused(e),
        }
    }),
    // By the checker, once it is asked.
    ("answer another's question", |_, links| {
        lie(links, &[], &|number| vec![(number.wrapping_add(1), Found::Right), (number.wrapping_sub(1), Found::Right)])
    }),
    ("answer twice", |_, links| lie(links, &[], &|number| vec![(number, Found::Wrong), (number, Found::Right)])),
    ("answer before it is asked", |_, links| {
        let early: Vec<u32> = (0..100).collect();
        lie(links, &early, &|number| vec![(number, Found::Wrong)])
    }),
    ("answer nothing", |_, links| lie(links, &[], &|_| Vec::new())),
    ("answer garbage", |_, links| misspeak(links, |_| vec![0x5a; 3000], false)),
    ("answer an empty frame", |_, links| misspeak(links, |_| Vec::new(), false)),
    ("answer by a question", |_, links| misspeak(links, |_| Frame::of(&TRUE).unwrap().bytes().to_vec(), false)),
    ("answer with a descriptor", |_, links| {
        misspeak(links, |number| Frame::of(&Checked { number, found: Found::Right }).unwrap().bytes().to_vec(), true)
    }),
];

/// What the checker answers to these questions, which it is asked one behind the other.
fn asked(links: &Links, questions: &[Check<'_>]) -> Outcome {
    let checker = links.with(Role::Checker);
    for question in questions {
        if let Err(e) = checker.send(Frame::of(question).unwrap().bytes(), &[]) {
            return if is_gone(&e) { Outcome::Dropped } else { Outcome::Refused(e) };
        }
    }
    let mut came: Vec<String> = questions.iter().map(|_| heard(&checker).to_string()).collect();
    came.sort();
    Outcome::Says(came.join(", "))
}

fn said(links: &Links, frame: &[u8]) -> Outcome {
    let checker = links.with(Role::Checker);
    match checker.send(frame, &[]) {
        Ok(()) => heard(&checker),
        Err(e) if is_gone(&e) => Outcome::Dropped,
        Err(e) => Outcome::Refused(e),
    }
}

fn heard(checker: &Seq) -> Outcome {
    let mut buffer = [0; 256];
    match checker.recv_with(&mut buffer) {
        Ok((0, _)) => Outcome::Dropped,
        Ok((length, _)) => match Messages::<Checked>::one(&buffer[..length]) {
            Ok(Checked { found, .. }) => Outcome::Says(format!("{found:?}")),
            Err(e) => Outcome::Says(e.to_string()),
        },
        Err(e) if is_gone(&e) => Outcome::Dropped,
        Err(e) => Outcome::Refused(e),
    }
}

/// The number of the next question.
fn question(auth: &Seq) -> u32 {
    let mut buffer = vec![0; FRAME_MAX];
    let (length, _) = auth.recv_with(&mut buffer).expect("a question");
    Messages::<Check<'_>>::one(&buffer[..length]).expect("a question").number
}

/// Says yes to these numbers, and then, asked, what is answered there.
fn lie(links: &Links, early: &[u32], answers: &dyn Fn(u32) -> Vec<(u32, Found)>) -> Outcome {
    let auth = links.with(Role::Auth);
    let tell =
        |number, found| auth.send(Frame::of(&Checked { number, found }).unwrap().bytes(), &[]).expect("it is said");
    early.iter().for_each(|number| tell(*number, Found::Right));
    answers(question(&auth)).into_iter().for_each(|(number, found)| tell(number, found));
    Outcome::Says("said".to_owned())
}

/// Says that, once it is asked.
fn misspeak(links: &Links, frame: fn(u32) -> Vec<u8>, descriptor: bool) -> Outcome {
    let auth = links.with(Role::Auth);
    let frame = frame(question(&auth));
    let fds = [auth.as_fd()];
    auth.send(&frame, if descriptor { &fds } else { &[] }).expect("it is said");
    Outcome::Says("said".to_owned())
}
