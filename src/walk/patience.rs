//! How long a walk goes on that does not get anywhere: a platform that gives the same pages again and again, or
//! a listing that shifts faster than it is walked, must not keep a sync for ever.

use std::collections::{HashMap, HashSet};

use super::page::Key;

/// Answers in a row that bring nothing before the walk gives up.
const MOST_UNPRODUCTIVE: u32 = 48;
/// The same for a walk that proves nothing any more.
const MOST_UNPRODUCTIVE_IN_DOUBT: u32 = 4;
/// Positions that may be answered with one and the same page: runs added in front move it along.
const MOST_PLACES: usize = 5;
/// How often a listing may lose everything that was linked.
const MOST_RESTARTS: u32 = 3;

/// What is spent of a walk's patience.
#[derive(Debug, Default)]
pub(super) struct WalkPatience {
    /// Answers in a row that brought nothing.
    unproductive: u32,
    /// Pages that brought nothing by their first and last entry: the positions that they were given for.
    places: HashMap<(Key, Key), HashSet<u64>>,
    /// How often the walk has started over.
    restarts: u32,
}

impl WalkPatience {
    pub(super) fn renew(&mut self) {
        *self = Self { restarts: self.restarts, ..Self::default() };
    }

    /// An answer brought nothing. Whether the patience is at its end.
    pub(super) fn spend(&mut self) -> bool {
        self.unproductive += 1;
        self.unproductive > MOST_UNPRODUCTIVE
    }

    /// A page brought nothing. Whether the patience is at its end: it is not spent on pages that the walk reads
    /// again on purpose, since there are only so many of them, but one page for many positions ends it all the
    /// same.
    pub(super) fn spend_on_page(
        &mut self,
        (first, last): (Key, Key),
        skip: u64,
        is_rereading: bool,
        is_in_doubt: bool,
    ) -> bool {
        let places = self.places.entry((first, last)).or_default();
        places.insert(skip);
        let is_stuck = places.len() > MOST_PLACES;
        self.unproductive += u32::from(!is_rereading);
        let most = if is_in_doubt { MOST_UNPRODUCTIVE_IN_DOUBT } else { MOST_UNPRODUCTIVE };
        is_stuck || self.unproductive > most
    }

    /// The patience of a walk that starts over; `None` once it has done so too often.
    pub(super) fn after_restart(&self) -> Option<Self> {
        let restarts = self.restarts + 1;
        (restarts <= MOST_RESTARTS).then(|| Self { restarts, ..Self::default() })
    }

    /// Forgets the restarts: a short way that became a walk of the whole listing begins it for the first time.
    pub(super) fn forget_restarts(&mut self) {
        self.restarts = 0;
    }
}
