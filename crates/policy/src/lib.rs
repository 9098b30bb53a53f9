//! Pure decisions: admission limits, penalties, relay tables.
#![forbid(unsafe_code)]
