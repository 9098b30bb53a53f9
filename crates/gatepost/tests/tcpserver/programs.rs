//! Programs that run under tcpserver in the field, unchanged.

use crate::site::{PORT, Server, Which, same, site};
use gatepost_testkit::host::Host;

/// What a client hears of `program`, and what is said, under one of the servers.
fn dialogue(host: &Host, which: Which, before: &str, line: &str, words: &str) -> (String, Vec<String>) {
    let mut server = Server::start(host, which, before, &format!("-vRHl0 {line}"));
    let heard = server.hear(words);
    server.wait_said("tcpserver: end ", 1);
    server.wait_said("status: 0/40", 2);
    server.signal("TERM");
    // Ids of processes that programs say, and the second in which they say it.
    let masked = |text: &str| text.lines().map(mask_numbers).collect::<Vec<_>>();
    let heard = masked(&heard).into_iter().filter(|line| !line.starts_with("Date:")).collect::<Vec<_>>().join("\n");
    // A program that leaves a process behind is logged by that when it pleases.
    let mut said = masked(&server.said());
    said.sort();
    (heard, said)
}

fn mask_numbers(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        let number = words[at].trim_end_matches(':').parse::<u64>().is_ok();
        let about = at.checked_sub(1).map(|before| words[before].clone()).unwrap_or_default();
        // recordio's lines begin with its id.
        let recorded = at == 0 && words.get(1).is_some_and(|sign| sign == "<" || sign == ">");
        if number && (recorded || ["pid", "qp", "ok"].contains(&about.as_str())) {
            words[at] = "N".to_owned();
        }
    }
    words.join(" ")
}

#[test]
fn issue_11_rblsmtpd_recordio_fixcrio_and_a_web_server() {
    let needs = ["rblsmtpd", "recordio", "fixcrio", "micro-httpd"];
    let Some(host) = site("issue_11_rblsmtpd_recordio_fixcrio_and_a_web_server", &needs) else { return };
    host.write("/tmp/www/page.txt", "a page\n");
    host.write("/tmp/rules", "127.:allow,RBLSMTPD=\"blocked see http://x\"\n");
    host.shell("cd /tmp && tcprules rules.cdb rules.tmp < rules").expect_ok("tcprules");
    let refused = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nQUIT\r\n";
    for (before, line, words, answer) in [
        ("", format!("-x rules.cdb 127.0.0.1 {PORT} rblsmtpd cat"), refused, "451 blocked see http://x"),
        ("export RBLSMTPD=", format!("127.0.0.1 {PORT} rblsmtpd cat"), "through\n", "through"),
        ("", format!("127.0.0.1 {PORT} recordio cat"), "recorded\n", "recorded"),
        ("", format!("127.0.0.1 {PORT} fixcrio cat"), "no cr\n", "no cr"),
        ("", format!("127.0.0.1 {PORT} recordio fixcrio rblsmtpd cat"), "all\n", "all"),
        ("", format!("127.0.0.1 {PORT} micro-httpd /tmp/www"), "GET /page.txt HTTP/1.0\r\n\r\n", "a page"),
        ("", format!("-u 62000 -g 62000 127.0.0.1 {PORT} micro-httpd /tmp/www"), "GET /nopage HTTP/1.0\r\n\r\n", "404"),
    ] {
        let (heard, said) = same(&line, |which| dialogue(&host, which, before, &line, words));
        assert!(heard.contains(answer), "{line}: {heard}\n{said:?}");
    }
}

#[test]
fn issue_11_gatepost_qmail_smtpd_under_both() {
    let Some(host) = site("issue_11_gatepost_qmail_smtpd_under_both", &[]) else { return };
    host.shell("mkdir -p /var/qmail/control /var/qmail/bin && echo mx.test > /var/qmail/control/me").expect_ok("qmail");
    host.write("/var/qmail/control/rcpthosts", "ok.test\n");
    host.write_with("/var/qmail/bin/qmail-queue", "#!/bin/sh\ncat >/dev/null; cat <&1 >/dev/null; exit 0\n", 0o755);
    let line = format!("127.0.0.1 {PORT} {} qmail-smtpd", env!("CARGO_BIN_EXE_gatepost"));
    let words = "HELO a\r\nMAIL FROM:<s@a.test>\r\nRCPT TO:<b@ok.test>\r\nRCPT TO:<b@other.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let (heard, _) = same("qmail-smtpd", |which| {
        let (heard, said) = dialogue(&host, which, "export GATEPOST_LOG=0", &line, words);
        (heard, said.into_iter().filter(|line| line.starts_with("tcpserver: ")).collect::<Vec<_>>())
    });
    assert!(heard.contains("250 ok N qp N") && heard.contains("553 sorry"), "{heard}");
}

#[test]
fn issue_11_softlimit_around_it() {
    let Some(host) = site("issue_11_softlimit_around_it", &["softlimit"]) else { return };
    // The values of how-tos. What is too little for any program on a system of today is left out.
    for limits in ["-m 30000000", "-d 4000000", "-a 300000000 -o 64"] {
        let before = format!(
            "exec softlimit {limits} {} -1 -vRHl0 127.0.0.1 {PORT} cat >/tmp/Ours.port 2>/tmp/Ours.err\n",
            Which::Ours.path()
        );
        let mut server = Server::start(&host, Which::Ours, &before, "");
        assert_eq!(server.hear("served"), "served", "{limits}: {}", server.raw());
        server.signal("TERM");
    }
}

#[test]
fn issue_11_sshd_for_one_connection() {
    let Some(host) = site("issue_11_sshd_for_one_connection", &["sshd", "ssh", "ssh-keygen"]) else { return };
    host.directory("/tmp/ssh", 0, 0o700);
    host.shell(
        "for key in host user; do ssh-keygen -q -t ed25519 -N '' -f /tmp/ssh/$key; done; mkdir -p /run/sshd; \
         cp /tmp/ssh/user.pub /tmp/ssh/authorized",
    )
    .expect_ok("keys");
    let config = "HostKey /tmp/ssh/host\nAuthorizedKeysFile /tmp/ssh/authorized\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n";
    host.write("/tmp/ssh/config", config);
    let client = format!(
        "ssh -F none -i /tmp/ssh/user -p {PORT} -o BatchMode=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null root@127.0.0.1 'echo $SSH_CLIENT; cat; exit 7' < /tmp/ssh/config"
    );
    let (status, heard) = same("sshd -i", |which| {
        let line = format!("-vRHl0 127.0.0.1 {PORT} $(command -v sshd || echo /usr/sbin/sshd) -i -f /tmp/ssh/config");
        let mut server = Server::start(&host, which, "", &line);
        let ended = host.shell(&client);
        server.wait_said("tcpserver: end ", 1);
        server.signal("TERM");
        let heard: String = ended.stdout.lines().skip(1).map(|line| format!("{line}\n")).collect();
        assert!(ended.stdout.starts_with("127.0.0.1 "), "{}{}", ended.said(), server.raw());
        (ended.status.code(), heard)
    });
    assert_eq!((status, heard.as_str()), (Some(7), config));
}
