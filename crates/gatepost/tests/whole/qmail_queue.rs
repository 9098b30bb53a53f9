//! The backend profile `qmail-queue`: mail through the whole binary to a queue program that records what it is given.

use crate::gate::{CONFIG, GATEPOST, Gate, HOSTNAME, config, prepare, swaks};
use gatepost_testkit::facts;
use gatepost_testkit::host::{self, AWAY, HERE, Host};
use gatepost_testkit::run::run;
use std::fs;

/// The ids of qmaild and qmailq, as qmail's own install has them.
const QMAILD: u32 = 7791;
const QMAILQ: u32 = 7794;

/// Notes what it got; last of all that this is all. It ends as the file `verdict` says. `-p`: a shell would else give up
/// the effective user that the real program has by its set-id bit.
const PROGRAM: &str = r#"#!/bin/bash -p
PATH=/usr/bin:/bin
new=queue/.$$
mkdir $new || exit 62
# An empty directory would be replaced by the next one.
echo $$ >$new/pid
n=0
until mv -T $new queue/$n 2>/dev/null; do
    n=$((n + 1))
    [ $n -lt 10000 ] || exit 99
done
/usr/bin/env >queue/$n/environ
{ pwd; cat /proc/self/status; } >queue/$n/about
cat >queue/$n/message || exit 53
cat <&1 >queue/$n/envelope || exit 54
: >queue/$n/done
read -r verdict <verdict
eval "$verdict"
"#;

/// What a queue program was given.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) message: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
    environ: String,
    about: String,
    done: bool,
}

/// A qmail home on a throw-away host.
pub(crate) struct QueueHome<'h> {
    host: &'h Host,
}

impl<'h> QueueHome<'h> {
    /// Makes it, with a program that takes everything.
    pub(crate) fn make(host: &'h Host) -> QueueHome<'h> {
        for directory in ["/var/qmail", "/var/qmail/bin"] {
            host.directory(directory, 0, 0o755);
        }
        host.directory("/var/qmail/queue", QMAILQ, 0o700);
        host.write_with("/var/qmail/bin/qmail-queue", PROGRAM, 0o755);
        let home = QueueHome { host };
        home.verdict("exit 0");
        home
    }

    /// The `[backend]` that names it.
    pub(crate) fn backend() -> String {
        format!("profile = \"qmail-queue\"\nqueue_user = {QMAILD}\nqueue_as = {QMAILQ}")
    }

    /// How the program ends from now on.
    fn verdict(&self, line: &str) {
        self.host.write("/var/qmail/verdict", &format!("{line}\n"));
    }

    fn records(&self) -> Vec<Record> {
        let one = |number: usize| {
            let path = self.host.path(&format!("/var/qmail/queue/{number}"));
            let read = |name: &str| fs::read(path.join(name)).unwrap_or_default();
            let text = |name: &str| String::from_utf8(read(name)).unwrap();
            path.exists().then(|| Record {
                message: read("message"),
                envelope: read("envelope"),
                environ: text("environ"),
                about: text("about"),
                done: path.join("done").exists(),
            })
        };
        (0..).map_while(one).collect()
    }

    /// Those with a whole envelope: what qmail-queue would have delivered.
    pub(crate) fn complete(&self) -> Vec<Record> {
        self.records().into_iter().filter(|record| record.done && record.envelope.ends_with(b"\0\0")).collect()
    }
}

#[test]
fn mail_reaches_a_queue_program_as_qmail_would_give_it() {
    let name = "mail_reaches_a_queue_program_as_qmail_would_give_it";
    let Some(host) = host::for_test(name, &["openssl", "swaks", "bash"]) else { return };
    let home = QueueHome::make(&host);
    prepare(&host);
    let text = config(&QueueHome::backend(), "");
    host.write(CONFIG, &text);
    let table = run(host.command(GATEPOST).arg("check")).expect_ok("check").stdout;
    assert!(table.contains(&format!("real uid {QMAILD}, effective uid {QMAILQ}")), "{table}");
    let gate = Gate::start(&host, &text);
    assert!(gate.process.said().contains("relaxed: relay_proof"), "{}", gate.process.said());
    run(&mut swaks(&host, "alice@ok.test", "by swaks")).expect_ok("swaks");
    // Large, dotted and 8-bit, to two, one of whom needs quotes in SMTP and none here.
    let line = format!("..{}\u{e4}.\r\n", "x".repeat(900));
    let content = format!("Subject: large\r\n\r\n{}", line.repeat(2 << 10));
    let mut client = gate.client();
    client.hello("road.test");
    client.ask("MAIL FROM:<> BODY=8BITMIME", 250);
    client.ask("RCPT TO:<bob@ok.test>", 250);
    client.ask("RCPT TO:<\"a b\"@ok.test>", 250);
    client.ask("RCPT TO:<stranger@elsewhere.test>", 550);
    client.ask("DATA", 354);
    client.write(content.as_bytes());
    client.write(b".\r\n");
    client.expect(250);

    let [small, large] = &home.complete()[..] else { panic!("{:?}", home.records()) };
    let message = String::from_utf8(small.message.clone()).unwrap();
    assert!(
        message.starts_with("Received: from road.test") && message.contains(&format!("by {HOSTNAME}")),
        "{message}"
    );
    assert!(message.contains("\nSubject: by swaks\n") && !message.contains('\r'), "{message}");
    assert_eq!(small.envelope, b"Fsender@road.test\0Talice@ok.test\0\0");
    assert_eq!(large.envelope, b"F\0Tbob@ok.test\0Ta b@ok.test\0\0");
    let message = String::from_utf8(large.message.clone()).unwrap();
    let (_, body) = message.split_once("\n\n").unwrap();
    assert!(body == line.replace("\r\n", "\n").replacen("..", ".", 1).repeat(2 << 10), "the content differs");

    // What the program finds around itself: its users, its home, the client's addresses, and no more.
    assert!(small.about.starts_with("/var/qmail\n"), "{}", small.about);
    for line in [
        format!("Uid:\t{QMAILD}\t{QMAILQ}\t{QMAILQ}\t{QMAILQ}"),
        format!("Gid:\t{QMAILD}\t{QMAILD}\t{QMAILD}\t{QMAILD}"),
        "NoNewPrivs:\t1".to_owned(),
        "Seccomp:\t0".to_owned(),
        "CapBnd:\t0000000000000000".to_owned(),
        "CapEff:\t0000000000000000".to_owned(),
    ] {
        assert!(small.about.contains(&line), "{line} is missing in:\n{}", small.about);
    }
    // The shell adds its own.
    let shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    let names = small.environ.lines().filter_map(|line| line.split('=').next());
    let mut names: Vec<&str> = names.filter(|name| !shell.contains(name)).collect();
    names.sort_unstable();
    assert_eq!(names, ["PROTO", "TCPLOCALIP", "TCPLOCALPORT", "TCPREMOTEIP", "TCPREMOTEPORT"]);
    for line in ["PROTO=TCP".to_owned(), format!("TCPREMOTEIP={AWAY}"), format!("TCPLOCALIP={HERE}")] {
        assert!(small.environ.lines().any(|found| found == line), "{line}: {}", small.environ);
    }
    client.ask("QUIT", 221);
    assert!(gate.process.said().contains("said=\"qp "), "{}", gate.process.said());
    gate.stop();
}

#[test]
fn p1_a_queue_programs_end_is_told_by_its_class_alone() {
    let name = "p1_a_queue_programs_end_is_told_by_its_class_alone";
    let Some(host) = host::for_test(name, &["openssl", "bash"]) else { return };
    let home = QueueHome::make(&host);
    let gate = Gate::start(&host, &config(&QueueHome::backend(), ""));
    let mut client = gate.client();
    client.hello("road.test");
    for (line, class) in [
        ("exit 31", 5),
        ("exit 11", 5),
        ("exit 51", 4),
        ("exit 54", 4),
        ("exit 82", 4),
        ("exit 99", 4),
        ("exit 120", 4),
        ("kill -KILL $$", 4),
        ("exit 0", 2),
    ] {
        home.verdict(line);
        let reply = client.try_deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n").unwrap();
        assert_eq!(reply.class(), class, "{line}: {reply}");
        assert!(!reply.text().contains("qq"), "{reply}");
        client.ask("RSET", 250);
    }
    // One that is gone, and one that never reads: no 250, no silence.
    host.write_with("/var/qmail/bin/qmail-queue", "#!/bin/bash\nexit 0\n", 0o755);
    let reply =
        client.try_deliver("sender@road.test", "alice@ok.test", &format!("\r\n{}", "x\r\n".repeat(100_000))).unwrap();
    assert_eq!(reply.class(), 4, "{reply}");
    client.ask("RSET", 250);
    host.shell("rm /var/qmail/bin/qmail-queue").expect_ok("rm");
    let reply = client.try_deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n").unwrap();
    assert_eq!(reply.class(), 4, "{reply}");
    client.ask("QUIT", 221);
    gate.stop();
}

#[test]
fn p7_the_audit_says_which_role_has_no_jail() {
    let Some(host) = host::for_test("p7_the_audit_says_which_role_has_no_jail", &["openssl", "bash"]) else { return };
    let home = QueueHome::make(&host);
    host.shell(&format!(
        "echo qmaild:x:{QMAILD}:2108::/: >>/etc/passwd; echo qmailq:x:{QMAILQ}:2107::/: >>/etc/passwd"
    ))
    .expect_ok("accounts");
    let backend = "profile = \"qmail-queue\"\nqueue_user = \"qmaild\"\nqueue_as = \"qmailq\"";
    let gate = Gate::start(&host, &config(backend, ""));
    let mut client = gate.client();
    client.hello("road.test");
    client.deliver("sender@road.test", "alice@ok.test", "Subject: s\r\n\r\nx\r\n");
    assert_eq!(home.complete().len(), 1);
    assert!(gate.process.said().contains("relaxed: queue"), "{}", gate.process.said());
    let audit = gate.audit(&[]).expect_ok("audit").stdout;
    assert!(audit.contains("open by design") && audit.contains("unconfined by design"), "{audit}");
    let status = facts::status(gate.roles()["gp-queue"]);
    let ids = |field: &str| status[field].split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>();
    assert_eq!(ids("Uid"), [QMAILD, QMAILQ, QMAILQ, QMAILQ]);
    assert_eq!(ids("Gid"), [2108; 4]);
    assert_eq!(status["Groups"], "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status[set], "0000000000000000", "{set}");
    }
    assert_eq!(status["NoNewPrivs"], "1");
    client.ask("QUIT", 221);
    gate.stop();
}

#[test]
fn p7_a_queue_program_that_is_not_there_stops_the_start() {
    let Some(host) = host::for_test("p7_a_queue_program_that_is_not_there_stops_the_start", &["openssl", "bash"])
    else {
        return;
    };
    prepare(&host);
    let text = config(&QueueHome::backend(), "");
    assert!(Gate::refused(&host, &text).contains("/var/qmail"));
    let user = run(host.command_as(QMAILD, GATEPOST).arg("check"));
    assert!(user.status.code() == Some(1) && user.stdout.contains("start gatepost as root"), "{}", user.said());
    let _home = QueueHome::make(&host);
    host.write_with("/var/qmail/bin/qmail-queue", PROGRAM, 0o644);
    assert!(Gate::refused(&host, &text).contains("cannot be executed"));
    let accounts = config("profile = \"qmail-queue\"\nqueue_user = \"nobody-here\"", "");
    assert!(Gate::refused(&host, &accounts).contains("no account nobody-here"));
}
