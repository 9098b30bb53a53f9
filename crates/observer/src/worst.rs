//! Addresses whose clients are refused most, for admins alone: no label of a counter has an address. Pure, and bounded: when there are
//! too many all counts are halved, and who has none left is forgotten.

use gatepost_wire::event::Event;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

/// Addresses that are counted at once.
const MAX: usize = 1024;
/// Addresses that are shown.
const SHOWN: usize = 10;

/// What was refused to each address, lately.
#[derive(Debug, Default)]
pub(crate) struct Worst(BTreeMap<IpAddr, u32>);

impl Worst {
    /// Counts what is a refusal.
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        let (client, count) = match event {
            Event::TurnedAway(event) => (event.client, event.count),
            Event::Refused(event) => (event.client, event.count),
            Event::Recipient(event) if event.reply >= 400 => (event.client, 1),
            _ => return,
        };
        let counted = self.0.entry(client.ip().to_canonical()).or_default();
        *counted = counted.saturating_add(count);
        while self.0.len() > MAX {
            self.0.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    /// A line for each of the worst: `worst ADDRESS COUNT`.
    pub(crate) fn text(&self) -> String {
        let mut all: Vec<(u32, IpAddr)> = self.0.iter().map(|(ip, count)| (*count, *ip)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let mut text = String::new();
        for (count, ip) in all.into_iter().take(SHOWN) {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "worst {ip} {count}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_wire::event::{Turned, TurnedAway};
    use std::net::Ipv4Addr;

    fn away(ip: u32, count: u32) -> Event<'static> {
        let client = (Ipv4Addr::from(ip), 4000).into();
        TurnedAway { client, why: Turned::Full, count }.into()
    }

    #[test]
    fn issue_13_the_worst_are_shown_and_a_crowd_takes_no_memory() {
        let mut worst = Worst::default();
        worst.event(&away(1, 5_000_000));
        worst.event(&away(2, 7_000_000));
        for ip in 100..20_000 {
            worst.event(&away(ip, 1));
            assert!(worst.0.len() <= MAX);
        }
        let text = worst.text();
        let shown: Vec<&str> = text.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert!(shown.len() <= SHOWN && shown.starts_with(&["0.0.0.2", "0.0.0.1"]), "{text}");
    }
}
