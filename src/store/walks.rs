//! How far a listing was walked: which runs a walk met, where it stands, and what its end proves.
//!
//! In: the pages of a walk, and how it ended. Out: its row, the connection's checkpoint, the runs that are no
//! longer listed, and gaps. Rows, checkpoint and counts are committed together.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::cells::time;
use super::error::Result;
use super::open::Archive;
use super::records::{Batch, Counts, Origin, Received, Stored, StoredKind};
use super::rejects::{MOST_REJECTED_BYTES, MOST_REJECTS, SetAside};
use super::walk_record::WalkRecord;
use super::walk_rows;
use crate::time::UtcText;

/// Runs met by an incremental walk that are kept in memory to tell at its end what it did not meet.
const MET_IN_MEMORY: usize = 8_192;

/// Which part of a page is stored. A page of many records is stored in several parts, between which a signal
/// or the end of the time budget is heard; a walk that is resumed meets what the last page's parts stored.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// More of the page follows: the walk stands where it stood before the page.
    Beginning,
    /// With this part the page is whole.
    Last {
        /// Where the walk stands with it, if that can be told.
        checkpoint: Option<&'a str>,
    },
}

/// How a walk ended, for the record.
#[derive(Debug, Clone)]
pub struct WalkEnd {
    /// Why it is not complete; `None`: it is.
    pub unproved: Option<String>,
    /// Whether it went from the listing's start to its end.
    pub covers_listing: bool,
    /// Whether every page since its start was recorded for what was met.
    pub is_full: bool,
    /// Where a later sync goes on, if it can.
    pub checkpoint: Option<String>,
    /// Where the listing ended, if that was seen.
    pub listing_end: Option<String>,
    /// The order observed.
    pub order: Option<&'static str>,
    /// The newest start that was chained.
    pub newest_started_at: Option<UtcText>,
    /// The oldest start that was chained.
    pub oldest_started_at: Option<UtcText>,
    /// The page size to start with next time, if a larger one was refused.
    pub page_size: Option<u32>,
    /// `lastRun` as it was before the walk, where it was told; empty for no run.
    pub last_run_id: Option<String>,
}

/// What the archive has counted of a walk that is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WalkTally {
    /// Distinct runs met; `None` where they were too many to be told apart.
    pub met: Option<u64>,
    /// Records set aside that could not be kept, because the connection has its most.
    pub not_kept: u64,
    /// The most records, and bytes of records, that are kept for a connection.
    pub most_rejects: (u64, u64),
}

/// What a walk's end brought to light.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct WalkOutcome {
    /// Archived runs that the platform no longer lists, noticed now.
    pub unlisted: u64,
    /// A time in which runs may have been dropped: after, until.
    pub gap: Option<(UtcText, UtcText)>,
}

impl Archive {
    /// Notes that a listing is being walked; gives the walk's key.
    pub fn begin_walk(
        &mut self,
        connection_key: i64,
        sync_key: i64,
        is_full: bool,
        now: &UtcText,
    ) -> Result<i64> {
        let walk_key = self.run(|connection| {
            if is_full {
                // A walk that starts over: what an interrupted one has met is of no use any more.
                let old = "DELETE FROM walk_runs
                           WHERE walk_key IN (SELECT walk_key FROM walks WHERE connection_key = ?1)";
                connection.execute(old, [connection_key])?;
                walk_rows::forget_checkpoints(connection, connection_key)?;
            }
            // What an interrupted walk stored is no baseline for gaps; what complete walks proved is.
            let sql = "INSERT INTO walks (connection_key, sync_key, kind, started_at, reason,
                                          base_run_key, newest_before)
                       SELECT ?1, ?2, ?3, ?4, 'it is under way, or the sync was ended before it could say more',
                              coalesce((SELECT max(run_key) FROM runs), 0),
                              coalesce(watermark, newest_started_at)
                       FROM checkpoints
                       WHERE connection_key = ?1";
            connection.execute(sql, params![connection_key, sync_key, kind(is_full), now.as_str()])?;
            Ok(connection.last_insert_rowid())
        })?;
        self.open_walk(walk_key, false)
    }

    /// Goes on with a full walk that was interrupted.
    pub(crate) fn resume_walk(&mut self, walk_key: i64) -> Result<i64> {
        self.open_walk(walk_key, true)
    }

    fn open_walk(&mut self, walk_key: i64, is_resumed: bool) -> Result<i64> {
        let sql = "SELECT * FROM walks WHERE walk_key = ?1";
        let walk = self.sqlite(self.connection.query_row(sql, [walk_key], |row| {
            let Some(started_at) = time(row, "started_at")? else { return Ok(None) };
            Ok(Some(WalkRecord {
                walk_key,
                connection_key: row.get("connection_key")?,
                met: HashSet::new(),
                changed: HashSet::new(),
                is_full: row.get::<_, String>("kind")? == kind(true),
                is_resumed,
                is_overflowing: false,
                started_at,
                newest_before: time(row, "newest_before")?,
                base_run_key: row.get("base_run_key")?,
                listed: row.get::<_, i64>("listed")?.cast_unsigned(),
                pruned: 0,
                set_aside: row.get::<_, i64>("set_aside")?.cast_unsigned(),
                pages: row.get::<_, i64>("pages")?.cast_unsigned(),
                has_news: false,
                not_kept: 0,
            }))
        }))?;
        let walk = walk.ok_or_else(|| self.inconsistent("a walk began at no time", "walks", walk_key))?;
        self.walks.insert(walk_key, walk);
        Ok(walk_key)
    }

    /// Stores one page of a walk or a part of it, and where the walk stands once it is whole.
    pub fn store_page(
        &mut self,
        walk_key: i64,
        is_full: bool,
        records: &[Received<'_>],
        part: Part<'_>,
        now: &UtcText,
    ) -> Result<Counts> {
        let mut walk = self.take_walk(walk_key)?;
        let connection_key = walk.connection_key;
        let counts = self.run(|connection| walk.store_page(connection, is_full, records, part, now));
        self.walks.insert(walk_key, walk);
        self.uncommitted += records.len();
        self.accounted(counts?, connection_key)
    }

    fn take_walk(&mut self, walk_key: i64) -> Result<WalkRecord> {
        let walk = self.walks.remove(&walk_key);
        walk.ok_or_else(|| {
            self.inconsistent("a walk was stored that had not begun, or had ended", "walks", walk_key)
        })
    }

    /// What was counted of a walk that is under way.
    pub(crate) fn read_tally(&self, walk_key: i64) -> Result<WalkTally> {
        let Some(walk) = self.walks.get(&walk_key) else {
            return Err(self.inconsistent("a walk was counted that had not begun", "walks", walk_key));
        };
        let met = (!walk.is_overflowing).then_some(walk.listed);
        let most_rejects = (MOST_REJECTS, MOST_REJECTED_BYTES);
        Ok(WalkTally { met, not_kept: walk.not_kept, most_rejects })
    }

    /// Notes how a walk ended, and all that follows from it.
    pub fn end_walk(&mut self, walk_key: i64, end: &WalkEnd, now: &UtcText) -> Result<WalkOutcome> {
        let walk = self.take_walk(walk_key)?;
        self.sqlite(end_walk(&self.connection, &walk, end, now))
    }
}

fn kind(is_full: bool) -> &'static str {
    if is_full { "full" } else { "incremental" }
}

fn note_met(connection: &Connection, walk_key: i64, run_key: i64) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO walk_runs (walk_key, run_key) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    Ok(connection.prepare_cached(sql)?.execute([walk_key, run_key])? == 1)
}

impl WalkRecord {
    /// Whether this walk meets a run for the first time that was archived before it.
    fn meets(&mut self, connection: &Connection, run_key: i64) -> rusqlite::Result<bool> {
        if self.is_full {
            return note_met(connection, self.walk_key, run_key);
        }
        if self.met.len() >= MET_IN_MEMORY {
            self.is_overflowing = true;
            return Ok(!self.met.contains(&run_key));
        }
        Ok(self.met.insert(run_key))
    }

    fn store_page(
        &mut self,
        connection: &Connection,
        is_full: bool,
        records: &[Received<'_>],
        part: Part<'_>,
        now: &UtcText,
    ) -> rusqlite::Result<Counts> {
        if is_full && !self.is_full {
            // An incremental walk that must cover everything after all: what it met so far counts.
            self.is_full = true;
            for run_key in std::mem::take(&mut self.met) {
                note_met(connection, self.walk_key, run_key)?;
            }
        }
        let mut batch = Batch::begin(connection, self.connection_key, now)?;
        let mut listed = 0;
        for record in records {
            let origin = Origin::Walk { walk_key: self.walk_key, changed: &self.changed };
            let stored = batch.store(record, origin)?;
            listed += u64::from(self.account(connection, &stored)?);
        }
        let counts = Counts { listed, ..batch.end()? };

        self.listed += listed;
        if let Part::Last { checkpoint } = part {
            self.pages += 1;
            let sql = "UPDATE walks SET pages = ?2, checkpoint = ?3 WHERE walk_key = ?1";
            let values = params![self.walk_key, self.pages.cast_signed(), checkpoint];
            connection.prepare_cached(sql)?.execute(values)?;
        }
        let sql = "UPDATE walks SET kind = ?2, listed = ?3, set_aside = ?4 WHERE walk_key = ?1";
        let [listed, set_aside] = [self.listed, self.set_aside].map(u64::cast_signed);
        connection.prepare_cached(sql)?.execute(params![
            self.walk_key,
            kind(self.is_full),
            listed,
            set_aside
        ])?;
        Ok(counts)
    }

    /// Takes account of one record of its pages; gives whether it is a run that was not met before.
    fn account(&mut self, connection: &Connection, stored: &Stored) -> rusqlite::Result<bool> {
        self.has_news |= stored.is_back
            || matches!(stored.kind, StoredKind::New | StoredKind::Changed)
            || stored.set_aside == Some(SetAside::Kept);
        self.not_kept += u64::from(stored.set_aside == Some(SetAside::NotKept));
        let Some(run_key) = stored.run_key else {
            self.set_aside += 1;
            return Ok(false);
        };
        if stored.kind == StoredKind::Changed {
            self.changed.insert(run_key);
        }

        let is_new = stored.kind == StoredKind::New;
        let is_first = is_new || !stored.is_own && self.meets(connection, run_key)?;
        // A record that is no run is listed all the same, so the run that it is about is not missing; but it
        // is not counted as met.
        if stored.kind == StoredKind::Rejected {
            return Ok(false);
        }
        self.pruned += u64::from(is_first && stored.kind == StoredKind::Pruned);
        Ok(is_first)
    }
}

fn end_walk(
    connection: &Connection,
    walk: &WalkRecord,
    end: &WalkEnd,
    now: &UtcText,
) -> rusqlite::Result<WalkOutcome> {
    let key = walk.connection_key;
    let mut outcome = WalkOutcome::default();
    let is_complete = end.unproved.is_none();
    if is_complete && end.covers_listing {
        outcome.gap = note_gap(connection, walk, end, now)?;
        outcome.unlisted = mark_unlisted(connection, walk, now)?;
    }
    if is_complete {
        settle(connection, walk, end)?;
    }
    let learned = "UPDATE checkpoints SET listing_order = coalesce(?2, listing_order), page_size = coalesce(?3, page_size)
                   WHERE connection_key = ?1";
    connection.execute(learned, params![key, end.order, end.page_size])?;
    let checkpoint = end.checkpoint.as_deref().filter(|_| !is_complete);
    // Only a walk that will be gone on with needs to know later what it met.
    if checkpoint.is_none() {
        connection.execute("DELETE FROM walk_runs WHERE walk_key = ?1", [walk.walk_key])?;
    }
    let ended = walk_rows::Ended {
        walk_key: walk.walk_key,
        connection_key: key,
        started_at: walk.started_at,
        ended_at: *now,
        kind: kind(end.is_full),
        pages: walk.pages,
        is_complete,
        covers_listing: end.covers_listing,
        reason: end.unproved.as_deref(),
        checkpoint,
        // What a resumed walk stored before it was interrupted carries its key.
        has_news: walk.has_news || walk.is_resumed || outcome.gap.is_some() || outcome.unlisted > 0,
    };
    ended.record(connection)?;
    Ok(outcome)
}

/// Notes what a complete walk has proved of its connection: the next sync begins there.
fn settle(connection: &Connection, walk: &WalkRecord, end: &WalkEnd) -> rusqlite::Result<()> {
    // A platform that names a run before it lists it: only what is archived proves that nothing began.
    let sql = "UPDATE checkpoints
               SET settled_run_key = coalesce((SELECT max(run_key) FROM runs), 0),
                   watermark = max(coalesce(watermark, ?2), coalesce(?2, watermark)),
                   listing_end = coalesce(?3, listing_end),
                   full_walk_at = iif(?4, ?5, full_walk_at),
                   last_run_id = iif(
                       ?6 = '' OR EXISTS (SELECT 1 FROM runs WHERE connection_key = ?1 AND id = ?6)
                       OR EXISTS (SELECT 1 FROM pruned_runs WHERE connection_key = ?1 AND id = ?6),
                       ?6, last_run_id)
               WHERE connection_key = ?1";
    let newest = end.newest_started_at.as_ref().map(UtcText::as_str);
    let began = walk.started_at.as_str();
    let values =
        params![walk.connection_key, newest, end.listing_end, end.covers_listing, began, end.last_run_id];
    connection.execute(sql, values).map(drop)
}

/// Runs that are archived as listed and were not met: the platform no longer lists them.
fn mark_unlisted(connection: &Connection, walk: &WalkRecord, now: &UtcText) -> rusqlite::Result<u64> {
    let key = walk.connection_key;
    let listed: i64 =
        connection
            .query_row("SELECT listed FROM checkpoints WHERE connection_key = ?1", [key], |row| row.get(0))?;
    // Every run met is archived as listed by now, those that were pruned aside, so equal numbers mean the same
    // runs; but while a walk was interrupted others may have been stored. And a record that could not be
    // matched may be any run.
    let is_same = listed.cast_unsigned() == walk.listed - walk.pruned && !walk.is_resumed;
    if is_same || walk.is_overflowing || walk.set_aside > 0 {
        return Ok(0);
    }
    // What was stored since the walk began, by others than itself, it did not have to meet.
    let base = walk.base_run_key;
    let missed = if walk.is_full {
        let sql = "UPDATE runs SET unlisted_at = ?3
                   WHERE connection_key = ?1 AND run_key <= ?4 AND unlisted_at IS NULL AND walk_key IS NOT ?2
                     AND NOT EXISTS (SELECT 1 FROM walk_runs
                                     WHERE walk_runs.walk_key = ?2 AND walk_runs.run_key = runs.run_key)";
        let marked = connection.execute(sql, params![key, walk.walk_key, now.as_str(), base])?;
        i64::try_from(marked).unwrap_or(i64::MAX)
    } else {
        let sql = "SELECT run_key FROM runs
                   WHERE connection_key = ?1 AND run_key <= ?3 AND unlisted_at IS NULL AND walk_key IS NOT ?2";
        let mut statement = connection.prepare(sql)?;
        let keys: Vec<i64> = statement
            .query_map([key, walk.walk_key, base], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let missed: Vec<i64> = keys.into_iter().filter(|run_key| !walk.met.contains(run_key)).collect();
        for run_key in &missed {
            let sql = "UPDATE runs SET unlisted_at = ?2 WHERE run_key = ?1";
            connection.prepare_cached(sql)?.execute(params![run_key, now.as_str()])?;
        }
        i64::try_from(missed.len()).unwrap_or(i64::MAX)
    };
    connection.execute(
        "UPDATE checkpoints SET listed = listed - ?2 WHERE connection_key = ?1",
        params![key, missed],
    )?;
    Ok(missed.cast_unsigned())
}

/// If everything listed is newer than everything archived before, runs may have come and gone unseen.
fn note_gap(
    connection: &Connection,
    walk: &WalkRecord,
    end: &WalkEnd,
    now: &UtcText,
) -> rusqlite::Result<Option<(UtcText, UtcText)>> {
    let Some((after, until)) =
        walk.newest_before.zip(end.oldest_started_at).filter(|(after, until)| until > after)
    else {
        return Ok(None);
    };
    let sql =
        "INSERT INTO gaps (connection_key, walk_key, after, until, noticed_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.execute(
        sql,
        params![walk.connection_key, walk.walk_key, after.as_str(), until.as_str(), now.as_str()],
    )?;
    Ok(Some((after, until)))
}
