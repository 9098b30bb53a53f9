//! Names: what a client is called and where a host is, from inside an empty jail.
//!
//! Every look-up comes to one of three things, [`Found`](gatepost_smtp::names::Found): known, none, temporary. A failure is never "no
//! name". [`Resolver`] needs no file and no launcher: it is given name servers and hosts entries, and looks up within bounds of
//! its own: questions at once, CNAMEs, records of an answer, time, memory.
//!
//! The records of DNS are read and written by the crate `domain` of NLnet Labs, who make unbound and NSD: 6 more crates here. The
//! way to a server and back is `transport.rs`, of a hundred lines, because no library's can be used in this jail: the transports of
//! `domain` (15 crates) and hickory-resolver (56) take their ids from getrandom 0.4, which in a static program of the GNU C library
//! opens `/dev/urandom` unless every build sets a flag for it, and the jail has no file. The rest of a resolver library (search
//! lists, files of the system, DNSSEC, IDNA) isn't needed. What can be believed of an answer, and for how long, is decided without I/O:
//! `answer.rs`, `cache.rs`.
//!
//! | file | what |
//! |---|---|
//! | `lookup.rs` | reverse, confirmed, forward; one question for all who ask the same |
//! | `question.rs`, `answer.rs` | what is asked; what is believed of an answer |
//! | `cache.rs` | what is known for a while |
//! | `hosts.rs` | the entries of `/etc/hosts` |
//! | `servers.rs` | which server is asked, for how long |
//! | `transport.rs` | one query to one server |
//! | `lists.rs`, `health.rs` | DNS lists: what they say, and whether that can be believed |
//! | `serve.rs` | the role: orders from the launcher, requests from handoff and listener |
//!
//! The role [`run`] may open sockets of UDP, and of TCP to the servers' ports, and listens on none. It has no file: name servers and
//! hosts entries come from the launcher, at the start and whenever they change. It is asked about one address at a time, by handoff, or
//! by the listener together with one of the configured DNS lists, and believes it to be a client's. Whoever owns it can lie about
//! names.
#![forbid(unsafe_code)]

pub mod answer;
mod cache;
mod health;
mod hosts;
mod lists;
mod lookup;
mod question;
mod serve;
mod servers;
#[cfg(test)]
mod tests;
mod transport;

pub use lookup::Resolver;
pub use question::{Kind, Question};

use gatepost_jail::Unjailed;
use gatepost_role::RoleError;
use gatepost_wire::control::Role;
use gatepost_wire::slice::ResolverSlice;

/// A resolver process, from its start to its end.
///
/// # Errors
/// [`RoleError`].
pub fn run(unjailed: Unjailed) -> Result<(), RoleError> {
    let slice: ResolverSlice = unjailed.slice()?;
    let entered = unjailed.enter(Role::Resolver)?;
    let runtime = gatepost_role::runtime()?;
    let jailed = entered.seal()?;
    runtime.block_on(serve::serve(jailed.control, slice))
}
