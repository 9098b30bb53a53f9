//! What each role is told of the configuration: its slice and nothing more.

use crate::findings::{Fitness, nobody};
use crate::names;
use crate::pair_files::{load_authorities, load_pair};
use crate::plan::{PairSource, Plan, client_pair};
use gatepost_config::{Admission, AuthSource, Backend, Log, Relax, TlsMode, TlsVersion};
use gatepost_smtp::envelope::Service;
use gatepost_sys::as_owner;
use gatepost_wire::control::Role;
use gatepost_wire::slice::{
    AuthSlice, BackendSlice, BackendTls, Chain, CheckerSlice, Connect, Dialect, DialerSlice, HandoffSlice, HeloLists,
    Identity, KeyholderSlice, ListenerSlice, LogForm, LoginSource, NurserySlice, ObserverSlice, QueueSlice,
    ReceiverSlice, RouteSlice, Screen, Slice,
};
use gatepost_wire::tables::TablesSlice;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

/// Fewest and most connections that wait at once. For the fewest the listener's descriptors have room in any case; the most fit its
/// RLIMIT_DATA at 8 KiB each.
const WAITING: (u32, u32) = (256, 12_000);
/// The same for each session, where connections wait for more than a PROXY header.
const WAITING_PER_SESSION: u32 = 10;

/// Where the accounts of this machine are: a static program has no name service to ask.
pub(crate) const ACCOUNTS: &str = "/etc/passwd";

/// Octets of the largest passwd file: half a million logins.
const PASSWD_MAX: u64 = 64 * 1024 * 1024;

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

pub(crate) fn octets(slice: &impl Slice) -> Result<Vec<u8>, String> {
    slice.to_bytes().map_err(|e| e.to_string())
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn modes(plan: &Plan) -> Vec<TlsMode> {
    plan.config.listen.iter().map(|l| l.tls).chain(plan.submit_socket().map(|_| TlsMode::Off)).collect()
}

pub(crate) fn listener(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let limits = &plan.config.limits;
    octets(&ListenerSlice {
        listeners: modes(plan),
        services: plan
            .config
            .listen
            .iter()
            .map(|listen| listen.service)
            .chain(plan.submit_socket().map(|_| Service::Local))
            .collect(),
        hostname: plan.config.hostname.clone(),
        sessions: limits.sessions,
        sessions_per_address: limits.sessions_per_address,
        offences: limits.offences,
        connections: plan.config.rates.connections,
        proxy_from: plan.config.listen.iter().map(|listen| listen.proxy_from.clone()).collect(),
        screen: screen(plan),
    })
}

fn screen(plan: &Plan) -> Screen {
    let admission = &plan.config.admission;
    Screen {
        early_talk: admission.early_talk,
        pause: milliseconds(admission.pause),
        waiting: waiting(plan),
        lists: admission.before_greeting().map(|list| list.rule.clone()).collect(),
        defer_at: admission.defer_at,
        refuse_at: admission.refuse_at,
        untested: plan.config.relay.clients.clone(),
    }
}

fn helo_lists(admission: &Admission) -> HeloLists {
    let first = admission.before_greeting().count();
    HeloLists {
        first: u8::try_from(first).unwrap_or(u8::MAX),
        rules: admission.lists.iter().skip(first).map(|list| list.rule.clone()).collect(),
        defer_at: admission.defer_at,
        refuse_at: admission.refuse_at,
    }
}

/// Connections that wait at once before they have a session: each costs the listener a descriptor.
pub(crate) fn waiting(plan: &Plan) -> u32 {
    let (few, most) = WAITING;
    let tests_wait = !plan.config.admission.pause.is_zero() || plan.config.admission.before_greeting().next().is_some();
    if tests_wait { plan.config.limits.sessions.saturating_mul(WAITING_PER_SESSION).clamp(few, most) } else { few }
}

pub(crate) fn nursery(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let (tls, limits) = (&plan.config.tls, &plan.config.limits);
    octets(&NurserySlice {
        listeners: modes(plan),
        hostname: plan.config.hostname.clone(),
        chains: if plan.speaks_tls() { chains(plan)? } else { Vec::new() },
        tls_required: tls.required,
        tls13_only: tls.minimum == TlsVersion::V1_3,
        sessions: limits.sessions,
        data: limits.data,
        message_size: limits.message_size,
        recipients: limits.recipients,
        leniency: plan.config.smtp,
        command_timeout: seconds(limits.command_timeout),
        content_timeout: seconds(limits.content_timeout),
        minimum_rate: limits.minimum_rate,
        session_time: seconds(limits.session_time),
    })
}

/// The first pair is for all who ask for no other; a later one without names is for those that it certifies.
fn chains(plan: &Plan) -> Result<Vec<Chain>, String> {
    let loaded = plan.pairs().into_iter().enumerate().map(|(index, source)| {
        let (pair, _) = load_pair(source)?;
        let unnamed = index > 0 && pair.chain.names.is_empty();
        let names = if unnamed { pair.certified_names() } else { pair.chain.names };
        Ok(Chain { names, ..pair.chain })
    });
    loaded.collect()
}

pub(crate) fn keyholder(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let keys = |pairs: Vec<PairSource<'_>>| {
        pairs.into_iter().map(|pair| Ok(load_pair(pair)?.1)).collect::<Result<_, String>>()
    };
    octets(&KeyholderSlice { keys: keys(plan.pairs())?, client_keys: keys(plan.client_pairs().collect())? })
}

pub(crate) fn auth(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let source = match plan.config.logins() {
        Some(AuthSource::Passwd(path)) => LoginSource::Passwd(logins(path)?),
        Some(AuthSource::Dovecot(_)) => LoginSource::Dovecot,
        Some(AuthSource::Checkpassword(_)) => LoginSource::Checker,
        None => LoginSource::Passwd(Vec::new()),
    };
    octets(&AuthSlice { source })
}

/// The passwd file, of which nothing is understood here.
fn logins(path: &Path) -> Result<Vec<u8>, String> {
    let failed =
        |e| format!("cannot read {}: {e}; write a line for each login, as gatepost passwd does", path.display());
    let mut octets = Vec::new();
    as_owner::open(path)
        .and_then(|file| file.take(PASSWD_MAX.saturating_add(1)).read_to_end(&mut octets))
        .map_err(failed)?;
    if u64::try_from(octets.len()).is_ok_and(|length| length > PASSWD_MAX) {
        return Err(format!("{} has more than {PASSWD_MAX} octets", path.display()));
    }
    Ok(octets)
}

pub(crate) fn checker(plan: &Plan, fitness: &Fitness) -> Result<Vec<u8>, String> {
    let command = plan.config.login_program().map(|program| program.command.clone()).unwrap_or_default();
    let (uid, _) = fitness.ids_of(Role::Checker).ok_or_else(|| nobody(Role::Checker))?;
    octets(&CheckerSlice { command, uid })
}

pub(crate) fn handoff(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let (relay, limits) = (&plan.config.relay, &plan.config.limits);
    let mut keys = 0_u8;
    let mut of = |backend| backend_slice(backend, &mut keys);
    let main = &plan.config.backend;
    // Where mail goes that is for none of our domains.
    let logins =
        plan.config.submission.is_some() && (main.dialect, main.identity) == (Dialect::Smtp, Identity::Xclient);
    let backend = BackendSlice { logins, ..of(main)? };
    let routes = plan.config.routes.iter().map(|route| {
        let (domains, recipients) = (route.domains.clone(), route.recipients.clone());
        Ok(RouteSlice { domains, recipients, backend: of(&route.backend)? })
    });
    let submission = plan.config.submission.as_ref();
    octets(&HandoffSlice {
        hostname: plan.config.hostname.clone(),
        domains: relay.domains.clone(),
        any_domain: plan.trial.is_some(),
        clients: relay.clients.clone(),
        trusted: submission.map(|submission| submission.trusted_users.clone()).unwrap_or_default(),
        check_from: submission.is_some_and(|submission| submission.check_from),
        hide_client: submission.is_some_and(|submission| submission.hide_client),
        backend,
        routes: routes.collect::<Result<_, String>>()?,
        tables: tables(plan),
        message_size: limits.message_size,
        spool_size: limits.spool_size,
        spool_free: limits.spool_free,
        recipients: limits.recipients,
        hops: limits.hops,
        names_wait: milliseconds(plan.config.names.wait),
        rates: plan.config.rates.mail,
        helo_lists: helo_lists(&plan.config.admission),
        spool: if plan.rehearsal { String::new() } else { "/content".to_owned() },
    })
}

/// The tables as they are now.
pub(crate) fn tables(plan: &Plan) -> TablesSlice {
    plan.config.tables_slice(plan.submit_socket().map(|_| accounts()).unwrap_or_default())
}

/// The accounts of this machine, as lines of uid and name.
pub(crate) fn accounts() -> Vec<String> {
    let passwd = std::fs::read(ACCOUNTS).unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let account = |line: &str| {
        let mut fields = line.split(':');
        let (name, uid) = (fields.next()?, fields.nth(1)?);
        uid.parse::<u32>().ok().map(|uid| format!("{uid} {name}"))
    };
    passwd.lines().filter_map(account).collect()
}

/// One backend. `keys`: of how many before it the keyholder has a key.
fn backend_slice(backend: &Backend, keys: &mut u8) -> Result<BackendSlice, String> {
    let tls = backend_tls(backend, *keys)?;
    *keys = keys.saturating_add(u8::from(!tls.certificates.is_empty()));
    Ok(BackendSlice {
        dialect: backend.dialect,
        identity: backend.identity,
        tls,
        connect: backend.connect.clone(),
        relay_proof: backend.relay_proof,
        logins: false,
        reply_timeout: seconds(backend.reply_timeout),
        connections: backend.connections,
        texts: backend.texts,
    })
}

/// TLS with a backend: the authorities are read here, because handoff sees no file.
fn backend_tls(backend: &Backend, key: u8) -> Result<BackendTls, String> {
    let Some(tls) = &backend.tls else { return Ok(BackendTls::OFF) };
    let pair = client_pair(backend).map(load_pair).transpose()?;
    Ok(BackendTls {
        key,
        mode: tls.mode,
        roots: load_authorities(&tls.ca)?,
        name: tls.name.clone().unwrap_or_default(),
        certificates: pair.map(|(pair, _)| pair.chain.certificates).unwrap_or_default(),
    })
}

pub(crate) fn dialer(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let places = plan.config.places().enumerate();
    octets(&DialerSlice {
        connect: places.map(|(index, connect)| inside(plan, &backend(index), connect)).collect(),
        logins: plan.config.logins_at().map(|connect| inside(plan, LOGINS, connect)),
    })
}

/// Where the dialer sees the directory of the socket of the source of logins.
pub(crate) const LOGINS: &str = "logins";

/// Where the dialer sees the directory of its `index`-th backend socket.
pub(crate) fn backend(index: usize) -> String {
    format!("backend{index}")
}

/// A place as the dialer sees it from inside its jail, which has its directory by that name.
fn inside(plan: &Plan, name: &str, connect: &Connect) -> Connect {
    let root = Path::new("/");
    match connect {
        Connect::Unix(path) if plan.relaxes(Relax::Namespaces) => {
            Connect::Unix(root.join(path.strip_prefix(&plan.config.spool).unwrap_or(path)))
        }
        Connect::Unix(path) => Connect::Unix(root.join(name).join(path.file_name().unwrap_or_default())),
        Connect::Tcp(address) => Connect::Tcp(*address),
    }
}

pub(crate) fn observer(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let Log { json, level, cut, syslog } = plan.config.log;
    let form = match json {
        true => LogForm::Json,
        // A datagram has its priority by itself.
        false if syslog => LogForm::Text,
        false if gatepost_sys::fds::is_journal(std::io::stderr()) => LogForm::Journal,
        false => LogForm::Text,
    };
    let syslog = if syslog { std::process::id() } else { 0 };
    octets(&ObserverSlice { form, level, cut, syslog })
}

/// From the configuration and the system's files, read anew whenever a resolver is started and when they change.
pub(crate) fn resolver(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    octets(&names::slice(plan))
}

pub(crate) fn receiver(plan: &Plan, _: &Fitness) -> Result<Vec<u8>, String> {
    let hostname = plan.config.hostname.clone();
    octets(&ReceiverSlice { maildir: "/mail".to_owned(), socket_dir: "/lmtp".to_owned(), hostname })
}

/// A session waits for its message, so there are no more at once than sessions.
pub(crate) fn queue(plan: &Plan, fitness: &Fitness) -> Result<Vec<u8>, String> {
    let queue = plan.config.backend.queue.as_ref();
    octets(&QueueSlice {
        program: queue.map(|queue| text(&queue.program)).unwrap_or_default(),
        home: queue.map(|queue| text(&queue.home)).unwrap_or_default(),
        real_uid: fitness.queue_user,
        at_once: plan.config.limits.sessions,
    })
}
