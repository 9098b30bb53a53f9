//! Those who read the counters: a few at a time, each for a few seconds, none of whom is waited for.

use crate::http::{REQUEST_MAX, answer};
use gatepost_sys::epoll::{Epoll, Until};
use gatepost_sys::net;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Readers at once. For one more the one who came first is closed: whoever holds all places keeps out neither the others nor an admin.
const READERS_MAX: usize = 8;
/// How long one may take for all of it.
pub(crate) const TIME: Duration = Duration::from_secs(5);

struct Reader {
    socket: File,
    request: Vec<u8>,
    /// What is still to be written; empty while the request is being read.
    left: Vec<u8>,
    until: Instant,
}

/// Listening sockets and readers, by their tokens.
#[derive(Default)]
pub(crate) struct View {
    sockets: BTreeMap<u64, OwnedFd>,
    readers: BTreeMap<u64, Reader>,
}

impl View {
    /// Readers come by this listening socket.
    ///
    /// # Errors
    /// It cannot be watched.
    pub(crate) fn listen(&mut self, epoll: &Epoll, token: u64, socket: OwnedFd) -> io::Result<()> {
        epoll.add(socket.as_fd(), token)?;
        self.sockets.insert(token, socket);
        Ok(())
    }

    /// Writes `text` to somebody who need not ask for it.
    ///
    /// # Errors
    /// It cannot be watched.
    pub(crate) fn show(&mut self, epoll: &Epoll, token: u64, reader: OwnedFd, text: Vec<u8>) -> io::Result<()> {
        self.make_room(epoll);
        epoll.add(reader.as_fd(), token)?;
        epoll.change(reader.as_fd(), token, Until::Writable)?;
        let until = Instant::now() + TIME;
        self.readers.insert(token, Reader { socket: reader.into(), request: Vec::new(), left: text, until });
        Ok(())
    }

    /// Takes no more readers.
    pub(crate) fn stop(&mut self, epoll: &Epoll) {
        for socket in std::mem::take(&mut self.sockets).into_values() {
            let _ = epoll.remove(socket.as_fd());
        }
    }

    /// Whether somebody is being served, so that his time has to be looked at.
    pub(crate) fn is_busy(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Something can be done about `token`, if it is one of a socket or a reader. `next` is the token of one who comes.
    pub(crate) fn ready(&mut self, epoll: &Epoll, token: u64, next: u64, text: impl FnOnce() -> String) {
        if let Some(socket) = self.sockets.get(&token) {
            let Ok(client) = net::accept_any(socket.as_fd()) else { return };
            self.make_room(epoll);
            if epoll.add(client.as_fd(), next).is_ok() {
                let until = Instant::now() + TIME;
                let reader = Reader { socket: client.into(), request: Vec::new(), left: Vec::new(), until };
                self.readers.insert(next, reader);
            }
        } else if let Some(reader) = self.readers.get_mut(&token)
            && !reader.serve(epoll, token, text).unwrap_or(false)
        {
            self.dismiss(epoll, token);
        }
    }

    /// Dismisses those whose time is over.
    pub(crate) fn tick(&mut self, epoll: &Epoll) {
        let now = Instant::now();
        let late: Vec<u64> = self.readers.iter().filter(|(_, r)| r.until <= now).map(|(token, _)| *token).collect();
        late.into_iter().for_each(|token| self.dismiss(epoll, token));
    }

    /// Tokens are counted, so the lowest is of the one who came first.
    fn make_room(&mut self, epoll: &Epoll) {
        while self.readers.len() >= READERS_MAX
            && let Some((first, _)) = self.readers.first_key_value()
        {
            self.dismiss(epoll, *first);
        }
    }

    fn dismiss(&mut self, epoll: &Epoll, token: u64) {
        if let Some(reader) = self.readers.remove(&token) {
            let _ = epoll.remove(reader.socket.as_fd());
        }
    }
}

impl Reader {
    /// Reads, or writes, what can be now. False: it is over.
    fn serve(&mut self, epoll: &Epoll, token: u64, text: impl FnOnce() -> String) -> io::Result<bool> {
        if self.left.is_empty() {
            let mut piece = [0; REQUEST_MAX];
            let length = match self.socket.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(length) => length,
                Err(e) => return transient(e),
            };
            self.request.extend_from_slice(piece.get(..length).unwrap_or_default());
            match answer(&self.request, text) {
                Some(answer) => self.left = answer,
                None => return Ok(true),
            }
            epoll.change(self.socket.as_fd(), token, Until::Writable)?;
        }
        match self.socket.write(&self.left) {
            Ok(written) => {
                self.left.drain(..written.min(self.left.len()));
                Ok(!self.left.is_empty())
            }
            Err(e) => transient(e),
        }
    }
}

fn transient(e: io::Error) -> io::Result<bool> {
    if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) { Ok(true) } else { Err(e) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn p14_who_holds_all_places_keeps_out_neither_another_nor_an_admin() {
        let epoll = Epoll::new(8).unwrap();
        let mut view = View::default();
        let mut shown = Vec::new();
        for (token, text) in (0..).zip(["1", "2", "3", "4", "5", "6", "7", "8", "9"]) {
            let (near, far) = UnixStream::pair().unwrap();
            view.show(&epoll, token, near.into(), text.into()).unwrap();
            shown.push(far);
        }
        view.ready(&epoll, 8, 9, String::new);
        let text = |mut far: &UnixStream| {
            let mut text = String::new();
            far.read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!((text(&shown[0]).as_str(), text(&shown[8]).as_str()), ("", "9"));
        assert_eq!(view.readers.len(), READERS_MAX - 1);
    }
}
