//! services(5): port numbers by their names.

/// The port that `text`, the content of `/etc/services`, gives the service for TCP: by its name, or by an alias.
#[must_use]
pub fn port(text: &[u8], service: &[u8]) -> Option<u16> {
    text.split(|octet| *octet == b'\n').find_map(|line| {
        let line = line.split(|octet| *octet == b'#').next()?;
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let name = words.next()?;
        let number = std::str::from_utf8(words.next()?.strip_suffix(b"/tcp")?).ok()?.parse().ok()?;
        (name == service || words.any(|alias| alias == service)).then_some(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_11_services_are_found_by_name_and_alias() {
        let text =
            b"# x\nsmtp\t25/tcp\t\tmail # smtp2\ndomain 53/udp\ndomain 53/tcp\nbad\nworse x/tcp\nsmtps 465/tcp\n";
        for (service, port_is) in [
            ("smtp", Some(25)),
            ("mail", Some(25)),
            ("domain", Some(53)),
            ("smtps", Some(465)),
            ("smtp2", None),
            ("25/tcp", None),
            ("bad", None),
            ("worse", None),
            ("", None),
        ] {
            assert_eq!(port(text, service.as_bytes()), port_is, "{service}");
        }
    }
}
