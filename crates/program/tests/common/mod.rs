//! What the tests of both kinds of program need.
#![allow(dead_code, unreachable_pub)]

use gatepost_program::{Inherited, Surroundings};
use std::ffi::{CStr, CString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A program that does what `DO` in its environment says.
pub fn obliging() -> CString {
    CString::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/obliging")).unwrap()
}

/// A directory of one test's own, and the environment that names it as OUT.
pub struct Place {
    pub out: PathBuf,
    pub env: Vec<CString>,
    pub limits: Inherited,
}

impl Place {
    pub fn new(what: &str, variables: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("program-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&out).unwrap();
        let own = [format!("DO={what}"), format!("OUT={}", out.display()), "PATH=/usr/bin:/bin".to_owned()];
        let env = own.iter().map(String::as_str).chain(variables.iter().copied());
        let env = env.map(|entry| CString::new(entry).unwrap()).collect();
        Self { out, env, limits: Inherited::read().unwrap() }
    }

    pub fn around(&self) -> Surroundings<'_> {
        Surroundings { env: &self.env, directory: c"/usr", limits: &self.limits, stderr: None }
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.out.join(name)).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.out);
    }
}

pub const NO_SUCH: &CStr = c"/nonexistent/program";
pub const INERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/inert");
