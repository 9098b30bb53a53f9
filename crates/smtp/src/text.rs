//! The text of somebody else's refusal, made fit for a client: bounded, printable, in lines that fit a reply.

use std::fmt;

/// Lines of a text.
pub const LINES_MAX: usize = 10;
/// Octets of a line. With code, enhanced code, the longest id and CRLF around it a reply line has the 512 octets of RFC 5321
/// §4.5.3.1.5 at most.
pub const LINE_MAX: usize = 428;
/// Octets of a text with the LFs between its lines.
pub const TEXT_MAX: usize = LINES_MAX * (LINE_MAX + 1);

/// Characters that a line may have; UTF-8 only where SMTPUTF8 was used (RFC 6531 §3.7.4). No control, and nothing that reorders
/// or hides what stands beside it on a terminal or in a log.
#[must_use]
pub fn is_printable(character: char) -> bool {
    let hides = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    );
    !character.is_control() && !hides
}

/// Octets as printable text: each octet or character that isn't is replaced by `?`.
#[must_use]
pub fn printable(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        text.extend(chunk.valid().chars().map(|character| if is_printable(character) { character } else { '?' }));
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

/// A cleaned text of [`LINES_MAX`] lines at most, or none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Text(Box<str>);

impl Text {
    /// None: the reply has our own words.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// From the lines of a reply without their codes. A long line is folded, at a blank where it has one; lines beyond
    /// [`LINES_MAX`] are left out. Without `utf8` each character that isn't ASCII is replaced by `?`.
    #[must_use]
    pub fn of<'a>(lines: impl IntoIterator<Item = &'a [u8]>, utf8: bool) -> Self {
        let mut text = String::new();
        let mut count = 0;
        for line in lines {
            let mut line = printable(line);
            if !utf8 && !line.is_ascii() {
                line = line.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect();
            }
            let mut rest = line.trim_matches(' ');
            while !rest.is_empty() && count < LINES_MAX {
                let (now, later) = fold(rest);
                if count > 0 {
                    text.push('\n');
                }
                text.push_str(now);
                rest = later;
                count = count.saturating_add(1);
            }
        }
        Self(text.into())
    }

    /// From what [`Text::as_str`] gave in another process. None: that was not it.
    #[must_use]
    pub fn read(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok()?;
        let fits = |line: &str| !line.is_empty() && line.len() <= LINE_MAX && line.chars().all(is_printable);
        let sound = text.is_empty() || text.split('\n').count() <= LINES_MAX && text.split('\n').all(fits);
        sound.then(|| Self(text.into()))
    }

    /// There is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Its lines with an LF between them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.split('\n').filter(|line| !line.is_empty())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first [`LINE_MAX`] octets, up to a blank if there is one in their second half, and the rest without that blank.
fn fold(line: &str) -> (&str, &str) {
    if line.len() <= LINE_MAX {
        return (line, "");
    }
    let whole = (0..=LINE_MAX).rev().find(|at| line.is_char_boundary(*at));
    let (head, tail) = line.split_at(whole.unwrap_or_default());
    if tail.starts_with(' ') {
        return (head.trim_end_matches(' '), tail.trim_start_matches(' '));
    }
    match head.rfind(' ').filter(|at| *at > LINE_MAX / 2) {
        Some(at) => {
            let (head, tail) = line.split_at(at);
            (head.trim_end_matches(' '), tail.trim_start_matches(' '))
        }
        None => (head, tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&[u8]], utf8: bool) -> Vec<String> {
        Text::of(lines.iter().copied(), utf8).lines().map(str::to_owned).collect()
    }

    #[test]
    fn issue_12_a_text_is_printable_and_keeps_what_a_human_needs() {
        let url = "see https://bl.example.net/q?a=192.0.2.9&b=%20x";
        for (line, utf8, clean) in [
            (url.as_bytes(), false, url),
            (b"a\x1b[2Jb\t\x7f\0", false, "a?[2Jb???"),
            ("voll \u{fc}ber".as_bytes(), false, "voll ?ber"),
            ("voll \u{fc}ber".as_bytes(), true, "voll \u{fc}ber"),
            ("x\u{202e}y\u{85}z\u{200b}".as_bytes(), true, "x?y?z?"),
            (b"x\xff\xc3y", true, "x??y"),
            (b"  both  ends ", false, "both  ends"),
        ] {
            assert_eq!(of(&[line], utf8), [clean], "{}", line.escape_ascii());
        }
        assert!(Text::of([&b" "[..], b""], true).is_none());
    }

    #[test]
    fn issue_12_a_text_has_lines_that_fit_and_ten_at_most() {
        for words in [1, 7, 60, 427, 428, 429, 2000] {
            let line = format!("{} ", "x".repeat(words)).repeat(2000 / words + 1);
            let folded = of(&[line.as_bytes()], false);
            assert!(folded.iter().all(|line| line.len() <= LINE_MAX && !line.starts_with(' ') && !line.ends_with(' ')));
            let kept: usize = folded.iter().map(|line| line.matches('x').count()).sum();
            assert_eq!(kept, line.matches('x').count(), "{words}");
            if words < LINE_MAX / 2 {
                assert!(folded.iter().all(|line| line.split(' ').all(|word| word.len() == words)), "{words}");
            }
        }
        assert_eq!(of(&[&b"x"[..]; 64], false).len(), LINES_MAX);
        assert_eq!(
            of(&["\u{fc}".repeat(600).as_bytes()], true),
            ["\u{fc}".repeat(214), "\u{fc}".repeat(214), "\u{fc}".repeat(172)]
        );
        let long = "y".repeat(9000);
        assert!(Text::of([long.as_bytes()], true).as_str().len() <= TEXT_MAX);
    }

    #[test]
    fn issue_12_what_another_process_calls_a_text_is_looked_at() {
        for text in ["", "a", "a\nb", "\u{fc}"] {
            assert_eq!(Text::read(text.as_bytes()).unwrap().as_str(), text);
        }
        for wrong in
            ["\n", "a\n", "a\r\nb", "a\n\nb", "\u{1b}", "\u{202e}", &"x".repeat(LINE_MAX + 1), &"x\n".repeat(10)]
        {
            assert_eq!(Text::read(wrong.as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(Text::read(b"\xff"), None);
        assert_eq!(Text::read(&b"a\n".repeat(10)[..19]).unwrap().lines().count(), 10);
    }
}
