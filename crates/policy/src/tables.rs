//! Tables of senders, recipients and HELO names: lists, constant databases, patterns. What stands in them: see [`crate::entry`].
//!
//! One more is of the domains that mail is taken for: `example.org`, and `.example.org` for those below it.
//!
//! Case doesn't matter. A constant database has the same entries for keys, in lower case and without patterns; its data is not
//! looked at.

use crate::entry::{EntryFault, Form, PATTERNS_MAX, check_entry, pattern};
use crate::local_part;
use crate::patterns::{Pattern, Subject};
use crate::relay::{DOMAIN_MAX, check_domain, from_next_dot};
use crate::senders::Senders;
use crate::sorted::{Sorted, TooLarge};
use gatepost_ucspi::cdb::{Cdb, Lookup as _};
use gatepost_wire::tables::{TableSlice, TablesSlice};
use std::io;

/// Octets of the largest file of a table.
pub const FILE_MAX: usize = 4 << 20;
/// One table.
#[derive(Debug, Default)]
pub struct Table {
    plain: Sorted,
    patterns: Vec<Pattern>,
    cdb: Option<Cdb<Vec<u8>>>,
}

impl Table {
    /// Of these entries, and of the octets of a constant database unless there are none.
    ///
    /// # Errors
    /// The fault of the first entry that is none.
    pub fn new<T: AsRef<[u8]>>(
        form: Form,
        entries: impl IntoIterator<Item = T>,
        cdb: Vec<u8>,
    ) -> Result<Self, EntryFault> {
        let (mut plain, mut patterns) = (Sorted::default(), Vec::new());
        for entry in entries {
            let entry = entry.as_ref();
            check_entry(form, entry)?;
            match pattern(entry) {
                Some(_) if patterns.len() >= PATTERNS_MAX => return Err(EntryFault::Patterns),
                Some(pattern) => patterns.push(Pattern::new(pattern).map_err(EntryFault::Pattern)?),
                None => plain.push(entry).map_err(|TooLarge| EntryFault::TooLarge)?,
            }
        }
        let cdb = if cdb.is_empty() { None } else { Some(Cdb::new(cdb)) };
        Ok(Self { plain: plain.sorted(), patterns, cdb })
    }

    fn of(form: Form, slice: TableSlice) -> Result<Self, EntryFault> {
        Self::new(form, &slice.entries, slice.cdb)
    }

    /// It covers nothing: most tables of most sites.
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.patterns.is_empty() && self.cdb.is_none()
    }

    /// `key` in lower case.
    fn lists(&self, key: &[u8]) -> io::Result<bool> {
        if self.plain.contains(key) {
            return Ok(true);
        }
        self.cdb.as_ref().map_or(Ok(false), |cdb| cdb.contains(key))
    }

    fn matches(&self, octets: &[u8]) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let subject = Subject::new(octets);
        self.patterns.iter().any(|pattern| pattern.denies(&subject))
    }

    /// Whether it covers an address.
    ///
    /// # Errors
    /// The constant database is damaged: nothing is known then.
    pub fn has_address(&self, address: &Address<'_>) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        let whole = address.whole();
        let Some(domain) = address.domain else { return Ok(self.lists(&whole)? || self.matches(&whole)) };
        if self.lists(&whole)? || self.lists(&keyed(domain))? {
            return Ok(true);
        }
        let domain = domain.to_ascii_lowercase();
        let mut below = from_next_dot(&domain);
        while !below.is_empty() {
            if self.lists(&keyed(below))? {
                return Ok(true);
            }
            below = from_next_dot(below);
        }
        Ok(self.matches(&whole))
    }

    /// Whether it covers the name that a client gave.
    ///
    /// # Errors
    /// As [`Table::has_address`].
    pub fn has_helo(&self, name: &[u8]) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        let name = name.to_ascii_lowercase();
        let mut rest = name.get(..DOMAIN_MAX).unwrap_or(&name);
        while !rest.is_empty() {
            if self.lists(rest)? {
                return Ok(true);
            }
            rest = from_next_dot(rest);
        }
        Ok(self.matches(&name))
    }
}

/// `@` and a domain in lower case.
fn keyed(domain: &[u8]) -> Vec<u8> {
    [b"@", domain].concat().to_ascii_lowercase()
}

/// An address as it stands in a path.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// With quotes, if it has such.
    pub local_part: &'a [u8],
    /// None: the postmaster alone (RFC 5321 §4.5.1).
    pub domain: Option<&'a [u8]>,
}

impl Address<'_> {
    /// In lower case and without quotes, which make no other address of it.
    fn whole(&self) -> Vec<u8> {
        let name = local_part::mailbox_name(self.local_part).unwrap_or_else(|| self.local_part.to_vec());
        let domain = self.domain.map(keyed).unwrap_or_default();
        [name.to_ascii_lowercase(), domain].concat()
    }

    /// Who must be reachable whatever tables say: the postmaster (RFC 5321 §4.5.1), and whom people tell of abuse (RFC 2142).
    #[must_use]
    pub fn is_always_reachable(&self) -> bool {
        local_part::is_postmaster(self.local_part) || local_part::is_abuse(self.local_part)
    }
}

/// What tables are asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What the client said in HELO or EHLO.
    pub helo: &'a [u8],
    /// None: the null reverse-path, which no table covers.
    pub sender: Option<Address<'a>>,
    /// One recipient.
    pub recipient: Address<'a>,
    /// The client may send to any domain: its name and its senders are not looked at.
    pub trusted: bool,
    /// The recipient's domain is one that mail is taken for.
    pub own: bool,
}

/// What they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nothing.
    Pass,
    /// The client's name is refused.
    Helo,
    /// The sender is.
    Sender,
    /// The recipient is.
    Recipient,
    /// The recipient is none of those that there are.
    Unknown,
}

/// All tables.
#[derive(Debug, Default)]
pub struct Tables {
    senders: Table,
    recipients: Table,
    valid: Option<Table>,
    helo: Table,
    permitted: Senders,
    domains: Option<Cdb<Vec<u8>>>,
}

impl Tables {
    /// From what the launcher hands over.
    ///
    /// # Errors
    /// The fault of the first entry that is none.
    pub fn new(slice: TablesSlice) -> Result<Self, EntryFault> {
        let TablesSlice { senders, recipients, valid, helo, permitted, accounts: _, domains } = slice;
        Ok(Self {
            senders: Table::of(Form::Address, senders)?,
            recipients: Table::of(Form::Address, recipients)?,
            valid: valid.map(|valid| Table::of(Form::Address, valid)).transpose()?,
            helo: Table::of(Form::Helo, helo)?,
            permitted: Senders::new(permitted)?,
            domains: (!domains.is_empty()).then(|| Cdb::new(domains)),
        })
    }

    /// Whether mail is taken for a domain because it, or `.` and one above it, is a key of their database. As
    /// [`RelayTable::covers`](crate::relay::RelayTable::covers), what is no domain never is.
    ///
    /// # Errors
    /// The database is damaged: nothing is known then.
    pub fn takes(&self, domain: &[u8]) -> io::Result<bool> {
        let Some(domains) = self.domains.as_ref().filter(|_| check_domain(domain).is_ok()) else { return Ok(false) };
        let name = domain.to_ascii_lowercase();
        let mut rest = name.as_slice();
        while !rest.is_empty() {
            if domains.contains(rest)? {
                return Ok(true);
            }
            rest = from_next_dot(rest);
        }
        Ok(false)
    }

    /// As whom who has logged in may send.
    #[must_use]
    pub fn permitted(&self) -> &Senders {
        &self.permitted
    }

    /// What they say of one recipient.
    ///
    /// # Errors
    /// A constant database is damaged: nothing is known then.
    pub fn judge(&self, question: &Question<'_>) -> io::Result<Finding> {
        let Question { helo, sender, recipient, trusted, own } = question;
        if recipient.is_always_reachable() {
            return Ok(Finding::Pass);
        }
        if !trusted && self.helo.has_helo(helo)? {
            return Ok(Finding::Helo);
        }
        if let (false, Some(sender)) = (trusted, sender)
            && self.senders.has_address(sender)?
        {
            return Ok(Finding::Sender);
        }
        if self.recipients.has_address(recipient)? {
            return Ok(Finding::Recipient);
        }
        match &self.valid {
            Some(valid) if *own && !valid.has_address(recipient)? => Ok(Finding::Unknown),
            _ => Ok(Finding::Pass),
        }
    }
}
