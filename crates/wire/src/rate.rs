//! How often something may happen, as slices say it.

use crate::declare::fields;

fields! {
    /// So many in so many seconds, both at least 1.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Rate {
        /// How many; [`COUNT_MAX`] at most.
        pub count: u32,
        /// In which time; an hour at most.
        pub seconds: u32,
    }

    /// What handoff measures of the clients of one address, and of one login. None: as much as they like.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct MailRates {
        /// Messages for which the backend is asked.
        pub messages: Option<Rate>,
        /// Recipients that it is asked about.
        pub recipients: Option<Rate>,
        /// Recipients that were refused for good.
        pub refused_recipients: Option<Rate>,
        /// Recipients of one login, from whatever addresses.
        pub login_recipients: Option<Rate>,
    }
}

/// The most of [`Rate::count`].
pub const COUNT_MAX: u32 = 1_000_000;
