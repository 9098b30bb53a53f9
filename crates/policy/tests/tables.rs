//! Issue 12, point 7: what tables cover, and whom they never keep out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use gatepost_policy::entry::{EntryFault, Form, PATTERNS_MAX, check_entry};
use gatepost_policy::relay::is_literal_of;
use gatepost_policy::senders::Senders;
use gatepost_policy::tables::{Address, Finding, Question, Table, Tables};
use gatepost_ucspi::cdb;
use gatepost_wire::tables::{TableSlice, TablesSlice};
use proptest::prelude::*;

fn address(text: &str) -> Address<'_> {
    let (local_part, domain) = text.rsplit_once('@').map_or((text, None), |(name, domain)| (name, Some(domain)));
    Address { local_part: local_part.as_bytes(), domain: domain.map(str::as_bytes) }
}

fn cdb_of(keys: &[&str]) -> Vec<u8> {
    cdb::make(keys.iter().map(|key| (key.as_bytes(), &b"data"[..]))).unwrap()
}

fn list(entries: &[&str]) -> TableSlice {
    TableSlice { entries: entries.iter().map(|entry| (*entry).to_owned()).collect(), cdb: Vec::new() }
}

#[test]
fn issue_12_an_entry_covers_an_address_a_domain_or_what_is_below() {
    let entries = ["Spam@a.Test", "@b.test", "@.c.test", "/^[0-9]+@d\\.test$/", "\"x y\"@e.test"];
    let plain = &entries[..3];
    let keys: Vec<String> = plain.iter().map(|entry| entry.to_ascii_lowercase()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let listed = Table::new(Form::Address, &entries[..4], Vec::new()).unwrap();
    let database = Table::new(Form::Address, &entries[3..4], cdb_of(&keys)).unwrap();
    for (text, covered) in [
        ("spam@A.test", true),
        ("\"spam\"@a.test", true),
        ("\"sp\\am\"@a.test", true),
        ("spam2@a.test", false),
        ("spam@x.a.test", false),
        ("any@B.TEST", true),
        ("any@x.b.test", false),
        ("any@x.c.test", true),
        ("any@y.x.c.test", true),
        ("any@c.test", false),
        ("123@d.test", true),
        ("x123@d.test", false),
        ("spam", false),
        ("a.test", false),
        ("@", false),
    ] {
        assert_eq!(listed.has_address(&address(text)).unwrap(), covered, "{text}");
        assert_eq!(database.has_address(&address(text)).unwrap(), covered, "{text} in a cdb");
    }
    let helo = Table::new(Form::Helo, ["localhost", ".c.test", "/^\\[?192\\./"], cdb_of(&["b.test"])).unwrap();
    for (text, covered) in [
        ("LOCALHOST", true),
        ("x.c.test", true),
        ("c.test", false),
        ("b.test", true),
        ("x.b.test", false),
        ("[192.0.2.1]", true),
        ("", false),
    ] {
        assert_eq!(helo.has_helo(text.as_bytes()).unwrap(), covered, "{text}");
    }
}

#[test]
fn issue_15_a_database_says_who_may_send_as_whom() {
    let records =
        [("joe", "joe@ok.test, @joe.test"), ("ann@ok.test", "/ann\\+.*@ok\\.test/ %@ann.test"), ("nobody", "")];
    let octets = cdb::make(records.map(|(key, data)| (key.as_bytes(), data.as_bytes()))).unwrap();
    let senders = |cdb| Senders::new(TableSlice { cdb, ..list(&["joe sales@ok.test"]) }).unwrap();
    let whole = senders(octets.clone());
    for (login, address, expected) in [
        ("joe", "joe@ok.test", true),
        ("joe", "x@Joe.test", true),
        ("joe", "sales@ok.test", true),
        ("joe", "ann@ok.test", false),
        ("JOE", "joe@ok.test", false),
        ("ann@ok.test", "ann+x@ok.test", true),
        ("ann@ok.test", "ann@ok.test", false),
        ("nobody", "nobody@ok.test", false),
        ("bob@ok.test", "bob@ok.test", true),
    ] {
        assert_eq!(whole.permits(login, address.as_bytes()).unwrap(), expected, "{login} {address}");
    }
    // Half of it says yes to nobody whom only the rest can know.
    let damaged = senders(octets[..2060].to_vec());
    assert!(damaged.permits("joe", b"sales@ok.test").unwrap());
    assert!(records.iter().any(|(login, _)| damaged.permits(login, b"bob@ok.test").is_err()));
}

#[test]
fn issue_12_what_is_no_entry_is_told() {
    for (entry, fault) in [
        ("", EntryFault::NoAddress),
        ("a.test", EntryFault::NoAddress),
        ("a b@a.test", EntryFault::Octet),
        ("/(/", EntryFault::Pattern("a parenthesis is not closed")),
    ] {
        assert_eq!(check_entry(Form::Address, entry.as_bytes()), Err(fault), "{entry}");
    }
    for entry in ["@", "a@", "a@.b.test", "@..b", "a@b_c..d", "@*.test"] {
        let fault = check_entry(Form::Address, entry.as_bytes());
        assert!(matches!(fault, Err(EntryFault::Domain(_))), "{entry}: {fault:?}");
    }
    let many = vec!["/a/"; PATTERNS_MAX + 1];
    assert_eq!(Table::new(Form::Helo, &many, Vec::new()).unwrap_err(), EntryFault::Patterns);
    assert!(Table::new(Form::Helo, &many[1..], Vec::new()).is_ok());
}

#[test]
fn issue_12_tables_say_what_they_say_and_to_whom() {
    let tables = TablesSlice {
        senders: list(&["bad@road.test"]),
        recipients: list(&["gone@ok.test", "@void.test"]),
        valid: Some(list(&["alice@ok.test", "@all.test"])),
        helo: list(&["localhost"]),
        ..TablesSlice::default()
    };
    let tables = Tables::new(tables).unwrap();
    let (good, bad) = ("good@road.test", "bad@road.test");
    for (helo, sender, recipient, trusted, own, finding) in [
        ("a.test", good, "alice@ok.test", false, true, Finding::Pass),
        ("a.test", good, "\"Alice\"@ok.test", false, true, Finding::Pass),
        ("a.test", good, "bob@ok.test", false, true, Finding::Unknown),
        ("a.test", good, "bob@ok.test", true, true, Finding::Unknown),
        ("a.test", good, "bob@all.test", false, true, Finding::Pass),
        ("a.test", good, "bob@away.test", true, false, Finding::Pass),
        ("a.test", good, "gone@ok.test", true, true, Finding::Recipient),
        ("a.test", good, "x@void.test", false, false, Finding::Recipient),
        ("localhost", good, "alice@ok.test", false, true, Finding::Helo),
        ("localhost", good, "alice@ok.test", true, true, Finding::Pass),
        ("a.test", bad, "alice@ok.test", false, true, Finding::Sender),
        ("a.test", bad, "alice@ok.test", true, true, Finding::Pass),
        // RFC 5321 §4.5.1, RFC 2142: whatever tables say.
        ("localhost", bad, "PostMaster@ok.test", false, true, Finding::Pass),
        ("localhost", bad, "abuse@void.test", false, true, Finding::Pass),
        ("localhost", bad, "postmaster", false, false, Finding::Pass),
        ("localhost", bad, "postmaster@[192.0.2.1]", false, false, Finding::Pass),
    ] {
        let question = Question {
            helo: helo.as_bytes(),
            sender: Some(address(sender)),
            recipient: address(recipient),
            trusted,
            own,
        };
        assert_eq!(tables.judge(&question).unwrap(), finding, "{helo} {sender} {recipient} {trusted}");
        // A bounce has no sender that could be refused.
        let bounce = tables.judge(&Question { sender: None, ..question }).unwrap();
        assert_eq!(bounce, if finding == Finding::Sender { Finding::Pass } else { finding });
    }
}

#[test]
fn issue_12_a_damaged_database_says_nothing() {
    let mut octets = cdb_of(&["alice@ok.test"]);
    octets.truncate(2060);
    let slice =
        TablesSlice { valid: Some(TableSlice { cdb: octets, ..TableSlice::default() }), ..TablesSlice::default() };
    let tables = Tables::new(slice).unwrap();
    let question =
        Question { helo: b"a", sender: None, recipient: address("alice@ok.test"), trusted: false, own: true };
    assert!(tables.judge(&question).is_err(), "neither refused for good nor accepted");
}

#[test]
fn issue_12_the_literal_of_an_address_is_known_in_each_form() {
    for (literal, own, is) in [
        ("[192.0.2.1]", "192.0.2.1", true),
        ("[192.0.2.1]", "192.0.2.2", false),
        ("[IPv6:2001:DB8::1]", "2001:db8::1", true),
        ("[ipv6:2001:db8:0::1]", "2001:db8::1", true),
        ("[2001:db8::1]", "2001:db8::1", false),
        ("[IPv6:::ffff:192.0.2.1]", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.1", false),
        ("[]", "192.0.2.1", false),
    ] {
        assert_eq!(is_literal_of(literal.as_bytes(), own.parse().unwrap()), is, "{literal}");
    }
}

proptest! {
    #[test]
    fn issue_12_a_list_and_a_database_of_the_same_say_the_same(
        entries in proptest::collection::vec("([ab]{1,2})?@\\.?[ab](\\.[ab]){0,2}", 0..6),
        text in "[abAB]{1,2}@[ab](\\.[ab]){0,3}",
    ) {
        let sound: Vec<&str> =
            entries.iter().map(String::as_str).filter(|entry| check_entry(Form::Address, entry.as_bytes()).is_ok()).collect();
        let listed = Table::new(Form::Address, &sound, Vec::new()).unwrap();
        let database = Table::new(Form::Address, [""; 0], cdb_of(&sound)).unwrap();
        let found = listed.has_address(&address(&text)).unwrap();
        prop_assert_eq!(found, database.has_address(&address(&text)).unwrap());
        // By the sentences of the table in the module's text.
        let text = text.to_ascii_lowercase();
        let domain = text.split_once('@').unwrap().1;
        let covers = |entry: &&str| match entry.strip_prefix('@') {
            Some(below) if below.starts_with('.') => domain.ends_with(below),
            Some(whole) => domain == whole,
            None => text == **entry,
        };
        prop_assert_eq!(found, sound.iter().any(covers));
    }
}
