//! `archive restore`: a checked copy put in the archive's place, and what was there set aside.

use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;
use serde_json::json;

use super::backup::{check, explain};
use crate::error::{CommandError, ExitCode};
use crate::query;
use crate::render::{clean, render_duration, render_size};
use crate::settings::{self, Format};
use crate::store;
use crate::store::Reader;
use crate::store::restore::{self, Restore};
use crate::sync::now;

/// What to do where the copy is not restored for what it is.
const UNSOUND_HINT: &str =
    "archive verify --offline --db FILE tells all that is wrong with it; restore another copy";

/// Copies the file beside the archive, checks that copy, and gives it the archive's name.
pub fn restore(settings: settings::Restore) -> Result<ExitCode, CommandError> {
    let began = Instant::now();
    let (path, file) = (&settings.db, &settings.file);
    let mut restore = Restore::begin(path, file, now()).map_err(told)?;
    let of_file = |error| match error {
        query::Error::Store(error) => told(restore::Error::of_copy(error, file)),
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
    let as_of = match restore.copy().is_current {
        true => Reader::open(&restore.copy().path())
            .and_then(|copy| copy.read_last_sync())
            .map_err(|error| of_file(error.into()))?
            .map(|sync| sync.ended_at.unwrap_or(sync.started_at)),
        false => None,
    };
    let size = restore.copy().size();
    while let Some(step) = restore.next_step().map_err(told)? {
        tracing::debug!("{step:?}");
    }
    let set_aside = restore.set_aside().map(|path| path.display().to_string());
    let is_archive_kept = restore.set_aside().is_some_and(Path::exists);
    let kept: Vec<String> = restore.kept().iter().map(|path| path.display().to_string()).collect();
    let damage = restore.damage().map(|damage| clean(damage).into_owned());
    drop(restore);
    let seconds = began.elapsed();
    tracing::info!(
        target: "run_archive::summary",
        "{}: {}{}{}, restored from {} in {}",
        path.display(),
        runs.map(|runs| format!("{}, ", super::counted(runs, "run"))).unwrap_or_default(),
        render_size(size),
        as_of.as_deref().and_then(|time| time.get(..19)).map(|time| format!(", as of {time}Z")).unwrap_or_default(),
        file.display(),
        render_duration(seconds),
    );
    if let Some(set_aside) = &set_aside {
        match &damage {
            Some(damage) => tracing::warn!(
                "what was there is damaged ({damage}); it is kept, with its log, as {set_aside}"
            ),
            None if !is_archive_kept => tracing::warn!(
                "no archive was there, but what belonged to one; it is kept as {}",
                kept.join(", ")
            ),
            None => tracing::info!(
                target: "run_archive::summary",
                "what was there is kept as {set_aside}; archive restore takes it back"
            ),
        }
    }
    if settings.format == Format::Json {
        super::print_json(&json!({
            "exit_code": ExitCode::Done.number(),
            "file": file.display().to_string(),
            "db": path.display().to_string(),
            "bytes": size,
            "runs": runs,
            "as_of": as_of,
            "set_aside": set_aside,
            "kept": kept,
            "damage": damage,
            "duration_ms": u64::try_from(seconds.as_millis()).unwrap_or(u64::MAX),
        }))?;
    }
    Ok(ExitCode::Done)
}

/// An error with its exit code and what to do about it; the archive is as it was.
fn told(error: restore::Error) -> CommandError {
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
