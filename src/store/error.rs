//! What can go wrong with the file, by meaning.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;

use super::finding::Finding;

/// SQLite's code for a log index that could not be made as large as needed.
const IOERR_SHMSIZE: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
/// SQLite's codes for a write that failed otherwise than for want of room on the disk.
const IOERR_WRITE: i32 = rusqlite::ffi::SQLITE_IOERR_WRITE;
const IOERR_TRUNCATE: i32 = rusqlite::ffi::SQLITE_IOERR_TRUNCATE;

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    /// Reading was asked for, and there is nothing.
    #[error("there is no archive at {}", .0.display())]
    Missing(PathBuf),
    /// Some other kind of file.
    #[error("{} is not a SQLite database; it was left as it is", .0.display())]
    NotADatabase(PathBuf),
    /// A database that something else made.
    #[error("{} is a SQLite database, but not an archive; it was left as it is", .0.display())]
    NotAnArchive(PathBuf),
    /// Written by a later version.
    #[error("{path} was written by a newer version of archive (its tables are version {found}, this program knows {known})", path = .path.display())]
    Newer {
        path: PathBuf,
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// Written by an earlier version, and opened for reading only.
    #[error("{} was written by an older version of archive", .0.display())]
    Older(PathBuf),
    /// SQLite says so, or the file is shorter than its own header says.
    #[error("{path} is damaged: {what}", path = .path.display())]
    Damaged { path: PathBuf, what: String },
    /// Another process archives into this file.
    #[error("another archive process holds {path}{holder}", path = .path.display())]
    Held {
        path: PathBuf,
        /// Which process, where it could be read: ` (process 12)`.
        holder: String,
    },
    /// Permissions or the file system forbid reading.
    #[error("{} cannot be read: {what}", .path.display())]
    Unreadable { path: PathBuf, what: String },
    /// The file alone is not the whole archive, and what else belongs to it cannot be used.
    #[error("{} cannot be read by this account now: {why}", .path.display())]
    NotWhole { path: PathBuf, why: NotWhole },
    /// It was read without a lock, and somebody wrote to it.
    #[error("{} was written to while it was read; this account may not hold the writer off", .0.display())]
    Moved(PathBuf),
    /// Two names would have two locks.
    #[error("{path} has {count} names (hard links), and each name would have a lock of its own; it was not written to", path = .path.display())]
    SeveralNames { path: PathBuf, count: u64 },
    /// The lock file is something else than a file of its own.
    #[error("the lock file {} is {what}", .path.display())]
    LockFile { path: PathBuf, what: &'static str },
    /// The file system does not keep two processes apart.
    #[error("{path} cannot be written to safely: {what}", path = .path.display())]
    NoLocks { path: PathBuf, what: String },
    /// Permissions or the file system forbid writing.
    #[error("{} cannot be written: {what}", .path.display())]
    ReadOnly { path: PathBuf, what: String },
    #[error("the disk is full while writing {}; nothing that was stored before is lost", .0.display())]
    Full(PathBuf),
    /// Something that is no file has a name that a new archive needs for its own.
    #[error("{} is in the way: an archive needs that name for a file of its own", .0.display())]
    InTheWay(PathBuf),
    /// A copy was to be given a name that is taken.
    #[error("{} exists; it was left as it is", .0.display())]
    Exists(PathBuf),
    /// Somebody else's hands: what the program would have to run, or what refuses its rows, is not its own.
    #[error("{path} was altered by another program: {finding}", path = .path.display())]
    Foreign {
        path: PathBuf,
        /// The first of what is in the way.
        finding: Box<Finding>,
    },
    /// Rows that this program writes together say different things.
    #[error("{path} was altered by another program: {what} (table {table}, key {key})", path = .path.display())]
    Inconsistent { path: PathBuf, what: &'static str, table: &'static str, key: i64 },
    /// Reading took longer than any question of ours should.
    #[error("{path}: a question to the archive was stopped after {limit}", path = .path.display(), limit = humantime::format_duration(*.limit))]
    TooLong {
        path: PathBuf,
        /// How long it may take.
        limit: Duration,
    },
    /// Anything else from the file system.
    #[error("{doing} {}: {source}", .path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    /// Rows whose connection is not there: who it was is told nowhere else in the file.
    #[error("{path} holds rows of connections that are not there, {count} of them", path = .path.display())]
    NoConnection { path: PathBuf, count: u64 },
    /// Another program has it locked, for longer than is waited.
    #[error("another program writes to {} and does not let go of it", .0.display())]
    Busy(PathBuf),
    /// Anything else from SQLite.
    #[error("the database {}: {what}", .path.display())]
    Sqlite {
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
}

/// Why the database file alone does not tell all, for an account that cannot use what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWhole {
    /// Commits stand in the log.
    #[error("its newest commits stand in the log {}, which this account may not use", .0.display())]
    Log(PathBuf),
    /// A change was broken off.
    #[error("a change was broken off, and {} holds what takes it back", .0.display())]
    Journal(PathBuf),
    /// A writer is at work.
    #[error("another archive process is writing to it")]
    Writer,
}

impl Error {
    /// SQLite's refusals by meaning, where the file was to be read.
    pub(crate) fn from_reading(path: &Path, error: &rusqlite::Error) -> Self {
        match Self::from_sqlite(path, error) {
            Self::ReadOnly { path, what } => Self::Unreadable { path, what },
            error => error,
        }
    }

    /// SQLite's refusals by meaning, where the file was to be written.
    pub(crate) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_owned();
        let what = match error {
            // Whoever reads an error of ours has no use for the statement.
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            error => error.to_string(),
        };
        // No room for the log's index, and a file that may not grow, are told as failures of the device.
        let is_full = error.sqlite_error().is_some_and(|error| match error.extended_code {
            IOERR_SHMSIZE => true,
            IOERR_WRITE | IOERR_TRUNCATE => has_file_size_limit(),
            _ => false,
        });
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) if is_full => Self::Full(path),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, what },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::ReadOnly { path, what }
            }
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(path),
            _ => Self::Sqlite { path, what },
        }
    }
}

/// Whether files of this process may only be so large: SQLite does not tell that refusal from a broken disk.
fn has_file_size_limit() -> bool {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some();
    #[cfg(not(unix))]
    false
}

/// Results of this module.
pub(crate) type Result<T> = std::result::Result<T, Error>;
