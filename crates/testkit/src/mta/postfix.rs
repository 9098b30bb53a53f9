//! Postfix, as a backend and as a sender.

use super::{DOMAIN, MAILBOX_OWNER, MAILBOXES};
use crate::host::{AWAY, Host};
use crate::maildir::Maildir;
use crate::run::run;
use crate::wait;
use std::fmt::Write as _;
use std::time::Duration;

/// A running Postfix that takes mail on a unix socket and on loopback TCP, from a front end that says by XCLIENT who
/// the client is, and delivers it to Maildirs.
#[derive(Debug)]
pub struct Postfix<'h> {
    host: &'h Host,
}

/// The services that both instances need; the last column is the program.
const SERVICES: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
pickup unix n - n 60 1 pickup
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

/// What makes a Postfix service a safe backend: it believes whoever may open it about the client, relays for nobody,
/// takes nothing but CRLF for a line end, and does not count the front end as one busy client.
const BEHIND_A_FRONT_END: &str = "  -o syslog_name=postfix/gatepost
  -o mynetworks=
  -o smtpd_forbid_bare_newline=reject
  -o smtpd_forbid_bare_newline_exclusions=
  -o smtpd_relay_restrictions=reject_unauth_destination
  -o smtpd_client_connection_count_limit=0
  -o smtpd_client_connection_rate_limit=0
  -o smtpd_peername_lookup=no
  -o smtpd_discard_ehlo_keywords=etrn,starttls,silent-discard
";

impl<'h> Postfix<'h> {
    /// The front end's socket on the host.
    pub const SOCKET: &'static str = "/var/spool/postfix/public/gatepost";
    /// The front end's TCP address on the host.
    pub const ADDRESS: &'static str = "127.0.0.1:10025";
    const LOG: &'static str = "/var/log/postfix.log";

    /// Configures and starts it.
    ///
    /// # Panics
    /// When Postfix does not come up.
    #[must_use]
    pub fn start(host: &'h Host) -> Postfix<'h> {
        Self::start_with(host, "")
    }

    /// As [`Postfix::start`] with more lines for main.cf.
    ///
    /// # Panics
    /// When Postfix does not come up.
    #[must_use]
    pub fn start_with(host: &'h Host, more: &str) -> Postfix<'h> {
        let mut mailboxes = String::new();
        for name in MAILBOXES {
            write!(mailboxes, " {{ {name}@{DOMAIN} = {name}/ }}").unwrap();
        }
        let main = format!(
            "compatibility_level = 3.6
myhostname = backend.test
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
alias_maps =
alias_database =
local_recipient_maps =
smtpd_banner = $myhostname ESMTP
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_base = /var/vmail
virtual_mailbox_maps = inline:{{{mailboxes} }}
virtual_uid_maps = static:{MAILBOX_OWNER}
virtual_gid_maps = static:{MAILBOX_OWNER}
maillog_file = {}
alternate_config_directories = {}
{more}\n",
            Self::LOG,
            Sender::CONFIG
        );
        let master = format!(
            "gatepost unix n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=static:all
{BEHIND_A_FRONT_END}127.0.0.1:10025 inet n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=127.0.0.1
{BEHIND_A_FRONT_END}{SERVICES}"
        );
        host.write("/etc/postfix/main.cf", &main);
        host.write("/etc/postfix/master.cf", &master);
        host.directory("/var/vmail", MAILBOX_OWNER, 0o755);
        host.shell("postfix start >/run/said/postfix-start 2>&1").expect_ok("postfix start");
        let postfix = Postfix { host };
        wait::holds("Postfix to answer on its socket", wait::SOON, || {
            crate::client::Client::unix(&postfix.socket()).and_then(|mut client| client.try_reply()).is_ok()
        });
        postfix
    }

    /// The front end's socket, as this test can open it.
    #[must_use]
    pub fn socket(&self) -> std::path::PathBuf {
        self.host.path(Self::SOCKET)
    }

    /// The Maildir of one of [`MAILBOXES`].
    #[must_use]
    pub fn maildir(&self, name: &str) -> Maildir {
        Maildir::at(self.host.path(&format!("/var/vmail/{name}")))
    }

    /// All it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.host.read(Self::LOG)
    }

    /// True when no accepted message is still on its way to its mailbox.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let queue = self
            .host
            .shell("find /var/spool/postfix/incoming /var/spool/postfix/active /var/spool/postfix/deferred -type f");
        queue.ok() && queue.stdout.trim().is_empty()
    }
}

/// A second Postfix on the same host that sends by its own smtp client to one relay host, from [`AWAY`].
#[derive(Debug)]
pub struct Sender<'h> {
    host: &'h Host,
}

impl<'h> Sender<'h> {
    const CONFIG: &'static str = "/etc/postfix-road";
    const LOG: &'static str = "/var/log/postfix-road.log";

    /// Configures and starts it; `relay` is `[address]:port`, `tls` one of Postfix's security levels. The backend
    /// ([`Postfix::start`]) must run first when both are on one host: it names the configuration of this one.
    ///
    /// # Panics
    /// When Postfix does not come up.
    #[must_use]
    pub fn start(host: &'h Host, relay: &str, tls: &str) -> Sender<'h> {
        let main = format!(
            "compatibility_level = 3.6
myhostname = road.test
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
alias_maps =
alias_database =
queue_directory = /var/spool/postfix-road
data_directory = /var/lib/postfix-road
relayhost = {relay}
default_transport = smtp
smtp_bind_address = {AWAY}
smtp_tls_security_level = {tls}
smtp_tls_loglevel = 1
smtp_host_lookup = native
smtp_dns_support_level = disabled
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
maillog_file = {}\n",
            Self::LOG
        );
        host.write(&format!("{}/main.cf", Self::CONFIG), &main);
        host.write(&format!("{}/master.cf", Self::CONFIG), SERVICES);
        let line = format!(
            "mkdir -p /var/spool/postfix-road && install -d -o postfix /var/lib/postfix-road && \
             cp /etc/postfix/dynamicmaps.cf {0}/ 2>/dev/null; \
             postfix -c {0} start >/run/said/postfix-road-start 2>&1",
            Self::CONFIG
        );
        host.shell(&line).expect_ok("postfix start, as a sender");
        Sender { host }
    }

    /// Queues a message with that subject, as `sendmail` does.
    ///
    /// # Panics
    /// When it is not queued.
    pub fn send(&self, from: &str, to: &str, subject: &str) {
        let line =
            format!("printf 'Subject: {subject}\\n\\n{subject}\\n' | sendmail -C {} -f {from} {to}", Self::CONFIG);
        run(self.host.command("sh").args(["-c", &line])).expect_ok("sendmail");
    }

    /// All it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.host.read(Self::LOG)
    }

    /// Waits until its log has a line with both words, and returns that.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn logged(&self, word: &str, other: &str) -> String {
        let mut look =
            || self.log().lines().find(|line| line.contains(word) && line.contains(other)).map(str::to_owned);
        // A message that is deferred while its queue is looked through (qmgr: "skipped, still being delivered") waits for longer.
        let found = wait::poll(Duration::from_secs(5), &mut look).or_else(|| {
            run(self.host.command("postqueue").args(["-c", Self::CONFIG, "-f"])).expect_ok("postqueue");
            wait::poll(wait::SOON, &mut look)
        });
        found.unwrap_or_else(|| panic!("no line with {word:?} and {other:?} in the sender's log:\n{}", self.log()))
    }
}

/// What a real sender did tells why its mail did not come in time.
impl Drop for Sender<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the sending Postfix\n{}---", self.log());
        }
    }
}
