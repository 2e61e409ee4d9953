//! One walk of a connection's listing, from its plan to its record: pages into the archive, and at its end the
//! question whether the run that the connection names as its last was among them.
//!
//! In: a [`Plan`] and what the walk may stop at. Out: rows, and whether the walk must be followed by one of the
//! whole listing. What to ask next is decided in [`crate::walk`], what it proves in [`super::proof`].

use std::sync::atomic::Ordering;

use super::connection::ConnectionTurn;
use super::due::{self, NamedRun};
use super::interruption::Interruption;
use super::listing::Pages;
use super::problem::Problem;
use super::proof::{Evidence, Unproved};
use super::recorder::WalkPage;
use super::records::{self, Lookup, StopSigns};
use crate::api::{self, Doing, Reason};
use crate::store::known::Standing;
use crate::store::room::Room;
use crate::store::walks::{WalkEnd, WalkOutcome};
use crate::walk::plan::{self, Lacking, LastRunKnown};
use crate::walk::{Ask, Checkpoint, Order, Plan, Walk};

/// What came of the run that a connection names as its last.
enum LastRunSeen {
    /// It is archived, or was met and set aside.
    Met,
    /// It is accounted for, and remembered so that it is not asked for at every sync: it is not there, or pruned.
    Remembered,
    /// It is there by its id, and the walk did not meet it.
    Lacking,
}

impl ConnectionTurn<'_> {
    /// One walk from plan to record; where it turns out that it cannot have seen all of the listing, another.
    pub(super) async fn walk(
        &mut self,
        plan: Plan,
        resumed: Option<i64>,
        last_run_id: Option<String>,
    ) -> Result<(), Interruption> {
        let stop_signs = self.proved_runs();
        match self.walk_once(plan, stop_signs, resumed, last_run_id.clone()).await? {
            Some(Lacking::WalkWhole) => {
                self.walk_once(Plan::Full, stop_signs, None, last_run_id).await.map(drop)
            }
            Some(Lacking::NotComplete) | None => Ok(()),
        }
    }

    fn proved_runs(&self) -> StopSigns {
        StopSigns::Proved { run_key: self.state.settled_run_key, watermark: self.state.watermark }
    }

    /// Walks, and records what the walk proves. Gives what is lacking, where the run that the connection names
    /// as its last was not met although it is there.
    pub(super) async fn walk_once(
        &mut self,
        plan: Plan,
        stop_signs: StopSigns,
        resumed: Option<i64>,
        last_run_id: Option<String>,
    ) -> Result<Option<Lacking>, Interruption> {
        let mut walk = Walk::new(plan, self.page_size, self.session.options.pages_in_flight);
        let recorder = &self.session.recorder;
        let walk_key = recorder.begin_walk(self.state.connection_key, walk.is_full(), resumed).await?;
        let mut stopped = self.drive(&mut walk, walk_key, stop_signs).await;
        if let Err(Interruption::Store(_)) = stopped {
            // The archive ends the sync; how the walk ended can no longer be recorded.
            return stopped.map(|()| None);
        }

        let is_empty = walk.covers_listing() && walk.checkpoint().linked == 0;
        let is_emptied = is_empty && self.state.listed > 0 && self.may_have_runs().await?;
        let is_older_proved = stop_signs != StopSigns::Archived;
        let may_be_complete = stopped.is_ok() && walk.has_proved() && is_older_proved && !is_emptied;
        let mut seen = LastRunSeen::Met;
        if may_be_complete && let Some(id) = last_run_id.as_deref().filter(|id| !id.is_empty()) {
            match self.look_for_last_run(id).await {
                Ok(last_run) => seen = last_run,
                Err(Interruption::Store(error)) => return Err(Interruption::Store(error)),
                Err(error) => stopped = Err(error),
            }
        }
        // What stood before the place where a walk was interrupted may have come since.
        let lacking = matches!(seen, LastRunSeen::Lacking)
            .then(|| plan::plan_after_lacking(walk.covers_listing() && resumed.is_none()));

        let checkpoint = self.stored_until.take().unwrap_or_else(|| walk.checkpoint());
        let evidence = Evidence {
            stopped: stopped.as_ref().err().and_then(Interruption::message),
            end: walk.end().cloned(),
            is_emptied,
            is_older_proved,
            lacking: last_run_id.clone().filter(|_| lacking.is_some()),
            linked: checkpoint.linked,
        };
        // A resumed walk began before the run was named: runs that began between may stand where it had passed.
        let last_run_id = last_run_id.filter(|_| resumed.is_none());
        let is_stopped = stopped.is_err();
        let end = self.describe_end(&walk, checkpoint, (is_stopped, is_emptied), last_run_id.clone());
        let (unproved, outcome) = self.session.recorder.end_walk(walk_key, evidence, end).await?;

        if let Some(id) =
            last_run_id.filter(|_| matches!(seen, LastRunSeen::Remembered) && unproved.is_none())
        {
            let key = self.state.connection_key;
            self.session.recorder.write(move |archive| archive.note_last_run(key, &id)).await?;
        }
        self.has_walked_full |= walk.is_full();
        // An error is a problem by itself, and what another walk is to mend is none yet.
        let is_mended = stopped.is_err() || lacking == Some(Lacking::WalkWhole);
        self.sum_up(outcome, unproved.filter(|_| !is_mended));
        stopped.map(|()| lacking)
    }

    /// Adds to the summary what the end of a walk has shown of its connection.
    fn sum_up(&mut self, outcome: WalkOutcome, unproved: Option<Unproved>) {
        self.summary.unlisted += outcome.unlisted;
        self.summary.gaps.extend(outcome.gap);
        if let Some(why) = unproved {
            let (name, connection) = (self.summary.name.clone(), self.id.clone());
            self.summary.problems.push(Problem::Unproved { name, connection, why });
        }
    }

    /// How the walk ended, for its record; whether it is complete is added by the recorder.
    fn describe_end(
        &self,
        walk: &Walk,
        checkpoint: Checkpoint,
        (is_stopped, is_emptied): (bool, bool),
        last_run_id: Option<String>,
    ) -> WalkEnd {
        let json = serde_json::to_string(&checkpoint).ok();
        WalkEnd {
            unproved: None,
            covers_listing: walk.covers_listing() && !is_emptied,
            is_full: walk.is_full(),
            checkpoint: json.clone().filter(|_| is_stopped && walk.is_full() && checkpoint.linked > 0),
            listing_end: json.filter(|_| walk.has_seen_the_end()),
            order: checkpoint.order.map(Order::as_str),
            newest_started_at: checkpoint.newest_started_at,
            oldest_started_at: checkpoint.oldest_started_at,
            page_size: self.learned_page_size,
            last_run_id,
        }
    }

    /// Whether the run that the connection names as its last is archived by now; if not, it is asked for.
    async fn look_for_last_run(&mut self, id: &str) -> Result<LastRunSeen, Interruption> {
        if self.has_met_last_run && self.state.pruned == 0 {
            return Ok(LastRunSeen::Met);
        }
        let standing = self.read_standing(id).await?;
        let known = due::last_run_known(&self.state, NamedRun { id, standing });
        if !plan::must_ask_for(known) {
            // What is pruned is known by its tombstone alone, which the end of a walk does not look at.
            let is_remembered = known == LastRunKnown::Noted || self.state.pruned > 0;
            return Ok(if is_remembered { LastRunSeen::Remembered } else { LastRunSeen::Met });
        }
        match self.client.get_run(&self.id, id).await {
            Ok(answer) => {
                if let Some(other) = records::other_id(&answer, id)
                    && self.read_standing(&other).await? != Standing::Unknown
                {
                    tracing::info!("the platform answers with run {other} where run {id} is asked for");
                    return Ok(LastRunSeen::Remembered);
                }
                // A record that is no run is set aside, which changes the exit code; the listing may have had it in
                // the same form.
                let is_run = self.take_run(id.to_owned(), answer).await?;
                Ok(if is_run { LastRunSeen::Lacking } else { LastRunSeen::Met })
            }
            Err(error) if error.reason == Reason::NotFound => {
                tracing::info!("{error}; connection {} names it as its last run all the same", self.id);
                Ok(LastRunSeen::Remembered)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_standing(&self, id: &str) -> Result<Standing, Interruption> {
        self.session.recorder.read_standing(self.state.connection_key, id, &self.ledger).await
    }

    /// Asks what the walk plans until it ends.
    async fn drive(
        &mut self,
        walk: &mut Walk,
        walk_key: i64,
        stop_signs: StopSigns,
    ) -> Result<(), Interruption> {
        // The first page of a sync is always taken, so that each one gets somewhere.
        let is_first = self.session.progress.pages.load(Ordering::Relaxed) == 0;
        if walk.is_full() && self.state.full_walk_at.is_none() && !is_first {
            self.check_room()?;
        }
        let mut pages = Pages::new(&self.client, &self.id);
        loop {
            let next = pages.next(walk).await;
            // A page size that was refused meanwhile is not tried again in this turn, however the walk ends.
            if walk.page_size() < self.page_size {
                self.page_size = walk.page_size();
                self.has_shrunk = true;
            }
            let Some((ask, answer)) = next? else { return Ok(()) };
            self.take_page(walk, walk_key, stop_signs, (ask, answer)).await?;
            if self.is_backfilling && walk.end().is_none() {
                self.check_room()?;
            }
        }
    }

    fn check_room(&self) -> Result<(), Interruption> {
        self.session.room.as_ref().map_or(Ok(()), Room::check).map_err(Interruption::NoRoom)
    }

    /// Reads a page, shows it to the walk, and stores it together with where the walk then stands.
    async fn take_page(
        &mut self,
        walk: &mut Walk,
        walk_key: i64,
        stop_signs: StopSigns,
        (ask, answer): (Ask, api::Answer),
    ) -> Result<(), Interruption> {
        let doing = Doing::ListRuns { connection: self.id.clone(), skip: ask.skip };
        let connection_key = self.state.connection_key;
        // A first backfill meets nothing that is archived; where its pages overlap the writer notices by itself.
        let lookup = Lookup { connection_key, stop_signs, is_needed: self.state.has_runs };
        let session = self.session;
        let (client, readers) = (&self.client, session.readers.clone());
        let read = client.parse(&doing, move || readers.read_page(answer, &lookup)).await?;
        let (batch, mut page) = read.map_err(|error| match error {
            records::ReadError::Unreadable(problem) => {
                Interruption::Api(client.unreadable(doing.clone(), &problem))
            }
            records::ReadError::Store(error) => error.into(),
        })?;
        let cut_short = page.is_cut.then(|| client.cut_short(doing.clone(), page.entries.len()));
        if page.entries.is_empty()
            && let Some(error) = &cut_short
        {
            // A record that is longer than what is read of a page: the walk would take it for the listing's end.
            return Err(error.clone().into());
        }

        let last_run = self.listed.as_ref().and_then(|listed| listed.last_run.as_stored());
        for id in batch.ids() {
            self.has_met_last_run |= Some(id) == last_run;
            self.unfinished.meet(id);
        }
        let before = walk.checkpoint();
        // Where no walk has proved the listing whole yet, the newest runs may be all of it.
        let is_unproved = walk.is_full() || self.state.full_walk_at.is_none();
        self.is_backfilling = is_unproved && batch.brings_unknown();
        self.unfinished.hold_back(&mut page.entries);
        walk.take_page(ask, page.entries, page.more);
        self.summary.pages += 1;
        if self.has_shrunk && ask.top == self.page_size {
            self.learned_page_size = Some(self.page_size);
        }

        let checkpoint = Some(walk.checkpoint()).filter(|at| walk.is_full() && at.linked > 0);
        let checkpoint = checkpoint.and_then(|checkpoint| serde_json::to_string(&checkpoint).ok());
        let is_full = walk.is_full();
        let page = WalkPage { walk_key, connection_key, is_full, batch, checkpoint };
        let stored = session.recorder.store_page(client, &doing, page, &mut self.ledger).await;
        if stored.is_err() {
            // The walk has gone past a page that may not be stored whole: the next one begins before it.
            self.stored_until = Some(before);
        }
        stored?;
        match cut_short {
            // What is behind the cut is neither stored nor known, unless an end was proved before it.
            Some(error) if walk.end().is_none() => Err(error.into()),
            _ => Ok(()),
        }
    }
}
