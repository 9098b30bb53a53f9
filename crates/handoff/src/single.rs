//! One session in a process that was started for it. Handoff's work is the same; the connections to the backends and the
//! signatures for them are this process's own, because there is no dialer and no keyholder.

use crate::backend::{Dialer, RunQueue, Timeouts};
use crate::known::Memory;
use crate::shared::Shared;
use crate::{SessionEnd, session};
use gatepost_role::RoleError;
use gatepost_shell::Signer;
use gatepost_smtp::envelope::CloseReason;
use gatepost_tls::sign::Keys;
use gatepost_wire::link::Open;
use gatepost_wire::slice::HandoffSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the backend's proof before the client is greeted without it, to be refused temporarily unless the backend
/// gives it later. A client waits for its greeting for minutes, RFC 5321 §4.5.3.2.1.
const PROOF: Duration = Duration::from_secs(5);

/// Handoff for one session.
#[derive(Debug)]
pub struct Single {
    shared: Arc<Shared>,
    memory: Memory,
}

impl Single {
    /// From handoff's slice, whose backends are seen as they are on the host, and the keys by which we show backends who we are;
    /// `queue` runs the queue program where the backend is one.
    ///
    /// # Errors
    /// As for the role.
    pub fn new(slice: &HandoffSlice, client_keys: Keys, queue: Option<Box<dyn RunQueue>>) -> Result<Self, RoleError> {
        let timeouts = Timeouts::new(Duration::from_secs(slice.backend.reply_timeout.into()));
        let places = slice.backends().flat_map(|backend| backend.connect.iter().cloned());
        let (dialer, signer) = (Dialer::Here(places.collect()), Signer::here(client_keys));
        let memory = Memory::new(slice);
        Ok(Self { shared: Arc::new(Shared::with(slice, timeouts, dialer, signer, queue)?), memory })
    }

    /// Has the backend prove that it does not relay for a stranger, and learns what it offers; unless another process of this
    /// configuration has done so a short time ago. One that cannot be asked now is logged, and asked again when there is mail for it.
    ///
    /// # Errors
    /// [`RoleError::Backend`]: it relays, or is not set up for us. Nothing may be handed to it.
    pub async fn prove(&self) -> Result<(), RoleError> {
        let routes = &self.shared.routes;
        if self.memory.recall().is_some_and(|known| routes.recall(&known)) {
            return Ok(());
        }
        let why = match tokio::time::timeout(PROOF, routes.prove()).await {
            Ok(Ok(())) => {
                self.keep();
                return Ok(());
            }
            Ok(Err(failure)) if failure.is_final() => return Err(RoleError::Backend(failure.to_string())),
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "it has not answered yet".to_owned(),
        };
        tracing::warn!("the backend cannot be asked yet whether it relays for strangers: {why}");
        Ok(())
    }

    fn keep(&self) {
        let Some(known) = self.shared.routes.known() else { return };
        if let Err(e) = self.memory.keep(known) {
            tracing::warn!("what is known of the backend cannot be kept, so the next connection asks it again: {e}");
        }
    }

    /// Serves the session on `end` to its end; why it ended, if it said so.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub async fn serve(&self, open: Open, end: OwnedFd) -> Result<Option<CloseReason>, RoleError> {
        let end = SessionEnd::from_fd(end).map_err(RoleError::system("watch the session"))?;
        Ok(session::serve(Arc::clone(&self.shared), open, end).await)
    }
}
