//! One message through SMTP, RFC 5321 §4.1.4: replies in, commands out. All of its recipients get it, or none does: without a
//! queue nobody else could keep what is left, and a caller that tries again would send it twice to the others.

use crate::message::{Message, Origin};
use crate::options::Ret;
use crate::status::{Asked, Status, of_refusal};
use gatepost_smtp::address::{BadAddress, Mailbox, Rules};
use gatepost_smtp::client::{Extensions, Reply, xtext};
use gatepost_smtp::data::Stuffer;

/// What is to be handed over.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The reverse-path: an address, a local part alone, or nothing for `<>`.
    pub sender: Vec<u8>,
    /// Forward-paths: addresses or local parts alone. At least one.
    pub recipients: Vec<Vec<u8>>,
    /// The message; None: only ask whether the recipients would be taken.
    pub message: Option<Message>,
    /// The caller's account.
    pub user: Vec<u8>,
    /// The caller's full name; may be empty.
    pub full_name: Vec<u8>,
    /// What is put behind a local part; None: what the service calls itself.
    pub host: Option<Vec<u8>>,
    /// Seconds since 1970.
    pub seconds: u64,
    /// For the Message-ID.
    pub unique: u64,
    /// The caller said that the content is ASCII.
    pub seven_bit: bool,
    /// NOTIFY of each recipient.
    pub notify: Option<&'a str>,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID.
    pub envid: Option<&'a [u8]>,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status.
    pub status: Status,
    /// What to tell the caller, without a line end.
    pub text: String,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send these octets and wait for a reply.
    Send(Vec<u8>),
    /// It is over; these octets may be sent before the connection is closed.
    Over(Outcome, &'static [u8]),
}

const QUIT: &[u8] = b"QUIT\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Greeting,
    Ehlo,
    Mail,
    /// The recipient of this index was sent.
    Rcpt(usize),
    Data,
    Content,
}

/// The dialogue that hands one message over.
#[derive(Debug)]
pub struct Dialogue<'a> {
    submission: Submission<'a>,
    step: Step,
    extensions: Extensions,
    host: Vec<u8>,
    content: Vec<u8>,
}

impl<'a> Dialogue<'a> {
    /// Before the greeting.
    #[must_use]
    pub fn new(submission: Submission<'a>) -> Self {
        Self {
            submission,
            step: Step::Greeting,
            extensions: Extensions::default(),
            host: Vec::new(),
            content: Vec::new(),
        }
    }

    /// What follows a reply.
    pub fn replied(&mut self, reply: &Reply) -> Next {
        let (asked, well) = match self.step {
            Step::Greeting | Step::Ehlo => (Asked::Hello, reply.is_positive()),
            Step::Mail => (Asked::Sender, reply.is_positive()),
            Step::Rcpt(_) => (Asked::Recipient, reply.is_positive()),
            Step::Data => (Asked::Content, reply.is_intermediate()),
            Step::Content => (Asked::Content, reply.is_positive()),
        };
        if !well {
            return self.refused(asked, reply);
        }
        self.next(reply).unwrap_or_else(|outcome| Next::Over(outcome, QUIT))
    }

    /// The connection ended, or what came is no reply: `why`.
    #[must_use]
    pub fn broken(&self, why: &str) -> Outcome {
        let doubt = if self.step == Step::Content { "; it may have been taken all the same" } else { "" };
        Outcome { status: Status::TempFail, text: format!("{why}{doubt}") }
    }

    fn refused(&self, asked: Asked, reply: &Reply) -> Next {
        let whom = match self.step {
            Step::Rcpt(at) => format!("{}: ", shown(self.recipient(at))),
            _ => String::new(),
        };
        let status = of_refusal(asked, reply);
        let kept = if matches!(self.step, Step::Rcpt(_)) && self.submission.recipients.len() > 1 {
            " (nothing was sent to the others)"
        } else {
            ""
        };
        let text = format!("{whom}{} {}{kept}", reply.code, reply.lines.join(" "));
        Next::Over(Outcome { status, text }, QUIT)
    }

    fn next(&mut self, reply: &Reply) -> Result<Next, Outcome> {
        match self.step {
            Step::Greeting => {
                let greeted =
                    reply.lines.first().and_then(|line| line.split_ascii_whitespace().next()).unwrap_or_default();
                self.host = self.submission.host.take().unwrap_or_else(|| greeted.as_bytes().to_vec());
                self.qualify()?;
                self.step = Step::Ehlo;
                Ok(Next::Send([b"EHLO ", self.host.as_slice(), b"\r\n"].concat()))
            }
            Step::Ehlo => {
                self.extensions = Extensions::from_ehlo(reply);
                self.content = self.stuffed()?;
                self.step = Step::Mail;
                self.mail().map(Next::Send)
            }
            Step::Mail => Ok(self.rcpt(0)),
            Step::Rcpt(at) => {
                let at = at.saturating_add(1);
                if at < self.submission.recipients.len() {
                    return Ok(self.rcpt(at));
                }
                if self.submission.message.is_none() {
                    let outcome = Outcome { status: Status::Ok, text: "all recipients would be taken".to_owned() };
                    return Ok(Next::Over(outcome, QUIT));
                }
                self.step = Step::Data;
                Ok(Next::Send(b"DATA\r\n".to_vec()))
            }
            Step::Data => {
                self.step = Step::Content;
                Ok(Next::Send(std::mem::take(&mut self.content)))
            }
            Step::Content => {
                let text = format!("handed over: {} {}", reply.code, reply.lines.join(" "));
                Ok(Next::Over(Outcome { status: Status::Ok, text }, QUIT))
            }
        }
    }

    fn recipient(&self, at: usize) -> &[u8] {
        self.submission.recipients.get(at).map(Vec::as_slice).unwrap_or_default()
    }

    /// Puts the host behind each local part that stands alone, and looks at each address once more.
    fn qualify(&mut self) -> Result<(), Outcome> {
        let bad = |address: &[u8], e: BadAddress| Outcome {
            status: Status::DataErr,
            text: format!("{}: {e}", shown(address)),
        };
        let submission = &mut self.submission;
        let sender = Some(&mut submission.sender).filter(|sender| !sender.is_empty());
        for address in sender.into_iter().chain(&mut submission.recipients) {
            // Without an address that is read by one rule an address could smuggle a command.
            match Mailbox::parse(address, &Rules::widest(true)) {
                Ok(_) => continue,
                Err(BadAddress::NoDomain) => {}
                Err(e) => return Err(bad(address, e)),
            }
            let whole = [address.as_slice(), b"@", &self.host].concat();
            Mailbox::parse(&whole, &Rules::widest(true)).map_err(|e| bad(&whole, e))?;
            *address = whole;
        }
        Ok(())
    }

    fn stuffed(&self) -> Result<Vec<u8>, Outcome> {
        let submission = &self.submission;
        let Some(message) = &submission.message else { return Ok(Vec::new()) };
        let address = [submission.user.as_slice(), b"@", &self.host].concat();
        let content = message.content(&Origin {
            address: &address,
            full_name: &submission.full_name,
            host: &self.host,
            seconds: submission.seconds,
            unique: submission.unique,
        });
        let mut out = Vec::with_capacity(content.len());
        let mut stuffer = Stuffer::new();
        let done = stuffer.push(&content, &mut out).and_then(|()| stuffer.finish(&mut out));
        done.map_err(|e| Outcome { status: Status::DataErr, text: format!("the message cannot be sent: {e:?}") })?;
        Ok(out)
    }

    fn mail(&self) -> Result<Vec<u8>, Outcome> {
        let submission = &self.submission;
        let mut line = [b"MAIL FROM:<".as_slice(), &submission.sender, b">"].concat();
        if self.extensions.size.is_some() && submission.message.is_some() {
            line.extend_from_slice(format!(" SIZE={}", self.content.len()).as_bytes());
        }
        let eight_bit = submission.message.as_ref().is_some_and(Message::is_eight_bit) && !submission.seven_bit;
        if eight_bit && self.extensions.eight_bit {
            line.extend_from_slice(b" BODY=8BITMIME");
        }
        let mut paths = submission.recipients.iter().chain([&submission.sender]);
        if let Some(address) = paths.find(|path| !path.is_ascii()) {
            if !self.extensions.smtputf8 {
                let text = format!("{}: the mail server does not take such addresses (SMTPUTF8)", shown(address));
                return Err(Outcome { status: Status::Unavailable, text });
            }
            line.extend_from_slice(b" SMTPUTF8");
        }
        if self.extensions.dsn {
            match submission.ret {
                Some(Ret::Full) => line.extend_from_slice(b" RET=FULL"),
                Some(Ret::Headers) => line.extend_from_slice(b" RET=HDRS"),
                None => {}
            }
            if let Some(envid) = submission.envid {
                line.extend_from_slice(b" ENVID=");
                xtext::encode(envid, &mut line);
            }
        }
        line.extend_from_slice(b"\r\n");
        Ok(line)
    }

    fn rcpt(&mut self, at: usize) -> Next {
        self.step = Step::Rcpt(at);
        let mut line = [b"RCPT TO:<", self.recipient(at), b">"].concat();
        if let Some(notify) = self.submission.notify.filter(|_| self.extensions.dsn) {
            line.extend_from_slice(b" NOTIFY=");
            line.extend_from_slice(notify.as_bytes());
        }
        line.extend_from_slice(b"\r\n");
        Next::Send(line)
    }
}

fn shown(address: &[u8]) -> String {
    gatepost_smtp::text::printable(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_smtp::client::ReplyReader;

    fn submission(message: Option<&str>, recipients: &[&str]) -> Submission<'static> {
        Submission {
            sender: b"joe".to_vec(),
            recipients: recipients.iter().map(|one| one.as_bytes().to_vec()).collect(),
            message: message.map(|text| Message::read(text.as_bytes(), true)),
            user: b"joe".to_vec(),
            full_name: Vec::new(),
            host: None,
            seconds: 0,
            unique: 1,
            seven_bit: false,
            notify: Some("NEVER"),
            ret: Some(Ret::Headers),
            envid: Some(b"a=b"),
        }
    }

    /// Speaks with scripted replies; gives what was sent, and how it ended.
    fn speak(submission: Submission<'_>, replies: &[&str]) -> (String, Outcome) {
        let mut dialogue = Dialogue::new(submission);
        let mut sent = Vec::new();
        for reply in replies {
            let (_, reply) = ReplyReader::new().push(reply.replace('|', "\r\n").as_bytes()).unwrap();
            match dialogue.replied(&reply.unwrap()) {
                Next::Send(octets) => sent.extend(octets),
                Next::Over(outcome, last) => {
                    sent.extend_from_slice(last);
                    return (String::from_utf8(sent).unwrap(), outcome);
                }
            }
        }
        (String::from_utf8(sent).unwrap(), dialogue.broken("the connection was closed"))
    }

    const HELLO: [&str; 2] = ["220 mx.test ESMTP|", "250-mx.test|250-SIZE 0|250-8BITMIME|250-SMTPUTF8|250 DSN|"];

    #[test]
    fn a_message_is_handed_over_whole() {
        let replies = [&HELLO[..], &["250 ok|", "250 ok|", "250 ok|", "354 go|", "250 2.0.0 taken|"]].concat();
        let (sent, outcome) =
            speak(submission(Some("From: a@b.test\nDate: x\nMessage-ID: y\n\n.é\n"), &["root", "c@d.test"]), &replies);
        let header = "From: a@b.test\r\nDate: x\r\nMessage-ID: y\r\n\r\n..é\r\n.\r\n";
        let mail = format!("MAIL FROM:<joe@mx.test> SIZE={} BODY=8BITMIME RET=HDRS ENVID=a+3Db", header.len());
        let rcpt = "RCPT TO:<root@mx.test> NOTIFY=NEVER\r\nRCPT TO:<c@d.test> NOTIFY=NEVER";
        assert_eq!(sent, format!("EHLO mx.test\r\n{mail}\r\n{rcpt}\r\nDATA\r\n{header}QUIT\r\n"));
        assert_eq!(outcome, Outcome { status: Status::Ok, text: "handed over: 250 2.0.0 taken".to_owned() });
    }

    #[test]
    fn one_refused_recipient_keeps_it_from_all() {
        let replies = [&HELLO[..], &["250 ok|", "250 ok|", "550 5.1.1 nobody|"]].concat();
        let (sent, outcome) = speak(submission(Some("\nx"), &["root", "c@d.test"]), &replies);
        assert!(sent.ends_with("RCPT TO:<c@d.test> NOTIFY=NEVER\r\nQUIT\r\n"), "{sent}");
        assert_eq!(outcome.status, Status::NoUser);
        assert_eq!(outcome.text, "c@d.test: 550 5.1.1 nobody (nothing was sent to the others)");
    }

    #[test]
    fn it_ends_as_the_service_says() {
        let late = [&HELLO[..], &["250 ok|", "250 ok|", "354 go|"]].concat();
        for (what, recipients, replies, status) in [
            ("no greeting", &["root"][..], vec![], Status::TempFail),
            ("not now", &["root"], vec!["421 4.3.2 later|"], Status::TempFail),
            ("not for you", &["root"], vec!["554 no|"], Status::Unavailable),
            ("not its sender", &["root"], [&HELLO[..], &["553 5.7.1 not yours|"]].concat(), Status::NoPerm),
            ("silence after the content", &["root"], late.clone(), Status::TempFail),
            ("refused content", &["root"], [&late[..], &["554 5.6.0 no|"]].concat(), Status::DataErr),
            ("a command in an address", &["a@b.test>\r\nRCPT TO:<c@d.test"], HELLO.to_vec(), Status::DataErr),
            ("no SMTPUTF8", &["é@b.test"], vec!["220 mx.test|", "250 mx.test|"], Status::Unavailable),
        ] {
            let (_, outcome) = speak(submission(Some("\nx"), recipients), &replies);
            assert_eq!(outcome.status, status, "{what}: {}", outcome.text);
        }
    }

    #[test]
    fn recipients_can_be_asked_for_alone() {
        let replies = [&HELLO[..], &["250 ok|", "250 ok|"]].concat();
        let (sent, outcome) = speak(submission(None, &["root"]), &replies);
        assert!(sent.ends_with("NOTIFY=NEVER\r\nQUIT\r\n") && !sent.contains("SIZE"), "{sent}");
        assert_eq!(outcome.status, Status::Ok);
    }
}
