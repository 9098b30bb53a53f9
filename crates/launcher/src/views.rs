//! The sockets where the counters are read: bound by us, accepted from by the observer.

use crate::error::LauncherError;
use crate::renew;
use gatepost_config::Connect;
use gatepost_sys::net;
use gatepost_wire::resume;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::rc::Rc;

/// Who reads waits no longer than a moment.
const BACKLOG: i32 = 16;
/// Read by root and by the group of the directory's files.
const MODE: u32 = 0o660;

/// A socket and where it is bound.
#[derive(Debug, Clone)]
pub(crate) struct ViewSocket {
    place: Connect,
    pub(crate) fd: Rc<OwnedFd>,
}

impl ViewSocket {
    /// One that an earlier program in this process has left.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn adopt(left: &resume::View) -> io::Result<Self> {
        Ok(Self { place: left.place.clone(), fd: Rc::new(renew::kept(left.fd)?) })
    }

    /// What the next program in this process has to know of it.
    pub(crate) fn leave(&self) -> resume::View {
        resume::View { place: self.place.clone(), fd: renew::number(&*self.fd) }
    }
}

/// One socket for each of `wanted`; those that there are already stay as they are.
///
/// # Errors
/// One that cannot be bound.
pub(crate) fn open(wanted: &[Connect], kept: &[ViewSocket]) -> Result<Vec<ViewSocket>, LauncherError> {
    let one = |place: &Connect| match kept.iter().find(|socket| socket.place == *place) {
        Some(socket) => Ok(socket.clone()),
        None => bind(place).map(|fd| ViewSocket { place: place.clone(), fd: Rc::new(fd) }),
    };
    wanted.iter().map(one).collect()
}

fn bind(place: &Connect) -> Result<OwnedFd, LauncherError> {
    match place {
        Connect::Tcp(address) => net::listen_tcp(*address, true, BACKLOG).map_err(|e| LauncherError::Bind(*address, e)),
        Connect::Unix(path) => bind_unix(path).map_err(|e| {
            LauncherError::Unfit(vec![format!(
                "metrics.listen: cannot listen on {}: {e}; its directory must exist and be writable for root",
                path.display()
            )])
        }),
    }
}

/// A socket of an earlier process, which nobody answers, is replaced; anything else is left alone.
fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    if fs::symlink_metadata(path).is_ok_and(|seen| seen.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}
