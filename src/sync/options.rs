//! What a sync is asked for.

use std::time::Duration;

use crate::api::{ConnectionId, Kind};

/// Where runs are looked for. At least one of the lists holds something.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Connections by their ids, in the order given.
    pub connections: Vec<ConnectionId>,
    /// iModels whose connections are synced.
    pub imodels: Vec<String>,
    /// iTwins whose iModels' connections are synced.
    pub itwins: Vec<String>,
    /// Which kinds of connections are looked for below iModels and iTwins.
    pub kinds: Vec<Kind>,
}

/// What a sync is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where runs are looked for.
    pub scope: Scope,
    /// Walk every listing whole.
    pub full: bool,
    /// `$top` to begin with.
    pub page_size: u32,
    /// Whether the page size was asked for, rather than the default: then what was learned is ignored.
    pub is_page_size_given: bool,
    /// Pages of one listing in flight.
    pub pages_in_flight: usize,
    /// Connections at a time.
    pub concurrency: usize,
    /// How often every listing is walked whole regardless.
    pub full_every: Duration,
    /// Bytes that a backfill leaves free of the disk; 0: none; `None`: the usual.
    pub min_free: Option<u64>,
}
