//! RFC 1413: who on the peer's host owns the connection, as that host says.

/// Octets of a name at most; what follows is not waited for.
const NAME_MAX: usize = 257;

/// The question: the connection's two ports, the peer's first.
#[must_use]
pub fn question(remote: u16, local: u16) -> Vec<u8> {
    format!("{remote} , {local}\r\n").into_bytes()
}

/// An answer as it comes in.
#[derive(Debug, Default)]
pub struct Answer {
    colons: u8,
    name: Vec<u8>,
}

impl Answer {
    /// Takes the next octets. Some: the name, and no more octets are needed. It is what follows the third colon without blanks,
    /// so an error, which has two, gives an empty one. A NUL ends it, as in an environment.
    pub fn take(&mut self, octets: &[u8]) -> Option<Vec<u8>> {
        for octet in octets {
            match octet {
                b' ' | b'\t' | b'\r' => {}
                b'\n' => return Some(self.name()),
                b':' if self.colons < 3 => self.colons = self.colons.saturating_add(1),
                _ if self.colons < 3 => {}
                octet => {
                    self.name.push(*octet);
                    if self.name.len() >= NAME_MAX {
                        return Some(self.name());
                    }
                }
            }
        }
        None
    }

    fn name(&self) -> Vec<u8> {
        self.name.split(|octet| *octet == 0).next().unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_11_answers_of_any_segmentation() {
        let long = [b"1,2:USERID:UNIX:".as_slice(), &[b'x'; 300]].concat();
        for (answer, name) in [
            (b"40000 , 25 : USERID : UNIX : joe\r\n".as_slice(), Some(b"joe".as_slice())),
            (b"40000,25:USERID:UNIX:j:o e\n", Some(b"j:oe")),
            (b"40000 , 25 : ERROR : NO-USER\r\n", Some(b"")),
            (b"\n", Some(b"")),
            (b"1,2:USERID:UNIX:a\0b\n", Some(b"a")),
            (b"1,2:USERID:UNIX:joe", None),
            (b"", None),
            (&long, Some(&[b'x'; NAME_MAX])),
        ] {
            for cut in 0..=answer.len() {
                let (first, second) = answer.split_at(cut);
                let mut reading = Answer::default();
                let found = reading.take(first).or_else(|| reading.take(second));
                assert_eq!(found.as_deref(), name, "{} at {cut}", answer.escape_ascii());
            }
        }
        assert_eq!(question(40000, 25), b"40000 , 25\r\n");
    }
}
