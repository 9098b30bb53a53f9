//! Running the original and ours with the same of everything, each in a directory of its own.

use gatepost_testkit::host::{has, source_tree};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program under test.
const GATEPOST: &str = env!("CARGO_BIN_EXE_gatepost");

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// None: by a signal.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Without the lines that are ours.
    pub(crate) fn without(mut self, ours: &[&str]) -> Said {
        self.stderr =
            self.stderr.split_inclusive('\n').filter(|line| !ours.iter().any(|word| line.starts_with(word))).collect();
        self
    }
}

/// A program, the directory that it runs in, and what it finds there.
pub(crate) struct Program {
    file: PathBuf,
    pub(crate) directory: PathBuf,
}

/// The original and ours; None, and a line that says why, where Debian's isn't installed.
pub(crate) fn pair(test: &str, name: &str) -> Option<[Program; 2]> {
    has(test, &[name]).then(|| [original(test, name), ours(test, name)])
}

pub(crate) fn original(test: &str, name: &str) -> Program {
    Program::new(test, "original", Path::new("/usr/bin").join(name))
}

/// That of Debian's build with IPv6, which can't be installed beside the other; None where it isn't unpacked.
pub(crate) fn original6(test: &str, name: &str) -> Option<Program> {
    let file = source_tree().join("target/peers/ucspi-tcp-ipv6/usr/bin").join(name);
    if !file.exists() {
        assert!(std::env::var_os("CI").is_none(), "{test}: cannot be skipped in CI: there is no {}", file.display());
        eprintln!("*** SKIPPED in part {test}: there is no {}", file.display());
        return None;
    }
    Some(Program::new(test, "original6", file))
}

/// Ours by a link of that name.
pub(crate) fn ours(test: &str, name: &str) -> Program {
    let program = Program::new(test, "ours", PathBuf::new());
    let links = program.directory.with_file_name("bin");
    fs::create_dir_all(&links).unwrap();
    let link = links.join(name);
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(GATEPOST, &link).unwrap();
    Program { file: link, ..program }
}

impl Program {
    fn new(test: &str, whose: &str, file: PathBuf) -> Program {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools").join(test).join(whose);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        Program { file, directory }
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn put(&self, name: &str, octets: impl AsRef<[u8]>) {
        fs::write(self.directory.join(name), octets).unwrap();
    }

    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.directory.join(name)).ok()
    }

    /// Runs it to its end; standard input is the file `input` of its directory.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.run_with(&[], args)
    }

    /// With these variables beside PATH.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Said {
        let input = File::open(self.directory.join("input")).map_or_else(|_| Stdio::null(), Stdio::from);
        let mut command = Command::new(&self.file);
        command.args(args).current_dir(&self.directory).stdin(input).env_clear();
        let output =
            command.env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(variables.iter().copied()).output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        Said { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}
