//! The socket by which an admin asks for a reload and for the state: `gatepost reload`, `gatepost status`.
//!
//! A question is of a fixed size: one octet, and 17 more where somebody is named. Who asks is checked by the kernel's word
//! (SO_PEERCRED, SO_PEERGROUPS): root, and members of [`GROUP`]. Others are closed at once, unread. The answer is an exit status in
//! one octet, then lines of text.

use crate::descriptors;
use gatepost_sys::peer;
use gatepost_wire::control::Whom;
use gatepost_wire::link::SessionId;
use gatepost_wire::resume;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the launcher of `gatepost serve` listens.
pub const SOCKET: &str = "/run/gatepost/control";
/// Its members may ask as root may.
pub const GROUP: &str = "gatepost-admin";

/// Admins that may have connected without having asked; for one more the oldest is closed.
const WAITING_MAX: usize = 8;
/// Longest wait for an answer: a reload may have to wait for its backend.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);

/// Longest wait for the rest of an answer that has begun: a role that gives it may hang.
const REST_DEADLINE: Duration = Duration::from_secs(3);

/// Octets of the longest answer.
const ANSWER_MAX: u64 = 1024 * 1024;

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Read the configuration anew. Exit status 0: taken; 1: refused, with the reason.
    Reload,
    /// Exit status 0: all is well; 2: it serves, but somebody should look.
    Status,
    /// Everything that is counted, for `gatepost top`.
    Look,
    /// Tell these sessions to end.
    Kick(Whom),
    /// Forget what this address has done.
    Forgive(IpAddr),
}

/// Octets of the longest request.
const REQUEST_MAX: usize = 18;

impl Request {
    /// As it is sent: what is asked; of whom; an address, IPv4 as IPv6 has it, or the number of a session.
    fn octets(self) -> Vec<u8> {
        let address = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        match self {
            Self::Reload => vec![b'r'],
            Self::Status => vec![b's'],
            Self::Look => vec![b't'],
            Self::Kick(Whom::Address(ip)) => [&b"ka"[..], &address(ip)].concat(),
            Self::Kick(Whom::Session(SessionId(id))) => [&b"ks"[..], &[0; 8], &id.to_be_bytes()].concat(),
            Self::Forgive(ip) => [&b"fa"[..], &address(ip)].concat(),
        }
    }

    /// None: it is no request.
    fn read(octets: &[u8]) -> Option<Self> {
        let whole = |octets: &[u8]| <[u8; 16]>::try_from(octets).ok();
        let address = |octets: &[u8]| whole(octets).map(|octets| IpAddr::from(octets).to_canonical());
        match octets {
            b"r" => Some(Self::Reload),
            b"s" => Some(Self::Status),
            b"t" => Some(Self::Look),
            [b'k', b'a', rest @ ..] => Some(Self::Kick(Whom::Address(address(rest)?))),
            [b'k', b's', rest @ ..] => {
                let id = u64::try_from(u128::from_be_bytes(whole(rest)?)).ok()?;
                Some(Self::Kick(Whom::Session(SessionId(id))))
            }
            [b'f', b'a', rest @ ..] => Some(Self::Forgive(address(rest)?)),
            _ => None,
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Exit status of the command that asked.
    pub status: u8,
    /// Lines for whoever typed it.
    pub text: String,
}

/// Asks the running gatepost.
///
/// # Errors
/// Nothing listens there, or it does not answer, or not to this user.
pub fn ask(socket: &Path, request: Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
    let refused = |_| io::Error::new(ErrorKind::PermissionDenied, format!("only root and group {GROUP} may ask"));
    stream.write_all(&request.octets()).map_err(refused)?;
    let (mut answer, mut stream, mut piece) = (Vec::new(), stream.take(ANSWER_MAX), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock && !answer.is_empty() => break,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Err(refused(e)),
            Err(e) => return Err(e),
        }
        stream.get_ref().set_read_timeout(Some(REST_DEADLINE))?;
    }
    match answer.split_first() {
        // Some of it may be a role's, which may be owned, and a terminal obeys more than letters.
        Some((status, text)) => {
            let shown = |octet: &u8| if matches!(octet, b' '..=b'~' | b'\n') { char::from(*octet) } else { '?' };
            Ok(Answer { status: *status, text: text.iter().map(shown).collect() })
        }
        // Who may not ask is refused unread, which is a reset.
        None => Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            "no answer came; when another program file is taking its place just now, ask again",
        )),
    }
}

/// The launcher's side.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Admins who have connected and not asked yet.
    waiting: Vec<UnixStream>,
}

impl AdminSocket {
    /// Opens it. A socket that a launcher has left which was killed is replaced.
    ///
    /// # Errors
    /// Another gatepost is there; the directory cannot be made or written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(ErrorKind::AddrInUse, "another gatepost answers there"));
        }
        match fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        // Who may ask is not a matter of the file's mode: a group cannot be given to it without CAP_CHOWN.
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
        Ok(Self { listener, path: path.to_owned(), waiting: Vec::new() })
    }

    /// The one that an earlier program in this process has left.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn adopt(left: &resume::Control) -> io::Result<Self> {
        Ok(Self { listener: descriptors::kept(left.fd)?.into(), path: left.path.clone(), waiting: Vec::new() })
    }

    /// What the next program in this process has to know of it.
    pub(crate) fn leave(&self) -> resume::Control {
        resume::Control { path: self.path.clone(), fd: descriptors::number(&self.listener) }
    }

    /// Descriptors to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.waiting.iter().map(AsFd::as_fd))
    }

    /// What has been asked, each with the connection for its answer.
    pub(crate) fn requests(&mut self) -> Vec<(Request, UnixStream)> {
        // As many as may wait: whoever connects without end is no reason to do nothing else.
        for (stream, _) in std::iter::from_fn(|| self.listener.accept().ok()).take(WAITING_MAX) {
            if stream.set_nonblocking(true).is_ok() && is_admin(&stream) {
                self.waiting.push(stream);
            }
        }
        let too_many = self.waiting.len().saturating_sub(WAITING_MAX);
        self.waiting.drain(..too_many);
        let mut asked = Vec::new();
        let mut still = Vec::new();
        for mut stream in self.waiting.drain(..) {
            let mut octets = [0; REQUEST_MAX];
            match stream.read(&mut octets) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => still.push(stream),
                // It was sent by one write(2); in pieces it is none.
                Ok(length) => {
                    let request = octets.get(..length).and_then(Request::read);
                    asked.extend(request.map(|request| (request, stream)));
                }
                Err(_) => {}
            }
        }
        self.waiting = still;
        asked
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Sends an answer as far as the socket takes it: nobody waits for an admin who does not read.
pub(crate) fn answer(stream: UnixStream, answer: &Answer) {
    begin_answer(&stream, answer);
}

/// The beginning of an answer that a role goes on with: the exit status, and what we have to say ourselves.
pub(crate) fn begin_answer(mut stream: &UnixStream, answer: &Answer) {
    let _ = stream.write_all(&[&[answer.status], answer.text.as_bytes()].concat());
}

fn is_admin(stream: &UnixStream) -> bool {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    peer::of(stream.as_fd()).is_ok_and(|peer| may_ask(&peer, group_id(&groups)))
}

fn may_ask(peer: &peer::Peer, admins: Option<u32>) -> bool {
    peer.uid == 0 || admins.is_some_and(|group| peer.gids.contains(&group))
}

/// The id of [`GROUP`] by a text in the form of group(5).
fn group_id(groups: &str) -> Option<u32> {
    let mut fields = groups.lines().map(|line| line.split(':'));
    fields.find_map(|mut line| (line.next()? == GROUP).then(|| line.nth(1)?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_sys::peer::Peer;

    #[test]
    fn issue_13_a_request_is_of_a_fixed_size_and_nothing_else_is_one() {
        let (four, six) = ("192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap());
        for request in [
            Request::Reload,
            Request::Status,
            Request::Look,
            Request::Kick(Whom::Address(four)),
            Request::Kick(Whom::Address(six)),
            Request::Kick(Whom::Session(SessionId(u64::MAX))),
            Request::Forgive(four),
        ] {
            let octets = request.octets();
            assert!(octets.len() <= REQUEST_MAX);
            assert_eq!(Request::read(&octets), Some(request));
            assert!((0..octets.len()).all(|cut| Request::read(&octets[..cut]).is_none()), "{request:?}");
            assert_eq!(Request::read(&[&octets[..], b"x"].concat()), None);
        }
        assert_eq!(Request::read(&[b'k', b's', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn issue_13_root_and_the_admins_group_may_ask_and_nobody_else() {
        let groups = "root:x:0:\ngatepost-admins:x:7:\ngatepost-admin:x:77:alice\n";
        assert_eq!(group_id(groups), Some(77));
        assert_eq!(group_id("gatepost-admin:x:\n"), None);
        for (uid, gids, admins, may) in [
            (0, vec![0], None, true),
            (1000, vec![0, 1000], Some(77), false),
            (1000, vec![1000, 77], Some(77), true),
            (1000, vec![1000, 77], None, false),
        ] {
            assert_eq!(may_ask(&Peer { uid, gids }, admins), may);
        }
    }
}
