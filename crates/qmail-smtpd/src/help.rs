//! What `--help` says. Every other argument is a password checker's, or is passed over, as qmail-smtpd does.

use gatepost_qmail::switches::TABLE;

const USAGE: &str = "\
gatepost qmail-smtpd [[HOST] CHECKER SUBPROGRAM]

Serves one SMTP connection on descriptors 0 and 1 in qmail-smtpd's place: under tcpserver, sslserver, s6, inetd, xinetd or
systemd's Accept=yes. To be run by hand, pipe a dialogue into it. Exit status 0 after QUIT, else 1.

It reads control files in /var/qmail/control, or $QMAILHOME/control, and the environment that tcpserver sets. CHECKER is a
password checker for AUTH, by checkpassword's interface.

Variables that decide otherwise than by default:
";

/// The answer to an argument that asks what this is; None for all others.
pub(crate) fn asked(argument: &[u8]) -> Option<String> {
    match argument {
        b"--help" | b"-h" => {
            let mut text = USAGE.to_owned();
            for switch in TABLE {
                text.push_str(&format!(
                    "  {}\n      without it: {}\n      {}\n",
                    switch.name, switch.default, switch.does
                ));
            }
            Some(text)
        }
        b"--version" | b"-V" => Some(concat!("gatepost qmail-smtpd ", env!("CARGO_PKG_VERSION"), "\n").to_owned()),
        _ => None,
    }
}
