//! Attempts on handoff: to relay, to pass as another client, to inject commands, to exhaust it.

use crate::attempt::{Attempt, Outcome, OwnedSession};
use gatepost_smtp::envelope::{CloseReason, MailParameters, Notify, RcptParameters, Ret, Service, Tls, Verdict};
use gatepost_sys::escape;
use gatepost_sys::seq::{Seq, is_crowded};
use gatepost_wire::link::{Open, SessionId, Weights};
use gatepost_wire::session::{Answer, Ask, CONTENT_MAX, Mail, Rcpt};
use gatepost_wire::sign::Sign;
use gatepost_wire::{FRAME_MAX, Frame, Messages};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

pub(super) const MAIL: Mail<'_> = Mail {
    helo: b"mail.road.test",
    esmtp: true,
    tls: None,
    reverse_path: b"someone@road.test",
    parameters: MailParameters::NONE,
};
pub(super) const ALICE: Rcpt<'_> = Rcpt { forward_path: b"alice@ok.test", parameters: RcptParameters::NONE };
pub(super) const FOREIGN: Rcpt<'_> = Rcpt { forward_path: b"victim@elsewhere.test", ..ALICE };
const CONTENT: &[u8] = b"Subject: s\r\n\r\nof an owned session\r\n";
const LENGTH: u64 = CONTENT.len() as u64;
const COMMIT: Ask<'_> = Ask::Commit { length: LENGTH };
/// Text that must never reach the backend as a command.
const INJECTED: &[u8] = b"x\r\nMAIL FROM:<INJECTED@road.test>\r\nRCPT TO:<bob@ok.test>";
/// An address that no client here has.
const ANOTHER: &[u8] = b"198.51.100.66";

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("deliver as an honest session", |p, _| commit(p, MAIL, CONTENT)),
    // Relaying.
    ("relay to a foreign domain", |p, _| script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(FOREIGN)]])),
    ("relay by a forward-path of choice", |p, path| relay(p, path)),
    ("commit what was refused", |p, _| {
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(FOREIGN)], &[Ask::Content(CONTENT), COMMIT]])
    }),
    ("add a foreign recipient to a good one", |p, _| {
        let frames: [&[Ask<'_>]; 3] =
            [&[Ask::Mail(MAIL), Ask::Rcpt(ALICE)], &[Ask::Rcpt(FOREIGN)], &[Ask::Content(CONTENT), COMMIT]];
        script(p, &frames)
    }),
    // Order.
    ("commit without a transaction", |p, _| script(p, &[&[Ask::Commit { length: 0 }]])),
    ("commit without a recipient", |p, _| script(p, &[&[Ask::Mail(MAIL), Ask::Commit { length: 0 }]])),
    ("name a recipient without a transaction", |p, _| script(p, &[&[Ask::Rcpt(ALICE)]])),
    ("send content without a recipient", |p, _| script(p, &[&[Ask::Mail(MAIL), Ask::Content(CONTENT)]])),
    ("ask for a file without a recipient", |p, _| script(p, &[&[Ask::Mail(MAIL), Ask::Spool]])),
    ("ask for more room without a file", |p, _| {
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(ALICE)], &[Ask::Content(CONTENT), Ask::Grow]])
    }),
    ("send content in small frames without end", |p, _| {
        let mut frames: Vec<&[Ask<'_>]> = vec![&[Ask::Mail(MAIL), Ask::Rcpt(ALICE)]];
        frames.extend([&[Ask::Content(b"x")][..]; 1000]);
        script(p, &frames)
    }),
    ("begin twice", |p, _| script(p, &[&[Ask::Mail(MAIL), Ask::Mail(MAIL)]])),
    ("name a recipient after content", |p, _| {
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(ALICE)], &[Ask::Content(CONTENT), Ask::Rcpt(ALICE)]])
    }),
    ("go on before the answer", |p, _| {
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(ALICE), Ask::Content(CONTENT), COMMIT]])
    }),
    ("go on after the farewell", |p, _| {
        script(p, &[&[Ask::Bye(CloseReason::Quit), Ask::Mail(MAIL), Ask::Rcpt(ALICE)]])
    }),
    ("commit more than was sent", |p, _| {
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(ALICE)], &[Ask::Content(CONTENT), Ask::Commit { length: LENGTH + 1 }]])
    }),
    ("commit less than was sent", |p, _| {
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(ALICE)], &[Ask::Content(CONTENT), Ask::Commit { length: 1 }]])
    }),
    ("send more inline than was offered", |p, _| {
        let mut frames: Vec<&[Ask<'_>]> = vec![&[Ask::Mail(MAIL), Ask::Rcpt(ALICE)]];
        frames.extend([&[Ask::Content(&[b'x'; CONTENT_MAX])][..]; 6]);
        script(p, &frames)
    }),
    // Passing as another client.
    ("open a session as another client", |p, _| bare(p, Frame::of(&another()).unwrap().bytes())),
    ("claim an address by helo", |p, _| {
        let helo = [b"road.test ADDR=", ANOTHER, b" NAME=trusted.test"].concat();
        commit(p, Mail { helo: &helo, ..MAIL }, CONTENT)
    }),
    ("claim an address by an encoded helo", |p, _| {
        let helo = [b"road.test+20ADDR=", ANOTHER].concat();
        commit(p, Mail { helo: &helo, ..MAIL }, CONTENT)
    }),
    ("claim an address in Received by helo", |p, _| {
        let helo = [b"trusted.test ([", ANOTHER, b"]) by escape.test with ESMTPS; ("].concat();
        commit(p, Mail { helo: &helo, ..MAIL }, CONTENT)
    }),
    ("claim an address by a literal for a helo", |p, _| {
        let helo = [b"[", ANOTHER, b"]"].concat();
        commit(p, Mail { helo: &helo, ..MAIL }, CONTENT)
    }),
    ("claim TLS of a kind that is not", |p, _| {
        commit(p, Mail { tls: Some(Tls { version: 0x0d0a, suite: 0x0d0a }), ..MAIL }, CONTENT)
    }),
    // Injecting commands and header fields.
    ("inject by helo", |p, _| commit(p, Mail { helo: INJECTED, ..MAIL }, CONTENT)),
    ("inject by the reverse-path", |p, _| commit(p, Mail { reverse_path: INJECTED, ..MAIL }, CONTENT)),
    ("inject by the envelope id", |p, _| {
        let parameters = MailParameters { envid: Some(INJECTED), ret: Some(Ret::Full), ..MailParameters::NONE };
        commit(p, Mail { parameters, ..MAIL }, CONTENT)
    }),
    ("inject by the forward-path", |p, _| {
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(Rcpt { forward_path: INJECTED, ..ALICE })]])
    }),
    ("inject by a quoted forward-path", |p, _| {
        let path = [b"\"", INJECTED, b"\"@ok.test"].concat();
        script(p, &[&[Ask::Mail(MAIL), Ask::Rcpt(Rcpt { forward_path: &path, ..ALICE })]])
    }),
    ("inject parameters by the reverse-path", |p, _| {
        commit(p, Mail { reverse_path: b"a@road.test> SIZE=1 XINJECTED=<b@road.test", ..MAIL }, CONTENT)
    }),
    ("inject by the original recipient", |p, _| {
        let notify = Some(Notify { success: true, failure: true, delay: false });
        script(
            p,
            &[&[
                Ask::Mail(MAIL),
                Ask::Rcpt(Rcpt { parameters: RcptParameters { notify, orcpt: Some(INJECTED) }, ..ALICE }),
            ]],
        )
    }),
    ("end the content early", |p, _| {
        commit(p, MAIL, &[b"Subject: s\r\n\r\na\r\n.\r\n", &INJECTED[3..], b"\r\n"].concat())
    }),
    ("end the content early with a lone LF", |p, _| {
        commit(p, MAIL, &[b"Subject: s\r\n\r\na\n.\n", &INJECTED[3..], b"\r\n"].concat())
    }),
    ("end the content early with a lone CR", |p, _| {
        commit(p, MAIL, &[b"Subject: s\r\n\r\na\r.\r", &INJECTED[3..], b"\r\n"].concat())
    }),
    ("end the content without a line end", |p, _| commit(p, MAIL, b"Subject: s\r\n\r\n.")),
    ("put a NUL into the content", |p, _| commit(p, MAIL, b"Subject: s\r\n\r\na\0b\r\n")),
    ("change the content after the commit", change_after_commit),
    // Frames.
    ("send handoff garbage", |p, _| garbage(p)),
    ("send handoff a frame that is too long", |p, _| bare(p, &vec![1; FRAME_MAX + 1])),
    ("send handoff an empty frame", |p, _| bare(p, &[])),
    ("send handoff another version", |p, _| bare(p, &[9, 1, 0, 6])),
    ("send handoff a message that nobody knows", |p, _| bare(p, &[1, 1, 0, 200])),
    ("send handoff a message that ends early", |p, _| bare(p, &[1, 255, 255, 3])),
    ("send handoff octets after a message", |p, _| bare(p, &[1, 2, 0, 6, 0])),
    ("answer handoff", |p, _| bare(p, Frame::of(&Answer::Spool { octets: 1 }).unwrap().bytes())),
    ("ask handoff what the keyholder is asked", |p, _| {
        bare(p, Frame::of(&Sign { pair: 0, scheme: 0x0403, message: b"x" }).unwrap().bytes())
    }),
    // Exhausting it.
    ("name recipients without end", |p, count| flood(p, count, &Ask::Rcpt(FOREIGN), true)),
    ("name recipients without hearing", |p, count| flood(p, count, &Ask::Rcpt(FOREIGN), false)),
    ("reset without end", |p, count| flood(p, count, &Ask::Reset, false)),
    ("begin without end", |p, count| begin_again(p, count, &[Ask::Rcpt(FOREIGN)])),
    ("have content refused without end", |p, count| {
        let content = b"Subject: s\n";
        let commit = Ask::Commit { length: content.len() as u64 };
        begin_again(p, count, &[Ask::Rcpt(ALICE), Ask::Content(content), commit])
    }),
    ("name more good recipients than there may be", |p, count| flood(p, count, &Ask::Rcpt(ALICE), true)),
    ("fill the disk", |p, _| fill(p)),
    ("read the content file", read_back),
    ("ask for files without end", files),
    ("send handoff descriptors", descriptors),
    ("send handoff descriptors without end", |p, count| flood_of_descriptors(p, count)),
    ("send handoff its own channel", |p, _| {
        let (own, other) = (p.handoff.as_fd(), p.keyholder.as_fd());
        tell(&p.handoff, &[Ask::Reset], &[own, other]).into()
    }),
];

/// A session that came from elsewhere.
pub(super) fn another() -> Open {
    let client = SocketAddr::from(([198, 51, 100, 66], 25));
    Open {
        id: SessionId(1),
        client,
        local: client,
        listener: 0,
        relay: false,
        message_size: 0,
        exempt: false,
        service: Service::Relay,
        user: None,
        listed: Weights::default(),
    }
}

fn tell(channel: &Seq, asks: &[Ask<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut frame = Frame::default();
    for ask in asks {
        assert!(frame.push(ask).unwrap());
    }
    channel.send(frame.bytes(), fds)
}

/// The other end is closed; reset, when it left something unread.
pub(super) fn is_gone(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// What handoff answered.
enum Heard {
    Offer,
    Verdict(Verdict),
    Spool(OwnedFd),
    Dropped,
    Failed(io::Error),
}

impl From<Heard> for Outcome {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Offer => Outcome::Says("offer".to_owned()),
            Heard::Verdict(Verdict { code, reason, .. }) => Outcome::Says(format!("{code} {reason:?}")),
            Heard::Spool(_) => Outcome::Says("file".to_owned()),
            Heard::Dropped => Outcome::Dropped,
            Heard::Failed(e) => Outcome::Refused(e),
        }
    }
}

fn hear(channel: &Seq) -> Heard {
    let mut buffer = [0; 256];
    match channel.recv_with(&mut buffer) {
        Ok((0, _)) => Heard::Dropped,
        Ok((length, fds)) => match (Messages::<Answer>::one(&buffer[..length]), fds.into_iter().next()) {
            (Ok(Answer::Offer { .. }), _) => Heard::Offer,
            (Ok(Answer::Verdict { verdict, .. }), _) => Heard::Verdict(verdict),
            (Ok(Answer::Spool { .. }), Some(fd)) => Heard::Spool(fd),
            _ => Heard::Failed(io::ErrorKind::InvalidData.into()),
        },
        Err(e) if is_gone(&e) => Heard::Dropped,
        Err(e) => Heard::Failed(e),
    }
}

/// The offer, which comes unasked.
pub(super) fn begin(session: &OwnedSession) {
    assert!(matches!(hear(&session.handoff), Heard::Offer), "no offer");
}

/// Says one frame after the other, waiting where an answer is due, and gives the last answer.
pub(super) fn script(session: &mut OwnedSession, frames: &[&[Ask<'_>]]) -> Outcome {
    begin(session);
    go_on(session, frames)
}

/// As [`script`], after the offer.
pub(super) fn go_on(session: &mut OwnedSession, frames: &[&[Ask<'_>]]) -> Outcome {
    let mut last = None;
    for asks in frames {
        if let Err(e) = tell(&session.handoff, asks, &[]) {
            return if is_gone(&e) { Outcome::Dropped } else { Outcome::Refused(e) };
        }
        last = None;
        if matches!(asks.last(), Some(Ask::Rcpt(_) | Ask::Commit { .. } | Ask::Room | Ask::Spool | Ask::Grow)) {
            match hear(&session.handoff) {
                Heard::Dropped => return Outcome::Dropped,
                heard => last = Some(heard),
            }
        }
    }
    // Where no answer is due the end of the channel is.
    last.unwrap_or_else(|| hear(&session.handoff)).into()
}

fn relay(session: &mut OwnedSession, path: &str) -> Outcome {
    let rcpt = Rcpt { forward_path: path.as_bytes(), ..ALICE };
    script(session, &[&[Ask::Mail(MAIL), Ask::Rcpt(rcpt)]])
}

/// A whole transaction, to Alice.
fn commit(session: &mut OwnedSession, mail: Mail<'_>, content: &[u8]) -> Outcome {
    let length = content.len() as u64;
    script(session, &[&[Ask::Mail(mail), Ask::Rcpt(ALICE)], &[Ask::Content(content), Ask::Commit { length }]])
}

/// A frame as it is.
pub(super) fn bare(session: &mut OwnedSession, frame: &[u8]) -> Outcome {
    begin(session);
    match session.handoff.send(frame, &[]) {
        Ok(()) => hear(&session.handoff).into(),
        Err(e) => Outcome::Refused(e),
    }
}

fn garbage(session: &mut OwnedSession) -> Outcome {
    let octets: Vec<u8> = (0..30_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    bare(session, &octets)
}

/// A wait for room after which a channel is taken to be full.
const FULL: Duration = Duration::from_millis(50);

/// The same ask again and again, each in a frame of its own, its answers read or not: the last answer.
fn flood(session: &mut OwnedSession, count: &str, ask: &Ask<'_>, hearing: bool) -> Outcome {
    begin(session);
    let count: usize = count.parse().expect("a number");
    let channel = &session.handoff;
    let mut last = Heard::Offer;
    if matches!(ask, Ask::Rcpt(_)) && tell(channel, &[Ask::Mail(MAIL)], &[]).is_err() {
        return Outcome::Dropped;
    }
    if !hearing {
        // No permitted call makes a descriptor non-blocking.
        channel.set_timeout(FULL).expect("our own channel");
    }
    for _ in 0..count {
        match tell(channel, &[*ask], &[]) {
            Ok(()) if hearing => last = hear(channel),
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(e) if is_gone(&e) => return Outcome::Dropped,
            Err(e) => return Outcome::Refused(e),
        }
        if matches!(last, Heard::Dropped | Heard::Failed(_)) {
            break;
        }
    }
    last.into()
}

/// One transaction after the other, each with these asks after MAIL.
fn begin_again(session: &mut OwnedSession, count: &str, asks: &[Ask<'_>]) -> Outcome {
    begin(session);
    let mut last = Heard::Offer;
    for _ in 0..count.parse().expect("a number") {
        let mut frame = vec![Ask::Reset, Ask::Mail(MAIL)];
        for ask in asks {
            frame.push(*ask);
            if matches!(ask, Ask::Rcpt(_) | Ask::Commit { .. }) {
                last = match tell(&session.handoff, &frame, &[]) {
                    Ok(()) => hear(&session.handoff),
                    Err(e) if is_gone(&e) => Heard::Dropped,
                    Err(e) => Heard::Failed(e),
                };
                frame.clear();
            }
        }
        if matches!(last, Heard::Dropped | Heard::Failed(_)) {
            break;
        }
    }
    last.into()
}

/// A file for the content of a transaction.
fn file(session: &OwnedSession) -> Result<OwnedFd, Outcome> {
    begin(session);
    let envelope = [Ask::Mail(MAIL), Ask::Rcpt(ALICE)];
    tell(&session.handoff, &envelope, &[]).map_err(Outcome::Refused)?;
    match hear(&session.handoff) {
        Heard::Verdict(verdict) if verdict.code == 250 => {}
        other => return Err(other.into()),
    }
    another_file(session)
}

fn another_file(session: &OwnedSession) -> Result<OwnedFd, Outcome> {
    tell(&session.handoff, &[Ask::Spool], &[]).map_err(Outcome::Refused)?;
    match hear(&session.handoff) {
        Heard::Spool(fd) => Ok(fd),
        other => Err(other.into()),
    }
}

/// Writes until the kernel refuses, 1 GB at most.
fn fill(session: &mut OwnedSession) -> Outcome {
    let mut file = match file(session) {
        Ok(fd) => std::fs::File::from(fd),
        Err(outcome) => return outcome,
    };
    let mut written = 0;
    while written < 1 << 30 {
        match file.write(&[b'x'; 64 * 1024]) {
            Ok(length) => written += length,
            Err(e) => return Outcome::Says(format!("{written} octets, then error {}", e.raw_os_error().unwrap_or(0))),
        }
    }
    Outcome::Says(format!("{written} octets"))
}

fn read_back(session: &mut OwnedSession, _: &str) -> Outcome {
    match file(session) {
        Ok(fd) => escape::read_from(fd.as_raw_fd(), &mut [0; 64]).into(),
        Err(outcome) => outcome,
    }
}

fn files(session: &mut OwnedSession, count: &str) -> Outcome {
    if let Err(outcome) = file(session) {
        return outcome;
    }
    for _ in 0..count.parse().expect("a number") {
        let again = [Ask::Reset, Ask::Mail(MAIL), Ask::Rcpt(ALICE)];
        if let Err(e) = tell(&session.handoff, &again, &[]) {
            return Outcome::Refused(e);
        }
        if let (Heard::Dropped, _) | (_, Err(Outcome::Dropped)) = (hear(&session.handoff), another_file(session)) {
            return Outcome::Dropped;
        }
    }
    Outcome::Says(count.to_owned())
}

/// Commits good content in a file, and goes on writing there while it is delivered.
fn change_after_commit(session: &mut OwnedSession, _: &str) -> Outcome {
    let mut file = match file(session) {
        Ok(fd) => std::fs::File::from(fd),
        Err(outcome) => return outcome,
    };
    // Piece by piece: all at once would be more than an owned session can hold.
    let head = b"Subject: s\r\n\r\n".as_slice();
    let body = [&[b'x'; 76][..], b"\r\n"].concat().repeat(800);
    let mut length = 0;
    for piece in std::iter::once(head).chain([body.as_slice(); 16]) {
        if let Err(e) = file.write_all(piece) {
            return Outcome::Refused(e);
        }
        length += piece.len() as u64;
    }
    if let Err(e) = tell(&session.handoff, &[Ask::Commit { length }], &[]) {
        return Outcome::Refused(e);
    }
    for _ in 0..1000 {
        if file.write_all(&[b"\r\n.\r\n", &INJECTED[3..], b"\r\n"].concat()).is_err() {
            break;
        }
    }
    hear(&session.handoff).into()
}

/// A good ask with descriptors beside it.
fn descriptors(session: &mut OwnedSession, count: &str) -> Outcome {
    begin(session);
    let fds = vec![session.client.as_fd(); count.parse().expect("a number")];
    match tell(&session.handoff, &[Ask::Mail(MAIL), Ask::Rcpt(FOREIGN)], &fds) {
        Ok(()) => hear(&session.handoff).into(),
        Err(e) => Outcome::Refused(e),
    }
}

fn flood_of_descriptors(session: &mut OwnedSession, count: &str) -> Outcome {
    begin(session);
    let fds = [session.client.as_fd(); 4];
    let count: usize = count.parse().expect("a number");
    let mut sent = 0;
    while sent < count {
        match tell(&session.handoff, &[Ask::Reset], &fds) {
            Ok(()) => sent += 1,
            // As many as we may have open are under way: the receiver is behind.
            Err(e) if is_crowded(&e) => std::hint::spin_loop(),
            Err(e) if is_gone(&e) => return Outcome::Dropped,
            Err(e) => return Outcome::Refused(e),
        }
    }
    Outcome::Says(sent.to_string())
}
