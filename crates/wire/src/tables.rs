//! Tables of senders, recipients and HELO names, and who may send as whom. The launcher reads them and tells handoff, which has no files.

use crate::declare::fields;

fields! {
    /// One table.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct TableSlice {
        /// Its entries.
        pub entries: Vec<String>,
        /// A constant database with more of them; empty: none.
        pub cdb: Vec<u8>,
    }

    /// For handoff, when it begins and whenever a file of them was replaced.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct TablesSlice {
        /// Senders that are refused.
        pub senders: TableSlice,
        /// Recipients that are refused.
        pub recipients: TableSlice,
        /// The recipients that there are; none: nobody says.
        pub valid: Option<TableSlice>,
        /// What a client may not say in HELO and EHLO.
        pub helo: TableSlice,
        /// Who has logged in may send as whom: lines of a login and addresses, and a constant database of the same.
        pub permitted: TableSlice,
        /// Accounts of this machine, as lines of uid and name; none where no socket is for them.
        pub accounts: Vec<String>,
        /// A constant database of domains that mail is taken for; empty: none.
        pub domains: Vec<u8>,
    }
}
