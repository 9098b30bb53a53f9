//! A session whose slot is needed for somebody else (P13, issue 9).

use super::rig::{Behaviour, Leave, Rig, client};
use gatepost_smtp::envelope::CloseReason;
use gatepost_wire::slice::TlsMode;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

const GREETED: &[(&str, &str)] = &[("", "220 ")];
const ENVELOPE: &[(&str, &str)] =
    &[("", "220 "), ("EHLO client.example\r\n", "250-"), ("MAIL FROM:<a@client.example>\r\n", "250 ")];
const RCPT: (&str, &str) = ("RCPT TO:<b@example.org>\r\n", "250 ");
const DATA: (&str, &str) = ("DATA\r\n", "354 ");

/// Said wherever the session waits, within content too, and never while the backend may have a message.
#[test]
fn issue_9_a_session_that_is_told_to_leave_says_421_and_leaves() {
    let content = "x\r\n".repeat(20_000);
    for (leave, before, last) in [
        (Leave::AfterOffer, GREETED.to_vec(), ""),
        (Leave::AtRcpt, ENVELOPE.to_vec(), RCPT.0),
        (Leave::AfterRcpt, [ENVELOPE, &[RCPT]].concat(), ""),
        (Leave::AtContent, [ENVELOPE, &[RCPT, DATA]].concat(), &content),
        (Leave::AtCommit, [ENVELOPE, &[RCPT, DATA]].concat(), "mail\r\n.\r\n"),
    ] {
        let rig = Rig::new(TlsMode::Off, Behaviour { leave: Some(leave), ..Behaviour::default() });
        let mut client = client(&rig);
        for (say, hear) in before {
            client.send(say);
            client.hear(hear);
        }
        client.send(last);
        let said = client.reply();
        assert!(said.starts_with("421 4.3.2 "), "{leave:?}: {said}");
        client.closed();
        drop(client);
        let outcome = rig.end();
        assert_eq!((outcome.reason, outcome.delivered), (CloseReason::Reclaimed, false), "{leave:?}");
    }
}

#[test]
fn issue_9_a_session_that_waits_before_its_greeting_can_be_told_to_leave() {
    for (mode, expected) in [(TlsMode::Off, "421 4.3.2 mx.example.org "), (TlsMode::Implicit, "")] {
        let behaviour = Behaviour { leave: Some(Leave::AfterOffer), ..Behaviour::default() };
        let mut rig = Rig::paused(mode, behaviour, Duration::from_secs(60));
        let mut said = String::new();
        rig.client.read_to_string(&mut said).unwrap();
        assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{said:?}");
        assert_eq!(rig.end().reason, CloseReason::Reclaimed);
    }
}

#[test]
fn issue_9_a_client_that_goes_before_its_greeting_is_not_waited_for() {
    let mut rig = Rig::paused(TlsMode::Off, Behaviour::default(), Duration::from_secs(60));
    rig.client.write_all(b"EHLO client.example\r\n").unwrap();
    rig.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.end().reason, CloseReason::ClientGone);
}

#[test]
fn issue_9_a_greeting_can_wait() {
    let mut rig = Rig::paused(TlsMode::Off, Behaviour::default(), Duration::from_millis(60));
    rig.client.set_nonblocking(true).unwrap();
    assert_eq!(rig.client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    rig.client.set_nonblocking(false).unwrap();
    let mut client = client(&rig);
    client.hear("220 ");
    client.send("QUIT\r\n");
    client.hear("221 ");
    drop(client);
    assert_eq!(rig.end().reason, CloseReason::Quit);
}
