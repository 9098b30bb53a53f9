//! What a running process is confined to, read from /proc alone and held against its role's [`Expect`].
//!
//! Nothing here asks the process itself: an owned one could lie. What /proc does not show is not judged: landlock rules
//! and the content of a system call filter, which the role proves from inside before it is sealed.
//!
//! [`Facts::read`] and [`shared()`] look, [`judge`] compares, [`table`] and [`json`] show. [`verify`] is all of it for one process, for
//! the launcher that looks at a role from outside before it lets it serve (P7).

mod expect;
mod facts;
mod judge;
mod parse;
mod proc;
mod report;
mod role;
mod shared;

pub use expect::{Bound, Expect, Expectations, Given, NetRule, RootRule, UserRule, Wanted, runner};
pub use facts::{Facts, Namespace, Network, Root};
pub use judge::{Finding, Row, Standing, judge, rows, verify};
pub use parse::{Capabilities, Descriptors, Kind, Limit, Limits, Mounts, Ns, Resource, Seccomp, Status, Unparsed};
pub use report::{json, table};
pub use role::{RoleName, find_gatepost};
pub use shared::{Shared, shared};

#[cfg(test)]
mod tests;
