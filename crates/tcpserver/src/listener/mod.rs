//! The jailed process: accepts, has names looked up, judges, and hands over.

mod connections;
mod judge;
mod names;

use crate::ListenerEnd;
use crate::address::Socket;
use crate::say::Say;
use connections::Listener;
use gatepost_config::host_files;
use gatepost_jail::{AloneListener, JailError, JailedListener};
use gatepost_resolver::Resolver;
use gatepost_sys::fds;
use gatepost_sys::limits::{self, Limit};
use gatepost_sys::process::{self, ProcessId};
use gatepost_ucspi::tcpserver::lines;
use gatepost_ucspi::tcpserver::long::Limits;
use gatepost_ucspi::tcpserver::options::{Names, Options};
use gatepost_wire::ucspi::{Ask, TEXT_MAX};
use judge::Variables;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Descriptors beyond those of connections: sockets, channel, runtime, rules, questions to name servers.
const OWN_FILES: u64 = 512;
/// Descriptors of connections that nobody has been started for yet, at most.
const PENDING_FILES: u64 = 16_384;

/// What the listener knows of the command line.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) sockets: Vec<Socket>,
    say: Say,
    account: (u32, u32),
    parent: ProcessId,
    limit: u64,
    names: Names,
    /// There are rules.
    rules: bool,
    missing_rules_allow: bool,
    banner: Vec<u8>,
    keep_ip_options: bool,
    delay: bool,
    limits: Limits,
    patch: Variables,
    servers: Vec<SocketAddr>,
    /// `/proc/loadavg`.
    load: Option<File>,
}

impl Terms {
    /// Reads what the jail will not let it read. The sockets are added later: they are this process's alone.
    pub(crate) fn new(options: &Options, account: (u32, u32), parent: ProcessId, say: Say) -> Self {
        Self {
            sockets: Vec::new(),
            say,
            account,
            parent,
            limit: options.limit,
            names: options.names.clone(),
            rules: options.rules.is_some(),
            missing_rules_allow: options.missing_rules_allow,
            banner: options.banner.clone(),
            keep_ip_options: options.keep_ip_options,
            delay: options.delay,
            limits: options.limits.clone(),
            patch: Variables::inherited(),
            servers: host_files::name_servers(&std::fs::read(host_files::RESOLV_CONF).unwrap_or_default()),
            load: File::open("/proc/loadavg").ok(),
        }
    }

    fn looks_up(&self) -> bool {
        self.names.local.is_none() || self.names.remote || self.names.ident
    }

    fn open_files(&self) -> u64 {
        let wanted = self.limit.min(PENDING_FILES).saturating_add(OWN_FILES);
        limits::get(Limit::OpenFiles).map_or(wanted, |(_, hard)| wanted.min(hard))
    }
}

/// The forked child from its first moment to its exit status.
pub(crate) fn begin(terms: Terms, channel: ListenerEnd) -> u8 {
    // Not abort(3): the system call filter would kill us in it.
    std::panic::set_hook(Box::new(|_| process::exit(1)));
    process::set_comm(c"listener");
    let say = terms.say;
    let entered = enter(&terms, &channel);
    let why = entered.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let text = why.as_bytes().get(..why.len().min(TEXT_MAX)).unwrap_or_default();
    if channel.tell(&Ask::Jail { entered: entered.is_ok(), text }).is_err() {
        return 1;
    }
    let Ok((jailed, runtime)) = entered else { return 1 };
    say.detail(lines::status(0, terms.limit));
    match runtime.block_on(async { Listener::new(jailed, terms, channel)?.serve().await }) {
        Ok(()) => 0,
        Err(why) => {
            say.fatal(&why);
            1
        }
    }
}

fn enter(terms: &Terms, channel: &ListenerEnd) -> Result<(JailedListener, Runtime), JailError> {
    let stderr = std::io::stderr();
    let mut keep: Vec<BorrowedFd<'_>> = vec![stderr.as_fd(), channel.as_fd()];
    keep.extend(terms.sockets.iter().map(|socket| socket.fd.as_fd()));
    keep.extend(terms.load.as_ref().map(AsFd::as_fd));
    let random = if terms.looks_up() { random_octets() } else { Vec::new() };
    keep.extend(random.iter().map(AsFd::as_fd));
    let jail = AloneListener {
        parent: terms.parent,
        keep: &keep,
        account: terms.account,
        open_files: terms.open_files(),
        looks_up: terms.looks_up(),
    };
    let (entered, unmet) = jail.enter()?;
    // Kept open by its number, which the library knows.
    std::mem::forget(random);
    for lack in unmet {
        let note = lines::note(&format!("the listener is without {}: {}", lack.what, lack.why));
        // Without -v the original says nothing when it starts, and an old kernel or a start without root is no reason to.
        if lack.usual { terms.say.detail(note) } else { terms.say.warn(note) }
    }
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|cause| JailError::Step { step: "make a runtime", cause })?;
    Ok((entered.seal()?, runtime))
}

/// Lets the resolver's library open `/dev/urandom`, from which it takes the ids of its queries in a static program and which it keeps
/// open: in the jail there is no such file, and opening any is forbidden. The question goes to a port of this host that only
/// root can listen at, and no answer is waited for. Gives what is open now.
fn random_octets() -> Vec<OwnedFd> {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    if let Ok(runtime) = Builder::new_current_thread().enable_io().enable_time().build() {
        let resolver = Resolver::new(vec![nobody], Vec::new());
        let question = resolver.reverse(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(1), question).await });
    }
    let is_random = |fd: &i32| {
        std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|path| path == Path::new("/dev/urandom"))
    };
    fds::census(DESCRIPTORS).into_iter().filter(is_random).filter_map(|fd| fds::inherited(fd).ok()).collect()
}

/// Descriptors that are looked at.
const DESCRIPTORS: i32 = 1024;
