//! `archive status`: per connection how fresh, how many runs, what is unfinished, the last problem.

use std::path::Path;

use crate::error::{CommandError, ExitCode};
use crate::render::pages::status::{self, ArchiveStatus};
use crate::settings;
use crate::store::status::ConnectionStatus;
use crate::store::syncs::LastSync;
use crate::store::{self, Reader};
use crate::sync::now;

/// What a sync's row says until it ends.
const RUNNING: &str = "running";

/// Shows what is archived and how fresh it is.
pub(crate) fn status(settings: settings::Status) -> Result<ExitCode, CommandError> {
    let reader = Reader::open(&settings.db)?;
    let now = now();
    let mut connections = reader.read_status(&now)?;
    let chosen = super::known_connections(&settings.db, &settings.connections)?;
    if !chosen.is_empty() {
        let is_chosen = |status: &ConnectionStatus| {
            chosen.iter().any(|id| id.as_str() == status.id && id.kind().as_str() == status.kind)
        };
        connections.retain(is_chosen);
    }
    let last_sync = read_last_sync(&reader, &settings.db)?;
    let status = ArchiveStatus { connections, last_sync, drift: reader.read_drift()? };
    super::print(settings.format, &status, || status::document(&status, &now))?;
    Ok(ExitCode::Done)
}

/// The sync or import that began last. The row of one that was killed still says that it runs; where nobody holds
/// the archive's lock, it is shown as interrupted.
fn read_last_sync(reader: &Reader, db: &Path) -> Result<Option<LastSync>, CommandError> {
    let is_running = |sync: &Option<LastSync>| sync.as_ref().is_some_and(|sync| sync.outcome == RUNNING);
    let mut last_sync = reader.read_last_sync()?;
    if is_running(&last_sync) && store::is_held(db) == Some(false) {
        // A sync may have ended, and let go of the lock, after its row was read: its row is read again.
        last_sync = reader.read_last_sync()?;
        if let Some(sync) = last_sync.as_mut().filter(|sync| sync.outcome == RUNNING) {
            sync.outcome = "interrupted".to_owned();
        }
    }
    Ok(last_sync)
}
