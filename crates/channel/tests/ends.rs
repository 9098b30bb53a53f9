//! Ends of a channel and what they refuse to send.
#![allow(clippy::unwrap_used, clippy::panic)]

use gatepost_channel::{ChannelError, End, Inbox, Outbox, messages};
use gatepost_wire::session::{Ask, CONTENT_MAX};
use gatepost_wire::{HandoffToSession, SessionToHandoff, WireError};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

#[test]
fn a_message_that_is_too_large_is_not_sent_and_the_sender_hears_of_it() {
    let (session, handoff) = End::<SessionToHandoff, HandoffToSession>::pair().unwrap();
    let long = [b'x'; CONTENT_MAX + 1];
    let told = session.tell(&Ask::Content(&long));
    assert!(matches!(told, Err(ChannelError::Unsendable(WireError::Long("content")))), "{told:?}");
    let mut outbox = Outbox::default();
    let queued = session.queue(&mut outbox, &Ask::Content(&long));
    assert!(matches!(queued, Err(ChannelError::Unsendable(WireError::Long("content")))), "{queued:?}");
    session.queue(&mut outbox, &Ask::Spool).unwrap();
    session.flush(&mut outbox).unwrap();
    assert_eq!(handoff.recv(&mut Inbox::of::<SessionToHandoff>()).unwrap(), Ask::Spool);
}

#[test]
fn what_has_no_room_in_a_frame_goes_into_the_next() {
    let (session, handoff) = End::<SessionToHandoff, HandoffToSession>::pair().unwrap();
    let mut outbox = Outbox::default();
    for octet in [b'a', b'b', b'c'] {
        session.queue(&mut outbox, &Ask::Content(&[octet; CONTENT_MAX / 2])).unwrap();
    }
    session.flush(&mut outbox).unwrap();
    let mut inbox = Inbox::default();
    let mut heard = Vec::new();
    for frame in 0..2 {
        handoff.fill(&mut inbox).unwrap();
        for ask in messages::<SessionToHandoff>(&inbox) {
            let Ok(Ask::Content(octets)) = ask else { panic!("{ask:?}") };
            heard.push((frame, octets.len(), octets.first().copied()));
        }
    }
    assert_eq!(heard, [b'a', b'b', b'c'].map(|octet| (usize::from(octet == b'c'), CONTENT_MAX / 2, Some(octet))));
}

#[test]
fn p6_descriptors_beside_a_message_that_needs_none_are_closed_and_hostile() {
    let (session, handoff) = End::<SessionToHandoff, HandoffToSession>::pair().unwrap();
    let (sent, mut watch) = UnixStream::pair().unwrap();
    session.tell_with(&Ask::Reset, &[sent.as_fd(), sent.as_fd()]).unwrap();
    drop(sent);
    let mut inbox = Inbox::default();
    let heard = handoff.recv(&mut inbox);
    assert!(matches!(heard, Err(ChannelError::Hostile(WireError::Value("descriptors")))), "{heard:?}");
    // Though the inbox is kept.
    assert_eq!(watch.read(&mut [0]).unwrap(), 0);
    drop(inbox);
}
