//! Counting what was delivered.

use std::fs;
use std::path::{Path, PathBuf};

/// A Maildir as a test sees it: `new` and `cur`; what still lies in `tmp` is not delivered.
#[derive(Debug, Clone)]
pub struct Maildir {
    path: PathBuf,
}

impl Maildir {
    /// The Maildir at `path`; it may not exist yet, which is an empty one.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of delivered messages, in no order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        ["new", "cur"]
            .iter()
            .filter_map(|sub| fs::read_dir(self.path.join(sub)).ok())
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect()
    }

    /// Delivered messages.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files().len()
    }

    /// The delivered messages' octets, in no order.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.files().iter().filter_map(|file| fs::read(file).ok()).collect()
    }

    /// The delivered messages that contain `word`, as text.
    #[must_use]
    pub fn with(&self, word: &str) -> Vec<String> {
        self.messages()
            .iter()
            .map(|octets| String::from_utf8_lossy(octets).into_owned())
            .filter(|text| text.contains(word))
            .collect()
    }

    /// Waits for the one message that contains `word`.
    ///
    /// # Panics
    /// When none has come in time, or there are several.
    #[must_use]
    pub fn one_with(&self, word: &str) -> String {
        let mut found =
            crate::wait::until(&format!("mail with {word:?} in {}", self.path.display()), crate::wait::SOON, || {
                Some(self.with(word)).filter(|found| !found.is_empty())
            });
        assert_eq!(found.len(), 1, "mail with {word:?} was delivered {} times", found.len());
        found.remove(0)
    }
}
