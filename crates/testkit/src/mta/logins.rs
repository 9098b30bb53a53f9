//! Dovecot's auth service, without any other of its services.

use crate::host::Host;
use crate::run::Process;
use crate::scram::coded;
use crate::wait;
use std::os::unix::net::UnixStream;

/// A running Dovecot that knows logins and nothing else.
#[derive(Debug)]
pub struct Logins<'h> {
    host: &'h Host,
    process: Process,
}

impl<'h> Logins<'h> {
    /// The auth socket for clients on the host.
    pub const SOCKET: &'static str = "/run/logins/gatepost";
    const LOG: &'static str = "/var/log/dovecot-auth.log";

    /// Configures and starts it, with these lines of a passwd-file (`joe:{PLAIN}secret`) and mechanisms.
    ///
    /// # Panics
    /// When Dovecot does not come up.
    #[must_use]
    pub fn start(host: &'h Host, users: &str, mechanisms: &str) -> Logins<'h> {
        host.write("/etc/dovecot/logins", users);
        Self::with(host, mechanisms, "driver = passwd-file\n  args = /etc/dovecot/logins")
    }

    /// The same for OAuth: it believes [`crate::scram::token`] with this key, and asks no server.
    ///
    /// # Panics
    /// When Dovecot does not come up.
    #[must_use]
    pub fn by_tokens(host: &'h Host, key: &str) -> Logins<'h> {
        let local = "introspection_mode = local\nusername_attribute = sub\n\
                     local_validation_key_dict = fs:posix:prefix=/etc/dovecot/keys/\n";
        host.write("/etc/dovecot/oauth2.conf", local);
        host.write("/etc/dovecot/keys/shared/default/HS256/default", &coded(key));
        host.write("/etc/dovecot/keys/default/HS256/default", &coded(key));
        let passdb = "driver = oauth2\n  mechanisms = oauthbearer xoauth2\n  args = /etc/dovecot/oauth2.conf";
        Self::with(host, "oauthbearer xoauth2", passdb)
    }

    fn with(host: &'h Host, mechanisms: &str, passdb: &str) -> Logins<'h> {
        let config = format!(
            "protocols = none
base_dir = /run/dovecot-auth
log_path = {}
ssl = no
auth_verbose = yes
auth_failure_delay = 1 secs
auth_mechanisms = {mechanisms}
passdb {{
  {passdb}
}}
userdb {{
  driver = static
  args = uid=5000 gid=5000 home=/nonexistent
}}
service auth {{
  unix_listener {} {{
    mode = 0666
  }}
}}
",
            Self::LOG,
            Self::SOCKET
        );
        host.write("/etc/dovecot/auth.conf", &config);
        host.directory("/run/logins", 0, 0o755);
        Logins { host, process: Self::run(host) }
    }

    fn run(host: &Host) -> Process {
        let process = host.start("dovecot", host.command("dovecot").args(["-F", "-c", "/etc/dovecot/auth.conf"]));
        let socket = host.path(Self::SOCKET);
        wait::holds("Dovecot to listen for logins", wait::SOON, || UnixStream::connect(&socket).is_ok());
        process
    }

    /// Ends it. Its auth process may outlive it for a moment, so that its socket is taken away as well.
    ///
    /// # Panics
    /// The socket is gone already.
    pub fn stop(self) {
        drop(self.process);
        std::fs::remove_file(self.host.path(Self::SOCKET)).expect("its socket");
    }

    /// Ends it, and starts it anew: its socket is another one then.
    ///
    /// # Panics
    /// When Dovecot does not come up.
    #[must_use]
    pub fn restart(self) -> Logins<'h> {
        let host = self.host;
        self.stop();
        Logins { host, process: Self::run(host) }
    }

    /// All it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.host.read(Self::LOG)
    }
}
