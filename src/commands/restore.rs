//! `archive restore`: a checked copy put in the archive's place, and what was there set aside.

use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;

use super::backup::{check, explain};
use crate::error::{CommandError, ExitCode};
use crate::query;
use crate::render::clean;
use crate::render::pages::keep::{Restored, milliseconds};
use crate::settings::{self, Format};
use crate::store;
use crate::store::Reader;
use crate::store::restore::{self, Restore};
use crate::sync::now;

/// What to do where the copy is damaged, so that it is not restored.
const UNSOUND_HINT: &str =
    "archive verify --offline --db FILE tells all that is wrong with it; restore another copy";

/// Copies the file beside the archive, checks that copy, and gives it the archive's name.
pub(crate) fn restore(settings: settings::Restore) -> Result<ExitCode, CommandError> {
    let began = Instant::now();
    let (path, file) = (&settings.db, &settings.file);
    let mut restore = Restore::begin(path, file, now()).map_err(add_hint)?;
    let of_file = |error| match error {
        query::Error::Store(error) => add_hint(restore::Error::of_copy(error, file)),
        error => error.into(),
    };
    let (complaints, runs) = check(restore.copy()).map_err(of_file)?;
    for complaint in complaints.iter().take(10) {
        tracing::error!("{}: {}", file.display(), clean(complaint));
    }
    if !complaints.is_empty() {
        let error = anyhow!("{} is not sound, and was not restored", file.display());
        return Err(CommandError::new(ExitCode::Failed, error).with_hint(UNSOUND_HINT));
    }
    // Only this version's tables are known to say when the last sync of the copy ended.
    let mut as_of = None;
    if restore.copy().is_current {
        let last_sync = Reader::open(&restore.copy().path()).and_then(|copy| copy.read_last_sync());
        let last_sync = last_sync.map_err(|error| of_file(error.into()))?;
        as_of = last_sync.map(|sync| sync.ended_at.unwrap_or(sync.started_at));
    }
    // The steps are few and their order is what keeps an archive in its place at any time: see `store::restore`.
    let size = restore.copy().size();
    while let Some(step) = restore.next_step().map_err(add_hint)? {
        tracing::debug!("{step:?}");
    }
    let is_archive_kept = restore.set_aside().is_some_and(Path::exists);
    let done = Restored {
        exit_code: ExitCode::Done,
        file: file.display().to_string(),
        db: path.display().to_string(),
        bytes: size,
        runs,
        as_of,
        set_aside: restore.set_aside().map(|path| path.display().to_string()),
        kept: restore.kept().iter().map(|path| path.display().to_string()).collect(),
        damage: restore.damage().map(|damage| clean(damage).into_owned()),
        duration_ms: milliseconds(began.elapsed()),
    };
    drop(restore);
    tracing::info!(target: "run_archive::summary", "{}", done.describe());
    log_set_aside(&done, is_archive_kept);
    if settings.format == Format::Json {
        super::print_json(&done)?;
    }
    Ok(ExitCode::Done)
}

/// Logs where the archive is that was replaced, and what is wrong with it.
fn log_set_aside(done: &Restored, is_archive_kept: bool) {
    let Some(set_aside) = &done.set_aside else { return };
    match &done.damage {
        Some(damage) => {
            tracing::warn!("what was there is damaged ({damage}); it is kept, with its log, as {set_aside}");
        }
        None if !is_archive_kept => tracing::warn!(
            "no archive was there, but what belonged to one; it is kept as {}",
            done.kept.join(", ")
        ),
        None => tracing::info!(
            target: "run_archive::summary",
            "what was there is kept as {set_aside}; archive restore takes it back"
        ),
    }
}

/// An error with its exit code and what to do about it; the archive is as it was.
fn add_hint(error: restore::Error) -> CommandError {
    use restore::Error as E;
    match error {
        E::Copy(error) => of_copy(error),
        E::Store(error) => explain(error),
        E::OwnFile(_) => {
            CommandError::new(ExitCode::Usage, error).with_hint("name the copy that is to be restored")
        }
        E::InUse(_) => CommandError::new(ExitCode::Held, error)
            .with_hint("close what reads or writes it, and begin again; this run has changed nothing"),
        E::Keep { .. } => CommandError::new(ExitCode::Failed, error).with_hint(
            "restore into another folder with --db, and use the archive there; the one that is here stays",
        ),
    }
}

/// What is wrong with the file that was to be restored.
fn of_copy(error: store::Error) -> CommandError {
    use store::Error as E;
    let hint = match &error {
        E::Missing(_) | E::NotADatabase(_) | E::NotAnArchive(_) => "name a copy that archive backup made",
        E::Newer { .. } => "install the newer version of archive; the archive that is there is as it was",
        _ => UNSOUND_HINT,
    };
    CommandError::new(ExitCode::Failed, error).with_hint(hint)
}
