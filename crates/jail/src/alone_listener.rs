//! The jail of tcpserver's listener: it accepts, looks names up and judges, beside the process that was started, which executes the
//! programs. The steps and the proof are those of a session that is alone ([`crate::Alone`]).

use crate::JailError;
use crate::alone::{Alone, Kind, Unsealed};
use crate::enter::JailedSession;
use crate::profile::{ALONE_LISTENER_CALLS, ALONE_NAMES_CALLS};
use crate::step::Unmet;
use gatepost_sys::process::ProcessId;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// RLIMIT_DATA, octets: the runtime, a task for each connection whose name is looked up, and what is known of names.
const DATA: u64 = 64 * 1024 * 1024;
/// Ports that names are asked at: DNS, and RFC 1413.
const NAMES: &[u16] = &[53, 113];

/// tcpserver's listener, right after the fork.
#[derive(Debug, Clone, Copy)]
pub struct AloneListener<'a> {
    /// The process that forked it. The listener ends with it.
    pub parent: ProcessId,
    /// The descriptors that it keeps.
    pub keep: &'a [BorrowedFd<'a>],
    /// Uid and gid to become. Needed when started as root, unused otherwise.
    pub account: (u32, u32),
    /// RLIMIT_NOFILE.
    pub open_files: u64,
    /// Names are looked up, or users asked for: it needs sockets of its own.
    pub looks_up: bool,
}

/// Inside the jail, all but the system call filter. Make the runtime now.
#[derive(Debug)]
pub struct EnteredListener(Unsealed);

/// Proof that this process is jailed.
#[derive(Debug)]
pub struct JailedListener(#[allow(dead_code)] JailedSession);

impl AloneListener<'_> {
    /// Enters the jail and proves it. The calling process must be the forked one and have one thread.
    ///
    /// # Errors
    /// The step that failed, or the proof that did not hold: nobody must be accepted.
    pub fn enter(&self) -> Result<(EnteredListener, Vec<Unmet>), JailError> {
        let alone = Alone {
            parent: self.parent,
            keep: self.keep,
            account: Some(self.account),
            data: DATA,
            file_size: u64::MAX,
            life: Duration::MAX,
            // tcpserver runs wherever the original does; what the kernel lacks is said.
            landlock: false,
        };
        let kind = Kind {
            calls: if self.looks_up { ALONE_NAMES_CALLS } else { ALONE_LISTENER_CALLS },
            open_files: self.open_files,
            processor_time: u64::MAX,
            connect_ports: if self.looks_up { NAMES } else { &[] },
            ends: false,
        };
        let (unsealed, unmet) = alone.enter_as(&kind)?;
        Ok((EnteredListener(unsealed), unmet))
    }
}

impl EnteredListener {
    /// Puts the system call filter in force, which is the last step.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn seal(self) -> Result<JailedListener, JailError> {
        self.0.seal().map(JailedListener)
    }
}
