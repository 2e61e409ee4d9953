//! Errors by run: which kinds of errors the tasks of a run carry, so that a count of errors reads no task.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::normalize::Run;

/// The tasks of a run that carry an error, by what `error_kinds` tells errors apart by.
type ErrorKinds<'a> = BTreeMap<(Option<&'a str>, Option<&'a str>, Option<bool>), i64>;

fn error_kinds<'a>(run: &'a Run<'_>) -> ErrorKinds<'a> {
    let mut kinds = ErrorKinds::new();
    for error in run.jobs.iter().flat_map(|job| &job.tasks).filter_map(|task| task.error.as_deref()) {
        let kind = (error.error_code.as_deref(), error.description_key.as_deref(), error.can_user_fix);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// Writes the errors of a run that has a start: without one it belongs to no period.
pub(super) fn insert(
    connection: &Connection,
    connection_key: i64,
    run_key: i64,
    run: &Run<'_>,
) -> rusqlite::Result<()> {
    let Some(started_at) = &run.started_at else { return Ok(()) };
    let find = "SELECT error_kind_key FROM error_kinds
                WHERE error_code IS ?1 AND description_key IS ?2 AND can_user_fix IS ?3";
    for ((error_code, description_key, can_user_fix), tasks) in error_kinds(run) {
        let kind = params![error_code, description_key, can_user_fix];
        // A kind of error is made once and met in thousands of runs, so it is looked for first.
        let found: Option<i64> =
            connection.prepare_cached(find)?.query_row(kind, |row| row.get(0)).optional()?;
        let error_kind_key = match found {
            Some(key) => key,
            None => {
                let sql =
                    "INSERT INTO error_kinds (error_code, description_key, can_user_fix) VALUES (?1, ?2, ?3)";
                connection.prepare_cached(sql)?.execute(kind)?;
                connection.last_insert_rowid()
            }
        };
        let sql = "INSERT INTO error_runs (error_kind_key, connection_key, started_at, run_key, tasks)
                   VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET tasks = excluded.tasks";
        connection.prepare_cached(sql)?.execute(params![
            error_kind_key,
            connection_key,
            started_at.as_str(),
            run_key,
            tasks
        ])?;
    }
    Ok(())
}

/// Takes back what [`insert`] wrote of the run, and whatever else stands there of it: a row that somebody
/// altered, or whose error he removed, would be in the way of the run's next version.
pub(super) fn delete(connection: &Connection, run_key: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM error_runs WHERE run_key = ?1")?.execute([run_key]).map(drop)
}
