//! The dialogues of `crates/smtp/tests/dialogues` (its README has the grammar), read for the engine's own tests too, and
//! spoken over a connection to a whole server: ours, or another that proves the table itself.

use crate::client::{Client, Reply};
use crate::host::source_tree;
use std::fmt;
use std::fs;

/// What a row's sessions say before it.
pub const PRELUDES: [&str; 8] = ["connect", "ehlo", "helo", "mail", "rcpt", "data", "bdat", "tls"];

/// One row: a session of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// File and line.
    pub place: String,
    /// As it is written: what is said, then what comes of it. Names the row together with its prelude and settings.
    pub text: String,
    /// One of [`PRELUDES`].
    pub prelude: String,
    /// The settings that it needs.
    pub settings: Vec<String>,
    /// What is said; between two the client waits for the replies so far.
    pub steps: Vec<Vec<u8>>,
    /// Exactly these come.
    pub replies: Vec<Expected>,
    /// The server closes the connection.
    pub closes: bool,
    /// The engine's events, octets beyond ASCII escaped as Rust does; none: not compared.
    pub events: Option<Vec<String>>,
}

impl Row {
    /// Its context and what is said: its name in tables about it.
    #[must_use]
    pub fn name(&self) -> String {
        let said = self.text.rsplit_once(" => ").map_or(self.text.as_str(), |(said, _)| said);
        format!("{} {said}", self.prelude)
    }

    /// Complete messages that it hands to the backend, taken there or not; none: not told.
    #[must_use]
    pub fn messages(&self) -> Option<usize> {
        let events = self.events.as_ref()?;
        Some(events.iter().filter(|event| event.starts_with("end ")).count())
    }
}

/// A reply that must come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The three digits.
    pub code: u16,
    /// The enhanced code, where it is told.
    pub enhanced: Option<String>,
    /// Lines that must be there, as beginnings.
    pub with: Vec<String>,
    /// Lines that must not.
    pub without: Vec<String>,
}

impl Expected {
    /// Why `reply` is not it.
    #[must_use]
    pub fn complaint(&self, reply: &Reply) -> Option<String> {
        let begins = |line: &String, word: &str| *line == word || line.starts_with(&format!("{word} "));
        let said = |word: &String| reply.lines.iter().any(|line| begins(line, word));
        let enhanced = |word: &String| reply.lines.last().is_some_and(|line| begins(line, word));
        if reply.code != self.code || self.enhanced.as_ref().is_some_and(|word| !enhanced(word)) {
            let enhanced = self.enhanced.as_deref().unwrap_or_default();
            return Some(format!("wanted {} {enhanced}, got {reply}", self.code));
        }
        if let Some(word) = self.with.iter().find(|word| !said(word)) {
            return Some(format!("{word} is not in {reply}"));
        }
        self.without.iter().find(|word| said(word)).map(|word| format!("{word} is in {reply}"))
    }
}

/// What a server did with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Every reply, those to the prelude not counted.
    pub replies: Vec<Reply>,
    /// The server closed the connection first.
    pub closed: bool,
}

impl Heard {
    /// Why it is not what the row says.
    #[must_use]
    pub fn complaint(&self, row: &Row) -> Option<String> {
        if self.replies.len() != row.replies.len() || self.closed != row.closes {
            return Some(format!("got {self}"));
        }
        row.replies.iter().zip(&self.replies).find_map(|(expected, reply)| expected.complaint(reply))
    }

    /// The replies' classes and how it ended, such as `2 5 close`.
    #[must_use]
    pub fn classes(&self) -> String {
        classes(self.replies.iter().map(|reply| reply.code), self.closed)
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = self.replies.iter().map(|reply| reply.code.to_string());
        let all: Vec<String> = codes.chain(self.closed.then(|| "close".to_owned())).collect();
        f.write_str(&all.join(", "))
    }
}

/// The first digits of `codes`, and `close` at the end where it closes.
#[must_use]
pub fn classes(codes: impl Iterator<Item = u16>, closes: bool) -> String {
    let digits = codes.map(|code| (code / 100).to_string());
    digits.chain(closes.then(|| "close".to_owned())).collect::<Vec<_>>().join(" ")
}

/// Every row of every file.
///
/// # Panics
/// When a row cannot be read.
#[must_use]
pub fn table() -> Vec<Row> {
    let directory = source_tree().join("crates/smtp/tests/dialogues");
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|e| panic!("{}: {e}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            parse(&name, &fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The rows of one file.
///
/// # Panics
/// When a row cannot be read.
#[must_use]
pub fn parse(file: &str, text: &str) -> Vec<Row> {
    let (mut prelude, mut settings) = (String::new(), Vec::new());
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", number + 1);
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        if let Some(context) = line.strip_prefix("@ ") {
            let mut words = context.split(' ').map(str::to_owned);
            prelude = words.next().unwrap();
            assert!(PRELUDES.contains(&prelude.as_str()), "{place}: unknown prelude {prelude}");
            settings = words.collect();
            continue;
        }
        rows.push(row(place, line, &prelude, &settings));
    }
    rows
}

fn row(place: String, line: &str, prelude: &str, settings: &[String]) -> Row {
    let (input, outcome) = line.rsplit_once(" => ").unwrap_or_else(|| panic!("{place}: no =>"));
    let (replies, events) = match outcome.split_once(';') {
        Some((replies, events)) => (replies, Some(events.strip_prefix(' ').unwrap_or(events))),
        None => (outcome, None),
    };
    let mut replies: Vec<&str> = replies.trim_end().split(", ").filter(|reply| !reply.is_empty()).collect();
    let closes = replies.last() == Some(&"close");
    if closes {
        replies.pop();
    }
    Row {
        text: line.to_owned(),
        prelude: prelude.to_owned(),
        settings: settings.to_vec(),
        steps: input.split(" / ").map(step).collect(),
        replies: replies.into_iter().map(expected).collect(),
        closes,
        events: events.map(|events| events.split(", ").filter(|e| !e.is_empty()).map(unescaped).collect()),
        place,
    }
}

fn expected(text: &str) -> Expected {
    let cut = text.find(" +").into_iter().chain(text.find(" -")).min().unwrap_or(text.len());
    let (code, keywords) = text.split_at(cut);
    let (code, enhanced) = match code.split_once(' ') {
        Some((code, enhanced)) => (code, Some(enhanced.to_owned())),
        None => (code, None),
    };
    let mut expected = Expected { code: code.parse().unwrap(), enhanced, with: Vec::new(), without: Vec::new() };
    // A keyword may have an argument, so it ends where the next sign begins.
    let mut rest = keywords;
    while let Some(sign) = rest.get(1..2) {
        let end = rest[2..].find(" +").into_iter().chain(rest[2..].find(" -")).min().map_or(rest.len(), |at| at + 2);
        let list = if sign == "+" { &mut expected.with } else { &mut expected.without };
        list.push(rest[2..end].to_owned());
        rest = &rest[end..];
    }
    expected
}

fn step(text: &str) -> Vec<u8> {
    match text.strip_suffix("\\c") {
        Some(text) => unescape(text),
        None => [unescape(text), b"\r\n".to_vec()].concat(),
    }
}

fn unescaped(text: &str) -> String {
    unescape(text).escape_ascii().to_string()
}

/// The octets that a text with escapes stands for.
///
/// # Panics
/// For an escape that is not in the grammar.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let (octet, taken) = match rest.as_bytes()[0] {
            b'r' => (b'\r', 1),
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b's' => (b' ', 1),
            b'0' => (0, 1),
            b'\\' => (b'\\', 1),
            b'x' => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
            b'{' => {
                let end = rest.find('}').unwrap();
                let (count, text) = rest[1..end].split_once('*').unwrap();
                out.extend(unescape(text).repeat(count.parse().unwrap()));
                rest = &rest[end + 1..];
                continue;
            }
            other => panic!("unknown escape {:?} in {text:?}", char::from(other)),
        };
        out.push(octet);
        rest = &rest[taken..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// What a prelude says after the greeting; each must be answered 2yz or 3yz.
#[must_use]
pub fn prelude(name: &str) -> Vec<&'static str> {
    const EHLO: &str = "EHLO client.test\r\n";
    const MAIL: &str = "MAIL FROM:<s@client.test>\r\n";
    const RCPT: &str = "RCPT TO:<u@ok.test>\r\n";
    match name {
        "ehlo" => vec![EHLO],
        "helo" => vec!["HELO client.test\r\n"],
        "mail" => vec![EHLO, MAIL],
        "rcpt" => vec![EHLO, MAIL, RCPT],
        "data" => vec![EHLO, MAIL, RCPT, "DATA\r\n"],
        "bdat" => vec![EHLO, MAIL, RCPT, "BDAT 4\r\nab\r\n"],
        "tls" => vec![EHLO, "STARTTLS\r\n"],
        _ => vec![],
    }
}

/// Speaks a row on a connection that has been greeted, inside TLS or not.
///
/// # Errors
/// A word about a prelude that was refused, or about what is no reply.
pub fn speak(client: &mut Client, row: &Row, hostname: &str) -> Result<Heard, String> {
    let mut heard = converse(client, row, hostname)?;
    if !heard.closed {
        drain(client, row, &mut heard)?;
    }
    Ok(heard)
}

/// As [`speak`], for a server that may close otherwise than ours: once the client has closed its direction, only further
/// replies count.
///
/// # Errors
/// As [`speak`].
pub fn speak_to_stranger(client: &mut Client, row: &Row, hostname: &str) -> Result<Heard, String> {
    let mut heard = converse(client, row, hostname)?;
    if !heard.closed {
        let parted = drain(client, row, &mut heard);
        if row.closes {
            parted?;
        }
    }
    Ok(heard)
}

/// The steps and as many replies as the row has.
fn converse(client: &mut Client, row: &Row, hostname: &str) -> Result<Heard, String> {
    let mut heard = Heard { replies: Vec::new(), closed: false };
    say(client, row, hostname, &mut heard)?;
    while !heard.closed && heard.replies.len() < row.replies.len() {
        match client.next_reply()? {
            Some(reply) => heard.replies.push(reply),
            None => heard.closed = true,
        }
    }
    Ok(heard)
}

fn drain(client: &mut Client, row: &Row, heard: &mut Heard) -> Result<(), String> {
    // All further replies come before the end of the connection. The client closes first, unless the server has to.
    if !row.closes {
        client.finish();
    }
    while let Some(reply) = client.next_reply()? {
        heard.replies.push(reply);
    }
    heard.closed = row.closes;
    Ok(())
}

/// The prelude and all steps; between two of them the client waits for the reply that lets it go on.
fn say(client: &mut Client, row: &Row, hostname: &str, heard: &mut Heard) -> Result<(), String> {
    for line in prelude(&row.prelude) {
        client.try_write(line.as_bytes()).map_err(|e| format!("prelude {line:?}: {e}"))?;
        let reply = client.try_reply().map_err(|e| format!("prelude {line:?}: {e}"))?;
        if reply.class() > 3 {
            return Err(format!("prelude {line:?}: {reply}"));
        }
        if line == "STARTTLS\r\n" {
            client.handshake(hostname).map_err(|e| format!("prelude: handshake: {e}"))?;
        }
    }
    for (number, step) in row.steps.iter().enumerate() {
        // A server that has closed the connection does not take the rest.
        let _ = client.try_write(step);
        let Some(awaited) = Awaited::behind(step).filter(|_| number + 1 < row.steps.len()) else { continue };
        // It may not come: then there is a reply to each line all the same.
        let lines = row.steps[..=number].concat().windows(2).filter(|two| two == b"\r\n").count();
        while heard.replies.len() < lines {
            match client.next_reply() {
                Ok(Some(reply)) => heard.replies.push(reply),
                Ok(None) => {
                    heard.closed = true;
                    return Ok(());
                }
                // Without an expectation the client goes on.
                Err(_) if row.replies.is_empty() => break,
                Err(why) => return Err(why),
            }
            match (awaited, heard.replies.last().map(|reply| reply.code)) {
                (Awaited::Intermediate, Some(354)) => break,
                (Awaited::Handshake, Some(220)) => {
                    client.handshake(hostname).map_err(|e| format!("handshake: {e}"))?;
                    break;
                }
                // Refused: there will be no such reply.
                (Awaited::Handshake, Some(_)) => return Ok(()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Speaks a row as [`speak`] does, expecting nothing: all the replies that come, none being later than the client's
/// patience, and whether the server closed the connection by itself.
#[must_use]
pub fn overhear(client: &mut Client, row: &Row, hostname: &str) -> Option<Heard> {
    let endless = Row { replies: Vec::new(), closes: false, ..row.clone() };
    // The steps alone; then one reply after the other.
    let mut heard = Heard { replies: Vec::new(), closed: false };
    let said = say(client, &endless, hostname, &mut heard);
    if said.is_err() && heard.replies.is_empty() {
        return None;
    }
    while !heard.closed {
        match client.next_reply() {
            Ok(Some(reply)) => heard.replies.push(reply),
            Ok(None) => heard.closed = true,
            Err(_) => break,
        }
    }
    Some(heard)
}

/// What a client waits for before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// 354.
    Intermediate,
    /// 220, then TLS.
    Handshake,
}

impl Awaited {
    fn behind(step: &[u8]) -> Option<Awaited> {
        let text = String::from_utf8_lossy(step).to_ascii_uppercase();
        let line = text.strip_suffix("\r\n")?.rsplit("\r\n").next()?;
        match line {
            "DATA" => Some(Awaited::Intermediate),
            "STARTTLS" => Some(Awaited::Handshake),
            _ => None,
        }
    }
}
