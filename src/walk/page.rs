//! What is asked of a listing and what comes: entries, pages, and the place where a walk goes on.
//!
//! In: keys and starts of runs, which `sync` reads from an answer. Out: the values that a walk decides by.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::order::Order;
use crate::api::wire::More;
use crate::time::UtcText;

/// What an entry of a listing is known by: the XXH3-128 of its id, or of its text where it has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Key(pub u128);

impl From<Key> for String {
    fn from(key: Key) -> Self {
        format!("{:032x}", key.0)
    }
}

impl TryFrom<String> for Key {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One entry of a page, as far as the walk cares.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub key: Key,
    /// Its start, where it has a real one: the listing's order is seen by it.
    pub started_at: Option<UtcText>,
    /// Archived where an earlier walk proved that nothing is missing: a sign to stop.
    pub is_proved: bool,
    /// Whether it is a run at all; entries that are not are set aside, and counted apart.
    pub is_readable: bool,
}

/// What to ask the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ask {
    /// `$skip`.
    pub skip: u64,
    /// `$top`.
    pub top: u32,
}

/// Where a walk goes on, or starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The position after the last linked entry, when it was last seen.
    pub position: u64,
    /// The last linked entries, the first linked first.
    pub anchors: Vec<Key>,
    /// How many runs were linked so far.
    #[serde(rename = "chained")]
    pub linked: u64,
    pub oldest_started_at: Option<UtcText>,
    /// The newest start among them: the watermark up to which a newest-first listing is stored whole.
    pub newest_started_at: Option<UtcText>,
    /// The start of the last one: a page lies before or behind it in a listing that has an order.
    pub last_started_at: Option<UtcText>,
    pub order: Option<Order>,
    /// The most entries that a page held; 0 where that is not known.
    #[serde(default)]
    pub longest: u64,
    /// Whether the listing ended at a page whose links said so.
    #[serde(default)]
    pub is_end_linked: bool,
}

/// A page that is not joined to the chain yet.
#[derive(Debug)]
pub(super) struct PendingPage {
    pub(super) ask: Ask,
    /// The number of its answer, and how many had come when it was asked for.
    pub(super) number: u64,
    pub(super) asked: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) more: More,
}

impl PendingPage {
    pub(super) fn received(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether it holds one entry although more were asked for.
    pub(super) fn is_single(&self) -> bool {
        self.entries.len() == 1 && self.ask.top > 1
    }

    pub(super) fn order(&self) -> Option<Order> {
        Order::of(self.entries.iter().map(|entry| entry.started_at))
    }

    pub(super) fn holds_twice(&self) -> bool {
        let mut keys: Vec<Key> = self.entries.iter().map(|entry| entry.key).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| pair[0] == pair[1])
    }
}
