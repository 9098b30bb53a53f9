//! The source of logins: a passwd file, of which only the auth role reads what is in it, or a program.

use crate::findings::{Fitness, Level};
use crate::plan::Plan;
use gatepost_config::{AuthSource, Checkpassword};
use gatepost_sys::as_owner;
use gatepost_wire::control::Role;
use gatepost_wire::slice::Ground;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

impl Fitness {
    /// Whether logins can be had, and nobody else has them.
    pub(super) fn look_at_logins(&mut self, plan: &Plan) {
        let path = match plan.config.logins() {
            Some(AuthSource::Passwd(path)) => path,
            Some(AuthSource::Dovecot(connect)) => return self.look_at_place("logins", connect, plan),
            Some(AuthSource::Checkpassword(program)) => return self.look_at_login_program(program),
            None => return,
        };
        let seen = super::pair::secret_file(path)
            .and_then(|()| as_owner::open(path).map_err(|e| format!("cannot read it: {e}")))
            .map(|_| "not readable by others".to_owned());
        let level = if seen.is_ok() { Level::Good } else { Level::Fault };
        let (Ok(text) | Err(text)) = seen;
        self.add(format!("passwd {}", path.display()), level, text);
    }
    /// What can be seen of the program from here; that it works shows with the first login.
    fn look_at_login_program(&mut self, program: &Checkpassword) {
        if self.ground == Ground::User {
            let why = "is run by a user of its own: start gatepost as root, or write another source into [submission]";
            return self.note("checkpassword program", Err(why.into()));
        }
        let Some(path) = program.command.first() else { return };
        // That it has no user is found already.
        let Some((uid, gid)) = self.ids_of(Role::Checker) else { return };
        let found = match as_owner::metadata(Path::new(path)) {
            Ok(seen) if !seen.is_file() => Err("is not a file".to_owned()),
            Ok(seen) if !may_execute(&seen, uid, gid) => Err(format!("cannot be executed by uid {uid}, gid {gid}")),
            // It could be anything to who answers for all logins.
            Ok(seen) if seen.mode() & 0o022 != 0 => Err("can be written by others: chmod go-w".to_owned()),
            Ok(_) => Ok(format!("run with uid {uid}, gid {gid}; outside any jail, and set-id bits have no effect")),
            Err(e) => Err(format!("cannot look at it: {e}")),
        };
        self.note(format!("checkpassword program {path}"), found);
    }
}

fn may_execute(seen: &Metadata, uid: u32, gid: u32) -> bool {
    let bit = match () {
        () if seen.uid() == uid => 0o100,
        () if seen.gid() == gid => 0o010,
        () => 0o001,
    };
    seen.mode() & bit != 0
}
