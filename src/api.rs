//! The platform client: one method per question, each answer as the text that was sent.
//!
//! In: a connection's id and what to ask of it. Out: the JSON text of the answer, or an [`Error`] that
//! tells by meaning what happened. Requests wait, repeat and give up as [`pace`] decides, with a token
//! from [`auth`]; what the text means is read by [`wire`]. Links and redirects are never followed.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, Response};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tracing::debug;
use url::{Host, Url};

pub mod auth;
pub mod error;
mod id;
pub mod limit;
mod lone;
pub mod pace;
mod refusal;
mod route;
pub mod share;
pub mod wire;

pub use auth::Credentials;
pub use error::{Detail, Doing, Error, Problem, Reason};
pub use id::{ConnectionId, ConnectionIdError, Kind, TypedConnection, is_respelled, spellings};
pub use limit::RequestLimit;
pub use route::Obstacle;

use auth::{Token, Tokens};
use error::{MESSAGE_CHARS, Secrets};
use id::vanishes_from_path;
use pace::{Gate, Patience};
use route::{Resolver, Route};
use share::{Share, Turn};
use wire::Cursor;

/// How long one request may take, from connecting to the last byte, unless set.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at one request, unless set.
pub const DEFAULT_MAX_ATTEMPTS: usize = 6;
/// The wait before the second attempt, unless set.
pub const DEFAULT_BACKOFF_START: Duration = Duration::from_millis(500);
/// Requests at a time, unless set.
pub const DEFAULT_IN_FLIGHT: usize = 4;

/// New tokens for one request. A platform where a token serves some requests and then dies is worked with;
/// one where five in a row die before this request's turn would be asked for ever.
const MAX_RENEWALS: usize = 5;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer that has come is still worked on after a signal or the end of the time budget.
const MOMENT: Duration = Duration::from_millis(500);
/// The longest answer that is read, in bytes after decompression.
const MAX_ANSWER: usize = 64 << 20;
const TOO_LONG: &str = "more than 64 MiB, which is not read";
/// How much is read of an answer that is an error.
const MAX_ERROR_BODY: usize = 64 << 10;
/// Chooses version 1 of an API.
const ACCEPT: &str = "application/vnd.bentley.itwin-platform.v1+json";
/// Chooses version 2, the only one of the iModels API that knows iTwins.
const ACCEPT_V2: &str = "application/vnd.bentley.itwin-platform.v2+json";

/// What a client is made from. Debug output shows no secret.
#[derive(Debug, Clone)]
pub struct Options {
    /// The platform, for example `https://api.bentley.com`; may have a path.
    pub api_url: Url,
    /// The token issuer, for example `https://ims.bentley.com`.
    pub issuer_url: Url,
    /// Who asks.
    pub credentials: Credentials,
    /// How long one request may take, from connecting to the last byte.
    pub timeout: Duration,
    /// When the time budget ends, if there is one.
    pub deadline: Option<Instant>,
    /// Requests, or answers not yet dropped, at a time in the whole process; at least 1.
    pub in_flight: usize,
    /// Attempts at one request; pauses asked for by a 429 do not count.
    pub max_attempts: usize,
    /// The wait before the second attempt.
    pub backoff_start: Duration,
    /// How many requests may be sent in a time; none: as many as go.
    pub limits: Vec<RequestLimit>,
}

impl Options {
    /// Options with the defaults of this module and no time budget.
    pub fn new(api_url: Url, issuer_url: Url, credentials: Credentials) -> Self {
        Self {
            api_url,
            issuer_url,
            credentials,
            timeout: DEFAULT_TIMEOUT,
            deadline: None,
            in_flight: DEFAULT_IN_FLIGHT,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            backoff_start: DEFAULT_BACKOFF_START,
            limits: RequestLimit::DEFAULTS.to_vec(),
        }
    }
}

/// Why no client can be made: a matter of settings, not of the platform.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A URL of another scheme.
    #[error("{0} is no https URL")]
    NotHttp(String),
    /// Tokens are not sent in the clear.
    #[error("plain http is refused for {0}: use https (http is for loopback addresses only)")]
    PlainHttp(String),
    /// `https://user:password@…`; the URL is not shown.
    #[error("the URL of host {0} holds a user name or password: credentials do not belong there")]
    UrlWithPassword(String),
    /// A token file that cannot be read.
    #[error("reading the token from {} {problem}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// The token is empty, or holds characters that no token has.
    #[error("the token is empty or holds characters that no token has (blanks, quotes of another script)")]
    NoToken,
    /// No client id or no secret.
    #[error("the service application's client id or secret is empty")]
    EmptyClient,
    /// TLS cannot be set up, most often because the machine has no CA certificates.
    #[error("https cannot be set up: {0}")]
    Https(String),
    /// No certificate is valid at such a time, and rustls panics where it is to judge one.
    #[error("https cannot be used: the clock of this machine shows a time before 1970 (set the clock)")]
    Clock,
    /// The HTTP client cannot be built for another reason.
    #[error(
        "the http client cannot be set up: {0} (a fault of this machine or of the program, no setting: report it)"
    )]
    Http(String),
}

/// A base URL, with or without a path or a slash at its end, with more segments.
fn join<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Only a URL that cannot be a base has no segments, and `check_url` let http and https through.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// A query's value, percent-encoded.
fn encode(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// The text of an answer, and its place among the requests in flight. Keep it no longer than the text is
/// needed: a caller that holds as many answers as are allowed and asks again waits for ever.
#[derive(Debug)]
pub struct Answer {
    /// JSON as it was sent, from an opening brace to a closing one. What is between is not checked; bytes
    /// that are no UTF-8 are written as [`wire::text_of`] says.
    pub text: String,
    /// Whether a page of runs was longer than what is read, and ends somewhere.
    is_cut: bool,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// Reads it as a page of runs.
    ///
    /// # Errors
    /// It is none.
    pub fn page(&self) -> Result<wire::Page<'_>, wire::Unreadable> {
        match self.is_cut {
            true => wire::Page::parse_beginning(&self.text),
            false => wire::Page::parse(&self.text),
        }
    }
}

/// The body of a success.
struct Body {
    text: String,
    is_cut: bool,
}

/// The platform client. Clones share everything: pauses, tokens, limits and counts; one that was made for a
/// turn gives way when that ends.
#[derive(Clone)]
pub struct Client(Arc<Shared>, Option<Share>);

struct Shared {
    api_url: Url,
    max_attempts: usize,
    transport: Transport,
    tokens: Tokens,
    accepted: AtomicBool,
    deadline: Option<Instant>,
    /// When the client was stopped.
    stopped_at: watch::Sender<Option<Instant>>,
}

/// Sends requests and reads answers; no idea of tokens or of what is asked.
struct Transport {
    api: reqwest::Client,
    api_route: Route,
    issuer: reqwest::Client,
    issuer_route: Route,
    gate: Gate,
    secrets: Secrets,
    timeout: Duration,
    requests: AtomicU64,
    /// Whether the platform answered anything, whatever it was.
    answered: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client {{ api_url: {} }}", self.0.api_url)
    }
}

impl Client {
    /// Checks the options and makes a client. Nothing is requested yet.
    ///
    /// # Errors
    /// A URL that is refused, credentials that cannot be used, or no CA certificates on the machine.
    pub fn new(options: Options) -> Result<Self, SetupError> {
        check_url(&options.api_url)?;
        check_url(&options.issuer_url)?;
        let secrets = Secrets::default();
        let tokens = Tokens::new(options.credentials, &options.issuer_url, &secrets)?;
        let api = http_client(&options.api_url, options.timeout)?;
        let issuer = if options.issuer_url.scheme() == options.api_url.scheme() {
            api.clone()
        } else {
            http_client(&options.issuer_url, options.timeout)?
        };
        // What is no text cannot name a proxy: the HTTP client ignores it, too.
        let variable = |name: &str| std::env::var(name).ok();
        let patience = Patience { max_attempts: options.max_attempts, backoff_start: options.backoff_start };
        let (api_route, issuer_route) =
            (Route::find(&options.api_url, variable), Route::find(&options.issuer_url, variable));
        let shared = Arc::new(Shared {
            api_url: options.api_url,
            max_attempts: options.max_attempts,
            transport: Transport {
                api,
                api_route,
                issuer,
                issuer_route,
                gate: Gate::new(options.in_flight, options.deadline, patience, &options.limits),
                secrets,
                timeout: options.timeout,
                requests: AtomicU64::new(0),
                answered: AtomicBool::new(false),
            },
            tokens,
            accepted: AtomicBool::new(false),
            deadline: options.deadline,
            stopped_at: watch::Sender::new(None),
        });
        Ok(Self(shared, None))
    }

    /// One page of a connection's runs: `top` runs after the first `skip`. A request that times out is
    /// repeated only once if `top` could be less.
    ///
    /// # Errors
    /// Any [`Reason`]; [`Reason::PageTooLarge`] and [`Reason::TimedOut`] ask for a smaller `top`. Where that
    /// cannot help, because the server gave more runs than were asked for or few are asked for as it is, a
    /// page that is longer than what is read is given as far as it was.
    pub async fn list_runs(&self, connection: &ConnectionId, skip: u64, top: u32) -> Result<Answer, Error> {
        let mut url = self.0.url(connection, ["runs"]);
        // Written as the platform's own links write it; `query_pairs_mut` would encode the `$`.
        url.set_query(Some(&format!("$skip={skip}&$top={top}")));
        let doing = Doing::ListRuns { connection: connection.clone(), skip };
        let answer = self.ask(doing.clone(), url, self.0.max_timeouts(top)).await?;
        if answer.is_cut && top > 2 {
            let count = move || (answer.page().map_or(0, |page| page.runs.len()), answer);
            let (read, answer) = self.0.transport.gate.bound(&doing, parse(count)).await?;
            if read <= top as usize {
                return Err(Error::new(doing, Reason::PageTooLarge, TOO_LONG));
            }
            return Ok(answer);
        }
        Ok(answer)
    }

    /// One page of the connections of a kind that an iModel has, each with the run that began last.
    ///
    /// # Errors
    /// As [`Client::list_runs`].
    pub async fn list_connections(
        &self,
        kind: Kind,
        imodel: &str,
        skip: u64,
        top: u32,
    ) -> Result<Answer, Error> {
        let mut url = join(&self.0.api_url, kind.path());
        url.set_query(Some(&format!("imodelId={}&$skip={skip}&$top={top}", encode(imodel))));
        let doing = Doing::ListConnections { kind, imodel: imodel.to_owned(), skip };
        self.ask(doing, url, self.0.max_timeouts(top)).await
    }

    /// One page of the iModels of an iTwin, with no more than their ids and names.
    ///
    /// # Errors
    /// As [`Client::list_runs`].
    pub async fn list_imodels(&self, itwin: &str, from: &Cursor, top: u32) -> Result<Answer, Error> {
        let mut url = join(&self.0.api_url, ["imodels"]);
        let from = match from {
            Cursor::Token(token) => format!("$continuationToken={}", encode(token)),
            Cursor::Skip(skip) => format!("$skip={skip}"),
        };
        url.set_query(Some(&format!("iTwinId={}&$top={top}&{from}", encode(itwin))));
        let doing = Doing::ListImodels { itwin: itwin.to_owned() };
        self.ask(doing, url, self.0.max_timeouts(top)).await
    }

    /// One page of the iTwins that the credentials are a member of.
    ///
    /// # Errors
    /// As [`Client::list_runs`].
    pub async fn list_itwins(&self, skip: u64, top: u32) -> Result<Answer, Error> {
        let mut url = join(&self.0.api_url, ["itwins"]);
        url.set_query(Some(&format!("$skip={skip}&$top={top}")));
        self.ask(Doing::ListItwins, url, self.0.max_timeouts(top)).await
    }

    /// One run by its id, with its jobs and tasks.
    ///
    /// # Errors
    /// Any [`Reason`]; [`Reason::Rejected`] without a request where the id cannot be part of a path.
    pub async fn get_run(&self, connection: &ConnectionId, run: &str) -> Result<Answer, Error> {
        let url = self.0.url(connection, ["runs", run]);
        let doing = Doing::GetRun { connection: connection.clone(), run: run.to_owned() };
        if vanishes_from_path(run) {
            let message = "the id cannot be part of a URL path";
            return Err(Error::new(doing, Reason::Rejected, message));
        }
        self.ask(doing, url, self.0.max_attempts).await
    }

    /// What the platform says of a connection.
    ///
    /// # Errors
    /// Any [`Reason`].
    pub async fn get_connection(&self, connection: &ConnectionId) -> Result<wire::Connection, Error> {
        let url = self.0.url(connection, []);
        let doing = Doing::GetConnection { connection: connection.clone() };
        let answer = self.ask(doing.clone(), url, self.0.max_attempts).await?;
        wire::Connection::parse(&answer.text).map_err(|problem| self.unreadable(doing, &problem))
    }

    /// Has an answer read on a thread of its own, so that a signal and the end of the time budget are heard
    /// meanwhile. What is still being read a moment later is dropped.
    ///
    /// # Errors
    /// [`Reason::Stopped`] or [`Reason::BudgetSpent`].
    pub async fn parse<T: Send + 'static>(
        &self,
        doing: &Doing,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.wait(doing, parse(work)).await?
    }

    /// Waits for what becomes of an answer: once the client is stopped or its time budget spent, only for a
    /// moment more, so that what has come is stored where that takes no longer.
    ///
    /// # Errors
    /// [`Reason::Stopped`] or [`Reason::BudgetSpent`].
    pub async fn wait<T>(&self, doing: &Doing, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut stopped_at = self.0.stopped_at.subscribe();
        let stopped = async {
            // The sender lives as long as this client, so this ends only once it is told to.
            let told = stopped_at.wait_for(Option::is_some).await.map(|at| *at);
            match told.ok().flatten() {
                Some(at) => tokio::time::sleep_until(at + MOMENT).await,
                None => std::future::pending().await,
            }
        };
        let spent = async {
            match self.0.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline + MOMENT).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = stopped => Err(Error::new(doing.clone(), Reason::Stopped, "")),
            () = spent => Err(Error::new(doing.clone(), Reason::BudgetSpent { asked: None }, "")),
        }
    }

    /// The error of a page of which only the first so many records were read.
    pub fn cut_short(&self, doing: Doing, read: usize) -> Error {
        let message = format!(
            "the page is longer than what is read of one ({} records or 64 MiB), whatever $top asks for; \
             its first {read} are taken",
            wire::MAX_RECORDS
        );
        Error::new(doing, Reason::PageTooLarge, message)
    }

    /// The error of an answer whose text [`wire`] cannot read. What `problem` quotes of that text is
    /// cleaned and freed of secrets like all foreign text.
    pub fn unreadable(&self, doing: Doing, problem: &wire::Unreadable) -> Error {
        let message = self.0.transport.secrets.tell(&problem.to_string(), MESSAGE_CHARS);
        Error::new(doing, Reason::Unreadable, message)
    }

    /// Requests sent so far, retries and token requests included.
    pub fn requests(&self) -> u64 {
        self.0.transport.requests.load(Ordering::Relaxed)
    }

    /// How long no request may be sent: for a rate limit that the platform imposed (429) or for our own.
    pub fn paused_for(&self) -> Option<Duration> {
        self.0.transport.gate.held_for()
    }

    /// Counts requests that another process sent, so long ago, against the limits.
    pub fn remember_requests(&self, requests: u64, ago: Duration) {
        self.0.transport.gate.remember(requests, ago);
    }

    /// Whether the platform accepted the credentials at least once: any answer of it but 401, and but
    /// 408 and 5xx, which say nothing of the credentials.
    pub fn was_accepted(&self) -> bool {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Whether the platform answered anything at all: a refusal, a failure of its own.
    pub fn was_answered(&self) -> bool {
        self.0.transport.answered.load(Ordering::Relaxed)
    }

    /// The same client for one caller among several: its requests end with [`Reason::ShareSpent`] when its
    /// turn does.
    #[must_use]
    pub fn in_turn(&self, turn: &Turn) -> Self {
        Self(Arc::clone(&self.0), Some(turn.share()))
    }

    /// When the time budget ends, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.transport.gate.deadline()
    }

    /// Asks until there is an answer, an error that stays, or no time.
    async fn ask(&self, doing: Doing, url: Url, max_timeouts: usize) -> Result<Answer, Error> {
        let Some(share) = &self.1 else { return self.0.ask(doing, url, max_timeouts).await };
        let gate = &self.0.transport.gate;
        let spent = async {
            share.clone().spent().await;
            // While no request may be sent nobody could make use of the turn, so it is passed on afterwards.
            if let Some(wait) = gate.held_for() {
                tokio::time::sleep(wait).await;
            }
        };
        tokio::select! {
            biased;
            () = spent => Err(Error::new(doing.clone(), Reason::ShareSpent, "")),
            done = self.0.ask(doing.clone(), url, max_timeouts) => done,
        }
    }

    /// Ends every running and later request at once with [`Reason::Stopped`].
    pub fn stop(&self) {
        self.0.stopped_at.send_if_modified(|at| at.replace(Instant::now()).is_none());
        self.0.transport.gate.stop();
    }
}

impl Shared {
    /// How often a request for so many entries may time out: fewer can be asked for.
    fn max_timeouts(&self, top: u32) -> usize {
        if top > 1 { 2 } else { self.max_attempts }
    }

    fn url<'a>(&self, of: &'a ConnectionId, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let path = of.kind().path().map(|segment| -> &'a str { segment });
        join(&self.api_url, path.chain([of.as_str()]).chain(segments))
    }

    /// Asks until there is an answer, an error that stays, or no time.
    async fn ask(&self, doing: Doing, url: Url, max_timeouts: usize) -> Result<Answer, Error> {
        let gate = &self.transport.gate;
        let work = gate.persist(max_timeouts, || self.attempt(&doing, &url));
        gate.bound(&doing, work).await
    }

    /// One attempt: with another token where the first is refused, and again where that one served other
    /// requests and died before this request's turn.
    async fn attempt(&self, doing: &Doing, url: &Url) -> Result<Answer, Error> {
        let mut slot = Some(self.transport.gate.slot(doing).await?);
        let mut token = self.tokens.current(&self.transport).await?;
        let mut renewals = 0;
        loop {
            let was_fresh = AtomicBool::new(false);
            let request = || {
                was_fresh.fetch_or(token.note_sent(), Ordering::Relaxed);
                self.request(doing, url, &token)
            };
            let sent = self.transport.send(doing, &mut slot, request).await;
            let error = match sent {
                Ok(Body { text, is_cut }) => {
                    token.note_accepted();
                    self.accepted.store(true, Ordering::Relaxed);
                    return Ok(Answer { text, is_cut, _slot: slot });
                }
                Err(error) => error,
            };
            let status = error.problem.status;
            if status.is_some_and(|status| !matches!(status, 401 | 408 | 500..)) {
                token.note_accepted();
                self.accepted.store(true, Ordering::Relaxed);
            }
            if error.reason != Reason::Refused {
                return Err(error);
            }
            let is_refusal = renewals > 0 && token.is_refusal(was_fresh.into_inner());
            if is_refusal || renewals == MAX_RENEWALS {
                return Err(error);
            }
            token = match self.tokens.after_refusal(&token, &self.transport).await? {
                Some(token) => token,
                None => return Err(error),
            };
            renewals += 1;
        }
    }

    fn request(&self, doing: &Doing, url: &Url, token: &Token) -> RequestBuilder {
        // Whole objects, where an API would send their ids alone; of iModels names are enough.
        let (accept, detail) = match doing {
            Doing::ListImodels { .. } => (ACCEPT_V2, "return=minimal"),
            _ => (ACCEPT, "return=representation"),
        };
        let request = self.transport.api.get(url.clone());
        request.header(AUTHORIZATION, token.header.clone()).header("accept", accept).header("prefer", detail)
    }
}

impl Transport {
    /// Sends a request in its turn, again after each 429, and gives the text of the answer.
    async fn send(
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
            End::Whole => false,
            End::TooLong if matches!(doing, Doing::ListRuns { .. }) => true,
            End::TooLong => return Err(error(Reason::PageTooLarge, TOO_LONG)),
            End::Broken(broken) => return Err(self.broken(doing, broken)),
        };
        let mut text = wire::text_of(body);
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
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
            _ => self.secrets.tell_body(&text),
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
        // Whatever came of the body is enough: the status is known.
        let (mut body, end) = read_body(response, MAX_ERROR_BODY).await;
        if !matches!(end, End::Whole) {
            // The end may be the beginning of a secret, which would not be recognised.
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
        let what = match error.is_connect() {
            true => format!("no connection to {route}{what}"),
            false => format!("the connection to {route} or the answer broke off"),
        };
        let causes = self.secrets.tell(&causes(&error.without_url()), MESSAGE_CHARS);
        Error::new(doing.clone(), reason, format!("{what}: {causes}"))
    }

    fn route(&self, doing: &Doing) -> &Route {
        match doing {
            Doing::GetToken => &self.issuer_route,
            _ => &self.api_route,
        }
    }
}

/// Runs `work` where it keeps nothing else waiting.
async fn parse<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
}

/// How the reading of a body ended.
enum End {
    Whole,
    TooLong,
    Broken(reqwest::Error),
}

/// At most `limit` bytes of a body after decompression.
async fn read_body(mut response: Response, limit: usize) -> (Vec<u8>, End) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                body.extend_from_slice(&chunk[..limit - body.len()]);
                return (body, End::TooLong);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, End::Whole),
            Err(error) => return (body, End::Broken(error)),
        }
    }
}

/// What is behind an HTTP error: its own text says no more than that there was one.
fn causes(error: &reqwest::Error) -> String {
    let causes: Vec<_> =
        std::iter::successors(error.source(), |&error| error.source()).map(ToString::to_string).collect();
    if causes.is_empty() { error.to_string() } else { causes.join(": ") }
}

/// Lets https through, and http only to this machine.
fn check_url(url: &Url) -> Result<(), SetupError> {
    let has_password = !url.username().is_empty() || url.password().is_some();
    match (url.scheme(), url.host()) {
        (_, Some(host)) if has_password => Err(SetupError::UrlWithPassword(host.to_string())),
        ("https", Some(_)) => Ok(()),
        ("http", Some(Host::Ipv4(address))) if address.is_loopback() => Ok(()),
        ("http", Some(Host::Ipv6(address))) if address.is_loopback() => Ok(()),
        ("http", Some(Host::Domain("localhost"))) => Ok(()),
        ("http", _) => Err(SetupError::PlainHttp(url.to_string())),
        _ => Err(SetupError::NotHttp(url.to_string())),
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const PAGE: &str = r#"{"runs":[],"_links":{}}"#;

    /// A server on loopback that answers each request as a function of its text and number says, and
    /// keeps what it was asked. Without `connection: close` in the answer the connection stays open.
    struct Server {
        url: Url,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        async fn start(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let (kept, answer) = (seen.clone(), Arc::new(answer));
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let (kept, answer) = (kept.clone(), answer.clone());
                    tokio::spawn(async move {
                        let request = read_request(&mut stream).await;
                        let number = {
                            let mut kept = kept.lock().unwrap();
                            kept.push(request.clone());
                            kept.len()
                        };
                        let answer = answer(&request, number);
                        // A client that stopped reading is no failure of the server.
                        stream.write_all(&answer).await.unwrap_or_default();
                        if !String::from_utf8_lossy(&answer).contains("connection: close") {
                            std::future::pending().await
                        }
                    });
                }
            });
            Self { url, seen }
        }

        fn options(&self, credentials: Credentials) -> Options {
            let mut options = Options::new(self.url.clone(), self.url.clone(), credentials);
            options.backoff_start = Duration::from_millis(1);
            options
        }

        fn client(&self) -> Client {
            Client::new(self.options(Credentials::Token("tok3n".into()))).unwrap()
        }

        fn service(&self) -> Client {
            let (id, secret) = ("service-1".to_owned(), "hu$h hush".into());
            Client::new(self.options(Credentials::Client { id, secret })).unwrap()
        }

        fn seen(&self) -> Vec<String> {
            self.seen.lock().unwrap().clone()
        }
    }

    async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
        let mut request = String::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or_default();
            request.push_str(&String::from_utf8_lossy(&buffer[..read]));
            let Some((head, body)) = request.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if read == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return request;
            }
        }
    }

    fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
            .into_bytes()
    }

    fn token(number: usize, lifetime: u32) -> Vec<u8> {
        http("200 OK", "", &format!(r#"{{"access_token":"tok3n-{number}","expires_in":{lifetime}}}"#))
    }

    fn id(text: &str) -> ConnectionId {
        text.parse().unwrap()
    }

    async fn list(client: &Client) -> Result<String, Error> {
        client.list_runs(&id("X"), 0, 50).await.map(|answer| answer.text)
    }

    #[tokio::test]
    async fn a_request_is_built_from_the_base_url_whatever_its_form() {
        let server = Server::start(|_, _| http("200 OK", "", PAGE)).await;
        for path in ["", "/", "/base", "/base/", "/base?x=1#y"] {
            let mut options = server.options(Credentials::Token("tok3n".into()));
            options.api_url = server.url.join(path).unwrap();
            let client = Client::new(options).unwrap();
            client.list_runs(&id("-aB_/..?x%2e é"), 100, 50).await.unwrap();
            let seen = server.seen().pop().unwrap();
            let prefix = if path.starts_with("/base") { "/base" } else { "" };
            let line = format!(
                "GET {prefix}/export/connections/-aB_%2F..%3Fx%252e%20%C3%A9/runs?$skip=100&$top=50 HTTP/1.1"
            );
            assert_eq!(seen.lines().next(), Some(line.as_str()));
        }
        let seen = server.seen().pop().unwrap();
        for line in [
            "accept: application/vnd.bentley.itwin-platform.v1+json",
            "prefer: return=representation",
            "authorization: Bearer tok3n",
            "accept-encoding: gzip",
            concat!("user-agent: run-archive/", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(seen.lines().any(|sent| sent == line), "{line} is not in {seen}");
        }
    }

    #[tokio::test]
    async fn runs_and_connections_are_asked_for_by_id() {
        let server = Server::start(|request, _| {
            let body = if request.contains("/runs/") {
                r#"{"run":{}}"#
            } else {
                r#"{"connection":{"displayName":"n"}}"#
            };
            http("200 OK", "", body)
        })
        .await;
        let client = server.client();
        client.get_run(&id("X"), "r/1").await.unwrap();
        let connection = client.get_connection(&id("X")).await.unwrap();
        assert_eq!(connection.display_name.as_deref(), Some("n"));
        for vanishes in ["", ".", "..", "a\tb"] {
            assert_eq!(client.get_run(&id("X"), vanishes).await.unwrap_err().reason, Reason::Rejected);
        }
        let lines: Vec<_> =
            server.seen().iter().map(|seen| seen.lines().next().unwrap().to_owned()).collect();
        let expected =
            ["GET /export/connections/X/runs/r%2F1 HTTP/1.1", "GET /export/connections/X HTTP/1.1"];
        assert_eq!(lines, expected);
        assert_eq!(client.requests(), 2);
    }

    #[test]
    fn an_id_that_vanishes_from_a_path_is_refused() {
        for text in ["", ".", "..", "a\nb", "\t"] {
            assert!(text.parse::<ConnectionId>().is_err(), "{text:?}");
        }
        assert_eq!(id("-a.b").to_string(), "-a.b");
    }

    #[tokio::test]
    async fn several_requests_refused_at_once_renew_the_token_once() {
        let server = Server::start(|request, number| match request {
            _ if request.starts_with("POST /connect/token ") => token(number, 3600),
            _ if request.contains("Bearer tok3n-1\r\n") => http("401 Unauthorized", "", ""),
            _ => http("200 OK", "", PAGE),
        })
        .await;
        let client = server.service();
        let (a, b, c) = tokio::join!(list(&client), list(&client), list(&client));
        assert!(a.is_ok() && b.is_ok() && c.is_ok());
        let seen = server.seen();
        let posts: Vec<_> = seen.iter().filter(|request| request.starts_with("POST")).collect();
        assert_eq!(posts.len(), 2);
        let form = "grant_type=client_credentials&client_id=service-1&client_secret=hu%24h+hush&scope=itwin-platform";
        assert!(posts[0].ends_with(form), "{}", posts[0]);
        assert_eq!(client.requests(), seen.len() as u64);
        assert!(client.was_accepted());
    }

    #[tokio::test]
    async fn a_platform_that_refuses_a_new_token_too_is_not_asked_again() {
        let server = Server::start(|request, number| match request {
            _ if request.starts_with("POST") => token(number, 3600),
            _ => http("401 Unauthorized", "", r#"{"error":{"code":"HeaderNotFound"}}"#),
        })
        .await;
        let client = server.service();
        let error = list(&client).await.unwrap_err();
        assert_eq!((error.reason, client.requests(), client.was_accepted()), (Reason::Refused, 4, false));
        let told = "listing runs of connection X: the platform refused the credentials: 401 HeaderNotFound";
        assert_eq!(error.to_string(), told);
    }

    /// A platform where each token serves the first request that arrives with it and dies: the others, sent
    /// with it at the same time, are refused twice and more although the credentials are good.
    #[tokio::test]
    async fn a_token_that_dies_again_and_again_after_it_served_others_is_renewed() {
        let served = Mutex::new(std::collections::HashSet::new());
        let server = Server::start(move |request, number| {
            if request.starts_with("POST /connect/token ") {
                return token(number, 3600);
            }
            let bearer = request.lines().find(|line| line.starts_with("authorization: ")).unwrap();
            match served.lock().unwrap().insert(bearer.to_owned()) {
                true => http("200 OK", "", PAGE),
                false => http("401 Unauthorized", "", ""),
            }
        })
        .await;
        let client = server.service();
        let (a, b, c, d) = tokio::join!(list(&client), list(&client), list(&client), list(&client));
        assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok(), "{a:?} {b:?} {c:?} {d:?}");
    }

    /// The dead token is known to have served nobody: each request that is refused twice is told so, and the
    /// issuer is not asked for ever.
    #[tokio::test]
    async fn a_platform_that_refuses_every_token_ends_requests_in_flight_after_few_renewals() {
        let server = Server::start(|request, number| match request {
            _ if request.starts_with("POST") => token(number, 3600),
            _ => http("401 Unauthorized", "", ""),
        })
        .await;
        let client = server.service();
        let (a, b, c, d) = tokio::join!(list(&client), list(&client), list(&client), list(&client));
        for outcome in [a, b, c, d] {
            assert_eq!(outcome.unwrap_err().reason, Reason::Refused);
        }
        let posts = server.seen().iter().filter(|request| request.starts_with("POST")).count();
        assert!((2..=5).contains(&posts), "{posts}");
    }

    #[tokio::test]
    async fn an_issuer_that_refuses_is_asked_once_and_its_echo_shows_no_secret() {
        let server = Server::start(|request, _| {
            let form = request.rsplit_once("\r\n\r\n").unwrap().1;
            let body = format!(r#"{{"error":"invalid_client","error_description":"{form} hu$h hush"}}"#);
            http("400 Bad Request", "", &body)
        })
        .await;
        let client = server.service();
        for _ in 0..3 {
            let error = list(&client).await.unwrap_err();
            assert_eq!(error.reason, Reason::Refused);
            let told = error.to_string();
            let begins = "asking for a token: the token issuer refused the credentials: 400 invalid_client";
            assert!(told.starts_with(begins), "{told}");
            assert!(told.contains("client_secret=[secret]&"), "{told}");
            assert!(!format!("{told} {error:?} {client:?}").contains("hush"), "{error:?}");
        }
        assert_eq!(client.requests(), 1);
    }

    #[tokio::test]
    async fn a_token_answer_that_cannot_be_read_is_not_shown() {
        for body in [r#"{"token":"unkn0wn"}"#, "unkn0wn", r#"{"access_token":"unkn0wn é"}"#] {
            let server = Server::start(move |_, _| http("200 OK", "", body)).await;
            let error = list(&server.service()).await.unwrap_err();
            assert_eq!(error.reason, Reason::Unreadable);
            assert!(!format!("{error} {error:?}").contains("unkn0wn"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn an_expired_token_is_renewed_before_it_is_refused() {
        let server = Server::start(|request, number| match request {
            _ if request.starts_with("POST") => token(number, u32::from(number > 1) * 3600),
            _ => http("200 OK", "", PAGE),
        })
        .await;
        let client = server.service();
        for _ in 0..3 {
            list(&client).await.unwrap();
        }
        // The first token ended at once, the second lives for an hour.
        assert_eq!(client.requests(), 5);
    }

    #[tokio::test]
    async fn an_issuer_that_is_down_is_retried_like_the_platform() {
        let server = Server::start(|request, number| match request {
            _ if number < 3 => http("503 Service Unavailable", "", ""),
            _ if request.starts_with("POST") => token(number, 3600),
            _ => http("200 OK", "", PAGE),
        })
        .await;
        let client = server.service();
        list(&client).await.unwrap();
        assert_eq!(client.requests(), 4);
    }

    #[tokio::test]
    async fn a_token_file_is_read_again_when_its_token_is_refused() {
        let server = Server::start(|request, _| match request {
            _ if request.contains("Bearer new\r\n") => http("200 OK", "", PAGE),
            _ => http("401 Unauthorized", "", "old"),
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let missing = server.options(Credentials::TokenFile(path.clone()));
        assert!(matches!(Client::new(missing), Err(SetupError::TokenFile { .. })));
        std::fs::write(&path, "\u{feff}old\r\n").unwrap();
        let client = Client::new(server.options(Credentials::TokenFile(path.clone()))).unwrap();
        let error = list(&client).await.unwrap_err();
        assert_eq!((error.reason, client.requests()), (Reason::Refused, 1));
        assert!(error.to_string().ends_with("401: [secret]"), "{error}");
        std::fs::write(&path, "new\n").unwrap();
        list(&client).await.unwrap();
        assert_eq!(client.requests(), 3);
    }

    #[tokio::test]
    async fn a_gateway_that_echoes_the_token_shows_it_to_nobody() {
        let server = Server::start(|request, _| {
            http("403 Forbidden", "x-correlation-id: tok3n\r\n", &format!("<pre>{request}{request}</pre>"))
        })
        .await;
        let error = list(&server.client()).await.unwrap_err();
        assert_eq!(error.reason, Reason::Forbidden);
        assert!(error.to_string().contains("[secret]"), "{error}");
        assert!(!format!("{error} {error:?}").contains("tok3n"), "{error:?}");
    }

    #[tokio::test]
    async fn a_secret_cut_in_two_by_the_limit_is_not_shown_either() {
        let server = Server::start(|_, _| {
            let filler = format!("<{}>", "x".repeat(MAX_ERROR_BODY - 5));
            http("404 Not Found", "", &format!("{filler}tok3n and more"))
        })
        .await;
        let error = list(&server.client()).await.unwrap_err();
        assert_eq!(error.to_string(), "listing runs of connection X: the platform answered 404");
    }

    #[tokio::test]
    async fn a_redirect_is_told_and_not_followed() {
        let server =
            Server::start(|_, _| http("302 Found", "location: http://127.0.0.1:1/login\r\n", "")).await;
        let client = server.client();
        let error = list(&client).await.unwrap_err();
        assert_eq!((error.reason, client.requests()), (Reason::Rejected, 1));
        let told = "the platform answered 302: a redirect to http://127.0.0.1:1/login, which is not followed";
        assert!(error.to_string().ends_with(told), "{error}");
    }

    #[tokio::test]
    async fn what_is_not_json_is_unreadable_and_says_how_it_begins() {
        for (body, begins) in [
            ("<html><title>Sign in</title></html>", "it begins: Sign in"),
            (r#"{"runs":["#, r#"it begins: {"runs":["#),
            ("", "not JSON"),
            ("[]", "it begins: []"),
        ] {
            let server = Server::start(move |_, _| http("200 OK", "", body)).await;
            let client = server.client();
            let error = list(&client).await.unwrap_err();
            assert_eq!((error.reason, client.requests()), (Reason::Unreadable, 3));
            assert!(error.to_string().ends_with(begins), "{error}");
        }
        let server = Server::start(|_, _| http("200 OK", "", &format!("\u{feff} {PAGE}\n"))).await;
        assert_eq!(list(&server.client()).await.unwrap(), format!(" {PAGE}\n"));
    }

    #[tokio::test]
    async fn json_of_another_shape_is_unreadable_and_quotes_no_secret() {
        let server =
            Server::start(|_, _| http("200 OK", "", r#"{"runs":"tok3n","connection":"tok3n"}"#)).await;
        let client = server.client();
        let page = list(&client).await.unwrap();
        let connection = id("X");
        let doing = Doing::ListRuns { connection, skip: 0 };
        let error = client.unreadable(doing, &wire::Page::parse(&page).unwrap_err());
        assert_eq!(error.reason, Reason::Unreadable);
        assert!(!error.to_string().contains("tok3n"), "{error}");
        let error = client.get_connection(&id("X")).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unreadable);
        assert!(!error.to_string().contains("tok3n"), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_retried() {
        let server = Server::start(|_, number| {
            let mut answer = http("200 OK", "", PAGE);
            answer.truncate(answer.len() - usize::from(number < 3));
            answer
        })
        .await;
        let client = server.client();
        assert_eq!(list(&client).await.unwrap(), PAGE);
        assert_eq!(client.requests(), 3);
    }

    #[tokio::test]
    async fn a_host_that_refuses_connections_is_unavailable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let mut options = Options::new(url.clone(), url, Credentials::Token("tok3n".into()));
        options.backoff_start = Duration::from_millis(1);
        options.max_attempts = 3;
        let client = Client::new(options).unwrap();
        let error = list(&client).await.unwrap_err();
        assert_eq!((error.reason, client.requests()), (Reason::Unavailable, 3));
        assert!(
            error.to_string().starts_with("listing runs of connection X: no connection to 127.0.0.1:"),
            "{error}"
        );
        assert!(!client.was_accepted());
    }

    #[tokio::test]
    async fn a_list_call_that_times_out_comes_back_after_two_attempts() {
        // Two ways to be slow: no answer at all, and an answer without its end.
        let server = Server::start(|request, _| match request {
            _ if request.contains("/connections/slow/") => Vec::new(),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec(),
        })
        .await;
        let mut options = server.options(Credentials::Token("tok3n".into()));
        options.timeout = Duration::from_millis(50);
        options.max_attempts = 3;
        let client = Client::new(options).unwrap();
        let after = Duration::from_millis(50);
        let slow = client.list_runs(&id("slow"), 0, 50).await.unwrap_err();
        assert_eq!((slow.reason, client.requests()), (Reason::TimedOut { after }, 2));
        assert_eq!(slow.to_string(), "listing runs of connection slow: no complete answer within 50ms");
        client.list_runs(&id("slow"), 0, 1).await.unwrap_err();
        assert_eq!(client.requests(), 5);
        let half = client.list_runs(&id("half"), 0, 50).await.unwrap_err();
        assert_eq!((half.reason, client.requests()), (Reason::TimedOut { after }, 7));
    }

    #[tokio::test]
    async fn an_answer_that_unpacks_without_end_is_too_large() {
        let server = Server::start(|_, _| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            for _ in 0..=64 {
                packed.write_all(&[b' '; 1 << 20]).unwrap();
            }
            let body = packed.finish().unwrap();
            let mut answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            answer.extend(body);
            answer
        })
        .await;
        let client = server.client();
        let error = list(&client).await.unwrap_err();
        assert_eq!((error.reason, client.requests()), (Reason::PageTooLarge, 1));
    }

    #[tokio::test]
    async fn no_more_answers_than_allowed_are_held() {
        let server = Server::start(|_, _| http("200 OK", "", PAGE)).await;
        let mut options = server.options(Credentials::Token("tok3n".into()));
        options.in_flight = 1;
        let client = Client::new(options).unwrap();
        let connection = id("X");
        let held = client.list_runs(&connection, 0, 50).await.unwrap();
        let mut next = std::pin::pin!(client.list_runs(&connection, 50, 50));
        tokio::select! {
            biased;
            _ = &mut next => panic!("a second answer was given while the first was held"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(client.requests(), 1);
        drop(held);
        next.await.unwrap();
        assert_eq!(client.requests(), 2);
    }

    #[tokio::test]
    async fn stopping_ends_a_request_that_hangs() {
        let server = Server::start(|_, _| Vec::new()).await;
        let client = server.client();
        let stopping = async {
            while client.requests() == 0 {
                tokio::task::yield_now().await;
            }
            client.stop();
        };
        let (outcome, ()) = tokio::join!(list(&client), stopping);
        assert_eq!(outcome.unwrap_err().reason, Reason::Stopped);
    }

    #[test]
    fn a_token_is_never_sent_in_the_clear() {
        let outcome = |api: &str| {
            let issuer = "http://localhost:1".parse().unwrap();
            Client::new(Options::new(api.parse().unwrap(), issuer, Credentials::Token("tok3n".into())))
        };
        for url in ["http://127.0.0.1", "http://127.9.9.9:80/x", "http://[::1]", "http://LOCALHOST"] {
            assert!(outcome(url).is_ok(), "{url}");
        }
        for url in ["http://api.bentley.com", "http://10.0.0.1", "http://localhost.evil", "http://0.0.0.0"] {
            assert!(matches!(outcome(url), Err(SetupError::PlainHttp(_))), "{url}");
        }
        for url in ["ftp://localhost", "data:x", "unix:/x"] {
            assert!(matches!(outcome(url), Err(SetupError::NotHttp(_))), "{url}");
        }
        let error = outcome("https://me:hush@api.bentley.com").unwrap_err().to_string();
        assert!(error.contains("api.bentley.com") && !error.contains("hush"), "{error}");
    }

    #[test]
    fn a_client_can_be_shared_by_tasks() {
        fn is_shareable<T: Send + Sync + Clone + 'static>() {}
        fn is_send<T: Send>(_: T) {}
        is_shareable::<Client>();
        let options = Options::new(
            "http://localhost".parse().unwrap(),
            "http://localhost".parse().unwrap(),
            Credentials::Token("tok3n".into()),
        );
        let client = Client::new(options).unwrap();
        let connection = id("X");
        is_send(client.list_runs(&connection, 0, 1));
    }
}
