//! `gatepost passwd LOGIN`: a line of the passwd file, on standard output.

use gatepost_auth::hash::Hash;
use gatepost_auth::passwd::Passwd;
use gatepost_auth::scram::Keys;
use gatepost_launcher::findings::Level;
use gatepost_smtp::mechanism::Mechanisms;
use gatepost_smtp::sasl::CREDENTIAL_MAX;
use gatepost_sys::as_owner;
use gatepost_sys::terminal::Hidden;
use gatepost_wire::auth::is_login;
use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::Path;
use zeroize::Zeroizing;

/// What is written of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Scheme {
    /// Hard to guess from; clients say their password.
    Argon2id,
    /// Clients prove that they know it; easier to guess from where the file is stolen.
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

/// Reads a password, twice where somebody types it, and writes the line.
///
/// # Errors
/// A sentence.
pub(crate) fn run(login: &str, scheme: Scheme) -> Result<(), String> {
    if !is_login(login) {
        return Err("a login has 1 to 128 octets, and no space, control or colon".to_owned());
    }
    let password = password().map_err(|e| format!("cannot read the password: {e}"))?;
    let mut salt = [0; 16];
    File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut salt)).map_err(|e| e.to_string())?;
    let hash = match scheme {
        Scheme::Argon2id => Hash::line_of(&password, &salt).map_err(|e| e.to_string())?,
        Scheme::ScramSha256 => Keys::of(&password, &salt).to_string(),
    };
    writeln!(io::stdout(), "{login}:{hash}").map_err(|e| format!("cannot write the line: {e}"))
}

/// What there is to say of a passwd file, and by which mechanisms its logins can log in. One that can't be read has been told of
/// already.
pub(crate) fn look(file: &Path) -> (Vec<(Level, String)>, Mechanisms) {
    let Ok(octets) = as_owner::read(file).map(Zeroizing::new) else { return (Vec::new(), Mechanisms::default()) };
    let (passwd, faults) = Passwd::parse(&octets);
    let mut rows: Vec<_> = faults.iter().map(|fault| (Level::Look, fault.to_string())).collect();
    match passwd.len() {
        0 => rows.push((Level::Look, "none: nobody can submit mail".to_owned())),
        n => rows.push((Level::Good, n.to_string())),
    }
    let offered = if passwd.is_empty() { Mechanisms::default() } else { passwd.offer() };
    (rows, offered)
}

fn password() -> io::Result<Zeroizing<Vec<u8>>> {
    let stdin = io::stdin();
    let hidden = Hidden::begin(&stdin)?;
    if hidden.is_none() {
        return line();
    }
    eprint!("Password: ");
    let first = line()?;
    eprint!("Once more: ");
    if *line()? == *first { Ok(first) } else { Err(io::Error::other("the two are not the same")) }
}

/// A line, without its end.
fn line() -> io::Result<Zeroizing<Vec<u8>>> {
    let most = CREDENTIAL_MAX.saturating_add(2);
    let mut line = Zeroizing::new(Vec::with_capacity(most));
    io::stdin().lock().take(u64::try_from(most).unwrap_or(u64::MAX)).read_until(b'\n', &mut line)?;
    while line.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
        line.pop();
    }
    match line.len() {
        0 => Err(io::Error::other("it is empty")),
        length if length > CREDENTIAL_MAX => Err(io::Error::other("it is longer than 1024 octets")),
        _ if line.contains(&0) => Err(io::Error::other("it holds a NUL")),
        _ => Ok(line),
    }
}
