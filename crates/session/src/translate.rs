//! The engine's words and the wire's, one to one. The engine knows no wire and the wire no engine.

use gatepost_smtp::replies::Outcome;
use gatepost_smtp::server as smtp;
use gatepost_wire::session as wire;
use gatepost_wire::session::Reason;

/// What handoff can honour.
pub(crate) fn offer(offer: &wire::Offer) -> smtp::Offer {
    smtp::Offer {
        size: offer.size,
        eight_bit: offer.eight_bit,
        smtputf8: offer.smtputf8,
        dsn: offer.dsn,
        recipients: offer.recipients,
    }
}

/// What handoff decided.
pub(crate) fn verdict(verdict: wire::Verdict) -> smtp::Verdict {
    smtp::Verdict { code: verdict.code, enhanced: verdict.enhanced, outcome: outcome(verdict.reason) }
}

fn outcome(reason: Reason) -> Outcome {
    match reason {
        Reason::Ok => Outcome::Ok,
        Reason::RelayDenied => Outcome::RelayDenied,
        Reason::SenderRefused => Outcome::SenderRefused,
        Reason::RecipientRefused => Outcome::RecipientRefused,
        Reason::TooManyRecipients => Outcome::TooManyRecipients,
        Reason::ContentRefused => Outcome::ContentRefused,
        Reason::TooLarge => Outcome::TooLarge,
        Reason::LoopDetected => Outcome::LoopDetected,
        Reason::BadContent => Outcome::BadContent,
        Reason::BackendDown => Outcome::BackendDown,
        Reason::BackendTimeout => Outcome::BackendTimeout,
        Reason::BackendLost => Outcome::BackendLost,
        Reason::IdentityRefused => Outcome::IdentityRefused,
        Reason::ClientRefused => Outcome::ClientRefused,
        Reason::NoSpace => Outcome::NoSpace,
        Reason::Draining => Outcome::Draining,
        Reason::Internal => Outcome::Internal,
    }
}

/// The engine's transaction, for handoff.
pub(crate) fn mail<'a>(mail: &'a smtp::Mail, helo: &'a [u8], esmtp: bool, tls: Option<smtp::Tls>) -> wire::Mail<'a> {
    wire::Mail {
        helo,
        esmtp,
        tls: tls.map(|tls| wire::TlsFacts { version: tls.version, suite: tls.suite }),
        reverse_path: mail.reverse_path.as_bytes(),
        size: mail.size,
        body: match mail.body {
            smtp::Body::Unstated => wire::Body::Unstated,
            smtp::Body::SevenBit => wire::Body::SevenBit,
            smtp::Body::EightBit => wire::Body::EightBit,
        },
        smtputf8: mail.smtputf8,
        ret: mail.ret.map(|ret| match ret {
            smtp::Ret::Full => wire::Ret::Full,
            smtp::Ret::Headers => wire::Ret::Headers,
        }),
        envid: mail.envid.as_deref(),
    }
}

/// The engine's recipient, for handoff.
pub(crate) fn rcpt(rcpt: &smtp::Rcpt) -> wire::Rcpt<'_> {
    wire::Rcpt {
        forward_path: rcpt.forward_path.as_bytes(),
        notify: rcpt.notify.map(|n| wire::Notify { success: n.success, failure: n.failure, delay: n.delay }),
        orcpt: rcpt.orcpt.as_deref(),
    }
}

/// Why the session ends, for handoff's log line.
pub(crate) fn farewell(farewell: smtp::Farewell) -> wire::Farewell {
    match farewell {
        smtp::Farewell::Quit => wire::Farewell::Quit,
        smtp::Farewell::Timeout => wire::Farewell::Timeout,
        smtp::Farewell::Abuse => wire::Farewell::Abuse,
        smtp::Farewell::Drained => wire::Farewell::Drained,
        smtp::Farewell::Internal => wire::Farewell::Internal,
    }
}
