//! What `gatepost check` says of the source of logins.

use crate::passwd;
use gatepost_auth::dovecot::dialogue::{Dialogue, Said};
use gatepost_config::{AuthSource, Connect};
use gatepost_launcher::fitness::Level;
use gatepost_smtp::envelope::Mechanism;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for what Dovecot says.
const WAIT: Duration = Duration::from_secs(3);

/// What there is to say: how good it is, what was looked at, what was found.
pub(crate) fn look(source: &AuthSource) -> Vec<(Level, String, String)> {
    match source {
        AuthSource::Passwd(file) => {
            let rows = passwd::look(file).into_iter();
            rows.map(|(level, found)| (level, format!("logins {}", file.display()), found)).collect()
        }
        AuthSource::Dovecot(Connect::Unix(path)) => {
            let (level, found) = match dovecot(path) {
                Ok(found) => (Level::Good, found),
                Err(found) => (Level::Look, format!("Dovecot's auth socket {found}; until then clients hear 454")),
            };
            vec![(level, "logins by Dovecot".to_owned(), found)]
        }
        AuthSource::Dovecot(Connect::Tcp(_)) => Vec::new(),
    }
}

/// Which mechanisms Dovecot has for us.
fn dovecot(path: &Path) -> Result<String, String> {
    let mut dialogue = Dialogue::new(std::process::id());
    let said = greeted(path, &mut dialogue).map_err(|e| format!("cannot be asked: {e}"))?;
    let Said::Greeting(mechanisms) = said.map_err(|broken| broken.to_string())? else {
        return Err("says what was not asked".to_owned());
    };
    let names: Vec<&str> = Mechanism::ALL.into_iter().filter(|one| mechanisms.has(*one)).map(Mechanism::name).collect();
    match names.as_slice() {
        [] => Err("has no mechanism that can be offered here: write PLAIN into its auth_mechanisms".to_owned()),
        names => Ok(format!("clients are offered {}", names.join(" "))),
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
