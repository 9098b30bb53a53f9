//! The tables of the text, read key by key, each value with its span.

use crate::fault::{Page, Span, Wrong};
use crate::keys::Known;
use crate::value;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table of the text, or none: then every key of it has its default.
#[derive(Debug, Clone)]
pub(crate) struct Section<'a> {
    /// What may stand in it and in those within it.
    known: Known,
    name: &'static str,
    found: Option<(Span, &'a DeTable<'a>)>,
    /// Keys that are there under a name much like theirs: they are not missing too.
    misspelt: Vec<&'static str>,
    /// The section itself is: whatever it should hold may be in it.
    misspelt_itself: bool,
}

impl<'a> Section<'a> {
    /// The whole text, which may have the sections that are `known`. Like the other two ways to a section, notes each key that is not
    /// known in it.
    pub(crate) fn root(page: &mut Page<'_>, known: Known, tree: &'a DeTable<'a>) -> Self {
        Self::open(page, known, "", 0..0, tree)
    }

    /// The section `name` (dotted), whose last word is a key of this one.
    pub(crate) fn one(&self, page: &mut Page<'_>, name: &'static str) -> Self {
        match self.item(last_word(name)) {
            None => self.missing(name, self.has(last_word(name))),
            Some((span, DeValue::Table(table))) => Self::open(page, self.known, name, span, table),
            Some((span, value)) => {
                page.fault(&span, Wrong::new(format!("{name} is {}, not a section", kind(value)), self.advice(name)));
                self.missing(name, true)
            }
        }
    }

    /// Every section `name`, for one that may stand several times.
    pub(crate) fn several(&self, page: &mut Page<'_>, name: &'static str) -> Vec<Self> {
        let Some((span, value)) = self.item(last_word(name)) else { return Vec::new() };
        let mut sections = Vec::new();
        let other = |page: &mut Page<'_>, span: Span, value: &DeValue<'_>| {
            let what = match value {
                DeValue::Table(_) => format!("{name} may stand several times, so it takes two brackets"),
                value => format!("{name} is {}, not a section", kind(value)),
            };
            page.fault(&span, Wrong::new(what, self.advice(name)));
        };
        match value {
            DeValue::Array(array) => {
                for each in array.iter() {
                    match each.get_ref() {
                        DeValue::Table(table) => sections.push(Self::open(page, self.known, name, each.span(), table)),
                        value => other(page, each.span(), value),
                    }
                }
            }
            value => other(page, span, value),
        }
        sections
    }

    fn open(page: &mut Page<'_>, known: Known, name: &'static str, span: Span, table: &'a DeTable<'a>) -> Self {
        let mut misspelt = Vec::new();
        let words = known.words(name);
        for key in table.keys().filter(|key| !words.contains(&key.get_ref().as_ref())) {
            let near = nearest(&words, key.get_ref());
            page.fault(&key.span(), unknown(known, name, key.get_ref(), near));
            misspelt.extend(near);
        }
        Self { known, name, found: Some((span, table)), misspelt, misspelt_itself: false }
    }

    /// A section that is not there; `misspelt`: under a name much like its own.
    fn missing(&self, name: &'static str, misspelt: bool) -> Self {
        Self { known: self.known, name, found: None, misspelt: Vec::new(), misspelt_itself: misspelt }
    }

    /// How to write a section within this one.
    fn advice(&self, name: &str) -> String {
        format!("write {} on a line of its own, and its keys below", self.known.heading(name))
    }

    /// It as the text has it, in brackets.
    pub(crate) fn heading(&self) -> String {
        self.known.heading(self.name)
    }

    /// Where the section begins, if it is there.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.found.as_ref().map(|(span, _)| span)
    }

    /// True when `key` is there, be its value right or wrong, or its name nearly right.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.misspelt_itself || self.misspelt.contains(&key) || self.item(key).is_some()
    }

    /// As [`Section::has`], and not an empty list.
    pub(crate) fn holds(&self, key: &str) -> bool {
        let empty = self.item(key).and_then(|(_, value)| value.as_array()).is_some_and(|array| array.is_empty());
        self.has(key) && !empty
    }

    fn item(&self, key: &str) -> Option<(Span, &'a DeValue<'a>)> {
        let (_, table) = self.found.as_ref()?;
        table.get(key).map(|value| (value.span(), value.get_ref()))
    }

    /// The text of `key`, whatever it is worth; none: there is none, or it is no text.
    pub(crate) fn written(&self, key: &str) -> Option<&str> {
        self.item(key).and_then(|(_, value)| value.as_str())
    }

    /// `section.key`, as messages name it.
    pub(crate) fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn wrong(&self, page: &mut Page<'_>, key: &str, span: &Span, wrong: Wrong) {
        page.fault(span, Wrong { what: format!("{}: {}", self.name_of(key), wrong.what), ..wrong });
    }

    /// Notes a fault of the value of `key` itself.
    pub(crate) fn fault<T>(&self, page: &mut Page<'_>, key: &str, value: &Spanned<T>, wrong: Wrong) {
        self.wrong(page, key, &value.span(), wrong);
    }

    /// Notes that `key`, which has no default, is missing.
    pub(crate) fn lack(&self, page: &mut Page<'_>, key: &str, advice: &str) {
        let wrong = Wrong::new(format!("{} is missing", self.name_of(key)), advice);
        page.lack(self.span().filter(|_| !self.name.is_empty()), wrong);
    }

    /// The value of `key` as `read` takes it; `None` when it is missing or wrong, the latter noted.
    pub(crate) fn get<T>(
        &self,
        page: &mut Page<'_>,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<Spanned<T>> {
        let (span, value) = self.item(key)?;
        match read(value) {
            Ok(value) => Some(Spanned::new(span, value)),
            Err(wrong) => {
                self.wrong(page, key, &span, wrong);
                None
            }
        }
    }

    /// The text of `key` as `read` takes it.
    pub(crate) fn text<T>(
        &self,
        page: &mut Page<'_>,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<Spanned<T>> {
        self.get(page, key, |value| text(value).and_then(read))
    }

    /// The texts of `key`, each as `read` takes it. Faulty ones are noted and left out.
    pub(crate) fn list<T>(
        &self,
        page: &mut Page<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<Spanned<T>> {
        match self.item(key) {
            Some((_, DeValue::Array(_))) => self.one_or_list(page, key, read),
            Some((span, value)) => {
                let example = if let DeValue::String(text) = value { text.as_ref() } else { "..." };
                let what = format!("{}, not a list", kind(value));
                self.wrong(page, key, &span, Wrong::new(what, format!("write [\"{example}\"]")));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// As [`Section::list`]; a text alone is a list of one.
    pub(crate) fn one_or_list<T>(
        &self,
        page: &mut Page<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<Spanned<T>> {
        let mut taken = Vec::new();
        let mut take = |page: &mut Page<'_>, span: Span, value: &DeValue<'_>| match text(value).and_then(&read) {
            Ok(value) => taken.push(Spanned::new(span, value)),
            Err(wrong) => self.wrong(page, key, &span, wrong),
        };
        match self.item(key) {
            Some((_, DeValue::Array(array))) => {
                for each in array.iter() {
                    take(page, each.span(), each.get_ref());
                }
            }
            Some((span, value)) => take(page, span, value),
            None => {}
        }
        taken
    }

    /// The value of `key`, which is one of `words`.
    pub(crate) fn word<T: Copy>(&self, page: &mut Page<'_>, key: &str, words: &[(&str, T)]) -> Option<Spanned<T>> {
        self.text(page, key, |text| word(text, words))
    }

    /// True or false; `default` when missing or wrong.
    pub(crate) fn truth(&self, page: &mut Page<'_>, key: &str, default: bool) -> bool {
        self.get(page, key, truth).map_or(default, Spanned::into_inner)
    }

    /// The range of `key` in the table of keys.
    fn range(&self, key: &str) -> RangeInclusive<u64> {
        let (least, most) = self.known.range(self.name, key).unwrap_or((0, u64::MAX));
        least..=most
    }

    /// A whole number within the key's range; `default` when missing or wrong.
    pub(crate) fn number<T: TryFrom<u64>>(&self, page: &mut Page<'_>, key: &str, default: T) -> T {
        let range = self.range(key);
        let most = *range.end();
        let read = |value: &DeValue<'_>| {
            let n = integer(value)?;
            within(n, range, |n| n.to_string())?;
            T::try_from(n).map_err(|_| Wrong::new("too much", format!("write at most {most}")))
        };
        self.get(page, key, read).map_or(default, Spanned::into_inner)
    }

    /// Octets within the key's range; `default` when missing or wrong.
    pub(crate) fn size(&self, page: &mut Page<'_>, key: &str, default: u64) -> u64 {
        self.size_within(page, key, 0..=u64::MAX, default)
    }

    /// As [`Section::size`], and within `other`, which another key says.
    pub(crate) fn size_within(&self, page: &mut Page<'_>, key: &str, other: RangeInclusive<u64>, default: u64) -> u64 {
        let range = self.range(key);
        let range = *other.start().max(range.start())..=*other.end().min(range.end());
        let read = |value: &DeValue<'_>| {
            let octets = match value {
                DeValue::String(text) => value::size(text)?,
                value => integer(value)?,
            };
            within(octets, range, value::size_text)
        };
        self.get(page, key, read).map_or(default, Spanned::into_inner)
    }

    /// A duration within the key's range; `default` when missing or wrong.
    pub(crate) fn duration(&self, page: &mut Page<'_>, key: &str, default: Duration) -> Duration {
        let range = self.range(key);
        let range = Duration::from_secs(*range.start())..=Duration::from_secs(*range.end());
        let read = |value: &DeValue<'_>| {
            let duration = match value {
                // A number alone would be seconds to one reader and milliseconds to the next.
                DeValue::Integer(n) => value::duration(n.as_str()),
                value => value::duration(text(value)?),
            };
            within(duration?, range, value::duration_text)
        };
        self.get(page, key, read).map_or(default, Spanned::into_inner)
    }
}

/// The values without their spans.
pub(crate) fn plain<T>(spanned: Vec<Spanned<T>>) -> Vec<T> {
    spanned.into_iter().map(Spanned::into_inner).collect()
}

fn last_word(name: &'static str) -> &'static str {
    name.rsplit('.').next().unwrap_or(name)
}

/// True or false.
pub(crate) fn truth(value: &DeValue<'_>) -> Result<bool, Wrong> {
    match value {
        DeValue::Boolean(truth) => Ok(*truth),
        value => Err(Wrong::new(format!("{}, not true or false", kind(value)), "write true or false, without quotes")),
    }
}

/// A text.
pub(crate) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    match value {
        DeValue::String(text) => Ok(text),
        DeValue::Integer(n) => Err(Wrong::new("a number, not a text", format!("write \"{}\"", n.as_str()))),
        DeValue::Float(n) => Err(Wrong::new("a number, not a text", format!("write \"{}\"", n.as_str()))),
        value => Err(Wrong::new(format!("{}, not a text", kind(value)), "write a text in double quotes")),
    }
}

/// A whole number that is not negative.
pub(crate) fn integer(value: &DeValue<'_>) -> Result<u64, Wrong> {
    match value {
        DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix())
            .map_err(|_| Wrong::new(format!("{} is out of range", n.as_str()), "write a positive number")),
        DeValue::String(text) if text.parse::<u64>().is_ok() => {
            Err(Wrong::new("a text, not a number", format!("write {text} without quotes")))
        }
        value => Err(Wrong::new(format!("{}, not a whole number", kind(value)), "write a whole number")),
    }
}

/// The value that `text` names.
pub(crate) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        Wrong::new(format!("\"{text}\" is not known here"), format!("write {}", either(&names)))
    })
}

/// `"a", "b" or "c"`.
fn either(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("\"{one}\""),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|name| format!("\"{name}\"")).collect();
            format!("{} or \"{last}\"", first.join(", "))
        }
    }
}

/// Refuses what lies outside `range`, shown by `show`.
pub(crate) fn within<T: PartialOrd + Copy>(
    value: T,
    range: RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, Wrong> {
    let (least, most) = (*range.start(), *range.end());
    if value < least {
        return Err(Wrong::new(format!("{} is too little", show(value)), format!("write {} or more", show(least))));
    }
    if value > most {
        return Err(Wrong::new(format!("{} is too much", show(value)), format!("write {} or less", show(most))));
    }
    Ok(value)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a broken number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The key, of those of a section, that was probably meant: at most every third letter of it is another.
fn nearest(words: &[&'static str], key: &str) -> Option<&'static str> {
    let (letters, near) = words.iter().map(|each| (distance(each, key), *each)).min()?;
    (letters <= near.len() / 3).then_some(near)
}

/// What to say of a key that `section` does not have: what was meant, else where such a key belongs.
fn unknown(known: Known, section: &'static str, key: &str, near: Option<&str>) -> Wrong {
    let place =
        if section.is_empty() { "at the top of the file".to_owned() } else { format!("in {}", known.heading(section)) };
    let advice = match (near, known.home_of(key)) {
        (Some(near), _) => format!("write {near}"),
        (None, Some(home)) => format!("it belongs in {}", home.heading()),
        (None, None) => format!("known here: {}", known.words(section).join(", ")),
    };
    Wrong::new(format!("unknown key \"{}\" {place}", key.escape_debug()), advice)
}

/// Letters to insert, delete or replace to make `a` of `b`; a long `b` is far from every key and not looked at.
fn distance(a: &str, b: &str) -> usize {
    if b.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal.saturating_add(usize::from(x != y));
            diagonal = *cell;
            left = replaced.min(cell.saturating_add(1)).min(left.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
