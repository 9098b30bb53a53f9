//! The name servers: one question, asked of one after the other until one answers it.

use crate::answer::{self, Answer, Unusable};
use crate::question::Question;
use crate::transport::{self, Octets};
use domain::base::Message;
use domain::base::iana::Rcode;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Wait for one server, by round: a server that is dead must not use up the whole time, and one that has to ask far needs some.
const ROUNDS: [Duration; 2] = [Duration::from_millis(800), Duration::from_secs(3)];
/// Wait for an answer to a probe.
const PROBE: Duration = Duration::from_millis(900);
/// Answers by TCP at once: each may have 64 KiB.
const STREAMS_MAX: usize = 16;

/// Why one server did not answer a question.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing came that is an answer.
    Silent(String),
    /// An answer came that says nothing.
    Unusable(Unusable),
}

impl Failure {
    /// Whether who answered so may answer another question.
    fn is_alive(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Unusable(Unusable::Code(Rcode::REFUSED) | Unusable::NotRecursive) => false,
            Self::Unusable(_) => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) => f.write_str(why),
            Self::Unusable(why) => why.fmt(f),
        }
    }
}

/// What is known of one server.
#[derive(Debug, Default)]
struct Known {
    /// Whether it answered when it was asked last; none: it was not asked.
    answers: Option<bool>,
    /// When it failed last, and how.
    failure: Option<(Instant, String)>,
}

/// The name servers.
#[derive(Debug)]
pub(crate) struct Servers {
    list: Vec<SocketAddr>,
    /// Of each.
    known: Vec<Mutex<Known>>,
    /// The one that answered last is asked first.
    first: AtomicUsize,
    streams: Semaphore,
}

impl Servers {
    pub(crate) fn new(list: Vec<SocketAddr>) -> Self {
        let known = list.iter().map(|_| Mutex::default()).collect();
        Self { list, known, first: AtomicUsize::new(0), streams: Semaphore::new(STREAMS_MAX) }
    }

    /// A line for each: whether it answers, and its last failure.
    pub(crate) fn describe(&self) -> String {
        let line = |(server, known): (&SocketAddr, &Mutex<Known>)| {
            let Known { answers, failure } = &*known.lock().unwrap_or_else(PoisonError::into_inner);
            let answers = match answers {
                Some(true) => "answers",
                Some(false) => "does not answer",
                None => "has not been asked",
            };
            let failure = failure.as_ref().map(|(at, why)| (at.elapsed().as_secs(), why));
            let failure = failure.map(|(ago, why)| format!("; last failure {ago} s ago: {why}")).unwrap_or_default();
            format!("server   {server}: {answers}{failure}\n")
        };
        if self.list.is_empty() {
            return "server   none: neither [names] servers nor /etc/resolv.conf names one\n".to_owned();
        }
        self.list.iter().zip(&self.known).map(line).collect()
    }

    /// Notes what became of a question to one.
    fn note(&self, server: SocketAddr, became: &Result<Answer, Failure>) {
        let known = self.list.iter().position(|listed| *listed == server).and_then(|place| self.known.get(place));
        let Some(known) = known else { return };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.answers = Some(became.as_ref().err().is_none_or(Failure::is_alive));
        if let Err(why) = became {
            known.failure = Some((Instant::now(), why.to_string()));
        }
    }

    /// Asks one server after the other, each twice at most. `None`: none could answer.
    pub(crate) async fn ask(&self, question: &Question) -> Option<Answer> {
        let first = self.first.load(Ordering::Relaxed);
        for wait in ROUNDS {
            for (place, server) in self.list.iter().enumerate().cycle().skip(first).take(self.list.len()) {
                match self.ask_one(*server, question, wait).await {
                    Ok(answer) => {
                        self.first.store(place, Ordering::Relaxed);
                        return Some(answer);
                    }
                    Err(why) => tracing::debug!("{server}: {} {:?}: {why}", question.name, question.kind),
                }
            }
        }
        None
    }

    /// Whether any server answers, each asked at the same time.
    ///
    /// # Errors
    /// A sentence that says of each why it doesn't.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let Some(question) = Question::reverse(Ipv4Addr::LOCALHOST.into()) else { return Ok(()) };
        let mut asked: Vec<_> =
            self.list.iter().map(|server| Box::pin(self.ask_one(*server, &question, PROBE))).collect();
        let mut silent: Vec<Option<String>> = vec![None; asked.len()];
        let alive = poll_fn(|context| {
            for (asked, why) in asked.iter_mut().zip(&mut silent).filter(|(_, why)| why.is_none()) {
                match asked.as_mut().poll(context) {
                    Poll::Pending => {}
                    Poll::Ready(Err(failure)) if !failure.is_alive() => *why = Some(failure.to_string()),
                    Poll::Ready(_) => return Poll::Ready(true),
                }
            }
            if silent.iter().all(Option::is_some) { Poll::Ready(false) } else { Poll::Pending }
        });
        if alive.await {
            return Ok(());
        }
        let whys = self.list.iter().zip(silent);
        let whys: Vec<String> = whys.map(|(server, why)| format!("{server}: {}", why.unwrap_or_default())).collect();
        Err(if whys.is_empty() { "there is none".to_owned() } else { whys.join("; ") })
    }

    /// Asks one server.
    async fn ask_one(&self, server: SocketAddr, question: &Question, wait: Duration) -> Result<Answer, Failure> {
        let became = match self.by_udp_then_tcp(server, question, wait, true).await {
            // A server from before EDNS (RFC 6891 §7).
            Err(Failure::Unusable(Unusable::Code(Rcode::FORMERR | Rcode::NOTIMP))) => {
                self.by_udp_then_tcp(server, question, wait, false).await
            }
            other => other,
        };
        self.note(server, &became);
        became
    }

    async fn by_udp_then_tcp(
        &self,
        server: SocketAddr,
        question: &Question,
        wait: Duration,
        edns: bool,
    ) -> Result<Answer, Failure> {
        let by_udp = transport::by_udp(server, question, edns);
        match judged(question, &in_time(wait, by_udp).await?) {
            Err(Failure::Unusable(Unusable::Truncated)) => {
                let by_tcp = async {
                    // Never closed.
                    let _turn = self.streams.acquire().await;
                    transport::by_tcp(server, question).await
                };
                judged(question, &in_time(wait, by_tcp).await?)
            }
            other => other,
        }
    }
}

fn judged(question: &Question, octets: &Octets) -> Result<Answer, Failure> {
    let message = Message::from_slice(octets).map_err(|_| Failure::Unusable(Unusable::Malformed))?;
    answer::judge(question, message).map_err(Failure::Unusable)
}

async fn in_time(wait: Duration, answer: impl Future<Output = io::Result<Octets>>) -> Result<Octets, Failure> {
    match timeout(wait, answer).await {
        Ok(Ok(octets)) => Ok(octets),
        Ok(Err(e)) => Err(Failure::Silent(e.to_string())),
        Err(_) => Err(Failure::Silent("no answer in time".to_owned())),
    }
}
