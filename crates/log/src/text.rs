//! A line as text or JSON.

use crate::privacy;
use gatepost_smtp::text::is_printable;
use gatepost_wire::event::{Datum, Event};
use gatepost_wire::line::Level;
use gatepost_wire::slice::LogForm as Form;
use std::io::Write;
use std::time::Duration;

/// What all lines have, whatever they tell.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// How much it matters.
    pub level: Level,
    /// Who says it.
    pub who: &'a str,
    /// How many things it said before were lost.
    pub lost: u32,
    /// Since 1970. Only JSON shows it.
    pub time: Duration,
}

/// Octets that most lines of an event have room in.
const LINE: usize = 512;

/// One line of free text, its end included. Whatever it holds, it stays one line without control characters and such as reorder or hide
/// what stands beside them, and cannot pretend to be another's.
#[must_use]
pub fn line(form: Form, head: &Head<'_>, text: &[u8]) -> Vec<u8> {
    match form {
        Form::Json => json(head, |object| object.datum("message", &Datum::Text(text.into()))),
        Form::Text | Form::Journal => finish(begin(form, head), text),
    }
}

/// One line that tells an event, its end included: its name, and its fields as `name=value`. Text is between quotes that it cannot end;
/// a field without a value is left out. `cut`: of addresses only network and domain.
#[must_use]
pub fn told(form: Form, head: &Head<'_>, event: &Event<'_>, cut: bool) -> Vec<u8> {
    let each = |see: &mut dyn FnMut(&'static str, &Datum<'_>)| {
        event.each(|name, datum| see(name, &if cut { privacy::cut(name, datum) } else { datum }));
    };
    if form == Form::Json {
        return json(head, |object| {
            object.text("event", event.row().name);
            each(&mut |name, datum| object.datum(name, datum));
        });
    }
    let mut text = Vec::with_capacity(LINE);
    text.extend_from_slice(event.row().name.as_bytes());
    each(&mut |name, datum| {
        // Writing to memory cannot fail.
        let _ = match datum {
            Datum::Absent => Ok(()),
            Datum::Number(number) => write!(text, " {name}={number}"),
            Datum::Word(word) => write!(text, " {name}={word}"),
            Datum::Text(value) => {
                let begun = write!(text, " {name}=\"");
                for piece in value.split_inclusive(|octet| matches!(octet, b'"' | b'\\')) {
                    match piece {
                        [before @ .., last @ (b'"' | b'\\')] => {
                            text.extend_from_slice(before);
                            text.extend_from_slice(&[b'\\', *last]);
                        }
                        _ => text.extend_from_slice(piece),
                    }
                }
                text.push(b'"');
                begun
            }
        };
    });
    finish(begin(form, head), &text)
}

fn begin(form: Form, head: &Head<'_>) -> Vec<u8> {
    let who = head.who;
    let (word, number) = (padded(head.level), priority(head.level));
    let mut begin = match form {
        Form::Journal => format!("<{number}>{who}: "),
        Form::Text | Form::Json => format!("{word} {who}: "),
    };
    if head.lost > 0 {
        begin.push_str(&format!("({} lines lost) ", head.lost));
    }
    begin.into_bytes()
}

/// LOG_MAIL, syslog(3).
const FACILITY: u8 = 2 << 3;

/// A line, of text or JSON, as syslog(3) sends it to the log on this machine: `<PRI>tag: text`, the tag being `name[pid]`.
#[must_use]
pub fn datagram(level: Level, tag: &str, line: &[u8]) -> Vec<u8> {
    // The level of text is the datagram's own, and so is the name of a process that writes for itself.
    let text = line.strip_prefix(padded(level).as_bytes()).map_or(line, |text| text.trim_ascii_start());
    let text = text.strip_prefix(format!("{tag}: ").as_bytes()).unwrap_or(text);
    [format!("<{}>{tag}: ", FACILITY | priority(level)).as_bytes(), text.trim_ascii_end()].concat()
}

/// As syslog(3) counts it.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
    }
}

fn padded(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warning => " WARN",
        Level::Info => " INFO",
    }
}

fn finish(mut out: Vec<u8>, text: &[u8]) -> Vec<u8> {
    out.reserve(text.len().saturating_add(1));
    // Most lines are clean.
    let clean = text.iter().position(|octet| !matches!(octet, 0x20..=0x7e)).unwrap_or(text.len());
    let (clean, rest) = text.split_at_checked(clean).unwrap_or((text, &[]));
    out.extend_from_slice(clean);
    match std::str::from_utf8(rest) {
        Ok(rest) => {
            for character in rest.chars() {
                if is_printable(character) {
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                } else if let Ok(octet) = u8::try_from(character)
                    && octet.is_ascii()
                {
                    out.extend(octet.escape_ascii());
                } else {
                    out.extend(character.escape_unicode().map(|character| u8::try_from(character).unwrap_or(b'?')));
                }
            }
        }
        // What is no UTF-8 is shown as its octets: the journal would keep the line as binary data.
        Err(_) => {
            for octet in rest {
                match octet {
                    0x20..=0x7e => out.push(*octet),
                    _ => out.extend(octet.escape_ascii()),
                }
            }
        }
    }
    out.push(b'\n');
    out
}

/// A string of JSON, quotes included. Whatever a terminal would obey, or a reader not see, is escaped; whoever reads the JSON has it as
/// it was.
#[must_use]
pub fn json_string(text: &str) -> String {
    // A string has a form in JSON, whatever is in it.
    let written = serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned());
    if written.chars().all(is_printable) {
        return written;
    }
    // JSON's own marks are printable: all that is not is within the quotes.
    let mut out = String::with_capacity(written.len().saturating_mul(2));
    for character in written.chars() {
        if is_printable(character) {
            out.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

fn json(head: &Head<'_>, fields: impl FnOnce(&mut Object)) -> Vec<u8> {
    let mut object = Object(vec![b'{']);
    object.number("time_ms", u64::try_from(head.time.as_millis()).unwrap_or(u64::MAX));
    object.text("level", padded(head.level).trim().to_ascii_lowercase().as_str());
    object.text("who", head.who);
    if head.lost > 0 {
        object.number("lost", head.lost.into());
    }
    fields(&mut object);
    object.0.extend_from_slice(b"}\n");
    object.0
}

/// A JSON object in the making.
struct Object(Vec<u8>);

impl Object {
    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(format!("\"{name}\":").as_bytes());
    }

    fn number(&mut self, name: &str, number: u64) {
        self.name(name);
        self.0.extend_from_slice(number.to_string().as_bytes());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.0.extend_from_slice(json_string(text).as_bytes());
    }

    fn datum(&mut self, name: &str, datum: &Datum<'_>) {
        match datum {
            Datum::Absent => {}
            Datum::Number(number) => self.number(name, *number),
            Datum::Word(word) => self.text(name, word),
            // JSON is Unicode: octets that are no UTF-8 are shown as in text.
            Datum::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => self.text(name, text),
                Err(_) => self.text(name, &text.escape_ascii().to_string()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::event::{Refused, Turned, TurnedAway};
    use gatepost_wire::link::SessionId;

    fn head(level: Level, lost: u32) -> Head<'static> {
        Head { level, who: "handoff", lost, time: Duration::from_millis(1_795_000_000_123) }
    }

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
            (Form::Text, Level::Info, 0, b"\"\\\xff\n\xc2\x9b", " INFO handoff: \"\\\\xff\\n\\xc2\\x9b\n"),
            (Form::Text, Level::Info, 0, b"", " INFO handoff: \n"),
            (
                Form::Json,
                Level::Warning,
                2,
                b"a\"\n\xff",
                "{\"time_ms\":1795000000123,\"level\":\"warn\",\"who\":\"handoff\",\"lost\":2,\"message\":\"a\\\\\\\"\\\\n\\\\xff\"}\n",
            ),
        ] {
            assert_eq!(String::from_utf8(line(form, &head(level, lost), text)).unwrap(), expected);
        }
    }

    #[test]
    fn p11_nothing_in_a_line_moves_a_cursor_or_reorders_what_stands_beside_it() {
        let heard = "RCPT TO:<\u{9b}2J\u{85}\u{7f}\u{202e}\u{2066}\u{200b}\u{e0041}z\u{fc}rich>";
        for form in [Form::Text, Form::Journal] {
            let text = String::from_utf8(line(form, &head(Level::Info, 0), heard.as_bytes())).unwrap();
            let shown = "RCPT TO:<\\u{9b}2J\\u{85}\\x7f\\u{202e}\\u{2066}\\u{200b}\\u{e0041}z\u{fc}rich>\n";
            assert!(text.ends_with(shown), "{text:?}");
        }
        let text = String::from_utf8(line(Form::Json, &head(Level::Info, 0), heard.as_bytes())).unwrap();
        let shown = "<\\u009b2J\\u0085\\u007f\\u202e\\u2066\\u200b\\udb40\\udc41z\u{fc}rich>\"}\n";
        assert!(text.ends_with(shown), "{text:?}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["message"], heard, "and who reads the JSON has what was said");
    }

    #[test]
    fn issue_11_a_datagram_has_its_facility_and_no_line_end() {
        for (level, expected) in [(Level::Error, "<19>"), (Level::Warning, "<20>"), (Level::Info, "<22>")] {
            let text = line(Form::Text, &head(level, 0), b"a>b\nc");
            assert_eq!(datagram(level, "handoff", &text), format!("{expected}handoff: a>b\\nc").into_bytes());
            assert_eq!(datagram(level, "handoff", b"{}\n"), format!("{expected}handoff: {{}}").into_bytes());
            let (told, written) =
                (datagram(level, "gatepost[7]", &text), format!("{expected}gatepost[7]: handoff: a>b\\nc"));
            assert_eq!(String::from_utf8(told).unwrap(), written);
        }
    }

    #[test]
    fn issue_13_an_event_is_one_line_and_its_text_cannot_end_its_quotes() {
        let refused = Refused {
            session: SessionId(0xab),
            client: "[2001:db8::1]:4000".parse().unwrap(),
            reply: 501,
            enhanced: (5, 5, 2),
            heard: b"Syntax error",
            count: 1,
            line: b"MAIL FROM:<a\" reply=250 \\\n>",
        };
        for (form, expected) in [
            (
                Form::Text,
                " INFO handoff: refused session=00000000ab client=[2001:db8::1]:4000 reply=501 enhanced=5.5.2 heard=\"Syntax error\" count=1 \
                 line=\"MAIL FROM:<a\\\" reply=250 \\\\\\n>\"\n",
            ),
            (
                Form::Json,
                "{\"time_ms\":1795000000123,\"level\":\"info\",\"who\":\"handoff\",\"event\":\"refused\",\"session\":\"00000000ab\",\
                 \"client\":\"[2001:db8::1]:4000\",\"reply\":501,\"enhanced\":\"5.5.2\",\"heard\":\"Syntax error\",\"count\":1,\
                 \"line\":\"MAIL FROM:<a\\\" reply=250 \\\\\\n>\"}\n",
            ),
        ] {
            assert_eq!(String::from_utf8(told(form, &head(Level::Info, 0), &refused.into(), false)).unwrap(), expected);
        }
        let gone = TurnedAway { client: "192.0.2.1:25".parse().unwrap(), why: Turned::Full, count: 1 };
        assert_eq!(
            String::from_utf8(told(Form::Journal, &head(Level::Info, 0), &gone.into(), false)).unwrap(),
            "<6>handoff: turned-away client=192.0.2.1:25 why=Full count=1\n"
        );
    }
}
