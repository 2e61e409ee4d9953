//! The archive, open for reading, also by an account that may read the file and nothing else.
//!
//! In: a path. Out: a [`Reader`]. SQLite reads through its locks and the log wherever it can. Where the system
//! lets it have neither, the file is read as it lies, if it is whole by itself, and each answer is given
//! only if nobody wrote to the file meanwhile.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, ffi};

use super::error::{Error, Result};
use super::handle::{Handle, ReadOnly};
use super::header::{Found, inspect};
use super::limited::Limited;
use super::limited::READING_LIMIT;
use super::lock::is_held;
use super::names::{beside, check_writable, is_own, length, real_path};
use super::schema;
use super::sight::Sight;
use super::sqlite::{check_version, known_version, prepare_connection, version};

/// How long a log is tried for whose index only its writer may bring up to date, and the pause between.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// The archive, open for reading.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Limited,
    pub(super) path: PathBuf,
    way: Way,
}

/// How the file is read.
#[derive(Debug, Clone)]
enum Way {
    /// With SQLite's locks and its log: one state, whoever writes.
    Shared(Access),
    /// Without any, as long as it looks like this.
    Alone(Sight),
}

/// What SQLite may do with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// It reads only where the system lets it do no more; a connection that may write puts away the files
    /// beside the database when it is the last.
    Write,
    /// It makes nothing beside the file: what this account made there, the owner could not write.
    Read,
}

/// With what an account begins, of what it knows of its rights.
fn plan(may_write: bool, is_own: bool, has_log: bool) -> Option<Access> {
    match (may_write, has_log) {
        (true, _) => Some(Access::Write),
        (false, true) => Some(Access::Read),
        // The owner's own files beside the database are in nobody's way.
        (false, false) if is_own => Some(Access::Write),
        // There is nothing that SQLite could share.
        (false, false) => None,
    }
}

impl Reader {
    /// Opens an archive that is there, without changing it.
    pub fn open(path: &Path) -> Result<Self> {
        let reader = Self::open_as_it_is(path)?;
        schema::require_tables(&reader.connection, path)?;
        Ok(reader)
    }

    /// Opens an archive whose tables may be altered or gone, to tell which.
    pub(crate) fn open_as_it_is(path: &Path) -> Result<Self> {
        let (reader, found) = Self::open_any_version(path)?;
        if found < known_version() {
            return Err(Error::Older(path.to_owned()));
        }
        reader.only_read()
    }

    /// Opens an archive of this version or an earlier one, and tells which; SQLite may write.
    pub(super) fn open_any_version(path: &Path) -> Result<(Self, i64)> {
        let real = &real_path(path);
        if inspect(real)? == Found::Nothing {
            return Err(Error::Missing(path.to_owned()));
        }
        let has_log = ["-wal", "-shm"].iter().all(|ending| beside(real, ending).exists());
        let access = plan(check_writable(real).is_ok(), is_own(real), has_log);
        let (connection, way) = match access.map(|access| (access, open_shared(real, access))) {
            Some((access, Ok(connection))) => (connection, Way::Shared(access)),
            Some((_, Err(error))) if !is_about_files_beside(&error) => {
                return Err(Error::from_reading(path, &error));
            }
            Some((_, Err(_))) | None => open_alone(real)?,
        };
        let limited = Limited::new(connection, READING_LIMIT);
        let connection = limited.map_err(|error| Error::from_reading(path, &error))?;
        let reader = Self { connection, path: real.to_owned(), way };
        let found = reader.sqlite(version(&reader.connection))?;
        check_version(path, found)?;
        // A change that was broken off may have left nothing once SQLite took it back.
        if found == 0 && length(real) == 0 {
            return Err(Error::Missing(path.to_owned()));
        }
        Ok((reader, found))
    }

    /// Another reader of the same file that reads it in the same way.
    pub(crate) fn open_another(&self) -> Result<Self> {
        let connection = match &self.way {
            Way::Shared(access) => open_shared(&self.path, *access),
            Way::Alone(_) => open_immutable(&self.path),
        };
        let connection = self.sqlite(connection)?;
        let connection = self.sqlite(Limited::new(connection, self.connection.limit()))?;
        Self { connection, path: self.path.clone(), way: self.way.clone() }.only_read()
    }

    fn only_read(self) -> Result<Self> {
        self.sqlite(self.connection.pragma_update(None, "query_only", true))?;
        Ok(self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set_limit(&mut self, limit: Duration) {
        self.connection.set_limit(limit);
    }

    /// The connection itself, for SQL that is not this module's own.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// As [`Self::connection`], to set it up.
    pub(crate) fn connection_mut(&mut self) -> &mut Connection {
        self.connection.unlimited()
    }

    /// A number that is another one once anybody else has committed a change.
    pub(crate) fn read_data_version(&self) -> Result<i64> {
        self.sqlite(self.connection.query_row("PRAGMA data_version", [], |row| row.get(0)))
    }

    /// Whether what was read since the opening is one state of the archive: always where SQLite's locks are
    /// shared, and otherwise where nobody wrote to the file.
    pub(crate) fn check_unmoved(&self) -> Result<()> {
        match &self.way {
            Way::Alone(before) if *before != Sight::take(&self.path)? => Err(Error::Moved(self.path.clone())),
            Way::Alone(_) | Way::Shared(_) => Ok(()),
        }
    }

    /// An answer, or what went wrong. A file that was written to meanwhile explains any error.
    /// Runs statements, and tells their errors by meaning.
    pub(super) fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.sqlite(work(&self.connection))
    }

    pub(super) fn sqlite<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        self.check_unmoved()?;
        result.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => {
                Error::TooLong { path: self.path.clone(), limit: self.connection.limit() }
            }
            _ => Error::from_reading(&self.path, &error),
        })
    }
}

fn open_shared(path: &Path, access: Access) -> rusqlite::Result<Handle> {
    let began = Instant::now();
    loop {
        let open = || {
            let connection = match access {
                Access::Write => Handle::open(path)?,
                Access::Read => Handle::open_read_only(path, ReadOnly::Shared)?,
            };
            prepare_connection(&connection)?;
            version(&connection).map(|_| connection)
        };
        match open() {
            // A writer that is at work brings the log's index up to date with its next commit.
            Err(error) if waits_for_writer(&error) && began.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}

fn open_alone(path: &Path) -> Result<(Handle, Way)> {
    let sight = Sight::take_settled(path)?;
    sight.check_whole(path, is_held(path)).map_err(|why| Error::NotWhole { path: path.to_owned(), why })?;
    let connection = open_immutable(path).map_err(|error| Error::from_reading(path, &error))?;
    Ok((connection, Way::Alone(sight)))
}

fn open_immutable(path: &Path) -> rusqlite::Result<Handle> {
    let connection = Handle::open_read_only(path, ReadOnly::Alone)?;
    prepare_connection(&connection)?;
    Ok(connection)
}

/// Whether SQLite could not read because files beside the database can be neither made nor written: for want of
/// rights, or of room on the disk.
fn is_about_files_beside(error: &rusqlite::Error) -> bool {
    let is_full = error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE);
    let code = error.sqlite_error_code();
    is_full
        || matches!(
            code,
            Some(
                ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
                    | ErrorCode::DiskFull
            )
        )
}

fn waits_for_writer(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_READONLY_CANTINIT | ffi::SQLITE_READONLY_RECOVERY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_beside_a_file_of_somebody_else() {
        assert_eq!(plan(true, false, false), Some(Access::Write));
        assert_eq!(plan(false, true, false), Some(Access::Write));
        assert_eq!(plan(false, false, true), Some(Access::Read));
        assert_eq!(plan(false, false, false), None);
    }
}
