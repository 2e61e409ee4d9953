//! The runs of one connection that are not terminal and that its walks did not meet: asked for by their ids.
//!
//! In: a [`ConnectionSync`] after its walks. Out: what the platform says of each such run, stored; a 404 is
//! noted and blocks nothing. Which walks are due is decided in `connection`.

use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use super::connection::ConnectionSync;
use super::records::Batch;
use super::{Sink, Stop, now};
use crate::api::wire;
use crate::api::{self, Doing, Reason};
use crate::store::write::Source;

/// Asking for single runs is only cheaper than walking while they are few.
pub(super) const MOST_BY_ID: u64 = 1_000;
/// Runs that the platform may fail to answer for, after all attempts, before the others are left for later.
const MOST_OUTAGES: u32 = 3;

impl ConnectionSync<'_> {
    /// Archived runs that are not terminal and were not met are asked for one by one.
    pub(super) async fn fetch_unfinished(&mut self) -> Result<(), Stop> {
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
                Ok(answer) => self.take_run(run, answer).await.map(drop),
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

    /// Stores the answer for one run; whether it was one, and not a record to set aside.
    pub(super) async fn take_run(&mut self, run: String, answer: api::Answer) -> Result<bool, Stop> {
        let doing = Doing::GetRun { connection: self.id.clone(), run: run.clone() };
        let unreadable =
            |problem: &wire::Unreadable| Stop::Api(self.shared.client.unreadable(doing.clone(), problem));
        let batch = Batch::of_run(answer).map_err(|problem| unreadable(&problem))?;
        if batch.ids().any(|id| id != run) {
            return Err(unreadable(&wire::Unreadable::Missing("run of that id")));
        }
        let is_run = batch.ids().next().is_some();
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
        Ok(is_run)
    }
}

/// Whether another run may be had where this one was not.
fn is_about_one_run(error: &api::Error) -> bool {
    error.problem.status.is_some() && matches!(error.reason, Reason::Unavailable | Reason::Rejected)
        || matches!(error.reason, Reason::Unreadable | Reason::Rejected)
}
