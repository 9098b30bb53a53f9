//! A new generation in the place of the one that serves: another configuration, other certificates, another program.

use crate::generation::{Generation, Proof};
use crate::plan::Plan;
use crate::prepare::{fit, prepare};
use crate::processes::Children;
use crate::reports::notify;
use crate::{Launcher, LauncherError, Reload, pairs, sockets, views};
use gatepost_wire::event::{self, Renewed};
use gatepost_wire::line::TEXT_MAX;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Generations that may go on beside the one that serves: each keeps all its roles.
const RETIRING_MAX: usize = 3;

/// Longest wait of a reload for a backend that cannot be asked at once whether it relays.
const RELOAD_PROOF: Duration = Duration::from_secs(10);

impl Launcher {
    /// Begins a whole new generation on the same sockets; the old one goes on for its sessions, with its configuration. Any fault
    /// leaves the old one serving. If another program lies where ours did, it takes our place first and then does this, and those who
    /// `asked` hear the outcome from it.
    ///
    /// # Errors
    /// That fault, as a sentence.
    pub(crate) fn reload(&mut self, reload: Reload<'_>, asked: &[UnixStream]) -> Result<(), String> {
        let _ =
            sd_notify::NotifyState::monotonic_usec_now().map(|now| notify(&[sd_notify::NotifyState::Reloading, now]));
        let taken = match self.is_outdated() {
            true => self.renew(asked).map(|never| match never {}),
            false => reload().and_then(|plan| self.next_generation(plan)),
        };
        let reloaded = self.put(taken, Renewed::Configuration);
        self.refused = reloaded.clone().err();
        match &reloaded {
            Ok(()) => self.tell_reloaded(Renewed::Configuration),
            Err(_) => self.retry.later(Instant::now()),
        }
        self.tell_status(true);
        reloaded
    }

    fn tell_reloaded(&self, what: Renewed) {
        gatepost_log::tell(event::Reloaded { what, version: self.version().as_bytes() });
    }

    /// A generation with the same configuration, when other certificates or keys lie in their files.
    pub(crate) fn renew_pairs(&mut self) {
        let now = Instant::now();
        let Some(plan) = self.generations.last().and_then(|last| last.processes.plan()) else { return };
        let Some(pairs) = &mut self.pairs else { return };
        pairs.tell_ends(plan, now);
        if !pairs.is_due(now) {
            return;
        }
        let plan = plan.clone();
        let taken = self.next_generation(plan);
        match self.put(taken, Renewed::Certificates) {
            Ok(()) => self.tell_reloaded(Renewed::Certificates),
            Err(_) => self.pairs.iter_mut().for_each(|pairs| pairs.refused(Instant::now())),
        }
    }

    /// Puts a generation in the place of the one that serves, or says why there is none.
    fn put(&mut self, taken: Result<Generation<Children>, String>, what: Renewed) -> Result<(), String> {
        match taken {
            Ok(next) => {
                self.generations.iter_mut().for_each(Generation::retire);
                let retiring = self.generations.iter().filter(|generation| generation.is_retiring()).count();
                let too_many = retiring.saturating_sub(RETIRING_MAX);
                for oldest in self.generations.iter_mut().filter(|g| g.is_retiring()).take(too_many) {
                    tracing::warn!(
                        "{RETIRING_MAX} earlier configurations are in use: sessions with the oldest are told to end"
                    );
                    oldest.drain();
                }
                self.generations.push(next);
                Ok(())
            }
            Err(why) => {
                self.generations.iter().for_each(|generation| generation.processes.log_here());
                let said = why.as_bytes();
                gatepost_log::tell(event::NotReloaded { what, why: said.get(..TEXT_MAX).unwrap_or(said) });
                Err(why)
            }
        }
    }

    fn next_generation(&mut self, plan: Plan) -> Result<Generation<Children>, String> {
        let pairs = pairs::Watch::new(&plan, Instant::now());
        let fitness = fit(&plan).map_err(|e| e.to_string())?;
        let in_use = prepare(&plan, &fitness).map_err(|e| format!("{e}; this change needs a restart"))?;
        let kept = self.generations.last().map_or_else(|| Ok(Vec::new()), |last| last.processes.copy_sockets());
        let kept = kept.map_err(|e| LauncherError::System("copy the listening sockets", e).to_string())?;
        let sockets = sockets::open(&plan.config.listen, kept).map_err(|e| e.to_string())?;
        let views = self.generations.last().map(|last| last.processes.views()).unwrap_or_default();
        let views = views::open(&plan, views).map_err(|e| e.to_string())?;
        let children = Children::new(plan, fitness, self.files.clone(), sockets, views);
        // What serves is not to be replaced by what may never serve.
        let whole = self.generations.last().is_some_and(|last| !last.is_broken());
        let proof = if whole { Proof::Within(RELOAD_PROOF) } else { Proof::Later };
        let next = Generation::begin(children, proof, &mut || {
            self.run_due();
            self.told_to_stop()
        });
        let mut next = next.map_err(|e| e.to_string())?;
        next.open(in_use);
        self.pairs = Some(pairs);
        Ok(next)
    }
}
