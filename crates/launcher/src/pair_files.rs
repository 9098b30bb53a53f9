//! Certificates with their keys, and authorities, as files have them.

use crate::plan::PairSource;
use gatepost_sys::as_owner;
use gatepost_tls::pair::{Pair, Validity};
use std::path::Path;

/// Seconds.
pub(crate) const DAY: u64 = 24 * 3600;

/// The authorities in the PEM file at `path`, in DER.
pub(crate) fn load_authorities(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let advice =
        "write backend.ca = \"...\", a PEM file of the authorities that the backend's certificate may come from";
    let pem = as_owner::read(path).map_err(|e| format!("cannot read {}: {e}; {advice}", path.display()))?;
    gatepost_tls::client::roots(&pem).map_err(|e| format!("{}; {advice}", e.about(&path.to_string_lossy(), "")))
}

/// A certificate chain, and the PEM text of its key.
pub(crate) type LoadedPair = (Pair, Vec<u8>);

/// Reads a pair and makes sure that its halves belong together. To be called [`apart`](crate::apart::apart): readers of PEM leave pieces of a
/// key behind in memory.
pub(crate) fn load_pair(source: PairSource<'_>) -> Result<LoadedPair, String> {
    let (names, certificate, key, what) = match source {
        PairSource::Memory(trial) => (Vec::new(), trial.certificate.clone(), trial.key.clone(), String::new()),
        PairSource::Files(gatepost_config::Pair { names, certificate, key }) => {
            let read = |path: &Path| as_owner::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
            let what = format!(" (certificate {}, key {})", certificate.display(), key.display());
            (names.clone(), read(certificate)?, read(key)?, what)
        }
    };
    let pair = Pair::load(&certificate, &key, &names).map_err(|e| format!("{e}{what}"))?;
    Ok((pair, key))
}

/// Hours that a certificate is valid still, if somebody should look: less than a fortnight. Those that somebody else has signed for less
/// than that are renewed every few days: for them, less than a third of their whole time.
pub(crate) fn hours_left(validity: Validity, self_signed: bool, now: u64) -> Option<u32> {
    let fortnight = 14 * DAY;
    let left = validity.not_after.saturating_sub(now);
    let whole = validity.not_after.saturating_sub(validity.not_before);
    let soon = left < fortnight && (self_signed || whole >= fortnight || left < whole / 3);
    soon.then(|| u32::try_from(left / 3600).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_13_a_certificate_that_nobody_renews_is_told_of() {
        for (whole, left, told) in [
            (90, 15, None),
            (90, 13, Some(13 * 24)),
            (6, 5, None),
            (6, 1, Some(24)),
            (20, 10, Some(10 * 24)),
            (90, 0, Some(0)),
        ] {
            let now = 1000 * DAY;
            let validity = Validity { not_before: now + left * DAY - whole * DAY, not_after: now + left * DAY };
            assert_eq!(hours_left(validity, false, now), told, "{whole} {left}");
        }
        assert_eq!(hours_left(Validity { not_before: 0, not_after: 5 }, false, 9), Some(0));
        // Nobody renews what has been made by hand.
        assert_eq!(hours_left(Validity { not_before: 0, not_after: 6 * DAY }, true, 0), Some(6 * 24));
    }
}
