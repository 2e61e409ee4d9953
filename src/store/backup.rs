//! A consistent copy of the archive, made while a sync may be writing.
//!
//! In: an archive, and where the copy goes. Out: a [`struct@Copy`], not yet under its name, so that it can be
//! looked at first. SQLite writes it from one state of the archive, without the log and without holes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use tempfile::NamedTempFile;

use super::{Error, Reader, Result, known_version};

/// A copy beside the place where it is to be kept; removed unless it is.
#[derive(Debug)]
pub struct Copy {
    file: NamedTempFile,
    /// Whether this program can read it as it is: an archive of an earlier version is copied as it was.
    pub is_current: bool,
}

impl Copy {
    /// Copies the archive into the folder where `to` will be.
    ///
    /// # Errors
    /// There is no archive, it is a newer one, or the copy cannot be written.
    pub fn make(from: &Path, to: &Path) -> Result<Self> {
        // With the right to read alone it is copied all the same.
        let (reader, found) = Reader::open_any_version(from)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unwritable = |source| Error::Io { doing: "writing a copy into", path: folder.to_owned(), source };
        // Made for its owner alone, and empty: SQLite writes into such a file.
        let file =
            tempfile::Builder::new().prefix(".archive-backup-").tempfile_in(folder).map_err(unwritable)?;
        let path = file.path().to_str().ok_or_else(|| unwritable(io::ErrorKind::InvalidFilename.into()))?;
        let copied = reader.connection().execute("VACUUM INTO ?1", [path]);
        reader.check_unmoved()?;
        copied.map_err(|error| Error::from_sqlite(to, &error))?;
        file.as_file().sync_all().map_err(unwritable)?;
        Ok(Self { file, is_current: found == known_version() })
    }

    /// Where the copy is for now.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// SQLite's own checks alone, for a copy that this version cannot read otherwise.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn check_integrity(&self) -> Result<Vec<String>> {
        let sqlite = |error: rusqlite::Error| Error::from_sqlite(self.path(), &error);
        let connection =
            Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sqlite)?;
        super::check::integrity(&connection).map_err(sqlite)
    }

    /// Gives the copy its name, all at once; where something has that name, only if `replace` says so.
    ///
    /// # Errors
    /// The name is taken, or cannot be given.
    pub fn keep(self, to: &Path, replace: bool) -> Result<u64> {
        let kept = match replace {
            true => self.file.persist(to),
            false => self.file.persist_noclobber(to),
        };
        let file = kept.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(to.to_owned()),
            _ => Error::Io { doing: "naming the copy", path: to.to_owned(), source: error.error },
        })?;
        let size = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        // The name is safe once its folder is written.
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            folder.sync_all().ok();
        }
        Ok(size)
    }
}

/// Whether two names are one file.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { fs::canonicalize(path).ok() };
    real(one).is_some_and(|one| real(other) == Some(one))
}
