//! sendmail's command line and messages: nothing panics; what is sent is canonical, and names no recipient that the header did not;
//! a dialogue's commands are lines without a CR or LF inside.
#![no_main]

use gatepost_sendmail::dialogue::{Dialogue, Next, Submission};
use gatepost_sendmail::message::Message;
use gatepost_sendmail::options::{Invocation, Mode};
use gatepost_smtp::client::ReplyReader;
use libfuzzer_sys::fuzz_target;

const REPLIES: [&[u8]; 7] = [
    b"220 mx.test\r\n",
    b"250-mx.test\r\n250-SMTPUTF8\r\n250 DSN\r\n",
    b"250 a\r\n",
    b"250 b\r\n",
    b"250 c\r\n",
    b"354 d\r\n",
    b"250 e\r\n",
];

fuzz_target!(|input: &[u8]| {
    let arguments: Vec<Vec<u8>> = input.split(|octet| *octet == b'\n').take(8).map(<[u8]>::to_vec).collect();
    let invocation = Invocation::parse(&arguments, Mode::Deliver);
    let dots = invocation.is_ok_and(|invocation| invocation.dots);
    let message = Message::read(input, dots);
    let Ok(mut recipients) = message.recipients() else { return };
    recipients.truncate(2);
    if recipients.is_empty() {
        return;
    }
    let mut dialogue = Dialogue::new(Submission {
        sender: recipients.first().cloned().unwrap_or_default(),
        recipients,
        message: Some(message),
        user: b"joe".to_vec(),
        full_name: input.iter().take(60).copied().collect(),
        host: None,
        seconds: 0,
        unique: 1,
        seven_bit: false,
        notify: None,
        ret: None,
        envid: None,
    });
    let mut content_next = false;
    for reply in REPLIES {
        let (_, reply) = ReplyReader::new().push(reply).expect("a reply");
        match dialogue.replied(&reply.expect("whole")) {
            Next::Over(..) => return,
            Next::Send(octets) if content_next => {
                assert!(octets.ends_with(b"\r\n.\r\n"));
                let end = octets.windows(5).position(|window| window == b"\r\n.\r\n");
                assert_eq!(end, Some(octets.len() - 5), "an end within the content");
            }
            Next::Send(octets) => {
                let line = octets.strip_suffix(b"\r\n").expect("a line");
                assert!(!line.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)), "a command within a command");
                content_next = line == b"DATA";
            }
        }
    }
});
