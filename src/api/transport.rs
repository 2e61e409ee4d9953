//! Sends requests in their turn and reads answers; knows nothing of tokens or of what is asked.
//!
//! In: a request that is ready to be sent. Out: the text of a success, cut where it is longer than what is
//! read, or an error by meaning. Links and redirects are never followed.

use std::error::Error as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::{RequestBuilder, Response};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::debug;
use url::Url;

use super::error::{Doing, Error, Problem, Reason};
use super::options::{Options, SetupError};
use super::pace::{self, Gate, Patience};
use super::route::{self, Obstacle, Resolver, Route};
use super::secrets::{MESSAGE_CHARS, Secrets};
use super::wire;

/// How long a connection may take to be made: a host that drops packets would otherwise hold a request for the
/// whole of its timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes after decompression: 10,000 runs are some 20 MB, and a server that
/// sends without end must not fill the memory.
const MAX_ANSWER: usize = 64 << 20;
pub(super) const TOO_LONG: &str = "more than 64 MiB, which is not read";
/// How much is read of an answer that is an error. The documented bodies have a few hundred bytes; a gateway's
/// page may be of any length.
pub(super) const MAX_ERROR_BODY: usize = 64 << 10;

/// Sends requests and reads answers; no idea of tokens or of what is asked.
pub(super) struct Transport {
    pub(super) api: reqwest::Client,
    api_route: Route,
    pub(super) issuer: reqwest::Client,
    issuer_route: Route,
    pub(super) gate: Gate,
    pub(super) secrets: Secrets,
    timeout: Duration,
    pub(super) requests: AtomicU64,
    /// Whether the platform answered anything, whatever it was.
    pub(super) answered: AtomicBool,
}

/// The body of a success.
pub(super) struct Body {
    pub(super) text: String,
    pub(super) is_cut: bool,
}

impl Transport {
    /// Sets up the HTTP clients for the platform and for the token issuer.
    pub(super) fn new(options: &Options, secrets: Secrets) -> Result<Self, SetupError> {
        let api = http_client(&options.api_url, options.timeout)?;
        let issuer = if options.issuer_url.scheme() == options.api_url.scheme() {
            api.clone()
        } else {
            http_client(&options.issuer_url, options.timeout)?
        };
        // A variable that is not UTF-8 cannot name a proxy; the HTTP client ignores it, too.
        let variable = |name: &str| std::env::var(name).ok();
        let patience = Patience { max_attempts: options.max_attempts, backoff_start: options.backoff_start };
        Ok(Self {
            api,
            api_route: Route::find(&options.api_url, variable),
            issuer,
            issuer_route: Route::find(&options.issuer_url, variable),
            gate: Gate::new(options.in_flight, options.deadline, patience, &options.limits),
            secrets,
            timeout: options.timeout,
            requests: AtomicU64::new(0),
            answered: AtomicBool::new(false),
        })
    }

    /// Sends a request in its turn, again after each 429, and gives the text of the answer.
    pub(super) async fn send(
        &self,
        doing: &Doing,
        slot: &mut Option<OwnedSemaphorePermit>,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Body, Error> {
        self.gate.send(doing, slot, || self.send_once(doing, request())).await
    }

    async fn send_once(&self, doing: &Doing, request: RequestBuilder) -> Result<Body, Error> {
        if let Some(problem) = self.route(doing).problem() {
            return Err(Error::new(doing.clone(), Reason::Unreachable(Obstacle::Proxy), problem));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let received = self.receive(doing, request).await;
        let status = received.as_ref().map_or_else(|error| error.problem.status, |_| Some(200));
        debug!(
            status,
            ms = begun.elapsed().as_millis(),
            connection = doing.connection().map(tracing::field::display),
            skip = doing.skip(),
            bytes = received.as_ref().ok().map(|body| body.text.len()),
            "{doing}"
        );
        received
    }

    async fn receive(&self, doing: &Doing, request: RequestBuilder) -> Result<Body, Error> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.unsent(doing, error).await),
        };
        // The issuer is another host, so that its answers say nothing of the platform.
        if *doing != Doing::GetToken {
            self.answered.store(true, Ordering::Relaxed);
        }
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(doing, response).await);
        }
        let error = |reason, message: &str| {
            let mut error = Error::new(doing.clone(), reason, message);
            error.problem.status = Some(status.as_u16());
            error
        };
        let (body, end) = read_body(response, MAX_ANSWER).await;
        let is_cut = match end {
            BodyEnd::Whole => false,
            BodyEnd::TooLong if matches!(doing, Doing::ListRuns { .. }) => true,
            BodyEnd::TooLong => return Err(error(Reason::PageTooLarge, TOO_LONG)),
            BodyEnd::Broken(broken) => return Err(self.broken(doing, broken)),
        };
        let mut text = wire::text_of(body);
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        // A gateway in between may answer 200 with a page of HTML; and of what was cut at the limit only a
        // listing can be used, record by record, whose end is then missing.
        let trimmed = text.trim_ascii();
        if trimmed.starts_with('{') && (trimmed.ends_with('}') || is_cut) {
            return Ok(Body { text, is_cut });
        }
        if is_cut {
            return Err(error(Reason::PageTooLarge, TOO_LONG));
        }
        // An issuer's body is not shown in any form: it may hold a token that is not known yet.
        let begins = match doing {
            Doing::GetToken => None,
            _ => self.secrets.show_body(&text),
        };
        let message = match begins {
            Some(begins) => format!("the body is not JSON, or cut short; it begins: {begins}"),
            None => "the body is not JSON".to_owned(),
        };
        Err(error(Reason::Unreadable, &message))
    }

    /// The error of an answer that is no success.
    async fn refused(&self, doing: &Doing, response: Response) -> Error {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        // A body that breaks off is used as far as it came: the status alone says what happened.
        let (mut body, end) = read_body(response, MAX_ERROR_BODY).await;
        if !matches!(end, BodyEnd::Whole) {
            // The last bytes may be the beginning of a secret, which `Secrets` finds only where it is whole.
            body.truncate(body.len().saturating_sub(self.secrets.longest()));
        }
        let body = String::from_utf8_lossy(&body);
        let mut problem = Problem::read(status, &headers, &body, &self.secrets);
        problem.retry_after = pace::parse_retry_after(&headers, SystemTime::now());
        Error { doing: doing.clone(), reason: problem.reason(doing), problem: Box::new(problem) }
    }

    /// The error of a request without an answer, which the proxy may have refused.
    async fn unsent(&self, doing: &Doing, error: reqwest::Error) -> Error {
        match self.route(doing).refusal(&error).await {
            Some(told) => Error::new(doing.clone(), Reason::Unreachable(Obstacle::ProxyRefuses), told),
            None => self.broken(doing, error),
        }
    }

    /// The error of a connection that could not be made, broke, or took too long.
    fn broken(&self, doing: &Doing, error: reqwest::Error) -> Error {
        if error.is_timeout() && !error.is_connect() {
            let reason = Reason::TimedOut { after: self.timeout };
            return Error::new(doing.clone(), reason, "");
        }
        let obstacle = route::obstacle(&error);
        let reason = obstacle.map_or(Reason::Unavailable, Reason::Unreachable);
        let what = match obstacle {
            Some(Obstacle::Certificate) => ": its certificate is not trusted",
            Some(Obstacle::NoTls) => ": it speaks no TLS that is understood",
            Some(Obstacle::UnknownHost | Obstacle::Proxy | Obstacle::ProxyRefuses) | None => "",
        };
        let route = self.route(doing);
        let what = if error.is_connect() {
            format!("no connection to {route}{what}")
        } else {
            format!("the connection to {route} or the answer broke off")
        };
        let causes = self.secrets.show(&causes(&error.without_url()), MESSAGE_CHARS);
        Error::new(doing.clone(), reason, format!("{what}: {causes}"))
    }

    fn route(&self, doing: &Doing) -> &Route {
        match doing {
            Doing::GetToken => &self.issuer_route,
            _ => &self.api_route,
        }
    }
}

/// How the reading of a body ended.
enum BodyEnd {
    Whole,
    TooLong,
    Broken(reqwest::Error),
}

/// At most `limit` bytes of a body after decompression.
async fn read_body(mut response: Response, limit: usize) -> (Vec<u8>, BodyEnd) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                body.extend_from_slice(&chunk[..limit - body.len()]);
                return (body, BodyEnd::TooLong);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, BodyEnd::Whole),
            Err(error) => return (body, BodyEnd::Broken(error)),
        }
    }
}

/// What is behind an HTTP error: its own text says no more than that there was one.
fn causes(error: &reqwest::Error) -> String {
    let causes: Vec<_> =
        std::iter::successors(error.source(), |&error| error.source()).map(ToString::to_string).collect();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

/// The HTTP client for one base URL. For loopback http it uses no proxy and needs no CA certificates,
/// so that a token for this machine does not leave it and a demo runs anywhere.
fn http_client(url: &Url, timeout: Duration) -> Result<reqwest::Client, SetupError> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("run-archive/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        // Retries are counted and paced here; those of the library are neither.
        .retry(reqwest::retry::never())
        .dns_resolver(Resolver::default())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        .gzip(true);
    if url.scheme() != "http" && SystemTime::now() < SystemTime::UNIX_EPOCH {
        return Err(SetupError::Clock);
    }
    if url.scheme() == "http" {
        let builder = builder.no_proxy().tls_certs_only(std::iter::empty());
        builder.build().map_err(|error| SetupError::Http(causes(&error)))
    } else {
        builder.build().map_err(|error| SetupError::Https(causes(&error)))
    }
}

/// A base URL, with or without a path or a slash at its end, with more segments.
pub(super) fn join<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only a URL that cannot be a base has no segments, and `check_url` let http and https through.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}
