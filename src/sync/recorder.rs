//! Where a sync records what it receives, and what it asks of the archive: a dry run records nothing and counts
//! what would be stored, so that nobody else has to know which of the two it is.
//!
//! In: batches of records, and work for the writer. Out: counts, and what is archived. The writer's thread
//! is the only one that writes; readers see what it has committed.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_128;

use super::clock::now;
use super::interruption::Interruption;
use super::progress::Progress;
use super::proof::{Evidence, Unproved};
use super::records::Batch;
use crate::api::{Client, ConnectionId, Doing, wire};
use crate::store::checkpoints::ConnectionState;
use crate::store::known::Standing;
use crate::store::records::{Counts, Source};
use crate::store::walks::{Part, WalkEnd, WalkOutcome};
use crate::store::{self, Archive, Closed, Reader, Writer};
use crate::walk::Key;

/// What one connection's part of a sync has stored, or in a dry run would have.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The writer's thread adds to them.
    counts: Arc<Mutex<Counts>>,
    /// Runs that a dry run has met: nothing is archived by it, so only this shows what it meets again.
    met: HashSet<Key>,
}

impl Ledger {
    /// The counts so far; they are whole once the writer has done all that was sent.
    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(counts: &Mutex<Counts>, more: Counts) {
    counts.lock().unwrap_or_else(PoisonError::into_inner).add(more);
}

/// A page of a walk, ready to be stored.
pub(super) struct WalkPage {
    pub(super) walk_key: i64,
    pub(super) connection_key: i64,
    /// Whether the walk covers the listing from its start.
    pub(super) is_full: bool,
    pub(super) batch: Batch,
    /// Where the walk stands with it, for a later sync to go on from.
    pub(super) checkpoint: Option<String>,
}

/// See the module.
pub(super) struct Recorder {
    /// The writer and the sync's own row; `None` in a dry run.
    archive: Option<(Writer, i64)>,
    /// `None` where there is no archive yet.
    reader: Option<tokio::sync::Mutex<Reader>>,
    progress: Arc<Progress>,
}

impl Recorder {
    pub(super) fn into_archive(
        writer: Writer,
        sync_key: i64,
        reader: Reader,
        progress: Arc<Progress>,
    ) -> Self {
        Self { archive: Some((writer, sync_key)), reader: Some(reader.into()), progress }
    }

    /// Records nothing, and compares with an archive where there is one.
    pub(super) fn dry_run(reader: Option<Reader>, progress: Arc<Progress>) -> Self {
        Self { archive: None, reader: reader.map(Into::into), progress }
    }

    /// Gives the writer back, once nothing is to be recorded any more.
    pub(super) fn into_writer(self) -> Option<Writer> {
        self.archive.map(|(writer, _)| writer)
    }

    /// Asks what is archived, without waiting for the writer; the default where there is no archive.
    pub(super) async fn read<T: Default>(
        &self,
        question: impl FnOnce(&Reader) -> store::Result<T>,
    ) -> store::Result<T> {
        match &self.reader {
            Some(reader) => question(&*reader.lock().await),
            None => Ok(T::default()),
        }
    }

    /// Has something written; nothing in a dry run.
    pub(super) async fn write(
        &self,
        job: impl FnOnce(&mut Archive) -> store::Result<()> + Send + 'static,
    ) -> Result<(), Closed> {
        match &self.archive {
            Some((writer, _)) => writer.write(job).await,
            None => Ok(()),
        }
    }

    /// Has something written and waits for what it gives; the default in a dry run.
    pub(super) async fn ask<T: Default + Send + 'static>(
        &self,
        job: impl FnOnce(&mut Archive) -> store::Result<T> + Send + 'static,
    ) -> Result<T, Closed> {
        match &self.archive {
            Some((writer, _)) => writer.ask(job).await,
            None => Ok(T::default()),
        }
    }

    /// What is known of a connection, which is archived from now on.
    pub(super) async fn read_state(&self, id: &ConnectionId) -> Result<ConnectionState, Interruption> {
        let Some((writer, _)) = &self.archive else {
            return Ok(self.read(|reader| reader.read_state(id)).await?.unwrap_or_default());
        };
        let id = id.clone();
        let state = writer.ask(move |archive| {
            let key = archive.upsert_connection(&id, &now())?;
            archive.read_state(key)
        });
        Ok(state.await?)
    }

    /// What is archived of a run, or in a dry run would be by now.
    pub(super) async fn read_standing(
        &self,
        key: i64,
        id: &str,
        ledger: &Ledger,
    ) -> Result<Standing, Interruption> {
        if let Some((writer, _)) = &self.archive {
            let id = id.to_owned();
            return Ok(writer.ask(move |archive| archive.read_standing(key, &id)).await?);
        }
        if ledger.met.contains(&Key(xxh3_128(id.as_bytes()))) {
            return Ok(Standing::Archived);
        }
        let standing = self.read(|reader| reader.read_standing(key, id).map(Some)).await?;
        Ok(standing.unwrap_or(Standing::Unknown))
    }

    /// Stores the connections that an iModel lists; gives how many of them were never met before.
    pub(super) async fn store_connections(
        &self,
        imodel: &str,
        items: &[(ConnectionId, wire::Connection)],
    ) -> Result<u64, Closed> {
        if let Some((writer, _)) = &self.archive {
            let (imodel, items) = (imodel.to_owned(), items.to_vec());
            return writer.ask(move |archive| archive.store_connections(&imodel, &items, &now())).await;
        }
        let mut new = 0;
        for (id, _) in items {
            let state = self.read(|reader| reader.read_state(id)).await;
            new += u64::from(matches!(state, Ok(None)));
        }
        Ok(new)
    }

    /// Begins a walk, or goes on with one; gives its key.
    pub(super) async fn begin_walk(
        &self,
        connection_key: i64,
        is_full: bool,
        resumed: Option<i64>,
    ) -> Result<i64, Closed> {
        let Some((writer, sync_key)) = &self.archive else { return Ok(0) };
        let sync_key = *sync_key;
        let begin = writer.ask(move |archive| match resumed {
            Some(walk_key) => archive.resume_walk(walk_key),
            None => archive.begin_walk(connection_key, sync_key, is_full, &now()),
        });
        begin.await
    }

    /// Stores a page of a walk, in parts where it holds many records.
    ///
    /// # Errors
    /// The writer has stopped, or the client was stopped or its time budget spent: then the page may not be
    /// stored whole.
    pub(super) async fn store_page(
        &self,
        client: &Client,
        doing: &Doing,
        page: WalkPage,
        ledger: &mut Ledger,
    ) -> Result<(), Interruption> {
        let WalkPage { walk_key, connection_key, is_full, batch, mut checkpoint } = page;
        let Some((writer, sync_key)) = &self.archive else {
            let counts = batch.count(&mut ledger.met);
            self.progress.add(&counts, true);
            add(&ledger.counts, counts);
            return Ok(());
        };
        let (sync_key, requests) = (*sync_key, client.requests());
        let parts = batch.parts();
        let (batch, count) = (Arc::new(batch), parts.len());
        for (at, part) in parts.into_iter().enumerate() {
            let (progress, counted, batch) = (self.progress.clone(), ledger.counts.clone(), batch.clone());
            let is_last = at + 1 == count;
            // Only the last part moves the checkpoint: a walk that is resumed before it asks for the page
            // again.
            let checkpoint = checkpoint.take_if(|_| is_last);
            let write = writer.write(move |archive| {
                archive.mark_connection(connection_key, None)?;
                archive.note_requests(sync_key, requests, &now())?;
                let part_of_page =
                    if is_last { Part::Last { checkpoint: checkpoint.as_deref() } } else { Part::Beginning };
                let records = &batch.records()[part];
                let counts = archive.store_page(walk_key, is_full, records, part_of_page, &now())?;
                progress.add(&counts, at == 0);
                add(&counted, counts);
                Ok(())
            });
            client.wait(doing, write).await??;
        }
        Ok(())
    }

    /// Stores records that are no page of a walk. A dry run does not count them.
    pub(super) async fn store_records(
        &self,
        connection_key: i64,
        source: Source,
        batch: Batch,
        ledger: &Ledger,
    ) -> Result<(), Closed> {
        let (progress, counted) = (self.progress.clone(), ledger.counts.clone());
        self.write(move |archive| {
            let counts = archive.store_records(connection_key, source, batch.records(), &now())?;
            progress.changed.fetch_add(counts.changed, Ordering::Relaxed);
            add(&counted, counts);
            Ok(())
        })
        .await
    }

    /// Ends a walk: whether it is complete is decided here, where the archive's own counts are at hand.
    pub(super) async fn end_walk(
        &self,
        walk_key: i64,
        evidence: Evidence,
        mut end: WalkEnd,
    ) -> Result<(Option<Unproved>, WalkOutcome), Closed> {
        let Some((writer, _)) = &self.archive else {
            return Ok((evidence.judge(None), WalkOutcome::default()));
        };
        let ended = writer.ask(move |archive| {
            let unproved = evidence.judge(Some(archive.read_tally(walk_key)?));
            end.unproved = unproved.as_ref().map(ToString::to_string);
            let outcome = archive.end_walk(walk_key, &end, &now())?;
            Ok((unproved, outcome))
        });
        ended.await
    }

    /// Notes how many requests the sync has sent so far, together with other work.
    pub(super) async fn write_with_requests(
        &self,
        requests: u64,
        job: impl FnOnce(&mut Archive) -> store::Result<()> + Send + 'static,
    ) -> Result<(), Closed> {
        let sync_key = self.archive.as_ref().map(|(_, sync_key)| *sync_key);
        self.write(move |archive| {
            if let Some(sync_key) = sync_key {
                archive.note_requests(sync_key, requests, &now())?;
            }
            job(archive)
        })
        .await
    }
}
