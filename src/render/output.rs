//! Where data goes: to standard output, or into a file that appears whole or not at all.
//!
//! In: a path, or none. Out: a writer, and at the end the file in its place. Until then whoever reads the path
//! sees what was there before. The archive itself is never written over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::error::{CommandError, ExitCode, is_full};

/// A place for data.
#[derive(Debug)]
pub(crate) struct Output {
    target: Destination,
}

#[derive(Debug)]
enum Destination {
    Stdout,
    /// A device or a pipe, which cannot be replaced.
    Stream {
        path: PathBuf,
    },
    /// A file beside the one that it will become.
    File {
        part: TempPath,
        path: PathBuf,
    },
}

impl Output {
    /// Standard output, or this file, which must not be one of the archive `db`.
    ///
    /// # Errors
    /// The file is part of the archive (wrong usage), or cannot be made.
    pub(crate) fn open(
        path: Option<&Path>,
        db: &Path,
    ) -> Result<(Self, Box<dyn Write + Send>), CommandError> {
        let Some(path) = path else {
            return Ok((Self { target: Destination::Stdout }, Box::new(io::stdout())));
        };
        if is_of_archive(path, db) {
            let error = anyhow::anyhow!("{} is part of the archive, and was left as it is", path.display());
            return Err(CommandError::new(ExitCode::Usage, error).with_hint("choose another --output"));
        }
        let opened = match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Ok(found) if !found.is_file() => {
                open_stream(path, &found).map(|file| (Destination::Stream { path: path.to_owned() }, file))
            }
            _ => create_beside(path),
        };
        let (target, file) = opened.map_err(|error| failed(path, error))?;
        Ok((Self { target }, Box::new(file)))
    }

    /// Puts the file into its place; all was written to it and nothing went wrong.
    pub(crate) fn keep(self) -> Result<(), CommandError> {
        match self.target {
            Destination::Stdout | Destination::Stream { .. } => Ok(()),
            Destination::File { part, path } => {
                part.persist(&path).map_err(|error| failed(&path, error.error))
            }
        }
    }

    /// The error of a write that failed, with the place's name.
    pub(crate) fn failed(&self, error: io::Error) -> CommandError {
        match &self.target {
            Destination::Stdout if is_full(&error) => full("standard output"),
            Destination::Stdout => {
                let error = anyhow::Error::new(error).context("writing to standard output");
                CommandError::new(ExitCode::Failed, error)
            }
            Destination::Stream { path } | Destination::File { path, .. } => failed(path, error),
        }
    }

    /// Whether a reader that left is no error.
    pub(crate) fn may_be_left(&self) -> bool {
        !matches!(self.target, Destination::File { .. })
    }
}

/// Writes data to standard output. A reader that left is no error: there is nothing more to say, and
/// the command ends as it would have. Clear the progress display first.
///
/// # Errors
/// Anything else, such as a full disk behind a redirection; exit code 1.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("writing to standard output");
            Err(CommandError::new(ExitCode::Failed, error))
        }
        _ => Ok(()),
    }
}

/// A device, or a pipe that this process was given open. The open of any other pipe waits for its reader, and nobody
/// may ever come.
fn open_stream(path: &Path, found: &fs::Metadata) -> io::Result<File> {
    #[cfg(unix)]
    if std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type()) && !is_own_descriptor(path) {
        return Err(io::Error::other(
            "it is a named pipe; leave out --output, and send standard output there",
        ));
    }
    #[cfg(not(unix))]
    let _ = found;
    OpenOptions::new().write(true).open(path)
}

/// Whether the path means standard output or error, or what a shell's `>(…)` made.
#[cfg(unix)]
fn is_own_descriptor(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::to_str);
    [Path::new("/dev/stdout"), Path::new("/dev/stderr")].contains(&path)
        || matches!(parent, Some("/dev/fd" | "/proc/self/fd"))
}

fn full(place: &str) -> CommandError {
    let error = anyhow::anyhow!("the disk is full while writing {place}");
    let hint = "make room, or raise the limit on file sizes where there is one (ulimit -f), and begin again";
    CommandError::new(ExitCode::Failed, error).with_hint(hint)
}

fn failed(path: &Path, error: io::Error) -> CommandError {
    if is_full(&error) {
        return full(&path.display().to_string());
    }
    let error = anyhow::Error::new(error).context(format!("writing {}", path.display()));
    CommandError::new(ExitCode::Failed, error)
}

/// A new file in the same folder, so that it can take the place of the other one in one step.
fn create_beside(path: &Path) -> io::Result<(Destination, File)> {
    // The file that a link leads to is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".archive-").suffix(".part");
    // The mode of any new file, less the user's umask: tempfile's own 0600 would keep a web server from reading it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let (file, part) = builder.tempfile_in(folder)?.into_parts();
    Ok((Destination::File { part, path }, file))
}

/// Whether the path is the database or one of the files beside it, by whatever name.
fn is_of_archive(path: &Path, db: &Path) -> bool {
    let ends = ["", "-wal", "-shm", "-journal", ".lock"];
    ends.iter().any(|end| {
        let mut name = db.as_os_str().to_owned();
        name.push(end);
        is_same_file(path, Path::new(&name))
    })
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    if real(one) == real(other) {
        return true;
    }
    #[cfg(unix)]
    if let (Ok(one), Ok(other)) = (fs::metadata(one), fs::metadata(other)) {
        use std::os::unix::fs::MetadataExt as _;
        return (one.dev(), one.ino()) == (other.dev(), other.ino());
    }
    false
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        path.file_name().map_or_else(|| folder.clone(), |name| folder.join(name))
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

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
    fn a_file_appears_whole_or_not_at_all() {
        let folder = TempDir::new().unwrap();
        let (db, path) = (folder.path().join("archive.db"), folder.path().join("out.csv"));
        fs::write(&path, "old").unwrap();
        let (output, mut out) = Output::open(Some(&path), &db).unwrap();
        out.write_all(b"half").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        drop((output, out));
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&path).unwrap()),
            (vec!["out.csv".to_owned()], "old".to_owned())
        );

        let (output, mut out) = Output::open(Some(&path), &db).unwrap();
        out.write_all(b"new").unwrap();
        drop(out);
        output.keep().unwrap();
        assert_eq!(
            (names(folder.path()), fs::read_to_string(&path).unwrap()),
            (vec!["out.csv".to_owned()], "new".to_owned())
        );
    }

    #[test]
    fn no_file_of_the_archive_is_written_over_by_any_name() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let db = at("archive.db");
        fs::write(&db, "archive").unwrap();
        fs::hard_link(&db, at("hard.db")).unwrap();
        fs::create_dir(at("sub")).unwrap();
        let mut paths = vec![db.clone(), at("archive.db-wal"), at("archive.db-shm"), at("archive.db.lock")];
        paths.extend([at("hard.db"), at("sub/../archive.db")]);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&db, at("soft.db")).unwrap();
            paths.push(at("soft.db"));
        }
        for path in paths {
            let error = Output::open(Some(&path), &db).map(drop).unwrap_err();
            assert_eq!(error.exit(), ExitCode::Usage, "{}", path.display());
        }
        assert_eq!(fs::read_to_string(&db).unwrap(), "archive");
        let error = Output::open(Some(&at("sub")), &db).map(drop).unwrap_err();
        assert_eq!(error.exit(), ExitCode::Failed);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_stays_one_and_a_device_is_written_to() {
        let folder = TempDir::new().unwrap();
        let (db, link, real) =
            (folder.path().join("archive.db"), folder.path().join("link"), folder.path().join("real"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let (output, mut out) = Output::open(Some(&link), &db).unwrap();
        out.write_all(b"new").unwrap();
        output.keep().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");

        let (output, mut out) = Output::open(Some(Path::new("/dev/null")), &db).unwrap();
        out.write_all(b"away").unwrap();
        output.keep().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
