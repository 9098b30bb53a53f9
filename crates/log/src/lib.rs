//! What is told: everything said with `tracing` becomes a line, which goes to the observer, or to standard error where there
//! is none.
//!
//! **Telling never stops doing (P14).** A line that cannot be sent at once is lost and counted; the next one that can says how
//! many. Nothing here waits, and nothing panics.
//!
//! A role's descriptor 2 is its channel to the observer, made for it alone and non-blocking: what the standard library
//! writes there before an abort arrives as well. The launcher begins on standard error, where its mistakes are to be seen, and
//! goes over to the observer as soon as one is there.
#![forbid(unsafe_code)]

mod privacy;
mod text;

pub use gatepost_wire::slice::LogForm as Form;
pub use text::{Head, datagram, json_string, line, told};

use gatepost_channel::End;
use gatepost_sys::fds;
use gatepost_sys::seq::Seq;
use gatepost_wire::event::Event;
use gatepost_wire::gauge::Gauges;
use gatepost_wire::line::{Level, Line, TEXT_MAX};
use gatepost_wire::observe::Tell;
use gatepost_wire::{Nothing, RoleToObserver};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, UNIX_EPOCH};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::fmt::{self, MakeWriter};

/// A sender's end.
type LogEnd = End<RoleToObserver, Nothing>;

/// Where lines go.
enum Place {
    /// Nowhere: nobody has begun, or nobody is to hear.
    Nowhere,
    /// Descriptor 2, as text of this name's.
    Stderr(Form, &'static str),
    /// An end of the channel to the observer.
    Observer(LogEnd),
    /// The system's log socket, as text of this name's: where descriptor 2 is the client.
    Syslog(UnixDatagram, String),
}

/// Where this process's lines go, and how many were lost since the last that was sent.
static TO: Mutex<(Place, u32)> = Mutex::new((Place::Nowhere, 0));

/// What a process without an observer does itself as the configuration says.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// JSON, an object a line.
    pub json: bool,
    /// This and what matters more.
    pub level: Level,
    /// Of addresses only the network and the domain.
    pub cut: bool,
}

/// As the configuration says, once it is known.
static SHOWN: Mutex<Shown> = Mutex::new(Shown { json: false, level: Level::Info, cut: false });

/// From now on lines of this process are written so.
pub fn show(shown: Shown) {
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = shown;
}

/// Where syslog(3) sends to.
pub const SYSLOG: &str = "/dev/log";

/// The launcher, as one that says something.
pub const LAUNCHER: &str = "launcher";

/// Lines go to standard error, as text of `who`: for the launcher until [`connect`], and for whoever has no observer.
pub fn begin(who: &'static str) {
    set(Place::Stderr(form(), who));
    install();
}

/// Lines go to the system's log, by syslog(3)'s socket, which is the journal's where there is a journal; and nowhere when nobody
/// listens there. For whoever has no observer, and the client on descriptor 2.
pub fn begin_syslog() {
    let socket = syslog();
    let who = format!("gatepost[{}]", std::process::id());
    set(socket.map_or(Place::Nowhere, |socket| Place::Syslog(socket, who)));
    install();
}

/// A socket that is connected with syslog's, and never waits for it.
///
/// # Errors
/// Nobody listens there.
pub fn syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Lines of this process are lost from now on, and the descriptor that they went to is closed, unless it is descriptor 2: for a
/// session, which must not say anything.
pub fn silence() {
    set(Place::Nowhere);
}

/// Lines go to the observer by descriptor 2: for a role, as its first act.
pub fn begin_role() {
    match fds::inherited(2) {
        Ok(fd) => set(Place::Observer(LogEnd::from_fd(fd))),
        Err(_) => set(Place::Stderr(Form::Text, "role")),
    }
    install();
}

/// The launcher's lines go to this observer from now on.
pub fn connect(end: Seq) {
    set(Place::Observer(LogEnd::from_seq(end)));
}

/// The descriptor by which lines go to an observer, where they do.
#[must_use]
pub fn channel() -> Option<RawFd> {
    match &to()?.0 {
        Place::Observer(end) => Some(end.as_fd().as_raw_fd()),
        _ => None,
    }
}

/// The launcher's lines go to standard error again: its last observer is about to end.
pub fn disconnect() {
    set(Place::Stderr(form(), LAUNCHER));
}

/// A role's lines go to another observer from now on: its end takes the place of descriptor 2.
pub fn reconnect(end: &OwnedFd) {
    // An error leaves the old end, which loses lines and counts them.
    let _ = fds::make_stderr(end);
}

fn set(place: Place) {
    TO.lock().unwrap_or_else(PoisonError::into_inner).0 = place;
}

fn form() -> Form {
    if fds::is_journal(io::stderr()) { Form::Journal } else { Form::Text }
}

fn install() {
    let format = fmt::format().without_time().with_target(false).with_ansi(false).with_level(false).compact();
    let subscriber: Box<dyn Subscriber + Send + Sync> = Box::new(
        tracing_subscriber::fmt()
            .event_format(format)
            .with_writer(Lines)
            .with_max_level(tracing::Level::INFO)
            .log_internal_errors(false)
            .finish(),
    );
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Makes a line of each event.
struct Lines;

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter(Level::Info)
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> LineWriter {
        LineWriter(match *event.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            _ => Level::Info,
        })
    }
}

/// Sends each write as a line of its own: the formatter writes an event at once.
struct LineWriter(Level);

impl Write for LineWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let line = text.trim_ascii_end();
        if !send(&Said::Text(self.0, line.get(..TEXT_MAX).unwrap_or(line))) {
            lose();
        }
        // All of it, or the line end would come again as a line.
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Something to be told.
#[allow(clippy::large_enum_variant)] // As with `Tell`: none is stored.
enum Said<'a> {
    Text(Level, &'a [u8]),
    Event(Event<'a>),
}

impl Said<'_> {
    fn level(&self) -> Level {
        match self {
            Self::Text(level, _) => *level,
            Self::Event(event) => event.row().level,
        }
    }
}

/// As a line of `who`.
fn written(form: Form, shown: Shown, who: &str, lost: u32, said: &Said<'_>) -> Vec<u8> {
    let form = if shown.json { Form::Json } else { form };
    let head = Head { level: said.level(), who, lost, time: now() };
    match said {
        Said::Text(_, text) => line(form, &head, text),
        Said::Event(event) => told(form, &head, event, shown.cut),
    }
}

/// Tells an event.
pub fn tell<'a>(event: impl Into<Event<'a>>) {
    if !try_tell(event) {
        lose();
    }
}

/// As [`tell`], but one that cannot be sent now is not lost yet: false, and the caller may come again.
pub fn try_tell<'a>(event: impl Into<Event<'a>>) -> bool {
    send(&Said::Event(event.into()))
}

/// Tells the observer how much there is now, where there is one.
pub fn gauge(gauges: Gauges) {
    if let Some(to) = to()
        && let Place::Observer(end) = &to.0
    {
        let _ = end.tell(&Tell::Gauges(gauges));
    }
}

/// The time, as [`Head`] has it.
#[must_use]
pub fn now() -> Duration {
    UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// None: a line within a line, as when a panic is told in the middle of telling.
fn to() -> Option<MutexGuard<'static, (Place, u32)>> {
    match TO.try_lock() {
        Ok(to) => Some(to),
        Err(TryLockError::Poisoned(to)) => Some(to.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn lose() {
    if let Some(mut to) = to() {
        to.1 = to.1.saturating_add(1);
    }
}

fn send(said: &Said<'_>) -> bool {
    let Some(mut to) = to() else { return false };
    let (place, lost) = &mut *to;
    let shown = *SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if said.level() as u8 > shown.level as u8 {
        return true;
    }
    let sent = match (place, said) {
        (Place::Nowhere, _) => true,
        (Place::Stderr(form, who), said) => io::stderr().write_all(&written(*form, shown, who, *lost, said)).is_ok(),
        (Place::Syslog(socket, who), said) => {
            let line = written(Form::Text, shown, who, *lost, said);
            socket.send(&text::datagram(said.level(), who, &line)).is_ok()
        }
        (Place::Observer(end), Said::Text(level, text)) => {
            end.tell(&Tell::Line(Line { level: *level, lost: *lost, text })).is_ok()
        }
        (Place::Observer(end), Said::Event(event)) => end.tell(&Tell::Event { lost: *lost, event: *event }).is_ok(),
    };
    if sent {
        *lost = 0;
    }
    sent
}
