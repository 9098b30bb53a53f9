//! The passwd file: a line for each login, `LOGIN:HASH`. What stands behind another colon is ignored, and so is a scheme in braces
//! before the hash, by which Dovecot's files are read too, but for `{SCRAM-SHA-256}`, behind which keys stand. `#` begins a comment line.

use crate::hash::{BadHash, Hash};
use crate::scram::{self, Keys};
use gatepost_smtp::envelope::Mechanism;
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_wire::auth::{LOGIN_MAX, is_login};
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
    /// By which SCRAM answers for a login that there is not: it changes only when the file does, as the salts of others.
    secret: [u8; 32],
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
        let keys = logins.values().filter_map(Hash::keys);
        let secret = keys.fold([0; 32], |secret, keys| scram::hmac(&secret, keys.server()));
        (Self { logins, seed: RandomState::new(), secret }, faults)
    }

    /// By which mechanisms its logins can log in. SCRAM only when all of them can: a client tries no other once it has failed.
    #[must_use]
    pub fn offer(&self) -> Mechanisms {
        let all = !self.is_empty() && self.logins.values().all(|hash| hash.keys().is_some());
        match all {
            true => Mechanisms::PASSWORD.with(Mechanism::ScramSha256).with(Mechanism::ScramSha256Plus),
            false => Mechanisms::PASSWORD,
        }
    }

    /// The keys of a login, and whether there is such a login: those of one that there is not look like others, always the same ones.
    pub(crate) fn keys(&self, login: &str) -> Option<(Keys, bool)> {
        let known = self.logins.get(login).and_then(Hash::keys).cloned();
        let nobody = scram::hmac(&self.secret, login.as_bytes());
        let most = self.logins.len().max(1);
        let place = usize::from(u16::from_le_bytes([nobody[0], nobody[1]])) % most;
        let other = self.logins.values().nth(place).and_then(Hash::keys)?.of_nobody(&self.secret, login.as_bytes());
        Some(known.map_or((other, false), |keys| (keys, true)))
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
    /// checked against the hash of somebody else, always the same one for the same login, and the result thrown away. None: it could not
    /// be checked, which says nothing of either.
    #[must_use]
    pub(crate) fn accepts(&self, login: &[u8], password: &[u8]) -> Option<bool> {
        let known = std::str::from_utf8(login).ok().and_then(|login| self.logins.get(login));
        let other = || {
            let most = u64::try_from(self.logins.len()).unwrap_or(u64::MAX).max(1);
            let place = usize::try_from(self.seed.hash_one(login) % most).unwrap_or_default();
            self.logins.values().nth(place)
        };
        let Some(hash) = known.or_else(other) else { return Some(false) };
        let is_of = std::hint::black_box(hash.is_of(password))?;
        Some(is_of && known.is_some())
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
        Some((scheme, keys)) if scheme.eq_ignore_ascii_case("SCRAM-SHA-256") => Hash::parse_scram(keys.trim()),
        Some((_, hash)) => Hash::parse(hash.trim()),
        None => Hash::parse(hash.trim()),
    };
    Ok((login, hash.map_err(Why::Hash)?))
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
            assert_eq!(passwd.accepts(login.as_bytes(), password.as_bytes()), Some(expected), "{login} {password}");
        }
        assert_eq!(passwd.accepts(b"\xff", b"secret"), Some(false));
        assert_eq!(Passwd::parse(b"").0.accepts(b"joe", b"secret"), Some(false));
    }

    #[test]
    fn issue_15_scram_is_offered_once_everybody_can() {
        let keys = |login: &str| format!("{login}:{}\n", Keys::of(b"secret", b"0123456789abcdef"));
        let (all, faults) = Passwd::parse([keys("joe"), keys("ann")].concat().as_bytes());
        assert_eq!((all.len(), faults), (2, vec![]));
        assert!(all.offer().has(Mechanism::ScramSha256) && all.offer().has(Mechanism::ScramSha256Plus));
        // Their passwords can be said as well.
        for (login, password, expected) in [("joe", "secret", true), ("joe", "other", false), ("jim", "secret", false)]
        {
            assert_eq!(all.accepts(login.as_bytes(), password.as_bytes()), Some(expected), "{login} {password}");
        }
        let (joe, known) = all.keys("joe").unwrap();
        let (jim, nobody) = all.keys("jim").unwrap();
        assert!(known && !nobody && joe.is_of(b"secret") && jim != joe);
        assert_eq!(all.keys("jim").unwrap().0, jim);
        let (mixed, _) = Passwd::parse([keys("joe"), line("ann", b"other")].concat().as_bytes());
        assert_eq!(mixed.offer(), Mechanisms::PASSWORD);
        assert_eq!(Passwd::parse(b"").0.offer(), Mechanisms::PASSWORD);
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
