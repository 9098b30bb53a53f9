//! Speaks the dialogues (`../dialogues/README.md` says how they are written) to an engine.

use gatepost_policy::local_part;
use gatepost_smtp::address::{Domain, ForwardPath, ReversePath};
use gatepost_smtp::data::BareLf;
use gatepost_smtp::envelope::{Offer, Reason, Verdict};
use gatepost_smtp::server::{Engine, Event, Leniency, Settings};
use gatepost_testkit::client::Reply;

/// The engine of a row, before its greeting.
pub(crate) fn engine(settings: &[String]) -> Engine {
    let mut s = Settings {
        hostname: "mx.ok.test".into(),
        id: "id-1".into(),
        message_size: 0,
        starttls: true,
        ..Settings::default()
    };
    let mut offer = Offer { size: 10_000, eight_bit: true, smtputf8: true, dsn: true, prdr: false, recipients: 100 };
    let mut offered = true;
    for setting in settings {
        let (name, value) = setting.split_once('=').unwrap_or((setting, "0"));
        let value: u64 = value.parse().unwrap();
        let count = u32::try_from(value).unwrap();
        match name {
            "strict" => s.leniency = Leniency::strict(),
            "normalize" => s.leniency.lf_in_data = BareLf::Normalize,
            "refuse-lf" => s.leniency.lf_in_chunks = BareLf::Refuse,
            "closing" => s.leniency.drain_impure = false,
            "lf-commands" => s.leniency.lf_in_commands = true,
            "no-helo" => s.leniency.no_helo = true,
            "tls-required" => s.tls_required = true,
            "no-starttls" => s.starttls = false,
            "no-offer" => offered = false,
            "no-8bit" => offer.eight_bit = false,
            "no-utf8" => offer.smtputf8 = false,
            "no-dsn" => offer.dsn = false,
            "prdr" => offer.prdr = true,
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
    /// As [`Transcript::replies`], taken apart.
    pub(crate) fn heard(&self) -> Vec<Reply> {
        let code = |reply: &String| reply[..3].parse().unwrap();
        let lines = |reply: &String| reply.lines().map(|line| line.get(4..).unwrap_or_default().to_owned()).collect();
        self.replies().iter().map(|reply| Reply { code: code(reply), lines: lines(reply) }).collect()
    }

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
                Event::Auth => unreachable!("nothing is submitted here"),
                Event::Mail => {
                    assert!(engine.mail().is_some());
                    engine.answer(&Verdict { code: 250, enhanced: (2, 1, 0), reason: Reason::Ok });
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
                Event::Close(reason) => {
                    self.closed = true;
                    self.content.clear();
                    self.flush(engine);
                    format!("close {reason:?}").to_lowercase()
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
    let refuse = |code, enhanced, reason| Verdict { code, enhanced, reason };
    let (mail, rcpt) = (engine.mail().unwrap(), engine.rcpt().unwrap());
    if mail.reverse_path.as_bytes() == b"bad@client.test" {
        return refuse(550, (5, 7, 1), Reason::SenderRefused);
    }
    if matches!(&mail.reverse_path, ReversePath::Mailbox(sender) if local_part::can_run(sender.local_part())) {
        return refuse(553, (5, 1, 7), Reason::SenderRefused);
    }
    let ForwardPath::Mailbox(mailbox) = &rcpt.forward_path else {
        return refuse(250, (2, 1, 5), Reason::Ok);
    };
    let ours = matches!(mailbox.domain(), Domain::Name(name) if name.eq_ignore_ascii_case(b"ok.test"));
    match mailbox.local_part() {
        local if !ours || local_part::danger(local).is_some() => refuse(550, (5, 7, 1), Reason::RelayDenied),
        local if local.starts_with(b"no") => refuse(550, (5, 1, 1), Reason::RecipientRefused),
        local if local.starts_with(b"later") => refuse(451, (4, 3, 0), Reason::BackendDown),
        local if local.starts_with(b"many") => refuse(452, (4, 5, 3), Reason::TooManyRecipients),
        local if local.starts_with(b"bye") => refuse(421, (4, 3, 2), Reason::Draining),
        _ => refuse(250, (2, 1, 5), Reason::Ok),
    }
}

fn judge_content(content: &[u8]) -> Verdict {
    let says = |word: &[u8]| content.split(|&octet| octet == b'\n').any(|line| line.strip_suffix(b"\r") == Some(word));
    if says(b"refuse") {
        Verdict { code: 554, enhanced: (5, 6, 0), reason: Reason::ContentRefused }
    } else if says(b"defer") {
        Verdict { code: 451, enhanced: (4, 3, 0), reason: Reason::BackendDown }
    } else {
        Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok }
    }
}
