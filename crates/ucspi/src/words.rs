//! The words for errors of system calls that every program of that family shares: its own, not strerror(3).

use std::io::{self, ErrorKind};

/// Number (of x86, ARM, RISC-V and most others; Linux, asm-generic/errno.h), name, words.
#[rustfmt::skip] // One line an error.
const WORDS: &[(i32, &str, &str)] = &[
    (1, "EPERM", "permission denied"),
    (2, "ENOENT", "file does not exist"),
    (3, "ESRCH", "no such process"),
    (4, "EINTR", "interrupted system call"),
    (5, "EIO", "input/output error"),
    (6, "ENXIO", "device not configured"),
    (7, "E2BIG", "argument list too long"),
    (8, "ENOEXEC", "exec format error"),
    (9, "EBADF", "file descriptor not open"),
    (10, "ECHILD", "no child processes"),
    (11, "EAGAIN", "temporary failure"),
    (12, "ENOMEM", "out of memory"),
    (13, "EACCES", "access denied"),
    (14, "EFAULT", "bad address"),
    (15, "ENOTBLK", "not a block device"),
    (16, "EBUSY", "device busy"),
    (17, "EEXIST", "file already exists"),
    (18, "EXDEV", "cross-device link"),
    (19, "ENODEV", "device does not support operation"),
    (20, "ENOTDIR", "not a directory"),
    (21, "EISDIR", "is a directory"),
    (22, "EINVAL", "invalid argument"),
    (23, "ENFILE", "system cannot open more files"),
    (24, "EMFILE", "process cannot open more files"),
    (25, "ENOTTY", "not a tty"),
    (26, "ETXTBSY", "text busy"),
    (27, "EFBIG", "file too big"),
    (28, "ENOSPC", "out of disk space"),
    (29, "ESPIPE", "unseekable descriptor"),
    (30, "EROFS", "read-only file system"),
    (31, "EMLINK", "too many links"),
    (32, "EPIPE", "broken pipe"),
    (33, "EDOM", "input out of range"),
    (34, "ERANGE", "output out of range"),
    (35, "EDEADLK", "operation would cause deadlock"),
    (36, "ENAMETOOLONG", "file name too long"),
    (37, "ENOLCK", "no locks available"),
    (38, "ENOSYS", "system call not available"),
    (39, "ENOTEMPTY", "directory not empty"),
    (40, "ELOOP", "symbolic link loop"),
    (42, "ENOMSG", "no message of desired type"),
    (43, "EIDRM", "identifier removed"),
    (60, "ENOSTR", "not a stream device"),
    (62, "ETIME", "timer expired"),
    (63, "ENOSR", "out of stream resources"),
    (64, "ENONET", "machine not on network"),
    (66, "EREMOTE", "too many levels of remote in path"),
    (67, "ENOLINK", "link severed"),
    (68, "EADV", "advertise error"),
    (69, "ESRMNT", "srmount error"),
    (70, "ECOMM", "communication error"),
    (71, "EPROTO", "protocol error"),
    (72, "EMULTIHOP", "multihop attempted"),
    (74, "EBADMSG", "bad message type"),
    (78, "EREMCHG", "remote address changed"),
    (87, "EUSERS", "too many users"),
    (88, "ENOTSOCK", "not a socket"),
    (89, "EDESTADDRREQ", "destination address required"),
    (90, "EMSGSIZE", "message too long"),
    (91, "EPROTOTYPE", "incorrect protocol type"),
    (92, "ENOPROTOOPT", "protocol not available"),
    (93, "EPROTONOSUPPORT", "protocol not supported"),
    (94, "ESOCKTNOSUPPORT", "socket type not supported"),
    (95, "EOPNOTSUPP", "operation not supported"),
    (96, "EPFNOSUPPORT", "protocol family not supported"),
    (97, "EAFNOSUPPORT", "address family not supported"),
    (98, "EADDRINUSE", "address already used"),
    (99, "EADDRNOTAVAIL", "address not available"),
    (100, "ENETDOWN", "network down"),
    (101, "ENETUNREACH", "network unreachable"),
    (102, "ENETRESET", "network reset"),
    (103, "ECONNABORTED", "connection aborted"),
    (104, "ECONNRESET", "connection reset"),
    (105, "ENOBUFS", "out of buffer space"),
    (106, "EISCONN", "already connected"),
    (107, "ENOTCONN", "not connected"),
    (108, "ESHUTDOWN", "socket shut down"),
    (109, "ETOOMANYREFS", "too many references"),
    (110, "ETIMEDOUT", "timed out"),
    (111, "ECONNREFUSED", "connection refused"),
    (112, "EHOSTDOWN", "host down"),
    (113, "EHOSTUNREACH", "host unreachable"),
    (114, "EALREADY", "operation already in progress"),
    (115, "EINPROGRESS", "operation in progress"),
    (116, "ESTALE", "stale NFS file handle"),
    (122, "EDQUOT", "disk quota exceeded"),
];

/// The original's words for what went wrong with a file or a call. A damaged database is a "protocol error".
#[must_use]
pub fn of(error: &io::Error) -> &'static str {
    row(error).map_or("unknown error", |row| row.2)
}

/// The error's number, to be told to another process; EIO for one that has no words.
#[must_use]
pub fn number(error: &io::Error) -> u16 {
    row(error).and_then(|row| u16::try_from(row.0).ok()).unwrap_or(5)
}

fn row(error: &io::Error) -> Option<&'static (i32, &'static str, &'static str)> {
    let named = |wanted: &str| WORDS.iter().find(|(_, name, _)| *name == wanted);
    match (error.raw_os_error(), error.kind()) {
        (Some(number), _) => WORDS.iter().find(|row| row.0 == number),
        // What this program finds out by itself, and the original by a call that fails or an errno that it sets.
        (None, ErrorKind::InvalidData) => named("EPROTO"),
        (None, ErrorKind::InvalidInput) => named("EINVAL"),
        (None, ErrorKind::IsADirectory) => named("EISDIR"),
        (None, ErrorKind::NotFound) => named("ENOENT"),
        (None, ErrorKind::OutOfMemory) => named("ENOMEM"),
        (None, ErrorKind::FileTooLarge) => named("EFBIG"),
        (None, ErrorKind::StorageFull | ErrorKind::WriteZero) => named("ENOSPC"),
        (None, ErrorKind::WouldBlock) => named("EAGAIN"),
        (None, ErrorKind::TimedOut) => named("ETIMEDOUT"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn issue_11_words_are_those_of_the_original() {
        if ["/usr/bin/strace", "/usr/bin/tcprulescheck"].iter().any(|program| !Path::new(program).exists()) {
            assert!(std::env::var_os("CI").is_none(), "strace and ucspi-tcp must be there in CI");
            return eprintln!("skipped: strace or ucspi-tcp is not installed");
        }
        let mut known = 0;
        for number in 1..=133 {
            // The open(2) of its file fails so.
            let inject = format!("inject=openat:error={number}");
            let traced = ["-o", "/dev/null", "-P", "none.cdb", "-e", &inject, "tcprulescheck", "none.cdb"];
            let output = Command::new("strace").args(traced).output().unwrap();
            let words = of(&io::Error::from_raw_os_error(number));
            let expected = format!("tcprulescheck: fatal: unable to read none.cdb: {words}\n");
            assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{number}");
            known += usize::from(words != "unknown error");
        }
        println!("{known} errors have words, {} have none", 133 - known);
    }
}
