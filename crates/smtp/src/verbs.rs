//! The table of verbs: the name of each, the argument it takes, and the limit it counts against.

/// What a command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Helo,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    StartTls,
    Auth,
    /// Known to RFCs, never served here.
    Disabled,
    /// A verb of another protocol: the client is a browser, or this is a cross-protocol attack.
    Foreign,
    /// The header of a load balancer that no setting names.
    Proxy,
}

/// What may follow the verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Argument {
    Absent,
    Required,
    Any,
}

impl Argument {
    /// Whether `argument`, which may be empty, may follow.
    #[must_use]
    pub fn permits(self, argument: &[u8]) -> bool {
        match self {
            Self::Absent => argument.is_empty(),
            Self::Required => !argument.is_empty(),
            Self::Any => true,
        }
    }
}

/// One verb.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// As on the wire, upper case.
    pub name: &'static str,
    /// What it asks for.
    pub verb: Verb,
    /// What may follow it; otherwise 501.
    pub argument: Argument,
}

const fn row(name: &'static str, verb: Verb, argument: Argument) -> Row {
    Row { name, verb, argument }
}

/// Every known verb, frequent ones first. XCLIENT and XFORWARD are unknown to clients on purpose.
pub const TABLE: &[Row] = &[
    row("RCPT", Verb::Rcpt, Argument::Required),
    row("MAIL", Verb::Mail, Argument::Required),
    row("DATA", Verb::Data, Argument::Absent),
    row("BDAT", Verb::Bdat, Argument::Any),
    row("EHLO", Verb::Ehlo, Argument::Required),
    row("QUIT", Verb::Quit, Argument::Absent),
    row("STARTTLS", Verb::StartTls, Argument::Absent),
    row("RSET", Verb::Rset, Argument::Absent),
    row("HELO", Verb::Helo, Argument::Required),
    row("NOOP", Verb::Noop, Argument::Any),
    row("VRFY", Verb::Vrfy, Argument::Required),
    row("EXPN", Verb::Disabled, Argument::Any),
    row("HELP", Verb::Help, Argument::Any),
    row("AUTH", Verb::Auth, Argument::Any),
    row("ETRN", Verb::Disabled, Argument::Any),
    row("ATRN", Verb::Disabled, Argument::Any),
    row("TURN", Verb::Disabled, Argument::Any),
    row("SEND", Verb::Disabled, Argument::Any),
    row("SOML", Verb::Disabled, Argument::Any),
    row("SAML", Verb::Disabled, Argument::Any),
    row("BURL", Verb::Disabled, Argument::Any),
    row("GET", Verb::Foreign, Argument::Any),
    row("POST", Verb::Foreign, Argument::Any),
    row("HEAD", Verb::Foreign, Argument::Any),
    row("PUT", Verb::Foreign, Argument::Any),
    row("DELETE", Verb::Foreign, Argument::Any),
    row("OPTIONS", Verb::Foreign, Argument::Any),
    row("CONNECT", Verb::Foreign, Argument::Any),
    row("TRACE", Verb::Foreign, Argument::Any),
    row("PATCH", Verb::Foreign, Argument::Any),
    row("PRI", Verb::Foreign, Argument::Any),
    row("PROXY", Verb::Proxy, Argument::Any),
];

/// The row of `word`, in upper or lower case.
#[must_use]
pub fn find(word: &[u8]) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(word))
}
