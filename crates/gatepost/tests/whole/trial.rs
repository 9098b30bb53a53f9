//! `gatepost try`: one command, then the line that it prints, and there is mail.

use crate::gate::{GATEPOST, gateposts};
use crate::stock_postfix;
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, HERE, Host};
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
    // What becomes of it is told as it comes.
    holds("both sessions are told of", SOON, || {
        let said = process.said();
        said.matches("recipient session=").count() == 2 && said.matches("end=Quit").count() == 2
    });
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

/// As an MTA is out of the box: its own machine may relay.
#[test]
fn issue_10_try_in_front_of_postfix_as_debian_has_it() {
    let Some(host) = host::for_test("issue_10_try_in_front_of_postfix_as_debian_has_it", &["postfix"]) else { return };
    stock_postfix::start(&host).expect_ok("postfix start");
    let mut process = start(&host, 0, "--smtp tcp:127.0.0.1:25");
    let mut client = Client::over(host.connect("127.0.0.1:2525"));
    client.hello("road.test");
    client.deliver("sender@road.test", "postmaster@example.org", "Subject: tried\r\n\r\nx\r\n");
    client.ask("QUIT", 221);
    holds("it is in the mailbox", SOON, || stock_postfix::mailbox(&host).contains("Subject: tried"));
    let said = process.said();
    assert!(said.contains("only this machine can reach this address"), "{said}");
    assert!(said.contains("relaxed: relay_proof"), "{said}");
    assert!(process.signal("TERM"));
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.said());
    // Where strangers come the same MTA would be an open relay. What is said to do about it can be done.
    let line = format!("cd /tmp && exec gatepost try --smtp tcp:127.0.0.1:25 --listen {HERE}:2525");
    let ended = run(host.command("sh").args(["-c", &line]));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.said());
    assert!(ended.stderr.contains("relays for a stranger"), "{}", ended.said());
    assert!(ended.stderr.contains("--listen 127.0.0.1:2525"), "{}", ended.said());
    assert!(!host.listens(&format!("{HERE}:2525")));
}

#[test]
fn issue_10_a_second_run_of_try_as_another_user_is_told_the_path_and_what_to_do() {
    let name = "issue_10_a_second_run_of_try_as_another_user_is_told_the_path_and_what_to_do";
    for (first, second, whose) in [(0, NOBODY, "root"), (NOBODY, 0, "uid 65534")] {
        let Some(host) = host::for_test(name, &[]) else { return };
        let mut process = start(&host, first, "");
        assert!(process.signal("TERM"));
        assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.said());
        let mut command = if second == 0 { host.command("sh") } else { host.command_as(second, "sh") };
        let ended = run(command.args(["-c", "cd /tmp/home && exec gatepost try"]));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.said());
        for words in ["/tmp/home/gatepost-try was made by an earlier run", whose, "--dir", "rm -r"] {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.said());
        }
        // The advice is good.
        let mut process = start(&host, second, "--dir /tmp/home2");
        assert!(process.signal("TERM"));
        assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.said());
    }
}

#[test]
fn p2_try_makes_nothing_below_what_another_user_has_prepared() {
    let name = "p2_try_makes_nothing_below_what_another_user_has_prepared";
    let Some(host) = host::for_test(name, &[]) else { return };
    host.directory("/tmp/victim", 0, 0o700);
    let evil = |line: &str| {
        host.shell("rm -rf /tmp/work; mkdir /tmp/work").expect_ok("a working directory");
        host.shell(&format!("cd /tmp/work; {line}")).expect_ok(line);
        let ended = run(host.command("timeout").args(["10", GATEPOST, "try", "--dir", "/tmp/work/dir"]));
        let made = host.shell("ls -ldn /tmp/victim; ls -A /tmp/victim").expect_ok("ls").stdout;
        (ended, made)
    };
    let before = evil("mkdir -m 777 dir").1;
    for (line, words) in [
        ("mkdir dir; ln -s /tmp/victim dir/Maildir; chown -h 65534 dir dir/Maildir", "another directory"),
        ("mkdir dir; ln -s /tmp/victim dir/lmtp; chown -h 65534 dir dir/lmtp", "another directory"),
        ("mkdir dir; ln -s /tmp/victim dir/Maildir", "is not a directory"),
        ("mkdir dir; mkdir dir/Maildir; chown 65534 dir/Maildir", "another directory"),
        ("ln -s /tmp/victim dir", "is not a directory"),
        ("mkdir -m 777 dir", "others may write"),
    ] {
        let (ended, made) = evil(line);
        assert_eq!(ended.status.code(), Some(1), "{line}: {}", ended.said());
        assert!(ended.stderr.contains(words) && ended.stderr.contains("--dir"), "{line}: {}", ended.said());
        assert_eq!(made, before, "{line}");
    }
}

#[test]
fn issue_10_try_says_how_to_write_an_address() {
    let Some(host) = host::for_test("issue_10_try_says_how_to_write_an_address", &[]) else { return };
    for (wrong, right) in [("2525", "127.0.0.1:2525"), (":26", "127.0.0.1:26"), ("localhost:25", "127.0.0.1:25")] {
        let ended = run(host.command(GATEPOST).args(["try", "--listen", wrong]));
        assert_eq!(ended.status.code(), Some(2), "{}", ended.said());
        assert!(ended.stderr.contains(&format!("such as {right}")), "{}", ended.said());
    }
}
