//! Names of files: the one that a path leads to, those beside it, and what the system tells by name alone.
//!
//! In: paths. Out: paths and facts. Nothing here opens a file.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// Links that are followed, as the system does.
const MOST_LINKS: usize = 40;

/// An open that does not wait for the other end of a pipe.
#[cfg(unix)]
pub(super) const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
/// An open that does not follow a link.
#[cfg(unix)]
pub(super) const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// Which file it is, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileId(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] PathBuf);

impl FileId {
    /// The file that the path leads to.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        #[cfg(unix)]
        return fs::metadata(path).map(|metadata| Self::of_metadata(&metadata));
        #[cfg(not(unix))]
        fs::canonicalize(path).map(Self)
    }

    /// The file that was looked at.
    #[cfg(unix)]
    pub(super) fn of_metadata(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self((metadata.dev(), metadata.ino()))
    }
}

/// The file of this ending beside the database.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The bytes of a file; none where there is none.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// One name for one file, also for one that is still to be made: with two names, two processes would hold
/// two locks.
pub(super) fn real_path(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        // A link to a file that is still to be made.
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder(&path).join(target);
    }
    match (fs::canonicalize(folder(&path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// The folder that a file is in.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether the path is the database or one of the files beside it, by whatever name. None of them is to be
/// opened by hand while the archive is open.
pub(crate) fn is_of_archive(path: &Path, db: &Path) -> bool {
    let Ok(id) = FileId::of(path) else { return false };
    let db = real_path(db);
    ["", "-wal", "-shm", "-journal", ".lock"]
        .iter()
        .any(|ending| FileId::of(&beside(&db, ending)).is_ok_and(|other| other == id))
}

/// How many names a file has.
pub(super) fn count_names(metadata: &Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(metadata);
    #[cfg(not(unix))]
    {
        let _ = metadata;
        1
    }
}

/// Whether this process may write the file, asked of the system without opening it.
pub(super) fn check_writable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        // With the rights that an open would be judged by.
        accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).map_err(io::Error::from)
    }
    #[cfg(not(unix))]
    match fs::metadata(path)?.permissions().readonly() {
        true => Err(io::ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}

/// Whether the file belongs to the account that this process runs as.
pub(super) fn is_own(path: &Path) -> bool {
    #[cfg(unix)]
    return fs::metadata(path).is_ok_and(|metadata| {
        std::os::unix::fs::MetadataExt::uid(&metadata) == rustix::process::geteuid().as_raw()
    });
    #[cfg(not(unix))]
    {
        let _ = path;
        true
    }
}

/// Gives a file a name that nothing has, all at once.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // The file system, or the system itself, does not know how.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            renamed => return renamed.map_err(io::Error::from),
        }
    }
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links: whoever makes an archive here holds its lock.
        Err(_) if fs::symlink_metadata(to).is_err() => fs::rename(from, to),
        Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_takes_nothing_elses_place() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        fs::write(&from, "new").unwrap();
        rename_new(&from, &to).unwrap();
        fs::write(&from, "newer").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        assert!(from.exists());
    }

    #[test]
    #[cfg(unix)]
    fn links_lead_to_the_file_that_is_still_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(real.join("data")).unwrap();
        std::os::unix::fs::symlink("b.db", real.join("a.db")).unwrap();
        std::os::unix::fs::symlink("data/c.db", real.join("b.db")).unwrap();
        assert_eq!(real_path(&real.join("a.db")), real.join("data/c.db"));
        assert_eq!(real_path(&real.join("none/a.db")), real.join("none/a.db"));
        // A link to itself leads nowhere.
        std::os::unix::fs::symlink("loop.db", real.join("loop.db")).unwrap();
        assert_eq!(real_path(&real.join("loop.db")), real.join("loop.db"));
    }
}
