//! The keywords of EHLO, RFC 5321 §4.1.1.1, and sets of them.

use crate::enumeration;

enumeration! {
    /// A keyword that EHLO may show.
    #[allow(missing_docs)]
    pub enum Keyword {
        EightBitMime,
        Dsn,
        SmtpUtf8,
        Prdr,
        StartTls,
        Pipelining,
        Chunking,
        EnhancedStatusCodes,
        Limits,
        Size,
    }
}

impl Keyword {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EightBitMime => "8BITMIME",
            Self::Dsn => "DSN",
            Self::SmtpUtf8 => "SMTPUTF8",
            Self::Prdr => "PRDR",
            Self::StartTls => "STARTTLS",
            Self::Pipelining => "PIPELINING",
            Self::Chunking => "CHUNKING",
            Self::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Self::Limits => "LIMITS",
            Self::Size => "SIZE",
        }
    }

    /// The keyword of that name, in upper or lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|keyword| keyword.name().eq_ignore_ascii_case(name))
    }
}

/// A set of keywords.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keywords(u16);

impl Keywords {
    /// As a number, for the way between processes.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From [`Keywords::bits`]; none when a bit is no keyword's.
    #[must_use]
    pub fn from_bits(bits: u16) -> Option<Self> {
        let all: Self = Keyword::ALL.into_iter().collect();
        (bits & !all.0 == 0).then_some(Self(bits))
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn has(self, keyword: Keyword) -> bool {
        self.0 & 1 << keyword as u16 != 0
    }
}

impl FromIterator<Keyword> for Keywords {
    fn from_iter<I: IntoIterator<Item = Keyword>>(keywords: I) -> Self {
        Self(keywords.into_iter().fold(0, |bits, keyword| bits | 1 << keyword as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_12_a_set_holds_what_was_put_in_and_no_other() {
        for one in Keyword::ALL {
            let set: Keywords = [one].into_iter().collect();
            assert_eq!(Keywords::from_bits(set.bits()), Some(set));
            assert!(Keyword::ALL.into_iter().all(|keyword| set.has(keyword) == (keyword == one)), "{one:?}");
            assert_eq!(Keyword::named(&one.name().to_ascii_lowercase()), Some(one));
        }
        assert_eq!(Keywords::from_bits(1 << Keyword::ALL.len()), None);
        assert_eq!(Keyword::named("AUTH"), None);
    }
}
