//! Attempts on the keyholder: a signature over anything but the handshake at hand.

use crate::attempt::{Attempt, Outcome, OwnedSession};
use gatepost_sys::seq::Seq;
use gatepost_wire::link::{OpenKey, SessionId};
use gatepost_wire::session::Ask;
use gatepost_wire::sign::{Sign, Signature};
use gatepost_wire::{FRAME_MAX, Frame, Messages};
use std::io;
use std::os::fd::AsFd;

const ECDSA_P256: u16 = 0x0403;
const CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";
const CLIENT: &[u8] = b"TLS 1.3, client CertificateVerify\0";

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("sign what a handshake needs", |p, _| sign(p, ECDSA_P256, &verify(CONTEXT, 32))),
    ("sign any octets", |p, _| sign(p, ECDSA_P256, b"pay 1000000 to bearer")),
    ("sign nothing", |p, _| sign(p, ECDSA_P256, b"")),
    ("sign as a client of TLS 1.3", |p, _| sign(p, ECDSA_P256, &verify(CLIENT, 32))),
    ("sign with a context of another protocol", |p, _| sign(p, ECDSA_P256, &verify(b"QUIC server\0", 32))),
    ("sign a hash of a wrong length", |p, _| sign(p, ECDSA_P256, &verify(CONTEXT, 31))),
    ("sign what follows a good beginning", |p, _| sign(p, ECDSA_P256, &verify(CONTEXT, 200))),
    ("sign without the padding", |p, _| sign(p, ECDSA_P256, &[CONTEXT, &[7; 32]].concat())),
    ("sign a certificate", |p, _| sign(p, ECDSA_P256, &[&[0x30, 0x82, 0x01, 0x22][..], &[7; 290]].concat())),
    ("sign a TLS 1.2 exchange that pulls others down", |p, _| sign(p, ECDSA_P256, &exchange(&[9; 8]))),
    ("sign a TLS 1.2 exchange with a bad point", |p, _| sign(p, ECDSA_P256, &exchange(b"DOWNGRD\x01")[..99])),
    ("sign with SHA-1", |p, _| sign(p, 0x0203, &verify(CONTEXT, 32))),
    ("sign with a scheme of another key", |p, _| sign(p, 0x0804, &verify(CONTEXT, 32))),
    ("sign with a key that is not there", no_such_key),
    ("sign three times", thrice),
    ("sign twice in one frame", twice_at_once),
    ("sign a message that is too long", |p, _| sign(p, ECDSA_P256, &[7; 600])),
    ("send the keyholder garbage", |p, _| garbage(p)),
    ("send the keyholder a frame that is too long", |p, _| frame(&p.keyholder, &vec![1; FRAME_MAX + 1])),
    ("send the keyholder an empty frame", |p, _| frame(&p.keyholder, &[])),
    ("send the keyholder another version", |p, _| frame(&p.keyholder, &[9, 1, 0, 0, 0, 0])),
    ("open a session at the keyholder", |p, _| {
        frame(
            &p.keyholder,
            Frame::of(&OpenKey { id: SessionId(1), client: std::net::Ipv4Addr::LOCALHOST.into() }).unwrap().bytes(),
        )
    }),
    ("ask the keyholder what handoff is asked", |p, _| frame(&p.keyholder, Frame::of(&Ask::Spool).unwrap().bytes())),
    ("answer the keyholder", |p, _| frame(&p.keyholder, Frame::of(&Signature(&[7; 64])).unwrap().bytes())),
    ("send the keyholder descriptors", |p, count| descriptors(p, count)),
    ("send the keyholder its own channel", own_channel),
];

/// What a server of TLS 1.3 signs, with a context string of choice.
fn verify(context: &[u8], hash: usize) -> Vec<u8> {
    [&[0x20; 64][..], context, &vec![7; hash]].concat()
}

/// What a server of TLS 1.2 signs, with the last octets of its random.
fn exchange(mark: &[u8; 8]) -> Vec<u8> {
    [&[7; 32][..], &[8; 24], mark, &[3, 0, 0x1d, 32], &[5; 32]].concat()
}

fn hear(channel: &Seq) -> Outcome {
    let mut buffer = vec![0; 2048];
    match channel.recv(&mut buffer) {
        Ok(0) => Outcome::Dropped,
        Ok(length) => match Messages::<Signature<'_>>::one(&buffer[..length]) {
            Ok(_) => Outcome::Says("signed".to_owned()),
            Err(e) => Outcome::Says(e.to_string()),
        },
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Outcome::Dropped,
        Err(e) => Outcome::Refused(e),
    }
}

fn frame(channel: &Seq, frame: &[u8]) -> Outcome {
    match channel.send(frame, &[]) {
        Ok(()) => hear(channel),
        Err(e) => Outcome::Refused(e),
    }
}

/// A [`Sign`] whose message may be longer than one of ours can be.
fn sign(session: &mut OwnedSession, scheme: u16, message: &[u8]) -> Outcome {
    let two = |n: usize| u16::try_from(n).expect("a short message").to_le_bytes();
    let head = [&[1][..], &two(1 + 2 + 2 + message.len()), &[0], &scheme.to_le_bytes(), &two(message.len())].concat();
    frame(&session.keyholder, &[&head, message].concat())
}

fn no_such_key(session: &mut OwnedSession, _: &str) -> Outcome {
    let message = verify(CONTEXT, 32);
    frame(&session.keyholder, Frame::of(&Sign { pair: 9, scheme: ECDSA_P256, message: &message }).unwrap().bytes())
}

fn thrice(session: &mut OwnedSession, _: &str) -> Outcome {
    let all: Vec<String> = (0..3).map(|_| sign(session, ECDSA_P256, &verify(CONTEXT, 32)).to_string()).collect();
    Outcome::Says(all.join(" "))
}

fn twice_at_once(session: &mut OwnedSession, _: &str) -> Outcome {
    let message = verify(CONTEXT, 32);
    let sign = Sign { pair: 0, scheme: ECDSA_P256, message: &message };
    let mut both = Frame::of(&sign).unwrap();
    assert!(both.push(&sign).unwrap());
    frame(&session.keyholder, both.bytes())
}

fn garbage(session: &mut OwnedSession) -> Outcome {
    let octets: Vec<u8> = (0..500_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    frame(&session.keyholder, &octets)
}

/// A question that would be answered, with descriptors beside it.
fn descriptors(session: &mut OwnedSession, count: &str) -> Outcome {
    let count: usize = count.parse().expect("a number");
    let message = verify(CONTEXT, 32);
    let question = Frame::of(&Sign { pair: 0, scheme: ECDSA_P256, message: &message }).unwrap();
    let fds = vec![session.client.as_fd(); count];
    match session.keyholder.send(question.bytes(), &fds) {
        Ok(()) => hear(&session.keyholder),
        Err(e) => Outcome::Refused(e),
    }
}

/// Sends a channel over itself: only the kernel's garbage collector for sockets finds that.
fn own_channel(session: &mut OwnedSession, _: &str) -> Outcome {
    let own = session.keyholder.as_fd();
    match session.keyholder.send(&[1], &[own, session.handoff.as_fd()]) {
        Ok(()) => hear(&session.keyholder),
        Err(e) => Outcome::Refused(e),
    }
}
