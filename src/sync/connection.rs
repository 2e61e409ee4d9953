//! One connection's part of a sync: which walk is due, its pages into the archive, and the runs that are
//! not terminal yet.
//!
//! In: a connection, and what a list said of it, if one did. Out: a [`ConnectionSummary`]. Nothing is
//! asked about a connection whose `lastRun` says that nothing began since all was proved stored.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::listing::{Pages, SMALLEST_PAGE};
use super::records::{self, Lookup};
use super::summary::ConnectionSummary;
use super::unfinished::Unfinished;
use super::{Shared, Sink, Stop, now, store_stop};
use crate::api::wire::{self, LastRun};
use crate::api::{self, Client, ConnectionId, Doing, Reason};
use crate::store::read::ConnectionState;
use crate::store::room::Room;
use crate::store::write::{Part, WalkEnd, WalkOutcome};
use crate::time::UtcText;
use crate::walk::{Ask, Checkpoint, End, Order, Plan, Walk};

/// One connection's part of a sync.
pub(super) struct ConnectionSync<'a> {
    pub(super) shared: &'a Shared,
    /// Asks within this connection's share of the time budget.
    pub(super) client: Client,
    /// Whether it had a turn in this sync before, and goes on from there.
    is_next_turn: bool,
    pub(super) id: ConnectionId,
    /// What a list said of it before anything else was asked.
    listed: Option<wire::Connection>,
    pub(super) state: ConnectionState,
    pub(super) page_size: u32,
    /// Whether a larger page was refused; what is learned is the first size that then came.
    has_shrunk: bool,
    learned_page_size: Option<u32>,
    /// Where the walk under way stood before a page that was not stored whole when the sync was told to end.
    stored_until: Option<Checkpoint>,
    /// Whether the last page was one of a whole listing and held what is not archived.
    is_backfilling: bool,
    /// Archived runs that are not terminal, due to be asked for, and not met yet.
    pub(super) unfinished: Unfinished,
    pub(super) summary: ConnectionSummary,
}

impl<'a> ConnectionSync<'a> {
    pub(super) async fn run(
        shared: &'a Shared,
        client: Client,
        id: ConnectionId,
        listed: Option<wire::Connection>,
        earlier: Option<ConnectionSummary>,
    ) -> ConnectionSummary {
        let page_size = shared.options.page_size;
        let is_next_turn = earlier.is_some();
        let mut summary = earlier.unwrap_or_else(|| ConnectionSummary::new(&id));
        summary.begin_turn();
        summary.name = listed.as_ref().and_then(|listed| listed.display_name.clone()).or(summary.name);
        let mut sync = Self {
            shared,
            client,
            is_next_turn,
            id,
            listed,
            state: ConnectionState::default(),
            page_size,
            has_shrunk: false,
            learned_page_size: None,
            stored_until: None,
            is_backfilling: false,
            unfinished: Unfinished::default(),
            summary,
        };
        let result = sync.sync().await;
        match &result {
            Err(Stop::Api(error)) => sync.note_error(error).await,
            Err(Stop::Store(Some(error))) => sync.summary.note_failure(&error.to_string()),
            Err(Stop::NoRoom(no_room)) => sync.summary.note_failure(&no_room.to_string()),
            Err(Stop::Store(None)) | Ok(()) => {}
        }
        if let (Sink::Archive { writer, .. }, false) = (&shared.sink, sync.summary.is_quiet) {
            // The counts are the writer's: they are whole once it has done all that was sent.
            let _ = writer.ask(|_| Ok(())).await;
        }
        sync.summary
    }

    async fn sync(&mut self) -> Result<(), Stop> {
        if self.is_quiet().await? {
            self.summary.is_quiet = true;
            return Ok(());
        }
        self.read_state().await?;
        if self.has_nothing_new(&self.state) && !self.unfinished.is_walked_to() {
            return self.fetch_unfinished().await;
        }
        let is_asked_for = self.shared.options.full && !self.is_next_turn;
        let is_full_walk = is_asked_for || self.is_full_walk_due(&self.state);
        if let (Some(learned), false) = (self.state.page_size, self.shared.options.is_page_size_given) {
            // A full walk tries a larger page again: what was refused once may have been a bad hour. It tries
            // ten times as much, since a timeout takes as much in one step.
            let size = if is_full_walk { learned.saturating_mul(10) } else { learned };
            self.page_size = self.page_size.min(size.max(SMALLEST_PAGE));
        }
        let had_complete_walk = self.state.full_walk_at.is_some();
        if is_asked_for {
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
                Err(Stop::NoRoom(no_room)) if !had_complete_walk => {
                    // A few new ones have room where a whole listing has not.
                    self.summary.note_failure(&no_room.to_string());
                    self.walk_newest_unproved().await?;
                }
                Err(stop) => return Err(stop),
            }
        } else if self.state.was_cut_short || is_full_walk {
            // A full walk goes on where it was stopped; an incremental one that was cut short would not.
            self.walk_full().await?;
        } else {
            self.walk_incremental().await?;
        }
        self.fetch_unfinished().await
    }

    /// Whether nothing is to be done at all, told without the writer: most of a fleet, most of the time.
    async fn is_quiet(&self) -> Result<bool, Stop> {
        let (Some(reader), true) = (&self.shared.reader, self.listed.is_some()) else { return Ok(false) };
        let reader = reader.lock().await;
        let Some(state) = reader.read_state(&self.id).map_err(store_stop)? else { return Ok(false) };
        // Runs that hang are no news: most syncs leave them alone.
        let is_due = || reader.read_due(state.connection_key, &now(), 1).map(|due| !due.is_empty());
        Ok(self.has_nothing_new(&state) && !(state.unfinished > 0 && is_due().map_err(store_stop)?))
    }

    /// Whether `lastRun` says that no run began since all of them were proved stored, and no walk is due.
    fn has_nothing_new(&self, state: &ConnectionState) -> bool {
        let last_run = self.listed.as_ref().and_then(|listed| listed.last_run.as_stored());
        last_run.is_some()
            && last_run == state.last_run_id.as_deref()
            && state.full_walk_at.is_some()
            && state.open_walk.is_none()
            && !state.was_cut_short
            && !self.shared.options.full
            && !self.is_full_walk_due(state)
    }

    /// Whether it is time to walk the whole listing regardless.
    fn is_full_walk_due(&self, state: &ConnectionState) -> bool {
        let every = self.shared.full_walk_after(&self.id).as_millis();
        let every = i64::try_from(every).unwrap_or(i64::MAX);
        state
            .full_walk_at
            .is_none_or(|then| then.milliseconds_until(&now()).is_none_or(|passed| passed >= every))
    }

    async fn read_state(&mut self) -> Result<(), Stop> {
        let id = self.id.clone();
        self.state = match &self.shared.sink {
            Sink::Archive { writer, .. } => {
                writer
                    .ask(move |archive| {
                        let key = archive.upsert_connection(&id, &now())?;
                        archive.read_state(key)
                    })
                    .await?
            }
            Sink::DryRun => match &self.shared.reader {
                Some(reader) => reader.lock().await.read_state(&id).map_err(store_stop)?.unwrap_or_default(),
                None => ConnectionState::default(),
            },
        };
        if self.state.name.as_deref() != Some(self.id.as_str()) {
            self.summary.name = self.state.name.clone().or(self.summary.name.take());
        }
        self.read_unfinished().await
    }

    /// Walks what began since the last complete walk.
    async fn walk_incremental(&mut self) -> Result<(), Stop> {
        let order = self.state.listing_order.as_deref().and_then(Order::from_stored);
        let end =
            self.state.listing_end.as_deref().and_then(|json| serde_json::from_str::<Checkpoint>(json).ok());
        let plan = match (order, end) {
            (Some(Order::None), _) => {
                if self.listed.is_none() {
                    // In one request: whether anything began since the last walk of the whole listing.
                    self.listed = self.get_connection().await?;
                    let last_run = self.last_run_listed();
                    if last_run.is_some() && last_run == self.state.last_run_id {
                        return Ok(());
                    }
                }
                return self.walk_full().await;
            }
            (Some(Order::OldestFirst), Some(end)) => Plan::Oldest(end),
            _ => Plan::Newest { listed: Some(self.state.listed + self.state.pruned) },
        };
        let last_run = self.last_run_listed();
        self.walk(plan, None, last_run).await
    }

    pub(super) async fn walk_full(&mut self) -> Result<(), Stop> {
        if self.listed.is_none() {
            self.listed = self.get_connection().await?;
        }
        let last_run = self.last_run_listed();
        self.walk(Plan::Full, None, last_run).await
    }

    /// What `lastRun` said before anything was walked.
    fn last_run_listed(&self) -> Option<String> {
        self.listed.as_ref().and_then(|listed| listed.last_run.as_stored()).map(str::to_owned)
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
        match self.client.get_connection(&self.id).await {
            Ok(connection) => {
                if let Sink::Archive { writer, .. } = &self.shared.sink {
                    let (key, stored) = (self.state.connection_key, connection.clone());
                    writer.write(move |archive| archive.store_connection(key, &stored)).await?;
                }
                Ok(Some(connection))
            }
            Err(error) if !error.is_about_one() => Err(error.into()),
            Err(error) => {
                tracing::info!("{error}; its runs are listed all the same");
                Ok(None)
            }
        }
    }

    /// An empty listing where there were runs: a service that lost its role is given one, too. The
    /// connection's own `lastRun` tells.
    async fn may_have_runs(&self) -> Result<bool, Stop> {
        let connection = self.get_connection().await?;
        Ok(connection.is_none_or(|connection| matches!(connection.last_run, LastRun::Run(_))))
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
            (Err(Stop::NoRoom(no_room)), _) => Some(no_room.to_string()),
            (_, None) => Some("it ended before the end of the listing was seen".to_owned()),
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
        let checkpoint = self.stored_until.take().unwrap_or_else(|| walk.checkpoint());
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
        // The first page of a sync is always taken, so that each one gets somewhere.
        let is_first = self.shared.progress.pages.load(Ordering::Relaxed) == 0;
        if walk.is_full() && self.state.full_walk_at.is_none() && !is_first {
            self.check_room()?;
        }
        let mut pages = Pages::new(&self.client, &self.id);
        loop {
            let next = pages.next(walk).await;
            // Whatever came of it: where less was asked for meanwhile, less it stays.
            if walk.page_size() < self.page_size {
                self.page_size = walk.page_size();
                self.has_shrunk = true;
            }
            let Some((ask, answer)) = next? else { return Ok(()) };
            self.take_page(walk, walk_key, ask, answer).await?;
            if self.is_backfilling && walk.end().is_none() {
                self.check_room()?;
            }
        }
    }

    fn check_room(&self) -> Result<(), Stop> {
        self.shared.room.as_ref().map_or(Ok(()), Room::check).map_err(Stop::NoRoom)
    }

    async fn take_page(
        &mut self,
        walk: &mut Walk,
        walk_key: i64,
        ask: Ask,
        answer: api::Answer,
    ) -> Result<(), Stop> {
        let doing = Doing::ListRuns { connection: self.id.clone(), skip: ask.skip };
        let lookup = Lookup {
            connection_key: self.state.connection_key,
            settled_run_key: self.state.settled_run_key,
            watermark: self.state.watermark,
            // A first backfill meets nothing that is archived: the writer alone tells overlaps.
            is_needed: self.state.has_runs,
        };
        let shared = self.shared;
        let (client, readers) = (&self.client, shared.readers.clone());
        let read = client.parse(&doing, move || readers.read_page(answer, &lookup)).await?;
        let (batch, mut page) = read.map_err(|error| match error {
            records::Error::Unreadable(problem) => Stop::Api(client.unreadable(doing.clone(), &problem)),
            records::Error::Store(error) => store_stop(error),
        })?;
        let cut_short = page.is_cut.then(|| client.cut_short(doing.clone(), page.entries.len()));
        for id in batch.ids() {
            self.unfinished.meet(id);
        }
        let before = walk.checkpoint();
        self.is_backfilling = walk.is_full() && batch.brings_unknown();
        self.unfinished.hold_back(&mut page.entries);
        walk.take_page(ask, page.entries, page.more);
        self.summary.pages += 1;
        if self.has_shrunk && ask.top == self.page_size {
            self.learned_page_size = Some(self.page_size);
        }
        match &self.shared.sink {
            Sink::DryRun => {
                let counts = batch.count(&mut self.summary.dry_run_met);
                self.shared.progress.add(&counts, true);
                self.summary.counts.add(counts);
            }
            Sink::Archive { writer, sync_key } => {
                let (sync_key, requests) = (*sync_key, client.requests());
                let checkpoint = Some(walk.checkpoint()).filter(|at| walk.is_full() && at.chained > 0);
                let mut checkpoint =
                    checkpoint.and_then(|checkpoint| serde_json::to_string(&checkpoint).ok());
                let (is_full, key) = (walk.is_full(), self.state.connection_key);
                let parts = batch.parts();
                let (batch, count) = (Arc::new(batch), parts.len());
                for (at, part) in parts.into_iter().enumerate() {
                    let (progress, totals) = (self.shared.progress.clone(), self.summary.stored.clone());
                    let checkpoint = checkpoint.take_if(|_| at + 1 == count);
                    let batch = batch.clone();
                    let write = writer.write(move |archive| {
                        archive.mark_connection(key, None)?;
                        archive.note_requests(sync_key, requests, &now())?;
                        let records = &batch.records()[part];
                        let part = match at + 1 == count {
                            true => Part::Last { checkpoint: checkpoint.as_deref() },
                            false => Part::Beginning,
                        };
                        let counts = archive.store_page(walk_key, is_full, records, part, &now())?;
                        progress.add(&counts, at == 0);
                        totals.add(counts);
                        Ok(())
                    });
                    let written = client.wait(&doing, write).await;
                    if written.is_err() {
                        // The walk has gone past a page that is not stored whole: the next one does not.
                        self.stored_until = Some(before.clone());
                    }
                    written??;
                }
            }
        }
        match cut_short {
            // What is behind the cut is neither stored nor known, unless an end was proved before it.
            Some(error) if walk.end().is_none() => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn note_error(&mut self, error: &api::Error) {
        let is_gone = error.reason == Reason::NotFound && matches!(error.doing, Doing::ListRuns { .. });
        if let (true, Sink::Archive { writer, .. }) = (is_gone, &self.shared.sink) {
            let key = self.state.connection_key;
            // If the writer is gone, its own error is told.
            let _ = writer.write(move |archive| archive.mark_connection(key, Some(&now()))).await;
        }
        self.summary.note_error(error);
    }
}

/// Whether another page may be had where this one was not.
fn is_about_one_page(error: &api::Error) -> bool {
    use Reason::{PageTooLarge, TimedOut, Unavailable, Unreadable};
    matches!(error.reason, PageTooLarge | TimedOut { .. } | Unavailable | Unreadable)
}
