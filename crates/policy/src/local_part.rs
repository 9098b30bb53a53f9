//! Local parts that the MTA behind us could read as something other than a mailbox of the domain they come with.
//!
//! Every backend sees us as a neighbour it trusts. A relay domain therefore proves nothing about
//! `user%foreign.test@ok.test`: an MTA with source routing on would send it to `foreign.test` in our name. Quoting
//! changes nothing, since most MTAs take the quotes off before they resolve an address.

/// What a refused local part could become behind us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Danger {
    /// Not a dot-string or quoted string (RFC 5321 §4.1.2), or empty, or with a control octet in it.
    Malformed,
    /// Mail for another host.
    Route,
    /// A program, a file or an option of a delivery agent.
    Delivery,
}

/// Octets refused anywhere, quoted or not.
const ANYWHERE: [(u8, Danger); 4] = [
    (b'%', Danger::Route),    // user%host, the percent hack
    (b'!', Danger::Route),    // host!user, UUCP
    (b'@', Danger::Route),    // "user@host"@domain, read again without its quotes
    (b':', Danger::Delivery), // :include:/file; also @a:b, a source route
];

/// Refused anywhere, quoted or not: what a shell or an MTA's own language takes for more than text, and what could be
/// read as another address. A lone `$`, `&`, `'` or `=` stays: there are people called so.
const SEQUENCES: [(&[u8], Danger); 9] = [
    (b"${", Danger::Delivery), // Exim's expansion, a shell's variable
    (b"$(", Danger::Delivery), // a shell's command
    (b"`", Danger::Delivery),  // the same
    (b";", Danger::Delivery),  // the end of a command
    (b"()", Danger::Delivery), // a function, for bash before 2014
    (b"/../", Danger::Delivery),
    (b"=?", Danger::Route), // an encoded word (RFC 2047), which decodes to any octet
    (b"<", Danger::Route),  // a path within the path, read again without the quotes
    (b">", Danger::Route),
];

/// Octets refused at the beginning.
const LEADING: [(u8, Danger); 5] = [
    (b'|', Danger::Delivery),  // |program
    (b'/', Danger::Delivery),  // /file
    (b'.', Danger::Delivery),  // ./file, ../file
    (b'-', Danger::Delivery),  // -option of a local delivery agent
    (b'\\', Danger::Delivery), // \user: past the aliases in sendmail
];

/// What is dangerous in `local_part`, given as it stands in the path, quotes included; `None` for a plain mailbox name.
/// Octets from 0x80 on are taken as they are (RFC 6531).
#[must_use]
pub fn danger(local_part: &[u8]) -> Option<Danger> {
    let Some(name) = mailbox_name(local_part) else { return Some(Danger::Malformed) };
    // sendmail and others skip blanks before they look at the first octet.
    let first = name.iter().find(|b| **b != b' ');
    let leading = LEADING.iter().find(|(octet, _)| first == Some(octet));
    let anywhere = || ANYWHERE.iter().find(|(octet, _)| name.contains(octet));
    let sequence = || SEQUENCES.iter().find(|(sequence, _)| holds(&name, sequence)).map(|(_, danger)| *danger);
    leading.or_else(anywhere).map(|(_, danger)| *danger).or_else(sequence)
}

/// True for a local part that a shell or an expansion could run, wherever it stands: also in a reverse-path, which goes
/// into environments and command lines of delivery agents. Route characters are no matter there.
#[must_use]
pub fn can_run(local_part: &[u8]) -> bool {
    // Both readings of a backslash: `$\(` is `$(` once the quotes are off.
    let unquoted: Vec<u8> = local_part.iter().copied().filter(|b| *b != b'\\').collect();
    let runs = |(sequence, danger): &(&[u8], Danger)| *danger == Danger::Delivery && holds(&unquoted, sequence);
    SEQUENCES.iter().any(runs)
}

fn holds(name: &[u8], sequence: &[u8]) -> bool {
    name.windows(sequence.len()).any(|window| window == sequence)
}

/// True for `postmaster` in any case, quoted or not: the one name that is valid without a domain (RFC 5321 §4.5.1).
#[must_use]
pub(crate) fn is_postmaster(local_part: &[u8]) -> bool {
    mailbox_name(local_part).is_some_and(|name| name.eq_ignore_ascii_case(b"postmaster"))
}

/// True for `abuse` in any case, quoted or not (RFC 2142 §4).
#[must_use]
pub(crate) fn is_abuse(local_part: &[u8]) -> bool {
    mailbox_name(local_part).is_some_and(|name| name.eq_ignore_ascii_case(b"abuse"))
}

/// The local part without its quotes. `None` when it is empty or breaks the grammar; dots may stand anywhere, because
/// mailboxes with two in a row or one at the end exist.
#[must_use]
pub fn mailbox_name(local_part: &[u8]) -> Option<Vec<u8>> {
    let name = match local_part.strip_prefix(b"\"") {
        Some(rest) => unquoted(rest.strip_suffix(b"\"")?)?,
        None if local_part.iter().all(|b| is_plain(*b)) => local_part.to_vec(),
        None => return None,
    };
    (!name.is_empty()).then_some(name)
}

fn unquoted(content: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(content.len());
    let mut octets = content.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'"' => return None,
            b'\\' => name.push(*octets.next().filter(|b| is_text(**b))?),
            octet if is_text(*octet) => name.push(*octet),
            _ => return None,
        }
    }
    Some(name)
}

fn is_text(octet: u8) -> bool {
    octet >= 0x80 || (0x20..0x7f).contains(&octet)
}

/// RFC 5322 §3.2.3 atext, the dot, and what [`ANYWHERE`] gives a better reason to refuse.
fn is_plain(octet: u8) -> bool {
    octet >= 0x80 || octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.@:".contains(&octet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_local_parts_that_could_be_routed_or_run_are_told_apart() {
        use Danger::{Delivery, Malformed, Route};
        let table: &[(&[u8], Option<Danger>)] = &[
            (b"user", None),
            (b"USER+tag", None),
            (b"a.b", None),
            (b"a..b", None),
            (b"docomo.", None),
            (b"o'neil", None),
            (b"a/b", None),
            (b"a|b", None),
            (b"a-b", None),
            (b"!", Some(Route)),
            (b"#$&'*+?=^_{}~x", None),
            ("jürgen".as_bytes(), None),
            (b"\"a b\"", None),
            (b"\"a\\\"b\"", None),
            (b"\"a\\\\b\"", None),
            (b"user%foreign.test", Some(Route)),
            (b"\"user%foreign.test\"", Some(Route)),
            (b"\"user\\%foreign.test\"", Some(Route)),
            (b"foreign.test!user", Some(Route)),
            (b"user@foreign.test", Some(Route)),
            (b"\"user@foreign.test\"", Some(Route)),
            (b"user:foreign.test", Some(Delivery)),
            (b"@a", Some(Route)),
            (b":include:/etc/passwd", Some(Delivery)),
            (b"|/bin/sh", Some(Delivery)),
            (b"\"|/bin/sh -c x\"", Some(Delivery)),
            (b"\"  |/bin/sh\"", Some(Delivery)),
            (b"\"\\|/bin/sh\"", Some(Delivery)),
            (b"/etc/passwd", Some(Delivery)),
            (b".", Some(Delivery)),
            (b"..", Some(Delivery)),
            (b".user", Some(Delivery)),
            (b"-oQ/tmp", Some(Delivery)),
            (b"\"\\\\user\"", Some(Delivery)),
            (b"a${run{x}}", Some(Delivery)),
            (b"${run{\\x2fbin\\x2fsh}}", Some(Malformed)),
            (b"\"${run{\\x2fbin}}\"", Some(Delivery)),
            (b"a$HOME", None),
            (b"\"$(id)\"", Some(Delivery)),
            (b"\"\\$\\(id)\"", Some(Delivery)),
            (b"a`id`", Some(Delivery)),
            (b"\"a; sh\"", Some(Delivery)),
            (b"\"() { :\"", Some(Delivery)),
            (b"a/../b", Some(Delivery)),
            (b"=?utf-8?q?a?=", Some(Route)),
            (b"a=b?c", None),
            (b"\"a> <b\"", Some(Route)),
            (b"", Some(Malformed)),
            (b"\"\"", Some(Malformed)),
            (b"\"", Some(Malformed)),
            (b"\"a", Some(Malformed)),
            (b"a\"", Some(Malformed)),
            (b"\"a\"b\"", Some(Malformed)),
            (b"\"a\\\"", Some(Malformed)),
            (b"a b", Some(Malformed)),
            (b"<user", Some(Malformed)),
            (b"a(b)", Some(Malformed)),
            (b"a;b", Some(Malformed)),
            (b"a,b", Some(Malformed)),
            (b"a\\b", Some(Malformed)),
            (b"a\0", Some(Malformed)),
            (b"a\nb", Some(Malformed)),
            (b"\"a\r\nDATA\"", Some(Malformed)),
            (b"\"a\\\nb\"", Some(Malformed)),
            (b"a\x7f", Some(Malformed)),
        ];
        for (local_part, expected) in table {
            assert_eq!(danger(local_part), *expected, "{}", local_part.escape_ascii());
        }
    }

    #[test]
    fn p4_a_reverse_path_may_route_but_not_run() {
        for (local_part, expected) in [
            ("bounce+u=ok.test%a!b", false),
            ("SRS0=x=y=client.test=s", false),
            ("prvs=12$a&b'c", false),
            ("=?utf-8?q?a?=", false),
            ("\"a b\"", false),
            ("\"() { :;}; sh\"", true),
            ("\"; sh\"", true),
            ("`id`", true),
            ("${run{id}}", true),
            ("\"$\\(id)\"", true),
            ("\"\"", false),
            ("", false),
        ] {
            assert_eq!(can_run(local_part.as_bytes()), expected, "{local_part}");
        }
    }

    #[test]
    fn postmaster_is_known_in_any_case() {
        for (local_part, expected) in [
            ("postmaster", true),
            ("PostMaster", true),
            ("\"postmaster\"", true),
            ("\"post\\master\"", true),
            ("postmaster ", false),
            ("postmasters", false),
            ("", false),
        ] {
            assert_eq!(is_postmaster(local_part.as_bytes()), expected, "{local_part}");
        }
    }
}
