//! A copy of an archive that is not yet under its name, so that it can be looked at first.
//!
//! In: an archive that a sync may be writing, or a file that was copied before; and the folder where the
//! copy goes. Out: a [`struct@Copy`], without a log. SQLite writes the copy of an archive from one state of
//! it, without holes; a file is copied byte by byte, so that what is damaged in it stays to be found.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempPath;

use super::error::{Error, Result};
use super::handle::{Handle, Start, read_start};
use super::header::{Found, inspect};
use super::lock::lock_path;
use super::lock::owner_only;
use super::names::{FileId, length};
use super::names::{beside, real_path};
use super::reader::Reader;
use super::sqlite::{check_version, known_version, prepare_connection, version};
use super::staging::{BACKUP, RESTORE, Staging};
use crate::error::is_full;

/// What the copy is called in its folder.
const NAME: &str = "copy.db";
/// What SQLite puts beside a database, by the end of its name: logs hold what belongs into the file.
pub(super) const LOGS: [&str; 2] = ["-wal", "-journal"];
/// See [`LOGS`].
pub(super) const INDEX: &str = "-shm";

/// A copy in a folder of its own beside the place where it is to be kept; removed unless it is.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(super) staging: Staging,
    /// Whether this program can read it as it is: an archive of an earlier version is copied as it was.
    pub is_current: bool,
}

impl Copy {
    /// Copies the archive into the folder where `to` will be, as readers see it.
    ///
    /// # Errors
    /// There is no archive, it is a newer one, or the copy cannot be written.
    pub(crate) fn make(from: &Path, to: &Path) -> Result<Self> {
        // With the right to read alone it is copied all the same.
        let (reader, found) = Reader::open_any_version(from)?;
        let folder = folder_of(to);
        let unwritable = |source| unwritable(folder, source);
        let staging = Staging::make(folder, BACKUP).map_err(unwritable)?;
        let copy = staging.file(NAME);
        // Made for its owner alone, and empty: SQLite writes into such a file.
        owner_only().write(true).create_new(true).open(&copy).map_err(unwritable)?;
        // As bytes, since a path need not be UTF-8, and absolute, since one that begins with `file:` would
        // be taken for a URI.
        let name = ToSqlOutput::Borrowed(ValueRef::Text(copy.as_os_str().as_encoded_bytes()));
        let written = reader.connection().execute("VACUUM INTO ?1", [name]);
        reader.check_unmoved()?;
        written.map_err(|error| match Error::from_reading(from, &error) {
            Error::Full(_) => Error::Full(folder.to_owned()),
            error => error,
        })?;
        // Closed before the copy is opened by hand: closing any descriptor of a file takes SQLite's locks.
        drop(reader);
        File::open(&copy).and_then(|copy| copy.sync_all()).map_err(unwritable)?;
        Ok(Self { staging, is_current: found == known_version() })
    }

    /// Copies a file, with the log beside it, into the folder where `to` is, and folds the log in.
    ///
    /// # Errors
    /// It is no archive, a newer one, or damaged; it is written meanwhile; or the copy cannot be written.
    pub(super) fn of_file(from: &Path, to: &Path) -> Result<Self> {
        if inspect(from)? == Found::Nothing {
            return Err(Error::Missing(from.to_owned()));
        }
        if let Some(what) = find_foreign_log(from) {
            return Err(Error::Damaged { path: from.to_owned(), what });
        }
        let folder = folder_of(to);
        let staging = Staging::make(folder, RESTORE).map_err(|error| unwritable(folder, error))?;
        let copy = staging.file(NAME);
        // No lock keeps others from writing to a copy while it is read: times and sizes tell afterwards
        // whether one did.
        let before = stamps(from);
        copy_bytes(from, &copy, folder)?;
        for ending in LOGS {
            let log = beside(from, ending);
            if length(&log) > 0 {
                copy_bytes(&log, &beside(&copy, ending), folder)?;
            }
        }
        if stamps(from) != before {
            let source = io::Error::other("it was written meanwhile; use a copy that archive backup made");
            return Err(Error::Io { doing: "copying", path: from.to_owned(), source });
        }
        let sqlite = |error: rusqlite::Error| match Error::from_sqlite(from, &error) {
            Error::Full(_) => Error::Full(folder.to_owned()),
            error => error,
        };
        let connection = Handle::open(&copy).map_err(sqlite)?;
        prepare_connection(&connection).map_err(sqlite)?;
        // Whatever is put in the archive's place is one file: a log that was left beside it would be lost.
        let mode: String =
            connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)).map_err(sqlite)?;
        if mode != "delete" {
            return Err(Error::Sqlite { path: from.to_owned(), what: format!("its log stays ({mode})") });
        }
        let found = version(&connection).map_err(sqlite)?;
        check_version(from, found)?;
        connection.close().map_err(sqlite)?;
        File::open(&copy).and_then(|copy| copy.sync_all()).map_err(|error| unwritable(folder, error))?;
        Ok(Self { staging, is_current: found == known_version() })
    }

    /// Where the copy is for now.
    pub(crate) fn path(&self) -> PathBuf {
        self.staging.file(NAME)
    }

    pub(crate) fn size(&self) -> u64 {
        length(&self.path())
    }

    /// SQLite's own checks alone, for a copy that this version cannot read otherwise.
    pub(crate) fn check_integrity(&self) -> Result<Vec<String>> {
        let path = self.path();
        let sqlite = |error: rusqlite::Error| Error::from_sqlite(&path, &error);
        let connection =
            Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sqlite)?;
        super::check::integrity(&connection, &super::schema::tables()?).map_err(sqlite)
    }

    /// Gives the copy its name, all at once; where something has that name, only if `replace` says so.
    /// The answer is its size in bytes.
    ///
    /// # Errors
    /// The name is taken, or cannot be given.
    pub(crate) fn keep(self, to: &Path, replace: bool) -> Result<u64> {
        let size = self.size();
        name_file(&self.path(), to, replace)?;
        // The name is safe once its folder is written.
        sync_folder(to).ok();
        Ok(size)
    }
}

/// Names a file; where something has that name, only if `replace` says so.
pub(super) fn name_file(file: &Path, to: &Path, replace: bool) -> Result<()> {
    let naming = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(to.to_owned()),
        _ if is_full(&source) => Error::Full(to.to_owned()),
        _ => Error::Io { doing: "naming the copy", path: to.to_owned(), source },
    };
    let file = TempPath::try_from_path(file).map_err(naming)?;
    let named = match replace {
        true => file.persist(to),
        false => file.persist_noclobber(to),
    };
    named.map_err(|error| naming(error.error))
}

/// Makes safe against a power cut what is called what in the folder of this file.
pub(super) fn sync_folder(of: &Path) -> Result<()> {
    let folder = folder_of(of);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| unwritable(folder, source))
}

/// The folder that a file is in.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn unwritable(folder: &Path, source: io::Error) -> Error {
    if is_full(&source) {
        return Error::Full(folder.to_owned());
    }
    Error::Io { doing: "writing a copy into", path: folder.to_owned(), source }
}

/// Copies what is in a file into a new one for its owner alone, in a folder inside of `place`.
fn copy_bytes(from: &Path, to: &Path, place: &Path) -> Result<()> {
    let mut source =
        File::open(from).map_err(|source| Error::Io { doing: "reading", path: from.to_owned(), source })?;
    let mut copy =
        owner_only().write(true).create_new(true).open(to).map_err(|source| unwritable(place, source))?;
    io::copy(&mut source, &mut copy).map_err(|source| match is_full(&source) {
        true => Error::Full(place.to_owned()),
        false => Error::Io { doing: "copying", path: from.to_owned(), source },
    })?;
    copy.sync_all().map_err(|source| unwritable(place, source))
}

/// Size and time of change of the file and its logs: other ones after a copy was made tell that it was
/// made of several states.
fn stamps(path: &Path) -> Vec<Option<(u64, Option<std::time::SystemTime>)>> {
    let stamp = |path: PathBuf| fs::metadata(path).ok().map(|found| (found.len(), found.modified().ok()));
    let logs = LOGS.iter().map(|ending| stamp(beside(path, ending)));
    std::iter::once(stamp(path.to_owned())).chain(logs).collect()
}

/// What is wrong with the log beside a database, seen from the two files alone. Looked for before the first
/// connection to the database: SQLite would fold any log into any file.
pub(super) fn find_foreign_log(path: &Path) -> Option<String> {
    let log = beside(path, "-wal");
    if length(&log) == 0 {
        return None;
    }
    // Byte 18 is 2 in every database that is written through a log, from before its log's first byte.
    let has_own_log = match read_start(path, 20) {
        Ok(Start::Bytes(header, _)) => header.get(18) == Some(&2),
        Ok(Start::Open) => true,
        Ok(Start::NoFile) | Err(_) => false,
    };
    (!has_own_log).then(|| format!("{} beside it is the log of another file", log.display()))
}

/// The archive's own file that this name means, by whatever spelling or link, whether it exists or not.
pub(crate) fn find_own_file(archive: &Path, named: &Path) -> Option<PathBuf> {
    let (archive, named) = (real_path(archive), real_path(named));
    let mut own = vec![archive.clone(), lock_path(&archive), beside(&archive, INDEX)];
    own.extend(LOGS.map(|ending| beside(&archive, ending)));
    // The next sync that makes an archive removes what has this name.
    own.push(super::new::part(&archive));
    own.into_iter().find(|own| named == *own || is_same_file(own, &named))
}

/// The log of a database of this name, if there is one: a copy under that name would be destroyed by it.
pub(crate) fn find_log(path: &Path) -> Option<PathBuf> {
    LOGS.map(|ending| beside(path, ending)).into_iter().find(|log| length(log) > 0)
}

/// Whether two names are one file, which hard links are too.
fn is_same_file(one: &Path, other: &Path) -> bool {
    FileId::of(one).is_ok_and(|one| FileId::of(other).is_ok_and(|other| one == other))
}
