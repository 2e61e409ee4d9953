//! Notes of what the platform sends and this program does not know: how often, since when, and an example.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Archive, Result};
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
    for note in notes.iter().filter(|note| !before.contains(note)) {
        let count =
            "UPDATE drift SET runs = runs + 1 WHERE object = ?1 AND field = ?2 AND what = ?3 AND value = ?4";
        let kind = params![note.object, note.field, note.what, note.value];
        if connection.prepare_cached(count)?.execute(kind)? == 0 {
            let insert =
                "INSERT INTO drift (object, field, what, value, first_seen_at, runs, example_run_key)
                          SELECT ?1, ?2, ?3, ?4, ?5, 1, ?6 WHERE (SELECT count(*) FROM drift) < ?7";
            connection.prepare_cached(insert)?.execute(params![
                note.object,
                note.field,
                note.what,
                note.value,
                now.as_str(),
                run_key,
                MAX_NOTES
            ])?;
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
    for field in fields {
        let carried =
            "SELECT runs FROM drift WHERE object = ?1 AND field = ?2 AND what = 'field' AND value = ''";
        let runs: Option<i64> = connection
            .prepare_cached(carried)?
            .query_row(params![field.object, field.field], |row| row.get(0))
            .optional()?;
        let runs = runs.unwrap_or(1);
        let kind = params![field.object, field.field, field.what, field.value, runs];
        let known = "UPDATE drift SET runs = max(runs, ?5)
                     WHERE object = ?1 AND field = ?2 AND what = ?3 AND value = ?4";
        if connection.prepare_cached(known)?.execute(kind)? == 0 {
            let insert =
                "INSERT INTO drift (object, field, what, value, first_seen_at, runs, example_run_key)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE (SELECT count(*) FROM drift) < ?8";
            connection.prepare_cached(insert)?.execute(params![
                field.object,
                field.field,
                field.what,
                field.value,
                now.as_str(),
                runs,
                run_key,
                MAX_NOTES
            ])?;
        }
    }
    Ok(())
}

impl Archive {
    /// Notes that a connection's own answer names another id than the one that it is archived by. Its newest run
    /// stands for it; where none is archived yet, a later sync notes it.
    pub fn note_other_id(&mut self, connection_key: i64, id: &str, now: &UtcText) -> Result<()> {
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
