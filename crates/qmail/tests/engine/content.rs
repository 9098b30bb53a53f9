//! Content and commands under any segmentation, against readings too simple to be wrong.

use gatepost_qmail::engine::data::{Piece, Scanner};
use gatepost_qmail::engine::{AuthOffer, BareLf, Settings};
use proptest::prelude::*;

use crate::parent::run;
use crate::reference::{self, Ending};

fn scan(input: &[u8], cuts: &[usize], bare_lf: BareLf) -> (Vec<u8>, Ending) {
    let mut scanner = Scanner::new(bare_lf);
    let mut stored = Vec::new();
    let mut at = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        loop {
            let (used, piece) = scanner.scan(&input[at..end.max(at)]);
            at += used;
            match piece {
                Piece::Content(content) => {
                    assert!(!content.is_empty());
                    stored.extend_from_slice(content);
                }
                Piece::End => return (stored, Ending::End(at)),
                Piece::StrayLf => return (stored, Ending::StrayLf(at)),
                Piece::Starved => break,
            }
        }
    }
    panic!("no end in {}", input.escape_ascii());
}

fn hostile_content() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec!["\r", "\n", ".", "a", "\0", "\r\n", ".\r\n", "\n.", "\r.\r", "bcd"]);
    prop::collection::vec(token, 0..24).prop_map(|tokens| {
        let mut content = tokens.concat().into_bytes();
        content.extend(b"\r\n.\r\nQUIT\r\n");
        content
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..40usize, 0..12).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn content_is_what_a_simple_reader_finds(input in hostile_content(), cuts in cuts()) {
        let cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
        for bare_lf in [BareLf::Refuse, BareLf::Repair] {
            let expected = reference::read(&input, bare_lf).unwrap();
            prop_assert_eq!(&scan(&input, &cuts, bare_lf), &expected, "{:?} {}", bare_lf, input.escape_ascii());
            let each: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&scan(&input, &each, bare_lf), &expected, "{:?} {}", bare_lf, input.escape_ascii());
        }
    }

    #[test]
    fn p9_only_crlf_dot_crlf_ends(input in hostile_content(), cuts in cuts()) {
        let cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
        // DATA's own CRLF is in front of it.
        let framed = [b"\r\n", &input[..]].concat();
        let first = framed.windows(5).position(|five| five == b"\r\n.\r\n").unwrap() + 3;
        let stray = (0..input.len()).find(|at| input[*at] == b'\n' && (*at == 0 || input[*at - 1] != b'\r'));
        prop_assert_eq!(scan(&input, &cuts, BareLf::Repair).1, Ending::End(first));
        let refused = match stray {
            Some(stray) if stray < first => Ending::StrayLf(stray),
            _ => Ending::End(first),
        };
        prop_assert_eq!(scan(&input, &cuts, BareLf::Refuse).1, refused);
    }

    #[test]
    fn cuts_change_nothing_in_a_session(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "HELO x", "EHLO y\r\n", "MAIL FROM:<a@b>\r\n", "MAIL\n", "RCPT TO:<c@d>\r\n", "RCPT\r\n", "DATA\r\n", "x\r\n.\r\n",
            "\r\n", "\n", "\r", "\0", " ", ".", "RSET\r\n", "NOOP\r\n", "AUTH PLAIN ", "AUTH LOGIN\r\n", "AGpvZQBzZWNyZXQ=\r\n",
            "am9l\r\n", "*\r\n", "AUTH CRAM-MD5\r\n", "Received: x\r\n", "QUIT\r\n",
        ]), 0..30),
        cuts in cuts(),
        repair in any::<bool>(),
    ) {
        let input = tokens.concat().into_bytes();
        let offer = AuthOffer { plain_login: true, cram_md5: true, available: true, ..AuthOffer::default() };
        let bare_lf = if repair { BareLf::Repair } else { BareLf::Refuse };
        let settings = Settings { auth: Some(offer), bare_lf, databytes: 5, ..Settings::default() };
        let whole = run(&settings, &[], [&input[..]], b"");
        let mut pieces = Vec::new();
        let mut rest = &input[..];
        for size in cuts {
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        prop_assert_eq!(&run(&settings, &[], pieces, b""), &whole);
        prop_assert_eq!(&run(&settings, &[], input.chunks(1), b""), &whole);
    }
}

#[test]
fn a_repaired_lf_ends_a_line_and_never_the_content() {
    for (content, stored) in [
        ("a\nb\r\n", "a\nb\n"),
        ("a\n.\nb\r\n", "a\n.\nb\n"),
        ("a\n.\r\nb\r\n", "a\n.\nb\n"),
        ("a\r\n.\nb\r\n", "a\n.\nb\n"),
        (".\nb\r\n", ".\nb\n"),
        ("\n.\r\n.\n\r\n", "\n.\n.\n\n"),
        ("a\n..b\r\n", "a\n.b\n"),
        ("a\n.\r\r\n", "a\n.\r\n"),
        ("a\n.\r\n.\n.\r\nb\r\n", "a\n.\n.\n.\nb\n"),
    ] {
        let input = format!("{content}.\r\n");
        let (found, ending) = scan(input.as_bytes(), &[], BareLf::Repair);
        assert_eq!(String::from_utf8_lossy(&found), stored, "{content:?}");
        assert_eq!(ending, Ending::End(input.len()), "{content:?}");
    }
}
