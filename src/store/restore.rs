//! A checked copy put in the archive's place, step by step, so that a kill between any two of them leaves the
//! archive that was there, or the restored one.
//!
//! In: the archive's place and a file that was copied before. Out: the copy under the archive's name, and what
//! was there under a dated name beside it. Nothing is deleted but a log that SQLite has folded in, and no new
//! file ever stands beside an old log: SQLite would fold that log into it and destroy it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::ErrorCode;
use rusqlite::config::DbConfig;

use super::backup::{self, Copy, INDEX, LOGS, find_foreign_log, find_own_file, name_file, sync_folder};
use super::handle::Handle;
use super::header::{Found, inspect};
use super::lock::lock;
use super::lock::lock_path;
use super::names::{beside, real_path};
use super::names::{count_names, length};
use super::sqlite::prepare_connection;
use crate::time::UtcText;

/// How long somebody who reads or writes the archive for a moment is waited for.
const READERS_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a file is asked for that another program still holds.
const PAUSE: Duration = Duration::from_millis(20);

/// Why an archive is not restored. What was there is as it was.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum Error {
    #[error(transparent)]
    Copy(super::Error),
    /// Anything that can be wrong with the archive that is there, or with its place.
    #[error(transparent)]
    Store(#[from] super::Error),
    /// What is to be restored is what would be replaced.
    #[error("{} is the archive itself, or a file that belongs to it", .0.display())]
    OwnFile(PathBuf),
    /// Somebody reads or writes the archive without its lock.
    #[error("another program has {} open", .0.display())]
    InUse(PathBuf),
    /// The archive that is there cannot be kept.
    #[error("keeping {} under another name: {source}", .path.display())]
    Keep { path: PathBuf, source: io::Error },
}

/// Results of this module.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What went wrong with the copy, told of the file that it is a copy of: nobody knows the copy's own name.
    #[must_use]
    pub(crate) fn of_copy(error: super::Error, file: &Path) -> Self {
        use super::error::Error as E;
        let path = file.to_owned();
        Self::Copy(match error {
            E::Missing(_) => E::Missing(path),
            E::NotADatabase(_) => E::NotADatabase(path),
            E::NotAnArchive(_) => E::NotAnArchive(path),
            E::Newer { found, known, .. } => E::Newer { path, found, known },
            E::Older(_) => E::Older(path),
            E::Damaged { what, .. } => E::Damaged { path, what },
            E::Sqlite { what, .. } => E::Sqlite { path, what },
            E::Unreadable { what, .. } => E::Unreadable { path, what },
            // The place where the copy is made, or the copy's file, which only differ in what they are called.
            error => return Self::Store(error),
        })
    }
}

/// One step of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// SQLite's exclusive lock is taken, and under it the log is folded into the archive that is there.
    /// Where that archive is too damaged for it, no other program is let at the file, and that is all.
    Hold,
    /// The copy gets the dated name under which the archive that is there will be kept.
    NameCopy,
    /// The copy and the archive that is there exchange their names, at once.
    Exchange,
    /// The archive that is there gets its dated name as a second one.
    Link,
    /// Each log gets its dated name as a second one.
    LinkLogs,
    /// Each log loses its old name; where there is no archive any more it gets the dated one.
    RemoveLogs,
    /// The copy gets the archive's name, in the place of what has it.
    Replace,
}

/// What is at the archive's place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Present {
    Nothing,
    /// A file that SQLite may be able to read.
    Archive,
    /// One that it cannot read whole, and why.
    Damaged(String),
}

/// What keeps other programs from the file while it is replaced. Only one of the two: closing any
/// descriptor of a file takes the locks that SQLite has on it.
#[derive(Debug)]
enum Hold {
    Nothing,
    Sqlite { _connection: Handle },
    File { _file: File },
}

/// A restore under way, with the archive's lock.
#[derive(Debug)]
pub struct Restore {
    path: PathBuf,
    copy: Copy,
    present: Present,
    hold: Hold,
    /// The dated name, once something is kept under it.
    set_aside: Option<PathBuf>,
    now: UtcText,
    remaining: VecDeque<Step>,
    _lock: File,
}

impl Restore {
    /// Takes the archive's lock, and copies `file` beside the archive; the copy is to be checked next.
    ///
    /// # Errors
    /// Another process holds the archive, what is there is no archive, or `file` cannot be used.
    pub fn begin(path: &Path, file: &Path, now: UtcText) -> Result<Self> {
        if find_own_file(path, file).is_some() {
            return Err(Error::OwnFile(file.to_owned()));
        }
        let path = std::path::absolute(real_path(path)).map_err(|source| super::Error::Io {
            doing: "finding",
            path: path.to_owned(),
            source,
        })?;
        // A header that says nothing of an archive may be what is left of one, if one was here.
        let was_archive = lock_path(&path).exists();
        look(&path, was_archive)?;
        if !file.exists() {
            return Err(Error::Copy(super::Error::Missing(file.to_owned())));
        }
        if let Ok(found) = fs::metadata(&path)
            && count_names(&found) > 1
        {
            // The other names would go on meaning what was here.
            return Err(super::Error::SeveralNames { count: count_names(&found), path }.into());
        }
        let lock = lock(&path)?;
        let copy = Copy::of_file(file, &path).map_err(|error| Error::of_copy(error, file))?;
        let present = look(&path, was_archive)?;
        let remaining = match present {
            Present::Nothing => VecDeque::from([Step::RemoveLogs, Step::Replace]),
            Present::Archive | Present::Damaged(_) => VecDeque::from([Step::Hold]),
        };
        let (hold, set_aside) = (Hold::Nothing, None);
        Ok(Self { path, copy, present, hold, set_aside, now, remaining, _lock: lock })
    }

    /// The copy, which is restored as it is.
    pub(crate) fn copy(&self) -> &Copy {
        &self.copy
    }

    /// Where what was there is kept, with its logs where they could not be folded in.
    pub(crate) fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// What is kept and has a name now: the archive that was there, or its logs alone where it was gone.
    pub fn kept(&self) -> Vec<PathBuf> {
        let Some(aside) = &self.set_aside else { return Vec::new() };
        let names = ["", LOGS[0], LOGS[1], INDEX].map(|ending| beside(aside, ending));
        names.into_iter().filter(|name| name.symlink_metadata().is_ok()).collect()
    }

    /// What was wrong with the archive that was there, if SQLite could not read it.
    pub(crate) fn damage(&self) -> Option<&str> {
        match &self.present {
            Present::Damaged(what) => Some(what),
            Present::Nothing | Present::Archive => None,
        }
    }

    /// Takes the next step; `None` once the archive is restored.
    ///
    /// # Errors
    /// The step cannot be taken. What was there has its name and its log still or, where it is damaged, has
    /// them under its dated name.
    pub fn next_step(&mut self) -> Result<Option<Step>> {
        let Some(step) = self.remaining.pop_front() else { return Ok(None) };
        match step {
            Step::Hold => self.hold()?,
            Step::NameCopy => {
                let aside = self.choose_name("replaced");
                name_file(&self.copy.path(), &aside, false)?;
                self.set_aside = Some(aside);
                sync_folder(&self.path)?;
            }
            Step::Exchange => {
                let aside = self.chosen_name("replaced");
                exchange(&self.path, &aside).map_err(|source| {
                    // The copy goes; the archive is where it was.
                    fs::remove_file(&aside).ok();
                    Error::Keep { path: self.path.clone(), source }
                })?;
                sync_folder(&self.path)?;
            }
            Step::Link => {
                let suffix = if self.damage().is_some() { "damaged" } else { "replaced" };
                let aside = self.chosen_name(suffix);
                self.link(&self.path, &aside)?;
                self.set_aside = Some(aside);
                sync_folder(&self.path)?;
            }
            Step::LinkLogs => {
                let aside = self.chosen_name("damaged");
                for log in self.logs() {
                    self.link(&log, &renamed(&self.path, &log, &aside))?;
                }
                self.set_aside = Some(aside);
            }
            Step::RemoveLogs => {
                let aside = self.chosen_name("damaged");
                for log in self.logs() {
                    let removed = match self.present {
                        Present::Nothing => {
                            self.set_aside = Some(aside.clone());
                            fs::rename(&log, renamed(&self.path, &log, &aside))
                        }
                        Present::Archive | Present::Damaged(_) => fs::remove_file(&log),
                    };
                    removed.map_err(|source| Error::Keep { path: log, source })?;
                }
                sync_folder(&self.path)?;
            }
            Step::Replace => {
                name_file(&self.copy.path(), &self.path, self.present != Present::Nothing)?;
                sync_folder(&self.path)?;
            }
        }
        Ok(Some(step))
    }

    /// Keeps others from the archive that is there, and decides how it is replaced.
    fn hold(&mut self) -> Result<()> {
        if self.present == Present::Archive {
            match fold_log(&self.path) {
                Ok(connection) => self.hold = Hold::Sqlite { _connection: connection },
                Err(Error::Store(super::Error::Damaged { what, .. })) => {
                    self.present = Present::Damaged(what)
                }
                Err(error) => return Err(error),
            }
        }
        if self.present == Present::Archive {
            // With its log folded in nothing else belongs to the file: what is left is empty or void.
            for left in self.logs() {
                fs::remove_file(&left).map_err(|source| Error::Keep { path: left, source })?;
            }
        } else {
            self.hold = Hold::File { _file: lock_whole(&self.path)? };
        }
        self.copy_owner()?;
        sync_folder(&self.path)?;
        self.remaining = match &self.present {
            Present::Archive if self.can_exchange() => [Step::NameCopy, Step::Exchange].into(),
            // Between the two the archive has two names.
            Present::Archive => [Step::Link, Step::Replace].into(),
            Present::Damaged(_) | Present::Nothing => {
                [Step::LinkLogs, Step::Link, Step::RemoveLogs, Step::Replace].into()
            }
        };
        Ok(())
    }

    /// The restored archive is read by those who could read the one before.
    fn copy_owner(&self) -> Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt as _, chown};
            let copy = self.copy.path();
            let given = fs::metadata(&self.path).and_then(|present| {
                let own = fs::metadata(&copy)?;
                if (own.uid(), own.gid()) != (present.uid(), present.gid()) {
                    chown(&copy, Some(present.uid()), Some(present.gid()))?;
                }
                fs::set_permissions(&copy, present.permissions())
            });
            given.map_err(|source| super::Error::Io {
                doing: "giving a copy the owner of",
                path: self.path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Whether the file system exchanges two names at once: tried with two files that nobody needs.
    fn can_exchange(&self) -> bool {
        let (one, other) = (self.copy.staging.file("one"), self.copy.staging.file("other"));
        let exchanged =
            fs::write(&one, "").and_then(|()| fs::write(&other, "")).and_then(|()| exchange(&one, &other));
        exchanged.is_ok()
    }

    fn link(&self, from: &Path, to: &Path) -> Result<()> {
        fs::hard_link(from, to).map_err(|source| Error::Keep { path: from.to_owned(), source })
    }

    /// What stands beside the archive: its logs and their index.
    fn logs(&self) -> Vec<PathBuf> {
        let names = LOGS.into_iter().chain([INDEX]).map(|ending| beside(&self.path, ending));
        names.filter(|name| name.symlink_metadata().is_ok()).collect()
    }

    /// The dated name, as it was chosen before.
    fn chosen_name(&self, suffix: &str) -> PathBuf {
        self.set_aside.clone().unwrap_or_else(|| self.choose_name(suffix))
    }

    /// `archive.db.2026-11-25T10-00-00Z.replaced`, with a number where that is taken.
    fn choose_name(&self, suffix: &str) -> PathBuf {
        let second = self.now.as_str().get(..19).unwrap_or_default().replace(':', "-");
        let name = |number: u32| {
            let number = if number == 1 { String::new() } else { format!("-{number}") };
            beside(&self.path, &format!(".{second}Z{number}.{suffix}"))
        };
        let is_free = |name: &PathBuf| {
            let beside = LOGS.into_iter().chain([INDEX, ""]).map(|ending| beside(name, ending));
            beside.into_iter().all(|name| name.symlink_metadata().is_err())
        };
        (1..).map(name).find(is_free).unwrap_or_else(|| name(1))
    }
}

/// What is there, seen without SQLite. What was never an archive is not touched.
fn look(path: &Path, was_archive: bool) -> Result<Present> {
    let stranger = || super::Error::NotADatabase(path.to_owned());
    let length = match fs::metadata(path) {
        Ok(found) if found.is_file() => found.len(),
        Ok(_) => return Err(stranger().into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Present::Nothing),
        Err(source) => {
            return Err(super::Error::Io { doing: "reading", path: path.to_owned(), source }.into());
        }
    };
    match inspect(path) {
        Ok(Found::Archive) => Ok(find_foreign_log(path).map_or(Present::Archive, Present::Damaged)),
        // SQLite would throw the log of an empty file away.
        Ok(Found::Nothing) if length == 0 && backup::find_log(path).is_some() => {
            Ok(Present::Damaged("it is empty, and the log beside it is not".to_owned()))
        }
        Ok(Found::Nothing) => Ok(Present::Archive),
        Err(super::Error::Damaged { what, .. }) => Ok(Present::Damaged(what)),
        Err(super::Error::NotADatabase(_)) if was_archive => {
            Ok(Present::Damaged("its first bytes are not those of a database".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// SQLite's exclusive lock on the archive that is there, with its log folded in. Whoever only looked for a
/// moment is waited for.
fn fold_log(path: &Path) -> Result<Handle> {
    let sqlite = |error: rusqlite::Error| Error::Store(super::Error::from_sqlite(path, &error));
    let connection = Handle::open(path).map_err(sqlite)?;
    prepare_connection(&connection).map_err(sqlite)?;
    connection.busy_timeout(Duration::ZERO).map_err(sqlite)?;
    // A damaged archive is kept with its log: closing would fold the log in and delete it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(sqlite)?;
    let mode = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0));
    let take = || {
        // Leaving the log takes the whole file: SQLite refuses where anybody else has it open.
        mode("PRAGMA journal_mode = DELETE")?;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        // Between the two somebody may have come and brought a log again.
        let is_folded = mode("PRAGMA journal_mode")? == "delete" && length(&beside(path, "-wal")) == 0;
        if !is_folded {
            connection.execute_batch("ROLLBACK")?;
        }
        Ok::<_, rusqlite::Error>(is_folded)
    };
    let deadline = Instant::now() + READERS_TIMEOUT;
    loop {
        match take() {
            Ok(true) => return Ok(connection),
            Err(error) if !is_busy(&error) => return Err(sqlite(error)),
            Ok(false) | Err(_) if Instant::now() >= deadline => return Err(Error::InUse(path.to_owned())),
            Ok(false) | Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// All bytes of a file that SQLite cannot read, among them those that SQLite's locks are on: it is refused
/// where any program has the file open, and no program begins to read it.
fn lock_whole(path: &Path) -> Result<File> {
    let unopened = |source| super::Error::Io { doing: "locking", path: path.to_owned(), source };
    let file = File::options().read(true).write(true).open(path).map_err(unopened)?;
    #[cfg(unix)]
    {
        use rustix::fs::{FlockOperation, fcntl_lock};
        use rustix::io::Errno;
        let deadline = Instant::now() + READERS_TIMEOUT;
        loop {
            match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::AGAIN | Errno::ACCESS) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::AGAIN | Errno::ACCESS) => return Err(Error::InUse(path.to_owned())),
                Err(error) => return Err(unopened(error.into()).into()),
            }
        }
    }
    Ok(file)
}

/// The dated name of what stands beside the archive: its ending after the archive's dated name, since SQLite
/// finds a log by it.
fn renamed(path: &Path, beside_it: &Path, aside: &Path) -> PathBuf {
    let endings = LOGS.into_iter().chain([INDEX]);
    let ending = endings.into_iter().find(|ending| beside(path, ending) == beside_it);
    beside(aside, ending.unwrap_or_default())
}

/// Two files exchange their names at once.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Archive, Reader};

    /// An archive that a sync began at this time in.
    fn make(path: &Path, began: &str) -> UtcText {
        let began = UtcText::parse_sent(began).unwrap();
        let mut archive = Archive::open(path, 1).unwrap();
        archive.write(|archive| archive.begin_sync("sync", &began)).unwrap();
        archive.close().unwrap();
        began
    }

    fn read(path: &Path) -> String {
        Reader::open(path).unwrap().read_last_sync().unwrap().unwrap().started_at
    }

    #[test]
    fn where_names_cannot_be_exchanged_the_archive_has_two_for_a_moment_and_is_never_missing() {
        for taken in 0..=4 {
            let folder = tempfile::tempdir().unwrap();
            let (path, file) = (folder.path().join("a.db"), folder.path().join("b.db"));
            let old = make(&path, "2026-01-01T00:00:00Z");
            let new = make(&file, "2025-01-01T00:00:00Z");
            let mut restore = Restore::begin(&path, &file, new).unwrap();
            for _ in 0..taken {
                let step = restore.next_step().unwrap();
                if step == Some(Step::Hold) {
                    // As `hold` decides on a file system that does not exchange names.
                    assert!(restore.can_exchange());
                    restore.remaining = [Step::Link, Step::Replace].into();
                }
            }
            let aside = restore.set_aside().map(Path::to_owned);
            drop(restore);
            let expected = if taken < 3 { &old } else { &new };
            assert_eq!(read(&path), expected.as_str(), "{taken}");
            assert_eq!(aside.is_some(), taken >= 2);
            if let Some(aside) = aside {
                assert_eq!(read(&aside), old.as_str());
            }
        }
    }
}
