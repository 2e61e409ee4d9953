//! A new archive: made whole under a name of its own, then given the archive's name in one step.
//!
//! In: a path with nothing, or an empty file, and the archive's lock, which the caller holds. Out: the one
//! file, without a log. Whoever is killed meanwhile leaves a file of the other name, which is of no worth
//! and which the next holder of the lock removes.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use super::handle::Handle;
use super::lock::owner_only;
use super::migrate::migrate;
use super::names::{beside, folder, length, rename_new};
use super::sqlite::{APPLICATION_ID, prepare_connection};
use crate::error::is_full;

/// 16 KiB pages: rows are short and come in order, so larger pages mean fewer of them to write.
const PAGE_SIZE: u32 = 16_384;
/// The header of a log; without more there is no commit in it.
const LOG_HEADER_BYTES: u64 = 32;
/// Names that are tried for a log that is set aside.
const MOST_ASIDE: u32 = 1_000;

/// The name that a new archive has until it is whole.
pub(super) fn part(path: &Path) -> PathBuf {
    beside(path, ".archive-new")
}

/// Makes an archive without a row.
pub(super) fn make(path: &Path) -> Result<()> {
    let part = part(path);
    let made = write_whole(path, &part).and_then(|()| give_name(path, &part));
    if made.is_err() {
        remove_leftovers(path);
    }
    made
}

/// Removes what a process left that was killed while it made this archive.
pub(super) fn remove_leftovers(path: &Path) {
    for ending in ["", "-journal", "-wal", "-shm"] {
        // None is there as a rule, and one that cannot be removed stops only whoever makes a new archive.
        fs::remove_file(beside(&part(path), ending)).ok();
    }
}

fn refused(path: &Path, source: io::Error) -> Error {
    if is_full(&source) {
        return Error::Full(path.to_owned());
    }
    Error::ReadOnly { path: path.to_owned(), what: source.to_string() }
}

/// What keeps a name that a new archive needs: this account could write, were it not there.
fn blocked(path: &Path, name: &Path, source: io::Error) -> Error {
    let is_left = fs::symlink_metadata(name).is_ok_and(|found| !found.is_file());
    if is_left { Error::InTheWay(name.to_owned()) } else { refused(path, source) }
}

fn write_whole(path: &Path, part: &Path) -> Result<()> {
    let refused = |error| refused(path, error);
    // Its owner alone reads it; its log takes over the permissions.
    owner_only().write(true).create_new(true).open(part).map_err(|error| blocked(path, part, error))?;
    let sqlite = |error: rusqlite::Error| Error::from_sqlite(path, &error);
    let mut connection = Handle::open(part).map_err(sqlite)?;
    prepare_connection(&connection).map_err(sqlite)?;
    // Until it has its name it is thrown away whenever something goes wrong.
    connection.pragma_update(None, "journal_mode", "MEMORY").map_err(sqlite)?;
    connection.pragma_update(None, "synchronous", "OFF").map_err(sqlite)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(sqlite)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
    migrate(&mut connection, path)?;
    // The header says that a log is used; closing puts away the empty log of this connection.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(sqlite)?;
    connection.close().map_err(sqlite)?;
    File::open(part).and_then(|file| file.sync_all()).map_err(refused)
}

fn give_name(path: &Path, part: &Path) -> Result<()> {
    set_log_aside(path)?;
    let named = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => rename_new(part, path),
        // Somebody's `touch` or `mktemp`: who may read it was their choice.
        Ok(empty) if empty.is_file() && empty.len() == 0 => {
            take_rights(part, &empty).and_then(|()| fs::rename(part, path))
        }
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) => Err(error),
    };
    named.map_err(|error| refused(path, error))?;
    // The name is safe once its folder is written.
    if let Ok(folder) = File::open(folder(path)) {
        folder.sync_all().ok();
    }
    Ok(())
}

/// Gives the new file the permissions, and as far as this account may the owner, of the one whose place it
/// takes.
fn take_rights(part: &Path, empty: &Metadata) -> io::Result<()> {
    fs::set_permissions(part, empty.permissions())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let made = fs::metadata(part)?;
        if (made.uid(), made.gid()) != (empty.uid(), empty.gid()) {
            let mode = match chown(part, Some(empty.uid()), Some(empty.gid())) {
                Ok(()) => empty.mode(),
                // What was meant for its group is not for another one.
                Err(_) => empty.mode() & !0o070,
            };
            // A new owner may have taken away some of the permissions.
            fs::set_permissions(part, fs::Permissions::from_mode(mode & 0o777))?;
        }
    }
    Ok(())
}

/// A log, or a journal, whose database is gone would be taken for the new one's. It may hold what nothing else
/// does, or what makes a database whole that was moved away, so it is given another name.
fn set_log_aside(path: &Path) -> Result<()> {
    for (ending, empty) in [("-wal", LOG_HEADER_BYTES), ("-journal", 0)] {
        let log = beside(path, ending);
        // A log that holds no page holds nothing that could be lost, and is removed below.
        if length(&log) <= empty {
            continue;
        }
        let names = (1..=MOST_ASIDE).map(|number| beside(path, &format!("{ending}.orphan-{number}")));
        let aside = names.into_iter().find(|aside| rename_new(&log, aside).is_ok());
        let Some(aside) = aside else {
            let what = format!("the log {} of a database that is gone is in the way", log.display());
            return Err(Error::ReadOnly { path: path.to_owned(), what });
        };
        tracing::warn!(
            "the database of the log {} was gone; the log was kept as {}",
            log.display(),
            aside.display()
        );
    }
    for ending in ["-wal", "-shm", "-journal"] {
        let left = beside(path, ending);
        match fs::remove_file(&left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(blocked(path, &left, error)),
            _ => {}
        }
    }
    Ok(())
}
