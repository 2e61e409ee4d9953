//! Brings the archive up to date with the platform: drives walks with requests, and hands what they
//! bring to the one writer.
//!
//! In: a client, an archive, and where connections are looked for. Out: a [`Summary`]. `fleet` finds
//! connections and gives them their turns, `connection` takes one; a failure of one never stops the others.
//! Whose turn it is is decided in `turns`, which walks are due in `due`, what they prove in `proof`: without
//! awaiting anything. What to ask next is decided in `walk`, what a run means in `normalize`, what is new in
//! `store`.

mod connection;
mod discovery;
mod due;
mod estimate;
mod expected;
mod finding;
mod fleet;
mod listing;
mod problem;
mod proof;
mod recorder;
mod records;
mod retry;
mod sight;
mod summary;
mod turns;
mod unfinished;
mod walking;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::Utc;
use xxhash_rust::xxh3::xxh3_64;

use crate::api::{self, Client, ConnectionId, Kind};
use crate::store::records::Counts;
use crate::store::room::{NoRoom, Room};
use crate::store::syncs::SyncTotals;
use crate::store::{self, Archive, Closed, Reader, Writer};
use crate::time::UtcText;

use due::Rules;
pub(crate) use estimate::{Estimate, estimate};
use fleet::Fleet;
pub(crate) use listing::Pages;
pub(crate) use problem::Problem;
use recorder::Recorder;
use records::Readers;
pub(crate) use records::read_saved;
pub(crate) use retry::retry_rejects;
pub(crate) use sight::{ListedBelow, see_connection, see_imodel, see_itwin, see_itwins};
pub use summary::{ConnectionSummary, Outcome, Summary};

/// Why there may be nothing where something is expected.
pub(crate) const WHY_NOTHING: &str =
    "a service application without a role on an iTwin is given empty lists, not an error";

/// Memory for SQLite's pages, in MiB, where no more than one row is written.
const FAILURE_CACHE_MIB: u32 = 4;

/// Connections that may all be walked whole in one sync.
const HANDFUL: usize = 10;

/// Where runs are looked for. At least one of the lists holds something.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Connections by their ids, in the order given.
    pub connections: Vec<ConnectionId>,
    /// iModels whose connections are synced.
    pub imodels: Vec<String>,
    /// iTwins whose iModels' connections are synced.
    pub itwins: Vec<String>,
    /// Which kinds of connections are looked for below iModels and iTwins.
    pub kinds: Vec<Kind>,
}

/// What a sync is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where runs are looked for.
    pub scope: Scope,
    /// Walk every listing whole.
    pub full: bool,
    /// `$top` to begin with.
    pub page_size: u32,
    /// Whether the page size was asked for, rather than the default: then what was learned is ignored.
    pub is_page_size_given: bool,
    /// Pages of one listing in flight.
    pub pages_in_flight: usize,
    /// Connections at a time.
    pub concurrency: usize,
    /// How often every listing is walked whole regardless.
    pub full_every: Duration,
    /// Bytes that a backfill leaves free of the disk; 0: none; `None`: the usual.
    pub min_free: Option<u64>,
}

/// What has happened so far, for a progress display.
#[derive(Debug, Default)]
pub struct Progress {
    /// iModels that were asked for their connections, and those still to ask.
    pub imodels: AtomicU64,
    /// See `imodels`.
    pub imodels_left: AtomicU64,
    /// Connections that are done, and those known and still to do.
    pub connections: AtomicU64,
    /// See `connections`.
    pub connections_left: AtomicU64,
    /// Pages received.
    pub pages: AtomicU64,
    /// Records received, and runs stored and changed.
    pub received: AtomicU64,
    /// Runs stored for the first time.
    pub new: AtomicU64,
    /// Runs that changed.
    pub changed: AtomicU64,
}

impl Progress {
    /// Counts a page, or with `is_new_page` unset a further part of one.
    fn add(&self, counts: &Counts, is_new_page: bool) {
        self.pages.fetch_add(u64::from(is_new_page), Ordering::Relaxed);
        self.received.fetch_add(counts.received, Ordering::Relaxed);
        self.new.fetch_add(counts.new, Ordering::Relaxed);
        self.changed.fetch_add(counts.changed, Ordering::Relaxed);
    }
}

/// Why a connection could not be synced any further.
#[derive(Debug)]
enum Interruption {
    Api(api::Error),
    /// The archive could not be read; without an error it could not be written, and the writer has the error.
    Store(Option<store::Error>),
    /// A backfill would fill the disk.
    NoRoom(NoRoom),
}

impl From<api::Error> for Interruption {
    fn from(error: api::Error) -> Self {
        Self::Api(error)
    }
}

impl From<store::Error> for Interruption {
    fn from(error: store::Error) -> Self {
        Self::Store(Some(error))
    }
}

impl From<Closed> for Interruption {
    fn from(_: Closed) -> Self {
        Self::Store(None)
    }
}

impl Interruption {
    /// Its text, for the record of the walk that it stopped.
    fn message(&self) -> Option<String> {
        match self {
            Self::Api(error) => Some(error.to_string()),
            Self::NoRoom(no_room) => Some(no_room.to_string()),
            Self::Store(error) => error.as_ref().map(ToString::to_string),
        }
    }
}

/// What all connections of a sync share.
struct Session {
    client: Client,
    /// How many connections were archived when the sync began.
    archived_connections: usize,
    recorder: Recorder,
    /// For the threads that answers are read on.
    readers: Arc<Readers>,
    /// The disk of the archive; a dry run needs none.
    room: Option<Room>,
    options: Options,
    progress: Arc<Progress>,
}

impl Session {
    /// What the sync was asked for, as far as it concerns this connection.
    fn rules(&self, id: &ConnectionId, is_next_turn: bool) -> Rules {
        Rules {
            is_full_asked: self.options.full,
            is_next_turn,
            full_every: self.full_walk_after(id),
            page_size: self.options.page_size,
            is_page_size_given: self.options.is_page_size_given,
        }
    }

    /// After how long a connection's listing is walked whole regardless. In a fleet each connection has a
    /// time of its own between half of that and all of it, so that walks which were due together once are
    /// spread over the syncs; a handful may as well be walked at once.
    fn full_walk_after(&self, id: &ConnectionId) -> Duration {
        let every = self.options.full_every;
        if self.archived_connections <= HANDFUL {
            return every;
        }
        let share = xxh3_64(id.to_string().as_bytes()) as f64 / u64::MAX as f64;
        every.mul_f64(0.5 + share / 2.0)
    }
}

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

/// The clock, in the form that is stored.
pub fn now() -> UtcText {
    // A clock outside the years 1 to 9999 is no clock.
    UtcText::from_datetime(&Utc::now())
        .unwrap_or_else(|| unreachable!("the clock shows a year of four digits"))
}
