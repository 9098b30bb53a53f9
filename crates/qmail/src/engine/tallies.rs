//! What a client repeats is counted; what a message that went through makes up for is forgotten.

/// How often something was done; see [`super::Limits`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally(u32);

impl Tally {
    /// Counts. True: this is beyond `limit`.
    pub(super) fn one_more(&mut self, limit: u32) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 > limit
    }

    pub(super) fn forget(&mut self) {
        self.0 = 0;
    }
}

#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) errors: Tally,
    pub(super) errors_in_all: Tally,
    pub(super) surplus_recipients: Tally,
    pub(super) refused_recipients: Tally,
    pub(super) mails: Tally,
    pub(super) resets: Tally,
    pub(super) ehlos: Tally,
    pub(super) noops: Tally,
    pub(super) auths: Tally,
}

impl Tallies {
    /// A message was accepted: all counts but that of AUTH start again, since a sender may have any number of messages.
    pub(super) fn forgive(&mut self) {
        *self = Self { auths: self.auths, ..Self::default() };
    }
}
