//! What `gatepost check` says of the source of logins, and of the listeners that use it.

use crate::passwd;
use gatepost_auth::dovecot::dialogue::{Dialogue, Said};
use gatepost_config::{AuthSource, Config, Connect};
use gatepost_launcher::findings::Level;
use gatepost_smtp::envelope::{Mechanism, Service};
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_wire::slice::TlsMode;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for what Dovecot says.
const WAIT: Duration = Duration::from_secs(3);

/// How good it is, what was looked at, what was found.
type Row = (Level, String, String);

/// What there is to say of the source of logins, and of each listener that uses it.
pub(crate) fn look(config: &Config) -> Vec<Row> {
    let Some(source) = config.logins() else { return Vec::new() };
    let (mut rows, offered) = look_at_source(source);
    let submits = config.listen.iter().filter(|listen| listen.service == Service::Submission);
    rows.extend(submits.map(|listen| {
        let (level, found) = offer(listen.tls, source, offered);
        (level, format!("submission {}", listen.address), found)
    }));
    rows
}

fn look_at_source(source: &AuthSource) -> (Vec<Row>, Mechanisms) {
    match source {
        AuthSource::Passwd(file) => {
            let (rows, offered) = passwd::look(file);
            let row = |(level, found)| (level, format!("logins {}", file.display()), found);
            (rows.into_iter().map(row).collect(), offered)
        }
        AuthSource::Dovecot(Connect::Unix(path)) => {
            let (level, found, offered) = match dovecot(path) {
                Ok(offered) => (Level::Good, "its auth socket answers".to_owned(), offered),
                Err(found) => {
                    let found = format!("Dovecot's auth socket {found}; until then clients hear 454");
                    (Level::Look, found, Mechanisms::default())
                }
            };
            (vec![(level, "logins by Dovecot".to_owned(), found)], offered)
        }
        AuthSource::Dovecot(Connect::Tcp(_)) => (Vec::new(), Mechanisms::default()),
        // What can be seen of it has a row with what a start is built on.
        AuthSource::Checkpassword(_) => (Vec::new(), Mechanisms::PASSWORD),
    }
}

/// What a listener offers.
fn offer(tls: TlsMode, source: &AuthSource, offered: Mechanisms) -> (Level, String) {
    let tls = match tls {
        TlsMode::Off => return (Level::Look, "no TLS, and no AUTH without it: nobody can log in".to_owned()),
        TlsMode::StartTls => "AUTH after STARTTLS only",
        TlsMode::Implicit => "TLS from the first octet",
    };
    let source = match source {
        AuthSource::Passwd(file) => format!("passwd:{}", file.display()),
        AuthSource::Dovecot(Connect::Unix(path)) => format!("dovecot:{}", path.display()),
        AuthSource::Dovecot(Connect::Tcp(address)) => format!("dovecot:{address}"),
        AuthSource::Checkpassword(program) => format!("checkpassword:{}", program.command.join(" ")),
    };
    let names: Vec<&str> = Mechanism::ALL.into_iter().filter(|one| offered.has(*one)).map(Mechanism::name).collect();
    match names.as_slice() {
        [] => (Level::Look, format!("{tls}; nobody can log in by {source} now, as a line above says")),
        names => (Level::Good, format!("{tls}; clients are offered {} by {source}", names.join(" "))),
    }
}

/// Which mechanisms Dovecot has for us.
fn dovecot(path: &Path) -> Result<Mechanisms, String> {
    let mut dialogue = Dialogue::new(std::process::id());
    let said = greeted(path, &mut dialogue).map_err(|e| format!("cannot be asked: {e}"))?;
    let Said::Greeting(offered) = said.map_err(|broken| broken.to_string())? else {
        return Err("says what was not asked".to_owned());
    };
    match offered == Mechanisms::default() {
        true => Err("has no mechanism that can be offered here: write PLAIN into its auth_mechanisms".to_owned()),
        false => Ok(offered),
    }
}

type Heard = Result<Said, gatepost_auth::dovecot::dialogue::Broken>;

fn greeted(path: &Path, dialogue: &mut Dialogue) -> io::Result<Heard> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    stream.write_all(dialogue.greeting().as_bytes())?;
    let mut piece = [0; 1024];
    loop {
        let length = match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => length,
        };
        match dialogue.hear(piece.get(..length).unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(said)) => return Ok(Ok(said)),
            Err(broken) => return Ok(Err(broken)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issue_15_a_listener_s_row_says_how_clients_log_in() {
        let source = AuthSource::Passwd("/p".into());
        let scram = Mechanisms::PASSWORD.with(Mechanism::ScramSha256);
        for (tls, offered, level, said) in [
            (TlsMode::StartTls, Mechanisms::PASSWORD, Level::Good, "after STARTTLS only; clients are offered"),
            (TlsMode::Implicit, scram, Level::Good, "SCRAM-SHA-256 by passwd:/p"),
            (TlsMode::Implicit, Mechanisms::default(), Level::Look, "nobody can log in by passwd:/p now"),
            (TlsMode::Off, scram, Level::Look, "no TLS"),
        ] {
            let found = offer(tls, &source, offered);
            assert!(found.0 == level && found.1.contains(said), "{tls:?}: {found:?}");
        }
    }
}
