//! Speed and memory, beside Debian's Postfix in the same run.
#![forbid(unsafe_code)]
fn main() {}
