//! Exit statuses: those of sysexits.h that sendmail(1) is known to give.

use gatepost_smtp::client::Reply;

/// An exit status. What each means to a caller: `Ok` handed over, `TempFail` keep it and try again, all others won't get better
/// by trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Every recipient's mail server has it.
    Ok = 0,
    /// EX_USAGE: the command line is wrong.
    Usage = 64,
    /// EX_DATAERR: the message is not one, or is refused for what it contains.
    DataErr = 65,
    /// EX_NOUSER: a recipient is refused.
    NoUser = 67,
    /// EX_NOHOST: a recipient's domain is refused.
    NoHost = 68,
    /// EX_UNAVAILABLE: refused for another reason.
    Unavailable = 69,
    /// EX_OSERR: the system can't tell who the caller is, or has no more room.
    OsErr = 71,
    /// EX_IOERR: the message can't be read.
    IoErr = 74,
    /// EX_TEMPFAIL: it can't be handed over now.
    TempFail = 75,
    /// EX_NOPERM: the caller may not do that.
    NoPerm = 77,
}

/// What was asked when a reply came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To be greeted, EHLO.
    Hello,
    /// MAIL.
    Sender,
    /// RCPT.
    Recipient,
    /// DATA and what follows it.
    Content,
}

/// What a refusal means to the caller, by its enhanced code (RFC 3463) where there is one.
#[must_use]
pub(crate) fn of_refusal(asked: Asked, reply: &Reply) -> Status {
    if !reply.is_permanent() {
        return Status::TempFail;
    }
    match (asked, reply.enhanced) {
        (_, Some((5, 7, _))) => Status::NoPerm,
        (Asked::Recipient, Some((5, 1, 2))) => Status::NoHost,
        (Asked::Recipient, Some((5, 1 | 2, _))) => Status::NoUser,
        (Asked::Recipient, None) => Status::NoUser,
        (Asked::Content, Some((5, 6, _)) | None) => Status::DataErr,
        (Asked::Content, Some((5, 3, 4))) => Status::DataErr,
        _ => Status::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_smtp::client::ReplyReader;

    #[test]
    fn a_refusal_has_the_status_that_sendmail_gives() {
        for (asked, reply, status) in [
            (Asked::Hello, "421 4.3.2 not now", Status::TempFail),
            (Asked::Hello, "554 no", Status::Unavailable),
            (Asked::Sender, "553 5.7.1 not yours", Status::NoPerm),
            (Asked::Sender, "552 5.3.4 too large", Status::Unavailable),
            (Asked::Recipient, "550 5.1.1 nobody", Status::NoUser),
            (Asked::Recipient, "550 no", Status::NoUser),
            (Asked::Recipient, "550 5.1.2 no such host", Status::NoHost),
            (Asked::Recipient, "554 5.7.1 relaying denied", Status::NoPerm),
            (Asked::Recipient, "451 4.3.0 later", Status::TempFail),
            (Asked::Recipient, "552 5.5.3 too many", Status::Unavailable),
            (Asked::Content, "554 5.6.0 not a message", Status::DataErr),
            (Asked::Content, "552 5.3.4 too large", Status::DataErr),
            (Asked::Content, "550 5.7.1 spam", Status::NoPerm),
            (Asked::Content, "452 4.3.1 no room", Status::TempFail),
        ] {
            let (_, read) = ReplyReader::new().push(format!("{reply}\r\n").as_bytes()).unwrap();
            assert_eq!(of_refusal(asked, &read.unwrap()), status, "{asked:?} {reply}");
        }
    }
}
