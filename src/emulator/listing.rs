//! The runs of one connection and how they are listed: orders, paging, and what shifts a listing.
//!
//! Pure: no I/O, no clock. Property tests walk it without a network; the server only turns a page into
//! text. A page costs what it holds in the two plain orders, however long the listing is.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// One run as the platform would send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The run's id, as in its text.
    pub id: String,
    /// `startDateTime` exactly as sent; empty when the run has none.
    pub started: String,
    /// The exact JSON text sent for the run.
    pub json: Arc<str>,
}

/// In which order runs are listed. The real platform promises none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest run first.
    #[default]
    NewestFirst,
    /// The oldest run first.
    OldestFirst,
    /// By a hash of the id: no visible order, but the runs that stay keep theirs when others come and go.
    Shuffled,
    /// Another order for every page.
    Reshuffled,
}

/// The runs of a connection in the order of their creation, oldest at index 0.
///
/// Ids are not checked: a listing may hold an id twice, and then lists it twice.
#[derive(Debug, Default)]
pub struct Listing {
    runs: VecDeque<Run>,
    /// Positions in [`Order::Shuffled`], made when first needed and dropped by every change of ids.
    shuffled: OnceLock<Vec<usize>>,
    /// How many pages were asked for in [`Order::Reshuffled`].
    reshuffles: AtomicU64,
}

impl Clone for Listing {
    fn clone(&self) -> Listing {
        Listing {
            runs: self.runs.clone(),
            shuffled: self.shuffled.clone(),
            reshuffles: AtomicU64::new(self.reshuffles.load(Ordering::Relaxed)),
        }
    }
}

impl PartialEq for Listing {
    fn eq(&self, other: &Listing) -> bool {
        self.runs == other.runs
    }
}

impl FromIterator<Run> for Listing {
    /// From the oldest to the newest.
    fn from_iter<I: IntoIterator<Item = Run>>(runs: I) -> Listing {
        Listing { runs: runs.into_iter().collect(), ..Listing::default() }
    }
}

impl Listing {
    /// An empty listing.
    #[must_use]
    pub fn new() -> Listing {
        Listing::default()
    }

    /// How many runs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there is no run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs from the oldest to the newest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Run> + ExactSizeIterator {
        self.runs.iter()
    }

    /// The run created last.
    #[must_use]
    pub fn newest(&self) -> Option<&Run> {
        self.runs.back()
    }

    /// The run created first.
    #[must_use]
    pub fn oldest(&self) -> Option<&Run> {
        self.runs.front()
    }

    /// The run with this id, byte for byte. Searches from the newest.
    #[must_use]
    pub(crate) fn get(&self, id: &str) -> Option<&Run> {
        self.runs.iter().rev().find(|run| run.id == id)
    }

    /// Adds a run that began after all others.
    pub fn push_newest(&mut self, run: Run) {
        self.shuffled = OnceLock::new();
        self.runs.push_back(run);
    }

    /// Adds a run that began before all others.
    pub fn push_oldest(&mut self, run: Run) {
        self.shuffled = OnceLock::new();
        self.runs.push_front(run);
    }

    /// Removes the run at `index`, counted from the oldest (0). None where there is none.
    pub fn remove(&mut self, index: usize) -> Option<Run> {
        self.shuffled = OnceLock::new();
        self.runs.remove(index)
    }

    /// Removes the newest run with this id. None where there is none.
    pub fn remove_id(&mut self, id: &str) -> Option<Run> {
        let index = self.runs.iter().rposition(|run| run.id == id)?;
        self.remove(index)
    }

    /// Puts `run` in the place of the newest run with the same id; false where there is none.
    pub fn replace(&mut self, run: Run) -> bool {
        match self.runs.iter_mut().rev().find(|held| held.id == run.id) {
            Some(held) => {
                *held = run;
                true
            }
            None => false,
        }
    }

    /// The page that starts after `skip` runs and holds at most `top` of them, or `cap` if that is less.
    #[must_use]
    pub(crate) fn page(&self, order: Order, skip: u64, top: u64, cap: Option<u64>) -> Vec<&Run> {
        let skip = to_index(skip);
        let count = to_index(cap.map_or(top, |cap| cap.min(top)));
        let from = skip.min(self.runs.len());
        let until = skip.saturating_add(count).min(self.runs.len());
        match order {
            Order::OldestFirst => self.runs.range(from..until).collect(),
            Order::NewestFirst => {
                let len = self.runs.len();
                self.runs.range(len - until..len - from).rev().collect()
            }
            Order::Shuffled => self.at(&self.shuffled()[from..until]),
            Order::Reshuffled => self.at(&self.reshuffled()[from..until]),
        }
    }

    /// As [`Listing::page`], as if the runs named in `without` were not there. Costs the whole listing.
    #[must_use]
    pub(crate) fn page_without(
        &self,
        without: &BTreeSet<String>,
        order: Order,
        skip: u64,
        top: u64,
        cap: Option<u64>,
    ) -> Vec<&Run> {
        let all = u64::MAX;
        self.page(order, 0, all, None)
            .into_iter()
            .filter(|run| !without.contains(&run.id))
            .skip(to_index(skip))
            .take(to_index(cap.map_or(top, |cap| cap.min(top))))
            .collect()
    }

    fn at(&self, positions: &[usize]) -> Vec<&Run> {
        positions.iter().filter_map(|&position| self.runs.get(position)).collect()
    }

    fn shuffled(&self) -> &[usize] {
        self.shuffled.get_or_init(|| self.sorted_by_hash(0))
    }

    fn reshuffled(&self) -> Vec<usize> {
        let draw = self.reshuffles.fetch_add(1, Ordering::Relaxed);
        self.sorted_by_hash(draw.wrapping_add(1))
    }

    /// Positions sorted by a hash of the id; equal hashes by the id, so that nothing depends on neighbours.
    fn sorted_by_hash(&self, salt: u64) -> Vec<usize> {
        let mut keys: Vec<(u64, &str, usize)> = self
            .runs
            .iter()
            .enumerate()
            .map(|(position, run)| (hash(&run.id, salt), run.id.as_str(), position))
            .collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, _, position)| position).collect()
    }
}

fn to_index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// FNV-1a over the salt and the text, then mixed so that neighbouring ids end far apart.
pub(super) fn hash(text: &str, salt: u64) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    for byte in salt.to_le_bytes().into_iter().chain(text.bytes()) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: usize) -> Run {
        Run { id: format!("r{number}"), started: String::new(), json: "{}".into() }
    }

    fn listing(count: usize) -> Listing {
        (0..count).map(run).collect()
    }

    fn ids(page: &[&Run]) -> Vec<String> {
        page.iter().map(|run| run.id.clone()).collect()
    }

    const ORDERS: [Order; 3] = [Order::NewestFirst, Order::OldestFirst, Order::Shuffled];

    #[test]
    fn pages_laid_end_to_end_list_every_run_once_in_one_order() {
        for order in ORDERS {
            let listing = listing(103);
            let whole = ids(&listing.page(order, 0, 1_000, None));
            let mut joined = Vec::new();
            while joined.len() < 103 {
                let page = listing.page(order, joined.len() as u64, 50, Some(10));
                assert!(page.len() <= 10);
                assert!(!page.is_empty());
                joined.extend(ids(&page));
            }
            assert_eq!(joined, whole, "{order:?}");
            assert!(listing.page(order, 103, 50, None).is_empty());
            assert!(listing.page(order, u64::MAX, u64::MAX, None).is_empty());
        }
    }

    #[test]
    fn newest_first_and_oldest_first_are_each_others_reverse() {
        let listing = listing(7);
        let mut newest = ids(&listing.page(Order::NewestFirst, 0, 50, None));
        assert_eq!(newest[0], "r6");
        newest.reverse();
        assert_eq!(newest, ids(&listing.page(Order::OldestFirst, 0, 50, None)));
        assert_eq!(ids(&listing.page(Order::NewestFirst, 2, 2, None)), ["r4", "r3"]);
        assert_eq!(ids(&listing.page(Order::OldestFirst, 2, 2, None)), ["r2", "r3"]);
    }

    #[test]
    fn runs_that_stay_keep_their_order_when_others_come_and_go() {
        for order in ORDERS {
            let mut listing = listing(40);
            let before = ids(&listing.page(order, 0, 100, None));
            listing.push_newest(run(100));
            listing.push_oldest(run(101));
            listing.remove_id("r7");
            assert_eq!(listing.remove(0).map(|run| run.id).as_deref(), Some("r101"));
            assert!(listing.replace(Run { started: "now".into(), ..run(9) }));
            assert!(!listing.replace(run(7)));
            let after = ids(&listing.page(order, 0, 100, None));
            let kept: Vec<_> = after.iter().filter(|id| *id != "r100").cloned().collect();
            let expected: Vec<_> = before.into_iter().filter(|id| id != "r7").collect();
            assert_eq!(kept, expected, "{order:?}");
            assert_eq!(listing.get("r9").map(|run| run.started.as_str()), Some("now"));
        }
    }

    #[test]
    fn a_reshuffled_listing_has_another_order_on_each_page() {
        let listing = listing(30);
        let first = ids(&listing.page(Order::Reshuffled, 0, 30, None));
        let second = ids(&listing.page(Order::Reshuffled, 0, 30, None));
        assert_ne!(first, second);
        assert_eq!(BTreeSet::from_iter(first), BTreeSet::from_iter(second));
    }

    #[test]
    fn unlisted_runs_leave_no_hole_in_a_page() {
        let listing = listing(10);
        let without = BTreeSet::from(["r8".to_owned(), "r5".to_owned()]);
        let page = listing.page_without(&without, Order::NewestFirst, 1, 3, None);
        assert_eq!(ids(&page), ["r7", "r6", "r4"]);
    }

    #[test]
    fn a_million_runs_are_paged_at_the_cost_of_the_page() {
        let run = run(0);
        let mut listing = Listing::new();
        for _ in 0..1_000_000 {
            listing.push_newest(run.clone());
        }
        let begun = std::time::Instant::now();
        for skip in 0..1_000 {
            assert_eq!(listing.page(Order::NewestFirst, skip * 999, 50, None).len(), 50);
        }
        assert!(begun.elapsed().as_millis() < 1_000, "{:?}", begun.elapsed());
    }
}
