//! The system calls that each role may make, with the reason for each. What is not listed kills the process.
//!
//! A role's list is the sum of the tables its profile names. Keep conditions rare: the kernel answers an unconditional
//! permission from a bitmap, and runs the filter only for the others.

use gatepost_sys::filter::When::{self, Always, Args, NotExecutable, PrivateNotExecutable};

/// One permitted system call.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// Its name in the kernel's table.
    pub name: &'static str,
    /// Which uses of it.
    pub when: When,
    /// The code path that needs it.
    pub reason: &'static str,
}

const fn call(name: &'static str, when: When, reason: &'static str) -> Call {
    Call { name, when, reason }
}

/// MSG_NOSIGNAL and no other flag: MSG_FASTOPEN would be a connect(2) that landlock does not see.
const NO_SIGNAL: u64 = 0x4000;
/// MSG_DONTWAIT: the dialer could make a connection blocking again.
const NO_WAIT: u64 = 0x40;
/// Both.
const NO_SIGNAL_NO_WAIT: u64 = NO_SIGNAL | NO_WAIT;
/// SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK.
const STREAM: u64 = 0x8_0801;
/// SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK.
const DATAGRAM: u64 = 0x8_0802;

/// Memory, descriptors in hand, ending: what any Rust program does.
pub const BASE: &[Call] = &[
    call("read", Always, "descriptors in hand; signalfd, eventfd"),
    call("write", Always, "log line to descriptor 2; eventfd; content file"),
    call("writev", Always, "standard library's unbuffered stderr"),
    call("close", Always, "descriptors that are done with"),
    call("brk", Always, "allocator, small blocks; RLIMIT_DATA bounds it"),
    call("mmap", PrivateNotExecutable, "allocator, large blocks"),
    call("mprotect", NotExecutable, "allocator, growing the arena"),
    call("munmap", Always, "allocator"),
    call("mremap", Always, "allocator, growing a large block; keeps its protection"),
    // Not MADV_MERGEABLE, by which pages of other processes can be guessed.
    call("madvise", Args(&[(2, 4)]), "MADV_DONTNEED: allocator, giving memory back"),
    call("sendmsg", Args(&[(2, NO_SIGNAL)]), "private channels: frames and descriptors"),
    call("recvmsg", Always, "private channels: frames and descriptors"),
    // Not requeueing or priority inheritance, in which holes were found. Not waiting: in a process of one thread that has no end.
    // FUTEX_PRIVATE_FLAG is 128.
    call("futex", Args(&[(1, 129)]), "FUTEX_WAKE: locks of the C library, the standard library and tracing"),
    call("clock_gettime", Always, "timeouts, where the vDSO does not answer"),
    call("getrandom", Always, "hash seeds; TLS randoms in a session"),
    call("sigaltstack", Always, "standard library, thread exit"),
    call("restart_syscall", Always, "waits that a stop or trace interrupted"),
    call("exit_group", Always, "the end"),
];

/// A channel to a new observer in the place of the old.
pub const RELINK: &[Call] = &[
    call("dup2", Args(&[(1, 2)]), "the new end becomes descriptor 2"),
    call("dup3", Args(&[(1, 2)]), "the same where dup2(2) is not"),
];

/// Waiting without a runtime.
pub const WAIT: &[Call] = &[
    call("poll", Always, "orders, links and deaths of children; a session's client"),
    call("ppoll", Always, "the same where poll(2) is not"),
];

/// An epoll that was made before the filter was in force.
pub const EPOLL: &[Call] = &[
    call("epoll_ctl", Always, "descriptors come and go with sessions"),
    call("epoll_wait", Always, "the loop"),
    call("epoll_pwait", Always, "the same where epoll_wait(2) is not"),
    // Not F_SETOWN and F_SETSIG, which together send any signal to any process of the same user.
    call("fcntl", Args(&[(1, 1)]), "F_GETFD: the standard library's own checks"),
    call("fcntl", Args(&[(1, 3)]), "F_GETFL: before O_NONBLOCK"),
    call("fcntl", Args(&[(1, 4)]), "F_SETFL: O_NONBLOCK of received descriptors"),
    call("fcntl", Args(&[(1, 1030)]), "F_DUPFD_CLOEXEC: a channel that is full is watched by a copy"),
    call("ioctl", Args(&[(1, 0x5421)]), "FIONBIO: O_NONBLOCK as the standard library sets it"),
];

/// Taking connections.
pub const ACCEPT: &[Call] = &[
    call("accept4", Always, "new connections"),
    call("getsockname", Always, "the address a client came to, for Received and XCLIENT"),
    call(
        "getsockopt",
        Args(&[(1, 1), (2, 17)]),
        "SO_PEERCRED: whose program a client is, on the socket for those of this machine",
    ),
    call("socketpair", Always, "a session's private channels"),
    call("sendto", Args(&[(3, NO_SIGNAL)]), "421 to a client that is not admitted"),
    // Not SHUT_RD: it would end a listening socket for everybody who has it. SHUT_WR does nothing to one.
    call("setsockopt", Args(&[(1, 6), (2, 1)]), "TCP_NODELAY"),
];

/// Serving those who read the counters: nothing is asked of the connection but what it sends.
pub(crate) const VIEW: &[Call] = &[call("accept4", Always, "who reads the counters")];

/// One client: what a session does beyond waiting, reading and writing. No call here can name an address or make a
/// descriptor.
pub const TALK: &[Call] = &[
    call("shutdown", Args(&[(1, 1)]), "SHUT_WR: after a last reply that the client has not asked for"),
    call("fcntl", Args(&[(1, 1)]), "F_GETFD: the standard library's own checks"),
    call("setsockopt", Args(&[(1, 1), (2, 20)]), "SO_RCVTIMEO: time limits of the private channels"),
    call("setsockopt", Args(&[(1, 1), (2, 21)]), "SO_SNDTIMEO: the same"),
];

/// Making sessions. Forbidden again in each session, first thing.
pub const FORK: &[Call] = &[
    call("clone", Always, "a session per connection; RLIMIT_NPROC bounds them"),
    call("rt_sigtimedwait", Always, "which of them has ended"),
    call("wait4", Always, "reaping it"),
    call("kill", Args(&[(1, 9)]), "SIGKILL: a session that does not leave its slot to somebody else"),
    call("dup2", Args(&[(1, 2)]), "a session has no log; the nursery's may be a new one"),
    call("dup3", Args(&[(1, 2)]), "the same where dup2(2) is not"),
    call("prctl", Always, "the session's name; no_new_privs again; die with the nursery"),
    call("prlimit64", Always, "a session's own limits: none may be raised"),
    call("setitimer", Args(&[(0, 0)]), "ITIMER_REAL: a session's last moment"),
    call("seccomp", Always, "the session's own filter: it can only forbid more"),
];

/// Connecting to the backend.
pub const DIAL: &[Call] = &[
    // Streams only: landlock says where TCP may go, and nothing would say so of UDP.
    call("socket", Args(&[(0, 1), (1, STREAM)]), "a connection to the backend's socket"),
    call("socket", Args(&[(0, 2), (1, STREAM)]), "a connection to the backend by IPv4; landlock says where to"),
    call("socket", Args(&[(0, 10), (1, STREAM)]), "the same by IPv6"),
    call("connect", Always, "the same"),
    call("getsockopt", Args(&[(1, 1), (2, 4)]), "SO_ERROR: did the connection come to be"),
    call("setsockopt", Args(&[(1, 6), (2, 1)]), "TCP_NODELAY"),
];

/// Asking name servers. Nothing here listens.
pub const ASK: &[Call] = &[
    call("socket", Args(&[(0, 2), (1, DATAGRAM)]), "a question by IPv4"),
    call("socket", Args(&[(0, 10), (1, DATAGRAM)]), "the same by IPv6"),
    call("socket", Args(&[(0, 2), (1, STREAM)]), "an answer that UDP cuts off, by IPv4; landlock says where from"),
    call("socket", Args(&[(0, 10), (1, STREAM)]), "the same by IPv6"),
    call("bind", Always, "a random port for each question; landlock allows none of TCP"),
    call("connect", Always, "to the name server, so that nobody else's answer is seen"),
    call("sendto", Args(&[(3, NO_SIGNAL)]), "the question"),
    call("recvfrom", Args(&[(3, 0)]), "the answer"),
    call("getsockopt", Args(&[(1, 1), (2, 4)]), "SO_ERROR: did the connection come to be"),
];

/// tcpserver's listener: connections that another process executes programs for.
pub(crate) const ADMIT: &[Call] = &[
    call("accept4", Always, "new connections"),
    call("getsockname", Always, "the address a client came to"),
    call("setsockopt", Args(&[(1, 6), (2, 1)]), "TCP_NODELAY"),
    call("setsockopt", Args(&[(1, 0), (2, 4)]), "IP_OPTIONS: source routes are taken off"),
    call("sendto", Args(&[(3, NO_SIGNAL_NO_WAIT)]), "the banner, and DIEMSG"),
    call("statx", Always, "whether the rules are written to"),
    call("pread64", Always, "the rules, from a descriptor that comes by the channel; MAXLOAD"),
];

/// The dialogue with the backend, on a connection that the dialer has made.
pub const BACKEND: &[Call] = &[
    call("sendto", Args(&[(3, NO_SIGNAL_NO_WAIT)]), "commands and content"),
    call("recvfrom", Args(&[(3, NO_WAIT)]), "replies"),
    call(
        "shutdown",
        Args(&[(1, 1)]),
        "SHUT_WR: the end of a connection; a QMQP server that is asked whether it takes any",
    ),
    call(
        "setsockopt",
        Args(&[(1, 1), (2, 20)]),
        "SO_RCVTIMEO: the keyholder's signature for a backend that wants a certificate",
    ),
    call("setsockopt", Args(&[(1, 1), (2, 21)]), "SO_SNDTIMEO: the question to the keyholder for it"),
];

/// Connections with the source of logins, which the dialer makes.
pub const LOGINS: &[Call] = &[
    call("sendto", Args(&[(3, NO_SIGNAL_NO_WAIT)]), "questions to Dovecot"),
    call("recvfrom", Args(&[(3, NO_WAIT)]), "its answers"),
];

/// The end of the one session that this process has forked.
pub(crate) const REAP: &[Call] = &[call("wait4", Always, "how the session's process ended")];

/// Content files.
pub const SPOOL: &[Call] = &[
    call("openat", Always, "content file in the spool; landlock says where"),
    call("unlink", Always, "its name is taken away at once"),
    call("unlinkat", Always, "the same where unlink(2) is not"),
    call("statx", Always, "its length"),
    call("fstatfs", Always, "what is free on its file system"),
    call("lseek", Always, "back to its start"),
    call("ftruncate", Always, "it is emptied for the next message"),
];

/// The embedded receiver's Maildir and socket.
pub const MAILDIR: &[Call] = &[
    call("linkat", Always, "from tmp to new, never over another"),
    call("fsync", Always, "a message is on the disk before its 250"),
    call("accept4", Always, "handoff's connections"),
    call("recvfrom", Always, "commands and content"),
    call("sendto", Args(&[(3, NO_SIGNAL)]), "replies"),
];
