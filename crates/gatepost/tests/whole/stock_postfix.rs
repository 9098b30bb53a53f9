//! Postfix as Debian installs it: the package's own files, and what its installer asks set for a machine that takes mail
//! for one domain.

use gatepost_testkit::host::Host;
use gatepost_testkit::run::Ended;

/// The domain that it takes mail for. Its one mailbox is root's; all else is an unknown user.
pub(crate) const DOMAIN: &str = "example.org";
/// The mailbox.
const MAILBOX: &str = "/var/mail/root";

/// Writes its configuration, as the package's postinst does.
pub(crate) fn configure(host: &Host) {
    host.shell(&format!(
        "set -e; cd /etc/postfix; cp /usr/share/postfix/main.cf.debian main.cf; cp /usr/share/postfix/master.cf.dist master.cf
         postconf -e 'smtpd_relay_restrictions=permit_mynetworks permit_sasl_authenticated defer_unauth_destination' \
           myhostname=mx.{DOMAIN} mydestination=mx.{DOMAIN},{DOMAIN},localhost alias_maps=hash:/etc/aliases relayhost= \
           'mynetworks=127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128' inet_interfaces=all inet_protocols=all \
           maillog_file=/var/log/mail.log
         printf 'postmaster: root\\n' > /etc/aliases; newaliases; rm -f {MAILBOX}"
    ))
    .expect_ok("Postfix as Debian has it");
}

/// Starts it without systemd.
pub(crate) fn start(host: &Host) -> Ended {
    configure(host);
    host.shell("/usr/lib/postfix/configure-instance.sh - >/dev/null; postfix start >/run/said/postfix-start 2>&1")
}

/// What has been delivered.
pub(crate) fn mailbox(host: &Host) -> String {
    host.read(MAILBOX)
}
