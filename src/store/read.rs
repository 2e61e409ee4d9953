//! What sync, status and tests need to read: typed rows, no SQL type in sight.

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use serde::Serialize;

use super::{Archive, Error, Reader, Result};
use crate::api::ConnectionId;
use crate::normalize::{Execution, Job, Run, RunError, Task, TaskError, Text};
use crate::time::UtcText;

/// A run that is archived, as far as a page of the listing needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its key.
    pub run_key: i64,
    /// Of the text last received.
    pub fingerprint: [u8; 16],
    /// Whether a complete walk missed it, or its id answered 404.
    pub is_unlisted: bool,
    /// The walk that stored it first.
    pub walk_key: Option<i64>,
    /// Whether it is not terminal.
    pub is_unfinished: bool,
}

/// What is archived of a run that something names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is archived, or was until it was pruned.
    Archived,
    /// It is archived, and so is one that is listed and began after it.
    Superseded,
    /// It is archived, and a complete walk missed it or its id answered 404.
    Gone,
    /// Nothing.
    Unknown,
}

/// What is known of a connection before it is synced.
#[derive(Debug, Clone, Default)]
pub struct ConnectionState {
    /// Its key.
    pub connection_key: i64,
    /// What reports call it.
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

/// One line of `archive status`.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectionStatus {
    /// `export`, `storage` or `manifest`.
    pub kind: String,
    /// The platform's id.
    pub id: String,
    /// What reports call it.
    pub name: String,
    /// The name that people gave it.
    pub display_name: Option<String>,
    /// The iModel's id, where known.
    pub imodel_id: Option<String>,
    /// The iModel's name, where known.
    pub imodel: Option<String>,
    /// The iTwin's id, where known.
    pub itwin_id: Option<String>,
    /// The iTwin's name, where known.
    pub itwin: Option<String>,
    /// Archived runs.
    pub runs: u64,
    /// Archived runs that the platform no longer lists.
    pub unlisted_runs: u64,
    /// Archived runs that are not terminal.
    pub unfinished: u64,
    /// When the platform last answered about the one of them that it answered about longest ago.
    pub oldest_answer_at: Option<String>,
    /// Records set aside.
    pub rejects: u64,
    /// Gaps recorded.
    pub gaps: u64,
    /// The newest start archived.
    pub newest_started_at: Option<String>,
    /// When the last complete walk began: everything listed then is archived.
    pub complete_as_of: Option<String>,
    /// What the last complete walk is dated where that is to come: the clock was wrong then.
    pub clock_ahead_at: Option<String>,
    /// The last walk that was not complete, if it was the last one.
    pub last_problem: Option<String>,
    /// When the connection itself was found missing.
    pub unlisted_at: Option<String>,
    /// Runs that were pruned.
    pub pruned_runs: u64,
    /// What began before this was taken by the last prune of its runs.
    pub pruned_before: Option<String>,
    /// When that was.
    pub pruned_at: Option<String>,
}

/// What the platform sent and this program did not know.
#[derive(Debug, Clone, Serialize)]
pub struct DriftStatus {
    /// `run`, `job`, `task` or `error`.
    pub object: String,
    /// The field's name.
    pub field: String,
    /// `field`, `value`, `type` or `volatile`.
    pub what: String,
    /// The new value, or its type.
    pub value: String,
    /// When it was first archived.
    pub first_seen_at: String,
    /// Runs that carried it.
    pub runs: u64,
    /// An example's id.
    #[serde(rename = "example_run_id")]
    pub run_id: String,
}

/// The last sync or import.
#[derive(Debug, Clone, Serialize)]
pub struct LastSync {
    /// `sync` or `import`.
    pub command: String,
    /// When it began.
    pub started_at: String,
    /// When it ended; absent while it runs, or where it was killed.
    pub ended_at: Option<String>,
    /// Its outcome.
    pub outcome: String,
    /// The worst thing that went wrong.
    pub problem: Option<String>,
}

pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<UtcText>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.and_then(UtcText::from_stored))
}

/// A hash, or one that nothing has where its bytes are not as many as a hash has.
pub(super) fn hash(value: ValueRef<'_>) -> [u8; 16] {
    match value {
        ValueRef::Blob(bytes) => bytes.try_into().unwrap_or_default(),
        _ => [0; 16],
    }
}

impl Reader {
    /// The archived run of this id.
    pub fn read_known(&self, connection_key: i64, id: &str) -> Result<Option<Known>> {
        self.sqlite(known(&self.connection, connection_key, id))
    }

    /// What is known of a connection; `None` for one never met.
    pub fn read_state(&self, id: &ConnectionId) -> Result<Option<ConnectionState>> {
        let key = self.sqlite(super::fleet::find_connection(&self.connection, id))?;
        key.map(|key| self.sqlite(state(&self.connection, key))).transpose()
    }

    /// When a connection was last proved whole: everything listed then is archived; `None` for never.
    pub fn read_complete_as_of(&self, id: &ConnectionId) -> Result<Option<UtcText>> {
        let sql = "SELECT complete_as_of FROM connection_coverage JOIN connections USING (connection_key)
                   WHERE kind = ?1 AND id = ?2";
        let read = || {
            let id = [id.kind().as_str(), id.as_str()];
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_row(id, |row| time(row, "complete_as_of")).optional()
        };
        self.sqlite(read()).map(Option::flatten)
    }

    /// What is archived of the run of this id.
    pub fn read_standing(&self, connection_key: i64, id: &str) -> Result<Standing> {
        self.sqlite(standing(&self.connection, connection_key, id))
    }

    /// Status of every connection, by name and id, as of now.
    pub fn read_status(&self, now: &UtcText) -> Result<Vec<ConnectionStatus>> {
        self.require_views()?;
        let read = || {
            let mut statement = self.connection.prepare(include_str!("read_status.sql"))?;
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
            for connection in &mut status {
                let (id, told) = ([&*connection.kind, &*connection.id], connection.complete_as_of.take());
                let Freshness { complete_as_of, clock_ahead_at } =
                    freshness(&self.connection, id, told, now)?;
                (connection.complete_as_of, connection.clock_ahead_at) = (complete_as_of, clock_ahead_at);
            }
            Ok(status)
        };
        self.sqlite(read())
    }

    /// What the platform sent and this program did not know, the newest first.
    pub fn read_drift(&self) -> Result<Vec<DriftStatus>> {
        let sql = "SELECT object, field, what, value, drift.first_seen_at, drift.runs, runs.id AS run_id
                   FROM drift JOIN runs ON run_key = example_run_key
                   ORDER BY drift.first_seen_at DESC, object, field, what, value";
        let read = || {
            let mut statement = self.connection.prepare(sql)?;
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
        };
        self.sqlite(read())
    }

    /// The sync or import that began last.
    pub fn read_last_sync(&self) -> Result<Option<LastSync>> {
        let sql = "SELECT command, started_at, ended_at, outcome, problem FROM syncs ORDER BY sync_key DESC LIMIT 1";
        let read = self.connection.query_row(sql, [], |row| {
            Ok(LastSync {
                command: row.get(0)?,
                started_at: row.get(1)?,
                ended_at: row.get(2)?,
                outcome: row.get(3)?,
                problem: row.get(4)?,
            })
        });
        self.sqlite(read.optional())
    }

    /// The requests of syncs that sent some at this time or later, and when the last was, the latest first.
    pub fn read_requests_since(&self, since: &UtcText) -> Result<Vec<(UtcText, u64)>> {
        let sql = "SELECT requested_at, requests FROM syncs WHERE requested_at >= ?1 ORDER BY sync_key DESC";
        let read = || {
            let mut statement = self.connection.prepare(sql)?;
            let rows = statement.query_map([since.as_str()], |row| {
                Ok((time(row, "requested_at")?, row.get::<_, i64>("requests")?.cast_unsigned()))
            })?;
            rows.filter_map(|row| row.map(|(at, requests)| at.map(|at| (at, requests))).transpose()).collect()
        };
        self.sqlite(read())
    }

    /// An archived run with all below it.
    pub fn read_run(&self, run_key: i64) -> Result<Run<'static>> {
        let found = self.sqlite(run(&self.connection, run_key))?;
        let what = "a run that was met before is not there";
        found.ok_or_else(|| Error::Inconsistent {
            path: self.path.clone(),
            what,
            table: "runs",
            key: run_key,
        })
    }
}

impl Archive {
    /// What is archived of the run of this id.
    pub fn read_standing(&self, connection_key: i64, id: &str) -> Result<Standing> {
        self.sqlite(standing(&self.connection, connection_key, id))
    }

    /// What is known of a connection.
    pub fn read_state(&self, connection_key: i64) -> Result<ConnectionState> {
        self.sqlite(state(&self.connection, connection_key))
    }

    /// Archived runs that are neither terminal nor listed and may still answer by id, at most so many.
    pub fn read_unlisted_unfinished(&self, connection_key: i64, most: u64) -> Result<Vec<(i64, String)>> {
        let sql = "SELECT run_key, id FROM runs
                   WHERE connection_key = ?1 AND state IS NOT 'Completed' AND not_found_at IS NULL
                     AND unlisted_at IS NOT NULL
                   ORDER BY run_key LIMIT ?2";
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement
                .query_map([connection_key, most.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        self.sqlite(read())
    }
}

fn standing(connection: &Connection, connection_key: i64, id: &str) -> rusqlite::Result<Standing> {
    let mut statement = connection.prepare_cached(include_str!("read_standing.sql"))?;
    let found = statement.query_row(params![connection_key, id], |row| row.get::<_, i64>(0)).optional()?;
    Ok(match found {
        Some(0) => Standing::Archived,
        Some(1) => Standing::Gone,
        Some(_) => Standing::Superseded,
        None => Standing::Unknown,
    })
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

pub(super) fn known(
    connection: &Connection,
    connection_key: i64,
    id: &str,
) -> rusqlite::Result<Option<Known>> {
    let sql = "SELECT run_key, fingerprint, unlisted_at IS NOT NULL OR not_found_at IS NOT NULL, walk_key,
                      state IS NOT 'Completed'
               FROM runs
               WHERE connection_key = ?1 AND id = ?2";
    connection
        .prepare_cached(sql)?
        .query_row(params![connection_key, id], |row| {
            Ok(Known {
                run_key: row.get(0)?,
                fingerprint: hash(row.get_ref(1)?),
                is_unlisted: row.get(2)?,
                walk_key: row.get(3)?,
                is_unfinished: row.get(4)?,
            })
        })
        .optional()
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

fn text(row: &Row<'_>, column: &str) -> rusqlite::Result<Text<'static>> {
    Ok(row.get::<_, Option<String>>(column)?.map(Cow::Owned))
}

fn execution(row: &Row<'_>) -> rusqlite::Result<Execution<'static>> {
    Ok(Execution {
        state: text(row, "state")?,
        result: text(row, "result")?,
        started_at: time(row, "started_at")?,
        ended_at: time(row, "ended_at")?,
    })
}

pub(super) fn run(connection: &Connection, run_key: i64) -> rusqlite::Result<Option<Run<'static>>> {
    let mut runs = runs_between(connection, run_key, run_key)?;
    Ok(runs.pop().map(|(_, run)| run))
}

/// The runs of these keys, both included, in their order, each with all below it.
pub(super) fn runs_between(
    connection: &Connection,
    first: i64,
    last: i64,
) -> rusqlite::Result<Vec<(i64, Run<'static>)>> {
    let sql = "SELECT * FROM runs WHERE run_key BETWEEN ?1 AND ?2 ORDER BY run_key";
    let mut runs = connection.prepare_cached(sql)?;
    let runs = runs.query_map([first, last], |row| {
        let run = Run {
            id: Cow::Owned(row.get("id")?),
            execution: execution(row)?,
            phase: text(row, "phase")?,
            error: run_error(row)?,
            extra: row.get("extra")?,
            jobs: Vec::new(),
            digest: match row.get_ref("digest")? {
                ValueRef::Null => None,
                value => Some(hash(value)),
            },
            drift: Vec::new(),
        };
        Ok((row.get("run_key")?, run))
    })?;
    let mut runs: Vec<(i64, Run<'static>)> = runs.collect::<rusqlite::Result<_>>()?;
    let sql = "SELECT * FROM jobs WHERE run_key BETWEEN ?1 AND ?2 ORDER BY run_key, job_index";
    let mut jobs = connection.prepare_cached(sql)?;
    let mut rows = jobs.query([first, last])?;
    while let Some(row) = rows.next()? {
        if let Some(run) = run_of(&mut runs, row)? {
            run.jobs.push(Job {
                id: text(row, "id")?,
                execution: execution(row)?,
                connector_type: text(row, "connector_type")?,
                extra: row.get("extra")?,
                tasks: Vec::new(),
            });
        }
    }
    let mut tasks = connection.prepare_cached(include_str!("read_tasks.sql"))?;
    let mut rows = tasks.query([first, last])?;
    while let Some(row) = rows.next()? {
        let Some(run) = run_of(&mut runs, row)? else { continue };
        let job_index: i64 = row.get("job_index")?;
        let Some(job) = usize::try_from(job_index).ok().and_then(|place| run.jobs.get_mut(place)) else {
            continue;
        };
        job.tasks.push(Task {
            id: text(row, "id")?,
            execution: execution(row)?,
            retry_attempts: row.get("retry_attempts")?,
            export_output_file_id: text(row, "export_output_file_id")?,
            storage_file_id: text(row, "storage_file_id")?,
            source_file_id: text(row, "source_file_id")?,
            extra: row.get("extra")?,
            error: error(row)?,
        });
    }
    Ok(runs)
}

/// The run that a row below it belongs to, if it is there.
fn run_of<'a>(
    runs: &'a mut [(i64, Run<'static>)],
    row: &Row<'_>,
) -> rusqlite::Result<Option<&'a mut Run<'static>>> {
    let run_key: i64 = row.get("run_key")?;
    let at = runs.binary_search_by_key(&run_key, |(key, _)| *key);
    Ok(at.ok().map(|at| &mut runs[at].1))
}

fn run_error(row: &Row<'_>) -> rusqlite::Result<Option<RunError<'static>>> {
    let error = RunError { error_key: text(row, "error_key")?, description: text(row, "error_description")? };
    Ok(Some(error).filter(|error| *error != RunError::default()))
}

fn error(row: &Row<'_>) -> rusqlite::Result<Option<Box<TaskError<'static>>>> {
    if row.get::<_, Option<i64>>("error_task_index")?.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(TaskError {
        error_code: text(row, "error_code")?,
        message: text(row, "message")?,
        details: text(row, "details")?,
        bridge_exit_code: row.get("bridge_exit_code")?,
        system: text(row, "system")?,
        phase: text(row, "phase")?,
        category: text(row, "category")?,
        description_key: text(row, "description_key")?,
        description: text(row, "description")?,
        kb_article_link: text(row, "kb_article_link")?,
        can_user_fix: row.get("can_user_fix")?,
        extra: row.get("error_extra")?,
    })))
}
