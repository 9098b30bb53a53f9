//! Reads dialogues (`../dialogues/README.md` says how they are written) and speaks them to an engine.

use gatepost_policy::local_part;
use gatepost_smtp::address::{Domain, ForwardPath, ReversePath};
use gatepost_smtp::data::BareLf;
use gatepost_smtp::server::{Engine, Event, Leniency, Offer, Outcome, Settings, Verdict};

/// One row.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// File and line.
    pub(crate) place: String,
    pub(crate) prelude: String,
    pub(crate) settings: Vec<String>,
    pub(crate) steps: Vec<Vec<u8>>,
    pub(crate) replies: Vec<Expected>,
    pub(crate) closes: bool,
    pub(crate) events: Option<Vec<String>>,
}

/// A reply that must come.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) code: String,
    pub(crate) with: Vec<String>,
    pub(crate) without: Vec<String>,
}

impl Expected {
    /// Checks one reply, all its lines.
    pub(crate) fn check(&self, reply: &str) -> Result<(), String> {
        let last = reply.lines().last().unwrap_or_default();
        if !format!("{last} ").starts_with(&format!("{} ", self.code)) {
            return Err(format!("wanted {}, got {reply:?}", self.code));
        }
        let said = |keyword: &String| {
            let text = |line: &str| line.get(4..).unwrap_or_default().to_owned() + " ";
            reply.lines().any(|line| text(line).starts_with(&format!("{keyword} ")))
        };
        if let Some(keyword) = self.with.iter().find(|keyword| !said(keyword)) {
            return Err(format!("{keyword} is not in {reply:?}"));
        }
        match self.without.iter().find(|keyword| said(keyword)) {
            Some(keyword) => Err(format!("{keyword} is in {reply:?}")),
            None => Ok(()),
        }
    }
}

/// All rows of one file.
pub(crate) fn parse(file: &str, text: &str) -> Vec<Row> {
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
            settings = words.collect();
            continue;
        }
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
        rows.push(Row {
            prelude: prelude.clone(),
            settings: settings.clone(),
            steps: input.split(" / ").map(step).collect(),
            replies: replies.into_iter().map(expected).collect(),
            closes,
            events: events.map(|events| events.split(", ").filter(|e| !e.is_empty()).map(unescaped).collect()),
            place,
        });
    }
    rows
}

fn expected(text: &str) -> Expected {
    let cut = text.find(" +").into_iter().chain(text.find(" -")).min().unwrap_or(text.len());
    let (code, keywords) = text.split_at(cut);
    let mut expected = Expected { code: code.to_owned(), with: Vec::new(), without: Vec::new() };
    for part in keywords.split(" +").skip(1) {
        let mut parts = part.split(" -").map(str::to_owned);
        expected.with.extend(parts.next());
        expected.without.extend(parts);
    }
    if expected.with.is_empty() {
        expected.without.extend(keywords.split(" -").skip(1).map(str::to_owned));
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

fn unescape(text: &str) -> Vec<u8> {
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

/// What the prelude says, step by step.
pub(crate) fn prelude(name: &str) -> Vec<&'static str> {
    const EHLO: &str = "EHLO client.test\r\n";
    const MAIL: &str = "MAIL FROM:<s@client.test>\r\n";
    const RCPT: &str = "RCPT TO:<u@ok.test>\r\n";
    match name {
        "connect" => vec![],
        "ehlo" => vec![EHLO],
        "helo" => vec!["HELO client.test\r\n"],
        "mail" => vec![EHLO, MAIL],
        "rcpt" => vec![EHLO, MAIL, RCPT],
        "data" => vec![EHLO, MAIL, RCPT, "DATA\r\n"],
        "bdat" => vec![EHLO, MAIL, RCPT, "BDAT 4\r\nab\r\n"],
        "tls" => vec![EHLO, "STARTTLS\r\n"],
        _ => panic!("unknown prelude {name}"),
    }
}

/// The engine of a row, before its greeting.
pub(crate) fn engine(settings: &[String]) -> Engine {
    let mut s = Settings {
        hostname: "mx.ok.test".into(),
        id: "id-1".into(),
        message_size: 0,
        starttls: true,
        ..Settings::default()
    };
    let mut offer = Offer { size: 10_000, eight_bit: true, smtputf8: true, dsn: true, recipients: 100 };
    let mut offered = true;
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, "0"));
        let value: u64 = value.parse().unwrap();
        let count = u32::try_from(value).unwrap();
        match name {
            "strict" => s.leniency = Leniency::strict(),
            "normalize" => (s.leniency.lf_in_data, s.leniency.lf_in_chunks) = (BareLf::Normalize, BareLf::Normalize),
            "closing" => s.leniency.drain_impure = false,
            "lf-commands" => s.leniency.lf_in_commands = true,
            "no-helo" => s.leniency.no_helo = true,
            "tls-required" => s.tls_required = true,
            "no-starttls" => s.starttls = false,
            "no-offer" => offered = false,
            "no-8bit" => offer.eight_bit = false,
            "no-utf8" => offer.smtputf8 = false,
            "no-dsn" => offer.dsn = false,
            "size" => offer.size = value,
            "rcptmax" => offer.recipients = u16::try_from(value).unwrap(),
            "line" => s.limits.content_line = Some(value),
            "errors" => s.limits.errors = count,
            "noops" => s.limits.noops = count,
            "resets" => s.limits.resets = count,
            "ehlos" => s.limits.ehlos = count,
            "refused" => s.limits.refused_recipients = count,
            "surplus" => s.limits.surplus_recipients = count,
            "chunks" => s.limits.chunks = count,
            "tiny" => s.limits.tiny_chunks = count,
            "discard" => s.limits.discard = value,
            "whole" => {}
            _ => panic!("unknown setting {name}"),
        }
    }
    let mut engine = Engine::new(s);
    if offered {
        engine.set_offer(offer);
    }
    engine
}

/// What came of a session.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    pub(crate) output: Vec<u8>,
    pub(crate) events: Vec<String>,
    pub(crate) closed: bool,
    /// Content under way. How much of it comes before a refusal depends on the segments.
    content: Vec<u8>,
}

impl PartialEq for Transcript {
    fn eq(&self, other: &Self) -> bool {
        (&self.output, &self.events, self.closed) == (&other.output, &other.events, other.closed)
    }
}

impl Transcript {
    /// The replies, each with all its lines.
    pub(crate) fn replies(&self) -> Vec<String> {
        let mut replies = vec![String::new()];
        for line in String::from_utf8_lossy(&self.output).split_inclusive("\r\n") {
            let last = replies.last_mut().unwrap();
            last.push_str(line);
            if line.as_bytes().get(3) != Some(&b'-') {
                replies.push(String::new());
            }
        }
        assert_eq!(replies.pop().as_deref(), Some(""), "output ends within a reply");
        replies
    }

    /// Forgets what was said so far.
    pub(crate) fn clear(&mut self) {
        self.output.clear();
        self.events.clear();
    }

    /// Feeds one segment, as a shell would.
    pub(crate) fn feed(&mut self, engine: &mut Engine, segment: &[u8]) {
        let mut rest = segment;
        while !self.closed {
            let (taken, event) = engine.read(rest);
            rest = &rest[taken..];
            let event = match event {
                Event::Starved => {
                    assert!(rest.is_empty(), "starved with {} octets left", rest.len());
                    self.flush(engine);
                    return;
                }
                Event::Flush => {
                    assert!(engine.output().len() >= 4096 && !rest.is_empty());
                    self.flush(engine);
                    continue;
                }
                Event::Content(content) => {
                    assert!(!content.is_empty());
                    self.content.extend_from_slice(content);
                    continue;
                }
                Event::Mail => {
                    assert!(engine.mail().is_some());
                    "mail".to_owned()
                }
                Event::Rcpt => {
                    let verdict = judge_recipient(engine);
                    engine.answer(&verdict);
                    "rcpt".to_owned()
                }
                Event::ContentEnd { length } => {
                    assert_eq!(u64::try_from(self.content.len()).unwrap(), length);
                    if !self.content.is_empty() {
                        self.events.push(format!("content {}", self.content.escape_ascii()));
                    }
                    engine.answer(&judge_content(&self.content));
                    self.content.clear();
                    format!("end {length}")
                }
                Event::Reset => {
                    self.content.clear();
                    assert!(engine.mail().is_none(), "a reset leaves nothing behind");
                    "reset".to_owned()
                }
                Event::StartTls => {
                    self.flush(engine);
                    engine.tls_established(0x0304, 0x1301);
                    "starttls".to_owned()
                }
                Event::Close(farewell) => {
                    self.closed = true;
                    self.content.clear();
                    self.flush(engine);
                    format!("close {farewell:?}").to_lowercase()
                }
            };
            self.events.push(event);
        }
    }

    fn flush(&mut self, engine: &mut Engine) {
        assert!(engine.output().len() <= 4096 + 1024, "output is bounded");
        self.output.extend_from_slice(engine.output());
        engine.sent(engine.output().len());
        assert!(engine.output().is_empty());
    }
}

fn judge_recipient(engine: &Engine) -> Verdict {
    let refuse = |code, enhanced, outcome| Verdict { code, enhanced, outcome };
    let (mail, rcpt) = (engine.mail().unwrap(), engine.rcpt().unwrap());
    if mail.reverse_path.as_bytes() == b"bad@client.test" {
        return refuse(550, (5, 7, 1), Outcome::SenderRefused);
    }
    if matches!(&mail.reverse_path, ReversePath::Mailbox(sender) if local_part::can_run(sender.local_part())) {
        return refuse(553, (5, 1, 7), Outcome::SenderRefused);
    }
    let ForwardPath::Mailbox(mailbox) = &rcpt.forward_path else {
        return refuse(250, (2, 1, 5), Outcome::Ok);
    };
    let ours = matches!(mailbox.domain(), Domain::Name(name) if name.eq_ignore_ascii_case(b"ok.test"));
    match mailbox.local_part() {
        local if !ours || local_part::danger(local).is_some() => refuse(550, (5, 7, 1), Outcome::RelayDenied),
        local if local.starts_with(b"no") => refuse(550, (5, 1, 1), Outcome::RecipientRefused),
        local if local.starts_with(b"later") => refuse(451, (4, 3, 0), Outcome::BackendDown),
        local if local.starts_with(b"many") => refuse(452, (4, 5, 3), Outcome::TooManyRecipients),
        local if local.starts_with(b"bye") => refuse(421, (4, 3, 2), Outcome::Draining),
        _ => refuse(250, (2, 1, 5), Outcome::Ok),
    }
}

fn judge_content(content: &[u8]) -> Verdict {
    let says = |word: &[u8]| content.split(|&octet| octet == b'\n').any(|line| line.strip_suffix(b"\r") == Some(word));
    if says(b"refuse") {
        Verdict { code: 554, enhanced: (5, 6, 0), outcome: Outcome::ContentRefused }
    } else if says(b"defer") {
        Verdict { code: 451, enhanced: (4, 3, 0), outcome: Outcome::BackendDown }
    } else {
        Verdict { code: 250, enhanced: (2, 0, 0), outcome: Outcome::Ok }
    }
}
