//! Real MTAs on a throw-away host, with the domain `ok.test` and its mailboxes `alice`, `bob` and `postmaster`.

mod dovecot;
mod logins;
mod postfix;
mod road;
mod sink;

pub use dovecot::Dovecot;
pub use logins::Logins;
pub use postfix::{Postfix, Sender};
pub use road::Road;
pub use sink::Sink;

/// The one domain that they deliver for.
pub const DOMAIN: &str = "ok.test";
/// Local parts that have a mailbox there. Any other is an unknown user.
pub const MAILBOXES: [&str; 3] = ["alice", "bob", "postmaster"];
/// Owner of the mailboxes; no such account exists.
const MAILBOX_OWNER: u32 = 5000;
