//! What is different for clients in some networks. The launcher tells the listener, which tells each client's session and handoff.

use crate::codec::{Reader, Value, WireError};
use crate::declare::fields;
use crate::network::Network;
use gatepost_smtp::keyword::Keywords;

/// One bit for each keyword that there is.
impl Value<'_> for Keywords {
    const MAX: usize = <u16 as Value>::MAX;
    fn write(&self, out: &mut Vec<u8>, field: &'static str) -> Result<(), WireError> {
        self.bits().write(out, field)
    }
    fn read(r: &mut Reader<'_>, field: &'static str) -> Result<Self, WireError> {
        Self::from_bits(u16::read(r, field)?).ok_or(WireError::Value(field))
    }
}

fields! {
    /// What is different for a client. By default nothing is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Terms {
        /// It may send to any domain.
        pub relay: bool,
        /// Its conduct has no consequences, and no rate is measured.
        pub exempt: bool,
        /// Octets of its largest message, below those of the limits; 0: those.
        pub message_size: u64,
        /// Sessions at once from its address; 0: as the limits say.
        pub sessions_per_address: u32,
        /// Keywords that EHLO does not show to it.
        pub hidden: Keywords,
    }

    /// What is different for clients in these networks.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct TermsFor {
        /// Which.
        pub networks: Vec<Network>,
        /// What.
        pub terms: Terms,
    }

    /// For the listener, when it begins and whenever a file of networks was replaced.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct NetworksSlice {
        /// Networks whose clients may send to any domain, besides those in handoff's slice.
        pub relay: Vec<Network>,
        /// Of all networks that a client is in, the longest prefix counts; of equal ones the first.
        pub different: Vec<TermsFor>,
    }
}

impl Terms {
    /// With what rules of tcprules let a client do besides: it may relay by either, and of two largest messages the smaller counts.
    #[must_use]
    pub fn with(self, relay: bool, message_size: u64) -> Self {
        let message_size = match (self.message_size, message_size) {
            (0, size) | (size, 0) => size,
            (a, b) => a.min(b),
        };
        Self { relay: self.relay || relay, message_size, ..self }
    }
}
