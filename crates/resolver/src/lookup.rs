//! Look-ups: what a client is called, where a host is.

use crate::answer::{ALIASES_MAX, Records};
use crate::cache::{Cache, KEPT, Kept};
use crate::hosts::Hosts;
use crate::question::{Kind, Question};
use crate::servers::Servers;
use gatepost_smtp::names::{ClientNames, Found, HostName};
use gatepost_wire::slice::HostsEntry;
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};

/// Questions under way at once; more wait. Each has a socket.
pub(crate) const QUESTIONS_MAX: usize = 256;
/// The longest that a look-up takes.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(10);
/// Names of one address that are looked up again to confirm one.
pub(crate) const NAMES_TRIED: usize = 4;

/// When an answer is good no more that nobody keeps.
const FOR_EVER: u64 = u64::MAX;

/// Looks up names. Must be used on a tokio runtime with time and I/O; may be shared by any number of tasks.
#[derive(Debug)]
pub struct Resolver {
    source: Mutex<Arc<Source>>,
    questions: Semaphore,
    /// A question that no server answered: see [`Resolver::doubted`].
    doubt: Notify,
    begun: Instant,
}

/// Where names come from. A look-up ends with what it has begun with.
#[derive(Debug)]
struct Source {
    servers: Servers,
    hosts: Hosts,
    cache: Mutex<Cache>,
    /// No server answers: nothing is asked until one does, so that nobody waits for nothing.
    silent: AtomicBool,
    /// Questions that are being asked: who asks the same waits, and finds the answer in the cache.
    under_way: Mutex<HashMap<Question, UnderWay>>,
}

/// A question that is being asked.
#[derive(Debug, Default)]
struct UnderWay {
    /// Whose turn it is to ask.
    turn: Arc<tokio::sync::Mutex<()>>,
    askers: usize,
}

/// One of those who ask a question. The last one takes it out of the map, also when its look-up is cut off.
struct Asker<'a> {
    source: &'a Source,
    question: &'a Question,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl<'a> Asker<'a> {
    fn new(source: &'a Source, question: &'a Question) -> Self {
        let mut under_way = held(&source.under_way);
        let one = under_way.entry(question.clone()).or_default();
        one.askers = one.askers.saturating_add(1);
        Self { source, question, turn: Arc::clone(&one.turn) }
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        let mut under_way = held(&self.source.under_way);
        if let Some(one) = under_way.get_mut(self.question) {
            one.askers = one.askers.saturating_sub(1);
            if one.askers == 0 {
                under_way.remove(self.question);
            }
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    fn new(servers: Vec<SocketAddr>, hosts: Vec<HostsEntry>) -> Arc<Self> {
        Arc::new(Self {
            servers: Servers::new(servers),
            hosts: Hosts::new(hosts),
            cache: Mutex::default(),
            silent: AtomicBool::new(false),
            under_way: Mutex::default(),
        })
    }
}

impl Resolver {
    /// From name servers, in the order in which they are asked, and entries of the hosts file, which go before them. Without a
    /// server, whatever isn't in the hosts file is [`Found::Temporary`].
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>, hosts: Vec<HostsEntry>) -> Self {
        Self {
            source: Mutex::new(Source::new(servers, hosts)),
            questions: Semaphore::new(QUESTIONS_MAX),
            doubt: Notify::new(),
            begun: Instant::now(),
        }
    }

    /// From now on with these; what was known is forgotten.
    pub fn replace(&self, servers: Vec<SocketAddr>, hosts: Vec<HostsEntry>) {
        *held(&self.source) = Source::new(servers, hosts);
        self.doubt.notify_one();
    }

    /// Asks all servers at once something that each answers without asking others: what 127.0.0.1 is called (RFC 6303). As long as
    /// none answers, look-ups of what isn't known are [`Found::Temporary`] at once. Takes a second at most.
    ///
    /// # Errors
    /// None answers: a sentence that says of each server why.
    pub async fn probe(&self) -> Result<(), String> {
        let source = self.source();
        let answered = source.servers.probe().await;
        source.silent.store(answered.is_err(), Ordering::Relaxed);
        answered
    }

    /// A line for each name server: whether it answers, and its last failure.
    #[must_use]
    pub(crate) fn describe(&self) -> String {
        self.source().servers.describe()
    }

    /// Waits until a question has not been answered by any server, or servers were replaced, since this was waited for last. It may
    /// be the question's fault: [`Resolver::probe`] tells.
    pub(crate) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// The names of a client, the confirmed one being the first that leads back to `ip`. Takes `TIME_MAX` at most.
    pub async fn client(&self, ip: IpAddr) -> ClientNames {
        self.client_of(&self.source(), ip, &mut FOR_EVER.clone()).await
    }

    /// As [`Resolver::client`], and how long that is good. A failure is not, nor is what has come from servers that were replaced
    /// meanwhile.
    pub(crate) async fn client_for_a_while(&self, ip: IpAddr) -> (ClientNames, Duration) {
        let source = self.source();
        let mut good = self.now().saturating_add(KEPT.0);
        let names = self.client_of(&source, ip, &mut good).await;
        let failed = names.reverse == Found::Temporary || names.confirmed == Found::Temporary;
        if failed || !Arc::ptr_eq(&source, &self.source()) {
            return (names, Duration::ZERO);
        }
        (names, Duration::from_millis(good.saturating_sub(self.now())))
    }

    /// `good`: lowered to when the first of the answers that it is from is good no more.
    async fn client_of(&self, source: &Source, ip: IpAddr, good: &mut u64) -> ClientNames {
        if let Some(name) = source.hosts.name(ip) {
            // It leads back by the line that it is from.
            return ClientNames { reverse: Found::Known(name.clone()), confirmed: Found::Known(name.clone()) };
        }
        let until = Instant::now() + TIME_MAX;
        match within(until, self.names(source, ip, good)).await {
            Found::Known(names) => {
                let reverse = names.first().cloned().map_or(Found::None, Found::Known);
                let confirmed = within(until, self.confirm(source, ip, names, good)).await;
                // The name that is confirmed is the one to tell, where there are several.
                let reverse = confirmed.known().map_or(reverse, |name| Found::Known(name.clone()));
                ClientNames { reverse, confirmed }
            }
            Found::None => ClientNames::NONE,
            Found::Temporary => ClientNames::TEMPORARY,
        }
    }

    /// What `ip` is said to be called, unconfirmed: whoever has the address can say anything here. Takes `TIME_MAX` at most.
    pub async fn reverse(&self, ip: IpAddr) -> Found<HostName> {
        let source = self.source();
        if let Some(name) = source.hosts.name(ip) {
            return Found::Known(name.clone());
        }
        let names = within(Instant::now() + TIME_MAX, self.names(&source, ip, &mut FOR_EVER.clone())).await;
        match names.map(|names| names.into_iter().next()) {
            Found::Known(Some(name)) => Found::Known(name),
            Found::Known(None) | Found::None => Found::None,
            Found::Temporary => Found::Temporary,
        }
    }

    /// The addresses of a host, IPv4 before IPv6, at least one when known. Takes `TIME_MAX` at most.
    pub async fn addresses(&self, host: &HostName) -> Found<Vec<IpAddr>> {
        let source = self.source();
        let until = Instant::now() + TIME_MAX;
        let good = &mut FOR_EVER.clone();
        let v4 = within(until, self.of_family(&source, host, Kind::A, good)).await;
        let v6 = within(until, self.of_family(&source, host, Kind::Aaaa, good)).await;
        match (v4, v6) {
            (Found::Known(v4), Found::Known(v6)) => Found::Known([v4, v6].concat()),
            (Found::Known(one), _) | (_, Found::Known(one)) => Found::Known(one),
            (Found::None, Found::None) => Found::None,
            (Found::Temporary, _) | (_, Found::Temporary) => Found::Temporary,
        }
    }

    /// The addresses (A) of a name that is no host's. Takes [`TIME_MAX`] at most.
    pub(crate) async fn listing(&self, question: Question) -> Found<Vec<IpAddr>> {
        let source = self.source();
        let answer = within(Instant::now() + TIME_MAX, self.answer(&source, question, &mut FOR_EVER.clone())).await;
        match answer {
            Found::Known(Records::Addresses(addresses)) => Found::Known(addresses),
            Found::Known(_) | Found::None => Found::None,
            Found::Temporary => Found::Temporary,
        }
    }

    /// The text (TXT) of a name, if there is one. Takes [`TIME_MAX`] at most.
    pub(crate) async fn text(&self, question: Question) -> Option<Vec<u8>> {
        let source = self.source();
        let answer = within(Instant::now() + TIME_MAX, self.answer(&source, question, &mut FOR_EVER.clone())).await;
        if let Found::Known(Records::Text(text)) = answer { Some(text) } else { None }
    }

    /// No name server answers at the moment.
    pub(crate) fn is_silent(&self) -> bool {
        self.source().silent.load(Ordering::Relaxed)
    }

    fn source(&self) -> Arc<Source> {
        Arc::clone(&held(&self.source))
    }

    async fn names(&self, source: &Source, ip: IpAddr, good: &mut u64) -> Found<Vec<HostName>> {
        let Some(question) = Question::reverse(ip) else { return Found::Temporary };
        match self.answer(source, question, good).await {
            Found::Known(Records::Names(names)) => Found::Known(names),
            Found::Known(_) | Found::None => Found::None,
            Found::Temporary => Found::Temporary,
        }
    }

    async fn of_family(&self, source: &Source, host: &HostName, kind: Kind, good: &mut u64) -> Found<Vec<IpAddr>> {
        if let Some(addresses) = source.hosts.addresses(host) {
            let of_kind = addresses.iter().copied().filter(|ip| Kind::of_family(*ip) == kind);
            let addresses: Vec<IpAddr> = of_kind.collect();
            return if addresses.is_empty() { Found::None } else { Found::Known(addresses) };
        }
        let Some(question) = Question::forward(host, kind) else { return Found::Temporary };
        match self.answer(source, question, good).await {
            Found::Known(Records::Addresses(addresses)) => Found::Known(addresses),
            Found::Known(_) | Found::None => Found::None,
            Found::Temporary => Found::Temporary,
        }
    }

    /// The first of `names` that leads back to `ip`. Temporary as long as one that can't be looked up might.
    async fn confirm(&self, source: &Source, ip: IpAddr, names: Vec<HostName>, good: &mut u64) -> Found<HostName> {
        let ip = ip.to_canonical();
        let mut outcome = Found::None;
        for name in names.into_iter().take(NAMES_TRIED) {
            match self.of_family(source, &name, Kind::of_family(ip), good).await {
                Found::Known(addresses) if addresses.iter().any(|address| address.to_canonical() == ip) => {
                    return Found::Known(name);
                }
                Found::Known(_) | Found::None => {}
                Found::Temporary => outcome = Found::Temporary,
            }
        }
        outcome
    }

    /// The answer to a question, over as many CNAMEs as are followed.
    async fn answer(&self, source: &Source, question: Question, good: &mut u64) -> Kept {
        let kind = question.kind;
        let (mut question, mut depth) = (question, 0_usize);
        loop {
            let (kept, until) = self.cached(source, question).await;
            *good = until.min(*good);
            match kept {
                Found::Known(Records::Alias { name, depth: more }) => {
                    depth = depth.saturating_add(more);
                    if depth > ALIASES_MAX {
                        return Found::Temporary;
                    }
                    question = Question { name, kind };
                }
                other => return other,
            }
        }
    }

    /// From the cache, or asked once for all who want it at the moment; and until when it is kept there.
    async fn cached(&self, source: &Source, question: Question) -> (Kept, u64) {
        if let Some(kept) = held(&source.cache).get(&question, self.now()) {
            return kept;
        }
        let asker = Asker::new(source, &question);
        let _turn = asker.turn.lock().await;
        let kept = held(&source.cache).get(&question, self.now());
        match kept {
            Some(kept) => kept,
            None if source.silent.load(Ordering::Relaxed) => (Found::Temporary, self.now()),
            None => {
                // Never closed.
                let _one_of_many = self.questions.acquire().await;
                let answer = source.servers.ask(&question).await;
                if answer.is_none() {
                    self.doubt.notify_one();
                }
                held(&source.cache).put(question.clone(), answer.as_ref(), self.now())
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn within<T>(until: Instant, look_up: impl Future<Output = Found<T>>) -> Found<T> {
    timeout(until.saturating_duration_since(Instant::now()), look_up).await.unwrap_or(Found::Temporary)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use gatepost_testkit::name_server::{NameServer, Said, said};
    use std::future::poll_fn;
    use std::task::Poll;

    fn under_way(resolver: &Resolver) -> usize {
        held(&resolver.source().under_way).len()
    }

    #[test]
    fn p6_a_look_up_that_is_cut_off_leaves_nothing_and_whoever_asks_the_same_goes_on() {
        let silent = Said { silent: true, ..Said::default() };
        let server = NameServer::new(&[
            ("7.2.0.192.in-addr.arpa PTR", silent),
            ("8.2.0.192.in-addr.arpa PTR", said(&["8.2.0.192.in-addr.arpa 60 PTR mx.a.test"])),
        ]);
        let resolver = Resolver::new(vec![server.address], Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let reverse = |ip: &str| {
                let ip = ip.parse().unwrap();
                Box::pin(resolver.reverse(ip))
            };
            let until = Instant::now() + Duration::from_millis(50);
            let (mut one, mut other) = (reverse("192.0.2.7"), reverse("192.0.2.7"));
            for asker in [&mut one, &mut other] {
                assert_eq!(within(until, asker).await, Found::Temporary);
            }
            drop((one, other));
            assert_eq!(under_way(&resolver), 0, "after both are cut off");
            let (mut first, mut second) = (reverse("192.0.2.8"), reverse("192.0.2.8"));
            for asker in [&mut first, &mut second] {
                let begun = poll_fn(|cx| Poll::Ready(asker.as_mut().poll(cx).is_pending())).await;
                assert!(begun, "it has no answer yet");
            }
            assert_eq!(under_way(&resolver), 1);
            drop(first);
            assert_eq!(second.await, Found::Known(HostName::parse(b"mx.a.test").unwrap()));
            assert_eq!(under_way(&resolver), 0, "after the answer");
        });
    }
}
