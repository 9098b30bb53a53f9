//! DNS lists (RFC 5782): what one says of a client. A list that can't be believed is left out, and nobody hears of it but the log.

use crate::Resolver;
use crate::health::{Change, Health, Heard, heard};
use crate::question::{Kind, Question};
use gatepost_smtp::names::{Found, HostName};
use gatepost_wire::event;
use gatepost_wire::names::{AskHelo, AskList, Listed, Listing};
use gatepost_wire::slice::{About, ListZone};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::task::JoinSet;

/// What no list lists, and what each does (RFC 5782 §5): addresses, names.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
const NAMES: [&str; 2] = ["invalid", "test"];

/// It does not list what was asked.
const UNLISTED: (Listing, Vec<u8>) = (Listing::Unlisted, Vec::new());

/// One list.
#[derive(Debug)]
struct List {
    zone: HostName,
    about: About,
    health: Mutex<Health>,
}

impl List {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: Option<Change>) {
        let list = self.zone.as_str().as_bytes();
        match change {
            None => {}
            Some(Change::Recovered) => gatepost_log::tell(event::ListAnswers { list }),
            Some(Change::Trouble(why, code)) => gatepost_log::tell(event::ListLeftOut { list, why, code }),
        }
    }

    fn of_address(&self, ip: IpAddr, kind: Kind) -> Option<Question> {
        Question::listed_address(ip, &self.zone, kind)
    }

    fn of_name(&self, name: &str, kind: Kind) -> Option<Question> {
        Question::listed_name(name, &self.zone, kind)
    }

    async fn say(&self, resolver: &Resolver, question: Option<Question>) -> Option<Heard> {
        let heard = heard(&resolver.listing(question?).await);
        // That no name server answers is not the list's fault.
        if matches!(heard, Heard::Trouble(..)) && resolver.is_silent() { None } else { Some(heard) }
    }

    /// Asks about what no list lists, and about what each does.
    async fn prove(&self, resolver: &Resolver, now: impl Fn() -> u64) {
        let question = |which: usize| match self.about {
            About::Address => self.of_address((*ADDRESSES.get(which)?).into(), Kind::A),
            About::Name | About::Helo => self.of_name(NAMES.get(which)?, Kind::A),
        };
        let never = self.say(resolver, question(0)).await;
        let always = self.say(resolver, question(1)).await;
        if let (Some(never), Some(always)) = (never, always) {
            let change = self.health().proved(&never, &always, now());
            self.tell(change);
        }
    }
}

/// The lists of the configuration.
#[derive(Debug)]
pub(crate) struct Lists {
    lists: Vec<List>,
    begun: Instant,
}

impl Lists {
    pub(crate) fn new(zones: &[ListZone]) -> Self {
        let list = |ListZone { zone, about }: &ListZone| List {
            zone: zone.clone(),
            about: *about,
            health: Mutex::new(Health::new()),
        };
        Self { lists: zones.iter().map(list).collect(), begun: Instant::now() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// A line for each: whether it counts.
    pub(crate) fn describe(&self) -> String {
        self.lists.iter().map(|list| format!("list     {}: {}\n", list.zone, list.health().describe())).collect()
    }

    /// What each of them says counts, and each lists what every list does.
    pub(crate) fn are_proved(&self) -> bool {
        self.lists.iter().all(|list| list.health().is_proved())
    }

    /// Proves those of which it is time, all at once: one that does not answer must not keep the others from being proved.
    pub(crate) async fn prove(self: Arc<Self>, resolver: Arc<Resolver>) {
        let mut proofs = JoinSet::new();
        for place in 0..self.lists.len() {
            let (lists, resolver) = (Arc::clone(&self), Arc::clone(&resolver));
            proofs.spawn(async move {
                let due = lists.lists.get(place).filter(|list| list.health().is_due(lists.now()));
                if let Some(list) = due {
                    list.prove(&resolver, || lists.now()).await;
                }
            });
        }
        proofs.join_all().await;
    }

    /// Tells of those whose first proof has no end yet. Not while no name server answers, which is no list's fault.
    pub(crate) fn overdue(&self, resolver: &Resolver) {
        for list in self.lists.iter().filter(|_| !resolver.is_silent()) {
            let change = list.health().overdue(self.now());
            list.tell(change);
        }
    }

    /// What a list says of a client.
    pub(crate) async fn ask(&self, resolver: &Resolver, ask: AskList) -> Listed {
        let said = async {
            let list = self.well(ask.list)?;
            let name = match list.about {
                About::Address => None,
                About::Name => match resolver.client(ask.client).await.confirmed {
                    Found::Known(name) => Some(name),
                    Found::None => return Some(UNLISTED),
                    // The client's name servers fail, which is not the list's fault.
                    Found::Temporary => return None,
                },
                // Nobody has said what the client calls itself.
                About::Helo => return None,
            };
            let question = |kind| match &name {
                None => list.of_address(ask.client, kind),
                Some(name) => list.of_name(name.as_str(), kind),
            };
            self.say(resolver, list, question, ask.text).await
        };
        let (listing, text) = said.await.unwrap_or((Listing::LeftOut, Vec::new()));
        Listed { number: ask.number, listing, text }
    }

    /// What a list says of what a client calls itself.
    pub(crate) async fn ask_helo(&self, resolver: &Resolver, ask: &AskHelo) -> Listed {
        let said = async {
            let list = self.well(ask.list).filter(|list| list.about == About::Helo)?;
            self.say(resolver, list, |kind| list.of_name(ask.name.as_str(), kind), ask.text).await
        };
        let (listing, text) = said.await.unwrap_or((Listing::LeftOut, Vec::new()));
        Listed { number: ask.number, listing, text }
    }

    /// The list at a place, if what it says counts.
    fn well(&self, place: u8) -> Option<&List> {
        self.lists.get(usize::from(place)).filter(|list| list.health().is_well())
    }

    /// What a list says to a question, with its text if that is wanted. None: nothing that counts.
    async fn say(
        &self,
        resolver: &Resolver,
        list: &List,
        question: impl Fn(Kind) -> Option<Question>,
        text: bool,
    ) -> Option<(Listing, Vec<u8>)> {
        // A name that is too long to be asked about isn't listed.
        let Some(address) = question(Kind::A) else { return Some(UNLISTED) };
        let heard = list.say(resolver, Some(address)).await?;
        let change = list.health().answered(&heard, self.now());
        list.tell(change);
        match heard {
            Heard::Unlisted => Some(UNLISTED),
            Heard::Trouble(..) => None,
            Heard::Codes(codes) => {
                let text = match question(Kind::Txt).filter(|_| text) {
                    Some(text) => resolver.text(text).await.unwrap_or_default(),
                    None => Vec::new(),
                };
                Some((Listing::Codes(codes.into_iter().map(Ipv4Addr::to_bits).collect()), text))
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
