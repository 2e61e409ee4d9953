//! A run with all below it: how it is written, and how it is read back.
//!
//! In: a run's rows from `normalize`. Out: rows of `runs`, `jobs`, `tasks` and `errors`, with what is told from
//! them and stored beside them (durations, queue time, failure), and the same run again. Which runs are written
//! is decided in `records`.

use std::sync::LazyLock;

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::cells::{Cells, Statement, hash, insert_into, set};
use super::error_runs;
use crate::normalize::{Columns as _, Job, Run, RunError, Task, TaskError};
use crate::time::UtcText;

/// The fingerprint of no text: of a run whose text could not be read whole, so that it is read each time it comes.
pub(super) const NO_FINGERPRINT: [u8; 16] = [0; 16];

/// What is told from a run's rows and stored with them, beside what came.
const TOLD: [&str; 6] = ["extra", "fingerprint", "digest", "duration_ms", "queue_ms", "has_failure"];

static INSERT_RUN: LazyLock<String> = LazyLock::new(|| {
    let names = [&["run_key", "connection_key", "id", "first_seen_at", "walk_key"], &TOLD[..]].concat();
    let insert = insert_into("runs", &names, &[Run::COLUMNS, RunError::COLUMNS]);
    insert + " ON CONFLICT (connection_key, id) DO NOTHING"
});
static UPDATE_RUN: LazyLock<String> = LazyLock::new(|| {
    format!("UPDATE runs SET {} WHERE run_key = ?", set(&TOLD, &[Run::COLUMNS, RunError::COLUMNS]))
});
static INSERT_JOB: LazyLock<String> =
    LazyLock::new(|| insert_into("jobs", &["run_key", "job_index", "extra", "duration_ms"], &[Job::COLUMNS]));
static INSERT_TASK: LazyLock<String> = LazyLock::new(|| {
    insert_into("tasks", &["run_key", "job_index", "task_index", "extra", "duration_ms"], &[Task::COLUMNS])
});
static INSERT_ERROR: LazyLock<String> = LazyLock::new(|| {
    insert_into("errors", &["run_key", "job_index", "task_index", "extra"], &[TaskError::COLUMNS])
});

/// Whose a run is, and when it was met first.
#[derive(Debug, Clone, Copy)]
pub(super) struct First<'a> {
    /// The key that it is given, where that must not be the one after the newest.
    pub(super) run_key: Option<i64>,
    pub(super) connection_key: i64,
    /// The walk that meets it, if one does.
    pub(super) walk_key: Option<i64>,
    pub(super) now: &'a UtcText,
}

/// Writes a run with all below it, if none of its id is archived; gives its key then.
pub(super) fn insert(
    connection: &Connection,
    run: &Run<'_>,
    fingerprint: &[u8; 16],
    first: First<'_>,
) -> rusqlite::Result<Option<i64>> {
    let mut insert = Statement::new(connection, &INSERT_RUN)?;
    insert.give(first.run_key)?;
    insert.give(first.connection_key)?;
    insert.give(&run.id)?;
    insert.give(first.now.as_str())?;
    insert.give(first.walk_key)?;
    give_run(&mut insert, run, fingerprint)?;
    if insert.execute()? == 0 {
        return Ok(None);
    }

    let run_key = connection.last_insert_rowid();
    insert_below(connection, first.connection_key, run_key, run)?;
    Ok(Some(run_key))
}

/// Writes a run in place of what is archived of it.
pub(super) fn replace(
    connection: &Connection,
    (connection_key, run_key): (i64, i64),
    run: &Run<'_>,
    fingerprint: &[u8; 16],
) -> rusqlite::Result<()> {
    error_runs::delete(connection, run_key)?;
    for table in ["errors", "tasks", "jobs"] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE run_key = ?1"))?.execute([run_key])?;
    }
    let mut update = Statement::new(connection, &UPDATE_RUN)?;
    give_run(&mut update, run, fingerprint)?;
    update.give(run_key)?;
    update.execute()?;
    insert_below(connection, connection_key, run_key, run)
}

/// Gives the values of [`TOLD`] and of the run's columns.
fn give_run(statement: &mut Statement<'_>, run: &Run<'_>, fingerprint: &[u8; 16]) -> rusqlite::Result<()> {
    statement.give(&run.extra)?;
    statement.give(fingerprint)?;
    statement.give(run.digest)?;
    statement.give(duration_ms(run.started_at, run.ended_at))?;
    statement.give(queue_ms(run))?;
    statement.give(has_failure(run))?;
    statement.give_columns(run)?;
    match &run.error {
        Some(error) => statement.give_columns(error),
        None => statement.give_columns(&RunError::default()),
    }
}

fn insert_below(
    connection: &Connection,
    connection_key: i64,
    run_key: i64,
    run: &Run<'_>,
) -> rusqlite::Result<()> {
    for (job_index, job) in (0_i64..).zip(&run.jobs) {
        let mut insert = Statement::new(connection, &INSERT_JOB)?;
        insert.give(run_key)?;
        insert.give(job_index)?;
        insert.give(&job.extra)?;
        insert.give(duration_ms(job.started_at, job.ended_at))?;
        insert.give_columns(job)?;
        insert.execute()?;
        for (task_index, task) in (0_i64..).zip(&job.tasks) {
            insert_task(connection, (run_key, job_index, task_index), task)?;
        }
    }
    error_runs::insert(connection, connection_key, run_key, run)
}

fn insert_task(
    connection: &Connection,
    (run_key, job_index, task_index): (i64, i64, i64),
    task: &Task<'_>,
) -> rusqlite::Result<()> {
    let mut insert = Statement::new(connection, &INSERT_TASK)?;
    insert.give(run_key)?;
    insert.give(job_index)?;
    insert.give(task_index)?;
    insert.give(&task.extra)?;
    insert.give(duration_ms(task.started_at, task.ended_at))?;
    insert.give_columns(task)?;
    insert.execute()?;
    let Some(error) = &task.error else { return Ok(()) };

    let mut insert = Statement::new(connection, &INSERT_ERROR)?;
    insert.give(run_key)?;
    insert.give(job_index)?;
    insert.give(task_index)?;
    insert.give(&error.extra)?;
    insert.give_columns(&**error)?;
    insert.execute()?;
    Ok(())
}

/// From start to end in milliseconds, where both are real and in this order.
fn duration_ms(started_at: Option<UtcText>, ended_at: Option<UtcText>) -> Option<i64> {
    started_at?.milliseconds_until(&ended_at?)
}

/// From a run's start to the start of its first job, where that is not before it.
fn queue_ms(run: &Run<'_>) -> Option<i64> {
    duration_ms(run.started_at, run.jobs.iter().filter_map(|job| job.started_at).min())
}

pub(super) fn is_completed(run: &Run<'_>) -> bool {
    run.state.as_deref() == Some("Completed")
}

/// Whether a job or task of a run failed or carries an error, whatever the run itself says.
fn has_failure(run: &Run<'_>) -> bool {
    let failed = |result: Option<&str>| matches!(result, Some("Error" | "TimedOut"));
    let tasks =
        |job: &Job<'_>| job.tasks.iter().any(|task| failed(task.result.as_deref()) || task.error.is_some());
    run.jobs.iter().any(|job| failed(job.result.as_deref()) || tasks(job))
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
    let runs = runs.query_map([first, last], |row| Ok((row.get("run_key")?, read_run(row)?)))?;
    let mut runs: Vec<(i64, Run<'static>)> = runs.collect::<rusqlite::Result<_>>()?;

    // Jobs and tasks of all the runs are read at once: a statement for each run would cost more than the
    // rows.
    let sql = "SELECT * FROM jobs WHERE run_key BETWEEN ?1 AND ?2 ORDER BY run_key, job_index";
    let mut jobs = connection.prepare_cached(sql)?;
    let mut rows = jobs.query([first, last])?;
    while let Some(row) = rows.next()? {
        if let Some(run) = run_of(&mut runs, row)? {
            run.jobs.push(Job { extra: row.get("extra")?, ..Job::read(&mut Cells(row))? });
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
        let error = read_error(row)?;
        job.tasks.push(Task { extra: row.get("extra")?, error, ..Task::read(&mut Cells(row))? });
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

fn read_run(row: &Row<'_>) -> rusqlite::Result<Run<'static>> {
    let error = RunError::read(&mut Cells(row))?;
    let digest = match row.get_ref("digest")? {
        ValueRef::Null => None,
        value => Some(hash(value)),
    };
    Ok(Run {
        id: row.get::<_, String>("id")?.into(),
        error: Some(error).filter(|error| *error != RunError::default()),
        extra: row.get("extra")?,
        digest,
        ..Run::read(&mut Cells(row))?
    })
}

fn read_error(row: &Row<'_>) -> rusqlite::Result<Option<Box<TaskError<'static>>>> {
    if row.get::<_, Option<i64>>("error_task_index")?.is_none() {
        return Ok(None);
    }
    let error = TaskError { extra: row.get("error_extra")?, ..TaskError::read(&mut Cells(row))? };
    Ok(Some(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::normalize::Column;

    #[test]
    fn the_table_of_columns_is_what_the_migrations_made() {
        let folder = tempfile::tempdir().unwrap();
        let archive = crate::store::Archive::open(&folder.path().join("a.db"), 1).unwrap();
        let run = [Run::COLUMNS, RunError::COLUMNS].concat();
        // What is written beside the columns, by `records`, `walks` and this file.
        let beside_run = "run_key connection_key id first_seen_at walk_key unlisted_at not_found_at outcome \
                          extra fingerprint digest duration_ms queue_ms has_failure";
        let beside_job = "run_key job_index extra duration_ms";
        let beside_task = "run_key job_index task_index extra duration_ms";
        let tables: [(&str, &[Column], &str); 4] = [
            ("runs", &run, beside_run),
            ("jobs", Job::COLUMNS, beside_job),
            ("tasks", Task::COLUMNS, beside_task),
            ("errors", TaskError::COLUMNS, "run_key job_index task_index extra"),
        ];
        for (table, columns, beside) in tables {
            let mut statement =
                archive.connection.prepare("SELECT name FROM pragma_table_xinfo(?1)").unwrap();
            let made: BTreeSet<String> =
                statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            let known = columns.iter().map(|column| column.name).chain(beside.split_whitespace());
            assert_eq!(made, known.map(str::to_owned).collect::<BTreeSet<String>>(), "{table}");
        }
    }
}
