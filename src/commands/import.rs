//! `archive import`: saved pages from files and standard input.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;

use crate::api::TypedConnection;
use crate::error::{CommandError, ExitCode};
use crate::import::{self, Problem, Saved, Summary};
use crate::render::pages::import::ImportResult;
use crate::settings::{self, Format, Input};
use crate::store::{self, Reader};

pub(crate) fn import(settings: settings::Import) -> Result<ExitCode, CommandError> {
    let files = settings.files.iter().map(|file| read(file, &settings.db));
    let typed = settings.connection.as_ref().map(|typed| connection(&settings, typed)).transpose()?;
    let summary = import::import(&settings.db, settings.cache_mib, typed.as_ref(), files)?;
    let exit_code = exit_code(&summary);
    for problem in &summary.problems {
        tracing::error!("{problem}");
    }
    let result = ImportResult::new(&summary, exit_code);
    tracing::info!(target: "run_archive::summary", "{}", result.describe_outcome());
    if settings.format == Format::Json {
        super::print_json(&result)?;
    }
    Ok(exit_code)
}

/// The archived connection of this name or id, or else the id of one that is not archived yet.
fn connection(settings: &settings::Import, typed: &TypedConnection) -> Result<TypedConnection, CommandError> {
    // An archive that is missing, or of another version, has no names to look up. The import opens it again and
    // reports what is wrong.
    let known = Reader::open(&settings.db).and_then(|reader| reader.read_connections()).unwrap_or_default();
    let id = super::choose_connection(&known, &typed.id)?.unwrap_or_else(|| typed.id.clone());
    Ok(TypedConnection { id, ..*typed })
}

fn read(source: &Input, db: &Path) -> Saved {
    match source {
        Input::Stdin => {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            Saved { name: source.to_string(), bytes: read.map(|_| bytes) }
        }
        Input::File(path) => Saved { name: source.to_string(), bytes: read_file(path, db) },
    }
}

/// Reads a regular file and refuses anything else at once, because reading a pipe that nobody writes to would wait
/// for ever.
fn read_file(path: &Path, db: &Path) -> io::Result<Vec<u8>> {
    // The archive may be open by now, and closing a second handle to its files would drop SQLite's locks.
    if store::is_of_archive(path, db) {
        return Err(io::Error::other("it is part of the archive itself"));
    }
    if is_own_descriptor(path) {
        return fs::read(path);
    }
    let no_file = || io::Error::other("it is no regular file; pipe it in, and name it - or /dev/stdin");
    if !fs::metadata(path)?.is_file() {
        return Err(no_file());
    }
    let mut options = OpenOptions::new();
    options.read(true);
    // If a pipe took the file's name after the check above, opening it without NONBLOCK would wait for a writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        rustix::fs::OFlags::NONBLOCK.bits().cast_signed(),
    );
    let mut file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the path names a descriptor that this process was started with: standard input, or one that a shell made
/// for `<(…)`. Those are pipes, and somebody writes to them.
fn is_own_descriptor(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::to_str);
    path == Path::new("/dev/stdin") || matches!(parent, Some("/dev/fd" | "/proc/self/fd"))
}

fn exit_code(summary: &Summary) -> ExitCode {
    let is_usage = |problem: &Problem| matches!(problem, Problem::NoConnection(_) | Problem::NoKind { .. });
    match summary {
        Summary { problems, counts, .. } if problems.is_empty() && counts.rejected == 0 => ExitCode::Done,
        Summary { pages: 0, problems, .. } if problems.iter().any(is_usage) => ExitCode::Usage,
        Summary { pages: 0, .. } => ExitCode::Failed,
        _ => ExitCode::Partial,
    }
}
