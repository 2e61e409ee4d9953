//! What a file is, told by its first bytes, before SQLite is let at it: SQLite would make files beside it.
//!
//! In: a path. Out: whether there is an archive, or why this file is left alone.

use std::fs;
use std::io;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::error::{Error, Result};
use super::handle::{Handle, ReadOnly, Start, read_start};
use super::names::{beside, length};
use super::sqlite::{APPLICATION_ID, embedded};

/// The header of a database file.
const HEADER_BYTES: u64 = 100;
/// The largest database, and the largest log, that are copied to be looked at.
const MOST_COPIED: u64 = 1 << 20;
const MOST_LOG_COPIED: u64 = 256 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Archive,
}

/// Looks at what is there and touches nothing. A file that this process has open is an archive: it was
/// looked at before it was opened.
pub(super) fn inspect(path: &Path) -> Result<Found> {
    let (header, metadata) = match read_start(path, HEADER_BYTES) {
        Ok(Start::Bytes(header, metadata)) => (header, metadata),
        Ok(Start::NoFile) => return Err(Error::NotADatabase(path.to_owned())),
        Ok(Start::Open) => return Ok(Found::Archive),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Error::Unreadable { path: path.to_owned(), what: error.to_string() }),
    };
    if header.is_empty() {
        return Ok(Found::Nothing);
    }
    if header.len() as u64 != HEADER_BYTES || !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::NotADatabase(path.to_owned()));
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    match number(68) {
        id if id == APPLICATION_ID.cast_unsigned() => {}
        0 if is_unsigned_archive(path, metadata.len()) => return Ok(Found::Archive),
        _ => return Err(Error::NotAnArchive(path.to_owned())),
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let expected = page_size * u64::from(number(28));
    // The count of pages is valid where the version it was written for is the current one. With a log the
    // file may be cut short by a checkpoint that found no room: what is missing is still in the log.
    let has_log = length(&beside(path, "-wal")) > 0;
    if number(24) == number(92) && metadata.len() < expected && !has_log {
        let what = format!("it has {} bytes, and its header says {expected}", metadata.len());
        return Err(Error::Damaged { path: path.to_owned(), what });
    }
    Ok(Found::Archive)
}

/// The change counter in the header, which most commits that reach the file move on; `None` where the file
/// cannot be looked at now.
pub(super) fn read_change_counter(path: &Path) -> Option<[u8; 4]> {
    match read_start(path, HEADER_BYTES).ok()? {
        Start::Bytes(header, _) => header.get(24..28)?.try_into().ok(),
        Start::NoFile | Start::Open => None,
    }
}

/// Whether a database without the archive's sign has the archive's tables. A sync of an earlier version that
/// was killed in its first commit left a journal; the next one took back what was in it, the sign too, and
/// made the tables without.
fn is_unsigned_archive(path: &Path, size: u64) -> bool {
    let lies_alone = Handle::open_read_only(path, ReadOnly::Alone);
    if lies_alone.is_ok_and(|alone| has_first_migration(&alone)) {
        return true;
    }
    // Its tables may stand in the log alone. SQLite tells from a copy, so that nothing is made beside a
    // file that may be a stranger's.
    let log = beside(path, "-wal");
    let has_little = size <= MOST_COPIED && (1..=MOST_LOG_COPIED).contains(&length(&log));
    has_little && copy_has_first_migration(path, &log).unwrap_or(false)
}

fn copy_has_first_migration(path: &Path, log: &Path) -> io::Result<bool> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    let Start::Bytes(bytes, _) = read_start(path, MOST_COPIED)? else { return Ok(false) };
    fs::write(&copy, bytes)?;
    fs::copy(log, beside(&copy, "-wal"))?;
    Ok(Handle::open(&copy).is_ok_and(|copy| has_first_migration(&copy)))
}

fn has_first_migration(connection: &Connection) -> bool {
    let migrations = embedded::migrations::runner();
    let Some(first) = migrations.get_migrations().iter().min_by_key(|migration| migration.version()) else {
        return false;
    };
    let sql = "SELECT 1 FROM refinery_schema_history WHERE version = ?1 AND name = ?2 AND checksum = ?3";
    let values = (first.version(), first.name(), first.checksum().to_string());
    let found = connection.query_row(sql, values, |_| Ok(())).optional();
    matches!(found, Ok(Some(())))
}
