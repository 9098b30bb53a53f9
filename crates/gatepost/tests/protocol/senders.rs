//! Real senders through the whole binary into a real Postfix: counted, and compared octet for octet.

use crate::gate::{CERTIFICATE, Gate, HOSTNAME, KEY};
use gatepost_testkit::host::{self, HERE, Host};
use gatepost_testkit::mta::{Postfix, Road, Sender};
use gatepost_testkit::peer::Peer;
use gatepost_testkit::run::run_within;
use gatepost_testkit::wait::{SOON, poll};
use std::process::Command;
use std::time::Duration;

/// What is different about a message or the way it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Tls,
    /// Commands in groups, for those that have to be asked for it.
    Pipelined,
    /// Octets above 127 in the content.
    EightBit,
    /// And in the envelope: RFC 6531.
    Utf8,
    /// 20 MB.
    Large,
    /// A hundred recipients.
    Hundred,
}
use Kind::{EightBit, Hundred, Large, Pipelined, Plain, Tls, Utf8};

impl Kind {
    const ALL: [Kind; 7] = [Plain, Tls, Pipelined, EightBit, Utf8, Large, Hundred];
}

/// One of them, what it cannot and why, and how it is told. All else it can: those that pipeline do so whenever they may,
/// but for swaks, which has to be asked for it.
type Row = (&'static str, &'static [(Kind, &'static str)], fn(&Host, &Mail) -> Command);

const AWAITS: &str = "awaits the reply to each command, whatever is offered";
const KNOWS_NO_UTF8: &str = "has no SMTPUTF8 at all";

const SENDERS: &[Row] = &[
    ("swaks", &[(Utf8, KNOWS_NO_UTF8)], swaks),
    ("curl", &[(Pipelined, AWAITS)], curl),
    ("smtplib", &[(Pipelined, AWAITS)], smtplib),
    ("msmtp", &[(Utf8, KNOWS_NO_UTF8)], msmtp),
    ("nodemailer", &[(Pipelined, AWAITS)], nodemailer),
    ("postfix", &[], postfix),
    ("exim", &[], exim),
    ("opensmtpd", &[(Pipelined, AWAITS), (Utf8, KNOWS_NO_UTF8)], opensmtpd),
    ("sendmail", &[(Utf8, "Debian 12 builds it without USE_EAI (sendmail -d0.4 shows with what)")], sendmail),
];

fn kinds(row: &Row) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|kind| row.1.iter().all(|(lacks, _)| lacks != kind)).collect()
}

/// A message to send.
struct Mail {
    kind: Kind,
    recipients: Vec<String>,
    /// With lone LF, as files have them; as the mailbox must have it.
    text: Vec<u8>,
    /// Where it lies on the host, with LF; with `.crlf` added, with CRLF.
    file: String,
}

fn name(sender: &str, kind: Kind) -> String {
    format!("{sender}-{kind:?}").to_lowercase()
}

fn recipients(sender: &str, kind: Kind) -> Vec<String> {
    let name = name(sender, kind);
    match kind {
        Hundred => (0..100).map(|number| format!("{name}{number}@ok.test")).collect(),
        Utf8 => vec![format!("\u{e9}-{name}@ok.test")],
        _ => vec![format!("{name}@ok.test")],
    }
}

impl Mail {
    fn new(host: &Host, sender: &str, kind: Kind) -> Mail {
        let name = name(sender, kind);
        let recipients = recipients(sender, kind);
        let mut text = format!(
            "From: s@road.test\nTo: r@ok.test\nSubject: {name}\nDate: Sun, 22 Nov 2026 00:00:00 +0000\n\
             Message-ID: <{name}@road.test>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: 8bit\n\n"
        )
        .into_bytes();
        // Everything that dot stuffing and mailbox formats have ever stumbled over.
        text.extend_from_slice(format!("{name}\n.\n..\n.x\n...\n\nFrom here\n \n\t\n{}\n", "w".repeat(990)).as_bytes());
        match kind {
            EightBit | Utf8 => text.extend_from_slice("\u{e9}\u{20ac}\u{1f4ee}\n.\u{e9}\n".as_bytes()),
            Large => text.extend_from_slice(&format!(".{}\n", "l".repeat(70)).into_bytes().repeat((20 << 20) / 72)),
            _ => {}
        }
        let mail = Mail { kind, recipients, text, file: format!("/tmp/mail/{name}") };
        let crlf = String::from_utf8(mail.text.clone()).unwrap().replace('\n', "\r\n");
        host.write(&mail.file, std::str::from_utf8(&mail.text).unwrap());
        host.write(&mail.crlf(), &crlf);
        mail
    }

    fn crlf(&self) -> String {
        format!("{}.crlf", self.file)
    }

    /// The port of the listener with STARTTLS, or of the one without.
    fn port(&self) -> &'static str {
        if self.tls() { "25" } else { "2525" }
    }

    fn tls(&self) -> bool {
        // Of what is left to choose, half goes each way.
        matches!(self.kind, Tls | EightBit | Large)
    }

    /// By whom a sender with a queue knows which way it is to go.
    fn from(&self) -> &'static str {
        if self.tls() { "s@road.test" } else { Road::PLAIN }
    }
}

fn yes(truth: bool) -> &'static str {
    if truth { "yes" } else { "no" }
}

fn swaks(host: &Host, mail: &Mail) -> Command {
    let mut command = host.command("swaks");
    command
        .args(["--server", HERE, "--port", mail.port(), "--helo", "road.test", "--from", "s@road.test"])
        .args(["--to", &mail.recipients.join(","), "--data", &format!("@{}", mail.file), "--hide-all"])
        .args(mail.tls().then_some("--tls"))
        .args((mail.kind == Pipelined).then_some("--pipeline"));
    command
}

fn curl(host: &Host, mail: &Mail) -> Command {
    let mut command = host.command("curl");
    command.args(["-sS", &format!("smtp://{HERE}:{}/road.test", mail.port()), "--mail-from", "s@road.test"]);
    command.args(["--upload-file", &mail.crlf()]).args(if mail.tls() { &["--ssl-reqd", "-k"][..] } else { &[] });
    command.args(mail.recipients.iter().flat_map(|to| ["--mail-rcpt", to]));
    command
}

fn smtplib(host: &Host, mail: &Mail) -> Command {
    let mut command = host.command("python3");
    command.args(["-c", include_str!("senders/send.py"), HERE, mail.port(), yes(mail.tls()), yes(mail.kind == Utf8)]);
    command.arg(mail.crlf()).args(&mail.recipients);
    command
}

fn nodemailer(host: &Host, mail: &Mail) -> Command {
    let mut command = host.command("node");
    // Where Debian keeps what it packages.
    command.env("NODE_PATH", "/usr/share/nodejs").args(["-e", include_str!("senders/send.js"), "--", "-"]);
    command.args([HERE, mail.port(), yes(mail.tls()), &mail.crlf()]).args(&mail.recipients);
    command
}

fn msmtp(host: &Host, mail: &Mail) -> Command {
    let mut command = host.command("sh");
    command.args(["-c", "exec msmtp \"$@\" < \"$0\"", &mail.file]);
    command.args(["-C", "/dev/null", &format!("--host={HERE}"), &format!("--port={}", mail.port())]);
    command.args([
        "--domain=road.test",
        "--from=s@road.test",
        &format!("--tls={}", if mail.tls() { "on" } else { "off" }),
    ]);
    command.arg("--tls-certcheck=off").args(&mail.recipients);
    command
}

/// The sender decides about the way: see [`on_the_road`].
fn postfix(host: &Host, mail: &Mail) -> Command {
    let mut command = host.command("sh");
    command.args(["-c", "exec sendmail -C /etc/postfix-road -i \"$@\" < \"$0\"", &mail.file, "-f", mail.from()]);
    command.args(&mail.recipients);
    command
}

fn exim(host: &Host, mail: &Mail) -> Command {
    Road::command(host, Peer::Exim, mail.from(), &mail.file, &mail.recipients)
}

fn opensmtpd(host: &Host, mail: &Mail) -> Command {
    Road::command(host, Peer::OpenSmtpd, mail.from(), &mail.file, &mail.recipients)
}

fn sendmail(host: &Host, mail: &Mail) -> Command {
    Road::command(host, Peer::Sendmail, mail.from(), &mail.file, &mail.recipients)
}

/// Gives the sending Postfix what these mails need: room, and a way without TLS for one of its users. The daemons that
/// care start with the first mail.
fn on_the_road(host: &Host) {
    let file = "/etc/postfix-road/main.cf";
    let ways = format!(
        "default_transport = smtp:[{HERE}]:25\nmessage_size_limit = 100000000\n\
         sender_dependent_default_transport_maps = inline:{{ {{{} = relay:[{HERE}]:2525}} }}\n",
        Road::PLAIN
    );
    let text = host.read(file);
    let others: String = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("relayhost") && !line.starts_with("default_transport"))
        .collect();
    host.write(file, &(others + &ways));
}

fn config() -> String {
    format!(
        "hostname = \"{HOSTNAME}\"\nusers = 72000\n[[listen]]\naddress = \"{HERE}:25\"\n[[listen]]\n\
         address = \"{HERE}:2525\"\ntls = \"off\"\n[tls]\ncertificate = \"{CERTIFICATE}\"\nkey = \"{KEY}\"\n\
         [relay]\ndomains = [\"ok.test\"]\n[backend]\nprofile = \"postfix\"\nconnect = \"unix:{}\"\n",
        Postfix::SOCKET
    )
}

/// Sends one mail and finds it in the mailbox of each recipient, once.
fn deliver(host: &Host, backend: &Postfix<'_>, (sender, _, command): &Row, kind: Kind) -> Result<(), String> {
    let mail = Mail::new(host, sender, kind);
    let ended = run_within(&mut command(host, &mail), Duration::from_secs(100));
    if !ended.ok() {
        return Err(format!("{}\n{}", ended.status, ended.said()));
    }
    for to in &mail.recipients {
        let maildir = backend.maildir(to.strip_suffix("@ok.test").unwrap());
        let found = poll(SOON, &mut || Some(maildir.messages()).filter(|messages| !messages.is_empty()));
        let messages = found.ok_or_else(|| format!("nothing for {to}: {}", ended.said()))?;
        if messages.len() != 1 {
            return Err(format!("{to} has {} of it", messages.len()));
        }
        let with = match (kind, mail.tls()) {
            (Utf8, _) => "with UTF8SMTP",
            (_, true) => "with ESMTPS",
            (_, false) => "with ESMTP ",
        };
        let head = String::from_utf8_lossy(&messages[0][..messages[0].len().min(2000)]).into_owned();
        let ours: Vec<&str> = head.split("Received: ").filter(|field| field.contains("by mx.ok.test")).collect();
        if ours.len() != 1 || !ours[0].contains(with) {
            return Err(format!("{with:?} is missing in {head}"));
        }
        // Some end the text with one line end more.
        let trimmed = |text: &[u8]| text.trim_ascii_end().to_vec();
        if !trimmed(&messages[0]).ends_with(&trimmed(&mail.text)) {
            return Err(format!("what {to} has is not what was sent:\n{head}"));
        }
    }
    Ok(())
}

#[test]
fn every_real_sender_gets_through_in_every_way_it_knows() {
    let name = "every_real_sender_gets_through_in_every_way_it_knows";
    let needs = ["postfix", "swaks", "curl", "python3", "msmtp", "node", "openssl"];
    let Some(host) = host::for_test(name, &needs) else { return };
    if ![Peer::Exim, Peer::OpenSmtpd, Peer::Sendmail].into_iter().all(|peer| peer.is_there(name)) {
        return;
    }
    let addresses = SENDERS.iter().flat_map(|row| kinds(row).into_iter().flat_map(|kind| recipients(row.0, kind)));
    let mailboxes: String = addresses.map(|to| format!("{to} {}/\n", to.replace("@ok.test", ""))).collect();
    host.write("/etc/postfix/mailboxes", &mailboxes);
    let more = "virtual_mailbox_maps = texthash:/etc/postfix/mailboxes\n\
                message_size_limit = 100000000\nvirtual_mailbox_limit = 0\n";
    let backend = Postfix::start_with(&host, more);
    let gate = Gate::start(&host, &config());
    let sender = Sender::start(&host, &format!("[{HERE}]:25"), "may");
    on_the_road(&host);
    let road = Road::start(&host);
    let mut complaints = Vec::new();
    std::thread::scope(|scope| {
        let (host, backend) = (&host, &backend);
        let each = |row: &'static Row| {
            move || -> Vec<String> {
                let of = |kind: Kind| {
                    deliver(host, backend, row, kind).err().map(|why| format!("{} {kind:?}: {why}", row.0))
                };
                kinds(row).into_iter().filter_map(of).collect()
            }
        };
        let threads: Vec<_> = SENDERS.iter().map(|row| scope.spawn(each(row))).collect();
        complaints.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
    });
    for row in SENDERS {
        let lacks: String = row.1.iter().map(|(kind, why)| format!("; not {kind:?}: {why}")).collect();
        println!("{}: {} of {} ways{lacks}", row.0, kinds(row).len(), Kind::ALL.len());
    }
    let logs = format!("the sending Postfix:\n{}\nExim and OpenSMTPD:\n{}", sender.log(), road.log());
    assert!(complaints.is_empty(), "{}\n{logs}", complaints.join("\n"));
    gate.stop();
}
