//! Lists in files of their own: one entry a line, `#` begins a comment.

use crate::fault::{Faults, Page, Wrong, utf8};
use std::path::Path;

/// The entries in the `bytes` of the file at `path`, each as `read` takes it.
pub(crate) fn entries<T>(path: &Path, bytes: &[u8], read: impl Fn(&str) -> Result<T, Wrong>) -> Result<Vec<T>, Faults> {
    let text = utf8(bytes, path)?;
    let mut page = Page::new(path, text);
    let mut entries = Vec::new();
    let mut start = 0_usize;
    for line in text.split_inclusive('\n') {
        let entry = line.split('#').next().unwrap_or_default();
        let indent = entry.len().saturating_sub(entry.trim_start().len());
        let entry = entry.trim();
        let from = start.saturating_add(indent);
        if !entry.is_empty() {
            match read(entry) {
                Ok(entry) => entries.push(entry),
                Err(wrong) => page.fault(&(from..from.saturating_add(entry.len())), wrong),
            }
        }
        start = start.saturating_add(line.len());
    }
    page.into_faults().map_or(Ok(entries), Err)
}
