//! Names of clients that were looked up a moment ago: a client that comes again wakes no resolver. Pure: the caller says the time.

use gatepost_policy::recent::Recent;
use gatepost_smtp::names::{ClientNames, Found};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Clients whose names are kept at once, of some 600 octets each.
const ENTRIES_MAX: usize = 1024;
/// The longest that names are kept, however long the resolver believes them.
const KEPT_MAX: Duration = Duration::from_secs(300);

/// Counts changes of where names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SourceNumber(u64);

/// Names by client.
#[derive(Debug)]
pub(crate) struct RecentNames {
    source: SourceNumber,
    names: Recent<IpAddr, ClientNames, Instant>,
}

impl Default for RecentNames {
    fn default() -> Self {
        Self { source: SourceNumber::default(), names: Recent::new(ENTRIES_MAX) }
    }
}

impl RecentNames {
    /// The number of where names come from now.
    pub(crate) fn source(&self) -> SourceNumber {
        self.source
    }

    /// What is known of a client at `now`.
    pub(crate) fn get(&self, client: IpAddr, now: Instant) -> Option<ClientNames> {
        self.names.get(&client, now).map(|(names, _)| names.clone())
    }

    /// Keeps what was heard while `source` was the number, for as long as it is good from `now` on. A failure is not
    /// kept: the next look-up may tell.
    pub(crate) fn put(
        &mut self,
        client: IpAddr,
        names: &ClientNames,
        good: Duration,
        source: SourceNumber,
        now: Instant,
    ) {
        let failed = names.reverse == Found::Temporary || names.confirmed == Found::Temporary;
        let Some(until) = now.checked_add(good.min(KEPT_MAX)).filter(|until| *until > now) else { return };
        if !failed && source == self.source {
            self.names.put(client, names.clone(), until);
        }
    }

    /// Names come from somewhere else from now on.
    pub(crate) fn clear(&mut self) {
        self.source = SourceNumber(self.source.0.saturating_add(1));
        self.names.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_smtp::names::HostName;
    use std::net::Ipv4Addr;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn named() -> ClientNames {
        let name = Found::Known(HostName::parse(b"mx.a.test").unwrap());
        ClientNames { reverse: name.clone(), confirmed: name }
    }

    #[test]
    fn issue_14_names_are_kept_as_long_as_they_are_good_and_a_failure_is_not() {
        let half = ClientNames { confirmed: Found::Temporary, ..named() };
        let unconfirmed = ClientNames { confirmed: Found::None, ..named() };
        let begun = Instant::now();
        for (names, good, kept) in [
            (named(), 60, 60),
            (named(), 86_400, 300),
            (named(), 0, 0),
            (unconfirmed, 60, 60),
            (ClientNames::NONE, 60, 60),
            (half, 60, 0),
            (ClientNames::TEMPORARY, 60, 0),
        ] {
            let mut recent = RecentNames::default();
            recent.put(CLIENT, &names, Duration::from_secs(good), recent.source(), begun);
            let known = |after| recent.get(CLIENT, begun + Duration::from_secs(after));
            assert_eq!(known(kept), None, "{names:?} {good}");
            if kept > 0 {
                assert_eq!(known(kept - 1), Some(names));
            }
        }
    }

    #[test]
    fn issue_14_names_of_before_a_change_are_not_kept_after_it() {
        let (mut recent, now, good) = (RecentNames::default(), Instant::now(), Duration::from_secs(60));
        let before = recent.source();
        recent.put(CLIENT, &named(), good, before, now);
        recent.clear();
        assert_eq!(recent.get(CLIENT, now), None);
        recent.put(CLIENT, &named(), good, before, now);
        assert_eq!(recent.get(CLIENT, now), None, "heard before, and kept after");
        recent.put(CLIENT, &ClientNames::NONE, good, recent.source(), now);
        assert_eq!(recent.get(CLIENT, now), Some(ClientNames::NONE));
    }
}
