//! Asking handoff. Blocking: a session serves one client, and that client waits for the answer.

use crate::HandoffEnd;
use gatepost_channel::{ChannelError, Inbox, Outbox};
use gatepost_smtp::envelope::{CloseReason, Offer, Reason, Verdict};
use gatepost_smtp::server::Refusal;
use gatepost_smtp::text::Text;
use gatepost_sys::wait;
use gatepost_wire::session::{Answer, Ask, CONTENT_MAX, DETAIL_MAX, Mail, Rcpt, Refused};
use gatepost_wire::{HandoffToSession, SessionToHandoff};
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Longest wait for an answer: longer than handoff gives the backend, so that the verdict is handoff's.
const WAIT: Duration = Duration::from_secs(700);
/// Buffer in front of the content file: small pieces are put together, large ones pass.
const FILE_BUFFER: usize = 8 * 1024;

/// The answer to a MAIL that needs no room on the disk.
const MAIL_OK: Verdict = Verdict { code: 250, enhanced: (2, 1, 0), reason: Reason::Ok };

/// Why handoff is of no more use to this session. Ours, never the client's fault.
#[derive(Debug)]
pub(crate) enum HandoffError {
    /// The channel is closed, silent or broken.
    Channel(ChannelError),
    /// It answered what was not asked.
    Untimely,
    /// Nothing is wrong with it, but the slot is needed for somebody else.
    Reclaimed,
    /// Nothing is wrong with it, but it has no backend.
    Away,
}

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(e) => e.fmt(f),
            Self::Untimely => f.write_str("handoff answered what was not asked"),
            Self::Reclaimed => f.write_str("the slot is needed for somebody else"),
            Self::Away => f.write_str("no backend can be reached"),
        }
    }
}

impl From<ChannelError> for HandoffError {
    fn from(e: ChannelError) -> Self {
        Self::Channel(e)
    }
}

/// A verdict, and the text of a refusal that is not our own.
pub(crate) type Said = (Verdict, Text);

/// An answer to a commit.
pub(crate) enum Committed {
    /// For the next recipient; more follow.
    Recipient(Said),
    /// For all of them: the last one.
    All(Said),
}

/// Where the content of the running transaction goes.
enum Content {
    /// Into frames, as long as this many octets fit.
    Inline(u64),
    /// Into a file that handoff will read, as long as this many octets fit.
    File(BufWriter<File>, u64),
    /// Nowhere: refused already, to be said when the client has ended it.
    Refused(Verdict),
}

/// How far handoff is with the transaction, as the table in `gatepost_wire::session` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// MAIL waits here for the first RCPT: both go in one frame.
    Queued,
    Begun,
}

/// The session's side of its conversation with handoff.
pub(crate) struct Handoff {
    end: HandoffEnd,
    outbox: Outbox<SessionToHandoff>,
    inbox: Inbox,
    inline_max: u64,
    /// A message that is not known to be small is asked about.
    scarce: bool,
    offered: bool,
    /// It tells nothing more unasked: it has told the session to leave, or is gone.
    silent: bool,
    /// It took a message.
    delivered: bool,
    state: State,
    content: Content,
}

impl fmt::Debug for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handoff({:?}, {:?})", self.end, self.state)
    }
}

impl Handoff {
    pub(crate) fn new(end: HandoffEnd) -> Self {
        Self {
            end,
            outbox: Outbox::default(),
            inbox: Inbox::of::<HandoffToSession>(),
            inline_max: 0,
            scarce: false,
            offered: false,
            silent: false,
            delivered: false,
            state: State::Idle,
            content: Content::Inline(0),
        }
    }

    /// What can be honoured. Handoff says it once, unasked, before anything else.
    pub(crate) fn offer(&mut self) -> Result<Offer, HandoffError> {
        self.offered = true;
        self.end.seq().set_timeout(WAIT).map_err(ChannelError::from)?;
        match self.end.recv(&mut self.inbox)? {
            Answer::Offer { offer, inline_max, scarce } => {
                self.inline_max = u64::from(inline_max);
                self.scarce = scarce;
                self.content = Content::Inline(self.inline_max);
                Ok(offer)
            }
            Answer::Leave => Err(self.reclaimed()),
            Answer::Away => {
                self.silent = true;
                Err(HandoffError::Away)
            }
            Answer::Verdict { .. } | Answer::Recipient { .. } | Answer::Spool { .. } => Err(HandoffError::Untimely),
        }
    }

    /// Whether it may still tell something unasked.
    pub(crate) fn may_tell(&self) -> bool {
        !self.silent
    }

    /// Takes what it tells unasked.
    pub(crate) fn hear(&mut self) -> Result<(), HandoffError> {
        // Whatever it is, it is the last: a channel that is at its end is always readable.
        self.silent = true;
        match self.end.recv(&mut self.inbox)? {
            Answer::Leave => Err(HandoffError::Reclaimed),
            _ => Err(HandoffError::Untimely),
        }
    }

    fn reclaimed(&mut self) -> HandoffError {
        self.silent = true;
        HandoffError::Reclaimed
    }

    /// The backend took a message of this session.
    pub(crate) fn has_delivered(&self) -> bool {
        self.delivered
    }

    /// Begins a transaction. Where the content needs no file it is sent with its first recipient.
    pub(crate) fn mail(&mut self, mail: &Mail<'_>) -> Result<Verdict, HandoffError> {
        self.reset()?;
        self.state = State::Queued;
        self.push(&Ask::Mail(*mail))?;
        if !mail.parameters.size.map_or(self.scarce, |size| size > self.inline_max) {
            return Ok(MAIL_OK);
        }
        self.push(&Ask::Room)?;
        // A refusal has no text of a backend's: none was asked.
        let (verdict, _) = self.verdict()?;
        self.state = if verdict.code < 400 { State::Begun } else { State::Idle };
        Ok(verdict)
    }

    /// One more recipient.
    pub(crate) fn rcpt(&mut self, rcpt: &Rcpt<'_>) -> Result<Said, HandoffError> {
        self.push(&Ask::Rcpt(*rcpt))?;
        self.state = State::Begun;
        self.verdict()
    }

    /// The next octets of content.
    pub(crate) fn content(&mut self, octets: &[u8]) -> Result<(), HandoffError> {
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        match &mut self.content {
            Content::Inline(room) => match room.checked_sub(length) {
                Some(left) => {
                    *room = left;
                    self.frame(octets)
                }
                None => {
                    self.ask_for_file()?;
                    self.content(octets)
                }
            },
            Content::File(file, room) => {
                let Some(left) = room.checked_sub(length) else {
                    self.ask_for_more(length)?;
                    return self.content(octets);
                };
                *room = left;
                if let Err(e) = file.write_all(octets) {
                    self.content = Content::Refused(unwritable(&e));
                }
                Ok(())
            }
            Content::Refused(_) => Ok(()),
        }
    }

    /// The client has ended the content, `length` octets in all. The transaction is over, whatever the verdict.
    ///
    /// None: the answers are to be had by [`Handoff::next_answer`].
    pub(crate) fn commit(&mut self, length: u64) -> Result<Option<Said>, HandoffError> {
        let content = std::mem::replace(&mut self.content, Content::Inline(self.inline_max));
        let refused = match content {
            Content::Inline(_) => None,
            Content::File(mut file, _) => file.flush().err().map(|e| unwritable(&e)),
            Content::Refused(verdict) => Some(verdict),
        };
        if let Some(verdict) = refused {
            self.reset()?;
            return Ok(Some((verdict, Text::none())));
        }
        self.push(&Ask::Commit { length })?;
        self.state = State::Idle;
        self.end.flush(&mut self.outbox)?;
        Ok(None)
    }

    /// The next answer to a commit.
    pub(crate) fn next_answer(&mut self) -> Result<Committed, HandoffError> {
        let mut answer = self.end.recv(&mut self.inbox)?;
        if answer == Answer::Leave {
            // Told before it had the commit: it does not deliver, and says so.
            self.silent = true;
            answer = self.end.recv(&mut self.inbox)?;
        }
        match answer {
            Answer::Recipient { verdict, text } => {
                self.delivered |= verdict.code < 400;
                Ok(Committed::Recipient((verdict, text)))
            }
            Answer::Verdict { verdict, text } => {
                self.delivered |= verdict.code < 400;
                Ok(Committed::All((verdict, text)))
            }
            _ => Err(HandoffError::Untimely),
        }
    }

    /// Something was refused here: handoff tells the log. Whether it hears it changes nothing.
    pub(crate) fn refused(&mut self, refusal: &Refusal, ends: bool) {
        // What waits for the first RCPT goes before it.
        let Refusal { reply, count, line } = refusal;
        let refused = Ask::Refused(Refused { reply: *reply, count: *count, ends, line });
        if self.state == State::Queued {
            let _ = self.end.tell(&refused);
        } else {
            let _ = self.push(&refused).and_then(|()| Ok(self.end.flush(&mut self.outbox)?));
        }
    }

    /// The transaction is over without a commit, if there is one.
    pub(crate) fn reset(&mut self) -> Result<(), HandoffError> {
        // What has come of the content goes before it: the log says how much that was.
        self.content = Content::Inline(self.inline_max);
        let before = std::mem::replace(&mut self.state, State::Idle);
        if before == State::Queued {
            self.outbox.clear();
        } else if before == State::Begun {
            self.push(&Ask::Reset)?;
            self.end.flush(&mut self.outbox)?;
        }
        Ok(())
    }

    /// The session is over. Whether handoff still hears it changes nothing.
    pub(crate) fn bye(&mut self, reason: CloseReason, detail: Option<&str>) {
        // As in `reset`, and in the same frame: content alone comes in full ones.
        self.content = Content::Inline(self.inline_max);
        if self.state != State::Begun {
            self.outbox.clear();
        }
        if let Some(detail) = detail {
            let detail = detail.as_bytes();
            let _ = self.push(&Ask::Detail(detail.get(..DETAIL_MAX).unwrap_or(detail)));
        }
        let _ = self.push(&Ask::Bye(reason)).and_then(|()| Ok(self.end.flush(&mut self.outbox)?));
        // A socket closed with something unread in it resets the other end, which might then not get this far.
        if !self.offered && wait::readable(&[self.end.as_fd()], Some(Duration::ZERO)).is_ok_and(|ready| ready == [true])
        {
            let _ = self.end.recv(&mut self.inbox);
        }
    }

    fn ask_for_file(&mut self) -> Result<(), HandoffError> {
        self.push(&Ask::Spool)?;
        self.end.flush(&mut self.outbox)?;
        let (answer, fds) = self.end.recv_with(&mut self.inbox)?;
        self.content = match (answer, <[_; 1]>::try_from(fds)) {
            (Answer::Spool { octets }, Ok([fd])) => {
                Content::File(BufWriter::with_capacity(FILE_BUFFER, File::from(fd)), octets)
            }
            (Answer::Verdict { verdict, .. }, _) if verdict.code >= 400 => Content::Refused(verdict),
            (Answer::Leave, _) => return Err(self.reclaimed()),
            _ => return Err(HandoffError::Untimely),
        };
        Ok(())
    }

    /// Asks until `length` octets more fit into the file, which has all that it may have, or are refused.
    fn ask_for_more(&mut self, length: u64) -> Result<(), HandoffError> {
        while let Content::File(file, room) = &mut self.content
            && *room < length
        {
            if let Err(e) = file.flush() {
                self.content = Content::Refused(unwritable(&e));
                break;
            }
            self.end.queue(&mut self.outbox, &Ask::Grow)?;
            self.end.flush(&mut self.outbox)?;
            match self.end.recv(&mut self.inbox)? {
                Answer::Spool { octets: octets @ 1.. } => *room = room.saturating_add(octets),
                Answer::Verdict { verdict, .. } if verdict.code >= 400 => self.content = Content::Refused(verdict),
                _ => return Err(HandoffError::Untimely),
            }
        }
        Ok(())
    }

    /// Fills frames; sends each that is full.
    fn frame(&mut self, mut octets: &[u8]) -> Result<(), HandoffError> {
        while !octets.is_empty() {
            let room = self.outbox.room().min(CONTENT_MAX);
            let (now, later) = octets.split_at_checked(room).unwrap_or((octets, &[]));
            if now.is_empty() {
                self.end.flush(&mut self.outbox)?;
            } else {
                self.push(&Ask::Content(now))?;
            }
            octets = later;
        }
        Ok(())
    }

    fn push(&mut self, ask: &Ask<'_>) -> Result<(), HandoffError> {
        Ok(self.end.queue(&mut self.outbox, ask)?)
    }

    fn verdict(&mut self) -> Result<Said, HandoffError> {
        self.end.flush(&mut self.outbox)?;
        match self.end.recv(&mut self.inbox)? {
            Answer::Verdict { verdict, text } => Ok((verdict, text)),
            Answer::Leave => Err(self.reclaimed()),
            _ => Err(HandoffError::Untimely),
        }
    }
}

impl AsFd for Handoff {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

/// The verdict on content that the file could not take: RLIMIT_FSIZE, a full disk, or worse.
fn unwritable(e: &io::Error) -> Verdict {
    let (code, enhanced, reason) = match e.kind() {
        io::ErrorKind::FileTooLarge => (552, (5, 3, 4), Reason::TooLarge),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (452, (4, 3, 1), Reason::NoSpace),
        _ => (451, (4, 3, 0), Reason::Internal),
    };
    Verdict { code, enhanced, reason }
}
