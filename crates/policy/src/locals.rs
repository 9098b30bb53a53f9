//! Users of this machine who submit mail by a socket: what each is called, and which reverse-paths he may use.

use std::collections::{HashMap, HashSet};

/// Those that are known.
#[derive(Debug, Default, Clone)]
pub struct Locals {
    names: HashMap<u32, String>,
    trusted: HashSet<String>,
    domains: Vec<String>,
}

impl Locals {
    /// `accounts`: uids with their names; of two names the first counts. `trusted`: names of those who may use any reverse-path.
    /// `domains`: behind a user's name each of these makes an address of his.
    pub fn new(
        accounts: impl IntoIterator<Item = (u32, String)>,
        trusted: impl IntoIterator<Item = String>,
        domains: impl IntoIterator<Item = String>,
    ) -> Self {
        let domains = domains.into_iter().map(|domain| domain.to_ascii_lowercase()).collect();
        Self { names: HashMap::new(), trusted: trusted.into_iter().collect(), domains }.renewed(accounts)
    }

    /// The same with other accounts.
    #[must_use]
    pub fn renewed(&self, accounts: impl IntoIterator<Item = (u32, String)>) -> Self {
        let mut names = HashMap::new();
        for (uid, name) in accounts {
            names.entry(uid).or_insert(name);
        }
        Self { names, ..self.clone() }
    }

    /// What a user is called; one without an account by his number, which is no name that an account could have.
    #[must_use]
    pub fn name(&self, uid: u32) -> String {
        self.names.get(&uid).cloned().unwrap_or_else(|| format!("uid={uid}"))
    }

    /// Whether the user of that name may send from `address`, a reverse-path without its brackets: the null one, his own with or
    /// without an extension (`joe+list@`), or any if he is trusted.
    #[must_use]
    pub fn permits(&self, name: &str, address: &[u8]) -> bool {
        if address.is_empty() || self.trusted.contains(name) {
            return true;
        }
        let Ok(address) = std::str::from_utf8(address) else { return false };
        let Some((local, domain)) = address.rsplit_once('@') else { return false };
        let own = local.split_once('+').map_or(local, |(user, _)| user);
        own.eq_ignore_ascii_case(name) && self.domains.contains(&domain.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_15_a_user_sends_as_himself_and_a_trusted_one_as_anybody() {
        let accounts = [(0, "root"), (10, "joe"), (10, "other")].map(|(uid, name)| (uid, name.to_owned()));
        let locals = Locals::new(accounts, ["root".to_owned()], ["MX.test".to_owned(), "example.org".to_owned()]);
        assert_eq!([0, 10, 11].map(|uid| locals.name(uid)), ["root", "joe", "uid=11"]);
        for (name, address, may) in [
            ("joe", "", true),
            ("joe", "joe@mx.test", true),
            ("joe", "Joe+cron@example.ORG", true),
            ("joe", "joe@example.net", false),
            ("joe", "ann@mx.test", false),
            ("joe", "joe", false),
            ("root", "ann@example.net", true),
            ("uid=11", "root@mx.test", false),
            ("uid=11", "", true),
        ] {
            assert_eq!(locals.permits(name, address.as_bytes()), may, "{name} as {address}");
        }
    }
}
