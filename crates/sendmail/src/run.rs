//! A whole run: the command line, the message, the socket.

use crate::dialogue::{Dialogue, Next, Outcome, Submission};
use crate::message::Message;
use crate::options::{Invocation, Mode};
use crate::status::Status;
use crate::user::User;
use gatepost_smtp::client::ReplyReader;
use gatepost_smtp::mailboxes;
use gatepost_sys::process::effective_ids;
use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Where the submission service listens, unless GATEPOST_SUBMIT names another socket.
const SOCKET: &str = "/run/gatepost/submit";
/// The longest wait for a reply, RFC 5321 §4.5.3.2.6.
const WAIT: Duration = Duration::from_secs(600);

/// The name by which it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// sendmail.
    Sendmail,
    /// mailq: the same as `sendmail -bp`.
    Mailq,
    /// newaliases: the same as `sendmail -bi`.
    Newaliases,
}

/// A whole run. `arguments` are those behind argv\[0\]. Returns the exit status, one of sysexits.h.
pub fn run(name: Name, arguments: impl Iterator<Item = OsString>) -> u8 {
    let arguments: Vec<Vec<u8>> = arguments.map(OsString::into_vec).collect();
    let mode = match name {
        Name::Sendmail => Mode::Deliver,
        Name::Mailq => Mode::Queue,
        Name::Newaliases => Mode::Aliases,
    };
    let done = Invocation::parse(&arguments, mode).map_err(|text| Outcome { status: Status::Usage, text }).and_then(
        |invocation| {
            for remark in &invocation.remarks {
                complain(remark);
            }
            act(&invocation)
        },
    );
    let outcome = done.unwrap_or_else(|failed| failed);
    match outcome.status {
        Status::Ok if outcome.text.is_empty() => {}
        // Whoever can't be told isn't told: what was asked for is done.
        Status::Ok => drop(writeln!(io::stdout(), "{}", outcome.text)),
        _ => complain(&outcome.text),
    }
    outcome.status as u8
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "sendmail: {text}");
}

fn act(invocation: &Invocation<'_>) -> Result<Outcome, Outcome> {
    let say = |text: &str| Ok(Outcome { status: Status::Ok, text: text.to_owned() });
    match invocation.mode {
        Mode::Nothing => say(""),
        Mode::Queue => say(
            "Mail queue is empty: gatepost keeps none; what it has taken is in the queue of the mail server behind it",
        ),
        Mode::Aliases => {
            say("gatepost has no aliases: rebuild those of the mail server behind it with its own newaliases")
        }
        Mode::Smtp => pass_on(connect()?),
        Mode::Verify => submit(invocation, None),
        Mode::Deliver => {
            let mut input = Vec::new();
            // The socket comes after: a program that writes slowly holds no session.
            io::stdin()
                .lock()
                .read_to_end(&mut input)
                .map_err(|e| failed(Status::IoErr, format!("error reading input: {e}")))?;
            submit(invocation, Some(Message::read(&input, invocation.dots)))
        }
    }
}

fn failed(status: Status, text: String) -> Outcome {
    Outcome { status, text }
}

fn socket() -> PathBuf {
    env::var_os("GATEPOST_SUBMIT").filter(|path| !path.is_empty()).map_or_else(|| SOCKET.into(), PathBuf::from)
}

fn connect() -> Result<UnixStream, Outcome> {
    let path = socket();
    let stream = UnixStream::connect(&path).and_then(|stream| {
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(stream)
    });
    stream.map_err(|e| {
        let why = format!(
            "cannot reach the submission service by {}: {e}; nothing was sent, try again later",
            path.display()
        );
        failed(Status::TempFail, why)
    })
}

/// Who sends, to whom: from the command line, the header and the account.
fn submission<'a>(invocation: &'a Invocation<'_>, message: Option<Message>) -> Result<Submission<'a>, Outcome> {
    let (uid, _) = effective_ids();
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let user = User::of(uid, &passwd)
        .ok_or_else(|| failed(Status::OsErr, format!("no login name found for user ID {uid} in /etc/passwd")))?;
    let list = |text: &[u8]| {
        mailboxes::of_list(text).map_err(|e| failed(Status::DataErr, format!("{}: {e}", String::from_utf8_lossy(text))))
    };
    let sender = match invocation.sender {
        // As with Postfix the first address counts.
        Some(text) => list(text)?.into_iter().next().unwrap_or_default(),
        None => user.name.clone(),
    };
    let mut recipients = Vec::new();
    for text in invocation.recipients {
        recipients.extend(list(text)?.into_iter().filter(|address| !address.is_empty()));
    }
    if let Some(message) = message.as_ref().filter(|_| invocation.from_header) {
        let bad = |(field, e)| failed(Status::DataErr, format!("cannot read the recipients of the field {field}: {e}"));
        recipients.extend(message.recipients().map_err(bad)?);
    }
    if recipients.is_empty() {
        let why = if invocation.from_header {
            "No recipient addresses found in message header"
        } else {
            "Recipient addresses must be specified on the command line or via the -t option"
        };
        return Err(failed(Status::Usage, why.to_owned()));
    }
    let mut unlike = std::collections::HashSet::new();
    recipients.retain(|address| unlike.insert(address.clone()));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let full_name = invocation.full_name.map(<[u8]>::to_vec).or_else(|| env::var_os("NAME").map(OsString::into_vec));
    Ok(Submission {
        sender,
        recipients,
        message,
        user: user.name,
        full_name: full_name.unwrap_or(user.full_name),
        host: mail_name(),
        seconds: now.as_secs(),
        unique: u64::from(now.subsec_nanos()) << 32 | u64::from(std::process::id()),
        seven_bit: invocation.seven_bit,
        notify: invocation.notify.as_deref(),
        ret: invocation.ret,
        envid: invocation.envid,
    })
}

/// Debian's /etc/mailname: what stands behind the names of local users.
fn mail_name() -> Option<Vec<u8>> {
    let text = std::fs::read("/etc/mailname").ok()?;
    let line = text.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii().to_vec();
    Some(line).filter(|line| !line.is_empty())
}

fn submit(invocation: &Invocation<'_>, message: Option<Message>) -> Result<Outcome, Outcome> {
    let verify = message.is_none();
    let submission = submission(invocation, message)?;
    let mut outcome = speak(connect()?, Dialogue::new(submission));
    if outcome.status == Status::Ok && !(invocation.verbose || verify) {
        outcome.text.clear();
    }
    Ok(outcome)
}

fn speak(mut stream: UnixStream, mut dialogue: Dialogue<'_>) -> Outcome {
    let mut reader = ReplyReader::new();
    let mut buffer = [0; 4096];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return dialogue.broken("the submission service closed the connection"),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return dialogue.broken(&format!("no reply from the submission service: {e}")),
        };
        let mut rest = buffer.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            let reply = match reader.push(rest) {
                Ok((taken, reply)) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    reply
                }
                Err(e) => return dialogue.broken(&format!("the submission service sent a {e}")),
            };
            match reply.map(|reply| dialogue.replied(&reply)) {
                None => {}
                Some(Next::Over(outcome, last)) => {
                    let _ = stream.write_all(last);
                    return outcome;
                }
                // Nobody knows what it is the answer to. Nothing was handed over: that has no answer but the last.
                Some(Next::Send(_)) if !rest.is_empty() => {
                    let why = "the submission service sent a reply before it was asked";
                    return failed(Status::TempFail, why.to_owned());
                }
                // The service may refuse and close before it has read all: its reply is there to be read.
                Some(Next::Send(octets)) => drop(stream.write_all(&octets)),
            }
        }
    }
}

/// -bs: what is on standard input goes to the service, what it says to standard output, until it closes.
fn pass_on(stream: UnixStream) -> Result<Outcome, Outcome> {
    let broken =
        |e: io::Error| failed(Status::TempFail, format!("the connection to the submission service broke: {e}"));
    // A caller may think between its commands for as long as the service lets it.
    stream.set_read_timeout(None).map_err(broken)?;
    let mut sending = stream.try_clone().map_err(broken)?;
    // Not awaited: a caller that was told 221 need not close standard input.
    let _ = std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut sending);
        let _ = sending.shutdown(Shutdown::Write);
    });
    let mut out = io::stdout().lock();
    let mut stream = stream;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Outcome { status: Status::Ok, text: String::new() }),
            Ok(read) => {
                let piece = buffer.get(..read).unwrap_or_default();
                out.write_all(piece)
                    .and_then(|()| out.flush())
                    .map_err(|e| failed(Status::IoErr, format!("cannot write: {e}")))?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(broken(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submission() -> Submission<'static> {
        Submission {
            sender: b"joe@a.test".to_vec(),
            recipients: vec![b"ann@b.test".to_vec()],
            message: Some(Message::read(b"\nx\n", true)),
            user: b"joe".to_vec(),
            full_name: Vec::new(),
            host: None,
            seconds: 0,
            unique: 1,
            seven_bit: false,
            notify: None,
            ret: None,
            envid: None,
        }
    }

    /// How it ends with a service that says this at once, whatever it is told.
    fn outcome(said: &str) -> Outcome {
        let (ours, mut service) = UnixStream::pair().unwrap();
        service.write_all(said.as_bytes()).unwrap();
        service.shutdown(Shutdown::Write).unwrap();
        speak(ours, Dialogue::new(submission()))
    }

    #[test]
    fn a_reply_that_comes_before_its_command_is_none() {
        let early = outcome("220 mx.test\r\n250 mx.test\r\n250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n");
        assert_eq!(early.status, Status::TempFail, "{early:?}");
        assert!(early.text.contains("before it was asked"), "{early:?}");
        assert_eq!(outcome("220 mx.test\r\n25").text, early.text);
        // What follows the last reply that counts is nobody's.
        let refused = outcome("554 5.7.1 not you\r\n221 bye\r\n");
        assert_eq!((refused.status, refused.text.as_str()), (Status::NoPerm, "554 5.7.1 not you"));
    }
}
