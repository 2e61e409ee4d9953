//! The archive's one file: opening, locking, migrating, and the only two doors to it.
//!
//! In: a path. Out: an [`Archive`] to write through (one process at a time, told by a lock file that
//! the kernel releases at death) or a [`Reader`]. What is written and read stands in `write` and
//! `read`; no SQL type leaves this module. A file that is no archive is never touched.

pub mod backup;
pub mod check;
mod drift;
pub mod fleet;
pub mod read;
pub mod room;
pub mod unfinished;
pub mod write;
mod writer;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

pub use writer::{Closed, Writer};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// `ARCH` in the file's header: how the archive knows its own.
const APPLICATION_ID: i32 = 0x4152_4348;
/// 16 KiB pages: rows are short and come in order, so larger pages mean fewer of them to write.
const PAGE_SIZE: u32 = 16_384;
/// Checkpoints every 64 MiB of log rather than SQLite's 4: half the writing in a backfill.
const PAGES_PER_CHECKPOINT: u32 = 4_096;
/// SQLite's code for a log index that could not be made as large as needed.
const IOERR_SHMSIZE: i32 = rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
/// How long the last checkpoint waits for readers.
const READERS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for another program that holds SQLite's own lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
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
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// Written by an earlier version, and opened for reading only.
    #[error("{} was written by an older version of archive", .0.display())]
    Older(PathBuf),
    /// SQLite says so, or the file is shorter than its own header says.
    #[error("{path} is damaged: {what}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Another process archives into this file.
    #[error("another archive process holds {path}{holder}", path = .path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// Which process, where it could be read: ` (process 12)`.
        holder: String,
    },
    /// Permissions or the file system forbid writing.
    #[error("{} cannot be written: {what}", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// No room.
    #[error("the disk is full while writing {}; nothing that was stored before is lost", .0.display())]
    Full(PathBuf),
    /// A copy was to be given a name that is taken.
    #[error("{} exists; it was left as it is", .0.display())]
    Exists(PathBuf),
    /// Anything else from the file system.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else from SQLite.
    #[error("the database {}: {what}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
}

impl Error {
    /// SQLite's refusals by meaning.
    pub(crate) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, what) = (path.to_owned(), error.to_string());
        // No room for the log's index is told as a failure of the device.
        let is_full = error.sqlite_error().is_some_and(|error| error.extended_code == IOERR_SHMSIZE);
        match error.sqlite_error_code() {
            Some(ErrorCode::SystemIoFailure) if is_full => Self::Full(path),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged { path, what },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::ReadOnly { path, what }
            }
            Some(ErrorCode::DiskFull) => Self::Full(path),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Sqlite { path, what: format!("{what}: another program is writing to it") }
            }
            _ => Self::Sqlite { path, what },
        }
    }
}

/// Results of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// The archive, open for writing by this process alone.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
    path: PathBuf,
    /// Runs written since the last commit.
    uncommitted: usize,
    /// The walks under way, by key.
    walks: HashMap<i64, write::WalkRecord>,
    /// The lock lasts as long as the file is open.
    _lock: File,
}

/// The archive, open for reading.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Archive {
    /// Opens the archive, makes it if there is none, and brings it to this version's tables.
    /// `cache_mib` is the memory that SQLite may keep pages in.
    pub fn open(path: &Path, cache_mib: u32) -> Result<Self> {
        let path = &real_path(path);
        inspect(path)?;
        let lock = lock(path)?;
        let is_new = inspect(path)? == Found::Nothing;
        // A file that cannot be written is refused before SQLite makes others beside it.
        create_for_owner(path)?;
        let connection = Self::open_locked(path, cache_mib, is_new)?;
        Ok(Self { connection, path: path.to_owned(), uncommitted: 0, walks: HashMap::new(), _lock: lock })
    }

    fn open_locked(path: &Path, cache_mib: u32, is_new: bool) -> Result<Connection> {
        let sqlite = |error: rusqlite::Error| Error::from_sqlite(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
        prepare_connection(&connection).map_err(sqlite)?;
        if is_new {
            // These stand in the header's first write, before anything could be interrupted.
            connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(sqlite)?;
            connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
        }
        // The log survives a killed process, lets readers in while a sync writes, and appends only.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
        // Enough with a log: a power cut may undo the last commits, whole, and harms nothing else.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(sqlite)?;
        connection.pragma_update(None, "wal_autocheckpoint", PAGES_PER_CHECKPOINT).map_err(sqlite)?;
        // SQLite counts pages: the size in bytes holds only once the size of a page is known.
        connection.pragma_update(None, "cache_size", -i64::from(cache_mib) * 1_024).map_err(sqlite)?;
        migrate(&mut connection, path)?;
        touch_every_table(&connection).map_err(sqlite)?;
        Ok(connection)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
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
        connection.close().map_err(|(_, error)| Error::from_sqlite(&path, &error))
    }

    fn sqlite<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|error| Error::from_sqlite(&self.path, &error))
    }
}

impl Reader {
    /// Opens an archive that is there, without changing it.
    pub fn open(path: &Path) -> Result<Self> {
        if inspect(path)? == Found::Nothing {
            return Err(Error::Missing(path.to_owned()));
        }
        let sqlite = |error: rusqlite::Error| Error::from_sqlite(path, &error);
        // SQLite falls back to reading only by itself; a connection that may write puts away the files
        // beside the database when it is the last, and `query_only` sees to it that it writes nothing else.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(path, flags)?;
            prepare_connection(&connection)?;
            connection.pragma_update(None, "query_only", true)?;
            version(&connection).map(|found| (connection, found))
        };
        let (connection, found) = match open() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
                let log = beside(path, "-wal");
                if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                    let what = format!(
                        "it has a log, {}, which can only be read where files may be made",
                        log.display()
                    );
                    return Err(Error::ReadOnly { path: path.to_owned(), what });
                }
                open_unwritable_folder(path).map_err(sqlite)?
            }
            opened => opened.map_err(sqlite)?,
        };
        check_version(path, found)?;
        if found < known_version() {
            return Err(Error::Older(path.to_owned()));
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// The connection itself, for SQL that is not this module's own; nothing has been asked of it yet.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// A number that is another one once anybody else has committed a change.
    pub(crate) fn read_data_version(&self) -> Result<i64> {
        self.sqlite(self.connection.query_row("PRAGMA data_version", [], |row| row.get(0)))
    }

    fn sqlite<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|error| Error::from_sqlite(&self.path, &error))
    }
}

/// A database with a log needs a second file to be read, which a folder without write permission does
/// not take; with no log beside it the one file is whole and may be read as it is.
fn open_unwritable_folder(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    prepare_connection(&connection)?;
    version(&connection).map(|found| (connection, found))
}

/// What every connection is set to.
fn prepare_connection(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "foreign_keys", true)?;
    // Nothing stored in the file may make this program run more than SQL.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // "text" in double quotes is a name, never a text: a misspelt column is an error.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    Archive,
}

/// Looks at the file's header without SQLite, which would already create files beside it.
fn inspect(path: &Path) -> Result<Found> {
    let io = |source| Error::Io { doing: "reading", path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(io(error)),
    };
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(Error::NotADatabase(path.to_owned()));
    }
    if metadata.len() == 0 {
        return Ok(Found::Nothing);
    }
    let mut header = [0_u8; 100];
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::NotADatabase(path.to_owned()));
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(68) != APPLICATION_ID.cast_unsigned() {
        return Err(Error::NotAnArchive(path.to_owned()));
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let expected = page_size * u64::from(number(28));
    // The count of pages is valid where the version it was written for is the current one. With a log the
    // file may be cut short by a checkpoint that found no room: what is missing is still in the log.
    let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if number(24) == number(92) && metadata.len() < expected && !has_log {
        let what = format!("it has {} bytes, and its header says {expected}", metadata.len());
        return Err(Error::Damaged { path: path.to_owned(), what });
    }
    Ok(Found::Archive)
}

/// One name for one file: with two, two processes would hold two locks.
fn real_path(path: &Path) -> PathBuf {
    let canonical = fs::canonicalize(path).or_else(|error| {
        let (folder, name) = (path.parent(), path.file_name());
        match (folder, name) {
            (Some(folder), Some(name)) if !folder.as_os_str().is_empty() => {
                fs::canonicalize(folder).map(|folder| folder.join(name))
            }
            _ => Err(error),
        }
    });
    canonical.unwrap_or_else(|_| path.to_owned())
}

/// Where the lock file of an archive is.
pub fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// The file of this ending beside the database.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Holds the lock file beside the archive. The kernel lets go of it when the process ends, however.
fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)
            .map_err(|error| Error::ReadOnly { path: path.to_owned(), what: error.to_string() })?;
    }
    let lock_path = lock_path(path);
    let unwritable = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull => Error::Full(path.to_owned()),
        _ => Error::ReadOnly {
            path: path.to_owned(),
            what: format!("its lock file {}: {error}", lock_path.display()),
        },
    };
    let mut file = owner_only()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let holder = read.ok().and_then(|_| holder.trim().parse::<u32>().ok());
            let holder = holder.map(|process| format!(" (process {process})")).unwrap_or_default();
            return Err(Error::Held { path: path.to_owned(), holder });
        }
        Err(fs::TryLockError::Error(source)) => {
            return Err(Error::Io { doing: "locking", path: lock_path, source });
        }
    }
    // For the message of whoever comes second; the lock itself does not depend on it.
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unwritable)?;
    Ok(file)
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// A file that may be written, made so that only its owner reads it; its log takes over the permissions.
fn create_for_owner(path: &Path) -> Result<()> {
    let created = owner_only().write(true).create(true).truncate(false).open(path);
    created.map(drop).map_err(|error| Error::ReadOnly { path: path.to_owned(), what: error.to_string() })
}

fn known_version() -> i64 {
    let migrations = embedded::migrations::runner();
    migrations.get_migrations().iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    let table = "SELECT 1 FROM sqlite_schema WHERE name = 'refinery_schema_history'";
    if connection.query_row(table, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    connection
        .query_row("SELECT coalesce(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))
}

fn check_version(path: &Path, found: i64) -> Result<()> {
    let known = known_version();
    if found > known {
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let found = version(connection).map_err(|error| Error::from_sqlite(path, &error))?;
    check_version(path, found)?;
    if found == known_version() {
        return Ok(());
    }
    // Grouped: the tables and the record of their version in one transaction.
    let migrated = embedded::migrations::runner().set_grouped(true).run(connection);
    migrated.map(drop).map_err(|error| {
        if let refinery::error::Kind::Connection(_, cause) = error.kind()
            && let Some(error) = cause.downcast_ref::<rusqlite::Error>()
        {
            return Error::from_sqlite(path, error);
        }
        Error::Sqlite { path: path.to_owned(), what: format!("migrating: {error}") }
    })
}

/// Reads the top of every table, so that most damage is found before anything is written.
fn touch_every_table(connection: &Connection) -> rusqlite::Result<()> {
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names {
        let quoted = name.replace('"', "\"\"");
        connection.query_row(&format!("SELECT 1 FROM \"{quoted}\" LIMIT 1"), [], |_| Ok(())).optional()?;
    }
    Ok(())
}
