//! The keyholder gets its end of a session's channel when the session asks.
//!
//! Most sessions never ask for a signature. So the keyholder is not woken for each: it gets its end of a session's channel when there
//! is something to be read from it (P5). What a session can make the listener do by this is to pass its channel on, once.

use crate::links::tell;
use crate::listener::Listener;
use gatepost_sys::net;
use gatepost_wire::link::{OpenKey, SessionId};
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

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
