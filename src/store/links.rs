//! A run whose links alone moved: the rows that hold them are written, and no others.
//!
//! In: the run as it is archived and as it was received, equal but for `extra`. Out: the newest links in place of
//! the old ones. A thousand runs with a signed link each cost a thousand short updates, not a thousand trees.

use rusqlite::{Connection, params};

use crate::normalize::Run;

/// Writes `extra` where it differs, and the digest and fingerprint of the whole.
pub(super) fn replace(
    connection: &Connection,
    run_key: i64,
    (archived, received): (&Run<'_>, &Run<'_>),
    fingerprint: &[u8; 16],
) -> rusqlite::Result<()> {
    let sql = "UPDATE runs SET extra = ?2, fingerprint = ?3, digest = ?4 WHERE run_key = ?1";
    let values = params![run_key, received.extra, fingerprint, received.digest];
    connection.prepare_cached(sql)?.execute(values)?;
    // The two are equal but for `extra`, so jobs and tasks are matched by their places.
    for (job, (was, is)) in (0_i64..).zip(archived.jobs.iter().zip(&received.jobs)) {
        if was.extra != is.extra {
            let sql = "UPDATE jobs SET extra = ?3 WHERE run_key = ?1 AND job_index = ?2";
            connection.prepare_cached(sql)?.execute(params![run_key, job, is.extra])?;
        }
        for (task, (was, is)) in (0_i64..).zip(was.tasks.iter().zip(&is.tasks)) {
            if was.extra != is.extra {
                let sql =
                    "UPDATE tasks SET extra = ?4 WHERE run_key = ?1 AND job_index = ?2 AND task_index = ?3";
                connection.prepare_cached(sql)?.execute(params![run_key, job, task, is.extra])?;
            }
            let (was, is) = (was.error.as_ref(), is.error.as_ref());
            let (was, is) = (was.map(|error| &error.extra), is.map(|error| &error.extra));
            if was != is {
                let sql =
                    "UPDATE errors SET extra = ?4 WHERE run_key = ?1 AND job_index = ?2 AND task_index = ?3";
                connection.prepare_cached(sql)?.execute(params![
                    run_key,
                    job,
                    task,
                    is.and_then(Option::as_ref)
                ])?;
            }
        }
    }
    Ok(())
}
