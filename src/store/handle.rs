//! The connections of this process to database files, and looks at such files without SQLite.
//!
//! In: a path. Out: a [`Handle`], or the first bytes of the file. The system's record locks belong to a
//! process and a file: closing any descriptor of the file drops all of them, also those that SQLite took
//! through another descriptor. Whoever comes then believes that nobody uses the log, and deletes it. So a
//! file is opened by hand only while no handle of this process has it open, and both happen here alone.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::names::FileId;

/// The files that SQLite may hold locks on, once for each handle. It is held while a file is opened by hand.
static OPENED: Mutex<Vec<FileId>> = Mutex::new(Vec::new());

fn opened() -> MutexGuard<'static, Vec<FileId>> {
    // A list of numbers is whole, whatever a thread died of.
    OPENED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that this process knows of until it is closed.
#[derive(Debug)]
pub(crate) struct Handle {
    // Fields are dropped in their order: SQLite lets go of the file before it is said to be closed.
    connection: Connection,
    entry: Entry,
}

/// A line of [`OPENED`]; none for a connection that takes no locks.
#[derive(Debug)]
struct Entry(Option<FileId>);

impl Drop for Entry {
    fn drop(&mut self) {
        let mut opened = opened();
        if let Some(at) = self.0.as_ref().and_then(|id| opened.iter().position(|other| other == id)) {
            opened.swap_remove(at);
        }
    }
}

/// How SQLite is to use a file that this account may read but not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOnly {
    /// With its locks and the log that is there; nothing is made beside the file.
    Shared,
    /// The bytes of the file as they lie, without locks and whatever the log holds.
    Alone,
}

impl Handle {
    /// Opens a file that is there; SQLite reads only where the system lets it do no more.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        Self::open_known(path, &plain(path), OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens a file that is there so that nothing is written to it, nor made beside it.
    pub(super) fn open_read_only(path: &Path, how: ReadOnly) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        match how {
            ReadOnly::Shared => {
                Self::open_known(path, Path::new(&uri(path, "mode=ro&readonly_shm=1")), flags)
            }
            ReadOnly::Alone => {
                let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(uri(path, "immutable=1"), flags)?;
                Ok(Self { connection, entry: Entry(None) })
            }
        }
    }

    fn open_known(path: &Path, name: &Path, flags: OpenFlags) -> rusqlite::Result<Self> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut opened = opened();
        loop {
            let before = FileId::of(path).ok();
            let connection = Connection::open_with_flags(name, flags)?;
            // Where the name was given to another file meanwhile, it is not known which of them was opened.
            let id = FileId::of(path).ok();
            if id.is_some() && id == before {
                opened.extend(id.clone());
                return Ok(Self { connection, entry: Entry(id) });
            }
        }
    }

    #[cfg(test)]
    pub(super) fn in_memory() -> rusqlite::Result<Self> {
        Ok(Self { connection: Connection::open_in_memory()?, entry: Entry(None) })
    }

    /// Closes the connection and tells what SQLite says to that.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        let Self { connection, entry } = self;
        let closed = connection.close().map_err(|(_, error)| error);
        drop(entry);
        closed
    }
}

impl Deref for Handle {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Handle {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// What a file begins with.
#[derive(Debug)]
pub(super) enum Start {
    /// Its first bytes, as many as were asked for and there are.
    Bytes(Vec<u8>, Metadata),
    /// A folder, a pipe, a device or the like; it was not opened.
    NoFile,
    /// A handle of this process has it open; what it is was seen before.
    Open,
}

/// Reads the first bytes of a file, by hand, where that costs nobody a lock.
pub(super) fn read_start(path: &Path, most: u64) -> io::Result<Start> {
    let opened = opened();
    // Looking at the name opens nothing.
    if !fs::metadata(path)?.is_file() {
        return Ok(Start::NoFile);
    }
    if opened.contains(&FileId::of(path)?) {
        return Ok(Start::Open);
    }
    let file = open_at_once(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Start::NoFile);
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    drop(opened);
    Ok(Start::Bytes(bytes, metadata))
}

/// Opens for reading, and does not wait for a writer where the name was given to a pipe meanwhile.
fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, super::names::NONBLOCK);
    options.open(path)
}

/// A name that SQLite takes for a file's name: `file:x` and `:memory:` mean something else to it.
fn plain(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

/// The file's name with words for SQLite on how to open it.
fn uri(path: &Path, parameters: &str) -> String {
    let mut uri = String::from("file:");
    for byte in plain(path).as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(parameters);
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_opened_by_hand_while_a_handle_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        fs::write(&path, b"").unwrap();
        let look = || read_start(&path, 10).unwrap();
        assert!(matches!(look(), Start::Bytes(..)));
        let one = Handle::open(&path).unwrap();
        let other = Handle::open(&path).unwrap();
        assert!(matches!(look(), Start::Open));
        // By another name it is the same file.
        let link = folder.path().join("b.db");
        fs::hard_link(&path, &link).unwrap();
        assert!(matches!(read_start(&link, 10).unwrap(), Start::Open));
        drop(one);
        assert!(matches!(look(), Start::Open));
        other.close().unwrap();
        assert!(matches!(look(), Start::Bytes(..)));
    }

    #[test]
    fn what_is_no_name_of_a_file_to_sqlite_is_one_all_the_same() {
        assert_eq!(plain(Path::new("file:a.db?mode=memory")), Path::new("./file:a.db?mode=memory"));
        assert_eq!(plain(Path::new(":memory:")), Path::new("./:memory:"));
        assert_eq!(plain(Path::new("/x/file:a.db")), Path::new("/x/file:a.db"));
        assert_eq!(uri(Path::new("/x/ü?#.db"), "a=1"), "file:/x/%C3%BC%3F%23.db?a=1");
    }
}
