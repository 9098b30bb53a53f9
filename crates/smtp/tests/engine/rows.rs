//! Every row of `dialogues/`, whole and cut at every octet.

use crate::dialogue::{Transcript, engine};
use gatepost_testkit::dialogue::{Row, prelude, table};

/// Speaks a row; each step goes through `segments`, which cuts it.
fn speak(row: &Row, segments: impl Fn(usize, &[u8]) -> Vec<Vec<u8>>) -> Transcript {
    let mut engine = engine(&row.settings);
    let mut transcript = Transcript::default();
    engine.greet();
    for step in prelude(&row.prelude) {
        transcript.feed(&mut engine, step.as_bytes());
    }
    transcript.feed(&mut engine, b"");
    assert!(!transcript.closed, "{}: the prelude was refused", row.place);
    transcript.clear();
    for (index, step) in row.steps.iter().enumerate() {
        for segment in segments(index, step) {
            transcript.feed(&mut engine, &segment);
        }
    }
    transcript
}

fn whole(_: usize, step: &[u8]) -> Vec<Vec<u8>> {
    vec![step.to_vec()]
}

fn complaint(row: &Row, transcript: &Transcript) -> Option<String> {
    let replies = transcript.heard();
    if replies.len() != row.replies.len() {
        return Some(format!("wanted {} replies, got {replies:#?}", row.replies.len()));
    }
    if let Some(bad) = row.replies.iter().zip(&replies).find_map(|(expected, reply)| expected.complaint(reply)) {
        return Some(bad);
    }
    if row.closes != transcript.closed {
        return Some(format!("closed: {}", transcript.closed));
    }
    match &row.events {
        Some(events) if *events != transcript.events => {
            Some(format!("wanted events {events:?}, got {:?}", transcript.events))
        }
        _ => None,
    }
}

#[test]
fn p9_every_row_gets_its_replies_and_events() {
    let rows = table();
    assert!(rows.len() > 500, "{} rows", rows.len());
    let complaints: Vec<String> = rows
        .iter()
        .filter_map(|row| complaint(row, &speak(row, whole)).map(|complaint| format!("{}: {complaint}", row.place)))
        .collect();
    assert!(complaints.is_empty(), "{} rows fail:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn p9_every_row_cut_at_every_octet_says_the_same() {
    for row in table().iter().filter(|row| !row.settings.iter().any(|setting| setting == "whole")) {
        let expected = speak(row, whole);
        let octets = |_: usize, step: &[u8]| step.iter().map(|octet| vec![*octet]).collect();
        assert_eq!(speak(row, octets), expected, "{}: octet by octet", row.place);
        for (cut_step, step) in row.steps.iter().enumerate() {
            // In the middle of a long one it is filler that is cut.
            let edge = if step.len() > 5000 { 20 } else { 200 };
            for at in (0..step.len()).filter(|at| *at < edge || step.len() - at < edge) {
                let cut = |index: usize, step: &[u8]| {
                    if index == cut_step { vec![step[..at].to_vec(), step[at..].to_vec()] } else { vec![step.to_vec()] }
                };
                assert_eq!(speak(row, cut), expected, "{}: step {cut_step} cut at {at}", row.place);
            }
        }
    }
}

#[test]
fn p10_replies_are_constant_and_name_nobody() {
    for row in table() {
        for reply in speak(&row, whole).replies() {
            assert!(reply.is_ascii() && reply.ends_with("\r\n"), "{}", row.place);
            assert!(reply.lines().all(|line| line.len() <= 510), "{}", row.place);
            assert!(!reply.to_lowercase().contains("gatepost"), "{}: {reply}", row.place);
            for theirs in ["client.test", "foreign.test", "a.test", "u@", "user", "nobody"] {
                let echoes = reply.contains(theirs) && !reply.starts_with("252");
                assert!(!echoes, "{}: {reply}", row.place);
            }
            let refusal = reply.starts_with('4') || reply.starts_with('5');
            assert_eq!(reply.ends_with(" [id-1]\r\n"), refusal, "{}: {reply}", row.place);
        }
    }
}
