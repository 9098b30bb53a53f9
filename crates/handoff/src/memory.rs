//! Memory of envelopes and inline content over all sessions (P6, P13, issue 9), in fair shares by network: see [`Pool`].
//!
//! All that handoff may need stays below its RLIMIT_DATA, whatever clients do: [`TOTAL`] here, [`DELIVERY`] for each connection
//! to a backend, which a delivery has before it begins, and [`REST`].

use crate::pool::Pool;
use crate::transaction::Contents;
use std::ops::RangeInclusive;

const KIB: u64 = 1024;
/// Octets of envelopes and inline content over all sessions.
pub(crate) const TOTAL: u64 = 64 * KIB * KIB;
/// Octets that a delivery needs at worst, with the buffers of its connection: twice the inline content with its header, a
/// piece of the file as it is read, without its header and as it is sent, a group of RCPT commands, the records of TLS.
#[cfg(test)]
pub(crate) const DELIVERY: u64 = KIB * KIB;
/// Octets for everything else: the program itself, the tasks of the sessions, what the allocator does not give back.
#[cfg(test)]
pub(crate) const REST: u64 = 40 * KIB * KIB;
/// Octets that are claimed at once.
const STEP: RangeInclusive<u64> = 4 * KIB..=64 * KIB;

/// The memory that all transactions share.
pub(crate) type Memory = Pool<Contents>;

/// `octets` of memory.
pub(crate) fn of(octets: u64) -> Memory {
    Pool::new(octets, STEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_jail::profile;
    use gatepost_wire::control::Role;
    use gatepost_wire::slice::CONNECTIONS_MAX;

    #[test]
    fn p6_all_that_may_be_needed_stays_below_the_limit() {
        assert!(TOTAL + u64::from(CONNECTIONS_MAX) * DELIVERY + REST <= profile::of(Role::Handoff).data);
    }
}
