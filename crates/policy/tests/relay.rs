//! The relay judgement against everything that has ever made an open relay.
#![allow(clippy::unwrap_used)] // Functions shared by tests, too.

use gatepost_policy::relay::{DomainFault, Judgement, Relay, RelayTable, check_entry, judge};
use proptest::prelude::*;
use std::net::IpAddr;

const STRANGER: &str = "203.0.113.50";
const FRIEND: &str = "192.0.2.77";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Relay domain `ok.test` and everything below `sub.test`; friends in 192.0.2.64/26.
fn relay() -> Relay {
    Relay {
        domains: RelayTable::new(["ok.test", ".sub.test"]).unwrap(),
        clients: vec!["192.0.2.64/26".parse().unwrap(), "2001:db8:f::/48".parse().unwrap()],
        any_domain: false,
    }
}

/// The open-relay set: what a parser can make of each path, most permissive reading first. All must be refused.
const OPEN_RELAY: &[(&str, Option<&str>)] = &[
    ("user", Some("foreign.test")),
    ("\"user@foreign.test\"", None),
    ("user%foreign.test", None),
    ("user%foreign.test", Some("ok.test")),
    ("user%foreign.test", Some("[192.0.2.1]")),
    ("user%foreign.test", Some("mx.ok.test")),
    ("\"user%foreign.test\"", None),
    ("\"user%foreign.test\"", Some("ok.test")),
    ("foreign.test!user", None),
    ("foreign.test!user", Some("ok.test")),
    ("foreign.test!user", Some("[192.0.2.1]")),
    ("\"foreign.test!user\"", Some("ok.test")),
    ("@ok.test:user", Some("foreign.test")),
    ("@[192.0.2.1]:user", Some("foreign.test")),
    ("@foreign.test:u", Some("ok.test")),
    ("user@foreign.test", Some("ok.test")),
    ("user", Some("foreign.test@ok.test")),
    ("user@foreign.test", Some("[192.0.2.1]")),
    ("\"user@foreign.test\"", Some("ok.test")),
    ("ok.test!foreign.test!user", None),
    ("user:foreign.test", None),
    ("user", Some("foreign.test.")),
    ("user", Some("FOREIGN.TEST")),
    ("user", Some("foreign.test\0@ok.test")),
    ("user@foreign.test\0", Some("ok.test")),
    ("user", Some("foreign.test\n@ok.test")),
    ("user@foreign.test\n", Some("ok.test")),
    ("user", Some("[203.0.113.9]")),
    ("user", Some("203.0.113.9")),
    ("user", Some("[IPv6:2001:db8::9]")),
    ("user", Some("ok.test.foreign.test")),
    ("user", Some("xok.test")),
    ("user", Some(".ok.test")),
    (" user", Some("foreign.test ")),
    (" user", Some("ok.test")),
    ("<user", Some("foreign.test>")),
    ("<user", Some("ok.test")),
    ("user", Some("foreign.test> <u@ok.test")),
    ("user@foreign.test> <u", Some("ok.test")),
    ("user", Some("ok.test> ORCPT=rfc822;user@foreign.test")),
    // Beyond the classic set: what a wrong match of the table itself would let through.
    ("user", Some("ok.test.")),
    ("user", Some("ok.test..")),
    ("user", Some("ok..test")),
    ("user", Some("ok.test\r\nRCPT TO:<user@foreign.test")),
    ("user\r\nRCPT TO:<user", Some("ok.test")),
    ("user", Some("k.test")),
    ("user", Some("test")),
    ("user", Some("")),
    ("user", Some(".")),
    ("user", Some("ok\u{ff0e}test")),
    ("user", Some("o\u{212a}.test")),
    ("user", Some("sub.test")),
    ("user", Some(".sub.test")),
    ("user", Some("a..sub.test")),
    ("user", Some("foreign.test/.sub.test")),
    ("user", Some("foreign.test,.sub.test")),
    ("user", Some("foreign.test%.sub.test")),
    ("user", Some("xsub.test")),
    ("user", Some("-.sub.test")),
    ("user", None),
    ("", None),
    ("", Some("ok.test")),
    ("postmaster@foreign.test", None),
    ("postmaster%foreign.test", Some("ok.test")),
    ("postmaster", Some("foreign.test")),
];

#[test]
fn p4_open_relay_set_is_refused() {
    let relay = relay();
    for client in [STRANGER, "127.0.0.1", "::1", "2001:db8::9", "::ffff:203.0.113.50", "192.0.2.1"] {
        for (local_part, domain) in OPEN_RELAY {
            let judgement = judge(local_part.as_bytes(), domain.map(str::as_bytes), ip(client), &relay);
            assert_ne!(judgement, Judgement::Allow, "{local_part:?} {domain:?} from {client}");
        }
    }
}

#[test]
fn p4_mail_for_our_domains_is_taken() {
    let relay = relay();
    for (local_part, domain) in [
        ("u", Some("ok.test")),
        ("U", Some("OK.Test")),
        ("\"a b\"", Some("ok.test")),
        ("a+b/c=d", Some("ok.test")),
        ("u", Some("a.sub.test")),
        ("u", Some("a.b.SUB.test")),
        ("u", Some("a_b.sub.test")),
        ("u", Some("1.sub.test")),
        ("jürgen", Some("ok.test")),
        ("postmaster", Some("ok.test")),
        ("postmaster", None),
        ("POSTMASTER", None),
    ] {
        let judgement = relay.judge(local_part.as_bytes(), domain.map(str::as_bytes), ip(STRANGER));
        assert_eq!(judgement, Judgement::Allow, "{local_part:?} {domain:?}");
    }
}

#[test]
fn p4_the_reason_is_told_apart() {
    use Judgement::{BadLocalPart, RelayDenied};
    let relay = relay();
    for (local_part, domain, expected) in [
        ("user", Some("foreign.test"), RelayDenied),
        ("user%foreign.test", Some("foreign.test"), RelayDenied),
        ("user%foreign.test", Some("ok.test"), BadLocalPart),
        ("|/bin/sh", Some("ok.test"), BadLocalPart),
        ("user", None, RelayDenied),
    ] {
        assert_eq!(
            relay.judge(local_part.as_bytes(), domain.map(str::as_bytes), ip(STRANGER)),
            expected,
            "{local_part}"
        );
    }
}

#[test]
fn p4_clients_that_may_relay() {
    use Judgement::{Allow, BadLocalPart, RelayDenied};
    let relay = relay();
    for (client, local_part, domain, expected) in [
        (FRIEND, "user", "foreign.test", Allow),
        ("::ffff:192.0.2.77", "user", "foreign.test", Allow),
        ("2001:db8:f:1::1", "user", "foreign.test", Allow),
        (FRIEND, "user", "[203.0.113.9]", Allow),
        (FRIEND, "user", "[IPv6:2001:db8::9]", Allow),
        (FRIEND, "user%far.test", "foreign.test", Allow),
        (FRIEND, "|/bin/sh", "ok.test", BadLocalPart),
        (FRIEND, ":include:/etc/shadow", "foreign.test", BadLocalPart),
        (FRIEND, "user\r\n", "foreign.test", BadLocalPart),
        (FRIEND, "user", "foreign.test\r\n", RelayDenied),
        (FRIEND, "user", "foreign.test.", RelayDenied),
        (FRIEND, "user", "[]", RelayDenied),
        (FRIEND, "user", "[1]\r\n[2]", RelayDenied),
        ("192.0.2.63", "user", "foreign.test", RelayDenied),
        ("192.0.2.128", "user", "foreign.test", RelayDenied),
        ("2001:db8:e:ffff::1", "user", "foreign.test", RelayDenied),
        ("::192.0.2.77", "user", "foreign.test", RelayDenied),
    ] {
        let judgement = relay.judge(local_part.as_bytes(), Some(domain.as_bytes()), ip(client));
        assert_eq!(judgement, expected, "{client} {local_part:?} {domain:?}");
    }
    assert_eq!(relay.judge(b"user", None, ip(FRIEND)), RelayDenied);
}

#[test]
fn any_domain_still_refuses_what_could_be_routed_on() {
    let relay = Relay { any_domain: true, ..Relay::default() };
    for (local_part, domain, expected) in [
        ("you", "anything.example", Judgement::Allow),
        ("you", "[192.0.2.1]", Judgement::Allow),
        ("you%far.test", "anything.example", Judgement::BadLocalPart),
        ("you", "any\nthing", Judgement::RelayDenied),
    ] {
        assert_eq!(relay.judge(local_part.as_bytes(), Some(domain.as_bytes()), ip(STRANGER)), expected, "{domain}");
    }
}

#[test]
fn faulty_entries_say_what_is_wrong() {
    let long_label = format!("{}.test", "a".repeat(64));
    let long = format!("{}test", "a.".repeat(126));
    for (entry, fault) in [
        ("", DomainFault::Empty),
        (".", DomainFault::Empty),
        ("..a", DomainFault::EmptyLabel),
        ("a..b", DomainFault::EmptyLabel),
        ("a.b.", DomainFault::TrailingDot),
        ("*.example.net", DomainFault::Wildcard),
        ("@example.net", DomainFault::Mailbox),
        ("user@example.net", DomainFault::Mailbox),
        ("192.0.2.1", DomainFault::Address),
        ("[192.0.2.1]", DomainFault::Address),
        ("2001:db8::1", DomainFault::Address),
        ("a b.example", DomainFault::Octet(b' ')),
        ("a\0.example", DomainFault::Octet(0)),
        ("-a.example", DomainFault::Hyphen),
        ("a-.example", DomainFault::Hyphen),
        (long_label.as_str(), DomainFault::LongLabel),
        (long.as_str(), DomainFault::Long),
    ] {
        assert_eq!(check_entry(entry.as_bytes()), Err(fault), "{entry}");
        assert_eq!(RelayTable::new(["fine.test", entry]), Err(fault), "{entry}");
    }
}

#[test]
fn a_table_of_100_000_domains_is_compact_and_exact() {
    let domains: Vec<String> = (0..100_000).map(|n| format!("Host{n}.Example{}.test", n % 7)).collect();
    let table = RelayTable::new(domains.iter().chain(domains.iter().take(10))).unwrap();
    assert_eq!(table.len(), domains.len());
    for domain in &domains {
        assert!(table.covers(domain) && table.covers(domain.to_ascii_lowercase()), "{domain}");
        assert!(!table.covers(format!("x{domain}")) && !table.covers(format!("x.{domain}")), "{domain}");
    }
}

proptest! {
    #[test]
    fn p4_table_agrees_with_a_plain_list(
        entries in proptest::collection::vec("\\.?[abAB]{1,2}(\\.[abAB]{1,2}){0,3}", 0..12),
        asked in "[abAB.]{0,12}",
    ) {
        let table = RelayTable::new(&entries).unwrap();
        let asked_lower = asked.to_lowercase();
        let well_formed = !asked.is_empty() && asked.split('.').all(|label| !label.is_empty());
        let expected = well_formed && entries.iter().map(|e| e.to_lowercase()).any(|entry| {
            if entry.starts_with('.') { asked_lower.ends_with(&entry) } else { asked_lower == entry }
        });
        prop_assert_eq!(table.covers(&asked), expected);
    }

    #[test]
    fn p4_no_octets_make_a_stranger_relay(local in any::<Vec<u8>>(), domain in any::<Vec<u8>>()) {
        let judgement = judge(&local, Some(&domain), ip(STRANGER), &relay());
        if judgement == Judgement::Allow {
            prop_assert!(domain.eq_ignore_ascii_case(b"ok.test") || domain.to_ascii_lowercase().ends_with(b".sub.test"));
            prop_assert!(!local.iter().chain(&domain).any(|b| b.is_ascii_control()));
        }
    }

    #[test]
    fn p4_no_local_part_smuggles_a_host(local in "\"?[a%!@:|/. \\\\\"-]{0,8}\"?") {
        if judge(local.as_bytes(), Some(b"ok.test"), ip(STRANGER), &relay()) == Judgement::Allow {
            prop_assert!(!local.contains(['%', '!', '@', ':']), "{}", local);
            prop_assert!(local.starts_with(['a', '"']), "{}", local);
        }
    }
}
