//! `archive backup`: a consistent, verified copy, also while a sync is running.

use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;

use crate::error::{CommandError, ExitCode};
use crate::query;
use crate::render::clean;
use crate::render::pages::keep::{BackedUp, milliseconds};
use crate::settings::{self, Format};
use crate::store;
use crate::store::backup::{self, Copy};
use crate::verify;

/// Copies the archive, checks the copy, and gives it its name.
pub(crate) fn backup(settings: settings::Backup) -> Result<ExitCode, CommandError> {
    let began = Instant::now();
    let (from, to) = (&settings.db, &settings.file);
    check_target(from, to, settings.replace)?;
    let copy = Copy::make(from, to).map_err(explain)?;
    let (complaints, runs) = check(&copy)?;
    for complaint in complaints.iter().take(10) {
        tracing::error!("the copy: {}", clean(complaint));
    }
    let is_sound = complaints.is_empty();
    if !is_sound && to.symlink_metadata().is_ok() {
        // The file that has this name may be the last sound copy, so that an unsound one does not replace it.
        let error = anyhow!("the archive is not sound, so {} was left as it is", to.display());
        let hint = "archive verify tells what is wrong, and --repair mends it; a copy under a new name is made all the same";
        return Err(CommandError::new(ExitCode::Partial, error).with_hint(hint));
    }
    // A copy of a damaged archive is kept under a new name all the same, because a later one may hold less; the
    // exit code and the messages say that it is not sound.
    let size = copy.keep(to, settings.replace).map_err(explain)?;
    let code = if is_sound { ExitCode::Done } else { ExitCode::Partial };
    let done = BackedUp {
        exit_code: code,
        file: to.display().to_string(),
        bytes: size,
        runs,
        problems: complaints,
        duration_ms: milliseconds(began.elapsed()),
    };
    tracing::info!(target: "run_archive::summary", "{}", done.describe());
    if settings.format == Format::Json {
        super::print_json(&done)?;
    }
    if !is_sound {
        tracing::error!(
            hint = "archive verify tells what is wrong; archive restore puts a copy made before in its place",
            "the archive is not sound, and neither is its copy"
        );
    }
    Ok(code)
}

/// Refuses a place where the copy would replace what is no copy, or would be destroyed.
pub(super) fn check_target(archive: &Path, to: &Path, is_replaced: bool) -> Result<(), CommandError> {
    let refuse = |what: String, hint: &'static str| {
        Err(CommandError::new(ExitCode::Usage, anyhow!(what)).with_hint(hint))
    };
    if backup::find_own_file(archive, to).is_some() {
        let what = format!("{} is the archive itself, or a file that belongs to it", to.display());
        return refuse(what, "name another file for the copy");
    }
    if let Ok(found) = to.symlink_metadata() {
        if !is_replaced {
            return Err(store::Error::Exists(to.to_owned()).into());
        }
        if !to.metadata().unwrap_or(found).is_file() {
            return refuse(format!("{} is no file", to.display()), "name a file for the copy");
        }
    }
    if let Some(log) = backup::find_log(to) {
        let what = format!("{} is the log of a database called {}", log.display(), to.display());
        return refuse(what, "name another file: SQLite would fold that log into the copy and destroy it");
    }
    Ok(())
}

/// What is wrong with a copy, and how many runs are in it, where this version can count them: a copy of an
/// earlier version's archive is whole, but only that version knows its rules.
pub(super) fn check(copy: &Copy) -> Result<(Vec<String>, Option<u64>), query::Error> {
    if !copy.is_current {
        return Ok((copy.check_integrity()?, None));
    }
    let checked = verify::check_offline(&copy.path())?;
    let rules = checked.rules.iter().filter(|rule| rule.broken > 0).map(|rule| rule.rule.clone());
    let altered =
        checked.digests.altered.iter().map(|altered| {
            format!("run {} of {} is not what was received", altered.run_id, altered.connection)
        });
    let runs = checked.digests.proved + checked.digests.without + checked.digests.altered.len() as u64;
    let schema = checked.schema.iter().filter(|finding| finding.is_difference()).map(ToString::to_string);
    let complaints = checked.integrity.iter().cloned().chain(schema).chain(checked.unchecked.clone());
    Ok((complaints.chain(rules).chain(altered).collect(), Some(runs)))
}

/// The same error with what to do where a copy was to be made. The usual hint for a full disk says that the next
/// sync goes on, but no sync makes a copy.
pub(super) fn explain(error: store::Error) -> CommandError {
    match error {
        store::Error::Full(_) => CommandError::new(ExitCode::Failed, error).with_hint(
            "make room for a copy of the archive's size, or raise the limit on file sizes where there is one (ulimit -f), and begin again; the archive is as it was",
        ),
        error => error.into(),
    }
}
