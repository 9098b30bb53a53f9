//! The settings of a session, its leniencies and its limits.

use crate::data::BareLf;

/// How one session serves. See [`Leniency`] and [`Limits`] for the two tables.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name in banner, EHLO, 221 and 421. Printable ASCII, 255 octets; the rest is cut off.
    pub hostname: String,
    /// Session id, appended to refusals as ` [id]`. Printable ASCII, 64 octets; the rest is cut off. May be empty.
    pub id: String,
    /// Largest message, octets; 0: as the offer says.
    pub message_size: u64,
    /// Recipients in one transaction.
    pub recipients: u16,
    /// Offer STARTTLS.
    pub starttls: bool,
    /// 530 to MAIL before TLS.
    pub tls_required: bool,
    /// The leniencies.
    pub leniency: Leniency,
    /// The limits.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname: String::new(),
            id: String::new(),
            message_size: 50 << 20,
            recipients: 1000,
            starttls: false,
            tls_required: false,
            leniency: Leniency::default(),
            limits: Limits::default(),
        }
    }
}

/// Deviations from the grammar that are accepted, each with its default. None of them changes where a command or content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leniency {
    /// Accept more than one space after the verb and any beside the colon (`MAIL FROM: <a@b>`). Default true: real senders do so.
    pub extra_spaces: bool,
    /// Accept a path without `<` and `>`. Default true: appliances do so, and nothing in it is ambiguous.
    pub no_brackets: bool,
    /// Accept any printable ASCII as argument of HELO and EHLO. Default true: many hosts give no valid name.
    pub odd_helo: bool,
    /// Accept MAIL before any HELO. Default false.
    pub no_helo: bool,
    /// Accept parameters of MAIL and RCPT after HELO. Default true.
    pub parameters_after_helo: bool,
    /// Accept `a..b@` and `a.@`. Default true: mobile carriers issued such addresses.
    pub odd_dots: bool,
    /// Accept `_` in domains. Default true.
    pub underscores: bool,
    /// Accept a tab where a space may stand. Default true: devices send `MAIL FROM:\t<a@b>`.
    pub tabs: bool,
    /// Accept spaces before the verb. Default true: hand-made clients send them.
    pub leading_spaces: bool,
    /// Accept spaces between the brackets and the path (`< a@b >`). Default true: they are not part of it, and are left out.
    pub spaces_in_brackets: bool,
    /// Accept one dot behind the domain (`<a@b.>`). Default true: it names the same domain, and is left out.
    pub final_dot: bool,
    /// Accept ENVID and ORCPT that are not quite xtext, RFC 3461 §4. Default true: they only matter to a report. Lower-case
    /// hex digits, `=` and a lone `+` are written anew as the RFC has them; what can't be read is left out.
    pub odd_xtext: bool,
    /// Accept a command line that ends in a bare LF. Default false: 500 and close.
    pub lf_in_commands: bool,
    /// A bare LF in DATA. Default [`BareLf::Refuse`].
    pub lf_in_data: BareLf,
    /// A bare LF in BDAT. Default [`BareLf::Normalize`]: a chunk is framed by its length, so no line end can end the message,
    /// and Microsoft 365 sends such content where CHUNKING is offered.
    pub lf_in_chunks: BareLf,
    /// Read to the end of impure content before refusing it. Default true; false: refuse at once and close.
    pub drain_impure: bool,
}

impl Default for Leniency {
    fn default() -> Self {
        Self {
            extra_spaces: true,
            no_brackets: true,
            odd_helo: true,
            no_helo: false,
            parameters_after_helo: true,
            odd_dots: true,
            underscores: true,
            tabs: true,
            leading_spaces: true,
            spaces_in_brackets: true,
            final_dot: true,
            odd_xtext: true,
            lf_in_commands: false,
            lf_in_data: BareLf::Refuse,
            lf_in_chunks: BareLf::Normalize,
            drain_impure: true,
        }
    }
}

/// The field of a leniency.
type Place = fn(&mut Leniency) -> &mut bool;

/// The leniencies that are on or off, under the names they have in a configuration.
const SWITCHES: [(&str, Place); 14] = [
    ("extra_spaces", |leniency| &mut leniency.extra_spaces),
    ("no_brackets", |leniency| &mut leniency.no_brackets),
    ("odd_helo", |leniency| &mut leniency.odd_helo),
    ("no_helo", |leniency| &mut leniency.no_helo),
    ("parameters_after_helo", |leniency| &mut leniency.parameters_after_helo),
    ("odd_dots", |leniency| &mut leniency.odd_dots),
    ("underscores", |leniency| &mut leniency.underscores),
    ("tabs", |leniency| &mut leniency.tabs),
    ("leading_spaces", |leniency| &mut leniency.leading_spaces),
    ("spaces_in_brackets", |leniency| &mut leniency.spaces_in_brackets),
    ("final_dot", |leniency| &mut leniency.final_dot),
    ("odd_xtext", |leniency| &mut leniency.odd_xtext),
    ("lf_in_commands", |leniency| &mut leniency.lf_in_commands),
    ("drain_impure", |leniency| &mut leniency.drain_impure),
];

impl Leniency {
    /// The names of the leniencies that are on or off.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SWITCHES.iter().map(|(name, _)| *name)
    }

    /// The leniency of this name, if there is one.
    pub fn switch(&mut self, name: &str) -> Option<&mut bool> {
        SWITCHES.iter().find(|(known, _)| *known == name).map(|(_, place)| place(self))
    }

    /// None: the grammar of the RFCs.
    #[must_use]
    pub fn strict() -> Self {
        Self {
            extra_spaces: false,
            no_brackets: false,
            odd_helo: false,
            no_helo: false,
            parameters_after_helo: false,
            odd_dots: false,
            underscores: false,
            tabs: false,
            leading_spaces: false,
            spaces_in_brackets: false,
            final_dot: false,
            odd_xtext: false,
            lf_in_commands: false,
            lf_in_data: BareLf::Refuse,
            lf_in_chunks: BareLf::Refuse,
            drain_impure: false,
        }
    }
}

/// How often a client may do what it can repeat, counted from one accepted message to the next. What exceeds a limit is answered
/// by 421, and the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Commands that are refused as unknown, malformed or out of sequence.
    pub errors: u32,
    /// NOOP, HELP and VRFY.
    pub noops: u32,
    /// RSET.
    pub resets: u32,
    /// HELO and EHLO.
    pub ehlos: u32,
    /// Recipients refused by 5yz.
    pub refused_recipients: u32,
    /// Recipients beyond [`Settings::recipients`], or refused by 4yz.
    pub surplus_recipients: u32,
    /// Chunks in one message, to which one is added for each 4096 octets so far.
    pub chunks: u32,
    /// Chunks below 512 octets, those with LAST not counted.
    pub tiny_chunks: u32,
    /// Octets of refused content that are read and discarded.
    pub discard: u64,
    /// Longest command line, octets with its CRLF (RFC 5321 §4.5.3.1.4 and the extensions that lengthen it).
    pub line: usize,
    /// Octets of a command line that is too long after which its end is not waited for: 421.
    pub long_line: usize,
    /// Longest line of content, octets; `None`: any, since no line is stored.
    pub content_line: Option<u64>,
    /// Longest local part, octets. RFC 5321 §4.5.3.1.1 has 64; return paths of lists and forwarders are longer.
    pub local_part: usize,
    /// Longest path without its brackets, octets, RFC 5321 §4.5.3.1.3.
    pub path: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            errors: 20,
            noops: 100,
            resets: 100,
            ehlos: 20,
            refused_recipients: 100,
            surplus_recipients: 2000,
            chunks: 1000,
            tiny_chunks: 100,
            discard: 64 << 20,
            line: 2048,
            long_line: 64 << 10,
            content_line: None,
            local_part: 254,
            path: 254,
        }
    }
}

impl Limits {
    /// For a server under stress: low limits.
    #[must_use]
    pub fn stress() -> Self {
        Self {
            errors: 1,
            noops: 1,
            resets: 10,
            ehlos: 4,
            refused_recipients: 10,
            tiny_chunks: 4,
            discard: 1 << 20,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_leniency_of_its_own() {
        let mut all = Leniency::strict();
        for name in Leniency::names() {
            let switch = all.switch(name).unwrap();
            assert!(!std::mem::replace(switch, true), "{name}");
        }
        let lenient = Leniency { no_helo: false, lf_in_commands: false, lf_in_chunks: BareLf::Normalize, ..all };
        assert_eq!(lenient, Leniency::default());
        assert_eq!(Leniency::strict().switch("lf_in_data"), None);
    }
}
