//! Done once in the nursery so that no session does it for itself.
//!
//! What a program does only the first time, a forked process does each time, since the parent never got that far.
//! Asking the processor what it can do is the dear part: in a virtual machine each such question is answered by the
//! hypervisor, and together they took a tenth of a short session.

use crate::shared::Shared;
use gatepost_smtp::envelope::Reason;
use gatepost_smtp::envelope::Verdict;
use gatepost_smtp::server::{Engine, Event, Settings};

/// A session with nobody, in memory only: finds out about the processor, fills what is filled once.
const DIALOGUE: &[u8] = b"EHLO a.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n\
    Subject: a line that is long enough for the searches that take many octets at once\r\n\r\n..\r\n.\r\nQUIT\r\n";

/// Goes through what sessions will go through.
pub(crate) fn up(shared: &Shared) {
    talk();
    if let Some(config) = &shared.tls {
        // The same for the cryptography.
        gatepost_tls::server::rehearse(config);
    }
}

/// One large block, taken and given back: the allocator then puts its small free pieces together here, where it is done
/// once. In a session it would touch, and so copy, every page that holds one.
pub(crate) fn settle() {
    // Without the box the compiler sees through it and leaves both out.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(64 * 1024)));
}

fn talk() {
    let ok = Verdict { code: 250, enhanced: (2, 0, 0), reason: Reason::Ok };
    let mut engine = Engine::new(Settings { recipients: 1, ..Settings::default() });
    engine.greet();
    let mut rest = DIALOGUE;
    loop {
        let (used, event) = engine.read(rest);
        rest = rest.get(used..).unwrap_or_default();
        match event {
            Event::Starved | Event::Close(_) => return,
            Event::Mail | Event::Rcpt | Event::ContentEnd { .. } => engine.answer(&ok),
            _ => engine.sent(engine.output().len()),
        }
    }
}
