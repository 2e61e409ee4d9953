//! What a walk that is under way has stored so far: kept in memory from its beginning to its end.

use std::collections::HashSet;

use crate::time::UtcText;

/// What a walk that is under way has stored so far.
#[derive(Debug)]
pub(super) struct WalkRecord {
    pub(super) walk_key: i64,
    pub(super) connection_key: i64,
    /// Keys of runs met that were archived before: in memory while few, in `walk_runs` for a full walk.
    pub(super) met: HashSet<i64>,
    /// Runs that it changed: an answer that was under way before must not change them back.
    pub(super) changed: HashSet<i64>,
    pub(super) is_full: bool,
    pub(super) is_resumed: bool,
    pub(super) is_overflowing: bool,
    pub(super) started_at: UtcText,
    pub(super) newest_before: Option<UtcText>,
    pub(super) base_run_key: i64,
    pub(super) listed: u64,
    /// Of these, runs that were pruned.
    pub(super) pruned: u64,
    pub(super) set_aside: u64,
    pub(super) pages: u64,
    /// Whether it brought anything that the archive did not have.
    pub(super) has_news: bool,
    /// Records that are no runs and are kept nowhere.
    pub(super) not_kept: u64,
}
