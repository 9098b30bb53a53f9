//! Issue 15: mail of programs of this machine, by sendmail(1) and a socket, through a real Postfix.

use crate::gate::{CONFIG, GATEPOST, Gate, HOSTNAME, config, prepare};
use crate::submission::postfix;
use gatepost_testkit::host;
use gatepost_testkit::run::run;
use gatepost_testkit::wait::{SOON, holds};

const POSTFIX: &str = "profile = \"postfix\"\nconnect = \"unix:/var/spool/postfix/public/gatepost\"";
const SOCKET: &str = "/run/gatepost/submit";

#[test]
fn issue_15_programs_of_this_machine_submit_without_a_set_id_bit() {
    let name = "issue_15_programs_of_this_machine_submit_without_a_set_id_bit";
    let Some(host) = host::for_test(name, &["postfix"]) else { return };
    let postfix = postfix(&host);
    prepare(&host);
    host.directory("/run/gatepost", 0, 0o755);
    host.shell("printf 'joe:x:2000:2000:Joe User:/:/bin/sh\\nwww:x:2001:2001::/:/bin/sh\\n' >>/etc/passwd")
        .expect_ok("accounts");
    host.write("/etc/mailname", &format!("{HOSTNAME}\n"));
    host.shell(&format!("ln -s {GATEPOST} /run/sendmail")).expect_ok("link");
    let listen = format!(
        "[submission]\ntrusted_users = [\"root\", \"www\"]\n[[listen]]\naddress = \"unix:{SOCKET}\"\nservice = \"submission\"\n"
    );
    let gate = Gate::start(&host, &config(POSTFIX, &listen));

    // Who runs it, the command line, the exit status.
    for (uid, line, status) in [
        (2000, "alice@ok.test", 0),
        (2000, "-f joe+list@ok.test friend@elsewhere.test", 0),
        (2000, "-f ann@ok.test alice@ok.test", 77),
        (2000, "-f x@elsewhere.test alice@ok.test", 77),
        (2000, "nobody@ok.test", 67),
        (2001, "-f x@elsewhere.test alice@ok.test", 0),
        (0, "-f x@elsewhere.test alice@ok.test", 0),
        // Without an account it is nobody who could be answered.
        (2002, "alice@ok.test", 71),
    ] {
        let said = run(host
            .command_as(uid, "/bin/sh")
            .args(["-c", &format!("printf 'Subject: s\\n\\nhello\\n' | /run/sendmail {line}")]));
        assert_eq!(said.status.code(), Some(status), "uid {uid}: sendmail {line}: {}", said.said());
    }
    holds("the messages to be delivered", SOON, || postfix.maildir("alice").count() == 3);
    let message = postfix.maildir("alice").one_with("From: Joe User");
    assert!(message.contains(&format!("Received: by {HOSTNAME} (from uid 2000, joe) with ESMTP")), "{message}");
    let told = gate.process.said();
    assert!(told.lines().any(|line| line.contains("login=\"joe\"") && line.contains("reply=250")), "{told}");
    let log = postfix.log();
    assert!(log.contains("sasl_username=joe") && log.contains("sasl_username=www"), "{log}");
    gate.audit(&[]).expect_ok("audit");
    let checked = run(host.command(GATEPOST).args(["check", "--config", CONFIG]));
    for row in ["every program can reach it", "root (uid 0), www (uid 2001) may send from any address"] {
        assert!(checked.stdout.contains(row), "{row}: {}", checked.said());
    }
    gate.stop();
}
