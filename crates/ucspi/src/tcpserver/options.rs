//! The command line. Pure: names of users, services and hosts are looked up by whoever asks for this.

use super::long::{self, Limits, Restrictions};
use crate::getopt::{Arguments, Next};

/// The original's usage, to which our own options add nothing: `--help` shows those.
pub const USAGE: &str = "tcpserver: usage: tcpserver [ -1UXpPhHrRoOdDqQv ] [ -c limit ] [ -x rules.cdb ] [ -B banner ] \
                         [ -g gid ] [ -u uid ] [ -b backlog ] [ -l localname ] [ -t timeout ] host port program\n";

/// How much is said on descriptor 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// `-q`: nothing at all, not even why there is no server.
    Quiet,
    /// `-Q`: errors.
    Errors,
    /// `-v`: each connection too.
    All,
}

/// `-4` and `-6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// What the host says; for every address of the machine both families.
    Any,
    /// IPv4.
    V4,
    /// IPv6, and IPv4 in its mapped form.
    V6,
}

/// `-l`, `-h` and `-H`, `-p` and `-P`, `-r` and `-R`, `-t`: what is found out about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// TCPLOCALHOST; None: by DNS.
    pub local: Option<Vec<u8>>,
    /// Look up the peer's name.
    pub remote: bool,
    /// Believe it only where its address is the peer's.
    pub paranoid: bool,
    /// Ask the peer's host who the user is.
    pub ident: bool,
    /// Seconds for that.
    pub ident_timeout: u64,
}

/// An id of `-u` or `-g`, or of `-U`: the last of them on the command line counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// This one; 0: as we are.
    Number(u32),
    /// What the environment's UID or GID says.
    OfEnvironment,
}

impl Default for Id {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// `-u`, `-g`, `-U` and `--user`: whom programs run as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The uid.
    pub uid: Id,
    /// The gid.
    pub gid: Id,
    /// A name or uid, with its own group and no other.
    pub user: Option<Vec<u8>>,
}

/// All that the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Options {
    pub verbosity: Verbosity,
    /// Connections at once.
    pub limit: u64,
    pub backlog: u64,
    /// The rules, and whether their absence lets everybody in.
    pub rules: Option<Vec<u8>>,
    pub missing_rules_allow: bool,
    pub banner: Vec<u8>,
    pub account: Account,
    pub names: Names,
    /// `-o`: leave IP options on a connection.
    pub keep_ip_options: bool,
    /// `-d`: leave Nagle's algorithm on.
    pub delay: bool,
    /// `-1`: say which port it is.
    pub print_port: bool,
    pub families: Families,
    /// `-I`: the interface of link-local addresses.
    pub interface: Option<Vec<u8>>,
    /// Limits per address and network, times.
    pub limits: Limits,
    /// What programs may not do.
    pub restrictions: Restrictions,
    pub host: Vec<u8>,
    /// A number or a service's name.
    pub port: Vec<u8>,
    /// The program and its arguments.
    pub program: Vec<Vec<u8>>,
}

/// What came of reading a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A server is wanted.
    Serve(Box<Options>),
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

/// Why the command line says nothing that can be done: usage, exit status 100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is said before the usage.
    pub complaint: Option<String>,
    /// Nothing is said: `-q` came before.
    pub quiet: bool,
    /// The port, where there is one and only the program is missing: the original looks at the port first.
    pub port: Option<Vec<u8>>,
}

impl Fault {
    /// With this complaint, which begins with the program's name.
    pub(super) fn because(why: impl std::fmt::Display) -> Self {
        Self { complaint: Some(format!("tcpserver: {why}\n")), quiet: false, port: None }
    }

    /// All that is said.
    #[must_use]
    pub fn text(&self) -> String {
        if self.quiet { String::new() } else { self.complaint.clone().unwrap_or_default() + USAGE }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            verbosity: Verbosity::Errors,
            limit: 40,
            backlog: 20,
            rules: None,
            missing_rules_allow: false,
            banner: Vec::new(),
            account: Account::default(),
            names: Names { local: None, remote: true, paranoid: false, ident: true, ident_timeout: 26 },
            keep_ip_options: false,
            delay: true,
            print_port: false,
            families: Families::Any,
            interface: None,
            limits: Limits::default(),
            restrictions: Restrictions::default(),
            host: Vec::new(),
            port: Vec::new(),
            program: Vec::new(),
        }
    }
}

/// Letters without and with a value: the original's, the IPv6 build's `-4`, `-6` and `-I`, s6-tcpserver's `-C`.
const FLAGS: &[u8] = b"1UXpPhHrRoOdDqQv46";
const VALUES: &[u8] = b"cxBgubltIC";

fn takes_value(letter: u8) -> Option<bool> {
    if FLAGS.contains(&letter) { Some(false) } else { VALUES.contains(&letter).then_some(true) }
}

/// Reads the arguments, without the program's own name.
///
/// # Errors
/// [`Fault`]: usage.
pub fn parse(arguments: &[Vec<u8>]) -> Result<Parsed, Fault> {
    let mut reading = Arguments::new(arguments);
    let mut options = Options::default();
    while let Some(next) = reading.next(takes_value) {
        match next {
            Next::Illegal(letter) => {
                return Err(Fault::because(format_args!("illegal option -- {}", shown(&[letter]))));
            }
            Next::Missing(letter) => {
                return Err(Fault::because(format_args!("option requires an argument -- {}", shown(&[letter]))));
            }
            Next::Flag(letter) => options.flag(letter),
            Next::Value(letter, value) => options.value(letter, value)?,
            Next::Long(b"help") => return Ok(Parsed::Help),
            Next::Long(b"version") => return Ok(Parsed::Version),
            Next::Long(option) => long::take(&mut options, option, || reading.operand())?,
        }
    }
    options.contradictions()?;
    let usage = |port| Fault { complaint: None, quiet: options.verbosity == Verbosity::Quiet, port };
    options.host = reading.operand().ok_or_else(|| usage(None))?.to_vec();
    options.port = reading.operand().ok_or_else(|| usage(None))?.to_vec();
    options.program = reading.rest().to_vec();
    if options.program.is_empty() {
        return Err(usage(Some(options.port)));
    }
    Ok(Parsed::Serve(Box::new(options)))
}

impl Options {
    fn flag(&mut self, letter: u8) {
        match letter {
            b'1' => self.print_port = true,
            b'U' => (self.account.uid, self.account.gid) = (Id::OfEnvironment, Id::OfEnvironment),
            b'X' => self.missing_rules_allow = true,
            b'p' | b'P' => self.names.paranoid = letter == b'p',
            b'h' | b'H' => self.names.remote = letter == b'h',
            b'r' | b'R' => self.names.ident = letter == b'r',
            b'o' | b'O' => self.keep_ip_options = letter == b'o',
            b'd' | b'D' => self.delay = letter == b'd',
            b'q' => self.verbosity = Verbosity::Quiet,
            b'Q' => self.verbosity = Verbosity::Errors,
            b'v' => self.verbosity = Verbosity::All,
            b'4' => self.families = self.family(Families::V4),
            _ => self.families = self.family(Families::V6),
        }
    }

    /// Both, in any order, contradict each other.
    fn family(&mut self, wanted: Families) -> Families {
        self.limits.both_families |= self.families != Families::Any && self.families != wanted;
        wanted
    }

    fn value(&mut self, letter: u8, value: &[u8]) -> Result<(), Fault> {
        match letter {
            b'c' => self.limit = number(value),
            b'b' => self.backlog = number(value),
            b't' => self.names.ident_timeout = number(value),
            b'x' => self.rules = Some(value.to_vec()),
            b'B' => self.banner = value.to_vec(),
            b'l' => self.names.local = Some(value.to_vec()),
            b'I' => self.interface = Some(value.to_vec()),
            b'C' => self.limits.per_address = Some(long::count("-C", value)?),
            // The original takes what isn't a number for 0, and a server that was to lose root keeps it.
            b'g' => self.account.gid = Id::Number(long::id("-g", value)?),
            _ => self.account.uid = Id::Number(long::id("-u", value)?),
        }
        Ok(())
    }

    fn contradictions(&self) -> Result<(), Fault> {
        let Account { uid, gid, user } = &self.account;
        let complaint = if self.limits.both_families {
            "-4 and -6 contradict each other"
        } else if user.is_some() && [*uid, *gid] != [Id::default(); 2] {
            "--user says whom programs run as, and so do -u, -g and -U: one of them only"
        } else if self.families == Families::V4 && self.interface.is_some() {
            "-I is for IPv6, and -4 contradicts it"
        } else {
            return Ok(());
        };
        Err(Fault::because(complaint))
    }
}

/// The number that `text` begins with, as the original reads one: 0 without any. One that is too large is as large as can be.
#[must_use]
pub fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit());
    digits.fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit.saturating_sub(b'0'))))
}

/// A port that is a number: Some, and where it is above 65535, an error. The original counts on from 0 there.
#[must_use]
pub fn port_number(text: &[u8]) -> Option<Result<u16, ()>> {
    text.iter().all(u8::is_ascii_digit).then(|| u16::try_from(number(text)).map_err(drop))
}

/// What a user has typed, as one line.
pub(super) fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &[&str]) -> Result<Options, String> {
        let arguments: Vec<Vec<u8>> = line.iter().map(|word| word.as_bytes().to_vec()).collect();
        match parse(&arguments) {
            Ok(Parsed::Serve(options)) => Ok(*options),
            Ok(other) => Err(format!("{other:?}")),
            Err(fault) => Err(fault.complaint.unwrap_or_else(|| "usage".to_owned())),
        }
    }

    #[test]
    fn issue_11_options_cluster_as_the_originals_do() {
        let wanted = Options {
            verbosity: Verbosity::All,
            names: Names { local: Some(b"0".to_vec()), remote: false, ident: false, ..Options::default().names },
            host: b"0".to_vec(),
            port: b"smtp".to_vec(),
            program: vec![b"prog".to_vec(), b"-v".to_vec()],
            ..Options::default()
        };
        for line in [
            &["-vRHl0", "0", "smtp", "prog", "-v"][..],
            &["-v", "-R", "-H", "-l", "0", "0", "smtp", "prog", "-v"],
            &["-qQvHR", "-l0", "--", "0", "smtp", "prog", "-v"],
            &["-hrvHRlx", "-l0", "0", "smtp", "prog", "-v"],
        ] {
            assert_eq!(read(line).as_ref(), Ok(&wanted), "{line:?}");
        }
        // Not an option: the original's first argument may be a dash.
        assert_eq!(read(&["-", "1", "prog"]).unwrap().host, b"-");
        assert_eq!(read(&["-l", "", "0", "1", "prog"]).unwrap().names.local, Some(Vec::new()));
        let empty = read(&["-c", "", "0", "1", "prog"]).unwrap();
        assert_eq!((empty.limit, read(&["-c10x", "0", "1", "prog"]).unwrap().limit), (0, 10));
    }

    #[test]
    fn issue_11_what_is_wrong_is_usage() {
        for (line, complaint) in [
            (&[][..], "usage"),
            (&["0"], "usage"),
            (&["0", "25"], "usage"),
            (&["-Z"], "tcpserver: illegal option -- Z\n"),
            (&["-vZ", "0", "25", "x"], "tcpserver: illegal option -- Z\n"),
            (&["-c"], "tcpserver: option requires an argument -- c\n"),
            (&["-vc"], "tcpserver: option requires an argument -- c\n"),
            (&["-46", "0", "25", "x"], "tcpserver: -4 and -6 contradict each other\n"),
            (&["-6", "-4", "0", "25", "x"], "tcpserver: -4 and -6 contradict each other\n"),
            (&["-u", "joe", "0", "25", "x"], "tcpserver: -u takes a number from 0 to 4294967294, not joe\n"),
            (
                &["-u1", "--user", "joe", "0", "25", "x"],
                "tcpserver: --user says whom programs run as, and so do -u, -g and -U: one of them only\n",
            ),
            (&["--per-adress", "2", "0", "25", "x"], "tcpserver: there is no option --per-adress; --help shows all\n"),
            (&["--per-address", "2", "25", "x"], "usage"),
        ] {
            assert_eq!(read(line).unwrap_err(), complaint, "{line:?}");
        }
        // The original looks at the port before it misses the program, and is quiet where it was told to be.
        let fault = parse(&[b"-q".to_vec(), b"0".to_vec(), b"x".to_vec()]).unwrap_err();
        assert_eq!((fault.port.as_deref(), fault.text().as_str()), (Some(b"x".as_slice()), ""));
    }

    #[test]
    fn issue_11_ports_above_65535_are_refused() {
        for (text, port) in [
            ("25", Some(Ok(25))),
            ("", Some(Ok(0))),
            ("65535", Some(Ok(65535))),
            ("65536", Some(Err(()))),
            ("99999999999999999999999", Some(Err(()))),
            ("smtp", None),
            ("0x19", None),
            ("25 ", None),
        ] {
            assert_eq!(port_number(text.as_bytes()), port, "{text}");
        }
    }
}
