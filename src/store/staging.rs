//! A folder for a copy that is not finished yet, beside the place where it will be kept.
//!
//! In: the folder where the copy will be. Out: a folder of its own in it, for its owner alone, which goes
//! away when it is dropped. A process that is killed cannot take its folder away: the next one that
//! works in the same place does, since the kernel let go of the lock in it.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};

use super::lock::owner_only;

/// What the folders are called, by what they are for.
pub(super) const BACKUP: &str = ".archive-backup-";
/// See [`BACKUP`].
pub(super) const RESTORE: &str = ".archive-restore-";

/// The lock in the folder: whoever can take it knows that the folder's maker has ended.
const LOCK: &str = "lock";
/// A folder is made anew where another process took it for a leftover before its lock was held.
const ATTEMPTS: usize = 20;

/// The folder; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Staging {
    // Dropped in this order: the lock is held until the folder is gone.
    folder: TempDir,
    _lock: File,
}

impl Staging {
    /// Makes the folder, and removes those that ended processes of this account left beside it.
    pub(super) fn make(beside: &Path, prefix: &str) -> io::Result<Self> {
        // Absolute, since SQLite takes a name that begins with `file:` for a URI.
        let beside = std::path::absolute(beside)?;
        for _ in 0..ATTEMPTS {
            let mut builder = Builder::new();
            builder.prefix(prefix);
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let folder = builder.tempdir_in(&beside)?;
            let lock = match owner_only().write(true).create_new(true).open(folder.path().join(LOCK)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                // Where the file system has no locks, nobody can take them and nobody removes anything.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Between the opening and the lock another process may have removed the folder.
            if folder.path().join(LOCK).exists() {
                remove_leftovers(&beside, folder.path());
                return Ok(Self { folder, _lock: lock });
            }
        }
        Err(io::Error::other("other processes remove every folder that is made there"))
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Removes what ended processes left in the folder; what cannot be removed stays, and harms nothing.
fn remove_leftovers(beside: &Path, own: &Path) {
    let Ok(entries) = fs::read_dir(beside) else { return };
    let is_ours = |name: &OsStr| {
        let name = name.as_encoded_bytes();
        [BACKUP, RESTORE].iter().any(|prefix| name.starts_with(prefix.as_bytes()))
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // Not followed where it is a link.
        let (true, Ok(metadata)) = (is_ours(&entry.file_name()) && path != own, entry.metadata()) else {
            continue;
        };
        if !has_same_owner(&metadata, own) {
            continue;
        }
        let removed = if metadata.is_dir() {
            remove_leftover_folder(&path)
        } else if metadata.is_file() {
            // Earlier versions wrote into a file of such a name, without a folder.
            lock_of_ended(&path).and_then(|_lock| fs::remove_file(&path))
        } else {
            continue;
        };
        match removed {
            Ok(()) => tracing::debug!("removed {}, which an ended process left", path.display()),
            Err(error) => tracing::debug!("{} stays: {error}", path.display()),
        }
    }
}

fn remove_leftover_folder(folder: &Path) -> io::Result<()> {
    let lock = folder.join(LOCK);
    if lock.symlink_metadata().is_err() {
        // Its maker has not come to the lock yet, and makes another folder if this one goes; or it holds
        // what a killed removal left, which is only so if there is still no lock once it is not empty.
        return fs::remove_dir(folder).or_else(|error| match lock.symlink_metadata().is_err() {
            true => fs::remove_dir_all(folder),
            false => Err(error),
        });
    }
    lock_of_ended(&lock).and_then(|_lock| fs::remove_dir_all(folder))
}

/// The lock of a process that has ended; an error where it still works, or where that cannot be known.
fn lock_of_ended(path: &Path) -> io::Result<File> {
    // Anything but a file could keep the opening waiting for ever.
    if !path.symlink_metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file = File::open(path)?;
    file.try_lock().map_err(io::Error::from)?;
    Ok(file)
}

/// In a folder that many accounts write to, each removes only what it made.
#[cfg(unix)]
fn has_same_owner(metadata: &fs::Metadata, own: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(own).is_ok_and(|own| own.uid() == metadata.uid())
}

#[cfg(not(unix))]
fn has_same_owner(_metadata: &fs::Metadata, _own: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let at_work = Staging::make(place.path(), BACKUP).unwrap();
        let kept = names(place.path());
        // A killed process's folder, one that was killed while it removed another, one of a process that
        // had not come to its lock, and a file of an earlier version.
        let killed = Staging::make(place.path(), RESTORE).unwrap();
        fs::write(killed.file("copy.db"), "half").unwrap();
        let Staging { folder, _lock } = killed;
        let _ = folder.keep();
        drop(_lock);
        fs::create_dir(place.path().join(".archive-backup-empty")).unwrap();
        fs::create_dir(place.path().join(".archive-backup-half")).unwrap();
        fs::write(place.path().join(".archive-backup-half/copy.db"), "half").unwrap();
        fs::write(place.path().join(".archive-backup-earlier"), "half").unwrap();
        let written = File::create(place.path().join(".archive-backup-locked")).unwrap();
        written.lock().unwrap();
        fs::write(place.path().join("archive-backup"), "another's").unwrap();
        assert_eq!(names(place.path()).len(), 7);

        drop(Staging::make(place.path(), BACKUP).unwrap());
        let mut expected =
            [kept, vec![".archive-backup-locked".to_owned(), "archive-backup".to_owned()]].concat();
        expected.sort();
        assert_eq!(names(place.path()), expected);
        assert!(at_work.file(LOCK).exists());
    }
}
