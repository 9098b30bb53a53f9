#![no_main]
//! Any text as a configuration: checked facts or located faults, never a panic.

use gatepost_config::Config;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|text: &str| {
    if let Err(faults) = Config::parse(text, Path::new("gatepost.toml")) {
        assert!(!faults.to_string().is_empty());
    }
});
