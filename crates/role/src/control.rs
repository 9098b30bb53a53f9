//! The blocking face: for roles with one loop over descriptors.

use crate::{Orders, Phase, RoleError, SHORT_FRAME, Step, logged};
use gatepost_channel::Inbox;
use gatepost_jail::ControlEnd;
use gatepost_wire::control::{Order, Report, Role};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A role's channel to the launcher. Wait for its descriptor with the others, then take one [`Control::order`].
#[derive(Debug)]
pub struct Control {
    end: ControlEnd,
    orders: Orders,
    inbox: Inbox,
}

impl Control {
    /// For `role`, which has just entered its jail.
    #[must_use]
    pub fn new(role: Role, end: ControlEnd) -> Self {
        Self { end, orders: Orders::new(role), inbox: Inbox::new(SHORT_FRAME) }
    }

    /// How far the role's life has gone.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.orders.phase()
    }

    /// Waits for an order. A ping is answered here.
    ///
    /// # Errors
    /// The launcher is gone, or ordered what has no place here.
    pub fn order(&mut self) -> Result<Step<OwnedFd>, RoleError> {
        let (order, descriptors) = self.end.recv_with(&mut self.inbox)?;
        let step = self.orders.take(order, descriptors)?;
        if order == Order::Ping {
            self.report(Report::Alive)?;
        }
        Ok(logged(step))
    }

    /// The role can serve.
    ///
    /// # Errors
    /// The launcher is gone.
    pub fn ready(&mut self) -> Result<(), RoleError> {
        if self.orders.ready() { self.report(Report::Ready) } else { Ok(()) }
    }

    /// Tells the launcher something else.
    ///
    /// # Errors
    /// The launcher is gone.
    pub fn report(&self, report: Report) -> Result<(), RoleError> {
        Ok(self.end.tell(&report)?)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}
