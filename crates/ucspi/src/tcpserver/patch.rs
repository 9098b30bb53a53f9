//! The tcpserver-limits patch of toasters: variables of the environment, or of a rule, by which a connection is refused.

/// The patch's variables, as they hold for one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    load: Option<u64>,
    per_address: Option<u64>,
    per_network: Option<u64>,
    message: Option<Vec<u8>>,
}

impl Patch {
    /// As `variable` gives them; one that is empty or not set is no limit.
    #[must_use]
    pub fn read<'a>(variable: impl Fn(&[u8]) -> Option<&'a [u8]>) -> Self {
        let limit = |name: &[u8]| variable(name).filter(|value| !value.is_empty()).map(super::options::number);
        Self {
            load: limit(b"MAXLOAD"),
            per_address: limit(b"MAXCONNIP"),
            per_network: limit(b"MAXCONNC"),
            message: variable(b"DIEMSG").map(<[u8]>::to_vec),
        }
    }

    /// Nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        (self.load, self.per_address, self.per_network) == (None, None, None)
    }

    /// What is added to the deny line, where a limit is overstepped: by connections from the same address and from the same
    /// network, this one included, or by the load of the last minute in hundredths. A limit of 0 always is.
    #[must_use]
    pub fn refusal(&self, load: impl FnOnce() -> u64, from_address: u32, from_network: u32) -> Option<String> {
        let over = |limit: Option<u64>, now: u64, name: &str| {
            limit.filter(|limit| *limit == 0 || now > *limit).map(|limit| format!("{name}:{limit}"))
        };
        let address = over(self.per_address, u64::from(from_address), "MAXCONNIP");
        let network = || over(self.per_network, u64::from(from_network), "MAXCONNC");
        address.or_else(network).or_else(|| over(Some(self.load?), load(), "LOAD"))
    }

    /// What a refused client hears, with the end of its line.
    #[must_use]
    pub fn last_words(&self) -> Option<Vec<u8>> {
        self.message.as_ref().map(|message| [message, &b"\r\n"[..]].concat())
    }
}

/// The load of the last minute in hundredths, from the content of `/proc/loadavg`.
#[must_use]
pub fn load(text: &[u8]) -> u64 {
    let first = text.split(|octet| *octet == b' ').next().unwrap_or_default();
    let mut halves = first.split(|octet| *octet == b'.');
    let whole = super::options::number(halves.next().unwrap_or_default());
    let hundredths = super::options::number(halves.next().unwrap_or_default()).min(99);
    whole.saturating_mul(100).saturating_add(hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_11_the_limits_patch_refuses_what_is_over_and_nothing_else() {
        for (variables, now, refusal) in [
            (&[][..], (900, 90, 90), None),
            (&[("MAXCONNIP", "2")], (0, 2, 9), None),
            (&[("MAXCONNIP", "2")], (0, 3, 9), Some("MAXCONNIP:2")),
            (&[("MAXCONNIP", "0")], (0, 1, 1), Some("MAXCONNIP:0")),
            (&[("MAXCONNIP", "")], (0, 9, 9), None),
            (&[("MAXCONNC", "5")], (0, 1, 6), Some("MAXCONNC:5")),
            (&[("MAXCONNC", "5"), ("MAXLOAD", "250")], (250, 1, 5), None),
            (&[("MAXCONNC", "5"), ("MAXLOAD", "250")], (251, 1, 5), Some("LOAD:250")),
        ] {
            let find = |name: &[u8]| variables.iter().find(|(n, _)| n.as_bytes() == name).map(|(_, v)| v.as_bytes());
            let patch = Patch::read(find);
            assert_eq!(patch.refusal(|| now.0, now.1, now.2).as_deref(), refusal, "{variables:?} {now:?}");
            assert_eq!(patch.is_empty(), variables.iter().all(|(_, value)| value.is_empty()));
        }
        let patch = Patch::read(|name| (name == b"DIEMSG").then_some(b"421 busy".as_slice()));
        assert_eq!(patch.last_words().as_deref(), Some(b"421 busy\r\n".as_slice()));
        for (text, hundredths) in [("0.07 0.1 0.2 1/2 3", 7), ("12.34 1", 1234), ("", 0), ("x", 0)] {
            assert_eq!(load(text.as_bytes()), hundredths, "{text}");
        }
    }
}
