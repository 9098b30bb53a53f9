//! tcprules, tcprulescheck and softlimit and sendmail beside Debian's, in the same test: the same files, words and exit statuses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod beside;
mod rules;
mod sendmail;
mod softlimit;
