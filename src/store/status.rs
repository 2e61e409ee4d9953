//! How much is archived of each connection, how fresh that is, and what the platform sent that is not known.

use rusqlite::{Connection, OptionalExtension as _};
use serde::Serialize;

use super::cells::time;
use super::error::Result;
use super::reader::Reader;
use crate::api::ConnectionId;
use crate::time::UtcText;

/// One line of `archive status`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConnectionStatus {
    /// `export`, `storage` or `manifest`.
    pub kind: String,
    pub id: String,
    pub name: String,
    /// The name that people gave it.
    pub display_name: Option<String>,
    pub imodel_id: Option<String>,
    pub imodel: Option<String>,
    pub itwin_id: Option<String>,
    pub itwin: Option<String>,
    pub runs: u64,
    /// Archived runs that the platform no longer lists.
    pub unlisted_runs: u64,
    /// Archived runs that are not terminal.
    pub unfinished: u64,
    /// When the platform last answered about the one of them that it answered about longest ago.
    pub oldest_answer_at: Option<String>,
    pub rejects: u64,
    pub gaps: u64,
    pub newest_started_at: Option<String>,
    /// When the last complete walk began: everything listed then is archived.
    pub complete_as_of: Option<String>,
    /// What the last complete walk is dated where that is to come: the clock was wrong then.
    pub clock_ahead_at: Option<String>,
    /// The last walk that was not complete, if it was the last one.
    pub last_problem: Option<String>,
    /// When the connection itself was found missing.
    pub unlisted_at: Option<String>,
    pub pruned_runs: u64,
    /// What began before this was taken by the last prune of its runs.
    pub pruned_before: Option<String>,
    pub pruned_at: Option<String>,
}

/// What the platform sent and this program did not know.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DriftStatus {
    /// `run`, `job`, `task` or `error`.
    pub object: String,
    pub field: String,
    /// `field`, `value`, `type` or `volatile`.
    pub what: String,
    /// The new value, or its type.
    pub value: String,
    pub first_seen_at: String,
    pub runs: u64,
    #[serde(rename = "example_run_id")]
    pub run_id: String,
}

impl Reader {
    /// When a connection was last proved whole: everything listed then is archived; `None` for never.
    pub(crate) fn read_complete_as_of(&self, id: &ConnectionId) -> Result<Option<UtcText>> {
        let sql = "SELECT complete_as_of FROM connection_coverage JOIN connections USING (connection_key)
                   WHERE kind = ?1 AND id = ?2";
        self.run(|connection| {
            let id = [id.kind().as_str(), id.as_str()];
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row(id, |row| time(row, "complete_as_of")).optional()
        })
        .map(Option::flatten)
    }

    /// Status of every connection, by name and id, as of now.
    pub(crate) fn read_status(&self, now: &UtcText) -> Result<Vec<ConnectionStatus>> {
        self.require_views()?;
        self.run(|connection| {
            let mut statement = connection.prepare(include_str!("read_status.sql"))?;
            let rows = statement.query_map([], |row| {
                Ok(ConnectionStatus {
                    kind: row.get("kind")?,
                    id: row.get("id")?,
                    name: row.get("name")?,
                    display_name: row.get("display_name")?,
                    imodel_id: row.get("imodel_id")?,
                    imodel: row.get("imodel")?,
                    itwin_id: row.get("itwin_id")?,
                    itwin: row.get("itwin")?,
                    runs: row.get::<_, i64>("runs")?.cast_unsigned(),
                    unlisted_runs: row.get::<_, i64>("unlisted_runs")?.cast_unsigned(),
                    unfinished: row.get::<_, i64>("unfinished")?.cast_unsigned(),
                    oldest_answer_at: row.get("oldest_answer_at")?,
                    rejects: row.get::<_, i64>("rejects")?.cast_unsigned(),
                    gaps: row.get::<_, i64>("gaps")?.cast_unsigned(),
                    newest_started_at: row.get("newest_started_at")?,
                    complete_as_of: row.get("complete_as_of")?,
                    clock_ahead_at: None,
                    last_problem: row.get("last_problem")?,
                    unlisted_at: row.get("unlisted_at")?,
                    pruned_runs: row.get::<_, i64>("pruned_runs")?.cast_unsigned(),
                    pruned_before: row.get("pruned_before")?,
                    pruned_at: row.get("pruned_at")?,
                })
            })?;
            let mut status: Vec<ConnectionStatus> = rows.collect::<rusqlite::Result<_>>()?;
            for row in &mut status {
                // A walk that is dated after now was dated by a wrong clock: that is told apart, and is no
                // freshness.
                let (id, told) = ([&*row.kind, &*row.id], row.complete_as_of.take());
                let Freshness { complete_as_of, clock_ahead_at } = freshness(connection, id, told, now)?;
                (row.complete_as_of, row.clock_ahead_at) = (complete_as_of, clock_ahead_at);
            }
            Ok(status)
        })
    }

    /// What the platform sent and this program did not know, the newest first.
    pub(crate) fn read_drift(&self) -> Result<Vec<DriftStatus>> {
        let sql = "SELECT object, field, what, value, drift.first_seen_at, drift.runs, runs.id AS run_id
                   FROM drift JOIN runs ON run_key = example_run_key
                   ORDER BY drift.first_seen_at DESC, object, field, what, value";
        self.run(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(DriftStatus {
                    object: row.get("object")?,
                    field: row.get("field")?,
                    what: row.get("what")?,
                    value: row.get("value")?,
                    first_seen_at: row.get("first_seen_at")?,
                    runs: row.get::<_, i64>("runs")?.cast_unsigned(),
                    run_id: row.get("run_id")?,
                })
            })?;
            rows.collect()
        })
    }
}

/// How fresh a connection is, whatever the clock showed when it was walked.
pub(super) struct Freshness {
    complete_as_of: Option<String>,
    clock_ahead_at: Option<String>,
}

impl Freshness {
    /// When the newest complete walk began that is not to come.
    pub(super) fn complete_as_of(&self) -> Option<UtcText> {
        self.complete_as_of.as_deref().and_then(UtcText::from_stored)
    }
}

/// What the order of walks tells of freshness, where that is not to come; else what the newest complete walk
/// tells that is not: the clock was ahead when the others ran.
pub(super) fn freshness(
    connection: &Connection,
    [kind, id]: [&str; 2],
    complete_as_of: Option<String>,
    now: &UtcText,
) -> rusqlite::Result<Freshness> {
    if complete_as_of.as_deref().is_none_or(|then| then <= now.as_str()) {
        return Ok(Freshness { complete_as_of, clock_ahead_at: None });
    }
    let sql = "SELECT walks.started_at FROM connections JOIN walks USING (connection_key)
               WHERE connections.kind = ?1 AND id = ?2 AND complete = 1 AND walks.started_at <= ?3
               ORDER BY walk_key DESC LIMIT 1";
    let before =
        connection.prepare_cached(sql)?.query_row([kind, id, now.as_str()], |row| row.get(0)).optional()?;
    Ok(Freshness { complete_as_of: before, clock_ahead_at: complete_as_of })
}
