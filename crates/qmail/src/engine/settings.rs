//! What a session is told before it starts: settings, the offer of AUTH, limits.

use super::data::BareLf;

/// How one session serves.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Text of 220, 221 and of the 250 to HELO. Any octets; LF is taken out. What [`crate::controls`] read from a file has no control
    /// octet at all: the CR of one that was edited under DOS is not said.
    pub greeting: Vec<u8>,
    /// Offer STARTTLS.
    pub starttls: bool,
    /// 530 to MAIL before TLS: s/qmail's UCSPITLS=!.
    pub tls_first: bool,
    /// `None`: AUTH is 502, as in unpatched builds.
    pub auth: Option<AuthOffer>,
    /// The patched builds' EHLO, and SIZE= of MAIL is believed. Implied by `starttls` and by `auth`.
    pub patched: bool,
    /// Largest message, octets as stored; 0: any.
    pub databytes: u64,
    /// A bare LF in content.
    pub bare_lf: BareLf,
    /// Where it ends.
    pub limits: Limits,
}

impl Settings {
    pub(super) fn speaks_patched(&self) -> bool {
        self.patched || self.starttls || self.auth.is_some()
    }
}

/// What is offered by AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuthOffer {
    /// LOGIN and PLAIN.
    pub plain_login: bool,
    /// CRAM-MD5.
    pub cram_md5: bool,
    /// 530 to MAIL before AUTH.
    pub mandatory: bool,
    /// 538 to AUTH before TLS, and no word of it in EHLO. Implied by [`Settings::tls_first`].
    pub needs_tls: bool,
    /// A checker was named. Without one AUTH is 503, and no word of it in EHLO.
    pub available: bool,
}

/// Where a session ends: whatever a client can repeat is counted, and nothing that a real sender does comes near. "Since
/// the last message" means since one was accepted. Where no reply is named, the one beyond a limit is 421 too many errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest command line, octets with its end (RFC 5321 has 512). A longer one is 500.
    pub line: usize,
    /// Longest line of AUTH, octets with its end: RFC 4954 §4.
    pub auth_line: usize,
    /// Octets of a line that is too long, before it is 421 out of memory: CVE-1999-0250.
    pub long_line: usize,
    /// Recipients in one transaction. The next are 452: CVE-1999-0144.
    pub recipients: u32,
    /// Recipients refused without a question since the last message, before it is 421 out of memory: those with that 452, and
    /// those without a MAIL. Many: a sender that pipelines sends the whole list before it reads the first refusal.
    pub surplus_recipients: u32,
    /// Recipients refused otherwise since the last message.
    pub refused_recipients: u32,
    /// Commands refused for what they are, with none granted between them.
    pub errors: u32,
    /// Commands refused for what they are, since the last message.
    pub errors_in_all: u32,
    /// MAIL since the last message.
    pub mails: u32,
    /// RSET since the last message.
    pub resets: u32,
    /// HELO and EHLO since the last message.
    pub ehlos: u32,
    /// NOOP, HELP and VRFY since the last message.
    pub noops: u32,
    /// AUTH, whatever came of it.
    pub auths: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 2048,
            auth_line: 12_288,
            long_line: 64 << 10,
            recipients: 10_000,
            surplus_recipients: 1_000_000,
            refused_recipients: 10_000,
            errors: 20,
            errors_in_all: 1000,
            mails: 1000,
            resets: 1000,
            ehlos: 1000,
            noops: 1000,
            auths: 20,
        }
    }
}
