//! What all connections to an SMTP or LMTP backend have in common.

use super::dialer::Dialer;
use super::tls::Tls;
use super::wait::Timeouts;
use gatepost_wire::slice::Identity;
use std::sync::Arc;

/// What SMTP and LMTP have different words for.
#[derive(Debug)]
pub(crate) struct Words {
    /// The command that asks for extensions.
    pub(crate) hello: &'static str,
    /// The command for a backend that does not know that one, RFC 5321 §3.2: then it has no extensions.
    pub(crate) plain_hello: Option<&'static str>,
    /// XCLIENT's PROTO for a client that said HELO.
    pub(crate) proto_helo: &'static str,
    /// XCLIENT's PROTO for a client that said EHLO.
    pub(crate) proto_ehlo: &'static str,
    /// Content is answered for each recipient.
    pub(crate) each: bool,
}

pub(crate) const SMTP: Words =
    Words { hello: "EHLO", plain_hello: Some("HELO"), proto_helo: "SMTP", proto_ehlo: "ESMTP", each: false };
/// RFC 2033.
pub(crate) const LMTP: Words =
    Words { hello: "LHLO", plain_hello: None, proto_helo: "LMTP", proto_ehlo: "LMTP", each: true };

/// What all connections have in common.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Our name.
    pub(crate) hostname: String,
    pub(crate) words: &'static Words,
    pub(crate) identity: Identity,
    /// Mail of who has logged in goes there.
    pub(crate) logins: bool,
    pub(crate) tls: Tls,
    pub(crate) timeouts: Timeouts,
    /// Who makes them.
    pub(crate) dialer: Arc<Dialer>,
}
