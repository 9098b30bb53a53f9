#![no_main]
//! Control files, tables, plugins' words, a qmqpd's answer: no panic, and nothing of theirs makes a second line.

use gatepost_policy::patterns::{Subject, check};
use gatepost_qmail::control::{int, line};
use gatepost_qmail::environment::Environment;
use gatepost_qmail::list::{Entry, scan};
use gatepost_qmail::program::Ended;
use gatepost_qmail::queue::{CustomText, verdict};
use gatepost_qmail::received::Received;
use gatepost_qmail::spp::{Phase, Plugin, Plugins, Run, Session};
use gatepost_qmail::{literal, qmqp};
use gatepost_ucspi::cdb::{Cdb, Lookup};
use libfuzzer_sys::fuzz_target;
use std::ops::ControlFlow;

fn is_one_line(text: &str) -> bool {
    !text.contains(|c: char| c.is_ascii_control())
}

fuzz_target!(|input: &[u8]| {
    let mut warnings = Vec::new();
    let _ = (line("me", input, &mut warnings), int("databytes", input, 0, &mut warnings));
    let subject = Subject::new(b"someone@example.org");
    let _ = scan(&mut &*input, &mut |_, entry| {
        if let Entry::Text(entry) = entry {
            let _ = (check(entry), subject.is_denied_by(entry));
        }
        ControlFlow::Continue(())
    });
    let mut address = input.to_vec();
    literal::replace(&mut address, b"mx.example.org", &[[127, 0, 0, 1].into()]);
    let _ = Cdb::new(input).contains(b"example.org");

    let plugin = Plugin::Path(b"p".to_vec());
    let (mut session, mut environment) = (Session::default(), Environment::default());
    let _ = Plugins::parse(input, &mut warnings);
    let mut run = Run::new(&mut session, Phase::Mail);
    let _ = run.plugin(&plugin, input, Ended::Exited(0), &mut environment);
    assert!(run.printed.iter().all(|reply| is_one_line(reply.line())));
    assert!(session.headers().all(|header| !header.contains(&b'\n') && !header.contains(&b'\r')));
    assert!(environment.iter().all(|(name, value)| !name.contains(&0) && !value.iter().any(u8::is_ascii_control)));

    let said = verdict(Ended::Exited(82), true, CustomText { fd4: b"", fd6: input }, 1, 2);
    assert!(is_one_line(said.line()));
    let _ = qmqp::answer(input);
    let mut received = Vec::new();
    let facts = Received {
        host: input,
        helo: Some(input),
        info: Some(input),
        ip: input,
        local: input,
        cipher: None,
        authenticated: false,
        date: 0,
    };
    facts.write(&mut received);
    assert_eq!(received.iter().filter(|octet| **octet == b'\n').count(), 2);
    assert!(warnings.iter().all(|warning| is_one_line(&warning.to_string())));
});
