//! The client's side of Dovecot's auth protocol 1.x, for one attempt to log in. Octets in, events out: no descriptor, no clock.
//!
//! What Dovecot says is believed in one point only: an answer to the request that is under way, with its number, which is
//! another one in each dialogue. Whatever else comes ends the dialogue, and an end is never a yes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_smtp::envelope::Mechanism;
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_smtp::sasl::CHALLENGE_MAX;
use gatepost_wire::auth::is_login;
use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;
use zeroize::Zeroizing;

/// Octets of its longest line: Dovecot itself takes no longer ones.
pub const LINE_MAX: usize = 16_384;
/// Lines of its longest greeting.
const GREETING_MAX: u32 = 64;
/// What we relay.
const RELAYED: [Mechanism; 5] =
    [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::OAuthBearer, Mechanism::XOAuth2];

/// What Dovecot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Its greeting is complete: it knows these mechanisms, of those that are relayed.
    Greeting(Mechanisms),
    /// The client must answer this.
    Challenge(Vec<u8>),
    /// Yes: the client is this login.
    Accepted(String),
    /// No.
    Refused,
    /// It does not know now.
    Unknown,
}

/// Why a dialogue is over without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Its protocol is not 1.x.
    Version,
    /// A line or its greeting is too long.
    Long,
    /// It speaks when nothing was asked.
    Untimely,
    /// It answers another request.
    OtherRequest,
    /// It says what cannot be read.
    Garbage,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => {
                "does not speak version 1 of Dovecot's auth protocol: is it Dovecot's auth socket for clients?"
            }
            Self::Long => "says a line, or a greeting, that is too long",
            Self::Untimely => "answers what was not asked",
            Self::OtherRequest => "answers another request than the one that is under way",
            Self::Garbage => "says what is not Dovecot's auth protocol",
        })
    }
}

impl std::error::Error for Broken {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its greeting is due: whether its version has come.
    Greeting {
        version: bool,
    },
    /// A request may be made.
    Greeted,
    /// An answer is due.
    Asked,
    /// The client's response is due.
    Challenged,
    Over,
}

/// One dialogue.
pub struct Dialogue {
    id: u32,
    state: State,
    announced: Mechanisms,
    /// Lines of its greeting so far.
    lines: u32,
    /// The beginning of a line.
    line: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialogue({}, {:?})", self.id, self.state)
    }
}

impl Dialogue {
    /// Whose request will have that number, which should be hard to guess.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self {
            id,
            state: State::Greeting { version: false },
            announced: Mechanisms::default(),
            lines: 0,
            line: Zeroizing::new(Vec::new()),
        }
    }

    /// What is said first. Dovecot takes one connection of each process number only, so each gets one that nobody else has.
    #[must_use]
    pub fn greeting(&self) -> String {
        format!("VERSION\t1\t1\nCPID\t{}\n", self.id)
    }

    /// The request, from a client with this address inside TLS. None before the greeting, and once there was one.
    pub fn ask(
        &mut self,
        mechanism: Mechanism,
        client: SocketAddr,
        response: Option<&[u8]>,
    ) -> Option<Zeroizing<String>> {
        if self.state != State::Greeted {
            return None;
        }
        self.state = State::Asked;
        let coded = response.map_or(0, |response| base64::encoded_len(response.len(), true).unwrap_or_default());
        // At its full size from the start: growing would leave copies of a password behind.
        let mut line = Zeroizing::new(String::with_capacity(coded.saturating_add(256)));
        let (id, name, ip, port) = (self.id, mechanism.name(), client.ip().to_canonical(), client.port());
        // Writing to memory cannot fail.
        let _ = write!(line, "AUTH\t{id}\t{name}\tservice=smtp\tnologin\tsecured\trip={ip}\trport={port}");
        if let Some(response) = response {
            line.push_str("\tresp=");
            STANDARD.encode_string(response, &mut line);
        }
        line.push('\n');
        Some(line)
    }

    /// The client's response to a challenge. None when none is due.
    pub fn respond(&mut self, response: &[u8]) -> Option<Zeroizing<String>> {
        if self.state != State::Challenged {
            return None;
        }
        self.state = State::Asked;
        let coded = base64::encoded_len(response.len(), true).unwrap_or_default();
        let mut line = Zeroizing::new(String::with_capacity(coded.saturating_add(64)));
        let _ = write!(line, "CONT\t{}\t", self.id);
        STANDARD.encode_string(response, &mut line);
        line.push('\n');
        Some(line)
    }

    /// Octets that it has sent. At most one of their lines says something.
    ///
    /// # Errors
    /// [`Broken`]: the connection is of no more use.
    pub fn hear(&mut self, octets: &[u8]) -> Result<Option<Said>, Broken> {
        let mut heard = None;
        for octet in octets {
            if heard.is_some() || matches!(self.state, State::Greeted | State::Challenged | State::Over) {
                self.state = State::Over;
                return Err(Broken::Untimely);
            }
            if *octet != b'\n' {
                if self.line.len() >= LINE_MAX {
                    self.state = State::Over;
                    return Err(Broken::Long);
                }
                self.line.push(*octet);
                continue;
            }
            let line = std::mem::replace(&mut self.line, Zeroizing::new(Vec::new()));
            match self.understand(&line) {
                Ok(said) => heard = said,
                Err(broken) => {
                    self.state = State::Over;
                    return Err(broken);
                }
            }
        }
        Ok(heard)
    }

    fn understand(&mut self, line: &[u8]) -> Result<Option<Said>, Broken> {
        let line = std::str::from_utf8(line).map_err(|_| Broken::Garbage)?;
        let mut words = line.split('\t');
        let command = words.next().unwrap_or_default();
        match self.state {
            State::Greeting { version } => {
                self.lines = self.lines.saturating_add(1);
                if self.lines > GREETING_MAX {
                    return Err(Broken::Long);
                }
                self.understand_greeting(command, words.next(), version)
            }
            State::Asked => {
                if words.next().ok_or(Broken::Garbage)? != self.id.to_string() {
                    return Err(Broken::OtherRequest);
                }
                self.understand_answer(command, words).map(Some)
            }
            State::Greeted | State::Challenged | State::Over => Err(Broken::Untimely),
        }
    }

    fn understand_greeting(
        &mut self,
        command: &str,
        word: Option<&str>,
        version: bool,
    ) -> Result<Option<Said>, Broken> {
        match command {
            "VERSION" if word == Some("1") => {
                self.state = State::Greeting { version: true };
                Ok(None)
            }
            "VERSION" => Err(Broken::Version),
            _ if !version => Err(Broken::Version),
            "MECH" => {
                let known = word.and_then(|word| Mechanism::named(word.as_bytes()));
                if let Some(mechanism) = known.filter(|mechanism| RELAYED.contains(mechanism)) {
                    self.announced = self.announced.with(mechanism);
                }
                Ok(None)
            }
            "DONE" => {
                self.state = State::Greeted;
                Ok(Some(Said::Greeting(self.announced)))
            }
            // SPID, CUID, COOKIE, and what later versions have.
            _ => Ok(None),
        }
    }

    fn understand_answer<'a>(
        &mut self,
        command: &str,
        mut words: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<Said, Broken> {
        let has = |name: &str| words.clone().any(|word| word == name);
        let said = match command {
            "CONT" => {
                let challenge = STANDARD.decode(words.next().unwrap_or_default()).map_err(|_| Broken::Garbage)?;
                if challenge.len() > CHALLENGE_MAX {
                    return Err(Broken::Long);
                }
                self.state = State::Challenged;
                return Ok(Said::Challenge(challenge));
            }
            "OK" => {
                let user = words.find_map(|word| word.strip_prefix("user=")).map(unescape);
                // A yes without a login that can be one is of no use.
                user.filter(|user| is_login(user)).map_or(Said::Unknown, Said::Accepted)
            }
            "FAIL" if has("temp") || has("code=temp_fail") => Said::Unknown,
            "FAIL" => Said::Refused,
            _ => return Err(Broken::Garbage),
        };
        self.state = State::Over;
        Ok(said)
    }
}

/// A value without its escapes.
fn unescape(value: &str) -> String {
    let mut octets = value.chars();
    let mut plain = String::with_capacity(value.len());
    while let Some(octet) = octets.next() {
        plain.push(match octet {
            '\u{1}' => match octets.next() {
                Some('0') | None => '\0',
                Some('1') => '\u{1}',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('l' | 'n') => '\n',
                Some(other) => other,
            },
            octet => octet,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tSCRAM-SHA-256\tmutual-auth\nMECH\tDIGEST-MD5\nSPID\t7\nCUID\t1\n\
                         COOKIE\tab\nDONE\n";

    fn client() -> SocketAddr {
        "192.0.2.9:4713".parse().unwrap()
    }

    fn asked() -> Dialogue {
        let mut dialogue = Dialogue::new(77);
        let announced = [Mechanism::Plain, Mechanism::ScramSha256].into_iter().collect();
        assert_eq!(dialogue.hear(HELLO.as_bytes()), Ok(Some(Said::Greeting(announced))));
        assert_eq!(
            dialogue.ask(Mechanism::Plain, client(), Some(b"\0joe\0pw")).unwrap().as_str(),
            "AUTH\t77\tPLAIN\tservice=smtp\tnologin\tsecured\trip=192.0.2.9\trport=4713\tresp=AGpvZQBwdw==\n"
        );
        dialogue
    }

    #[test]
    fn issue_15_a_request_is_answered_by_its_own_answer() {
        let accepted = |user: &str| Said::Accepted(user.to_owned());
        for (answer, expected) in [
            ("OK\t77\tuser=joe\n", accepted("joe")),
            ("OK\t77\tfoo\tuser=joe@ok.test\tsession=x\n", accepted("joe@ok.test")),
            ("OK\t77\n", Said::Unknown),
            ("OK\t77\tuser=\n", Said::Unknown),
            ("OK\t77\tuser=jo\u{1}te\n", Said::Unknown),
            ("OK\t77\tuser=a:b\n", Said::Unknown),
            ("FAIL\t77\tuser=joe\n", Said::Refused),
            ("FAIL\t77\tuser=joe\tcode=user_disabled\n", Said::Refused),
            ("FAIL\t77\tuser=joe\ttemp\n", Said::Unknown),
            ("FAIL\t77\tcode=temp_fail\n", Said::Unknown),
            ("CONT\t77\taGk=\n", Said::Challenge(b"hi".to_vec())),
            ("CONT\t77\t\n", Said::Challenge(vec![])),
            ("CONT\t77\n", Said::Challenge(vec![])),
        ] {
            for piece in [1, 5, 1000] {
                let mut dialogue = asked();
                let mut heard = Vec::new();
                for octets in answer.as_bytes().chunks(piece) {
                    heard.extend(dialogue.hear(octets).unwrap());
                }
                assert_eq!(heard, std::slice::from_ref(&expected), "{answer:?} by {piece}");
            }
        }
    }

    #[test]
    fn issue_15_whatever_else_dovecot_says_is_no_answer() {
        let long = format!("CONT\t77\t{}\n", "A".repeat(4 * 1024));
        let longer = "x".repeat(LINE_MAX + 1);
        for (answer, broken) in [
            ("OK\t78\tuser=joe\n", Broken::OtherRequest),
            ("OK\t7\tuser=joe\n", Broken::OtherRequest),
            ("FAIL\t78\n", Broken::OtherRequest),
            ("OK\n", Broken::Garbage),
            ("OK\tx\tuser=joe\n", Broken::OtherRequest),
            ("OK\t+77\tuser=joe\n", Broken::OtherRequest),
            ("OK\t077\tuser=joe\n", Broken::OtherRequest),
            ("NOTFOUND\t77\n", Broken::Garbage),
            ("ok\t77\tuser=joe\n", Broken::Garbage),
            ("MECH\tPLAIN\n", Broken::OtherRequest),
            ("CONT\t77\t?\n", Broken::Garbage),
            ("CONT\t77\taGk=\nOK\t77\tuser=joe\n", Broken::Untimely),
            ("FAIL\t77\nOK\t77\tuser=joe\n", Broken::Untimely),
            (&long, Broken::Long),
            (&longer, Broken::Long),
        ] {
            let mut dialogue = asked();
            assert_eq!(dialogue.hear(answer.as_bytes()), Err(broken), "{answer:?}");
            assert_eq!(dialogue.hear(b"OK\t77\tuser=joe\n"), Err(Broken::Untimely), "after {answer:?}");
            assert!(dialogue.respond(b"").is_none() && dialogue.ask(Mechanism::Plain, client(), None).is_none());
        }
        for (hello, broken) in [
            ("DONE\n", Broken::Version),
            ("VERSION\t2\t0\n", Broken::Version),
            ("220 mx.ok.test ESMTP\n", Broken::Version),
            ("VERSION\t1\t1\nDONE\nOK\t77\tuser=joe\n", Broken::Untimely),
            (&"VERSION\t1\t1\n".repeat(66), Broken::Long),
        ] {
            assert_eq!(Dialogue::new(77).hear(hello.as_bytes()), Err(broken), "{hello:?}");
        }
        // An answer that came before its request.
        let mut dialogue = Dialogue::new(77);
        dialogue.hear(HELLO.as_bytes()).unwrap();
        assert_eq!(dialogue.hear(b"OK\t77\tuser=joe\n"), Err(Broken::Untimely));
    }

    #[test]
    fn issue_15_a_challenge_is_answered_once() {
        let mut dialogue = asked();
        assert!(dialogue.respond(b"early").is_none());
        dialogue.hear(b"CONT\t77\taGk=\n").unwrap();
        assert_eq!(dialogue.respond(b"ho").unwrap().as_str(), "CONT\t77\taG8=\n");
        assert!(dialogue.respond(b"ho").is_none());
        assert_eq!(dialogue.hear(b"OK\t77\tuser=joe\n"), Ok(Some(Said::Accepted("joe".to_owned()))));
        assert_eq!(dialogue.hear(b"x"), Err(Broken::Untimely));
    }
}
