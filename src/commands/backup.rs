//! `archive backup`: a consistent, verified copy, also while a sync is running.

use std::time::Instant;

use serde_json::json;

use crate::error::{CommandError, ExitCode};
use crate::render::{clean, render_duration, render_size};
use crate::settings::{self, Format};
use crate::store::{self, backup};
use crate::verify;

/// Copies the archive, checks the copy, and gives it its name.
pub fn backup(settings: settings::Backup) -> Result<ExitCode, CommandError> {
    let began = Instant::now();
    let (from, to) = (&settings.db, &settings.file);
    if backup::is_same_file(from, to) {
        let error = anyhow::anyhow!("{} is the archive itself", to.display());
        return Err(CommandError::new(ExitCode::Usage, error).with_hint("name another file for the copy"));
    }
    if !settings.replace && to.symlink_metadata().is_ok() {
        return Err(store::Error::Exists(to.clone()).into());
    }
    let copy = backup::Copy::make(from, to)?;
    // A copy of an earlier version's archive is whole, but only that version knows its rules.
    let (complaints, runs) = match copy.is_current {
        false => (copy.check_integrity()?, None),
        true => {
            let checked = verify::check_offline(copy.path())?;
            let rules = checked.rules.iter().filter(|rule| rule.broken > 0).map(|rule| rule.rule.clone());
            let altered = checked.digests.altered.iter().map(|altered| {
                format!("run {} of {} is not what was received", altered.run_id, altered.connection)
            });
            let runs =
                checked.digests.proved + checked.digests.without + checked.digests.altered.len() as u64;
            let schema =
                checked.schema.iter().filter(|finding| finding.is_difference()).map(ToString::to_string);
            let unchecked = checked.unchecked.clone();
            let complaints = checked.integrity.iter().cloned().chain(schema).chain(unchecked);
            (complaints.chain(rules).chain(altered).collect::<Vec<_>>(), Some(runs))
        }
    };
    for complaint in complaints.iter().take(10) {
        tracing::error!("the copy: {}", clean(complaint));
    }
    // A copy of a damaged archive is kept all the same: it may be the last one. Whoever asked is told.
    let size = copy.keep(to, settings.replace)?;
    let is_sound = complaints.is_empty();
    let code = if is_sound { ExitCode::Done } else { ExitCode::Partial };
    let seconds = began.elapsed();
    tracing::info!(
        target: "run_archive::summary",
        "{}: {}{} in {}, {}",
        to.display(),
        runs.map(|runs| format!("{}, ", super::counted(runs, "run"))).unwrap_or_default(),
        render_size(size),
        render_duration(seconds),
        if is_sound { "verified" } else { "not sound" },
    );
    if settings.format == Format::Json {
        super::print_json(&json!({
            "exit_code": code.number(),
            "file": to.display().to_string(),
            "bytes": size,
            "runs": runs,
            "problems": complaints,
            "duration_ms": u64::try_from(seconds.as_millis()).unwrap_or(u64::MAX),
        }))?;
    }
    if !is_sound {
        tracing::error!(
            hint = "archive verify tells what is wrong; keep the copies made before",
            "the archive is not sound, and neither is its copy"
        );
    }
    Ok(code)
}
