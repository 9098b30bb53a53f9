//! The loop: one thread, one line of each sender at a time. The senders are a set of their own in the set that is waited for, and while
//! many lines come they are let gather ([`gatepost_role::Rest`]).

use crate::backlog::Backlog;
use crate::counters::Counts;
use crate::view::View;
use crate::worst::Worst;
use gatepost_channel::{ChannelError, End, Inbox};
use gatepost_log::{Head, LAUNCHER, datagram, line, now, told};
use gatepost_role::{Control, Phase, Rest, RoleError, Special, Step};
use gatepost_sys::epoll::{Epoll, Until};
use gatepost_wire::line::{Level, Line};
use gatepost_wire::observe::Tell;
use gatepost_wire::slice::ObserverSlice;
use gatepost_wire::{Nothing, RoleToObserver};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

/// A sender's channel, seen from here.
type SenderEnd = End<Nothing, RoleToObserver>;

/// The launcher's token, that of the log, and that of all senders.
const CONTROL: u64 = 0;
const LOG: u64 = 1;
const LINES: u64 = 2;
/// Lines of each sender that are heard before anything else has its turn.
const TURN: usize = 256;
/// How long the log may take what is left when everybody else has ended.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long nothing may come before the end.
const LAST_LOOK: Duration = Duration::from_millis(10);
/// How often the time of those who read the counters is looked at.
const VIEW_TICK: Duration = Duration::from_secs(1);
/// EMSGSIZE.
const TOO_LONG: i32 = 90;
/// How soon a log that refused a line is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Serves until it is drained and all senders have ended. `lines`: for the senders.
pub(crate) fn serve(control: Control, epoll: Epoll, lines: Epoll, slice: ObserverSlice) -> Result<(), RoleError> {
    let senders = BTreeMap::new();
    let inbox = Inbox::of::<RoleToObserver>();
    let mut observer = Observer {
        control,
        epoll,
        lines,
        rest: Rest::default(),
        watched: false,
        sink: if slice.syslog > 0 { Sink::Syslog(None) } else { Sink::Stderr(io::stderr()) },
        slice,
        senders,
        last: LINES,
        backlog: Backlog::default(),
        counts: Counts::new(),
        worst: Worst::default(),
        view: View::default(),
        inbox,
        log: Log::Open,
    };
    observer.epoll.add(observer.control.as_fd(), CONTROL).map_err(RoleError::system("watch the launcher"))?;
    observer.run()
}

/// What the log did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    /// It took everything.
    Open,
    /// It is full; epoll tells when it is not.
    Full,
    /// It refused: no space, no reader. It is tried again now and then.
    Refused(Instant),
}

/// What lines are written to.
enum Sink {
    /// Descriptor 2.
    Stderr(io::Stderr),
    /// Syslog's socket, a datagram a line; None until the launcher has one.
    Syslog(Option<UnixDatagram>),
}

impl Sink {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stderr(stderr) => Some(stderr.as_fd()),
            Self::Syslog(socket) => socket.as_ref().map(AsFd::as_fd),
        }
    }

    /// Some of these lines: of a datagram's kind one.
    fn write(&self, lines: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Stderr(stderr) => stderr.lock().write_vectored(lines),
            Self::Syslog(Some(socket)) => lines.first().map_or(Ok(0), |line| socket.send(line)),
            Self::Syslog(None) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

struct Sender {
    name: &'static str,
    end: SenderEnd,
}

struct Observer {
    control: Control,
    epoll: Epoll,
    lines: Epoll,
    rest: Rest,
    /// The senders are in the set that is waited for.
    watched: bool,
    slice: ObserverSlice,
    sink: Sink,
    senders: BTreeMap<u64, Sender>,
    last: u64,
    backlog: Backlog,
    counts: Counts,
    worst: Worst,
    view: View,
    inbox: Inbox,
    log: Log,
}

impl Observer {
    fn run(&mut self) -> Result<(), RoleError> {
        let (mut ready, mut speaking) = (Vec::new(), Vec::new());
        let mut until: Option<Instant> = None;
        loop {
            self.watch_or_rest().map_err(RoleError::system("watch senders"))?;
            // The launcher outlives us.
            if self.control.phase() == Phase::Draining && self.senders.values().all(|sender| sender.name == LAUNCHER) {
                until.get_or_insert_with(|| Instant::now() + LAST_WAIT);
            }
            let rest = self.rest.left(Instant::now());
            let retry = matches!(self.log, Log::Refused(_)).then_some(RETRY);
            let busy = self.view.is_busy().then_some(VIEW_TICK);
            let timeout = [until.map(|_| LAST_LOOK).or(retry).or(busy), rest].into_iter().flatten().min();
            self.epoll.wait(timeout, &mut ready).map_err(RoleError::system("wait for lines"))?;
            // First of all, so that whoever asks is told of all that was said before.
            let heard = self.hear_all(&mut speaking).map_err(RoleError::system("wait for lines"))?;
            let idle = ready.is_empty() && heard == 0 && self.backlog.is_empty();
            if until.is_some_and(|until| idle || Instant::now() >= until) {
                return Ok(());
            }
            for token in &ready {
                match *token {
                    CONTROL => self.follow_orders()?,
                    LOG => {
                        self.log = Log::Open;
                        self.unwatch_log();
                    }
                    LINES => {}
                    token => {
                        self.last = self.last.saturating_add(1);
                        self.view.ready(&self.epoll, token, self.last, || self.counts.text());
                    }
                }
            }
            self.view.tick(&self.epoll);
            self.write();
        }
    }

    /// Hears all senders that have something to say, each a line at a time. How many lines that were.
    fn hear_all(&mut self, speaking: &mut Vec<u64>) -> io::Result<usize> {
        let mut heard = 0_usize;
        for _ in 0..TURN {
            self.lines.wait(Some(Duration::ZERO), speaking)?;
            for token in speaking.iter() {
                self.hear(*token);
            }
            heard = heard.saturating_add(speaking.len());
            // While they are watched, who has more to say is reported again.
            if speaking.is_empty() || self.watched {
                break;
            }
        }
        if speaking.is_empty() || self.watched {
            self.rest.heard(heard, Instant::now());
        } else {
            // Somebody says more than there is room for.
            self.rest.end();
        }
        Ok(heard)
    }

    /// Has the senders in the set that is waited for, or not.
    fn watch_or_rest(&mut self) -> io::Result<()> {
        if self.control.phase() == Phase::Draining {
            self.rest.end();
        }
        let watch = self.rest.until().is_none();
        match (watch, self.watched) {
            (true, false) => self.epoll.add(self.lines.as_fd(), LINES)?,
            (false, true) => self.epoll.remove(self.lines.as_fd())?,
            _ => {}
        }
        self.watched = watch;
        Ok(())
    }

    fn follow_orders(&mut self) -> Result<(), RoleError> {
        match self.control.order()? {
            Step::Link(role, fd) => self.take(role.name(), fd)?,
            Step::Special(Special::Lines(fd)) => self.take(LAUNCHER, fd)?,
            Step::Special(Special::Syslog(socket)) => {
                self.unwatch_log();
                self.sink = Sink::Syslog(Some(UnixDatagram::from(socket)));
                self.log = Log::Open;
            }
            Step::Begin => self.control.ready()?,
            Step::Special(Special::Socket(_, socket)) => {
                self.last = self.last.saturating_add(1);
                let watched = self.view.listen(&self.epoll, self.last, socket);
                watched.map_err(RoleError::system("watch the socket of the counters"))?;
            }
            // Those who read are the next generation's, whose counters begin anew.
            Step::Drain => self.view.stop(&self.epoll),
            Step::Special(Special::Admin(_, admin)) => {
                self.last = self.last.saturating_add(1);
                let worst = if self.slice.cut { String::new() } else { self.worst.text() };
                let text = format!("{}{worst}", self.counts.text());
                // An admin who cannot be served asks again.
                let _ = self.view.show(&self.epoll, self.last, admin, text.into_bytes());
            }
            Step::Special(_) | Step::Noted => {}
        }
        Ok(())
    }

    fn take(&mut self, name: &'static str, fd: OwnedFd) -> Result<(), RoleError> {
        let end = SenderEnd::from_fd(fd);
        self.last = self.last.saturating_add(1);
        let watched = end.seq().set_nonblocking(true).and_then(|()| self.lines.add(end.as_fd(), self.last));
        watched.map_err(RoleError::system("watch a sender"))?;
        self.senders.insert(self.last, Sender { name, end });
        Ok(())
    }

    /// One line of one sender. What is no line of ours is what the standard library writes before an abort, or an owned
    /// role's: text all the same.
    fn hear(&mut self, token: u64) {
        let Some(Sender { name, end }) = self.senders.get(&token) else { return };
        let (form, who, time) = (self.slice.form, *name, now());
        let head = |level, lost| Head { level, who, lost, time };
        let said = match end.recv(&mut self.inbox) {
            Ok(Tell::Line(Line { level, lost, text })) => {
                self.counts.line(who, level);
                (level, lost, line(form, &head(level, lost), text))
            }
            Ok(Tell::Gauges(gauges)) => return self.counts.gauges(who, gauges),
            Ok(Tell::Event { lost, event }) => {
                self.counts.event(&event);
                self.worst.event(&event);
                let level = event.row().level;
                (level, lost, told(form, &head(level, lost), &event, self.slice.cut))
            }
            Err(ChannelError::Hostile(_)) => (Level::Error, 0, line(form, &head(Level::Error, 0), self.inbox.bytes())),
            Err(ChannelError::WouldBlock) => return,
            Err(ChannelError::Closed | ChannelError::Io(_) | ChannelError::Unsendable(_)) => {
                let _ = self.lines.remove(end.as_fd());
                self.senders.remove(&token);
                return;
            }
        };
        let (level, lost, said) = said;
        self.counts.lost(who, lost);
        drop(self.inbox.take_fds());
        if level as u8 <= self.slice.level as u8 || lost > 0 {
            self.push(token, level, said);
        }
    }

    fn push(&mut self, token: u64, level: Level, line: Vec<u8>) {
        let line = match self.slice.syslog {
            0 => line,
            pid => datagram(level, &format!("gatepost[{pid}]"), &line),
        };
        self.backlog.push(token, line);
    }

    /// Writes what the log takes now.
    fn write(&mut self) {
        match self.log {
            Log::Full => return,
            Log::Refused(at) if at.elapsed() < RETRY => return,
            _ => self.log = Log::Open,
        }
        while self.log == Log::Open {
            if self.backlog.is_empty() {
                match self.backlog.take_lost() {
                    0 => return,
                    lost => {
                        let text = format!("{lost} lines were lost: the log did not take them in time");
                        let head = Head { level: Level::Warning, who: "observer", lost: 0, time: now() };
                        self.push(LOG, head.level, line(self.slice.form, &head, text.as_bytes()));
                    }
                }
                continue;
            }
            match self.sink.write(&self.backlog.next()) {
                Ok(0) => self.log = Log::Refused(Instant::now()),
                Ok(count) => self.backlog.wrote(count),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.await_log(),
                // EMSGSIZE, which has no name of its own: no datagram is as long.
                Err(e) if e.raw_os_error() == Some(TOO_LONG) => self.backlog.skip(),
                Err(_) => self.log = Log::Refused(Instant::now()),
            }
        }
    }

    fn await_log(&mut self) {
        let watched = self.sink.fd().is_some_and(|log| self.epoll.add_until(log, LOG, Until::Writable).is_ok());
        self.log = if watched { Log::Full } else { Log::Refused(Instant::now()) };
    }

    fn unwatch_log(&self) {
        if let Some(log) = self.sink.fd() {
            let _ = self.epoll.remove(log);
        }
    }
}
