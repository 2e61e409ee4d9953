//! The record of syncs and imports: when each began and ended, what it did, and how many requests it sent.

use rusqlite::{OptionalExtension as _, params};

use super::cells::time;
use super::error::Result;
use super::open::Archive;
use super::reader::Reader;
use super::records::Counts;
use crate::time::UtcText;

/// What one sync did, for its row.
#[derive(Debug, Default, Clone)]
pub struct SyncTotals {
    /// Requests sent.
    pub requests: u64,
    /// Pages received.
    pub pages: u64,
    /// What became of the records.
    pub counts: Counts,
    /// iModels asked for their connections.
    pub imodels: u64,
    /// Connections that it was for.
    pub connections: u64,
    /// Of these, those that nothing was asked about, because nothing had begun.
    pub quiet: u64,
}

/// The last sync or import.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct LastSync {
    /// `sync` or `import`.
    pub command: String,
    pub started_at: String,
    /// When it ended; absent while it runs, or where it was killed.
    pub ended_at: Option<String>,
    pub outcome: String,
    /// The worst thing that went wrong.
    pub problem: Option<String>,
}

impl Archive {
    /// Notes that a sync or import begins; one that never ended is noted as interrupted.
    pub fn begin_sync(&mut self, command: &str, now: &UtcText) -> Result<i64> {
        self.run(|connection| {
            let interrupted = "UPDATE syncs SET outcome = 'interrupted' WHERE outcome = 'running'";
            connection.execute(interrupted, [])?;
            let sql =
                "INSERT INTO syncs (command, version, started_at, outcome) VALUES (?1, ?2, ?3, 'running')";
            connection.execute(sql, params![command, env!("CARGO_PKG_VERSION"), now.as_str()])?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// Notes how a sync or import ended.
    pub fn end_sync(
        &mut self,
        sync_key: i64,
        now: &UtcText,
        totals: &SyncTotals,
        (outcome, exit_code, problem): (&str, u8, Option<&str>),
    ) -> Result<()> {
        let counts = totals.counts;
        let values = params![
            sync_key,
            now.as_str(),
            outcome,
            exit_code,
            problem,
            totals.requests.cast_signed(),
            totals.pages.cast_signed(),
            counts.listed.cast_signed(),
            counts.new.cast_signed(),
            counts.changed.cast_signed(),
            counts.rejected.cast_signed(),
            totals.imodels.cast_signed(),
            totals.connections.cast_signed(),
            totals.quiet.cast_signed(),
        ];
        let sql = "UPDATE syncs
                   SET ended_at = ?2, requested_at = iif(?6 > 0, ?2, NULL), outcome = ?3, exit_code = ?4, problem = ?5, requests = ?6, pages = ?7,
                       listed = ?8, new = ?9, changed = ?10, rejected = ?11, imodels = ?12,
                       connections = ?13, quiet = ?14
                   WHERE sync_key = ?1";
        // A sync may have met a connection of a name that another has, so names are told apart anew.
        self.sqlite(self.connection.execute(sql, values))?;
        self.refresh_names()
    }

    /// Notes how many requests a sync has sent so far.
    pub(crate) fn note_requests(&mut self, sync_key: i64, requests: u64, now: &UtcText) -> Result<()> {
        let sql = "UPDATE syncs SET requests = ?2, requested_at = ?3 WHERE sync_key = ?1 AND requests < ?2";
        let values = params![sync_key, requests.cast_signed(), now.as_str()];
        self.run(|connection| connection.prepare_cached(sql)?.execute(values)).map(drop)
    }
}

impl Reader {
    /// The sync or import that began last.
    pub(crate) fn read_last_sync(&self) -> Result<Option<LastSync>> {
        let sql = "SELECT command, started_at, ended_at, outcome, problem FROM syncs ORDER BY sync_key DESC LIMIT 1";
        let read = self.connection.query_row(sql, [], |row| {
            Ok(LastSync {
                command: row.get(0)?,
                started_at: row.get(1)?,
                ended_at: row.get(2)?,
                outcome: row.get(3)?,
                problem: row.get(4)?,
            })
        });
        self.sqlite(read.optional())
    }

    /// The requests of syncs that sent some at this time or later, and when the last was, the latest first.
    pub(crate) fn read_requests_since(&self, since: &UtcText) -> Result<Vec<(UtcText, u64)>> {
        let sql = "SELECT requested_at, requests FROM syncs WHERE requested_at >= ?1 ORDER BY sync_key DESC";
        self.run(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([since.as_str()], |row| {
                Ok((time(row, "requested_at")?, row.get::<_, i64>("requests")?.cast_unsigned()))
            })?;
            rows.filter_map(|row| row.map(|(at, requests)| at.map(|at| (at, requests))).transpose()).collect()
        })
    }
}
