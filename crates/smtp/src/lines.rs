//! Lines of bounded length from a stream that arrives in pieces. A line that arrives in one piece is not copied.

use crate::find;
use crate::split;

/// What a line may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Octets of the longest line, its end included.
    pub longest: usize,
    /// Octets of a line that is too long after which the search for its end is given up.
    pub endless: usize,
    /// An LF without a CR before it ends a line, too.
    pub bare_lf: bool,
}

/// What was found in the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'i> {
    /// No line end. All input is consumed.
    Starved,
    /// A line, its end cut off: LF and one CR before it.
    Line(&'i [u8]),
    /// A line that began in earlier input: it is in [`Lines::take_held`].
    Held,
    /// The end of a line that is too long.
    TooLong,
    /// A line of more than [`Rules::endless`] octets. The client does not speak SMTP: do not read on.
    Endless,
    /// A line that ends in a bare LF, though [`Rules::bare_lf`] forbids it.
    BareLf,
}

/// Collects lines. Holds no more than [`Rules::longest`] octets.
#[derive(Debug, Default)]
pub struct Lines {
    /// The line so far, as long as it isn't too long.
    held: Vec<u8>,
    /// Octets so far of a line that is too long, else 0.
    skipped: usize,
    last: u8,
}

impl Lines {
    /// Takes up to one line from `input`: octets taken, and what was found.
    pub fn next<'i>(&mut self, input: &'i [u8], rules: &Rules) -> (usize, Found<'i>) {
        let end = find::first(b'\n', input);
        let (piece, _) = split(input, end.map_or(input.len(), |at| at.saturating_add(1)));
        let length = self.skipped.max(self.held.len()).saturating_add(piece.len());
        let too_long = self.skipped > 0 || length > rules.longest;
        if too_long && length > rules.endless {
            return (piece.len(), Found::Endless);
        }
        let before_lf = piece.iter().rev().nth(1).copied().unwrap_or(self.last);
        let ended = before_lf == b'\r' || rules.bare_lf;
        self.last = if end.is_some() { 0 } else { piece.last().copied().unwrap_or(self.last) };
        if too_long {
            self.held = Vec::new();
            self.skipped = if end.is_some() { 0 } else { length };
        }
        let found = match (end, too_long) {
            (None, true) => Found::Starved,
            (None, false) => {
                self.held.extend_from_slice(piece);
                Found::Starved
            }
            (Some(_), _) if !ended => {
                self.held.clear();
                Found::BareLf
            }
            (Some(_), true) => Found::TooLong,
            (Some(_), false) if self.held.is_empty() => Found::Line(without_end(piece)),
            (Some(_), false) => {
                self.held.extend_from_slice(piece);
                Found::Held
            }
        };
        (piece.len(), found)
    }

    /// Whether the line that began earlier, or begins with `input`, begins with `word`, in any case.
    #[must_use]
    pub fn begins_with(&self, word: &[u8], input: &[u8]) -> bool {
        let start = self.held.iter().chain(input).take(word.len());
        start.map(u8::to_ascii_uppercase).eq(word.iter().map(u8::to_ascii_uppercase))
    }

    /// The line of [`Found::Held`], its end cut off.
    pub fn take_held(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.held);
        line.truncate(without_end(&line).len());
        line
    }

    /// Gives back the room of a line.
    pub fn give_back(&mut self, mut room: Vec<u8>) {
        room.clear();
        self.held = room;
    }

    /// Discards the line that has begun.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is found in these pieces: lines as they are, other finds by their names.
    fn all(pieces: &[&[u8]], rules: &Rules) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (taken, what) = lines.next(rest, rules);
                rest = &rest[taken..];
                let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
                match what {
                    Found::Starved => {}
                    Found::Line(line) => found.push(text(line)),
                    Found::Held => {
                        let line = lines.take_held();
                        found.push(text(&line));
                        lines.give_back(line);
                    }
                    Found::Endless => return [found, vec!["Endless".to_owned()]].concat(),
                    other => found.push(format!("{other:?}")),
                }
            }
        }
        found
    }

    #[test]
    fn lines_are_the_same_however_their_octets_come() {
        let strict = Rules { longest: 8, endless: 20, bare_lf: false };
        let rows: [(Rules, &[u8], &[&str]); 13] = [
            (strict, b"one\r\ntwo\r\n", &["one", "two"]),
            (strict, b"\r\n\r\n", &["", ""]),
            (strict, b"a\rb\r\n", &["a\rb"]),
            (strict, b"a\r\r\n", &["a\r"]),
            (strict, b"123456\r\n1234567\r\nx\r\n", &["123456", "TooLong", "x"]),
            (strict, b"a\nb\r\n", &["BareLf", "b"]),
            (strict, b"\n\r\n", &["BareLf", ""]),
            (strict, b"too long\nb\r\n", &["BareLf", "b"]),
            (strict, b"123456789012345678\r\nx\r\n", &["TooLong", "x"]),
            (strict, b"1234567890123456789\r\nx\r\n", &["Endless"]),
            (strict, b"123456789012345678901", &["Endless"]),
            (
                Rules { bare_lf: true, ..strict },
                b"a\nb\r\n\n1234567\n12345678\nx\n",
                &["a", "b", "", "1234567", "TooLong", "x"],
            ),
            // What is not too long cannot be endless.
            (Rules { endless: 2, ..strict }, b"one\r\n", &["one"]),
        ];
        for (rules, octets, expected) in rows {
            for at in 0..octets.len() {
                let (head, tail) = octets.split_at(at);
                assert_eq!(all(&[head, tail], &rules), expected, "{octets:?} cut at {at}");
            }
            let single: Vec<&[u8]> = octets.chunks(1).collect();
            assert_eq!(all(&single, &rules), expected, "{octets:?} octet by octet");
        }
    }

    #[test]
    fn p6_a_line_that_is_too_long_is_not_held() {
        let rules = Rules { longest: 10, endless: usize::MAX, bare_lf: false };
        let mut lines = Lines::default();
        for _ in 0..1000 {
            assert_eq!(lines.next(&[b'x'; 7], &rules), (7, Found::Starved));
            assert!(lines.held.len() <= 10);
        }
        assert_eq!(lines.next(b"\r\n", &rules), (2, Found::TooLong));
    }

    #[test]
    fn a_word_is_seen_in_pieces_and_in_any_case() {
        let rules = Rules { longest: 10, endless: 20, bare_lf: false };
        let mut lines = Lines::default();
        assert!(lines.begins_with(b"AUTH ", b"auth plain"));
        assert!(!lines.begins_with(b"AUTH ", b"AUTH"));
        lines.next(b"aU", &rules);
        assert!(lines.begins_with(b"AUTH ", b"th x"));
        assert!(!lines.begins_with(b"AUTH ", b"auth "));
    }
}
