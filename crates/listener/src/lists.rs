//! DNS lists: the resolver is asked for what they say of a client, and a client is never kept waiting, or sent away, because one does not
//! answer.

use crate::ResolverLink;
use gatepost_channel::{ChannelError, Inbox};
use gatepost_policy::lists::{ListDecision, Scoring};
use gatepost_smtp::text::printable;
use gatepost_wire::event::Course;
use gatepost_wire::link::Weights;
use gatepost_wire::names::{AskList, Listed, Listing};
use gatepost_wire::slice::Screen;
use gatepost_wire::{Direction, ResolverToListener};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The longest that a client waits for all lists, and who is sent away for the text of one.
const WAIT: Duration = Duration::from_secs(3);
/// Octets of a reply (RFC 5321 §4.5.3.1.5), less CRLF.
const REPLY_MAX: usize = 510;

/// One link with the resolver.
#[derive(Debug)]
struct Link {
    end: ResolverLink,
    /// Requests under way.
    asked: RefCell<BTreeMap<u32, oneshot::Sender<Listed>>>,
}

/// The lists.
#[derive(Debug)]
pub(crate) struct Lists {
    scoring: Scoring,
    link: RefCell<Option<Rc<Link>>>,
    last: Cell<u32>,
}

impl Lists {
    pub(crate) fn new(screen: &Screen) -> Self {
        let scoring = Scoring::new(screen.lists.clone(), screen.defer_at, screen.refuse_at);
        Self { scoring, link: RefCell::default(), last: Cell::new(0) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.scoring.rules().is_empty()
    }

    /// Takes a new link with the resolver, which replaces the one before it.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<()> {
        let link = Rc::new(Link { end: ResolverLink::from_fd(fd)?, asked: RefCell::default() });
        self.link.replace(Some(Rc::clone(&link)));
        tokio::task::spawn_local(async move { link.receive().await });
        Ok(())
    }

    /// What becomes of a client by what the lists say of it within [`WAIT`].
    pub(crate) async fn decide(&self, client: IpAddr) -> ListDecision {
        let until = Instant::now() + WAIT;
        let mut coming = Vec::with_capacity(self.scoring.rules().len());
        for list in 0..self.scoring.rules().len() {
            coming.push(timeout_at(until, self.ask(list, client, false)).await.ok().flatten());
        }
        let mut listings = Vec::with_capacity(coming.len());
        for coming in coming {
            // What is there already is taken, late as it may be.
            let listed = match coming {
                Some(coming) => timeout_at(until, coming.answer()).await.ok().flatten(),
                None => None,
            };
            listings.push(listed.map(|listed| listed.listing));
        }
        self.scoring.decide(Weights::default(), &listings)
    }

    /// The zone that weighs most against a client.
    pub(crate) fn zone(&self, decision: ListDecision) -> &str {
        let heaviest = decision.heaviest.and_then(|list| self.scoring.rules().get(list));
        heaviest.map_or("", |rule| rule.zone.as_str())
    }

    /// What a client hears that is sent away: which list lists it, and what that says of it.
    pub(crate) async fn reply(&self, hostname: &str, client: IpAddr, decision: ListDecision) -> String {
        let zone = self.zone(decision);
        let text = match decision.heaviest {
            Some(list) => self.text(list, client).await,
            None => String::new(),
        };
        let why = if text.is_empty() { "ask there".to_owned() } else { text };
        let what = match decision.course {
            Course::Refused => format!("554 5.7.1 {hostname} refuses {client}"),
            _ => format!("421 4.7.1 {hostname} cannot serve {client} now, try again later"),
        };
        let mut line = format!("{what}: it is listed by {zone}: {why}");
        line.truncate(REPLY_MAX);
        line + "\r\n"
    }

    /// The text of a list, cleaned: whoever runs the list has written it.
    async fn text(&self, list: usize, client: IpAddr) -> String {
        let listed = timeout_at(Instant::now() + WAIT, async { self.ask(list, client, true).await?.answer().await });
        let text = listed.await.ok().flatten().filter(|listed| listed.listing != Listing::LeftOut);
        let text = printable(&text.map(|listed| listed.text).unwrap_or_default());
        text.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect()
    }

    /// Where the answer comes. None: the resolver is away.
    async fn ask(&self, list: usize, client: IpAddr, text: bool) -> Option<Asked> {
        let link = self.link.borrow().clone()?;
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        let (sender, coming) = oneshot::channel();
        link.asked.borrow_mut().insert(number, sender);
        let asked = Asked { link, number, coming };
        let ask = AskList { number, list: u8::try_from(list).ok()?, client, text };
        asked.link.end.tell(&ask).await.ok()?;
        Some(asked)
    }
}

/// A request under way, for as long as somebody waits for its answer: the resolver may be owned, and never answer.
struct Asked {
    link: Rc<Link>,
    number: u32,
    coming: oneshot::Receiver<Listed>,
}

impl Asked {
    /// None: the link is at its end.
    async fn answer(mut self) -> Option<Listed> {
        (&mut self.coming).await.ok()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.link.asked.borrow_mut().remove(&self.number);
    }
}

impl Link {
    /// Reads answers until the link ends.
    async fn receive(&self) {
        let mut inbox = Inbox::new(ResolverToListener::FRAME_MAX);
        loop {
            match self.end.recv(&mut inbox).await {
                Ok(listed) => {
                    if let Some(waits) = self.asked.borrow_mut().remove(&listed.number) {
                        let _ = waits.send(listed);
                    }
                }
                Err(e) => {
                    if !matches!(e, ChannelError::Closed) {
                        tracing::error!(error = %e, "resolver link dropped");
                    }
                    return self.asked.borrow_mut().clear();
                }
            }
        }
    }
}
