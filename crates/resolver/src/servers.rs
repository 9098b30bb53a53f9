//! The name servers: one question, asked of one after the other until one answers it.

use crate::answer::{self, Answer, Unusable};
use crate::question::Question;
use domain::base::Message;
use domain::base::iana::Rcode;
use domain::net::client::dgram;
use domain::net::client::protocol::UdpConnect;
use domain::net::client::request::{GetResponse, RequestMessage, RequestMessageMulti, SendRequest};
use domain::net::client::stream;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Wait for one server, by round: a server that is dead must not use up the whole time, and one that has to ask far needs some.
const ROUNDS: [Duration; 2] = [Duration::from_millis(800), Duration::from_secs(3)];
/// Answers by TCP at once: each may have 64 KiB.
const STREAMS_MAX: usize = 16;
/// Octets of an answer by UDP that is asked for: not cut into fragments on any way (RFC 9715).
const UDP_MAX: u16 = 1232;

type Request = RequestMessage<Vec<u8>>;
type Octets = Vec<u8>;

/// Why one server did not answer a question.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing came that is an answer.
    Silent(String),
    /// An answer came that says nothing.
    Unusable(Unusable),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(why) => f.write_str(why),
            Self::Unusable(why) => why.fmt(f),
        }
    }
}

/// The name servers.
#[derive(Debug)]
pub(crate) struct Servers {
    list: Vec<SocketAddr>,
    /// The one that answered last is asked first.
    first: AtomicUsize,
    streams: Semaphore,
}

impl Servers {
    pub(crate) fn new(list: Vec<SocketAddr>) -> Self {
        Self { list, first: AtomicUsize::new(0), streams: Semaphore::new(STREAMS_MAX) }
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

    /// Asks one server.
    async fn ask_one(&self, server: SocketAddr, question: &Question, wait: Duration) -> Result<Answer, Failure> {
        match self.by_udp_then_tcp(server, question, wait, true).await {
            // A server from before EDNS (RFC 6891 §7).
            Err(Failure::Unusable(Unusable::Code(Rcode::FORMERR | Rcode::NOTIMP))) => {
                self.by_udp_then_tcp(server, question, wait, false).await
            }
            other => other,
        }
    }

    async fn by_udp_then_tcp(
        &self,
        server: SocketAddr,
        question: &Question,
        wait: Duration,
        edns: bool,
    ) -> Result<Answer, Failure> {
        let by_udp = by_udp(server, request(question)?, wait, edns);
        match judged(question, &in_time(wait, by_udp).await?) {
            Err(Failure::Unusable(Unusable::Truncated)) => {
                let by_tcp = async {
                    // Closed only by dropping it.
                    let _turn = self.streams.acquire().await;
                    by_tcp(server, request(question)?).await
                };
                judged(question, &in_time(wait, by_tcp).await?)
            }
            other => other,
        }
    }
}

fn request(question: &Question) -> Result<Request, Failure> {
    let unasked = || Failure::Silent("the question can't be written".to_owned());
    RequestMessage::new(question.query().ok_or_else(unasked)?).map_err(|_| unasked())
}

fn judged(question: &Question, octets: &Octets) -> Result<Answer, Failure> {
    let message = Message::from_slice(octets).map_err(|_| Failure::Unusable(Unusable::Malformed))?;
    answer::judge(question, message).map_err(Failure::Unusable)
}

async fn in_time(wait: Duration, answer: impl Future<Output = Result<Octets, Failure>>) -> Result<Octets, Failure> {
    // The transport may have used up all of `wait` itself.
    let late = || Failure::Silent("no answer in time".to_owned());
    timeout(wait.saturating_add(Duration::from_millis(50)), answer).await.unwrap_or_else(|_| Err(late()))
}

/// A socket of its own for each question, connected: the port is random, and the kernel drops what comes from elsewhere. The
/// transport gives the query a random id, and waits on when an answer has another id or question.
async fn by_udp(server: SocketAddr, request: Request, wait: Duration, edns: bool) -> Result<Octets, Failure> {
    let mut config = dgram::Config::new();
    config.set_max_retries(0);
    config.set_read_timeout(wait);
    config.set_udp_payload_size(edns.then_some(UDP_MAX));
    let udp = dgram::Connection::with_config(UdpConnect::new(server), config);
    let answer = udp.send_request(request).get_response().await;
    answer.map(|message| message.as_slice().to_vec()).map_err(silent)
}

async fn by_tcp(server: SocketAddr, request: Request) -> Result<Octets, Failure> {
    let stream = TcpStream::connect(server).await.map_err(silent)?;
    let (tcp, transport) = stream::Connection::<Request, RequestMessageMulti<Vec<u8>>>::new(stream);
    let mut answer = pin!(async move { tcp.get_request(request).get_response().await });
    let mut transport = pin!(transport.run());
    let mut running = true;
    // The transport does the work while the request waits; it may end before its answer is taken.
    let answer = poll_fn(|context| {
        if running && transport.as_mut().poll(context).is_ready() {
            running = false;
        }
        match answer.as_mut().poll(context) {
            Poll::Pending if !running => Poll::Ready(None),
            polled => polled.map(Some),
        }
    });
    let cut = || Failure::Silent("the connection was closed".to_owned());
    answer.await.ok_or_else(cut)?.map(|message| message.as_slice().to_vec()).map_err(silent)
}

fn silent(why: impl fmt::Display) -> Failure {
    Failure::Silent(why.to_string())
}
