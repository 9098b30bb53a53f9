//! One message, one program: in a process of its own.

use crate::job::Job;
use gatepost_program::{Inherited, Patience, QueueProgram, Says, Surroundings, Verdict};
use gatepost_qmail::environment::Environment;
use gatepost_qmail::program::Ended;
use gatepost_qmail::queue::{self, CustomText};
use gatepost_role::RoleError;
use gatepost_smtp::envelope::Class;
use gatepost_wire::queue::{Done, End};
use gatepost_wire::slice::QueueSlice;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};

/// Octets of content at a time: all that is held of it.
const PIECE: usize = 64 * 1024;

/// What each message's program is run with.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) program: CString,
    pub(crate) home: CString,
    pub(crate) limits: Inherited,
}

impl Programs {
    /// As the slice says.
    ///
    /// # Errors
    /// A path with a NUL, or limits that cannot be read.
    pub(crate) fn new(slice: &QueueSlice) -> Result<Self, RoleError> {
        let string = |text: &str| CString::new(text).map_err(RoleError::given("path of the queue program"));
        let limits = Inherited::read().map_err(RoleError::system("read limits"))?;
        Ok(Self { program: string(&slice.program)?, home: string(&slice.home)?, limits })
    }

    /// Gives a message to the program and waits for what becomes of it. What it says on its descriptor 2 is for the log.
    pub(crate) fn run(&self, job: &Job, content: File) -> Done {
        let says = match Says::new() {
            Ok(says) => says,
            Err(e) => {
                tell_not_run(&self.program, &e);
                return Done { ticket: job.ticket, class: Class::Temporary, end: End::NotRun, pid: 0 };
            }
        };
        let done = self.run_with(job, content, &says);
        for line in says.lines() {
            tracing::warn!("queue program {} says: {line}", self.program.to_string_lossy());
        }
        done
    }

    fn run_with(&self, job: &Job, content: File, says: &Says) -> Done {
        let env = environment(job);
        let stderr = Some(says.stderr());
        let around = Surroundings { env: &env, directory: &self.home, limits: &self.limits, stderr };
        let started = start(&self.program, &around);
        let Some(mut program) = started else {
            return Done { ticket: job.ticket, class: Class::Temporary, end: End::NotRun, pid: 0 };
        };
        if !feed(&mut program, content) {
            program.abandon();
            return Done { ticket: job.ticket, class: Class::Temporary, end: End::Unknown, pid: 0 };
        }
        let finished = program.commit(job.envelope.records());
        let text = CustomText { fd4: &finished.text4, fd6: &finished.text6 };
        let pid = u32::try_from(finished.pid).unwrap_or_default();
        let (end, ended) = match finished.verdict {
            Verdict::Accepted => (End::Exit(0), Ended::Exited(0)),
            Verdict::Exit(status) => (End::Exit(status), Ended::Exited(status)),
            Verdict::Crashed(signal) => (End::Signal(signal), Ended::Killed(signal.into())),
            Verdict::Lost => (End::Unknown, Ended::Lost),
            Verdict::NotExecuted(e) => {
                tell_not_run(&self.program, &e);
                (End::NotRun, Ended::NOT_EXECUTED)
            }
            Verdict::Late => (End::Late, Ended::Lost),
        };
        let reply = queue::verdict(ended, true, text, 0, pid);
        let class = match reply.line().as_bytes().first() {
            Some(b'2') => Class::Accepted,
            Some(b'5') => Class::Permanent,
            _ => Class::Temporary,
        };
        Done { ticket: job.ticket, class, end, pid }
    }
}

fn tell_not_run(program: &CStr, why: &io::Error) {
    tracing::error!("cannot run {}: {why}; messages are refused with 451 until it can", program.to_string_lossy());
}

fn start(program: &CStr, around: &Surroundings<'_>) -> Option<QueueProgram> {
    QueueProgram::start(program, around, Patience::default()).inspect_err(|e| tell_not_run(program, e)).ok()
}

/// Gives all of the content. False: it could not be read back, so that the message must not be queued.
fn feed(program: &mut QueueProgram, mut content: File) -> bool {
    let mut piece = vec![0; PIECE].into_boxed_slice();
    loop {
        match content.read(&mut piece) {
            Ok(0) => return true,
            Ok(length) => program.write_message(piece.get(..length).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                tracing::error!("content file: {e}");
                return false;
            }
        }
    }
}

/// What a UCSPI server says of the client, and nothing else (P11): all of it from addresses that the kernel gave.
fn environment(job: &Job) -> Vec<CString> {
    let mut environment = Environment::default();
    environment.complete(Some(job.local), Some(job.client));
    let pairs = environment.iter().map(|(name, value)| [name, b"=", value].concat());
    pairs.filter_map(|pair| CString::new(pair).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Incoming;
    use gatepost_wire::queue::Submit;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_a_queue_program_leaves_behind_has_no_descriptor_of_ours() {
        let ours = std::fs::read_link("/proc/self/fd/2").unwrap();
        let directory = std::env::temp_dir().join(format!("gatepost-queue-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("queue");
        // It says more than a pipe takes, and waits for nobody who reads.
        let script = format!(
            "#!/bin/sh\ncat >/dev/null; cat <&1 >/dev/null\nhead -c 200000 /dev/zero >&2 2>/dev/null\nsleep 600 &\n\
             for n in 0 1 2; do all=\"$all $(readlink /proc/$!/fd/$n)\"; done\nkill $!\n\
             case $all in *'{}'*) exit 31; esac\n",
            ours.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let slice = QueueSlice { program: text(&path), home: text(&directory), at_once: 1, real_uid: 0 };
        let (client, local) = ("192.0.2.9:4713".parse().unwrap(), "203.0.113.1:25".parse().unwrap());
        let mut incoming = Incoming::default();
        incoming.hear(Submit::Begin { ticket: 7, client, local, sender: b"a@b" }).unwrap();
        incoming.hear(Submit::Recipient(b"c@d")).unwrap();
        let job = incoming.hear(Submit::Commit).unwrap().unwrap();
        let done = Programs::new(&slice).unwrap().run(&job, File::open("/dev/null").unwrap());
        assert_eq!((done.class, done.end), (Class::Accepted, End::Exit(0)));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
