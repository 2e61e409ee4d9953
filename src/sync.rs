//! Brings the archive up to date with the platform: drives walks with requests, and hands what they
//! bring to the one writer.
//!
//! In: a client, an archive, and where connections are looked for. Out: a [`Summary`]. `fleet` finds
//! connections and gives them their turns, `connection` takes one; a failure of one never stops the others.
//! Whose turn it is is decided in `turns`, which walks are due in `due`, what they prove in `proof`: without
//! awaiting anything. What to ask next is decided in `walk`, what a run means in `normalize`, what is new in
//! `store`.

mod clock;
mod connection;
mod discovery;
mod due;
mod due_runs;
mod estimate;
mod expected;
mod finding;
mod fleet;
mod interruption;
mod listing;
mod options;
mod problem;
mod progress;
mod proof;
mod recorder;
mod records;
mod retry;
mod session;
mod sight;
mod summary;
mod turns;
mod unfinished;
mod walking;

use std::path::Path;
use std::sync::Arc;

use crate::api::Client;
use crate::store::room::Room;
use crate::store::syncs::SyncTotals;
use crate::store::{self, Archive, Reader, Writer};

pub use clock::now;
pub(crate) use estimate::{Estimate, estimate};
use fleet::Fleet;
pub(crate) use listing::Pages;
pub use options::{Options, Scope};
pub(crate) use problem::{Problem, WHY_NOTHING};
pub use progress::Progress;
use recorder::Recorder;
use records::Readers;
pub(crate) use records::read_saved;
pub(crate) use retry::retry_rejects;
use session::Session;
pub(crate) use sight::{ListedBelow, see_connection, see_imodel, see_itwin, see_itwins};
pub use summary::{ConnectionSummary, Outcome, Summary};

/// Memory for SQLite's pages, in MiB, where no more than one row is written.
const FAILURE_CACHE_MIB: u32 = 4;

/// Syncs into the archive. The error is the archive's; what the platform refused is in the summary.
pub async fn sync(
    client: Client,
    mut archive: Archive,
    options: Options,
    progress: Arc<Progress>,
) -> Result<Summary, store::Error> {
    let path = archive.path().to_owned();
    let started_at = now();
    // Written before the first request, so that a sync that dies leaves a trace.
    let sync_key = archive.write(|archive| archive.begin_sync("sync", &started_at))?;
    let retried = retry_rejects(&mut archive, false)?;
    if retried.read > 0 {
        tracing::info!("{} of {} records that were set aside are archived now", retried.read, retried.tried);
    }
    let archived_connections = archive.read_connections()?.len();
    let reader = Reader::open(&path)?;
    let readers = Arc::new(Readers::new(Some(path.clone())));
    let room = Room::beside(&path, options.min_free);
    let writer = Writer::start(archive).map_err(|source| store::Error::Io {
        doing: "writing",
        path: path.clone(),
        source,
    })?;
    let session = Session {
        client,
        archived_connections,
        recorder: Recorder::into_archive(writer, sync_key, reader, progress.clone()),
        readers,
        room: Some(room),
        options,
        progress,
    };
    let (summary, session) = Fleet::sync(session, started_at).await;
    let Some(writer) = session.recorder.into_writer() else { return Ok(summary) };
    let totals = SyncTotals {
        requests: summary.requests,
        pages: summary.pages,
        counts: summary.counts,
        imodels: summary.found.imodels,
        connections: summary.connections.len() as u64,
        quiet: summary.quiet(),
    };
    let (outcome, exit_code) = (summary.outcome.as_str(), summary.exit_code.number());
    let problem = summary.problems().next().map(ToString::to_string);
    let recorded = totals.clone();
    let ended = writer.ask(move |archive| {
        archive.end_sync(sync_key, &now(), &recorded, (outcome, exit_code, problem.as_deref()))
    });
    // A writer that has closed gives the reason when it finishes.
    let _ = ended.await;
    match writer.finish() {
        Ok(archive) => archive.close()?,
        Err(error) => {
            record_failure(&path, sync_key, &totals, &error);
            return Err(error);
        }
    }
    Ok(summary)
}

/// Records of a sync that could not write any further that it failed, as far as that can be written.
fn record_failure(path: &Path, sync_key: i64, totals: &SyncTotals, error: &store::Error) {
    let problem = error.to_string();
    let record =
        |archive: &mut Archive| archive.end_sync(sync_key, &now(), totals, ("failed", 1, Some(&problem)));
    let recorded = Archive::open(path, FAILURE_CACHE_MIB)
        .and_then(|mut archive| archive.write(record).and_then(|()| archive.close()));
    if let Err(error) = recorded {
        // The next sync then records this one as interrupted, which it was.
        tracing::debug!("{error}");
    }
}

/// Does all that a sync does but store: the counts say what it would do.
pub(crate) async fn dry_run(
    client: Client,
    reader: Option<Reader>,
    options: Options,
    progress: Arc<Progress>,
) -> Summary {
    let known = reader.as_ref().and_then(|reader| reader.read_connections().ok());
    let archived_connections = known.map_or(0, |known| known.len());
    let readers = Arc::new(Readers::new(reader.as_ref().map(|reader| reader.path().to_owned())));
    let recorder = Recorder::dry_run(reader, progress.clone());
    let session = Session { client, archived_connections, recorder, readers, room: None, options, progress };
    Fleet::sync(session, now()).await.0
}
