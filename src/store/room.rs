//! How much of the disk is free where the archive is, and whether a backfill may take more of it.
//!
//! In: the archive's path and what is to stay free. Out: nothing, or a [`NoRoom`] that says what is free and
//! what to do. Who asks, and when, is decided in `sync`: what is new must not wait for a disk to be cleaned.

use std::path::{Path, PathBuf};

/// What stays free at most unless somebody says otherwise.
const USUAL_MIN_FREE: u64 = 1 << 30;
/// The same as a part of the disk: a small one may not have as much.
const USUAL_PART: u64 = 20;

/// The disk that an archive grows on.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    folder: PathBuf,
    log: PathBuf,
    min_free: Option<u64>,
}

/// Less is free than has to stay so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no more is fetched of a whole listing: {} free on the disk of {}, and min_free is {}; what came is stored, \
     and the next sync goes on where there is room: free some, or give a smaller --min-free",
    size(*free), folder.display(), size(*min_free)
)]
pub struct NoRoom {
    folder: PathBuf,
    free: u64,
    min_free: u64,
}

/// What a file system has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk {
    free: u64,
    size: u64,
}

impl Room {
    /// The disk of this archive. `min_free`: bytes that stay free; 0: none; `None`: a gibibyte, or a
    /// twentieth of the disk where that is less.
    pub(crate) fn beside(archive: &Path, min_free: Option<u64>) -> Self {
        let folder = archive.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut log = archive.as_os_str().to_owned();
        log.push("-wal");
        Self { folder: folder.unwrap_or(Path::new(".")).to_owned(), log: log.into(), min_free }
    }

    /// Whether as much is free as has to be.
    ///
    /// # Errors
    /// [`NoRoom`]. A file system that does not say what is free is no error: a full disk is told by itself.
    pub(crate) fn check(&self) -> Result<(), NoRoom> {
        if self.min_free == Some(0) {
            return Ok(());
        }
        let Some(disk) = look(&self.folder) else { return Ok(()) };
        // What stands in the log needs as much again once it is written into the database.
        let log = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        let free = disk.free.saturating_sub(log);
        let min_free = self.min_free.unwrap_or_else(|| usual_min_free(disk));
        if free >= min_free {
            return Ok(());
        }
        Err(NoRoom { folder: self.folder.clone(), free, min_free })
    }
}

fn usual_min_free(disk: Disk) -> u64 {
    USUAL_MIN_FREE.min(disk.size / USUAL_PART)
}

#[cfg(unix)]
fn look(folder: &Path) -> Option<Disk> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    // What others than root may still write.
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    // A file system without blocks, as some in memory are, has no limit to tell.
    (disk.f_blocks > 0).then(|| Disk { free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) })
}

#[cfg(not(unix))]
fn look(_: &Path) -> Option<Disk> {
    None
}

/// A size for people, in the units that `--min-free` is given in.
fn size(bytes: u64) -> String {
    let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)].into_iter().find(|(_, shift)| bytes >= 1 << shift);
    match unit {
        Some((unit, shift)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_twentieth_free_and_a_large_one_a_gibibyte() {
        let usual = |size| usual_min_free(Disk { free: 0, size });
        assert_eq!(
            [usual(0), usual(2 << 30), usual(20 << 30), usual(1 << 40)],
            [0, (2 << 30) / 20, 1 << 30, 1 << 30]
        );
    }

    #[test]
    fn what_is_free_is_told_with_what_to_do() {
        let none = NoRoom { folder: "/data".into(), free: 300 << 20, min_free: 1 << 30 };
        assert_eq!(
            none.to_string(),
            "no more is fetched of a whole listing: 300.0 MiB free on the disk of /data, and min_free is 1.0 GiB; \
             what came is stored, and the next sync goes on where there is room: free some, or give a smaller \
             --min-free"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_has_nothing_to_tell() {
        assert_eq!(Room::beside(Path::new("/nowhere/at/all/archive.db"), Some(u64::MAX)).check(), Ok(()));
        assert_eq!(Room::beside(Path::new("archive.db"), Some(0)).check(), Ok(()));
        assert_eq!(Room::beside(Path::new("archive.db"), Some(u64::MAX)).check().is_err(), cfg!(unix));
    }
}
