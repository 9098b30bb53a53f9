//! All replies but LHLO's and the greeting, with RFC 3463 codes.

/// A reply of one line, without its CRLF.
pub type Reply = &'static str;

pub(crate) const OK: Reply = "250 2.0.0 Ok";
pub(crate) const SENDER_OK: Reply = "250 2.1.0 Ok";
pub(crate) const RECIPIENT_OK: Reply = "250 2.1.5 Ok";
pub(crate) const STORED: Reply = "250 2.0.0 Stored";
pub(crate) const GO_AHEAD: Reply = "354 End with CRLF.CRLF";
pub(crate) const BYE: Reply = "221 2.0.0 Bye";
pub(crate) const NOT_SAID: Reply = "252 2.5.2 Send some mail";
pub(crate) const DRAINED: Reply = "421 4.3.2 Shutting down";
pub(crate) const TIMEOUT: Reply = "421 4.4.2 Timeout";
pub(crate) const TOO_MANY_ERRORS: Reply = "421 4.7.0 Too many errors";
pub(crate) const FAILED: Reply = "451 4.3.0 Cannot store mail now";
pub(crate) const DISK_FULL: Reply = "452 4.3.1 Out of room";
pub(crate) const TOO_MANY_RECIPIENTS: Reply = "452 4.5.3 Too many recipients";
pub(crate) const UNKNOWN_VERB: Reply = "500 5.5.1 Unknown command, this is LMTP";
pub(crate) const BAD_LINE: Reply = "500 5.5.2 Line too long or not ended by CRLF";
pub(crate) const BAD_ARGUMENT: Reply = "501 5.5.4 Syntax error in argument";
pub(crate) const BAD_SENDER: Reply = "501 5.1.7 Bad reverse-path";
pub(crate) const BAD_RECIPIENT: Reply = "501 5.1.3 Bad forward-path";
pub(crate) const BAD_SEQUENCE: Reply = "503 5.5.1 Bad sequence of commands";
pub(crate) const NO_RECIPIENTS: Reply = "503 5.5.1 No valid recipients";
pub(crate) const TOO_LARGE: Reply = "552 5.3.4 Message too large";
pub(crate) const NOT_ASCII: Reply = "553 5.6.7 Address needs SMTPUTF8";
pub(crate) const IMPURE: Reply = "554 5.6.0 Bare CR, bare LF or NUL in content";
pub(crate) const BAD_PARAMETER: Reply = "555 5.5.4 Parameter not supported";
