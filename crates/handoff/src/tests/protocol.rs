//! The state machine alone: whatever comes, in whatever order, it does not panic and commits only recipients that were accepted.

use super::*;
use crate::memory;
use crate::protocol::{Protocol, Step};
use gatepost_policy::share::Origin;
use gatepost_wire::Frame;
use proptest::prelude::*;

/// Any ask, by number.
fn ask(number: u8) -> Ask<'static> {
    match number % 10 {
        0 => Ask::Mail(MAIL),
        1 => to("user@ok.test"),
        2 => Ask::Content(b"x\r\n"),
        3 => Ask::Spool,
        4 => Ask::Commit { length: 3 },
        5 => Ask::Reset,
        6 => Ask::Bye(CloseReason::Quit),
        8 => Ask::Room,
        9 => Ask::Grow,
        _ => Ask::Mail(Mail { reverse_path: b"", ..MAIL }),
    }
}

proptest! {
    #[test]
    fn p4_only_what_was_accepted_is_ever_committed(frames in prop::collection::vec((prop::collection::vec(0u8..10, 1..4), any::<bool>()), 0..20)) {
        let mut protocol = Protocol::new(memory::of(1 << 20), Origin::of([192, 0, 2, 1].into()));
        let mut accepted = 0;
        for (asks, good) in frames {
            let mut frame = Frame::default();
            for number in &asks {
                prop_assert!(frame.push(&ask(*number)).unwrap());
                if matches!(number % 10, 0 | 5 | 7) {
                    accepted = 0;
                }
            }
            match protocol.frame(frame.bytes()) {
                // The session is over.
                Err(_) | Ok(Step::Bye(_)) => break,
                Ok(Step::Nothing | Step::Refused(_)) => {}
                Ok(Step::Rcpt(recipient)) => {
                    protocol.judged(recipient, good);
                    accepted += usize::from(good);
                }
                Ok(Step::Room) => protocol.roomed(good),
                Ok(Step::Spool | Step::Grow) => protocol.filed(good),
                Ok(Step::Commit { transaction, .. }) => {
                    prop_assert!(accepted > 0);
                    prop_assert_eq!(transaction.recipients().len(), accepted);
                    accepted = 0;
                }
            }
        }
    }

    #[test]
    fn frames_of_any_octets_do_no_more_than_end_the_session(frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let mut protocol = Protocol::new(memory::of(1 << 20), Origin::of([192, 0, 2, 1].into()));
        for mut frame in frames {
            if let Some(version) = frame.first_mut() {
                *version = gatepost_wire::VERSION;
            }
            if protocol.frame(&frame).is_err() {
                break;
            }
        }
    }
}
