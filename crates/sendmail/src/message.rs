//! A message as local programs write it: lines that end in LF, a header that may lack what RFC 5322 demands, recipients in it.

use gatepost_smtp::mailboxes::{self, BadList};
use gatepost_smtp::submission::Stamp;

/// Fields that name recipients, RFC 5322 §3.6.3 and §3.6.6. Where one of the latter stands, the former are not looked at.
const RECIPIENTS: [&[u8]; 3] = [b"to", b"cc", b"bcc"];
const RESENT: [&[u8]; 3] = [b"resent-to", b"resent-cc", b"resent-bcc"];
/// Fields that are not for the recipients' eyes, or are written at delivery.
const REMOVED: [&[u8]; 3] = [b"bcc", b"resent-bcc", b"return-path"];
const CRLF: &[u8] = b"\r\n";

/// A message that was read to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Fields with their continued lines, each line ended by CRLF.
    fields: Vec<Vec<u8>>,
    /// Lines ended by CRLF.
    body: Vec<u8>,
}

/// What a field is made from when the message lacks it.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// `user@host`.
    pub address: &'a [u8],
    /// The caller's full name; may be empty.
    pub full_name: &'a [u8],
    /// The name of this host, for Message-ID.
    pub host: &'a [u8],
    /// Seconds since 1970.
    pub seconds: u64,
    /// What makes the Message-ID unlike every other of this second and host.
    pub unique: u64,
}

impl Message {
    /// Reads what a program wrote. `dots`: a line of one dot is content and not the end. Lines before the header that mailboxes
    /// begin a message with (`From `, `>From `) are left out. A CR at the end of a line belongs to its end; any other would be read
    /// as a line end by some and not by others (RFC 5321 §2.3.8): it becomes one in the body and a space in the header, and a NUL
    /// becomes a space.
    #[must_use]
    pub fn read(input: &[u8], dots: bool) -> Self {
        let mut lines = lines(input, dots).skip_while(|line| is_mailbox_line(line)).peekable();
        let mut fields: Vec<Vec<u8>> = Vec::new();
        while let Some(line) = lines.next_if(|line| is_field(line) || (is_continued(line) && !fields.is_empty())) {
            if is_field(line) {
                fields.push(Vec::new());
            }
            if let Some(field) = fields.last_mut() {
                field.extend(line.iter().map(|octet| if matches!(octet, b'\r' | 0) { b' ' } else { *octet }));
                field.extend_from_slice(CRLF);
            }
        }
        // The line between header and body, where the program wrote one.
        lines.next_if(|line| line.is_empty());
        let mut body = Vec::new();
        for line in lines {
            for part in line.split(|octet| *octet == b'\r') {
                body.extend(part.iter().map(|octet| if *octet == 0 { b' ' } else { *octet }));
                body.extend_from_slice(CRLF);
            }
        }
        Self { fields, body }
    }

    /// The recipients that its header names, in their order; once the Resent- fields have some, these alone.
    ///
    /// # Errors
    /// The field that can't be read, and why.
    pub fn recipients(&self) -> Result<Vec<Vec<u8>>, (String, BadList)> {
        let resent = self.fields.iter().any(|field| RESENT.contains(&name(field).as_slice()));
        let names = if resent { RESENT } else { RECIPIENTS };
        let mut found = Vec::new();
        for field in &self.fields {
            let name = name(field);
            if names.contains(&name.as_slice()) {
                let value = field.get(name.len()..).and_then(|rest| after_colon(rest)).unwrap_or_default();
                let list = mailboxes::of_list(value).map_err(|e| (String::from_utf8_lossy(&name).into_owned(), e))?;
                found.extend(list.into_iter().filter(|address| !address.is_empty()));
            }
        }
        Ok(found)
    }

    /// The content for SMTP: its own fields without those that must not be sent, what RFC 5322 §3.6 and RFC 6409 §8 demand and it
    /// lacks, an empty line, the body.
    #[must_use]
    pub fn content(&self, origin: &Origin<'_>) -> Vec<u8> {
        let mut content = Vec::with_capacity(self.body.len().saturating_add(1024));
        for field in self.fields.iter().filter(|field| !REMOVED.contains(&name(field).as_slice())) {
            content.extend_from_slice(field);
        }
        let mut add = |name: &str, value: &[&[u8]]| {
            content.extend_from_slice(name.as_bytes());
            content.extend_from_slice(b": ");
            value.iter().for_each(|part| content.extend_from_slice(part));
            content.extend_from_slice(CRLF);
        };
        if !self.has(b"from") {
            match phrase(origin.full_name).as_slice() {
                b"" => add("From", &[origin.address]),
                phrase => add("From", &[phrase, b" <", origin.address, b">"]),
            }
        }
        let unique = format!("{:x}", origin.unique);
        let stamp = Stamp { seconds: origin.seconds, unique: &unique, host: origin.host };
        stamp.complete(self.has(b"date"), self.has(b"message-id"), &mut content);
        content.extend_from_slice(CRLF);
        content.extend_from_slice(&self.body);
        content
    }

    /// Something in it is not ASCII.
    #[must_use]
    pub(crate) fn is_eight_bit(&self) -> bool {
        !self.body.is_ascii() || self.fields.iter().any(|field| !field.is_ascii())
    }

    fn has(&self, wanted: &[u8]) -> bool {
        self.fields.iter().any(|field| name(field) == wanted)
    }
}

/// Lines without their ends, up to the end of the message.
fn lines(input: &[u8], dots: bool) -> impl Iterator<Item = &[u8]> {
    let whole = input.strip_suffix(b"\n").unwrap_or(input);
    whole
        .split(|octet| *octet == b'\n')
        .map(|line| {
            let end = line.iter().rposition(|octet| *octet != b'\r').map_or(0, |at| at.saturating_add(1));
            line.get(..end).unwrap_or_default()
        })
        .take_while(move |line| dots || *line != b".")
        .filter(move |_| !input.is_empty())
}

/// The first line of a message in a mailbox; UUCP put marks before it.
fn is_mailbox_line(line: &[u8]) -> bool {
    let marks = line.iter().take_while(|octet| **octet == b'>').count();
    line.get(marks..).is_some_and(|rest| rest.starts_with(b"From "))
}

fn is_continued(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// RFC 5322 §2.2: printable ASCII up to a colon; white space before the colon is obsolete and read.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = line.iter().position(|octet| *octet == b':') else { return false };
    let name = line.get(..colon).unwrap_or_default().trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// The name of a field, in lower case.
fn name(field: &[u8]) -> Vec<u8> {
    field.split(|octet| *octet == b':').next().unwrap_or_default().trim_ascii_end().to_ascii_lowercase()
}

fn after_colon(rest: &[u8]) -> Option<&[u8]> {
    rest.iter().position(|octet| *octet == b':').and_then(|at| rest.get(at.saturating_add(1)..))
}

/// A full name as a phrase of RFC 5322 §3.2.5; one that is not ASCII as an encoded word of RFC 2047 §4.2.
fn phrase(full_name: &[u8]) -> Vec<u8> {
    let plain = full_name.trim_ascii();
    let atom = |octet: &u8| octet.is_ascii_alphanumeric() || b" !#$%&'*+-/=?^_`{|}~".contains(octet);
    if plain.iter().all(atom) {
        return plain.to_vec();
    }
    if plain.iter().all(|octet| matches!(octet, b' '..=b'~')) {
        let mut quoted = vec![b'"'];
        for octet in plain {
            if matches!(octet, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(*octet);
        }
        quoted.push(b'"');
        return quoted;
    }
    let Ok(text) = std::str::from_utf8(plain) else { return Vec::new() };
    let mut encoded = b"=?utf-8?q?".to_vec();
    for octet in text.bytes() {
        match octet {
            b' ' => encoded.push(b'_'),
            octet if octet.is_ascii_alphanumeric() => encoded.push(octet),
            octet => encoded.extend_from_slice(format!("={octet:02X}").as_bytes()),
        }
    }
    encoded.extend_from_slice(b"?=");
    // An encoded word has at most 75 octets.
    if encoded.len() <= 75 { encoded } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin<'_> =
        Origin { address: b"joe@host.test", full_name: b"Joe User", host: b"host.test", seconds: 0, unique: 0xab };

    fn content(input: &str, dots: bool) -> String {
        String::from_utf8(Message::read(input.as_bytes(), dots).content(&ORIGIN)).unwrap()
    }

    const ADDED: &str =
        "From: Joe User <joe@host.test>\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <0.ab@host.test>\r\n";
    const WHOLE: &str = "From: a@b.test\r\nDate: x\r\nMessage-ID: <y>\r\n";

    #[test]
    fn programs_messages_become_content() {
        for (what, input, dots, header, body) in [
            ("a header and a body", "Subject: s\n\nhello\n", false, format!("Subject: s\r\n{ADDED}"), "hello\r\n"),
            ("no header", "hello\nworld\n", false, ADDED.to_owned(), "hello\r\nworld\r\n"),
            ("no end of the last line", "Subject: s\n\nhello", false, format!("Subject: s\r\n{ADDED}"), "hello\r\n"),
            ("nothing", "", false, ADDED.to_owned(), ""),
            ("a header alone", "Subject: s\n", false, format!("Subject: s\r\n{ADDED}"), ""),
            ("CRLF", "Subject: s\r\n\r\nhello\r\n", false, format!("Subject: s\r\n{ADDED}"), "hello\r\n"),
            ("a dot ends it", "A: b\n\none\n.\ntwo\n", false, format!("A: b\r\n{ADDED}"), "one\r\n"),
            ("a dot does not", "A: b\n\none\n.\ntwo\n", true, format!("A: b\r\n{ADDED}"), "one\r\n.\r\ntwo\r\n"),
            (
                "a mailbox",
                "From joe Mon\n>From x\nA: b\n\nFrom here\n",
                true,
                format!("A: b\r\n{ADDED}"),
                "From here\r\n",
            ),
            ("a progress bar", "A: b\n\n10%\r20%\r\n", true, format!("A: b\r\n{ADDED}"), "10%\r\n20%\r\n"),
            ("a CR and a NUL in the header", "A: b\rBcc:\0c\n\nx\n", true, format!("A: b Bcc: c\r\n{ADDED}"), "x\r\n"),
            (
                "all is there",
                "From: a@b.test\nDate: x\nMessage-Id : <y>\n\n",
                true,
                WHOLE.replace("Message-ID:", "Message-Id :"),
                "",
            ),
            (
                "hidden recipients",
                "Bcc: a@b.test,\n c@d.test\nReturn-Path: <e>\nA: b\n\n",
                true,
                format!("A: b\r\n{ADDED}"),
                "",
            ),
            ("a body that looks like none", " x: y\n", true, ADDED.to_owned(), " x: y\r\n"),
        ] {
            assert_eq!(content(input, dots), format!("{header}\r\n{body}"), "{what}");
        }
    }

    #[test]
    fn recipients_of_a_header() {
        for (header, recipients) in [
            ("To: a@b.test\nCc: C <c@d.test>,\n e@f.test\nBcc: g@h.test\n", "a@b.test c@d.test e@f.test g@h.test"),
            ("To: a@b.test\nResent-To: c@d.test\n", "c@d.test"),
            ("TO : root\n", "root"),
            ("Subject: To: a@b.test\n\nTo: c@d.test\n", ""),
            ("To: undisclosed-recipients:;\n", ""),
        ] {
            let found = Message::read(header.as_bytes(), false).recipients().unwrap();
            assert_eq!(String::from_utf8(found.join(&b' ')).unwrap(), recipients, "{header:?}");
        }
        let bad = Message::read(b"To: <a@b.test\n\n", false).recipients().unwrap_err();
        assert_eq!(bad, ("to".to_owned(), BadList::Unbalanced));
    }

    #[test]
    fn full_names_become_phrases() {
        for (name, shown) in [
            ("Joe User", "Joe User"),
            ("Joe \"X\" User, Jr.", "\"Joe \\\"X\\\" User, Jr.\""),
            ("Jörg", "=?utf-8?q?J=C3=B6rg?="),
            ("a\r\nBcc: b", "=?utf-8?q?a=0D=0ABcc=3A_b?="),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(phrase(name.as_bytes())).unwrap(), shown, "{name}");
        }
    }
}
