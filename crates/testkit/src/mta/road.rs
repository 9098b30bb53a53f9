//! Exim, OpenSMTPD and Sendmail as senders: each takes mail as its `sendmail` does and delivers it through its own queue
//! and its own delivery agent, to [`HERE`] and from [`crate::host::AWAY`].

use crate::host::{HERE, Host};
use crate::peer::{FIRST_ID, Peer, accounts, compile, sendmail_program};
use crate::run::Process;
use crate::wait::{SOON, holds};
use std::process::Command;

/// The three of them on one host, where a Postfix may run as well.
#[derive(Debug)]
pub struct Road<'h> {
    host: &'h Host,
    smtpd: Process,
}

impl<'h> Road<'h> {
    /// What this sender sends goes to [`Road::WITHOUT_TLS`]; all else goes to port 25, and only inside TLS.
    pub const PLAIN: &'static str = "plain@road.test";
    /// The port that offers no TLS.
    pub const WITHOUT_TLS: u16 = 2525;
    const EXIM_LOG: &'static str = "/var/spool/exim-road/mainlog";

    /// Configures all three, and starts the one that sends by a daemon.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(host: &'h Host) -> Road<'h> {
        accounts(host);
        for peer in [Peer::Exim, Peer::OpenSmtpd, Peer::Sendmail] {
            peer.mount(host);
        }
        exim(host);
        sendmail(host, "plain", Self::WITHOUT_TLS);
        sendmail(host, "tls", 25);
        let smtpd = opensmtpd(host);
        holds("OpenSMTPD to open its socket", SOON, || host.path("/run/smtpd.sock").exists());
        Road { host, smtpd }
    }

    /// Hands the message in `file` to one of them; Exim and Sendmail deliver it before they end.
    ///
    /// # Panics
    /// For Postfix, whose way is [`super::Sender`].
    #[must_use]
    pub fn command(host: &Host, peer: Peer, from: &str, file: &str, recipients: &[String]) -> Command {
        let mut command = host.command("sh");
        command.args(["-c", "file=$1; shift; exec \"$@\" < \"$file\"", "sh", file]);
        match peer {
            Peer::Exim => {
                command.args([&format!("{}/usr/sbin/exim4", peer.place()), "-C", "/etc/exim-road.conf", "-odf"])
            }
            // It wants to be in the group of the queue, as its set-group-id bit would have it where it is installed.
            Peer::OpenSmtpd => command.args([
                "setpriv",
                "--regid=opensmtpq",
                "--clear-groups",
                &format!("{}/usr/sbin/sendmail", peer.place()),
            ]),
            Peer::Sendmail => {
                let way = if from == Self::PLAIN { "plain" } else { "tls" };
                command.args([&sendmail_program(), "-C", &format!("/etc/mail/{way}.cf"), "-Am", "-v"])
            }
            Peer::Postfix => panic!("Postfix has a sender of its own"),
        };
        command.args(["-i", "-f", from]).args(recipients);
        command
    }

    /// What Exim and OpenSMTPD have logged; Sendmail says it to whom hands a message in.
    #[must_use]
    pub fn log(&self) -> String {
        format!("{}{}", self.host.read(Self::EXIM_LOG), self.smtpd.said())
    }
}

fn exim(host: &Host) {
    host.directory("/var/spool/exim-road", FIRST_ID, 0o755);
    let config = format!(
        "primary_hostname = road.test
exim_path = {}/usr/sbin/exim4
keep_environment =
spool_directory = /var/spool/exim-road
log_file_path = /var/spool/exim-road/%slog
host_lookup =
message_size_limit = 0
begin routers
plain:
  driver = manualroute
  senders = {}
  route_data = {HERE}
  self = send
  transport = plain
tls:
  driver = manualroute
  route_data = {HERE}
  self = send
  transport = tls
begin transports
plain:
  driver = smtp
  port = {}
tls:
  driver = smtp
  hosts_require_tls = *
",
        Peer::Exim.place(),
        Road::PLAIN,
        Road::WITHOUT_TLS
    );
    host.write("/etc/exim-road.conf", &config);
}

fn opensmtpd(host: &Host) -> Process {
    let config = format!(
        "smtp max-message-size \"100M\"
listen on socket
action \"plain\" relay host smtp+notls://{HERE}:{} helo road.test
action \"tls\" relay host smtp+tls://{HERE}:25 helo road.test tls no-verify
match from any mail-from \"{}\" for any action \"plain\"
match from any for any action \"tls\"
",
        Road::WITHOUT_TLS,
        Road::PLAIN
    );
    host.write_with("/etc/smtpd-road.conf", &config, 0o600);
    host.write("/etc/mailname", "road.test\n");
    host.directory("/var/spool/smtpd", 0, 0o711);
    host.directory("/var/lib/opensmtpd/empty", 0, 0o755);
    let program = format!("{}/usr/sbin/smtpd", Peer::OpenSmtpd.place());
    host.start("opensmtpd-road", host.command(program).args(["-d", "-f", "/etc/smtpd-road.conf"]))
}

fn sendmail(host: &Host, way: &str, port: u16) {
    let config = format!(
        "OSTYPE(`linux')dnl
define(`confDOMAIN_NAME', `road.test')dnl
define(`QUEUE_DIR', `/var/spool/mqueue-road')dnl
define(`STATUS_FILE', `/run/sendmail-road.st')dnl
define(`ALIAS_FILE', `/etc/mail/aliases')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/switch')dnl
define(`confDELIVERY_MODE', `interactive')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl
define(`SMART_HOST', `[{HERE}]')dnl
FEATURE(`nocanonify')dnl
MAILER(local)dnl
MAILER(smtp)dnl
"
    );
    host.write(&format!("/etc/mail/{way}.mc"), &config);
    host.write("/etc/mail/aliases", "");
    // No names are looked up but in files: no name server answers on the host.
    host.write("/etc/mail/switch", "hosts files\naliases files\npasswd files\n");
    host.directory("/var/spool/mqueue-road", 0, 0o700);
    compile(host, &format!("/etc/mail/{way}"));
}
