//! What comes of it that DNS lists list the name of HELO or EHLO. That is known here with MAIL, so a recipient hears it.

use crate::outcome::Outcome;
use crate::shared::Shared;
use crate::verdict;
use gatepost_smtp::names::HostName;
use gatepost_wire::event::{self, Course};
use gatepost_wire::link::Open;

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
    let zone = decision.heaviest.and_then(|list| lists.zone(list))?;
    let refusal = match decision.course {
        Course::Refused => verdict::HELO_LISTED,
        Course::Deferred => verdict::HELO_LISTED_LATER,
        Course::Favoured | Course::Usual | Course::Slowed => return None,
    };
    let outcome = Outcome::of_rule(refusal, lists.text(resolver, client, name, decision).await);
    if shared.log_limit.permits(open.counted()) {
        gatepost_log::tell(event::ListedClient {
            client: open.client,
            course: decision.course,
            score: decision.score,
            list: zone.as_str().as_bytes(),
            heard: outcome.heard().as_bytes(),
            count: 1,
        });
    }
    Some(outcome)
}
