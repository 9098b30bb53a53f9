//! Dovecot's LMTP service.

use super::{DOMAIN, MAILBOX_OWNER, MAILBOXES};
use crate::client::Client;
use crate::host::Host;
use crate::maildir::Maildir;
use crate::run::Process;
use crate::wait;
use std::fmt::Write as _;

/// A running Dovecot that takes mail by LMTP on a unix socket and on loopback TCP and delivers it to Maildirs.
#[derive(Debug)]
pub struct Dovecot<'h> {
    host: &'h Host,
    _process: Process,
}

impl<'h> Dovecot<'h> {
    /// The LMTP socket on the host.
    pub const SOCKET: &'static str = "/run/lmtp/gatepost";
    /// The LMTP address on the host; clients of it may say XCLIENT.
    pub const ADDRESS: &'static str = "127.0.0.1:2424";
    const LOG: &'static str = "/var/log/dovecot.log";

    /// Configures and starts it.
    ///
    /// # Panics
    /// When Dovecot does not come up.
    #[must_use]
    pub fn start(host: &'h Host) -> Dovecot<'h> {
        Self::start_with(host, "ssl = no")
    }

    /// As [`Dovecot::start`] with more lines for its configuration, one about `ssl` among them.
    ///
    /// # Panics
    /// When Dovecot does not come up.
    #[must_use]
    pub fn start_with(host: &'h Host, more: &str) -> Dovecot<'h> {
        let listener = "service lmtp {\n  inet_listener lmtp {\n    address = 127.0.0.1\n    port = 2424\n  }\n}\n\
                        login_trusted_networks = 127.0.0.0/8\n";
        Self::start_on(host, &format!("{listener}{more}"))
    }

    /// As [`Dovecot::start_with`], but it listens by TCP, and believes, as these lines say.
    ///
    /// # Panics
    /// When Dovecot does not come up.
    #[must_use]
    pub fn start_on(host: &'h Host, more: &str) -> Dovecot<'h> {
        let config = format!(
            "protocols = lmtp
base_dir = /run/dovecot-lmtp
log_path = {}
auth_verbose = yes
hostname = backend.test
mail_location = maildir:/var/vmail-lmtp/%n
mail_uid = {MAILBOX_OWNER}
mail_gid = {MAILBOX_OWNER}
first_valid_uid = {MAILBOX_OWNER}
passdb {{
  driver = static
  args = nopassword=yes
}}
userdb {{
  driver = passwd-file
  args = /etc/dovecot/mailboxes
}}
service lmtp {{
  unix_listener {} {{
    mode = 0666
  }}
}}
{more}\n",
            Self::LOG,
            Self::SOCKET
        );
        let mut users = String::new();
        for name in MAILBOXES {
            writeln!(users, "{name}@{DOMAIN}:::::/var/vmail-lmtp/{name}::").unwrap();
        }
        host.write("/etc/dovecot/gatepost.conf", &config);
        host.write("/etc/dovecot/mailboxes", &users);
        host.directory("/var/vmail-lmtp", MAILBOX_OWNER, 0o755);
        host.directory("/run/lmtp", 0, 0o755);
        let process = host.start("dovecot", host.command("dovecot").args(["-F", "-c", "/etc/dovecot/gatepost.conf"]));
        let dovecot = Dovecot { host, _process: process };
        wait::holds("Dovecot to answer on its socket", wait::SOON, || {
            Client::unix(&dovecot.socket()).and_then(|mut client| client.try_reply()).is_ok()
        });
        dovecot
    }

    /// The LMTP socket, as this test can open it.
    #[must_use]
    pub fn socket(&self) -> std::path::PathBuf {
        self.host.path(Self::SOCKET)
    }

    /// The Maildir of one of [`MAILBOXES`].
    #[must_use]
    pub fn maildir(&self, name: &str) -> Maildir {
        Maildir::at(self.host.path(&format!("/var/vmail-lmtp/{name}")))
    }

    /// All it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.host.read(Self::LOG)
    }
}
