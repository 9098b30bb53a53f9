//! A60 to A103: content, its end, and what the queue program says to it.

use super::{ENVELOPE, HEAD, Over, Row, Then, mail, not_ours, refused, talk};

const CAPPED: &str = "the end of memory is not left to chance: lines and recipients have caps that no sender meets";
const ONE_LINE: &str = "text of a queue program cannot make a reply of its own: controls are taken out";
const QMQPD: &str = "qmail-qmqpd: gatepost is a client of QMQP, not a server";
const QUEUE: &str = "qmail-queue itself, which gatepost starts and does not replace";

pub(super) fn rows() -> Vec<Row> {
    [transparency(), hops(), verdicts(), texts(), limits(), others()].concat()
}

fn transparency() -> Vec<Row> {
    let bare = |id, content: &str| talk(id, &format!("{HEAD}{content}"), "OK|OK|354|BARE");
    vec![
        mail("A60", "..a|.b|...|. |", ".a\nb\n..\n \n"),
        bare("A61", r"a\nb|.|"),
        bare("A61", r"\nb|.|").case("the first octet"),
        bare("A62", r"a\n.|MAIL FROM:<x@y>|RCPT TO:<x@z>|DATA|x|.|"),
        bare("A62", r"a|.\nMAIL FROM:<x@y>|RCPT TO:<x@z>|DATA|x|.|").case("after the dot"),
        bare("A62", r"a\n.\nMAIL FROM:<x@y>|").case("on both sides"),
        mail("A63", r"a\r.|b|", r"a\r.\nb\n"),
        mail("A63", r"a\r\r\n.\rx|", r"a\r\n.\rx\n").case("two, and one after a dot"),
        mail("A64", r"a|.\r\r\nb|", r"a\n.\r\nb\n"),
        mail("A64", r"a\0\xff\x80|", r"a\0\xff\x80\n").case("any octet"),
        talk("A65", &format!("{HEAD}a|"), "OK|OK|354"),
        talk("A65", &format!("{HEAD}a|."), "OK|OK|354").case("within its end"),
        talk("A65", &format!("{HEAD}a|.\\r"), "OK|OK|354").case("one octet before its end").over(Over::Tcp),
        mail("A94", "|", "\n").case("content"),
        talk("A94", "MAIL FROM:<\u{fc}@b>|RCPT TO:<\u{e9}@d>|DATA|.|", "OK|OK|354|Q")
            .queued("F\u{fc}@b\\0T\u{e9}@d\\0\\0", ""),
    ]
}

fn hops() -> Vec<Row> {
    vec![
        mail("A66", r"\{99*Received: x|}|", r"\{99*Received: x\n}\n"),
        refused("A66", r"\{100*Received: x|}|", "554").case("one more"),
        refused("A67", r"\{100*ReCeIvEd-SPF: pass|}|", "554"),
        refused("A67", r"\{100*Delivered|}|", "554").case("Delivered"),
        mail("A67", r"\{100* Received: x|}|", r"\{100* Received: x\n}\n").case("not at the beginning"),
        mail("A68", r"|\{200*Received: x|}", r"\n\{200*Received: x\n}"),
    ]
}

fn verdicts() -> Vec<Row> {
    const TEXTS: &[(&str, &str, &str, &str)] = &[
        ("A74", "11", "exit 11", "554 envelope address too long for qq (#5.1.3)"),
        ("A74", "115", "exit 115", "554 envelope address too long for qq (#5.1.3)"),
        ("A74", "31", "exit 31", "554 mail server permanently rejected message (#5.3.0)"),
        ("A74", "12", "exit 12", "554 qq permanent problem (#5.3.0)"),
        ("A74", "40", "exit 40", "554 qq permanent problem (#5.3.0)"),
        ("A75", "51", "exit 51", "451 qq out of memory (#4.3.0)"),
        ("A75", "52", "exit 52", "451 qq timeout (#4.3.0)"),
        ("A75", "53", "exit 53", "451 qq write error or disk full (#4.3.0)"),
        ("A75", "54", "exit 54", "451 qq read error (#4.3.0)"),
        ("A75", "55", "exit 55", "451 qq unable to read configuration (#4.3.0)"),
        ("A75", "56", "exit 56", "451 qq trouble making network connection (#4.3.0)"),
        ("A75", "61", "exit 61", "451 qq trouble in home directory (#4.3.0)"),
        ("A75", "62", "exit 62", "451 qq trouble creating files in queue (#4.3.0)"),
        ("A75", "66", "exit 66", "451 qq trouble creating files in queue (#4.3.0)"),
        ("A75", "71", "exit 71", "451 mail server temporarily rejected message (#4.3.0)"),
        ("A75", "72", "exit 72", "451 connection to mail server timed out (#4.4.1)"),
        ("A75", "73", "exit 73", "451 connection to mail server rejected (#4.4.1)"),
        ("A75", "74", "exit 74", "451 communication with mail server failed (#4.4.2)"),
        ("A75", "81", "exit 81", "451 qq internal bug (#4.3.0)"),
        ("A75", "91", "exit 91", "451 qq internal bug (#4.3.0)"),
        ("A75", "120", "exit 120", "451 unable to exec qq (#4.3.0)"),
        ("A75", "1", "exit 1", "451 qq temporary problem (#4.3.0)"),
        ("A75", "41", "exit 41", "451 qq temporary problem (#4.3.0)"),
        ("A75", "82 without a text", "exit 82", "451 qq temporary problem (#4.3.0)"),
        ("A75", "100", "exit 100", "451 qq temporary problem (#4.3.0)"),
        ("A75", "111", "exit 111", "451 qq temporary problem (#4.3.0)"),
        ("A75", "127", "exit 127", "451 qq temporary problem (#4.3.0)"),
        ("A77", "", "kill -9 $$", "451 qq crashed (#4.3.0)"),
    ];
    let mut all: Vec<Row> = Vec::new();
    for (id, case, after, reply) in TEXTS {
        all.push(refused(id, "x|", reply).case(case).queue(after).queued(ENVELOPE, "x\n"));
    }
    let exec = "451 unable to exec qq (#4.3.0)";
    let after = format!("{HEAD}\\{{3000*{}|}}.|NOOP|", "y".repeat(58));
    all.extend([
        refused("A76", "x|", exec).env("QMAILQUEUE", "/nonexistent/queue"),
        refused("A76", "x|", exec).case("empty").env("QMAILQUEUE", ""),
        refused("A76", "x|", exec).case("not to be executed").env("QMAILQUEUE", "control/me"),
        mail("A76", "x|", "x\n").case("relative to the home").env("QMAILQUEUE", "bin/qmail-queue"),
        talk("A78", &after, "OK|OK|354|554 mail server permanently rejected message (#5.3.0)|OK")
            .queue_at_once("exit 31"),
        talk(
            "A78",
            &format!("{HEAD}x|.|{HEAD}y|.|"),
            "OK|OK|354|451 qq read error (#4.3.0)|OK|OK|354|451 qq read error (#4.3.0)",
        )
        .case("twice")
        .queue_at_once("exit 54"),
    ]);
    all
}

fn texts() -> Vec<Row> {
    let says = |id, after, reply: &str| refused(id, "x|", reply).queue(after).queued(ENVELOPE, "x\n");
    let long = format!("554 {}", "a".repeat(254));
    let cut = "{ printf D; head -c 400 /dev/zero | tr '\\0' a; } >&6; exit 82";
    let inject = "printf 'Dline1\\r\\n250 inj' >&6; exit 82";
    vec![
        says("A79", "printf 'Dgo away (#5.7.1)' >&6; exit 82", "554 go away (#5.7.1)"),
        says("A79", "printf 'Zlater (#4.3.0)' >&6; exit 82", "451 later (#4.3.0)").case("Z"),
        says("A79", "printf Xodd >&6; exit 82", "451 odd").case("X"),
        says("A79", "printf Dx >&6; exit 82", "451 qq temporary problem (#4.3.0)").case("too short"),
        says("A79", "printf 'Dgo away (#5.7.1)' >&4; exit 82", "554 go away (#5.7.1)").case("the toasters' descriptor"),
        says("A79", "printf 'Zlater (#4.3.0)' >&4; exit 88", "451 later (#4.3.0)").case("the toasters' other status"),
        says("A80", cut, &long),
        says("A81", inject, "554 line1250 inj").decided(ONE_LINE),
        says("A82", "printf Dmine >&6; exit 31", "554 mail server permanently rejected message (#5.3.0)"),
    ]
}

fn limits() -> Vec<Row> {
    let wrapped = |row: Row| row.wrapper("ulimit -d 1024");
    let memory = "421 out of memory (#4.3.0)";
    let line = "y".repeat(66);
    let many = format!("MAIL FROM:<a@b>|{}DATA|x|.|", r"\{10050*RCPT TO:<12345678901@road.x>|}");
    let taken = r"OK|\{10000*OK|}\{50*452 too many recipients (#4.5.3)|}354|Q";
    let envelope = r"Fa@b\0\{10000*T12345678901@road.x\0}\0";
    vec![
        wrapped(talk("A86", r"\{8000000*x}|NOOP|", memory)),
        wrapped(talk("A86", r"HELO \{8000000*x}|NOOP|", memory)).case("endless HELO"),
        wrapped(talk("A86", r"NOOP \{2041*x}|NOOP \{2043*x}|NOOP|", "OK|500 line too long (#5.5.2)|OK"))
            .case("just too long")
            .decided(CAPPED),
        talk("A86", r"NOOP \{9000*x}|NOOP|", "OK|OK").case("a longer cap is meant").env("GATEPOST_LINE", "10000"),
        wrapped(talk("A87", &many, taken)).queued(envelope, "x\n").decided(CAPPED),
        talk("A87", &many, r"\{10051*OK|}354|Q")
            .case("no cap is meant")
            .env("GATEPOST_RECIPIENTS", "0")
            .queued(r"Fa@b\0\{10050*T12345678901@road.x\0}\0", "x\n"),
        talk("A87", r"\{30*x|}", r"\{20*502|}421 too many errors (#4.7.0)").case("nothing but errors").decided(CAPPED),
        talk("A87", r"\{30*x|}", r"\{30*502|}").case("errors are meant").env("GATEPOST_ERRORS", "0"),
        talk("A87", "", "421 session too long (#4.4.2)")
            .case("a session for ever")
            .env("GATEPOST_SESSION_TIME", "1")
            .then(Then::Silence)
            .decided("a client that sends an octet now and then must not hold a slot for ever"),
        wrapped(mail("A88", r"\{4000000*y}|", r"\{4000000*y}\n")),
        wrapped(mail("A88", &format!("\\{{60000*{line}|}}"), &format!(r"\{{60000*{line}\n}}"))).case("in lines"),
    ]
}

fn others() -> Vec<Row> {
    let repaired = |row: Row| row.env("GATEPOST_BARELF", "repair");
    let all = "EHLO x|MAIL FROM:<a@b>|RCPT TO:<c@d>|DATA|x|.|QUIT|";
    let replies = "250-mx.example.org|250-PIPELINING|250 8BITMIME|OK|OK|354|Q|221 mx.example.org";
    let too_long = "554 envelope address too long for qq (#5.1.3)";
    vec![
        talk("A84", all, replies).status(0).queued(ENVELOPE, "x\n").received(
            "Received: from client.example.net (HELO x) (192.0.2.7)\n  by mx.example.org with SMTP; <date>\n",
        ),
        repaired(mail("A89", r"a\n.\nb|", r"a\n.\nb\n"))
            .decided("a bare LF never ends a message: repaired, not obeyed"),
        repaired(mail("A89", r"a\nb\n|", r"a\nb\n\n")).case("plain").decided("a named switch where qmail has a filter"),
        repaired(mail("A89", r"a\n.|b|", r"a\n.\nb\n")).case("LF.CRLF").decided("a bare LF is no line end to a dot"),
        mail("A90", "x|", "x\n").argv(&["mx", "/bin/checkpassword", "true"]),
        talk("A90", "EHLO x|", "250-mx.example.org|250-PIPELINING|250-8BITMIME|250-SIZE 0|250 AUTH LOGIN PLAIN")
            .case("what is offered then")
            .argv(&["mx", "/bin/checkpassword", "true"])
            .decided("a checker among the arguments means AUTH, as in the builds that everyone runs"),
        mail("A90", "x|", "x\n").case("any words").argv(&["--help", "-x", "role", "session"]),
        not_ours("A91", QMQPD),
        not_ours("A92", QMQPD),
        not_ours("A93", QMQPD),
        not_ours("A95", "ours, with a handshake: in patches.rs"),
        not_ours("A96", QUEUE),
        not_ours("A97", QUEUE),
        not_ours("A98", QUEUE),
        not_ours("A99", QUEUE),
        not_ours("A100", QUEUE),
        not_ours("A101", QUEUE),
        mail("A102", "Subject: s||x|", "Subject: s\n\nx\n"),
        talk("A102", &format!("{HEAD}Subject: s||x|"), "OK|OK|354")
            .case("EOF")
            .queue("[ -s $d/envelope ] && exit 0; exit 54"),
        talk("A102", &format!("{HEAD}Subject: s||x\\nx|.|"), "OK|OK|354|BARE").case("bare LF"),
        refused("A103", "x|", too_long).env("RELAYCLIENT", &"r".repeat(1100)).queue("exit 11"),
    ]
}
