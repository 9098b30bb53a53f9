//! A set of texts in lower case: one block, and eight octets for each.

/// The set. Filled by [`Sorted::push`], searched after [`Sorted::sorted`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sorted {
    text: Vec<u8>,
    /// By the text that they stand for, each once.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    start: u32,
    length: u16,
}

/// More than 4 GiB in all, or 64 KiB in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl Sorted {
    /// Takes one more.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Result<(), TooLarge> {
        let start = u32::try_from(self.text.len()).map_err(|_| TooLarge)?;
        let length = u16::try_from(entry.len()).map_err(|_| TooLarge)?;
        self.text.extend(entry.iter().map(u8::to_ascii_lowercase));
        self.entries.push(Entry { start, length });
        Ok(())
    }

    /// Ready to be searched; doubles are dropped.
    pub(crate) fn sorted(mut self) -> Self {
        let text = &self.text;
        self.entries.sort_unstable_by(|a, b| a.of(text).cmp(b.of(text)));
        self.entries.dedup_by(|a, b| a.of(text) == b.of(text));
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it has `entry`, which is in lower case.
    pub(crate) fn contains(&self, entry: &[u8]) -> bool {
        self.entries.binary_search_by(|probe| probe.of(&self.text).cmp(entry)).is_ok()
    }
}

impl Entry {
    fn of(self, text: &[u8]) -> &[u8] {
        let start = self.start as usize;
        text.get(start..start.saturating_add(usize::from(self.length))).unwrap_or_default()
    }
}
