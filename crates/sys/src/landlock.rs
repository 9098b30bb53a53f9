//! Landlock: a second wall around files, TCP, signals and abstract sockets that needs no privilege.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::io;

/// What a directory may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Making, writing, reading and removing files.
    Files,
    /// Reaching sockets in it.
    Sockets,
    /// Files and sockets, made, renamed and removed.
    FilesAndSockets,
}

/// How much of what was asked for the kernel enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// All that this program knows of.
    Fully,
    /// An older kernel: part of it.
    Partly,
    /// No landlock in this kernel.
    Not,
}

/// Denies all but the named directories and TCP ports to connect to, for good.
///
/// # Errors
/// A directory that does not exist, or the kernel's refusal.
pub fn restrict(directories: &[(&str, Use)], connect_ports: &[u16]) -> io::Result<Enforced> {
    let abi = ABI::V6;
    let build = || -> Result<RulesetStatus, Box<dyn std::error::Error + Send + Sync>> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(abi))?
            .handle_access(AccessNet::from_all(abi))?
            .scope(Scope::from_all(abi))?
            .create()?;
        for (path, purpose) in directories {
            rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, rights(*purpose)))?;
        }
        for port in connect_ports {
            rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        Ok(rules.restrict_self()?.ruleset)
    };
    Ok(match build().map_err(io::Error::other)? {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}

fn rights(purpose: Use) -> landlock::BitFlags<AccessFs> {
    let files = AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile;
    match purpose {
        Use::Files => files,
        Use::Sockets => AccessFs::ReadDir.into(),
        Use::FilesAndSockets => files | AccessFs::MakeSock | AccessFs::MakeDir | AccessFs::Refer,
    }
}
