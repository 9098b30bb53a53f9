//! What the client is told: codes and classes, as tables.

use crate::backend::{Failure, Wait};
use gatepost_policy::tables::Finding;
use gatepost_smtp::client::Reply;
use gatepost_smtp::envelope::{Class, Reason, Verdict};
use gatepost_smtp::text::Text;

const fn verdict(code: u16, enhanced: (u8, u16, u16), reason: Reason) -> Verdict {
    Verdict { code, enhanced, reason }
}

pub(crate) const RCPT_OK: Verdict = verdict(250, (2, 1, 5), Reason::Ok);
pub(crate) const MAIL_OK: Verdict = verdict(250, (2, 1, 0), Reason::Ok);
pub(crate) const DELIVERED: Verdict = verdict(250, (2, 0, 0), Reason::Ok);
/// The recipients of an LMTP backend have different results.
pub(crate) const MIXED: Verdict = verdict(451, (4, 2, 0), Reason::Mixed);
pub(crate) const RELAY_DENIED: Verdict = verdict(550, (5, 7, 1), Reason::RelayDenied);
/// RFC 3463 §3.2: the sender's address. It is the answer to a recipient, because MAIL is answered without asking us.
pub(crate) const BAD_SENDER: Verdict = verdict(553, (5, 1, 7), Reason::SenderRefused);
/// By a table of the admin's, as the next three.
pub(crate) const HELO_REFUSED: Verdict = verdict(550, (5, 7, 1), Reason::HeloRefused);
pub(crate) const SENDER_REFUSED: Verdict = verdict(550, (5, 7, 1), Reason::SenderRefused);
pub(crate) const RECIPIENT_REFUSED: Verdict = verdict(550, (5, 7, 1), Reason::RecipientRefused);
pub(crate) const RECIPIENT_UNKNOWN: Verdict = verdict(550, (5, 1, 1), Reason::RecipientRefused);
/// By DNS lists.
pub(crate) const HELO_LISTED: Verdict = verdict(554, (5, 7, 1), Reason::HeloListed);
pub(crate) const HELO_LISTED_LATER: Verdict = verdict(450, (4, 7, 1), Reason::HeloListed);
/// RFC 6409 §6.1. As [`BAD_SENDER`], the answer to a recipient.
pub(crate) const NOT_YOURS: Verdict = verdict(553, (5, 7, 1), Reason::NotYourAddress);
/// The same for what the content says.
pub(crate) const NOT_YOUR_FROM: Verdict = verdict(553, (5, 7, 1), Reason::NotYourFrom);
pub(crate) const TOO_MANY: Verdict = verdict(452, (4, 5, 3), Reason::TooManyRecipients);
/// The recipient's backend is another than that of the transaction's first: see [`crate::routes`].
pub(crate) const OTHER_BACKEND: Verdict = verdict(452, (4, 5, 3), Reason::OtherBackend);
pub(crate) const NO_SPACE: Verdict = verdict(452, (4, 3, 1), Reason::NoSpace);
/// More in a time than `[rates]` allow.
pub(crate) const MESSAGE_RATE: Verdict = verdict(450, (4, 7, 1), Reason::MessageRate);
pub(crate) const RECIPIENT_RATE: Verdict = verdict(450, (4, 7, 1), Reason::RecipientRate);
pub(crate) const LOGIN_RATE: Verdict = verdict(450, (4, 7, 1), Reason::LoginRate);
pub(crate) const REFUSAL_RATE: Verdict = verdict(450, (4, 7, 1), Reason::RefusalRate);
pub(crate) const TOO_LARGE: Verdict = verdict(552, (5, 3, 4), Reason::TooLarge);
pub(crate) const LOOP: Verdict = verdict(554, (5, 4, 6), Reason::LoopDetected);
pub(crate) const BAD_CONTENT: Verdict = verdict(554, (5, 6, 0), Reason::BadContent);
/// The session was told to leave before it committed.
pub(crate) const RECLAIMED: Verdict = verdict(421, (4, 3, 2), Reason::Reclaimed);
pub(crate) const INTERNAL: Verdict = verdict(451, (4, 3, 0), Reason::Internal);
/// The backend now refuses a recipient that it had accepted, or no longer lists an extension that the client was offered.
pub(crate) const CHANGED: Verdict = verdict(451, (4, 3, 0), Reason::BackendDown);

/// The verdict for what the tables say; none: they say nothing.
pub(crate) fn of_finding(finding: Finding) -> Option<Verdict> {
    match finding {
        Finding::Pass => None,
        Finding::Helo => Some(HELO_REFUSED),
        Finding::Sender => Some(SENDER_REFUSED),
        Finding::Recipient => Some(RECIPIENT_REFUSED),
        Finding::Unknown => Some(RECIPIENT_UNKNOWN),
    }
}

/// What a refusal of the backend is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Client,
    Sender,
    Recipient,
    Content,
}

/// A code, and subject and detail of the enhanced code that goes with it.
type Row = (u16, (u16, u16));

/// Codes of a backend that are passed on, each with the enhanced code to use when the backend gave none. Any other code is
/// replaced by the last row of its class.
const PASSED: [(Stage, &[Row]); 4] = [
    (Stage::Client, &[(450, (7, 1)), (451, (7, 1)), (554, (7, 1)), (550, (7, 1))]),
    (
        Stage::Sender,
        &[(452, (3, 1)), (450, (1, 8)), (451, (3, 0)), (552, (3, 4)), (553, (1, 7)), (554, (7, 1)), (550, (1, 0))],
    ),
    (
        Stage::Recipient,
        &[
            (450, (2, 0)),
            (452, (2, 2)),
            (451, (3, 0)),
            (552, (2, 2)),
            (553, (1, 3)),
            (554, (7, 1)),
            (556, (1, 10)),
            (550, (1, 1)),
        ],
    ),
    (Stage::Content, &[(450, (7, 0)), (452, (3, 1)), (451, (3, 0)), (550, (7, 1)), (552, (3, 4)), (554, (6, 0))]),
];

/// Codes about our use of the protocol and not about the client's mail: a fault of the set-up, so the client has to try
/// again.
const OURS: [u16; 8] = [500, 502, 503, 504, 530, 534, 535, 538];

/// The verdict for a backend's final reply: its class, its code if that is in the table, our own text.
pub(crate) fn of_reply(stage: Stage, reply: &Reply) -> Verdict {
    let reason = match stage {
        Stage::Client => Reason::ClientRefused,
        Stage::Sender => Reason::SenderRefused,
        Stage::Recipient => Reason::RecipientRefused,
        Stage::Content => Reason::ContentRefused,
    };
    let class = match reply.code {
        200..=299 if stage == Stage::Content => return verdict(250, enhanced(reply, 2, (0, 0)), Reason::Ok),
        200..=299 => return RCPT_OK,
        421 => return verdict(451, (4, 3, 2), Reason::BackendDown),
        400..=499 => 4,
        500..=599 if !OURS.contains(&reply.code) => 5,
        _ => return verdict(451, (4, 3, 5), Reason::Internal),
    };
    let rows = PASSED.iter().find(|(s, _)| *s == stage).map_or([].as_slice(), |(_, rows)| rows);
    let of_class = || rows.iter().filter(|(code, _)| code / 100 == class);
    let row = of_class().find(|(code, _)| *code == reply.code).or(of_class().next_back());
    let (code, subject) = row.copied().unwrap_or((451, (3, 0)));
    verdict(code, enhanced(reply, u8::try_from(class).unwrap_or(4), subject), reason)
}

/// The text of a backend's refusal. Not one about our use of the protocol: the verdict has our own words then.
pub(crate) fn text(reply: &Reply, utf8: bool) -> Text {
    let theirs = matches!(reply.code, 400..=599) && !OURS.contains(&reply.code);
    if theirs { reply.text(utf8) } else { Text::none() }
}

/// The verdict for the answer of a QMQP server or the end of a queue program: its class and nothing else.
pub(crate) fn of_class(class: Class) -> Verdict {
    match class {
        Class::Accepted => verdict(250, (2, 0, 0), Reason::Ok),
        Class::Temporary => verdict(451, (4, 3, 0), Reason::ContentRefused),
        Class::Permanent => verdict(554, (5, 3, 0), Reason::ContentRefused),
    }
}

/// The backend's enhanced code when it agrees with the class (RFC 2034 §4), else ours.
fn enhanced(reply: &Reply, class: u8, otherwise: (u16, u16)) -> (u8, u16, u16) {
    match reply.enhanced {
        Some(code) if code.0 == class && code.1 <= 999 && code.2 <= 999 => code,
        _ => (class, otherwise.0, otherwise.1),
    }
}

/// The verdict when the backend could not be asked. Always temporary: the mail is not at fault.
pub(crate) fn of_failure(failure: &Failure) -> Verdict {
    match failure {
        Failure::Connect(_)
        | Failure::Unproved
        | Failure::Undecided(_)
        | Failure::Unasked(_)
        | Failure::Garbage(_)
        | Failure::Unexpected(_) => verdict(451, (4, 3, 0), Reason::BackendDown),
        Failure::Closing(..) | Failure::Busy => verdict(451, (4, 3, 2), Reason::BackendDown),
        Failure::Timeout(Wait::Connect | Wait::Greeting) => verdict(451, (4, 4, 1), Reason::BackendTimeout),
        Failure::Timeout(_) => verdict(451, (4, 4, 2), Reason::BackendTimeout),
        Failure::Lost(_) => verdict(451, (4, 4, 2), Reason::BackendLost),
        Failure::Identity(_) | Failure::Relays(_) => verdict(451, (4, 3, 5), Reason::IdentityRefused),
        Failure::Client(reply) => of_reply(Stage::Client, reply),
        Failure::Missing(_) => CHANGED,
        Failure::Tls(_) | Failure::Unwelcome(_) => verdict(451, (4, 3, 5), Reason::BackendDown),
        Failure::Deferred(_) => verdict(451, (4, 3, 2), Reason::BackendDown),
    }
}
