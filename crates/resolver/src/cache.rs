//! What is known for a while, in bounded memory. Pure: the caller says the time, in milliseconds of a clock that does not go back.

use crate::answer::{Answer, Records};
use crate::question::Question;
use gatepost_policy::recent::Recent;
use gatepost_smtp::names::Found;

/// Answers kept at once. One is at most a few kilobytes, and most are below 200 octets.
pub(crate) const ENTRIES_MAX: usize = 8192;
/// The longest and the shortest that an answer is kept, milliseconds, whatever its TTL: the first so that a change is seen within the
/// hour, the second so that those who asked the same at once all get it.
pub(crate) const KEPT: (u64, u64) = (3_600_000, 1000);
/// The longest that "nothing" is kept, milliseconds (RFC 2308 §5 allows hours).
pub(crate) const NOTHING_KEPT_MAX: u64 = 900_000;
/// How long "nothing" without a TTL, and a failure, are kept, milliseconds (RFC 2308 §7: five minutes at most).
pub(crate) const FAILURE_KEPT: u64 = 5000;

/// What is kept of an answer.
pub(crate) type Kept = Found<Records>;

/// Answers by question.
#[derive(Debug)]
pub(crate) struct Cache(Recent<Question, Kept, u64>);

impl Default for Cache {
    fn default() -> Self {
        Self(Recent::new(ENTRIES_MAX))
    }
}

impl Cache {
    /// What is known of `question` at `now`, and until when.
    pub(crate) fn get(&self, question: &Question, now: u64) -> Option<(Kept, u64)> {
        self.0.get(question, now).map(|(kept, until)| (kept.clone(), until))
    }

    /// Keeps what a question has come to; `None`: nobody could answer it. Until when it is kept.
    pub(crate) fn put(&mut self, question: Question, answer: Option<&Answer>, now: u64) -> (Kept, u64) {
        let seconds = |ttl: u32| u64::from(ttl).saturating_mul(1000);
        let (kept, time) = match answer {
            Some(Answer { records: Records::Nothing, ttl }) => {
                (Found::None, ttl.map_or(FAILURE_KEPT, |ttl| seconds(ttl).clamp(KEPT.1, NOTHING_KEPT_MAX)))
            }
            Some(Answer { records, ttl }) => {
                (Found::Known(records.clone()), ttl.map_or(KEPT.1, |ttl| seconds(ttl).clamp(KEPT.1, KEPT.0)))
            }
            None => (Found::Temporary, FAILURE_KEPT),
        };
        let until = now.saturating_add(time);
        self.0.put(question, kept.clone(), until);
        (kept, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Kind;
    use std::net::{IpAddr, Ipv4Addr};

    fn question(n: u32) -> Question {
        Question::reverse(IpAddr::V4(Ipv4Addr::from_bits(n))).unwrap()
    }

    #[test]
    fn issue_12_an_answer_is_kept_for_its_ttl_within_bounds() {
        let known = Records::Addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let nothing = Records::Nothing;
        for (records, ttl, kept) in [
            (&known, Some(60), 60_000),
            (&known, Some(0), 1000),
            (&known, Some(u32::MAX), 3_600_000),
            (&nothing, Some(60), 60_000),
            (&nothing, Some(86_400), 900_000),
            (&nothing, None, 5000),
        ] {
            let mut cache = Cache::default();
            let put = cache.put(question(1), Some(&Answer { records: records.clone(), ttl }), 7);
            assert_eq!(put.1, 7 + kept, "{ttl:?}");
            assert_eq!(cache.get(&question(1), 7 + kept - 1), Some(put.clone()), "{ttl:?}");
            assert_eq!(cache.get(&question(1), 7 + kept), None, "{ttl:?}");
            assert_eq!(put.0 == Found::None, *records == Records::Nothing);
        }
        let mut cache = Cache::default();
        assert_eq!(cache.put(question(1), None, 0), (Found::Temporary, 5000), "a failure is no \"nothing\"");
        assert_eq!(cache.get(&question(1), 4999), Some((Found::Temporary, 5000)));
        assert_eq!(cache.get(&question(1), 5000), None);
    }

    #[test]
    fn issue_12_names_are_the_same_in_any_case_and_kinds_are_not() {
        let mut cache = Cache::default();
        let ask = |name: &str, kind| Question { name: name.parse().unwrap(), kind };
        cache.put(ask("a.Test", Kind::A), None, 0);
        assert!(cache.get(&ask("A.tEST", Kind::A), 1).is_some());
        assert!(cache.get(&ask("a.test", Kind::Aaaa), 1).is_none());
    }
}
