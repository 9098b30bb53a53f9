//! The newest link with each role, and those with nurseries that have been replaced.

use crate::sessions::Nursery;
use crate::{AuthLink, HandoffLink, KeyholderLink, NurseryLink};
use gatepost_channel::{AsyncEnd, ChannelError};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_sys::seq::is_crowded;
use gatepost_wire::Direction;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

/// Wait before descriptors are sent again that were too many at once.
const CROWDED_WAIT: Duration = Duration::from_millis(2);

/// A link, and its number among those that there have been.
pub(crate) type Numbered<L> = (u64, Rc<L>);

#[derive(Debug, Default)]
pub(crate) struct Links {
    last: u64,
    /// The one that forks new sessions.
    nursery: Option<Nursery>,
    nurseries: BTreeMap<Nursery, Rc<NurseryLink>>,
    handoff: Option<Numbered<HandoffLink>>,
    keyholder: Option<Rc<KeyholderLink>>,
    auth: Option<Numbered<AuthLink>>,
    /// What that auth offers to every session, if that is known.
    offer: Option<Mechanisms>,
}

impl Links {
    /// New sessions go to this nursery. Gives its name and the link with the one before, if that is still there.
    pub(crate) fn set_nursery(&mut self, link: Rc<NurseryLink>) -> (Nursery, Option<Rc<NurseryLink>>) {
        let nursery = Nursery(self.number());
        self.nurseries.insert(nursery, link);
        let before = self.nursery.replace(nursery).and_then(|before| self.nurseries.get(&before).cloned());
        (nursery, before)
    }

    /// That nursery is gone.
    pub(crate) fn drop_nursery(&mut self, nursery: Nursery) {
        self.nurseries.remove(&nursery);
        self.nursery = self.nursery.filter(|newest| *newest != nursery);
    }

    /// The nursery that forks new sessions.
    pub(crate) fn nursery(&self) -> Option<(Nursery, Rc<NurseryLink>)> {
        self.nursery.and_then(|newest| Some((newest, self.nursery_of(newest)?)))
    }

    /// One that may have been replaced.
    pub(crate) fn nursery_of(&self, nursery: Nursery) -> Option<Rc<NurseryLink>> {
        self.nurseries.get(&nursery).cloned()
    }

    /// Sessions are known to this handoff from now on. Gives the number of the link.
    pub(crate) fn set_handoff(&mut self, link: Rc<HandoffLink>) -> u64 {
        let number = self.number();
        self.handoff = Some((number, link));
        number
    }

    /// That link with handoff is at its end.
    pub(crate) fn drop_handoff(&mut self, number: u64) {
        self.handoff = self.handoff.take().filter(|(newest, _)| *newest != number);
    }

    pub(crate) fn handoff(&self) -> Option<Numbered<HandoffLink>> {
        self.handoff.clone()
    }

    pub(crate) fn set_keyholder(&mut self, link: KeyholderLink) {
        self.keyholder = Some(Rc::new(link));
    }

    pub(crate) fn keyholder(&self) -> Option<Rc<KeyholderLink>> {
        self.keyholder.clone()
    }

    /// Passwords are checked by this auth from now on. Gives the number of the link.
    pub(crate) fn set_auth(&mut self, link: Rc<AuthLink>) -> u64 {
        let number = self.number();
        self.auth = Some((number, link));
        self.offer = None;
        number
    }

    /// What every session is offered by the auth of that link.
    pub(crate) fn set_offer(&mut self, number: u64, offer: Option<Mechanisms>) {
        if self.auth.as_ref().is_some_and(|(newest, _)| *newest == number) {
            self.offer = offer;
        }
    }

    /// Auth, and what it offers to every session.
    pub(crate) fn auth(&self) -> Option<(Rc<AuthLink>, Option<Mechanisms>)> {
        self.auth.as_ref().map(|(_, link)| (Rc::clone(link), self.offer))
    }

    fn number(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }
}

/// Sends a message with its descriptors. Waits, and the accept loop with it, while the peer is behind: either its queue is
/// full or, with many descriptors a message, the kernel's count of those under way is.
pub(crate) async fn tell<Out: Direction, In: Direction>(
    link: &AsyncEnd<Out, In>,
    message: &Out::Message<'_>,
    fds: &[BorrowedFd<'_>],
) -> Result<(), ChannelError> {
    loop {
        match link.tell_with(message, fds).await {
            Err(ChannelError::Io(e)) if is_crowded(&e) => tokio::time::sleep(CROWDED_WAIT).await,
            other => return other,
        }
    }
}
