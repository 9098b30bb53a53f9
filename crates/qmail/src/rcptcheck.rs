//! RCPTCHECK: a program without arguments that is asked about each recipient that rcpthosts let pass, not for clients that may
//! relay. It finds SENDER and RECIPIENT in its environment.

use crate::environment::Environment;
use crate::program::Ended;
use crate::recipients::Refusal;
use crate::replies;

/// The program, if there is one to be asked.
#[must_use]
pub fn program(environment: &Environment) -> Option<&[u8]> {
    environment.get("RCPTCHECK").filter(|path| !path.is_empty() && !environment.has("RELAYCLIENT"))
}

/// The environment that it gets.
#[must_use]
pub fn asking(environment: &Environment, sender: &[u8], recipient: &[u8]) -> Environment {
    let mut asking = environment.clone();
    asking.set_hostile("SENDER", sender);
    asking.set_hostile("RECIPIENT", recipient);
    asking
}

/// What its end means; `None` accepts.
#[must_use]
pub fn verdict(ended: Ended) -> Option<Refusal> {
    let (reply, close) = match ended {
        Ended::Exited(100) => (replies::NO_MAILBOX, false),
        Ended::Exited(111) => (replies::UNVERIFIED, true),
        Ended::NOT_EXECUTED | Ended::Killed(_) | Ended::Lost => (replies::NO_CHECK, true),
        Ended::NotForked => (replies::NO_FORK, true),
        Ended::Exited(_) => return None,
    };
    Some(Refusal { reply, close })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_end_decides() {
        for (ended, answer) in [
            (Ended::Exited(0), None),
            (Ended::Exited(1), None),
            (Ended::Exited(99), None),
            (Ended::Exited(100), Some((replies::NO_MAILBOX, false))),
            (Ended::Exited(111), Some((replies::UNVERIFIED, true))),
            (Ended::Exited(120), Some((replies::NO_CHECK, true))),
            (Ended::Killed(11), Some((replies::NO_CHECK, true))),
            (Ended::Lost, Some((replies::NO_CHECK, true))),
            (Ended::NotForked, Some((replies::NO_FORK, true))),
        ] {
            assert_eq!(verdict(ended), answer.map(|(reply, close)| Refusal { reply, close }), "{ended:?}");
        }
    }

    #[test]
    fn who_is_asked_and_with_what() {
        let with = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Environment>();
        assert_eq!(program(&with(&[("RCPTCHECK", "/bin/check")])), Some(&b"/bin/check"[..]));
        assert_eq!(program(&with(&[("RCPTCHECK", "/bin/check"), ("RELAYCLIENT", "")])), None);
        assert_eq!(program(&with(&[])), None);
        let environment = asking(&with(&[("TCPREMOTEIP", "192.0.2.7")]), b"a@b\n", b"c\0@d");
        assert_eq!(environment.get("SENDER"), Some(&b"a@b"[..]));
        assert_eq!(environment.get("RECIPIENT"), Some(&b"c@d"[..]));
        assert!(environment.has("TCPREMOTEIP"));
    }
}
