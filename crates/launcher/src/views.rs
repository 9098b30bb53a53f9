//! Sockets besides those for strangers, bound by us: where the counters are read, accepted from by the observer, and where programs
//! of this machine submit mail, accepted from by the listener.

use crate::descriptors;
use crate::error::LauncherError;
use crate::plan::Plan;
use gatepost_config::Connect;
use gatepost_sys::net;
use gatepost_wire::control::Role;
use gatepost_wire::resume;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;

/// Who reads counters waits no longer than a moment, and a program that submits may wait a little.
const BACKLOG: i32 = 64;
/// Read by root and by the group of the directory's files.
const VIEWED: u32 = 0o660;
/// For every program: whose it is the kernel says.
const SUBMITTED: u32 = 0o666;

/// A socket, where it is bound, and who accepts from it.
#[derive(Debug, Clone)]
pub(crate) struct ViewSocket {
    place: Connect,
    pub(crate) role: Role,
    pub(crate) fd: Rc<OwnedFd>,
}

impl ViewSocket {
    /// One that an earlier program in this process has left.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn adopt(left: &resume::View) -> io::Result<Self> {
        Ok(Self { place: left.place.clone(), role: left.role, fd: Rc::new(descriptors::kept(left.fd)?) })
    }

    /// What the next program in this process has to know of it.
    pub(crate) fn leave(&self) -> resume::View {
        resume::View { place: self.place.clone(), role: self.role, fd: descriptors::number(&*self.fd) }
    }
}

/// One socket for each that the configuration names; those that there are already stay as they are.
///
/// # Errors
/// One that cannot be bound.
pub(crate) fn open(plan: &Plan, kept: &[ViewSocket]) -> Result<Vec<ViewSocket>, LauncherError> {
    let viewed = plan.config.metrics.iter().cloned().map(|place| (place, Role::Observer));
    let submitted = plan.submit_socket().map(|path| (Connect::Unix(path.to_owned()), Role::Listener));
    let one = |(place, role)| match kept.iter().find(|socket| socket.place == place && socket.role == role) {
        Some(socket) => Ok(socket.clone()),
        None => bind(&place, role).map(|fd| ViewSocket { place, role, fd: Rc::new(fd) }),
    };
    viewed.chain(submitted).map(one).collect()
}

fn bind(place: &Connect, role: Role) -> Result<OwnedFd, LauncherError> {
    let (key, mode) = if role == Role::Listener { ("listen.address", SUBMITTED) } else { ("metrics.listen", VIEWED) };
    match place {
        Connect::Tcp(address) => net::listen_tcp(*address, true, BACKLOG).map_err(|e| LauncherError::Bind(*address, e)),
        Connect::Unix(path) => bind_unix(path, mode).map_err(|e| {
            LauncherError::Unfit(vec![format!(
                "{key}: cannot listen on {}: {e}; its directory must exist and be writable for root",
                path.display()
            )])
        }),
    }
}

/// A socket of an earlier process, which nobody answers, is replaced; anything else is left alone.
fn bind_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    if fs::symlink_metadata(path).is_ok_and(|seen| seen.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}
