//! The passwd file: only the auth role reads what is in it.

use super::{Fitness, Level};
use crate::plan::Plan;
use gatepost_config::AuthSource;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Octets of the largest: half a million logins.
const PASSWD_MAX: u64 = 64 * 1024 * 1024;

/// Its octets.
///
/// # Errors
/// A sentence.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed =
        |e| format!("cannot read {}: {e}; write a line for each login, as gatepost passwd does", path.display());
    let mut octets = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PASSWD_MAX.saturating_add(1)).read_to_end(&mut octets))
        .map_err(failed)?;
    if u64::try_from(octets.len()).is_ok_and(|length| length > PASSWD_MAX) {
        return Err(format!("{} has more than {PASSWD_MAX} octets", path.display()));
    }
    Ok(octets)
}

impl Fitness {
    /// Whether logins can be had, and nobody else has them.
    pub(super) fn look_at_logins(&mut self, plan: &Plan) {
        let path = match plan.config.logins() {
            Some(AuthSource::Passwd(path)) => path,
            Some(AuthSource::Dovecot(connect)) => return self.look_at_place("logins", connect, plan),
            None => return,
        };
        let seen = super::pair::secret_file(path)
            .and_then(|()| File::open(path).map_err(|e| format!("cannot read it: {e}")))
            .map(|_| "not readable by others".to_owned());
        let level = if seen.is_ok() { Level::Good } else { Level::Fault };
        let (Ok(text) | Err(text)) = seen;
        self.add(format!("passwd {}", path.display()), level, text);
    }
}
