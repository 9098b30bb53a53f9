//! Control files that are lists, looked up where they lie: each look-up reads the file once, piece by piece. None of them is
//! kept, so neither the process that looks up nor one that it forks has more memory for a list of any length.

use std::io::{self, Read};
use std::ops::ControlFlow;

use gatepost_smtp::find;

use crate::control::{Home, Warning, trimmed};

/// Octets of a line at most. A longer one is warned of and matches nothing: no address is as long.
pub const LINE_MAX: usize = 4096;
/// Octets read at once.
const PIECE: usize = 16 * 1024;

/// A list that was there when the connection began.
#[derive(Debug, Clone)]
pub struct List {
    name: String,
}

impl List {
    /// The list `name` below `control/`, or where `name` leads from there; None when there is no such file. It is read through
    /// once, so that what can't be read is known before the greeting; `visit` sees each entry with its line number. `file` is
    /// its name in warnings.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn find(
        home: &dyn Home,
        file: &'static str,
        name: &str,
        warnings: &mut Vec<Warning>,
        visit: &mut dyn FnMut(usize, &[u8]),
    ) -> io::Result<Option<Self>> {
        let Some(mut octets) = home.open(name)? else { return Ok(None) };
        let mut seen = Seen::default();
        scan(&mut *octets, &mut |line, entry| {
            seen.note(line, entry);
            if let Entry::Text(entry) = entry {
                visit(line, entry);
            }
            ControlFlow::Continue(())
        })?;
        warnings.extend(seen.warnings(file));
        Ok(Some(Self { name: name.to_owned() }))
    }

    /// Shows `visit` each entry, until it breaks.
    ///
    /// # Errors
    /// Those of reading it; NotFound when the file has gone since the connection began.
    pub fn each(&self, home: &dyn Home, visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
        let mut octets = home.open(&self.name)?.ok_or(io::ErrorKind::NotFound)?;
        scan(&mut *octets, &mut |_, entry| match entry {
            Entry::Text(entry) => visit(entry),
            Entry::TooLong => ControlFlow::Continue(()),
        })
    }

    /// Whether there is an entry that `is_it`.
    ///
    /// # Errors
    /// As [`List::each`].
    pub fn any(&self, home: &dyn Home, mut is_it: impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
        let mut found = false;
        self.each(home, &mut |entry| {
            found = is_it(entry);
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(found)
    }
}

/// A line of a list that is no comment and not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// It, without the blanks at its end.
    Text(&'a [u8]),
    /// It is longer than [`LINE_MAX`].
    TooLong,
}

/// Shows `visit` each entry of a list with its line number, from 1, until it breaks. One entry a line, without blanks at the
/// end; empty lines and those whose first octet is `#` are none; leading blanks and CR belong to the entry; the last line
/// needs no LF.
///
/// # Errors
/// The reader's.
pub fn scan(octets: &mut dyn Read, visit: &mut dyn FnMut(usize, Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
    let mut buffer = [0; PIECE];
    let mut lines = Lines { number: 1, long: None };
    // Octets of a line whose end is not read yet, at the front of the buffer.
    let mut held = 0_usize;
    loop {
        let read = match octets.read(buffer.get_mut(held..).unwrap_or_default()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let filled = held.saturating_add(read);
        let mut rest = buffer.get(..filled).unwrap_or_default();
        while let Some(end) = find::first(b'\n', rest) {
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            if lines.end(line, visit).is_break() {
                return Ok(());
            }
            rest = behind.get(1..).unwrap_or_default();
        }
        if read == 0 {
            let _ = lines.end(rest, visit);
            return Ok(());
        }
        held = lines.hold(rest);
        buffer.copy_within(filled.saturating_sub(held)..filled, 0);
    }
}

/// The lines of a list as they come in pieces.
struct Lines {
    number: usize,
    /// The current line is too long, and not kept: how it began.
    long: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Entry,
}

impl Lines {
    /// How much of the beginning of a line is kept until its end has come.
    fn hold(&mut self, begun: &[u8]) -> usize {
        if self.long.is_none() && begun.len() > LINE_MAX {
            self.long = Some(kind(begun));
        }
        if self.long.is_some() { 0 } else { begun.len() }
    }

    fn end(&mut self, line: &[u8], visit: &mut dyn FnMut(usize, Entry<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let number = self.number;
        self.number = number.saturating_add(1);
        let long = self.long.take().or_else(|| (line.len() > LINE_MAX).then(|| kind(line)));
        let text = trimmed(line);
        match long.unwrap_or_else(|| kind(text)) {
            Kind::Nothing => ControlFlow::Continue(()),
            Kind::Entry if long.is_some() => visit(number, Entry::TooLong),
            Kind::Entry => visit(number, Entry::Text(text)),
        }
    }
}

fn kind(text: &[u8]) -> Kind {
    if text.is_empty() || text.starts_with(b"#") { Kind::Nothing } else { Kind::Entry }
}

/// What is odd about a list. The first of a kind is enough: a file of a hundred thousand lines would drown the log.
#[derive(Debug, Default)]
struct Seen {
    carriage_return: bool,
    leading_blank: Option<usize>,
    too_long: Option<usize>,
}

impl Seen {
    fn note(&mut self, line: usize, entry: Entry<'_>) {
        match entry {
            Entry::TooLong => self.too_long = self.too_long.or(Some(line)),
            Entry::Text(text) => {
                self.carriage_return |= text.ends_with(b"\r");
                if text.starts_with(b" ") || text.starts_with(b"\t") {
                    self.leading_blank = self.leading_blank.or(Some(line));
                }
            }
        }
    }

    fn warnings(self, file: &'static str) -> impl Iterator<Item = Warning> {
        let carriage_return = self.carriage_return.then_some(Warning::CarriageReturn { file });
        let leading_blank = self.leading_blank.map(|line| Warning::LeadingBlank { file, line });
        let too_long = self.too_long.map(|line| Warning::LongLine { file, line });
        [carriage_return, leading_blank, too_long].into_iter().flatten()
    }
}

/// All entries of a small list that is in memory, with their line numbers.
#[must_use]
pub fn entries(file: &'static str, mut octets: &[u8], warnings: &mut Vec<Warning>) -> Vec<(usize, Vec<u8>)> {
    let (mut seen, mut all) = (Seen::default(), Vec::new());
    // A slice is read without errors.
    let _ = scan(&mut octets, &mut |line, entry| {
        seen.note(line, entry);
        if let Entry::Text(text) = entry {
            all.push((line, text.to_vec()));
        }
        ControlFlow::Continue(())
    });
    warnings.extend(seen.warnings(file));
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A control directory of one list, which may be gone.
    #[derive(Debug)]
    pub(crate) struct One<'a>(pub(crate) Option<&'a [u8]>);

    impl Home for One<'_> {
        fn read(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }

        fn open(&self, _: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            Ok(self.0.map(|octets| Box::new(octets) as Box<dyn Read>))
        }

        fn cdb(&self, _: &str) -> io::Result<Option<Box<dyn gatepost_ucspi::cdb::Lookup + '_>>> {
            Ok(None)
        }

        fn exists(&self, _: &str) -> bool {
            false
        }
    }

    /// Gives so many octets at once.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn a40_a41_list_rules() {
        let mut warnings = Vec::new();
        let text = b"#c\na.example \t\n\n # x\nb.example\r\nlast";
        let all = entries("rcpthosts", text, &mut warnings);
        let expected = [(2, &b"a.example"[..]), (4, b" # x"), (5, b"b.example\r"), (6, b"last")];
        assert_eq!(all, expected.map(|(line, entry)| (line, entry.to_vec())));
        assert_eq!(
            warnings,
            [Warning::CarriageReturn { file: "rcpthosts" }, Warning::LeadingBlank { file: "rcpthosts", line: 4 }]
        );
        assert!(warnings[0].to_string().starts_with("control/rcpthosts: "));
    }

    #[test]
    fn issue_10_a_line_without_end_is_told_and_matches_nothing() {
        for octets in [LINE_MAX + 1, PIECE - 1, PIECE, PIECE + 1, 10 * PIECE] {
            let long = "x".repeat(octets);
            let text = format!("a\n{long}\n#{long}\nb\n{long}");
            for piece in [1000, PIECE - 1, usize::MAX] {
                let mut all = Vec::new();
                scan(&mut Slow(text.as_bytes(), piece), &mut |line, entry| {
                    all.push((line, entry != Entry::TooLong));
                    ControlFlow::Continue(())
                })
                .unwrap();
                assert_eq!(all, [(1, true), (2, false), (4, true), (5, false)], "{octets} by {piece}");
            }
            let mut warnings = Vec::new();
            assert_eq!(entries("badmailfrom", text.as_bytes(), &mut warnings).len(), 2);
            assert_eq!(warnings, [Warning::LongLine { file: "badmailfrom", line: 2 }]);
        }
        let fits = "x".repeat(LINE_MAX);
        assert_eq!(entries("badmailfrom", fits.as_bytes(), &mut Vec::new()), [(1, fits.clone().into_bytes())]);
    }

    #[test]
    fn issue_10_a_list_that_has_gone_is_an_error() {
        let mut warnings = Vec::new();
        let list = List::find(&One(Some(b"a\nb")), "rcpthosts", "rcpthosts", &mut warnings, &mut |_, _| {});
        let list = list.unwrap().unwrap();
        assert!(list.any(&One(Some(b"c")), |entry| entry == b"c").unwrap(), "read anew");
        assert_eq!(list.any(&One(None), |_| true).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(List::find(&One(None), "rcpthosts", "rcpthosts", &mut warnings, &mut |_, _| {}).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(text in "[#a\\n \t\r]{0,60}", piece in 1_usize..9) {
            let mut all = Vec::new();
            scan(&mut Slow(text.as_bytes(), piece), &mut |line, entry| {
                if let Entry::Text(text) = entry {
                    all.push((line, text.to_vec()));
                }
                ControlFlow::Continue(())
            }).unwrap();
            let lines = text.split('\n').map(|line| line.trim_end_matches([' ', '\t'])).zip(1..);
            let expected: Vec<_> = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
                .map(|(line, number)| (number, line.as_bytes().to_vec())).collect();
            prop_assert_eq!(all, expected);
        }
    }
}
