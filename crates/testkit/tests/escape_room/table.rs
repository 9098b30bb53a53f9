//! The attempts, and what must come of each.

/// What must come of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// The process ends by one of these signals, without a word.
    Killed(&'static [u8]),
    /// It says just this.
    Says(&'static str),
    /// It says one of these.
    SaysOneOf(&'static [&'static str]),
    /// It says a number, this at most and above zero.
    UpTo(u64),
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Its name in the escape room.
    pub(crate) name: &'static str,
    /// With this argument.
    pub(crate) argument: &'static str,
    /// What must come of it.
    pub(crate) expect: Expect,
    /// Messages to Alice that it may bring to the backend, and does.
    pub(crate) messages: usize,
}

const SYS: &[u8] = &[31];
pub(crate) const KILLED: Expect = Expect::Killed(SYS);
/// The fault itself, or what the standard library calls after it, which no session may call.
const OVERFLOW: Expect = Expect::Killed(&[11, 31]);
/// A kernel without 32-bit programs answers by a fault.
const KILLED_OR_FAULT: Expect = Expect::Killed(&[31, 11]);
const DROPPED: Expect = Expect::Says("dropped");
const DENIED: Expect = Expect::Says("550 RelayDenied");
const NO_MEMORY: Expect = Expect::Says("refused 12");
const TAKEN: Expect = Expect::Says("250 Ok");

const fn row(name: &'static str, expect: Expect) -> Row {
    Row { name, argument: "", expect, messages: 0 }
}

const fn with(name: &'static str, argument: &'static str, expect: Expect) -> Row {
    Row { name, argument, expect, messages: 0 }
}

/// Refused in what it tries, but the message beside it is good.
const fn delivers(name: &'static str, expect: Expect) -> Row {
    Row { name, argument: "", expect, messages: 1 }
}

/// All attempts but those on bare system calls, which `gatepost_sys::escape` lists and all of which must kill.
pub(crate) const ROWS: &[Row] = &[
    // P3: no file, no socket, no exec, no fork, no signal.
    row("open a file as programs do", KILLED),
    row("list a directory as programs do", KILLED),
    row("write a file as programs do", KILLED),
    row("connect by TCP as programs do", KILLED),
    row("send by UDP as programs do", KILLED),
    row("connect to a path as programs do", KILLED),
    row("connect to an abstract name as programs do", KILLED),
    row("resolve a name as programs do", KILLED),
    row("execute as programs do", KILLED),
    row("fork as programs do", KILLED),
    row("make a thread as programs do", KILLED),
    row("abort as programs do", KILLED),
    with("connect elsewhere while sending", "127.0.0.1:2525", KILLED),
    with("signals to a sister by the client's socket", "2", KILLED),
    with("signals to a sister by the channel to handoff", "2", KILLED),
    with("signals to a sister by the client's socket", "1", KILLED),
    #[cfg(target_arch = "x86_64")]
    row("call as a 32-bit program", KILLED_OR_FAULT),
    #[cfg(target_arch = "x86_64")]
    row("call by an x32 number", KILLED),
    row("become deaf to signals", KILLED),
    row("write to every descriptor", Expect::Says("0 1 2")),
    // P6: bounded memory.
    row("allocate 100 MB", NO_MEMORY),
    row("allocate bit by bit", Expect::UpTo(1024)),
    row("raise the break by 100 MB", NO_MEMORY),
    row("map 100 MB", NO_MEMORY),
    row("map 100 MB shared", KILLED),
    row("map 100 MB that grow down", KILLED),
    row("map 1 TB to look at", NO_MEMORY),
    row("use 100 MB of stack", OVERFLOW),
    row("map writable code", KILLED),
    row("make what was written executable", KILLED),
    // P5: the key signs handshakes and nothing else. Two signatures are what a session may have.
    row("sign what a handshake needs", Expect::Says("signed")),
    row("sign three times", Expect::Says("signed signed dropped")),
    row("sign any octets", DROPPED),
    row("sign nothing", DROPPED),
    row("sign as a client of TLS 1.3", DROPPED),
    row("sign with a context of another protocol", DROPPED),
    row("sign a hash of a wrong length", DROPPED),
    row("sign what follows a good beginning", DROPPED),
    row("sign without the padding", DROPPED),
    row("sign a certificate", DROPPED),
    row("sign a TLS 1.2 exchange that pulls others down", DROPPED),
    row("sign a TLS 1.2 exchange with a bad point", DROPPED),
    row("sign with SHA-1", DROPPED),
    row("sign with a scheme of another key", DROPPED),
    row("sign with a key that is not there", DROPPED),
    row("sign twice in one frame", DROPPED),
    row("sign a message that is too long", DROPPED),
    row("send the keyholder garbage", DROPPED),
    row("send the keyholder a frame that is too long", DROPPED),
    row("send the keyholder an empty frame", DROPPED),
    row("send the keyholder another version", DROPPED),
    row("open a session at the keyholder", DROPPED),
    row("ask the keyholder what handoff is asked", DROPPED),
    row("answer the keyholder", DROPPED),
    with("send the keyholder descriptors", "1", DROPPED),
    with("send the keyholder descriptors", "4", DROPPED),
    with("send the keyholder descriptors", "5", DROPPED),
    with("send the keyholder descriptors", "30", DROPPED),
    row("send the keyholder its own channel", DROPPED),
    // P4: no relaying, whatever the session says.
    delivers("deliver as an honest session", TAKEN),
    row("relay to a foreign domain", DENIED),
    with("relay by a forward-path of choice", "victim%elsewhere.test@ok.test", DENIED),
    with("relay by a forward-path of choice", "elsewhere.test!victim@ok.test", DENIED),
    with("relay by a forward-path of choice", "\"victim@elsewhere.test\"@ok.test", DENIED),
    with("relay by a forward-path of choice", "victim@elsewhere.test@ok.test", DROPPED),
    with("relay by a forward-path of choice", "@ok.test:victim@elsewhere.test", DENIED),
    with("relay by a forward-path of choice", "victim@[192.0.2.1]", DENIED),
    with("relay by a forward-path of choice", "victim@ok.test.elsewhere.test", DENIED),
    with("relay by a forward-path of choice", "victim@sub.ok.test", DENIED),
    with("relay by a forward-path of choice", "victim", DROPPED),
    with("relay by a forward-path of choice", "", DROPPED),
    row("commit what was refused", DROPPED),
    delivers("add a foreign recipient to a good one", TAKEN),
    row("commit without a transaction", DROPPED),
    row("commit without a recipient", DROPPED),
    row("name a recipient without a transaction", DROPPED),
    row("send content without a recipient", DROPPED),
    row("ask for a file without a recipient", DROPPED),
    row("ask for more room without a file", DROPPED),
    row("send content in small frames without end", DROPPED),
    row("begin twice", DROPPED),
    row("name a recipient after content", DROPPED),
    row("go on before the answer", DROPPED),
    row("go on after the farewell", DROPPED),
    row("commit more than was sent", DROPPED),
    row("commit less than was sent", DROPPED),
    row("send more inline than was offered", DROPPED),
    // P4: no other address.
    row("open a session as another client", DROPPED),
    delivers("claim an address by helo", TAKEN),
    delivers("claim an address by an encoded helo", TAKEN),
    delivers("claim an address in Received by helo", TAKEN),
    delivers("claim an address by a literal for a helo", TAKEN),
    delivers("claim TLS of a kind that is not", TAKEN),
    // P9: one reading, and nothing injected.
    row("inject by helo", DROPPED),
    row("inject by the reverse-path", DROPPED),
    row("inject by the envelope id", DROPPED),
    row("inject by the forward-path", DROPPED),
    row("inject by a quoted forward-path", DROPPED),
    row("inject parameters by the reverse-path", DROPPED),
    row("inject by the original recipient", DROPPED),
    delivers("end the content early", TAKEN),
    row("end the content early with a lone LF", Expect::Says("554 BadContent")),
    row("end the content early with a lone CR", Expect::Says("554 BadContent")),
    delivers("end the content without a line end", TAKEN),
    row("put a NUL into the content", Expect::Says("554 BadContent")),
    row("change the content after the commit", Expect::SaysOneOf(&["250 Ok", "554 BadContent", "dropped"])),
    row("send handoff garbage", DROPPED),
    row("send handoff a frame that is too long", DROPPED),
    row("send handoff an empty frame", DROPPED),
    row("send handoff another version", DROPPED),
    row("send handoff a message that nobody knows", DROPPED),
    row("send handoff a message that ends early", DROPPED),
    row("send handoff octets after a message", DROPPED),
    row("answer handoff", DROPPED),
    row("ask handoff what the keyholder is asked", DROPPED),
    // P6: it costs only itself.
    with("name recipients without end", "100000", DROPPED),
    with("name recipients without hearing", "100000", DROPPED),
    with("reset without end", "100000", DROPPED),
    with("begin without end", "100000", DROPPED),
    with("have content refused without end", "100000", DROPPED),
    with("name more good recipients than there may be", "150", Expect::Says("452 TooManyRecipients")),
    row("fill the disk", Expect::Says("4259840 octets, then error 27")),
    row("read the content file", Expect::Says("refused 9")),
    with("ask for files without end", "300", Expect::Says("300")),
    with("send handoff descriptors", "1", DROPPED),
    with("send handoff descriptors", "4", DROPPED),
    with("send handoff descriptors", "5", DROPPED),
    with("send handoff descriptors", "30", DROPPED),
    with("send handoff descriptors without end", "2000", DROPPED),
    row("send handoff its own channel", Expect::Says("done ()")),
];

/// Attempts of a session whose client wants to submit mail.
pub(crate) const SUBMISSION_ROWS: &[Row] = &[
    row("log in", Expect::Says("Accepted")),
    row("guess", Expect::Says("Refused")),
    row("log in by another's name", Expect::Says("Refused")),
    row("log in twice", Expect::Says("Accepted, dropped")),
    row("log in, then as another", Expect::Says("Accepted, dropped")),
    row("claim by a mechanism that is not offered", DROPPED),
    row("tell handoff of a login", DROPPED),
    row("begin without a login", DROPPED),
    row("relay without a login", DROPPED),
    row("begin after a guess", DROPPED),
    // The backend of this room cannot be told of logins.
    row("begin after the login", Expect::Says("451 IdentityRefused")),
    row("send as another after the login", Expect::Says("553 NotYourAddress")),
    row("tell auth of a login", DROPPED),
    row("open a session at auth", DROPPED),
    row("note a login at auth", DROPPED),
    row("answer auth", DROPPED),
    row("go on with a dialogue that has not begun", Expect::Says("Unknown")),
    row("send auth garbage", DROPPED),
    row("send auth a frame that is too long", DROPPED),
    row("send auth an empty frame", DROPPED),
    row("send auth another version", DROPPED),
    with("send auth descriptors", "1", DROPPED),
    with("send auth descriptors", "4", DROPPED),
];
