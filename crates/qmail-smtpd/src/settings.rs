//! What the session is told: control files and variables, put into the terms of the dialect's engine.

use crate::parent::Parent;
use crate::session::{Superserver, Terms};
use gatepost_qmail::engine::{self, AuthOffer, Settings};
use gatepost_qmail::environment::Environment;
use gatepost_qmail::switches::{BareLf, Switches};
use gatepost_shell::{Ends, Patience, Times};
use gatepost_sys::fds;
use gatepost_sys::process::ProcessId;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A handshake takes no longer than this, and no longer than `timeoutsmtpd`. Its 4 kB take a modem's line minutes.
const HANDSHAKE_TIME: Duration = Duration::from_secs(300);
/// A session without a limit of its own still ends.
const LONGEST_LIFE: Duration = Duration::from_secs(366 * 24 * 3600);

/// What holds for the session that `parent` is about to fork.
pub(crate) fn terms(parent: &Parent, switches: &Switches) -> Terms {
    let (controls, environment) = (&parent.controls, &parent.environment);
    let superserver = superserver(environment);
    let implicit_tls = environment.has("SMTPS");
    // s/qmail's word about TLS: `-` none, `!` nothing without it.
    let word = environment.get("UCSPITLS").unwrap_or_default();
    let possible = controls.certificate || superserver.is_some();
    // The TLS patches of toasters have a variable of their own for none.
    let starttls = possible && !implicit_tls && word != b"-" && !environment.has("DISABLETLS");
    let tls_first = word.starts_with(b"!");
    let (forced, clear) = match environment.get("FORCETLS") {
        None => (false, switches.auth_clear),
        Some(value) => (value != b"0", switches.auth_clear || value == b"0"),
    };
    if (tls_first || forced) && !possible {
        parent.record.warn(&"TLS is required, but there is no control/servercert.pem: what waits for it is refused");
    }
    let auth = parent.offer.map(|auth| AuthOffer {
        plain_login: auth.plain,
        cram_md5: auth.cram,
        mandatory: auth.mandatory,
        // A password that could be encrypted should be; and a certificate that got lost opens nothing that was closed.
        needs_tls: (starttls || forced) && !clear,
        available: true,
    });
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    Terms {
        settings: Settings {
            greeting: controls.greeting.clone(),
            starttls,
            tls_first,
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
        times: times(seconds(controls.timeout), switches),
        greet_delay: seconds(controls.greet_delay),
        drop_early: controls.drop_early_talker,
        landlock: !switches.relax_landlock,
        parent: ProcessId::try_from(std::process::id()).unwrap_or_default(),
    }
}

/// `timeout` is `timeoutsmtpd`: for each read, and for the client to take what it is sent at once.
fn times(timeout: Duration, switches: &Switches) -> Times {
    Times {
        patience: Patience::each_read(timeout, switches.minimum_rate),
        write: timeout,
        handshake: HANDSHAKE_TIME.min(timeout),
        session: switches.session_time.map_or(LONGEST_LIFE, |seconds| Duration::from_secs(u64::from(seconds))),
        content: Duration::ZERO,
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
        fds::claim(number).ok()
    };
    Some(Superserver { control: fd("SSLCTLFD")?, inside: Ends::new(fd("SSLREADFD")?, fd("SSLWRITEFD")?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parent::tests::parent;

    #[test]
    fn p2_the_numbers_of_a_superserver_are_each_of_a_descriptor_of_its_own_and_none_of_ours() {
        let pipe = |given: bool| {
            let ends: [OwnedFd; 2] = std::io::pipe().map(|(a, b)| [a.into(), b.into()]).unwrap();
            ends.map(|fd| {
                // What a program is started with does not close on exec, or it would not be there.
                fds::set_cloexec(&fd, !given).unwrap();
                std::os::fd::IntoRawFd::into_raw_fd(fd).to_string()
            })
        };
        // Forgotten, since with a number that counts twice each would be closed twice.
        let taken = |numbers: [&String; 3]| {
            let names = ["SSLCTLFD", "SSLREADFD", "SSLWRITEFD"];
            superserver(&names.into_iter().zip(numbers.map(String::as_str)).collect()).map(std::mem::forget).is_some()
        };
        let ([a, b], [c, d], [e, _], [ours, _]) = (pipe(true), pipe(true), pipe(true), pipe(false));
        assert!(!taken([&a, &b, &b]), "one for both ways");
        assert!(!taken([&c, &d, &ours]), "one that this process has opened");
        let ([a, b], [c, _]) = (pipe(true), pipe(true));
        assert!(taken([&a, &b, &c]));
        assert!(!taken([&e, &a, &b]), "taken already");
    }

    #[test]
    fn issue_10_disabletls_and_its_kin_offer_no_starttls() {
        for (variables, offered) in [
            (&[][..], true),
            (&[("UCSPITLS", "")], true),
            (&[("DISABLETLS", "")], false),
            (&[("DISABLETLS", "1")], false),
            (&[("UCSPITLS", "-")], false),
            (&[("SMTPS", "1")], false),
        ] {
            let mut parent = parent(variables, "");
            parent.controls.certificate = true;
            assert_eq!(terms(&parent, &Switches::default()).settings.starttls, offered, "{variables:?}");
        }
    }

    #[test]
    fn p7_without_a_certificate_nothing_that_needs_tls_goes_in_clear() {
        for (variables, mail_waits, password_waits) in [
            (&[][..], false, false),
            (&[("UCSPITLS", "!")], true, true),
            (&[("FORCETLS", "1")], false, true),
            (&[("FORCETLS", "0")], false, false),
            (&[("UCSPITLS", "")], false, false),
        ] {
            let engine::Settings { starttls, tls_first, auth, .. } =
                terms(&parent(variables, ""), &Switches::default()).settings;
            assert!(!starttls);
            assert_eq!(tls_first, mail_waits, "{variables:?}");
            // `tls_first` implies that AUTH waits, too.
            assert_eq!(tls_first || auth.unwrap().needs_tls, password_waits, "{variables:?}");
        }
    }
}
