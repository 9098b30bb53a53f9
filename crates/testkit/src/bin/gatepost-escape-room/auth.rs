//! Attempts on auth, and on handoff by what auth says: to have another's login, or one without its password.

use crate::attempt::{Attempt, Outcome, OwnedSession};
use crate::handoff::{ALICE, FOREIGN, MAIL, another, bare, begin, go_on, is_gone, script};
use gatepost_smtp::envelope::{Login, Mechanism};
use gatepost_sys::seq::Seq;
use gatepost_wire::auth::{Answered, Asked, Claim, LoggedIn, Noted, Response};
use gatepost_wire::link::{OpenAuth, SessionId};
use gatepost_wire::session::{Ask, Mail};
use gatepost_wire::{FRAME_MAX, Frame, Messages};
use std::os::fd::AsFd;

/// As the passwd file of the escape room has it.
const TRUE: Claim<'_> = Claim { mechanism: Mechanism::Plain, user: b"joe@ok.test", pass: b"secret" };
const FALSE: Claim<'_> = Claim { pass: b"guessed", ..TRUE };
const OWN: Mail<'_> = Mail { reverse_path: b"joe@ok.test", ..MAIL };

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("log in", |p, _| claims(p, &[TRUE])),
    ("guess", |p, _| claims(p, &[FALSE])),
    ("log in by another's name", |p, _| claims(p, &[Claim { user: b"ann@ok.test", ..TRUE }])),
    ("log in twice", |p, _| claims(p, &[TRUE, TRUE])),
    ("log in, then as another", |p, _| claims(p, &[TRUE, Claim { user: b"ann@ok.test", pass: b"other", ..TRUE }])),
    ("claim by a mechanism that is not offered", |p, _| {
        frame(p, Frame::of(&Asked::Claim(Claim { mechanism: Mechanism::CramMd5, ..FALSE })).unwrap().bytes())
    }),
    // What handoff is told by auth alone.
    ("tell handoff of a login", |p, _| bare(p, Frame::of(&LOGGED_IN).unwrap().bytes())),
    ("begin without a login", |p, _| script(p, &[&[Ask::Mail(OWN), Ask::Rcpt(ALICE)]])),
    ("relay without a login", |p, _| script(p, &[&[Ask::Mail(OWN), Ask::Rcpt(FOREIGN)]])),
    ("begin after a guess", |p, _| after(p, FALSE, OWN)),
    ("begin after the login", |p, _| after(p, TRUE, OWN)),
    ("send as another after the login", |p, _| after(p, TRUE, Mail { reverse_path: b"ann@ok.test", ..MAIL })),
    // What auth is told by others.
    ("tell auth of a login", |p, _| frame(p, Frame::of(&LOGGED_IN).unwrap().bytes())),
    ("open a session at auth", |p, _| {
        let open = OpenAuth { id: SessionId(1), client: another().client, offered: false };
        frame(p, Frame::of(&open).unwrap().bytes())
    }),
    ("note a login at auth", |p, _| frame(p, Frame::of(&Noted { id: SessionId(1), noted: true }).unwrap().bytes())),
    ("answer auth", |p, _| frame(p, Frame::of(&Answered::Judged(Login::Accepted)).unwrap().bytes())),
    ("go on with a dialogue that has not begun", |p, _| {
        frame(p, Frame::of(&Asked::Response(Response { response: b"n,,n=joe" })).unwrap().bytes())
    }),
    ("send auth garbage", |p, _| frame(p, &[0x5a; 3000])),
    ("send auth a frame that is too long", |p, _| frame(p, &vec![1; FRAME_MAX + 1])),
    ("send auth an empty frame", |p, _| frame(p, &[])),
    ("send auth another version", |p, _| frame(p, &[9, 1, 0, 1])),
    ("send auth descriptors", |p, count| {
        let auth = auth(p);
        let fds = vec![p.client.as_fd(); count.parse().expect("a number")];
        match auth.send(Frame::of(&Asked::Claim(FALSE)).unwrap().bytes(), &fds) {
            Ok(()) => heard(auth),
            Err(e) => Outcome::Refused(e),
        }
    }),
];

const LOGGED_IN: LoggedIn<'_> = LoggedIn { id: SessionId(1), login: b"joe@ok.test" };

fn auth(session: &OwnedSession) -> &Seq {
    session.auth.as_ref().expect("mail is submitted here")
}

fn heard(auth: &Seq) -> Outcome {
    let mut buffer = [0; 256];
    match auth.recv_with(&mut buffer) {
        Ok((0, _)) => Outcome::Dropped,
        Ok((length, _)) => match Messages::<Answered<'_>>::one(&buffer[..length]) {
            // That comes unasked, and first.
            Ok(Answered::Offer(_)) => heard(auth),
            Ok(Answered::Judged(login)) => Outcome::Says(format!("{login:?}")),
            Ok(Answered::Challenge(_)) => Outcome::Says("a challenge".to_owned()),
            Err(e) => Outcome::Says(e.to_string()),
        },
        Err(e) if is_gone(&e) => Outcome::Dropped,
        Err(e) => Outcome::Refused(e),
    }
}

fn frame(session: &mut OwnedSession, frame: &[u8]) -> Outcome {
    match auth(session).send(frame, &[]) {
        Ok(()) => heard(auth(session)),
        Err(e) if is_gone(&e) => Outcome::Dropped,
        Err(e) => Outcome::Refused(e),
    }
}

/// One claim after the other: what came of the last that was answered, and of the channel behind it.
fn claims(session: &mut OwnedSession, claims: &[Claim<'_>]) -> Outcome {
    // No login is taken before handoff knows of the session; by its offer it does.
    begin(session);
    let mut came = Vec::new();
    for claim in claims {
        came.push(frame(session, Frame::of(&Asked::Claim(*claim)).unwrap().bytes()).to_string());
    }
    Outcome::Says(came.join(", "))
}

/// A transaction of one recipient of ours, after this claim.
fn after(session: &mut OwnedSession, claim: Claim<'_>, mail: Mail<'_>) -> Outcome {
    claims(session, &[claim]);
    go_on(session, &[&[Ask::Mail(mail), Ask::Rcpt(ALICE)]])
}
