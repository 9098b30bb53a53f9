//! The command line of sendmail(1), as Postfix's and sendmail's own programs read it.

use gatepost_ucspi::getopt::{Arguments, Next};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// -bm: read a message and hand it over.
    Deliver,
    /// -bs: SMTP on standard input and output.
    Smtp,
    /// -bv: ask whether the recipients would be taken.
    Verify,
    /// -bp, mailq: there is no queue.
    Queue,
    /// -bi, -I, newaliases: there are no aliases.
    Aliases,
    /// -q: there is nothing to flush. -bh, -bH: there is no list of hosts.
    Nothing,
}

/// How much of a message a notification is to have, RFC 3461 §4.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// A command line that was understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation<'a> {
    /// What to do.
    pub mode: Mode,
    /// -t: the recipients of the header too.
    pub from_header: bool,
    /// -i, -oi: a line with one dot is not the end.
    pub dots: bool,
    /// -f, -r: the reverse-path, as written.
    pub sender: Option<&'a [u8]>,
    /// -F: the full name for a From field.
    pub full_name: Option<&'a [u8]>,
    /// -B7BIT: the caller says that the content is ASCII.
    pub seven_bit: bool,
    /// -N: when to notify, as RCPT's NOTIFY writes it.
    pub notify: Option<String>,
    /// -R.
    pub ret: Option<Ret>,
    /// -V: the envelope id.
    pub envid: Option<&'a [u8]>,
    /// -v: say what became of it.
    pub verbose: bool,
    /// Recipients, as written: each may be a list.
    pub recipients: &'a [Vec<u8>],
    /// What was passed over and should be known.
    pub remarks: Vec<&'static str>,
}

/// What an option does with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// It has none.
    Nothing,
    /// It has one.
    Value,
    /// It has one where it is attached: `-q30m`, but `-q` alone.
    Attached,
}

/// What an option means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Body,
    Dots,
    Envid,
    FromHeader,
    FullName,
    Initialize,
    Mode,
    Notify,
    O,
    Queue,
    Refused(&'static str),
    Ret,
    Sender,
    Verbose,
    /// What it asks for has no meaning here, or is done anyhow.
    PassedOver,
}

/// Every option that sendmail 8, Postfix or Exim take on a caller's behalf. A test compares it with the manual page.
const OPTIONS: [(u8, Takes, Means); 30] = [
    (b'A', Takes::Value, Means::PassedOver),
    (b'B', Takes::Value, Means::Body),
    (b'C', Takes::Value, Means::PassedOver),
    (b'd', Takes::Attached, Means::PassedOver),
    (b'D', Takes::Value, Means::Refused("-D: it writes no file for a caller")),
    (b'e', Takes::Value, Means::PassedOver),
    (b'E', Takes::Nothing, Means::PassedOver),
    (b'F', Takes::Value, Means::FullName),
    (b'f', Takes::Value, Means::Sender),
    (b'G', Takes::Nothing, Means::PassedOver),
    (b'h', Takes::Value, Means::PassedOver),
    (b'I', Takes::Nothing, Means::Initialize),
    (b'i', Takes::Nothing, Means::Dots),
    (b'L', Takes::Value, Means::PassedOver),
    (b'M', Takes::Value, Means::Refused("-M: there is no queue")),
    (b'm', Takes::Nothing, Means::PassedOver),
    (b'N', Takes::Value, Means::Notify),
    (b'n', Takes::Nothing, Means::PassedOver),
    (b'O', Takes::Value, Means::PassedOver),
    (b'o', Takes::Value, Means::O),
    (b'p', Takes::Value, Means::PassedOver),
    (b'q', Takes::Attached, Means::Queue),
    (b'R', Takes::Value, Means::Ret),
    (b'r', Takes::Value, Means::Sender),
    (b't', Takes::Nothing, Means::FromHeader),
    (b'U', Takes::Nothing, Means::PassedOver),
    (b'V', Takes::Value, Means::Envid),
    (b'v', Takes::Nothing, Means::Verbose),
    (b'X', Takes::Value, Means::Refused("-X: it writes no log for a caller; VERP is the mail server's")),
    (b'b', Takes::Value, Means::Mode),
];

/// Modes of -b.
const MODES: [(u8, Result<Mode, &str>); 13] = [
    (b'a', Err("-ba: ARPANET mode is no more")),
    (b'D', Err("-bD: the daemon is gatepost serve")),
    (b'd', Err("-bd: the daemon is gatepost serve")),
    (b'H', Ok(Mode::Nothing)),
    (b'h', Ok(Mode::Nothing)),
    (b'i', Ok(Mode::Aliases)),
    (b'm', Ok(Mode::Deliver)),
    (b'P', Ok(Mode::Queue)),
    (b'p', Ok(Mode::Queue)),
    (b'S', Err("-bS: batched SMTP is not spoken")),
    (b's', Ok(Mode::Smtp)),
    (b't', Err("-bt: there are no rewriting rules to test")),
    (b'v', Ok(Mode::Verify)),
];

impl<'a> Invocation<'a> {
    /// Reads the arguments behind argv\[0\]. `mode`: what the program's name says.
    ///
    /// # Errors
    /// What is wrong, for standard error; the exit status is 64.
    pub fn parse(arguments: &'a [Vec<u8>], mode: Mode) -> Result<Self, String> {
        let mut found = Self {
            mode,
            from_header: false,
            dots: false,
            sender: None,
            full_name: None,
            seven_bit: false,
            notify: None,
            ret: None,
            envid: None,
            verbose: false,
            recipients: &[],
            remarks: Vec::new(),
        };
        let mut reader = Arguments::new(arguments);
        let row = |letter| OPTIONS.iter().find(|(known, ..)| *known == letter);
        while let Some(next) = reader.next(|letter| row(letter).map(|(_, takes, _)| *takes == Takes::Value)) {
            match next {
                Next::Flag(letter) => {
                    let attached = row(letter).is_some_and(|(_, takes, _)| *takes == Takes::Attached);
                    let value = if attached { reader.attached() } else { b"" };
                    found.take(value, row(letter))?;
                }
                Next::Value(letter, value) => found.take(value, row(letter))?,
                Next::Missing(letter) => return Err(format!("option requires an argument -- {}", char::from(letter))),
                Next::Illegal(letter) => return Err(format!("invalid option -- {}", char::from(letter))),
                Next::Long(word) => return Err(format!("invalid option -- -{}", String::from_utf8_lossy(word))),
            }
        }
        found.recipients = reader.rest();
        found.agree()?;
        Ok(found)
    }

    fn take(&mut self, value: &'a [u8], row: Option<&(u8, Takes, Means)>) -> Result<(), String> {
        let Some((_, _, means)) = row else { return Ok(()) };
        match means {
            Means::Body => self.seven_bit = body(value)?,
            Means::Dots => self.dots = true,
            Means::Envid => self.envid = self.envelope_id(value),
            Means::FromHeader => self.from_header = true,
            Means::FullName => self.full_name = Some(value),
            Means::Initialize => self.mode = Mode::Aliases,
            Means::Mode => self.mode = mode_of(value)?,
            Means::Notify => self.notify = self.notify_of(value),
            // -oi, -oem, -odb and others of sendmail's: of them only this one changes what is read.
            Means::O => self.dots |= value == b"i" || value == b"itrue",
            // An interval belongs to a daemon: whoever says -q30m here has nothing else to do, as with Postfix.
            Means::Queue => self.mode = Mode::Nothing,
            Means::Refused(why) => return Err((*why).to_owned()),
            Means::Ret => self.ret = ret_of(value),
            Means::Sender => self.sender = Some(value),
            Means::Verbose => self.verbose = true,
            Means::PassedOver => {}
        }
        Ok(())
    }

    fn envelope_id(&mut self, value: &'a [u8]) -> Option<&'a [u8]> {
        let good = (1..=100).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        if !good {
            self.remarks.push("bad -V option value -- ignored");
        }
        good.then_some(value)
    }

    fn notify_of(&mut self, value: &[u8]) -> Option<String> {
        let list = String::from_utf8_lossy(value).to_ascii_uppercase();
        let words: Vec<&str> = list.split(',').map(str::trim).collect();
        let good = words == ["NEVER"] || words.iter().all(|word| ["SUCCESS", "FAILURE", "DELAY"].contains(word));
        if !good {
            self.remarks.push("bad -N option value -- ignored");
        }
        good.then(|| words.join(","))
    }

    /// What can't stand together, in Postfix's words.
    fn agree(&self) -> Result<(), String> {
        if self.from_header && self.mode == Mode::Verify {
            return Err("-t option cannot be used with -bv".to_owned());
        }
        if self.from_header && self.mode != Mode::Deliver {
            return Err("-t can be used only in delivery mode".to_owned());
        }
        match self.mode {
            Mode::Deliver | Mode::Verify | Mode::Nothing => Ok(()),
            _ if self.recipients.is_empty() => Ok(()),
            Mode::Queue => Err("display queue mode requires no recipient".to_owned()),
            Mode::Aliases => Err("alias initialization mode requires no recipient".to_owned()),
            Mode::Smtp => Err("stand-alone mode requires no recipient".to_owned()),
        }
    }
}

/// To Postfix the value of -R is a size, which it ignores: anything else than sendmail's words is passed over.
fn ret_of(value: &[u8]) -> Option<Ret> {
    match value.to_ascii_lowercase().as_slice() {
        b"full" => Some(Ret::Full),
        b"hdrs" => Some(Ret::Headers),
        _ => None,
    }
}

fn body(value: &[u8]) -> Result<bool, String> {
    match value {
        b"7BIT" => Ok(true),
        b"8BITMIME" => Ok(false),
        _ => Err("-B option needs 8BITMIME or 7BIT".to_owned()),
    }
}

fn mode_of(value: &[u8]) -> Result<Mode, String> {
    let letter = value.first().copied().unwrap_or_default();
    match MODES.iter().find(|(known, _)| *known == letter) {
        Some((_, mode)) => mode.map_err(str::to_owned),
        None => Err(format!("unsupported: -b{}", String::from_utf8_lossy(value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<Vec<u8>> {
        line.split_ascii_whitespace().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn the_lines_that_programs_use_are_understood() {
        // The program, its line; mode, -t, dots, sender, recipients.
        for (who, line, mode, header, dots, sender, recipients) in [
            ("cron", "-FCronDaemon -i -B8BITMIME -oem root", Mode::Deliver, false, true, None, "root"),
            ("php", "-t -i", Mode::Deliver, true, true, None, ""),
            ("php, -f", "-t -i -fwww@example.org", Mode::Deliver, true, true, Some("www@example.org"), ""),
            ("git send-email", "-f a@b -i c@d e@f", Mode::Deliver, false, true, Some("a@b"), "c@d e@f"),
            ("mutt", "-oem -oi -- c@d", Mode::Deliver, false, true, None, "c@d"),
            ("reportbug", "-i -t", Mode::Deliver, true, true, None, ""),
            ("logwatch", "-t", Mode::Deliver, true, false, None, ""),
            ("clustered", "-itfme@x", Mode::Deliver, true, true, Some("me@x"), ""),
            ("dpkg-reconfigure", "-q30m", Mode::Nothing, false, false, None, ""),
            ("-bd -q", "-q -oi", Mode::Nothing, false, true, None, ""),
            ("-bs", "-bs", Mode::Smtp, false, false, None, ""),
            ("-bv", "-bv root", Mode::Verify, false, false, None, "root"),
        ] {
            let arguments = arguments(line);
            let found = Invocation::parse(&arguments, Mode::Deliver).unwrap_or_else(|e| panic!("{who}: {e}"));
            assert_eq!((found.mode, found.from_header, found.dots), (mode, header, dots), "{who}");
            assert_eq!(found.sender, sender.map(str::as_bytes), "{who}");
            assert_eq!(found.recipients.join(&b' '), recipients.as_bytes(), "{who}");
        }
    }

    #[test]
    fn what_notifications_are_to_be_is_passed_on() {
        let line = arguments("-N success,failure -V id1 -R hdrs -B7BIT root");
        let found = Invocation::parse(&line, Mode::Deliver).unwrap();
        assert_eq!(found.notify.as_deref(), Some("SUCCESS,FAILURE"));
        assert_eq!((found.envid, found.ret, found.seven_bit), (Some(b"id1".as_slice()), Some(Ret::Headers), true));
        let line = arguments("-N always -V b\u{1}d root");
        let found = Invocation::parse(&line, Mode::Deliver).unwrap();
        assert_eq!((found.notify.clone(), found.envid, found.remarks.len()), (None, None, 2));
    }

    #[test]
    fn a_wrong_line_says_what_is_wrong() {
        for (line, mode, says) in [
            ("-Z", Mode::Deliver, "invalid option -- Z"),
            ("--help", Mode::Deliver, "invalid option -- -help"),
            ("-f", Mode::Deliver, "option requires an argument -- f"),
            ("-B9BIT a@b", Mode::Deliver, "-B option needs 8BITMIME or 7BIT"),
            ("-bd", Mode::Deliver, "-bd: the daemon is gatepost serve"),
            ("-bz", Mode::Deliver, "unsupported: -bz"),
            ("-X/tmp/log a@b", Mode::Deliver, "-X: it writes no log for a caller; VERP is the mail server's"),
            ("-t -bv", Mode::Deliver, "-t option cannot be used with -bv"),
            ("-t -bs", Mode::Deliver, "-t can be used only in delivery mode"),
            ("root", Mode::Queue, "display queue mode requires no recipient"),
            ("root", Mode::Aliases, "alias initialization mode requires no recipient"),
        ] {
            assert_eq!(Invocation::parse(&arguments(line), mode).unwrap_err(), says, "{line}");
        }
    }
}
