//! The face for roles on a tokio runtime, and that runtime.

use crate::{Orders, Phase, RoleError, SHORT_FRAME, Step, logged};
use gatepost_channel::{AsyncEnd, Inbox};
use gatepost_jail::ControlEnd;
use gatepost_wire::control::{Order, Report, Role};
use gatepost_wire::{LauncherToRole, RoleToLauncher};
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;
use tokio::runtime::{Builder, Runtime};

/// A runtime of one thread. To be made before the system call filter closes.
///
/// # Errors
/// The system's refusal.
pub fn runtime() -> Result<Runtime, RoleError> {
    Builder::new_current_thread().enable_io().enable_time().build().map_err(RoleError::system("make a runtime"))
}

/// What came first.
#[derive(Debug)]
pub enum Heard<T> {
    /// An order.
    Order(Step<OwnedFd>),
    /// The other thing that was waited for.
    Other(T),
}

/// A role's channel to the launcher, on a runtime.
#[derive(Debug)]
pub struct AsyncControl {
    end: AsyncEnd<RoleToLauncher, LauncherToRole>,
    orders: Orders,
    inbox: Inbox,
    /// A ping has come that is not answered yet. Kept here, since a wait for orders may be given up at any time.
    pinged: bool,
}

impl AsyncControl {
    /// For `role`, which has just entered its jail. To be called on the runtime.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub fn new(role: Role, end: ControlEnd) -> Result<Self, RoleError> {
        let end = AsyncEnd::new(end).map_err(RoleError::system("watch the launcher"))?;
        Ok(Self { end, orders: Orders::new(role), inbox: Inbox::new(SHORT_FRAME), pinged: false })
    }

    /// How far the role's life has gone.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.orders.phase()
    }

    /// Waits for an order. A ping is answered here. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// The launcher is gone, or ordered what has no place here.
    pub async fn order(&mut self) -> Result<Step<OwnedFd>, RoleError> {
        loop {
            if self.pinged {
                self.end.tell(&Report::Alive).await?;
                self.pinged = false;
                return Ok(Step::Noted);
            }
            let (order, descriptors) = self.end.recv_with(&mut self.inbox).await?;
            let step = self.orders.take(order, descriptors)?;
            match order {
                Order::Ping => self.pinged = true,
                _ => return Ok(logged(step)),
            }
        }
    }

    /// Waits for an order or for `other`, an order first when there are both. `other` is dropped when an order comes: it must
    /// bear that.
    ///
    /// # Errors
    /// As [`AsyncControl::order`].
    pub async fn order_or<T>(&mut self, other: impl Future<Output = T>) -> Result<Heard<T>, RoleError> {
        match first(self.order(), other).await {
            First::One(order) => order.map(Heard::Order),
            First::Other(other) => Ok(Heard::Other(other)),
        }
    }

    /// Sessions may come, but until the role is ready they get nothing but temporary refusals. Only handoff says so.
    ///
    /// # Errors
    /// The launcher is gone.
    pub async fn waiting(&mut self) -> Result<(), RoleError> {
        if self.phase() == Phase::Starting { Ok(self.end.tell(&Report::Waiting).await?) } else { Ok(()) }
    }

    /// Tells the launcher something else.
    ///
    /// # Errors
    /// The launcher is gone.
    pub async fn report(&mut self, report: Report) -> Result<(), RoleError> {
        Ok(self.end.tell(&report).await?)
    }

    /// The role can serve.
    ///
    /// # Errors
    /// The launcher is gone.
    pub async fn ready(&mut self) -> Result<(), RoleError> {
        if self.orders.ready() { Ok(self.end.tell(&Report::Ready).await?) } else { Ok(()) }
    }
}

/// Which of two came first.
#[derive(Debug)]
pub enum First<A, B> {
    /// The one that counts where both are there.
    One(A),
    /// The other.
    Other(B),
}

/// Waits for either, for `one` where both are there. Whichever comes second is dropped unfinished.
pub async fn first<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> First<A, B> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(one) => Poll::Ready(First::One(one)),
        Poll::Pending => other.as_mut().poll(cx).map(First::Other),
    })
    .await
}

/// Runs `work` until it is done, or until `end`: then None.
pub async fn unless<T>(end: impl Future<Output = ()>, work: impl Future<Output = T>) -> Option<T> {
    match first(end, work).await {
        First::One(()) => None,
        First::Other(done) => Some(done),
    }
}
