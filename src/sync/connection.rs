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
use crate::store::Reader;
use crate::store::read::{ConnectionState, Standing};
use crate::store::room::Room;
use crate::store::write::{Part, WalkEnd, WalkOutcome};
use crate::time::UtcText;
use crate::walk::plan::{self, Course, Known, Lacking, LastRunKnown};
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
    /// Whether a page held the run that the connection names as its last.
    has_met_last_run: bool,
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
        // Pages of a single run cannot overlap.
        let page_size = shared.options.page_size.max(SMALLEST_PAGE);
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
            has_met_last_run: false,
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
        let own = self.ask_for_spelling().await?;
        self.read_state().await?;
        if let Some(own) = own {
            self.store_own(&own).await?;
            self.listed = Some(own);
        }
        if self.has_nothing_new().await? && !self.unfinished.is_walked_to() {
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
        let course = plan::plan_course(&self.known(&self.state), is_asked_for);
        let open_walk = self.state.open_walk.clone();
        match (course, open_walk) {
            (Course::Incremental, _) => self.walk_incremental().await?,
            (Course::Whole, _) | (Course::Resume { .. } | Course::IncrementalThenResume, None) => {
                self.walk_full().await?;
            }
            (Course::IncrementalThenResume, Some((walk_key, checkpoint))) => {
                self.walk_incremental().await?;
                self.resume(walk_key, &checkpoint, None).await?;
                self.read_state().await?;
            }
            (Course::Resume { then_incremental }, Some((walk_key, checkpoint))) => {
                // Where no second walk follows, the last run is all that tells what began meanwhile.
                let last_run = self.last_run_listed().filter(|_| !then_incremental);
                let resumed = self.resume(walk_key, &checkpoint, last_run).await;
                self.read_state().await?;
                match resumed {
                    Ok(()) if then_incremental => self.walk_incremental().await?,
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
            }
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
        let is_waited_for = state.unfinished > 0 && is_due().map_err(store_stop)?;
        Ok(!is_waited_for && self.proves_nothing_new(&reader, &state)?)
    }

    /// Whether `lastRun` says that no run began since all of them were proved stored, and no walk is due.
    async fn has_nothing_new(&self) -> Result<bool, Stop> {
        let Some(reader) = &self.shared.reader else { return Ok(false) };
        self.proves_nothing_new(&*reader.lock().await, &self.state)
    }

    fn proves_nothing_new(&self, reader: &Reader, state: &ConnectionState) -> Result<bool, Stop> {
        let Some(last_run) = self.listed.as_ref().and_then(|listed| listed.last_run.as_stored()) else {
            return Ok(false);
        };
        let is_repeated = state.last_run_id.as_deref() == Some(last_run);
        if !is_repeated || self.shared.options.full {
            return Ok(false);
        }
        let standing = reader.read_standing(state.connection_key, last_run).map_err(store_stop)?;
        Ok(plan::is_quiet(&self.known(state), last_run_known(state, last_run, standing), is_repeated))
    }

    /// What decides which walks are due; without where the listing ended, which only one of them needs.
    fn known(&self, state: &ConnectionState) -> Known {
        Known {
            order: state.listing_order.as_deref().and_then(Order::from_stored),
            end: None,
            listed: state.listed + state.pruned,
            is_proved: state.full_walk_at.is_some(),
            is_full_due: self.is_full_walk_due(state),
            is_open: state.open_walk.is_some(),
            was_cut_short: state.was_cut_short,
        }
    }

    /// Whether it is time to walk the whole listing regardless.
    fn is_full_walk_due(&self, state: &ConnectionState) -> bool {
        let every = self.shared.full_walk_after(&self.id).as_millis();
        let every = i64::try_from(every).unwrap_or(i64::MAX);
        state
            .full_walk_at
            .is_none_or(|then| then.milliseconds_until(&now()).is_none_or(|passed| passed >= every))
    }

    /// A UUID that nothing is archived under may have been typed in other letters than the platform's own: what
    /// the connection says of itself tells, before anything is stored under it.
    async fn ask_for_spelling(&mut self) -> Result<Option<wire::Connection>, Stop> {
        if self.listed.is_some() || !self.id.may_be_respelled() {
            return Ok(None);
        }
        if let Some(reader) = &self.shared.reader
            && reader.lock().await.read_state(&self.id).map_err(store_stop)?.is_some()
        {
            return Ok(None);
        }
        let own = self.ask_for_connection().await?;
        if let Some(own) = &own
            && api::is_respelled(&own.id, self.id.as_str())
        {
            self.go_by(&own.id);
        }
        Ok(own)
    }

    /// The id as the platform spells it is the id.
    fn go_by(&mut self, id: &str) {
        // A UUID fits a path in any letters.
        if let Ok(id) = ConnectionId::new(self.id.kind(), id) {
            self.summary.id = id.clone();
            self.id = id;
        }
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
        let end = self.state.listing_end.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let known = Known { end, ..self.known(&self.state) };
        let plan = plan::plan_incremental(&known, self.page_size);
        let is_told_before = self.state.last_run_id.is_some();
        let asks_connection = plan.is_none() || is_told_before && plan::is_told_sooner_by_connection(&known);
        if asks_connection && self.listed.is_none() {
            // In one request: whether anything began since the last complete walk.
            self.listed = self.get_connection().await?;
            if self.has_nothing_new().await? {
                return Ok(());
            }
        }
        let last_run = self.last_run_listed();
        match plan {
            Some(plan) => self.walk(plan, None, last_run).await,
            None => self.walk_full().await,
        }
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

    async fn resume(
        &mut self,
        walk_key: i64,
        checkpoint: &str,
        last_run: Option<String>,
    ) -> Result<(), Stop> {
        match serde_json::from_str(checkpoint) {
            Ok(checkpoint) => self.walk(Plan::Resume(checkpoint), Some(walk_key), last_run).await,
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

    /// What the platform says of the connection, stored.
    async fn get_connection(&mut self) -> Result<Option<wire::Connection>, Stop> {
        let own = self.ask_for_connection().await?;
        if let Some(own) = &own {
            self.store_own(own).await?;
        }
        Ok(own)
    }

    /// What the platform says of the connection. Its runs may be readable where this is not, so only
    /// errors that concern every request end the sync here.
    async fn ask_for_connection(&self) -> Result<Option<wire::Connection>, Stop> {
        match self.client.get_connection(&self.id).await {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if !error.is_about_one() => Err(error.into()),
            Err(error) => {
                tracing::info!("{error}; its runs are listed all the same");
                Ok(None)
            }
        }
    }

    /// Stores what the connection says of itself, its id as it spells it included.
    async fn store_own(&mut self, own: &wire::Connection) -> Result<(), Stop> {
        let is_respelled = api::is_respelled(&own.id, self.id.as_str());
        if !is_respelled && !own.id.is_empty() && own.id != self.id.as_str() {
            tracing::info!(
                "connection {} calls itself {:?}; it keeps the id it was asked by",
                self.id,
                own.id
            );
        }
        let Sink::Archive { writer, .. } = &self.shared.sink else { return Ok(()) };
        let (key, own) = (self.state.connection_key, own.clone());
        let id = own.id.clone();
        let is_renamed = writer
            .ask(move |archive| {
                archive.store_connection(key, &own)?;
                if is_respelled { archive.respell_connection(key, &own.id) } else { Ok(false) }
            })
            .await?;
        if is_renamed {
            self.go_by(&id);
        }
        Ok(())
    }

    /// An empty listing where there were runs: a service that lost its role is given one, too. The
    /// connection's own `lastRun` tells.
    async fn may_have_runs(&mut self) -> Result<bool, Stop> {
        let Some(connection) = self.get_connection().await? else { return Ok(true) };
        let LastRun::Run(id) = connection.last_run else { return Ok(false) };
        // Where all runs were purged the connection may go on naming one of them.
        match self.client.get_run(&self.id, &id).await {
            Err(error) if error.reason == Reason::NotFound => Ok(false),
            Err(error) if !error.is_about_one() => Err(error.into()),
            Ok(_) | Err(_) => Ok(true),
        }
    }

    /// One walk from plan to record; where it turns out that it cannot have seen all of the listing, another.
    async fn walk(
        &mut self,
        plan: Plan,
        resumed: Option<i64>,
        last_run_id: Option<String>,
    ) -> Result<(), Stop> {
        match self.walk_once(plan, resumed, last_run_id.clone()).await? {
            Some(Lacking::WalkWhole) => self.walk_once(Plan::Full, None, last_run_id).await.map(drop),
            Some(Lacking::NotComplete) | None => Ok(()),
        }
    }

    async fn walk_once(
        &mut self,
        plan: Plan,
        resumed: Option<i64>,
        last_run_id: Option<String>,
    ) -> Result<Option<Lacking>, Stop> {
        let is_proved = self.state.settled_run_key != i64::MAX;
        let mut walk = Walk::new(plan, self.page_size, self.shared.options.pages_in_flight);
        let walk_key = self.begin_walk(walk.is_full(), resumed).await?;
        let mut stopped = self.drive(&mut walk, walk_key).await;
        if let Err(Stop::Store(_)) = stopped {
            return stopped.map(|()| None);
        }
        let is_empty = walk.covers_listing() && walk.checkpoint().chained == 0;
        let is_doubtful = is_empty && self.state.listed > 0 && self.may_have_runs().await?;
        let mut lacking = None;
        let mut is_noted = false;
        if let (Ok(()), Some(End::Complete | End::Settled), Some(id), true, false) =
            (&stopped, walk.end(), last_run_id.as_deref().filter(|id| !id.is_empty()), is_proved, is_doubtful)
        {
            match self.look_for_last_run(id).await {
                Ok(LastRunSeen::Lacking) => {
                    // What stood before the place where a walk was interrupted may have come since.
                    let was_whole = walk.covers_listing() && resumed.is_none();
                    lacking = Some(plan::plan_after_lacking(was_whole));
                }
                Ok(LastRunSeen::Noted) => is_noted = true,
                Ok(LastRunSeen::Met) => {}
                Err(Stop::Store(error)) => return Err(Stop::Store(error)),
                Err(error) => stopped = Err(error),
            }
        }
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
            _ if lacking.is_some() => Some(format!(
                "the connection names run {} as its last, and the listing lacks it; it is archived by its id, and \
                 the next sync looks for others",
                last_run_id.as_deref().unwrap_or_default()
            )),
            _ => None,
        };
        let checkpoint = self.stored_until.take().unwrap_or_else(|| walk.checkpoint());
        let json = serde_json::to_string(&checkpoint).ok();
        // It was named after the walk had begun: runs that began between may stand where it had passed.
        let last_run_id = last_run_id.filter(|_| resumed.is_none());
        let noted = last_run_id.clone().filter(|_| is_noted && failure.is_none());
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
        if let (Some(id), true, Sink::Archive { writer, .. }) =
            (noted, outcome.is_complete, &self.shared.sink)
        {
            let key = self.state.connection_key;
            writer.write(move |archive| archive.note_last_run(key, &id)).await?;
        }
        // What another walk is to mend is no problem yet.
        let is_mended = stopped.is_err() || lacking == Some(Lacking::WalkWhole);
        self.summary.note_walk(walk.is_full(), is_mended, &outcome);
        stopped.map(|()| lacking)
    }

    /// Whether the run that the connection names as its last is archived by now; if not, it is asked for.
    async fn look_for_last_run(&mut self, id: &str) -> Result<LastRunSeen, Stop> {
        if self.has_met_last_run && self.state.pruned == 0 {
            return Ok(LastRunSeen::Met);
        }
        let standing = self.read_standing(id).await?;
        let known = last_run_known(&self.state, id, standing);
        if !plan::must_ask_for(known) {
            // What is pruned is known by its tombstone alone, which the end of a walk does not look at.
            let is_noted = known == LastRunKnown::Noted || self.state.pruned > 0;
            return Ok(if is_noted { LastRunSeen::Noted } else { LastRunSeen::Met });
        }
        match self.client.get_run(&self.id, id).await {
            // A record that is no run is set aside, which the exit code tells; the listing may have held it so.
            Ok(answer) => {
                if let Some(other) = records::other_id(&answer, id)
                    && self.read_standing(&other).await? != Standing::Unknown
                {
                    tracing::info!("the platform answers with run {other} where run {id} is asked for");
                    return Ok(LastRunSeen::Noted);
                }
                Ok(match self.take_run(id.to_owned(), answer).await? {
                    true => LastRunSeen::Lacking,
                    false => LastRunSeen::Met,
                })
            }
            Err(error) if error.reason == Reason::NotFound => {
                tracing::info!("{error}; connection {} names it as its last run all the same", self.id);
                Ok(LastRunSeen::Noted)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is archived of a run, or in a dry run would be by now.
    async fn read_standing(&self, id: &str) -> Result<Standing, Stop> {
        let key = self.state.connection_key;
        Ok(match (&self.shared.sink, &self.shared.reader) {
            (Sink::Archive { writer, .. }, _) => {
                let id = id.to_owned();
                writer.ask(move |archive| archive.read_standing(key, &id)).await?
            }
            (Sink::DryRun, _) if self.summary.has_met(id) => Standing::Archived,
            (Sink::DryRun, Some(reader)) => reader.lock().await.read_standing(key, id).map_err(store_stop)?,
            (Sink::DryRun, None) => Standing::Unknown,
        })
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
        if let (Some(error), true) = (&cut_short, page.entries.is_empty()) {
            // A record that is longer than what is read of a page: the walk would take it for the listing's end.
            return Err(error.clone().into());
        }
        let last_run = self.listed.as_ref().and_then(|listed| listed.last_run.as_stored());
        for id in batch.ids() {
            self.has_met_last_run |= Some(id) == last_run;
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

/// What came of the run that a connection names as its last.
enum LastRunSeen {
    /// It is archived, or was met and set aside.
    Met,
    /// It is answered for, and remembered so that it is not asked for at every sync: it is not there, or pruned.
    Noted,
    /// It is there by its id, and the walk did not meet it.
    Lacking,
}

/// What is known of the run that a connection names as its last; empty where it says that none has begun.
fn last_run_known(state: &ConnectionState, id: &str, standing: Standing) -> LastRunKnown {
    match standing {
        _ if id.is_empty() => LastRunKnown::Never { has_runs: state.has_runs },
        Standing::Archived => LastRunKnown::Archived,
        Standing::Superseded => LastRunKnown::Superseded,
        Standing::Gone => LastRunKnown::Gone,
        Standing::Unknown if state.last_run_id.as_deref() == Some(id) => LastRunKnown::Noted,
        Standing::Unknown => LastRunKnown::Unknown,
    }
}

/// Whether another page may be had where this one was not.
fn is_about_one_page(error: &api::Error) -> bool {
    use Reason::{PageTooLarge, TimedOut, Unavailable, Unreadable};
    matches!(error.reason, PageTooLarge | TimedOut { .. } | Unavailable | Unreadable)
}
