//! SMTP servers of others, as Debian packages them, on a throw-away host. The same table of dialogues is spoken to them as to
//! ours, which shows that the table is right.
//!
//! Only one of them can be installed on a machine. Postfix is; the others lie unpacked in `target/peers/NAME`, where
//! `.ci/run` puts them, and run from there.

use crate::dialogue::Row;
use crate::host::{AWAY, HERE, Host, skipped, source_tree};
use crate::mta::Postfix;
use crate::run::Process;
use crate::wait::{SOON, holds};
use std::fmt::Write as _;
use std::path::PathBuf;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Peer {
    Postfix,
    Exim,
    OpenSmtpd,
    Sendmail,
}

/// Local parts of [`crate::mta::DOMAIN`] that it knows.
const USERS: [&str; 6] = ["u", "v", "a", "b", "c", "postmaster"];
/// Users that their daemons become, numbered from [`FIRST_ID`].
const DAEMONS: [&str; 5] = ["Debian-exim", "opensmtpd", "opensmtpq", "smmta", "smmsp"];
pub(crate) const FIRST_ID: u32 = 5100;

impl Peer {
    /// All of them.
    pub const ALL: [Peer; 4] = [Peer::Postfix, Peer::Exim, Peer::OpenSmtpd, Peer::Sendmail];

    /// Its name in tables, and of its directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Peer::Postfix => "postfix",
            Peer::Exim => "exim",
            Peer::OpenSmtpd => "opensmtpd",
            Peer::Sendmail => "sendmail",
        }
    }

    /// The extension that it lacks and `row` needs.
    #[must_use]
    pub fn lacks(self, row: &Row) -> Option<&'static str> {
        let text = row.text.to_ascii_uppercase();
        let needs = |extension: &str| match extension {
            "CHUNKING" => row.prelude == "bdat" || text.contains("BDAT "),
            "SMTPUTF8" => text.contains("SMTPUTF8"),
            "TLS" => row.prelude == "tls" || text.contains("STARTTLS / "),
            _ => types_ahead(row),
        };
        let lacking: &[&str] = match self {
            Peer::Postfix => &[],
            Peer::Exim => &[],
            // Why it has no TLS although it offers STARTTLS: see the head of the table of differences.
            Peer::OpenSmtpd => &["CHUNKING", "SMTPUTF8", "PIPELINING", "TLS"],
            Peer::Sendmail => &["CHUNKING", "SMTPUTF8"],
        };
        lacking.iter().copied().find(|extension| needs(extension))
    }

    /// True when it is there; otherwise standard error says so, and in CI it is a failure.
    ///
    /// # Panics
    /// In CI, when it is not there.
    #[must_use]
    pub fn is_there(self, test: &str) -> bool {
        let there = self == Peer::Postfix || self.directory().join("usr").is_dir();
        if !there {
            skipped(test, &format!("{} is missing", self.directory().display()));
        }
        there
    }

    fn directory(self) -> PathBuf {
        source_tree().join("target/peers").join(self.name())
    }

    /// Where its files are, seen from a host that has them mounted.
    pub(crate) fn place(self) -> String {
        format!("/run/peer/{}", self.name())
    }

    /// Puts its files where it can run from.
    pub(crate) fn mount(self, host: &Host) {
        let place = self.place();
        let bind = format!("mkdir -p {place} && mount --bind {} {place}", self.directory().display());
        host.shell(&bind).expect_ok("mount");
        if self == Peer::OpenSmtpd {
            // It looks for its own helpers there.
            let lower = format!("lowerdir={place}/usr/libexec:/usr/libexec");
            host.shell(&format!("mount -t overlay overlay -o {lower} /usr/libexec")).expect_ok("mount");
        }
    }

    /// Starts it on port 25 of [`HERE`], with STARTTLS. It takes mail for the domain, 10 000 octets a message, and knows
    /// the users of the dialogues; nothing leaves it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(self, host: &Host) -> Option<Process> {
        accounts(host);
        // Some treat a client without a name worse.
        host.write("/etc/hosts", &format!("127.0.0.1 localhost\n{AWAY} client.test\n{HERE} mx.ok.test\n"));
        let pair = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=mx.ok.test \
                    -keyout /etc/peer.key -out /etc/peer.pem && chmod 600 /etc/peer.key";
        host.shell(pair).expect_ok("openssl req");
        if self != Peer::Postfix {
            self.mount(host);
        }
        let process = match self {
            Peer::Postfix => postfix(host),
            Peer::Exim => Some(exim(
                host,
                &format!(
                    "local_interfaces = {HERE}\ndaemon_smtp_ports = 25\ntls_advertise_hosts = *\ntls_certificate = /etc/peer.pem\ntls_privatekey = /etc/peer.key\n"
                ),
            )),
            Peer::OpenSmtpd => Some(opensmtpd(
                host,
                &format!(
                    "pki mine cert \"/etc/peer.pem\"\npki mine key \"/etc/peer.key\"\nlisten on {HERE} port 25 tls pki mine hostname mx.ok.test\n"
                ),
            )),
            Peer::Sendmail => Some(sendmail(
                host,
                &format!(
                    "define(`confSERVER_CERT', `/etc/peer.pem')dnl\ndefine(`confSERVER_KEY', `/etc/peer.key')dnl\ndefine(`confCACERT', `/etc/peer.pem')dnl\n\
                 define(`confCACERT_PATH', `/etc')dnl\nDAEMON_OPTIONS(`Addr={HERE}, Port=25, Name=MTA')dnl\n"
                ),
            )),
        };
        holds(&format!("{} to listen", self.name()), SOON, || host.listens(&format!("{HERE}:25")));
        process
    }

    /// As [`Peer::start`], but it listens where these `lines` of its configuration say; None where none are written for it.
    pub fn start_with(self, host: &Host, lines: &str) -> Option<Process> {
        accounts(host);
        host.write("/etc/hosts", &format!("127.0.0.1 localhost\n{HERE} mx.ok.test\n"));
        self.mount(host);
        match self {
            Peer::Postfix => None,
            Peer::Exim => Some(exim(host, lines)),
            Peer::OpenSmtpd => Some(opensmtpd(host, lines)),
            Peer::Sendmail => Some(sendmail(host, lines)),
        }
    }

    /// How many messages it has taken and keeps: nothing leaves it.
    ///
    /// # Panics
    /// When its queue cannot be looked at.
    #[must_use]
    pub fn queued(self, host: &Host) -> usize {
        let files = match self {
            Peer::Postfix => return 0,
            Peer::Exim => "/var/spool/exim-peer/input -name '*-H'",
            Peer::OpenSmtpd => "/var/spool/smtpd/queue -name message",
            Peer::Sendmail => "/var/spool/mqueue -name 'qf*'",
        };
        host.shell(&format!("find {files} | wc -l")).expect_ok("find").stdout.trim().parse().unwrap()
    }
}

/// The users that their programs run as, and the users of the dialogues.
pub(crate) fn accounts(host: &Host) {
    let mut accounts = host.read("/etc/passwd");
    let mut groups = host.read("/etc/group");
    for (number, name) in DAEMONS.iter().chain(&USERS).enumerate() {
        let id = FIRST_ID + u32::try_from(number).unwrap();
        writeln!(accounts, "{name}:x:{id}:{id}::/:/bin/false").unwrap();
        writeln!(groups, "{name}:x:{id}:").unwrap();
    }
    host.write("/etc/passwd", &accounts);
    host.write("/etc/group", &groups);
}

/// Says one command before the one before it has been answered.
fn types_ahead(row: &Row) -> bool {
    let mut content = row.prelude == "data";
    row.steps.iter().any(|step| {
        let end = if content { b"\r\n.\r\n".as_slice() } else { b"\r\n" };
        let starts_with_end = content && step.starts_with(b".\r\n");
        let first = step.windows(end.len()).position(|window| window == end).map(|at| at + end.len());
        let ends = if starts_with_end { Some(3) } else { first };
        content = !content && step.eq_ignore_ascii_case(b"DATA\r\n");
        ends.is_some_and(|ends| ends < step.len())
    })
}

/// A server that ends with its host.
fn postfix(host: &Host) -> Option<Process> {
    let mut aliases = String::new();
    for user in USERS {
        write!(aliases, " {{ {user}@ok.test = alice@ok.test }}").unwrap();
    }
    let more = format!(
        "virtual_alias_maps = inline:{{{aliases} }}
message_size_limit = 10000
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/peer.pem
smtpd_tls_key_file = /etc/peer.key
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no"
    );
    let _ = Postfix::start_with(host, &more);
    let master = host.read("/etc/postfix/master.cf");
    // As strict as it can be configured: behind a front end no leniency is needed.
    let strict = "smtpd_forbid_bare_newline=reject -o smtpd_forbid_bare_newline_exclusions=";
    host.write("/etc/postfix/master.cf", &format!("{HERE}:25 inet n - n - - smtpd -o {strict}\n{master}"));
    host.shell("postfix reload").expect_ok("postfix reload");
    None
}

fn exim(host: &Host, lines: &str) -> Process {
    let place = Peer::Exim.place();
    host.directory("/var/spool/exim-peer", FIRST_ID, 0o755);
    let config = format!(
        "primary_hostname = mx.ok.test
exim_path = {place}/usr/sbin/exim4
keep_environment =
spool_directory = /var/spool/exim-peer
log_file_path = /var/spool/exim-peer/%slog
pid_file_path = /var/spool/exim-peer/pid
{lines}host_lookup =
queue_only
message_size_limit = 10000
smtp_enforce_sync = false
dsn_advertise_hosts = *
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny domains = ok.test
       local_parts = ^no
  deny local_parts = ^.*[@%!/|] : ^\\\\.
  accept domains = ok.test
  accept local_parts = postmaster
         domains = mx.ok.test
  deny message = Relay not permitted
"
    );
    host.write("/etc/exim-peer.conf", &config);
    // It reads its key, where there is one, as its own user.
    host.shell("chmod -f 644 /etc/peer.key; true").expect_ok("chmod");
    host.start("exim", host.command(format!("{place}/usr/sbin/exim4")).args(["-C", "/etc/exim-peer.conf", "-bdf"]))
}

fn opensmtpd(host: &Host, lines: &str) -> Process {
    let config = format!(
        "smtp max-message-size \"10000\"
{lines}action \"keep\" relay host smtp://127.0.0.1:1
match from any for rcpt-to regex \"^no\" reject
match from any for domain {{ \"ok.test\", \"mx.ok.test\" }} action \"keep\"
"
    );
    host.write_with("/etc/smtpd.conf", &config, 0o600);
    host.directory("/var/spool/smtpd", 0, 0o711);
    host.directory("/var/lib/opensmtpd/empty", 0, 0o755);
    let program = format!("{}/usr/sbin/smtpd", Peer::OpenSmtpd.place());
    host.start("opensmtpd", host.command(program).args(["-d", "-f", "/etc/smtpd.conf"]))
}

fn sendmail(host: &Host, lines: &str) -> Process {
    let config = format!(
        "OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `mx.ok.test')dnl
define(`confPID_FILE', `/run/sendmail.pid')dnl
define(`QUEUE_DIR', `/var/spool/mqueue')dnl
define(`STATUS_FILE', `/run/sendmail.st')dnl
define(`ALIAS_FILE', `/etc/mail/aliases')dnl
define(`confDELIVERY_MODE', `queueonly')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confMAX_MESSAGE_SIZE', `10000')dnl
define(`confTO_IDENT', `0')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
{lines}MAILER(local)dnl
MAILER(smtp)dnl
LOCAL_CONFIG
Cwok.test
"
    );
    host.write("/etc/mail/peer.mc", &config);
    host.write("/etc/mail/aliases", "");
    host.directory("/var/spool/mqueue", 0, 0o700);
    compile(host, "/etc/mail/peer");
    host.start("sendmail", host.command(sendmail_program()).args(["-C", "/etc/mail/peer.cf", "-bD"]))
}

/// Where Sendmail itself is, seen from a host that has it mounted.
pub(crate) fn sendmail_program() -> String {
    format!("{}/usr/libexec/sendmail/sendmail", Peer::Sendmail.place())
}

/// Makes `NAME.cf` of `NAME.mc`.
pub(crate) fn compile(host: &Host, name: &str) {
    let macros = format!("{}/usr/share/sendmail/cf", Peer::Sendmail.place());
    host.shell(&format!("m4 -D_CF_DIR_={macros}/ {macros}/m4/cf.m4 {name}.mc > {name}.cf")).expect_ok("m4");
}
