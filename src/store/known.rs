//! What is archived of a run that an answer names.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::cells::hash;
use super::error::{Error, Result};
use super::open::Archive;
use super::reader::Reader;
use super::runs;
use crate::normalize::Run;

/// A run that is archived, as far as a page of the listing needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub run_key: i64,
    /// Of the text last received.
    pub fingerprint: [u8; 16],
    /// Whether a complete walk missed it, or its id answered 404.
    pub is_unlisted: bool,
    /// The walk that stored it first.
    pub walk_key: Option<i64>,
    pub is_unfinished: bool,
}

/// What is archived of a run that something names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is archived, or was until it was pruned.
    Archived,
    /// It is archived, and so is one that is listed and began after it.
    Superseded,
    /// It is archived, and a complete walk missed it or its id answered 404.
    Gone,
    Unknown,
}

impl Reader {
    pub(crate) fn read_known(&self, connection_key: i64, id: &str) -> Result<Option<Known>> {
        self.sqlite(known(&self.connection, connection_key, id))
    }

    /// What is archived of the run of this id.
    pub(crate) fn read_standing(&self, connection_key: i64, id: &str) -> Result<Standing> {
        self.sqlite(standing(&self.connection, connection_key, id))
    }

    /// An archived run with all below it.
    pub fn read_run(&self, run_key: i64) -> Result<Run<'static>> {
        let found = self.sqlite(runs::run(&self.connection, run_key))?;
        let what = "a run that was met before is not there";
        found.ok_or_else(|| Error::Inconsistent {
            path: self.path.clone(),
            what,
            table: "runs",
            key: run_key,
        })
    }
}

impl Archive {
    /// What is archived of the run of this id.
    pub(crate) fn read_standing(&self, connection_key: i64, id: &str) -> Result<Standing> {
        self.sqlite(standing(&self.connection, connection_key, id))
    }

    /// Archived runs that are neither terminal nor listed and may still answer by id, at most so many.
    pub(crate) fn read_unlisted_unfinished(
        &self,
        connection_key: i64,
        most: u64,
    ) -> Result<Vec<(i64, String)>> {
        let sql = "SELECT run_key, id FROM runs
                   WHERE connection_key = ?1 AND state IS NOT 'Completed' AND not_found_at IS NULL
                     AND unlisted_at IS NOT NULL
                   ORDER BY run_key LIMIT ?2";
        self.run(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement
                .query_map([connection_key, most.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
    }
}

fn standing(connection: &Connection, connection_key: i64, id: &str) -> rusqlite::Result<Standing> {
    let mut statement = connection.prepare_cached(include_str!("read_standing.sql"))?;
    let found = statement.query_row(params![connection_key, id], |row| row.get::<_, i64>(0)).optional()?;
    Ok(match found {
        Some(0) => Standing::Archived,
        Some(1) => Standing::Gone,
        Some(_) => Standing::Superseded,
        None => Standing::Unknown,
    })
}

pub(super) fn known(
    connection: &Connection,
    connection_key: i64,
    id: &str,
) -> rusqlite::Result<Option<Known>> {
    let sql = "SELECT run_key, fingerprint, unlisted_at IS NOT NULL OR not_found_at IS NOT NULL, walk_key,
                      state IS NOT 'Completed'
               FROM runs
               WHERE connection_key = ?1 AND id = ?2";
    connection
        .prepare_cached(sql)?
        .query_row(params![connection_key, id], |row| {
            Ok(Known {
                run_key: row.get(0)?,
                fingerprint: hash(row.get_ref(1)?),
                is_unlisted: row.get(2)?,
                walk_key: row.get(3)?,
                is_unfinished: row.get(4)?,
            })
        })
        .optional()
}
