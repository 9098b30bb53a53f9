//! What one connection of `gatepost inetd` leaves for the next about the backends. No channel: a file that its user alone writes and
//! reads, and that costs no more than a question too many when it is missing or damaged.

use crate::declare::fields;

fields! {
    /// What is known of all backends.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Known {
        /// Of which configuration: another one asks anew.
        pub of: u64,
        /// When they were asked, seconds since 1970.
        pub asked: u64,
        /// Each, in the order of the configuration.
        pub backends: Vec<KnownBackend>,
    }

    /// What is known of one backend.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct KnownBackend {
        /// It has refused to relay for a stranger, or need not.
        pub proved: bool,
        /// What it lists, if it has been asked.
        pub listed: Option<KnownExtensions>,
    }

    /// Extensions that a client is offered only when the backend has them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct KnownExtensions {
        /// SIZE.
        pub size: Option<u64>,
        /// 8BITMIME.
        pub eight_bit: bool,
        /// SMTPUTF8.
        pub smtputf8: bool,
        /// DSN.
        pub dsn: bool,
        /// LIMITS RCPTMAX.
        pub rcptmax: Option<u32>,
    }
}
