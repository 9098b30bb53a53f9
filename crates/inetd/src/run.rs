//! From the start to the fork, and the end.

use crate::child::{self, Born};
use crate::error::InetdError;
use crate::parent::{self, Parent};
use crate::peer::Peer;
use gatepost_qmail::environment::Environment;
use gatepost_session::HandoffEnd;
use gatepost_shell::{Client, Ends, KeyholderEnd, last_reply};
use gatepost_smtp::replies::{self, Reply};
use gatepost_sys::process::{self, Fork, ProcessId};
use gatepost_sys::{fds, net};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// How lines on standard error begin.
const WHO: &str = "inetd";

/// Descriptors below this are those that the superserver gives.
const FIRST_OTHER: u32 = 3;

/// Serves the one connection on descriptors 0 and 1 by the configuration at `path`. Exit status: 0 when the session has ended,
/// however it did; 1 when there was none, for a reason that the log has.
#[must_use]
pub fn run(path: &Path) -> u8 {
    // What else the superserver has left open is nothing to us.
    let Ok(mut client) = fds::close_from(FIRST_OTHER).and_then(|()| Client::take()) else { return 1 };
    begin_log(&client);
    match fork(&client) {
        Ok(Forked::Session(born)) => process::exit(child::begin(*born)),
        Ok(Forked::Parent(parent)) => attend(*parent, client, path),
        Err(e) => {
            tracing::error!("{e}");
            last_reply(&mut client.output, refusal(None).as_bytes());
            1
        }
    }
}

/// Standard error is the log, unless it is the client.
fn begin_log(client: &Client) {
    if client.hears_stderr {
        gatepost_log::begin_syslog();
        // Whatever ends this process by itself says so to nobody; and the connection ends with the session.
        let _ = File::options().write(true).open("/dev/null").and_then(fds::make_stderr);
    } else {
        gatepost_log::begin(WHO);
    }
}

/// Which side of the fork this is, with what it has.
enum Forked {
    Session(Box<Born>),
    Parent(Box<Parent>),
}

fn fork(client: &Client) -> Result<Forked, InetdError> {
    let made = || {
        let (handoff, handoff_peer) = HandoffEnd::pair()?;
        let (keyholder, keyholder_peer) = KeyholderEnd::pair()?;
        let (setup, report, drain) = (io::pipe()?, io::pipe()?, io::pipe()?);
        let ends = (client.input.as_fd().try_clone_to_owned()?, client.output.as_fd().try_clone_to_owned()?);
        Ok((handoff, handoff_peer, keyholder, keyholder_peer, setup, report, drain, ends))
    };
    let parts = made().map_err(InetdError::system("make channels"))?;
    let (handoff, handoff_peer, keyholder, keyholder_peer, setup, report, drain, ends) = parts;
    let pipes: [(PipeReader, PipeWriter); 3] = [setup, report, drain];
    let [(setup, setup_peer), (report_peer, report), (drained, drain)] = pipes;
    let parent = ProcessId::try_from(std::process::id()).unwrap_or_default();
    match process::fork().map_err(InetdError::system("fork the session"))? {
        Fork::Child => {
            // Or their ends would never be seen.
            drop((handoff_peer, keyholder_peer, setup_peer, report_peer, drain));
            let client = Ends::new(ends.0, ends.1);
            Ok(Forked::Session(Box::new(Born { parent, client, handoff, keyholder, setup, report, drained })))
        }
        Fork::Parent(session) => Ok(Forked::Parent(Box::new(Parent {
            session,
            handoff: handoff_peer,
            keyholder: keyholder_peer,
            setup: setup_peer,
            report: report_peer,
            drain,
        }))),
    }
}

/// The parent's part: until the session has begun it is the one that speaks to the client.
fn attend(parent: Parent, client: Client, path: &Path) -> u8 {
    let variables = std::env::vars_os().map(|(name, value)| (name.into_vec(), value.into_vec()));
    let environment: Environment = variables.collect();
    let peer = Peer::of(net::connection(client.input.as_fd()), &environment);
    let Client { input, mut output, .. } = client;
    drop(input);
    let prepared = peer.ok_or(InetdError::Unknown).and_then(|peer| parent::Terms::read(path, peer));
    let (line, begun) = match prepared {
        Ok(terms) => (terms.is_in_clear().then(|| refusal(Some(terms.hostname()))), parent.begin(terms)),
        Err(InetdError::Denied { ip, reply }) => (reply.clone(), Err(InetdError::Denied { ip, reply })),
        Err(e) => (Some(refusal(None)), Err(e)),
    };
    match begun {
        Ok(begun) => {
            // The connection ends with the session.
            drop(output);
            begun.serve()
        }
        Err(e) => {
            e.lines().for_each(|line| tracing::error!("{line}"));
            // A session that has failed has told its client itself.
            if let Some(line) = line.filter(|_| !matches!(e, InetdError::Session(_))) {
                last_reply(&mut output, line.as_bytes());
            }
            1
        }
    }
}

/// What a client hears that is not served.
fn refusal(hostname: Option<&str>) -> String {
    let Reply { code, enhanced, text } = replies::FAILED;
    let hostname = hostname.map(|name| format!("{name} ")).unwrap_or_default();
    format!("{code} {enhanced} {hostname}{text}\r\n")
}
