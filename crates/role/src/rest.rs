//! When to look for small news, as lines for the log and the ends of sessions are. While much comes, being woken by each costs more
//! than all that is done with it: then it is let gather for a moment. What comes alone is heard at once. Pure: the caller says the time.

use std::time::{Duration, Instant};

/// How long news gather. A channel to the observer has room for more than that: some 150 lines, or 15000 a second.
const REST: Duration = Duration::from_millis(10);
/// The time in which wake-ups are counted, and how many of them mean that much comes.
const WINDOW: Duration = Duration::from_millis(20);
const WAKES: u32 = 4;
/// News that must have gathered for it to be worth another rest: a rest is a wake-up too.
const WORTH: usize = 2;

/// Whether news are let gather.
#[derive(Debug, Default)]
pub struct Rest {
    until: Option<Instant>,
    window: Option<Instant>,
    wakes: u32,
}

impl Rest {
    /// Until when nobody is to be woken by news; none: by the next.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// How long that is from `now` on.
    #[must_use]
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now))
    }

    /// All news were heard at `now`: so many.
    pub fn heard(&mut self, news: usize, now: Instant) {
        if let Some(until) = self.until {
            if now >= until {
                self.until = if news >= WORTH { now.checked_add(REST) } else { None };
                (self.window, self.wakes) = (None, 0);
            }
            return;
        }
        if news == 0 {
            return;
        }
        let begun = *self.window.get_or_insert(now);
        if now.saturating_duration_since(begun) > WINDOW {
            (self.window, self.wakes) = (Some(now), 0);
        }
        self.wakes = self.wakes.saturating_add(1);
        if self.wakes >= WAKES {
            self.until = now.checked_add(REST);
        }
    }

    /// The next is heard at once.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wake-ups and the longest wait of news, when one comes each `every` microseconds for a second.
    fn second(every: u64) -> (u32, u64) {
        let begun = Instant::now();
        let (mut rest, mut wakes, mut longest) = (Rest::default(), 0, 0);
        let mut waiting: Vec<u64> = Vec::new();
        let mut wake = |rest: &mut Rest, waiting: &mut Vec<u64>, now: u64| {
            wakes += 1;
            longest = waiting.iter().map(|came| now - came).chain([longest]).max().unwrap_or_default();
            rest.heard(waiting.len(), begun + Duration::from_micros(now));
            waiting.clear();
        };
        for came in (0..1_000_000 / every).map(|line| line * every) {
            let until = |rest: &Rest| rest.until().map(|until| (until - begun).as_micros() as u64);
            while let Some(until) = until(&rest).filter(|until| *until <= came) {
                wake(&mut rest, &mut waiting, until);
            }
            waiting.push(came);
            if rest.until().is_none() {
                wake(&mut rest, &mut waiting, came);
            }
        }
        (wakes, longest)
    }

    #[test]
    fn issue_14_much_news_shares_wake_ups_and_little_is_heard_at_once() {
        // Microseconds between two; wake-ups a second; the longest wait, microseconds.
        for (every, wakes, longest) in [
            (100, 0..=110, 10_000),
            (1000, 0..=110, 10_000),
            (4000, 0..=110, 10_000),
            (10_000, 100..=100, 0),
            (50_000, 20..=20, 0),
        ] {
            let (woken, waited) = second(every);
            assert!(wakes.contains(&woken), "one each {every} us: {woken} wake-ups");
            assert!(waited <= longest, "one each {every} us: {waited} us");
        }
    }

    #[test]
    fn p14_after_the_last_of_much_news_the_next_is_heard_at_once() {
        let (mut rest, begun) = (Rest::default(), Instant::now());
        for _ in 0..WAKES {
            rest.heard(1, begun);
        }
        let until = rest.until().unwrap();
        // Woken for something else meanwhile.
        rest.heard(3, begun);
        assert_eq!(rest.until(), Some(until));
        rest.heard(5, until);
        assert_eq!(rest.until(), Some(until + REST));
        rest.heard(0, until + REST);
        assert_eq!(rest.until(), None);
    }
}
