//! What is written: whole run trees, what a change replaced, and how far a listing was walked.
//!
//! In: rows from `normalize`, and what a walk has seen. Everything here runs inside a transaction that
//! the writer thread began, so that rows, checkpoint and counts are committed together.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rejects::{self, MOST_REJECTED_BYTES, MOST_REJECTS, SetAside};
use super::unfinished::{self, Asked};
use super::{Archive, Error, Result, check, drift, links, prune, read, walk_rows};
use crate::normalize::digest::digest_of_rows;
use crate::normalize::{self, Execution, Job, Merged, Run, Unread};
use crate::time::UtcText;

/// Runs met by an incremental walk that are kept in memory to tell at its end what it did not meet.
const MET_IN_MEMORY: usize = 8_192;

/// The fingerprint of no text.
const NO_FINGERPRINT: [u8; 16] = [0; 16];

/// One record of an answer, ready for the tables.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "in a backfill nearly all are runs, and a box for each costs more"
)]
pub enum Received<'a> {
    /// A run whose text is not the archived one, or may not be.
    Run {
        /// The exact text.
        raw: &'a str,
        /// Of that text.
        fingerprint: [u8; 16],
        /// Its rows.
        run: Run<'a>,
    },
    /// A run that is archived with this very text.
    Unchanged {
        /// Its key.
        run_key: i64,
        /// The walk that stored it first.
        walk_key: Option<i64>,
        /// Whether it is not terminal.
        is_unfinished: bool,
    },
    /// A run that was pruned: it counts as archived, whatever it says.
    Pruned {
        /// The key that it had.
        run_key: i64,
    },
    /// A record that is no run.
    Rejected {
        /// The exact text.
        raw: &'a str,
        /// Of that text.
        fingerprint: [u8; 16],
        /// Why.
        reason: String,
        /// The archived run of the same id and the walk that stored it first, if it can be told.
        known: Option<(i64, Option<i64>)>,
    },
}

/// What became of the records of an answer: received = new + changed + unchanged + rejected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Records received.
    pub received: u64,
    /// Runs stored for the first time.
    pub new: u64,
    /// Runs whose content differed.
    pub changed: u64,
    /// Runs that were archived like this.
    pub unchanged: u64,
    /// Records set aside.
    pub rejected: u64,
    /// Of these, those that are kept nowhere: the connection has its most.
    pub not_kept: u64,
    /// Runs that this walk met for the first time.
    pub listed: u64,
}

impl Counts {
    /// Adds another answer's.
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.not_kept += other.not_kept;
        self.listed += other.listed;
    }
}

/// A record that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Its key.
    pub reject_key: i64,
    /// Whose it is.
    pub connection_key: i64,
    /// The exact text.
    pub raw: String,
}

/// Where records come from besides a walk, and what they may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An answer for one run by its id.
    ById,
    /// A page of a listing that is no part of a walk: it says what its runs are, not which there are.
    Page,
    /// A saved page of unknown age: it does not turn a finished run into an unfinished one.
    File,
    /// What the platform lists now, whatever the archive holds: what was altered in the archive looks like
    /// what was last received.
    Repair,
}

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

/// A source, or the walk whose page it is.
enum From<'a> {
    Walk(&'a mut WalkRecord),
    Other(Source),
}

impl From<'_> {
    fn asked(&self) -> Asked {
        match self {
            From::Other(Source::ById) => Asked::ById,
            From::Walk(_) | From::Other(Source::Page | Source::File | Source::Repair) => Asked::InPassing,
        }
    }

    /// Whether it is what the platform says now.
    fn is_an_answer(&self) -> bool {
        !matches!(self, From::Other(Source::File))
    }
}

/// What a walk that is under way has stored so far.
#[derive(Debug)]
pub(super) struct WalkRecord {
    walk_key: i64,
    connection_key: i64,
    /// Keys of runs met that were archived before: in memory while few, in `walk_runs` for a full walk.
    met: HashSet<i64>,
    /// Runs that it changed: an answer that was under way before must not change them back.
    changed: HashSet<i64>,
    is_full: bool,
    is_resumed: bool,
    is_overflowing: bool,
    started_at: UtcText,
    newest_before: Option<UtcText>,
    base_run_key: i64,
    listed: u64,
    /// Of these, runs that were pruned.
    pruned: u64,
    set_aside: u64,
    pages: u64,
    /// Whether it brought anything that the archive did not have.
    has_news: bool,
    /// Records that are no runs and are kept nowhere.
    not_kept: u64,
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
pub struct WalkTally {
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

/// What one sync did, for its row.
#[derive(Debug, Default, Clone)]
pub struct SyncTotals {
    /// Requests sent.
    pub requests: u64,
    /// Pages received.
    pub pages: u64,
    /// What became of the records.
    pub counts: Counts,
    /// iModels asked for their connections.
    pub imodels: u64,
    /// Connections that it was for.
    pub connections: u64,
    /// Of these, those that nothing was asked about, because nothing had begun.
    pub quiet: u64,
}

impl Archive {
    pub(super) fn begin(&mut self) -> Result<()> {
        self.sqlite(self.connection.execute_batch("BEGIN IMMEDIATE"))
    }

    pub(super) fn commit(&mut self) -> Result<()> {
        self.uncommitted = 0;
        self.sqlite(self.connection.execute_batch("COMMIT"))
    }

    pub(super) fn roll_back(&mut self) {
        // The error that led here is the one to tell; SQLite may have rolled back by itself.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    pub(super) fn uncommitted(&self) -> usize {
        self.uncommitted
    }

    /// Runs `work` as one transaction.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.begin()?;
        match work(self) {
            Ok(value) => self.commit().map(|()| value),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// Notes that a sync or import begins; one that never ended is noted as interrupted.
    pub fn begin_sync(&mut self, command: &str, now: &UtcText) -> Result<i64> {
        let write = || {
            let interrupted = "UPDATE syncs SET outcome = 'interrupted' WHERE outcome = 'running'";
            self.connection.execute(interrupted, [])?;
            let sql =
                "INSERT INTO syncs (command, version, started_at, outcome) VALUES (?1, ?2, ?3, 'running')";
            self.connection.execute(sql, params![command, env!("CARGO_PKG_VERSION"), now.as_str()])?;
            Ok(self.connection.last_insert_rowid())
        };
        self.sqlite(write())
    }

    /// Notes how a sync or import ended.
    pub fn end_sync(
        &mut self,
        sync_key: i64,
        now: &UtcText,
        totals: &SyncTotals,
        (outcome, exit_code, problem): (&str, u8, Option<&str>),
    ) -> Result<()> {
        let counts = totals.counts;
        let values = params![
            sync_key,
            now.as_str(),
            outcome,
            exit_code,
            problem,
            totals.requests.cast_signed(),
            totals.pages.cast_signed(),
            counts.listed.cast_signed(),
            counts.new.cast_signed(),
            counts.changed.cast_signed(),
            counts.rejected.cast_signed(),
            totals.imodels.cast_signed(),
            totals.connections.cast_signed(),
            totals.quiet.cast_signed(),
        ];
        let sql = "UPDATE syncs
                   SET ended_at = ?2, requested_at = iif(?6 > 0, ?2, NULL), outcome = ?3, exit_code = ?4, problem = ?5, requests = ?6, pages = ?7,
                       listed = ?8, new = ?9, changed = ?10, rejected = ?11, imodels = ?12,
                       connections = ?13, quiet = ?14
                   WHERE sync_key = ?1";
        self.sqlite(self.connection.execute(sql, values))?;
        self.refresh_names()
    }

    /// Notes how many requests a sync has sent so far.
    pub fn note_requests(&mut self, sync_key: i64, requests: u64, now: &UtcText) -> Result<()> {
        let sql = "UPDATE syncs SET requests = ?2, requested_at = ?3 WHERE sync_key = ?1 AND requests < ?2";
        let values = params![sync_key, requests.cast_signed(), now.as_str()];
        let write = || self.connection.prepare_cached(sql)?.execute(values);
        self.sqlite(write()).map(drop)
    }

    /// Notes that a listing is being walked; gives the walk's key.
    pub fn begin_walk(
        &mut self,
        connection_key: i64,
        sync_key: i64,
        is_full: bool,
        now: &UtcText,
    ) -> Result<i64> {
        let write = || {
            if is_full {
                // A walk that starts over: what an interrupted one has met is of no use any more.
                let old = "DELETE FROM walk_runs
                           WHERE walk_key IN (SELECT walk_key FROM walks WHERE connection_key = ?1)";
                self.connection.execute(old, [connection_key])?;
                walk_rows::forget_checkpoints(&self.connection, connection_key)?;
            }
            // What an interrupted walk stored is no baseline for gaps; what complete walks proved is.
            let sql = "INSERT INTO walks (connection_key, sync_key, kind, started_at, reason,
                                          base_run_key, newest_before)
                       SELECT ?1, ?2, ?3, ?4, 'it is under way, or the sync was ended before it could say more',
                              coalesce((SELECT max(run_key) FROM runs), 0),
                              coalesce(watermark, newest_started_at)
                       FROM checkpoints
                       WHERE connection_key = ?1";
            self.connection.execute(sql, params![connection_key, sync_key, kind(is_full), now.as_str()])?;
            Ok(self.connection.last_insert_rowid())
        };
        let walk_key = self.sqlite(write())?;
        self.open_walk(walk_key, false)
    }

    /// Goes on with a full walk that was interrupted.
    pub fn resume_walk(&mut self, walk_key: i64) -> Result<i64> {
        self.open_walk(walk_key, true)
    }

    fn open_walk(&mut self, walk_key: i64, is_resumed: bool) -> Result<i64> {
        let sql = "SELECT * FROM walks WHERE walk_key = ?1";
        let walk = self.sqlite(self.connection.query_row(sql, [walk_key], |row| {
            let Some(started_at) = read::time(row, "started_at")? else { return Ok(None) };
            Ok(Some(WalkRecord {
                walk_key,
                connection_key: row.get("connection_key")?,
                met: HashSet::new(),
                changed: HashSet::new(),
                is_full: row.get::<_, String>("kind")? == kind(true),
                is_resumed,
                is_overflowing: false,
                started_at,
                newest_before: read::time(row, "newest_before")?,
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
        let counts = store_page(&self.connection, &mut walk, is_full, records, part, now);
        self.walks.insert(walk_key, walk);
        self.uncommitted += records.len();
        self.accounted(self.sqlite(counts)?, connection_key)
    }

    /// Stores the records of one answer that is no page of a walk.
    pub fn store_records(
        &mut self,
        connection_key: i64,
        source: Source,
        records: &[Received<'_>],
        now: &UtcText,
    ) -> Result<Counts> {
        self.uncommitted += records.len();
        let counts = store_records(&self.connection, connection_key, &mut From::Other(source), records, now);
        self.accounted(self.sqlite(counts)?, connection_key)
    }

    /// Every record received is accounted for, or nothing of the page is stored.
    fn accounted(&self, counts: Counts, connection_key: i64) -> Result<Counts> {
        if counts.new + counts.changed + counts.unchanged + counts.rejected == counts.received {
            return Ok(counts);
        }
        let what = "records were received of which it is not told what became of them";
        Err(self.inconsistent(what, "connections", connection_key))
    }

    fn inconsistent(&self, what: &'static str, table: &'static str, key: i64) -> Error {
        Error::Inconsistent { path: self.path.clone(), what, table, key }
    }

    /// Records set aside with a key after this one; with a version, only those that it has not tried.
    pub fn read_rejects(&self, after: i64, untried_by: Option<&str>, most: usize) -> Result<Vec<Reject>> {
        let sql = "SELECT reject_key, connection_key, raw FROM rejects
                   WHERE reject_key > ?1 AND version IS NOT ?2
                   ORDER BY reject_key LIMIT ?3";
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement
                .query_map(params![after, untried_by, i64::try_from(most).unwrap_or(i64::MAX)], |row| {
                    Ok(Reject { reject_key: row.get(0)?, connection_key: row.get(1)?, raw: row.get(2)? })
                })?;
            rows.collect()
        };
        self.sqlite(read())
    }

    /// Notes that this version could not read a record either; without a reason, for the reason it had.
    pub fn keep_reject(&mut self, reject_key: i64, reason: Option<&str>) -> Result<()> {
        let sql = "UPDATE rejects SET version = ?2, reason = coalesce(?3, reason) WHERE reject_key = ?1";
        let values = params![reject_key, env!("CARGO_PKG_VERSION"), reason];
        self.sqlite(self.connection.execute(sql, values)).map(drop)
    }

    /// A record that was set aside is archived now.
    pub fn remove_reject(&mut self, reject_key: i64) -> Result<()> {
        let sql = "DELETE FROM rejects WHERE reject_key = ?1";
        self.sqlite(self.connection.execute(sql, [reject_key])).map(drop)
    }

    fn take_walk(&mut self, walk_key: i64) -> Result<WalkRecord> {
        let walk = self.walks.remove(&walk_key);
        walk.ok_or_else(|| {
            self.inconsistent("a walk was stored that had not begun, or had ended", "walks", walk_key)
        })
    }

    /// Notes that asking for a run by its id answered 404.
    pub fn mark_not_found(&mut self, connection_key: i64, run_key: i64, now: &UtcText) -> Result<()> {
        let write = || {
            let listed = "UPDATE checkpoints SET listed = listed - 1
                          WHERE connection_key = ?1
                            AND EXISTS (SELECT 1 FROM runs WHERE run_key = ?2 AND unlisted_at IS NULL)";
            self.connection.execute(listed, [connection_key, run_key])?;
            let sql = "UPDATE runs SET not_found_at = ?2, unlisted_at = coalesce(unlisted_at, ?2) WHERE run_key = ?1";
            self.connection.execute(sql, params![run_key, now.as_str()])?;
            unfinished::note_answer(&self.connection, run_key, Asked::ById, now)
        };
        self.sqlite(write())
    }

    /// Remembers what a connection said of its last run where the walks themselves cannot tell that it is
    /// answered for: a run that was pruned, or that its id answered 404 for.
    pub fn note_last_run(&mut self, connection_key: i64, id: &str) -> Result<()> {
        let sql = "UPDATE checkpoints SET last_run_id = ?2 WHERE connection_key = ?1";
        self.sqlite(self.connection.execute(sql, params![connection_key, id])).map(drop)
    }

    /// What was counted of a walk that is under way.
    pub fn read_tally(&self, walk_key: i64) -> Result<WalkTally> {
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
}

fn store_page(
    connection: &Connection,
    walk: &mut WalkRecord,
    is_full: bool,
    records: &[Received<'_>],
    part: Part<'_>,
    now: &UtcText,
) -> rusqlite::Result<Counts> {
    if is_full && !walk.is_full {
        // An incremental walk that must cover everything after all: what it met so far counts.
        walk.is_full = true;
        for run_key in std::mem::take(&mut walk.met) {
            note_met(connection, walk.walk_key, run_key)?;
        }
    }
    let counts = store_records(connection, walk.connection_key, &mut From::Walk(walk), records, now)?;
    walk.listed += counts.listed;
    if let Part::Last { checkpoint } = part {
        walk.pages += 1;
        let sql = "UPDATE walks SET pages = ?2, checkpoint = ?3 WHERE walk_key = ?1";
        let values = params![walk.walk_key, walk.pages.cast_signed(), checkpoint];
        connection.prepare_cached(sql)?.execute(values)?;
    }
    let sql = "UPDATE walks SET kind = ?2, listed = ?3, set_aside = ?4 WHERE walk_key = ?1";
    let [listed, set_aside] = [walk.listed, walk.set_aside].map(u64::cast_signed);
    connection.prepare_cached(sql)?.execute(params![walk.walk_key, kind(walk.is_full), listed, set_aside])?;
    Ok(counts)
}

fn store_records(
    connection: &Connection,
    connection_key: i64,
    source: &mut From<'_>,
    records: &[Received<'_>],
    now: &UtcText,
) -> rusqlite::Result<Counts> {
    let mut counts = Counts { received: records.len() as u64, ..Counts::default() };
    let mut newest: Option<UtcText> = None;
    let mut listed_more = 0_i64;
    check::clear_keys_to_come(connection, now)?;
    let mut room = None;
    let is_saved = matches!(source, From::Other(Source::File));
    let has_pruned = prune::has_pruned(connection, connection_key)?;
    for record in records {
        let stored = match record {
            Received::Unchanged { run_key, walk_key, is_unfinished } => {
                if *is_unfinished && source.is_an_answer() {
                    unfinished::note_answer(connection, *run_key, source.asked(), now)?;
                }
                Stored {
                    run_key: *run_key,
                    kind: StoredKind::Unchanged,
                    is_own: matches!(source, From::Walk(walk) if Some(walk.walk_key) == *walk_key),
                    is_back: false,
                    unread: None,
                }
            }
            Received::Pruned { run_key } => Stored::pruned(*run_key),
            Received::Run { raw, fingerprint, run } => {
                let pruned = match has_pruned {
                    true => prune::pruned(connection, connection_key, &run.id)?,
                    false => None,
                };
                let stored = match pruned {
                    Some(run_key) => Stored::pruned(run_key),
                    None => {
                        newest = newest.max(run.execution.started_at);
                        store_run(connection, connection_key, source, (raw, fingerprint, run), now)?
                    }
                };
                if let Some(unread) = stored.unread {
                    let reason = unread.to_string();
                    let record = (*raw, fingerprint, reason.as_str());
                    let kept =
                        rejects::set_aside(connection, connection_key, (&mut room, is_saved), record, now)?;
                    note_set_aside(kept, source, &mut counts);
                }
                stored
            }
            Received::Rejected { raw, fingerprint, reason, known } => {
                let record = (*raw, fingerprint, reason.as_str());
                let kept =
                    rejects::set_aside(connection, connection_key, (&mut room, is_saved), record, now)?;
                note_set_aside(kept, source, &mut counts);
                counts.rejected += 1;
                if let From::Walk(walk) = source {
                    // It is listed all the same, so the run it is about is not missing.
                    match known {
                        Some((_, first_walk)) if *first_walk == Some(walk.walk_key) => {}
                        Some((run_key, _)) => {
                            walk.meets(connection, *run_key)?;
                        }
                        None => walk.set_aside += 1,
                    }
                }
                continue;
            }
        };
        // What could not be read whole is set aside, though the rest of it is stored.
        match stored.kind {
            _ if stored.unread.is_some() => counts.rejected += 1,
            StoredKind::New => counts.new += 1,
            StoredKind::Changed => counts.changed += 1,
            StoredKind::Unchanged | StoredKind::Pruned => counts.unchanged += 1,
        }
        let is_new = matches!(stored.kind, StoredKind::New);
        listed_more += i64::from(is_new || stored.is_back);
        if let From::Walk(walk) = source {
            let is_first = is_new || !stored.is_own && walk.meets(connection, stored.run_key)?;
            counts.listed += u64::from(is_first);
            let is_pruned = matches!(stored.kind, StoredKind::Pruned);
            walk.pruned += u64::from(is_first && is_pruned);
            walk.has_news |= stored.is_back || matches!(stored.kind, StoredKind::New | StoredKind::Changed);
        }
    }
    if listed_more != 0 || newest.is_some() {
        let sql = "UPDATE checkpoints
                   SET listed = listed + ?2, newest_started_at = max(coalesce(newest_started_at, ?3), coalesce(?3, newest_started_at))
                   WHERE connection_key = ?1 AND (?2 <> 0 OR newest_started_at IS NULL OR newest_started_at < ?3)";
        let newest = newest.as_ref().map(UtcText::as_str);
        connection.prepare_cached(sql)?.execute(params![connection_key, listed_more, newest])?;
    }
    Ok(counts)
}

enum StoredKind {
    New,
    Changed,
    Unchanged,
    Pruned,
}

struct Stored {
    run_key: i64,
    kind: StoredKind,
    /// Whether the walk that stores it stored it first.
    is_own: bool,
    /// Whether it was thought to be unlisted.
    is_back: bool,
    /// What of it could not be read.
    unread: Option<Unread>,
}

/// Notes what became of a text that was set aside, whole or in part.
fn note_set_aside(kept: SetAside, source: &mut From<'_>, counts: &mut Counts) {
    counts.not_kept += u64::from(kept == SetAside::NotKept);
    if let From::Walk(walk) = source {
        walk.has_news |= kept == SetAside::Kept;
        walk.not_kept += u64::from(kept == SetAside::NotKept);
    }
}

impl Stored {
    fn pruned(run_key: i64) -> Self {
        Self { run_key, kind: StoredKind::Pruned, is_own: false, is_back: false, unread: None }
    }
}

/// What is archived of a run that was received again.
struct Archived {
    run_key: i64,
    fingerprint: [u8; 16],
    state: Option<String>,
    ended_at: Option<String>,
    walk_key: Option<i64>,
    is_unlisted: bool,
    is_not_found: bool,
}

fn store_run(
    connection: &Connection,
    connection_key: i64,
    source: &mut From<'_>,
    (raw, fingerprint, run): (&str, &[u8; 16], &Run<'_>),
    now: &UtcText,
) -> rusqlite::Result<Stored> {
    let walk_key = match source {
        From::Walk(walk) => Some(walk.walk_key),
        From::Other(_) => None,
    };
    let execution = &run.execution;
    let unread = Unread::of_run(run);
    // A text that could not be read whole is no text to know the run by: it is told each time it comes.
    let fingerprint = if unread.is_some() { &NO_FINGERPRINT } else { fingerprint };
    // A key that a pruned run had is given to no other: walks count runs by it.
    let insert =
        "INSERT INTO runs (run_key, connection_key, id, state, result, started_at, ended_at, duration_ms, extra,
                                    fingerprint, first_seen_at, walk_key, queue_ms, has_failure, phase,
                                    error_key, error_description, digest)
                  VALUES ((SELECT newest_run_key + 1 FROM prunes
                           WHERE prune_key = (SELECT max(prune_key) FROM prunes)
                             AND newest_run_key >= coalesce((SELECT max(run_key) FROM runs), 0)),
                          ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
                  ON CONFLICT (connection_key, id) DO NOTHING";
    let inserted = connection.prepare_cached(insert)?.execute(params![
        connection_key,
        run.id,
        execution.state,
        execution.result,
        execution.started_at.as_ref().map(UtcText::as_str),
        execution.ended_at.as_ref().map(UtcText::as_str),
        execution.duration_ms(),
        run.extra,
        fingerprint,
        now.as_str(),
        walk_key,
        queue_ms(run),
        has_failure(run),
        run.phase,
        run.error.as_ref().map(|error| &error.error_key),
        run.error.as_ref().map(|error| &error.description),
        run.digest,
    ])?;
    if inserted == 1 {
        let run_key = connection.last_insert_rowid();
        insert_children(connection, connection_key, run_key, run)?;
        drift::note(connection, run_key, &run.drift, &[], now)?;
        if !is_completed(run) {
            unfinished::note_moved(connection, run_key, false, source.asked(), now)?;
        }
        return Ok(Stored { run_key, kind: StoredKind::New, is_own: true, is_back: false, unread });
    }
    let select = "SELECT run_key, fingerprint, state, ended_at, walk_key,
                         unlisted_at IS NOT NULL AS is_unlisted, not_found_at IS NOT NULL AS is_not_found
                  FROM runs WHERE connection_key = ?1 AND id = ?2";
    let archived = connection.prepare_cached(select)?.query_row(params![connection_key, run.id], |row| {
        Ok(Archived {
            run_key: row.get("run_key")?,
            fingerprint: read::hash(row.get_ref("fingerprint")?),
            state: row.get("state")?,
            ended_at: row.get("ended_at")?,
            walk_key: row.get("walk_key")?,
            is_unlisted: row.get("is_unlisted")?,
            is_not_found: row.get("is_not_found")?,
        })
    })?;
    let run_key = archived.run_key;
    let is_back = archived.is_unlisted && matches!(source, From::Walk(_));
    if is_back || archived.is_not_found && !matches!(source, From::Other(Source::File)) {
        let sql = "UPDATE runs SET not_found_at = NULL, unlisted_at = iif(?2, NULL, unlisted_at) WHERE run_key = ?1";
        connection.prepare_cached(sql)?.execute(params![run_key, is_back])?;
    }
    let is_own = archived.walk_key.is_some() && archived.walk_key == walk_key;
    // Completed is the last of a run's states, so what says less was sent before. Answers of one walk are
    // under way together, and files are of any age.
    let was_completed = archived.state.as_deref() == Some("Completed");
    let is_before = was_completed && !is_completed(run);
    let ended_before =
        execution.ended_at.is_some_and(|ended| Some(ended.as_str()) < archived.ended_at.as_deref());
    let is_older = match source {
        From::Walk(walk) => is_before && (is_own || walk.changed.contains(&run_key)),
        From::Other(Source::File) => is_before || was_completed && ended_before,
        From::Other(Source::ById | Source::Page | Source::Repair) => false,
    };
    let is_repair = matches!(source, From::Other(Source::Repair));
    let is_text_known = archived.fingerprint == *fingerprint && unread.is_none();
    let change = if !is_older && (is_repair || !is_text_known) {
        change_run(connection, connection_key, run_key, (raw, run, fingerprint), (source.asked(), now))?
    } else {
        Change { is_changed: false, unread }
    };
    if !change.is_changed && !was_completed && source.is_an_answer() {
        unfinished::note_answer(connection, run_key, source.asked(), now)?;
    }
    if let (true, From::Walk(walk)) = (change.is_changed, source) {
        walk.changed.insert(run_key);
    }
    let kind = if change.is_changed { StoredKind::Changed } else { StoredKind::Unchanged };
    Ok(Stored { run_key, kind, is_own, is_back, unread: change.unread })
}

/// What an answer changed of an archived run.
struct Change {
    /// Whether it says anything that is not archived already.
    is_changed: bool,
    /// What of it could not be read.
    unread: Option<Unread>,
}

/// Replaces a run's content by what was received, merged, unless that says what is archived already.
fn change_run(
    connection: &Connection,
    connection_key: i64,
    run_key: i64,
    (raw, received, fingerprint): (&str, &Run<'_>, &[u8; 16]),
    (asked, now): (Asked, &UtcText),
) -> rusqlite::Result<Change> {
    let Some(before) = read::run(connection, run_key)? else {
        return Ok(Change { is_changed: false, unread: None });
    };
    let archived = normalize::rebuild(&before);
    let Merged { json: merged, unread } = normalize::merge(&archived, raw);
    let unread = unread.or_else(|| Unread::of_run(received));
    let fingerprint = if unread.is_some() { &NO_FINGERPRINT } else { fingerprint };
    // A merge of two runs is a run; if it were not, what was received stands by itself.
    let merged = normalize::normalize_merged(&merged).ok();
    let run = merged.as_ref().unwrap_or(received);
    // Computed, not as stored: what was altered in the archive since is no longer what came.
    if run.digest == Some(digest_of_rows(&before)) {
        if before.digest != run.digest {
            let sql = "UPDATE runs SET digest = ?2 WHERE run_key = ?1";
            connection.prepare_cached(sql)?.execute(params![run_key, run.digest])?;
        }
        return Ok(Change { is_changed: false, unread });
    }
    // Of a run that was altered in the archive nothing is known but that it is not what came.
    if before.digest == Some(digest_of_rows(&before))
        && let Some(fields) = normalize::find_volatile(&before, run)
    {
        links::replace(connection, run_key, (&before, run), fingerprint)?;
        drift::note_volatile(connection, run_key, &fields, now)?;
        return Ok(Change { is_changed: false, unread });
    }
    let revision = "INSERT INTO revisions (run_key, number, replaced_at, content)
                    SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM revisions WHERE run_key = ?1";
    // An `extra` that somebody spoilt is kept as the text that it is.
    let kept = if normalize::is_whole(&before) {
        archived.clone()
    } else {
        check::json_of_rows(connection, run_key)?.to_string()
    };
    connection.prepare_cached(revision)?.execute(params![run_key, now.as_str(), kept])?;
    delete_error_runs(connection, run_key)?;
    for table in ["errors", "tasks", "jobs"] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE run_key = ?1"))?.execute([run_key])?;
    }
    let execution = &run.execution;
    let update = "UPDATE runs
                  SET state = ?2, result = ?3, started_at = ?4, ended_at = ?5, duration_ms = ?6, extra = ?7,
                      fingerprint = ?8, queue_ms = ?9, has_failure = ?10, phase = ?11, error_key = ?12,
                      error_description = ?13, digest = ?14
                  WHERE run_key = ?1";
    connection.prepare_cached(update)?.execute(params![
        run_key,
        execution.state,
        execution.result,
        execution.started_at.as_ref().map(UtcText::as_str),
        execution.ended_at.as_ref().map(UtcText::as_str),
        execution.duration_ms(),
        run.extra,
        fingerprint,
        queue_ms(run),
        has_failure(run),
        run.phase,
        run.error.as_ref().map(|error| &error.error_key),
        run.error.as_ref().map(|error| &error.description),
        run.digest,
    ])?;
    insert_children(connection, connection_key, run_key, run)?;
    unfinished::note_moved(connection, run_key, is_completed(run), asked, now)?;
    if !run.drift.is_empty() {
        let before = normalize::normalize_merged(&archived).map(|run| run.drift).unwrap_or_default();
        drift::note(connection, run_key, &run.drift, &before, now)?;
    }
    Ok(Change { is_changed: true, unread })
}

/// Whether a run is terminal.
fn is_completed(run: &Run<'_>) -> bool {
    run.execution.state.as_deref() == Some("Completed")
}

/// From a run's start to the start of its first job, where that is not before it.
fn queue_ms(run: &Run<'_>) -> Option<i64> {
    let first = run.jobs.iter().filter_map(|job| job.execution.started_at).min()?;
    run.execution.started_at?.milliseconds_until(&first)
}

/// Whether a job or task of a run failed or carries an error, whatever the run itself says.
fn has_failure(run: &Run<'_>) -> bool {
    let failed =
        |execution: &Execution<'_>| matches!(execution.result.as_deref(), Some("Error" | "TimedOut"));
    let tasks = |job: &Job<'_>| job.tasks.iter().any(|task| failed(&task.execution) || task.error.is_some());
    run.jobs.iter().any(|job| failed(&job.execution) || tasks(job))
}

/// The tasks of a run that carry an error, by what `error_kinds` tells errors apart by.
type ErrorKinds<'a> = BTreeMap<(Option<&'a str>, Option<&'a str>, Option<bool>), i64>;

fn error_kinds<'a>(run: &'a Run<'_>) -> ErrorKinds<'a> {
    let mut kinds = ErrorKinds::new();
    for error in run.jobs.iter().flat_map(|job| &job.tasks).filter_map(|task| task.error.as_deref()) {
        let kind = (error.error_code.as_deref(), error.description_key.as_deref(), error.can_user_fix);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

const FIND_ERROR_KIND: &str = "SELECT error_kind_key FROM error_kinds
                               WHERE error_code IS ?1 AND description_key IS ?2 AND can_user_fix IS ?3";

fn insert_error_runs(
    connection: &Connection,
    connection_key: i64,
    run_key: i64,
    run: &Run<'_>,
) -> rusqlite::Result<()> {
    let Some(started_at) = &run.execution.started_at else { return Ok(()) };
    for ((error_code, description_key, can_user_fix), tasks) in error_kinds(run) {
        let kind = params![error_code, description_key, can_user_fix];
        let found: Option<i64> =
            connection.prepare_cached(FIND_ERROR_KIND)?.query_row(kind, |row| row.get(0)).optional()?;
        let error_kind_key = match found {
            Some(key) => key,
            None => {
                let sql =
                    "INSERT INTO error_kinds (error_code, description_key, can_user_fix) VALUES (?1, ?2, ?3)";
                connection.prepare_cached(sql)?.execute(kind)?;
                connection.last_insert_rowid()
            }
        };
        let sql = "INSERT INTO error_runs (error_kind_key, connection_key, started_at, run_key, tasks)
                   VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET tasks = excluded.tasks";
        connection.prepare_cached(sql)?.execute(params![
            error_kind_key,
            connection_key,
            started_at.as_str(),
            run_key,
            tasks
        ])?;
    }
    Ok(())
}

/// Takes back what [`insert_error_runs`] wrote of the run, and whatever else stands there of it: a row that
/// somebody altered, or whose error he removed, would be in the way of the run's next version.
fn delete_error_runs(connection: &Connection, run_key: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM error_runs WHERE run_key = ?1")?.execute([run_key]).map(drop)
}

fn insert_children(
    connection: &Connection,
    connection_key: i64,
    run_key: i64,
    run: &Run<'_>,
) -> rusqlite::Result<()> {
    const JOB: &str = "INSERT INTO jobs (run_key, job_index, id, state, result, started_at, ended_at,
                                         duration_ms, connector_type, extra)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    const TASK: &str = "INSERT INTO tasks (run_key, job_index, task_index, id, state, result, started_at,
                                           ended_at, duration_ms, retry_attempts, export_output_file_id,
                                           storage_file_id, source_file_id, extra)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    const ERROR: &str = "INSERT INTO errors (run_key, job_index, task_index, error_code, message, details,
                                             bridge_exit_code, system, phase, category, description_key,
                                             description, kb_article_link, can_user_fix, extra)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    for (job_index, job) in (0_i64..).zip(&run.jobs) {
        let execution = &job.execution;
        connection.prepare_cached(JOB)?.execute(params![
            run_key,
            job_index,
            job.id,
            execution.state,
            execution.result,
            execution.started_at.as_ref().map(UtcText::as_str),
            execution.ended_at.as_ref().map(UtcText::as_str),
            execution.duration_ms(),
            job.connector_type,
            job.extra,
        ])?;
        for (task_index, task) in (0_i64..).zip(&job.tasks) {
            let execution = &task.execution;
            connection.prepare_cached(TASK)?.execute(params![
                run_key,
                job_index,
                task_index,
                task.id,
                execution.state,
                execution.result,
                execution.started_at.as_ref().map(UtcText::as_str),
                execution.ended_at.as_ref().map(UtcText::as_str),
                execution.duration_ms(),
                task.retry_attempts,
                task.export_output_file_id,
                task.storage_file_id,
                task.source_file_id,
                task.extra,
            ])?;
            if let Some(error) = &task.error {
                connection.prepare_cached(ERROR)?.execute(params![
                    run_key,
                    job_index,
                    task_index,
                    error.error_code,
                    error.message,
                    error.details,
                    error.bridge_exit_code,
                    error.system,
                    error.phase,
                    error.category,
                    error.description_key,
                    error.description,
                    error.kb_article_link,
                    error.can_user_fix,
                    error.extra,
                ])?;
            }
        }
    }
    insert_error_runs(connection, connection_key, run_key, run)
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
        connection.execute(
            sql,
            params![
                key,
                end.newest_started_at.as_ref().map(UtcText::as_str),
                end.listing_end,
                end.covers_listing,
                walk.started_at.as_str(),
                end.last_run_id
            ],
        )?;
    }
    let learned = "UPDATE checkpoints SET listing_order = coalesce(?2, listing_order), page_size = coalesce(?3, page_size)
                   WHERE connection_key = ?1";
    connection.execute(learned, params![key, end.order, end.page_size])?;
    let checkpoint = end.checkpoint.as_deref().filter(|_| !is_complete);
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
