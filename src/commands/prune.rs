//! `archive prune`: what is old and may go, and its going.
//!
//! In: a time, and what the owner agreed to. Out: what goes, by kind. Without consent nothing is written; with
//! it a copy is made first, verified, and given its name before the first row goes.

use std::path::Path;

use super::backup;
use crate::error::{CommandError, ExitCode};
use crate::render::counted;
use crate::render::pages::prune::PruneResult;
use crate::settings::{self, Consent, Format};
use crate::store::backup::Copy;
use crate::store::prune::Plan;
use crate::store::{self, Archive, Reader};
use crate::sync::now;

/// Says what is older and may go, and takes it out where that is agreed to.
pub(crate) fn prune(settings: settings::Prune) -> Result<ExitCode, CommandError> {
    let (before, with_runs) = (&settings.before, settings.with_runs);
    // Opening for reading first keeps a prune of a mistyped path from making an empty archive there.
    let reader = Reader::open(&settings.db)?;
    if settings.consent == Consent::None {
        let plan = reader.plan_prune(before, with_runs)?;
        report(&settings, &plan, None)?;
        return Ok(ExitCode::Done);
    }
    drop(reader);
    let mut archive = Archive::open(&settings.db, settings.cache_mib)?;
    let mut plan = archive.plan_prune(before, with_runs)?;
    let copy = match &settings.consent {
        Consent::AfterBackup(to) if !plan.is_empty() => {
            // The archive is closed while the copy is made, so that a sync may write meanwhile. A newer sync in the
            // archive afterwards says that the copy lacks something.
            let stamp = archive.read_newest_sync()?;
            archive.close()?;
            make_copy(&settings.db, to)?;
            archive = Archive::open(&settings.db, settings.cache_mib)?;
            if archive.read_newest_sync()? != stamp {
                let error =
                    anyhow::anyhow!("a sync wrote while the copy was made, and nothing was taken out");
                let hint = format!("{} is kept; begin again with another name", to.display());
                return Err(CommandError::new(ExitCode::Held, error).with_hint(hint));
            }
            plan = archive.plan_prune(before, with_runs)?;
            Some(to.as_path())
        }
        _ => None,
    };
    if !plan.is_empty() {
        archive.prune(&plan, &now()).map_err(explain)?;
    }
    archive.close()?;
    report(&settings, &plan, copy)?;
    Ok(ExitCode::Done)
}

/// Makes a copy as `archive backup` does, and refuses one that is not sound: what is pruned is in the copy alone.
fn make_copy(from: &Path, to: &Path) -> Result<(), CommandError> {
    backup::check_target(from, to, false)?;
    let copy = Copy::make(from, to).map_err(backup::explain)?;
    let (complaints, _) = backup::check(&copy)?;
    if !complaints.is_empty() {
        let count = counted(complaints.len() as u64, "finding");
        let error = anyhow::anyhow!("the copy is not sound ({count}), and nothing was taken out");
        let hint = "archive verify tells what is wrong with the archive, and --repair mends it";
        return Err(CommandError::new(ExitCode::Failed, error).with_hint(hint));
    }
    copy.keep(to, false).map_err(backup::explain)?;
    Ok(())
}

/// The same error with what to do about a full disk. The usual hint says that the next sync goes on, but only
/// another prune does.
fn explain(error: store::Error) -> CommandError {
    match error {
        store::Error::Full(_) => CommandError::new(ExitCode::Failed, error)
            .with_hint("make room and begin again: what has gone so far has gone whole"),
        error => error.into(),
    }
}

/// Prints what goes, or has gone, and says what that means.
fn report(settings: &settings::Prune, plan: &Plan, copy: Option<&Path>) -> Result<(), CommandError> {
    let pruned = PruneResult::new(plan, settings.with_runs, settings.consent != Consent::None, copy);
    super::print(settings.format, &pruned, || pruned.document())?;
    if settings.format != Format::Json {
        tracing::info!(target: "run_archive::summary", "{}", pruned.describe_outcome(plan.is_empty()));
    }
    Ok(())
}
