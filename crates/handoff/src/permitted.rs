//! Which messages of a session are permitted in which state of its channel.

use gatepost_wire::session::Ask;

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Mail is submitted here, and nobody has logged in.
    Locked,
    /// Between transactions.
    Idle,
    /// MAIL is known, no recipient accepted.
    Envelope,
    /// One recipient accepted at least.
    Accepted,
    /// Content is coming inline.
    Content,
    /// The session writes content into its file.
    Filed,
    /// There was no file, or no room for more in it: the transaction can only be reset.
    Unfiled,
}

/// The kinds of ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Mail,
    Rcpt,
    Content,
    Spool,
    Commit,
    Reset,
    Bye,
    Room,
    Grow,
    Refused,
    Detail,
}

impl Kind {
    pub(crate) fn of(ask: &Ask<'_>) -> Self {
        match ask {
            Ask::Mail(_) => Kind::Mail,
            Ask::Rcpt(_) => Kind::Rcpt,
            Ask::Content(_) => Kind::Content,
            Ask::Spool => Kind::Spool,
            Ask::Commit { .. } => Kind::Commit,
            Ask::Reset => Kind::Reset,
            Ask::Bye(_) => Kind::Bye,
            Ask::Room => Kind::Room,
            Ask::Grow => Kind::Grow,
            Ask::Refused(_) => Kind::Refused,
            Ask::Detail(_) => Kind::Detail,
        }
    }
}

/// All that is permitted. Anything else ends the session: our engine does not send it. `Refused` and `Detail` are for the log alone, and
/// change no state.
pub(crate) const PERMITTED: [(State, &[Kind]); 7] = [
    (State::Locked, &[Kind::Reset, Kind::Bye, Kind::Refused, Kind::Detail]),
    (State::Idle, &[Kind::Mail, Kind::Reset, Kind::Bye, Kind::Refused, Kind::Detail]),
    (State::Envelope, &[Kind::Room, Kind::Rcpt, Kind::Reset, Kind::Bye, Kind::Refused, Kind::Detail]),
    (
        State::Accepted,
        &[Kind::Rcpt, Kind::Content, Kind::Spool, Kind::Commit, Kind::Reset, Kind::Bye, Kind::Refused, Kind::Detail],
    ),
    (State::Content, &[Kind::Content, Kind::Spool, Kind::Commit, Kind::Reset, Kind::Bye, Kind::Refused, Kind::Detail]),
    (State::Filed, &[Kind::Grow, Kind::Commit, Kind::Reset, Kind::Bye, Kind::Refused, Kind::Detail]),
    (State::Unfiled, &[Kind::Reset, Kind::Bye, Kind::Refused, Kind::Detail]),
];

/// Whether the table has it.
pub(crate) fn permits(state: State, kind: Kind) -> bool {
    PERMITTED.iter().any(|(s, kinds)| *s == state && kinds.contains(&kind))
}
