//! Whom programs run as: `-u` and `-g`, `-U`, `--user`.

use crate::say::{Fatal, Say};
use gatepost_sys::{process, vfork};
use gatepost_ucspi::tcpserver::lines;
use gatepost_ucspi::tcpserver::options::{Account, Id};

/// Ids to take; None: as we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// Where passwd(5) stands.
const PASSWD: &str = "/etc/passwd";

impl Ids {
    /// As the command line says. What leaves root more than an administrator may think is said, and what can't be found out is
    /// an error: the original goes on as root then.
    pub(crate) fn of(account: &Account, say: Say) -> Result<Self, Fatal> {
        let given = |id: u32| (id != 0).then_some(id);
        if let Some(user) = &account.user {
            let passwd = std::fs::read(PASSWD).map_err(|e| Fatal::system("unable to read /etc/passwd", &e))?;
            let (uid, gid) = find(&passwd, user).ok_or_else(|| Fatal::new(&[b"there is no user ", user]))?;
            return Ok(Self { uid: given(uid), gid: given(gid) });
        }
        let number = |id: Id, variable: &str| match id {
            Id::Number(number) => Ok(number),
            Id::OfEnvironment => {
                let value = std::env::var(variable).ok().and_then(|value| value.parse().ok());
                value.ok_or_else(|| Fatal::new(&[b"-U, and no number in the variable ", variable.as_bytes()]))
            }
        };
        let (uid, gid) = (number(account.uid, "UID")?, number(account.gid, "GID")?);
        if uid != 0 && gid == 0 && process::effective_ids().0 == 0 {
            say.warn(lines::note("-u without -g leaves programs root's groups; --user takes them away"));
        }
        Ok(Self { uid: given(uid), gid: given(gid) })
    }

    /// Takes them.
    pub(crate) fn take(self) -> Result<(), Fatal> {
        if let Some(gid) = self.gid {
            vfork::set_gid(gid).map_err(|e| Fatal::system("unable to set gid", &e))?;
        }
        if let Some(uid) = self.uid {
            vfork::set_uid(uid).map_err(|e| Fatal::system("unable to set uid", &e))?;
        }
        Ok(())
    }
}

/// Uid and gid of a user, by name or uid.
fn find(passwd: &[u8], user: &[u8]) -> Option<(u32, u32)> {
    passwd.split(|octet| *octet == b'\n').find_map(|line| {
        let mut fields = line.split(|octet| *octet == b':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
        (name == user || uid == user).then(|| Some((number(uid)?, number(fields.next()?)?))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_11_users_are_found_by_name_and_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbad\nbad:x:y:1::\nqmaild:x:64011:65534::/var/qmail:/bin/false\n";
        for (user, ids) in [
            ("qmaild", Some((64011, 65534))),
            ("64011", Some((64011, 65534))),
            ("root", Some((0, 0))),
            ("bad", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(find(passwd, user.as_bytes()), ids, "{user}");
        }
    }
}
