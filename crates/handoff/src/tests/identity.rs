//! Who the client is, told to the backend; and no mail where that is not certain.

use super::scripted::{Line, backend};
use super::*;
use crate::backend::{LMTP, SMTP, Words};
use crate::identity::{Client, proxy_v2, xclient};
use crate::transaction::Helo;
use gatepost_smtp::client::{Extensions, ReplyReader};
use gatepost_smtp::envelope::Reason;
use gatepost_smtp::names::{ClientNames, Found, HostName};
use gatepost_testkit::rogue::{Deed, Stage};

const POSTFIX: &str = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT";

fn listing(attributes: &str) -> Extensions {
    let said = format!("250-mx.test\r\n250 XCLIENT {attributes}\r\n");
    let (_, reply) = ReplyReader::new().push(said.as_bytes()).unwrap();
    Extensions::from_ehlo(&reply.unwrap())
}

fn commands(address: &str, helo: &str, words: &Words, attributes: &str) -> Option<Vec<String>> {
    let helo = Helo { name: helo.into(), esmtp: true };
    let client = Client {
        address: address.parse().unwrap(),
        counted: [192, 0, 2, 1].into(),
        local: "198.51.100.1:25".parse().unwrap(),
        helo: &helo,
        names: &ClientNames::NONE,
        login: None,
    };
    let commands = xclient(&client, words, &listing(attributes))?;
    Some(commands.into_iter().map(|command| String::from_utf8(command).unwrap()).collect())
}

#[test]
fn xclient_says_what_is_listed_and_the_address_last() {
    let smtp = &SMTP;
    let table: [(&str, &str, &Words, &str, Option<&str>); 9] = [
        (
            "192.0.2.7:4711",
            "cli.test",
            smtp,
            POSTFIX,
            Some(
                "XCLIENT PROTO=ESMTP HELO=cli.test DESTADDR=198.51.100.1 DESTPORT=25 REVERSE_NAME=[UNAVAILABLE] \
                 PORT=4711 NAME=[UNAVAILABLE] LOGIN=[UNAVAILABLE] ADDR=192.0.2.7\r\n",
            ),
        ),
        (
            "[2001:db8::7]:1",
            "[IPv6:2001:db8::7]",
            &LMTP,
            "ADDR PORT PROTO HELO LOGIN SESSION TTL TIMEOUT",
            Some("XCLIENT PROTO=LMTP HELO=[IPv6:2001:db8::7] PORT=1 LOGIN=[UNAVAILABLE] ADDR=IPV6:2001:db8::7\r\n"),
        ),
        ("[::ffff:192.0.2.7]:1", "x", smtp, "ADDR", Some("XCLIENT ADDR=192.0.2.7\r\n")),
        ("192.0.2.7:1", "x", smtp, "addr port", Some("XCLIENT PORT=1 ADDR=192.0.2.7\r\n")),
        ("192.0.2.7:1", "a+b=c d", smtp, "ADDR HELO", Some("XCLIENT HELO=a+2Bb+3Dc+20d ADDR=192.0.2.7\r\n")),
        ("192.0.2.7:1", "", smtp, "ADDR HELO", Some("XCLIENT HELO=[UNAVAILABLE] ADDR=192.0.2.7\r\n")),
        ("192.0.2.7:1", "x", smtp, "NAME PORT HELO", None),
        ("192.0.2.7:1", "x", smtp, "", None),
        ("192.0.2.7:1", "x", smtp, "BOGUS ADDR", Some("XCLIENT ADDR=192.0.2.7\r\n")),
    ];
    for (address, helo, words, attributes, command) in table {
        let expected = command.map(|command| vec![command.to_owned()]);
        assert_eq!(commands(address, helo, words, attributes), expected, "{address} {helo} {attributes}");
    }
}

#[test]
fn issue_15_a_login_is_told_in_one_command_with_the_address() {
    let address = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
    for (helo, login) in [("x", "joe@ok.test"), ("+", "joe"), ("x", &"+".repeat(128)), ("x", &"ü".repeat(64))] {
        let helo = Helo { name: helo.repeat(160).into(), esmtp: true };
        let local = "198.51.100.1:25".parse().unwrap();
        let client = Client {
            address,
            counted: address.ip(),
            local,
            helo: &helo,
            names: &ClientNames::NONE,
            login: Some(login),
        };
        let commands = xclient(&client, &SMTP, &listing(POSTFIX)).unwrap();
        assert!(commands.iter().all(|command| command.len() <= 512), "{login}");
        let last = String::from_utf8(commands.last().unwrap().clone()).unwrap();
        let mut coded = Vec::new();
        gatepost_smtp::xtext::encode(login.as_bytes(), &mut coded);
        let expected =
            format!(" LOGIN={} ADDR=IPV6:2001:db8:1111:2222:3333:4444:5555:6666", String::from_utf8(coded).unwrap());
        assert!(last.trim_end().ends_with(&expected), "{last}");
        assert_eq!(
            xclient(&client, &SMTP, &listing("ADDR HELO")),
            None,
            "a backend that is not told would relay for nobody"
        );
    }
}

#[test]
fn issue_12_no_name_and_nobody_can_say_are_told_apart() {
    let helo = Helo::default();
    let known = || Found::Known(HostName::parse(b"mx.a.test").unwrap());
    for (reverse, confirmed, words) in [
        (known(), known(), "REVERSE_NAME=mx.a.test NAME=mx.a.test"),
        (known(), Found::None, "REVERSE_NAME=mx.a.test NAME=[UNAVAILABLE]"),
        (known(), Found::Temporary, "REVERSE_NAME=mx.a.test NAME=[TEMPUNAVAIL]"),
        (Found::None, Found::None, "REVERSE_NAME=[UNAVAILABLE] NAME=[UNAVAILABLE]"),
        (Found::Temporary, Found::Temporary, "REVERSE_NAME=[TEMPUNAVAIL] NAME=[TEMPUNAVAIL]"),
    ] {
        let names = ClientNames { reverse, confirmed };
        let (address, local) = ("192.0.2.7:1".parse().unwrap(), "198.51.100.1:25".parse().unwrap());
        let client = Client { address, counted: address.ip(), local, helo: &helo, names: &names, login: None };
        let commands = xclient(&client, &SMTP, &listing("REVERSE_NAME NAME ADDR")).unwrap();
        assert_eq!(commands, [format!("XCLIENT {words} ADDR=192.0.2.7\r\n").into_bytes()]);
    }
}

#[test]
fn xclient_is_split_before_512_octets() {
    for helo in ["a".repeat(255), "+".repeat(150), "+".repeat(255)] {
        let commands = commands("[2001:db8:1111:2222:3333:4444:5555:6666]:65535", &helo, &SMTP, POSTFIX).unwrap();
        for command in &commands {
            assert!(command.len() <= 512 && command.starts_with("XCLIENT ") && command.ends_with("\r\n"), "{command}");
        }
        let (last, before) = commands.split_last().unwrap();
        assert!(last.ends_with(" ADDR=IPV6:2001:db8:1111:2222:3333:4444:5555:6666\r\n"));
        assert!(before.iter().all(|command| !command.contains(" ADDR=")));
        assert!(commands.concat().contains(" HELO="));
    }
}

#[test]
fn proxy_v2_as_others_write_it() {
    let hex = |octets: &[u8]| octets.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let signature = "0d0a0d0a000d0a515549540a";
    let v6 = "20010db8000000000000000000000009";
    let table = [
        ("192.0.2.9:4713", "198.51.100.1:25", "2111000cc0000209c633640112690019".to_owned()),
        ("[::ffff:192.0.2.9]:4713", "[::ffff:198.51.100.1]:25", "2111000cc0000209c633640112690019".to_owned()),
        ("192.0.2.9:4713", "[2001:db8::1]:25", "2111000cc00002090000000012690019".to_owned()),
        ("[2001:db8::9]:4713", "[2001:db8::1]:25", format!("21210024{v6}20010db800000000000000000000000112690019")),
        ("[2001:db8::9]:4713", "192.0.2.1:25", format!("21210024{v6}{}12690019", "00".repeat(16))),
    ];
    let helo = Helo::default();
    for (address, local, header) in table {
        let client = Client {
            address: address.parse().unwrap(),
            counted: [192, 0, 2, 1].into(),
            local: local.parse().unwrap(),
            helo: &helo,
            names: &ClientNames::NONE,
            login: None,
        };
        assert_eq!(hex(&proxy_v2(&client)), format!("{signature}{header}"), "{address} {local}");
    }
}

#[test]
fn p4_no_mail_where_xclient_is_not_offered_or_not_understood() {
    let table: [(&[&str], Option<Deed>); 4] = [
        (&["PIPELINING"], None),
        (&["XCLIENT"], None),
        (&["XCLIENT NAME PORT HELO"], None),
        (&["XCLIENT ADDR"], Some(Deed::Answer("501 5.5.4 no IPv6 here\r\n"))),
    ];
    for (extensions, deed) in table {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        mta.offer(extensions);
        if let Some(deed) = deed {
            mta.misbehave(Stage::Xclient, deed);
        }
        let verdict = run(async { Session::begin(&fixture.shared()).await.mail_and("user@ok.test").await });
        assert_eq!((verdict.code, verdict.enhanced, verdict.reason), (451, (4, 3, 5), Reason::IdentityRefused));
        assert!(!mta.lines().iter().any(|line| line.starts_with("MAIL")), "{extensions:?}");
    }
}

#[test]
fn proxy_header_comes_before_the_greeting() {
    let fixture = Fixture::new().with(|slice| slice.backend.identity = Identity::ProxyV2);
    let helo = Helo::default();
    let Open { client, local, .. } = open();
    let header = proxy_v2(&Client {
        address: client,
        counted: client.ip(),
        local,
        helo: &helo,
        names: &ClientNames::NONE,
        login: None,
    });
    let script = vec![
        Line::Octets(header),
        Line::Say("220 mx.test ESMTP\r\n"),
        Line::Hear("EHLO mx.ok.test\r\n"),
        Line::Say("250 mx.test\r\n"),
        Line::Hear("MAIL FROM:<a@b.test>\r\n"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("RCPT TO:<user@ok.test>\r\n"),
        Line::Say("250 Ok\r\n"),
        Line::Hear("DATA\r\n"),
        Line::Say("354 go\r\n"),
        Line::Content,
        Line::Say("250 Ok\r\n"),
    ];
    let backend = backend(&fixture.socket(), vec![script]);
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        assert_eq!(session.send(MESSAGE).await.code, 250);
        session.bye().await;
    });
    backend.join().unwrap();
}

#[test]
fn p4_no_mail_where_the_proxy_header_is_taken_for_commands() {
    let fixture = Fixture::new().with(|slice| slice.backend.identity = Identity::ProxyV2);
    let mta = fixture.mta();
    let verdict = run(async { Session::begin(&fixture.shared()).await.mail_and("user@ok.test").await });
    assert_eq!(verdict.code, 451, "{verdict:?}");
    assert!(!mta.lines().iter().any(|line| line.starts_with("MAIL")), "{:?}", mta.lines());
}
