//! sendmail(1) beside Postfix's and msmtp's: command lines that programs use, and what each program's exit status is.

use gatepost_testkit::host::{HERE, Host, for_test};
use gatepost_testkit::rogue::{Deed, Mta, Speaks, Stage};
use std::fmt::Write;

const GATEPOST: &str = env!("CARGO_BIN_EXE_gatepost");
const SOCKET: &str = "/run/submit";

/// What is on standard input.
#[derive(Clone, Copy)]
enum Input {
    /// A body without a header.
    Body,
    /// A header with recipients.
    Header,
    /// A header without any.
    NoRecipients,
    /// A header with a list that has no end.
    BadHeader,
    Nothing,
}
use Input::{BadHeader, Body, Header, NoRecipients, Nothing};

impl Input {
    fn text(self) -> &'static str {
        match self {
            Body => "it is done\\n.\\nand more\\n",
            Header => "To: A <a@ok.test>\\nCc: c@ok.test\\nBcc: d@ok.test\\nSubject: s\\n\\nhello\\n",
            NoRecipients => "Subject: s\\n\\nhello\\n",
            BadHeader => "To: <a@ok.test\\nSubject: s\\n\\nhello\\n",
            Nothing => "",
        }
    }
}

/// Why Postfix's status is another than ours.
const GUESSES: &str = "Postfix and msmtp guess what was meant; we say what is wrong";
const DAEMON: &str = "Postfix would start its daemon";
const STRICT: &str = "Postfix's getopt knows no such option of sendmail's";
const ALWAYS_75: &str = "Postfix ends with 75 after each error of its own, as if trying again would help";
const OLD: &str = "Postfix refuses what sendmail ignores";

/// Who writes such a line, the arguments, the input, our status, and where Postfix's differs the reason. `-`: Postfix isn't run.
const LINES: [(&str, &str, Input, i32, &str); 62] = [
    ("cron", "-FCronDaemon -i -B8BITMIME -oem root", Body, 0, ""),
    ("cron of vixie", "-FCronDaemon -odi -oem -oi -t", Header, 0, ""),
    ("cronie", "-FCronDaemon -i -odi -oem -oi -t -f root", Header, 0, ""),
    ("anacron", "-FAnacron -odi root", Body, 0, ""),
    ("atd", "-i root", Body, 0, ""),
    ("php mail()", "-t -i", Header, 0, ""),
    ("php mail() with -f", "-t -i -fwww@ok.test", Header, 0, ""),
    ("php mail() with -f and a space", "-t -i -f www@ok.test", Header, 0, ""),
    ("wordpress", "-oi -fwordpress@ok.test -t", Header, 0, ""),
    ("drupal", "-bs", Nothing, 0, "-"),
    ("swiftmailer", "-t -i -oi", Header, 0, ""),
    ("mailx of bsd", "-i a@ok.test", Header, 0, ""),
    ("mailx of heirloom", "-i -- a@ok.test", Header, 0, ""),
    ("s-nail", "-i -r root -- a@ok.test", Header, 0, ""),
    ("mail of GNU", "-oi -t", Header, 0, ""),
    ("mutt", "-oem -oi -- a@ok.test", Header, 0, ""),
    ("mutt with envelope_from", "-oem -oi -f me@ok.test -- a@ok.test", Header, 0, ""),
    ("mutt with dsn", "-oem -oi -N success,failure -R hdrs -- a@ok.test", Header, 0, ""),
    ("neomutt, 8 bit", "-oem -oi -B8BITMIME -- a@ok.test", Header, 0, ""),
    ("pine", "-bs -odb -oem", Nothing, 0, "-"),
    ("emacs", "-oi -f root -oem -odb -t", Header, 0, ""),
    ("git send-email", "-f me@ok.test -i a@ok.test b@ok.test", Header, 0, ""),
    ("git send-email without envelope sender", "-i a@ok.test", Header, 0, ""),
    ("logwatch", "-t", Header, 0, ""),
    ("reportbug", "-i -t", Header, 0, ""),
    ("reportbug, old", "-t -oem -oi -odb", Header, 0, ""),
    ("mdadm", "-t", Header, 0, ""),
    ("smartd", "root", Body, 0, ""),
    ("apticron", "-t -oi", Header, 0, ""),
    ("logcheck", "-i root", Body, 0, ""),
    ("fail2ban", "-t -f fail2ban@ok.test root@ok.test", Header, 0, ""),
    ("rkhunter", "-bm root", Body, 0, ""),
    ("procmail", "-oi -f root a@ok.test", Header, 0, ""),
    ("vacation", "-f<> a@ok.test", Header, 0, ""),
    ("a bounce, another way", "-f <> a@ok.test", Header, 0, ""),
    ("mailman", "-i -f owner@ok.test a@ok.test", Header, 0, ""),
    ("majordomo", "-oi -odq -fowner@ok.test a@ok.test", Header, 0, ""),
    ("hylafax", "-oi -FFax a@ok.test", Body, 0, ""),
    ("cvs", "-oi -oem root", Body, 0, ""),
    ("nagios", "-vt -f nagios@ok.test", Header, 0, ""),
    ("bugzilla", "-i -t -f root", Header, 0, ""),
    ("clusters", "-itfme@ok.test", Header, 0, ""),
    ("sendmail's own", "-Am -G -h 10 -L label -m -p smtp a@ok.test", Header, 0, ""),
    ("old sendmail's -n", "-n a@ok.test", Header, 0, OLD),
    ("-O of sendmail's", "-O DeliveryMode=b -t", Header, 0, ""),
    ("a list in one argument", "a@ok.test,b@ok.test", Header, 0, ""),
    ("mailq", "-bp", Nothing, 0, "-"),
    ("newaliases", "-bi", Nothing, 0, "-"),
    ("newaliases, the other way", "-I", Nothing, 0, "-"),
    ("a queue run", "-q", Nothing, 0, "-"),
    ("a queue run every half hour", "-q30m", Nothing, 0, ""),
    ("host status", "-bh", Nothing, 0, ""),
    ("debugging", "-d0.1 a@ok.test", Header, 0, STRICT),
    ("a daemon", "-bd", Nothing, 64, DAEMON),
    ("nobody", "", Header, 64, ALWAYS_75),
    ("nobody in the header", "-t", NoRecipients, 64, ALWAYS_75),
    ("an option that there is not", "-Z root", Body, 64, ALWAYS_75),
    ("no value", "-f", Body, 64, ALWAYS_75),
    ("a wrong body type", "-B9BIT root", Body, 64, ALWAYS_75),
    ("a test of rules", "-bt", Nothing, 64, ALWAYS_75),
    ("a list without an end", "-t", BadHeader, 65, GUESSES),
    ("no address", "-i a@b@ok.test", Body, 65, GUESSES),
];

/// Runs each line on the host with the program before it, and gives the statuses in their order.
fn statuses(host: &Host, program: &str, runs: impl Fn(&str) -> bool) -> Vec<Option<i32>> {
    let mut script = String::new();
    for (_, line, input, _, why) in LINES {
        if runs(why) {
            let words: Vec<_> = line.split_ascii_whitespace().map(|word| format!("'{word}'")).collect();
            let _ =
                writeln!(script, "printf '{}' | {program} {} >/dev/null 2>&1; echo $?", input.text(), words.join(" "));
        } else {
            script.push_str("echo -\n");
        }
    }
    host.write("/run/lines.sh", &script);
    let said = host.shell("sh /run/lines.sh").expect_ok(program).stdout;
    said.lines().map(|line| line.parse().ok()).collect()
}

/// A status as it is shown; that of a program that was not run is a dash.
fn number(status: Option<i32>) -> String {
    status.map_or_else(|| "-".to_owned(), |status| status.to_string())
}

/// On a host where ours is a link `sendmail` in /run/bin, and a service that takes all.
fn with_a_service(test: &str, needs: &[&str], work: impl FnOnce(&Host, &Mta)) {
    let Some(host) = for_test(test, needs) else { return };
    let links = "mkdir /run/bin && for name in sendmail mailq newaliases; do ln -s GATEPOST /run/bin/$name; done";
    host.shell(&links.replace("GATEPOST", GATEPOST)).expect_ok("links");
    host.write("/etc/mailname", "ok.test\n");
    let mta = Mta::unix(&host.path(SOCKET), Speaks::Smtp);
    work(&host, &mta);
}

fn ours(line: &str) -> String {
    format!("GATEPOST_SUBMIT={SOCKET} /run/bin/sendmail {line}")
}

#[test]
fn issue_15_programs_see_the_statuses_of_postfixs_sendmail() {
    let test = "issue_15_programs_see_the_statuses_of_postfixs_sendmail";
    with_a_service(test, &["postconf"], |host, mta| {
        let main = "compatibility_level = 3.6\nmyhostname = host.test\nmaillog_file = /var/log/postfix.log\n";
        host.write("/etc/postfix/main.cf", main);
        let own = statuses(host, ours("").trim_end(), |_| true);
        let postfix = statuses(host, "/usr/sbin/sendmail", |why| why != "-" && why != DAEMON);
        let mut wrong = String::new();
        for ((who, line, _, status, why), (own, postfix)) in LINES.iter().zip(own.into_iter().zip(postfix)) {
            println!("{who}: sendmail {line}: {}, Postfix's {}; {why}", number(own), number(postfix));
            if own != Some(*status) {
                let _ = writeln!(wrong, "{who}: sendmail {line}: {own:?} instead of {status}");
            }
            if postfix.is_some_and(|postfix| (postfix == *status) != why.is_empty()) {
                let _ = writeln!(wrong, "{who}: sendmail {line}: Postfix gives {postfix:?}, ours {status}: {why:?}");
            }
        }
        assert_eq!(wrong, "");
        let delivered =
            LINES.iter().filter(|(_, _, input, status, _)| *status == 0 && !matches!(input, Nothing)).count();
        assert_eq!(mta.count(), delivered);
    });
}

#[test]
fn issue_15_a_message_of_cron_arrives_as_it_was_written() {
    let test = "issue_15_a_message_of_cron_arrives_as_it_was_written";
    with_a_service(test, &[], |host, mta| {
        let line = ours("-FCronDaemon -i -B8BITMIME -oem -fme@ok.test root '\"A, B\" <b@ok.test>, c@ok.test'");
        let input = "printf 'Subject: s\\nBcc: x@ok.test\\n\\n10%%\\r20%%\\n.\\n..\\nend'";
        host.shell(&format!("{input} | {line}")).expect_ok("sendmail");
        let taken = mta.taken().remove(0);
        assert_eq!(taken.from, "me@ok.test");
        assert_eq!(taken.to, ["root@ok.test", "b@ok.test", "c@ok.test"]);
        let (header, body) = taken.content.split_once("\r\n\r\n").unwrap();
        assert!(header.starts_with("Subject: s\r\nFrom: CronDaemon <root@ok.test>\r\nDate: "), "{header}");
        assert!(header.contains("\r\nMessage-ID: <") && !header.contains("Bcc"), "{header}");
        assert_eq!(body, "10%\r\n20%\r\n.\r\n..\r\nend\r\n");
    });
}

#[test]
fn issue_15_what_cannot_be_handed_over_is_the_callers_to_keep() {
    let test = "issue_15_what_cannot_be_handed_over_is_the_callers_to_keep";
    with_a_service(test, &[], |host, mta| {
        for (stage, deed, status, says) in [
            (
                Stage::Rcpt,
                Deed::Answer("550 5.1.1 nobody of that name\r\n"),
                67,
                "a@ok.test: 550 5.1.1 nobody of that name",
            ),
            (Stage::Rcpt, Deed::Answer("451 4.3.0 later\r\n"), 75, "451 4.3.0 later"),
            (Stage::Mail, Deed::Answer("553 5.7.1 not your address\r\n"), 77, "553 5.7.1 not your address"),
            (Stage::End, Deed::Answer("554 5.6.0 not this\r\n"), 65, "554 5.6.0 not this"),
            (Stage::End, Deed::Close, 75, "it may have been taken all the same"),
        ] {
            mta.misbehave(stage, deed);
            let ended = host.shell(&format!("printf x | {}", ours("a@ok.test")));
            assert_eq!(ended.status.code(), Some(status), "{stage:?}: {}", ended.stderr);
            assert!(
                ended.stderr.starts_with("sendmail: ") && ended.stderr.contains(says),
                "{stage:?}: {}",
                ended.stderr
            );
            mta.behave();
        }
        assert!(mta.taken().iter().all(|taken| !taken.acknowledged));
        let ended = host.shell("printf x | GATEPOST_SUBMIT=/run/none /run/bin/sendmail a@ok.test");
        assert_eq!(ended.status.code(), Some(75));
        assert!(ended.stderr.contains("/run/none: No such file or directory"), "{}", ended.stderr);
    });
}

#[test]
fn issue_15_bs_passes_smtp_on() {
    with_a_service("issue_15_bs_passes_smtp_on", &[], |host, mta| {
        let smtp = "EHLO x\\r\\nMAIL FROM:<a@ok.test>\\r\\nRCPT TO:<b@ok.test>\\r\\nDATA\\r\\n\\r\\nhello\\r\\n.\\r\\nQUIT\\r\\n";
        let ended = host.shell(&format!("printf '{smtp}' | {}", ours("-bs"))).expect_ok("-bs");
        assert!(ended.stdout.starts_with("220 ") && ended.stdout.contains("\r\n221 "), "{}", ended.stdout);
        assert_eq!(mta.count(), 1);
    });
}

#[test]
fn issue_15_mailq_and_newaliases_say_that_there_are_none() {
    with_a_service("issue_15_mailq_and_newaliases_say_that_there_are_none", &[], |host, _| {
        let queue = host.shell("/run/bin/mailq").expect_ok("mailq").stdout;
        assert!(queue.starts_with("Mail queue is empty"), "{queue}");
        let aliases = host.shell("/run/bin/newaliases").expect_ok("newaliases").stdout;
        assert!(aliases.contains("no aliases"), "{aliases}");
    });
}

/// msmtp, the other program without a queue: what it accepts ours accepts, and a refusal is a refusal to both.
#[test]
fn issue_15_what_msmtp_takes_is_taken() {
    with_a_service("issue_15_what_msmtp_takes_is_taken", &["msmtp"], |host, _| {
        let peer = Mta::tcp(host.listen(&format!("{HERE}:2600")), Speaks::Smtp);
        host.write("/etc/msmtprc", &format!("account default\nhost {HERE}\nport 2600\nfrom root@ok.test\ntls off\n"));
        let theirs = statuses(host, "msmtp", |why| why != "-" && why != GUESSES);
        for ((who, line, _, status, _), theirs) in LINES.iter().zip(theirs) {
            println!("{who}: sendmail {line}: {status}, msmtp's {}", number(theirs));
            if theirs == Some(0) {
                assert_eq!(*status, 0, "{who}: sendmail {line}");
            }
        }
        assert!(peer.count() > 20, "{}", peer.count());
    });
}
