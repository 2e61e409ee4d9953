//! What may go: old revisions, rejects and walks, and, only where asked, old runs with all below them.
//!
//! In: a time. Out: a [`Plan`] of what is older, and its removal in transactions of bounded size, each of
//! which leaves a whole archive. A run that goes leaves its id: it counts as archived, so that it neither
//! comes back nor makes a gap. What walks and checkpoints stand on never goes.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::Result;
use super::error_runs;
use super::open::Archive;
use super::reader::Reader;
use super::runs;
use crate::normalize;
use crate::time::UtcText;

/// Rows of one kind that go in one transaction: a reader waits for none of them longer than a moment, and the
/// log stays small.
const ROWS_AT_A_TIME: usize = 1_000;
/// Runs whose JSON is measured to tell about how much goes with all of them.
const MEASURED: usize = 200;
/// The newest runs that are searched for another example of what a pruned run was the example of.
const SEARCHED: i64 = 10_000;
/// About what a row of `walks` and its places in two indexes take.
const BYTES_OF_A_WALK: u64 = 200;

/// How much of one kind goes.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Share {
    /// Rows; runs with all below them count once.
    pub rows: u64,
    /// Bytes of their content, about.
    pub bytes: u64,
    /// The oldest of their times.
    pub oldest: Option<String>,
}

/// What is older than a time and may go.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What is older than this goes.
    pub before: UtcText,
    /// What changes replaced.
    pub revisions: Share,
    /// Records set aside that were not received since.
    pub rejects: Share,
    /// Walks that nothing stands on.
    pub walks: Share,
    /// Terminal runs that began before; none unless they were asked for.
    pub runs: Share,
    revision_rows: Vec<i64>,
    reject_keys: Vec<i64>,
    walk_keys: Vec<i64>,
    run_keys: Vec<i64>,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        [&self.revisions, &self.rejects, &self.walks, &self.runs].iter().all(|share| share.rows == 0)
    }
}

impl Reader {
    /// What is older than this and may go; runs only where `with_runs` says so.
    pub(crate) fn plan_prune(&self, before: &UtcText, with_runs: bool) -> Result<Plan> {
        self.sqlite(plan(&self.connection, before, with_runs))
    }

    /// The key that a run had which was pruned.
    pub(crate) fn read_pruned(&self, connection_key: i64, id: &str) -> Result<Option<i64>> {
        self.sqlite(pruned(&self.connection, connection_key, id))
    }
}

impl Archive {
    /// What is older than this and may go; runs only where `with_runs` says so.
    pub(crate) fn plan_prune(&self, before: &UtcText, with_runs: bool) -> Result<Plan> {
        self.sqlite(plan(&self.connection, before, with_runs))
    }

    /// Takes out what the plan says, in transactions of bounded size. One that is interrupted has taken out
    /// part of it, and the next one goes on.
    pub(crate) fn prune(&mut self, plan: &Plan, now: &UtcText) -> Result<()> {
        // The prune is on record before its first row goes, so that a prune which is killed has said what it
        // was about.
        let prune_key = self.write(|archive| {
            let sql = "INSERT INTO prunes (pruned_at, before, newest_run_key)
                       SELECT ?1, ?2, max(coalesce((SELECT max(run_key) FROM runs), 0),
                                          coalesce((SELECT max(newest_run_key) FROM prunes), 0))";
            let values = [now.as_str(), plan.before.as_str()];
            archive.sqlite(archive.connection.execute(sql, values))?;
            let prune_key = archive.connection.last_insert_rowid();
            let pruned: HashSet<i64> = plan.run_keys.iter().copied().collect();
            archive.sqlite(find_other_examples(&archive.connection, &pruned))?;
            Ok(prune_key)
        })?;
        let revision = |connection: &Connection, row: i64| {
            connection.prepare_cached("DELETE FROM revisions WHERE rowid = ?1")?.execute([row])
        };
        self.prune_rows(&plan.revision_rows, (prune_key, "revisions"), revision)?;
        let reject = |connection: &Connection, key: i64| {
            connection.prepare_cached("DELETE FROM rejects WHERE reject_key = ?1")?.execute([key])
        };
        self.prune_rows(&plan.reject_keys, (prune_key, "rejects"), reject)?;
        let walk = |connection: &Connection, key: i64| {
            connection.prepare_cached("DELETE FROM walks WHERE walk_key = ?1")?.execute([key])
        };
        self.prune_rows(&plan.walk_keys, (prune_key, "walks"), walk)?;
        self.prune_rows(&plan.run_keys, (prune_key, "runs"), |connection, run_key| {
            prune_run(connection, run_key, prune_key)
        })
    }

    /// Takes rows out and counts them in the column of `prunes`, some in each transaction.
    fn prune_rows(
        &mut self,
        keys: &[i64],
        (prune_key, column): (i64, &str),
        delete: impl Fn(&Connection, i64) -> rusqlite::Result<usize>,
    ) -> Result<()> {
        for keys in keys.chunks(ROWS_AT_A_TIME) {
            self.write(|archive| {
                let write = || {
                    let mut gone = 0_i64;
                    for key in keys {
                        gone += i64::try_from(delete(&archive.connection, *key)?).unwrap_or(i64::MAX);
                    }
                    let sql = format!("UPDATE prunes SET {column} = {column} + ?2 WHERE prune_key = ?1");
                    archive.connection.prepare_cached(&sql)?.execute(params![prune_key, gone])
                };
                archive.sqlite(write()).map(drop)
            })?;
        }
        Ok(())
    }

    /// The newest sync, import or repair, and when it ended: another one was written if it is another.
    pub(crate) fn read_newest_sync(&self) -> Result<Option<(i64, Option<String>)>> {
        let sql = "SELECT sync_key, ended_at FROM syncs ORDER BY sync_key DESC LIMIT 1";
        self.sqlite(self.connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional())
    }

    /// Writes the file anew without what has gone, through the log. Gives back nothing: the file is small once
    /// the log is put into it, which [`Archive::close`] does.
    pub(crate) fn compact(&mut self) -> Result<()> {
        self.sqlite(self.connection.execute_batch("VACUUM"))
    }

    /// Bytes of the file's pages that hold something.
    pub(crate) fn read_used_bytes(&self) -> Result<u64> {
        let sql = "SELECT (page_count - freelist_count) * page_size
                   FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let used = self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        self.sqlite(used).map(i64::cast_unsigned)
    }
}

fn plan(connection: &Connection, before: &UtcText, with_runs: bool) -> rusqlite::Result<Plan> {
    // Those that are left of a run are the newest, numbered without a hole, whatever the clock once showed.
    let revisions = "SELECT rowid, octet_length(content), replaced_at FROM revisions
                     WHERE replaced_at < ?1
                       AND NOT EXISTS (SELECT 1 FROM revisions AS earlier
                                       WHERE earlier.run_key = revisions.run_key
                                         AND earlier.number < revisions.number AND earlier.replaced_at >= ?1)";
    let rejects = "SELECT reject_key, octet_length(raw), coalesce(last_seen_at, rejected_at) AS seen_at
                   FROM rejects WHERE seen_at < ?1";
    let (revisions, revision_rows) = share(connection, revisions, before)?;
    let (rejects, reject_keys) = share(connection, rejects, before)?;
    let (walks, walk_keys) = share(connection, include_str!("old_walks.sql"), before)?;
    let (mut runs, run_keys) = match with_runs {
        true => share(connection, include_str!("old_runs.sql"), before)?,
        false => (Share::default(), Vec::new()),
    };
    runs.bytes = measure(connection, &run_keys)?;
    let walks = Share { bytes: walks.rows * BYTES_OF_A_WALK, ..walks };
    Ok(Plan {
        before: *before,
        revisions,
        rejects,
        walks,
        runs,
        revision_rows,
        reject_keys,
        walk_keys,
        run_keys,
    })
}

/// Rows of a key, a length and a time, added up.
fn share(connection: &Connection, sql: &str, before: &UtcText) -> rusqlite::Result<(Share, Vec<i64>)> {
    let mut share = Share::default();
    let mut keys = Vec::new();
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([before.as_str()])?;
    while let Some(row) = rows.next()? {
        keys.push(row.get(0)?);
        share.rows += 1;
        share.bytes += row.get::<_, i64>(1)?.cast_unsigned();
        let at: String = row.get(2)?;
        if share.oldest.as_ref().is_none_or(|oldest| at < *oldest) {
            share.oldest = Some(at);
        }
    }
    Ok((share, keys))
}

/// About how long the JSON of these runs is: as some of them are.
fn measure(connection: &Connection, run_keys: &[i64]) -> rusqlite::Result<u64> {
    let every = run_keys.len().div_ceil(MEASURED).max(1);
    let (mut bytes, mut measured) = (0, 0);
    for run_key in run_keys.iter().step_by(every) {
        if let Some(run) = runs::run(connection, *run_key)? {
            bytes += normalize::rebuild(&run).len() as u64;
            measured += 1;
        }
    }
    Ok(bytes.checked_div(measured).unwrap_or_default() * run_keys.len() as u64)
}

/// The key of the next run where that is not the one after the newest: a key that a pruned run had is given to no
/// other, because walks count runs by it.
pub(super) fn key_above_pruned(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT newest_run_key + 1 FROM prunes
               WHERE prune_key = (SELECT max(prune_key) FROM prunes)
                 AND newest_run_key >= coalesce((SELECT max(run_key) FROM runs), 0)";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()
}

/// Whether any run of a connection was pruned.
pub(super) fn has_pruned(connection: &Connection, connection_key: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pruned_runs WHERE connection_key = ?1)";
    connection.prepare_cached(sql)?.query_row([connection_key], |row| row.get(0))
}

/// The key that a run had which was pruned.
pub(super) fn pruned(
    connection: &Connection,
    connection_key: i64,
    id: &str,
) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT run_key FROM pruned_runs WHERE connection_key = ?1 AND id = ?2";
    connection.prepare_cached(sql)?.query_row(params![connection_key, id], |row| row.get(0)).optional()
}

/// Takes one run out with all below it. What an interrupted walk noted of having met it stays: the walk still
/// counts it by its key.
fn prune_run(connection: &Connection, run_key: i64, prune_key: i64) -> rusqlite::Result<usize> {
    let leave = "INSERT INTO pruned_runs (connection_key, id, started_at, outcome, run_key, prune_key)
                 SELECT connection_key, id, started_at, outcome, run_key, ?2 FROM runs WHERE run_key = ?1";
    connection.prepare_cached(leave)?.execute([run_key, prune_key])?;
    let count = "UPDATE checkpoints
                 SET listed = listed - (SELECT unlisted_at IS NULL FROM runs WHERE run_key = ?1),
                     pruned = pruned + 1, prune_key = ?2
                 WHERE connection_key = (SELECT connection_key FROM runs WHERE run_key = ?1)";
    connection.prepare_cached(count)?.execute([run_key, prune_key])?;
    error_runs::delete(connection, run_key)?;
    for table in ["errors", "tasks", "jobs", "revisions", "unfinished_runs", "runs"] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE run_key = ?1"))?.execute([run_key])?;
    }
    Ok(1)
}

/// A note of drift whose example goes is given another one that stays; where none is found among the newest
/// runs, the platform has long ceased to send that, and the note goes too.
fn find_other_examples(connection: &Connection, pruned: &HashSet<i64>) -> rusqlite::Result<()> {
    let sql = "SELECT drift_key, example_run_key, object, field, what, value FROM drift";
    let mut statement = connection.prepare(sql)?;
    let mut orphans: Vec<Orphan> = statement
        .query_map([], |row| {
            Ok(Orphan {
                drift_key: row.get(0)?,
                example: row.get(1)?,
                object: row.get(2)?,
                field: row.get(3)?,
                what: row.get(4)?,
                value: row.get(5)?,
            })
        })?
        .filter(|note| note.as_ref().is_ok_and(|note| pruned.contains(&note.example)) || note.is_err())
        .collect::<rusqlite::Result<_>>()?;
    // Searched from the newest run down: what the platform still sends stands there.
    let newest: i64 =
        connection.query_row("SELECT coalesce(max(run_key), 0) FROM runs", [], |row| row.get(0))?;
    let mut last = newest;
    while last > (newest - SEARCHED).max(0) && !orphans.is_empty() {
        let first = last - i64::try_from(ROWS_AT_A_TIME).unwrap_or(i64::MAX) + 1;
        for (run_key, run) in runs::runs_between(connection, first, last)? {
            if pruned.contains(&run_key) {
                continue;
            }
            let rebuilt = normalize::rebuild(&run);
            let Ok(run) = normalize::normalize(&rebuilt) else { continue };
            for found in orphans.extract_if(.., |orphan| run.drift.iter().any(|note| orphan.is(note))) {
                let sql = "UPDATE drift SET example_run_key = ?2 WHERE drift_key = ?1";
                connection.execute(sql, [found.drift_key, run_key])?;
            }
        }
        last = first - 1;
    }
    for orphan in orphans {
        connection.execute("DELETE FROM drift WHERE drift_key = ?1", [orphan.drift_key])?;
    }
    Ok(())
}

/// A note of drift without an example.
struct Orphan {
    drift_key: i64,
    example: i64,
    object: String,
    field: String,
    what: String,
    value: String,
}

impl Orphan {
    fn is(&self, note: &normalize::Drift) -> bool {
        let is_field = self.object == note.object && self.field == note.field;
        // That a link moves is seen between two answers only; a run with the field is an example of it.
        let is_volatile = self.what == normalize::VOLATILE && note.what == "field";
        is_field && (is_volatile || self.what == note.what && self.value == note.value)
    }
}
