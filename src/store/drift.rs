//! Notes of what the platform sends and this program does not know: how often, since when, and an example.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::Result;
use super::open::Archive;
use crate::normalize::Drift;
use crate::time::UtcText;

/// Notes kept at most: values that are all different are no news.
const MAX_NOTES: i64 = 1_000;

/// Counts a run for each of its notes, but not for those that it had `before`.
pub(super) fn note(
    connection: &Connection,
    run_key: i64,
    notes: &[Drift],
    before: &[Drift],
    now: &UtcText,
) -> rusqlite::Result<()> {
    let count =
        "UPDATE drift SET runs = runs + 1 WHERE object = ?1 AND field = ?2 AND what = ?3 AND value = ?4";
    for note in notes.iter().filter(|note| !before.contains(note)) {
        let kind = params![note.object, note.field, note.what, note.value];
        if connection.prepare_cached(count)?.execute(kind)? == 0 {
            insert(connection, run_key, note, 1, now)?;
        }
    }
    Ok(())
}

/// Notes fields whose URLs differ from answer to answer. How many runs carry such a field its own note counts:
/// each run would be counted anew with every answer here.
pub(super) fn note_volatile(
    connection: &Connection,
    run_key: i64,
    fields: &[Drift],
    now: &UtcText,
) -> rusqlite::Result<()> {
    let carried = "SELECT runs FROM drift WHERE object = ?1 AND field = ?2 AND what = 'field' AND value = ''";
    let known = "UPDATE drift SET runs = max(runs, ?5)
                 WHERE object = ?1 AND field = ?2 AND what = ?3 AND value = ?4";
    for field in fields {
        let runs: Option<i64> = connection
            .prepare_cached(carried)?
            .query_row(params![field.object, field.field], |row| row.get(0))
            .optional()?;
        let runs = runs.unwrap_or(1);
        let kind = params![field.object, field.field, field.what, field.value, runs];
        if connection.prepare_cached(known)?.execute(kind)? == 0 {
            insert(connection, run_key, field, runs, now)?;
        }
    }
    Ok(())
}

/// Writes a note that is not there yet, unless there are as many as are kept.
fn insert(
    connection: &Connection,
    run_key: i64,
    note: &Drift,
    runs: i64,
    now: &UtcText,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO drift (object, field, what, value, first_seen_at, runs, example_run_key)
               SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE (SELECT count(*) FROM drift) < ?8";
    let Drift { object, field, what, value } = note;
    let values = params![object, field, what, value, now.as_str(), runs, run_key, MAX_NOTES];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

impl Archive {
    /// Notes that a connection's own answer names another id than the one that it is archived by. Its newest run
    /// stands for it; where none is archived yet, a later sync notes it.
    pub(crate) fn note_other_id(&mut self, connection_key: i64, id: &str, now: &UtcText) -> Result<()> {
        let sql = "INSERT INTO drift (object, field, what, value, first_seen_at, runs, example_run_key)
                   SELECT 'connection', 'id', 'value', ?2, ?3, 1, max(run_key)
                   FROM runs
                   WHERE connection_key = ?1 AND (SELECT count(*) FROM drift) < ?4
                   HAVING max(run_key) IS NOT NULL
                   ON CONFLICT DO NOTHING";
        let values = params![connection_key, id, now.as_str(), MAX_NOTES];
        self.run(|connection| connection.prepare_cached(sql)?.execute(values)).map(drop)
    }
}
