//! P9: only CRLF.CRLF ends content, whatever comes in whatever pieces on whatever way. The server behind counts.

use crate::site::{Site, Way};
use gatepost_testkit::client::{Client, Reply};
use gatepost_testkit::host;
use gatepost_testkit::obliging::EVERYTHING;

/// Sequences that some server somewhere has taken for the end of content, or might.
const VARIANTS: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\n\n.\r\n",
    b"\r\n.\n\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\r\n.\0\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\r\0\n",
    b"\r\0\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\n\r.\r\n",
    b"\n\r.\r\n",
    b"\n\r.\n\r",
    b"\r\n.\n\r",
    b"\r\n..\n",
    b"\n..\r\n",
    b"\r\n. \r\n",
    b"\r\n .\r\n",
    b"\r\n.\t\r\n",
    b"\r\n.\x0b\r\n",
    b"\r\n.\x0c\r\n",
    b"\r\n.\x85\r\n",
    b"\x85.\x85",
    b"\r\n.\xe2\x80\xa8\r\n",
    b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\r\n..\r\n",
    b"\r\n.\\r\\n",
];
/// What is an end, but not in a chunk.
const END: &[u8] = b"\r\n.\r\n";

/// What would be a message of its own.
const SMUGGLED: &[u8] = b"MAIL FROM:<admin@ok.test>\r\nRCPT TO:<u@ok.test>\r\nDATA\r\nsmuggled\r\n.\r\n";

/// How the content comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// By DATA.
    Data,
    /// By DATA, refused from its first octet on and read to its end all the same.
    Drained,
    /// By BDAT: each piece is a chunk.
    Bdat,
    /// By BDAT, refused with its first chunk.
    DrainedBdat,
}

/// What comes before the variant.
const fn before(form: Form) -> &'static [u8] {
    match form {
        Form::Data | Form::Bdat => b"Subject: s\r\n\r\nx",
        Form::Drained | Form::DrainedBdat => b"\0x",
    }
}

fn content(form: Form, variant: &[u8]) -> Vec<u8> {
    [before(form), variant, SMUGGLED].concat()
}

/// Pieces of `content`: cut at each octet of the variant and beside it, the whole, and every octet of it alone.
fn splits(form: Form, variant: &[u8]) -> Vec<Vec<usize>> {
    let start = before(form).len();
    let end = start + variant.len();
    let mut splits: Vec<Vec<usize>> = (start - 1..=end + 1).map(|at| vec![at]).collect();
    splits.push(Vec::new());
    splits.push((start..=end).collect());
    splits
}

/// One transaction; the reply that decided it.
fn transaction(site: &Site<'_>, client: &mut Client, port: u16, form: Form, content: &[u8], cuts: &[usize]) -> Reply {
    client.ask("MAIL FROM:<s@client.test>", 250);
    client.ask("RCPT TO:<u@ok.test>", 250);
    let ends = cuts.iter().copied().chain([content.len()]);
    let pieces: Vec<&[u8]> = ends.scan(0, |from, to| Some(&content[std::mem::replace(from, to)..to])).collect();
    match form {
        Form::Data | Form::Drained => {
            client.ask("DATA", 354);
            for piece in pieces {
                client.write(piece);
                site.wait_read(port);
            }
            client.reply()
        }
        Form::Bdat | Form::DrainedBdat => {
            let mut verdict = None;
            for (number, piece) in pieces.iter().enumerate() {
                let last = if number + 1 == pieces.len() { " LAST" } else { "" };
                client.write(&[format!("BDAT {}{last}\r\n", piece.len()).as_bytes(), piece].concat());
                let reply = client.reply();
                // The first refusal, else the last word.
                if verdict.as_ref().is_none_or(|verdict: &Reply| verdict.code == 250) {
                    verdict = Some(reply);
                }
            }
            verdict.unwrap()
        }
    }
}

/// All splits of one variant on one way: messages accepted.
fn row(site: &Site<'_>, way: Way, form: Form, variant: &[u8]) -> usize {
    let what = format!("{way:?} {form:?} {}", variant.escape_ascii());
    let content = content(form, variant);
    let mut accepted = 0;
    // Refusals are counted, so no client can have many.
    for splits in splits(form, variant).chunks(3) {
        let before = site.backend.count();
        let (mut client, port) = site.client_and_port(way);
        client.ask("EHLO client.test", 250);
        let mut here = 0;
        for cuts in splits {
            let reply = transaction(site, &mut client, port, form, &content, cuts);
            assert!([250, 550, 552, 421].contains(&reply.code), "{what} {cuts:?}: {reply}");
            here += usize::from(reply.code == 250);
            // A chunk after a refused one has ended nothing.
            client.ask("RSET", 250);
        }
        client.finish();
        assert_eq!(client.rest(), "", "{what}: replies that nobody has asked for");
        let taken = site.backend.messages(before);
        assert_eq!(taken.len(), here, "{what}: the server behind has {taken:?}");
        for message in taken {
            assert_eq!(message.from, "s@client.test", "{what}");
            assert!(message.content.ends_with(b"smuggled\r\n.\r\n") || message.content.ends_with(b"smuggled\r\n"));
            let bare = message
                .content
                .split(|octet| *octet == b'\n')
                .rev()
                .skip(1)
                .any(|line| !line.ends_with(b"\r") || line[..line.len() - 1].contains(&b'\r') || line.contains(&0));
            assert!(!bare, "{what}: not canonical: {}", message.content.escape_ascii());
        }
        accepted += here;
    }
    accepted
}

fn run(test: &str, extensions: &[&str], forms: &[Form]) {
    let Some(host) = host::for_test(test, &["openssl"]) else { return };
    let site = Site::before(&host, extensions, "starttls", "");
    for form in forms {
        let mut accepted = 0;
        for way in [Way::Plain, Way::Tls] {
            accepted += VARIANTS.iter().map(|variant| row(&site, way, *form, variant)).sum::<usize>();
            if *form == Form::Bdat {
                accepted += row(&site, way, *form, END);
            }
        }
        // What is text to all the world is text to us; what is refused from the start stays so.
        assert_eq!(accepted > 0, matches!(form, Form::Data | Form::Bdat), "{form:?}: {accepted} accepted");
    }
    site.stop();
}

#[test]
fn p9_nothing_is_smuggled_by_data() {
    run("p9_nothing_is_smuggled_by_data", EVERYTHING, &[Form::Data]);
}

#[test]
fn p9_nothing_is_smuggled_while_refused_content_is_drained() {
    let name = "p9_nothing_is_smuggled_while_refused_content_is_drained";
    run(name, EVERYTHING, &[Form::Drained, Form::DrainedBdat]);
}

#[test]
fn p9_nothing_is_smuggled_by_bdat_that_becomes_data() {
    run("p9_nothing_is_smuggled_by_bdat_that_becomes_data", EVERYTHING, &[Form::Bdat]);
}

#[test]
fn p9_nothing_is_smuggled_by_bdat_that_stays_bdat() {
    let chunking = [EVERYTHING, &["CHUNKING"]].concat();
    run("p9_nothing_is_smuggled_by_bdat_that_stays_bdat", &chunking, &[Form::Data, Form::Bdat]);
}
