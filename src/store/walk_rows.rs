//! Which walks leave a row: those that brought something, the first that is complete, and those that ended
//! otherwise than the one before.
//!
//! In: a walk that has ended. Out: its row, or a time on the connection's checkpoint in place of a row. A
//! thousand quiet connections asked every hour would leave nine million rows a year that all say the same.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::time::UtcText;

/// What a walk's row is to say.
pub(super) struct Ended<'a> {
    pub walk_key: i64,
    pub connection_key: i64,
    pub started_at: UtcText,
    pub ended_at: UtcText,
    /// `full` or `incremental`.
    pub kind: &'static str,
    pub pages: u64,
    pub is_complete: bool,
    /// Whether it went from the listing's start to its end.
    pub covers_listing: bool,
    pub reason: Option<&'a str>,
    pub checkpoint: Option<&'a str>,
    /// Whether it brought anything that the archive did not have, or was begun by an earlier sync.
    pub has_news: bool,
}

impl Ended<'_> {
    /// Writes the row that the walk leaves, if it leaves one.
    pub(super) fn record(&self, connection: &Connection) -> rusqlite::Result<()> {
        if self.is_complete && self.covers_listing {
            self.pass_open_walks(connection)?;
        }
        if self.is_complete {
            // A sync every few minutes would leave thousands of rows that say the same: a walk that found
            // nothing new is noted in the checkpoint, and its own row goes.
            if !self.has_news && self.has_complete_before(connection)? {
                return self.record_quiet(connection);
            }
            let sql =
                "UPDATE checkpoints SET quiet_at = NULL, proved_walk_key = NULL WHERE connection_key = ?1";
            connection.prepare_cached(sql)?.execute([self.connection_key])?;
        } else if !self.has_news
            && self.checkpoint.is_none()
            && let Some(before) = self.find_alike(connection)?
        {
            return self.count_on(connection, before);
        }
        let sql = "UPDATE walks SET ended_at = ?2, complete = ?3, reason = ?4, checkpoint = ?5, kind = ?6
                   WHERE walk_key = ?1";
        connection.prepare_cached(sql)?.execute(params![
            self.walk_key,
            self.ended_at.as_str(),
            self.is_complete,
            self.reason,
            self.checkpoint,
            self.kind
        ])?;
        Ok(())
    }

    /// An interrupted walk of the same listing has nothing left to prove.
    fn pass_open_walks(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "DELETE FROM walk_runs
                   WHERE walk_key IN (SELECT walk_key FROM walks
                                      WHERE connection_key = ?1 AND checkpoint IS NOT NULL)";
        connection.prepare_cached(sql)?.execute([self.connection_key])?;
        forget_checkpoints(connection, self.connection_key)
    }

    fn has_complete_before(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM walks
                                  WHERE connection_key = ?1 AND complete = 1 AND walk_key < ?2)";
        connection.prepare_cached(sql)?.query_row([self.connection_key, self.walk_key], |row| row.get(0))
    }

    /// Nothing refers to a walk that brought nothing: its time is all that is to be kept of it.
    fn record_quiet(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.delete_row(connection)?;
        self.note_proved(connection, Some(&self.started_at))
    }

    /// Whatever the newest walk on record had against it is over: that may be one that began after this one
    /// did, where this one was interrupted.
    fn note_proved(&self, connection: &Connection, quiet_at: Option<&UtcText>) -> rusqlite::Result<()> {
        let sql = "UPDATE checkpoints
                   SET quiet_at = ?2,
                       proved_walk_key = (SELECT max(walk_key) FROM walks WHERE walks.connection_key = ?1)
                   WHERE connection_key = ?1";
        let values = params![self.connection_key, quiet_at.map(UtcText::as_str)];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// The newest walk on record, if it ended like this one.
    fn find_alike(&self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        let sql = "SELECT walk_key, reason FROM walks
                   WHERE walk_key = (SELECT max(walk_key) FROM walks
                                     WHERE connection_key = ?1 AND walk_key < ?2)
                     AND complete = 0 AND ended_at IS NOT NULL AND checkpoint IS NULL
                     AND kind = ?3 AND pages = ?4";
        let values = params![self.connection_key, self.walk_key, self.kind, self.pages.cast_signed()];
        let before: Option<(i64, Option<String>)> = connection
            .prepare_cached(sql)?
            .query_row(values, |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let is_alike = |reason: Option<String>| reason.as_deref().map(stem) == self.reason.map(stem);
        Ok(before.and_then(|(walk_key, reason)| is_alike(reason).then_some(walk_key)))
    }

    fn count_on(&self, connection: &Connection, before: i64) -> rusqlite::Result<()> {
        self.delete_row(connection)?;
        let sql = "UPDATE walks SET times = times + 1, ended_at = ?2, reason = ?3 WHERE walk_key = ?1";
        connection.prepare_cached(sql)?.execute(params![before, self.ended_at.as_str(), self.reason])?;
        // What stands against it is not over any more, if it was.
        let sql = "UPDATE checkpoints SET proved_walk_key = NULL WHERE connection_key = ?1";
        connection.prepare_cached(sql)?.execute([self.connection_key])?;
        Ok(())
    }

    fn delete_row(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM walks WHERE walk_key = ?1")?.execute([self.walk_key])?;
        Ok(())
    }
}

/// Where interrupted walks of a connection stood is of no use any more.
pub(super) fn forget_checkpoints(connection: &Connection, connection_key: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE walks SET checkpoint = NULL WHERE connection_key = ?1 AND checkpoint IS NOT NULL";
    connection.prepare_cached(sql)?.execute([connection_key]).map(drop)
}

/// A reason without the id that the platform gives each of its answers: by it no two would be alike.
fn stem(reason: &str) -> &str {
    reason.split_once(" (correlation id ").map_or(reason, |(stem, _)| stem)
}
