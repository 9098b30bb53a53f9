//! The dialogues that qmail-smtpd's users know, one row each: whole, cut once at every octet, and octet by octet.
//!
//! In a row `|` is CRLF, and the greeting is left out.

use gatepost_qmail::engine::{Answer, BareLf, Engine, Event, Phase, Settings, exit_status};
use gatepost_qmail::replies;
use gatepost_smtp::envelope::{CloseReason, Then};

use crate::parent::{Record, Told, run};

pub(crate) struct Row {
    vector: &'static str,
    set: fn(&mut Settings),
    told: &'static [Told],
    input: String,
    tls: &'static str,
    events: String,
    output: String,
}

pub(crate) fn row(vector: &'static str, input: &str, events: &str, output: &str) -> Row {
    let [input, events, output] = [input, events, output].map(str::to_owned);
    Row { vector, set: |_| {}, told: &[], input, tls: "", events, output }
}

impl Row {
    pub(crate) fn with(self, set: fn(&mut Settings)) -> Self {
        Self { set, ..self }
    }

    pub(crate) fn told(self, told: &'static [Told]) -> Self {
        Self { told, ..self }
    }

    pub(crate) fn tls(self, tls: &'static str) -> Self {
        Self { tls, ..self }
    }

    fn check(&self) {
        let (settings, input, tls) = self.expected();
        let whole = run(&settings, self.told, [&input[..]], &tls);
        self.compare(&whole, "whole");
        for cut in 1..input.len() {
            let (before, behind) = input.split_at(cut);
            let cut_once = run(&settings, self.told, [before, behind], &tls);
            assert_eq!(cut_once, whole, "{} cut at {cut}", self.vector);
        }
        assert_eq!(run(&settings, self.told, input.chunks(1), &tls), whole, "{} octet by octet", self.vector);
    }

    /// In place of every cut, for what is too long for that.
    pub(crate) fn check_pieces(&self, sizes: &[usize]) {
        let (settings, input, tls) = self.expected();
        for size in sizes {
            self.compare(&run(&settings, self.told, input.chunks(*size), &tls), &format!("by {size}"));
        }
    }

    fn expected(&self) -> (Settings, Vec<u8>, Vec<u8>) {
        let mut settings = Settings { greeting: b"mx.example.org".to_vec(), ..Settings::default() };
        (self.set)(&mut settings);
        (settings, crlf(&self.input), crlf(self.tls))
    }

    fn compare(&self, record: &Record, how: &str) {
        assert_eq!(record.events, self.events, "{} {how}", self.vector);
        let output = String::from_utf8_lossy(&record.output).replace("\r\n", "|");
        assert_eq!(output, self.output, "{} {how}", self.vector);
    }
}

pub(crate) fn crlf(text: &str) -> Vec<u8> {
    text.replace('|', "\r\n").into_bytes()
}

pub(crate) fn check(rows: impl IntoIterator<Item = Row>) {
    for row in rows {
        row.check();
    }
}

pub(crate) const UNKNOWN: &str = "502 unimplemented (#5.5.1)|";
pub(crate) const MAIL_FIRST: &str = "503 MAIL first (#5.5.1)|";
const RCPT_FIRST: &str = "503 RCPT first (#5.5.1)|";

#[test]
fn a1_a18_commands() {
    check([
        row("A1", "", "", ""),
        row("A2", "QUIT now|NOOP|", "CLOSE Quit", "221 mx.example.org|"),
        row("A3", "qUiT |", "CLOSE Quit", "221 mx.example.org|"),
        row("A4", "HELO x|", "HELO x", "250 mx.example.org|"),
        row("A5", "EHLO|", "EHLO ", "250-mx.example.org|250-PIPELINING|250 8BITMIME|"),
        row("A6", "HELP|", "", "214 see RFC 5321 (#2.0.0)|"),
        row("A7", "NOOP foo|VRFY a|EXPN b|", "", &format!("250 ok|252 send some mail, i'll try my best|{UNKNOWN}")),
        row("A8", "| HELO x|MAIL\tFROM:<a>|MAIL:FROM:<a>|", "", &UNKNOWN.repeat(4)),
        row("A8 others", "AUTH PLAIN|STARTTLS|BDAT 1 LAST|ETRN x|", "", &UNKNOWN.repeat(4)),
        row("A9", "RCPT TO:<a@b>|DATA|", "", &MAIL_FIRST.repeat(2)),
        row("A10", "MAIL|DATA|", "MAIL ", &format!("250 ok|{RCPT_FIRST}")),
        row(
            "A11",
            "MAIL|RCPT|DATA|.|DATA|",
            "MAIL ; RCPT ; DATA; COMMIT",
            &format!("250 ok|250 ok|354 go ahead|250 ok 1 qp 2|{MAIL_FIRST}"),
        ),
        row(
            "A12",
            "MAIL FROM:<a@b>|RCPT TO:<c@d>|RSET|DATA|RSET|",
            "MAIL a@b; RCPT c@d; RESET",
            &format!("250 ok|250 ok|250 flushed|{MAIL_FIRST}250 flushed|"),
        ),
        row("A13", "MAIL|HELO x|RCPT|", "MAIL ; HELO x", &format!("250 ok|250 mx.example.org|{MAIL_FIRST}")),
        row(
            "A14",
            "MAIL <a@b>|RCPT <c@d>|MAIL <e@f>|DATA|",
            "MAIL a@b; RCPT c@d; MAIL e@f",
            &format!("250 ok|250 ok|250 ok|{RCPT_FIRST}"),
        ),
        row("A15", "MAIL|RCPT <c@d>|RCPT <c@d>|", "MAIL ; RCPT c@d; RCPT c@d", &"250 ok|".repeat(3)),
        row("A16", "NOOP\nHELO  x \nQUIT\n", "HELO x ; CLOSE Quit", "250 ok|250 mx.example.org|221 mx.example.org|"),
        row("A17", "HELO x\rMAIL|", "HELO x\\rMAIL", "250 mx.example.org|"),
        row("A18", "NOOP\r\r\n", "", UNKNOWN),
        row("NUL", "RCPT\0TO:<x@y>|MAIL\0|\0NOOP|", "MAIL ", &format!("{MAIL_FIRST}250 ok|{UNKNOWN}")),
    ]);
}

#[test]
fn a19_a30_addresses() {
    let sender = |length: usize| format!("MAIL FROM:<{}@b>|DATA|", "a".repeat(length - 2));
    let syntax = "555 syntax error (#5.5.4)|";
    check([
        row("A19", &sender(899), &format!("MAIL {}@b", "a".repeat(897)), &format!("250 ok|{RCPT_FIRST}")),
        row("A20", &sender(900), "", &format!("{syntax}{MAIL_FIRST}")),
        row("A20 RCPT", &format!("MAIL|RCPT <{}>|", "a".repeat(900)), "MAIL ", &format!("250 ok|{syntax}")),
        row("A20 route", &format!("MAIL <@{}:a@b>|", "r".repeat(1500)), "MAIL a@b", "250 ok|"),
        row(
            "A21-A26",
            "MAIL|RCPT TO:<@h1,@h2:a@example.com>|RCPT a@example.com|RCPT TO:a@example.com junk|RCPT TO:<a@example.com|\
             RCPT TO:<\"quoted \\\"x\\\" loc\"@example.com>|RCPT TO:\"A B\" <q@example.com>|",
            "MAIL ; RCPT a@example.com; RCPT ; RCPT a@example.com; RCPT a@example.com; \
             RCPT quoted \\\"x\\\" loc@example.com; RCPT q@example.com",
            &"250 ok|".repeat(7),
        ),
        row(
            "A27-A29",
            "MAIL FROM:<a\\>b@c>|MAIL FROM:a@b X=<q@z>|MAIL FROM:<a@b\0evil>|",
            "MAIL a>b@c; MAIL q@z; MAIL a@b",
            &"250 ok|".repeat(3),
        ),
        row("A30", "MAIL FROM:<a@b> SIZE=99999999 BODY=8BITMIME|", "MAIL a@b", "250 ok|").with(|s| s.databytes = 10),
        row(
            "A30 patched",
            "MAIL FROM:<a@b> SIZE=11|RCPT <c@d>|MAIL FROM:<a@b> SIZE=10|",
            "MAIL a@b",
            &format!("552 sorry, that message size exceeds my databytes limit (#5.3.4)|{MAIL_FIRST}250 ok|"),
        )
        .with(|s| (s.databytes, s.patched) = (10, true)),
    ]);
}

const ENVELOPE: &str = "MAIL FROM:<a@b>|RCPT TO:<c@d>|DATA|";
const BEGUN: &str = "MAIL a@b; RCPT c@d; DATA";

/// One message: its content with its end, what is stored and what comes of it, the last reply.
fn message(vector: &'static str, content: &str, events: &str, reply: &str) -> Row {
    let output = format!("250 ok|250 ok|354 go ahead|{reply}");
    row(vector, &format!("{ENVELOPE}{content}"), &format!("{BEGUN}{events}"), &output)
}

#[test]
fn a60_a65_content() {
    let done = "250 ok 1 qp 2|";
    let stray = "451 See https://cr.yp.to/docs/smtplf.html.|";
    let repair: fn(&mut Settings) = |s| s.bare_lf = BareLf::Repair;
    check([
        message("A60", "..a|.b|...|. |.|", "; CONTENT .a\\nb\\n..\\n \\n; COMMIT", done),
        message("A61", "a\nb|.|NOOP|", "; CONTENT a; CLOSE BareLf", stray),
        message("A61 first", "\nb|.|", "; CLOSE BareLf", stray),
        message("A62", "a\n.|MAIL FROM:<x@y>|", "; CONTENT a; CLOSE BareLf", stray),
        message("A62 dot", "a|.\nMAIL FROM:<x@y>|", "; CONTENT a\\n; CLOSE BareLf", stray),
        message("A63", "a\r.|b|.|", "; CONTENT a\\r.\\nb\\n; COMMIT", done),
        message("A64", "a|.\r\r\nb|.|", "; CONTENT a\\n.\\r\\nb\\n; COMMIT", done),
        message("A64 text", "a|.\rx|.|", "; CONTENT a\\n.\\rx\\n; COMMIT", done),
        message("CR CR LF", "a\r|.|", "; CONTENT a\\r\\n; COMMIT", done),
        message("A65", "a|b", "; CONTENT a\\nb; CUT", ""),
        message("A89", "a\n.\nb|.|", "; CONTENT a\\n.\\nb\\n; COMMIT", done).with(repair),
        message("A89 LF.CRLF", "a\n.|MAIL|.|", "; CONTENT a\\n.\\nMAIL\\n; COMMIT", done).with(repair),
        message("A89 CRLF.LF", "a|.\nMAIL|.|", "; CONTENT a\\n.\\nMAIL\\n; COMMIT", done).with(repair),
    ]);
}

/// The events of content that is only counted here.
fn stored(content: &str, end: &str) -> String {
    format!("; CONTENT {}; {end}", content.replace("\r\n", "\n").escape_default())
}

#[test]
fn a66_a73_hops_and_size() {
    let looping = "554 too many hops, this message is looping (#5.4.6)|";
    let too_large = "552 sorry, that message size exceeds my databytes limit (#5.3.4)|";
    let done = "250 ok 1 qp 2|";
    let repeated = |vector, content: String, end, reply| {
        message(vector, &format!("{content}.|"), &stored(&content.replace('|', "\r\n"), end), reply)
    };
    check([
        repeated("A66", "Received: x|".repeat(99) + "|b|", "COMMIT", done),
        repeated("A66", "Received: x|".repeat(100) + "|b|", "ABANDON Loop", looping),
        repeated("A67", "ReCeIvEd-SPF: pass|".repeat(100), "ABANDON Loop", looping),
        repeated("A67", "Delivered|".repeat(100), "ABANDON Loop", looping),
        repeated("A67 both", "Delivered|received|".repeat(50), "ABANDON Loop", looping),
        repeated("A67 neither", " Received: x|Receive|xReceived|".repeat(100), "COMMIT", done),
        repeated("A68", format!("Subject: x||{}", "Received: x|".repeat(200)), "COMMIT", done),
        message("A69", "12345678||.|", "; CONTENT 12345678\\n\\n; COMMIT", done).with(|s| s.databytes = 10),
        message("A69", "123456789||.|", "; CONTENT 123456789\\n; ABANDON TooLarge", too_large)
            .with(|s| s.databytes = 10),
        message(
            "A70",
            &format!("1234567890123|1|.|RCPT <c@d>|{ENVELOPE}1|.|"),
            &format!("; CONTENT 1234567890; ABANDON TooLarge; {BEGUN}; CONTENT 1\\n; COMMIT"),
            &format!("{too_large}{MAIL_FIRST}250 ok|250 ok|354 go ahead|{done}"),
        )
        .with(|s| s.databytes = 10),
        message("A71", &format!("{}.|", "Received|".repeat(100)), "; CONTENT Received\\nR; ABANDON Loop", looping)
            .with(|s| s.databytes = 10),
    ]);
}

#[test]
fn a84_everything_in_one_write() {
    let input = crlf("EHLO x|MAIL FROM:<a@b>|RCPT TO:<c@d>|DATA|Subject: x||b|.|QUIT|");
    check([row(
        "A84",
        &String::from_utf8(input).unwrap(),
        "EHLO x; MAIL a@b; RCPT c@d; DATA; CONTENT Subject: x\\n\\nb\\n; COMMIT; CLOSE Quit",
        "250-mx.example.org|250-PIPELINING|250 8BITMIME|250 ok|250 ok|354 go ahead|250 ok 1 qp 2|221 mx.example.org|",
    )]);
}

#[test]
fn the_parent_decides() {
    const NO: &str = "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)\r\n";
    check([
        row(
            "A44",
            "MAIL FROM:<a@b>|RCPT <c@d>|RCPT <c@d>|DATA|",
            "MAIL a@b; RCPT c@d; RCPT c@d",
            &format!("250 ok|{0}|{0}|{RCPT_FIRST}", NO.trim_end()),
        )
        .told(&[("RCPT c@d", NO, Then::Refused)]),
        row("HELO", "HELO x|MAIL|", "HELO x; MAIL ", "553 go|250 ok|").told(&[("HELO x", "553 go\r\n", Then::Refused)]),
        row("own HELO", "HELO x|", "HELO x", "250-a|250 b|").told(&[("HELO x", "250-a\r\n250 b\r\n", Then::Go)]),
        row(
            "MAIL refused ends the one before",
            "MAIL|RCPT|MAIL <x>|DATA|",
            "MAIL ; RCPT ; MAIL x",
            &format!("250 ok|250 ok|550 no|{MAIL_FIRST}"),
        )
        .told(&[("MAIL x", "550 no\r\n", Then::Refused)]),
        row(
            "no queue program",
            "MAIL|RCPT|DATA|DATA|",
            "MAIL ; RCPT ; DATA",
            &format!("250 ok|250 ok|451 qqt failure (#4.3.0)|{MAIL_FIRST}"),
        )
        .told(&[("DATA", "451 qqt failure (#4.3.0)\r\n", Then::Refused)]),
        message("queue", "x|.|DATA|", "; CONTENT x\\n; COMMIT", &format!("554 no|{MAIL_FIRST}")).told(&[(
            "COMMIT",
            "554 no\r\n",
            Then::Refused,
        )]),
        message(
            "queue says nothing",
            "x|.|",
            "; CONTENT x\\n; COMMIT; CLOSE Internal",
            "421 internal trouble (#4.3.0)|",
        )
        .told(&[("COMMIT", "", Then::Go)]),
        row("close", "MAIL <x>|NOOP|", "MAIL x; CLOSE Refused", "421 no|").told(&[(
            "MAIL x",
            "421 no\r\n",
            Then::Close,
        )]),
        row("drop", "MAIL <x>|NOOP|", "MAIL x; CLOSE Dismissed", "").told(&[("MAIL x", "", Then::Leave)]),
    ]);
    assert_eq!((exit_status(CloseReason::Quit), exit_status(CloseReason::Dismissed)), (0, 0));
    assert_eq!((exit_status(CloseReason::Refused), exit_status(CloseReason::BareLf)), (1, 1));
}

#[test]
fn a51_the_greeting_is_kept_as_it_is() {
    for (greeting, line) in [
        ("mx.example.org", "220 mx.example.org ESMTP\r\n"),
        ("hello.example ready to go", "220 hello.example ready to go ESMTP\r\n"),
        ("", "220  ESMTP\r\n"),
        ("host.x hi\r", "220 host.x hi\r ESMTP\r\n"),
        ("two\nlines", "220 twolines ESMTP\r\n"),
    ] {
        let mut engine = Engine::new(Settings { greeting: greeting.into(), ..Settings::default() });
        assert_eq!(engine.phase(), Phase::Greeting);
        assert_eq!(engine.read(b"QUIT\r\n"), (0, Event::Starved));
        assert!(engine.output().is_empty());
        engine.answer(&Answer::GO);
        assert_eq!(engine.output().escape_ascii().to_string(), line.escape_default().to_string());
    }
}

#[test]
fn a52_no_greeting_but_a_last_word() {
    let mut engine = Engine::new(Settings::default());
    let reply = format!("{}\r\n", replies::CONTROLS);
    engine.answer(&Answer { lines: reply.as_bytes(), then: Then::Close });
    assert_eq!(engine.output(), b"421 unable to read controls (#4.3.0)\r\n");
    assert_eq!(engine.read(b"QUIT\r\n"), (0, Event::Close(CloseReason::Refused)));
}
