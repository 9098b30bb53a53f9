//! Command lines that don't come to serve.

use crate::site::{Which, ends, mask, same, site};

#[test]
fn issue_11_b1_to_b7_usage_and_start_up_errors() {
    let Some(host) = site("issue_11_b1_to_b7_usage_and_start_up_errors", &[]) else { return };
    let taken = host.listen("127.0.0.1:2526");
    for arguments in [
        &[][..],
        &["0"],
        &["0", "25"],
        &["-Z"],
        &["-vZ", "0", "25", "true"],
        &["-c"],
        &["-vRc"],
        &["-qZ"],
        &["-q", "0", "25"],
        &["-q", "-c"],
        &["0", "nosuchport", "true"],
        &["0", "nosuchport"],
        &["0", "0x19", "true"],
        &["-q", "0", "nosuchport", "true"],
        &["0", "25/tcp", "true"],
        &["127.0.0.1", "2526", "true"],
        &["-q", "127.0.0.1", "2526", "true"],
        &["-Q", "127.0.0.1", "2526", "true"],
        &["-v", "127.0.0.1", "2526", "true"],
        &["192.0.2.77", "2525", "true"],
    ] {
        let (status, stdout, stderr) = same(&format!("{arguments:?}"), |which| ends(&host, which, arguments));
        assert!([Some(100), Some(111)].contains(&status) && stdout.is_empty(), "{arguments:?}: {status:?} {stdout}");
        let silent = arguments.first().is_some_and(|first| *first == "-q") && arguments.get(1) != Some(&"-c");
        assert_eq!(stderr.is_empty(), silent, "{arguments:?}: {stderr}");
    }
    drop(taken);
}

#[test]
fn issue_11_b25_b26_what_the_original_does_not_refuse() {
    let Some(host) = site("issue_11_b25_b26_what_the_original_does_not_refuse", &[]) else { return };
    let fatal = "tcpserver: fatal: ";
    for (arguments, status, said) in [
        (&["0", "99999", "true"][..], 111, format!("{fatal}unable to figure out port number for 99999\n")),
        (&["0", "65536", "true"], 111, format!("{fatal}unable to figure out port number for 65536\n")),
        (&["-U", "127.0.0.1", "0", "true"], 111, format!("{fatal}-U, and no number in the variable UID\n")),
        (&["--user", "nobodyatall", "127.0.0.1", "0", "true"], 111, format!("{fatal}there is no user nobodyatall\n")),
    ] {
        let (code, _, stderr) = ends(&host, Which::Ours, arguments);
        assert_eq!((code, mask(&stderr)), (Some(status), said), "{arguments:?}");
    }
    for arguments in [
        &["-4", "-6", "0", "0", "true"][..],
        &["-u", "joe", "0", "0", "true"],
        &["--no-such-option", "0", "0", "true"],
        &["--user", "nobody", "-u", "1", "0", "0", "true"],
    ] {
        let (code, _, stderr) = ends(&host, Which::Ours, arguments);
        assert!(code == Some(100) && stderr.contains("\ntcpserver: usage: tcpserver ["), "{arguments:?}: {stderr}");
    }
    let (code, stdout, _) = ends(&host, Which::Ours, &["--help"]);
    assert!(code == Some(0) && stdout.contains("--per-address N"), "{stdout}");
}
