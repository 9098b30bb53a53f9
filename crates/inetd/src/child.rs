//! The session: forked before anything was read, it waits for its setup, enters its jail and serves.

use gatepost_jail::{Alone, Unmet};
use gatepost_session::{HandoffEnd, NewSession, Shared};
use gatepost_shell::{Ends, KeyholderEnd};
use gatepost_smtp::envelope::CloseReason;
use gatepost_sys::fds;
use gatepost_sys::process::{self, ProcessId};
use gatepost_wire::link::exit_status;
use gatepost_wire::slice::{NurserySlice, SingleSlice, Slice};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// What the session is forked with.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) parent: ProcessId,
    pub(crate) client: Ends,
    pub(crate) handoff: HandoffEnd,
    pub(crate) keyholder: KeyholderEnd,
    /// Its setup comes here; nothing: the parent has said what there was to say.
    pub(crate) setup: PipeReader,
    /// Whether it has begun is told here, and what its jail is without.
    pub(crate) report: PipeWriter,
    /// At its end when gatepost goes down.
    pub(crate) drained: PipeReader,
}

/// The first octet of a report: in the jail, or not.
pub(crate) const BEGUN: u8 = b'+';
const FAILED: u8 = b'-';

/// The forked child from its first moment to its exit status.
pub(crate) fn begin(born: Born) -> u8 {
    gatepost_log::silence();
    process::set_comm(c"gp-session");
    let mut octets = Vec::new();
    let read = (&born.setup).read_to_end(&mut octets);
    if read.is_err() || octets.is_empty() {
        return 0;
    }
    match prepare(&octets) {
        Ok((slice, shared)) => live(born, &slice, &shared),
        Err(why) => failed(&mut &born.report, &why),
    }
}

fn prepare(octets: &[u8]) -> Result<(SingleSlice, Shared), String> {
    let wrong = |e| format!("its setup: {e}");
    let slice = SingleSlice::from_bytes(octets).map_err(wrong)?;
    let nursery = NurserySlice::from_bytes(&slice.setup.slice).map_err(wrong)?;
    let shared = Shared::new(nursery).map_err(|e| format!("certificates: {e}"))?;
    // Whatever ends the process by itself says so nowhere: descriptor 2 may be the client.
    let nothing = File::options().write(true).open("/dev/null").and_then(fds::make_stderr);
    nothing.map_err(|e| format!("/dev/null: {e}"))?;
    Ok((slice, shared))
}

fn live(born: Born, SingleSlice { start, setup }: &SingleSlice, shared: &Shared) -> u8 {
    let Born { parent, client, handoff, keyholder, setup: read, mut report, drained } = born;
    // Whatever is owned beyond the jail must be kept there.
    drop(read);
    let stderr = std::io::stderr();
    let mut keep = vec![handoff.as_fd(), keyholder.as_fd(), report.as_fd(), drained.as_fd(), stderr.as_fd()];
    keep.extend(client.descriptors());
    let alone = Alone {
        parent,
        keep: &keep,
        account: Some((setup.uid, setup.gid)),
        data: setup.data,
        file_size: setup.file_size,
        life: shared.life(),
        landlock: setup.landlock,
    };
    let entered = alone.enter();
    let keyholder = Some(keyholder).filter(|_| start.tls);
    let new = NewSession {
        id: start.id,
        listener: start.listener,
        stress: start.stress,
        pause: Duration::ZERO,
        hidden: start.hidden,
        client,
        handoff,
        keyholder,
        service: start.service,
        auth: None,
    };
    match entered {
        Ok((jailed, unmet)) => {
            let told = report.write_all(&said(BEGUN, &lacking(&unmet)));
            drop(report);
            if told.is_err() {
                return exit_status(CloseReason::Internal, false);
            }
            gatepost_session::serve(jailed, new, drained, shared).status()
        }
        Err(failure) => {
            new.turn_away(shared.hostname());
            failed(&mut report, &failure.to_string())
        }
    }
}

/// What a jail is without: words with commas between, none with a space in it.
pub(crate) fn lacking(unmet: &[Unmet]) -> String {
    unmet.iter().map(|part| part.what.replace(' ', "-")).collect::<Vec<_>>().join(",")
}

fn failed(report: &mut impl Write, why: &str) -> u8 {
    let _ = report.write_all(&said(FAILED, why));
    exit_status(CloseReason::Internal, false)
}

fn said(mark: u8, text: &str) -> Vec<u8> {
    [&[mark], text.as_bytes()].concat()
}
