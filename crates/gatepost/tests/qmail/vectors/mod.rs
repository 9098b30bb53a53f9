//! What qmail-smtpd does, vector by vector: the real binary, octet-exact. Each row that is decided otherwise on purpose says
//! so and why; each that is none of ours says whose it is.

mod commands;
mod content;
mod policy;

use crate::room::{GATEPOST, Home, is_like, strip, tcp_pair};
use gatepost_testkit::dialogue::unescape;
use gatepost_testkit::facts::tree;
use gatepost_testkit::run::signal;
use gatepost_testkit::wait;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// A whole message of one recipient: what comes before its content, and its envelope.
const HEAD: &str = "MAIL FROM:<a@b>|RCPT TO:<c@d>|DATA|";
const ENVELOPE: &str = r"Fa@b\0Tc@d\0\0";
/// Received, when the client has said no other name than the one it has.
const RECEIVED: &str = "Received: from client.example.net (192.0.2.7)\n  by mx.example.org with SMTP; <date>\n";

/// What stands for a reply that is often given.
const WORDS: &[(&str, &str)] = &[
    ("OK", "250 ok"),
    ("Q", "250 ok <t> qp <p>"),
    ("354", "354 go ahead"),
    ("502", "502 unimplemented (#5.5.1)"),
    ("MAIL?", "503 MAIL first (#5.5.1)"),
    ("RCPT?", "503 RCPT first (#5.5.1)"),
    ("555", "555 syntax error (#5.5.4)"),
    ("R553", "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
    ("B553", "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"),
    ("552", "552 sorry, that message size exceeds my databytes limit (#5.3.4)"),
    ("554", "554 too many hops, this message is looping (#5.4.6)"),
    ("CONTROLS", "421 unable to read controls (#4.3.0)"),
    ("BARE", "451 See https://cr.yp.to/docs/smtplf.html."),
];

/// A control file that cannot be read as one, and one that is not there.
const DIRECTORY: &str = "a directory";
const ABSENT: &str = "no such file";

/// How the session is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Pipes,
    Pair,
    Tcp,
}

/// What happens after the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The client closes.
    End,
    /// The client stays, silent.
    Silence,
}

/// One vector, or one case of it. In texts, `|` is CRLF and the escapes are those of [`unescape`].
#[derive(Debug, Clone)]
struct Row {
    /// A1 to A103.
    id: &'static str,
    case: &'static str,
    over: Option<Over>,
    control: Vec<(&'static str, String)>,
    env: Vec<(&'static str, Option<String>)>,
    argv: &'static [&'static str],
    /// A line of shell that starts it.
    wrapper: &'static str,
    /// Lines of the queue program, before and after it has recorded everything.
    queue: (&'static str, &'static str),
    input: String,
    then: Then,
    /// Empty when the session has ended before it could greet.
    greeting: &'static str,
    /// Replies after the greeting; [`WORDS`] may stand for whole ones.
    output: String,
    status: i32,
    received: &'static str,
    /// Envelope, and message after Received, of all that is delivered.
    queued: Vec<(String, String)>,
    /// A word of the warning that the log must have.
    warns: &'static str,
    /// Why gatepost does otherwise than qmail.
    decided: Option<&'static str>,
    not_ours: Option<&'static str>,
}

/// Says `input`, is told `output`, and hangs up.
fn talk(id: &'static str, input: &str, output: &str) -> Row {
    Row {
        id,
        case: "",
        over: None,
        control: vec![],
        env: vec![],
        argv: &[],
        wrapper: "",
        queue: ("", "exit 0"),
        input: input.to_owned(),
        then: Then::End,
        greeting: "220 mx.example.org ESMTP",
        output: output.to_owned(),
        status: 1,
        received: RECEIVED,
        queued: vec![],
        warns: "",
        decided: None,
        not_ours: None,
    }
}

/// Sends a whole message whose content is `content`, which is taken and stored as `stored`.
fn mail(id: &'static str, content: &str, stored: &str) -> Row {
    talk(id, &format!("{HEAD}{content}.|"), "OK|OK|354|Q").queued(ENVELOPE, stored)
}

/// The same, and the reply to its end is another.
fn refused(id: &'static str, content: &str, reply: &str) -> Row {
    talk(id, &format!("{HEAD}{content}.|"), &format!("OK|OK|354|{reply}"))
}

/// One recipient, and what becomes of it in the envelope.
fn rcpt(id: &'static str, line: &str, address: &str) -> Row {
    let input = format!("MAIL FROM:<a@b>|{line}|DATA|.|");
    talk(id, &input, "OK|OK|354|Q").queued(&format!(r"Fa@b\0T{address}\0\0"), "")
}

/// One sender, and what becomes of it in the envelope.
fn sender(id: &'static str, line: &str, address: &str) -> Row {
    let input = format!("{line}|RCPT TO:<c@d>|DATA|.|");
    talk(id, &input, "OK|OK|354|Q").queued(&format!(r"F{address}\0Tc@d\0\0"), "")
}

/// A vector of a program that gatepost does not replace, or one that another test of ours has.
fn not_ours(id: &'static str, why: &'static str) -> Row {
    Row { not_ours: Some(why), ..talk(id, "", "") }
}

impl Row {
    fn case(self, case: &'static str) -> Row {
        Row { case, ..self }
    }

    fn over(self, over: Over) -> Row {
        Row { over: Some(over), ..self }
    }

    fn control(mut self, name: &'static str, octets: &str) -> Row {
        self.control.push((name, octets.to_owned()));
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Row {
        self.env.push((name, Some(value.to_owned())));
        self
    }

    fn without(mut self, name: &'static str) -> Row {
        self.env.push((name, None));
        self
    }

    fn argv(self, argv: &'static [&'static str]) -> Row {
        Row { argv, ..self }
    }

    fn wrapper(self, wrapper: &'static str) -> Row {
        Row { wrapper, ..self }
    }

    /// The queue program ends so, having read everything.
    fn queue(self, after: &'static str) -> Row {
        Row { queue: ("", after), ..self }
    }

    /// The queue program ends so, before it has read anything.
    fn queue_at_once(self, before: &'static str) -> Row {
        Row { queue: (before, ""), ..self }
    }

    fn then(self, then: Then) -> Row {
        Row { then, ..self }
    }

    fn greeting(self, greeting: &'static str) -> Row {
        Row { greeting, ..self }
    }

    fn status(self, status: i32) -> Row {
        Row { status, ..self }
    }

    fn received(self, received: &'static str) -> Row {
        Row { received, ..self }
    }

    fn queued(mut self, envelope: &str, message: &str) -> Row {
        self.queued.push((envelope.to_owned(), message.to_owned()));
        self
    }

    fn warns(self, warns: &'static str) -> Row {
        Row { warns, ..self }
    }

    fn decided(self, why: &'static str) -> Row {
        Row { decided: Some(why), ..self }
    }

    fn name(&self) -> String {
        if self.case.is_empty() { self.id.to_owned() } else { format!("{} ({})", self.id, self.case) }
    }

    /// The octets of a text.
    fn octets(text: &str) -> Vec<u8> {
        unescape(&text.replace('|', r"\r\n"))
    }

    /// All that the client is to see.
    fn expected(&self) -> Vec<u8> {
        let output = String::from_utf8(unescape(&self.output)).unwrap();
        let all = [self.greeting].into_iter().chain(output.split('|')).filter(|reply| !reply.is_empty());
        let of = |word: &str| WORDS.iter().find(|(short, _)| *short == word).map(|(_, reply)| *reply);
        all.map(|word| format!("{}\r\n", of(word).unwrap_or(word))).collect::<String>().into_bytes()
    }
}

/// What a session did.
struct Outcome {
    output: Vec<u8>,
    status: Option<i32>,
    log: String,
}

/// All rows. Every third goes over pipes, a socket pair, TCP, unless it says how.
fn rows() -> Vec<Row> {
    let mut all: Vec<Row> = [commands::rows(), policy::rows(), content::rows()].concat();
    for (row, over) in all.iter_mut().zip([Over::Pipes, Over::Pair, Over::Pipes, Over::Tcp].into_iter().cycle()) {
        row.over.get_or_insert(over);
    }
    all
}

fn home(row: &Row, number: usize) -> Home {
    let home = Home::new(&format!("vectors/{number}-{}", row.id));
    for (name, octets) in &row.control {
        let path = home.path("control").join(name);
        match octets.as_str() {
            ABSENT => fs::remove_file(path).unwrap(),
            DIRECTORY => fs::create_dir(path).unwrap(),
            octets => fs::write(path, unescape(octets)).unwrap(),
        }
    }
    if row.queue != ("", "exit 0") {
        home.queue(row.queue.0, row.queue.1);
    }
    home
}

fn command(row: &Row, home: &Home, number: usize) -> Command {
    let mut command = home.wrapped(row.wrapper);
    if row.wrapper.is_empty() && number.is_multiple_of(2) {
        // By its other name.
        let (envs, home) = (command, &home);
        command = Command::new(GATEPOST);
        command.arg0("/var/qmail/bin/qmail-smtpd").env_clear();
        command.envs(envs.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.path(""));
    }
    for (name, value) in &row.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(row.argv);
    command
}

/// Both directions of a connection to a session.
type Ends = (Box<dyn Write + Send>, Box<dyn Read + Send>, Box<dyn Fn() + Send>);

/// Gives the session its descriptors 0 and 1; the other ends, unless they are pipes that the child will have.
fn connect(over: Over, command: &mut Command) -> Option<Ends> {
    match over {
        Over::Pipes => {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            None
        }
        Over::Pair => {
            let (ours, theirs) = UnixStream::pair().unwrap();
            give(command, theirs.into());
            let (write, end) = (ours.try_clone().unwrap(), ours.try_clone().unwrap());
            Some((Box::new(write), Box::new(ours), Box::new(move || drop(end.shutdown(Shutdown::Write)))))
        }
        Over::Tcp => {
            let (ours, theirs) = tcp_pair();
            give(command, theirs.into());
            let (write, end) = (ours.try_clone().unwrap(), ours.try_clone().unwrap());
            Some((Box::new(write), Box::new(ours), Box::new(move || drop(end.shutdown(Shutdown::Write)))))
        }
    }
}

fn give(command: &mut Command, socket: OwnedFd) {
    command.stdin(socket.try_clone().unwrap()).stdout(socket);
}

fn serve(row: &Row, home: &Home, mut command: Command) -> Outcome {
    command.stderr(home.log_file());
    let ends = connect(row.over.unwrap(), &mut command);
    let mut child = command.spawn().unwrap();
    // Its copies of the session's ends.
    drop(command);
    let (mut write, mut read, close) = ends.unwrap_or_else(|| {
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        (Box::new(stdin), Box::new(stdout), Box::new(|| {}))
    });
    let input = Row::octets(&row.input);
    let mut output = Vec::new();
    let mut status = None;
    std::thread::scope(|scope| {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let then = row.then;
        scope.spawn(move || {
            // A session may end before it has read everything.
            let _ = write.write_all(&input);
            if then == Then::Silence {
                // Until the session has ended.
                let _ = held.recv();
            }
            drop(write);
            close();
        });
        // A reset comes when octets are left unread at the end.
        scope.spawn(|| read.read_to_end(&mut output));
        status = wait::poll(Duration::from_secs(60), &mut || child.try_wait().unwrap());
        if status.is_none() {
            for pid in tree(child.id()) {
                let _ = signal(pid, "KILL");
            }
            let _ = child.wait();
        }
        drop(hold);
    });
    Outcome { output, status: status.and_then(|status| status.code()), log: home.log() }
}

fn show(octets: &[u8]) -> String {
    const MOST: usize = 1500;
    let cut = if octets.len() > MOST { format!("... ({} octets)", octets.len()) } else { String::new() };
    let text = octets[..octets.len().min(MOST)].escape_ascii().to_string();
    format!("      {}{cut}", text.replace("\\r\\n", "\\r\\n\n      ").replace("\\'", "'"))
}

fn check(row: &Row, number: usize) -> Result<(), String> {
    let home = home(row, number);
    let outcome = serve(row, &home, command(row, &home, number));
    let mut wrong = Vec::new();
    let expected = row.expected();
    if !is_like(&expected, &outcome.output) {
        wrong.push(format!("  told:\n{}\n  not:\n{}", show(&outcome.output), show(&expected)));
    }
    if outcome.status != Some(row.status) {
        wrong.push(format!("  exit status {:?}, not {}", outcome.status, row.status));
    }
    let delivered = home.delivered();
    if delivered.len() != row.queued.len() {
        wrong.push(format!("  {} messages delivered, not {}", delivered.len(), row.queued.len()));
    }
    for (record, (envelope, message)) in delivered.iter().zip(&row.queued) {
        let (envelope, message) = (unescape(envelope), unescape(message));
        if record.envelope != envelope {
            wrong.push(format!("  envelope:\n{}\n  not:\n{}", show(&record.envelope), show(&envelope)));
        }
        if strip(row.received.as_bytes(), &record.message) != Some(&message) {
            let expected = [row.received.as_bytes(), &message].concat();
            wrong.push(format!("  message:\n{}\n  not:\n{}", show(&record.message), show(&expected)));
        }
    }
    if !outcome.log.contains(row.warns) {
        wrong.push(format!("  no warning about {:?}", row.warns));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let over = row.over.unwrap();
    Err(format!("{} over {over:?}, {:?}:\n{}\n  log: {}", row.name(), home.path(""), wrong.join("\n"), outcome.log))
}

#[test]
fn each_vector_is_as_qmail_has_it_or_as_decided() {
    let rows = rows();
    let next = Mutex::new(rows.iter().enumerate().filter(|(_, row)| row.not_ours.is_none()));
    let complaints = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let one = next.lock().unwrap().next();
                    let Some((number, row)) = one else { break };
                    if let Err(complaint) = check(row, number) {
                        complaints.lock().unwrap().push((number, complaint));
                    }
                }
            });
        }
    });
    let mut complaints = complaints.into_inner().unwrap();
    complaints.sort_unstable();
    let text: Vec<String> = complaints.into_iter().map(|(_, text)| text).collect();
    let decided = rows.iter().filter(|row| row.decided.is_some()).count();
    println!("{} cases, {decided} of them decided otherwise than qmail", rows.len());
    assert!(text.is_empty(), "{} of {} cases:\n{}", text.len(), rows.len(), text.join("\n"));
}

#[test]
fn no_vector_is_missing() {
    let rows = rows();
    let there: BTreeSet<String> = rows.iter().map(|row| row.id.to_owned()).collect();
    let letters = ["A73b", "A73c", "A73d", "A73e"].map(str::to_owned);
    let all: BTreeSet<String> = (1..=103).map(|number| format!("A{number}")).chain(letters).collect();
    assert_eq!(there, all);
    let names: BTreeSet<String> = rows.iter().map(Row::name).collect();
    assert_eq!(names.len(), rows.len(), "two cases have one name");
}

#[test]
fn those_decided_otherwise_are_few_and_say_why() {
    for row in rows() {
        println!("{:8} {}", row.id, row.decided.or(row.not_ours).unwrap_or("as qmail"));
        assert!(row.decided.is_none_or(|why| why.len() > 10), "{}", row.name());
    }
}
