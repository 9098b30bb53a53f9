//! TOML to checked facts with located errors.
#![forbid(unsafe_code)]
