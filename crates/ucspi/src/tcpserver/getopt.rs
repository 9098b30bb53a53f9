//! How the original reads options: they cluster, a value may be attached, and the first argument that is none ends them.

/// What came next on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// An option without a value.
    Flag(u8),
    /// An option and its value.
    Value(u8, &'a [u8]),
    /// `--name` or `--name=value`.
    Long(&'a [u8]),
    /// There is no such option.
    Illegal(u8),
    /// The value is missing.
    Missing(u8),
}

/// Reads arguments one by one.
#[derive(Debug)]
pub(super) struct Arguments<'a> {
    all: &'a [Vec<u8>],
    /// Which argument, and which octet of it; 0: its beginning.
    at: usize,
    octet: usize,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(all: &'a [Vec<u8>]) -> Self {
        Self { all, at: 0, octet: 0 }
    }

    /// The next option. `takes_value`: None where there is no option of that letter.
    pub(super) fn next(&mut self, takes_value: impl Fn(u8) -> Option<bool>) -> Option<Next<'a>> {
        let mut argument = self.all.get(self.at)?;
        if self.octet > 0 && self.octet >= argument.len() {
            self.at = self.at.saturating_add(1);
            self.octet = 0;
            argument = self.all.get(self.at)?;
        }
        if self.octet == 0 {
            match argument.as_slice() {
                // Ours; to the original, this is the end of its options whatever follows the dashes.
                [b'-', b'-', name @ ..] => {
                    self.at = self.at.saturating_add(1);
                    return (!name.is_empty()).then_some(Next::Long(name));
                }
                [b'-', _, ..] => self.octet = 1,
                _ => return None,
            }
        }
        let letter = argument.get(self.octet).copied()?;
        self.octet = self.octet.saturating_add(1);
        match takes_value(letter) {
            None => Some(Next::Illegal(letter)),
            Some(false) => Some(Next::Flag(letter)),
            Some(true) => {
                let attached = argument.get(self.octet..).unwrap_or_default();
                self.octet = 0;
                self.at = self.at.saturating_add(1);
                Some(match attached {
                    [] => self.operand().map_or(Next::Missing(letter), |value| Next::Value(letter, value)),
                    value => Next::Value(letter, value),
                })
            }
        }
    }

    /// The next argument as it stands.
    pub(super) fn operand(&mut self) -> Option<&'a [u8]> {
        let argument = self.all.get(self.at)?;
        self.at = self.at.saturating_add(1);
        Some(argument)
    }

    /// All that are left.
    pub(super) fn rest(&self) -> &'a [Vec<u8>] {
        self.all.get(self.at..).unwrap_or_default()
    }
}
