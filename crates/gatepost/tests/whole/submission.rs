//! Issue 15: mail from people outside, who log in, through a real Postfix that relays for them and for nobody else.

use crate::gate::{CONFIG, GATEPOST, Gate, HOSTNAME, config, prepare, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, HERE, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};
use std::io::Write as _;
use std::process::{Command, Stdio};

const POSTFIX: &str = "profile = \"postfix\"\nconnect = \"unix:/var/spool/postfix/public/gatepost\"";
const PASSWD: &str = "/etc/gatepost/passwd";

/// Two listeners for submission, and what else a configuration needs for them.
fn submission() -> String {
    format!(
        "[submission]\nauth = \"passwd:{PASSWD}\"\nsenders = [\"joe joe@ok.test @joe.test\"]\n\
         [[listen]]\naddress = \"{HERE}:587\"\nservice = \"submission\"\n\
         [[listen]]\naddress = \"{HERE}:1465\"\nservice = \"submission\"\ntls = \"implicit\"\n"
    )
}

/// A line of the passwd file, as `gatepost passwd` writes it.
fn passwd(host: &Host, login: &str, password: &str) -> String {
    let mut command = host.command(GATEPOST);
    let mut child =
        command.args(["passwd", login]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gatepost passwd");
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success());
    let line = String::from_utf8(said.stdout).unwrap();
    assert!(line.starts_with(&format!("{login}:$argon2id$")) && !line.contains(password), "{line}");
    line
}

/// Postfix, which relays for whoever XCLIENT LOGIN names: what it takes for other domains it keeps.
pub(crate) fn postfix(host: &Host) -> Postfix<'_> {
    let more = "defer_transports = smtp\n";
    let postfix = Postfix::start_with(host, more);
    let master = host.read("/etc/postfix/master.cf").replace(
        "smtpd_relay_restrictions=reject_unauth_destination",
        "smtpd_relay_restrictions=permit_sasl_authenticated,reject_unauth_destination\n  -o smtpd_sasl_auth_enable=yes",
    );
    host.write("/etc/postfix/master.cf", &master);
    host.shell("postfix reload").expect_ok("postfix reload");
    postfix
}

fn submit(host: &Host, more: &[&str]) -> Command {
    let (tls, port) = if more.contains(&"--tlsc") { ("--tlsc", "1465") } else { ("--tls", "587") };
    let mut command = host.command("swaks");
    command
        .args(["--server", HERE, "--port", port, tls, "--helo", "road.test", "--from", "joe@ok.test"])
        .args(["--local-interface", AWAY, "--to", "friend@elsewhere.test"])
        .args(more);
    command
}

#[test]
fn issue_15_who_has_logged_in_sends_anywhere_and_nobody_else_does() {
    let name = "issue_15_who_has_logged_in_sends_anywhere_and_nobody_else_does";
    let Some(host) = host::for_test(name, &["postfix", "swaks", "openssl"]) else { return };
    let postfix = postfix(&host);
    prepare(&host);
    host.write_with(
        PASSWD,
        &[passwd(&host, "joe", "secret word"), passwd(&host, "ann@ok.test", "other")].concat(),
        0o600,
    );
    let gate = Gate::start(&host, &config(POSTFIX, &submission()));
    let joe: &[&str] = &["--auth-user", "joe", "--auth-password", "secret word"];

    for (mechanism, subject) in [("PLAIN", "by plain"), ("LOGIN", "by login")] {
        let subject = format!("Subject: {subject}");
        let said =
            run(&mut submit(&host, &[joe, &["--auth", mechanism, "--header", &subject]].concat())).expect_ok("swaks");
        assert!(said.stdout.contains("235 2.7.0"), "{}", said.stdout);
    }
    run(&mut submit(&host, &[joe, &["--tlsc", "--from", "x@joe.test"]].concat())).expect_ok("implicit TLS");
    let log = postfix.log();
    let logins = log.lines().filter(|line| line.contains("sasl_username=joe")).count();
    assert_eq!(logins, 3, "{log}");
    assert!(log.contains(&format!("client=unknown[{AWAY}], sasl_method=")), "{log}");
    // What Postfix keeps has our Received.
    let kept = host.shell("find /var/spool/postfix/deferred /var/spool/postfix/active -type f | xargs cat -v").stdout;
    assert!(kept.contains(&format!("by {HOSTNAME}")) && kept.contains("with ESMTPSA"), "{kept}");

    for (what, arguments, reply) in [
        ("a wrong password", &["--auth", "PLAIN", "--auth-user", "joe", "--auth-password", "other"][..], "535 5.7.8"),
        ("nobody", &["--auth", "PLAIN", "--auth-user", "nobody", "--auth-password", "secret word"], "535 5.7.8"),
        ("without a login", &[], "530 5.7.0"),
        ("from another's address", &[joe, &["--from", "ann@ok.test"]].concat(), "553 5.7.1"),
        ("from a stranger's address", &[joe, &["--from", "x@elsewhere.test"]].concat(), "553 5.7.1"),
    ] {
        let said = run(&mut submit(&host, arguments));
        assert!(!said.ok() && said.stdout.contains(reply), "{what}: {}", said.stdout);
    }
    // The login itself is an address.
    let ann = ["--auth-user", "ann@ok.test", "--auth-password", "other", "--from", "ann@ok.test"];
    run(&mut submit(&host, &ann)).expect_ok("ann");

    // Where mail is relayed all is as before: no AUTH, and nothing for a foreign domain.
    let mut client = Client::over(host.connect(&starttls()));
    client.hello("road.test");
    client.starttls(HOSTNAME);
    assert!(!client.ask("EHLO road.test", 250).lines.iter().any(|line| line.starts_with("AUTH")));
    client.ask("AUTH PLAIN AGpvZQBzZWNyZXQgd29yZA==", 503);
    client.ask("MAIL FROM:<joe@ok.test>", 250);
    client.ask("RCPT TO:<friend@elsewhere.test>", 550);
    client.ask("QUIT", 221);

    holds("the log tells of each attempt", SOON, || {
        let said = gate.process.said();
        let told = |word: &str| said.lines().filter(|line| line.contains(" login ") && line.contains(word)).count();
        told("result=Accepted") == 6 && told("result=Refused") == 2
    });
    let said = gate.process.said();
    for secret in ["secret word", "c2VjcmV0IHdvcmQ", "login=nobody"] {
        assert!(!said.contains(secret), "{said}");
    }
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
    // Somebody's line is damaged: the others may send, and `check` says which it is.
    let damaged = [passwd(&host, "joe", "secret word"), "ann@ok.test:$6$cut\n".to_owned()].concat();
    host.write_with(PASSWD, &damaged, 0o600);
    let checked = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    assert_eq!(checked.status.code(), Some(2), "{}", checked.said());
    assert!(checked.stdout.contains("line 2: its hash cannot be read"), "{}", checked.stdout);
    // Postfix as it is behind port 25 alone does not believe in logins, and is not an open relay for them.
    host.shell("sed -i '/smtpd_sasl_auth_enable/d' /etc/postfix/master.cf && postfix reload")
        .expect_ok("postfix reload");
    let gate = Gate::start(&host, &host.read(CONFIG));
    let said = run(&mut submit(&host, &[joe, &["--auth", "PLAIN"]].concat()));
    assert!(said.stdout.contains("235 2.7.0") && said.stdout.contains("554 5.7.1"), "{}", said.stdout);
    gate.stop();
    assert!(host.read(CONFIG).contains("submission"));
}
