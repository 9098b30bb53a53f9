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
///
/// What lies below that block and is free is then taken for good: it is scattered over pages that are never written again otherwise.
/// From here on nursery and session have what they take from the few pages above.
pub(crate) fn settle() {
    // Without the box the compiler sees through it and leaves both out.
    let large = std::hint::black_box(Vec::<u8>::with_capacity(LARGE));
    let above = large.as_ptr().addr();
    drop(large);
    for size in (1..=LARGE / 2 / SMALLEST).rev().map(|number| number * SMALLEST) {
        for _ in 0..PIECES_MAX {
            let piece = std::hint::black_box(Vec::<u8>::with_capacity(size));
            let is_above = piece.as_ptr().addr() >= above;
            // One that is given back is put together with what is above, unless it is so small that the allocator keeps it at hand.
            if !is_above || size <= AT_HAND {
                std::mem::forget(piece);
            }
            if is_above {
                break;
            }
        }
    }
}

/// Octets of the large block; the allocator maps larger ones apart.
const LARGE: usize = 64 * 1024;
/// Octets of the smallest block that the allocator has, and what it rounds sizes to.
const SMALLEST: usize = 16;
/// The largest that it keeps at hand when they are given back.
const AT_HAND: usize = 1040;
/// Pieces of one size at most.
const PIECES_MAX: usize = 1024;

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
