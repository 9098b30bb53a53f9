//! Recipient checks, plugins and password checkers, real ones of /bin/sh.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{INERT, NO_SUCH, Place, obliging};
use gatepost_program::{End, Ended, PluginCommand, Surroundings, check_password, run_check, run_plugin};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

fn status(ended: &Ended) -> Option<u8> {
    match ended {
        Ended::Ran(End::Exit(status)) => Some(*status),
        _ => None,
    }
}

#[test]
fn q4_a_check_answers_by_its_status_and_sees_no_client() {
    let what = r#"test "$RECIPIENT" = a@example.org || exit 1; ls -l /proc/$$/fd > "$OUT/fds"; exit 100"#;
    let place = Place::new(what, &["RECIPIENT=a@example.org"]);
    let ended = run_check(&obliging(), &place.around(), LONG).unwrap();
    assert_eq!(status(&ended), Some(100));
    let fds = String::from_utf8(place.read("fds")).unwrap();
    assert_eq!(fds.matches("/dev/null").count(), 2, "{fds}");
    assert!(!fds.contains("socket"), "{fds}");
    let crashed = run_check(&obliging(), &Place::new("kill -6 $$", &[]).around(), LONG).unwrap();
    assert!(matches!(crashed, Ended::Ran(End::Signal(6))));
    let inert = CString::new(INERT).unwrap();
    for command in [NO_SUCH, &*inert] {
        assert!(matches!(run_check(command, &place.around(), LONG).unwrap(), Ended::NotExecuted(_)));
    }
}

#[test]
fn q4_a_check_that_takes_too_long_is_killed_with_all_that_it_started() {
    // Whoever of them lives holds the reading end of this pipe open.
    let (hold, release) = std::io::pipe().unwrap();
    let place = Place::new("(read x <&2) & read x <&2", &[]);
    let around = Surroundings { stderr: Some(hold.as_fd()), ..place.around() };
    assert!(matches!(run_check(&obliging(), &around, SHORT).unwrap(), Ended::TimedOut));
    drop(hold);
    let until = Instant::now().checked_add(LONG);
    let gone = gatepost_sys::wait::ready(&[(release.as_fd(), gatepost_sys::wait::Want::Read)], until).unwrap();
    assert_eq!(gone, [true], "nobody reads any more");
}

#[test]
fn q4_a_plugin_is_heard() {
    let table: [(&CStr, &[u8], Option<u8>); 4] = [
        (c"echo E550 no; echo D", b"E550 no\nD\n", Some(0)),
        (c"read x; echo $?; exit 3", b"1\n", Some(3)),
        (c"exit 0", b"", Some(0)),
        (c"printf %s \"$SMTPRCPTTO\"", b"a@example.org", Some(0)),
    ];
    for (line, output, end) in table {
        let place = Place::new(line.to_str().unwrap(), &["SMTPRCPTTO=a@example.org"]);
        let program = obliging();
        for command in [PluginCommand::Shell(line), PluginCommand::Program(&program)] {
            let plugin = run_plugin(command, &place.around(), LONG).unwrap();
            assert_eq!((plugin.output.as_slice(), status(&plugin.ended), plugin.cut), (output, end, false), "{line:?}");
        }
    }
}

#[test]
fn q4_a_plugin_cannot_fill_our_memory_nor_hold_us() {
    let place = Place::new("", &[]);
    let much = run_plugin(PluginCommand::Shell(c"head -c 10000000 /dev/zero"), &place.around(), LONG).unwrap();
    assert_eq!((much.output.len(), much.cut, status(&much.ended)), (64 * 1024, true, Some(0)));
    let endless = run_plugin(PluginCommand::Shell(c"cat /dev/zero"), &place.around(), SHORT).unwrap();
    assert!(endless.cut && matches!(endless.ended, Ended::TimedOut));
    let (hold, release) = std::io::pipe().unwrap();
    let around = Surroundings { stderr: Some(hold.as_fd()), ..place.around() };
    let left = run_plugin(PluginCommand::Shell(c"echo N; (read x <&2) & exit 0"), &around, LONG).unwrap();
    assert_eq!((left.output.as_slice(), status(&left.ended)), (b"N\n".as_slice(), Some(0)));
    drop(release);
}

#[test]
fn q4_a_password_checker_is_found_by_path_and_reads_descriptor_3() {
    let place = Place::new("", &[]);
    let secret = b"user\0pass word\0\0";
    let script = CString::new("cat <&3 > $OUT/secret; printf %s \"$1\" > $OUT/args; exit 1").unwrap();
    let args = [c"sh", c"-c", &*script, c"sh", c"/bin/true"];
    assert_eq!(status(&check_password(&args, &place.around(), secret, LONG).unwrap()), Some(1));
    assert_eq!(place.read("secret"), secret);
    assert_eq!(place.read("args"), b"/bin/true");
    // Without reading; more than a pipe takes; not there; not executable in the first of two directories.
    assert_eq!(status(&check_password(&[c"true"], &place.around(), secret, LONG).unwrap()), Some(0));
    assert_eq!(status(&check_password(&[c"true"], &place.around(), &[7; 1 << 20], LONG).unwrap()), Some(0));
    let missing = check_password(&[c"no-such-checker"], &place.around(), secret, LONG).unwrap();
    assert!(matches!(missing, Ended::NotExecuted(e) if e.kind() == std::io::ErrorKind::NotFound));
    let slow = check_password(&[c"sh", c"-c", c"kill -STOP $$"], &place.around(), secret, SHORT).unwrap();
    assert!(matches!(slow, Ended::TimedOut));
    assert!(check_password(&[], &place.around(), secret, LONG).is_err());
}
