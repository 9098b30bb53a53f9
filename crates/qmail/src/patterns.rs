//! The patterns of the qregex patch in badhelo, badmailfrom, badrcptto: POSIX extended regular expressions as glibc reads
//! them, without regard to case, found anywhere in the subject. `!` in front negates: who does *not* match is denied.
//!
//! They are put into the words of an engine whose time grows with pattern times subject: an admin's careless `(a*)*` must
//! not give a client a lever. Back-references, the one thing that such an engine cannot do, are warned of and passed over.

use regex_lite::{Regex, RegexBuilder};

use crate::control::Warning;

/// Octets of one compiled pattern.
const COMPILED_MAX: usize = 1 << 16;
/// Octets of one line.
const PATTERN_MAX: usize = 1024;

/// All patterns of one or more files.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    rules: Vec<(bool, Regex)>,
}

impl Patterns {
    /// Adds entries of a list. One that is no pattern is warned of and passed over, as qregex passes it over.
    pub fn add(&mut self, file: &'static str, entries: &[(usize, &[u8])], warnings: &mut Vec<Warning>) {
        for &(line, entry) in entries {
            let (negated, pattern) = entry.strip_prefix(b"!").map_or((false, entry), |rest| (true, rest));
            match compile(pattern) {
                Ok(regex) => self.rules.push((negated, regex)),
                Err(why) => warnings.push(Warning::Pattern { file, line, why }),
            }
        }
    }

    /// Whether `subject` is denied. Nothing at all, such as the null sender, never is.
    #[must_use]
    pub fn deny(&self, subject: &[u8]) -> bool {
        // One char per octet: the engine wants text, and an octet is what `.` means here.
        let subject: String = subject.iter().map(|octet| char::from(octet.to_ascii_lowercase())).collect();
        !subject.is_empty() && self.rules.iter().any(|(negated, regex)| regex.is_match(&subject) != *negated)
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// Whether an entry of badmailfrom is an address or an `@host` in plain qmail's sense. It is a pattern when it begins with `!`
/// or holds one of `^ $ * ? ( ) [ ] { } | \`, or a `+` right after a dot. Any other `+` is part of a tagged address, and a
/// dot is a dot: `user+tag@mail.example` means that address and no other.
#[must_use]
pub fn is_plain(entry: &[u8]) -> bool {
    !entry.starts_with(b"!")
        && !entry.iter().any(|octet| b"^$*?()[]{}|\\".contains(octet))
        && !entry.windows(2).any(|two| two == b".+")
}

fn compile(pattern: &[u8]) -> Result<Regex, &'static str> {
    if pattern.len() > PATTERN_MAX {
        return Err("it is too long");
    }
    let words = Translation::of(pattern)?;
    RegexBuilder::new(&words).size_limit(COMPILED_MAX).build().map_err(|_| "it is too big, or makes no sense")
}

/// POSIX on its way to the engine's syntax.
struct Translation<'p> {
    rest: &'p [u8],
    out: String,
    /// Where in `out` the atom begins that a repetition would repeat.
    atom: Option<usize>,
    groups: Vec<usize>,
}

impl<'p> Translation<'p> {
    fn of(pattern: &'p [u8]) -> Result<String, &'static str> {
        let mut this = Self { rest: pattern, out: String::from("(?s)"), atom: None, groups: Vec::new() };
        while let Some(octet) = this.next() {
            this.take(octet)?;
        }
        if this.groups.is_empty() { Ok(this.out) } else { Err("a parenthesis is not closed") }
    }

    fn next(&mut self) -> Option<u8> {
        let (&octet, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(octet)
    }

    fn take(&mut self, octet: u8) -> Result<(), &'static str> {
        match octet {
            b'\\' => self.escape(),
            b'[' => self.bracket(),
            b'(' => {
                self.groups.push(self.out.len());
                self.out.push_str("(?:");
                self.atom = None;
                Ok(())
            }
            b')' => {
                self.atom = Some(self.groups.pop().ok_or("a parenthesis is closed that was not opened")?);
                self.out.push(')');
                Ok(())
            }
            b'|' | b'^' | b'$' => {
                self.out.push(char::from(octet));
                self.atom = None;
                Ok(())
            }
            b'*' | b'+' | b'?' => {
                self.repeat(char::from(octet).encode_utf8(&mut [0; 4]));
                Ok(())
            }
            b'{' => {
                self.interval();
                Ok(())
            }
            b'.' => {
                self.atom = Some(self.out.len());
                self.out.push('.');
                Ok(())
            }
            literal => {
                self.literal(literal);
                Ok(())
            }
        }
    }

    fn literal(&mut self, octet: u8) {
        self.atom = Some(self.out.len());
        self.out.push_str(&escaped(octet.to_ascii_lowercase()));
    }

    /// With nothing to repeat there is nothing to do: `*@host`, which people write, is `@host`.
    fn repeat(&mut self, operator: &str) {
        let Some(atom) = self.atom else { return };
        // Grouped each time, because `a+?` would mean something else to the engine.
        self.out.insert_str(atom, "(?:");
        self.out.push(')');
        self.out.push_str(operator);
    }

    fn interval(&mut self) {
        let end = self.rest.iter().position(|octet| *octet == b'}');
        let inside = end.and_then(|end| self.rest.get(..end)).unwrap_or_default();
        let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let mut parts = inside.splitn(2, |octet| *octet == b',');
        let (from, to) = (parts.next().unwrap_or_default(), parts.next());
        let sound = (number(from) || (from.is_empty() && to.is_some_and(number)))
            && to.is_none_or(|to| to.is_empty() || number(to));
        let Some(end) = end.filter(|_| sound) else { return self.literal(b'{') };
        let zero = if from.is_empty() { "0" } else { "" };
        let operator: String = inside.iter().map(|octet| char::from(*octet)).collect();
        self.rest = self.rest.get(end.saturating_add(1)..).unwrap_or_default();
        self.repeat(&format!("{{{zero}{operator}}}"));
    }

    fn escape(&mut self) -> Result<(), &'static str> {
        match self.next().ok_or("it ends in a backslash")? {
            b'1'..=b'9' => return Err("back-references are not spoken"),
            class @ (b'w' | b'W' | b's' | b'S') => {
                self.atom = Some(self.out.len());
                self.out.extend(['\\', char::from(class)]);
            }
            edge @ (b'b' | b'B' | b'<' | b'>') => {
                self.atom = None;
                self.out.push_str(match edge {
                    b'b' => "\\b",
                    b'B' => "\\B",
                    b'<' => "\\b{start}",
                    _ => "\\b{end}",
                });
            }
            literal => self.literal(literal),
        }
        Ok(())
    }

    /// A bracket expression: `]` first is itself, a backslash is itself, classes are those of the C locale.
    fn bracket(&mut self) -> Result<(), &'static str> {
        const OPEN: &str = "a bracket is not closed";
        let negated = self.rest.first() == Some(&b'^');
        if negated {
            self.next();
        }
        let mut set = [false; 256];
        let mut first = true;
        loop {
            let low = match self.next().ok_or(OPEN)? {
                b']' if !first => break,
                b'[' if self.rest.first() == Some(&b':') => {
                    self.class(&mut set)?;
                    first = false;
                    continue;
                }
                b'[' if matches!(self.rest.first(), Some(b'.' | b'=')) => {
                    return Err("collating symbols are not spoken");
                }
                octet => octet,
            };
            first = false;
            let high = match self.rest {
                [b'-', high, ..] if *high != b']' => {
                    let high = *high;
                    self.rest = self.rest.get(2..).unwrap_or_default();
                    high
                }
                _ => low,
            };
            if low > high {
                return Err("a range runs backwards");
            }
            set.iter_mut().zip(0..=u8::MAX).for_each(|(member, octet)| *member |= (low..=high).contains(&octet));
        }
        self.emit(&set, negated);
        Ok(())
    }

    fn class(&mut self, set: &mut [bool; 256]) -> Result<(), &'static str> {
        let end = self.rest.windows(2).position(|two| two == b":]").ok_or("a class is not closed")?;
        let name = self.rest.get(1..end).unwrap_or_default();
        let member: fn(&u8) -> bool = match name {
            b"alpha" | b"upper" | b"lower" => u8::is_ascii_alphabetic,
            b"digit" => u8::is_ascii_digit,
            b"alnum" => u8::is_ascii_alphanumeric,
            b"space" => |octet| matches!(octet, b' ' | b'\t'..=b'\r'),
            b"blank" => |octet| matches!(octet, b' ' | b'\t'),
            b"punct" => u8::is_ascii_punctuation,
            b"cntrl" => u8::is_ascii_control,
            b"graph" => u8::is_ascii_graphic,
            b"print" => |octet| matches!(octet, b' '..=b'~'),
            b"xdigit" => u8::is_ascii_hexdigit,
            _ => return Err("it names a class that there isn't"),
        };
        set.iter_mut().zip(0..=u8::MAX).for_each(|(slot, octet)| *slot |= member(&octet));
        self.rest = self.rest.get(end.saturating_add(2)..).unwrap_or_default();
        Ok(())
    }

    fn emit(&mut self, set: &[bool; 256], negated: bool) {
        // Case is folded before the set is turned round, or `[^a]` would let `A` pass.
        let has = |octet: u8| set.get(usize::from(octet)).copied().unwrap_or_default();
        let folded = |octet: u8| has(octet.to_ascii_lowercase()) || has(octet.to_ascii_uppercase());
        self.atom = Some(self.out.len());
        self.out.push('[');
        for octet in (0..=u8::MAX).filter(|octet| folded(*octet) != negated) {
            self.out.push_str(&escaped(octet));
        }
        if self.out.ends_with('[') {
            // Everything was excluded: matches nothing, which the engine spells otherwise.
            self.out.push_str("^\\x{0}-\\x{10FFFF}");
        }
        self.out.push(']');
    }
}

fn escaped(octet: u8) -> String {
    if octet.is_ascii_alphanumeric() { char::from(octet).to_string() } else { format!("\\x{{{octet:X}}}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(lines: &[&str]) -> (Patterns, usize) {
        let (mut patterns, mut warnings) = (Patterns::default(), Vec::new());
        let entries: Vec<_> = lines.iter().map(|line| (1, line.as_bytes())).collect();
        patterns.add("badhelo", &entries, &mut warnings);
        (patterns, warnings.len())
    }

    #[test]
    fn posix_extended_as_glibc_reads_it() {
        for (pattern, subject, denied) in [
            (".*@spam\\.example$", "x@spam.example", true),
            (".*@spam\\.example$", "x@spamXexample", false),
            ("^LOCALhost$", "localhost", true),
            ("localhost", "my.localhost.example", true),
            ("^(dyn|pool)-[0-9]{1,3}", "pool-12.isp.example", true),
            ("^(dyn|pool)-[0-9]{4}", "pool-12.isp.example", false),
            ("^[^.]+$", "nodots", true),
            ("^[^.]+$", "with.dots", false),
            ("^[^a]$", "A", false),
            ("^[]x]$", "]", true),
            ("^[\\.]$", "\\", true),
            ("^[[:digit:].]+$", "192.0.2.1", true),
            ("^[[:upper:]]$", "q", true),
            ("*@spam.example", "x@spam.example", true),
            ("^a+?$", "", false),
            ("^a+?b$", "b", true),
            ("^a{,2}$", "aaa", false),
            ("^a{x$", "a{x", true),
            ("%", "u%h@example.com", true),
            ("\\<mail\\>", "the-mail-host", true),
            ("\\<mail\\>", "themail", false),
            ("a&&b", "a&&b", true),
            ("^[a&&b]$", "&", true),
            ("^[^\\x]$", "y", true),
            ("#", "a#b", true),
        ] {
            let (patterns, warned) = patterns(&[pattern]);
            assert_eq!((patterns.deny(subject.as_bytes()), warned), (denied, 0), "{pattern} on {subject}");
        }
    }

    #[test]
    fn a_negated_pattern_denies_who_does_not_match() {
        let (patterns, _) = patterns(&["!\\."]);
        assert!(patterns.deny(b"nodots"));
        assert!(!patterns.deny(b"with.dots"));
        assert!(!patterns.deny(b""));
    }

    #[test]
    fn what_is_no_pattern_is_told_and_passed_over() {
        for bad in ["(", ")", "[a", "a\\", "(a)\\1", "[[:nope:]]", "[z-a]", "((((a{99}){99}){99}){99})"] {
            let (patterns, warned) = patterns(&[bad]);
            assert!(patterns.is_empty() && warned == 1, "{bad}");
        }
    }

    #[test]
    fn octets_are_octets() {
        let mut patterns = Patterns::default();
        patterns.add("badhelo", &[(1, b"^\xfc.\xff$")], &mut Vec::new());
        assert!(patterns.deny(b"\xfc\n\xff"));
        assert!(!patterns.deny("ü.ÿ".as_bytes()));
    }

    #[test]
    fn plain_entries_stay_plain() {
        for (entry, plain) in [
            ("user@host.example", true),
            ("@host.example", true),
            ("user+tag@host.example", true),
            ("root", true),
            (".+@host", false),
            (".*@host", false),
            ("!@", false),
            ("^root$", false),
        ] {
            assert_eq!(is_plain(entry.as_bytes()), plain, "{entry}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_subject_upset_it(lines in proptest::collection::vec("[\\\\\\[\\](){}|^$.*+?a-c0-9:,!-]{0,20}", 0..4),
                                              subject: Vec<u8>) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let _ = patterns(&lines).0.deny(&subject);
        }

        #[test]
        fn no_octets_upset_it(pattern: Vec<u8>) {
            Patterns::default().add("badhelo", &[(1, &pattern)], &mut Vec::new());
        }
    }
}
