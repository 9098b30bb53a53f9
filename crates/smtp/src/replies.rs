//! Every reply text of ours, in one table: constant text, no data of the client, no product name.
//!
//! Refusals end in the session id, by which a sender's complaint can be found in the log.

use crate::envelope::Reason;

/// One reply of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// RFC 5321 §4.2.
    pub code: u16,
    /// RFC 3463; empty where RFC 2034 has none (220, 334, 353, 354).
    pub enhanced: &'static str,
    /// The text, constant.
    pub text: &'static str,
}

macro_rules! replies {
    ($($name:ident: $code:literal $enhanced:literal $text:literal;)*) => {
        $(#[allow(missing_docs)] pub const $name: Reply = Reply { code: $code, enhanced: $enhanced, text: $text };)*
        /// All of them, by name, for tests and lists.
        pub const ALL: &[(&str, Reply)] = &[$((stringify!($name), $name)),*];
    };
}

replies! {
    // The host name comes before the text of these two, RFC 5321 §4.2.2.
    GREETING: 220 "" "ESMTP";
    BYE: 221 "2.0.0" "closing connection";

    START_TLS: 220 "2.0.0" "Ready to start TLS";
    HELP: 214 "2.0.0" "See RFC 5321";
    OK: 250 "2.0.0" "Ok";
    SENDER_OK: 250 "2.1.0" "Ok";
    RECIPIENT_OK: 250 "2.1.5" "Ok";
    VRFY: 252 "2.5.2" "Cannot VRFY user, send some mail to find out";
    EACH_RECIPIENT: 353 "" "A reply for each recipient follows";
    SEND_CONTENT: 354 "" "End data with <CR><LF>.<CR><LF>";

    // These close the connection, RFC 5321 §3.8.
    DRAINING: 421 "4.3.2" "service closing, try again";
    RECLAIMED: 421 "4.3.2" "too many connections, try again later";
    AWAY: 421 "4.3.2" "the mail server cannot be reached now, try again later";
    FAILED: 421 "4.3.0" "service not available, try again";
    TIMEOUT: 421 "4.4.2" "timeout, closing connection";
    TOO_MANY_ERRORS: 421 "4.7.0" "too many errors, closing connection";
    FOREIGN: 421 "4.7.0" "this is not a service for that protocol, closing connection";
    // These come in place of the greeting.
    NO_SLOT: 421 "4.3.2" "all slots are taken, try again later";
    ADDRESS_FULL: 421 "4.7.0" "too many connections from your address, try again later";
    TOO_OFTEN: 421 "4.7.0" "too many connections from your network in a short time, try again later";
    PENALTY: 421 "4.7.0" "not now, try again later";
    // RFC 5321 §3.1.
    EARLY_TALK: 554 "5.5.1" "takes no mail from who speaks before the greeting";
    DENIED: 554 "5.7.1" "no service for your address";

    // AUTH, RFC 4954 §4 and §6.
    AUTH_PROMPT: 334 "" "";
    AUTH_OK: 235 "2.7.0" "Authentication successful";
    AUTH_UNKNOWN: 454 "4.7.0" "Temporary authentication failure, try again";
    AUTH_LONG_LINE: 500 "5.5.6" "Authentication exchange line is too long";
    AUTH_MALFORMED: 501 "5.5.2" "Response is not valid base64, or not what the mechanism asks for";
    AUTH_CANCELLED: 501 "5.7.0" "Authentication cancelled";
    AUTH_AGAIN: 503 "5.5.1" "Already authenticated";
    AUTH_MECHANISM: 504 "5.5.4" "Authentication mechanism not offered";
    AUTH_REQUIRED: 530 "5.7.0" "Authentication required";
    AUTH_REFUSED: 535 "5.7.8" "Authentication credentials invalid";
    AUTH_NEEDS_TLS: 538 "5.7.11" "Encryption required, issue a STARTTLS command first";

    UNKNOWN_VERB: 500 "5.5.1" "Command not recognized";
    BAD_LINE: 500 "5.5.2" "Command line is not valid";
    LONG_LINE: 500 "5.5.2" "Command line too long";
    BARE_IN_LINE: 500 "5.5.2" "Command lines end in CRLF, nothing else, closing connection";
    BAD_ARGUMENT: 501 "5.5.4" "Syntax error in argument";
    BAD_HELO: 501 "5.5.4" "Host name or address literal expected";
    BAD_PARAMETER: 501 "5.5.4" "Syntax error in parameter";
    BAD_CHUNK: 501 "5.5.4" "Syntax: BDAT octets [LAST], closing connection";
    BAD_SENDER: 501 "5.1.7" "Bad sender address syntax";
    BAD_RECIPIENT: 501 "5.1.3" "Bad recipient address syntax";
    DISABLED: 502 "5.5.1" "Command not available";
    HELO_FIRST: 503 "5.5.1" "Send EHLO first";
    NESTED_MAIL: 503 "5.5.1" "Sender already given";
    MAIL_FIRST: 503 "5.5.1" "Send MAIL first";
    RCPT_FIRST: 503 "5.5.1" "Send RCPT first";
    CHUNKS_BEGUN: 503 "5.5.1" "Only BDAT or RSET may follow BDAT";
    NO_AUTH: 503 "5.5.1" "Authentication not available";
    TLS_ALREADY: 503 "5.5.1" "TLS is already active";
    TLS_IN_TRANSACTION: 503 "5.5.1" "Not within a transaction";
    TLS_TYPED_AHEAD: 501 "5.5.1" "Nothing may follow STARTTLS before TLS, closing connection";
    TLS_REQUIRED: 530 "5.7.0" "Must issue a STARTTLS command first";
    NO_RECIPIENTS: 554 "5.5.1" "No valid recipients";
    NOT_UTF8: 553 "5.6.7" "Address needs SMTPUTF8";
    UNKNOWN_PARAMETER: 555 "5.5.4" "Parameter not recognized or not offered";
    TOO_MANY_RECIPIENTS: 452 "4.5.3" "Too many recipients, send the rest separately";
    TOO_LARGE: 552 "5.3.4" "Message too large";

    BARE_LF: 550 "5.6.0" "Message has a bare LF, lines end in CRLF";
    BARE_CR: 550 "5.6.0" "Message has a bare CR, lines end in CRLF";
    NUL: 550 "5.6.0" "Message has a NUL octet";
    LONG_CONTENT_LINE: 550 "5.6.0" "Message has a line that is too long";
}

impl Reply {
    /// In place of the greeting: after our name, CRLF included.
    #[must_use]
    pub fn instead_of_greeting(&self, hostname: &str) -> String {
        let Self { code, enhanced, text } = self;
        format!("{code} {enhanced} {hostname} {text}\r\n")
    }

    /// 4yz or 5yz.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.code >= 400
    }

    /// Its enhanced code in numbers; zeros where it has none.
    #[must_use]
    pub fn enhanced_code(&self) -> (u8, u16, u16) {
        let mut numbers = self.enhanced.split('.').map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        (u8::try_from(next()).unwrap_or_default(), next(), next())
    }
}

impl Reason {
    /// The text for a client.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Reason::Ok => "Ok",
            Reason::RelayDenied => "Relay access denied",
            Reason::SenderRefused => "Sender address refused",
            Reason::RecipientRefused => "Recipient address refused",
            Reason::TooManyRecipients => TOO_MANY_RECIPIENTS.text,
            Reason::ContentRefused => "Message refused",
            Reason::TooLarge => TOO_LARGE.text,
            Reason::LoopDetected => "Too many hops",
            Reason::BadContent => "Message is malformed",
            Reason::BackendDown => "Temporarily unable to accept mail, try again",
            Reason::BackendTimeout => "No answer in time, try again",
            Reason::BackendLost => "Delivery not confirmed, try again",
            Reason::Mixed => "Not the same result for all recipients, send again",
            Reason::IdentityRefused => "Temporarily unable to accept mail from you, try again",
            Reason::ClientRefused => "Service refused to your address",
            Reason::NoSpace => "Insufficient storage, try again",
            Reason::Draining => DRAINING.text,
            Reason::Internal => "Local error, try again",
            // Never said: a session that refuses by itself has a reply of its own, and whoever is gone hears none.
            Reason::Session => "Refused",
            Reason::Abandoned => "Not finished",
            Reason::Reclaimed => RECLAIMED.text,
            Reason::OtherBackend => "Not together with the recipients before, send separately",
            Reason::HeloListed => "Your HELO name is on a list",
            Reason::HeloRefused => "Your HELO name is refused",
            Reason::MessageRate => "Too many messages from your network in a short time, try again later",
            Reason::RecipientRate => "Too many recipients from your network in a short time, try again later",
            Reason::RefusalRate => "Too many refused recipients from your network, try again later",
            Reason::LoginRate => "Too many recipients of your login in a short time, try again later",
            Reason::NotYourAddress => "Sender address is not one of yours",
            Reason::NotYourFrom => "From or Sender of the message is not one of your addresses",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_every_reply_is_sound_and_silent() {
        for (name, reply) in ALL {
            assert!((200..=555).contains(&reply.code), "{name}");
            let class = reply.enhanced.split('.').next().unwrap();
            let bare = reply.enhanced.is_empty() && matches!(reply.code, 220 | 250 | 334 | 353 | 354);
            assert!(bare || class == (reply.code / 100).to_string(), "{name}: {}", reply.enhanced);
            // With a host name and an id of their largest sizes it still fits the 512 octets of a reply line.
            assert!(reply.text.len() <= 100 && reply.text.is_ascii(), "{name}");
            assert!(!reply.text.to_lowercase().contains("gatepost"), "{name}");
        }
    }

    #[test]
    fn p10_reasons_have_words_of_their_own() {
        let texts: std::collections::HashSet<&str> = Reason::ALL.iter().map(|reason| reason.text()).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
        assert!(texts.iter().all(|text| text.len() <= 100 && text.is_ascii()));
    }
}
