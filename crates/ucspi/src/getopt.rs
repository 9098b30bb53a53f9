//! How tcpserver and softlimit read options: they cluster, a value may be attached, and the first argument that is none ends them.

/// What came next on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// An option without a value.
    Flag(u8),
    /// An option and its value.
    Value(u8, &'a [u8]),
    /// `--name` or `--name=value`. To the originals it is the end of the options, whatever follows the dashes.
    Long(&'a [u8]),
    /// There is no such option.
    Illegal(u8),
    /// The value is missing.
    Missing(u8),
}

/// Reads arguments one by one.
#[derive(Debug)]
pub struct Arguments<'a> {
    all: &'a [Vec<u8>],
    /// Which argument, and which octet of it; 0: its beginning.
    at: usize,
    octet: usize,
}

impl<'a> Arguments<'a> {
    /// From the first.
    #[must_use]
    pub fn new(all: &'a [Vec<u8>]) -> Self {
        Self { all, at: 0, octet: 0 }
    }

    /// The next option. `takes_value`: None where there is no option of that letter.
    pub fn next(&mut self, takes_value: impl Fn(u8) -> Option<bool>) -> Option<Next<'a>> {
        let mut argument = self.all.get(self.at)?;
        if self.octet > 0 && self.octet >= argument.len() {
            self.at = self.at.saturating_add(1);
            self.octet = 0;
            argument = self.all.get(self.at)?;
        }
        if self.octet == 0 {
            match argument.as_slice() {
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

    /// What is attached to the option that was read last, which takes no other value: `30m` of `-q30m`.
    pub fn attached(&mut self) -> &'a [u8] {
        let attached = self.all.get(self.at).and_then(|argument| argument.get(self.octet..)).unwrap_or_default();
        self.octet = self.octet.saturating_add(attached.len());
        attached
    }

    /// The next argument as it stands.
    pub(crate) fn operand(&mut self) -> Option<&'a [u8]> {
        let argument = self.all.get(self.at)?;
        self.at = self.at.saturating_add(1);
        Some(argument)
    }

    /// All that are left.
    #[must_use]
    pub fn rest(&self) -> &'a [Vec<u8>] {
        self.all.get(self.at..).unwrap_or_default()
    }
}
