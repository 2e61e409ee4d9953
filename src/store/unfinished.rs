//! Runs that are not terminal: since when each stands still, when the platform last answered about it, and
//! which are due to be asked for again.
//!
//! In: what was stored of a run, or that the platform answered about it; and the clock. Out: the rows of
//! `unfinished_runs`, written in the transaction of the answer, and the runs that are due. Whether these are
//! asked for by their ids or walked down to is decided in `sync`.

use std::time::Duration;

use rusqlite::{Connection, named_params, params};

use super::cells::time;
use super::error::Result;
use super::reader::Reader;
use crate::time::UtcText;

/// A run that moved within this is asked for at each sync: most complete within hours.
const FIRST_DAY: Duration = Duration::from_secs(24 * 3600);
/// From then on it is asked for once a day. An hour less than that, because a sync that cron starts at the
/// same minute of each day asks a few seconds earlier or later than the day before.
const DAILY: Duration = Duration::from_secs(23 * 3600);
/// A run that has not moved for so long hangs for ever, as far as can be told: only full walks ask for it.
const FIRST_MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// A run that is due to be asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueRun {
    pub run_key: i64,
    pub id: String,
    /// Its start, where it has a real one: tells where a listing holds it.
    pub started_at: Option<UtcText>,
}

/// How the platform answered about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It was asked for by its id.
    ById,
    /// A page of a listing held it, or a saved file did.
    InPassing,
}

/// Notes that a run was stored, or that it moved.
pub(super) fn note_moved(
    connection: &Connection,
    run_key: i64,
    is_terminal: bool,
    asked: Asked,
    now: &UtcText,
) -> rusqlite::Result<()> {
    if is_terminal {
        let sql = "DELETE FROM unfinished_runs WHERE run_key = ?1";
        return connection.prepare_cached(sql)?.execute([run_key]).map(drop);
    }
    let sql = "INSERT INTO unfinished_runs (run_key, changed_at, answered_at, asked_at)
               VALUES (?1, ?2, ?2, iif(?3, ?2, NULL))
               ON CONFLICT (run_key) DO UPDATE
               SET changed_at = ?2, answered_at = ?2, asked_at = coalesce(excluded.asked_at, asked_at)";
    connection.prepare_cached(sql)?.execute(params![run_key, now.as_str(), asked == Asked::ById]).map(drop)
}

/// Notes that the platform said of a run that is not terminal what it had said before, or that there is none.
pub(super) fn note_answer(
    connection: &Connection,
    run_key: i64,
    asked: Asked,
    now: &UtcText,
) -> rusqlite::Result<()> {
    let sql =
        "UPDATE unfinished_runs SET answered_at = ?2, asked_at = iif(?3, ?2, asked_at) WHERE run_key = ?1";
    connection.prepare_cached(sql)?.execute(params![run_key, now.as_str(), asked == Asked::ById]).map(drop)
}

impl Reader {
    /// The runs of a connection that are due to be asked for, those first that the platform was silent about
    /// for longest; at most so many.
    pub(crate) fn read_due(&self, connection_key: i64, now: &UtcText, most: usize) -> Result<Vec<DueRun>> {
        // A clock near the year 1 has nothing before it: then everything is due.
        let before = |time: Duration| now.before(time).map_or(String::new(), |then| then.as_str().to_owned());
        self.run(|connection| {
            let mut statement = connection.prepare_cached(include_str!("read_due.sql"))?;
            let parameters = named_params! {
                ":connection_key": connection_key,
                ":now": now.as_str(),
                ":day_ago": before(FIRST_DAY),
                ":daily": before(DAILY),
                ":month_ago": before(FIRST_MONTH),
                ":most": i64::try_from(most).unwrap_or(i64::MAX),
            };
            let rows = statement.query_map(parameters, |row| {
                let started_at = time(row, "started_at")?;
                Ok(DueRun { run_key: row.get("run_key")?, id: row.get("id")?, started_at })
            })?;
            rows.collect()
        })
    }

    /// How many archived runs of a connection started then or later.
    pub(crate) fn count_since(&self, connection_key: i64, since: &UtcText) -> Result<u64> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached(include_str!("count_since.sql"))?;
            let parameters = named_params! { ":connection_key": connection_key, ":since": since.as_str() };
            statement.query_row(parameters, |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        })
    }
}
