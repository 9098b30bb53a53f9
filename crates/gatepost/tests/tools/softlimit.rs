//! B57 to B65: options, limits, errors.

use crate::beside::pair;
use gatepost_testkit::run::write_program;

#[test]
fn issue_11_softlimit_sets_what_the_original_sets() {
    let Some([theirs, ours]) = pair("softlimit", "softlimit") else { return };
    let ulimits = "ulimit -Sd; ulimit -Hd; ulimit -Ss; ulimit -Sl; ulimit -Sv; ulimit -Sn; ulimit -Hn";
    let within = |limits: &str| format!("{limits}; exec \"$0\" -d 4000000 -o 4000 cat /proc/self/limits");
    for line in [
        // B57, B58.
        &[][..],
        &["-d", "5"],
        &["-d", "abc", "true"],
        &["-d", "10x", "true"],
        &["-d", "-1", "true"],
        &["-d", "+5", "true"],
        &["-d"],
        &["-z", "true"],
        &["-:", "true"],
        &["-v-", "true"],
        &["-ad5", "true"],
        &["-d5o7", "true"],
        &["-d==", "true"],
        &["--help"],
        // What it sets: B59, B61, B62, B63.
        &["-d", "1048576", "sh", "-c", ulimits],
        &["-d1048576", "sh", "-c", ulimits],
        &["-m", "8000000", "sh", "-c", ulimits],
        &["-o", "5", "sh", "-c", ulimits],
        &["-o", "=", "sh", "-c", ulimits],
        &["-o", "99999999", "sh", "-c", ulimits],
        &["-d", "5", "-d", "3000000", "sh", "-c", ulimits],
        &["-a", "90000000", "cat", "/proc/self/limits"],
        &["-c", "12345", "cat", "/proc/self/limits"],
        &["-f", "123456", "cat", "/proc/self/limits"],
        &["-l", "4097", "cat", "/proc/self/limits"],
        &["-m", "90000000", "cat", "/proc/self/limits"],
        &["-p", "321", "cat", "/proc/self/limits"],
        &["-r", "7654321", "cat", "/proc/self/limits"],
        &["-s", "1000000", "cat", "/proc/self/limits"],
        &["-t", "17", "cat", "/proc/self/limits"],
        &["-a=", "-c=", "-d=", "-f=", "-l=", "-m=", "-o=", "-p=", "-r=", "-s=", "-t=", "cat", "/proc/self/limits"],
        &["-c", "", "cat", "/proc/self/limits"],
        &["-d", "18446744073709551615", "cat", "/proc/self/limits"],
        &["--", "echo", "-d"],
        &["--anything", "echo", "-d"],
        // What it leaves as it is.
        &["-o", "99", "sh", "-c", "ls /proc/self/fd; grep Sig[PBIC] /proc/self/status; umask; pwd | wc -l; echo $A"],
        // B64.
        &["nonexistent"],
        &["./nonexistent"],
        &["/tmp"],
        &["/etc/passwd"],
        &["-"],
        &[""],
        &["./script"],
    ] {
        let [theirs, ours] = [&theirs, &ours].map(|program| {
            let script = b"echo a script without an interpreter is nobody's program\n";
            write_program(&program.directory.join("script"), script);
            program.run_with(&[("A", "kept")], line)
        });
        assert_eq!(ours, theirs, "{line:?}");
        assert!(!line.contains(&ulimits) || ours.status == Some(0) && ours.stdout.lines().count() == 7, "{ours:?}");
    }
    // B60, B65: a hard limit below is kept.
    for limits in ["ulimit -d 1024", "ulimit -n 64"] {
        let said = [&theirs, &ours].map(|program| {
            std::process::Command::new("sh").args(["-c", &within(limits)]).arg(program.file()).output().unwrap()
        });
        assert_eq!(said[0], said[1], "{limits}");
        assert!(said[0].status.success() && said[0].stdout.len() > 500, "{said:?}");
    }
    // Directories of PATH.
    for path in ["/nonexistent", "", "/etc:/nonexistent", "/etc:/usr/bin", "/nonexistent::/bin"] {
        let [theirs, ours] = [&theirs, &ours].map(|program| program.run_with(&[("PATH", path)], &["passwd", "--help"]));
        assert_eq!(ours, theirs, "{path}");
    }
}
