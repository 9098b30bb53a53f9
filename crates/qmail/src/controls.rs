//! All control files of one connection, read once before the greeting, with the variables that override them. An edit holds
//! for the next connection, without a signal. Lists are looked up where they lie, so an edit of one may hold for the running
//! connection too.

use std::io;

use crate::control::{ControlError, Home, Warning, int, line, variable};
use crate::environment::Environment;
use crate::list::List;
use crate::rcpthosts::RcptHosts;
use crate::recipients::{Tarpit, ValidRcptTo};
use crate::replies::{self, Reply};
use crate::senders::{self, Reading};
use crate::spp::Plugins;
use crate::switches::Switches;
use gatepost_policy::patterns::{self, Subject};

/// Patterns of one list that are compiled before the greeting, to warn of mistakes; those behind them are compiled when they
/// are tried.
const PATTERNS_CHECKED: usize = 1000;

/// What holds for one connection.
#[derive(Debug, Clone)]
pub struct Controls {
    /// After `220 `, `221 ` and HELO's `250 `. Control octets are dropped: a file from DOS must not put a CR into a reply.
    pub greeting: Vec<u8>,
    /// What replaces `[local address]`; `None` turns that off.
    pub local_host: Option<Vec<u8>>,
    /// Seconds for each single read and write, at least 1.
    pub timeout: u32,
    /// Octets of a message as it is stored; 0 is no limit.
    pub databytes: u32,
    /// The domains that mail is taken for.
    pub rcpthosts: RcptHosts,
    /// brtlimit; 0 is none.
    pub invalid_limit: u32,
    /// maxrcpt; 0 is none.
    pub max_rcpt: u32,
    /// tarpitcount and tarpitdelay.
    pub tarpit: Tarpit,
    /// Seconds before the greeting, 0 for a client that may relay.
    pub greet_delay: u32,
    /// Whether a client that speaks before the greeting is dropped.
    pub drop_early_talker: bool,
    /// Whether the null sender is put off.
    pub reject_null_senders: bool,
    /// validrcptto, if there is one; morevalidrcptto.cdb alone counts.
    pub valid_rcpt_to: Option<ValidRcptTo>,
    /// Whether STARTTLS can be had: there is a servercert.pem.
    pub certificate: bool,
    /// qmail-spp's plugins; `None` when there are none or NOSPP is set.
    pub plugins: Option<Plugins>,
    /// badmailfrom's; the twin is the qregex patch's own.
    reading: Reading,
    senders: Twins,
    helos: Twins,
    recipients: Twins,
}

/// A list for everyone, and its `norelay` twin for those without RELAYCLIENT.
#[derive(Debug, Clone, Default)]
struct Twins {
    everyone: Option<List>,
    strangers: Option<List>,
}

impl Twins {
    fn of(&self, relay: bool) -> impl Iterator<Item = &List> {
        [self.everyone.as_ref(), self.strangers.as_ref().filter(|_| !relay)].into_iter().flatten()
    }

    /// Whether a pattern denies it.
    fn deny(&self, home: &dyn Home, subject: &[u8], relay: bool) -> io::Result<bool> {
        let subject = Subject::new(subject);
        for list in self.of(relay) {
            if list.any(home, |entry| subject.is_denied_by(entry))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Controls {
    /// Reads everything. `warnings` of the switches are not repeated here.
    ///
    /// # Errors
    /// A file that is there and can't be read, or no greeting to be had: answered with [`ControlError::reply`] in place of
    /// the greeting.
    pub fn read(
        home: &dyn Home,
        environment: &Environment,
        switches: &Switches,
    ) -> Result<(Self, Vec<Warning>), ControlError> {
        let mut reader = Reader { home, environment, warnings: Vec::new() };
        let me = reader.line("me")?;
        let mut greeting = reader.line("smtpgreeting")?.or_else(|| me.clone()).ok_or(ControlError::NoGreeting)?;
        greeting.retain(|octet| !octet.is_ascii_control());
        let controls = Self {
            greeting,
            local_host: reader.line("localiphost")?.or(me),
            timeout: reader.timeout()?,
            databytes: reader.databytes(switches.databytes_any)?,
            rcpthosts: reader.rcpthosts(switches.open_relay)?,
            invalid_limit: reader.number("brtlimit", "BRTLIMIT", 0)?,
            max_rcpt: reader.max_rcpt()?,
            tarpit: Tarpit {
                count: reader.number("tarpitcount", "TARPITCOUNT", Tarpit::default().count)?,
                delay: reader.number("tarpitdelay", "TARPITDELAY", Tarpit::default().delay)?,
            },
            greet_delay: reader.greet_delay(),
            drop_early_talker: environment.has("DROP_PRE_GREET") && !environment.has("RELAYCLIENT"),
            reject_null_senders: reader.reject_null_senders()?,
            valid_rcpt_to: reader.valid_rcpt_to()?,
            certificate: home.exists("servercert.pem"),
            plugins: reader.plugins()?,
            reading: if switches.qregex { Reading::Patterns } else { Reading::Plain },
            senders: if environment.has("DISABLE_BADMAILFROM") {
                Twins::default()
            } else {
                let everyone = if switches.qregex { reader.senders("badmailfrom")? } else { reader.addresses()? };
                Twins { everyone, strangers: reader.senders("badmailfromnorelay")? }
            },
            helos: if environment.has("NOBADHELO") {
                Twins::default()
            } else {
                Twins { everyone: reader.patterns("badhelo")?, strangers: reader.patterns("badhelonorelay")? }
            },
            recipients: Twins {
                everyone: reader.patterns("badrcptto")?,
                strangers: reader.patterns("badrcpttonorelay")?,
            },
        };
        Ok((controls, reader.warnings))
    }

    /// badmailfrom: what is to be said at each RCPT to this sender. `relay`: RELAYCLIENT is set.
    ///
    /// # Errors
    /// A list that can't be read any more. The same of all that follow.
    pub fn judge_sender(&self, home: &dyn Home, sender: &[u8], relay: bool) -> io::Result<Option<Reply>> {
        if let Some(list) = &self.senders.everyone
            && let Some(reply) = senders::judge(list, self.reading, home, sender)?
        {
            return Ok(Some(reply));
        }
        match &self.senders.strangers {
            Some(list) if !relay => senders::judge(list, Reading::Patterns, home, sender),
            _ => Ok(None),
        }
    }

    /// badhelo: what is to be said to who gave this argument to HELO or EHLO.
    ///
    /// # Errors
    /// See [`Controls::judge_sender`].
    pub fn judge_helo(&self, home: &dyn Home, helo: &[u8], relay: bool) -> io::Result<Option<Reply>> {
        Ok(self.helos.deny(home, helo, relay)?.then_some(replies::HELO_DENIED))
    }

    /// badrcptto: what is to be said to this recipient.
    ///
    /// # Errors
    /// See [`Controls::judge_sender`].
    pub fn judge_recipient(&self, home: &dyn Home, recipient: &[u8], relay: bool) -> io::Result<Option<Reply>> {
        Ok(self.recipients.deny(home, recipient, relay)?.then_some(replies::RECIPIENT_DENIED))
    }
}

struct Reader<'h> {
    home: &'h dyn Home,
    environment: &'h Environment,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn octets(&self, file: &'static str) -> Result<Option<Vec<u8>>, ControlError> {
        self.home.read(file).map_err(|error| ControlError::Unreadable { file, error })
    }

    fn line(&mut self, file: &'static str) -> Result<Option<Vec<u8>>, ControlError> {
        Ok(self.octets(file)?.map(|octets| line(file, &octets, &mut self.warnings).to_vec()))
    }

    fn int(&mut self, file: &'static str, default: u32) -> Result<u32, ControlError> {
        Ok(self.octets(file)?.map_or(default, |octets| int(file, &octets, default, &mut self.warnings)))
    }

    /// A number from a file, and the variable that wins over it.
    fn number(&mut self, file: &'static str, name: &'static str, default: u32) -> Result<u32, ControlError> {
        let kept = self.int(file, default)?;
        Ok(variable(name, self.environment.get(name), kept, &mut self.warnings).unwrap_or(kept))
    }

    /// Signed in qmail, and never below 1.
    fn timeout(&mut self) -> Result<u32, ControlError> {
        let seconds = self.int("timeoutsmtpd", 1200)?;
        Ok(if i32::try_from(seconds).is_ok() { seconds.max(1) } else { 1 })
    }

    fn databytes(&mut self, any: bool) -> Result<u32, ControlError> {
        let kept = self.int("databytes", 0)?;
        let value = self.environment.get("DATABYTES");
        let limit = match variable("DATABYTES", value, if any { 0 } else { kept }, &mut self.warnings) {
            Some(number) => number,
            None if any && value.is_some() => 0,
            None => kept,
        };
        // One less than the most, because qmail counts one beyond.
        Ok(limit.min(u32::MAX.saturating_sub(1)))
    }

    /// A list below `control/`; `visit` sees each entry with its line number.
    fn list(&mut self, file: &'static str, visit: &mut dyn FnMut(usize, &[u8])) -> Result<Option<List>, ControlError> {
        let found = List::find(self.home, file, file, &mut self.warnings, visit);
        found.map_err(|error| ControlError::Unreadable { file, error })
    }

    fn rcpthosts(&mut self, open: bool) -> Result<RcptHosts, ControlError> {
        if let Some(list) = self.list("rcpthosts", &mut |_, _| {})? {
            return Ok(RcptHosts::Listed(list));
        }
        self.warnings.push(Warning::NoRcpthosts { open });
        Ok(if open { RcptHosts::Any } else { RcptHosts::Missing })
    }

    fn max_rcpt(&mut self) -> Result<u32, ControlError> {
        let limit = self.number("maxrcpt", "MAXRCPT", 0)?;
        Ok(if self.environment.has("DISABLE_MAXRCPT") { 0 } else { limit })
    }

    fn greet_delay(&mut self) -> u32 {
        if self.environment.has("RELAYCLIENT") {
            return 0;
        }
        let mut of = |name| variable(name, self.environment.get(name), 0, &mut self.warnings);
        of("GREETDELAY").or_else(|| of("SMTPD_GREETDELAY")).unwrap_or(0)
    }

    fn reject_null_senders(&mut self) -> Result<bool, ControlError> {
        let file = self.int("rejectnullsenders", 0)? != 0;
        Ok(self.environment.get("REJECTNULLSENDERS").map_or(file, |value| value != b"0"))
    }

    /// VALIDRCPTTO names another file, as SPPCONFFILE does.
    fn valid_rcpt_to(&mut self) -> Result<Option<ValidRcptTo>, ControlError> {
        const FILE: &str = "validrcptto";
        let list = match self.environment.get("VALIDRCPTTO") {
            Some(path) if !path.is_empty() => {
                let unreadable = |error| ControlError::Unreadable { file: FILE, error };
                let name = below_control(path).map_err(unreadable)?;
                let list =
                    List::find(self.home, FILE, &name, &mut self.warnings, &mut |_, _| {}).map_err(unreadable)?;
                // One that was named and is not there is a mistake, and would let everyone pass.
                Some(list.ok_or_else(|| unreadable(io::ErrorKind::NotFound.into()))?)
            }
            _ => self.list(FILE, &mut |_, _| {})?,
        };
        Ok(ValidRcptTo::new(self.home, list))
    }

    /// A missing file is no plugins, unless SPPCONFFILE names it.
    fn plugins(&mut self) -> Result<Option<Plugins>, ControlError> {
        const FILE: &str = "smtpplugins";
        if self.environment.has("NOSPP") {
            return Ok(None);
        }
        let octets =
            match self.environment.get("SPPCONFFILE") {
                // A file that was named and is not there is a mistake, and plugins are there to refuse.
                Some(path) if !path.is_empty() => Some(self.named(FILE, path)?.ok_or_else(|| {
                    ControlError::Unreadable { file: FILE, error: std::io::ErrorKind::NotFound.into() }
                })?),
                _ => self.octets(FILE)?,
            };
        Ok(octets.map(|octets| Plugins::parse(&octets, &mut self.warnings)))
    }

    /// A file that a variable names.
    fn named(&self, file: &'static str, path: &[u8]) -> Result<Option<Vec<u8>>, ControlError> {
        let octets = below_control(path).and_then(|name| self.home.read(&name));
        octets.map_err(|error| ControlError::Unreadable { file, error })
    }

    /// badmailfrom as qmail-smtpd reads it.
    fn addresses(&mut self) -> Result<Option<List>, ControlError> {
        let mut first = None;
        let list = self.list("badmailfrom", &mut |line, entry| {
            if first.is_none() && !patterns::is_plain(entry.strip_prefix(b"!").unwrap_or(entry)) {
                first = Some(line);
            }
        })?;
        self.warnings.extend(first.map(|line| Warning::NoPattern { line }));
        Ok(list)
    }

    /// badmailfrom as the qregex patch reads it, and its twin: addresses, and patterns.
    fn senders(&mut self, file: &'static str) -> Result<Option<List>, ControlError> {
        self.checked(file, |entry| !patterns::is_plain(entry))
    }

    /// A list of patterns.
    fn patterns(&mut self, file: &'static str) -> Result<Option<List>, ControlError> {
        self.checked(file, |_| true)
    }

    /// A list some of whose entries are patterns: the mistakes in those are told.
    fn checked(
        &mut self,
        file: &'static str,
        is_pattern: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<List>, ControlError> {
        let mut left = PATTERNS_CHECKED;
        let mut mistakes = Vec::new();
        let list = self.list(file, &mut |line, entry| {
            if left > 0 && is_pattern(entry) {
                left = left.saturating_sub(1);
                mistakes.extend(patterns::check(entry).err().map(|why| Warning::Pattern { file, line, why }));
            }
        })?;
        self.warnings.append(&mut mistakes);
        Ok(list)
    }
}

/// A path relative to qmail's home, as a variable has it, as [`Home`] wants it: relative to `control/`.
fn below_control(path: &[u8]) -> io::Result<String> {
    let path = std::str::from_utf8(path).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(match path.strip_prefix("control/") {
        Some(name) => name.to_owned(),
        None if path.starts_with('/') => path.to_owned(),
        None => format!("../{path}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_ucspi::cdb::Lookup;
    use std::collections::HashMap;
    use std::io::Read;

    #[derive(Debug)]
    struct Files(HashMap<&'static str, &'static [u8]>);

    impl Home for Files {
        fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
            match self.0.get(name) {
                Some(octets) if *octets == b"<directory>" => Err(io::ErrorKind::IsADirectory.into()),
                found => Ok(found.map(|octets| octets.to_vec())),
            }
        }

        fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            Ok(self.read(name)?.map(|octets| Box::new(io::Cursor::new(octets)) as Box<dyn Read>))
        }

        fn cdb(&self, _: &str) -> io::Result<Option<Box<dyn Lookup + '_>>> {
            Ok(None)
        }

        fn exists(&self, name: &str) -> bool {
            self.0.contains_key(name)
        }
    }

    type Files0 = [(&'static str, &'static [u8])];

    fn home(files: &Files0) -> Files {
        Files(files.iter().copied().collect())
    }

    fn read(files: &Files0, environment: &[(&str, &str)]) -> Result<(Controls, Vec<Warning>), ControlError> {
        let environment: Environment = environment.iter().copied().collect();
        let mut warnings = Vec::new();
        let switches = Switches::read(&environment, &mut warnings);
        let (controls, more) = Controls::read(&home(files), &environment, &switches)?;
        warnings.extend(more);
        Ok((controls, warnings))
    }

    const ME: (&str, &[u8]) = ("me", b"mx.example.org\n");
    const HOSTS: (&str, &[u8]) = ("rcpthosts", b"example.com\n");

    #[test]
    fn an_ordinary_installation_warns_of_nothing() {
        let (controls, warnings) = read(&[ME, HOSTS], &[]).unwrap();
        assert_eq!(controls.greeting, b"mx.example.org");
        assert_eq!(controls.local_host.as_deref(), Some(&b"mx.example.org"[..]));
        assert_eq!((controls.timeout, controls.databytes, controls.max_rcpt), (1200, 0, 0));
        assert!(controls.plugins.is_none() && controls.valid_rcpt_to.is_none() && !controls.certificate);
        assert_eq!(warnings, []);
    }

    #[test]
    fn a51_a52_greeting_and_localiphost() {
        let (controls, _) = read(&[("smtpgreeting", b"hello.example ready to go  \t\nx"), HOSTS], &[]).unwrap();
        assert_eq!((controls.greeting.as_slice(), controls.local_host), (&b"hello.example ready to go"[..], None));
        assert!(matches!(read(&[HOSTS], &[]), Err(ControlError::NoGreeting)));
        assert_eq!(read(&[("me", b""), HOSTS], &[]).unwrap().0.greeting, b"");
        let (controls, warnings) = read(&[("me", b"host.x hi\r\n"), HOSTS], &[]).unwrap();
        assert_eq!(controls.greeting, b"host.x hi");
        assert_eq!(warnings, [Warning::CarriageReturn { file: "me" }]);
    }

    #[test]
    fn a53_p7_what_cannot_be_read_closes() {
        for file in [
            "me",
            "smtpgreeting",
            "localiphost",
            "timeoutsmtpd",
            "databytes",
            "rcpthosts",
            "badmailfrom",
            "badmailfromnorelay",
            "badhelo",
            "badrcptto",
            "validrcptto",
            "maxrcpt",
            "brtlimit",
            "tarpitcount",
            "tarpitdelay",
            "rejectnullsenders",
            "smtpplugins",
        ] {
            let mut files = vec![ME, HOSTS];
            files.retain(|(name, _)| *name != file);
            files.push((file, b"<directory>"));
            let error = read(&files, &[]).unwrap_err();
            assert_eq!(error.reply(), replies::CONTROLS);
            assert!(error.to_string().contains(file), "{error}");
        }
    }

    #[test]
    fn a54_timeoutsmtpd_is_at_least_a_second() {
        for (octets, seconds) in [(&b"0"[..], 1), (b"1", 1), (b"60", 60), (b"x", 1200), (b"4294967295", 1)] {
            assert_eq!(read(&[ME, HOSTS, ("timeoutsmtpd", octets)], &[]).unwrap().0.timeout, seconds);
        }
    }

    #[test]
    fn a72_databytes_of_the_environment() {
        let old = ("GATEPOST_DATABYTES_ANY", "");
        for (value, switch, limit, warned) in [
            (None, None, 10, 0),
            (Some(""), None, 10, 1),
            (Some("abc"), None, 10, 1),
            (Some("-5"), None, 10, 1),
            (Some("0"), None, 0, 0),
            (Some("5x"), None, 5, 1),
            (Some("4294967295"), None, 4_294_967_294, 0),
            (Some(""), Some(old), 0, 1),
            (Some("abc"), Some(old), 0, 1),
            (None, Some(old), 10, 0),
        ] {
            let environment: Vec<_> = value.map(|value| ("DATABYTES", value)).into_iter().chain(switch).collect();
            let (controls, warnings) = read(&[ME, HOSTS, ("databytes", b"10")], &environment).unwrap();
            assert_eq!((controls.databytes, warnings.len()), (limit, warned), "{environment:?}");
        }
    }

    #[test]
    fn a39_without_rcpthosts_nothing_is_relayed_unless_told() {
        let (controls, warnings) = read(&[ME], &[]).unwrap();
        assert!(!controls.rcpthosts.admit(&home(&[("rcpthosts", b"")]), b"a@b.c").unwrap());
        assert!(controls.rcpthosts.admit(&home(&[]), b"a").unwrap());
        assert_eq!(warnings, [Warning::NoRcpthosts { open: false }]);
        let (controls, warnings) = read(&[ME], &[("GATEPOST_OPENRELAY", "")]).unwrap();
        assert!(controls.rcpthosts.admit(&home(&[("rcpthosts", b"")]), b"a@b.c").unwrap());
        assert_eq!(warnings, [Warning::NoRcpthosts { open: true }]);
        // A38: the switch is about a missing file, not about an empty one.
        let (controls, _) = read(&[ME, ("rcpthosts", b"")], &[("GATEPOST_OPENRELAY", "")]).unwrap();
        assert!(!controls.rcpthosts.admit(&home(&[("rcpthosts", b"")]), b"a@b.c").unwrap());
    }

    #[test]
    fn the_norelay_twins_spare_who_may_relay() {
        let files: &Files0 = &[
            ME,
            HOSTS,
            ("badmailfromnorelay", b"@stranger.example"),
            ("badhelo", b"^bad$"),
            ("badhelonorelay", b"^dyn"),
            ("badrcptto", b"^trap@"),
        ];
        let (controls, _) = read(files, &[]).unwrap();
        assert_eq!(
            controls.judge_sender(&home(files), b"x@stranger.example", false).unwrap(),
            Some(replies::BAD_MAIL_FROM)
        );
        assert_eq!(controls.judge_sender(&home(files), b"x@stranger.example", true).unwrap(), None);
        assert_eq!(controls.judge_helo(&home(files), b"bad", true).unwrap(), Some(replies::HELO_DENIED));
        assert_eq!(controls.judge_helo(&home(files), b"dyn1", true).unwrap(), None);
        assert_eq!(controls.judge_helo(&home(files), b"dyn1", false).unwrap(), Some(replies::HELO_DENIED));
        assert_eq!(controls.judge_recipient(&home(files), b"trap@x", true).unwrap(), Some(replies::RECIPIENT_DENIED));
        let (controls, _) = read(files, &[("NOBADHELO", ""), ("DISABLE_BADMAILFROM", "1")]).unwrap();
        assert_eq!(controls.judge_helo(&home(files), b"bad", false).unwrap(), None);
        assert_eq!(controls.judge_sender(&home(files), b"x@stranger.example", false).unwrap(), None);
    }

    #[test]
    fn issue_10_badmailfrom_is_qmails_unless_a_switch_or_the_patchs_own_file_says_otherwise() {
        let pattern: &[u8] = b"!bang@x\n^spam";
        for (file, switch, denied, warned) in [
            ("badmailfrom", None, false, 1),
            ("badmailfrom", Some(("GATEPOST_QREGEX", "")), true, 0),
            ("badmailfromnorelay", None, true, 0),
        ] {
            let files: &Files0 = &[ME, HOSTS, (file, pattern)];
            let (controls, warnings) = read(files, switch.as_slice()).unwrap();
            let said = controls.judge_sender(&home(files), b"a@b", false).unwrap();
            assert_eq!((said, warnings.len()), (denied.then_some(replies::SENDER_DENIED), warned), "{file} {switch:?}");
        }
        assert_eq!(read(&[ME, HOSTS, ("badmailfrom", b"!bang@x\nuser+tag@x")], &[]).unwrap().1, []);
    }

    #[test]
    fn variables_win_over_files() {
        let files: &Files0 = &[
            ME,
            HOSTS,
            ("maxrcpt", b"5"),
            ("brtlimit", b"2"),
            ("tarpitcount", b"3"),
            ("servercert.pem", b""),
            ("morevalidrcptto.cdb", b""),
            ("smtpplugins", b"[rcpt]\nplugins/x\n"),
            ("../etc/spp", b"[mail]\n:exit\n"),
        ];
        let (controls, _) = read(files, &[]).unwrap();
        assert_eq!((controls.max_rcpt, controls.invalid_limit), (5, 2));
        assert_eq!(controls.tarpit, Tarpit { count: 3, delay: 5 });
        assert!(controls.certificate && controls.valid_rcpt_to.is_some() && controls.plugins.is_some());
        let (controls, warnings) = read(
            files,
            &[
                ("MAXRCPT", "9"),
                ("BRTLIMIT", "x"),
                ("TARPITDELAY", "1"),
                ("GREETDELAY", "4"),
                ("DROP_PRE_GREET", ""),
                ("REJECTNULLSENDERS", ""),
                ("SPPCONFFILE", "etc/spp"),
            ],
        )
        .unwrap();
        assert_eq!((controls.max_rcpt, controls.invalid_limit, controls.tarpit.delay), (9, 2, 1));
        assert_eq!(warnings, [Warning::Variable { name: "BRTLIMIT", kept: 2 }]);
        assert_eq!(controls.greet_delay, 4);
        assert!(controls.drop_early_talker && controls.reject_null_senders);
        let spared = read(files, &[("RELAYCLIENT", ""), ("GREETDELAY", "4"), ("DROP_PRE_GREET", ""), ("NOSPP", "")]);
        let (controls, _) = spared.unwrap();
        assert!(controls.greet_delay == 0 && !controls.drop_early_talker && controls.plugins.is_none());
        let off = read(files, &[("DISABLE_MAXRCPT", ""), ("SPPCONFFILE", "control/smtpplugins")]).unwrap();
        assert_eq!(off.0.max_rcpt, 0);
        for named in ["SPPCONFFILE", "VALIDRCPTTO"] {
            assert!(read(files, &[(named, "nowhere")]).is_err(), "{named}");
        }
        assert!(read(files, &[("VALIDRCPTTO", "etc/spp")]).unwrap().0.valid_rcpt_to.is_some());
    }
}
