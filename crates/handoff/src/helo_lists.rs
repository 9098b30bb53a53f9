//! DNS lists that are asked about what a client says in HELO or EHLO, and what they come to together. The weights are added to those of
//! the lists that the listener has asked before the greeting. A list that does not answer in time counts for nothing.

use crate::names::Resolver;
use gatepost_policy::lists::{ListDecision, Scoring};
use gatepost_smtp::names::HostName;
use gatepost_smtp::text::Text;
use gatepost_wire::event::Course;
use gatepost_wire::link::Weights;
use gatepost_wire::names::{Listed, Listing};
use gatepost_wire::slice;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The longest that a recipient waits for all lists, and who is refused or put off for the text of one.
const WAIT: Duration = Duration::from_secs(3);

/// The lists.
#[derive(Debug)]
pub(crate) struct HeloLists {
    scoring: Scoring,
    /// The resolver's number for the first.
    first: u8,
}

impl HeloLists {
    pub(crate) fn new(lists: &slice::HeloLists) -> Self {
        Self { scoring: Scoring::new(lists.rules.clone(), lists.defer_at, lists.refuse_at), first: lists.first }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.scoring.rules().is_empty()
    }

    /// The zone of one of them.
    pub(crate) fn zone(&self, list: usize) -> Option<&HostName> {
        Some(&self.scoring.rules().get(list)?.zone)
    }

    fn number(&self, list: usize) -> u8 {
        u8::try_from(list).unwrap_or(u8::MAX).saturating_add(self.first)
    }

    /// What comes of what they say of a name.
    pub(crate) async fn decide(
        &self,
        resolver: &Resolver,
        client: IpAddr,
        name: &HostName,
        before: Weights,
    ) -> ListDecision {
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
    pub(crate) async fn text(
        &self,
        resolver: &Resolver,
        client: IpAddr,
        name: &HostName,
        decision: ListDecision,
    ) -> Text {
        let heaviest = decision.heaviest.and_then(|list| Some((list, self.zone(list)?)));
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
