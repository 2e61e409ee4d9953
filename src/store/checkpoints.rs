//! Where the syncs of a connection stand: what is proved of its listing, and what the next one begins with.

use rusqlite::{Connection, named_params, params};

use super::cells::time;
use super::error::Result;
use super::open::Archive;
use super::reader::Reader;
use crate::api::ConnectionId;
use crate::time::UtcText;

/// What is known of a connection before it is synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionState {
    pub connection_key: i64,
    pub name: Option<String>,
    /// Whether any run of it is archived, or was until it was pruned.
    pub has_runs: bool,
    /// The stored word for the order of its listing.
    pub listing_order: Option<String>,
    /// The largest page it allowed, once it refused one.
    pub page_size: Option<u32>,
    /// Runs up to this key, and started up to the watermark, are signs to stop at.
    pub settled_run_key: i64,
    /// See `settled_run_key`.
    pub watermark: Option<UtcText>,
    /// When the last complete full walk began.
    pub full_walk_at: Option<UtcText>,
    /// Archived runs that are not known to be unlisted.
    pub listed: u64,
    /// Runs that were pruned: they count as archived, and the platform may still list them.
    pub pruned: u64,
    /// JSON: where the listing ended.
    pub listing_end: Option<String>,
    /// `lastRun` as it was before the last complete walk, if that run is archived or answered 404; empty where
    /// it said that no run had begun.
    pub last_run_id: Option<String>,
    /// A full walk that was interrupted: its key and checkpoint.
    pub open_walk: Option<(i64, String)>,
    /// Archived runs that are not terminal and may still answer by id: how many.
    pub unfinished: u64,
    /// Whether the last walk was an incremental one that was stopped after many pages.
    pub was_cut_short: bool,
}

impl Reader {
    /// What is known of a connection; `None` for one never met.
    pub(crate) fn read_state(&self, id: &ConnectionId) -> Result<Option<ConnectionState>> {
        let key = self.sqlite(super::fleet::find_connection(&self.connection, id))?;
        key.map(|key| self.sqlite(state(&self.connection, key))).transpose()
    }
}

impl Archive {
    /// What is known of a connection.
    pub(crate) fn read_state(&self, connection_key: i64) -> Result<ConnectionState> {
        self.sqlite(state(&self.connection, connection_key))
    }

    /// Remembers what a connection said of its last run where the walks themselves cannot tell that it is
    /// answered for: a run that was pruned, or that its id answered 404 for.
    pub(crate) fn note_last_run(&mut self, connection_key: i64, id: &str) -> Result<()> {
        let sql = "UPDATE checkpoints SET last_run_id = ?2 WHERE connection_key = ?1";
        self.sqlite(self.connection.execute(sql, params![connection_key, id])).map(drop)
    }
}

fn state(connection: &Connection, connection_key: i64) -> rusqlite::Result<ConnectionState> {
    let sql = include_str!("read_state.sql");
    let key = named_params! { ":connection_key": connection_key };
    connection.prepare_cached(sql)?.query_row(key, |row| {
        let open_walk: Option<i64> = row.get("open_walk_key")?;
        let checkpoint: Option<String> = row.get("open_walk_checkpoint")?;
        let open_walk_started_at = time(row, "open_walk_started_at")?;
        Ok(ConnectionState {
            connection_key,
            name: row.get("name")?,
            has_runs: row.get("has_runs")?,
            listing_order: row.get("listing_order")?,
            page_size: row.get("page_size")?,
            settled_run_key: row.get("settled_run_key")?,
            watermark: time(row, "watermark")?,
            full_walk_at: time(row, "full_walk_at")?,
            listed: row.get::<_, i64>("listed")?.cast_unsigned(),
            pruned: row.get::<_, i64>("pruned")?.cast_unsigned(),
            listing_end: row.get("listing_end")?,
            last_run_id: row.get("last_run_id")?,
            // A walk that began at no time cannot be gone on with: the listing is walked anew.
            open_walk: open_walk.zip(checkpoint).filter(|_| open_walk_started_at.is_some()),
            unfinished: row.get::<_, i64>("unfinished")?.cast_unsigned(),
            was_cut_short: row.get("was_cut_short")?,
        })
    })
}
