//! What stands behind gatepost, as `gatepost init` finds it: where it is told by, and what has to be written on its side.

use gatepost_config::Profile;
use std::path::Path;
use std::process::Command;

/// A kind of backend.
pub(super) struct Mta {
    pub(super) profile: Profile,
    /// Where one of these is, it is installed.
    pub(super) signs: &'static [&'static str],
    /// `connect`, where its own lines put it; None: somebody has to say.
    pub(super) connect: Option<&'static str>,
    /// Programs of this machine may send anywhere: it learns by whom a message comes, and decides too.
    pub(super) local_clients: bool,
    /// More lines of `[backend]`.
    pub(super) more: &'static str,
    /// Its own side: a file's name and what it holds.
    pub(super) lines: Option<(&'static str, &'static str)>,
    /// What to do with that; FILE stands for its path.
    pub(super) steps: &'static [&'static str],
}

/// Every kind that `init` knows.
#[rustfmt::skip] // One field a line.
pub(super) const ALL: &[Mta] = &[
    Mta {
        profile: Profile::Postfix,
        signs: &["/etc/postfix/main.cf"],
        connect: Some("unix:/var/spool/postfix/public/gatepost"),
        local_clients: true,
        more: "",
        lines: Some(("postfix-master.cf", include_str!("../../../../examples/postfix-master.cf"))),
        steps: &["cat FILE >> /etc/postfix/master.cf", "postconf -M# smtp/inet", "postfix reload"],
    },
    Mta {
        profile: Profile::Exim,
        signs: &["/etc/exim4", "/etc/exim/exim.conf"],
        connect: Some("tcp:127.0.0.1:10025"),
        local_clients: true,
        more: "",
        lines: Some(("exim.conf", "\
# For the main section of Exim's configuration, in the place of what it says of these. Debian: /etc/exim4/exim4.conf.template, or a
# file in /etc/exim4/conf.d/main.
local_interfaces = 127.0.0.1
daemon_smtp_ports = 10025
# gatepost says by a PROXY header who the client is, and relay_from_hosts means that client. Exim has to be built with it (exim4 -bV lists PROXY):
# Debian's exim4-daemon-heavy is, exim4-daemon-light is not and knows no hosts_proxy.
hosts_proxy = 127.0.0.1
# TLS ends at gatepost.
tls_advertise_hosts =
")),
        steps: &["put FILE into the main section of Exim's configuration", "systemctl restart exim4"],
    },
    Mta {
        profile: Profile::OpenSmtpd,
        signs: &["/etc/smtpd.conf", "/etc/mail/smtpd.conf"],
        connect: Some("tcp:127.0.0.1:10025"),
        local_clients: true,
        more: "",
        lines: Some(("smtpd.conf", "\
# For smtpd.conf, in the place of what listens on port 25. gatepost says by a PROXY header who the client is.
listen on 127.0.0.1 port 10025 proxy-v2 tag GATEPOST
")),
        steps: &["put FILE into smtpd.conf", "systemctl restart opensmtpd"],
    },
    Mta {
        profile: Profile::Sendmail,
        signs: &["/etc/mail/sendmail.mc"],
        connect: Some("tcp:127.0.0.1:10025"),
        local_clients: false,
        more: "# Sendmail cannot be told who the client is, and relays for its own machine. What may pass is said by [relay] alone.\n\
               relay_proof = false\n",
        lines: Some(("sendmail.mc", "\
dnl For sendmail.mc, in the place of its own DAEMON_OPTIONS.
DAEMON_OPTIONS(`Name=gatepost, Addr=127.0.0.1, Port=10025')dnl
")),
        steps: &["put FILE into /etc/mail/sendmail.mc", "make -C /etc/mail && systemctl restart sendmail"],
    },
    Mta {
        profile: Profile::DovecotLmtp,
        signs: &["/etc/dovecot/dovecot.conf"],
        connect: Some("tcp:127.0.0.1:2424"),
        local_clients: false,
        more: "",
        lines: Some(("dovecot.conf", "\
# For dovecot.conf. Dovecot 2.4 writes `listen` in place of `address`.
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = 2424
  }
}
# Who may say by XCLIENT who the client is.
login_trusted_networks = 127.0.0.1
")),
        steps: &["cp FILE /etc/dovecot/conf.d/99-gatepost.conf", "doveadm reload"],
    },
    Mta {
        profile: Profile::QmailQueue,
        signs: &["/var/qmail/bin/qmail-queue"],
        connect: Some("/var/qmail/bin/qmail-queue"),
        local_clients: true,
        more: "",
        lines: None,
        steps: &[],
    },
    other(Profile::CyrusLmtp),
    other(Profile::Qmqp),
    other(Profile::Smtp),
    other(Profile::Lmtp),
];

/// A kind of which only its protocol is known.
const fn other(profile: Profile) -> Mta {
    Mta { profile, signs: &[], connect: None, local_clients: false, more: "", lines: None, steps: &[] }
}

impl Mta {
    /// The kind of this name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|mta| mta.profile.name() == name)
    }

    /// Those that are installed here. Beside an MTA Dovecot is where that delivers, and not who stands behind gatepost.
    pub(super) fn installed() -> Vec<&'static Self> {
        let mut all: Vec<&Self> =
            ALL.iter().filter(|mta| mta.signs.iter().any(|sign| Path::new(sign).exists())).collect();
        if all.len() > 1 {
            all.retain(|mta| mta.profile != Profile::DovecotLmtp);
        }
        all
    }

    /// What it is called.
    pub(super) fn hostname(&self) -> Option<String> {
        match self.profile {
            Profile::Postfix => postconf("myhostname"),
            _ => None,
        }
    }

    /// The domains that it delivers.
    pub(super) fn domains(&self) -> Vec<String> {
        let own = match self.profile {
            Profile::Postfix => ["mydestination", "relay_domains", "virtual_mailbox_domains", "virtual_alias_domains"]
                .into_iter()
                .filter_map(postconf)
                .collect::<Vec<_>>()
                .join(" "),
            _ => String::new(),
        };
        let mut domains: Vec<String> = Vec::new();
        for word in own.split([',', ' ', '\t', '\n']) {
            // The rest are tables, files, and this machine.
            let domain = word.contains('.') && !word.contains([':', '/', '$']) && !word.starts_with("localhost.");
            if domain && !domains.iter().any(|known| known == word) {
                domains.push(word.to_owned());
            }
        }
        domains
    }
}

/// The value of a parameter of Postfix's.
fn postconf(name: &str) -> Option<String> {
    let output = Command::new("postconf").args(["-h", "-x", name]).output().ok()?;
    let value = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !value.is_empty()).then_some(value)
}
