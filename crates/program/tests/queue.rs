//! Queue programs, real ones of /bin/sh: what they get, what they say, and what they never see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{INERT, NO_SUCH, Place, obliging};
use gatepost_program::{Finished, Inherited, Patience, QueueProgram, Verdict};
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process::{self, Fork, Signal};
use std::ffi::CString;
use std::io::Read;
use std::time::Duration;

const ENVELOPE: [&[u8]; 3] = [b"Fjoe@example.net\0", b"Ta@example.org\0", b"Tb@example.org\0"];
const RECORD: &str = r#"cat > "$OUT/message"; cat <&1 > "$OUT/envelope""#;

fn patience() -> Patience {
    let long = Duration::from_secs(60);
    Patience { progress: long, verdict: long, exit: long }
}

fn start(place: &Place) -> QueueProgram {
    QueueProgram::start(&obliging(), &place.around(), patience()).unwrap()
}

fn deliver(place: &Place, message: &[u8]) -> Finished {
    let mut program = start(place);
    program.write_message(message);
    program.commit(ENVELOPE)
}

/// A verdict in one word, for tables.
fn word(finished: &Finished) -> String {
    match &finished.verdict {
        Verdict::Accepted => "accepted".to_owned(),
        Verdict::Exit(status) => format!("exit {status}"),
        Verdict::Crashed(signal) => format!("crashed {signal}"),
        Verdict::NotExecuted(e) => format!("not executed {:?}", e.kind()),
        Verdict::Lost => "lost".to_owned(),
        Verdict::Late => "late".to_owned(),
    }
}

#[test]
fn q4_message_and_envelope_arrive_to_the_octet() {
    let place = Place::new(&format!(r#"{RECORD}; echo $$ > "$OUT/pid"; pwd > "$OUT/cwd""#), &[]);
    let finished = deliver(&place, b"Subject: x\n\nbody\0\xff\n");
    assert!(matches!(finished.verdict, Verdict::Accepted), "{finished:?}");
    assert_eq!(place.read("message"), b"Subject: x\n\nbody\0\xff\n");
    assert_eq!(place.read("envelope"), b"Fjoe@example.net\0Ta@example.org\0Tb@example.org\0\0");
    assert_eq!(place.read("pid"), format!("{}\n", finished.pid).into_bytes());
    assert_eq!(place.read("cwd"), b"/usr\n");
}

#[test]
fn q4_every_end_has_its_verdict() {
    let table = [
        ("cat >/dev/null; cat <&1 >/dev/null", "accepted"),
        // Closed before the message was whole: exit 0 is not believed.
        ("exec 0<&- 1<&-; exit 0", "exit 54"),
        ("cat >/dev/null; exit 31", "exit 31"),
        ("exit 31", "exit 31"),
        ("cat >/dev/null; cat <&1 >/dev/null; exit 255", "exit 255"),
        ("cat >/dev/null; kill -9 $$", "crashed 9"),
        ("exec 0<&-; kill -11 $$", "crashed 11"),
    ];
    // More than any pipe holds, so that a program which does not read it cannot be given it.
    let message = vec![b'x'; 4 << 20];
    for (program, verdict) in table {
        assert_eq!(word(&deliver(&Place::new(program, &[]), &message)), verdict, "{program}");
    }
}

#[test]
fn q4_a_program_that_cannot_be_executed_is_told_apart_from_one_that_exits_120() {
    let place = Place::new("cat >/dev/null; exit 120", &[]);
    assert_eq!(word(&deliver(&place, b"x")), "exit 120");
    let inert = CString::new(INERT).unwrap();
    for (command, kind) in [(NO_SUCH, "NotFound"), (&*inert, "PermissionDenied")] {
        let mut program = QueueProgram::start(command, &place.around(), patience()).unwrap();
        program.write_message(&vec![0; 1 << 20]);
        assert_eq!(word(&program.commit(ENVELOPE)), format!("not executed {kind}"));
    }
    let nowhere = gatepost_program::Surroundings { directory: c"/nonexistent", ..place.around() };
    let program = QueueProgram::start(&obliging(), &nowhere, patience()).unwrap();
    assert_eq!(word(&program.commit(ENVELOPE)), "not executed NotFound");
}

#[test]
fn q4_nothing_of_the_envelope_is_written_before_the_commit_and_its_end_never_without() {
    for how in ["abandon", "drop", "forget the end"] {
        let place = Place::new(RECORD, &[]);
        let mut program = start(&place);
        program.write_message(b"whole message\n");
        match how {
            "abandon" => program.abandon(),
            "drop" => drop(program),
            // A record that would end the envelope early is not written, nor anything after it.
            _ => {
                let finished = program.commit([b"Fa\0".as_slice(), b"\0", b"Tb\0"]);
                assert_eq!(word(&finished), "exit 54");
            }
        }
        // Both waited for its end, so what it has read is there.
        assert_eq!(place.read("message"), b"whole message\n", "{how}");
        assert!(!place.read("envelope").ends_with(b"\0\0"), "{how}");
    }
}

#[test]
fn q4_a_record_with_a_nul_inside_queues_nothing() {
    for record in [b"Ta\0Tb\0".as_slice(), b"T", b"", b"\0", b"Ta\0\0"] {
        let place = Place::new(RECORD, &[]);
        let finished = start(&place).commit([b"Fjoe\0".as_slice(), record]);
        assert_eq!(word(&finished), "exit 54", "{record:?}");
        assert_eq!(place.read("envelope"), b"", "{record:?}");
    }
}

/// The process that would have committed is killed when the program has read all of the message, at the last possible
/// moment: while it waits for the records of the envelope from elsewhere.
#[test]
fn q4_killed_in_the_middle_of_a_commit_the_envelope_stays_open() {
    let place = Place::new(&format!(r#"{RECORD}; echo done > "$OUT/fifo""#), &[]);
    let fifo = CString::new(place.out.join("fifo").to_str().unwrap()).unwrap();
    let made = std::process::Command::new("mkfifo").arg(place.out.join("fifo")).status().unwrap();
    assert!(made.success(), "{fifo:?}");
    let (mut near, far) = std::io::pipe().unwrap();
    let pid = match process::fork().unwrap() {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let mut program = start(&place);
            program.write_message(b"message\n");
            let large = vec![b'T'; 40_000].into_iter().chain([0]).collect::<Vec<u8>>();
            program.commit([b"Fjoe\0".to_vec(), large].into_iter().chain(std::iter::from_fn(|| {
                let _ = std::io::Write::write_all(&mut &far, b"k");
                loop {
                    std::thread::park();
                }
            })));
            process::exit(0)
        }
    };
    near.read_exact(&mut [0]).unwrap();
    process::kill(pid, Signal::Kill).unwrap();
    // The program goes on alone, to its own end.
    assert_eq!(std::fs::read(place.out.join("fifo")).unwrap(), b"done\n");
    let envelope = place.read("envelope");
    assert!(envelope.starts_with(b"Fjoe\0TTTT") && !envelope.ends_with(b"\0\0"), "{}", envelope.len());
    while process::reap_one(pid).is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn a78_a_program_that_refuses_early_is_drained_and_answered_with_its_status() {
    let place = Place::new("exec 0<&-; printf 'Dno thanks' >&6; exit 82", &[]);
    let mut program = start(&place);
    for _ in 0..180 {
        program.write_message(&[b'x'; 1024]);
    }
    // The pipe takes some before the program is there to close it.
    while program.is_whole() {
        program.write_message(&[b'x'; 1024]);
    }
    let finished = program.commit(ENVELOPE);
    assert_eq!((word(&finished).as_str(), finished.text6.as_slice()), ("exit 82", b"Dno thanks".as_slice()));
}

#[test]
fn q4_a_hundred_megabytes_pass() {
    let place = Place::new(r#"wc -c > "$OUT/message"; cat <&1 > "$OUT/envelope""#, &[]);
    let mut program = start(&place);
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..1600 {
        program.write_message(&piece);
    }
    assert_eq!(word(&program.commit(ENVELOPE)), "accepted");
    assert_eq!(String::from_utf8(place.read("message")).unwrap().trim(), (1600 << 16).to_string());
}

#[test]
fn q4_custom_errors_are_heard_at_any_time_and_bounded() {
    let chatter = "head -c 1000000 /dev/zero | tr '\\0' 4 >&4; head -c 1000000 /dev/zero | tr '\\0' 6 >&6";
    let table = [
        ("before the message", format!("{chatter}; cat >/dev/null; cat <&1 >/dev/null; exit 82")),
        ("before the envelope", format!("cat >/dev/null; {chatter}; cat <&1 >/dev/null; exit 82")),
        ("at the end", format!("cat >/dev/null; cat <&1 >/dev/null; {chatter}; exit 82")),
    ];
    for (when, program) in table {
        let place = Place::new(&program, &[]);
        let mut program = start(&place);
        program.write_message(&vec![b'x'; 1 << 20]);
        let recipients = (0..20_000).map(|n| format!("Tuser{n}@example.org\0").into_bytes());
        let finished = program.commit(std::iter::once(b"Fjoe\0".to_vec()).chain(recipients));
        assert_eq!(word(&finished), "exit 82", "{when}");
        assert_eq!((finished.text4, finished.text6), (vec![b'4'; 4096], vec![b'6'; 4096]), "{when}");
    }
}

#[test]
fn q4_the_custom_error_goes_where_error_fd_says() {
    let table = [("ERROR_FD=9", 9, false), ("ERROR_FD=6", 6, true), ("ERROR_FD=1", 4, false), ("ERROR_FD=x", 4, false)];
    for (variable, number, six) in table {
        let place = Place::new(&format!("cat >/dev/null; echo why >&{number}; exit 82"), &[variable]);
        // The shell keeps numbers above 9 to itself; 9 it hands on.
        let finished = deliver(&place, b"x");
        let (text, other) = if six { (finished.text6, finished.text4) } else { (finished.text4, finished.text6) };
        assert_eq!((text.as_slice(), other.as_slice()), (b"why\n".as_slice(), b"".as_slice()), "{variable}");
    }
}

#[test]
fn q4_something_left_behind_with_our_pipes_holds_nobody() {
    // A pipe of its own keeps the rest alive exactly until the test is over.
    let (hold, release) = std::io::pipe().unwrap();
    let place = Place::new("cat >/dev/null; cat <&1 >/dev/null; (read x <&2) & printf 'Zlater' >&6; exit 82", &[]);
    let around = gatepost_program::Surroundings { stderr: Some(std::os::fd::AsFd::as_fd(&hold)), ..place.around() };
    let program = QueueProgram::start(&obliging(), &around, patience()).unwrap();
    let finished = program.commit(ENVELOPE);
    assert_eq!((word(&finished).as_str(), finished.text6.as_slice()), ("exit 82", b"Zlater".as_slice()));
    drop(release);
}

#[test]
fn q4_a_program_that_takes_nothing_does_not_hold_us() {
    let (hold, release) = std::io::pipe().unwrap();
    let place = Place::new("read x <&2; exit 0", &[]);
    let around = gatepost_program::Surroundings { stderr: Some(std::os::fd::AsFd::as_fd(&hold)), ..place.around() };
    let short = Duration::from_millis(50);
    let hurry = Patience { progress: short, verdict: short, exit: short };
    let mut program = QueueProgram::start(&obliging(), &around, hurry).unwrap();
    program.write_message(&vec![b'x'; 1 << 20]);
    assert!(!program.is_whole());
    let finished = program.commit(ENVELOPE);
    assert_eq!(word(&finished), "late");
    drop(release);
    while gatepost_sys::process::reap_one(finished.pid).is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn q4_environment_signals_and_descriptors_are_what_a_program_expects() {
    let what = r#"cat >/dev/null; cat <&1 >/dev/null; cp /proc/$$/environ "$OUT/environ"
        ls /proc/$$/fd > "$OUT/fds"; exec grep -E '^Sig(Blk|Ign)|^NoNewPrivs' /proc/self/status > "$OUT/status""#;
    let place = Place::new(what, &["TCPREMOTEIP=192.0.2.1", "EMPTY=", "\u{fffd}=not a name"]);
    gatepost_sys::signal::ignore_file_size().unwrap();
    assert_eq!(word(&deliver(&place, b"x")), "accepted");
    let exact: Vec<u8> = place.env.iter().flat_map(|entry| entry.to_bytes_with_nul().to_vec()).collect();
    assert_eq!(place.read("environ"), exact);
    let status = String::from_utf8(place.read("status")).unwrap();
    let values: Vec<_> = status.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(values.len(), 3, "{status}");
    // Signals 1 to 31. Above lie those that the C library keeps for itself.
    let is_clear = |value: &&str| u64::from_str_radix(value, 16).is_ok_and(|set| set & 0x7fff_ffff == 0);
    assert!(values.iter().all(is_clear), "{status}");
    let fds = String::from_utf8(place.read("fds")).unwrap();
    // From 10 on lies what the shell keeps for itself.
    assert_eq!(fds.lines().filter(|fd| fd.len() == 1).collect::<Vec<_>>(), ["0", "1", "2", "4", "6"]);
}

#[test]
fn q4_a_wrapper_s_memory_limit_is_lifted_for_the_program_as_far_as_the_system_lets_us() {
    const LOW: u64 = 100 << 20;
    for both in [false, true] {
        let mut place = Place::new(r#"cat >/dev/null; cat <&1 >/dev/null; ulimit -d > "$OUT/data""#, &[]);
        // In a process of its own: it may not be able to take this back.
        let told = process::apart(|| {
            let (_, hard) = limits::get(Limit::Data).unwrap();
            if both { limits::set(Limit::Data, LOW) } else { limits::set_soft(Limit::Data, LOW) }.unwrap();
            place.limits = Inherited::read().unwrap();
            let stay = place.limits.raise_memory(u64::MAX).unwrap();
            assert_eq!(word(&deliver(&place, b"x")), "accepted");
            let stays = stay.iter().find(|(limit, _)| *limit == Limit::Data).map_or(u64::MAX, |(_, value)| *value);
            let ours = limits::get(Limit::Data).unwrap().0;
            format!("{stays} {hard} {ours}").into_bytes()
        });
        let told = String::from_utf8(told.unwrap()).unwrap();
        let told: Vec<u64> = told.split(' ').map(|value| value.parse().unwrap()).collect();
        let [stays, hard, ours] = told[..] else { panic!("{told:?}") };
        // A soft limit alone always goes; a hard one only with CAP_SYS_RESOURCE, which root in a container may lack.
        assert!(stays == hard || both && [LOW, u64::MAX].contains(&stays), "{both}: {stays}");
        let seen = if stays == u64::MAX { "unlimited\n".to_owned() } else { format!("{}\n", stays >> 10) };
        assert_eq!(String::from_utf8(place.read("data")).unwrap(), seen, "{both}");
        assert_eq!(ours, LOW, "our own limit is as it was");
    }
}
