//! The resolver role, which knows what clients are called: this process has no network. Whoever owns it can lie about names, and names
//! decide nothing here.

use crate::backend::Tickets;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_smtp::names::{ClientNames, HostName};
use gatepost_wire::names::{LookUp, LookedUp};
use gatepost_wire::{Direction, HandoffToResolver, ResolverToHandoff};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// One link with the resolver.
#[derive(Debug)]
struct Link {
    end: AsyncEnd<HandoffToResolver, ResolverToHandoff>,
    tickets: Tickets<ClientNames>,
}

/// The resolver, by the link that is current.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    link: Mutex<Option<Arc<Link>>>,
}

impl Resolver {
    /// Takes a new link, which replaces the one before it. The future reads its answers until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + 'static> {
        let link = Arc::new(Link { end: AsyncEnd::from_fd(fd)?, tickets: Tickets::default() });
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&link));
        Ok(async move { link.receive().await })
    }

    /// Asks for the names of a client, and waits for them so long at most.
    pub(crate) async fn names(&self, client: IpAddr, wait: Duration) -> Names {
        let mut names = Names { known: None, coming: None };
        // A resolver that reads nothing makes nobody wait for longer either.
        let asked = timeout(wait, async {
            names.coming = self.ask(client).await;
            if let Some(coming) = &mut names.coming {
                names.known = coming.await.ok();
            }
        });
        if asked.await.is_ok() {
            names.coming = None;
        }
        names
    }

    /// Where the answer comes. `None`: the resolver is away.
    async fn ask(&self, client: IpAddr) -> Option<oneshot::Receiver<ClientNames>> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (number, coming) = link.tickets.issue().ok()?;
        link.end.tell(&LookUp { number, client }).await.ok()?;
        Some(coming)
    }
}

impl Link {
    /// Reads answers until the link ends.
    async fn receive(&self) {
        let mut inbox = Inbox::new(ResolverToHandoff::FRAME_MAX);
        loop {
            match self.end.recv(&mut inbox).await {
                Ok(LookedUp { number, reverse, confirmed }) => {
                    self.tickets.answer(number, ClientNames { reverse, confirmed });
                }
                Err(e) => {
                    if !matches!(e, ChannelError::Closed) {
                        tracing::error!("resolver: {e}");
                    }
                    return self.tickets.close();
                }
            }
        }
    }
}

/// What one client is called, as far as it is known by now.
#[derive(Debug)]
pub(crate) struct Names {
    known: Option<ClientNames>,
    /// They didn't come in time for the greeting, but may come still.
    coming: Option<oneshot::Receiver<ClientNames>>,
}

impl Names {
    /// Nobody was asked.
    pub(crate) const UNASKED: Self = Self { known: None, coming: None };

    /// The confirmed name, as far as was known when it was asked for last.
    pub(crate) fn known(&self) -> Option<&HostName> {
        self.known.as_ref()?.confirmed.known()
    }

    /// The names. Until they come, they are temporarily unknown.
    pub(crate) fn now(&mut self) -> &ClientNames {
        if let Some(coming) = &mut self.coming
            && let Ok(names) = coming.try_recv()
        {
            self.known = Some(names);
            self.coming = None;
        }
        self.known.as_ref().unwrap_or(&ClientNames::TEMPORARY)
    }
}
