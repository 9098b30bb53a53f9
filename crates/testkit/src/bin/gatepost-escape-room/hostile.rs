//! An owned session: it reads one order of its client, makes the attempt, reports the result, and ends.
//!
//! An order is a line `NAME` or `NAME ARGUMENT`, with the name of an attempt in one of the tables. What came of it is a
//! line, too; the test knows which one must come. No line at all: the process did not survive the attempt.

use crate::attempt::{Outcome, OwnedSession};
use crate::{auth, handoff, keyholder, system};
use gatepost_jail::JailedSession;
use gatepost_session::{NewSession, SessionExit, Shared};
use gatepost_smtp::envelope::CloseReason;
use std::fs::File;
use std::io::{self, PipeReader, Write};

/// Index of the `[[listen]]` whose sessions are honest.
const HONEST: u8 = 0;

/// What a session does once it is jailed.
pub(crate) fn life(jailed: JailedSession, new: NewSession, drained: PipeReader, shared: &Shared) -> SessionExit {
    if new.listener == HONEST {
        return gatepost_session::serve(jailed, new, drained, shared);
    }
    let exit = |reason| SessionExit { reason, delivered: false };
    let NewSession { client, handoff, keyholder: Some(keyholder), auth, .. } = new else {
        return exit(CloseReason::Internal);
    };
    let session = OwnedSession {
        client: File::from(client.into_input()),
        handoff: handoff.into_seq(),
        keyholder: keyholder.into_seq(),
        auth: auth.map(|auth| auth.into_seq()),
    };
    match obey(session) {
        Ok(()) => exit(CloseReason::Quit),
        Err(_) => exit(CloseReason::ClientGone),
    }
}

fn obey(mut session: OwnedSession) -> io::Result<()> {
    let mut order = Vec::new();
    while !order.ends_with(b"\n") {
        let mut piece = [0; 4096];
        match session.hear(&mut piece)? {
            0 => break,
            octets => order.extend_from_slice(&piece[..octets]),
        }
    }
    let order = String::from_utf8(order).map_err(|_| io::ErrorKind::InvalidData)?;
    let order = order.trim_end();
    let (name, argument) = order.split_once(": ").unwrap_or((order, ""));
    let tables = [system::ATTEMPTS, handoff::ATTEMPTS, keyholder::ATTEMPTS, auth::ATTEMPTS];
    let outcome = match tables.into_iter().flatten().find(|(known, _)| *known == name) {
        Some((_, attempt)) => attempt(&mut session, argument),
        None => Outcome::Says("no such attempt".to_owned()),
    };
    writeln!(&session.client, "{outcome}\r")
}
