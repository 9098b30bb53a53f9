//! The passwd file: a line for each login, `LOGIN:HASH`. What stands behind another colon is ignored, and so is a scheme in braces
//! before the hash, by which Dovecot's files are read too. `#` begins a comment line.

use crate::hash::{BadHash, Hash};
use gatepost_wire::auth::LOGIN_MAX;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// What is wrong with a line, and which it is, counted from 1. Its login names it; the hash is never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    line: usize,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    NotText,
    NoColon,
    Login,
    Twice,
    Hash(BadHash),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match self.why {
            Why::NotText => f.write_str("is not UTF-8"),
            Why::NoColon => f.write_str("has no colon: write LOGIN:HASH, as gatepost passwd does"),
            Why::Login => {
                write!(f, "its login is empty, longer than {LOGIN_MAX} octets, or holds a space or a control")
            }
            Why::Twice => f.write_str("its login stands in an earlier line, which counts"),
            Why::Hash(bad) => bad.fmt(f),
        }
    }
}

/// The logins, and the hashes of their passwords.
#[derive(Debug)]
pub struct Passwd {
    logins: BTreeMap<String, Hash>,
    /// By which a hash is chosen for a login that there is not.
    seed: RandomState,
}

impl Passwd {
    /// Reads the file. A line with a fault is left out: its login is unknown.
    #[must_use]
    pub fn parse(octets: &[u8]) -> (Self, Vec<Fault>) {
        let (mut logins, mut faults) = (BTreeMap::new(), Vec::new());
        for (index, line) in octets.split(|octet| *octet == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() || line.starts_with(b"#") {
                continue;
            }
            let entry = entry(line).and_then(|(login, hash)| match logins.contains_key(login) {
                true => Err(Why::Twice),
                false => Ok((login.to_owned(), hash)),
            });
            match entry {
                Ok((login, hash)) => drop(logins.insert(login, hash)),
                Err(why) => faults.push(Fault { line: index.saturating_add(1), why }),
            }
        }
        (Self { logins, seed: RandomState::new() }, faults)
    }

    /// How many logins there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logins.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logins.is_empty()
    }

    /// Whether `login` is there.
    #[must_use]
    pub fn knows(&self, login: &[u8]) -> bool {
        std::str::from_utf8(login).is_ok_and(|login| self.logins.contains_key(login))
    }

    /// Whether that is the password of `login`. A login that there is not takes as long as one that there is: the password is
    /// checked against the hash of somebody else, always the same one for the same login, and the result thrown away.
    #[must_use]
    pub fn accepts(&self, login: &[u8], password: &[u8]) -> bool {
        let known = std::str::from_utf8(login).ok().and_then(|login| self.logins.get(login));
        let other = || {
            let most = u64::try_from(self.logins.len()).unwrap_or(u64::MAX).max(1);
            let place = usize::try_from(self.seed.hash_one(login) % most).unwrap_or_default();
            self.logins.values().nth(place)
        };
        let hash = known.or_else(other);
        let is_of = hash.is_some_and(|hash| std::hint::black_box(hash.is_of(password)));
        is_of && known.is_some()
    }
}

fn entry(line: &[u8]) -> Result<(&str, Hash), Why> {
    let line = std::str::from_utf8(line).map_err(|_| Why::NotText)?;
    let mut fields = line.split(':');
    let (login, hash) = (fields.next().unwrap_or_default(), fields.next().ok_or(Why::NoColon)?);
    if !is_login(login) {
        return Err(Why::Login);
    }
    let hash = match hash.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((_, hash)) => hash,
        None => hash,
    };
    Ok((login, Hash::parse(hash.trim()).map_err(Why::Hash)?))
}

/// Whether a login can be one: it goes into logs, into a table of words, and to the backend.
#[must_use]
pub fn is_login(login: &str) -> bool {
    !login.is_empty()
        && login.len() <= LOGIN_MAX
        && !login.chars().any(|c| c.is_whitespace() || c.is_control() || c == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(login: &str, password: &[u8]) -> String {
        format!("{login}:{}", Hash::line_of(password, b"0123456789abcdef").unwrap())
    }

    #[test]
    fn issue_15_a_login_has_its_password_and_no_other() {
        let text = format!(
            "# people\n\n{}\r\n{}:1000:1000::/home/ann\njim:{{ARGON2ID}}{}\n",
            line("joe@ok.test", b"secret"),
            line("ann", b"other"),
            line("", b"third").trim_start_matches(':'),
        );
        let (passwd, faults) = Passwd::parse(text.as_bytes());
        assert_eq!((passwd.len(), faults), (3, vec![]));
        for (login, password, expected) in [
            ("joe@ok.test", "secret", true),
            ("joe@ok.test", "other", false),
            ("ann", "other", true),
            ("jim", "third", true),
            ("ANN", "other", false),
            ("nobody", "secret", false),
            ("nobody", "other", false),
            ("nobody", "third", false),
            ("", "", false),
        ] {
            assert_eq!(passwd.accepts(login.as_bytes(), password.as_bytes()), expected, "{login} {password}");
        }
        assert!(!passwd.accepts(b"\xff", b"secret"));
        assert!(!Passwd::parse(b"").0.accepts(b"joe", b"secret"));
    }

    #[test]
    fn issue_15_each_mistake_is_told_with_its_line_and_without_its_hash() {
        let good = line("joe", b"secret");
        let text = format!("{good}\n{good}\nann\nan n:x\n:x\nsue:plain\n");
        let (passwd, faults) = Passwd::parse(&[text.as_bytes(), b"\xff:x\n"].concat());
        assert_eq!(passwd.len(), 1);
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for (said, expected) in said.iter().zip([
            "line 2: its login stands",
            "line 3: has no colon",
            "line 4: its login is empty",
            "line 5: its login is empty",
            "line 6: its hash is none of",
            "line 7: is not UTF-8",
        ]) {
            assert!(said.starts_with(expected), "{said}");
        }
        assert_eq!(said.len(), 6);
        assert!(!said.concat().contains("plain"));
    }
}
