//! Certificates and keys are renewed under a running gatepost: their files are looked at, other ones are taken without a signal, and one
//! that nobody renews is told of once a day.

use crate::apart::apart;
use crate::pair_files::{hours_left, load_pair};
use crate::plan::{PairSource, Plan};
use crate::rules::{Stamp, stamp};
use gatepost_sys::as_owner;
use gatepost_wire::event::CertificateEnds;
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Shortest time between two looks at the files, and how long they must stay as they are before they are taken: a certificate and
/// its key are not replaced in one step.
const PAUSE: Duration = Duration::from_secs(2);
/// First pause before files that were refused are tried again as they are; doubled each time.
const AGAIN_FIRST: Duration = Duration::from_secs(30);
/// Longest.
const AGAIN_MAX: Duration = Duration::from_secs(600);
/// How often it is looked whether a certificate ends.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the files looked like. By a link's name the file that it leads to is meant. None: there is no file.
type Seen = Vec<Option<Stamp>>;

/// Looks at the files from time to time.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<PathBuf>,
    /// When those that are in use were read.
    taken: Seen,
    /// At the last look.
    last: Seen,
    next: Instant,
    /// They were refused as they looked at the last look, and are tried again then.
    again: Option<(Instant, Duration)>,
    /// When to look at the time that they are valid.
    ends: Instant,
}

impl Watch {
    /// Of the files of this plan, which are about to be read.
    pub(crate) fn new(plan: &Plan, now: Instant) -> Self {
        let pairs = plan.pairs().into_iter().filter(|_| plan.speaks_tls()).chain(plan.client_pairs());
        let files: Vec<PathBuf> = pairs
            .flat_map(|source| match source {
                PairSource::Files(pair) => vec![pair.certificate.clone(), pair.key.clone()],
                PairSource::Memory(_) => Vec::new(),
            })
            .collect();
        let seen = look(&files);
        Self { files, taken: seen.clone(), last: seen, next: now + PAUSE, again: None, ends: now }
    }

    /// When to look again.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if self.files.is_empty() { None } else { Some(self.next) }
    }

    /// Whether other files are there now, which are to be taken.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + PAUSE;
        let seen = look(&self.files);
        self.judge(seen, now)
    }

    fn judge(&mut self, seen: Seen, now: Instant) -> bool {
        if seen != self.last {
            (self.last, self.again) = (seen, None);
            return false;
        }
        seen != self.taken && self.again.is_none_or(|(due, _)| due <= now)
    }

    /// They were not taken.
    pub(crate) fn refused(&mut self, now: Instant) {
        let pause = self.again.map_or(AGAIN_FIRST, |(_, pause)| pause.saturating_mul(2).min(AGAIN_MAX));
        self.again = Some((now + pause, pause));
    }

    /// Tells of certificates that end soon, once a day.
    pub(crate) fn tell_ends(&mut self, plan: &Plan, now: Instant) {
        if self.files.is_empty() || now < self.ends {
            return;
        }
        self.ends = now + DAY;
        let time = UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        for (certificate, hours) in ending(plan, time) {
            let certificate = certificate.as_bytes();
            gatepost_log::tell(CertificateEnds { certificate: certificate.get(..SHOWN).unwrap_or(certificate), hours });
        }
    }
}

/// Octets of a path that are told.
const SHOWN: usize = gatepost_wire::event::NAME_MAX;

fn look(files: &[PathBuf]) -> Seen {
    files.iter().map(|path| Some(stamp(&as_owner::metadata(path).ok()?))).collect()
}

/// Certificates that end soon, with the hours that are left.
fn ending(plan: &Plan, now: u64) -> Vec<(String, u32)> {
    let lines = apart(|| {
        let mut lines = String::new();
        for source in plan.pairs().into_iter().filter(|_| plan.speaks_tls()).chain(plan.client_pairs()) {
            let PairSource::Files(gatepost_config::Pair { certificate, .. }) = source else { continue };
            // What cannot be read is told of where it is used.
            let Ok((pair, _)) = load_pair(source) else { continue };
            if let Some(hours) = hours_left(pair.validity, pair.is_self_signed(), now) {
                lines.push_str(&format!("{hours} {}\n", certificate.to_string_lossy().replace('\n', " ")));
            }
        }
        Ok(lines)
    });
    let lines = lines.unwrap_or_default();
    let of = |line: &str| line.split_once(' ').and_then(|(hours, path)| Some((path.to_owned(), hours.parse().ok()?)));
    lines.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_other_files_are_taken_once_they_stay_as_they_are_and_refused_ones_tried_again() {
        let second = Duration::from_secs(1);
        let begun = Instant::now();
        let (old, half, new) = (vec![None; 2], vec![Some((1, 1, 1, 1, 1)), None], vec![Some((1, 1, 1, 1, 1)); 2]);
        let mut watch =
            Watch { files: Vec::new(), taken: old.clone(), last: old.clone(), next: begun, again: None, ends: begun };
        for (after, seen, due, refused) in [
            (0, &old, false, false),
            (2, &half, false, false),
            (4, &half, true, true),
            (6, &half, false, false),
            (34, &half, true, true),
            (90, &half, false, false),
            (94, &half, true, true),
            // Something else is no matter of waiting.
            (96, &new, false, false),
            (98, &new, true, false),
            // And neither is what there was before.
            (100, &old, false, false),
            (102, &old, false, false),
        ] {
            let now = begun + after * second;
            assert_eq!(watch.judge(seen.clone(), now), due, "after {after} s");
            if refused {
                watch.refused(now);
            }
        }
    }
}
