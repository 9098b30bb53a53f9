//! Backend profiles: what each kind of MTA speaks and how it can be told who the client is.

use crate::Connect;
use gatepost_wire::slice::{Dialect, Identity};

/// What stands behind us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Profile {
    Postfix,
    Exim,
    OpenSmtpd,
    Sendmail,
    DovecotLmtp,
    CyrusLmtp,
    QmailQueue,
    Qmqp,
    Smtp,
    Lmtp,
}

/// What is known of a profile.
struct Facts {
    name: &'static str,
    dialect: Dialect,
    /// Ways to tell who the client is over TCP, the default first; none: it does not listen there.
    tcp: &'static [Identity],
    /// The same over a unix socket.
    unix: &'static [Identity],
}

use Identity::{None as Nothing, ProxyV2, Xclient};

/// The words of `backend.identity`.
pub(crate) const IDENTITIES: [(&str, Identity); 3] = [("xclient", Xclient), ("proxy-v2", ProxyV2), ("none", Nothing)];

pub(crate) fn identity_name(identity: Identity) -> &'static str {
    IDENTITIES.iter().find(|(_, each)| *each == identity).map_or("", |(name, _)| name)
}

impl Profile {
    /// All of them, in the order in which messages name them.
    pub const ALL: [Self; 10] = [
        Self::Postfix,
        Self::Exim,
        Self::OpenSmtpd,
        Self::Sendmail,
        Self::DovecotLmtp,
        Self::CyrusLmtp,
        Self::QmailQueue,
        Self::Qmqp,
        Self::Smtp,
        Self::Lmtp,
    ];

    /// The word in `backend.profile`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The profile of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// What it speaks.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        self.facts().dialect
    }

    /// True when it can be asked whether it takes mail for a recipient, and so be made to prove that it does not relay.
    #[must_use]
    pub(crate) fn can_be_asked(self) -> bool {
        !matches!(self.dialect(), Dialect::Qmqp | Dialect::Queue)
    }

    /// The ways in which it can be told who the client is at that place, the default first; none when it cannot listen
    /// there.
    #[must_use]
    pub(crate) fn identities(self, connect: &Connect) -> &'static [Identity] {
        match connect {
            Connect::Unix(_) => self.facts().unix,
            Connect::Tcp(_) => self.facts().tcp,
        }
    }

    /// Connections at once that it takes as it comes from its makers, with some left for others: Postfix has
    /// `default_process_limit` 100, Exim `smtp_accept_max` 20, Dovecot `default_process_limit` 100 and Cyrus in Debian
    /// `maxchild` 20 for LMTP; the others set no limit or one of their own.
    #[must_use]
    pub fn connections(self) -> u32 {
        match self {
            Self::Exim | Self::CyrusLmtp => 16,
            _ => 80,
        }
    }

    /// Which MTA understands what where. A profile that knows a hand-over does not offer to go without: an MTA that
    /// takes each client for its own machine relays for each. Who wants that has the plain profile `smtp`.
    fn facts(self) -> Facts {
        use Dialect::{Lmtp, Qmqp, Queue, Smtp};
        let row = |name, dialect, tcp, unix| Facts { name, dialect, tcp, unix };
        match self {
            Self::Postfix => row("postfix", Smtp, &[Xclient, ProxyV2], &[Xclient, ProxyV2]),
            // No unix socket; XCLIENT only where it was built in.
            Self::Exim => row("exim", Smtp, &[ProxyV2, Xclient], &[]),
            // Its unix socket is for its own sendmail command and speaks no SMTP.
            Self::OpenSmtpd => row("opensmtpd", Smtp, &[ProxyV2], &[]),
            Self::Sendmail => row("sendmail", Smtp, &[Nothing], &[Nothing]),
            // Offers XCLIENT to trusted networks, so not over a unix socket.
            Self::DovecotLmtp => row("dovecot-lmtp", Lmtp, &[Xclient, ProxyV2, Nothing], &[Nothing]),
            Self::CyrusLmtp => row("cyrus-lmtp", Lmtp, &[Nothing], &[Nothing]),
            // A program, not a place.
            Self::QmailQueue => row("qmail-queue", Queue, &[], &[]),
            // It believes whoever connects, and there is no place for a client's address.
            Self::Qmqp => row("qmqp", Qmqp, &[Nothing], &[Nothing]),
            Self::Smtp => row("smtp", Smtp, &[Nothing, Xclient, ProxyV2], &[Nothing, Xclient, ProxyV2]),
            Self::Lmtp => row("lmtp", Lmtp, &[Nothing, Xclient, ProxyV2], &[Nothing, Xclient, ProxyV2]),
        }
    }
}
