//! How far a sync is: counters that its tasks add to and a display reads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::records::Counts;

/// What has happened so far, for a progress display.
#[derive(Debug, Default)]
pub struct Progress {
    /// iModels that were asked for their connections, and those still to ask.
    pub imodels: AtomicU64,
    /// See `imodels`.
    pub imodels_left: AtomicU64,
    /// Connections that are done, and those known and still to do.
    pub connections: AtomicU64,
    /// See `connections`.
    pub connections_left: AtomicU64,
    /// Pages received.
    pub pages: AtomicU64,
    /// Records received, and runs stored and changed.
    pub received: AtomicU64,
    /// Runs stored for the first time.
    pub new: AtomicU64,
    /// Runs that changed.
    pub changed: AtomicU64,
}

impl Progress {
    /// Counts a page, or with `is_new_page` unset a further part of one.
    pub(super) fn add(&self, counts: &Counts, is_new_page: bool) {
        self.pages.fetch_add(u64::from(is_new_page), Ordering::Relaxed);
        self.received.fetch_add(counts.received, Ordering::Relaxed);
        self.new.fetch_add(counts.new, Ordering::Relaxed);
        self.changed.fetch_add(counts.changed, Ordering::Relaxed);
    }
}
