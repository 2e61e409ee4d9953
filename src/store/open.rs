//! The archive, open for writing: looked at, locked, made or brought to this version's tables.
//!
//! In: a path. Out: an [`Archive`], or why the file is left as it is: then nothing was made beside it but,
//! where it is an archive, the lock file.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};

use super::error::{Error, Result};
use super::handle::Handle;
use super::header::{Found, inspect};
use super::lock::lock;
use super::migrate::migrate;
use super::names::{beside, real_path};
use super::names::{check_writable, count_names, length};
use super::sqlite::{APPLICATION_ID, READERS_TIMEOUT, prepare_connection};
use super::walk_record::WalkRecord;
use super::{new, schema};

/// Checkpoints every 64 MiB of log rather than SQLite's 4: half the writing in a backfill.
const PAGES_PER_CHECKPOINT: u32 = 4_096;

/// The archive, open for writing by this process alone.
#[derive(Debug)]
pub struct Archive {
    pub(super) connection: Handle,
    pub(super) path: PathBuf,
    /// Runs written since the last commit.
    pub(super) uncommitted: usize,
    /// The walks under way, by key.
    pub(super) walks: HashMap<i64, WalkRecord>,
    /// The lock lasts as long as the file is open.
    _lock: File,
}

impl Archive {
    /// Opens the archive, makes it if there is none, and brings it to this version's tables.
    /// `cache_mib` is the memory that SQLite may keep pages in.
    pub fn open(path: &Path, cache_mib: u32) -> Result<Self> {
        let path = &real_path(path);
        // No lock is made beside a file of somebody else.
        inspect(path)?;
        let lock = lock(path)?;
        new::remove_leftovers(path);
        // A file that cannot be written is refused before SQLite makes others beside it.
        let mut found = inspect(path)?;
        if path.exists() {
            may_be_written(path)?;
        }
        if found == Found::Archive && length(&beside(path, "-journal")) > 0 {
            found = roll_back(path)?;
        }
        if found == Found::Nothing {
            new::make(path)?;
        }
        let connection = Self::open_locked(path, cache_mib)?;
        Ok(Self { connection, path: path.to_owned(), uncommitted: 0, walks: HashMap::new(), _lock: lock })
    }

    fn open_locked(path: &Path, cache_mib: u32) -> Result<Handle> {
        let sqlite = |error: rusqlite::Error| Error::from_sqlite(path, &error);
        let mut connection = Handle::open(path).map_err(sqlite)?;
        prepare_connection(&connection).map_err(sqlite)?;
        // The log survives a killed process, lets readers in while a sync writes, and appends only.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
        // Enough with a log: a power cut may undo the last commits, whole, and harms nothing else.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
        connection.pragma_update(None, "wal_autocheckpoint", PAGES_PER_CHECKPOINT).map_err(sqlite)?;
        // SQLite counts pages: the size in bytes holds only once the size of a page is known.
        connection.pragma_update(None, "cache_size", -i64::from(cache_mib) * 1_024).map_err(sqlite)?;
        migrate(&mut connection, path)?;
        schema::require_tables(&connection, path)?;
        touch_every_table(&connection, &schema::tables()?).map_err(sqlite)?;
        let sign = connection.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0));
        // An earlier version that was killed in its first commit may have left its archive unsigned.
        if sign.map_err(sqlite)? != APPLICATION_ID {
            connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
        }
        Ok(connection)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts what the log holds into the one file, and the log away. Where someone reads an older state
    /// for longer than a moment the log stays, which every reader of SQLite knows how to use.
    pub fn close(self) -> Result<()> {
        let Self { connection, path, .. } = self;
        let checkpoint = connection.busy_timeout(READERS_TIMEOUT).and_then(|()| {
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        });
        if checkpoint.map_err(|error| Error::from_sqlite(&path, &error))? {
            tracing::warn!(
                "someone reads {}, so its newest runs stay in the log beside it until the next sync",
                path.display()
            );
        }
        connection.close().map_err(|error| Error::from_sqlite(&path, &error))
    }

    pub(super) fn begin(&mut self) -> Result<()> {
        self.sqlite(self.connection.execute_batch("BEGIN IMMEDIATE"))
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        self.uncommitted = 0;
        self.sqlite(self.connection.execute_batch("COMMIT"))
    }

    pub(super) fn roll_back(&mut self) {
        // The error that led here is the one to tell; SQLite may have rolled back by itself.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    pub(super) fn uncommitted(&self) -> usize {
        self.uncommitted
    }

    /// Runs `work` as one transaction.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.begin()?;
        match work(self) {
            Ok(value) => self.commit().map(|()| value),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// Runs statements, and tells their errors by meaning.
    pub(super) fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.sqlite(work(&self.connection))
    }

    pub(super) fn inconsistent(&self, what: &'static str, table: &'static str, key: i64) -> Error {
        Error::Inconsistent { path: self.path.clone(), what, table, key }
    }

    pub(super) fn sqlite<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|error| {
            // SQLite says which rule was broken, but not that the rule is somebody else's.
            // Nor that a function is unknown because somebody else's index calls for it: our own SQL is known.
            let is_refused = matches!(error, rusqlite::Error::SqlInputError { .. })
                || error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation);
            let finding = is_refused.then(|| schema::constraint(&self.connection, &self.path)).flatten();
            match finding {
                Some(finding) => Error::Foreign { path: self.path.clone(), finding: Box::new(finding) },
                None => Error::from_sqlite(&self.path, &error),
            }
        })
    }
}

/// Refuses a file that is read-only, or that others may know, and lock, by another name.
fn may_be_written(path: &Path) -> Result<()> {
    let refused = |error: std::io::Error| Error::ReadOnly { path: path.to_owned(), what: error.to_string() };
    check_writable(path).map_err(refused)?;
    let count = count_names(&fs::metadata(path).map_err(refused)?);
    if count > 1 {
        return Err(Error::SeveralNames { path: path.to_owned(), count });
    }
    Ok(())
}

/// Lets SQLite take back a change that was broken off, as an earlier version that was killed in its first
/// moments left one: then nothing may be left of the file.
fn roll_back(path: &Path) -> Result<Found> {
    let sqlite = |error: rusqlite::Error| Error::from_sqlite(path, &error);
    let connection = Handle::open(path).map_err(sqlite)?;
    prepare_connection(&connection).map_err(sqlite)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(sqlite)?;
    connection.close().map_err(sqlite)?;
    inspect(path)
}

/// Reads the top of every table of ours, so that most damage is found before anything is written. Tables of
/// others may be virtual ones of a module that this program does not have.
fn touch_every_table(connection: &Connection, tables: &[&str]) -> rusqlite::Result<()> {
    for name in tables {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", schema::quoted(name));
        connection.query_row(&sql, [], |_| Ok(())).optional()?;
    }
    Ok(())
}
