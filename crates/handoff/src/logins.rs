//! Who the clients of sessions for submission are, from the auth role: a session can say nothing about it (P4).

use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_wire::auth::{LoggedIn, Noted, is_login};
use gatepost_wire::link::SessionId;
use gatepost_wire::{AuthToHandoff, Direction, HandoffToAuth};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sessions for submission, each with its login once there is one.
#[derive(Debug, Default)]
pub(crate) struct Logins(Mutex<HashMap<u64, Option<Arc<str>>>>);

/// One session's place, for as long as it is served.
#[derive(Debug)]
pub(crate) struct Pending {
    logins: Arc<Logins>,
    id: SessionId,
}

impl Logins {
    /// A session begins whose client has to log in.
    pub(crate) fn enter(self: &Arc<Self>, id: SessionId) -> Pending {
        self.lock().insert(id.0, None);
        Pending { logins: Arc::clone(self), id }
    }

    /// The client of that session has logged in. False: there is none that waits for it, or it is no login.
    fn note(&self, LoggedIn { id, login }: LoggedIn<'_>) -> bool {
        let Some(login) = std::str::from_utf8(login).ok().filter(|login| is_login(login)) else { return false };
        match self.lock().get_mut(&id.0) {
            Some(place @ None) => {
                *place = Some(login.into());
                true
            }
            _ => false,
        }
    }

    /// Hears the auth role until it is gone. What its link said before stays true.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub(crate) fn link(self: &Arc<Self>, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let (link, logins) = (AsyncEnd::<HandoffToAuth, AuthToHandoff>::from_fd(fd)?, Arc::clone(self));
        Ok(async move {
            let mut inbox = Inbox::new(AuthToHandoff::FRAME_MAX);
            let ended = loop {
                let noted = match link.recv(&mut inbox).await {
                    Ok(said) => Noted { id: said.id, noted: logins.note(said) },
                    Err(e) => break e,
                };
                if let Err(e) = link.tell(&noted).await {
                    break e;
                }
            };
            if !matches!(ended, ChannelError::Closed) {
                tracing::error!("auth: {ended}");
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<Arc<str>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Who the client is, once it has logged in.
    pub(crate) fn login(&self) -> Option<Arc<str>> {
        self.logins.lock().get(&self.id.0).cloned().flatten()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.logins.lock().remove(&self.id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_a_session_has_the_login_that_auth_gave_it_and_no_other() {
        let logins = Arc::<Logins>::default();
        let (one, other) = (logins.enter(SessionId(1)), logins.enter(SessionId(2)));
        let said = |id, login: &'static str| logins.note(LoggedIn { id: SessionId(id), login: login.as_bytes() });
        for none in ["", "a\nb", "a b", "a\u{a0}b", "joe:x", "\u{85}"] {
            assert!(!said(1, none), "{none:?}");
        }
        assert!(!said(3, "joe"));
        assert!(said(1, "joe"));
        assert!(!said(1, "ann"), "one login a session");
        assert_eq!((one.login().as_deref(), other.login()), (Some("joe"), None));
        drop(one);
        assert!(!said(1, "joe"), "it is gone");
    }
}
