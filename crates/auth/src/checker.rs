//! A checkpassword program as the source of logins: the checker runs it, outside this jail.

use crate::semaphore::Semaphore;
use gatepost_channel::{AsyncEnd, ChannelError, Inbox};
use gatepost_policy::share::Origin;
use gatepost_role::Tickets;
use gatepost_wire::auth::is_login;
use gatepost_wire::check::{AT_ONCE, Check, Checked, Found, PATIENCE};
use gatepost_wire::{AuthToChecker, CheckerToAuth, Direction as _};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Longest wait for a permit.
const PERMIT_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for an answer: the program is killed before.
const ANSWER: Duration = PATIENCE.saturating_add(Duration::from_secs(3));

struct Link {
    end: AsyncEnd<AuthToChecker, CheckerToAuth>,
    tickets: Tickets<Found>,
}

/// The checker, by the link that is current.
#[derive(Default)]
pub(crate) struct CheckerLink(Mutex<Option<Arc<Link>>>);

impl CheckerLink {
    /// Takes a new link, which replaces the one before it. The future reads its answers until it ends.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub(crate) fn link(&self, fd: OwnedFd) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let link = Arc::new(Link { end: AsyncEnd::from_fd(fd)?, tickets: Tickets::default() });
        *self.lock() = Some(Arc::clone(&link));
        Ok(async move { link.receive().await })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Reads answers until the link ends: who still waits is not known to the program.
    async fn receive(&self) {
        let mut inbox = Inbox::new(CheckerToAuth::FRAME_MAX);
        loop {
            match self.end.recv(&mut inbox).await {
                Ok(Checked { number, found }) => self.tickets.answer(number, found),
                Err(e) => {
                    if !matches!(e, ChannelError::Closed) {
                        tracing::error!("checker: {e}");
                    }
                    return self.tickets.close();
                }
            }
        }
    }
}

/// The program.
pub(crate) struct Checker {
    link: Arc<CheckerLink>,
    semaphore: Arc<Semaphore>,
}

impl Checker {
    pub(crate) fn new(link: Arc<CheckerLink>) -> Self {
        Self { link, semaphore: Arc::new(Semaphore::new(u64::try_from(AT_ONCE).unwrap_or(u64::MAX))) }
    }

    /// What the program says of a name and its password.
    pub(crate) async fn ask(&self, client: SocketAddr, user: &[u8], pass: &[u8]) -> Found {
        if !may_be_asked(user, pass) {
            return Found::Wrong;
        }
        let Ok(Some(_permit)) = timeout(PERMIT_WAIT, self.semaphore.take(Origin::of(client.ip()))).await else {
            return Found::Unknown;
        };
        let Some(link) = self.link.lock().clone() else { return Found::Unknown };
        let Ok((number, answer)) = link.tickets.issue() else { return Found::Unknown };
        let asking = async {
            link.end.tell(&Check { number, client, user, pass }).await.ok()?;
            answer.await.ok()
        };
        timeout(ANSWER, asking).await.ok().flatten().unwrap_or(Found::Unknown)
    }
}

/// An empty password is none: a directory server that is asked with it says yes to anybody (RFC 4513 section 5.1.2), and so do
/// programs that ask one. A NUL would make others of the two.
fn may_be_asked(user: &[u8], pass: &[u8]) -> bool {
    std::str::from_utf8(user).is_ok_and(is_login) && !pass.is_empty() && !pass.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_channel::End;

    type Peer = End<CheckerToAuth, AuthToChecker>;

    fn scene() -> (Checker, Peer, impl Future<Output = ()> + Send + use<>) {
        let link = Arc::<CheckerLink>::default();
        let (ours, peer) = End::<AuthToChecker, CheckerToAuth>::pair().unwrap();
        let answers = link.link(ours.into_seq().into_fd()).unwrap();
        (Checker::new(link), peer, answers)
    }

    #[test]
    fn issue_15_what_the_checker_says_is_what_is_found() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client: SocketAddr = "192.0.2.9:4713".parse().unwrap();
        runtime.block_on(async {
            let (checker, peer, answers) = scene();
            tokio::spawn(answers);
            let checker = Arc::new(checker);
            for (wrong_number, found) in
                [(false, Found::Right), (false, Found::Wrong), (false, Found::Unknown), (true, Found::Right)]
            {
                let asked = tokio::spawn({
                    let checker = Arc::clone(&checker);
                    async move { checker.ask(client, b"joe", b"secret").await }
                });
                tokio::task::yield_now().await;
                let number = {
                    let mut inbox = Inbox::of::<AuthToChecker>();
                    let check = peer.recv(&mut inbox).unwrap();
                    assert_eq!((check.client, check.user, check.pass), (client, &b"joe"[..], &b"secret"[..]));
                    check.number
                };
                if wrong_number {
                    // An answer to a question that nobody asked is for nobody.
                    peer.tell(&Checked { number: number.wrapping_add(1), found }).unwrap();
                    peer.tell(&Checked { number, found: Found::Wrong }).unwrap();
                    assert_eq!(asked.await.unwrap(), Found::Wrong);
                } else {
                    peer.tell(&Checked { number, found }).unwrap();
                    assert_eq!(asked.await.unwrap(), found);
                }
            }
            // One that dies in the middle says no yes.
            let asked = tokio::spawn({
                let checker = Arc::clone(&checker);
                async move { checker.ask(client, b"joe", b"secret").await }
            });
            tokio::task::yield_now().await;
            drop(peer);
            assert_eq!(asked.await.unwrap(), Found::Unknown);
            assert_eq!(checker.ask(client, b"joe", b"secret").await, Found::Unknown);
        });
    }

    #[test]
    fn issue_15_an_empty_password_is_no_question() {
        let rows: [(&[u8], &[u8], bool); 6] = [
            (b"joe@ok.test", b"x", true),
            (b"joe", b"", false),
            (b"", b"x", false),
            (b"joe\0x", b"x", false),
            (b"joe", b"x\0y", false),
            (b"\xff", b"x", false),
        ];
        for (user, pass, asked) in rows {
            assert_eq!(may_be_asked(user, pass), asked, "{user:?} {pass:?}");
        }
    }
}
