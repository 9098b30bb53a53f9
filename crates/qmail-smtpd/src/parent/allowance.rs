//! What a session may ask for. The engine's own limits keep every client far below; only a session that an attacker controls
//! gets there, and it must not run programs, have signatures made or fill a log without end.

use gatepost_wire::parent::Ask;

/// Questions that may start programs or read tables, HELO, MAIL, RCPT, DATA and their like, since the last message that the
/// queue program accepted. Not in all: a client may send any number of messages in one connection.
const QUESTIONS: u32 = 200_000;
/// AUTH, each of which runs the checker.
const AUTHS: u32 = 40;
/// STARTTLS: one that succeeds, and some for which there was no certificate.
const HANDSHAKES: u32 = 4;

/// What is left of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    first: bool,
    questions: u32,
    auths: u32,
    handshakes: u32,
    encrypted: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { first: true, questions: QUESTIONS, auths: AUTHS, handshakes: HANDSHAKES, encrypted: false }
    }
}

impl Allowance {
    /// Takes its part for `ask`. False: there is none left, or it must not be said now.
    pub(super) fn spend(&mut self, ask: &Ask<'_>) -> bool {
        let first = std::mem::replace(&mut self.first, false);
        match ask {
            Ask::Jail { .. } => first,
            _ if first => false,
            Ask::Content(_) | Ask::Bye(_) => true,
            Ask::Challenge | Ask::Auth(_) => take(&mut self.auths),
            Ask::StartTls => take(&mut self.handshakes),
            Ask::Encrypted(_) => !std::mem::replace(&mut self.encrypted, true),
            Ask::Helo(_)
            | Ask::Mail(_)
            | Ask::Rcpt(_)
            | Ask::Data
            | Ask::Commit { .. }
            | Ask::Abandon(_)
            | Ask::Reset => take(&mut self.questions),
        }
    }

    /// The queue program has accepted a message.
    pub(super) fn delivered(&mut self) {
        self.questions = QUESTIONS;
    }

    /// A handshake has had its signatures: there is no second one (P5).
    pub(super) fn signed(&mut self) {
        self.handshakes = 0;
    }
}

fn take(left: &mut u32) -> bool {
    left.checked_sub(1).map(|less| *left = less).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_smtp::envelope::Mechanism;
    use gatepost_wire::parent::Auth;

    const JAIL: Ask<'_> = Ask::Jail { entered: true, text: b"" };
    const AUTH: Ask<'_> = Ask::Auth(Auth { mechanism: Mechanism::Plain, user: b"u", password: b"p", challenge: b"" });

    fn jailed() -> Allowance {
        let mut allowance = Allowance::default();
        assert!(allowance.spend(&JAIL));
        allowance
    }

    fn granted(mut allowance: Allowance, ask: &Ask<'_>) -> usize {
        (0..1_000_000).take_while(|_| allowance.spend(ask)).count()
    }

    #[test]
    fn p3_an_owned_session_cannot_ask_for_ever() {
        assert_eq!(granted(jailed(), &Ask::Rcpt(b"a@b")), 200_000);
        assert_eq!(granted(jailed(), &AUTH), 40);
        assert_eq!(granted(jailed(), &Ask::StartTls), 4);
        assert_eq!(granted(jailed(), &Ask::Encrypted(None)), 1);
        assert_eq!(granted(jailed(), &JAIL), 0);
        assert_eq!(granted(Allowance::default(), &Ask::Data), 0);
    }

    #[test]
    fn issue_10_each_message_restores_what_a_session_may_ask() {
        let mut allowance = jailed();
        // 50 000 messages are four questions each, and were the end.
        for _ in 0..60_000 {
            let message = [Ask::Mail(b"a@b"), Ask::Rcpt(b"c@d"), Ask::Data, Ask::Commit { length: 0 }];
            assert!(message.iter().all(|ask| allowance.spend(ask)));
            allowance.delivered();
        }
        assert_eq!(granted(allowance, &Ask::Rcpt(b"c@d")), 200_000);
        // What no message pays for stays spent.
        let mut allowance = jailed();
        assert_eq!((0..50).filter(|_| allowance.spend(&AUTH)).count(), 40);
        allowance.delivered();
        assert!(!allowance.spend(&AUTH));
    }

    #[test]
    fn p5_no_signature_after_a_handshake() {
        let mut allowance = jailed();
        assert!(allowance.spend(&Ask::StartTls));
        allowance.signed();
        assert!(!allowance.spend(&Ask::StartTls));
    }
}
