//! What the session is told: control files and variables, put into the terms of the dialect's engine.

use crate::door::Door;
use crate::session::client::Ends;
use crate::session::{Superserver, Terms};
use gatepost_qmail::auth::{Checker, SmtpAuth};
use gatepost_qmail::engine::{self, AuthOffer, Settings};
use gatepost_qmail::environment::Environment;
use gatepost_qmail::switches::{BareLf, Switches};
use gatepost_sys::fds;
use gatepost_sys::process::ProcessId;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A session without a limit of its own still ends.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);

/// What holds for the session that `door` is about to fork.
pub(crate) fn terms(door: &Door, switches: &Switches, checker: Option<&Checker<'_>>) -> Terms {
    let (controls, environment) = (&door.controls, &door.environment);
    let superserver = superserver(environment);
    let implicit_tls = environment.has("SMTPS");
    // s/qmail's word about TLS: `-` none, `!` nothing without it.
    let word = environment.get("UCSPITLS").unwrap_or_default();
    let possible = controls.certificate || superserver.is_some();
    let starttls = possible && !implicit_tls && word != b"-";
    let clear = switches.auth_clear || environment.get("FORCETLS") == Some(b"0");
    let auth = SmtpAuth::read(environment, checker).map(|auth| AuthOffer {
        plain_login: auth.plain,
        cram_md5: auth.cram,
        mandatory: auth.mandatory,
        // A password that could be encrypted should be.
        needs_tls: starttls && !clear,
        available: true,
    });
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Terms {
        settings: Settings {
            greeting: controls.greeting.clone(),
            starttls,
            tls_first: starttls && word.starts_with(b"!"),
            auth,
            patched: implicit_tls,
            databytes: u64::from(controls.databytes),
            bare_lf: match switches.bare_lf {
                BareLf::Refuse => engine::BareLf::Refuse,
                BareLf::Repair => engine::BareLf::Repair,
            },
            limits: limits(switches),
        },
        implicit_tls,
        superserver,
        timeout: seconds(controls.timeout),
        session_time: switches.session_time.map_or(LONGEST_LIFE, seconds),
        greet_delay: seconds(controls.greet_delay),
        drop_early: controls.drop_early_talker,
        door: ProcessId::try_from(std::process::id()).unwrap_or_default(),
    }
}

fn limits(switches: &Switches) -> engine::Limits {
    let usual = engine::Limits::default();
    let line = usize::try_from(switches.line).unwrap_or(usual.line);
    engine::Limits {
        line,
        auth_line: usual.auth_line.max(line),
        recipients: switches.recipients.unwrap_or(u32::MAX),
        errors: switches.errors.unwrap_or(u32::MAX),
        ..usual
    }
}

/// UCSPI-TLS: the descriptors that a TLS superserver left, by the numbers in the environment.
fn superserver(environment: &Environment) -> Option<Superserver> {
    let fd = |name| -> Option<OwnedFd> {
        let number = std::str::from_utf8(environment.get(name)?).ok()?.parse().ok().filter(|number| *number > 2)?;
        fds::inherited(number).ok()
    };
    Some(Superserver { control: fd("SSLCTLFD")?, inside: Ends::new(fd("SSLREADFD")?, fd("SSLWRITEFD")?) })
}
