//! Rules of tcprules, as `[admission]` names them, in memory: the launcher hands them over, and again when there are others.

use gatepost_rules::access::{Access, Permit};
use gatepost_ucspi::cdb::Cdb;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

/// The rules in force. By default everybody may connect, and nothing is different for anybody.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    file: Option<Cdb<Vec<u8>>>,
}

impl Rules {
    /// Takes the file that the launcher hands over.
    ///
    /// # Errors
    /// The memory can't be read.
    pub(crate) fn read(memory: OwnedFd) -> io::Result<Self> {
        Ok(Self { file: Some(Cdb::new(gatepost_role::octets(memory)?)) })
    }

    pub(crate) fn judge(&self, ip: IpAddr) -> Access {
        self.file.as_ref().map_or(Access::Granted(Permit::default()), |file| Access::of(file, ip))
    }
}
