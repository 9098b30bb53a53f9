//! B33 to B55: sources, files, look-ups, errors.

use crate::beside::{Program, Said, original6, ours, pair};
use gatepost_rules::{Peer, RuleDecision, Rules};
use gatepost_testkit::host::source_tree;
use gatepost_testkit::run::run;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// Lines that the original doesn't have.
const OURS: [&str; 2] = ["tcprules: warning: ", "tcprules: line "];

/// Who is looked up: TCPREMOTEIP, TCPREMOTEHOST, TCPREMOTEINFO.
const PEERS: [(&str, Option<&str>, Option<&str>); 12] = [
    ("1.2.3.4", Some("h.ex.com"), Some("joe")),
    ("1.2.3.5", Some("h.ex.com"), Some("joe")),
    ("1.2.9.9", Some("other.ex.com"), None),
    ("1.9.9.9", Some("ex.org"), Some("")),
    ("1.2.3.255", None, Some("user")),
    ("9.9.9.9", Some(".com"), None),
    ("18.23.1.1", Some(""), None),
    ("127.0.0.1", None, None),
    ("2001:db8::5", None, Some("joe")),
    ("2001:db8:1::5", Some("h.ex.com"), None),
    ("::ffff:1.2.3.4", None, None),
    ("", None, None),
];

/// Dialect and source of each part of the table.
fn sources() -> Vec<(String, String)> {
    let text = fs::read_to_string(source_tree().join("crates/ucspi/tests/sources.txt")).unwrap();
    let parts = text.split("--- ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap()).map(|(dialect, source)| (dialect.into(), source.into())).collect()
}

/// What `check` says of everybody.
fn verdicts(check: &Program, cdb: &[u8]) -> Vec<Said> {
    check.put("rules.cdb", cdb);
    let verdict = |(ip, host, info): &(&str, Option<&str>, Option<&str>)| {
        let variables = [("TCPREMOTEIP", Some(*ip)), ("TCPREMOTEHOST", *host), ("TCPREMOTEINFO", *info)];
        let variables: Vec<_> = variables.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        check.run_with(&variables, &["rules.cdb"])
    };
    PEERS.iter().map(verdict).collect()
}

#[test]
fn issue_11_files_and_verdicts_are_those_of_the_originals() {
    let name = "files_and_verdicts";
    let Some([plain, ours]) = pair(name, "tcprules") else { return };
    let [plain_check, our_check] = pair(name, "tcprulescheck").unwrap();
    let with_ipv6 = original6(name, "tcprules").zip(original6(name, "tcprulescheck"));
    let (mut compared, mut refused) = (0, 0);
    for (dialect, source) in sources() {
        let (theirs, check) = match (dialect.as_str(), &with_ipv6) {
            ("tcprules", _) => (&plain, &plain_check),
            ("tcprules6", Some((make, check))) => (make, check),
            _ => continue,
        };
        let [made, our_made] = [theirs, &ours].map(|program| {
            program.put("input", &source);
            program.put("rules.cdb", "as it was");
            program.run(&["rules.cdb", "rules.tmp"])
        });
        assert_eq!(our_made.clone().without(&OURS), made, "{source}");
        let cdb = theirs.get("rules.cdb").unwrap();
        assert_eq!(ours.get("rules.cdb").unwrap(), cdb, "{source}");
        if made.status == Some(100) {
            assert_eq!(cdb, b"as it was");
            assert!(our_made.stderr.contains("\ntcprules: line "), "{our_made:?}");
            refused += 1;
        } else {
            assert_eq!(verdicts(&our_check, &cdb), verdicts(check, &cdb), "{source}");
            compared += 1;
        }
    }
    println!("{compared} files and {} verdicts compared, {refused} refusals", compared * PEERS.len());
    assert!(compared >= 20 && refused >= 10, "{compared}, {refused}");
}

#[test]
fn issue_11_a_nul_in_a_source_is_what_it_is_to_the_original() {
    let Some(programs) = pair("issue_11_a_nul_in_a_source", "tcprules") else { return };
    let compiled = |source: &str| {
        programs.each_ref().map(|program| {
            program.put("input", source);
            program.put("rules.cdb", "as it was");
            (program.run(&["rules.cdb", "rules.tmp"]), program.get("rules.cdb").unwrap())
        })
    };
    for (source, status) in [
        // The line that is said ends there.
        ("1.2.3.4:allow\0\n", 100),
        (":allow\n1.2.3.4:deny\0,X=\"a\"", 100),
        ("1.2.3.4:deny,X=\"a\"\0\n", 100),
        ("1.2.3.4:\0allow\n", 100),
        ("1.2.3.4:al\0low\n", 100),
        ("1.2.3.4:allow,X=\0ab\"\n", 100),
        (":allow \0\n", 100),
        (":allow\0 \t\n", 100),
        ("bad\0tail:x\n", 100),
        ("\0:x\n", 100),
        ("::1\0:allow\n", 100),
        // Of an address, a name, a value it is a part, and to values it may be the quote.
        ("\0:allow\n1.2\0.3.4:allow\n1.2.3.4\0:deny\n", 0),
        ("joe\0@1.2.3.4:deny\n=h\0.ex.com:deny\njoe@1-2\0:deny\n", 0),
        ("1.2.3.4-5.\0:deny\n1\0.2.3-4.:deny\n", 0),
        ("1.2.3.4:allow,X\0Y=\"a\0b\",\0=\"\",Z=\0ab\0\n", 0),
        (":allow,X=\"1\0D\0\"\n1.2.3.4:allow,X=\"1\0+Y=2\"\n", 0),
        // No rule.
        ("\0\nno\0colon\n#c\0omment\n\0", 0),
    ] {
        let [(theirs, cdb), (ours, our_cdb)] = compiled(source);
        assert_eq!(theirs.status, Some(status), "{source:?}");
        assert_eq!(ours.clone().without(&OURS), theirs, "{source:?}");
        assert!(our_cdb == cdb, "{source:?}: the files differ");
        assert_eq!(ours.stderr.contains("\ntcprules: line "), status == 100, "{source:?}: {ours:?}");
    }
    // tcprules(1): the number that it ends is read in part by the original, and by ours not at all.
    for source in ["1.2.3.4-5\0:deny\n", "1.2.3.4-5\0x:deny\n", "1.2.3.4\0-5:deny\n", "1.2.3.4-\0:deny\n"] {
        let [(theirs, _), (ours, cdb)] = compiled(source);
        let shown = source.split('\0').next().unwrap();
        let expected = format!(
            "tcprules: fatal: unable to parse this line: {shown}\n\
             tcprules: line 1: on both sides of the hyphen there must be a number\n"
        );
        assert_eq!((theirs.status, theirs.stderr.as_str()), (Some(0), ""), "{source:?}");
        assert_eq!((ours.status, ours.stderr), (Some(100), expected), "{source:?}");
        assert_eq!(cdb, b"as it was", "{source:?}");
    }
}

#[test]
fn issue_11_networks_have_a_file_that_the_original_reads_without_them() {
    let name = "networks";
    let Some([theirs, check]) = pair(name, "tcprulescheck") else { return };
    let ours = ours(name, "tcprules");
    ours.put("input", "10.0.0.0/8:allow,RELAYCLIENT=\"\"\n10.1.0.0/16:deny\n2001:db8::/32:deny\n:allow,A=\"1\"\n");
    let quiet = Said { status: Some(0), stdout: String::new(), stderr: String::new() };
    assert_eq!(ours.run(&["rules.cdb", "rules.tmp"]), quiet);
    let cdb = ours.get("rules.cdb").unwrap();
    for (ip, expected) in [
        ("10.2.3.4", "rule 10.0.0.0/8:\nset environment variable RELAYCLIENT=\nallow connection\n"),
        ("10.1.3.4", "rule 10.1.0.0/16:\ndeny connection\n"),
        ("2001:db8:ffff::1", "rule 2001:db8::/32:\ndeny connection\n"),
        ("11.0.0.0", "rule :\nset environment variable A=1\nallow connection\n"),
    ] {
        for program in [&check, &theirs] {
            program.put("rules.cdb", &cdb);
        }
        assert_eq!(check.run_with(&[("TCPREMOTEIP", ip)], &["rules.cdb"]).stdout, expected);
        let theirs = theirs.run_with(&[("TCPREMOTEIP", ip)], &["rules.cdb"]).stdout;
        assert_eq!(theirs, "rule :\nset environment variable A=1\nallow connection\n");
    }
}

#[test]
fn issue_11_a_line_that_sends_the_ipv6_build_into_a_loop_is_told_by_its_number() {
    let ours = ours("loop", "tcprules");
    ours.put("rules.cdb", "as it was");
    // B55, and B43 with what is new of it.
    ours.put("input", ":allow\n\n::1:ALLOW\n");
    let said = ours.run(&["rules.cdb", "rules.tmp"]);
    let expected = "tcprules: fatal: unable to parse this line: ::1:ALLOW\n\
                    tcprules: line 3: there is no allow or deny behind the address\n";
    assert_eq!((said.status, said.stderr.as_str()), (Some(100), expected));
    assert_eq!(ours.get("rules.cdb").unwrap(), b"as it was");
    // B44: ignored, and said to be.
    ours.put("input", ":allow\nbogus\n");
    let said = ours.run(&["rules.cdb", "rules.tmp"]);
    let expected = "tcprules: warning: line 2: ignored: there is no colon in it\n";
    assert_eq!((said.status, said.stderr.as_str()), (Some(0), expected));
}

/// A directory on another file system than the target directory's, if `/dev/shm` is one.
fn elsewhere(here: &Program) -> Option<&'static str> {
    let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
    let shm = Path::new("/dev/shm");
    device(shm).filter(|shm| Some(*shm) != device(&here.directory)).map(|_| "/dev/shm")
}

#[test]
fn issue_11_errors_have_the_original_s_words_and_exit_statuses() {
    // B51, B52, B53.
    let name = "errors";
    let Some(pair) = pair(name, "tcprules") else { return };
    let away = format!("/dev/shm/gatepost-tools-{}", std::process::id());
    let mut lines = vec![
        vec![],
        vec!["rules.cdb"],
        vec!["rules.cdb", "rules.tmp", "more"],
        vec!["-x", "-y"],
        vec!["rules.cdb", "/nonexistent/rules.tmp"],
        vec!["/nonexistent/rules.cdb", "rules.tmp"],
        vec!["rules.cdb", "/dev/full"],
        vec!["rules.cdb", "/tmp"],
        vec!["/tmp", "rules.tmp"],
    ];
    if elsewhere(&pair[0]).is_some() {
        lines.push(vec!["rules.cdb", away.as_str()]);
    }
    for line in lines {
        let said = pair.each_ref().map(|program| {
            program.put("input", ":deny\n");
            program.put("rules.cdb", "as it was");
            let said = program.run(&line);
            (said, program.get("rules.cdb"), program.get("rules.tmp").is_some(), program.get("-x"))
        });
        assert_eq!(said[0], said[1], "{line:?}");
    }
    let _ = fs::remove_file(&away);
    // Standard input can't be read.
    let said = pair.each_ref().map(|program| {
        fs::remove_file(program.directory.join("input")).unwrap();
        fs::create_dir(program.directory.join("input")).unwrap();
        program.run(&["rules.cdb", "rules.tmp"])
    });
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0].stderr, "tcprules: fatal: unable to read input: is a directory\n");
}

/// A cdb with one key, the empty one, and slots that `change` was let loose on: (offset of the table, the file).
fn changed(change: impl Fn(usize, &mut Vec<u8>)) -> Vec<u8> {
    let mut file = vec![0; 2048];
    let (table, end) = (2048 + 8 + 2_u32, 2048 + 8 + 2 + 16_u32);
    file.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0, b'D', 0]);
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&[5, 0x15, 0, 0, 0, 8, 0, 0]);
    for (number, header) in file.chunks_exact_mut(8).take(256).enumerate() {
        let (at, slots) = if number == 5 { (table, 2) } else { (if number < 5 { table } else { end }, 0) };
        header[..4].copy_from_slice(&u32::to_le_bytes(at));
        header[4..].copy_from_slice(&u32::to_le_bytes(slots));
    }
    change(2048 + 10, &mut file);
    file
}

#[test]
fn issue_11_damaged_files_have_the_original_s_verdict() {
    // B29, B51.
    let name = "damaged";
    let Some([theirs, ours]) = pair(name, "tcprulescheck") else { return };
    let header = 5 * 8;
    let put = |at: usize, octets: &[u8], file: &mut Vec<u8>| file[at..at + octets.len()].copy_from_slice(octets);
    let whole = changed(|_, _| ());
    let mut files = vec![
        ("empty", Vec::new()),
        ("junk", b"junk\n".to_vec()),
        ("whole", whole.clone()),
        (
            "all slots taken by another hash",
            changed(|table, file| put(table, &[9, 9, 0, 0, 0, 8, 0, 0, 9, 9, 0, 0, 0, 8, 0, 0], file)),
        ),
        (
            "all slots lead to the wrong key",
            changed(|table, file| {
                put(table, &[5, 0x15, 0, 0, 0, 8, 0, 0, 5, 0x15, 0, 0, 0, 8, 0, 0], file);
                put(2048, &[1, 0, 0, 0, 1, 0, 0, 0], file);
            }),
        ),
        ("a slot leads out of the file", changed(|table, file| put(table + 12, &[0xff; 4], file))),
        ("a slot leads into the header", changed(|table, file| put(table + 12, &[1, 0, 0, 0], file))),
        ("the table is out of the file", changed(|_, file| put(header, &[0xff, 0xff, 0, 0], file))),
        ("the data is larger than the file", changed(|_, file| put(2048 + 4, &[0xff, 0xff, 0, 0], file))),
        ("the key is larger than the file", changed(|_, file| put(2048, &[0xff, 0xff, 0, 0], file))),
        ("no NUL", changed(|_, file| put(2048 + 8, b"DD", file))),
    ];
    files.extend((0..whole.len()).step_by(97).skip(1).map(|cut| ("cut off", whole[..cut].to_vec())));
    files.extend((2040..whole.len()).map(|cut| ("cut off", whole[..cut].to_vec())));
    for (what, file) in &files {
        let [theirs, ours] = [&theirs, &ours].map(|program| {
            program.put("rules.cdb", file);
            program.run_with(&[("TCPREMOTEIP", "1.2.3.4")], &["rules.cdb"])
        });
        assert_eq!(ours, theirs, "{what}, {} octets", file.len());
    }
    for program in [&theirs, &ours] {
        run(Command::new("mkfifo").arg(program.directory.join("fifo"))).expect_ok("mkfifo");
    }
    for line in [&[][..], &["none.cdb"], &["fifo"], &["/dev/null"], &["/dev/zero"], &["none/none"], &["rules.cdb/none"]]
    {
        assert_eq!(ours.run(line), theirs.run(line), "{line:?}");
    }
    // This crashes the original.
    let said = ours.run(&["/tmp"]);
    assert_eq!(
        (said.status, said.stderr.as_str()),
        (Some(111), "tcprulescheck: fatal: unable to read /tmp: is a directory\n")
    );
}

#[test]
fn issue_11_ten_thousand_rules_give_exact_verdicts() {
    let name = "ten_thousand";
    let Some([theirs, ours]) = pair(name, "tcprules") else { return };
    // Each third component has a rule of its own or none, and so has each address below it.
    let network = |n: u32| format!("10.{}.{}.", n / 256, n % 256);
    let rules: Vec<(String, u32)> = (0..10_000)
        .map(|n| match n % 4 {
            0 => (network(n), n),
            1 => (format!("{}7", network(n - 1)), n),
            2 => (format!("joe@{}8", network(n)), n),
            _ => (format!("=host{n}.example"), n),
        })
        .collect();
    let source: String = rules.iter().map(|(key, n)| format!("{key}:allow,N=\"{n}\"\n")).collect();
    for program in [&theirs, &ours] {
        program.put("input", &source);
        assert_eq!(
            program.run(&["rules.cdb", "rules.tmp"]),
            Said { status: Some(0), stdout: String::new(), stderr: String::new() }
        );
    }
    assert!(ours.get("rules.cdb") == theirs.get("rules.cdb"), "the files differ");
    let file = Rules::open(&ours.directory.join("rules.cdb")).unwrap();
    let mut looked_up = 0;
    let mut expect = |ip: String, host: Option<String>, info: Option<&[u8]>, expected: Option<u32>| {
        let peer = Peer { ip: ip.as_bytes(), host: host.as_ref().map(|host| host.as_bytes()), info };
        let seen = match file.judge(&peer).unwrap() {
            RuleDecision::NoRule => None,
            RuleDecision::Allow(variables) => {
                Some(String::from_utf8(variables[0].value.clone()).unwrap().parse().unwrap())
            }
            RuleDecision::Deny => panic!("{peer:?}"),
        };
        assert_eq!(seen, expected, "{ip} {host:?}");
        looked_up += 1;
    };
    for n in 0..10_000 {
        let of_network = (n % 4 == 0).then_some(n);
        expect(format!("{}7", network(n)), None, None, of_network.map(|n| n + 1));
        expect(format!("{}8", network(n)), None, None, of_network);
        expect(format!("{}8", network(n)), None, Some(b"joe"), if n % 4 == 2 { Some(n) } else { of_network });
        expect(format!("{}8", network(n)), None, Some(b"jim"), of_network);
        expect("9.9.9.9".into(), Some(format!("host{n}.example")), None, (n % 4 == 3).then_some(n));
    }
    println!("{looked_up} look-ups in a file of {} rules", rules.len());
}

/// Without this the standard library's /dev/null would be read, and all rules replaced by none.
#[test]
fn issue_11_tcprules_without_an_input_writes_nothing() {
    let Some(programs) = pair("issue_11_tcprules_without_an_input_writes_nothing", "tcprules") else { return };
    let ended = programs.map(|program| {
        let run = |input: &str| {
            let line = format!("{} rules.cdb rules.tmp {input}", program.file().display());
            let output = Command::new("sh").args(["-c", &line]).current_dir(&program.directory).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            (output.status.code(), said, program.get("rules.cdb").map(|octets| octets.len()))
        };
        let closed = run("<&-");
        [closed, run("</dev/null")]
    });
    let [theirs, ours] = &ended;
    assert_eq!(ours, theirs);
    assert_eq!((ours[0].0, ours[0].2, ours[1].0, ours[1].2), (Some(111), None, Some(0), Some(2048)));
}
