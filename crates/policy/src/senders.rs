//! Who may send as whom: which reverse-paths a login may use.

use std::collections::HashMap;
use std::fmt;

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderFault {
    /// A login, and nothing that it may use.
    Nothing,
    /// Neither `name@domain` nor `@domain`.
    NoAddress,
}

impl fmt::Display for SenderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "a login without an address",
            Self::NoAddress => "neither an address nor \"@\" and a domain",
        })
    }
}

impl std::error::Error for SenderFault {}

/// Checks a line of the table: a login, then the addresses that it may send from, or `@domain` for all of a domain.
///
/// # Errors
/// [`SenderFault`].
pub fn check_line(line: &str) -> Result<(), SenderFault> {
    let mut words = line.split_whitespace().skip(1).peekable();
    words.peek().ok_or(SenderFault::Nothing)?;
    words.try_for_each(|word| match word.rsplit_once('@') {
        Some((name, domain)) if !domain.is_empty() && !name.contains('@') => Ok(()),
        _ => Err(SenderFault::NoAddress),
    })
}

/// The table. Logins are compared octet by octet, addresses without regard to case: whoever has `joe@` is not kept from writing
/// `Joe@`, and no host tells two people by that.
#[derive(Debug, Default)]
pub struct Senders(HashMap<String, Vec<String>>);

impl Senders {
    /// From lines that [`check_line`] has nothing against. A login may have several.
    pub fn new<'l>(lines: impl IntoIterator<Item = &'l str>) -> Self {
        let mut table = HashMap::<String, Vec<String>>::new();
        for line in lines {
            let mut words = line.split_whitespace();
            let Some(login) = words.next() else { continue };
            table.entry(login.to_owned()).or_default().extend(words.map(str::to_ascii_lowercase));
        }
        Self(table)
    }

    /// Whether `login` may send from `address`, which is a reverse-path without its brackets. The null reverse-path is everybody's:
    /// receipts have it (RFC 8098 §2.1). A login that the table does not name may use the address that it is itself.
    #[must_use]
    pub fn permits(&self, login: &str, address: &[u8]) -> bool {
        if address.is_empty() {
            return true;
        }
        let Ok(address) = std::str::from_utf8(address) else { return false };
        let address = address.to_ascii_lowercase();
        match self.0.get(login) {
            None => login.contains('@') && login.to_ascii_lowercase() == address,
            Some(own) => own.iter().any(|own| match own.strip_prefix('@') {
                Some(domain) => address.rsplit_once('@').is_some_and(|(_, its)| its == domain),
                None => *own == address,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_15_a_login_sends_from_its_own_addresses() {
        let table = ["joe joe@ok.test Sales@OK.test", "joe @joe.test", "ann@ok.test post@ok.test"];
        assert!(table.iter().all(|line| check_line(line).is_ok()));
        let senders = Senders::new(table);
        for (login, address, expected) in [
            ("joe", "joe@ok.test", true),
            ("joe", "JOE@ok.TEST", true),
            ("joe", "sales@ok.test", true),
            ("joe", "any@joe.test", true),
            ("joe", "any@sub.joe.test", false),
            ("joe", "any@evil-joe.test", false),
            ("joe", "ann@ok.test", false),
            ("joe", "", true),
            ("Joe", "joe@ok.test", false),
            ("ann@ok.test", "post@ok.test", true),
            // Named, so what it is itself does not count.
            ("ann@ok.test", "ann@ok.test", false),
            ("bob@ok.test", "bob@ok.test", true),
            ("bob@ok.test", "Bob@OK.test", true),
            ("bob@ok.test", "ann@ok.test", false),
            ("bob", "bob@ok.test", false),
            ("bob", "bob", false),
        ] {
            assert_eq!(senders.permits(login, address.as_bytes()), expected, "{login} {address}");
        }
        assert!(!senders.permits("joe", b"\xff@joe.test"));
    }

    #[test]
    fn issue_15_a_line_that_permits_nothing_is_a_mistake() {
        for (line, fault) in [
            ("joe", SenderFault::Nothing),
            ("joe joe", SenderFault::NoAddress),
            ("joe joe@", SenderFault::NoAddress),
            ("joe *@a@b", SenderFault::NoAddress),
        ] {
            assert_eq!(check_line(line), Err(fault), "{line}");
        }
    }
}
