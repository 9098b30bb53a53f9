//! Postfix's smtp-sink: a backend that takes anything and counts.

use crate::host::Host;
use crate::maildir::Maildir;
use crate::run::Process;
use crate::wait;

/// A running smtp-sink. It takes mail for any domain, so it needs `relay_proof = false` in front of it.
#[derive(Debug)]
pub struct Sink<'h> {
    host: &'h Host,
    _process: Process,
}

impl<'h> Sink<'h> {
    /// Where it listens on the host.
    pub const ADDRESS: &'static str = "127.0.0.1:2526";
    const DIRECTORY: &'static str = "/tmp/sink";

    /// Starts it.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(host: &'h Host) -> Sink<'h> {
        host.directory("/tmp/sink/new", 0, 0o1777);
        // One file a message, named by time and a random part.
        let dump = format!("{}/new/%s.", Self::DIRECTORY);
        let process = host
            .start("smtp-sink", host.command("smtp-sink").args(["-u", "nobody", "-d", &dump, Self::ADDRESS, "128"]));
        wait::holds("smtp-sink to listen", wait::SOON, || host.listens(Self::ADDRESS));
        Sink { host, _process: process }
    }

    /// The messages it took, as a directory to count.
    #[must_use]
    pub fn maildir(&self) -> Maildir {
        Maildir::at(self.host.path(Self::DIRECTORY))
    }
}
