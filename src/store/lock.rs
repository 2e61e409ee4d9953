//! The lock file beside the archive: one process writes at a time.
//!
//! In: the archive's path. Out: the lock, which lasts as long as the file is open and which the kernel lets
//! go of when the process ends, however; or who holds it. The file itself stays: with each process making
//! its own, two could hold two.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::names::{FileId, beside, count_names, folder, real_path};
use crate::error::is_full;

/// How long a lock is tried for: `archive status` takes it for a moment to see whether anybody is at work.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Where the lock file of an archive is.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

/// Whether a process that writes holds the archive; `None` where the lock file cannot be read, which only
/// its owner may.
pub(crate) fn is_held(path: &Path) -> Option<bool> {
    let lock_path = lock_path(&real_path(path));
    match fs::symlink_metadata(&lock_path) {
        Ok(found) if found.is_file() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
        _ => return None,
    }
    let file = without_links(OpenOptions::new().read(true)).open(&lock_path).ok()?;
    match file.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Takes the lock, and makes the folder and the lock file where there are none.
pub(super) fn lock(path: &Path) -> Result<File> {
    lock_within(path, PATIENCE)
}

fn lock_within(path: &Path, patience: Duration) -> Result<File> {
    fs::create_dir_all(folder(path))
        .map_err(|error| Error::ReadOnly { path: path.to_owned(), what: error.to_string() })?;
    let lock_path = lock_path(path);
    let unwritable = |error: io::Error| match is_full(&error) {
        true => Error::Full(path.to_owned()),
        false => Error::ReadOnly {
            path: path.to_owned(),
            what: format!("its lock file {}: {error}", lock_path.display()),
        },
    };
    let began = Instant::now();
    let mut file = loop {
        let file = open(&lock_path, unwritable)?;
        match file.try_lock() {
            // Where somebody removed the file meanwhile, this lock keeps out nobody who comes after.
            Ok(()) if is_still(&file, &lock_path) => break file,
            Err(TryLockError::Error(error)) => {
                let what = format!("locking {}: {error}", lock_path.display());
                return Err(Error::NoLocks { path: path.to_owned(), what });
            }
            Err(TryLockError::WouldBlock) if began.elapsed() >= patience => {
                return Err(Error::Held { path: path.to_owned(), holder: read_holder(file) });
            }
            Ok(()) | Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
        }
    };
    let second = open(&lock_path, unwritable)?.try_lock();
    if !keeps_apart(&second) {
        let what = format!(
            "its file system lets two hold the lock of {} at a time, so two syncs could write at once",
            lock_path.display()
        );
        return Err(Error::NoLocks { path: path.to_owned(), what });
    }
    // For the message of whoever comes second; the lock itself does not depend on it.
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unwritable)?;
    give_to_owner_of(path, &file);
    Ok(file)
}

/// Whether locks do what they are for here, told by a second try beside a lock that is held. An error in
/// its place says nothing good: the first try had none.
fn keeps_apart(second: &std::result::Result<(), TryLockError>) -> bool {
    matches!(second, Err(TryLockError::WouldBlock))
}

/// Opens the lock file, which is made where there is none, and is a file of its own: through a link, or as
/// another name of some file, what is written into it would destroy that file.
fn open(lock_path: &Path, unwritable: impl Fn(io::Error) -> Error) -> Result<File> {
    let refuse = |what| Error::LockFile { path: lock_path.to_owned(), what };
    if let Ok(found) = fs::symlink_metadata(lock_path) {
        if found.is_symlink() {
            return Err(refuse("a link, and was not followed"));
        }
        if !found.is_file() {
            return Err(refuse("no regular file"));
        }
    }
    let mut options = owner_only();
    options.read(true).write(true).create(true).truncate(false);
    let file = without_links(&mut options).open(lock_path).map_err(&unwritable)?;
    let metadata = file.metadata().map_err(&unwritable)?;
    if !metadata.is_file() {
        return Err(refuse("no regular file"));
    }
    if count_names(&metadata) > 1 {
        return Err(refuse("a file that has other names too"));
    }
    Ok(file)
}

/// Whether the name still leads to this file.
fn is_still(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    return match (file.metadata(), FileId::of(path)) {
        (Ok(metadata), Ok(named)) => FileId::of_metadata(&metadata) == named,
        _ => false,
    };
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

fn read_holder(mut file: File) -> String {
    let mut holder = String::new();
    let read = file.read_to_string(&mut holder);
    let holder = read.ok().and_then(|_| holder.trim().parse::<u32>().ok());
    holder.map(|process| format!(" (process {process})")).unwrap_or_default()
}

/// Where root archives into somebody's file, the lock is theirs too: otherwise they could not sync any more.
fn give_to_owner_of(path: &Path, lock: &File) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let (Ok(owned), Ok(found)) = (fs::metadata(path), lock.metadata()) else { return };
        if rustix::process::geteuid().is_root() && owned.uid() != found.uid() {
            // Whoever cannot be given the file is told when they need it.
            fchown(lock, Some(owned.uid()), Some(owned.gid())).ok();
        }
    }
    #[cfg(not(unix))]
    let _ = (path, lock);
}

/// Makes files that only their owner reads.
pub(super) fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Opens what has the name itself, at once.
fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, super::names::NOFOLLOW | super::names::NONBLOCK);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_that_refuses_a_second_holder_keeps_two_apart() {
        assert!(keeps_apart(&Err(TryLockError::WouldBlock)));
        assert!(!keeps_apart(&Ok(())), "a file system whose locks do nothing");
        assert!(!keeps_apart(&Err(TryLockError::Error(io::ErrorKind::Unsupported.into()))));
    }

    #[test]
    fn whether_a_writer_is_at_work_is_told_without_holding_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        assert_eq!(is_held(&path), Some(false), "no lock file");
        let held = lock(&path).unwrap();
        assert_eq!(is_held(&path), Some(true));
        assert!(matches!(lock(&path), Err(Error::Held { .. })));
        drop(held);
        assert_eq!(is_held(&path), Some(false));
        lock(&path).unwrap();
    }

    #[test]
    fn a_lock_that_is_held_for_a_moment_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(lock(&path).unwrap());
        let (begin, begun) = std::sync::mpsc::channel();
        // As `archive status` holds it, who looks whether anybody is at work.
        let look = File::open(lock_path(&path)).unwrap();
        look.lock_shared().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                begin.send(()).unwrap();
                lock_within(&path, Duration::from_secs(60)).map(drop)
            });
            begun.recv().unwrap();
            drop(look);
            waiting.join().unwrap().unwrap();
        });
    }
}
