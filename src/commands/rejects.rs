//! `archive rejects`: what was set aside, and reading it once more.

use std::io;

use crate::api::ConnectionId;
use crate::error::{CommandError, ExitCode};
use crate::query::{self, Catalog, Database, Limits};
use crate::render::{Screen, counted, render_count};
use crate::settings;
use crate::store::syncs::SyncTotals;
use crate::store::{Archive, READING_LIMIT, Reader};
use crate::sync::{self, now};

/// Lists the records that were set aside, after reading them once more if that is asked for.
pub(crate) fn rejects(settings: settings::Rejects) -> Result<ExitCode, CommandError> {
    // A retry opens for reading first, so that a mistyped path makes no empty archive.
    let known = super::known_connections(&settings.db, &settings.connections)?;
    if settings.retry {
        drop(Reader::open(&settings.db)?);
        retry(&settings)?;
    }
    let database = Database::open(&settings.db)?;
    let mut parameters = vec![];
    if !known.is_empty() {
        let ids: Vec<String> = known.iter().map(ConnectionId::with_kind).collect();
        let list = serde_json::to_string(&ids).map_err(anyhow::Error::new)?;
        parameters.push(("connection", list.into()));
    }
    let catalog = Catalog::built_in();
    // The query is part of the program, and a test proves that each file of `queries/` is in the catalog.
    let Some(query) = catalog.find("rejects") else { return Ok(ExitCode::Failed) };
    let mut sink = super::sink::sink(settings.format, Screen::of_stdout(), io::stdout().lock());
    match database.stream(&query.sql, &parameters, Limits { timeout: Some(READING_LIMIT) }, sink.as_mut()) {
        // A pager or `head` that closed the pipe has what it wanted.
        Err(query::Error::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::Done),
        told => Ok(told.map(|()| ExitCode::Done)?),
    }
}

fn retry(settings: &settings::Rejects) -> Result<(), CommandError> {
    let mut archive = Archive::open(&settings.db, settings.cache_mib)?;
    let sync_key = archive.write(|archive| archive.begin_sync("rejects", &now()))?;
    let retried = sync::retry_rejects(&mut archive, true)?;
    let totals = SyncTotals::default();
    archive.write(|archive| archive.end_sync(sync_key, &now(), &totals, ("done", 0, None)))?;
    archive.close()?;
    tracing::info!(
        target: "run_archive::summary",
        "{} tried again, {} archived now",
        counted(retried.tried, "record"),
        render_count(retried.read),
    );
    Ok(())
}
