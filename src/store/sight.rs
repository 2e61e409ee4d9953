//! How the files of an archive look from outside, for an account that may read the database file and
//! nothing else of it.
//!
//! In: a path. Out: a [`Sight`] to compare with a later one. Such an account takes no lock, so nobody waits
//! for it. What it can be sure of: while there is no log, all commits are in the file; and a file whose
//! change counter, size and time of change are the same before and after a question was not written meanwhile.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::error::{Error, NotWhole, Result};
use super::header::read_change_counter;
use super::names::{FileId, beside, length};

/// File systems note the time of a change only so finely: two changes within it look like one.
const FINENESS: Duration = Duration::from_millis(50);
/// How often a file is looked at that is changed again and again.
const MOST_LOOKS: u32 = 20;

/// What is seen of the database file and the files beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    file: FileId,
    bytes: u64,
    changed_at: Option<SystemTime>,
    counter: Option<[u8; 4]>,
    log_bytes: u64,
    journal_bytes: u64,
}

impl Sight {
    /// Looks at the files as they are now.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let unreadable =
            |error: std::io::Error| Error::Unreadable { path: path.to_owned(), what: error.to_string() };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        Ok(Self {
            file: FileId::of(path).map_err(unreadable)?,
            bytes: metadata.len(),
            changed_at: metadata.modified().ok(),
            counter: read_change_counter(path),
            log_bytes: length(&beside(path, "-wal")),
            journal_bytes: length(&beside(path, "-journal")),
        })
    }

    /// Looks until the last change is long enough ago for a further one to be seen.
    pub(super) fn take_settled(path: &Path) -> Result<Self> {
        for _ in 0..MOST_LOOKS {
            let sight = Self::take(path)?;
            let age = sight.changed_at.and_then(|at| SystemTime::now().duration_since(at).ok());
            match age {
                Some(age) if age < FINENESS => std::thread::sleep(FINENESS - age),
                _ => return Ok(sight),
            }
        }
        Err(Error::Moved(path.to_owned()))
    }

    /// Whether the file alone is the whole archive; `is_held` is whether a writer holds it, where that can be
    /// seen.
    pub(super) fn check_whole(
        &self,
        path: &Path,
        is_held: Option<bool>,
    ) -> std::result::Result<(), NotWhole> {
        if self.log_bytes > 0 {
            return Err(NotWhole::Log(beside(path, "-wal")));
        }
        if self.journal_bytes > 0 {
            return Err(NotWhole::Journal(beside(path, "-journal")));
        }
        if is_held == Some(true) {
            return Err(NotWhole::Writer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_alone_is_whole_only_without_log_journal_and_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        fs::write(&path, b"x").unwrap();
        let still = Sight::take_settled(&path).unwrap();
        assert_eq!(still, Sight::take(&path).unwrap());
        assert_eq!(still.check_whole(&path, None), Ok(()));
        assert_eq!(still.check_whole(&path, Some(false)), Ok(()));
        assert_eq!(still.check_whole(&path, Some(true)), Err(NotWhole::Writer));
        let logged = Sight { log_bytes: 1, ..still.clone() };
        assert_eq!(logged.check_whole(&path, None), Err(NotWhole::Log(beside(&path, "-wal"))));
        let broken_off = Sight { journal_bytes: 1, ..still.clone() };
        assert_eq!(broken_off.check_whole(&path, None), Err(NotWhole::Journal(beside(&path, "-journal"))));
        fs::write(&path, b"y").unwrap();
        assert_ne!(still, Sight::take(&path).unwrap(), "a change of the same length");
    }
}
