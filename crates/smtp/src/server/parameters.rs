//! Arguments of MAIL, RCPT and BDAT.

use super::settings::Leniency;
use crate::address::{BadAddress, ForwardPath, ReversePath, Rules, split_brackets};
use crate::envelope::{Body, ENVID_MAX, Mail, MailParameters, Notify, ORCPT_MAX, Rcpt, RcptParameters, Ret};
use crate::replies::{self, Reply};
use crate::{split, xtext};
use std::borrow::Cow;

/// Longest decimal number, digits: RFC 1870 §3.
const DIGITS_MAX: usize = 20;

/// What this session accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) leniency: &'a Leniency,
    pub(super) rules: Rules,
    pub(super) esmtp: bool,
    pub(super) size_max: u64,
    pub(super) eight_bit: bool,
    pub(super) smtputf8: bool,
    pub(super) dsn: bool,
    pub(super) prdr: bool,
    /// AUTH= may be said.
    pub(super) auth: bool,
}

/// Reads the argument of MAIL.
pub(super) fn mail(argument: &[u8], terms: &Terms<'_>) -> Result<Mail, Reply> {
    let (path, rest) = path(argument, b"FROM", replies::BAD_SENDER, terms)?;
    let mut mail = MailParameters::NONE;
    let mut seen = Seen::default();
    for (keyword, value) in parameters(rest, terms)? {
        match Parameter::find(keyword).filter(|parameter| parameter.is_offered(terms)) {
            Some(Parameter::Size) => {
                seen.once(Parameter::Size)?;
                let size = number(value.unwrap_or_default()).ok_or(replies::BAD_PARAMETER)?;
                if size > terms.size_max {
                    return Err(replies::TOO_LARGE);
                }
                mail.size = Some(size);
            }
            Some(Parameter::Body) => {
                seen.once(Parameter::Body)?;
                mail.body = body(value.unwrap_or_default(), terms)?;
            }
            Some(flag @ (Parameter::SmtpUtf8 | Parameter::Prdr)) => {
                seen.once(flag)?;
                if value.is_some() {
                    return Err(replies::BAD_PARAMETER);
                }
                let said = if flag == Parameter::Prdr { &mut mail.prdr } else { &mut mail.smtputf8 };
                *said = true;
            }
            Some(Parameter::Ret) => {
                seen.once(Parameter::Ret)?;
                mail.ret = Some(ret(value.unwrap_or_default())?);
            }
            Some(Parameter::Envid) => {
                seen.once(Parameter::Envid)?;
                mail.envid = or_none(envid(value.unwrap_or_default(), terms), terms)?;
            }
            // RFC 4954 §5: who is trusted with it says so by a login; whom the client names is not believed.
            Some(Parameter::Auth) => {
                seen.once(Parameter::Auth)?;
                let value = value.unwrap_or_default();
                if value != b"<>" && xtext::decode(value).is_none() {
                    return Err(replies::BAD_PARAMETER);
                }
            }
            Some(Parameter::Notify | Parameter::Orcpt) | None => return Err(replies::UNKNOWN_PARAMETER),
        }
    }
    let rules = Rules { smtputf8: mail.smtputf8, ..terms.rules };
    let reverse_path = ReversePath::parse_with(path, &rules).map_err(|bad| refusal(bad, replies::BAD_SENDER))?;
    Ok(Mail { reverse_path, parameters: mail })
}

/// Reads the argument of RCPT, in a transaction with or without SMTPUTF8.
pub(super) fn rcpt(argument: &[u8], smtputf8: bool, terms: &Terms<'_>) -> Result<Rcpt, Reply> {
    let (path, rest) = path(argument, b"TO", replies::BAD_RECIPIENT, terms)?;
    let rules = Rules { smtputf8, ..terms.rules };
    let mut rcpt = RcptParameters::NONE;
    let mut seen = Seen::default();
    for (keyword, value) in parameters(rest, terms)? {
        match Parameter::find(keyword).filter(|parameter| parameter.is_offered(terms)) {
            Some(Parameter::Notify) => {
                seen.once(Parameter::Notify)?;
                rcpt.notify = Some(notify_set(value.unwrap_or_default())?);
            }
            Some(Parameter::Orcpt) => {
                seen.once(Parameter::Orcpt)?;
                rcpt.orcpt = or_none(original_recipient(value.unwrap_or_default(), smtputf8, terms), terms)?;
            }
            _ => return Err(replies::UNKNOWN_PARAMETER),
        }
    }
    let forward_path = ForwardPath::parse_with(path, &rules).map_err(|bad| refusal(bad, replies::BAD_RECIPIENT))?;
    Ok(Rcpt { forward_path, parameters: rcpt })
}

/// Reads the argument of BDAT, RFC 3030 §2: octets, and whether it is the last chunk.
pub(super) fn bdat(argument: &[u8]) -> Option<(u64, bool)> {
    let mut words = argument.split(|&octet| octet == b' ');
    // Of one that did not fit nobody knows the end.
    let size = number(words.next()?).filter(|size| *size < u64::MAX)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case(b"LAST") => true,
        Some(_) => return None,
    };
    if words.next().is_some() { None } else { Some((size, last)) }
}

fn refusal(bad: BadAddress, syntax: Reply) -> Reply {
    match bad {
        BadAddress::NotAscii => replies::NOT_UTF8,
        BadAddress::Syntax | BadAddress::NoDomain | BadAddress::TooLong => syntax,
    }
}

/// A space or a tab. Where tabs are not accepted, a line with one has been refused before.
pub(super) fn is_blank(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Splits `FROM:<path> parameters`, where `word` is `FROM`, into path and parameters.
fn path<'l>(argument: &'l [u8], word: &[u8], bad: Reply, terms: &Terms<'_>) -> Result<(&'l [u8], &'l [u8]), Reply> {
    let leniency = terms.leniency;
    let spaced = |text: &[u8]| leniency.extra_spaces && text.first().is_some_and(u8::is_ascii_whitespace);
    let trimmed = |text: &'l [u8]| if spaced(text) { text.trim_ascii_start() } else { text };
    let (first, text) = split(argument, word.len());
    if !first.eq_ignore_ascii_case(word) {
        return Err(replies::BAD_ARGUMENT);
    }
    let text = trimmed(trimmed(text).strip_prefix(b":").ok_or(replies::BAD_ARGUMENT)?);
    let (path, rest) = if text.first() == Some(&b'<') {
        let (path, rest) = split_brackets(text).ok_or(bad)?;
        let spaced = leniency.spaces_in_brackets
            && [path.first(), path.last()].into_iter().flatten().any(u8::is_ascii_whitespace);
        (if spaced { path.trim_ascii() } else { path }, rest)
    } else if leniency.no_brackets && !text.is_empty() {
        split(text, text.iter().position(is_blank).unwrap_or(text.len()))
    } else {
        return Err(bad);
    };
    if rest.first().is_none_or(is_blank) { Ok((path, rest)) } else { Err(bad) }
}

/// A keyword and a value as they were written.
type Written<'l> = (&'l [u8], Option<&'l [u8]>);

/// Splits parameters, RFC 5321 §4.1.2.
fn parameters<'l>(rest: &'l [u8], terms: &Terms<'_>) -> Result<impl Iterator<Item = Written<'l>>, Reply> {
    let rest = rest.get(1..).unwrap_or_default();
    let words = move || rest.split(is_blank).filter(|word| !word.is_empty());
    if !terms.esmtp && !terms.leniency.parameters_after_helo && words().next().is_some() {
        return Err(replies::UNKNOWN_PARAMETER);
    }
    let gaps = rest.split(is_blank).any(<[u8]>::is_empty) && !rest.is_empty();
    if gaps && !terms.leniency.extra_spaces || !words().all(|word| is_parameter(word, terms)) {
        return Err(replies::BAD_PARAMETER);
    }
    Ok(words().map(|word| match word.iter().position(|&octet| octet == b'=') {
        Some(at) => {
            let (keyword, value) = split(word, at);
            (keyword, Some(value.get(1..).unwrap_or_default()))
        }
        None => (word, None),
    }))
}

fn is_parameter(word: &[u8], terms: &Terms<'_>) -> bool {
    let mut parts = word.splitn(2, |&octet| octet == b'=');
    let keyword = parts.next().unwrap_or_default();
    let begins = keyword.first().is_some_and(u8::is_ascii_alphanumeric);
    let any_value =
        terms.leniency.odd_xtext && matches!(Parameter::find(keyword), Some(Parameter::Envid | Parameter::Orcpt));
    begins
        && keyword.iter().all(|&octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && parts.next().is_none_or(|value| {
            any_value || !value.is_empty() && value.iter().all(|&octet| octet > b' ' && octet != b'=')
        })
}

/// What MAIL or RCPT may have behind the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    Size,
    Body,
    SmtpUtf8,
    Ret,
    Envid,
    Notify,
    Orcpt,
    Prdr,
    Auth,
}

impl Parameter {
    const TABLE: [(&'static [u8], Parameter); 9] = [
        (b"SIZE", Parameter::Size),
        (b"BODY", Parameter::Body),
        (b"SMTPUTF8", Parameter::SmtpUtf8),
        (b"RET", Parameter::Ret),
        (b"ENVID", Parameter::Envid),
        (b"NOTIFY", Parameter::Notify),
        (b"ORCPT", Parameter::Orcpt),
        (b"PRDR", Parameter::Prdr),
        (b"AUTH", Parameter::Auth),
    ];

    fn find(word: &[u8]) -> Option<Self> {
        Self::TABLE.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|&(_, parameter)| parameter)
    }

    fn is_offered(self, terms: &Terms<'_>) -> bool {
        match self {
            Parameter::Size | Parameter::Body => true,
            Parameter::SmtpUtf8 => terms.smtputf8,
            Parameter::Prdr => terms.prdr,
            Parameter::Auth => terms.auth,
            Parameter::Ret | Parameter::Envid | Parameter::Notify | Parameter::Orcpt => terms.dsn,
        }
    }
}

/// The parameters so far: none may be given twice.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    fn once(&mut self, parameter: Parameter) -> Result<(), Reply> {
        let bit = 1u16 << parameter as u8;
        if self.0 & bit != 0 {
            return Err(replies::BAD_PARAMETER);
        }
        self.0 |= bit;
        Ok(())
    }
}

/// A decimal number; one that does not fit is as large as can be.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    digits.iter().try_fold(0u64, |sum, &digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(value))
    })
}

fn body(value: &[u8], terms: &Terms<'_>) -> Result<Body, Reply> {
    if value.eq_ignore_ascii_case(b"7BIT") {
        Ok(Body::SevenBit)
    } else if !value.eq_ignore_ascii_case(b"8BITMIME") {
        Err(replies::BAD_PARAMETER)
    } else if terms.eight_bit {
        Ok(Body::EightBit)
    } else {
        Err(replies::UNKNOWN_PARAMETER)
    }
}

fn ret(value: &[u8]) -> Result<Ret, Reply> {
    if value.eq_ignore_ascii_case(b"FULL") {
        Ok(Ret::Full)
    } else if value.eq_ignore_ascii_case(b"HDRS") {
        Ok(Ret::Headers)
    } else {
        Err(replies::BAD_PARAMETER)
    }
}

/// What was read. With this leniency what cannot be read is left out, not refused.
fn or_none(value: Option<Box<[u8]>>, terms: &Terms<'_>) -> Result<Option<Box<[u8]>>, Reply> {
    if value.is_some() || terms.leniency.odd_xtext { Ok(value) } else { Err(replies::BAD_PARAMETER) }
}

/// The octets that `value` stands for, and `value` in xtext (RFC 3461 §4): as it came, if it is xtext.
fn read_xtext<'v>(value: &'v [u8], terms: &Terms<'_>) -> Option<(Vec<u8>, Cow<'v, [u8]>)> {
    if let Some(plain) = xtext::decode(value) {
        return Some((plain, Cow::Borrowed(value)));
    }
    let plain = xtext::decode_loose(value).filter(|_| terms.leniency.odd_xtext)?;
    let mut written = Vec::with_capacity(value.len());
    xtext::encode(&plain, &mut written);
    Some((plain, Cow::Owned(written)))
}

/// RFC 3461 §4.4: printable ASCII in xtext.
fn envid(value: &[u8], terms: &Terms<'_>) -> Option<Box<[u8]>> {
    let (plain, written) = read_xtext(value, terms)?;
    let fits =
        !value.is_empty() && written.len() <= ENVID_MAX && plain.iter().all(|octet| matches!(octet, b' '..=b'~'));
    fits.then(|| written.into())
}

/// RFC 3461 §4.2: an address type and an address in xtext. RFC 6533 §3 adds `utf-8`, whose address may be plain UTF-8.
fn original_recipient(value: &[u8], smtputf8: bool, terms: &Terms<'_>) -> Option<Box<[u8]>> {
    let (kind, address) = split(value, value.iter().position(|&octet| octet == b';')?);
    let address = address.get(1..).unwrap_or_default();
    let named = !kind.is_empty() && kind.iter().all(|&octet| octet.is_ascii_alphanumeric() || octet == b'-');
    let unicode = smtputf8 && kind.eq_ignore_ascii_case(b"utf-8") && std::str::from_utf8(address).is_ok();
    let (plain, written) = if unicode && !address.is_ascii() {
        // UTF-8 is not checked here: the rest must be xtext.
        let ascii: Vec<u8> = address.iter().copied().filter(u8::is_ascii).collect();
        (xtext::decode(&ascii)?, Cow::Borrowed(address))
    } else {
        read_xtext(address, terms)?
    };
    let clean = !address.is_empty() && plain.iter().all(|octet| !octet.is_ascii_control());
    let value = [kind, b";", &written].concat();
    (named && clean && value.len() <= ORCPT_MAX).then(|| value.into())
}

fn notify_set(value: &[u8]) -> Result<Notify, Reply> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case(b"NEVER") {
        return Ok(notify);
    }
    for word in value.split(|&octet| octet == b',') {
        let flag = match word.to_ascii_uppercase().as_slice() {
            b"SUCCESS" => &mut notify.success,
            b"FAILURE" => &mut notify.failure,
            b"DELAY" => &mut notify.delay,
            _ => return Err(replies::BAD_PARAMETER),
        };
        if std::mem::replace(flag, true) {
            return Err(replies::BAD_PARAMETER);
        }
    }
    Ok(notify)
}
