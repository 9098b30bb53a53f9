//! P4: a session that is owned can say anything along its channel. It costs itself, and nothing else.

use super::*;
use crate::permitted::{Kind, PERMITTED, State};
use crate::violation::INLINE_MAX;
use gatepost_smtp::envelope::{MailParameters, RcptParameters, Reason, Service};
use gatepost_smtp::replies;
use gatepost_testkit::wait;
use gatepost_wire::codec::Frame;
use gatepost_wire::session::{CONTENT_MAX, Refused};
use std::io::Write;

const COMMIT: Ask<'static> = Ask::Commit { length: 0 };
const BYE: Ask<'static> = Ask::Bye(CloseReason::Quit);
const REFUSED: Ask<'static> = Ask::Refused(Refused { reply: replies::BAD_LINE, count: 1, ends: false, line: b"x" });

/// Each state, and how a session gets there.
const STATES: [State; 7] =
    [State::Locked, State::Idle, State::Envelope, State::Accepted, State::Content, State::Filed, State::Unfiled];

/// A session in which that state can be reached: one for submission, whose client has not logged in, for the first.
async fn begin_in(fixture: &Fixture, state: State) -> Session {
    let service = if state == State::Locked { Service::Submission } else { Service::Relay };
    Session::begin_as(&fixture.shared(), Open { service, ..open() }).await
}

async fn reach(session: &mut Session, fixture: &Fixture, state: State) {
    if matches!(state, State::Idle | State::Locked) {
        return;
    }
    session.say(&[Ask::Mail(MAIL)]);
    if state == State::Envelope {
        assert_eq!(session.ask(&[to("nobody@ok.test")]).await.code, 550);
        return;
    }
    assert_eq!(session.ask(&[to("user@ok.test")]).await.code, 250);
    match state {
        State::Content => session.say(&[Ask::Content(b"x\r\n")]),
        State::Filed => drop(session.file(b"").await),
        State::Unfiled => {
            fs::remove_dir(&fixture.slice.spool).unwrap();
            let verdict = session.ask(&[Ask::Spool]).await;
            assert_eq!((verdict.code, verdict.reason), (452, Reason::NoSpace));
        }
        State::Locked | State::Idle | State::Envelope | State::Accepted => {}
    }
}

#[test]
fn p4_what_the_table_does_not_permit_ends_the_session_and_delivers_nothing() {
    let asks: [(Kind, Ask<'_>); 11] = [
        (Kind::Mail, Ask::Mail(MAIL)),
        (Kind::Rcpt, to("user@ok.test")),
        (Kind::Content, Ask::Content(b"x\r\n")),
        (Kind::Spool, Ask::Spool),
        (Kind::Commit, COMMIT),
        (Kind::Reset, Ask::Reset),
        (Kind::Bye, BYE),
        (Kind::Room, Ask::Room),
        (Kind::Grow, Ask::Grow),
        (Kind::Refused, REFUSED),
        (Kind::Detail, Ask::Detail(b"x")),
    ];
    let mut refused = 0;
    for state in STATES {
        let permitted = PERMITTED.iter().find(|(s, _)| *s == state).unwrap().1;
        for (kind, ask) in asks {
            if permitted.contains(&kind) {
                continue;
            }
            let fixture = Fixture::new();
            let mta = fixture.mta();
            run(async {
                let mut session = begin_in(&fixture, state).await;
                reach(&mut session, &fixture, state).await;
                session.say(&[ask]);
                assert!(session.is_dropped().await, "{kind:?} in {state:?}");
            });
            assert_eq!(mta.count(), 0, "{kind:?} in {state:?}");
            refused += 1;
        }
    }
    assert_eq!(refused, 11 * 7 - 4 - 5 - 6 - 8 - 7 - 6 - 4, "the table is the one in gatepost_wire::session");
}

#[test]
fn what_the_table_permits_does_not_end_the_session() {
    for state in STATES {
        let fixture = Fixture::new();
        let _mta = fixture.mta();
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            reach(&mut session, &fixture, state).await;
            session.say(&[REFUSED]);
            session.say(&[Ask::Reset]);
            assert_eq!(session.mail_and("user@ok.test").await.code, 250, "{state:?}");
            session.bye().await;
        });
    }
}

#[test]
fn p4_a_commit_of_another_length_than_came_is_hostile() {
    for (inline, file, said) in
        [(3, None, 4), (3, None, 2), (0, None, 1), (3, Some(5), 7), (3, Some(5), 9), (3, Some(5), 3)]
    {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            match file {
                None => session.say(&[Ask::Content(&vec![b'x'; inline])]),
                Some(length) => {
                    let file = session.file(&vec![b'x'; inline]).await;
                    fs::File::from(file).write_all(&vec![b'x'; length]).unwrap();
                }
            }
            session.say(&[Ask::Commit { length: said }]);
            assert!(session.is_dropped().await, "{inline} {file:?} {said}");
        });
        assert_eq!(mta.count(), 0, "{inline} {file:?} {said}");
    }
}

#[test]
fn p6_descriptors_beside_an_ask_end_the_session() {
    let fixture = Fixture::new();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        let (sent, _watch) = std::os::unix::net::UnixStream::pair().unwrap();
        session.frames.tell_with(&Ask::Reset, &[sent.as_fd()]).unwrap();
        assert!(session.is_dropped().await);
    });
}

#[test]
fn p13_a_session_that_does_not_read_its_answers_is_not_waited_for() {
    let fixture = Fixture::new();
    let _mta = fixture.mta();
    run(async {
        let shared = fixture.shared();
        let mut session = Session::begin(&shared).await;
        // It has a connection from here on, which could not be taken back while an answer has no room.
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        let mut outbox = Outbox::default();
        assert!(outbox.push(&to("user@elsewhere.test")).unwrap());
        let served = session.served.take().unwrap();
        while !served.is_finished() {
            match session.frames.flush(&mut outbox) {
                Ok(()) => assert!(outbox.push(&to("user@elsewhere.test")).unwrap()),
                Err(ChannelError::WouldBlock | ChannelError::Closed) => {}
                Err(e) => panic!("{e}"),
            }
            tokio::task::yield_now().await;
        }
        let [connections, ..] = shared.routes.at(crate::routes::DestinationId::Backend).connections.count();
        assert_eq!(connections, 0);
    });
}

#[test]
fn p6_no_more_inline_content_than_was_offered() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        let piece = [b'x'; CONTENT_MAX];
        for _ in 0..INLINE_MAX as usize / CONTENT_MAX {
            session.say(&[Ask::Content(&piece)]);
        }
        session.say(&[Ask::Content(&piece)]);
        assert!(session.is_dropped().await);
    });
    assert_eq!(mta.count(), 0);
}

#[test]
fn p4_octets_that_could_end_a_command_line_are_hostile() {
    let mails: [Mail<'_>; 8] = [
        Mail { helo: b"x\r\nRSET", ..MAIL },
        Mail { helo: b"x\0", ..MAIL },
        Mail { helo: b"\xc3\xbc", ..MAIL },
        Mail { reverse_path: b"a@b.test> SIZE=1\r\nRCPT TO:<x@foreign.test", ..MAIL },
        Mail { reverse_path: b"a@b.test\0", ..MAIL },
        Mail { reverse_path: "ü@b.test".as_bytes(), ..MAIL },
        Mail { parameters: MailParameters { envid: Some(b"x\r\nRSET"), ..MailParameters::NONE }, ..MAIL },
        Mail { parameters: MailParameters { envid: Some(b"x SIZE=1"), ..MailParameters::NONE }, ..MAIL },
    ];
    let rcpts: [Rcpt<'_>; 6] = [
        Rcpt { forward_path: b"user@ok.test>\r\nRCPT TO:<x@foreign.test", parameters: RcptParameters::NONE },
        Rcpt { forward_path: b"user@ok.test\n", parameters: RcptParameters::NONE },
        Rcpt { forward_path: b"", parameters: RcptParameters::NONE },
        Rcpt { forward_path: b"user", parameters: RcptParameters::NONE },
        Rcpt {
            forward_path: b"user@ok.test",
            parameters: RcptParameters { orcpt: Some(b"rfc822;x\r\nRSET"), ..RcptParameters::NONE },
        },
        Rcpt {
            forward_path: b"user@ok.test",
            parameters: RcptParameters { orcpt: Some(b"rfc822;x y"), ..RcptParameters::NONE },
        },
    ];
    let good = Rcpt { forward_path: b"user@ok.test", parameters: RcptParameters::NONE };
    let pairs = mails.into_iter().map(|mail| (mail, good)).chain(rcpts.into_iter().map(|rcpt| (MAIL, rcpt)));
    for (mail, rcpt) in pairs {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            session.say(&[Ask::Mail(mail), Ask::Rcpt(rcpt)]);
            assert!(session.is_dropped().await, "{mail:?} {rcpt:?}");
        });
        assert_eq!(mta.connections(), 0, "{mail:?} {rcpt:?}");
    }
}

#[test]
fn p4_frames_that_are_none_are_hostile() {
    let mail = Frame::of(&Ask::Mail(MAIL)).unwrap();
    let mut cut = mail.bytes().to_vec();
    cut.pop();
    let mut longer = mail.bytes().to_vec();
    longer.push(0);
    let mut other_version = mail.bytes().to_vec();
    other_version[0] = 9;
    let two_asks = {
        let mut frame = mail;
        assert!(frame.push(&to("one@ok.test")).unwrap() && frame.push(&to("two@ok.test")).unwrap());
        frame.bytes().to_vec()
    };
    let too_long = vec![1; 40_000];
    for frame in [vec![0], vec![1, 1, 0, 99], cut, longer, other_version, two_asks, too_long] {
        let fixture = Fixture::new();
        let mta = fixture.mta();
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            session.frames.seq().send(&frame, &[]).unwrap();
            assert!(session.is_dropped().await, "{:?}", frame.get(..20));
        });
        assert_eq!(mta.count(), 0);
    }
}

#[test]
fn p1_a_session_that_dies_leaves_nothing_delivered() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        for filed in [false, true] {
            let mut session = Session::begin(&fixture.shared()).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            session.say(&[Ask::Content(MESSAGE)]);
            if filed {
                let file = session.file(b"").await;
                fs::File::from(file).write_all(MESSAGE).unwrap();
            }
            let served = session.served.take().unwrap();
            drop(session);
            served.await.unwrap();
        }
    });
    wait::holds("both connections end", wait::SOON, || mta.lines().iter().filter(|line| *line == "QUIT").count() == 2);
    assert_eq!(mta.count(), 0);
    assert_eq!(fixture.spooled(), 0);
}

#[test]
fn p6_memory_over_all_sessions_is_bounded_and_the_rest_is_told_to_come_back() {
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let mut shared = Arc::into_inner(fixture.shared()).unwrap();
        shared.memory = crate::memory::of(u64::from(INLINE_MAX));
        let shared = Arc::new(shared);
        let piece = vec![b'x'; CONTENT_MAX];
        let mut full = Session::begin(&shared).await;
        assert_eq!(full.mail_and("user@ok.test").await.code, 250);
        full.say(&[Ask::Content(&piece)]);
        full.say(&[Ask::Content(&piece)]);
        full.say(&[Ask::Content(&piece)]);
        full.say(&[Ask::Content(&piece)]);
        // Heard by now, because it is answered.
        drop(full.file(b"").await);
        let mut other = Session::begin(&shared).await;
        assert_eq!(other.mail_and("user@ok.test").await.code, 250);
        let verdict = other.send(&piece).await;
        assert_eq!((verdict.code, verdict.reason), (452, Reason::NoSpace));
        assert_eq!(mta.count(), 0);
        full.say(&[Ask::Reset]);
        full.bye().await;
        assert_eq!(other.mail_and("user@ok.test").await.code, 250);
        assert_eq!(other.send(&piece).await.code, 250);
    });
}

#[test]
fn a_message_over_the_limit_is_refused_even_if_the_session_let_it_pass() {
    let fixture = Fixture::new().with(|slice| slice.message_size = 1000);
    let mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        for filed in [false, true] {
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let content = [b'x'; 1001];
            let verdict = if filed { session.spool(b"", &content).await } else { session.send(&content).await };
            assert_eq!((verdict.code, verdict.reason), (552, Reason::TooLarge));
        }
    });
    assert_eq!(mta.count(), 0);
}

#[test]
fn a_content_file_can_only_be_appended_to() {
    use std::io::{Read, Seek, SeekFrom};
    let fixture = Fixture::new();
    let mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        assert_eq!(session.mail_and("user@ok.test").await.code, 250);
        let mut file = fs::File::from(session.file(b"").await);
        assert_eq!(fixture.spooled(), 0);
        file.write_all(b"Subject: x\r\n").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"\r\nbody\r\n").unwrap();
        assert!(file.read(&mut [0; 1]).is_err(), "write-only");
        assert_eq!(session.ask(&[Ask::Commit { length: 20 }]).await.code, 250);
    });
    assert!(mta.taken()[0].content.ends_with("Subject: x\r\n\r\nbody\r\n"));
}

#[test]
fn p6_a_session_has_one_content_file_however_often_it_asks() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new().with(|slice| slice.message_size = 5000);
    let mta = fixture.mta();
    run(async {
        let mut session = Session::begin(&fixture.shared()).await;
        let mut files = Vec::new();
        // Dropped; too large; not fit to be sent on; taken.
        for (octet, octets, code) in
            [(b'x', 4096, None), (b'x', 5001, Some(552)), (0, 100, Some(554)), (b'x', 9, Some(250))]
        {
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let mut file = fs::File::from(session.file(b"").await);
            assert_eq!(file.metadata().unwrap().len(), 0, "emptied each time");
            file.write_all(&vec![octet; octets]).unwrap();
            files.push(file);
            match code {
                None => session.say(&[Ask::Reset]),
                Some(code) => {
                    let verdict = session.ask(&[Ask::Commit { length: octets as u64 }]).await;
                    assert_eq!(verdict.code, code, "{verdict:?}");
                }
            }
        }
        let first = files[0].metadata().unwrap();
        assert!(files.iter().all(|file| file.metadata().unwrap().ino() == first.ino()));
        assert_eq!(first.len(), 0, "nothing is left of what is done with");
        assert_eq!(mta.count(), 1);
    });
}

#[test]
fn issue_9_a_session_that_writes_more_than_it_was_granted_is_ended() {
    for (ask, more) in [(Ask::Grow, 1), (Ask::Commit { length: (1 << 20) + 1 }, 1)] {
        let fixture = Fixture::new().with(|slice| slice.message_size = 50 << 20);
        let mta = fixture.mta();
        run(async {
            let mut session = Session::begin(&fixture.shared()).await;
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            let (file, granted) = session.file_of(b"").await;
            assert_eq!(granted, 1 << 20);
            fs::File::from(file).write_all(&vec![b'x'; (1 << 20) + more]).unwrap();
            session.say(&[ask]);
            assert!(session.is_dropped().await, "{ask:?}");
        });
        assert_eq!(mta.count(), 0);
    }
}

#[test]
fn issue_9_the_spool_has_an_end_and_is_shared_by_network() {
    const MIB: u64 = 1 << 20;
    let fixture = Fixture::new().with(|slice| (slice.message_size, slice.spool_size) = (2 * MIB, 2 * MIB));
    let mta = fixture.mta();
    let announced =
        |size| Ask::Mail(Mail { parameters: MailParameters { size: Some(size), ..MailParameters::NONE }, ..MAIL });
    run(async {
        let shared = fixture.shared();
        let mut heavy = Vec::new();
        for _ in 0..2 {
            let mut session = Session::begin(&shared).await;
            assert_eq!(session.ask(&[announced(MIB), Ask::Room]).await.code, 250);
            assert_eq!(session.ask(&[to("user@ok.test")]).await.code, 250);
            let (file, granted) = session.file_of(b"").await;
            assert_eq!(granted, MIB);
            fs::File::from(file.try_clone().unwrap()).write_all(&vec![b'x'; 100_000]).unwrap();
            heavy.push((session, file));
        }
        // The same address has no more: at MAIL, and in what it has begun.
        let mut third = Session::begin(&shared).await;
        let verdict = third.ask(&[announced(MIB), Ask::Room]).await;
        assert_eq!((verdict.code, verdict.reason), (452, Reason::NoSpace));
        assert_eq!(third.ask(&[Ask::Mail(MAIL), Ask::Room]).await.code, 452, "of any length");
        assert_eq!(third.mail_and("user@ok.test").await.code, 250, "what fits into memory needs no room");
        assert_eq!(third.ask(&[Ask::Spool]).await.code, 452);
        third.say(&[Ask::Reset]);
        third.bye().await;
        // Another network gets it from who has moved least, whose message is refused and whose next one is taken.
        let elsewhere = Open { client: "198.51.100.7:25".parse().unwrap(), ..open() };
        let mut newcomer = Session::begin_as(&shared, elsewhere).await;
        assert_eq!(newcomer.ask(&[announced(MIB), Ask::Room]).await.code, 250);
        assert_eq!(newcomer.ask(&[to("user@ok.test")]).await.code, 250);
        assert_eq!(newcomer.spool(b"", &MESSAGE.repeat(1000)).await.code, 250);
        newcomer.bye().await;
        assert_eq!(mta.count(), 1);
        let mut codes = Vec::new();
        for (session, file) in &mut heavy {
            fs::File::from(file.try_clone().unwrap()).write_all(b"\r\n").unwrap();
            codes.push(session.ask(&[Ask::Commit { length: 100_002 }]).await.code);
        }
        codes.sort_unstable();
        assert_eq!(codes, [250, 452]);
        for (mut session, _) in heavy {
            assert_eq!(session.mail_and("user@ok.test").await.code, 250);
            assert_eq!(session.spool(b"", &MESSAGE.repeat(1000)).await.code, 250);
            session.bye().await;
        }
        assert_eq!(mta.count(), 4);
    });
}
