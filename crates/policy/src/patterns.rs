//! Patterns in tables of senders, recipients and HELO names, as the qregex patch of qmail has them: POSIX extended regular
//! expressions as glibc reads them, without regard to case, found anywhere in the subject. `!` in front negates: who does *not*
//! match is denied.
//!
//! They are put into the words of an engine whose time grows with pattern times subject: an admin's careless `(a*)*` must
//! not give a client a lever. Back-references, the one thing that such an engine cannot do, are warned of and passed over.

use regex_lite::{Regex, RegexBuilder};

/// Octets of one compiled pattern.
const COMPILED_MAX: usize = 1 << 16;
/// Octets of one line.
const PATTERN_MAX: usize = 1024;

/// What patterns are tried on: a sender, a recipient, a HELO name.
#[derive(Debug)]
pub struct Subject {
    /// One char per octet: the engine wants text, and an octet is what `.` means here.
    text: String,
    octets: Vec<u8>,
}

impl Subject {
    /// Of these octets.
    #[must_use]
    pub fn new(octets: &[u8]) -> Self {
        let octets = octets.to_ascii_lowercase();
        Self { text: octets.iter().map(|octet| char::from(*octet)).collect(), octets }
    }

    /// Whether an entry of a list denies it; one that is no pattern does not. Nothing at all, such as the null sender, is never
    /// denied. An entry is compiled each time, as the qregex patch does it: then a list of any length takes no memory.
    #[must_use]
    pub fn is_denied_by(&self, entry: &[u8]) -> bool {
        let (negated, pattern) = parts(entry);
        let matches = match Simple::of(pattern) {
            Some(simple) => simple.is_in(&self.octets),
            None => match compile(pattern) {
                Ok(regex) => regex.is_match(&self.text),
                Err(_) => return false,
            },
        };
        !self.octets.is_empty() && matches != negated
    }
}

/// A pattern that is compiled once.
#[derive(Debug)]
pub struct Pattern {
    negated: bool,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// One for [`Simple`].
    Simple(Vec<u8>),
    Regex(Regex),
}

impl Pattern {
    /// Compiles an entry.
    ///
    /// # Errors
    /// As [`check`].
    pub fn new(entry: &[u8]) -> Result<Self, &'static str> {
        let (negated, pattern) = parts(entry);
        let body = match Simple::of(pattern) {
            Some(_) => Body::Simple(pattern.to_vec()),
            None => Body::Regex(compile(pattern)?),
        };
        Ok(Self { negated, body })
    }

    /// As [`Subject::is_denied_by`].
    #[must_use]
    pub(crate) fn denies(&self, subject: &Subject) -> bool {
        let matches = match &self.body {
            Body::Simple(pattern) => Simple::of(pattern).is_some_and(|simple| simple.is_in(&subject.octets)),
            Body::Regex(regex) => regex.is_match(&subject.text),
        };
        !subject.octets.is_empty() && matches != self.negated
    }
}

/// What is wrong with an entry: it is passed over, as the qregex patch passes it over.
///
/// # Errors
/// The mistake, for a warning.
pub fn check(entry: &[u8]) -> Result<(), &'static str> {
    let (_, pattern) = parts(entry);
    if Simple::of(pattern).is_some() { Ok(()) } else { compile(pattern).map(drop) }
}

/// Whether it is negated, and the pattern.
fn parts(entry: &[u8]) -> (bool, &[u8]) {
    entry.strip_prefix(b"!").map_or((false, entry), |rest| (true, rest))
}

/// A pattern of literals and dots, perhaps bound to the begin or the end: most entries are, and need no engine.
#[derive(Debug)]
struct Simple<'p> {
    from_start: bool,
    to_end: bool,
    body: &'p [u8],
}

impl<'p> Simple<'p> {
    fn of(pattern: &'p [u8]) -> Option<Self> {
        if pattern.len() > PATTERN_MAX {
            return None;
        }
        let (from_start, rest) = pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest));
        let (to_end, body) = rest.strip_suffix(b"$").map_or((false, rest), |rest| (true, rest));
        let mut octets = body.iter();
        while let Some(octet) = octets.next() {
            let plain = match octet {
                // A class or an edge when it is a letter, a back-reference when it is a digit.
                b'\\' => octets.next().is_some_and(u8::is_ascii_punctuation),
                octet => !b"[](){}|^$*+?".contains(octet),
            };
            if !plain {
                return None;
            }
        }
        // `\<` and `\>` are edges of words.
        let edges = body.windows(2).any(|two| matches!(two, [b'\\', b'<' | b'>']));
        // The `$` that was taken off belonged to a backslash; the loop above has seen it end in one.
        (!edges).then_some(Self { from_start, to_end, body })
    }

    fn is_in(&self, subject: &[u8]) -> bool {
        let starts = if self.from_start { 0..=0 } else { 0..=subject.len() };
        starts.into_iter().any(|at| {
            let rest = subject.get(at..).unwrap_or_default();
            self.rest_after(rest).is_some_and(|rest| !self.to_end || rest.is_empty())
        })
    }

    /// What is left of `subject` behind the body, which must stand at its begin.
    fn rest_after<'s>(&self, mut subject: &'s [u8]) -> Option<&'s [u8]> {
        let mut body = self.body.iter();
        while let Some(wanted) = body.next() {
            let (octet, rest) = subject.split_first()?;
            let fits = match wanted {
                b'.' => true,
                b'\\' => body.next() == Some(octet),
                wanted => wanted.eq_ignore_ascii_case(octet),
            };
            if !fits {
                return None;
            }
            subject = rest;
        }
        Some(subject)
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

    fn deny(pattern: &[u8], subject: &[u8]) -> bool {
        Subject::new(subject).is_denied_by(pattern)
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
            assert_eq!(check(pattern.as_bytes()), Ok(()), "{pattern}");
            assert_eq!(deny(pattern.as_bytes(), subject.as_bytes()), denied, "{pattern} on {subject}");
            let compiled = Pattern::new(pattern.as_bytes()).unwrap();
            assert_eq!(compiled.denies(&Subject::new(subject.as_bytes())), denied, "{pattern} on {subject}");
        }
    }

    #[test]
    fn a_negated_pattern_denies_who_does_not_match() {
        assert!(deny(b"!\\.", b"nodots"));
        assert!(!deny(b"!\\.", b"with.dots"));
        assert!(!deny(b"!\\.", b""));
    }

    #[test]
    fn what_is_no_pattern_is_told_and_passed_over() {
        for bad in ["(", ")", "[a", "a\\", "(a)\\1", "[[:nope:]]", "[z-a]", "((((a{99}){99}){99}){99})"] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
            // Negated it would deny everyone.
            assert!(!deny(bad.as_bytes(), b"a") && !deny(format!("!{bad}").as_bytes(), b"a"), "{bad}");
        }
    }

    #[test]
    fn octets_are_octets() {
        for pattern in [&b"^\xfc.\xff$"[..], b"^\xfc.\xff+$"] {
            assert!(deny(pattern, b"\xfc\n\xff"));
            assert!(!deny(pattern, "ü.ÿ".as_bytes()));
        }
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
        fn no_pattern_and_no_subject_upset_it(line in "[\\\\\\[\\](){}|^$.*+?a-c0-9:,!-]{0,20}", subject: Vec<u8>) {
            let _ = (check(line.as_bytes()), deny(line.as_bytes(), &subject));
        }

        #[test]
        fn no_octets_upset_it(pattern: Vec<u8>) {
            let _ = (check(&pattern), deny(&pattern, b"a@b"));
        }

        #[test]
        fn what_is_compared_without_the_engine_is_what_the_engine_finds(
            pattern in "\\^?([a-cA.@<-]|\\\\[.@$^<>\\\\]){0,6}\\$?",
            subject in "[a-c.@$^<\\\\]{0,8}",
        ) {
            if let (Some(simple), Ok(regex)) = (Simple::of(pattern.as_bytes()), compile(pattern.as_bytes())) {
                prop_assert_eq!(simple.is_in(subject.as_bytes()), regex.is_match(&subject), "{} {}", pattern, subject);
            }
        }
    }
}
