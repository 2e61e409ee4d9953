//! The runs of one connection that are not terminal and due to be asked for again: met by walking down to
//! them, read from the pages where they must stand, or asked for by their ids, whichever takes fewer requests.
//!
//! In: what the archive says is due, and a [`ConnectionTurn`] before and after its walks. Out: where a walk
//! must not stop yet, and what the platform says of the runs that no walk met, stored; a 404 is recorded,
//! and keeps no other run from being asked for. When a run is due is decided in `store`, which walks are in `connection`.

use std::collections::HashSet;

use tokio::task::JoinSet;

use super::clock::now;
use super::connection::ConnectionTurn;
use super::due;
use super::due_runs::DueRuns;
use super::interruption::Interruption;
use super::records::{self, Batch, Lookup, StopSigns};
use crate::api::wire;
use crate::api::{self, Doing, Reason};
use crate::store::records::Source;
use crate::store::unfinished::DueRun;
use crate::store::{Archive, Reader};
use crate::walk::Order;

/// Runs asked for by their ids in one sync; the others are due again at the next one.
const MOST_BY_ID: usize = 1_000;
/// Runs that the platform may fail to answer for, after all attempts, before the others are left for later.
const MOST_OUTAGES: u32 = 3;

impl ConnectionTurn<'_> {
    /// Reads what is due, once in a sync: what a walk of this sync has met is not due again.
    pub(super) async fn read_unfinished(&mut self) -> Result<(), Interruption> {
        if self.unfinished.is_read {
            return Ok(());
        }
        let (key, order) = (self.state.connection_key, due::order(&self.state));
        let page_size = self.page_size.min(self.state.page_size.unwrap_or(u32::MAX));
        let read = |reader: &Reader| DueRuns::read(reader, key, order, page_size);
        self.unfinished = self.session.recorder.read(read).await?;
        Ok(())
    }

    /// Reads the newest pages of a listing whose newest runs come last: a walk begins behind them. Nothing is
    /// concluded from these pages but what the due runs on them are now.
    async fn read_newest_pages(&mut self) -> Result<(), Interruption> {
        let (Some(oldest), Some(Order::OldestFirst)) = (self.unfinished.oldest(), self.unfinished.order)
        else {
            return Ok(());
        };
        let key = self.state.connection_key;
        let young = self.session.recorder.read(|reader| reader.count_since(key, &oldest)).await?;
        let mut skip = self.state.listed.saturating_sub(young);
        // As many as are expected, and one: the listing may have grown.
        for _ in 0..=young.div_ceil(u64::from(self.page_size.max(1))) {
            let page = match self.client.list_runs(&self.id, skip, self.page_size).await {
                Ok(answer) => self.take_due(answer).await?,
                Err(error) if error.is_about_one() => {
                    tracing::info!("{error}; unfinished runs are asked for by their ids");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            skip += page;
            if page == 0 || self.unfinished.oldest().is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Takes what a page says of the runs that are due; how many records it held.
    async fn take_due(&mut self, answer: api::Answer) -> Result<u64, Interruption> {
        // No walk reads these pages, so none stops at anything on them.
        let stop_signs = StopSigns::Proved { run_key: 0, watermark: None };
        let lookup = Lookup { connection_key: self.state.connection_key, stop_signs, is_needed: true };
        let readers = &self.session.readers;
        let (mut batch, page) = match readers.read_page(answer, &lookup) {
            Ok(read) => read,
            Err(records::ReadError::Store(error)) => return Err(error.into()),
            // A walk comes by the page too, and says that it cannot be read.
            Err(records::ReadError::Unreadable(_)) => return Ok(0),
        };
        self.summary.pages += 1;
        batch.retain(|id| self.unfinished.due.contains_key(id));
        for id in batch.ids() {
            self.unfinished.due.remove(id);
        }
        self.store(batch, Source::Page).await?;
        Ok(page.entries.len() as u64)
    }

    /// What is due and was not met is asked for run by run, or all at once where that is cheaper.
    pub(super) async fn fetch_unfinished(&mut self) -> Result<(), Interruption> {
        self.read_newest_pages().await?;
        let walk_pages = self.state.listed / u64::from(self.page_size.max(1)) + 16;
        if self.unfinished.due.len() as u64 > walk_pages && !self.has_walked_full {
            self.walk_full().await?;
        }
        let mut waiting: Vec<(usize, DueRun)> = self.unfinished.due.drain().map(|(_, run)| run).collect();
        waiting.sort_unstable_by_key(|(place, _)| *place);
        let mut waiting: Vec<(i64, String)> =
            waiting.into_iter().map(|(_, run)| (run.run_key, run.id)).collect();
        if self.has_walked_full {
            // Those that the full walk did not meet, whether they are due or hang for longer than is asked for.
            let (key, most) = (self.state.connection_key, MOST_BY_ID as u64);
            let read = self.session.recorder.ask(move |archive| archive.read_unlisted_unfinished(key, most));
            let unlisted = read.await?;
            let due: HashSet<i64> = waiting.iter().map(|(run_key, _)| *run_key).collect();
            waiting.extend(unlisted.into_iter().filter(|(run_key, _)| !due.contains(run_key)));
        }
        waiting.truncate(MOST_BY_ID);
        let mut waiting = waiting.into_iter();
        let mut requests = JoinSet::new();
        let mut outages = 0;
        loop {
            while requests.len() < self.session.options.pages_in_flight.max(1) {
                let Some((run_key, run)) = waiting.next() else { break };
                let (client, id) = (self.client.clone(), self.id.clone());
                requests.spawn(async move {
                    let answer = client.get_run(&id, &run).await;
                    (run, run_key, answer)
                });
            }
            let Some(answered) = requests.join_next().await else { return Ok(()) };
            let (run, run_key, answer) =
                answered.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            let result = match answer {
                Ok(answer) => self.take_run(run, answer).await.map(drop),
                Err(error) if error.reason == Reason::NotFound => {
                    tracing::info!("{error}; it stays archived");
                    let key = self.state.connection_key;
                    let mark = move |archive: &mut Archive| archive.mark_not_found(key, run_key, &now());
                    Ok(self.session.recorder.write(mark).await?)
                }
                Err(error) => Err(error.into()),
            };
            match result {
                // One run that cannot be had does not keep the others from being asked for.
                Err(Interruption::Api(error)) if is_about_one_run(&error) && outages < MOST_OUTAGES => {
                    outages += u32::from(error.reason == Reason::Unavailable);
                    self.add_problem(error.into()).await;
                }
                result => result?,
            }
        }
    }

    /// Stores the answer for one run; whether it was one, and not a record to set aside.
    pub(super) async fn take_run(&mut self, run: String, answer: api::Answer) -> Result<bool, Interruption> {
        let doing = Doing::GetRun { connection: self.id.clone(), run: run.clone() };
        let unreadable =
            |problem: &wire::Unreadable| Interruption::Api(self.client.unreadable(doing.clone(), problem));
        let batch = Batch::of_run(answer).map_err(|problem| unreadable(&problem))?;
        if batch.ids().any(|id| id != run) {
            return Err(unreadable(&wire::Unreadable::Missing("run of that id")));
        }
        let is_run = batch.ids().next().is_some();
        self.store(batch, Source::ById).await?;
        Ok(is_run)
    }

    async fn store(&self, batch: Batch, source: Source) -> Result<(), Interruption> {
        let key = self.state.connection_key;
        Ok(self.session.recorder.store_records(key, source, batch, &self.ledger).await?)
    }
}

/// Whether another run may be had where this one was not.
fn is_about_one_run(error: &api::Error) -> bool {
    error.problem.status.is_some() && matches!(error.reason, Reason::Unavailable | Reason::Rejected)
        || matches!(error.reason, Reason::Unreadable | Reason::Rejected)
}
