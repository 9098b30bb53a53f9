//! A31 to A59: control files, the environment, and what of them stands in Received.

use super::{ABSENT, DIRECTORY, ENVELOPE, HEAD, Over, Row, Then, mail, rcpt, refused, sender, talk};

const NO_RELAY: &str =
    "a forgotten file must not make an open relay; GATEPOST_OPENRELAY says that it is meant; nor must it bounce mail";
const GARBAGE: &str = "a limit that cannot be read must not become none; GATEPOST_DATABYTES_ANY says that it is meant";

pub(super) fn rows() -> Vec<Row> {
    [rcpthosts(), relay(), badmailfrom(), own_addresses(), greeting(), received(), databytes()].concat()
}

fn rcpthosts() -> Vec<Row> {
    let asked = |id, hosts, lines: &[&str], replies: &str| {
        let input: String = lines.iter().map(|to| format!("RCPT TO:<{to}>|")).collect();
        talk(id, &format!("MAIL FROM:<a@b>|{input}"), &format!("OK|{replies}")).control("rcpthosts", hosts)
    };
    let example = "example.com\n";
    let sub = ".sub.example.com\n";
    vec![
        rcpt("A31", "RCPT TO:<a@EXAMPLE.com>", "a@EXAMPLE.com").control("rcpthosts", example),
        asked("A32", example, &["a@x.example.com"], "R553"),
        asked("A33", sub, &["a@sub.example.com", "a@y.z.sub.example.com"], "R553|OK"),
        asked("A34", sub, &["local", ""], "OK|OK"),
        asked("A35", example, &["a@example.com.", "a@"], "R553|R553"),
        asked("A36", example, &["a@b@example.com", "a%x.y@example.com", "ext.example!u@example.com"], "OK|OK|OK"),
        rcpt("A36", "RCPT TO:<ext.example!u%x.y@example.com>", "ext.example!u%x.y@example.com")
            .case("unchanged")
            .control("rcpthosts", example),
        asked("A37", example, &["@example.com:u@ext.example"], "R553"),
        asked("A38", "", &["a@b.c", "a"], "R553|OK"),
        asked("A40", r"example.com\r\n", &["a@example.com"], "R553").case("CRLF").warns("rcpthosts"),
        asked("A40", " example.com\n", &["a@example.com"], "R553").case("a space before it").warns("rcpthosts"),
        asked("A41", "example.com", &["a@example.com"], "OK"),
        asked(
            "A41",
            "#b.c\n\nexample.com \t\n.com",
            &["a@example.com", "a@x.com", "a@com", "a@#b.c"],
            "OK|OK|R553|R553",
        )
        .case("comments, blanks, top level"),
    ]
}

fn relay() -> Vec<Row> {
    let cdb = &cdb(b"example.net");
    let both = "MAIL FROM:<a@b>|RCPT TO:<a@EXAMPLE.net>|RCPT TO:<a@example.com>|RCPT TO:<a@x.test>|";
    vec![
        talk("A39", "MAIL FROM:<a@b>|RCPT TO:<c@d>|RCPT TO:<@h:x@y.test>|RCPT TO:<a>|", "OK|OK|OK|OK"),
        talk("A39", "MAIL FROM:<a@b>|RCPT TO:<c@d>|RCPT TO:<a>|", "OK|451 unable to read controls (#4.3.0)|OK")
            .case("no switch")
            .without("GATEPOST_OPENRELAY")
            .warns("rcpthosts")
            .decided(NO_RELAY),
        talk("A42", "MAIL FROM:<a@b>|RCPT TO:<c@d>|", "OK|OK").control("rcpthosts", "").env("RELAYCLIENT", ""),
        talk("A42", "MAIL FROM:<a@b>|RCPT TO:<c@d>|", "OK|OK")
            .case("without rcpthosts and without a switch")
            .without("GATEPOST_OPENRELAY")
            .env("RELAYCLIENT", ""),
        rcpt("A43", "RCPT TO:<a@b.c>", "a@b.c.fixme").env("RELAYCLIENT", ".fixme"),
        talk("A83", both, "OK|OK|OK|R553").control("rcpthosts", "example.com\n").control("morercpthosts.cdb", cdb),
        talk("A83", both, "OK|OK|OK|OK").case("without rcpthosts").control("morercpthosts.cdb", cdb),
        talk("A73c", "MAIL FROM:<a@b>|RCPT TO:<b@x>|RCPT TO:<a@zz.example>|NOOP|", "OK|OK|CONTROLS")
            .control("rcpthosts", "x\n")
            .control("morercpthosts.cdb", "junk"),
    ]
}

fn badmailfrom() -> Vec<Row> {
    let from = |id, list, sender: &str, reply: &str| {
        talk(id, &format!("MAIL FROM:<{sender}>|RCPT TO:<c@d>|"), &format!("OK|{reply}")).control("badmailfrom", list)
    };
    vec![
        talk("A44", "MAIL FROM:<SPAM@bad.EXAMPLE>|RCPT TO:<c@d>|RCPT TO:<e@f>|DATA|", "OK|B553|B553|RCPT?")
            .control("badmailfrom", "spam@Bad.example\n"),
        from("A45", "@worse.example\n", "x@WORSE.example", "B553"),
        from("A45", "@worse.example\n", "x@sub.worse.example", "OK").case("below it"),
        from("A45", "@worse.example\n", "x@y@worse.example", "B553").case("two at signs"),
        from("A46", "root\n", "root", "B553"),
        from("A47", "<>\n\n", "", "OK"),
        talk("A53", "", "CONTROLS").control("badmailfrom", DIRECTORY).greeting(""),
        from("A73d", "spam@bad\n", "@r:spam@bad", "B553"),
    ]
}

fn own_addresses() -> Vec<Row> {
    let lip = |row: Row| row.control("localiphost", "lip.example\n");
    vec![
        lip(rcpt("A48", "RCPT TO:<a@[127.0.0.1]>", "a@lip.example")),
        lip(sender("A48", "MAIL FROM:<a@[127.0.0.1]>", "a@lip.example")).case("sender"),
        rcpt("A48", "RCPT TO:<a@[127.0.0.1]>", "a@mx.example.org").case("by the name in me"),
        lip(rcpt("A48", "RCPT TO:<a@[0.0.0.0]>", "a@lip.example")).case("any address"),
        lip(rcpt("A49", "RCPT TO:<a@[127.0.0.1]x>", "a@[127.0.0.1]x")),
        lip(rcpt("A49", "RCPT TO:<a@[9.9.9.9]>", "a@[9.9.9.9]")).case("of another"),
        lip(rcpt("A49", "RCPT TO:<a@[IPv6:::1]>", "a@[IPv6:::1]")).case("of the other family"),
        lip(rcpt("A50", "RCPT TO:<a@[383.0.0.1]>", "a@lip.example")),
        lip(rcpt("A50", "RCPT TO:<a@[127.0.0.257]>", "a@lip.example")).case("the last number"),
    ]
}

fn greeting() -> Vec<Row> {
    let idle = |id| talk(id, "", "451 timeout (#4.4.2)").then(Then::Silence);
    vec![
        rcpt("A51", "RCPT TO:<a@[127.0.0.1]>", "a@[127.0.0.1]")
            .control("me", ABSENT)
            .control("smtpgreeting", "hello.example ready to go  \t\nsecond line\n")
            .greeting("220 hello.example ready to go ESMTP"),
        talk("A51", "HELO x|QUIT|", "250 hi there|221 hi there")
            .case("in all its places")
            .control("smtpgreeting", "hi there\n")
            .greeting("220 hi there ESMTP")
            .status(0),
        talk("A52", "", "CONTROLS").control("me", ABSENT).greeting(""),
        talk("A52", "", "").case("empty").control("me", "").greeting("220  ESMTP"),
        idle("A54").control("timeoutsmtpd", "1\n"),
        idle("A54").case("0 is 1").control("timeoutsmtpd", "0\n"),
        talk("A54", &format!("{HEAD}half a line"), "OK|OK|354|451 timeout (#4.4.2)")
            .case("within content")
            .control("timeoutsmtpd", "1\n")
            .then(Then::Silence),
    ]
}

fn received() -> Vec<Row> {
    const HOST: &str = "Received: from client.example.net";
    const BY: &str = "\n  by mx.example.org with SMTP; <date>\n";
    let from = |id, helo: &str, received: &'static str| {
        let input = format!("{helo}|{HEAD}b|.|");
        talk(id, &input, "250 mx.example.org|OK|OK|354|Q").queued(ENVELOPE, "b\n").received(received)
    };
    assert!(super::RECEIVED.starts_with(HOST) && super::RECEIVED.ends_with(BY));
    vec![
        from(
            "A55",
            "HELO foo",
            "Received: from client.example.net (HELO foo) (192.0.2.7)\n  by mx.example.org with SMTP; <date>\n",
        ),
        from("A56", "HELO CLIENT.example.NET", super::RECEIVED),
        from(
            "A57",
            "HELO",
            "Received: from client.example.net (HELO ) (192.0.2.7)\n  by mx.example.org with SMTP; <date>\n",
        ),
        from(
            "A58",
            "HELO a b(c)_<d>",
            "Received: from unknown (HELO a?b?c???d?) (bob?smith@192.0.2.7)\n  by mx.example.org with SMTP; <date>\n",
        )
        .without("TCPREMOTEHOST")
        .env("TCPREMOTEINFO", "bob smith"),
        from("A59", "HELO unknown", "Received: from unknown (unknown)\n  by unknown with SMTP; <date>\n")
            .over(Over::Pipes)
            .without("PROTO")
            .without("TCPREMOTEIP")
            .without("TCPREMOTEPORT")
            .without("TCPREMOTEHOST")
            .without("TCPLOCALIP")
            .without("TCPLOCALPORT")
            .without("TCPLOCALHOST"),
        mail("A59", "b|", "b\n")
            .case("the address for want of a name")
            .without("TCPLOCALHOST")
            .received("Received: from client.example.net (192.0.2.7)\n  by 192.0.2.25 with SMTP; <date>\n"),
        mail("A73e", "b|", "b\n")
            .env("TCPREMOTEINFO", "")
            .received("Received: from client.example.net (@192.0.2.7)\n  by mx.example.org with SMTP; <date>\n"),
        mail("A85", "b|", "b\n")
            .env("TCPREMOTEIP", "[::1]")
            .received("Received: from client.example.net ([::1])\n  by mx.example.org with SMTP; <date>\n"),
        from(
            "A85",
            "HELO [192.0.2.7]",
            "Received: from client.example.net (HELO [192.0.2.7]) (192.0.2.7)\n  by mx.example.org with SMTP; <date>\n",
        )
        .case("brackets are kept"),
    ]
}

fn databytes() -> Vec<Row> {
    // Stored: 20 octets.
    let large = "\\{19*x}|";
    let stored = "\\{19*x}\n";
    let limited = |row: Row| row.control("databytes", "10\n");
    let no_file = |case, file| mail("A73b", large, stored).case(case).control("databytes", file).warns("databytes");
    vec![
        limited(mail("A69", "123456789|", "123456789\n")),
        limited(refused("A69", "1234567890|", "552")).case("one more"),
        limited(refused("A69", "\\{30000*x|}", "552")).case("many more"),
        limited(talk("A70", &format!("{HEAD}1234567890|.|{HEAD}1|.|"), "OK|OK|354|552|OK|OK|354|Q"))
            .queued(ENVELOPE, "1\n"),
        limited(refused("A71", "\\{100*Received: x|}|", "554")),
        limited(refused("A72", large, "552")),
        limited(refused("A72", large, "552")).case("empty").env("DATABYTES", "").warns("DATABYTES").decided(GARBAGE),
        limited(refused("A72", large, "552")).case("abc").env("DATABYTES", "abc").warns("DATABYTES").decided(GARBAGE),
        limited(refused("A72", large, "552")).case("-5").env("DATABYTES", "-5").warns("DATABYTES").decided(GARBAGE),
        limited(mail("A72", large, stored))
            .case("abc is meant")
            .env("DATABYTES", "abc")
            .env("GATEPOST_DATABYTES_ANY", "1"),
        limited(mail("A72", large, stored))
            .case("empty is meant")
            .env("DATABYTES", "")
            .env("GATEPOST_DATABYTES_ANY", ""),
        limited(mail("A72", large, stored)).case("0").env("DATABYTES", "0"),
        limited(refused("A72", large, "552")).case("5x").env("DATABYTES", "5x"),
        limited(mail("A72", large, stored)).case("20").env("DATABYTES", "20"),
        refused("A72", large, "552").case("alone").env("DATABYTES", "19"),
        refused("A73", large, "552").control("databytes", "10 bytes\n"),
        refused("A73", large, "552").case("CR").control("databytes", r"10\r\n"),
        refused("A73", large, "552").case("wraps").control("databytes", "4294967306\n"),
        no_file("0x10", "0x10\n"),
        no_file("-5", "-5\n"),
        no_file("+10", "+10\n"),
        no_file("a space", " 10\n"),
        no_file("abc", "abc\n"),
        no_file("empty", ""),
        no_file("wraps to 0", "4294967296\n"),
    ]
}

/// A cdb with one key and no data, as qmail-newmrh makes it of one line; written with the escapes of the vectors.
fn cdb(key: &[u8]) -> String {
    let hash = key.iter().fold(5381_u32, |hash, octet| hash.wrapping_mul(33) ^ u32::from(*octet));
    let table = (hash & 255) as usize;
    let (record, length) = (2048, key.len() as u32);
    let slots = record + 8 + length;
    let mut words: Vec<u32> = Vec::new();
    for number in 0..256 {
        // A table without a slot lies where the next one would.
        let (place, count) =
            if number == table { (slots, 2) } else { (slots + if number > table { 16 } else { 0 }, 0) };
        words.extend([place, count]);
    }
    words.extend([length, 0]);
    let mut octets: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    octets.extend(key);
    let slot = [hash, record].map(u32::to_le_bytes).concat();
    let empty = vec![0; 8];
    octets.extend(if (hash >> 8).is_multiple_of(2) { [slot, empty].concat() } else { [empty, slot].concat() });
    octets.iter().map(|octet| format!("\\x{octet:02x}")).collect()
}
