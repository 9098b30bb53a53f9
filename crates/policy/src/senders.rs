//! Who may send as whom: which addresses a login may use, as lines and in a constant database.
//!
//! A line is a login and then words; in a database the login is the key, and its data are the words.
//!
//! | word | permits |
//! |---|---|
//! | `user@example.org` | that address |
//! | `@example.org` | every address of that domain |
//! | `@.example.org` | every address of the domains below it |
//! | `%@example.org` | the login itself at that domain |
//! | `/PATTERN/` | what matches as a whole: see [`crate::patterns`] |
//!
//! In the place of a login `/PATTERN/` stands for all logins that match as a whole. Patterns disregard case wherever they stand: `/joe/`
//! gives the login `JOE` its addresses, too. A login that is written out, or is a key, is compared octet by octet: where the logins
//! of two people differ by case alone, write both out. Addresses are compared without regard to case: whoever has `joe@` is not kept from writing
//! `Joe@`, and no host tells two people by that.

use crate::entry::{EntryFault, Form, PATTERNS_MAX, check_entry, pattern};
use crate::patterns::{Pattern, Subject};
use gatepost_ucspi::cdb::Cdb;
use gatepost_wire::tables::TableSlice;
use std::io;

/// What stands for the login in a word.
const ITSELF: &str = "%@";
/// Octets of one login's data in a constant database.
const DATA_MAX: u32 = 64 * 1024;

/// The pattern of a word, such that only a whole text matches it: what is found anywhere would permit more than was meant.
fn whole(word: &str) -> Option<Vec<u8>> {
    pattern(word.as_bytes()).map(|pattern| [b"^(", pattern, b")$"].concat())
}

fn compiled(pattern: &[u8]) -> Result<Pattern, EntryFault> {
    Pattern::new(pattern).map_err(EntryFault::Pattern)
}

/// Checks a line: a login, then at least one word. Gives how many patterns are in it.
///
/// # Errors
/// [`EntryFault`].
pub fn check_line(line: &str) -> Result<usize, EntryFault> {
    let mut words = line.split_whitespace();
    let login = words.next().ok_or(EntryFault::Nothing)?;
    let mut patterns = 0_usize;
    if let Some(pattern) = whole(login) {
        compiled(&pattern)?;
        patterns = 1;
    }
    let mut words = words.peekable();
    words.peek().ok_or(EntryFault::Nothing)?;
    for word in words {
        match whole(word) {
            Some(pattern) => {
                compiled(&pattern)?;
                patterns = patterns.saturating_add(1);
            }
            // Two of them would be read in two ways.
            None if word.matches('@').count() > 1 => return Err(EntryFault::NoAddress),
            None => check_entry(Form::Address, word.as_bytes())?,
        }
    }
    Ok(patterns)
}

/// The table.
#[derive(Debug, Default)]
pub struct Senders {
    /// In the order of their logins, which [`Senders::of`] searches.
    lines: Vec<String>,
    /// Lines with a pattern in the place of a login.
    by_pattern: Vec<(Pattern, String)>,
    cdb: Option<Cdb<Vec<u8>>>,
}

fn login_of(line: &str) -> &str {
    line.split_whitespace().next().unwrap_or_default()
}

/// What a line permits.
fn words_of(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().skip(1)
}

impl Senders {
    /// From lines, and the octets of a constant database unless there are none.
    ///
    /// # Errors
    /// The fault of the first line that is none; more than [`PATTERNS_MAX`] patterns.
    pub fn new(slice: TableSlice) -> Result<Self, EntryFault> {
        let TableSlice { entries, cdb } = slice;
        let (mut lines, mut by_pattern, mut patterns) = (Vec::new(), Vec::new(), 0_usize);
        for line in entries {
            patterns = patterns.saturating_add(check_line(&line)?);
            match whole(login_of(&line)) {
                Some(pattern) => by_pattern.push((compiled(&pattern)?, line)),
                None => lines.push(line),
            }
        }
        if patterns > PATTERNS_MAX {
            return Err(EntryFault::Patterns);
        }
        lines.sort_by(|a, b| login_of(a).cmp(login_of(b)));
        Ok(Self { lines, by_pattern, cdb: if cdb.is_empty() { None } else { Some(Cdb::new(cdb)) } })
    }

    /// Whether `login` may send from `address`, without brackets. The null reverse-path is everybody's: receipts have it
    /// (RFC 8098 §2.1). A login of which nothing is said may use the address that it is itself.
    ///
    /// # Errors
    /// The constant database is damaged: nothing is known then.
    pub fn permits(&self, login: &str, address: &[u8]) -> io::Result<bool> {
        if address.is_empty() {
            return Ok(true);
        }
        let Ok(address) = std::str::from_utf8(address) else { return Ok(false) };
        let mut named = false;
        for line in self.of(login).iter().map(String::as_str).chain(self.by_pattern_of(login)) {
            named = true;
            if words_of(line).any(|word| permits(word, login, address)) {
                return Ok(true);
            }
        }
        if let Some(data) = self.cdb.as_ref().map(|cdb| cdb.get(login.as_bytes(), DATA_MAX)).transpose()?.flatten() {
            named = true;
            let data = String::from_utf8(data).map_err(io::Error::other)?;
            if data.split(|c: char| c.is_whitespace() || c == ',').any(|word| permits(word, login, address)) {
                return Ok(true);
            }
        }
        Ok(!named && login.contains('@') && login.eq_ignore_ascii_case(address))
    }

    /// The lines of a login.
    fn of(&self, login: &str) -> &[String] {
        let from = self.lines.partition_point(|line| login_of(line) < login);
        let rest = self.lines.get(from..).unwrap_or_default();
        let count = rest.iter().take_while(|line| login_of(line) == login).count();
        rest.get(..count).unwrap_or_default()
    }

    fn by_pattern_of(&self, login: &str) -> impl Iterator<Item = &str> {
        let subject = Subject::new(login.as_bytes());
        self.by_pattern.iter().filter(move |(pattern, _)| pattern.denies(&subject)).map(|(_, line)| line.as_str())
    }
}

/// Whether a word permits an address.
fn permits(word: &str, login: &str, address: &str) -> bool {
    if let Some(pattern) = whole(word) {
        // Compiled each time: these are the few of one login.
        return Subject::new(address.as_bytes()).is_denied_by(&pattern);
    }
    let Some((local_part, domain)) = address.rsplit_once('@') else { return false };
    if let Some(own) = word.strip_prefix(ITSELF) {
        return own.eq_ignore_ascii_case(domain) && login.eq_ignore_ascii_case(local_part);
    }
    if let Some(above) = word.strip_prefix("@.") {
        let below = |at: usize| domain.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(above));
        return domain.match_indices('.').any(|(at, _)| at > 0 && below(at.saturating_add(1)));
    }
    match word.strip_prefix('@') {
        Some(own) => own.eq_ignore_ascii_case(domain),
        None => word.eq_ignore_ascii_case(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Result<Senders, EntryFault> {
        Senders::new(TableSlice { entries: lines.iter().map(|line| (*line).to_owned()).collect(), cdb: Vec::new() })
    }

    #[test]
    fn issue_15_a_login_sends_from_its_own_addresses() {
        let senders = lines(&[
            "joe joe@ok.test Sales@OK.test",
            "zoe @.zoe.test /zoe[+.][a-z]+@ok\\.test/",
            "joe @joe.test",
            "ann@ok.test post@ok.test",
            "/list-[a-z]+/ %@lists.test",
            "adm %@ok.test",
        ])
        .unwrap();
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
            ("jo", "joe@ok.test", false),
            ("zoe", "x@a.zoe.test", true),
            ("zoe", "x@a.B.zoe.test", true),
            ("zoe", "x@zoe.test", false),
            ("zoe", "x@evilzoe.test", false),
            ("zoe", "x@.zoe.test", false),
            ("zoe", "Zoe+shop@OK.test", true),
            // A pattern is for all of an address, and not for a part of it.
            ("zoe", "zoe+shop@ok.test.evil.test", false),
            ("zoe", "a.zoe+shop@ok.test", false),
            ("list-dev", "list-dev@lists.test", true),
            ("list-dev", "list-ops@lists.test", false),
            ("my-list-dev", "my-list-dev@lists.test", false),
            ("List-Dev", "list-dev@lists.test", true),
            ("adm", "adm@ok.test", true),
            ("adm", "%@ok.test", false),
            ("adm", "joe@ok.test", false),
            ("ann@ok.test", "post@ok.test", true),
            // Named, so what it is itself does not count.
            ("ann@ok.test", "ann@ok.test", false),
            ("bob@ok.test", "bob@ok.test", true),
            ("bob@ok.test", "Bob@OK.test", true),
            ("bob@ok.test", "ann@ok.test", false),
            ("bob", "bob@ok.test", false),
            ("bob", "bob", false),
        ] {
            assert_eq!(senders.permits(login, address.as_bytes()).unwrap(), expected, "{login} {address}");
        }
        assert!(!senders.permits("joe", b"\xff@joe.test").unwrap());
    }

    #[test]
    fn issue_15_a_line_that_permits_nothing_is_a_mistake() {
        for (line, fault) in [
            ("", EntryFault::Nothing),
            ("joe", EntryFault::Nothing),
            ("joe joe", EntryFault::NoAddress),
            ("joe *@a@b", EntryFault::NoAddress),
        ] {
            assert_eq!(check_line(line), Err(fault), "{line}");
        }
        for line in ["joe joe@", "joe @", "joe %@", "joe /(/", "/(/ joe@ok.test", "joe joe@ok.test @.", "joe a@b c"] {
            assert!(check_line(line).is_err(), "{line}");
        }
        assert_eq!(check_line("/a/ /b/ c@d"), Ok(2));
        let many: Vec<String> = (0..=PATTERNS_MAX).map(|n| format!("joe /{n}@ok\\.test/")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(lines(&many).unwrap_err(), EntryFault::Patterns);
        assert!(lines(&many[1..]).is_ok());
    }
}
