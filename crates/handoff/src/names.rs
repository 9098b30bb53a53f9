//! The resolver role, which knows what clients are called, and what DNS lists say of that: this process has no network. Whoever owns it
//! can lie about names, which decide nothing here, and have clients refused by lists that are configured.

use crate::recent_names::{RecentNames, SourceNumber};
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_role::Tickets;
use gatepost_smtp::names::{ClientNames, Found, HostName};
use gatepost_wire::names::{Ask, AskHelo, Listed, LookUp, LookedUp, NamesNews};
use gatepost_wire::{Direction, HandoffToResolver, ResolverToHandoff};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// One link with the resolver.
#[derive(Debug)]
struct Link {
    end: AsyncEnd<HandoffToResolver, ResolverToHandoff>,
    tickets: Tickets<Heard>,
    /// Of lists.
    listings: Tickets<Listed>,
    /// Of this resolver: another begins anew.
    recent: Mutex<RecentNames>,
}

/// The resolver's answer.
#[derive(Debug)]
struct Heard {
    names: ClientNames,
    good: Duration,
    source: SourceNumber,
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
        let (tickets, listings, recent) = (Tickets::default(), Tickets::default(), Mutex::default());
        let link = Arc::new(Link { end: AsyncEnd::from_fd(fd)?, tickets, listings, recent });
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&link));
        Ok(async move { link.receive().await })
    }

    /// Asks for the names of a client, and waits for them so long at most. Nobody is asked for what was heard a moment ago.
    pub(crate) async fn names(&self, client: IpAddr, wait: Duration) -> Names {
        let mut names = Names { known: None, coming: None };
        let Some(link) = self.current() else { return names };
        names.known = link.recent().get(client, Instant::now());
        if names.known.is_some() {
            return names;
        }
        // A resolver that reads nothing makes nobody wait for longer either.
        let asked = timeout(wait, async {
            names.coming = link.ask(client).await;
            if let Some(coming) = &mut names.coming {
                names.known = coming.await.ok().map(|Heard { names, good, source }| {
                    link.recent().put(client, &names, good, source, Instant::now());
                    names
                });
            }
        });
        if asked.await.is_ok() {
            names.coming = None;
        }
        names
    }

    /// Asks what a list says of what a client calls itself; where the answer comes. `None`: the resolver is away.
    pub(crate) async fn ask_helo(
        &self,
        list: u8,
        client: IpAddr,
        name: &HostName,
        text: bool,
    ) -> Option<oneshot::Receiver<Listed>> {
        let link = self.current()?;
        let (number, coming) = link.listings.issue().ok()?;
        link.end.tell(&Ask::Helo(AskHelo { number, list, client, name: name.clone(), text })).await.ok()?;
        Some(coming)
    }

    /// `None`: the resolver is away.
    fn current(&self) -> Option<Arc<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Link {
    fn recent(&self) -> MutexGuard<'_, RecentNames> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer comes. `None`: the resolver is away.
    async fn ask(&self, client: IpAddr) -> Option<oneshot::Receiver<Heard>> {
        let (number, coming) = self.tickets.issue().ok()?;
        self.end.tell(&Ask::LookUp(LookUp { number, client })).await.ok()?;
        Some(coming)
    }

    /// Reads answers until the link ends.
    async fn receive(&self) {
        let mut inbox = Inbox::new(ResolverToHandoff::FRAME_MAX);
        loop {
            match self.end.recv(&mut inbox).await {
                Ok(NamesNews::LookedUp(LookedUp { number, reverse, confirmed, good })) => {
                    let (names, source) = (ClientNames { reverse, confirmed }, self.recent().source());
                    self.tickets.answer(number, Heard { names, good: Duration::from_secs(good.into()), source });
                }
                Ok(NamesNews::Changed) => self.recent().clear(),
                Ok(NamesNews::Listed(listed)) => self.listings.answer(listed.number, listed),
                Err(e) => {
                    if !matches!(e, ChannelError::Closed) {
                        tracing::error!("resolver: {e}");
                    }
                    self.tickets.close();
                    return self.listings.close();
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
    coming: Option<oneshot::Receiver<Heard>>,
}

impl Names {
    /// Nobody was asked.
    pub(crate) const UNASKED: Self = Self { known: None, coming: None };

    /// The confirmed name, as far as was known when it was asked for last.
    pub(crate) fn confirmed(&self) -> &Found<HostName> {
        &self.known.as_ref().unwrap_or(&ClientNames::TEMPORARY).confirmed
    }

    /// The names. Until they come, they are temporarily unknown.
    pub(crate) fn now(&mut self) -> &ClientNames {
        if let Some(coming) = &mut self.coming
            && let Ok(heard) = coming.try_recv()
        {
            self.known = Some(heard.names);
            self.coming = None;
        }
        self.known.as_ref().unwrap_or(&ClientNames::TEMPORARY)
    }
}
