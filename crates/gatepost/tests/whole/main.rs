//! The whole of it: the real binary, all its processes, on throw-away hosts, between real senders and real MTAs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod admin;
mod backend_tls;
mod backends;
mod check;
mod confinement;
mod delivery;
mod drain;
mod gate;
mod hung;
mod init;
mod kill;
mod late_backend;
mod manual;
mod metrics;
mod mistakes;
mod networks;
mod operations;
mod owned;
mod package;
mod proxy;
mod qmail_queue;
mod qmqp;
mod rates;
mod readme;
mod routes;
mod rules;
mod services;
mod several;
mod stock_postfix;
mod superservers;
mod tables;
mod told;
mod trial;
mod units;
mod upgrade;
