//! Who the caller is, by /etc/passwd: a static program has no name service to ask.

/// An account.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: Vec<u8>,
    /// The first part of the GECOS field, in which `&` stands for the name. May be empty.
    pub(crate) full_name: Vec<u8>,
}

impl User {
    /// The account of a uid.
    pub(crate) fn of(uid: u32, passwd: &[u8]) -> Option<Self> {
        let lines = passwd.split(|octet| *octet == b'\n');
        lines.map(|line| line.split(|octet| *octet == b':').collect::<Vec<_>>()).find_map(|fields| {
            match fields.as_slice() {
                [name, _, id, _, gecos, ..] if !name.is_empty() && *id == uid.to_string().as_bytes() => {
                    Some(Self { name: name.to_vec(), full_name: full_name(gecos, name) })
                }
                _ => None,
            }
        })
    }
}

fn full_name(gecos: &[u8], name: &[u8]) -> Vec<u8> {
    let first = gecos.split(|octet| *octet == b',').next().unwrap_or_default();
    let mut full = Vec::new();
    for octet in first {
        match (octet, name.split_first()) {
            (b'&', Some((initial, rest))) => {
                full.push(initial.to_ascii_uppercase());
                full.extend_from_slice(rest);
            }
            _ => full.push(*octet),
        }
    }
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_uid() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad\njoe:x:10:10:& User,Room 1,,:/:/bin/sh\n:x:11::::\n";
        let joe = User { name: b"joe".to_vec(), full_name: b"Joe User".to_vec() };
        assert_eq!(User::of(10, passwd), Some(joe));
        assert_eq!(User::of(0, passwd).unwrap().name, b"root");
        assert_eq!(User::of(1, passwd), None);
        assert_eq!(User::of(11, passwd), None);
    }
}
