//! The runs of one connection that are due to be asked for again and were not met yet.
//!
//! In: what the archive says is due. Out: where a walk must not stop yet, and which runs are had by pages of the
//! listing. Nothing is awaited here.

use std::collections::HashMap;

use super::clock::now;
use crate::store::Reader;
use crate::store::unfinished::DueRun;
use crate::time::UtcText;
use crate::walk::{Entry, Order};

/// Runs that are remembered as due, so that a walk may meet them: some hundred bytes each.
const MOST_DUE: usize = 10_000;

/// What is due and was not met yet.
#[derive(Debug, Default)]
pub(super) struct DueRuns {
    pub(super) is_read: bool,
    /// By their ids, each with its place in the order in which they are asked for.
    pub(super) due: HashMap<String, (usize, DueRun)>,
    /// The due runs that started then or later are had by pages of the listing, not by their ids.
    pub(super) since: Option<UtcText>,
    pub(super) order: Option<Order>,
}

impl DueRuns {
    /// What the archive says is due, and which of it to have by pages where the listing has an order.
    pub(super) fn read(
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
    pub(super) fn oldest(&self) -> Option<UtcText> {
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
pub(super) fn plan_pages<E>(
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
