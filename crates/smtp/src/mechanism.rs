//! The names of SASL mechanisms, and sets of them.

use crate::envelope::Mechanism;

impl Mechanism {
    /// As AUTH and EHLO have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "LOGIN",
            Self::Plain => "PLAIN",
            Self::CramMd5 => "CRAM-MD5",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// The mechanism of that name, in upper or lower case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A set of mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mechanisms(u8);

impl Mechanisms {
    /// Those by which a client says its password: any source of logins can check it.
    pub const PASSWORD: Self = Self(1 << Mechanism::Plain as u8 | 1 << Mechanism::Login as u8);

    /// As a number, for the way between processes.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From [`Mechanisms::bits`]; none when a bit is no mechanism's.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        let all: Self = Mechanism::ALL.into_iter().collect();
        (bits & !all.0 == 0).then_some(Self(bits))
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn has(self, mechanism: Mechanism) -> bool {
        self.0 & 1 << mechanism as u8 != 0
    }

    /// With this one.
    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | 1 << mechanism as u8)
    }

    /// Without this one.
    #[must_use]
    pub const fn without(self, mechanism: Mechanism) -> Self {
        Self(self.0 & !(1 << mechanism as u8))
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        mechanisms.into_iter().fold(Self::default(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_15_a_set_holds_what_was_put_in_and_no_other() {
        for one in Mechanism::ALL {
            let set: Mechanisms = [one].into_iter().collect();
            assert_eq!(Mechanisms::from_bits(set.bits()), Some(set));
            assert!(Mechanism::ALL.into_iter().all(|mechanism| set.has(mechanism) == (mechanism == one)), "{one:?}");
            assert!(set.without(one).is_empty() && !set.is_empty());
            assert_eq!(Mechanism::named(one.name().to_ascii_lowercase().as_bytes()), Some(one));
        }
        assert_eq!(Mechanisms::from_bits(1 << Mechanism::ALL.len()), None);
        assert_eq!(Mechanism::named(b"PLAIN "), None);
    }
}
