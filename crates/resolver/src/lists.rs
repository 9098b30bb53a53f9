//! DNS lists (RFC 5782): what one says of a client. A list that can't be believed is left out, and nobody hears of it but the log.

use crate::Resolver;
use crate::health::{Health, Heard, News, heard};
use crate::question::{Kind, Question};
use gatepost_smtp::names::{Found, HostName};
use gatepost_wire::event;
use gatepost_wire::names::{AskList, Listed, Listing};
use gatepost_wire::slice::{About, ListZone};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What no list lists, and what each does (RFC 5782 §5): addresses, names.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
const NAMES: [&str; 2] = ["invalid", "test"];

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

    fn tell(&self, news: Option<News>) {
        let list = self.zone.as_str().as_bytes();
        match news {
            None => {}
            Some(News::Well) => gatepost_log::tell(event::ListAnswers { list }),
            Some(News::Trouble(why, code)) => gatepost_log::tell(event::ListLeftOut { list, why, code }),
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

    async fn prove(&self, resolver: &Resolver, now: impl Fn() -> u64) {
        let question = |which: usize| match self.about {
            About::Address => self.of_address((*ADDRESSES.get(which)?).into(), Kind::A),
            About::Name => self.of_name(NAMES.get(which)?, Kind::A),
        };
        let never = self.say(resolver, question(0)).await;
        let always = self.say(resolver, question(1)).await;
        if let (Some(never), Some(always)) = (never, always) {
            let news = self.health().proved(&never, &always, now());
            self.tell(news);
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

    /// What each of them says counts.
    pub(crate) fn are_well(&self) -> bool {
        self.lists.iter().all(|list| list.health().is_well())
    }

    /// Asks those of which it is time about what no list lists, and what each does.
    pub(crate) async fn prove(&self, resolver: &Resolver) {
        for list in &self.lists {
            let due = list.health().is_due(self.now());
            if due {
                list.prove(resolver, || self.now()).await;
            }
        }
    }

    /// What a list says of a client.
    pub(crate) async fn ask(&self, resolver: &Resolver, ask: AskList) -> Listed {
        let (listing, text) = self.say(resolver, ask).await.unwrap_or((Listing::LeftOut, Vec::new()));
        Listed { number: ask.number, listing, text }
    }

    async fn say(&self, resolver: &Resolver, ask: AskList) -> Option<(Listing, Vec<u8>)> {
        const UNLISTED: (Listing, Vec<u8>) = (Listing::Unlisted, Vec::new());
        let list = self.lists.get(usize::from(ask.list)).filter(|list| list.health().is_well())?;
        let name = match list.about {
            About::Address => None,
            About::Name => match resolver.client(ask.client).await.confirmed {
                Found::Known(name) => Some(name),
                Found::None => return Some(UNLISTED),
                // The client's name servers fail, which is not the list's fault.
                Found::Temporary => return None,
            },
        };
        let question = |kind| match &name {
            None => list.of_address(ask.client, kind),
            Some(name) => list.of_name(name.as_str(), kind),
        };
        // A name that is too long to be asked about isn't listed.
        let Some(address) = question(Kind::A) else { return Some(UNLISTED) };
        let heard = list.say(resolver, Some(address)).await?;
        let news = list.health().answered(&heard, self.now());
        list.tell(news);
        match heard {
            Heard::Unlisted => Some(UNLISTED),
            Heard::Trouble(..) => None,
            Heard::Codes(codes) => {
                let text = match question(Kind::Txt).filter(|_| ask.text) {
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
