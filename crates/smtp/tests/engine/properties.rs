//! What holds for any octets at all, in any segmentation.

use crate::dialogue::{Transcript, engine};
use gatepost_smtp::address::{Domain, ForwardPath, ReversePath, Rules};
use gatepost_smtp::client::{BadReply, Reply, ReplyReader};
use gatepost_smtp::data::{BareLf, Framing, Piece, Purity, Scanner, Stuffer};
use gatepost_smtp::received::{Received, Said, With};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Octets out of the words of the protocol, the odd ones among them more often than by chance.
fn spoken() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: [&[u8]; 48] = [
        b"EHLO a.test\r\n",
        b" MAIL FROM:\t< s@client.test. >\tENVID=a=b\r\n",
        b"RCPT TO : <u@ok.test.> ORCPT=rfc822;a+2bb\r\n",
        b"BDAT 6 LAST\r\n\n.\n",
        b"BDAT 2\r\n\n\n",
        b"HELO a\r\n",
        b"MAIL FROM:<s@client.test>\r\n",
        b"MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
        b"MAIL FROM:<s\xc3\xa9@client.test> SMTPUTF8\r\n",
        b"MAIL FROM:",
        b"RCPT TO:<u@ok.test>\r\n",
        b"RCPT TO:<no@ok.test>\r\n",
        b"RCPT TO:<bye@ok.test>\r\n",
        b"RCPT TO:<u@foreign.test> NOTIFY=NEVER\r\n",
        b"RCPT TO:",
        b"DATA\r\n",
        b"BDAT 0 LAST\r\n",
        b"BDAT 3 LAST\r\n",
        b"BDAT 1\r\n",
        b"BDAT 7\r\n",
        b"BDAT ",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"VRFY x\r\n",
        b"HELP\r\n",
        b"EXPN x\r\n",
        b"STARTTLS\r\n",
        b"QUIT\r\n",
        b"GET / HTTP/1.1\r\n",
        b"refuse\r\n",
        b"text ",
        b"\r\n.\r\n",
        b"\r\n..\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b".",
        b"\0",
        b"\xff",
        b"<a@b>",
        b"\"",
        b"\\",
        b" ",
        b"\t",
        b"[IPv6:::1]",
        b"9",
        b"@",
        b">",
    ];
    prop::collection::vec(select(&WORDS[..]), 0..60).prop_map(|words| words.concat())
}

/// A dialogue that gets as far as content more often than not.
fn dialogue() -> impl Strategy<Value = Vec<u8>> {
    const OPENINGS: [&[u8]; 4] = [
        b"",
        b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<u@ok.test>\r\n",
        b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<u@ok.test>\r\nDATA\r\n",
        b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<u@ok.test>\r\nBDAT 40\r\n",
    ];
    (select(&OPENINGS[..]), spoken()).prop_map(|(opening, rest)| [opening, &rest].concat())
}

fn settings() -> impl Strategy<Value = Vec<String>> {
    const SETTINGS: [&str; 17] = [
        "strict",
        "normalize",
        "refuse-lf",
        "closing",
        "lf-commands",
        "no-helo",
        "no-offer",
        "no-8bit",
        "size=30",
        "rcptmax=1",
        "line=12",
        "errors=3",
        "noops=2",
        "tiny=2",
        "chunks=2",
        "discard=50",
        "surplus=1",
    ];
    prop::sample::subsequence(&SETTINGS[..], 0..5).prop_map(|chosen| {
        // What is typed ahead of TLS depends on the segments by design: it has rows of its own.
        chosen.into_iter().chain(["no-starttls"]).map(str::to_owned).collect()
    })
}

fn cut<'a>(octets: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
    at.sort_unstable();
    let mut segments = Vec::new();
    let mut from = 0;
    for to in at.into_iter().chain([octets.len()]) {
        segments.push(&octets[from..to]);
        from = to;
    }
    segments
}

fn speak(settings: &[String], segments: &[&[u8]]) -> Transcript {
    let mut engine = engine(settings);
    let mut transcript = Transcript::default();
    engine.greet();
    for segment in segments {
        transcript.feed(&mut engine, segment);
    }
    transcript.feed(&mut engine, b"");
    transcript
}

/// The reading of DATA as the RFC has it, without care for speed: where it ends, what it holds, whether it is pure.
fn naive_data(stream: &[u8]) -> (Option<usize>, Vec<u8>, bool) {
    let with_start = [b"\r\n", stream].concat();
    let end = with_start.windows(5).position(|window| window == b"\r\n.\r\n");
    let raw = &with_start[..end.map_or(with_start.len(), |end| end + 2)];
    let mut content = Vec::new();
    for (at, &octet) in raw.iter().enumerate().skip(2) {
        let stuffed = octet == b'.' && &raw[at - 2..at] == b"\r\n";
        if !stuffed {
            content.push(octet);
        }
    }
    (end.map(|end| end + 3), content, is_pure(&raw[2..]))
}

fn is_pure(octets: &[u8]) -> bool {
    let pairs = octets.windows(2).all(|pair| (pair[0] == b'\r') == (pair[1] == b'\n'));
    pairs && octets.first() != Some(&b'\n') && octets.last() != Some(&b'\r') && !octets.contains(&0)
}

/// Content with CRLF for each lone LF, and at its end; none where a CR or a NUL is left that no line end explains.
fn naive_chunks(octets: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for (at, &octet) in octets.iter().enumerate() {
        if octet == b'\n' && (at == 0 || octets[at - 1] != b'\r') {
            content.push(b'\r');
        }
        content.push(octet);
    }
    if !content.is_empty() && !content.ends_with(b"\r\n") && !content.ends_with(b"\r") {
        content.extend_from_slice(b"\r\n");
    }
    is_pure(&content).then_some(content)
}

/// Scans to the end: octets consumed if it ended, content, purity.
fn scan(segments: &[&[u8]], framing: Framing, bare_lf: BareLf) -> (Option<usize>, Vec<u8>, bool) {
    let mut scanner = Scanner::new(framing, bare_lf, None);
    let (mut read, mut content) = (0, Vec::new());
    for segment in segments {
        let mut rest = *segment;
        loop {
            let (taken, piece) = scanner.scan(rest);
            rest = &rest[taken..];
            read += taken;
            match piece {
                Piece::Content(octets) => content.extend_from_slice(octets),
                Piece::End => return (Some(read), content, scanner.impure().is_none()),
                Piece::Starved => break,
            }
        }
        assert!(rest.is_empty());
    }
    let pure = scanner.finish().is_ok();
    (None, content, pure)
}

/// Content made of what matters: line ends, dots, blocks longer than the scanner's.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => select(&["\r\n", ".", "x", "\r\n.", "\r\n..", "\r\n.\r\n", "some text", "\r\n\r\n"][..]).prop_map(str::to_owned),
        1 => select(&["\r", "\n", "\0", ".\r", ".\n"][..]).prop_map(str::to_owned),
        1 => (1usize..40).prop_map(|lines| "a line of ordinary length, as in most of the mail\r\n".repeat(lines)),
        1 => (200usize..600).prop_map(|length| "y".repeat(length)),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

fn replies(segments: &[&[u8]]) -> Result<Vec<Reply>, BadReply> {
    let mut reader = ReplyReader::new();
    let mut replies = Vec::new();
    for segment in segments {
        let mut rest = *segment;
        while !rest.is_empty() {
            let (taken, reply) = reader.push(rest)?;
            assert!(taken > 0);
            rest = &rest[taken..];
            replies.extend(reply);
        }
    }
    Ok(replies)
}

/// Blocks are looked at as wholes: what matters is put on every place around their edges, and so are the cuts.
#[test]
fn p9_nothing_hides_at_the_edge_of_a_block() {
    const TAILS: [&str; 12] = [
        "\r\n.\r\n",
        "\r\n..\r\n.\r\n",
        "\r\n.y\r\n.\r\n",
        "\n.\r\n",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r\r\n",
        "\r\r\n.\r\n",
        "\0\r\n.\r\n",
        "\r\n\r\n.\r\n",
        "\r\n\r\r\n.\r\n",
        ".\r\n.\r\n",
    ];
    for (tail, edge) in TAILS.iter().flat_map(|tail| [256, 512].map(|edge| (tail, edge))) {
        for at in edge - 8..edge + 3 {
            let stream = [&b"x".repeat(at)[..], tail.as_bytes(), &b"z".repeat(600)].concat();
            let (end, content, pure) = naive_data(&stream);
            for cut in (0..2).chain(edge - 8..edge + 12) {
                let scanned = scan(&[&stream[..cut], &stream[cut..]], Framing::Dots, BareLf::Refuse);
                assert_eq!((scanned.0, scanned.2), (end, pure), "{tail:?} at {at} cut at {cut}");
                assert!(!pure || scanned.1 == content);
                let normalized = scan(&[&stream[..cut], &stream[cut..]], Framing::Dots, BareLf::Normalize);
                assert_eq!(normalized.0, end, "{tail:?} at {at} cut at {cut}");
            }
        }
    }
}

/// `PROPTEST_CASES` may ask for more.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(1000), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn p9_any_segmentation_has_the_same_events(octets in dialogue(), settings in settings(), cuts: [Index; 6]) {
        let whole = speak(&settings, &[&octets]);
        let pieces = speak(&settings, &cut(&octets, &cuts));
        prop_assert_eq!(&whole, &pieces);
        let single: Vec<&[u8]> = octets.chunks(1).collect();
        prop_assert_eq!(&whole, &speak(&settings, &single));
    }

    #[test]
    fn p9_raw_octets_never_upset_the_engine(octets: Vec<u8>, cuts: [Index; 3], settings in settings()) {
        let whole = speak(&settings, &[&octets]);
        prop_assert_eq!(whole, speak(&settings, &cut(&octets, &cuts)));
    }

    #[test]
    fn p9_the_scanner_reads_as_the_rfc_has_it(stream in content(), cuts: [Index; 4]) {
        let (end, content, pure) = naive_data(&stream);
        let scanned = scan(&cut(&stream, &cuts), Framing::Dots, BareLf::Refuse);
        prop_assert_eq!(scanned.0, end);
        prop_assert!(!scanned.2 || pure, "impure content passed");
        if pure && end.is_some() {
            prop_assert_eq!(scanned.1, content);
            prop_assert!(scanned.2, "pure content was refused");
        }
    }

    #[test]
    fn p9_length_framed_content_is_judged_alike(octets in content(), cuts: [Index; 4]) {
        let segments = cut(&octets, &cuts);
        let scanned = scan(&segments, Framing::Length, BareLf::Refuse);
        prop_assert_eq!(scanned.2, is_pure(&octets));
        if scanned.2 {
            prop_assert_eq!(scanned.1, octets.clone());
        }
        let mut purity = Purity::new();
        let pushed: Result<Vec<()>, _> = segments.iter().map(|segment| purity.push(segment)).collect();
        let judged = pushed.and_then(|_| purity.finish());
        prop_assert_eq!(judged.is_ok(), is_pure(&octets));
        if let Ok(missing) = judged {
            prop_assert_eq!(missing, !octets.is_empty() && !octets.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn p9_normalized_content_is_canonical_and_ends_at_crlf_dot_crlf(stream in content(), cuts: [Index; 4]) {
        let (end, content, pure) = scan(&cut(&stream, &cuts), Framing::Dots, BareLf::Normalize);
        prop_assert_eq!(end, naive_data(&stream).0);
        prop_assert_eq!((end, content.clone(), pure), scan(&[&stream], Framing::Dots, BareLf::Normalize));
        if pure && end.is_some() {
            prop_assert!(is_pure(&content));
        }
    }

    #[test]
    fn p9_issue_10_chunks_with_lone_lf_become_canonical_wherever_they_are_cut(
        octets in content(), cuts: [Index; 4], reads: [Index; 4],
    ) {
        let mut session = b"EHLO a.test\r\nMAIL FROM:<>\r\nRCPT TO:<u@ok.test>\r\n".to_vec();
        for chunk in cut(&octets, &cuts) {
            session.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
            session.extend_from_slice(chunk);
        }
        session.extend_from_slice(b"BDAT 0 LAST\r\nRSET\r\n");
        let settings = ["size=1000000".to_owned(), "tiny=10".to_owned()];
        let heard = speak(&settings, &cut(&session, &reads));
        let wanted = naive_chunks(&octets);
        let ends: Vec<String> = heard.events.iter().filter(|event| event.starts_with("end ")).cloned().collect();
        match &wanted {
            Some(content) => prop_assert_eq!(ends, vec![format!("end {}", content.len())]),
            None => prop_assert!(ends.is_empty() && heard.events.iter().any(|event| event == "reset")),
        }
        let content = heard.events.iter().find_map(|event| event.strip_prefix("content "));
        let wanted = wanted.filter(|content| !content.is_empty());
        prop_assert_eq!(content.map(str::to_owned), wanted.map(|content| content.escape_ascii().to_string()));
        let single: Vec<&[u8]> = session.chunks(1).collect();
        prop_assert_eq!(heard, speak(&settings, &single));
    }

    #[test]
    fn p9_what_is_stuffed_is_read_back(octets in content(), cuts: [Index; 4], again: [Index; 4]) {
        let mut stuffer = Stuffer::new();
        let mut sent = Vec::new();
        let pushed: Result<Vec<()>, _> =
            cut(&octets, &cuts).into_iter().map(|chunk| stuffer.push(chunk, &mut sent)).collect();
        let stuffed = pushed.and_then(|_| stuffer.finish(&mut sent));
        prop_assert_eq!(stuffed.is_ok(), is_pure(&octets));
        if stuffed.is_ok() {
            let (end, content, pure) = scan(&cut(&sent, &again), Framing::Dots, BareLf::Refuse);
            prop_assert_eq!(end, Some(sent.len()));
            prop_assert!(pure);
            let line_end: &[u8] = if octets.is_empty() || octets.ends_with(b"\r\n") { b"" } else { b"\r\n" };
            prop_assert_eq!(content, [&octets[..], line_end].concat());
        }
    }

    #[test]
    fn p11_addresses_that_pass_are_kept_and_pass_again(
        text in prop_oneof![
            "[a-z.\"\\\\@%!: \\[\\]<>,0-9-]{0,20}",
            "(@[a-z.]{1,8}(,@[a-z]{1,4})?:)?[a-z.]{1,10}@[a-z.-]{1,12}",
            "\"[ -~]{0,10}\"@[a-z.]{1,9}",
            "[a-z]{1,3}@\\[(IPv6:)?[0-9a-f:.]{1,20}\\]",
            "\\PC{0,16}",
        ],
        smtputf8: bool,
    ) {
        let octets = text.as_bytes();
        if let Ok(path) = ForwardPath::parse(octets, smtputf8) {
            prop_assert!(octets.ends_with(path.as_bytes()), "kept as written");
            prop_assert_eq!(ForwardPath::parse(path.as_bytes(), smtputf8), Ok(path.clone()));
            prop_assert!(!path.as_bytes().iter().any(|octet| octet.is_ascii_control()));
            if let Some(mailbox) = path.mailbox() {
                let (Domain::Name(domain) | Domain::Literal(domain)) = mailbox.domain();
                prop_assert!(!domain.is_empty() && !domain.contains(&b'@'));
                let back = ReversePath::parse(octets, smtputf8).unwrap();
                prop_assert_eq!(back.as_bytes(), path.as_bytes());
            }
        }
        if let Ok(Domain::Name(name)) = Domain::parse(octets, &Rules::widest(smtputf8)) {
            prop_assert_eq!(name, octets);
        }
    }

    #[test]
    fn p11_replies_of_a_backend_are_read_alike_in_any_segmentation(
        text in prop_oneof![
            prop::collection::vec(select(&["250", "-", " ", "2.1.0 ", "\r\n", "354 go\r\n", "250-x\r\n", "551", "\n", "\r", "text"][..]), 0..20)
                .prop_map(|words| words.concat().into_bytes()),
            any::<Vec<u8>>(),
        ],
        cuts: [Index; 5],
    ) {
        let whole = replies(&[&text]);
        prop_assert_eq!(&whole, &replies(&cut(&text, &cuts)));
        for reply in whole.into_iter().flatten() {
            prop_assert!((200..600).contains(&reply.code));
            prop_assert!(!reply.lines.is_empty());
            prop_assert!(reply.lines.iter().all(|line| line.bytes().all(|octet| matches!(octet, b' '..=b'~'))));
            prop_assert!(reply.enhanced.is_none_or(|(class, ..)| u16::from(class) == reply.code / 100));
        }
    }

    #[test]
    fn p10_received_is_one_field_whatever_the_client_said(
        helo: Vec<u8>, id in "\\PC{0,40}", name in proptest::option::of("\\PC{0,60}"), recipient: Vec<u8>,
        date: u64, address: std::net::IpAddr, tls: Option<(u16, u16)>, esmtp: bool, smtputf8: bool,
    ) {
        let mut out = Vec::new();
        let with = With::new(esmtp, tls.is_some(), smtputf8, false);
        Received {
            helo: &helo, address, name: name.as_deref(), said: Said::All, by: "mx.ok.test", with, tls, id: &id,
            recipient: Some(&recipient), date,
        }
        .write(&mut out);
        prop_assert!(is_pure(&out) && out.ends_with(b"\r\n"));
        let lines: Vec<&[u8]> = out[..out.len() - 2].split(|&octet| octet == b'\n').collect();
        prop_assert!(lines[0].starts_with(b"Received: from "));
        prop_assert!(lines[1..].iter().all(|line| line.starts_with(b"\t") && line.len() > 3));
        prop_assert!(lines.iter().all(|line| line.len() <= 998));
    }
}
