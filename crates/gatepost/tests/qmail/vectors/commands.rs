//! A1 to A30: commands and their replies, lines, addresses.

use super::{ENVELOPE, Over, Row, mail, rcpt, sender, talk};

const EHLO: &str = "250-mx.example.org|250-PIPELINING|250 8BITMIME";
/// qmail-smtpd names itself and its home page.
const HELP: &str = "214 see RFC 5321 (#2.0.0)";
const NO_NAME: &str = "no reply names a product, P10";
const QUIT: &str = "221 mx.example.org";

pub(super) fn rows() -> Vec<Row> {
    [replies(), order(), lines(), addresses()].concat()
}

fn replies() -> Vec<Row> {
    vec![
        talk("A1", "", ""),
        talk("A1", "", "").case("TCP").over(Over::Tcp),
        talk("A2", "QUIT now|", QUIT).status(0),
        talk("A3", "qUiT |", QUIT).status(0),
        talk("A3", "QUIT|NOOP|", QUIT).case("nothing after it").status(0),
        talk("A4", "HELO x|", "250 mx.example.org"),
        talk("A5", "EHLO|", EHLO),
        talk("A5", "EHLO a.road.test|", EHLO).case("with a name"),
        talk("A6", "HELP|", HELP).decided(NO_NAME),
        talk("A6", "HELP me|", HELP).case("with an argument").decided(NO_NAME),
        talk("A7", "NOOP foo|VRFY a|EXPN b|", "OK|252 send some mail, i'll try my best|502"),
        talk("A7", "AUTH PLAIN|STARTTLS|BDAT 1|ETRN x|XCLIENT|", "502|502|502|502|502").case("other verbs"),
        talk("A8", r"| HELO x|MAIL\tFROM:<a>|MAIL:FROM:<a>|", "502|502|502|502"),
    ]
}

fn order() -> Vec<Row> {
    vec![
        talk("A9", "RCPT TO:<a@b>|DATA|", "MAIL?|MAIL?"),
        talk("A10", "MAIL|DATA|", "OK|RCPT?"),
        talk("A11", "MAIL|RCPT|DATA|.|", "OK|OK|354|Q").queued(r"F\0T\0\0", ""),
        talk("A12", "MAIL FROM:<a@b>|RCPT TO:<c@d>|RSET|DATA|", "OK|OK|250 flushed|MAIL?"),
        talk("A13", "MAIL FROM:<a@b>|HELO x|RCPT TO:<c@d>|", "OK|250 mx.example.org|MAIL?"),
        talk("A13", "MAIL FROM:<a@b>|EHLO x|RCPT TO:<c@d>|", &format!("OK|{EHLO}|MAIL?")).case("EHLO"),
        talk("A14", "MAIL FROM:<a@b>|RCPT TO:<c@d>|MAIL FROM:<e@f>|DATA|", "OK|OK|OK|RCPT?"),
        talk("A15", "MAIL FROM:<a@b>|RCPT TO:<c@d>|RCPT TO:<c@d>|DATA|.|", "OK|OK|OK|354|Q")
            .queued(r"Fa@b\0Tc@d\0Tc@d\0\0", ""),
        talk("A15", "MAIL FROM:<a@b>|RCPT TO:<z@d>|RCPT TO:<c@d>|RCPT TO:<C@d>|DATA|.|", "OK|OK|OK|OK|354|Q")
            .case("in their order, in their case")
            .queued(r"Fa@b\0Tz@d\0Tc@d\0TC@d\0\0", ""),
    ]
}

fn lines() -> Vec<Row> {
    vec![
        talk(
            "A16",
            r"HELO client.example.net\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\n.|QUIT\n",
            "250 mx.example.org|OK|OK|354|Q|221 mx.example.org",
        )
        .queued(ENVELOPE, "")
        .status(0),
        talk("A17", r"HELO x\rMAIL|", "250 mx.example.org"),
        talk("A18", r"NOOP\r\r\n", "502"),
        talk("A18", r"RCPT\0TO:<x@y>|NOOP\0x|", "MAIL?|OK").case("NUL"),
        talk("A18", "DATA x|RSET x|", "MAIL?|250 flushed").case("arguments after a whole command"),
    ]
}

fn addresses() -> Vec<Row> {
    let longest = r"\{897*a}@b";
    vec![
        sender("A19", &format!("MAIL FROM:<{longest}>"), longest),
        talk("A20", &format!("MAIL FROM:<a{longest}>|RCPT TO:<c@d>|"), "555|MAIL?"),
        talk("A20", &format!("MAIL FROM:<a@b>|RCPT TO:<a{longest}>|DATA|"), "OK|555|RCPT?").case("recipient"),
        rcpt("A21", "RCPT TO:<@h1,@h2:a@example.com>", "a@example.com"),
        rcpt("A21", "RCPT TO:<@host>", "").case("no colon"),
        rcpt("A22", "RCPT a@example.com", ""),
        rcpt("A23", "RCPT TO:a@example.com junk", "a@example.com"),
        rcpt("A23", "RCPT <a@example.com>", "a@example.com").case("no TO:"),
        rcpt("A24", "RCPT TO:<a@example.com", "a@example.com"),
        rcpt("A24", r#"RCPT TO:<"x@y>"#, "x@y>").case("a quote without end"),
        rcpt("A25", r#"RCPT TO:<"quoted \\"x\\" loc"@example.com>"#, r#"quoted "x" loc@example.com"#),
        rcpt("A25", r#"RCPT TO:<"a@b"@c>"#, "a@b@c").case("an at sign in quotes"),
        rcpt("A26", r#"RCPT TO:"A B" <q@example.com>"#, "q@example.com"),
        rcpt("A26", "RCPT TO:< a@c >", " a@c ").case("spaces inside"),
        sender("A27", r"MAIL FROM:<a\\>b@c>", "a>b@c"),
        sender("A28", "MAIL FROM:a@b X=<q@z>", "q@z"),
        sender("A29", r"MAIL FROM:<a@b\0evil>", "a@b"),
        talk("A30", "MAIL FROM:<a@b> SIZE=99999999 BODY=8BITMIME|", "OK").control("databytes", "10\n"),
        mail("A30", "s|", "s\n").case("and all that follows").control("databytes", "10\n"),
    ]
}
