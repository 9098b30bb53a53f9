//! The settings of a session, its leniencies and its limits.

use crate::data::BareLf;
use crate::envelope::Service;
use crate::keyword::Keywords;

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
    /// Keywords that EHLO does not show, whatever is there.
    pub hidden: Keywords,
    /// What is served. For submission no MAIL before AUTH, and no AUTH before TLS, whatever else is set.
    pub service: Service,
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
            hidden: Keywords::default(),
            service: Service::Relay,
            leniency: Leniency::default(),
            limits: Limits::default(),
        }
    }
}

/// Hands the table of leniencies to the macro `$made`: the doc lines of each, its name, which is also that in a configuration,
/// and its default. The settings and the manual page of the configuration are made from it.
#[macro_export]
macro_rules! leniencies {
    ($made:ident) => {
        $made! {
            /// Accept more than one space after the verb and any beside the colon (`MAIL FROM: <a@b>`): many senders do so.
            extra_spaces: true,
            /// Accept a path without `<` and `>`: appliances do so, and nothing in it is ambiguous.
            no_brackets: true,
            /// Accept any printable ASCII as argument of HELO and EHLO: many hosts give no valid name.
            odd_helo: true,
            /// Accept MAIL before any HELO.
            no_helo: false,
            /// Accept parameters of MAIL and RCPT after HELO.
            parameters_after_helo: true,
            /// Accept `a..b@` and `a.@`: mobile carriers issued such addresses.
            odd_dots: true,
            /// Accept `_` in domains.
            underscores: true,
            /// Accept a tab where a space may stand: devices send `MAIL FROM:\t<a@b>`.
            tabs: true,
            /// Accept spaces before the verb: hand-made clients send them.
            leading_spaces: true,
            /// Accept spaces between the brackets and the path (`< a@b >`): they are not part of it, and are left out.
            spaces_in_brackets: true,
            /// Accept one dot after the domain (`<a@b.>`): it names the same domain, and is left out.
            final_dot: true,
            /// Accept ENVID and ORCPT that are not quite xtext, RFC 3461 §4: they only matter to a report. Lower-case hex digits, `=` and
            /// a lone `+` are written anew as the RFC has them; what cannot be read is left out.
            odd_xtext: true,
            /// Accept a command line that ends in a bare LF. If not: 500 and close.
            lf_in_commands: false,
            /// Read to the end of impure content before refusing it. If not: refuse at once and close.
            drain_impure: true,
        }
    };
}

/// Declares [`Leniency`].
macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident: $default:literal,)*) => {
        /// Deviations from the grammar that are accepted. None of them changes where a command or content ends.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Leniency {
            $(
                $(#[$doc])*
                #[doc = concat!("Default: ", stringify!($default), ".")]
                pub $name: bool,
            )*
            /// A bare LF in DATA. Default: [`BareLf::Refuse`].
            pub lf_in_data: BareLf,
            /// A bare LF in BDAT. Default: [`BareLf::Normalize`]. A chunk is framed by its length, so no line end can end the
            /// message, and Microsoft 365 sends such content where CHUNKING is offered.
            pub lf_in_chunks: BareLf,
        }

        impl Default for Leniency {
            fn default() -> Self {
                Self { $($name: $default,)* lf_in_data: BareLf::Refuse, lf_in_chunks: BareLf::Normalize }
            }
        }

        impl Leniency {
            /// None: the grammar of the RFCs.
            #[must_use]
            pub fn strict() -> Self {
                Self { $($name: false,)* lf_in_data: BareLf::Refuse, lf_in_chunks: BareLf::Refuse }
            }

            /// The names of the leniencies that are on or off.
            pub fn names() -> impl Iterator<Item = &'static str> {
                [$(stringify!($name)),*].into_iter()
            }

            /// The leniency of this name, if there is one.
            pub fn switch(&mut self, name: &str) -> Option<&mut bool> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

leniencies!(declare);

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
    /// AUTH that did not come to an end, or to a bad one. Never forgotten: whoever has another name ready comes again.
    pub auths: u32,
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
            auths: 3,
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
    fn every_leniency_is_found_by_its_name() {
        let mut all = Leniency::strict();
        for name in Leniency::names() {
            assert!(!std::mem::replace(all.switch(name).unwrap(), true), "{name}");
        }
        let lenient = Leniency { no_helo: false, lf_in_commands: false, lf_in_chunks: BareLf::Normalize, ..all };
        assert_eq!(lenient, Leniency::default());
        assert_eq!(all.switch("lf_in_data"), None);
    }
}
