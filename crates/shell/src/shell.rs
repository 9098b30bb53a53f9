//! The loop of a session: read, feed the engine, send, start TLS, close. The one place where a session waits for its client.

use crate::clock::Clock;
use crate::ends::Ends;
use crate::line::{Filled, Line, is_transient};
use crate::patience::Patience;
use gatepost_smtp::envelope::{CloseReason, Tls as Negotiated};
use gatepost_sys::wait::{self, Want};
use gatepost_tls::ServerConfig;
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// After a last reply that the client has not asked for: how long, and for how many octets, it may go on sending before the
/// connection is closed over it, which would take the reply away again (RFC 1122 §4.2.2.13).
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 256 * 1024;
/// Longest wait for a client to take the alert that says what was wrong with its TLS.
const ALERT_TIME: Duration = Duration::from_secs(1);

/// Replies that wait to be sent.
pub trait Output {
    /// All of them.
    fn output(&self) -> &[u8];
    /// The first `octets` of them have been sent.
    fn sent(&mut self, octets: usize);
}

impl Output for &[u8] {
    fn output(&self) -> &[u8] {
        self
    }

    fn sent(&mut self, octets: usize) {
        *self = self.get(octets..).unwrap_or_default();
    }
}

/// What a dialogue wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// More octets of the client's; all that there were are consumed.
    Read,
    /// The output sent, then the rest of the same octets.
    Flush,
    /// The rest of the same octets: somebody else has answered, and may have taken long.
    GoOn,
    /// [`Dialogue::start_tls`].
    StartTls,
    /// The output sent, and the session closed for this reason.
    Close(CloseReason),
}

/// Why a client is no longer waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// It was silent or slow for too long.
    Timeout,
    /// The session has lasted as long as one may.
    SessionTime,
    /// gatepost is going down, and this is no content that would be cut off.
    Drain,
    /// [`Dialogue::notice`] is readable.
    Notice,
}

/// What a wait came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// There was none yet.
    Nobody,
    Client,
    Notice,
    Drain,
    Time,
}

/// An engine, and what answers its questions.
pub trait Dialogue: Output {
    /// Feeds the engine: octets consumed, and what it wants next.
    fn advance(&mut self, input: &[u8]) -> (usize, Next);

    /// Content is being read: a client is held to a rate, and not interrupted by a drain.
    fn in_content(&self) -> bool;

    /// Tells the engine: its last reply is queued, and [`Next::Close`] is next, now or as soon as it may be. After a notice
    /// only if the notice says so.
    fn interrupt(&mut self, why: Interruption);

    /// Some of what was consumed since the last call was secret: no copy of it may stay behind.
    fn take_secret(&mut self) -> bool {
        false
    }

    /// What becomes readable when somebody else has something to tell while the client is waited for.
    fn notice(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Sends what is queued and starts TLS, by [`Shell::handshake`] or otherwise, or queues why not.
    ///
    /// # Errors
    /// The session must end.
    fn start_tls<C: Clock>(&mut self, shell: &mut Shell<C>) -> Result<(), Lost>;
}

/// Nothing can be said to the client any more, and why: it is gone, it does not read in time, its TLS failed, or something of ours
/// did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost(pub CloseReason);

/// Limits on what a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// For what it sends.
    pub patience: Patience,
    /// To read what it is sent at once.
    pub write: Duration,
    /// For a TLS handshake, all of it.
    pub handshake: Duration,
    /// For all of the session.
    pub session: Duration,
    /// How much longer content may last that has begun before that: it keeps its rate.
    pub content: Duration,
}

/// One client.
#[derive(Debug)]
pub struct Shell<C> {
    line: Line,
    clock: C,
    times: Times,
    /// No session lasts longer, unless it is within content.
    end: Instant,
    /// No content lasts longer.
    content_end: Instant,
    /// At its end when gatepost goes down; None once that is known, or where nobody says so.
    drain: Option<PipeReader>,
    /// What was wrong with the client's TLS.
    fault: Option<String>,
}

impl<C: Clock> Shell<C> {
    /// A client that has just connected.
    #[must_use]
    pub fn new(client: Ends, times: Times, clock: C, drain: Option<PipeReader>) -> Self {
        let end = later(&clock, times.session);
        let content_end = end.checked_add(times.content).unwrap_or(end);
        Self { line: Line::new(client), clock, times, end, content_end, drain, fault: None }
    }

    /// Serves the client until the dialogue or the client ends: why it was closed. The last reply is sent.
    ///
    /// # Errors
    /// [`Lost`].
    pub fn serve<D: Dialogue>(&mut self, dialogue: &mut D) -> Result<CloseReason, Lost> {
        loop {
            let (consumed, next) = dialogue.advance(self.line.input());
            self.line.consume(consumed);
            match next {
                // In TLS there may be another piece of what was read at once.
                Next::Read if consumed > 0 && !self.line.input().is_empty() => {}
                Next::Read => self.read(dialogue)?,
                Next::Flush => self.send(dialogue)?,
                // A client may have sent many questions at once.
                Next::GoOn if !dialogue.in_content() && self.clock.now() >= self.end => {
                    dialogue.interrupt(Interruption::SessionTime);
                }
                Next::GoOn if !self.line.input().is_empty() && self.has_left(dialogue)? => {
                    return Err(Lost(CloseReason::ClientGone));
                }
                Next::GoOn => {}
                Next::StartTls => {
                    dialogue.start_tls(self)?;
                    self.line.forget_clear();
                }
                Next::Close(reason) => {
                    self.send(dialogue)?;
                    return Ok(reason);
                }
            }
        }
    }

    /// Whether a client that has sent many questions at once is there no more, so that nobody need answer the others (P13). One that
    /// only ends what it sends may still listen: that it does not is known when it is sent something. The question under way is
    /// not broken off: whoever answers it is busy with it all the same.
    fn has_left(&mut self, output: &mut impl Output) -> Result<bool, Lost> {
        if !wait::has_ended(self.line.ends().input()) {
            return Ok(false);
        }
        self.send(output)?;
        Ok(wait::hung_up(self.line.ends().output()))
    }

    /// Sends what has gathered, then waits for the client as long as patience lasts.
    fn read<D: Dialogue>(&mut self, dialogue: &mut D) -> Result<(), Lost> {
        if dialogue.take_secret() {
            self.line.wipe();
        }
        self.send(dialogue)?;
        let content = dialogue.in_content();
        self.times.patience.wait_for(content);
        let begun = self.clock.now();
        let end = if content { self.content_end } else { self.end };
        let deadline = begun.checked_add(self.times.patience.left()).unwrap_or(begun).min(end);
        // Also for a client that has always sent something already: no wait of its own would ever end.
        let mut woken = if begun < end && self.line.has_more() { Woken::Client } else { Woken::Nobody };
        loop {
            match woken {
                Woken::Client => match self.fill()? {
                    Filled::Octets(octets) => {
                        self.times.patience.spend(self.clock.now().saturating_duration_since(begun), octets);
                        return Ok(());
                    }
                    Filled::End => return Err(Lost(CloseReason::ClientGone)),
                    Filled::Nothing => {}
                },
                Woken::Notice => {
                    dialogue.interrupt(Interruption::Notice);
                    return Ok(());
                }
                Woken::Drain => {
                    self.drain = None;
                    dialogue.interrupt(Interruption::Drain);
                    return Ok(());
                }
                Woken::Time => {
                    let over = self.clock.now() >= end;
                    dialogue.interrupt(if over { Interruption::SessionTime } else { Interruption::Timeout });
                    return Ok(());
                }
                Woken::Nobody => {}
            }
            woken = self.wait_for(Want::Read, dialogue.notice(), !content, deadline)?;
        }
    }

    /// Waits for the client alone.
    fn wait(&mut self, want: Want, until: Instant) -> Result<Woken, Lost> {
        self.wait_for(want, None, false, until)
    }

    /// Waits for the client, for a notice, and for the drain if that is `drainable` now. Not at all when it is too late
    /// already: a client that is always ready, for an octet at a time, has no more time than others.
    fn wait_for(
        &mut self,
        want: Want,
        notice: Option<BorrowedFd<'_>>,
        drainable: bool,
        until: Instant,
    ) -> Result<Woken, Lost> {
        if self.clock.now() >= until {
            return Ok(Woken::Time);
        }
        let ends = self.line.ends();
        let client = match want {
            Want::Read | Want::End => (Woken::Client, (ends.input(), want)),
            Want::Write => (Woken::Client, (ends.output(), want)),
        };
        let notice = notice.map(|fd| (Woken::Notice, (fd, Want::Read)));
        let drain = self.drain.as_ref().filter(|_| drainable).map(|drain| (Woken::Drain, (drain.as_fd(), Want::Read)));
        // A notice first: a client may be ready all the time.
        let (whose, fds): (Vec<_>, Vec<_>) = notice.into_iter().chain([client]).chain(drain).unzip();
        match self.clock.wait(&fds, until) {
            Ok(Some(first)) => whose.get(first).copied().ok_or(Lost(CloseReason::Internal)),
            Ok(None) => Ok(Woken::Time),
            Err(_) => Err(Lost(CloseReason::Internal)),
        }
    }

    /// Lets `time` pass before the client is served. False: the session ends instead, as the dialogue knows.
    ///
    /// # Errors
    /// [`Lost`]: ClientGone, also when the client only ends what it sends.
    pub fn pause<D: Dialogue>(&mut self, dialogue: &mut D, time: Duration) -> Result<bool, Lost> {
        if time.is_zero() {
            return Ok(true);
        }
        let until = later(&self.clock, time).min(self.end);
        loop {
            match self.wait_for(Want::End, dialogue.notice(), true, until)? {
                Woken::Drain => {
                    self.drain = None;
                    dialogue.interrupt(Interruption::Drain);
                    return Ok(false);
                }
                Woken::Notice => {
                    dialogue.interrupt(Interruption::Notice);
                    if !dialogue.output().is_empty() {
                        return Ok(false);
                    }
                }
                Woken::Client => return Err(Lost(CloseReason::ClientGone)),
                Woken::Time | Woken::Nobody => return Ok(true),
            }
        }
    }

    fn fill(&mut self) -> Result<Filled, Lost> {
        self.line.fill().map_err(|e| {
            // What the system says is the connection's end, and no fault of TLS.
            if e.raw_os_error().is_none() {
                self.fault = Some(e.to_string());
            }
            let _ = self.push(&mut &[][..], later(&self.clock, ALERT_TIME));
            Lost(CloseReason::ClientGone)
        })
    }

    /// Sends `output`, all of it.
    ///
    /// # Errors
    /// [`Lost`]: Timeout when the client does not read, ClientGone.
    pub fn send(&mut self, output: &mut impl Output) -> Result<(), Lost> {
        if output.output().is_empty() && !self.line.owes() {
            return Ok(());
        }
        self.push(output, later(&self.clock, self.times.write))?;
        self.times.patience.answered();
        Ok(())
    }

    fn push(&mut self, output: &mut impl Output, deadline: Instant) -> Result<(), Lost> {
        let mut writable = !self.line.ends().blocks();
        while !output.output().is_empty() || self.line.owes() {
            if !writable && self.wait(Want::Write, deadline)? != Woken::Client {
                return Err(Lost(CloseReason::Timeout));
            }
            writable = match self.line.write(output.output()) {
                Ok(octets) => {
                    output.sent(octets);
                    !self.line.ends().blocks()
                }
                Err(e) if is_transient(&e) => false,
                Err(_) => return Err(Lost(CloseReason::ClientGone)),
            };
        }
        Ok(())
    }

    // On its own, as is what lingers: what TLS needs of the stack no other session has.
    /// Negotiates TLS, which is spoken from here on. Whatever the client sent before is forgotten.
    ///
    /// # Errors
    /// [`Lost`]: TlsFailed.
    #[inline(never)]
    pub fn handshake(&mut self, config: Arc<ServerConfig>) -> Result<Negotiated, Lost> {
        let deadline = later(&self.clock, self.times.handshake).min(self.end);
        self.line.start_tls(config).map_err(|_| Lost(CloseReason::TlsFailed))?;
        self.negotiate(deadline).map_err(|_| Lost(CloseReason::TlsFailed))?;
        self.times.patience.answered();
        Ok(self.line.negotiated())
    }

    /// What both ends of the TLS connection can derive from it and nobody between them: tls-exporter, RFC 9266. None before TLS 1.3, where
    /// that takes an extension of the handshake (RFC 7627).
    #[must_use]
    pub fn binding(&self) -> Option<[u8; 32]> {
        self.line.binding()
    }

    /// What was wrong with the client's TLS, if that ended the session.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    fn negotiate(&mut self, deadline: Instant) -> Result<(), Lost> {
        loop {
            self.push(&mut &[][..], deadline)?;
            if !self.line.is_handshaking() {
                return Ok(());
            }
            if self.wait(Want::Read, deadline)? != Woken::Client {
                return Err(Lost(CloseReason::Timeout));
            }
            if self.fill()? == Filled::End {
                return Err(Lost(CloseReason::ClientGone));
            }
        }
    }

    /// The client is behind these ends from here on, where somebody else speaks TLS with it.
    pub fn move_to(&mut self, ends: Ends) {
        self.line.move_to(ends);
        self.times.patience.answered();
    }

    /// Whether the client sends something within `time`.
    pub fn speaks_within(&mut self, time: Duration) -> bool {
        let until = later(&self.clock, time);
        matches!(self.wait(Want::Read, until), Ok(Woken::Client))
    }

    #[cfg(test)]
    pub(crate) fn clock_mut(&mut self) -> &mut C {
        &mut self.clock
    }

    /// Closes after the last reply. `linger`: the client has not asked for it, and may be in the midst of sending. What was
    /// written to a pipe is never taken away again, so there nothing is waited for.
    pub fn close(&mut self, linger: bool) {
        let deadline = later(&self.clock, LINGER_TIME);
        self.line.finish();
        if self.push(&mut &[][..], deadline).is_ok() && linger && self.line.ends().finish() {
            self.linger(deadline);
        }
    }

    /// Reads what the client still sends.
    // On its own: most sessions end without, and would have its buffer in their stack, which is a page more to copy.
    #[inline(never)]
    fn linger(&mut self, deadline: Instant) {
        let mut rest = [0; 4096];
        let mut left = LINGER_OCTETS;
        while left > 0 && self.wait(Want::Read, deadline) == Ok(Woken::Client) {
            // As it comes, in TLS too: nobody looks at it.
            match self.line.ends().read(&mut rest) {
                Ok(0) => return,
                Ok(octets) => left = left.saturating_sub(octets),
                Err(e) if is_transient(&e) => {}
                Err(_) => return,
            }
        }
    }
}

/// The moment `wait` from now.
fn later(clock: &impl Clock, wait: Duration) -> Instant {
    let now = clock.now();
    now.checked_add(wait).unwrap_or(now)
}
