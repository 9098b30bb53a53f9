//! What DNS lists come to for a client: weights are added up, those of lists that speak for it taken away. Pure.

use gatepost_wire::event::Course;
use gatepost_wire::link::Weights;
use gatepost_wire::names::Listing;
use gatepost_wire::slice::ListRule;

/// The lists of a configuration, and what their sum leads to.
#[derive(Debug, Clone)]
pub struct Scoring {
    rules: Vec<ListRule>,
    defer_at: u32,
    refuse_at: u32,
}

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListDecision {
    /// What.
    pub course: Course,
    /// The sum, where it is against the client.
    pub score: u32,
    /// The list that weighs most against it.
    pub heaviest: Option<usize>,
    /// Of what the sum is made.
    pub weights: Weights,
}

impl Scoring {
    /// From these lists on; a bound of 0 is none.
    #[must_use]
    pub fn new(rules: Vec<ListRule>, defer_at: u32, refuse_at: u32) -> Self {
        Self { rules, defer_at, refuse_at }
    }

    /// The lists.
    #[must_use]
    pub fn rules(&self) -> &[ListRule] {
        &self.rules
    }

    /// What is decided on a client of which each list says this, and others have said that `before`. What is missing, or left out, counts for
    /// nothing: it is never the reason for a refusal.
    #[must_use]
    pub fn decide(&self, before: Weights, listings: &[Option<Listing>]) -> ListDecision {
        let listed = self.rules.iter().zip(listings).enumerate();
        let listed = listed.filter(|(_, (rule, listing))| listing.as_ref().is_some_and(|said| counts(rule, said)));
        let Weights { mut against, mut in_favour } = before;
        let mut heaviest = None::<(u32, usize)>;
        for (place, (rule, _)) in listed {
            if rule.allows {
                in_favour = in_favour.saturating_add(rule.weight);
            } else {
                against = against.saturating_add(rule.weight);
                if heaviest.is_none_or(|(weight, _)| rule.weight > weight) {
                    heaviest = Some((rule.weight, place));
                }
            }
        }
        let score = against.saturating_sub(in_favour);
        let reaches = |bound: u32| bound > 0 && score >= bound;
        let course = if reaches(self.refuse_at) {
            Course::Refused
        } else if reaches(self.defer_at) {
            Course::Deferred
        } else if score > 0 {
            Course::Slowed
        } else if in_favour > against {
            Course::Favoured
        } else {
            Course::Usual
        };
        ListDecision {
            course,
            score,
            heaviest: heaviest.map(|(_, place)| place),
            weights: Weights { against, in_favour },
        }
    }
}

/// Whether a list lists somebody for whom its rule is.
fn counts(rule: &ListRule, listing: &Listing) -> bool {
    let Listing::Codes(codes) = listing else { return false };
    codes.iter().any(|code| rule.codes.is_empty() || rule.codes.iter().any(|range| range.contains(*code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::slice::CodeRange;
    use std::net::Ipv4Addr;

    const fn code(last: u8) -> u32 {
        Ipv4Addr::new(127, 0, 0, last).to_bits()
    }

    fn rule(weight: u32, allows: bool, codes: &[(u8, u8)]) -> ListRule {
        let codes = codes.iter().map(|(first, last)| CodeRange { first: code(*first), last: code(*last) }).collect();
        let zone = gatepost_smtp::names::HostName::parse(b"bl.test").unwrap();
        ListRule { zone, weight, allows, codes }
    }

    #[test]
    fn issue_12_weights_are_added_up_and_what_is_left_out_counts_for_nothing() {
        let rules = vec![rule(2, false, &[]), rule(3, false, &[(2, 4), (9, 9)]), rule(4, true, &[])];
        let scoring = Scoring::new(rules, 3, 5);
        let no = || Some(Listing::Unlisted);
        let out = || Some(Listing::LeftOut);
        let yes = |last: u8| Some(Listing::Codes(vec![code(last)]));
        for (listings, course, score, heaviest) in [
            ([no(), no(), no()], Course::Usual, 0, None),
            ([None, None, None], Course::Usual, 0, None),
            ([out(), out(), out()], Course::Usual, 0, None),
            ([yes(2), no(), no()], Course::Slowed, 2, Some(0)),
            ([no(), yes(2), no()], Course::Deferred, 3, Some(1)),
            ([yes(2), yes(2), no()], Course::Refused, 5, Some(1)),
            ([yes(2), yes(2), out()], Course::Refused, 5, Some(1)),
            // Codes that don't count.
            ([yes(2), yes(5), no()], Course::Slowed, 2, Some(0)),
            ([no(), yes(9), no()], Course::Deferred, 3, Some(1)),
            ([no(), Some(Listing::Codes(vec![code(7), code(3)])), no()], Course::Deferred, 3, Some(1)),
            ([out(), yes(2), None], Course::Deferred, 3, Some(1)),
            // A list that speaks for it.
            ([no(), no(), yes(2)], Course::Favoured, 0, None),
            ([yes(2), yes(2), yes(2)], Course::Slowed, 1, Some(1)),
            ([yes(2), no(), yes(2)], Course::Favoured, 0, Some(0)),
        ] {
            let decision = scoring.decide(Weights::default(), &listings);
            assert_eq!((decision.course, decision.score, decision.heaviest), (course, score, heaviest), "{listings:?}");
        }
        // Without bounds nobody is sent away.
        let scoring = Scoring::new(vec![rule(100, false, &[])], 0, 0);
        assert_eq!(scoring.decide(Weights::default(), &[yes(2)]).course, Course::Slowed);
    }

    #[test]
    fn issue_12_what_lists_say_of_helo_is_added_to_what_others_said_before() {
        let before = Scoring::new(vec![rule(2, false, &[]), rule(4, true, &[])], 3, 5);
        let after = Scoring::new(vec![rule(3, false, &[])], 3, 5);
        let (yes, no) = (|| Some(Listing::Codes(vec![code(2)])), || Some(Listing::Unlisted));
        for (listings, course, score) in [
            ([no(), no(), yes()], Course::Deferred, 3),
            ([yes(), no(), yes()], Course::Refused, 5),
            ([yes(), yes(), yes()], Course::Slowed, 1),
            ([no(), yes(), yes()], Course::Favoured, 0),
            ([yes(), no(), no()], Course::Slowed, 2),
            ([yes(), no(), None], Course::Slowed, 2),
        ] {
            let first = before.decide(Weights::default(), &listings[..2]);
            let both = after.decide(first.weights, &listings[2..]);
            assert_eq!((both.course, both.score), (course, score), "{listings:?}");
            // Who is refused for it hears of a list that lists the name.
            assert_eq!(both.heaviest, (listings[2] == yes()).then_some(0));
        }
    }
}
