//! What could not be read as a run: kept to the letter, each text once, and no more of it than a file bears.
//!
//! In: the text of a record and why it is no run. Out: a row, or one more counted on the row that the same
//! text has, or the word that the connection has its most.

use rusqlite::{Connection, params};

use super::error::Result;
use super::open::Archive;
use crate::time::UtcText;

/// Records set aside that are kept for one connection. A platform that changes its format breaks every run,
/// and a full walk brings each of them: ten pages of the default size show what is wrong, and `archive
/// rejects` still lists them in a second.
pub(crate) const MOST_REJECTS: u64 = 10_000;
/// Bytes of their text that are kept for one connection, so that a thousand broken connections of large runs
/// do not fill a disk within a day.
pub(crate) const MOST_REJECTED_BYTES: u64 = 256 << 20;

/// A record that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub reject_key: i64,
    pub connection_key: i64,
    pub raw: String,
}

/// What became of a record that is no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetAside {
    Kept,
    /// The same text is kept already: it was counted.
    Counted,
    /// The connection has its most: it is nowhere.
    NotKept,
}

/// What may still be kept for one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    records: u64,
    bytes: u64,
}

impl Room {
    fn read(connection: &Connection, connection_key: i64) -> rusqlite::Result<Self> {
        // The length in bytes stands at the head of a row: no text is read for it.
        let sql =
            "SELECT count(*), coalesce(sum(octet_length(raw)), 0) FROM rejects WHERE connection_key = ?1";
        connection.prepare_cached(sql)?.query_row([connection_key], |row| {
            let (records, bytes): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Self {
                records: MOST_REJECTS.saturating_sub(records.cast_unsigned()),
                bytes: MOST_REJECTED_BYTES.saturating_sub(bytes.cast_unsigned()),
            })
        })
    }

    fn take(&mut self, bytes: u64) -> bool {
        let has_room = self.records > 0 && self.bytes >= bytes;
        if has_room {
            self.records -= 1;
            self.bytes -= bytes;
        }
        has_room
    }
}

/// Keeps a record that is no run. `room` is read once for all records of an answer; a saved page that is read
/// again was not received again, and counts nothing up.
pub(super) fn set_aside(
    connection: &Connection,
    connection_key: i64,
    (room, is_saved): (&mut Option<Room>, bool),
    (raw, fingerprint, reason): (&str, &[u8; 16], &str),
    now: &UtcText,
) -> rusqlite::Result<SetAside> {
    let count = "UPDATE rejects SET times = times + ?4, last_seen_at = iif(?4, ?3, last_seen_at)
                 WHERE connection_key = ?1 AND fingerprint = ?2";
    let values = params![connection_key, fingerprint, now.as_str(), !is_saved];
    let counted = connection.prepare_cached(count)?.execute(values)?;
    if counted > 0 {
        return Ok(SetAside::Counted);
    }
    let mut left = match room {
        Some(left) => *left,
        None => Room::read(connection, connection_key)?,
    };
    let has_room = left.take(raw.len() as u64);
    *room = Some(left);
    if !has_room {
        return Ok(SetAside::NotKept);
    }
    let insert = "INSERT INTO rejects (connection_key, rejected_at, version, reason, raw, fingerprint)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let version = env!("CARGO_PKG_VERSION");
    let values = params![connection_key, now.as_str(), version, reason, raw, fingerprint];
    connection.prepare_cached(insert)?.execute(values)?;
    Ok(SetAside::Kept)
}

impl Archive {
    /// Records set aside with a key after this one; with a version, only those that it has not tried.
    pub(crate) fn read_rejects(
        &self,
        after: i64,
        untried_by: Option<&str>,
        most: usize,
    ) -> Result<Vec<Reject>> {
        let sql = "SELECT reject_key, connection_key, raw FROM rejects
                   WHERE reject_key > ?1 AND version IS NOT ?2
                   ORDER BY reject_key LIMIT ?3";
        self.run(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement
                .query_map(params![after, untried_by, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
                    Ok(Reject { reject_key: row.get(0)?, connection_key: row.get(1)?, raw: row.get(2)? })
                })?;
            rows.collect()
        })
    }

    /// Notes that this version could not read a record either; without a reason, for the reason it had.
    pub(crate) fn keep_reject(&mut self, reject_key: i64, reason: Option<&str>) -> Result<()> {
        let sql = "UPDATE rejects SET version = ?2, reason = coalesce(?3, reason) WHERE reject_key = ?1";
        let values = params![reject_key, env!("CARGO_PKG_VERSION"), reason];
        self.sqlite(self.connection.execute(sql, values)).map(drop)
    }

    /// A record that was set aside is archived now.
    pub(crate) fn remove_reject(&mut self, reject_key: i64) -> Result<()> {
        let sql = "DELETE FROM rejects WHERE reject_key = ?1";
        self.sqlite(self.connection.execute(sql, [reject_key])).map(drop)
    }
}
