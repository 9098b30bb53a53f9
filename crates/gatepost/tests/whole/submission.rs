//! Issue 15: mail from people outside, who log in, through a real Postfix that relays for them and for nobody else.

use crate::gate::{CERTIFICATE, CONFIG, GATEPOST, Gate, HOSTNAME, config, prepare, starttls};
use gatepost_testkit::client::Client;
use gatepost_testkit::host::{self, AWAY, HERE, Host};
use gatepost_testkit::mta::Postfix;
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};
use std::io::Write as _;
use std::process::{Command, Stdio};

const POSTFIX: &str = "profile = \"postfix\"\nconnect = \"unix:/var/spool/postfix/public/gatepost\"";
pub(crate) const PASSWD: &str = "/etc/gatepost/passwd";
const SENDERS: &str = "/etc/gatepost/senders";

/// Two listeners for submission, and what else a configuration needs for them.
pub(crate) fn submission() -> String {
    format!(
        "[submission]\nauth = \"passwd:{PASSWD}\"\nsenders = [\"joe joe@ok.test @joe.test\"]\n\
         [[listen]]\naddress = \"{HERE}:587\"\nservice = \"submission\"\n\
         [[listen]]\naddress = \"{HERE}:1465\"\nservice = \"submission\"\ntls = \"implicit\"\n"
    )
}

/// A line of the passwd file, as `gatepost passwd` writes it.
pub(crate) fn passwd(host: &Host, login: &str, password: &str) -> String {
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
    host.write(SENDERS, "# nobody yet\n");
    let more = format!("[submission]\nsenders_file = \"{SENDERS}\"\ncheck_from = true\nhide_client = true");
    let gate = Gate::start(&host, &config(POSTFIX, &submission().replace("[submission]", &more)));
    let strict = "mail of who has logged in will be refused";
    assert!(!gate.process.said().contains(strict), "{}", gate.process.said());
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
    assert!(kept.contains(&format!("Received: by {HOSTNAME} with ESMTPSA")), "the client is hidden: {kept}");

    for (what, arguments, reply) in [
        ("a wrong password", &["--auth", "PLAIN", "--auth-user", "joe", "--auth-password", "other"][..], "535 5.7.8"),
        ("nobody", &["--auth", "PLAIN", "--auth-user", "nobody", "--auth-password", "secret word"], "535 5.7.8"),
        ("without a login", &[], "530 5.7.0"),
        ("from another's address", &[joe, &["--from", "ann@ok.test"]].concat(), "553 5.7.1"),
        ("as another", &[joe, &["--h-From", "ann@ok.test"]].concat(), "553 5.7.1"),
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
        told("result=Accepted") == 7 && told("result=Refused") == 2
    });
    let said = gate.process.said();
    for secret in ["secret word", "c2VjcmV0IHdvcmQ", "login=nobody"] {
        assert!(!said.contains(secret), "{said}");
    }
    // Another file of who may send as whom, which joe is in.
    host.write("/etc/gatepost/new", "joe sales@ok.test\n");
    host.shell(&format!("mv /etc/gatepost/new {SENDERS}")).expect_ok("mv");
    holds("the new file to be in force", SOON, || {
        run(&mut submit(&host, &[joe, &["--from", "sales@ok.test", "--quit-after", "RCPT"]].concat())).ok()
    });
    gate.audit(&[]).expect_ok("audit");
    gate.stop();
    // Somebody's line is damaged: the others may send, and `check` says which it is.
    let damaged = [passwd(&host, "joe", "secret word"), "ann@ok.test:$6$cut\n".to_owned()].concat();
    host.write_with(PASSWD, &damaged, 0o600);
    let checked = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    assert_eq!(checked.status.code(), Some(2), "{}", checked.said());
    for row in [
        "line 2: its hash cannot be read".to_owned(),
        format!("AUTH after STARTTLS only; clients are offered LOGIN PLAIN by passwd:{PASSWD}"),
        "TLS from the first octet; clients are offered LOGIN PLAIN".to_owned(),
        format!("table {SENDERS}"),
    ] {
        assert!(checked.stdout.contains(&row), "{row}: {}", checked.stdout);
    }
    // Postfix as it is behind port 25 alone does not believe in logins, and is not an open relay for them.
    host.shell("sed -i '/smtpd_sasl_auth_enable/d' /etc/postfix/master.cf && postfix reload")
        .expect_ok("postfix reload");
    let gate = Gate::start(&host, &host.read(CONFIG));
    let said = run(&mut submit(&host, &[joe, &["--auth", "PLAIN"]].concat()));
    assert!(said.stdout.contains("235 2.7.0") && said.stdout.contains("554 5.7.1"), "{}", said.stdout);
    assert!(gate.process.said().contains(strict), "{}", gate.process.said());
    gate.stop();
    let checked = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    assert!(checked.stdout.contains(strict), "{}", checked.said());
    assert!(host.read(CONFIG).contains("submission"));
}

/// A program that submits mail: what the others are called by, and how it is told to use this port, TLS at once or not.
type Program = (&'static str, fn(&Host, bool) -> Command);

const PROGRAMS: &[Program] = &[
    ("swaks", |host, implicit| {
        let mut command = submit(host, if implicit { &["--tlsc"] } else { &[] });
        command.args(["--auth-user", "joe", "--auth-password", "secret word", "--header", "Subject: by swaks"]);
        command
    }),
    ("curl", |host, implicit| {
        let url =
            if implicit { format!("smtps://{HERE}:1465/road.test") } else { format!("smtp://{HERE}:587/road.test") };
        let mut command = host.command("curl");
        command.args(["-sS", &url, "--ssl-reqd", "-k", "--user", "joe:secret word", "--mail-from", "joe@ok.test"]);
        command.args(["--mail-rcpt", TO, "--upload-file", MAIL]);
        command
    }),
    ("msmtp", |host, implicit| {
        let mut command = host.command("sh");
        let options = format!(
            "--host={HERE} --port={} --tls=on --tls-starttls={} --tls-certcheck=off --auth=on --user=joe --from=joe@ok.test",
            if implicit { 1465 } else { 587 },
            if implicit { "off" } else { "on" }
        );
        command.args(["-c", &format!("msmtp -C /dev/null {options} '--passwordeval=echo secret word' {TO} < {MAIL}")]);
        command
    }),
    ("smtplib", |host, implicit| {
        let mut command = host.command("python3");
        command.args(["-c", SMTPLIB, HERE, if implicit { "1465" } else { "587" }, TO, MAIL]);
        command
    }),
    ("nodemailer", |host, implicit| {
        let mut command = host.command("node");
        command.env("NODE_PATH", "/usr/share/nodejs").args(["-e", NODEMAILER, "--", "-", HERE]);
        command.args([if implicit { "1465" } else { "587" }, TO, MAIL]);
        command
    }),
    ("mutt", |host, implicit| {
        let url = if implicit { format!("smtps://joe@{HERE}:1465/") } else { format!("smtp://joe@{HERE}:587/") };
        let settings = format!(
            "set smtp_url=\"{url}\" smtp_pass=\"secret word\" from=joe@ok.test use_from use_envelope_from ssl_force_tls \
             ssl_verify_host=no ssl_verify_dates=no certificate_file={CERTIFICATE} record=\"\" hostname=road.test\n"
        );
        host.write("/etc/muttrc.test", &settings);
        let mut command = host.command("sh");
        command.args(["-c", &format!("mutt -n -F /etc/muttrc.test -s 'by mutt' {TO} < {MAIL}")]);
        command
    }),
];

const TO: &str = "friend@elsewhere.test";
const MAIL: &str = "/tmp/mail";
const SMTPLIB: &str = "
import smtplib, ssl, sys
host, port, to, file = sys.argv[1:]
context = ssl._create_unverified_context()
if port == '1465':
    server = smtplib.SMTP_SSL(host, int(port), local_hostname='road.test', context=context)
else:
    server = smtplib.SMTP(host, int(port), local_hostname='road.test')
    server.starttls(context=context)
server.login('joe', 'secret word')
server.sendmail('joe@ok.test', [to], open(file, 'rb').read())
server.quit()
";
const NODEMAILER: &str = "
const [host, port, to, file] = process.argv.slice(2);
const transport = require('nodemailer').createTransport({
  host, port: Number(port), name: 'road.test', secure: port === '1465', requireTLS: true,
  tls: { rejectUnauthorized: false }, auth: { user: 'joe', pass: 'secret word' },
});
transport.sendMail({ envelope: { from: 'joe@ok.test', to }, raw: { path: file } }, (error) => {
  if (error) { console.error(error); process.exit(1); }
});
";

/// The order in which Thunderbird tries mechanisms with a normal password: PLAIN at once, then LOGIN, and after a refusal it asks
/// its user, and begins again in the same session.
fn thunderbird(host: &Host) {
    let mut client = Client::over(host.connect(&format!("{HERE}:587")));
    client.hello("[192.0.2.9]");
    client.starttls(HOSTNAME);
    let offered = client.ask("EHLO [192.0.2.9]", 250).lines;
    assert!(offered.iter().any(|line| line == "AUTH PLAIN LOGIN"), "{offered:?}");
    client.ask("AUTH PLAIN AGpvZQB3cm9uZw==", 535);
    client.ask("AUTH LOGIN", 334);
    client.ask("am9l", 334);
    client.ask("d3Jvbmc=", 535);
    client.ask("AUTH PLAIN AGpvZQBzZWNyZXQgd29yZA==", 235);
    client.ask("MAIL FROM:<joe@ok.test> BODY=8BITMIME SIZE=40", 250);
    client.ask(&format!("RCPT TO:<{TO}>"), 250);
    client.ask("DATA", 354);
    client.write(b"Subject: by thunderbird\r\n\r\nx\r\n.\r\n");
    client.expect(250);
    client.ask("QUIT", 221);
}

#[test]
fn issue_15_real_programs_submit_by_both_ports() {
    let name = "issue_15_real_programs_submit_by_both_ports";
    let needs = ["postfix", "swaks", "curl", "msmtp", "python3", "node", "mutt", "openssl"];
    let Some(host) = host::for_test(name, &needs) else { return };
    let postfix = postfix(&host);
    prepare(&host);
    host.write_with(PASSWD, &passwd(&host, "joe", "secret word"), 0o600);
    host.write(MAIL, "From: joe@ok.test\r\nTo: friend@elsewhere.test\r\nSubject: by a program\r\n\r\nx\r\n");
    let gate = Gate::start(&host, &config(POSTFIX, &submission()));
    let logins = || postfix.log().lines().filter(|line| line.contains("sasl_username=joe")).count();
    std::thread::scope(|scope| {
        let host = &host;
        scope.spawn(move || thunderbird(host));
        for (name, command) in PROGRAMS {
            scope.spawn(move || {
                for implicit in [false, true] {
                    let ended = run(&mut command(host, implicit));
                    assert!(ended.ok(), "{name}, TLS at once: {implicit}: {}", ended.said());
                }
            });
        }
    });
    holds("Postfix to have a login for each", SOON, || logins() == 2 * PROGRAMS.len() + 1);
    println!("{} programs, each by both ports, and Thunderbird's order", PROGRAMS.len());
    gate.stop();
}
