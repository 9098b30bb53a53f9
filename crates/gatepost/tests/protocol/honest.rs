//! What honest senders do that is not by the letter, through the whole binary: issue 10.

use crate::gate::Gate;
use crate::site::{Site, Way, config};
use gatepost_testkit::host;
use gatepost_testkit::obliging::{EVERYTHING, Message, Obliging};

/// A list with dead addresses on a cached connection, then a program that gets one address wrong in each message.
#[test]
fn issue_10_a_long_session_that_delivers_goes_on() {
    let Some(host) = host::for_test("issue_10_a_long_session_that_delivers_goes_on", &["openssl"]) else { return };
    let site = Site::start(&host, &[]).unwrap();
    for (bad, code, times) in [("RCPT TO:<user@foreign.test>", 550, 110), ("RCPT TO:<user@ok.test", 501, 25)] {
        let before = site.backend.count();
        let mut client = site.client(Way::Plain);
        client.ask("EHLO client.test", 250);
        for _ in 0..times {
            client.ask("MAIL FROM:<s@client.test>", 250);
            client.ask(bad, code);
            client.ask("RCPT TO:<u@ok.test>", 250);
            client.ask("DATA", 354);
            client.ask("Subject: x\r\n\r\nx\r\n.", 250);
        }
        client.ask("QUIT", 221);
        assert_eq!(site.backend.messages(before).len(), times);
    }
    // Whoever delivers nothing has the same bound as ever.
    let mut client = site.client(Way::Plain);
    client.ask("EHLO client.test", 250);
    client.ask("MAIL FROM:<s@client.test>", 250);
    for _ in 0..100 {
        client.ask("RCPT TO:<user@foreign.test>", 550);
    }
    client.ask("RCPT TO:<user@foreign.test>", 421);
    site.stop();
}

/// Lines of any length that end in a lone LF, a CRLF or a dot: as it comes, and as it must go on.
fn lone_lf() -> (Vec<u8>, Vec<u8>) {
    let mut came = b"Subject: lf\n\n".to_vec();
    for n in 0..6000_usize {
        came.extend_from_slice("0123456789abcdef".repeat(n % 7).as_bytes());
        came.extend_from_slice(match n % 5 {
            0 => b"\r\n",
            1 => b"\n.\n",
            2 => b"\n\n",
            3 => b".\r\n",
            _ => b"\n",
        });
    }
    let text = String::from_utf8(came.clone()).unwrap();
    (came, text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes())
}

/// A message by BDAT, in chunks of these sizes in turn.
fn by_chunks(site: &Site<'_>, content: &[u8], sizes: &[usize]) -> Message {
    let before = site.backend.count();
    let mut client = site.client(Way::Plain);
    client.ask("EHLO client.test", 250);
    client.ask("MAIL FROM:<s@client.test>", 250);
    client.ask("RCPT TO:<u@ok.test>", 250);
    let mut rest = content;
    for size in sizes.iter().cycle() {
        let (chunk, later) = rest.split_at(rest.len().min(*size));
        rest = later;
        let last = if rest.is_empty() { " LAST" } else { "" };
        client.write(&[format!("BDAT {}{last}\r\n", chunk.len()).as_bytes(), chunk].concat());
        client.expect(250);
        if rest.is_empty() {
            break;
        }
    }
    client.ask("QUIT", 221);
    site.backend.messages(before).pop().unwrap()
}

/// Content that fits a few frames and content that goes through a file, to a backend by BDAT and to one by DATA.
#[test]
fn p9_issue_10_lone_lf_in_chunks_goes_on_as_crlf() {
    let Some(host) = host::for_test("p9_issue_10_lone_lf_in_chunks_goes_on_as_crlf", &["openssl"]) else { return };
    let (came, wanted) = lone_lf();
    assert!(came.len() > 256 * 1024);
    let chunking = [EVERYTHING, &["CHUNKING"]].concat();
    for extensions in [&chunking[..], EVERYTHING] {
        let site = Site::before(&host, extensions, "starttls", "");
        for sizes in [&[came.len()][..], &[1000, 513, 4097, 65_537], &[777]] {
            let message = by_chunks(&site, &came, sizes);
            assert!(message.accepted && message.content.ends_with(&wanted), "{extensions:?} {sizes:?}");
        }
        for length in [1, 2, 13, 30, 500] {
            let message = by_chunks(&site, &came[..length], &[600]);
            let text = String::from_utf8(came[..length].to_vec()).unwrap().replace("\r\n", "\n");
            let wanted = format!("{}\n", text.strip_suffix('\n').unwrap_or(&text)).replace('\n', "\r\n");
            assert!(message.content.ends_with(wanted.as_bytes()), "{length}: {}", message.content.escape_ascii());
        }
        site.stop();
    }
}

/// RFC 5321 §6.3.
#[test]
fn issue_10_sixty_hops_are_no_loop() {
    let Some(host) = host::for_test("issue_10_sixty_hops_are_no_loop", &["openssl"]) else { return };
    let site = Site::start(&host, &[]).unwrap();
    let mut client = site.client(Way::Plain);
    client.ask("EHLO client.test", 250);
    for (hops, code) in [(60, 250), (101, 554)] {
        client.begin("s@client.test", "u@ok.test");
        let header = "Received: from a.test by b.test; Thu, 26 Nov 2026 10:00:00 +0000\r\n".repeat(hops);
        client.ask(&format!("{header}Subject: x\r\n\r\nx\r\n."), code);
    }
    client.ask("QUIT", 221);
    site.stop();
}

/// `echo QUIT | nc` by a container's health check, as often as it likes; whoever says the same to send mail is another.
#[test]
fn issue_10_a_health_check_earns_its_address_no_penalty() {
    let Some(host) = host::for_test("issue_10_a_health_check_earns_its_address_no_penalty", &["openssl"]) else {
        return;
    };
    host.directory("/run/backend", 0, 0o755);
    let _backend = Obliging::unix(&host.path("/run/backend/smtp"), EVERYTHING);
    let text = config("profile = \"smtp\"\nconnect = \"unix:/run/backend/smtp\"", "off", "");
    let gate = Gate::start(&host, &text.replace("offences = 0", "offences = 30"));
    let greeted = |hello: &str, times: usize| {
        (0..times).all(|_| {
            let mut client = gate.client();
            let greeted = client.reply().code == 220;
            if greeted && !hello.is_empty() {
                client.ask("EHLO client.test", 250);
            }
            let _ = client.try_write(b"QUIT\n");
            client.rest();
            greeted
        })
    };
    assert!(greeted("", 60), "a health check was turned away");
    assert!(!greeted("client.test", 60), "abuse earns a penalty");
    gate.stop();
}
