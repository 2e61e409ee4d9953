//! Brings the archive up to date with the platform: drives walks with requests, and hands what they
//! bring to the one writer.
//!
//! In: a client, an archive, the connections. Out: a [`Summary`]. Connections are synced side by side,
//! and a failure of one never stops the others. What to ask next is decided in `walk`, what a run means
//! in `normalize`, what is new in `store`.

mod records;
mod summary;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::{self, Client, ConnectionId, Doing, Reason, wire};
use crate::store::read::ConnectionState;
use crate::store::write::{Counts, Source, SyncTotals, WalkEnd, WalkOutcome};
use crate::store::{self, Archive, Closed, Reader, Writer};
use crate::time::UtcText;
use crate::walk::{Ask, Checkpoint, End, Order, Plan, Walk};

pub(crate) use records::read_saved;
use records::{Batch, Lookup};
pub use summary::{ConnectionSummary, Outcome, Problem, Summary};

/// Asking for single runs is only cheaper than walking while they are few.
const MOST_BY_ID: u64 = 1_000;
/// Runs that the platform may fail to answer for, after all attempts, before the others are left for later.
const MOST_OUTAGES: u32 = 3;
/// Pages of a single run cannot overlap, so no smaller page is ever asked for.
const SMALLEST_PAGE: u32 = 2;

/// What a sync is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The connections, in the order given.
    pub connections: Vec<ConnectionId>,
    /// Walk every listing whole.
    pub full: bool,
    /// `$top` to begin with.
    pub page_size: u32,
    /// Whether the page size was asked for, rather than the default: then what was learned is ignored.
    pub is_page_size_given: bool,
    /// Pages of one listing in flight.
    pub pages_in_flight: usize,
    /// Connections at a time.
    pub concurrency: usize,
    /// How often every listing is walked whole regardless.
    pub full_every: Duration,
}

/// What has happened so far, for a progress display.
#[derive(Debug, Default)]
pub struct Progress {
    /// Pages received.
    pub pages: AtomicU64,
    /// Records received, and runs stored and changed.
    pub received: AtomicU64,
    /// Runs stored for the first time.
    pub new: AtomicU64,
    /// Runs that changed.
    pub changed: AtomicU64,
}

impl Progress {
    fn add(&self, counts: &Counts) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.received.fetch_add(counts.received, Ordering::Relaxed);
        self.new.fetch_add(counts.new, Ordering::Relaxed);
        self.changed.fetch_add(counts.changed, Ordering::Relaxed);
    }
}

/// Where what is received goes.
enum Sink {
    /// Into the archive, by its writer.
    Archive { writer: Writer, sync_key: i64 },
    /// Nowhere: it is only compared with the archive, if there is one.
    DryRun,
}

/// Why a connection could not be synced any further.
#[derive(Debug)]
enum Stop {
    /// The platform's answer.
    Api(api::Error),
    /// The archive could not be read, or (without an error, which the writer tells) not be written.
    Store(Option<store::Error>),
}

impl From<api::Error> for Stop {
    fn from(error: api::Error) -> Self {
        Self::Api(error)
    }
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Store(None)
    }
}

struct Shared {
    client: Client,
    sink: Sink,
    reader: Option<tokio::sync::Mutex<Reader>>,
    options: Options,
    progress: Arc<Progress>,
}

/// Syncs into the archive. The error is the archive's; what the platform refused is in the summary.
pub async fn sync(
    client: Client,
    mut archive: Archive,
    options: Options,
    progress: Arc<Progress>,
) -> Result<Summary, store::Error> {
    let path = archive.path().to_owned();
    let started_at = now();
    // Written before the first request, so that a sync that dies leaves a trace.
    let sync_key = archive.write(|archive| archive.begin_sync("sync", &started_at))?;
    let reader = Reader::open(&path)?;
    let writer =
        Writer::start(archive).map_err(|source| store::Error::Io { doing: "writing", path, source })?;
    let shared = Shared {
        client,
        sink: Sink::Archive { writer, sync_key },
        reader: Some(tokio::sync::Mutex::new(reader)),
        options,
        progress,
    };
    let (summary, shared) = sync_connections(shared, started_at).await;
    drop(shared.reader);
    let Sink::Archive { writer, sync_key } = shared.sink else { return Ok(summary) };
    let totals = SyncTotals { requests: summary.requests, pages: summary.pages, counts: summary.counts };
    let (outcome, exit_code) = (summary.outcome.as_str(), summary.exit_code.number());
    let problem = summary.problems().next().map(|problem| problem.message.clone());
    let ended = writer.ask(move |archive| {
        archive.end_sync(sync_key, &now(), &totals, (outcome, exit_code, problem.as_deref()))
    });
    // A closed writer tells why it closed when it finishes.
    let _ = ended.await;
    writer.finish()?.close()?;
    Ok(summary)
}

/// Does all that a sync does but store: the counts say what it would do.
pub async fn dry_run(
    client: Client,
    reader: Option<Reader>,
    options: Options,
    progress: Arc<Progress>,
) -> Summary {
    let reader = reader.map(tokio::sync::Mutex::new);
    let shared = Shared { client, sink: Sink::DryRun, reader, options, progress };
    sync_connections(shared, now()).await.0
}

async fn sync_connections(shared: Shared, started_at: UtcText) -> (Summary, Shared) {
    let shared = Arc::new(shared);
    let places = Arc::new(Semaphore::new(shared.options.concurrency.max(1)));
    let mut tasks = JoinSet::new();
    for (at, connection) in shared.options.connections.iter().cloned().enumerate() {
        let (shared, places) = (shared.clone(), places.clone());
        tasks.spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire_owned().await;
            (at, ConnectionSync::run(&shared, connection).await)
        });
    }
    let mut connections = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(summary) => connections.push(summary),
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    connections.sort_by_key(|(at, _)| *at);
    let connections = connections.into_iter().map(|(_, summary)| summary).collect();
    let summary = Summary::new(started_at, now(), &shared.client, connections);
    // Every task has ended, and with it its share.
    let shared = Arc::try_unwrap(shared).unwrap_or_else(|_| unreachable!("all tasks have been joined"));
    (summary, shared)
}

/// One connection's part of a sync.
struct ConnectionSync<'a> {
    shared: &'a Shared,
    id: ConnectionId,
    state: ConnectionState,
    page_size: u32,
    /// Whether a larger page was refused; what is learned is the first size that then came.
    has_shrunk: bool,
    learned_page_size: Option<u32>,
    /// Archived runs that are not terminal and were not met yet.
    unfinished: HashMap<String, i64>,
    summary: ConnectionSummary,
}

impl<'a> ConnectionSync<'a> {
    async fn run(shared: &'a Shared, id: ConnectionId) -> ConnectionSummary {
        let page_size = shared.options.page_size;
        let summary = ConnectionSummary::new(id.as_str());
        let state = ConnectionState::default();
        let unfinished = HashMap::new();
        let learned_page_size = None;
        let has_shrunk = false;
        let mut sync =
            Self { shared, id, state, page_size, has_shrunk, learned_page_size, unfinished, summary };
        let result = sync.sync().await;
        match &result {
            Err(Stop::Api(error)) => sync.note_error(error).await,
            Err(Stop::Store(Some(error))) => sync.summary.note_failure(error.to_string()),
            Err(Stop::Store(None)) | Ok(()) => {}
        }
        if let Sink::Archive { writer, .. } = &shared.sink {
            // The counts are the writer's: they are whole once it has done all that was sent.
            let _ = writer.ask(|_| Ok(())).await;
        }
        sync.summary
    }

    async fn sync(&mut self) -> Result<(), Stop> {
        self.read_state().await?;
        let is_full_walk = self.shared.options.full || self.is_full_walk_due();
        if let (Some(learned), false) = (self.state.page_size, self.shared.options.is_page_size_given) {
            // A full walk tries a larger page again: what was refused once may have been a bad hour.
            let size = if is_full_walk { learned.saturating_mul(2) } else { learned };
            self.page_size = self.page_size.min(size.max(SMALLEST_PAGE));
        }
        let had_complete_walk = self.state.full_walk_at.is_some();
        let many_unfinished = self.state.unfinished > MOST_BY_ID;
        if self.shared.options.full {
            self.walk_full().await?;
        } else if let Some((walk_key, checkpoint)) = self.state.open_walk.clone() {
            // What is new first, unless the way to it needs the interrupted walk, or lately led nowhere.
            let is_unordered = self.state.listing_order.as_deref() == Some(Order::None.as_str());
            let resume_first = !had_complete_walk || is_unordered || self.state.was_cut_short;
            if !resume_first {
                self.walk_incremental().await?;
            }
            let resumed = self.resume(walk_key, &checkpoint).await;
            self.read_state().await?;
            match resumed {
                // What began while the walk was interrupted stands before what it resumed. An unordered
                // listing has no such place: the next sync walks it whole.
                Ok(()) if resume_first && !is_unordered => self.walk_incremental().await?,
                Ok(()) => {}
                Err(Stop::Api(error)) if !had_complete_walk && is_about_one_page(&error) => {
                    // The newest runs must not wait for a page that cannot be had.
                    self.note_error(&error).await;
                    self.walk_newest_unproved().await?;
                }
                Err(stop) => return Err(stop),
            }
        } else if many_unfinished || self.state.was_cut_short || is_full_walk {
            // A full walk goes on where it was stopped; an incremental one that was cut short would not.
            self.walk_full().await?;
        } else {
            self.walk_incremental().await?;
        }
        self.fetch_unfinished().await
    }

    /// Whether it is time to walk the whole listing regardless.
    fn is_full_walk_due(&self) -> bool {
        let every = i64::try_from(self.shared.options.full_every.as_millis()).unwrap_or(i64::MAX);
        self.state
            .full_walk_at
            .is_none_or(|then| then.milliseconds_until(&now()).is_none_or(|passed| passed >= every))
    }

    async fn read_state(&mut self) -> Result<(), Stop> {
        let id = self.id.clone();
        self.state = match &self.shared.sink {
            Sink::Archive { writer, .. } => {
                writer
                    .ask(move |archive| {
                        let key = archive.upsert_connection(id.as_str(), &now())?;
                        archive.read_state(key)
                    })
                    .await?
            }
            Sink::DryRun => match &self.shared.reader {
                Some(reader) => {
                    reader.lock().await.read_state(id.as_str()).map_err(store_stop)?.unwrap_or_default()
                }
                None => ConnectionState::default(),
            },
        };
        if self.unfinished.is_empty()
            && self.state.unfinished <= MOST_BY_ID
            && let Some(reader) = &self.shared.reader
        {
            let unfinished =
                reader.lock().await.read_unfinished(self.state.connection_key).map_err(store_stop)?;
            self.unfinished = unfinished.into_iter().map(|(key, id)| (id, key)).collect();
        }
        Ok(())
    }

    /// Walks what began since the last complete walk.
    async fn walk_incremental(&mut self) -> Result<(), Stop> {
        let order = self.state.listing_order.as_deref().and_then(Order::from_stored);
        let end =
            self.state.listing_end.as_deref().and_then(|json| serde_json::from_str::<Checkpoint>(json).ok());
        let plan = match (order, end) {
            (Some(Order::None), _) => {
                // In one request: whether anything began since the last walk of the whole listing.
                let connection = self.get_connection().await?;
                let is_known = connection.is_some_and(|connection| {
                    connection.last_run.is_some() && connection.last_run == self.state.last_run_id
                });
                if is_known {
                    return Ok(());
                }
                return self.walk_full().await;
            }
            (Some(Order::OldestFirst), Some(end)) => Plan::Oldest(end),
            _ => Plan::Newest { listed: Some(self.state.listed) },
        };
        self.walk(plan, None, None).await
    }

    async fn walk_full(&mut self) -> Result<(), Stop> {
        let last_run = self.get_connection().await?.and_then(|connection| connection.last_run);
        self.walk(Plan::Full, None, last_run).await
    }

    async fn resume(&mut self, walk_key: i64, checkpoint: &str) -> Result<(), Stop> {
        match serde_json::from_str(checkpoint) {
            Ok(checkpoint) => self.walk(Plan::Resume(checkpoint), Some(walk_key), None).await,
            // Written by another version: the walk starts over.
            Err(_) => self.walk_full().await,
        }
    }

    /// Takes the newest runs although no complete walk says where they end.
    async fn walk_newest_unproved(&mut self) -> Result<(), Stop> {
        self.state.settled_run_key = i64::MAX;
        self.state.watermark = self.state.watermark.or(UtcText::parse_sent("9999-12-31T23:59:59Z"));
        self.walk(Plan::Newest { listed: None }, None, None).await
    }

    /// What the platform says of the connection. Its runs may be readable where this is not, so only
    /// errors that concern every request end the sync here.
    async fn get_connection(&self) -> Result<Option<wire::Connection>, Stop> {
        match self.shared.client.get_connection(&self.id).await {
            Ok(connection) => {
                if let Sink::Archive { writer, .. } = &self.shared.sink {
                    let (key, stored) = (self.state.connection_key, connection.clone());
                    writer.write(move |archive| archive.store_connection(key, &stored)).await?;
                }
                Ok(Some(connection))
            }
            Err(error)
                if matches!(error.reason, Reason::Refused | Reason::BudgetSpent { .. } | Reason::Stopped) =>
            {
                Err(error.into())
            }
            Err(error) => {
                tracing::info!("{error}; its runs are listed all the same");
                Ok(None)
            }
        }
    }

    /// An empty listing where there were runs: a service that lost its role is given one, too. The
    /// connection's own `lastRun` tells.
    async fn may_have_runs(&self) -> Result<bool, Stop> {
        Ok(self.get_connection().await?.is_none_or(|connection| connection.last_run.is_some()))
    }

    /// One walk from plan to record.
    async fn walk(
        &mut self,
        plan: Plan,
        resumed: Option<i64>,
        last_run_id: Option<String>,
    ) -> Result<(), Stop> {
        let is_proved = self.state.settled_run_key != i64::MAX;
        let mut walk = Walk::new(plan, self.page_size, self.shared.options.pages_in_flight);
        let walk_key = self.begin_walk(walk.is_full(), resumed).await?;
        let stopped = self.drive(&mut walk, walk_key).await;
        if let Err(Stop::Store(_)) = stopped {
            return stopped;
        }
        let is_empty = walk.covers_listing() && walk.checkpoint().chained == 0;
        let is_doubtful = is_empty && self.state.listed > 0 && self.may_have_runs().await?;
        let failure = match (&stopped, walk.end()) {
            (Err(Stop::Api(error)), _) => Some(error.to_string()),
            (_, None) => Some("it ended early".to_owned()),
            (Ok(()), _) if is_doubtful => Some(
                "the platform lists no run, and does not say that there is none; has the role on the iTwin gone?"
                    .to_owned(),
            ),
            (_, Some(End::Unproved(doubt))) => Some(doubt.to_string()),
            (_, Some(End::Settled)) if !is_proved => {
                Some("no complete walk has proved the older runs".to_owned())
            }
            _ => None,
        };
        let checkpoint = walk.checkpoint();
        let json = serde_json::to_string(&checkpoint).ok();
        let end = WalkEnd {
            is_complete: failure.is_none(),
            covers_listing: walk.covers_listing() && !is_doubtful,
            is_full: walk.is_full(),
            chained: checkpoint.chained,
            checkpoint: json.clone().filter(|_| stopped.is_err() && walk.is_full() && checkpoint.chained > 0),
            listing_end: json.filter(|_| walk.has_seen_the_end()),
            order: checkpoint.order.map(Order::as_str),
            newest_started_at: checkpoint.newest_started_at,
            oldest_started_at: checkpoint.oldest_started_at,
            page_size: self.learned_page_size,
            last_run_id,
            reason: failure,
        };
        let outcome = self.end_walk(walk_key, end).await?;
        self.summary.note_walk(walk.is_full(), stopped.is_err(), &outcome);
        stopped
    }

    async fn begin_walk(&self, is_full: bool, resumed: Option<i64>) -> Result<i64, Stop> {
        let Sink::Archive { writer, sync_key } = &self.shared.sink else { return Ok(0) };
        let (sync_key, key) = (*sync_key, self.state.connection_key);
        let begin = writer.ask(move |archive| match resumed {
            Some(walk_key) => archive.resume_walk(walk_key),
            None => archive.begin_walk(key, sync_key, is_full, &now()),
        });
        Ok(begin.await?)
    }

    async fn end_walk(&self, walk_key: i64, end: WalkEnd) -> Result<WalkOutcome, Stop> {
        let Sink::Archive { writer, .. } = &self.shared.sink else {
            let (is_complete, reason) = (end.is_complete, end.reason);
            return Ok(WalkOutcome { is_complete, reason, ..WalkOutcome::default() });
        };
        Ok(writer.ask(move |archive| archive.end_walk(walk_key, &end, &now())).await?)
    }

    /// Asks what the walk plans until it ends.
    async fn drive(&mut self, walk: &mut Walk, walk_key: i64) -> Result<(), Stop> {
        // Dropping the set ends what is still in flight.
        let mut requests: JoinSet<(Ask, Result<api::Answer, api::Error>)> = JoinSet::new();
        loop {
            for ask in walk.plan_asks() {
                let (client, id) = (self.shared.client.clone(), self.id.clone());
                requests.spawn(async move { (ask, client.list_runs(&id, ask.skip, ask.top).await) });
            }
            if walk.end().is_some() {
                return Ok(());
            }
            let Some(answered) = requests.join_next().await else { return Ok(()) };
            let (ask, answer) =
                answered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            match answer {
                Ok(answer) => self.take_page(walk, walk_key, ask, answer).await?,
                Err(error) if is_too_much(&error) && ask.top > SMALLEST_PAGE => {
                    tracing::info!("{error}; asking for less");
                    if ask.top <= walk.page_size() {
                        walk.shrink_pages((ask.top / 2).max(SMALLEST_PAGE));
                        self.page_size = walk.page_size();
                        self.has_shrunk = true;
                    }
                    walk.give_up(ask);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn take_page(
        &mut self,
        walk: &mut Walk,
        walk_key: i64,
        ask: Ask,
        answer: api::Answer,
    ) -> Result<(), Stop> {
        let doing = Doing::ListRuns { connection: self.id.clone(), skip: ask.skip };
        let unreadable =
            |problem: wire::Unreadable| Stop::Api(self.shared.client.unreadable(doing, &problem));
        let lookup = Lookup {
            connection_key: self.state.connection_key,
            settled_run_key: self.state.settled_run_key,
            watermark: self.state.watermark,
            // A first backfill meets nothing that is archived: the writer alone tells overlaps.
            is_needed: self.state.has_runs,
        };
        let reader = match &self.shared.reader {
            Some(reader) => Some(reader.lock().await),
            None => None,
        };
        let (batch, page) =
            Batch::of_page(answer, &lookup, reader.as_deref()).map_err(|error| match error {
                records::Error::Unreadable(problem) => unreadable(problem),
                records::Error::Store(error) => store_stop(error),
            })?;
        drop(reader);
        for id in batch.ids() {
            self.unfinished.remove(id);
        }
        walk.take_page(ask, page.entries, page.more);
        self.summary.pages += 1;
        if self.has_shrunk && ask.top == self.page_size {
            self.learned_page_size = Some(self.page_size);
        }
        match &self.shared.sink {
            Sink::DryRun => {
                let counts = batch.count(&mut self.summary.dry_run_met);
                self.shared.progress.add(&counts);
                self.summary.counts.add(counts);
            }
            Sink::Archive { writer, .. } => {
                let checkpoint = Some(walk.checkpoint()).filter(|at| walk.is_full() && at.chained > 0);
                let checkpoint = checkpoint.and_then(|checkpoint| serde_json::to_string(&checkpoint).ok());
                let (is_full, key) = (walk.is_full(), self.state.connection_key);
                let (progress, totals) = (self.shared.progress.clone(), self.summary.stored.clone());
                writer
                    .write(move |archive| {
                        archive.mark_connection(key, None)?;
                        let counts = archive.store_page(
                            walk_key,
                            is_full,
                            batch.records(),
                            checkpoint.as_deref(),
                            &now(),
                        )?;
                        progress.add(&counts);
                        totals.add(counts);
                        Ok(())
                    })
                    .await?;
            }
        }
        Ok(())
    }

    /// Archived runs that are not terminal and were not met are asked for one by one.
    async fn fetch_unfinished(&mut self) -> Result<(), Stop> {
        let walk_pages = self.state.listed / u64::from(self.page_size.max(1)) + 16;
        if self.unfinished.len() as u64 > walk_pages && !self.summary.has_walked_full {
            self.walk_full().await?;
        }
        let mut waiting: Vec<(String, i64)> = self.unfinished.drain().collect();
        if let (true, Sink::Archive { writer, .. }) = (self.summary.has_walked_full, &self.shared.sink) {
            // Too many to remember, perhaps: those that the full walk did not meet.
            let (key, most) = (self.state.connection_key, MOST_BY_ID);
            let unlisted = writer.ask(move |archive| archive.read_unlisted_unfinished(key, most)).await?;
            waiting.extend(unlisted.into_iter().map(|(run_key, id)| (id, run_key)));
        }
        waiting.sort_unstable_by_key(|(_, key)| *key);
        waiting.dedup();
        let mut waiting = waiting.into_iter();
        let mut requests = JoinSet::new();
        let mut outages = 0;
        loop {
            while requests.len() < self.shared.options.pages_in_flight.max(1) {
                let Some((run, run_key)) = waiting.next() else { break };
                let (client, id) = (self.shared.client.clone(), self.id.clone());
                requests.spawn(async move {
                    let answer = client.get_run(&id, &run).await;
                    (run, run_key, answer)
                });
            }
            let Some(answered) = requests.join_next().await else { return Ok(()) };
            let (run, run_key, answer) =
                answered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            let result = match answer {
                Ok(answer) => self.take_run(run, answer).await,
                Err(error) if error.reason == Reason::NotFound => {
                    tracing::info!("{error}; it stays archived");
                    if let Sink::Archive { writer, .. } = &self.shared.sink {
                        let key = self.state.connection_key;
                        writer.write(move |archive| archive.mark_not_found(key, run_key, &now())).await?;
                    }
                    Ok(())
                }
                Err(error) => Err(error.into()),
            };
            match result {
                // One run that cannot be had does not keep the others from being asked for.
                Err(Stop::Api(error)) if is_about_one_run(&error) && outages < MOST_OUTAGES => {
                    outages += u32::from(error.reason == Reason::Unavailable);
                    self.note_error(&error).await;
                }
                result => result?,
            }
        }
    }

    async fn take_run(&mut self, run: String, answer: api::Answer) -> Result<(), Stop> {
        let doing = Doing::GetRun { connection: self.id.clone(), run: run.clone() };
        let unreadable =
            |problem: &wire::Unreadable| Stop::Api(self.shared.client.unreadable(doing.clone(), problem));
        let batch = Batch::of_run(answer).map_err(|problem| unreadable(&problem))?;
        if batch.ids().any(|id| id != run) {
            return Err(unreadable(&wire::Unreadable::Missing("run of that id")));
        }
        match &self.shared.sink {
            Sink::DryRun => {}
            Sink::Archive { writer, .. } => {
                let key = self.state.connection_key;
                let (progress, totals) = (self.shared.progress.clone(), self.summary.stored.clone());
                writer
                    .write(move |archive| {
                        let counts = archive.store_records(key, Source::ById, batch.records(), &now())?;
                        progress.changed.fetch_add(counts.changed, Ordering::Relaxed);
                        totals.add(counts);
                        Ok(())
                    })
                    .await?;
            }
        }
        Ok(())
    }

    async fn note_error(&mut self, error: &api::Error) {
        let is_gone = error.reason == Reason::NotFound && matches!(error.doing, Doing::ListRuns { .. });
        if let (true, Sink::Archive { writer, .. }) = (is_gone, &self.shared.sink) {
            let key = self.state.connection_key;
            // If the writer is gone, its own error is told.
            let _ = writer.write(move |archive| archive.mark_connection(key, Some(&now()))).await;
        }
        self.summary.note_error(error);
    }
}

/// Whether a smaller page may be answered where this one was not.
fn is_too_much(error: &api::Error) -> bool {
    matches!(error.reason, Reason::PageTooLarge | Reason::TimedOut { .. })
        || error.problem.status == Some(504)
}

/// Whether another page may be had where this one was not.
fn is_about_one_page(error: &api::Error) -> bool {
    use Reason::{PageTooLarge, TimedOut, Unavailable, Unreadable};
    matches!(error.reason, PageTooLarge | TimedOut { .. } | Unavailable | Unreadable)
}

/// Whether another run may be had where this one was not.
fn is_about_one_run(error: &api::Error) -> bool {
    error.problem.status.is_some() && matches!(error.reason, Reason::Unavailable | Reason::Rejected)
        || matches!(error.reason, Reason::Unreadable | Reason::Rejected)
}

fn store_stop(error: store::Error) -> Stop {
    Stop::Store(Some(error))
}

/// The clock, in the form that is stored.
pub fn now() -> UtcText {
    // A clock outside the years 1 to 9999 is no clock.
    UtcText::from_datetime(&Utc::now())
        .unwrap_or_else(|| unreachable!("the clock shows a year of four digits"))
}
