//! The channel between session and door: what is said is heard, and nothing else is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_smtp::envelope::{Abandoned, CloseReason, Mechanism, Then, Tls};
use gatepost_wire::codec::{Frame, Messages, WireError};
use gatepost_wire::door::{ARGUMENT_MAX, Answer, Ask, Auth, LINES_MAX};
use gatepost_wire::slice::Chain;

#[test]
fn every_message_arrives_as_it_was_sent() {
    let asks = [
        Ask::Jail { entered: true, text: b"a user of its own" },
        Ask::Helo(b"client.example"),
        Ask::Mail(b""),
        Ask::Mail(b"a b@c"),
        Ask::Rcpt(b"c@d"),
        Ask::Data,
        Ask::Content(b"a\nb\0\n"),
        Ask::Commit { length: 4 },
        Ask::Abandon(Abandoned::TooLarge),
        Ask::Abandon(Abandoned::Loop),
        Ask::Reset,
        Ask::Challenge,
        Ask::Auth(Auth { mechanism: Mechanism::CramMd5, user: b"u", password: b"p", challenge: b"<1.2@h>" }),
        Ask::StartTls,
        Ask::Encrypted(Some(Tls { version: 0x0304, suite: 0x1301 })),
        Ask::Encrypted(None),
        Ask::Bye(CloseReason::Quit),
    ];
    for ask in asks {
        assert_eq!(Messages::<Ask<'_>>::one(Frame::of(&ask).bytes()), Ok(ask));
    }
    let chain = Chain { names: vec!["mx.example".to_owned()], certificates: vec![vec![1, 2], vec![3]] };
    for answer in [
        Answer::Reply { lines: b"250 ok\r\n", then: Then::Go },
        Answer::Reply { lines: b"", then: Then::Leave },
        Answer::Chain(chain),
        Answer::Sign,
    ] {
        assert_eq!(Messages::<Answer<'_>>::one(Frame::of(&answer).bytes()), Ok(answer));
    }
}

#[test]
fn p11_no_argument_ends_a_string_in_an_environment_or_envelope() {
    let long = vec![b'a'; ARGUMENT_MAX + 1];
    for argument in [&b"a\0b"[..], b"\0", &long] {
        for ask in [
            Ask::Helo(argument),
            Ask::Mail(argument),
            Ask::Rcpt(argument),
            Ask::Auth(Auth { mechanism: Mechanism::Plain, user: b"u", password: argument, challenge: b"" }),
        ] {
            let frame = Frame::of(&ask);
            assert_eq!(Messages::<Ask<'_>>::one(frame.bytes()), Err(WireError::Value("argument")));
        }
    }
    let frame = Frame::of(&Answer::Reply { lines: &vec![b'a'; LINES_MAX + 1], then: Then::Go });
    assert_eq!(Messages::<Answer<'_>>::one(frame.bytes()), Err(WireError::Value("lines")));
}
