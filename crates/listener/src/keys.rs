//! Channels to the keyholder on which no session has asked for anything yet.
//!
//! Most sessions never ask for a signature. So the keyholder is not woken for each: it gets its end of a session's channel when there
//! is something to be read from it (P5). What a session can make the listener do by this is to pass its channel on, once.

use crate::connection::Listener;
use crate::links::tell;
use gatepost_channel::End;
use gatepost_sys::epoll::Epoll;
use gatepost_sys::net;
use gatepost_wire::link::{OpenKey, SessionId};
use gatepost_wire::{KeyholderToSession, SessionToKeyholder};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Sessions that are seen to ask at once; the others are seen next.
const BATCH: usize = 64;

/// The set of channels that are watched. To be made before the system call filter is in force.
pub(crate) fn watch() -> io::Result<Epoll> {
    Epoll::new(BATCH)
}

/// A session's end.
pub(crate) type SessionEnd = End<SessionToKeyholder, KeyholderToSession>;

/// The keyholder's end of a channel that waits for its first question.
pub(crate) type Unasked = End<KeyholderToSession, SessionToKeyholder>;

/// All such channels, each known by its session.
#[derive(Debug)]
pub(crate) struct Keys {
    watched: RefCell<AsyncFd<Epoll>>,
    asking: RefCell<Vec<u64>>,
}

impl Keys {
    /// On the runtime.
    pub(crate) fn new(epoll: Epoll) -> io::Result<Self> {
        let watched = RefCell::new(gatepost_channel::watch(epoll, Interest::READABLE)?);
        Ok(Self { watched, asking: RefCell::default() })
    }

    /// A channel for this session: its end, and the one that is watched.
    pub(crate) fn channel(&self, id: SessionId) -> io::Result<(SessionEnd, Unasked)> {
        let (session, unasked) = SessionEnd::pair()?;
        self.watched.borrow().get_ref().add(unasked.as_fd(), id.0)?;
        Ok((session, unasked))
    }

    /// The next session that has sent something or closed its channel, which is still watched.
    fn poll_asking(&self, cx: &mut Context<'_>) -> Poll<io::Result<SessionId>> {
        let mut asking = self.asking.borrow_mut();
        loop {
            if let Some(id) = asking.pop() {
                return Poll::Ready(Ok(SessionId(id)));
            }
            let mut watched = self.watched.borrow_mut();
            let mut guard = ready!(watched.poll_read_ready_mut(cx))?;
            guard.get_inner_mut().wait(Some(Duration::ZERO), &mut asking)?;
            // All that there are: another look would be a call for each session that ends.
            if asking.len() < BATCH {
                guard.clear_ready();
            }
        }
    }

    fn forget(&self, unasked: &Unasked) {
        // Not in the set: it is forgotten already.
        let _ = self.watched.borrow().get_ref().remove(unasked.as_fd());
    }
}

impl Listener {
    /// Gives the keyholder the channels of sessions that ask, for as long as the role lives. What it ends with ends the role: without
    /// signatures every client that wants TLS would be taken and fail, where a new listener can serve it.
    pub(crate) async fn pass_keys_on(self: Rc<Self>) -> io::Error {
        loop {
            match poll_fn(|cx| self.keys.poll_asking(cx)).await {
                Ok(id) => self.pass_key_on(id).await,
                Err(e) => return e,
            }
        }
    }

    /// A session that cannot be served finds its channel closed, and its handshake fails.
    async fn pass_key_on(&self, id: SessionId) {
        let Some((unasked, client)) = self.sessions.borrow_mut().take_key(id) else { return };
        // Most have ended. A frame of no octets is none that the keyholder would answer.
        if net::peek(unasked.as_fd(), &mut [0]).is_ok_and(|octets| octets == 0) {
            return;
        }
        self.keys.forget(&unasked);
        let Some(keyholder) = self.links.borrow().keyholder() else { return };
        if let Err(e) = tell(&keyholder, &OpenKey { id, client: client.ip() }, &[unasked.as_fd()]).await
            && self.may_log(client.ip())
        {
            tracing::warn!(session = %id, %client, error = %e, "no signature: the keyholder cannot be reached; the handshake fails");
        }
    }
}
