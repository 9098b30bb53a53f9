//! `gatepost try`: one command, then the line that it prints, and there is mail.

use crate::gate::{GATEPOST, gateposts};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, Host};
use gatepost_testkit::maildir::Maildir;
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::run::{Process, run};
use gatepost_testkit::wait::{SOON, holds};

const NOBODY: u32 = 65534;

/// A shell that stands in a directory of its own, as a newcomer does, and becomes `gatepost try`.
fn start(host: &Host, uid: u32, more: &str) -> Process {
    // The tree may lie where an ordinary user cannot look.
    run(host.command("install").args(["-m", "0755", GATEPOST, "/usr/sbin/gatepost"])).expect_ok("install");
    host.directory("/tmp/home", uid, 0o755);
    let line = format!("cd /tmp/home && exec gatepost try {more}");
    let mut command = if uid == 0 { host.command("sh") } else { host.command_as(uid, "sh") };
    let mut process = host.start("try", command.args(["-c", &line]));
    process.wait_said("End it with Ctrl-C", SOON);
    process
}

/// The command that it printed which begins so, its continuation lines included.
fn printed(said: &str, program: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("  ") && line.contains(&format!("{program} --")));
    let mut line = String::new();
    for part in &lines[at.unwrap_or_else(|| panic!("no {program} line in:\n{said}"))..] {
        match part.strip_suffix('\\') {
            Some(more) => line += more,
            None => return line + part,
        }
    }
    line
}

fn newcomer(test: &str, uid: u32) {
    let Some(host) = host::for_test(test, &["swaks", "curl"]) else { return };
    let mut process = start(&host, uid, "");
    let maildir = Maildir::at(host.path("/tmp/home/gatepost-try/Maildir"));
    for (number, program) in ["swaks", "curl"].into_iter().enumerate() {
        let line = printed(&process.said(), program);
        let sent = host.shell(&line);
        assert!(sent.ok(), "{line}\n{}", sent.said());
        holds("the mail lands in the Maildir", SOON, || maildir.count() == number + 1);
    }
    let over_tls = maildir.with("with ESMTPS");
    assert_eq!(over_tls.len(), 2, "both came over STARTTLS: {:?}", maildir.messages());
    assert_eq!(maildir.with("first mail").len(), 1, "curl's");
    // The reader of the mail is whoever ran it.
    let listed = if uid == 0 { host.command("cat") } else { host.command_as(uid, "cat") };
    let file = maildir.files().remove(0);
    let inside = format!("/tmp/home/gatepost-try/Maildir/new/{}", file.file_name().unwrap().to_str().unwrap());
    let mut listed = listed;
    run(listed.arg(&inside)).expect_ok("reading one's own mail");

    let audit = run(host.command("gatepost").arg("audit"));
    assert!(audit.ok(), "{}", audit.said());
    assert!(process.signal("INT"), "Ctrl-C");
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.said());
    holds("nothing is left", SOON, || gateposts(&host).is_empty());
}

#[test]
fn try_serves_a_newcomer_who_is_root() {
    newcomer("try_serves_a_newcomer_who_is_root", 0);
}

#[test]
fn try_serves_a_newcomer_who_is_not_root() {
    newcomer("try_serves_a_newcomer_who_is_not_root", NOBODY);
}

#[test]
fn try_in_front_of_a_real_mta() {
    let Some(host) = host::for_test("try_in_front_of_a_real_mta", &["postfix"]) else { return };
    let postfix = Postfix::start(&host);
    let mut process = start(&host, 0, &format!("--smtp unix:{} --listen 127.0.0.1:2526 --dir other", Postfix::SOCKET));
    let mut client = Client::over(host.connect("127.0.0.1:2526"));
    client.hello("road.test");
    client.starttls("localhost");
    client.ask("EHLO road.test", 250);
    client.deliver("sender@road.test", "alice@ok.test", "Subject: try\r\n\r\nx\r\n");
    client.ask("MAIL FROM:<sender@road.test>", 250);
    client.ask("RCPT TO:<stranger@elsewhere.test>", 554);
    client.ask("QUIT", 221);
    let _ = postfix.maildir("alice").one_with("Subject: try");
    assert!(process.signal("TERM"));
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.said());
}

#[test]
fn try_says_what_is_wrong_with_a_backend_that_relays() {
    let Some(host) = host::for_test("try_says_what_is_wrong_with_a_backend_that_relays", &["postfix"]) else { return };
    // As an MTA is out of the box: its own machine may relay. The service's own `mynetworks=` is taken away again.
    let _postfix = Postfix::start(&host);
    host.shell("sed -i 's/-o mynetworks=$/-o mynetworks=127.0.0.0\\/8/; s/=reject_unauth_destination/=permit_mynetworks,reject_unauth_destination/' /etc/postfix/master.cf && postfix reload >/dev/null 2>&1")
        .expect_ok("postfix reload");
    let line = format!("cd /tmp && exec {GATEPOST} try --smtp unix:{}", Postfix::SOCKET);
    let ended = run(host.command("sh").args(["-c", &line]));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said());
    assert!(ended.stderr.contains("relay"), "{}", ended.said());
}
