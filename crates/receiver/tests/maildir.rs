//! Messages into files.
// Helpers fail a test by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use gatepost_receiver::lmtp::{Envelope, Event, Receiver, Stored};
use gatepost_receiver::maildir::Maildir;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory that is gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("receiver-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn maildir(&self) -> Maildir {
        Maildir::open(&self.0, "mx.test/../:x").unwrap()
    }

    fn names(&self, sub: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(sub)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn new_message(&self) -> String {
        let names = self.names("new");
        assert_eq!(names.len(), 1);
        fs::read_to_string(self.0.join("new").join(&names[0])).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn envelope(from: &str, to: &[&str]) -> Envelope {
    let mut receiver = Receiver::new("mx.test");
    let rcpt: String = to.iter().map(|to| format!("RCPT TO:<{to}>\r\n")).collect();
    let said = format!("LHLO g\r\nMAIL FROM:<{from}>\r\n{rcpt}DATA\r\n");
    assert_eq!(receiver.read(said.as_bytes()), (said.len(), Event::Begin));
    receiver.envelope().unwrap().clone()
}

#[test]
fn a_message_is_written_as_a_delivery_agent_writes_it() {
    let place = Place::new("whole");
    let mut maildir = place.maildir();
    let mut delivery = maildir.begin(&envelope("a@x.test", &["b@y.test", "c@y.test"])).unwrap();
    assert_eq!((place.names("tmp").len(), place.names("new").len()), (1, 0));
    for piece in [&b"Subject: x\r"[..], b"\n\r\nbody\r", b"\nend"] {
        delivery.write(piece).unwrap();
    }
    let name = maildir.commit(delivery).unwrap();
    assert_eq!(
        place.new_message(),
        "Return-Path: <a@x.test>\nDelivered-To: b@y.test\nDelivered-To: c@y.test\nSubject: x\n\nbody\nend"
    );
    assert_eq!(place.names("new"), [name]);
    assert_eq!(place.names("tmp"), [""; 0]);
}

#[test]
fn the_null_reverse_path_stays_null() {
    let place = Place::new("null");
    let mut maildir = place.maildir();
    let delivery = maildir.begin(&envelope("", &["postmaster"])).unwrap();
    maildir.commit(delivery).unwrap();
    assert_eq!(place.new_message(), "Return-Path: <>\nDelivered-To: postmaster\n");
}

#[test]
fn p1_what_is_not_committed_leaves_nothing() {
    let place = Place::new("dropped");
    let mut maildir = place.maildir();
    let mut delivery = maildir.begin(&envelope("", &["b@y.test"])).unwrap();
    delivery.write(&[b'x'; 100_000]).unwrap();
    drop(delivery);
    assert_eq!((place.names("tmp").len(), place.names("new").len()), (0, 0));
}

#[test]
fn p1_leftovers_of_a_killed_receiver_go_and_other_files_stay() {
    let place = Place::new("swept");
    let mut maildir = place.maildir();
    // Killed: no destructor runs.
    std::mem::forget(maildir.begin(&envelope("", &["b@y.test"])).unwrap());
    let others = ["1.R2Q3.host", "x.R0123456789abcdefQ1.h", "1700000000.M1P2.host", "R0123456789abcdefQ1"];
    for name in others {
        fs::write(place.0.join("tmp").join(name), "").unwrap();
    }
    assert_eq!(place.names("tmp").len(), others.len() + 1);
    let _again = place.maildir();
    let mut expected = others;
    expected.sort_unstable();
    assert_eq!(place.names("tmp"), expected);
}

#[test]
fn no_message_takes_another_s_name_or_place() {
    let place = Place::new("names");
    let mut names = Vec::new();
    for _ in 0..3 {
        let mut maildir = place.maildir();
        for _ in 0..10 {
            let delivery = maildir.begin(&envelope("", &["b@y.test"])).unwrap();
            names.push(maildir.commit(delivery).unwrap());
        }
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 30);
    assert!(names.iter().all(|name| name.ends_with(".mx.test..x") && !name.contains([':', '/'])), "{names:?}");
    // A file under the final name, from whomever, is not replaced.
    let mut maildir = place.maildir();
    let delivery = maildir.begin(&envelope("", &["b@y.test"])).unwrap();
    let tmp = place.names("tmp").remove(0);
    fs::write(place.0.join("new").join(&tmp), "first").unwrap();
    assert_eq!(maildir.commit(delivery), Err(Stored::Failed));
    assert_eq!(fs::read_to_string(place.0.join("new").join(&tmp)).unwrap(), "first");
    assert_eq!(place.names("tmp"), [""; 0]);
}

#[test]
fn a_maildir_that_went_away_is_a_failure_for_now() {
    let place = Place::new("gone");
    let mut maildir = place.maildir();
    fs::remove_dir(place.0.join("tmp")).unwrap();
    assert_eq!(maildir.begin(&envelope("", &["b@y.test"])).err(), Some(Stored::Failed));
}

#[test]
fn a_maildir_that_cannot_be_made_says_which() {
    let place = Place::new("file");
    fs::write(place.0.join("plain"), "").unwrap();
    let e = Maildir::open(&place.0.join("plain"), "h").unwrap_err();
    assert!(e.to_string().contains("plain/tmp"), "{e}");
    assert!(Path::new(&place.0).exists());
}
