//! What is neither sent nor read.

use super::*;

/// A message at the bound of its field is sent, and one octet more is the sender's error. A sender that does not check is
/// refused by the receiver.
fn bounded<T: Value<'static> + PartialEq + Debug>(
    max: usize,
    field: &'static str,
    before: &str,
    of: fn(&'static [u8]) -> T,
) {
    let filled = |length: usize| -> &'static [u8] { vec![b'x'; length].leak() };
    let largest = of(filled(max));
    let frame = Frame::of(&largest).unwrap().bytes().to_vec().leak();
    assert_eq!(Messages::<T>::one(frame), Ok(largest), "{field}");
    assert_eq!(Frame::of(&of(filled(max + 1))).unwrap_err(), WireError::Long(field));
    let raw: Vec<u8> =
        (0..before.len()).step_by(2).map(|at| u8::from_str_radix(&before[at..at + 2], 16).unwrap()).collect();
    let raw = [&raw[..], &u16::try_from(max + 1).unwrap().to_le_bytes(), filled(max + 1), &[0; 32]].concat();
    assert_eq!(read_all::<T>(raw.leak()), Err(WireError::Long(field)));
}

#[test]
fn p6_a_field_beyond_its_bound_is_the_senders_error() {
    const MAIL: Mail<'_> = Mail { helo: b"", esmtp: false, tls: None, reverse_path: b"", parameters: NONE };
    const RCPT: Rcpt<'_> = Rcpt { forward_path: b"", parameters: RcptParameters::NONE };
    bounded(HELO_MAX, "helo", "01", |helo| Ask::Mail(Mail { helo, ..MAIL }));
    bounded(PATH_MAX, "reverse_path", "0100000000", |reverse_path| Ask::Mail(Mail { reverse_path, ..MAIL }));
    bounded(ENVID_MAX, "envid", "010000000000000000000001", |envid| {
        Ask::Mail(Mail { parameters: MailParameters { envid: Some(envid), ..NONE }, ..MAIL })
    });
    bounded(PATH_MAX, "forward_path", "02", |forward_path| Ask::Rcpt(Rcpt { forward_path, ..RCPT }));
    bounded(ORCPT_MAX, "orcpt", "0200000001", |orcpt| {
        Ask::Rcpt(Rcpt { parameters: RcptParameters { notify: None, orcpt: Some(orcpt) }, ..RCPT })
    });
    bounded(CONTENT_MAX, "content", "03", Ask::Content);
    bounded(TO_SIGN_MAX, "message", "000304", |message| Sign { pair: 0, scheme: 0x0403, message });
    bounded(SIGNATURE_MAX, "0", "", Signature);
    bounded(parent::ARGUMENT_MAX, "argument", "01", parent::Ask::Helo);
    bounded(parent::ARGUMENT_MAX, "address", "02", parent::Ask::Mail);
    bounded(parent::ARGUMENT_MAX, "address", "03", parent::Ask::Rcpt);
    bounded(parent::CONTENT_MAX, "content", "05", parent::Ask::Content);
    bounded(parent::CREDENTIAL_MAX, "user", "0a00", |user| {
        parent::Ask::Auth(parent::Auth { mechanism: Mechanism::Login, user, password: b"", challenge: b"" })
    });
    bounded(parent::LINES_MAX, "lines", "01", |lines| parent::Answer::Reply { lines, then: Then::Go });
    bounded(PATH_MAX, "recipient", "02", Submit::Recipient);
}

#[test]
fn p6_a_chain_that_fills_no_frame_is_the_senders_error() {
    let chain = |octets: usize| parent::Answer::Chain(Chain { names: Vec::new(), certificates: vec![vec![0; octets]] });
    let most = parent::CHAIN_MAX - 12;
    let frame = Frame::of(&chain(most)).unwrap();
    assert_eq!(frame.bytes().len(), FRAME_MAX);
    assert_eq!(Messages::<parent::Answer<'_>>::one(frame.bytes()), Ok(chain(most)));
    for octets in [most + 1, 1 << 16, 1 << 20] {
        assert_eq!(Frame::of(&chain(octets)).unwrap_err(), WireError::Long("chain"));
    }
    assert_eq!(<parent::Answer<'_> as Value<'_>>::MAX, MESSAGE_MAX);
}

#[test]
fn p11_no_argument_ends_a_string_in_an_environment_or_envelope() {
    let auth = |user, password| parent::Auth { mechanism: Mechanism::Plain, user, password, challenge: b"" };
    let makers: [fn(&'static [u8], parent::Auth<'static>) -> parent::Ask<'static>; 5] = [
        |text, _| parent::Ask::Helo(text),
        |text, _| parent::Ask::Mail(text),
        |text, _| parent::Ask::Rcpt(text),
        |text, _| parent::Ask::Jail { entered: false, text },
        |_, auth| parent::Ask::Auth(auth),
    ];
    for maker in makers {
        for auth_of in [|text| (text, &b""[..]), |text| (&b""[..], text)] {
            let ask = |text| {
                maker(text, {
                    let (user, password) = auth_of(text);
                    auth(user, password)
                })
            };
            assert!(matches!(written(&ask(b"a\0b")), Err(WireError::Value(_))));
            let mut raw = written(&ask(b"aXb")).unwrap();
            for octet in raw.iter_mut().filter(|octet| **octet == b'X') {
                *octet = 0;
            }
            assert!(matches!(read_all::<parent::Ask<'_>>(&raw), Err(WireError::Value(_))));
        }
    }
}

#[test]
fn a_verdict_that_contradicts_itself_is_neither_sent_nor_read() {
    for (code, class) in [(550, 4), (450, 5), (354, 3), (250, 0), (600, 6), (0, 0)] {
        let verdict = Verdict { code, enhanced: (class, 0, 0), reason: Reason::Ok };
        assert_eq!(written(&Answer::plain(verdict)), Err(WireError::Value("verdict")));
        let raw = [&[2][..], &written(&verdict).unwrap()].concat();
        assert_eq!(read_all::<Answer>(&raw), Err(WireError::Value("verdict")));
    }
}

#[test]
fn issue_12_a_text_that_is_not_clean_is_not_read() {
    let verdict = Verdict { code: 550, enhanced: (5, 7, 1), reason: Reason::RelayDenied };
    for text in [&b"a\r\nb"[..], b"\x1b", b"\n", b"\xff"] {
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        let raw = [&[2][..], &written(&verdict).unwrap(), &length, text].concat();
        assert_eq!(read_all::<Answer>(&raw), Err(WireError::Value("text")));
    }
}

#[test]
fn values_outside_their_set_are_refused() {
    assert_eq!(read_all::<bool>(&[2]), Err(WireError::Value("value")));
    assert_eq!(read_all::<Role>(&[11]), Err(WireError::Value("value")));
    assert_eq!(read_all::<String>(&[1, 0, 0, 0, 0xff]), Err(WireError::Value("value")));
    assert_eq!(read_all::<Ask<'_>>(&[7, 255]), Err(WireError::Value("reason")));
    assert_eq!(read_all::<Open>(&[0, 0, 0, 0, 0, 0, 0, 0, 5]), Err(WireError::Value("client")));
    // Bits beyond the prefix.
    assert_eq!(read_all::<Network>(&[4, 192, 0, 2, 1, 24]), Err(WireError::Value("value")));
}

#[test]
fn frames_hold_what_fits_and_are_unchanged_by_what_does_not() {
    let mut frame = Frame::default();
    assert!(frame.is_empty());
    let content = [b'x'; CONTENT_MAX];
    assert_eq!(frame.push(&Ask::Content(&content)), Ok(true));
    let room = frame.room();
    assert_eq!(frame.push(&Ask::Content(&content[..room + 1])), Ok(false));
    assert_eq!(frame.push(&Ask::Content(&[b'x'; CONTENT_MAX + 1])), Err(WireError::Long("content")));
    assert_eq!(frame.push(&Ask::Content(&content[..room])), Ok(true));
    assert_eq!((frame.bytes().len(), frame.room()), (FRAME_MAX, 0));
    let lengths = Messages::<Ask<'_>>::of(frame.bytes()).map(|ask| match ask {
        Ok(Ask::Content(octets)) => octets.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(lengths.collect::<Vec<_>>(), [CONTENT_MAX, room]);
    assert_eq!(Messages::<Ask<'_>>::one(frame.bytes()), Err(WireError::Count));
    for (frame, error) in
        [(&[][..], WireError::Short), (&[2], WireError::Version), (&[1, 255, 255, 4], WireError::Short)]
    {
        assert_eq!(Messages::<Ask<'_>>::of(frame).collect::<Vec<_>>(), [Err(error)]);
    }
}
