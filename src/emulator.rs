//! The iTwin Platform on a loopback port, from iTwins to the runs of Export and Synchronization connections,
//! with its unkindness as settings: for the `demo` command, the tests and the benchmarks.
//!
//! In: a [`Platform`], which may be looked at and changed while it runs. Out: answers as documented and as
//! seen, and a log of every request. This file is the server: connections, the quota, scripted answers and
//! the log. What is right to answer is `platform`'s to say, and how it reads `answer`'s.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

mod access;
mod answer;
mod call;
mod discovery;
mod faults;
pub mod history;
mod holdings;
mod listing;
mod platform;

pub use self::access::Access;
use self::answer::HttpReply;
use self::call::{Call, Endpoint, Headers, QueryParameters};
pub use self::faults::{Answer, Faults, Links, On, RetryAfter, Scripted, Shift};
pub use self::holdings::{Connection, Imodel, Itwin};
pub use self::listing::{Listing, Order, Run};
pub use self::platform::Platform;
use self::platform::documented;

/// A running server on a thread and runtime of its own; stops when dropped.
#[derive(Debug)]
pub struct Emulator {
    address: SocketAddr,
    shared: Arc<ServerState>,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

/// One request as it was received, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path as sent, still encoded.
    pub path: String,
    /// The query as sent, still encoded.
    pub query: Option<String>,
    /// `$skip`, where it was sent and is a number.
    pub skip: Option<u64>,
    /// `$top`, where it was sent and is a number.
    pub top: Option<u64>,
    /// The status answered; 0 while there is no answer, or when the connection was dropped without one.
    pub status: u16,
    /// Whether an Authorization header was sent.
    pub authorization: bool,
    /// The Accept header.
    pub accept: Option<String>,
    /// The Prefer header.
    pub prefer: Option<String>,
    /// When it arrived.
    pub at: Instant,
    /// How many requests, this one included, were being answered when it arrived.
    pub in_flight: usize,
}

#[derive(Debug, Default)]
struct ServerState {
    platform: Mutex<Platform>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Request>,
    /// Requests received before the first one still in the log.
    cleared: u64,
    in_flight: usize,
    /// Arrivals that the quota counts.
    counted: VecDeque<Instant>,
}

impl Emulator {
    /// Serves `platform` on a free loopback port.
    pub fn start(platform: Platform) -> io::Result<Emulator> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::new(ServerState { platform: Mutex::new(platform), log: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let thread = std::thread::Builder::new()
            .name("emulator".to_owned())
            .spawn(move || runtime.block_on(serve(listener, address, served, stopped)))?;
        Ok(Emulator { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Its address: `http://127.0.0.1:PORT`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its state, to look at and to change. No request is answered until the guard is dropped.
    pub fn platform(&self) -> MutexGuard<'_, Platform> {
        lock(&self.shared.platform)
    }

    /// Every request received since the start or the last [`Emulator::clear_requests`], in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).requests.clone()
    }

    /// Empties the log of requests; the quota remembers them.
    pub fn clear_requests(&self) {
        let mut log = lock(&self.shared.log);
        log.cleared += log.requests.len() as u64;
        log.requests.clear();
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The server ends when the sender is gone; the runtime then drops what is still being answered.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A test that panicked with the guard in hand must not take the others with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<ServerState>,
    mut stopped: oneshot::Receiver<Infallible>,
) {
    let base: Arc<str> = format!("http://{address}").into();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(converse(stream, Arc::clone(&base), Arc::clone(&shared)));
                }
                // Out of file handles, most likely: the others must end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

/// One connection, kept alive until either side ends it.
async fn converse(stream: TcpStream, base: Arc<str>, shared: Arc<ServerState>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| respond(request, &base, &shared));
    // It ends with an error where the client went away, or where the script drops the connection.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: hyper::Request<Incoming>,
    base: &str,
    shared: &ServerState,
) -> Result<hyper::Response<Payload>, io::Error> {
    let (head, incoming) = request.into_parts();
    let header = |name: &HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let call = Call {
        endpoint: Endpoint::parse(head.method.as_str(), head.uri.path()),
        parameters: QueryParameters::parse(head.uri.query().unwrap_or_default()),
        headers: Headers {
            authorization: header(&AUTHORIZATION),
            accept: header(&ACCEPT),
            prefer: header(&HeaderName::from_static("prefer")),
        },
        base,
    };
    let in_flight = InFlight::begin(shared, Request::received(&head, &call));
    let body = incoming.collect().await.map_err(io::Error::other)?.to_bytes();

    let (scripted, delay, gzip, throttled) = {
        let mut platform = lock(&shared.platform);
        let scripted = platform.scripted(&call);
        let is_counted = call.endpoint != Endpoint::Token;
        let throttled = if is_counted { in_flight.count(&platform.faults) } else { None };
        (scripted, platform.faults.delay, platform.faults.gzip, throttled)
    };
    let slow = if let Some(Answer::Slow(slow)) = scripted { slow } else { Duration::ZERO };
    if !(delay + slow).is_zero() {
        tokio::time::sleep(delay + slow).await;
    }

    // Made only now, so that a change of the platform during the wait is answered with.
    let right_answer = || match &throttled {
        Some(seconds) => answer::documented_429(&seconds.to_string()),
        None => lock(&shared.platform).answer(&call, &body),
    };
    let is_cut = scripted == Some(Answer::CutBody);
    let reply = match scripted {
        None | Some(Answer::Slow(_) | Answer::CutBody) => right_answer(),
        Some(Answer::Reset) => return Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        Some(Answer::Hang) => std::future::pending().await,
        Some(other) => scripted_reply(other, &call),
    };
    in_flight.answered(reply.status);
    let accepts_gzip =
        header(&ACCEPT_ENCODING).is_some_and(|accepted| accepted.to_ascii_lowercase().contains("gzip"));
    send(reply, is_cut, gzip && accepts_gzip, in_flight.number)
}

impl Request {
    /// A request that has just arrived.
    fn received(head: &hyper::http::request::Parts, call: &Call<'_>) -> Request {
        Request {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            skip: call.parameters.skip.value(),
            top: call.parameters.top.value(),
            status: 0,
            authorization: head.headers.contains_key(AUTHORIZATION),
            accept: call.headers.accept.map(str::to_owned),
            prefer: call.headers.prefer.map(str::to_owned),
            at: Instant::now(),
            in_flight: 0,
        }
    }
}

/// The scripted answers that ask nothing of the platform's state.
fn scripted_reply(scripted: Answer, call: &Call<'_>) -> HttpReply {
    match scripted {
        Answer::Status { code, headers, body } => HttpReply { headers, ..HttpReply::json(code, body) },
        Answer::Documented(status) => documented(status, &call.endpoint),
        Answer::NotJson => HttpReply::html(200, answer::gateway_html()),
        Answer::Raw { body } => HttpReply::json(200, body),
        Answer::EchoAuthorization(status) => {
            let received = call.headers.authorization.unwrap_or_default();
            answer::error(status, "GatewayError", &format!("Rejected request with Authorization: {received}"))
        }
        Answer::Redirect(there) => HttpReply::html(302, String::new()).header("Location", there),
        Answer::TooManyRequests { retry_after } => match retry_after {
            RetryAfter::Seconds(seconds) => answer::documented_429(&seconds.to_string()),
            RetryAfter::Date(seconds) => {
                let away = Duration::from_secs(seconds.unsigned_abs());
                let now = SystemTime::now();
                let there = if seconds < 0 { now.checked_sub(away) } else { now.checked_add(away) };
                answer::documented_429(&httpdate::fmt_http_date(there.unwrap_or(now)))
            }
            RetryAfter::PlatformHeader(seconds) => answer::rate_limited()
                .header("iTwinPlatform-RateLimit-Retry-After-Seconds", seconds.to_string()),
            RetryAfter::None => answer::rate_limited(),
        },
        // They are answered by `respond` itself.
        Answer::Reset | Answer::CutBody | Answer::Hang | Answer::Slow(_) => documented(500, &call.endpoint),
    }
}

fn send(reply: HttpReply, cut: bool, compress: bool, number: u64) -> io::Result<hyper::Response<Payload>> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(reply.content_type));
    let correlation = format!("00000000-0000-4000-8000-{number:012x}");
    let added = reply.headers.into_iter().chain([("x-correlation-id".to_owned(), correlation)]);
    for (name, value) in added {
        let name = HeaderName::try_from(name).map_err(io::Error::other)?;
        headers.insert(name, HeaderValue::try_from(value).map_err(io::Error::other)?);
    }
    let body = if compress {
        headers.insert("content-encoding", HeaderValue::from_static("gzip"));
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(reply.body.as_bytes())?;
        packer.finish()?
    } else {
        reply.body.into_bytes()
    };
    let mut response = hyper::Response::new(Payload::new(body, cut));
    *response.status_mut() = hyper::StatusCode::from_u16(reply.status).map_err(io::Error::other)?;
    *response.headers_mut() = headers;
    Ok(response)
}

/// A request's entry in the log while it is being answered; ends when dropped, however that comes.
struct InFlight<'a> {
    shared: &'a ServerState,
    /// Counted from 1 since the start.
    number: u64,
    at: Instant,
}

impl InFlight<'_> {
    fn begin(shared: &ServerState, request: Request) -> InFlight<'_> {
        let at = request.at;
        let mut log = lock(&shared.log);
        log.in_flight += 1;
        let in_flight = log.in_flight;
        log.requests.push(Request { in_flight, ..request });
        InFlight { shared, number: log.cleared + log.requests.len() as u64, at }
    }

    fn answered(&self, status: u16) {
        let mut log = lock(&self.shared.log);
        let index = (self.number - 1).checked_sub(log.cleared).and_then(|index| usize::try_from(index).ok());
        if let Some(request) = index.and_then(|index| log.requests.get_mut(index)) {
            request.status = status;
        }
    }

    /// Counts the request against the quota: None, or how many seconds to wait where it is used up.
    fn count(&self, faults: &Faults) -> Option<u64> {
        let quota = usize::try_from(faults.per_minute?).unwrap_or(usize::MAX);
        let mut log = lock(&self.shared.log);
        while log.counted.front().is_some_and(|&first| self.at.duration_since(first) >= faults.quota_window) {
            log.counted.pop_front();
        }
        if log.counted.len() < quota {
            log.counted.push_back(self.at);
            return None;
        }
        let oldest = log.counted.front().copied().unwrap_or(self.at);
        let wait = faults.quota_window.saturating_sub(self.at.duration_since(oldest));
        Some(wait.as_millis().div_ceil(1_000).max(1) as u64)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        lock(&self.shared.log).in_flight -= 1;
    }
}

/// A body of known length that may break off in the middle.
struct Payload {
    ready: Option<Bytes>,
    left: u64,
    /// Half of it is sent, then the connection dies.
    cut: bool,
    /// The half that is sent has had a chance to leave.
    flushed: bool,
}

impl Payload {
    fn new(body: Vec<u8>, cut: bool) -> Payload {
        let left = body.len() as u64;
        let mut ready = Bytes::from(body);
        if cut {
            ready.truncate(ready.len() / 2);
        }
        Payload { ready: Some(ready).filter(|bytes| !bytes.is_empty()), left, cut, flushed: false }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(bytes) = self.ready.take() {
            self.left -= bytes.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.cut {
            return Poll::Ready(None);
        }
        if !self.flushed {
            // hyper throws away what it has not written when a body fails: let it write first.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::BrokenPipe))))
    }

    fn is_end_stream(&self) -> bool {
        !self.cut && self.ready.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests;
