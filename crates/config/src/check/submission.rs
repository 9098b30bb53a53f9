//! `[submission]`: logins, and what they may send.

use super::listen::Listener;
use super::{backend, tables};
use crate::facts::{AuthSource, Checkpassword, ProgramUser, Submission};
use crate::fault::{Page, Wrong};
use crate::file::Read;
use crate::keys::Kind::{List, Other, Text, Truth};
use crate::keys::Unset::{Is, Said};
use crate::keys::{Table, keys};
use crate::section::{self, Section, plain};
use crate::tables::{Kind, TableEntries};
use crate::value;
use gatepost_smtp::envelope::Service;
use std::path::PathBuf;
use toml::Spanned;

/// The section.
pub(super) const TABLE: Table = Table {
    name: "submission",
    repeated: false,
    text: "Mail from whoever logs in, where a `[[listen]]` has `service = \"submission\"`.",
    keys: keys! {
        /// Where logins come from: `passwd:` and a file of lines `LOGIN:HASH`, which `gatepost passwd LOGIN` writes. Hashes are
        /// argon2id, bcrypt, sha512-crypt, yescrypt or `{SCRAM-SHA-256}` as Dovecot writes it. Clients are offered PLAIN and LOGIN,
        /// and SCRAM-SHA-256 and SCRAM-SHA-256-PLUS once each line is of that kind. Only root may read the file; it is read at a
        /// start and at each reload. Or `dovecot:` and Dovecot's auth socket for clients, a `unix_listener` of its `service auth`,
        /// which the account `gatepost-dial` must be able to open. Clients are offered PLAIN, LOGIN, SCRAM-SHA-256, OAUTHBEARER and
        /// XOAUTH2 as far as its `auth_mechanisms` have them, and a login is whom Dovecot takes the client for. SCRAM-SHA-256-PLUS
        /// is not offered then: Dovecot 2.3 has no channel binding. Or `checkpassword:`
        /// and a program with checkpassword's interface, with its arguments behind it: it reads the name, the password and an empty
        /// timestamp on its descriptor 3. Its exit status is 0 for yes, 1 for no; else, or after 12 seconds, clients hear 454. Clients
        /// are offered PLAIN and LOGIN. 16 run at once. It is run outside any jail, never as root, and set-id bits have no effect.
        "auth" = Text("a kind of source and its place"), Said("needed with a listener for submission"), since "0.1", as "\"passwd:/etc/gatepost/passwd\"";
        /// Only for `checkpassword:`: by whom the program is run; what it looks passwords up in must be readable for that user.
        "auth_user" = Other("the name of an account, or a user id"), Said("an account of its own, `gatepost-check`"), since "0.1", as "\"vpopmail\"";
        /// Who may send as whom: a login, and the addresses that it may have as its reverse-path. `@example.org` stands for all of a
        /// domain, `@.example.org` for all domains below it, `%@example.org` for the login itself at that domain, `/PATTERN/` for
        /// what matches as a whole, without regard to case. `/PATTERN/` in the place of the login stands for all logins that match
        /// as a whole, also without regard to case; a login that is written out counts as it is written. A login of which nothing is said may use the address that it is itself. 100 patterns at most.
        "senders" = List("a login and its addresses"), Is("[]"), since "0.1", as "[\"joe joe@example.org @joe.example.org\", \"/[a-z]+/ %@example.org\"]";
        /// A file with more of them, one a line; `#` begins a comment. In force within two seconds of being replaced; while there
        /// is a mistake in it, what it had before is. 4 MiB at most.
        "senders_file" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/login-senders\"";
        /// A constant database with more of them: a login is a key, its data are addresses with blanks or commas between. Replaced
        /// like the file.
        "senders_cdb" = Text("an absolute path"), Said("none"), since "0.1", as "\"/etc/gatepost/login-senders.cdb\"";
        /// The addresses in the header must be such as the login may send from, too: all of From, of which there must be one field, and
        /// that of Sender. Else, or where they can't be read without a guess, 553 5.7.1 after the content. Not for programs of this
        /// machine: cron's messages are from root.
        "check_from" = Truth, Is("false"), since "0.1", as "true";
        /// `Received` says nothing of the client: neither its address, nor its name, nor its HELO. The log does, unless
        /// `privacy` in `[log]` cuts it; and the backend is told the address, and writes it into a `Received` of its own
        /// unless it is told not to.
        "hide_client" = Truth, Is("false"), since "0.1", as "true";
        /// Accounts of this machine whose programs may send from any address by a socket. Others may use their own name at `hostname`
        /// or at a domain of `[relay]`.
        "trusted_users" = List("a name of an account"), Is("[\"root\"]"), since "0.1", as "[\"root\", \"www-data\"]";
    },
};

const SENDERS: tables::Keys = ["senders", "senders_file", "senders_cdb"];

const AUTH_ADVICE: &str = "write in [submission] where logins come from: auth = \"passwd:/etc/gatepost/passwd\"";

/// What is submitted, and who may send as whom.
pub(super) fn facts(
    page: &mut Page<'_>,
    root: &Section<'_>,
    listeners: &[Listener],
    socket: Option<PathBuf>,
    read: Read,
) -> (Option<Submission>, TableEntries) {
    let section = root.one(page, "submission");
    let auth = section.text(page, "auth", source);
    let permitted = tables::listed(page, &section, SENDERS, Kind::Logins, read);
    let submits = listeners.iter().find(|listener| listener.listen.service == Service::Submission);
    if submits.is_some() && !section.has("auth") {
        section.lack(page, "auth", AUTH_ADVICE);
    }
    if let (None, Some(auth)) = (submits, &auth) {
        let wrong = Wrong::new("no listener is for submission", "write service = \"submission\" in a [[listen]]");
        section.fault(page, "auth", auth, wrong);
    }
    let trusted_users = match section.has("trusted_users") {
        true => plain(section.list(page, "trusted_users", account)),
        false => vec!["root".to_owned()],
    };
    let mut auth = auth.map(Spanned::into_inner).filter(|_| submits.is_some());
    if let Some(user) = section.get(page, "auth_user", backend::program_user) {
        match &mut auth {
            Some(AuthSource::Checkpassword(program)) => program.user = user.into_inner(),
            _ => {
                let wrong = Wrong::new("only a checkpassword program has that", "take it out");
                section.fault(page, "auth_user", &user, wrong);
            }
        }
    }
    let mut truth = |key| section.get(page, key, section::truth).is_some_and(|truth| *truth.get_ref());
    let (check_from, hide_client) = (truth("check_from"), truth("hide_client"));
    let any = auth.is_some() || socket.is_some();
    (any.then_some(Submission { auth, socket, trusted_users, check_from, hide_client }), permitted)
}

fn account(text: &str) -> Result<String, Wrong> {
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':') {
        return Ok(text.to_owned());
    }
    Err(Wrong::new(format!("\"{text}\" is no name of an account"), "write a name of /etc/passwd, such as \"www-data\""))
}

/// `passwd:/path`.
fn source(text: &str) -> Result<AuthSource, Wrong> {
    match text.split_once(':') {
        Some(("passwd", path)) => value::path(path).map(AuthSource::Passwd),
        Some(("dovecot", path)) => value::connect(&format!("unix:{path}")).map(AuthSource::Dovecot),
        Some(("checkpassword", command)) => {
            let command: Vec<String> = command.split_ascii_whitespace().map(str::to_owned).collect();
            value::path(command.first().map(String::as_str).unwrap_or_default())?;
            Ok(AuthSource::Checkpassword(Checkpassword { command, user: ProgramUser::Own }))
        }
        _ if text.starts_with('/') => {
            Err(Wrong::new("the kind of source is missing", format!("write \"passwd:{text}\"")))
        }
        _ => Err(Wrong::new(format!("\"{text}\" names no source of logins"), AUTH_ADVICE)),
    }
}
