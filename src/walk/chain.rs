//! What a walk has linked: entries that are known to follow one another without a gap, in their order.
//!
//! In: pages that were joined to it. Out: where an entry stands, and the checkpoint that another walk can go on
//! from. A listing may be longer than memory, so only the last entries are kept.

use std::collections::{HashMap, HashSet, VecDeque};

use super::page::{Checkpoint, Entry, Key, PendingPage};
use crate::time::UtcText;

/// How many linked entries are remembered: what a listing may shift by between two answers.
const REMEMBERED: usize = 8_192;
/// How many of them a checkpoint carries: enough for some to be listed still when the next sync goes on, few
/// enough to be written with every page.
const ANCHORS: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// The last linked entries, the first linked first.
    remembered: VecDeque<Key>,
    /// Their places, counted from the first entry ever linked.
    places: HashMap<Key, u64>,
    next_place: u64,
    /// Whether it began with what an earlier walk had linked.
    pub(super) is_resumed: bool,
    /// Runs among the linked entries, those of the walk that is resumed included.
    pub(super) runs: u64,
    /// Pages linked by this walk. Before the first one, only one request is made.
    pub(super) pages: u64,
    /// The number of the answer that was linked last.
    last_answer: u64,
    /// The most entries that a page held.
    pub(super) longest: u64,
    oldest_started_at: Option<UtcText>,
    newest_started_at: Option<UtcText>,
    pub(super) last_started_at: Option<UtcText>,
    /// One page's new entries, replaced by another's whenever the number of pages has doubled: an endless listing
    /// that repeats itself comes round to one of them after at most three rounds (Brent's cycle detection).
    loop_marker: HashSet<Key>,
}

impl Chain {
    /// A chain that goes on from a checkpoint; one without anchors is no place to go on from.
    pub(super) fn resume(start: Checkpoint) -> Self {
        let mut chain = Self {
            is_resumed: true,
            runs: start.linked,
            longest: start.longest,
            oldest_started_at: start.oldest_started_at,
            newest_started_at: start.newest_started_at,
            last_started_at: start.last_started_at,
            ..Self::default()
        };
        for key in start.anchors {
            chain.remember(key);
        }
        chain
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next_place == 0
    }

    pub(super) fn len(&self) -> usize {
        self.remembered.len()
    }

    /// The place of an entry, where it is remembered.
    pub(super) fn place(&self, key: Key) -> Option<u64> {
        self.places.get(&key).copied()
    }

    /// How many entries were linked after the one of this place.
    pub(super) fn after(&self, place: u64) -> u64 {
        (self.next_place - 1).saturating_sub(place)
    }

    pub(super) fn ends_with(&self, key: Option<Key>) -> bool {
        key == self.remembered.back().copied()
    }

    /// Whether the page was asked for when all that is linked now was: it cannot show what was there before.
    pub(super) fn is_younger(&self, page: &PendingPage) -> bool {
        page.asked >= self.last_answer
    }

    /// Whether one of the entries is on the page that is remembered to notice an endless listing.
    pub(super) fn has_come_round(&self, entries: &[Entry]) -> bool {
        entries.iter().any(|entry| self.loop_marker.contains(&entry.key))
    }

    /// Links entries behind the last one.
    pub(super) fn link(&mut self, entries: &[Entry], answer: u64) {
        for entry in entries {
            self.remember(entry.key);
            self.runs += u64::from(entry.is_readable);
            if let Some(started) = entry.started_at {
                self.oldest_started_at =
                    self.oldest_started_at.map(|oldest| oldest.min(started)).or(Some(started));
                self.newest_started_at = self.newest_started_at.max(Some(started));
                self.last_started_at = Some(started);
            }
        }
        if !entries.is_empty() {
            self.last_answer = self.last_answer.max(answer);
            if self.pages.is_power_of_two() {
                self.loop_marker = entries.iter().map(|entry| entry.key).collect();
            }
        }
    }

    fn remember(&mut self, key: Key) {
        self.remembered.push_back(key);
        self.places.insert(key, self.next_place);
        self.next_place += 1;
        if self.remembered.len() > REMEMBERED
            && let Some(oldest) = self.remembered.pop_front()
            // An entry that was linked twice stands at its later place, which is remembered still.
            && self.places.get(&oldest).is_some_and(|&place| place + (REMEMBERED as u64) < self.next_place)
        {
            self.places.remove(&oldest);
        }
    }

    /// Where another walk can go on; the caller adds what the chain does not know.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let skipped = self.remembered.len().saturating_sub(ANCHORS);
        Checkpoint {
            anchors: self.remembered.iter().skip(skipped).copied().collect(),
            linked: self.runs,
            oldest_started_at: self.oldest_started_at,
            newest_started_at: self.newest_started_at,
            last_started_at: self.last_started_at,
            longest: self.longest,
            ..Checkpoint::default()
        }
    }
}
