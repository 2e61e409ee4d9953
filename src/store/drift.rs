//! Notes of what the platform sends and this program does not know: how often, since when, and an example.

use rusqlite::{Connection, params};

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
