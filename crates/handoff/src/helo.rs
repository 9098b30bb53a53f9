//! DNS lists that are asked about what a client says in HELO or EHLO. That is known here with MAIL, so a recipient hears what comes of
//! it. The weights are added to those of the lists that the listener has asked before the greeting. A list that does not answer in
//! time counts for nothing.

use crate::names::Resolver;
use crate::outcome::Outcome;
use crate::shared::Shared;
use crate::verdict;
use gatepost_policy::lists::{ListDecision, Scoring};
use gatepost_smtp::names::HostName;
use gatepost_smtp::text::Text;
use gatepost_wire::event::{self, Course};
use gatepost_wire::link::{Open, Weights};
use gatepost_wire::names::{Listed, Listing};
use gatepost_wire::slice::HeloLists;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The longest that a recipient waits for all lists, and who is refused or put off for the text of one.
const WAIT: Duration = Duration::from_secs(3);

/// The lists.
#[derive(Debug)]
pub(crate) struct Lists {
    scoring: Scoring,
    /// The resolver's number for the first.
    first: u8,
}

impl Lists {
    pub(crate) fn new(lists: &HeloLists) -> Self {
        Self { scoring: Scoring::new(lists.rules.clone(), lists.defer_at, lists.refuse_at), first: lists.first }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.scoring.rules().is_empty()
    }

    fn number(&self, list: usize) -> u8 {
        u8::try_from(list).unwrap_or(u8::MAX).saturating_add(self.first)
    }

    /// What comes of what they say of a name.
    async fn decide(&self, resolver: &Resolver, client: IpAddr, name: &HostName, before: Weights) -> ListDecision {
        let until = Instant::now() + WAIT;
        let mut asked = Vec::with_capacity(self.scoring.rules().len());
        for list in 0..self.scoring.rules().len() {
            asked.push(
                timeout_at(until, resolver.ask_helo(self.number(list), client, name, false)).await.ok().flatten(),
            );
        }
        let mut listings = Vec::with_capacity(asked.len());
        for coming in asked {
            listings.push(listed(coming, until).await.map(|listed| listed.listing));
        }
        self.scoring.decide(before, &listings)
    }

    /// What the client hears: which list lists the name, and what that says of it.
    async fn text(&self, resolver: &Resolver, client: IpAddr, name: &HostName, decision: ListDecision) -> Text {
        let heaviest = decision.heaviest.and_then(|list| Some((list, &self.scoring.rules().get(list)?.zone)));
        let Some((list, zone)) = heaviest else { return Text::none() };
        let until = Instant::now() + WAIT;
        let asked = timeout_at(until, resolver.ask_helo(self.number(list), client, name, true)).await;
        let said = listed(asked.ok().flatten(), until).await.filter(|listed| listed.listing != Listing::LeftOut);
        let said = said.map(|listed| listed.text).filter(|text| !text.is_empty());
        let later = if decision.course == Course::Refused { "" } else { ", try again later" };
        let line = format!("{name}, your HELO name, is listed by {zone}{later}: ");
        Text::of([[line.as_bytes(), said.as_deref().unwrap_or(b"ask there")].concat().as_slice()], false)
    }
}

/// What comes by then.
async fn listed(coming: Option<oneshot::Receiver<Listed>>, until: Instant) -> Option<Listed> {
    timeout_at(until, coming?).await.ok()?.ok()
}

/// What lists say of what one client calls itself, who is asked once for each name.
#[derive(Debug, Default)]
pub(crate) struct OfHelo {
    asked: Option<HostName>,
    refusal: Option<Outcome>,
}

impl OfHelo {
    /// Why recipients of this client are refused; none: they are not. Not for who may relay, is exempt, or has logged in.
    pub(crate) async fn refusal(&mut self, shared: &Shared, open: &Open, helo: &[u8]) -> Option<Outcome> {
        // What is no host's name is on no list.
        let name = HostName::parse(helo)?;
        if self.asked.as_ref() != Some(&name) {
            self.refusal = ask(shared, open, &name).await;
            self.asked = Some(name);
        }
        self.refusal.clone()
    }
}

async fn ask(shared: &Shared, open: &Open, name: &HostName) -> Option<Outcome> {
    let (lists, resolver, client) = (&shared.helo_lists, &shared.resolver, open.client.ip());
    let decision = lists.decide(resolver, client, name, open.listed).await;
    // What others say alone has had its consequences.
    let heaviest = decision.heaviest.and_then(|list| lists.scoring.rules().get(list))?;
    let refusal = match decision.course {
        Course::Refused => verdict::HELO_LISTED,
        Course::Deferred => verdict::HELO_LISTED_LATER,
        Course::Favoured | Course::Usual | Course::Slowed => return None,
    };
    let outcome = Outcome::of_rule(refusal, lists.text(resolver, client, name, decision).await);
    if shared.may_log(open.counted()) {
        gatepost_log::tell(event::ListedClient {
            client: open.client,
            course: decision.course,
            score: decision.score,
            list: heaviest.zone.as_str().as_bytes(),
            heard: outcome.heard().as_bytes(),
            count: 1,
        });
    }
    Some(outcome)
}
