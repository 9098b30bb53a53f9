//! One transaction: the envelope, which is parsed again here (P4), and the content that came in messages.

use crate::pool::Part;
use crate::violation::{INLINE_MAX, Violation};
use gatepost_policy::local_part;
use gatepost_policy::partial_deliveries::{Digest, Source};
use gatepost_policy::share::Origin;
use gatepost_policy::tables::Address;
use gatepost_smtp::address::{Domain, ForwardPath, Mailbox, ReversePath};
use gatepost_smtp::client::Extensions;
use gatepost_smtp::envelope::{Body, MailParameters, RcptParameters, Ret, Tls};
use gatepost_wire::session::{Mail, Rcpt};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Recipients of a transaction that a backend is told again in all, on other connections, before its content is complete.
const REPEATED_MAX: usize = 200;

/// The client's HELO or EHLO. A backend that is told of it has to be told again when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Helo {
    /// Printable ASCII, 255 octets at most; may be empty.
    pub(crate) name: Vec<u8>,
    /// EHLO rather than HELO.
    pub(crate) esmtp: bool,
}

/// A checked forward-path, and its parameters.
#[derive(Debug, Clone)]
pub(crate) struct Recipient {
    path: ForwardPath,
    parameters: RcptParameters,
}

/// From MAIL to the end of content.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Its number in its session, from 1.
    pub(crate) number: u32,
    pub(crate) helo: Helo,
    pub(crate) tls: Option<Tls>,
    reverse_path: ReversePath,
    parameters: MailParameters,
    contents: Contents,
    /// Recipients that were refused, by us or by the backend.
    pub(crate) refused: u32,
    /// The backend has been asked about one of its recipients, or would have been.
    pub(crate) measured: bool,
    /// Recipients that a backend was told again, to be asked about another.
    repeated: AtomicUsize,
    /// Octets of content that came inline, or in a file that was emptied since.
    came: u64,
    /// The rest of the content is in the session's file.
    pub(crate) filed: bool,
    /// There was no memory, or it was taken back: a part of the envelope or of the content is missing, so nothing of it must
    /// be sent.
    short: bool,
    memory: Part<Contents>,
}

/// What a transaction keeps in the memory that all share.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    recipients: Vec<Recipient>,
    inline: Vec<u8>,
}

/// Octets that can stand in a parameter's value (RFC 5321 §4.1.2 esmtp-value), so never a blank or line end.
fn is_value(octets: &[u8], smtputf8: bool) -> bool {
    !octets.is_empty() && octets.iter().all(|b| (b.is_ascii_graphic() && *b != b'=') || (smtputf8 && *b >= 0x80))
}

impl Transaction {
    /// Begins a transaction.
    pub(crate) fn new(number: u32, mail: &Mail<'_>, mut memory: Part<Contents>) -> Result<Self, Violation> {
        if !mail.helo.iter().all(|b| matches!(b, b' '..=b'~')) {
            return Err(Violation::Field("helo"));
        }
        if mail.parameters.envid.is_some_and(|envid| !is_value(envid, false)) {
            return Err(Violation::Field("envid"));
        }
        let reverse_path = ReversePath::parse(mail.reverse_path, mail.parameters.smtputf8)
            .map_err(|_| Violation::Field("reverse-path"))?;
        let short = !memory.take(size_of::<Self>().saturating_add(mail.reverse_path.len()));
        Ok(Self {
            number,
            helo: Helo { name: mail.helo.to_vec(), esmtp: mail.esmtp },
            tls: mail.tls,
            reverse_path,
            parameters: mail.parameters.owned(),
            contents: Contents::default(),
            refused: 0,
            measured: false,
            repeated: AtomicUsize::new(0),
            came: 0,
            filed: false,
            short,
            memory,
        })
    }

    /// Reads a recipient for this transaction.
    pub(crate) fn recipient(&self, rcpt: &Rcpt<'_>) -> Result<Recipient, Violation> {
        if rcpt.parameters.orcpt.is_some_and(|orcpt| !is_value(orcpt, self.smtputf8())) {
            return Err(Violation::Field("orcpt"));
        }
        let path =
            ForwardPath::parse(rcpt.forward_path, self.smtputf8()).map_err(|_| Violation::Field("forward-path"))?;
        Ok(Recipient { path, parameters: rcpt.parameters.owned() })
    }

    /// Adds an accepted recipient.
    pub(crate) fn accept(&mut self, recipient: Recipient) {
        self.contents.recipients.push(recipient);
    }

    /// Makes room for one more recipient. False: there is none.
    #[must_use]
    pub(crate) fn has_room_for(&mut self, recipient: &Recipient) -> bool {
        let octets = recipient
            .path
            .as_bytes()
            .len()
            .saturating_add(recipient.parameters.orcpt.as_deref().map_or(0, <[u8]>::len));
        // A list that grows has room for up to as many again.
        !self.short && self.memory.take(octets.saturating_add(2 * size_of::<Recipient>()))
    }

    /// Takes content. Without room for it the transaction goes on and is refused at its end.
    pub(crate) fn take(&mut self, octets: &[u8]) -> Result<(), Violation> {
        self.count(u64::try_from(octets.len()).unwrap_or(u64::MAX));
        let inline = &mut self.contents.inline;
        let length = inline.len().saturating_add(octets.len());
        if length > INLINE_MAX as usize {
            return Err(Violation::InlineOverflow);
        }
        if length > inline.capacity() {
            let room = length.max(inline.capacity().saturating_mul(2).min(INLINE_MAX as usize));
            self.short = self.short || !self.memory.take(room.saturating_sub(inline.capacity()));
            if !self.short {
                inline.reserve_exact(room.saturating_sub(inline.len()));
            }
        }
        if self.short {
            *inline = Vec::new();
        } else {
            inline.extend_from_slice(octets);
        }
        Ok(())
    }

    /// Counts content that came and is not kept.
    pub(crate) fn count(&mut self, octets: u64) {
        self.came = self.came.saturating_add(octets);
    }

    /// Octets of content that came, those in its file not counted.
    pub(crate) fn came(&self) -> u64 {
        self.came
    }

    /// The transaction waits for its client: see [`Part::park`].
    pub(crate) fn park(&mut self) {
        self.memory.park(std::mem::take(&mut self.contents));
    }

    /// The client goes on.
    pub(crate) fn resume(&mut self) {
        if self.memory.is_parked() {
            match self.memory.resume() {
                Some(contents) => self.contents = contents,
                None => self.short = true,
            }
        }
    }

    /// The content that came inline; `None` when there was no room for it.
    pub(crate) fn inline(&self) -> Option<&[u8]> {
        if self.short { None } else { Some(&self.contents.inline) }
    }

    /// The content in its file was taken back: nothing of it must be sent.
    pub(crate) fn lose(&mut self) {
        self.short = true;
    }

    /// Octets that the message will have, as the client has announced.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.parameters.size
    }

    /// SMTPUTF8 was said with MAIL.
    pub(crate) fn smtputf8(&self) -> bool {
        self.parameters.smtputf8
    }

    /// The client hears the result of each recipient.
    pub(crate) fn hears_each(&self) -> bool {
        self.parameters.prdr
    }

    /// Where the message is from: all that its retry has the same, but for recipients and content. SIZE is no promise.
    pub(crate) fn source(&self, client: Origin) -> Source {
        let MailParameters { size: _, body, smtputf8, ret, envid, prdr: _ } = &self.parameters;
        let ret = ret.map_or(u8::MAX, |ret| ret as u8);
        let codes = [*body as u8, u8::from(*smtputf8), ret];
        let envid = envid.as_deref().unwrap_or_default();
        Source::new(client, digest_of(&[self.reverse_path.as_bytes(), &codes, envid]))
    }

    /// Whether a backend is told so many recipients again now, and not only with the content.
    pub(crate) fn may_repeat(&self, recipients: usize) -> bool {
        let repeated = self.repeated.load(Ordering::Relaxed).saturating_add(recipients);
        let may = repeated <= REPEATED_MAX;
        if may {
            self.repeated.store(repeated, Ordering::Relaxed);
        }
        may
    }

    /// Accepted recipients.
    pub(crate) fn recipients(&self) -> &[Recipient] {
        &self.contents.recipients
    }

    /// The reverse-path without its brackets.
    pub(crate) fn reverse_path(&self) -> &[u8] {
        self.reverse_path.as_bytes()
    }

    /// The reverse-path's local part; none: the null reverse-path.
    pub(crate) fn sender(&self) -> Option<&[u8]> {
        match &self.reverse_path {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox.local_part()),
        }
    }

    /// The whole of the sender's address; none: the null reverse-path.
    pub(crate) fn sender_address(&self) -> Option<Address<'_>> {
        let ReversePath::Mailbox(mailbox) = &self.reverse_path else { return None };
        let (local_part, domain) = mailbox.as_bytes().split_at_checked(mailbox.local_part().len())?;
        Some(Address { local_part, domain: domain.get(1..) })
    }

    /// The reverse-path as qmail's envelopes have it: see [`bare`].
    pub(crate) fn bare_sender(&self) -> Vec<u8> {
        match &self.reverse_path {
            ReversePath::Null => Vec::new(),
            ReversePath::Mailbox(mailbox) => bare(mailbox),
        }
    }

    /// An extension that this envelope needs and the backend does not list. The client was offered what the backend listed
    /// then; another backend, or the same one after a restart, may list less.
    pub(crate) fn missing(&self, extensions: &Extensions) -> Option<&'static str> {
        let dsn = self.parameters.needs_dsn() || self.recipients().iter().any(Recipient::needs_dsn);
        if self.smtputf8() && !extensions.smtputf8 {
            Some("SMTPUTF8")
        } else if self.parameters.body == Body::EightBit && !extensions.eight_bit {
            Some("8BITMIME")
        } else if dsn && !extensions.dsn {
            Some("DSN")
        } else {
            None
        }
    }

    /// Appends the MAIL command, with only those parameters that the backend lists. `length`: of the whole message, where
    /// it is known already; else SIZE is what the client announced.
    pub(crate) fn mail_command(&self, extensions: &Extensions, length: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"MAIL FROM:<");
        out.extend_from_slice(self.reverse_path.as_bytes());
        out.push(b'>');
        if let (true, Some(size)) = (extensions.size.is_some(), length.or(self.parameters.size)) {
            let _ = write!(out, " SIZE={size}");
        }
        if extensions.eight_bit {
            match self.parameters.body {
                Body::Unstated => {}
                Body::SevenBit => out.extend_from_slice(b" BODY=7BIT"),
                Body::EightBit => out.extend_from_slice(b" BODY=8BITMIME"),
            }
        }
        if self.smtputf8() {
            out.extend_from_slice(b" SMTPUTF8");
        }
        match self.parameters.ret {
            None => {}
            Some(Ret::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(Ret::Headers) => out.extend_from_slice(b" RET=HDRS"),
        }
        if let Some(envid) = &self.parameters.envid {
            out.extend_from_slice(b" ENVID=");
            out.extend_from_slice(envid);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A mailbox without the quotes of RFC 5321 §4.1.2, which only SMTP has: qmail's envelopes hold the name itself.
fn bare(mailbox: &Mailbox) -> Vec<u8> {
    let mut name = local_part::mailbox_name(mailbox.local_part()).unwrap_or_else(|| mailbox.local_part().to_vec());
    let at = mailbox.local_part().len();
    name.extend_from_slice(mailbox.as_bytes().get(at..).unwrap_or_default());
    name
}

impl Recipient {
    /// The forward-path as qmail's envelopes have it: see [`bare`].
    pub(crate) fn bare(&self) -> Vec<u8> {
        self.path.mailbox().map_or_else(|| self.path.as_bytes().to_vec(), bare)
    }

    /// The local part and the domain, an address literal in its brackets; no domain: the postmaster.
    pub(crate) fn parts(&self) -> (&[u8], Option<&[u8]>) {
        let ForwardPath::Mailbox(mailbox) = &self.path else { return (self.path.as_bytes(), None) };
        let whole = mailbox.as_bytes();
        let domain = match mailbox.domain() {
            Domain::Name(name) => name,
            Domain::Literal(_) => whole.get(mailbox.local_part().len().saturating_add(1)..).unwrap_or_default(),
        };
        (mailbox.local_part(), Some(domain))
    }

    /// The forward-path without its brackets.
    pub(crate) fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    /// Of the forward-path and its parameters, for [`crate::several`].
    pub(crate) fn digest(&self) -> Digest {
        let RcptParameters { notify, orcpt } = &self.parameters;
        let notify = notify.map_or([u8::MAX; 3], |n| [n.success, n.failure, n.delay].map(u8::from));
        digest_of(&[self.path.as_bytes(), &notify, orcpt.as_deref().unwrap_or_default()])
    }

    /// DSN parameters were given.
    pub(crate) fn needs_dsn(&self) -> bool {
        self.parameters.needs_dsn()
    }

    /// Appends the RCPT command.
    pub(crate) fn rcpt_command(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RCPT TO:<");
        out.extend_from_slice(self.path.as_bytes());
        out.push(b'>');
        if let Some(notify) = self.parameters.notify {
            let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
            let chosen: Vec<&str> = words.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect();
            let list = if chosen.is_empty() { "NEVER".to_owned() } else { chosen.join(",") };
            let _ = write!(out, " NOTIFY={list}");
        }
        if let Some(orcpt) = &self.parameters.orcpt {
            out.extend_from_slice(b" ORCPT=");
            out.extend_from_slice(orcpt);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Of fields, so that no two lists of them have the same octets.
fn digest_of(fields: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
