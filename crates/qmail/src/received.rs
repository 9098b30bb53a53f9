//! The Received field as qmail-smtpd writes it, with LF line ends: log tools and filters match it.

use gatepost_smtp::received::Moment;

/// Octets of each name that are shown. qmail shows all of it; a HELO of megabytes helps nobody.
const NAME_MAX: usize = 1002;

/// The facts of one field. Whatever could end a word becomes `?`.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// TCPREMOTEHOST, or `unknown`.
    pub host: &'a [u8],
    /// The argument of the last HELO or EHLO, hostile; `None` when there was none. Shown if it isn't `host`.
    pub helo: Option<&'a [u8]>,
    /// TCPREMOTEINFO, shown also when empty; after AUTH the user.
    pub info: Option<&'a [u8]>,
    /// TCPREMOTEIP, or `unknown`.
    pub ip: &'a [u8],
    /// TCPLOCALHOST, else TCPLOCALIP, or `unknown`.
    pub local: &'a [u8],
    /// The cipher, under TLS: our own word, written as it is.
    pub cipher: Option<&'a [u8]>,
    /// Whether the client has authenticated.
    pub authenticated: bool,
    /// Seconds since 1970.
    pub date: u64,
}

impl Received<'_> {
    /// Appends the field's two lines to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Received: from ");
        word(out, self.host);
        if let Some(helo) = self.helo.filter(|helo| !helo.eq_ignore_ascii_case(self.host)) {
            out.extend_from_slice(b" (HELO ");
            word(out, helo);
            out.push(b')');
        }
        out.extend_from_slice(b" (");
        if let Some(info) = self.info {
            word(out, info);
            out.push(b'@');
        }
        word(out, self.ip);
        out.extend_from_slice(b")\n  by ");
        word(out, self.local);
        out.extend_from_slice(b" with ");
        match (self.cipher, self.authenticated) {
            (None, false) => out.extend_from_slice(b"SMTP"),
            (None, true) => out.extend_from_slice(b"ESMTPA"),
            (Some(cipher), authenticated) => {
                out.extend_from_slice(if authenticated { b"ESMTPSA (" } else { b"ESMTPS (" });
                out.extend_from_slice(cipher);
                out.extend_from_slice(if authenticated { b" encrypted, authenticated)" } else { b" encrypted)" });
            }
        }
        out.extend_from_slice(format!("; {}\n", date(self.date)).as_bytes());
    }
}

/// notqmail's filter: letters, digits and `.@%+/=:-[]`; `_` is not among them.
fn word(out: &mut Vec<u8>, text: &[u8]) {
    let safe = |octet: u8| octet.is_ascii_alphanumeric() || b".@%+/=:-[]".contains(&octet);
    out.extend(text.iter().take(NAME_MAX).map(|&octet| if safe(octet) { octet } else { b'?' }));
}

/// GMT with a literal `-0000`, the day without a nought in front. The year 9999 is the last.
fn date(seconds: u64) -> String {
    let Moment { year, month, day, hour, minute, second, .. } = Moment::of(seconds);
    format!("{day} {month} {year} {hour:02}:{minute:02}:{second:02} -0000")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FACTS: Received<'_> = Received {
        host: b"client.example.net",
        helo: None,
        info: None,
        ip: b"192.0.2.7",
        local: b"mx.example.org",
        cipher: None,
        authenticated: false,
        date: 1_795_312_727,
    };

    fn written(received: Received<'_>) -> String {
        let mut out = Vec::new();
        received.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a55_to_a59_and_a73e_the_from_part() {
        let unknown = Received { host: b"unknown", ..FACTS };
        for (received, from) in [
            (FACTS, "client.example.net (192.0.2.7)"),
            (Received { helo: Some(b"foo"), ..FACTS }, "client.example.net (HELO foo) (192.0.2.7)"),
            (Received { helo: Some(b"CLIENT.example.NET"), ..FACTS }, "client.example.net (192.0.2.7)"),
            (Received { helo: Some(b""), ..FACTS }, "client.example.net (HELO ) (192.0.2.7)"),
            (
                Received { helo: Some(b"a b(c)_<d>"), info: Some(b"bob smith"), ..unknown },
                "unknown (HELO a?b?c???d?) (bob?smith@192.0.2.7)",
            ),
            (Received { info: Some(b""), ..FACTS }, "client.example.net (@192.0.2.7)"),
            (Received { helo: Some(b"unknown"), ip: b"unknown", ..unknown }, "unknown (unknown)"),
            (Received { ip: b"[::1]", ..FACTS }, "client.example.net ([::1])"),
        ] {
            let expected =
                format!("Received: from {from}\n  by mx.example.org with SMTP; 22 Nov 2026 01:58:47 -0000\n");
            assert_eq!(written(received), expected);
        }
    }

    #[test]
    fn the_with_part_of_the_patched_builds() {
        let tls = Received { cipher: Some(b"TLS_AES_128_GCM_SHA256"), ..FACTS };
        for (received, with) in [
            (Received { authenticated: true, ..FACTS }, "with ESMTPA;"),
            (tls, "with ESMTPS (TLS_AES_128_GCM_SHA256 encrypted);"),
            (
                Received { authenticated: true, cipher: Some(b"ECDHE-RSA"), ..FACTS },
                "with ESMTPSA (ECDHE-RSA encrypted, authenticated);",
            ),
        ] {
            assert!(written(received).contains(with), "{}", written(received));
        }
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        for (seconds, shown) in [
            (0, "1 Jan 1970 00:00:00 -0000"),
            (951_782_400, "29 Feb 2000 00:00:00 -0000"),
            (951_868_800, "1 Mar 2000 00:00:00 -0000"),
            (1_704_067_199, "31 Dec 2023 23:59:59 -0000"),
            (4_107_542_400, "1 Mar 2100 00:00:00 -0000"),
            (u64::MAX, "31 Dec 9999 23:59:59 -0000"),
        ] {
            assert_eq!(date(seconds), shown);
        }
    }

    proptest! {
        #[test]
        fn p11_no_fact_makes_a_line(helo: Vec<u8>, info: Vec<u8>, date: u64) {
            let field = written(Received { helo: Some(&helo), info: Some(&info), date, ..FACTS });
            prop_assert_eq!(field.matches('\n').count(), 2);
            prop_assert!(field.chars().all(|c| c == '\n' || (' '..='~').contains(&c)));
        }
    }
}
