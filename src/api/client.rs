//! The platform client: one method per question, each answer as the text that was sent.
//!
//! In: a connection's id and what to ask of it. Out: the JSON text of the answer, or an [`Error`] that
//! says by its meaning what happened. Tokens come from `auth`; requests wait, repeat and give up as `pace`
//! decides.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::AUTHORIZATION;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use url::Url;

use super::auth::{Token, Tokens};
use super::error::{Doing, Error, Reason};
use super::id::{ConnectionId, Kind, vanishes_from_path};
use super::options::{Options, SetupError, check_url};
use super::secrets::{MESSAGE_CHARS, Secrets};
use super::share::{Turn, TurnShare};
use super::transport::{Body, TOO_LONG, Transport, join};
use super::wire::{self, Cursor};

/// New tokens for one request. A platform where a token serves some requests and then dies is worked with;
/// one where five in a row die before this request's turn would be asked for ever.
const MAX_RENEWALS: usize = 5;
/// How long an answer that has come is still worked on after a signal or the end of the time budget.
const MOMENT: Duration = Duration::from_millis(500);
/// Chooses version 1 of an API.
const ACCEPT: &str = "application/vnd.bentley.itwin-platform.v1+json";
/// Chooses version 2, the only one of the iModels API that knows iTwins.
const ACCEPT_V2: &str = "application/vnd.bentley.itwin-platform.v2+json";

/// A query's value, percent-encoded.
fn encode(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// The text of an answer, and its place among the requests in flight. Keep it no longer than the text is
/// needed: a caller that holds as many answers as are allowed and asks again waits for ever.
#[derive(Debug)]
pub(crate) struct Answer {
    /// JSON as it was sent, from an opening brace to a closing one. What is between is not checked; bytes
    /// that are no UTF-8 are written as [`wire::text_of`] says.
    pub text: String,
    /// Whether a page of runs was longer than what is read, and ends somewhere.
    is_cut: bool,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// Reads it as a page of runs.
    pub(crate) fn page(&self) -> Result<wire::Page<'_>, wire::Unreadable> {
        if self.is_cut { wire::Page::parse_beginning(&self.text) } else { wire::Page::parse(&self.text) }
    }
}

/// The platform client. Clones share everything: pauses, tokens, limits and counts; one that was made for a
/// turn gives way when that ends.
#[derive(Clone)]
pub struct Client(Arc<ClientState>, Option<TurnShare>);

struct ClientState {
    api_url: Url,
    max_attempts: usize,
    transport: Transport,
    tokens: Tokens,
    accepted: AtomicBool,
    deadline: Option<Instant>,
    /// When the client was stopped.
    stopped_at: watch::Sender<Option<Instant>>,
}

/// What is asked, ready to be sent as often as it takes.
struct Question {
    doing: Doing,
    url: Url,
    /// How often it may time out before the caller is asked for a smaller one.
    max_timeouts: usize,
    accept: &'static str,
    prefer: &'static str,
}

impl Question {
    /// A question of version 1 of an API that is answered with whole objects; without the preference the
    /// Synchronization API would send ids and names alone.
    fn new(doing: Doing, url: Url, max_timeouts: usize) -> Self {
        Self { doing, url, max_timeouts, accept: ACCEPT, prefer: "return=representation" }
    }
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
        let tokens = Tokens::new(options.credentials.clone(), &options.issuer_url, &secrets)?;
        let transport = Transport::new(&options, secrets)?;
        let shared = Arc::new(ClientState {
            api_url: options.api_url,
            max_attempts: options.max_attempts,
            transport,
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
    pub(crate) async fn list_runs(
        &self,
        connection: &ConnectionId,
        skip: u64,
        top: u32,
    ) -> Result<Answer, Error> {
        let mut url = self.0.url(connection, ["runs"]);
        // Written as the platform's own links write it; `query_pairs_mut` would encode the `$`.
        url.set_query(Some(&format!("$skip={skip}&$top={top}")));
        let doing = Doing::ListRuns { connection: connection.clone(), skip };
        let question = Question::new(doing.clone(), url, self.0.max_timeouts(top));
        let answer = self.ask(question).await?;
        // With two runs or fewer asked for there is no smaller page that a walk could go on with.
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
    pub(crate) async fn list_connections(
        &self,
        kind: Kind,
        imodel: &str,
        skip: u64,
        top: u32,
    ) -> Result<Answer, Error> {
        let mut url = join(&self.0.api_url, kind.path());
        url.set_query(Some(&format!("imodelId={}&$skip={skip}&$top={top}", encode(imodel))));
        let doing = Doing::ListConnections { kind, imodel: imodel.to_owned(), skip };
        self.ask(Question::new(doing, url, self.0.max_timeouts(top))).await
    }

    /// One page of the iModels of an iTwin, with no more than their ids and names.
    pub(crate) async fn list_imodels(&self, itwin: &str, from: &Cursor, top: u32) -> Result<Answer, Error> {
        let mut url = join(&self.0.api_url, ["imodels"]);
        let from = match from {
            Cursor::Token(token) => format!("$continuationToken={}", encode(token)),
            Cursor::Skip(skip) => format!("$skip={skip}"),
        };
        url.set_query(Some(&format!("iTwinId={}&$top={top}&{from}", encode(itwin))));
        let doing = Doing::ListImodels { itwin: itwin.to_owned() };
        // Names are enough, and only the second version of this API knows iTwins.
        let (accept, prefer) = (ACCEPT_V2, "return=minimal");
        let question = Question::new(doing, url, self.0.max_timeouts(top));
        self.ask(Question { accept, prefer, ..question }).await
    }

    /// One page of the iTwins that the credentials are a member of.
    pub(crate) async fn list_itwins(&self, skip: u64, top: u32) -> Result<Answer, Error> {
        let mut url = join(&self.0.api_url, ["itwins"]);
        url.set_query(Some(&format!("$skip={skip}&$top={top}")));
        self.ask(Question::new(Doing::ListItwins, url, self.0.max_timeouts(top))).await
    }

    /// One run by its id, with its jobs and tasks.
    ///
    /// # Errors
    /// Any [`Reason`]; [`Reason::Rejected`] without a request where the id cannot be part of a path.
    pub(crate) async fn get_run(&self, connection: &ConnectionId, run: &str) -> Result<Answer, Error> {
        let url = self.0.url(connection, ["runs", run]);
        let doing = Doing::GetRun { connection: connection.clone(), run: run.to_owned() };
        if vanishes_from_path(run) {
            let message = "the id cannot be part of a URL path";
            return Err(Error::new(doing, Reason::Rejected, message));
        }
        self.ask(Question::new(doing, url, self.0.max_attempts)).await
    }

    /// What the platform says of a connection.
    pub(crate) async fn get_connection(&self, connection: &ConnectionId) -> Result<wire::Connection, Error> {
        let url = self.0.url(connection, []);
        let doing = Doing::GetConnection { connection: connection.clone() };
        let answer = self.ask(Question::new(doing.clone(), url, self.0.max_attempts)).await?;
        wire::Connection::parse(&answer.text).map_err(|problem| self.unreadable(doing, &problem))
    }

    /// Has an answer read on a thread of its own, so that a signal and the end of the time budget are heard
    /// meanwhile. What is still being read a moment later is dropped.
    pub(crate) async fn parse<T: Send + 'static>(
        &self,
        doing: &Doing,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.wait(doing, parse(work)).await?
    }

    /// Waits for what becomes of an answer: once the client is stopped or its time budget spent, only for a
    /// moment more, so that what has come is stored where that takes no longer.
    pub(crate) async fn wait<T>(&self, doing: &Doing, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut stopped_at = self.0.stopped_at.subscribe();
        let stopped = async {
            // The sender lives as long as this client, so the wait ends only when `stop` was called.
            let at = stopped_at.wait_for(Option::is_some).await.map(|at| *at);
            match at.ok().flatten() {
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
    pub(crate) fn cut_short(&self, doing: Doing, read: usize) -> Error {
        let message = format!(
            "the page is longer than what is read of one ({} records or 64 MiB), whatever $top asks for; \
             its first {read} are taken",
            wire::MAX_RECORDS
        );
        Error::new(doing, Reason::PageTooLarge, message)
    }

    /// The error of an answer whose text [`wire`] cannot read. What `problem` quotes of that text is
    /// cleaned and freed of secrets like all foreign text.
    pub(crate) fn unreadable(&self, doing: Doing, problem: &wire::Unreadable) -> Error {
        let message = self.0.transport.secrets.show(&problem.to_string(), MESSAGE_CHARS);
        Error::new(doing, Reason::Unreadable, message)
    }

    /// Requests sent so far, retries and token requests included.
    pub(crate) fn requests(&self) -> u64 {
        self.0.transport.requests.load(Ordering::Relaxed)
    }

    /// How long no request may be sent: for a rate limit that the platform imposed (429) or for our own.
    pub(crate) fn paused_for(&self) -> Option<Duration> {
        self.0.transport.gate.held_for()
    }

    /// Counts requests that another process sent, so long ago, against the limits.
    pub(crate) fn remember_requests(&self, requests: u64, ago: Duration) {
        self.0.transport.gate.remember(requests, ago);
    }

    /// Whether the platform accepted the credentials at least once: any answer of it but 401, and but
    /// 408 and 5xx, which say nothing of the credentials.
    pub(crate) fn was_accepted(&self) -> bool {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Whether the platform answered anything at all: a refusal, a failure of its own.
    pub(crate) fn was_answered(&self) -> bool {
        self.0.transport.answered.load(Ordering::Relaxed)
    }

    /// The same client for one caller among several: its requests end with [`Reason::ShareSpent`] when its
    /// turn does.
    #[must_use]
    pub(crate) fn in_turn(&self, turn: &Turn) -> Self {
        Self(Arc::clone(&self.0), Some(turn.share()))
    }

    /// When the time budget ends, if there is one.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.transport.gate.deadline()
    }

    /// Asks until there is an answer, an error that stays, or no time.
    async fn ask(&self, question: Question) -> Result<Answer, Error> {
        let Some(share) = &self.1 else { return self.0.ask(&question).await };
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
            () = spent => Err(Error::new(question.doing.clone(), Reason::ShareSpent, "")),
            done = self.0.ask(&question) => done,
        }
    }

    /// Ends every running and later request at once with [`Reason::Stopped`].
    pub(crate) fn stop(&self) {
        self.0.stopped_at.send_if_modified(|at| at.replace(Instant::now()).is_none());
        self.0.transport.gate.stop();
    }
}

impl ClientState {
    /// How often a request for so many entries may time out: fewer can be asked for.
    fn max_timeouts(&self, top: u32) -> usize {
        if top > 1 { 2 } else { self.max_attempts }
    }

    fn url<'a>(&self, of: &'a ConnectionId, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let path = of.kind().path().map(|segment| -> &'a str { segment });
        join(&self.api_url, path.chain([of.as_str()]).chain(segments))
    }

    /// Asks until there is an answer, an error that stays, or no time.
    async fn ask(&self, question: &Question) -> Result<Answer, Error> {
        let gate = &self.transport.gate;
        let work = gate.persist(question.max_timeouts, || self.attempt(question));
        gate.bound(&question.doing, work).await
    }

    /// One attempt: with another token where the first is refused, and again where that one served other
    /// requests and died before this request's turn.
    async fn attempt(&self, question: &Question) -> Result<Answer, Error> {
        let doing = &question.doing;
        let mut slot = Some(self.transport.gate.slot(doing).await?);
        let mut token = self.tokens.current(&self.transport).await?;
        let mut renewals = 0;
        loop {
            let was_fresh = AtomicBool::new(false);
            let request = || {
                was_fresh.fetch_or(token.mark_sent(), Ordering::Relaxed);
                self.request(question, &token)
            };
            let sent = self.transport.send(doing, &mut slot, request).await;

            // A gateway answers 408 and 5xx before anybody has looked at the token, so they prove nothing.
            let is_accepted = match &sent {
                Ok(_) => true,
                Err(error) => error.problem.status.is_some_and(|status| !matches!(status, 401 | 408 | 500..)),
            };
            if is_accepted {
                token.mark_accepted();
                self.accepted.store(true, Ordering::Relaxed);
            }
            let error = match sent {
                Ok(Body { text, is_cut }) => return Ok(Answer { text, is_cut, _slot: slot }),
                Err(error) if error.reason != Reason::Refused => return Err(error),
                Err(error) => error,
            };

            // A second token that is refused although nothing was ever answered with it means that the
            // credentials are refused, and not that this request came too late.
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

    fn request(&self, question: &Question, token: &Token) -> RequestBuilder {
        let request = self.transport.api.get(question.url.clone());
        let request = request.header(AUTHORIZATION, token.header.clone());
        request.header("accept", question.accept).header("prefer", question.prefer)
    }
}

/// Runs `work` where it keeps nothing else waiting.
async fn parse<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    // A task that is never aborted ends without a value only by a panic, which is passed on.
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
}
