//! A line as text.

use gatepost_wire::observe::Level;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The level as a word. Who reads it puts the time in front.
    Text,
    /// The level as the journal wants it: sd-daemon(3), `<N>` in front.
    Journal,
}

/// One line of text, its end included: the level, who says it, how many lines of his were lost before, and what he says.
/// Whatever that holds, it stays one line without control octets, and cannot pretend to be another's.
#[must_use]
pub fn line(form: Form, level: Level, who: &str, lost: u32, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_add(32));
    let (word, number) = match level {
        Level::Error => ("ERROR", 3),
        Level::Warning => (" WARN", 4),
        Level::Info => (" INFO", 6),
    };
    match form {
        Form::Text => out.extend_from_slice(format!("{word} {who}: ").as_bytes()),
        Form::Journal => out.extend_from_slice(format!("<{number}>{who}: ").as_bytes()),
    }
    if lost > 0 {
        out.extend_from_slice(format!("({lost} lines lost) ").as_bytes());
    }
    for octet in text {
        match octet {
            0x20..=0x7e | 0x80.. => out.push(*octet),
            _ => out.extend(octet.escape_ascii()),
        }
    }
    // What is no UTF-8 is shown as its octets: the journal would keep the line as binary data.
    if std::str::from_utf8(&out).is_err() {
        out = out
            .into_iter()
            .flat_map(|octet| match octet {
                0x20..=0x7e => vec![octet],
                _ => octet.escape_ascii().collect(),
            })
            .collect();
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p14_a_line_is_one_line_whatever_is_in_it() {
        for (form, level, lost, text, expected) in [
            (Form::Text, Level::Info, 0, &b"session=1"[..], " INFO handoff: session=1\n"),
            (Form::Text, Level::Warning, 0, b"a\nERROR launcher: b", " WARN handoff: a\\nERROR launcher: b\n"),
            (Form::Text, Level::Error, 7, b"x", "ERROR handoff: (7 lines lost) x\n"),
            (Form::Journal, Level::Error, 0, b"<0>x", "<3>handoff: <0>x\n"),
            (Form::Journal, Level::Info, 0, b"a\r\n\0\x1b[0m", "<6>handoff: a\\r\\n\\x00\\x1b[0m\n"),
            (Form::Text, Level::Info, 0, "z\u{fc}rich".as_bytes(), " INFO handoff: z\u{fc}rich\n"),
            (Form::Text, Level::Info, 0, b"\xff\xfe", " INFO handoff: \\xff\\xfe\n"),
            (Form::Text, Level::Info, 0, b"", " INFO handoff: \n"),
        ] {
            assert_eq!(String::from_utf8(line(form, level, "handoff", lost, text)).unwrap(), expected);
        }
    }
}
