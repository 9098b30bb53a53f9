//! `[rates]`.

use crate::facts::Rates;
use crate::fault::Page;
use crate::keys::Kind::Text;
use crate::keys::Unset::Is;
use crate::keys::{Table, keys};
use crate::section::Section;
use crate::value;
use gatepost_wire::rate::{MailRates, Rate};
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "rates",
    repeated: false,
    text: "How much the clients of one IPv4 address or IPv6 /64 may do in a time, as a number with `/s`, `/m` or `/h`: `\"120/m\"` can be \
           used at once, and comes back at one in half a second. The /24 or /48 around it may do four times as much; when that is \
           used up, whoever has waited longest is served first. What is refused is not counted, and every refusal is temporary. \
           What has been used is forgotten at a reload. Not for networks that are `exempt`, and not with gatepost inetd, which \
           knows of one connection.",
    keys: keys! {
        /// New connections. Beyond, they hear `421 4.7.0`. A connection has one TLS handshake at most, so these are bounded too.
        "connections" = Text("`\"none\"` or a rate"), Is("\"none\""), since "0.1", as "\"120/m\"";
        /// Messages, counted when the backend is asked about their first recipient. Beyond, recipients hear `450 4.7.1`.
        "messages" = Text("`\"none\"` or a rate"), Is("\"none\""), since "0.1", as "\"600/h\"";
        /// Recipients that the backend is asked about. Beyond, they hear `450 4.7.1`.
        "recipients" = Text("`\"none\"` or a rate"), Is("\"none\""), since "0.1", as "\"1200/h\"";
        /// Recipients that are refused for good. Beyond, all recipients hear `450 4.7.1`. Forgiven with each message that is taken
        /// from the address, so that a list with some dead subscribers is not held up.
        "refused_recipients" = Text("`\"none\"` or a rate"), Is("\"none\""), since "0.1", as "\"100/h\"";
        /// Recipients of one login of a submission listener, or of one user of this machine, from whatever addresses, `exempt` ones
        /// too: bounds what a stolen account or a broken script sends. Beyond, they hear `450 4.7.1`.
        "login_recipients" = Text("`\"none\"` or a rate"), Is("\"none\""), since "0.1", as "\"500/h\"";
    },
};

pub(super) fn facts(page: &mut Page<'_>, root: &Section<'_>) -> Rates {
    let section = root.one(page, "rates");
    let mut rate = |key| -> Option<Rate> { section.text(page, key, value::rate).and_then(Spanned::into_inner) };
    Rates {
        connections: rate("connections"),
        mail: MailRates {
            messages: rate("messages"),
            recipients: rate("recipients"),
            refused_recipients: rate("refused_recipients"),
            login_recipients: rate("login_recipients"),
        },
    }
}
