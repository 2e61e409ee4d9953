//! The runs of one connection that are not terminal and due to be asked for again: met by walking down to
//! them, read from the pages where they must stand, or asked for by their ids, whichever takes fewer requests.
//!
//! In: what the archive says is due, and a [`ConnectionTurn`] before and after its walks. Out: where a walk
//! must not stop yet, and what the platform says of the runs that no walk met, stored; a 404 is recorded,
//! and keeps no other run from being asked for. When a run is due is decided in `store`, which walks are in `connection`.

use std::collections::{HashMap, HashSet};

use tokio::task::JoinSet;

use super::connection::ConnectionTurn;
use super::records::{self, Batch, Lookup, StopSigns};
use super::{Interruption, due, now};
use crate::api::wire;
use crate::api::{self, Doing, Reason};
use crate::store::records::Source;
use crate::store::unfinished::DueRun;
use crate::store::{Archive, Reader};
use crate::time::UtcText;
use crate::walk::{Entry, Order};

/// Runs asked for by their ids in one sync; the others are due again at the next one.
const MOST_BY_ID: usize = 1_000;
/// Runs that are remembered as due, so that a walk may meet them: some hundred bytes each.
const MOST_DUE: usize = 10_000;
/// Runs that the platform may fail to answer for, after all attempts, before the others are left for later.
const MOST_OUTAGES: u32 = 3;

/// What is due and was not met yet.
#[derive(Debug, Default)]
pub(super) struct DueRuns {
    is_read: bool,
    /// By their ids, each with its place in the order in which they are asked for.
    due: HashMap<String, (usize, DueRun)>,
    /// The due runs that started then or later are had by pages of the listing, not by their ids.
    since: Option<UtcText>,
    order: Option<Order>,
}

impl DueRuns {
    /// What the archive says is due, and which of it to have by pages where the listing has an order.
    fn read(
        reader: &Reader,
        connection_key: i64,
        order: Option<Order>,
        page_size: u32,
    ) -> Result<Self, crate::store::Error> {
        let due = reader.read_due(connection_key, &now(), MOST_DUE)?;
        let mut starts: Vec<UtcText> = due.iter().filter_map(|run| run.started_at).collect();
        starts.sort_unstable_by(|a, b| b.cmp(a));
        let since = match order {
            Some(Order::Unordered) => None,
            None | Some(Order::NewestFirst | Order::OldestFirst) => {
                plan_pages(&starts, page_size, |since| reader.count_since(connection_key, since))?
            }
        };
        let due = due.into_iter().enumerate().map(|(place, run)| (run.id.clone(), (place, run))).collect();
        Ok(Self { is_read: true, due, since, order })
    }

    /// Whether a walk goes down to some of them, because the newest runs come first.
    pub(super) fn is_walked_to(&self) -> bool {
        self.since.is_some() && self.order != Some(Order::OldestFirst)
    }

    /// The oldest start of those that are to be had by pages and were not met yet.
    fn oldest(&self) -> Option<UtcText> {
        let since = self.since?;
        let starts = self.due.values().filter_map(|(_, run)| run.started_at);
        starts.filter(|start| *start >= since).min()
    }

    /// A page had this run on it, so the run need not be asked for by its id.
    pub(super) fn meet(&mut self, id: &str) {
        self.due.remove(id);
    }

    /// Entries are no sign to stop at while a run that the walk goes down to stands among or below them.
    pub(super) fn hold_back(&self, entries: &mut [Entry]) {
        let Some(oldest) = self.oldest().filter(|_| self.is_walked_to()) else { return };
        for entry in entries {
            entry.is_proved &= entry.started_at.is_none_or(|start| start < oldest);
        }
    }
}

/// Which runs of these starts, the newest first, to have by the pages of their listing, where `count_since`
/// says how many runs are as young as one: so that the pages from its newest end down to there, and the
/// requests by id for what is left beyond, are fewest. `None`: all are asked for by their ids.
fn plan_pages<E>(
    starts: &[UtcText],
    page_size: u32,
    mut count_since: impl FnMut(&UtcText) -> Result<u64, E>,
) -> Result<Option<UtcText>, E> {
    // Pages overlap by one run.
    let page = u64::from(page_size.saturating_sub(1).max(1));
    let (mut best, mut fewest) = (None, starts.len() as u64);
    // One old run must not make hundreds of new ones expensive, so some of the oldest may be left: half of
    // all, a quarter, and so on down to none.
    let mut left = starts.len() / 2;
    while let Some(oldest) = starts.len().checked_sub(left + 1).map(|at| starts[at]) {
        let pages = count_since(&oldest)?.div_ceil(page);
        let requests = pages + left as u64;
        // Of two ways that cost the same, pages say more.
        if requests < fewest || best.is_some() && requests == fewest {
            (best, fewest) = (Some(oldest), requests);
        }
        // Further down it only takes more pages.
        if left == 0 || pages >= fewest {
            break;
        }
        left /= 2;
    }
    Ok(best)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The start that is had by pages, by its place, where the due runs stand at these places of a listing.
    fn plan(places: &[u64], page_size: u32) -> Option<u64> {
        let start = |place: u64| {
            UtcText::parse_sent(&format!("2026-01-01T{:02}:{:02}:00Z", 23 - place / 60, 59 - place % 60))
                .unwrap()
        };
        let starts: Vec<UtcText> = places.iter().map(|place| start(*place)).collect();
        let count_since = |since: &UtcText| {
            let at = starts.iter().position(|start| start == since).unwrap();
            Ok::<_, ()>(places[at] + 1)
        };
        let planned = plan_pages(&starts, page_size, count_since).unwrap();
        planned.map(|planned| places[starts.iter().position(|start| *start == planned).unwrap()])
    }

    #[test]
    fn the_way_of_fewest_requests_is_taken() {
        // Nothing, one run, and runs far from one another are asked for by their ids.
        assert_eq!([plan(&[], 100), plan(&[0], 100), plan(&[99, 300, 900], 10)], [None; 3]);
        // Runs on the first pages are had by them; those far below do not make it dear.
        assert_eq!(plan(&[0, 1, 2, 3, 4, 5], 100), Some(5));
        assert_eq!(plan(&[0, 1, 2, 3, 4, 5, 1_000], 11), Some(5));
        // All of a page's runs, on three pages.
        assert_eq!(plan(&(0..27).collect::<Vec<_>>(), 10), Some(26));
    }
}
