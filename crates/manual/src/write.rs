//! Files for packagers: the pages, and what shells complete by.

use crate::pages;
use clap::Command;
use clap_complete::{Shell, generate};
use std::io;
use std::path::Path;

/// Writes below `dir`, made when missing: `man/man8/gatepost.8` and the other pages, and what bash, zsh and fish complete by, each
/// with the path that it has below `/usr/share`.
///
/// # Errors
/// A file cannot be written.
pub fn write(command: &mut Command, dir: &Path) -> io::Result<()> {
    let file = |path: String, octets: &[u8]| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(dir))?;
        std::fs::write(path, octets)
    };
    for page in pages(command) {
        file(format!("man/man{}/{}", page.section, page.file()), page.roff().as_bytes())?;
    }
    let name = command.get_name().to_owned();
    for (shell, path) in [
        (Shell::Bash, format!("bash-completion/completions/{name}")),
        (Shell::Zsh, format!("zsh/vendor-completions/_{name}")),
        (Shell::Fish, format!("fish/vendor_completions.d/{name}.fish")),
    ] {
        let mut script = Vec::new();
        generate(shell, command, &name, &mut script);
        file(path, &script)?;
    }
    Ok(())
}
